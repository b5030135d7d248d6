package adminapi

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/meter"
	"github.com/carrel-dev/carrel/observe/logs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// routes are the operations, each with a request that is well formed.
var routes = []struct{ method, path, body string }{
	{"POST", "/v1/tenants", `{"tenantId":"initech"}`},
	{"GET", "/v1/tenants", ""},
	{"GET", "/v1/tenants/globex", ""},
	{"POST", "/v1/tenants/globex/suspend", ""},
	{"POST", "/v1/tenants/globex/resume", ""},
	{"PUT", "/v1/tenants/globex/plan", `{"plan":"unlimited"}`},
	{"DELETE", "/v1/tenants/globex", ""},
	{"GET", "/v1/plans", ""},
	{"POST", "/v1/default-roles", ""},
	{"GET", "/v1/usage", ""},
	{"GET", "/v1/usage/records", ""},
	{"GET", "/v1/functions/greeter/logs", ""},
	{"PUT", "/v1/functions/greeter/schema", `{"schema":"true"}`},
	{"GET", "/v1/functions/greeter/schema", ""},
	{"DELETE", "/v1/functions/greeter/schema", ""},
	{"GET", "/v1/events", ""},
	{"GET", "/v1/organization", ""},
	{"POST", "/v1/organization/units", `{"name":"emea"}`},
	{"DELETE", "/v1/organization/units/unit-1", ""},
	{"PUT", "/v1/tenants/globex/unit", `{"unit":"emea"}`},
	{"PUT", "/v1/policies/policy-1", `{"policy":"{}"}`},
	{"GET", "/v1/policies", ""},
	{"GET", "/v1/policies/policy-1", ""},
	{"DELETE", "/v1/policies/policy-1", ""},
	{"POST", "/v1/policies/policy-1/attach", `{"target":"root","as":"scp"}`},
	{"POST", "/v1/policies/policy-1/detach", `{"target":"root","as":"rcp"}`},
	{"PUT", "/v1/tenants/globex/gatekeepers/role-1", `{"reason":"it hands out one report"}`},
	{"DELETE", "/v1/tenants/globex/gatekeepers/role-1", ""},
	{"PUT", "/v1/layouts/layout-1", `{"pattern":"arn:aws:s3:::a/{tenant}/*"}`},
	{"GET", "/v1/layouts", ""},
	{"DELETE", "/v1/layouts/layout-1", ""},
	{"POST", "/v1/shares", `{"resource":"arn:aws:s3:::a/acme/*","with":"globex","reason":"it is asked for"}`},
	{"GET", "/v1/shares", ""},
	{"DELETE", "/v1/shares/share-1", ""},
	{"POST", "/v1/links", `{"endTenant":"blue","account":"globex"}`},
	{"GET", "/v1/links", ""},
	{"POST", "/v1/links/link-1/accept", ""},
	{"DELETE", "/v1/links/link-1", ""},
	{"POST", "/v1/functions/greeter/rollout", `{"percent":5}`},
	{"GET", "/v1/functions/greeter/rollout", ""},
	{"POST", "/v1/functions/greeter/rollout/promote", ""},
	{"POST", "/v1/functions/greeter/rollout/rollback", ""},
	{"PUT", "/v1/functions/greeter/pins/blue", `{"version":"1"}`},
	{"DELETE", "/v1/functions/greeter/pins/blue", ""},
	{"POST", "/v1/tokens", `{"scope":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}"}`},
	{"GET", "/v1/claim-tags", ""},
	{"PUT", "/v1/claim-tags", `{"provider":"arn:aws:iam::123456789012:oidc-provider/idp.example","claims":{"team":"team"}}`},
	{"POST", "/v1/sessions/revoke", `{"what":"*","tenant":"globex"}`},
	{"GET", "/v1/prove", ""},
	{"PUT", "/v1/findings/0f3a9c5e7b1d2468", `{"reason":"it is looked at"}`},
	{"POST", "/v1/tenants/globex/break-glass", `{"role":"fn","reason":"it is asked for"}`},
	{"GET", "/v1/audit", ""},
	{"GET", "/v1/status", ""},
}

// named puts the parameters of paths in the place of what the tests name.
var named = strings.NewReplacer("/globex", "/{slug}", "/greeter", "/{name}", "/unit-1", "/{unit}", "/policy-1", "/{name}",
	"/role-1", "/{role}", "/layout-1", "/{name}", "/share-1", "/{id}", "/link-1", "/{id}", "/pins/blue", "/pins/{endTenant}",
	"/0f3a9c5e7b1d2468", "/{finding}")

