package awsapi

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
)

// snapshots gives the folder of recorded requests in the SDK's lambda module.
func snapshots(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/lambda").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "request_snapshot")
}

// recorded reads one snapshot: a request line, headers, a body, with an
// empty line between each.
func recorded(t *testing.T, file string) (*http.Request, []byte) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, rest, _ := strings.Cut(string(content), "\n\n")
	headers, body, _ := strings.Cut(rest, "\n\n")
	method, target, found := strings.Cut(line, " ")
	u, err := url.ParseRequestURI(target)
	if !found || err != nil {
		t.Fatalf("%s begins with %q", file, line)
	}
	r := &http.Request{Method: method, URL: u, Header: http.Header{}}
	for h := range strings.Lines(headers) {
		if name, value, found := strings.Cut(strings.TrimSpace(h), ": "); found {
			r.Header.Set(name, value)
		}
	}
	return r, []byte(body)
}

// TestSDKRequestsAreAnswered sends what the SDK recorded, signed: each gets
// an answer in words that clients know, and none is a failure of ours.
func TestSDKRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	files, _ := filepath.Glob(filepath.Join(snapshots(t), "*.request.snap"))
	for _, file := range files {
		snap, body := recorded(t, file)
		r := b.request(t, snap.Method, snap.URL.RequestURI(), body)
		for name, values := range snap.Header {
			r.Header[name] = values
		}
		got := b.sendAs(t, Service, r, body)
		code := got.header.Get(headerErrorType)
		if _, known := exceptions[code]; got.status >= 500 || code == "UnknownOperationException" || code != "" && !known {
			t.Errorf("%s: %d %s", filepath.Base(file), got.status, got.body)
		}
	}
}

// TestEverySDKOperationIsKnown replays the SDK's own requests: each is found
// under its name, served or not.
func TestEverySDKOperationIsKnown(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(snapshots(t), "*.request.snap"))
	if err != nil || len(files) < 80 {
		t.Fatalf("found %d recorded requests, want the SDK's 87: %v", len(files), err)
	}
	table := newRouteTable(lambdaRoutes())
	known := map[string]bool{"InvokeWithResponseStream": true} // the SDK has no snapshot of it; tested below
	for _, file := range files {
		want := strings.TrimSuffix(filepath.Base(file), ".request.snap")
		known[want] = true
		r, _ := recorded(t, file)
		var p params
		rt := table.match(r, &p)
		if rt == nil {
			t.Errorf("%s: %s %s is no known operation", want, r.Method, r.URL)
		} else if rt.operation != want {
			t.Errorf("%s %s is taken for %s, want %s", r.Method, r.URL, rt.operation, want)
		}
	}
	for _, rt := range lambdaRoutes() {
		if !known[rt.operation] {
			t.Errorf("%s is in the table and not in the SDK", rt.operation)
		}
		delete(known, rt.operation)
	}
	if len(known) > 0 {
		t.Errorf("not in the table: %v", known)
	}
}

