package adminapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/credential"
)

// believes takes every request for the operator's, so that the fuzzer gets
// past the signature.
type believes struct{ identity credential.Identity }

func (b believes) Verify(*http.Request, []byte) (credential.Identity, error) { return b.identity, nil }

// FuzzRequest shows that no request of the most powerful caller makes the
// handler panic or blame itself, and that every answer is JSON.
func FuzzRequest(f *testing.F) {
	for _, r := range routes {
		f.Add(r.method, r.path, r.body)
	}
	f.Add("GET", "/v1/tenants?limit=-1&cursor=%00", "")
	f.Add("POST", "/v1/tenants", `{"tenantId":"a","tenantId":["b"],"tags":{"":null}}`)
	f.Add("GET", "/v1/functions/%2e%2e/logs?since=x&wait=1e3", "")
	w := newWorld(f)
	credentials := w.operator
	h := New(Config{
		Region: region, Control: w.control, Ledger: w.ledger, Logs: w.logs, Events: w.events, Audit: w.trail, Status: func() any { return struct{}{} },
		Verifier: believes{credential.Identity{KeyID: credentials.AccessKeyID, Account: credentials.AccountID, Service: Service}},
	})
	f.Fuzz(func(t *testing.T, method, target, body string) {
		if strings.Contains(target, "wait") {
			t.Skip("waits")
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://node"+target, strings.NewReader(body))
		if err != nil || r.Host != "node" {
			t.Skip("no request")
		}
		r.Header.Set("Authorization", "believed")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code >= 500 || !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		if rec.Code >= 400 {
			var e Error
			if json.Unmarshal(rec.Body.Bytes(), &e) != nil || e.Detail.Code == "" || e.Detail.RequestID == "" {
				t.Errorf("%d without a proper error: %s", rec.Code, rec.Body)
			}
		}
	})
}
