//go:build linux

package attack

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/attack"
	"github.com/carrel-dev/carrel/test/noderun"
)

// oddNames are names that somebody takes for another name, or that mean
// something to a store, a file system or a URL.
var oddNames = map[string][]string{
	"wildcards and separators": {"*", ">", ".", "a.b", "acme.*", "acme.>", "$SYS", "$JS.API", "_INBOX.x", "a*", "a b", "a,b", "a/b", `a\b`, "a;b", "a&b", "a=b", "a%b"},
	"paths":                    {"..", "../acme", "../../etc/passwd", "/etc/passwd", `C:\x`, `..\acme`, "%2e%2e", "%2e%2e%2facme", "%252e%252e", "acme/.", "acme/..", "./acme", "acme\x00", "\x00", "acme%00"},
	"Unicode":                  {"acmé", "acme\u0301", "аcme" /* Cyrillic a */, "acme\u200b", "\u202eemca", "acme\u00ad", "ａｃｍｅ", "ACMEİ", "acmeı", "acme\ufeff", "\xc0\xafacme", "acme\xff", "ﬁacme"},
	"case and form":            {"Acme", "ACME", "aCme", "-acme", "acme-", "1acme", "acme_", "acme ", " acme", "acme\n", "acme\r\n", "acme\t", ""},
	"markup":                   {"<script>", `"acme"`, "'acme'", "${tenant_id}", "{{acme}}", "acme\x1b[31m", `acme","x":"y`},
}

func eachOddName(do func(kind, name string)) {
	for kind, names := range oddNames {
		for _, n := range names {
			do(kind, n)
		}
	}
	do("long", strings.Repeat("a", 4_000))
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can be encoded
	}
	return string(b)
}

// tenantNames lists the tenants there are.
func (w *world) tenantNames(t *testing.T) (names []string) {
	t.Helper()
	out, err := w.node.CLI("tenant", "list", "--output", "json")
	var list []struct {
		TenantID string `json:"tenantId"`
	}
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, e := range list {
		names = append(names, e.TenantID)
	}
	return names
}

