package urlapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/tenant"
)

// world is the parts around a Handler: two accounts' functions, and a caller
// whose signature is the header Authorization with her name.
type world struct {
	urls    map[string]*control.URLOwner
	targets map[function.Name]*function.Target
	calls   []*call.Call
	outcome func(*call.Call) *call.Outcome
	grants  int
}

const (
	publicID   = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	signedID   = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	tenantsID  = "cccccccccccccccccccccccccccccccc"
	pubTenants = "dddddddddddddddddddddddddddddddd"
	acme       = tenant.AccountID("111111111111")
	globex     = tenant.AccountID("222222222222")
)

func newWorld() *world {
	w := &world{urls: map[string]*control.URLOwner{}, targets: map[function.Name]*function.Target{}}
	add := func(id string, name function.Name, auth function.URLAuth, tenancy function.TenantIsolationMode) {
		w.urls[id] = &control.URLOwner{Account: acme, Name: name, URLConfig: function.URLConfig{ID: id, Auth: auth, Mode: function.Buffered}}
		w.targets[name] = &function.Target{Account: acme, AccountSlug: "acme", Name: name, Version: function.Latest, Tenancy: tenancy,
			ARN: function.ARN("us-east-1", acme, name, "")}
	}
	add(publicID, "public", function.URLAuthNone, "")
	add(signedID, "signed", function.URLAuthIAM, "")
	add(tenantsID, "tenants", function.URLAuthIAM, function.PerTenant)
	add(pubTenants, "pubtenants", function.URLAuthNone, function.PerTenant)
	w.outcome = func(*call.Call) *call.Outcome { return &call.Outcome{Payload: []byte(`"done"`)} }
	return w
}

func (w *world) URL(id string) (*control.URLOwner, bool) { u, found := w.urls[id]; return u, found }

func (w *world) Principal(id string) (call.Principal, bool) {
	return call.Principal{Type: call.TypeUser, ARN: "arn:aws:iam::222222222222:user/" + id, Account: globex, UserID: "AIDA", AccessKeyID: id}, id == "ada"
}

func (w *world) Resolve(_ tenant.AccountID, name function.Name, _ string, _ uint64) (*function.Target, error) {
	return w.targets[name], nil
}

func (w *world) Authorise(context.Context, iam.Request, string) (iam.Grant, error) {
	w.grants++
	return iam.Grant{}, nil
}

func (w *world) FindEndTenant(tenant.AccountID, tenant.EndTenantID) (tenant.UID, bool, error) {
	return "", false, nil
}

func (w *world) EndTenant(_ context.Context, _ iam.Grant, id tenant.EndTenantID) (tenant.UID, error) {
	return tenant.UID("uid-" + id), nil
}

func (w *world) Verify(r *http.Request, _ []byte) (credential.Identity, error) {
	if name := r.Header.Get("Authorization"); name != "" {
		return credential.Identity{KeyID: name, Account: globex, Service: "lambda"}, nil
	}
	return credential.Identity{}, fault.New("test", fault.Unauthenticated, "no signature")
}

func (w *world) Invoke(_ context.Context, c *call.Call) *call.Outcome {
	w.calls = append(w.calls, c)
	return w.outcome(c)
}

func (w *world) handler() *Handler {
	return New(Config{Verifier: w, Control: w, Invoker: w, Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
		NewRequestID: func() string { return "id" }})
}

// send sends a request through what guards the node's port.
func (w *world) send(method, host, path string, change ...func(*http.Request)) *http.Response {
	h := w.handler()
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	for _, f := range change {
		f(r)
	}
	rec := httptest.NewRecorder()
	credential.Guard(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !h.Serves(r) {
			rw.WriteHeader(http.StatusTeapot) // the node's API
			return
		}
		h.ServeHTTP(rw, r)
	})).ServeHTTP(rec, r)
	return rec.Result()
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func payload(kind, text string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", kind)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}
}

