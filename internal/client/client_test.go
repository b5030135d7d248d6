package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/iam/credential"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

type lookup struct{}

func (lookup) AccessKey(id string) (credential.Key, bool) {
	return credential.Key{ID: keyID, Secret: secret, Account: "111111111111", Status: credential.Active}, id == keyID
}

// world is a node that answers what a test says, once the signature holds.
type world struct {
	*Client
	answers []func(http.ResponseWriter, *http.Request)
	got     []string
	pauses  []time.Duration
}

func newWorld(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) *world {
	w := &world{answers: answers}
	verifier := credential.New(credential.Config{Region: "eu-west-1", Services: []string{"carrel"}, Lookup: lookup{}})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, err := verifier.Verify(r, body); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		w.got = append(w.got, r.Method+" "+r.URL.String()+" "+string(body))
		w.answers[min(len(w.got), len(w.answers))-1](rw, r)
	}))
	t.Cleanup(server.Close)
	c, err := New(Config{Endpoint: server.URL, Region: "eu-west-1", AccessKeyID: keyID, SecretAccessKey: secret,
		Pause: func(_ context.Context, d time.Duration) error { w.pauses = append(w.pauses, d); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	w.Client = c
	return w
}

func says(status int, body string, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestRequestsAreSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"x":1}`))
	var got struct{ X int }
	r := Request{Method: "PUT", Path: "/v1/tenants/a b/plan", Query: url.Values{"q": {"a+b/c d&e"}}, Body: map[string]string{"plan": "ü"}}
	if err := w.Do(t.Context(), r, &got); err != nil || got.X != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if want := `PUT /v1/tenants/a%20b/plan?q=a%2Bb%2Fc%20d%26e {"plan":"ü"}`; w.got[0] != want {
		t.Errorf("sent %s", w.got[0])
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(404, `{"error":{"code":"C","kind":"not_found","message":"M.","remedy":"R.","requestId":"ID"}}`))
	err := w.Do(t.Context(), Request{Path: "/v1/x"}, nil)
	var told *Error
	if !errors.As(err, &told) || told.Code != "C" || told.Kind != "not_found" || told.Status != 404 || err.Error() != "M. R. (request id ID)" {
		t.Errorf("%#v", err)
	}
	if len(w.got) != 1 {
		t.Errorf("tried %d times", len(w.got))
	}
	w = newWorld(t, says(418, `<html>`, "X-Amzn-RequestId", "ID"))
	if err := w.Do(t.Context(), Request{Path: "/v1/x"}, nil); !errors.As(err, &told) || told.RequestID != "ID" || told.Code != "UnexpectedAnswer" {
		t.Errorf("an answer of something else: %v", err)
	}
	w = newWorld(t, says(200, `[]`))
	var into struct{ X int }
	if err := w.Do(t.Context(), Request{Path: "/v1/x"}, &into); err == nil || !strings.Contains(err.Error(), "Carrel node") {
		t.Errorf("a success of something else: %v", err)
	}
	w = newWorld(t, says(302, ``, "Location", "/v1/y"))
	if err := w.Do(t.Context(), Request{Path: "/v1/x"}, nil); err == nil || len(w.got) != 1 {
		t.Errorf("a redirect was followed: %v %v", w.got, err)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	busy := says(429, `{"error":{"code":"TooManyRequestsException","kind":"throttled","message":"M"}}`, "Retry-After", "2")
	down := says(503, `{"error":{"code":"ServiceUnavailableException","kind":"unavailable","message":"M"}}`)
	for name, tc := range map[string]struct {
		method  string
		answers []func(http.ResponseWriter, *http.Request)
		tries   int
		ok      bool
		pauses  []time.Duration
	}{
		"until it works":      {"GET", []func(http.ResponseWriter, *http.Request){down, busy, says(200, `{}`)}, 3, true, []time.Duration{firstPause, 2 * time.Second}},
		"not for ever":        {"GET", []func(http.ResponseWriter, *http.Request){down}, attempts, false, []time.Duration{firstPause, 2 * firstPause, 4 * firstPause}},
		"not what changes":    {"POST", []func(http.ResponseWriter, *http.Request){down, says(200, `{}`)}, 1, false, nil},
		"no endless patience": {"GET", []func(http.ResponseWriter, *http.Request){says(429, ``, "Retry-After", "86400"), says(200, `{}`)}, 2, true, []time.Duration{longestPause}},
		"not what is unbuilt": {"GET", []func(http.ResponseWriter, *http.Request){says(501, ``), says(200, `{}`)}, 1, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.answers...)
			err := w.Do(t.Context(), Request{Method: tc.method, Path: "/v1/x"}, nil)
			if (err == nil) != tc.ok || len(w.got) != tc.tries || !slices.Equal(w.pauses, tc.pauses) {
				t.Errorf("%d tries, pauses %v, %v", len(w.got), w.pauses, err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c, err := New(Config{Endpoint: server.URL, Region: "eu-west-1", AccessKeyID: keyID, SecretAccessKey: secret,
		Pause: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	var unreachable *UnreachableError
	if err := c.Do(t.Context(), Request{Path: "/v1/x"}, nil); !errors.As(err, &unreachable) || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, Request{Path: "/v1/x"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancelling: %v", err)
	}
	for _, endpoint := range []string{"", "localhost:9600", "ftp://x", "http://"} {
		if _, err := New(Config{Endpoint: endpoint}); err == nil {
			t.Errorf("the endpoint %q was taken", endpoint)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"items":[1,2],"nextCursor":"c/1"}`), says(200, `{"items":[],"nextCursor":"c2"}`), says(200, `{"items":[3]}`))
	var got []int
	r := Request{Path: "/v1/x", Query: url.Values{"limit": {"2"}}}
	err := Pages(t.Context(), w.Client, r, func(items []int) error { got = append(got, items...); return nil })
	if err != nil || !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	if want := "GET /v1/x?cursor=c%2F1&limit=2 "; w.got[1] != want {
		t.Errorf("the second part was asked for with %q", w.got[1])
	}
	if r.Query.Has("cursor") {
		t.Error("the caller's query was changed")
	}
}