// TestMissingOperationsSaySo sends each operation that is not built and
// expects an answer with its name.
func TestMissingOperationsSaySo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	missing := 0
	for _, rt := range missingRoutes() {
		missing++
		path := strings.ReplaceAll(rt.template, "{}", "x")
		if rt.find != "" {
			path += "?find=" + rt.find + "&List=" + rt.find
		}
		resp := b.send(t, rt.method, path, nil)
		if resp.status != 400 || resp.header.Get(headerErrorType) != "InvalidParameterValueException" ||
			!strings.Contains(resp.body, "The operation "+rt.operation+" is not available") {
			t.Errorf("%s %s: %d %s", rt.method, path, resp.status, resp.body)
		}
	}
	if missing < 45 {
		t.Errorf("only %d operations were tried", missing)
	}
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, path := range []string{"/", "/2015-03-31", "/2015-03-31/functions/a/b/c/d/e/f/g/h", "/2015-03-31//functions", "/2014-01-01/functions"} {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: path, RawPath: path}}
		var p params
		if rt := newRouteTable(lambdaRoutes()).match(r, &p); rt != nil {
			t.Errorf("%s is taken for %s", path, rt.operation)
		}
	}
	resp := b.send(t, "PATCH", "/2015-03-31/functions/hello", nil)
	if resp.status != 404 || resp.header.Get(headerErrorType) != "UnknownOperationException" || !strings.Contains(resp.body, "PATCH /2015-03-31/functions/hello") {
		t.Errorf("got %d %s", resp.status, resp.body)
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	table := newRouteTable(lambdaRoutes())
	for _, tc := range []struct {
		method, path, operation string
		params                  params
	}{
		{"GET", "/2015-03-31/functions/", "ListFunctions", params{}}, // old clients send the slash
		{"POST", "/2015-03-31/functions/hello/invocations", "Invoke", params{"hello"}},
		{"POST", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A111111111111%3Afunction%3Ahello/invocations", "Invoke", params{"arn:aws:lambda:us-east-1:111111111111:function:hello"}},
		{"GET", "/2015-03-31/functions/hello/aliases/a%2Fb", "GetAlias", params{"hello", "a/b"}},
		{"GET", "/2019-09-30/functions/x/provisioned-concurrency", "GetProvisionedConcurrencyConfig", params{"x"}},
		{"GET", "/2019-09-30/functions/x/provisioned-concurrency?List=ALL", "ListProvisionedConcurrencyConfigs", params{"x"}},
		{"GET", "/2018-10-31/layers?find=LayerVersion&Arn=x", "GetLayerVersionByArn", params{}},
		{"POST", "/2021-11-15/functions/f/response-streaming-invocations", "InvokeWithResponseStream", params{"f"}},
	} {
		u, err := url.ParseRequestURI(tc.path)
		if err != nil {
			t.Fatal(err)
		}
		var p params
		rt := table.match(&http.Request{Method: tc.method, URL: u}, &p)
		if rt == nil || rt.operation != tc.operation {
			t.Errorf("%s %s: got %v, want %s", tc.method, tc.path, rt, tc.operation)
			continue
		}
		if p != tc.params {
			t.Errorf("%s: values %q, want %q", tc.path, p, tc.params)
		}
	}
}

func TestQueryValue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		query, want string
		fails       bool
	}{
		{"", "", false}, {"Qualifier=1", "1", false}, {"a=b&Qualifier=%24LATEST", "$LATEST", false}, {"Qualifier=a+b", "a b", false},
		{"Qualifier=1&Qualifier=2", "", true}, {"Qualifie%72=1&Qualifier=2", "", true}, {"Qualifier=%zz", "", true}, {"%zz=1", "", true}, {"qualifier=1", "", false},
	} {
		got, err := queryValue(tc.query, "Qualifier")
		if got != tc.want || (err != nil) != tc.fails {
			t.Errorf("queryValue(%q) gave %q, %v", tc.query, got, err)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("queryValue(%q) fails as %v", tc.query, err)
		}
	}
}

// FuzzPath shows that no path makes the router fail, that a match has the
// segments of its template, and that a query never changes more than the
// operations that are told apart by it.
func FuzzPath(f *testing.F) {
	for _, rt := range lambdaRoutes() {
		f.Add(rt.method, rt.template, "find=LayerVersion")
	}
	f.Add("POST", "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations/", "List=ALL&List=ALL")
	table := newRouteTable(lambdaRoutes())
	f.Fuzz(func(t *testing.T, method, path, query string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		u.RawQuery = query
		var p params
		rt := table.match(&http.Request{Method: method, URL: u}, &p)
		if rt == nil {
			return
		}
		if rt.method != method || strings.Count(strings.TrimSuffix(u.EscapedPath(), "/"), "/") != len(rt.segments) {
			t.Errorf("%s %q is taken for %s", method, path, rt.operation)
		}
		if _, err := functionReference(p[0]); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("the name %q fails as %v", p[0], err)
		}
	})
}

func TestTableIsSound(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, rt := range lambdaRoutes() {
		form := rt.method + " " + placeholders(rt.template) + " " + rt.find
		if other, twice := seen[form]; twice {
			t.Errorf("%s and %s have the same path", rt.operation, other)
		}
		seen[form] = rt.operation
		if strings.Count(rt.template, "{") > len(params{}) || strings.Count(rt.template, "/") > mostSegments {
			t.Errorf("%s has more parts than a match holds", rt.operation)
		}
	}
}

func placeholders(template string) string {
	parts := strings.Split(template, "/")
	for i, s := range parts {
		if strings.HasPrefix(s, "{") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}