// TestHosts: a host of a function's form is never the node's API, and no other
// host is a function's.
func TestHosts(t *testing.T) {
	for host, want := range map[string]int{
		publicID + ".lambda-url.localhost":                   200,
		publicID + ".lambda-url.localhost:9600":              200,
		strings.ToUpper(publicID) + ".Lambda-URL.localhost.": 200,
		strings.Repeat("e", 32) + ".lambda-url.localhost":    403, // no such URL
		"x." + publicID + ".lambda-url.localhost":            403,
		".lambda-url.localhost":                              403,
		publicID + "..lambda-url.localhost":                  403,
		publicID + ".lambda-url.localhost.evil.example":      418,
		publicID + ".lambda-url.example.com":                 418,
		"lambda-url.localhost":                               418,
		publicID + "lambda-url.localhost":                    418,
		publicID + ".lambda-url.localhost:1.example.com":     418,
		"localhost": 418,
		"":          418,
		"localhost, " + publicID + ".lambda-url.localhost":            403,
		publicID + ".lambda-url.localhost@localhost":                  418,
		publicID + ".lambda-url.localhost/" + ".lambda-url.localhost": 403,
	} {
		w := newWorld()
		if got := w.send("GET", host, "/healthz"); got.StatusCode != want || len(w.calls) > 0 != (want == 200) {
			t.Errorf("host %q: %d, %d calls; want %d", host, got.StatusCode, len(w.calls), want)
		}
	}
}