var grammar = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}[a-z0-9]$`)

func TestA01A04A05OddTenantNames(t *testing.T) {
	t.Parallel()
	w := &shared
	eachOddName(func(kind, name string) {
		got := w.call(t, w.operator, message{method: "POST", path: "/v1/tenants", service: "carrel", body: `{"tenantId":` + quote(name) + `}`})
		if got.status < 400 || got.status > 499 {
			t.Errorf("%s: tenant %q was made: %d %s", kind, name, got.status, got.body)
		}
		for _, m := range []message{{method: "GET"}, {method: "DELETE"}, {method: "POST", path: "/suspend"}} {
			m.path, m.service = "/v1/tenants/"+url.PathEscape(name)+m.path, "carrel"
			if name == "" || name == "." || name == ".." {
				continue // the client makes another path of it
			}
			got := w.call(t, w.operator, m)
			if got.status < 400 || got.status > 499 {
				t.Errorf("%s: %s of tenant %q: %d %s", kind, m.method, name, got.status, got.body)
			}
		}
	})
	for _, raw := range []string{"acme/../globex", "./acme", "%2e%2e/acme", "..%2facme", "%61cme%2fsuspend", "acme%00", "acme/"} {
		got := w.call(t, w.operator, message{method: "DELETE", path: "/v1/tenants/" + raw, service: "carrel"})
		if got.status < 300 {
			t.Errorf("DELETE of %s: %d %s", raw, got.status, got.body)
		}
	}
	names := w.tenantNames(t)
	for _, n := range names {
		if !grammar.MatchString(n) && n != "management" && n != "root" && n != "operators" {
			t.Errorf("there is a tenant named %q", n)
		}
	}
	for _, n := range []string{"acme", "globex"} {
		got := w.call(t, w.operator, message{method: "GET", path: "/v1/tenants/" + n, service: "carrel"})
		if !slices.Contains(names, n) || got.status != 200 || !strings.Contains(got.body, `"active"`) {
			t.Errorf("%s after all that: %v %s", n, names, got.body)
		}
	}
}

func TestA01A04OddFunctionNames(t *testing.T) {
	t.Parallel()
	w := &shared
	w.deploy(t, w.acme, deployed{name: "a01", code: harmless()})
	w.deploy(t, w.globex, deployed{name: "a01-theirs", code: harmless()})
	eachOddName(func(kind, name string) {
		// These are names by Lambda's own rule.
		if regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`).MatchString(name) {
			return
		}
		create := message{method: "POST", path: "/2015-03-31/functions", body: fmt.Sprintf(
			`{"FunctionName":%s,"Role":%s,"Runtime":"wasm","Handler":"handle","Code":{"ZipFile":""}}`, quote(name), quote(w.acme.Role()))}
		for _, m := range []message{create,
			{method: "POST", path: "/2015-03-31/functions/" + url.PathEscape(name) + "/invocations"},
			{method: "DELETE", path: "/2015-03-31/functions/" + url.PathEscape(name)},
			{method: "GET", path: "/2015-03-31/functions/" + url.PathEscape(name) + "/configuration"},
			{method: "GET", path: "/2015-03-31/functions/a01/aliases/" + url.PathEscape(name)},
			{method: "POST", path: "/2015-03-31/functions/a01/aliases", body: `{"Name":` + quote(name) + `,"FunctionVersion":"$LATEST"}`},
			{method: "GET", path: "/2015-03-31/functions/a01?Qualifier=" + url.QueryEscape(name)},
			{method: "GET", path: "/v1/functions/" + url.PathEscape(name) + "/logs", service: "carrel"},
			{method: "GET", path: "/v1/events?cursor=" + url.QueryEscape(name), service: "carrel"},
			{method: "GET", path: "/v1/usage/records?cursor=" + url.QueryEscape(name), service: "carrel"},
			{method: "GET", path: "/2015-03-31/functions?Marker=" + url.QueryEscape(name)},
		} {
			if name == "" && m.body == "" || strings.Trim(name, "./") == "" && m.body == "" {
				continue // another path, or no value at all
			}
			got := w.call(t, w.acme, m)
			if got.status >= 500 || strings.Contains(got.body, "a01-theirs") || got.status < 300 && m.method != "GET" {
				t.Errorf("%s: %s %s: %d %s", kind, m.method, m.path, got.status, got.body)
			}
		}
	})
	if got := w.call(t, w.acme, message{method: "GET", path: "/2015-03-31/functions/a01"}); got.status != 200 {
		t.Errorf("the function with an ordinary name: %d %s", got.status, got.body)
	}
	outside(t, w)
}

// outside looks for files that a name could have made beside the data.
func outside(t *testing.T, w *world) {
	t.Helper()
	entries, err := os.ReadDir(w.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "node", "node.key", "node.keys", "guest.wasm":
		default:
			t.Errorf("there is %s beside the data folder", filepath.Join(w.data, e.Name()))
		}
	}
}

func TestA02PrefixNames(t *testing.T) {
	t.Parallel()
	w := &shared
	names := []string{"acme-a02", "acme-a02x", "acme-a02-eu", "acme-a0"}
	tenants := map[string]noderun.Tenant{}
	for _, n := range names {
		tenants[n] = w.tenant(t, n)
		for _, f := range []string{"f", "f2"} {
			w.deploy(t, tenants[n], deployed{name: f, code: harmless()})
		}
	}
	if got := w.call(t, tenants["acme-a02"], message{method: "DELETE", path: "/2015-03-31/functions/f"}); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if _, err := w.node.CLI("tenant", "delete", "acme-a0", "--yes"); err != nil {
		if _, err := w.node.CLI("tenant", "delete", "acme-a0"); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"acme-a02": "f2", "acme-a02x": "f f2", "acme-a02-eu": "f f2"} {
		got := w.call(t, tenants[name], message{method: "GET", path: "/2015-03-31/functions"})
		var list struct {
			Functions []struct{ FunctionName, FunctionArn string }
		}
		if err := json.Unmarshal([]byte(got.body), &list); err != nil {
			t.Fatalf("%v: %s", err, got.body)
		}
		var names []string
		for _, f := range list.Functions {
			names = append(names, f.FunctionName)
			if !strings.Contains(f.FunctionArn, tenants[name].AccountID) {
				t.Errorf("%s sees %s", name, f.FunctionArn)
			}
		}
		slices.Sort(names)
		if strings.Join(names, " ") != want {
			t.Errorf("%s has the functions %v, want %s", name, names, want)
		}
		w.must(t, tenants[name], "f2", "1")
	}
	if got := w.call(t, tenants["acme-a0"], message{method: "GET", path: "/2015-03-31/functions"}); got.status != 403 {
		t.Errorf("a deleted tenant: %d %s", got.status, got.body)
	}
}

