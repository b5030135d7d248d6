package queryapi

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
)

// never are operations that always answer that there is nothing.
var never = map[string]bool{"GetLoginProfile": true, "DeleteLoginProfile": true, "DecodeAuthorizationMessage": true}

// TestMain fails a full run in which some operation that is served was never
// answered with success.
func TestMain(m *testing.M) {
	status := m.Run()
	for _, name := range []string{"test.run", "test.fuzz", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			os.Exit(status)
		}
	}
	for _, a := range []*api{iamAPI(), stsAPI()} {
		for name, op := range a.operations {
			if op.serve != nil && !worked.names[name] && !never[name] && status == 0 {
				fmt.Printf("no test had %s of %s succeed\n", name, a.service)
				status = 1
			}
		}
	}
	os.Exit(status)
}

// worked are the operations that succeeded in some test.
var worked = &record{names: map[string]bool{}}

type record struct {
	mu    sync.Mutex
	names map[string]bool
}

// answered is a reply whose status is remembered.
type answered struct {
	http.ResponseWriter
	status int
}

func (w *answered) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// noted makes a handler note what succeeds.
func (rec *record) noted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		a := &answered{w, http.StatusOK}
		next.ServeHTTP(a, r)
		form, err := url.ParseQuery(string(body))
		if a.status != http.StatusOK || err != nil {
			return
		}
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.names[form.Get("Action")] = true
	})
}
