package credential_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// parse reads a request as net/http's server does.
func parse(t testing.TB, wire string) (*http.Request, []byte) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, wire)
	}
	return r, readAll(t, r.Body)
}
