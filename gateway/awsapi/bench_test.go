package awsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/tenant"
)

// still is a control, a verifier and an invoker that cost nothing, so that
// what is measured is the handler.
type still struct {
	Control
	target    *function.Target
	principal call.Principal
	outcome   *call.Outcome
}

func (s *still) Verify(*http.Request, []byte) (credential.Identity, error) {
	return credential.Identity{KeyID: "AKIDACME", Account: "111111111111", Service: Service}, nil
}
func (s *still) Principal(string) (call.Principal, bool) { return s.principal, true }
func (s *still) Resolve(tenant.AccountID, function.Name, string, uint64) (*function.Target, error) {
	return s.target, nil
}
func (s *still) Invoke(context.Context, *call.Call) *call.Outcome { return s.outcome }
func (s *still) Enqueue(context.Context, *call.Call) error        { return nil }

// sink is a ResponseWriter that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

func quietInvoke(t testing.TB) (http.Handler, *http.Request, *bytes.Reader) {
	payload := []byte(`{"n":1,"text":"` + strings.Repeat("x", 1000) + `"}`)
	s := &still{target: &function.Target{Account: "111111111111", Version: function.Latest}, principal: call.Principal{Account: "111111111111"}, outcome: &call.Outcome{Payload: payload}}
	h := New(Config{Region: region, Verifier: s, Control: s, Invoker: s, NewRequestID: func() string { return "the-id" }})
	body := bytes.NewReader(payload)
	r, err := http.NewRequestWithContext(t.Context(), "POST", "/2015-03-31/functions/hello/invocations", io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(payload))
	r.Header.Set("Authorization", "x")
	r.Header.Set(headerInvocationType, typeRequestResponse)
	return h, r, body
}

// BenchmarkInvoke is the handler alone: 1 KB each way, no signature, no run.
func BenchmarkInvoke(b *testing.B) {
	h, r, body := quietInvoke(b)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Seek(0, io.SeekStart)
		clear(w.header)
		h.ServeHTTP(w, r)
	}
	if w.status != http.StatusOK {
		b.Fatal(w.status)
	}
}

// TestInvokeAllocations holds the hot path to what was measured, with a
// little room for the toolchain.
func TestInvokeAllocations(t *testing.T) {
	h, r, body := quietInvoke(t)
	w := &sink{header: http.Header{}}
	n := testing.AllocsPerRun(200, func() {
		body.Seek(0, io.SeekStart)
		clear(w.header)
		h.ServeHTTP(w, r)
	})
	t.Logf("%.0f allocations", n)
	if n > 10 {
		t.Errorf("an Invoke makes %.0f allocations beside those of net/http, signature and run; at most 10 are allowed", n)
	}
}

// BenchmarkValidJSON is the check of a 1 KB event, ours and encoding/json's.
func BenchmarkValidJSON(b *testing.B) {
	event := []byte(`{"items":[` + strings.Repeat(`{"key":"some text of a value","n":12345},`, 24) + `{}]}`)
	for name, valid := range map[string]func([]byte) bool{"ours": validJSON, "encoding-json": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(event)))
			for b.Loop() {
				if !valid(event) {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkInvokeSigned adds what stands around the handler: a signature
// that is verified and the real control's lookups.
func BenchmarkInvokeSigned(b *testing.B) {
	w := withFunctions(b)
	h := New(Config{Region: region, Control: w.control, Invoker: &still{outcome: &call.Outcome{Payload: []byte("{}")}},
		Verifier: credential.New(credential.Config{Region: region, Services: []string{Service}, Lookup: w.control})})
	payload := []byte(`{"text":"` + strings.Repeat("x", 1000) + `"}`)
	r := w.request(b, "POST", helloPath, payload, headerInvocationType, typeRequestResponse)
	w.sign(b, Service, r, payload)
	body := bytes.NewReader(payload)
	r.Body, r.Host = io.NopCloser(body), r.URL.Host
	reply := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Seek(0, io.SeekStart)
		clear(reply.header)
		h.ServeHTTP(reply, r)
	}
	if reply.status != http.StatusOK {
		b.Fatal(reply.status)
	}
}