func TestDocumentListsEveryRoute(t *testing.T) {
	t.Parallel()
	h := newHandler(Config{Control: newWorld(t).control})
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Responses   map[string]any
		}
	}
	if err := json.Unmarshal(h.document, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("version %q", doc.OpenAPI)
	}
	count := 0
	for _, operations := range doc.Paths {
		for method, op := range operations {
			count++
			if op.OperationID == "" || op.Responses["default"] == nil {
				t.Errorf("%s %+v lacks an id or its errors", method, op)
			}
		}
	}
	if count != len(routes) {
		t.Errorf("the document has %d operations, the tests know %d", count, len(routes))
	}
	for _, r := range routes {
		path := named.Replace(r.path)
		if _, found := doc.Paths[path][strings.ToLower(r.method)]; !found {
			t.Errorf("%s %s is not in the document", r.method, path)
		}
	}
	for _, foreign := range []string{"problem+json", "ErrorModel", "huma"} {
		if strings.Contains(string(h.document), foreign) {
			t.Errorf("the document speaks of %s, which no answer has", foreign)
		}
	}
}

func TestDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.send(t, must(http.NewRequestWithContext(t.Context(), "GET", w.server.URL+"/v1/openapi.json", nil)))
	file := filepath.Join("..", "..", "docs", "reference", "openapi.json")
	if *update {
		if err := os.WriteFile(file, []byte(a.body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if a.body != string(golden) {
		t.Error("docs/reference/openapi.json is not current: run go test ./gateway/adminapi -update")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTenantLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.do(t, w.operator, "POST", "/v1/tenants", `{"tenantId":"acme","tags":{"tier":"gold"}}`)
	if a.status != http.StatusCreated {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	var made map[string]string
	a.decode(t, &made)
	for _, name := range []string{"tenantId", "accountId", "accessKeyId", "secretAccessKey", "endpointUrl", "region", "userArn", "roleArn"} {
		if made[name] == "" {
			t.Errorf("%s is missing", name)
		}
		delete(made, name)
	}
	if len(made) != 0 {
		t.Errorf("more than was promised: %v", made)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("an answer with a secret may be stored by caches")
	}
	for _, step := range []struct {
		method, path, body string
		want               int
		status, plan       string
	}{
		{"GET", "/v1/tenants/acme", "", 200, "active", "default"},
		{"PUT", "/v1/tenants/acme/plan", `{"plan":"unlimited"}`, 200, "active", "unlimited"},
		{"PUT", "/v1/tenants/acme/plan", `{"plan":"golden"}`, 400, "", ""},
		{"POST", "/v1/tenants/acme/suspend", "", 200, "suspended", "unlimited"},
		{"POST", "/v1/tenants/acme/resume", "", 200, "active", "unlimited"},
		{"DELETE", "/v1/tenants/acme", "", 200, "closing", "unlimited"},
		{"POST", "/v1/tenants/acme/resume", "", 409, "", ""},
		{"POST", "/v1/tenants", `{"tenantId":"acme"}`, 409, "", ""},
		{"GET", "/v1/tenants/globex", "", 404, "", ""},
		{"POST", "/v1/tenants/carrel/suspend", "", 400, "", ""},
	} {
		a := w.do(t, w.operator, step.method, step.path, step.body)
		if a.status != step.want {
			t.Fatalf("%s %s: %d %s", step.method, step.path, a.status, a.body)
		}
		if step.want != 200 {
			a.problem(t)
			continue
		}
		var got Tenant
		a.decode(t, &got)
		if string(got.Status) != step.status || got.Plan != step.plan || got.Tags["tier"] != "gold" {
			t.Errorf("%s %s gave %+v", step.method, step.path, got)
		}
	}
}

func TestListsPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 7 {
		slug := fmt.Sprintf("tenant-%d", i)
		w.tenant(t, slug)
		want = append(want, slug)
	}
	got := follow(t, w, w.operator, "/v1/tenants?limit=3", func(v Tenant) string { return string(v.TenantID) })
	if !slices.Equal(got, append([]string{"carrel"}, want...)) {
		t.Errorf("tenants %v", got)
	}
	if got := follow(t, w, w.operator, "/v1/plans?limit=1", func(p Plan) string { return p.Name }); !slices.Equal(got, []string{"default", "small", "unlimited"}) {
		t.Errorf("plans %v", got)
	}
	if got := follow(t, w, w.operator, "/v1/events?limit=1&state=pending", func(e Event) string { return e.RequestID }); !slices.Equal(got, []string{"r1", "r2"}) {
		t.Errorf("events %v", got)
	}
	if last := w.events.asked[1]; last.Cursor != "after-r1" || last.State != EventPending || last.Owner == "" {
		t.Errorf("the second part was asked for with %+v", last)
	}
}

// follow reads a whole list.
func follow[T any](t *testing.T, w *world, who control.Credentials, path string, name func(T) string) (names []string) {
	t.Helper()
	cursor := ""
	for range 50 {
		var p Page[T]
		a := w.do(t, who, "GET", path+cursor)
		if a.status != 200 {
			t.Fatalf("GET %s%s: %d %s", path, cursor, a.status, a.body)
		}
		a.decode(t, &p)
		for _, v := range p.Items {
			names = append(names, name(v))
		}
		if p.NextCursor == "" {
			return names
		}
		cursor = "&cursor=" + p.NextCursor
	}
	t.Fatalf("%s has no end", path)
	return nil
}

func TestTenantsSeeOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme, globex := w.tenant(t, "acme"), w.tenant(t, "globex")
	w.function(t, acme, "greeter")
	w.function(t, globex, "other")
	w.ledger.totals[acme.AccountID] = []meter.Total{{Account: acme.AccountID, Function: "greeter", Calls: 3, MBMillis: 1664}}
	own := map[string]bool{
		"/v1/plans": true, "/v1/usage": true, "/v1/usage/records": true, "/v1/functions/greeter/logs": true, "/v1/events": true,
		"/v1/audit": true, "/v1/default-roles": true, "/v1/tokens": true, "/v1/prove": true, "/v1/functions/greeter/schema": true,
	}
	for _, r := range routes {
		a := w.do(t, acme, r.method, r.path, r.body)
		if strings.HasPrefix(r.path, "/v1/layouts") || strings.HasPrefix(r.path, "/v1/shares") || strings.HasPrefix(r.path, "/v1/links") ||
			strings.Contains(r.path, "/rollout") || strings.Contains(r.path, "/pins/") {
			continue // every account has its own; see TestLayoutsAndShares
		}
		if own[r.path] || r.method+" "+r.path == "GET /v1/claim-tags" {
			if a.status/100 != 2 {
				t.Errorf("own %s %s: %d %s", r.method, r.path, a.status, a.body)
			}
			continue
		}
		if p := a.problem(t); a.status != http.StatusForbidden || p.Kind != fault.Denied.String() {
			t.Errorf("%s %s as a tenant: %d %+v", r.method, r.path, a.status, p)
		}
	}
	// A tenant that is there and one that is not look the same from outside.
	texts := map[string]bool{}
	for _, name := range []string{"globex", "nobody"} {
		for _, path := range []string{"/v1/usage?tenant=", "/v1/usage/records?tenant=", "/v1/tenants/"} {
			a := w.do(t, acme, "GET", path+name)
			if a.status != http.StatusForbidden {
				t.Errorf("GET %s%s: %d %s", path, name, a.status, a.body)
			}
			texts[path+strings.ReplaceAll(a.problem(t).Message, name, "NAME")] = true
		}
	}
	if len(texts) != 3 {
		t.Errorf("the refusals tell which tenants exist: %v", texts)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if a := w.do(t, acme, method, "/v1/functions/other/schema", map[bool]string{true: `{"schema":"true"}`}[method == "PUT"]); a.status != 404 {
			t.Errorf("%s the schema of another's function: %d %s", method, a.status, a.body)
		}
	}
	if a := w.do(t, acme, "GET", "/v1/functions/other/logs"); a.status != 404 {
		t.Errorf("the log of another's function: %d %s", a.status, a.body)
	}
	if len(w.journal.refused) == 0 {
		t.Error("no refusal was audited")
	}
	for _, who := range []struct {
		credentials control.Credentials
		path        string
	}{{acme, "/v1/usage"}, {acme, "/v1/usage?tenant=acme"}, {w.operator, "/v1/usage?tenant=acme"}} {
		var p Page[UsageTotal]
		w.do(t, who.credentials, "GET", who.path).decode(t, &p)
		if len(p.Items) != 1 || p.Items[0].Calls != 3 || p.Items[0].GBMillis != "1664" || p.Items[0].GBSeconds != "0.001625" || p.Items[0].Tenant != "acme" {
			t.Errorf("%s gave %+v", who.path, p)
		}
	}
}

func TestSuspendedTenantIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.tenant(t, "acme")
	if a := w.do(t, acme, "GET", "/v1/usage"); a.status != 200 {
		t.Fatalf("before: %d %s", a.status, a.body)
	}
	w.do(t, w.operator, "POST", "/v1/tenants/acme/suspend")
	a := w.do(t, acme, "GET", "/v1/usage")
	if p := a.problem(t); a.status != 403 || p.Kind != fault.Suspended.String() {
		t.Errorf("suspended: %d %+v", a.status, p)
	}
	w.do(t, w.operator, "POST", "/v1/tenants/acme/resume")
	if a := w.do(t, acme, "GET", "/v1/usage"); a.status != 200 {
		t.Errorf("after: %d %s", a.status, a.body)
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := func(t *testing.T) *http.Request { return w.request(t, w.operator, "GET", "/v1/tenants", "") }
	for name, tc := range map[string]struct {
		spoil func(*testing.T, *http.Request)
		code  string
	}{
		"none":            {func(_ *testing.T, r *http.Request) { r.Header.Del("Authorization") }, credential.CodeMissingAuthentication},
		"another query":   {func(_ *testing.T, r *http.Request) { r.URL.RawQuery = "limit=1" }, credential.CodeSignatureDoesNotMatch},
		"unsigned header": {func(_ *testing.T, r *http.Request) { r.Header.Set("X-Amz-Tenant-Id", "x") }, credential.CodeSignatureDoesNotMatch},
		"another service": {func(t *testing.T, r *http.Request) {
			r.Header.Del("Authorization")
			sign(t, r, w.operator, "lambda", "")
		}, credential.CodeSignatureDoesNotMatch},
		"another secret": {func(t *testing.T, r *http.Request) {
			stolen := w.operator
			stolen.SecretAccessKey = strings.Repeat("x", 40)
			sign(t, r, stolen, Service, "")
		}, credential.CodeSignatureDoesNotMatch},
		"unknown key": {func(t *testing.T, r *http.Request) {
			sign(t, r, control.Credentials{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretAccessKey: "x"}, Service, "")
		}, credential.CodeUnrecognizedClient},
	} {
		t.Run(name, func(t *testing.T) {
			r := good(t)
			tc.spoil(t, r)
			a := w.send(t, r)
			if p := a.problem(t); a.status != 403 || p.Code != tc.code {
				t.Errorf("%d %+v, want %s", a.status, p, tc.code)
			}
		})
	}
	t.Run("body", func(t *testing.T) {
		r := w.request(t, w.operator, "POST", "/v1/tenants", `{"tenantId":"acme"}`)
		other := must(http.NewRequest("POST", r.URL.String(), strings.NewReader(`{"tenantId":"evil"}`)))
		r.Body = other.Body
		if a := w.send(t, r); a.status != 403 {
			t.Errorf("another body: %d %s", a.status, a.body)
		}
	})
	if a := w.send(t, good(t)); a.status != 200 {
		t.Errorf("the unspoilt request: %d %s", a.status, a.body)
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
	}{
		"no operation":       {"GET", "/v1/nothing", "", 404},
		"no such method":     {"PATCH", "/v1/tenants", "", 404},
		"path with dots":     {"GET", "/v1/x/../tenants", "", 403},
		"not JSON":           {"POST", "/v1/tenants", `{"tenantId":`, 400},
		"empty body":         {"POST", "/v1/tenants", ``, 400},
		"no name":            {"POST", "/v1/tenants", `{}`, 422},
		"unknown member":     {"POST", "/v1/tenants", `{"tenantId":"acme","admin":true}`, 422},
		"wrong type":         {"POST", "/v1/tenants", `{"tenantId":["secret-in-the-wrong-place"]}`, 422},
		"bad name":           {"POST", "/v1/tenants", `{"tenantId":"Acme Corp"}`, 400},
		"wildcard":           {"GET", "/v1/tenants/*", "", 400},
		"colon":              {"GET", "/v1/tenants/a:b", "", 400},
		"slash in name":      {"GET", "/v1/tenants/a%2Fb", "", 400},
		"limit zero":         {"GET", "/v1/tenants?limit=0", "", 422},
		"limit too large":    {"GET", "/v1/tenants?limit=1001", "", 422},
		"unknown parameter":  {"GET", "/v1/tenants?limt=3", "", 422},
		"strange cursor":     {"GET", "/v1/plans?cursor=AAAA", "", 400},
		"cursor no base64":   {"GET", "/v1/plans?cursor=%25", "", 400},
		"bad function name":  {"GET", "/v1/functions/a.b/logs", "", 400},
		"unknown function":   {"GET", "/v1/functions/nothing/logs", "", 404},
		"wait too long":      {"GET", "/v1/functions/a/logs?wait=21", "", 422},
		"unknown state":      {"GET", "/v1/events?state=lost", "", 422},
		"body over the most": {"POST", "/v1/tenants", strings.Repeat(" ", MaxBody+1), 413},
		"body of the most":   {"POST", "/v1/tenants", `{"tenantId":"A"}` + strings.Repeat(" ", MaxBody-16), 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.do(t, w.operator, tc.method, tc.path, tc.body)
			if a.status != tc.status {
				t.Fatalf("%d %s, want %d", a.status, a.body, tc.status)
			}
			a.problem(t)
			if strings.Contains(a.body, "secret-in-the-wrong-place") {
				t.Error("the error repeats the value it refuses")
			}
		})
	}
}

func TestInternalCausesStayInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ledger.fail = errBroken
	a := w.do(t, w.operator, "GET", "/v1/usage/records")
	if p := a.problem(t); a.status != 500 || strings.Contains(a.body, "/secret/place") || p.Remedy == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme, globex := w.tenant(t, "acme"), w.tenant(t, "globex")
	at := time.Date(2026, 11, 22, 21, 0, 0, 123_000_000, time.UTC)
	for i := range 40 {
		who := globex
		if i%4 == 3 {
			who = acme
		}
		w.ledger.records = append(w.ledger.records, meter.Record{
			RequestID: fmt.Sprint("r", i), Attempt: 1, Account: who.AccountID, Function: "hello", Version: "7", Trigger: call.ViaInvoke,
			EndTenantID: "blue", Received: at, MemoryMB: 128, Result: call.OK,
			Usage: call.Usage{Cold: true, Init: 1900 * time.Microsecond, Duration: 12304 * time.Microsecond, MaxMemory: 22<<20 + 1,
				CPU: 9120 * time.Microsecond, Fuel: 274888302, BytesIn: 812, BytesOut: 2048, LogBytes: 96},
		})
	}
	var first Page[map[string]any]
	w.do(t, acme, "GET", "/v1/usage/records?limit=2").decode(t, &first)
	want := map[string]any{
		"requestId": "r3", "attempt": 1.0, "tenant": "acme", "functionName": "hello", "version": "7", "outcome": "ok", "trigger": "invoke",
		"coldStart": true, "initMs": "1.9", "durationMs": "12.304", "billedMs": 15.0, "memoryMB": 128.0, "maxMemoryMB": 23.0, "gbMs": "1920",
		"cpuMicros": 9120.0, "fuel": 274888302.0, "bytesIn": 812.0, "bytesOut": 2048.0, "logBytes": 96.0, "endCustomer": "blue", "checkMicros": 0.0,
		"time": "2026-11-22T21:00:00.123Z",
	}
	if got := fmt.Sprint(first.Items[0]); got != fmt.Sprint(want) {
		t.Errorf("record\n%v\nwant\n%v", got, want)
	}
	name := func(r UsageRecord) string { return r.RequestID }
	got := follow(t, w, acme, "/v1/usage/records?limit=3", name)
	if len(got) != 10 || got[0] != "r3" || got[9] != "r39" {
		t.Errorf("acme has records %v", got)
	}
	if got := follow(t, w, w.operator, "/v1/usage/records?limit=7&tenant=globex", name); len(got) != 30 {
		t.Errorf("globex has %d records", len(got))
	}
	// A cursor is for one list of one account, and tells nothing of the node.
	a := w.do(t, globex, "GET", "/v1/usage/records?cursor="+first.NextCursor)
	if a.status != 400 {
		t.Errorf("another's cursor: %d %s", a.status, a.body)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.tenant(t, "acme")
	w.function(t, acme, "greeter")
	old, recent := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	w.logs.print(logs.Entry{RequestID: "r1", Tenant: "acme", Version: "1", Received: old, Result: "ok", MemoryMB: 128, Text: "one\n"})
	w.logs.print(logs.Entry{RequestID: "r2", Tenant: "acme", Version: "1", Received: recent, Result: "timeout", MemoryMB: 128, Text: "two\n",
		Usage: call.Usage{Duration: 1500 * time.Microsecond, MaxMemory: 1}})
	read := func(query string) (p LogPage) {
		t.Helper()
		a := w.do(t, acme, "GET", "/v1/functions/greeter/logs"+query)
		if a.status != 200 {
			t.Fatalf("%s: %d %s", query, a.status, a.body)
		}
		a.decode(t, &p)
		return p
	}
	if p := read("?limit=1"); len(p.Entries) != 1 || !p.More || p.Next != 1 || p.Entries[0].Text != "one\n" {
		t.Errorf("first part %+v", p)
	}
	p := read("?since=2026-11-20T00:00:00Z")
	if len(p.Entries) != 1 || p.Entries[0].RequestID != "r2" || p.Entries[0].DurationMS != "1.5" || p.Entries[0].BilledMS != 2 || p.Entries[0].MaxMemoryMB != 1 {
		t.Errorf("since %+v", p)
	}
	if p := read("?from=2"); p.Entries == nil || len(p.Entries) != 0 || p.Next != 2 {
		t.Errorf("nothing new, without waiting: %+v", p)
	}
	asked := make(chan LogPage)
	go func() { asked <- read("?from=2&wait=20") }()
	w.logs.waitForQuery(t, 2, 2)
	w.logs.print(logs.Entry{RequestID: "r3", Received: recent, Text: "three\n"})
	select {
	case p := <-asked:
		if len(p.Entries) != 1 || p.Entries[0].RequestID != "r3" || p.Next != 3 {
			t.Errorf("what was waited for: %+v", p)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("waiting did not end with new entries")
	}
}

// waitForQuery waits until so many queries from a place were made.
func (l *logStore) waitForQuery(t *testing.T, from uint64, count int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		l.mu.Lock()
		n := 0
		for _, q := range l.asked {
			if q.From == from {
				n++
			}
		}
		l.mu.Unlock()
		if n >= count {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("only %d queries from %d", n, from)
		}
	}
}

func TestShutdownEndsWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.tenant(t, "acme")
	w.function(t, acme, "greeter")
	answered := make(chan answer, 1)
	r := w.request(t, acme, "GET", "/v1/functions/greeter/logs?wait=20", "")
	go func() { answered <- w.send(t, r) }()
	w.logs.waitForQuery(t, 0, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.server.Config.Shutdown(ctx); err != nil {
		t.Fatalf("the server waits for who waits: %v", err)
	}
	if a := <-answered; a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestPollsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPollers()
	var leave []func()
	for range maxPolls {
		l, err := p.enter(t.Context(), "111111111111")
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	if _, err := p.enter(t.Context(), "111111111111"); !fault.Is(err, fault.Throttled) {
		t.Errorf("one more: %v", err)
	}
	if l, err := p.enter(t.Context(), "222222222222"); err != nil {
		t.Errorf("another account: %v", err)
	} else {
		l()
	}
	leave[0]()
	if _, err := p.enter(t.Context(), "111111111111"); err != nil {
		t.Errorf("after one left: %v", err)
	}
}

func TestEveryKindIsMapped(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		if m := byKind[k]; m.status < 400 || m.code == "" {
			t.Errorf("%s has no status or code", k)
		}
	}
}

func TestDecimal(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		n, unit int64
		digits  int
		want    string
	}{
		{0, 1_000_000, 6, "0"}, {12_304_000, 1_000_000, 6, "12.304"}, {1, 1_000_000, 6, "0.000001"}, {-1_500_000, 1_000_000, 6, "-1.5"},
		{1, 1_024_000, 13, "0.0000009765625"}, {1_024_000, 1_024_000, 13, "1"}, {1<<63 - 1, 1_024_000, 13, "9007199254740.9919990234375"},
	} {
		if got := decimal(tc.n, tc.unit, tc.digits); got != tc.want {
			t.Errorf("%d/%d is %s, want %s", tc.n, tc.unit, got, tc.want)
		}
	}
}
