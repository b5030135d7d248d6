package client

import (
	"net/http"
	"testing"
)

// FuzzFailure shows that whatever answers, there is an error that says
// something.
func FuzzFailure(f *testing.F) {
	f.Add(404, `{"error":{"code":"C","kind":"not_found","message":"M"}}`, "1")
	f.Add(502, "<html>", "")
	f.Add(429, `{"error":null}`, "-9999999999999999999")
	f.Fuzz(func(t *testing.T, status int, body, retryAfter string) {
		e := failure(&http.Response{StatusCode: status, Status: "status", Header: http.Header{"Retry-After": {retryAfter}}}, []byte(body))
		if e.Error() == "" || e.Status != status || e.retryAfter < 0 {
			t.Errorf("%#v", e)
		}
	})
}