func TestA05CaseTwins(t *testing.T) {
	t.Parallel()
	w := &shared
	w.deploy(t, w.acme, deployed{name: "a05", code: w.guest, each: true})
	as := func(id string) answer {
		return w.call(t, w.acme, message{method: "POST", path: fmt.Sprintf(invocations, "a05"), body: `{"do":"echo"}`,
			header: map[string]string{"X-Amz-Tenant-Id": id}})
	}
	if got := as("Twin-a05"); got.status != 200 || !strings.Contains(got.body, `"Twin-a05"`) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for _, twin := range []string{"twin-a05", "TWIN-A05", "Twin-A05"} {
		if got := as(twin); got.status < 400 || got.status > 499 {
			t.Errorf("%s beside Twin-a05: %d %s", twin, got.status, got.body)
		}
	}
	for _, odd := range []string{"*", "a.b", "a>b", "..", "a/b", "ä", "-a", "_a", "a b", strings.Repeat("a", 65)} {
		if got := as(odd); got.status != 400 {
			t.Errorf("end tenant %q: %d %s", odd, got.status, got.body)
		}
	}
	if got := as("Twin-a05"); got.status != 200 {
		t.Errorf("the first again: %d %s", got.status, got.body)
	}
	if got := as("globex"); got.status != 200 || !strings.Contains(got.body, w.acme.AccountID) {
		t.Errorf("an end tenant named like another account: %d %s", got.status, got.body)
	}
}

func TestA07ForeignFunctions(t *testing.T) {
	t.Parallel()
	w := &shared
	w.deploy(t, w.acme, deployed{name: "a07-secret", code: harmless()})
	for _, m := range []message{
		{method: "POST", path: "/2015-03-31/functions/a07-secret/versions", body: "{}"},
		{method: "POST", path: "/2015-03-31/functions/a07-secret/aliases", body: `{"Name":"live","FunctionVersion":"1"}`},
		{method: "PUT", path: "/2019-09-25/functions/a07-secret/event-invoke-config", body: `{"MaximumRetryAttempts":1}`},
		{method: "PUT", path: "/2017-10-31/functions/a07-secret/concurrency", body: `{"ReservedConcurrentExecutions":7}`},
	} {
		if got := w.call(t, w.acme, m); got.status > 299 {
			t.Fatalf("%s: %d %s", m.path, got.status, got.body)
		}
	}
	before := w.call(t, w.acme, message{method: "GET", path: "/2015-03-31/functions/a07-secret"})
	forms := []string{
		"%s", "function:%s", "ACCOUNT:function:%s", "ACCOUNT:%s", "arn:aws:lambda:us-east-1:ACCOUNT:function:%s", "arn:aws:lambda:us-east-1:ACCOUNT:function:%s:live",
		"arn:aws:lambda:us-east-1:ACCOUNT:function:%s:1",
	}
	for _, op := range attack.Operations() {
		for _, form := range forms {
			var got [2]string
			for i, name := range []string{"a07-secret", "a07-absent"} {
				full := fmt.Sprintf(strings.ReplaceAll(form, "ACCOUNT", w.acme.AccountID), name)
				m := message{method: op.Method, body: op.Body}
				m.path = fmt.Sprintf(op.Path, url.PathEscape(full))
				a := w.call(t, w.globex, m)
				if a.status < 400 || a.status > 499 {
					t.Errorf("globex: %s %s: %d %s", m.method, m.path, a.status, a.body)
				}
				got[i] = fmt.Sprint(a.status, " ", a.header.Get("X-Amzn-Errortype"), " ", strings.ReplaceAll(a.body, name, "NAME"))
			}
			if got[0] != got[1] {
				t.Errorf("%s %s tells %s from what is not there:\n%s\n%s", op.Method, op.Path, form, got[0], got[1])
			}
		}
	}
	got := w.call(t, w.globex, message{method: "POST", path: "/2015-03-31/functions", body: fmt.Sprintf(
		`{"FunctionName":"arn:aws:lambda:us-east-1:%s:function:a07-new","Role":%s,"Runtime":"wasm","Handler":"handle","Code":{"ZipFile":"AGFzbQEAAAA="}}`, w.acme.AccountID, quote(w.globex.Role()))})
	if got.status < 400 || got.status > 499 {
		t.Errorf("globex makes a function in acme's account: %d %s", got.status, got.body)
	}
	got = w.call(t, w.globex, message{method: "POST", path: "/2015-03-31/functions", body: fmt.Sprintf(
		`{"FunctionName":"a07-role","Role":%s,"Runtime":"wasm","Handler":"handle","Code":{"ZipFile":"AGFzbQEAAAA="}}`, quote(w.acme.Role()))})
	if got.status < 400 || got.status > 499 {
		t.Errorf("globex gives a function acme's role: %d %s", got.status, got.body)
	}
	if after := w.call(t, w.acme, message{method: "GET", path: "/2015-03-31/functions/a07-secret"}); before.status != 200 || after.body != before.body {
		t.Errorf("acme's function changed:\n%s\n%s", before.body, after.body)
	}
	w.must(t, w.acme, "a07-secret", "1")
}