func TestEventsAreOfFormat2(t *testing.T) {
	w := newWorld()
	w.send("POST", publicID+".lambda-url.localhost:1", "/a%2Fb/c?x=1&x=2&y=%20", with("X-One", "1"), with("X-One", "2"), with("Cookie", "a=b; c=d"),
		with("User-Agent", "test"), with("Authorization", "Bearer t"), payload("application/json", `{"n":1}`))
	if len(w.calls) != 1 {
		t.Fatalf("%d calls", len(w.calls))
	}
	c := w.calls[0]
	if c.Trigger != call.ViaURL || c.URLAuth != function.URLAuthNone || c.Principal.Type != call.TypeAnonymous || c.Principal.Account != "" || c.Owner.Account != acme {
		t.Errorf("the call is %+v", c)
	}
	var got request
	if err := json.Unmarshal(c.Event, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "2.0" || got.RawPath != "/a%2Fb/c" || got.RawQueryString != "x=1&x=2&y=%20" || got.Query["x"] != "1,2" || got.Query["y"] != " " ||
		strings.Join(got.Cookies, "|") != "a=b|c=d" || got.Headers["x-one"] != "1,2" || got.Headers["cookie"] != "" || got.Headers["authorization"] != "Bearer t" ||
		got.Body != `{"n":1}` || got.Base64 {
		t.Errorf("%s", c.Event)
	}
	at := got.Context
	if at.AccountID != "anonymous" || at.APIID != publicID || at.DomainPrefix != publicID || at.HTTP.Method != "POST" || at.HTTP.SourceIP != "192.0.2.1" ||
		at.HTTP.UserAgent != "test" || at.RequestID != "id" || at.TimeEpoch != 1_700_000_000_000 || at.Time != "14/Nov/2023:22:13:20 +0000" || at.Authorizer != nil {
		t.Errorf("%s", c.Event)
	}
	w.send("POST", publicID+".lambda-url.localhost", "/", payload("image/png", "\x89PNG"))
	if json.Unmarshal(w.calls[1].Event, &got) != nil || !got.Base64 || got.Body != "iVBORw==" {
		t.Errorf("a body of bytes: %s", w.calls[1].Event)
	}
}

// TestSmuggledHeaders (A24): nothing that a client says of itself, of a proxy
// before it or of the connection reaches the function as a fact.
func TestSmuggledHeaders(t *testing.T) {
	w := newWorld()
	w.send("GET", publicID+".lambda-url.localhost", "/", with("X-Forwarded-For", "10.0.0.1"), with("X-Forwarded-Proto", "https"), with("Forwarded", "for=10.0.0.1"),
		with("X-Amz-Tenant-Id", "victim"), with("X-Amz-Security-Token", "t"), with("Connection", "x-secret"), with("Transfer-Encoding", "chunked"))
	var got request
	if json.Unmarshal(w.calls[0].Event, &got) != nil {
		t.Fatal("no event")
	}
	if got.Headers["x-forwarded-for"] != "192.0.2.1" || got.Headers["x-forwarded-proto"] != "http" || got.Context.HTTP.SourceIP != "192.0.2.1" {
		t.Errorf("where the request came from: %v", got.Headers)
	}
	for _, name := range []string{"forwarded", "x-amz-tenant-id", "x-amz-security-token", "connection", "transfer-encoding"} {
		if v, there := got.Headers[name]; there {
			t.Errorf("the function got %s: %s", name, v)
		}
	}
	if w.calls[0].EndTenant != "" {
		t.Errorf("the call is for %s", w.calls[0].EndTenant)
	}
}

func TestSignedRequests(t *testing.T) {
	host := signedID + ".lambda-url.localhost"
	for name, test := range map[string]struct {
		change []func(*http.Request)
		want   int
	}{
		"signed":                     {[]func(*http.Request){with("Authorization", "ada")}, 200},
		"not signed":                 {nil, 403},
		"a key of nobody":            {[]func(*http.Request){with("Authorization", "eve")}, 403},
		"a tenant that is not meant": {[]func(*http.Request){with("Authorization", "ada"), with(headerTenantID, "blue")}, 400},
	} {
		w := newWorld()
		if got := w.send("GET", host, "/", test.change...); got.StatusCode != test.want || len(w.calls) > 0 != (test.want == 200) {
			t.Errorf("%s: %d, %d calls", name, got.StatusCode, len(w.calls))
		}
	}
	w := newWorld()
	w.send("GET", host, "/?a=1&X-Amz-Signature=s&X-Amz-Credential=c", with("Authorization", "ada"))
	var got request
	if json.Unmarshal(w.calls[0].Event, &got) != nil || got.Headers["authorization"] != "" || got.RawQueryString != "a=1" || got.Context.Authorizer == nil ||
		got.Context.Authorizer.IAM.AccountID != string(globex) || got.Context.AccountID != string(globex) {
		t.Errorf("%s", w.calls[0].Event)
	}
	if c := w.calls[0]; c.Principal.Account != globex || c.URLAuth != function.URLAuthIAM {
		t.Errorf("the call is %+v", c)
	}
}

// TestNobodyPicksATenant (A07): only a signed request says for which end
// tenant a call is.
func TestNobodyPicksATenant(t *testing.T) {
	w := newWorld()
	signed := with("Authorization", "ada")
	if got := w.send("GET", tenantsID+".lambda-url.localhost", "/", signed, with(headerTenantID, "blue")); got.StatusCode != 200 ||
		w.calls[0].EndTenant != "blue" || w.calls[0].Owner.EndTenant != "uid-blue" || w.grants != 1 {
		t.Errorf("signed: %d, %+v", got.StatusCode, w.calls)
	}
	for name, change := range map[string][]func(*http.Request){
		"none named":      {signed},
		"two named":       {signed, with(headerTenantID, "blue"), with(headerTenantID, "red")},
		"a name too long": {signed, with(headerTenantID, strings.Repeat("x", 300))},
		"not signed":      {with(headerTenantID, "blue")},
	} {
		w := newWorld()
		if got := w.send("GET", tenantsID+".lambda-url.localhost", "/", change...); got.StatusCode < 400 || len(w.calls) > 0 {
			t.Errorf("%s: %d, %d calls", name, got.StatusCode, len(w.calls))
		}
		if got := w.send("GET", pubTenants+".lambda-url.localhost", "/", change...); got.StatusCode != 403 || len(w.calls) > 0 {
			t.Errorf("a public URL, %s: %d, %d calls", name, got.StatusCode, len(w.calls))
		}
	}
}

func TestBodiesHaveALimit(t *testing.T) {
	w := newWorld()
	if got := w.send("POST", publicID+".lambda-url.localhost", "/", payload("text/plain", strings.Repeat("x", maxBody+1))); got.StatusCode != 413 || len(w.calls) > 0 {
		t.Errorf("a byte too many: %d", got.StatusCode)
	}
	if got := w.send("POST", publicID+".lambda-url.localhost", "/", payload("image/png", strings.Repeat("x", 5<<20))); got.StatusCode != 413 || len(w.calls) > 0 {
		t.Errorf("an event that is too large: %d", got.StatusCode)
	}
	if got := w.send("POST", publicID+".lambda-url.localhost", "/", payload("text/plain", strings.Repeat("x", 5<<20))); got.StatusCode != 200 {
		t.Errorf("5 MiB: %d", got.StatusCode)
	}
}

func TestFailuresSayLittle(t *testing.T) {
	for name, test := range map[string]struct {
		outcome call.Outcome
		status  int
	}{
		"a function that failed": {call.Outcome{Result: call.FunctionError, Payload: []byte(`{"errorMessage":"secret"}`)}, 502},
		"one that timed out":     {call.Outcome{Result: call.TimedOut, Payload: []byte(`{"errorMessage":"secret"}`)}, 502},
		"no response":            {call.Outcome{Payload: []byte(`{"statusCode":9,"secret":1}`)}, 502},
		"not allowed":            {call.Outcome{Result: call.Refused, Err: fault.New("x", fault.Denied, "secret")}, 403},
		"too many":               {call.Outcome{Result: call.Throttled, Err: fault.New("x", fault.Throttled, "secret")}, 429},
		"ours":                   {call.Outcome{Result: call.PlatformError, Err: fault.New("x", fault.Internal, "secret")}, 500},
	} {
		w := newWorld()
		w.outcome = func(*call.Call) *call.Outcome { return &test.outcome }
		got := w.send("GET", publicID+".lambda-url.localhost", "/")
		b, _ := io.ReadAll(got.Body)
		if got.StatusCode != test.status || strings.Contains(string(b), "secret") {
			t.Errorf("%s: %d %s", name, got.StatusCode, b)
		}
	}
}

func TestResultsInPieces(t *testing.T) {
	pieces := func(kind string, o call.Outcome, pieces ...string) func(*call.Call) *call.Outcome {
		return func(c *call.Call) *call.Outcome {
			c.Stream.Begin(kind)
			for _, p := range pieces {
				if _, err := c.Stream.Write([]byte(p)); err != nil {
					break
				}
			}
			return &o
		}
	}
	for name, test := range map[string]struct {
		outcome func(*call.Call) *call.Outcome
		status  int
		body    string
		kind    string
	}{
		"bytes":           {pieces("text/plain", call.Outcome{Payload: []byte("c")}, "a", "b"), 200, "abc", "text/plain"},
		"a head":          {pieces(contentHTTP, call.Outcome{}, `{"statusCode":201,"headers":{"content-type":"a/b"}}`, "\x00\x00\x00\x00", "\x00\x00\x00\x00x", "y"), 201, "xy", "a/b"},
		"no whole head":   {pieces(contentHTTP, call.Outcome{}, `{"statusCode":201`), 502, `{"Message":"Internal Server Error"}`, "application/json"},
		"a bad head":      {pieces(contentHTTP, call.Outcome{}, "x\x00\x00\x00\x00\x00\x00\x00\x00", "y"), 502, `{"Message":"Internal Server Error"}`, "application/json"},
		"as a whole":      {func(*call.Call) *call.Outcome { return &call.Outcome{Payload: []byte(`{"statusCode":202,"body":"z"}`)} }, 202, "z", "application/json"},
		"a failure first": {func(*call.Call) *call.Outcome { return &call.Outcome{Result: call.FunctionError} }, 502, `{"Message":"Internal Server Error"}`, "application/json"},
	} {
		w := newWorld()
		w.urls[publicID].Mode = function.ResponseStream
		w.outcome = test.outcome
		got := w.send("GET", publicID+".lambda-url.localhost", "/")
		b, _ := io.ReadAll(got.Body)
		if got.StatusCode != test.status || string(b) != test.body || got.Header.Get("Content-Type") != test.kind {
			t.Errorf("%s: %d %q %s", name, got.StatusCode, b, got.Header.Get("Content-Type"))
		}
	}
	// One that breaks off breaks off the reply.
	w := newWorld()
	w.urls[publicID].Mode = function.ResponseStream
	w.outcome = pieces("text/plain", call.Outcome{Result: call.TimedOut}, "a")
	s := httptest.NewServer(w.handler())
	defer s.Close()
	r, _ := http.NewRequest("GET", s.URL, nil)
	r.Host = publicID + ".lambda-url.localhost"
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if b, err := io.ReadAll(got.Body); err == nil || string(b) != "a" {
		t.Errorf("a result that broke off was read as whole: %q, %v", b, err)
	}
}

func TestCORS(t *testing.T) {
	age := 60
	rules := &function.CORS{AllowOrigins: []string{"https://a.example"}, AllowMethods: []string{"GET", "PUT"}, AllowHeaders: []string{"x-a"}, AllowCredentials: true, MaxAge: &age}
	send := func(c *function.CORS, method string, change ...func(*http.Request)) (*http.Response, int) {
		w := newWorld()
		w.urls[publicID].CORS = c
		w.outcome = func(*call.Call) *call.Outcome {
			return &call.Outcome{Payload: []byte(`{"statusCode":200,"headers":{"Access-Control-Allow-Origin":"https://own.example","Vary":"Accept"}}`)}
		}
		return w.send(method, publicID+".lambda-url.localhost", "/", change...), len(w.calls)
	}
	asks := []func(*http.Request){with("Origin", "https://a.example"), with("Access-Control-Request-Method", "PUT")}
	got, calls := send(rules, "OPTIONS", asks...)
	if calls != 0 || got.StatusCode != 200 || got.Header.Get("Access-Control-Allow-Origin") != "https://a.example" || got.Header.Get("Access-Control-Allow-Methods") != "GET,PUT" ||
		got.Header.Get("Access-Control-Allow-Credentials") != "true" || got.Header.Get("Access-Control-Max-Age") != "60" {
		t.Errorf("a browser's question: %d calls, %d %v", calls, got.StatusCode, got.Header)
	}
	if got, calls := send(rules, "OPTIONS", with("Origin", "https://evil.example"), asks[1]); calls != 0 || got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("of another origin: %d calls, %v", calls, got.Header)
	}
	if got, calls := send(rules, "GET", asks[0]); calls != 1 || strings.Join(got.Header["Access-Control-Allow-Origin"], "|") != "https://a.example" || len(got.Header["Vary"]) != 2 {
		t.Errorf("a request: %d calls, %v", calls, got.Header)
	}
	if got, calls := send(nil, "OPTIONS", asks...); calls != 1 || got.Header.Get("Access-Control-Allow-Origin") != "https://own.example" {
		t.Errorf("a function's own rules: %d calls, %v", calls, got.Header)
	}
	all := &function.CORS{AllowOrigins: []string{"*"}, AllowCredentials: true}
	if got, _ := send(all, "GET", asks[0]); got.Header.Get("Access-Control-Allow-Origin") != "*" || got.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("every origin, with credentials: %v", got.Header)
	}
}