// ownOperations show or change what is one's own, or show what is everybody's.
var ownOperations = []string{
	"get /v1/claim-tags", "get /v1/events", "get /v1/plans", "get /v1/shares", "get /v1/links", "get /v1/layouts", "post /v1/default-roles",
}

// TestA07ForeignAdmin asks for every operation of the /v1 API, as its own
// document lists them, about another tenant.
func TestA07ForeignAdmin(t *testing.T) {
	t.Parallel()
	w := &shared
	w.deploy(t, w.acme, deployed{name: "a07-logs", code: w.guest})
	w.must(t, w.acme, "a07-logs", `{"do":"print","text":"secret of acme"}`)
	text, err := os.ReadFile("../../docs/reference/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Paths) < 8 {
		t.Fatalf("%d paths: %v", len(doc.Paths), err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			var got [2]string
			for i, names := range [][2]string{{"acme", "a07-logs"}, {"amce", "a07-slog"}} {
				full := strings.NewReplacer("{slug}", names[0], "{name}", names[1]).Replace(path)
				body := map[string]string{"put": `{"plan":"unlimited"}`, "post": ``}[method]
				if path == "/v1/tenants" && method == "post" {
					body = `{"tenantId":"` + names[0] + `"}`
				}
				if strings.HasPrefix(path, "/v1/usage") || path == "/v1/audit" || path == "/v1/prove" {
					full += "?tenant=" + names[0]
				}
				a := w.call(t, w.globex, message{method: strings.ToUpper(method), path: full, body: body, service: "carrel"})
				own := slices.Contains(ownOperations, method+" "+path)
				if own != (a.status == 200) || a.status > 499 || strings.Contains(a.body, "secret of acme") || strings.Contains(a.body, w.acme.AccountID) {
					t.Errorf("globex: %s %s: %d %s", method, full, a.status, a.body)
				}
				a.body = regexp.MustCompile(`"requestId":"[^"]*"`).ReplaceAllString(a.body, "")
				got[i] = strings.NewReplacer(names[0], "SLUG", names[1], "NAME").Replace(fmt.Sprint(a.status, " ", a.body))
			}
			if got[0] != got[1] {
				t.Errorf("%s %s tells what is there from what is not:\n%s\n%s", method, path, got[0], got[1])
			}
		}
	}
	var log struct {
		Items []struct {
			AccountID string `json:"accountId"`
		}
	}
	got := w.call(t, w.globex, message{method: "GET", path: "/v1/audit", service: "carrel"})
	if err := json.Unmarshal([]byte(got.body), &log); err != nil || got.status != 200 || len(log.Items) == 0 {
		t.Errorf("globex's own audit log: %d, %d entries, %v", got.status, len(log.Items), err)
	}
	for _, item := range log.Items {
		if item.AccountID != w.globex.AccountID {
			t.Errorf("globex's audit log has an entry of account %s", item.AccountID)
		}
	}
	for _, path := range []string{"/v1/usage", "/v1/usage/records", "/v1/functions/a07-logs/logs", "/v1/audit"} {
		if got := w.call(t, w.acme, message{method: "GET", path: path, service: "carrel"}); got.status != 200 {
			t.Errorf("acme itself: %s: %d %s", path, got.status, got.body)
		}
	}
}
