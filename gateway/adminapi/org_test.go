package adminapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/audit"
)

// step is a request, of the tenant acme or the operator, with what is wanted of
// its answer: the status and a part of the body.
type step struct {
	tenant             bool
	method, path, body string
	status             int
	part               string
}

func (w *world) steps(t *testing.T, steps []step) {
	t.Helper()
	acme := w.tenant(t, "acme")
	w.tenant(t, "globex")
	for _, s := range steps {
		who := w.operator
		if s.tenant {
			who = acme
		}
		path := strings.NewReplacer("ACME", string(acme.AccountID)).Replace(s.path)
		body := strings.NewReplacer("ACME", string(acme.AccountID)).Replace(s.body)
		a := w.do(t, who, s.method, path, body)
		if a.status != s.status || !strings.Contains(a.body, s.part) {
			t.Errorf("%s %s %s: %d %s", s.method, path, body, a.status, a.body)
		}
	}
}

func TestOrganizationLife(t *testing.T) {
	t.Parallel()
	deny := `{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}`
	newWorld(t).steps(t, []step{
		{false, "POST", "/v1/organization/units", `{"name":"emea"}`, 201, `"parent":"r-root"`},
		{false, "POST", "/v1/organization/units", `{"name":"emea"}`, 409, "ConflictException"},
		{false, "PUT", "/v1/tenants/acme/unit", `{"unit":"emea"}`, 200, `"done":true`},
		{false, "PUT", "/v1/tenants/acme/unit", `{"unit":"apac"}`, 404, "no unit"},
		{false, "DELETE", "/v1/organization/units/emea", "", 409, "not empty"},
		{false, "PUT", "/v1/policies/no-s3", `{"policy":"` + deny + `","description":"no storage"}`, 200, `"version":"v1"`},
		{false, "PUT", "/v1/policies/no-s3", `{"policy":"{}"}`, 400, "MalformedPolicyDocument"},
		{false, "POST", "/v1/policies/no-s3/attach", `{"target":"emea","as":"scp"}`, 200, `"done":true`},
		{false, "POST", "/v1/policies/no-s3/attach", `{"target":"emea","as":"rcp"}`, 400, "MalformedPolicyDocument"},
		{false, "POST", "/v1/policies/no-s3/attach", `{"target":"emea","as":"both"}`, 422, "ValidationException"},
		{false, "GET", "/v1/policies", "", 200, `"targets":["ou-`},
		{false, "GET", "/v1/policies/no-s3", "", 200, `\"Deny\"`},
		{false, "GET", "/v1/organization?limit=3", "", 200, `"nextCursor"`},
		{false, "GET", "/v1/organization", "", 200, "policy/no-s3"},
		{false, "DELETE", "/v1/policies/no-s3", "", 409, "unit emea"},
		{false, "POST", "/v1/policies/no-s3/detach", `{"target":"emea","as":"scp"}`, 200, `"done":true`},
		{false, "DELETE", "/v1/policies/no-s3", "", 200, `"done":true`},
		{false, "GET", "/v1/policies/no-s3", "", 404, "ResourceNotFoundException"},
		{false, "PUT", "/v1/tenants/acme/unit", `{"unit":"root"}`, 200, ""},
		{false, "DELETE", "/v1/organization/units/emea", "", 200, ""},
		{false, "PUT", "/v1/tenants/acme/gatekeepers/fn", `{"reason":"one report"}`, 200, ""},
		{false, "PUT", "/v1/tenants/acme/gatekeepers/fn", `{"reason":""}`, 422, "ValidationException"},
		{false, "PUT", "/v1/tenants/acme/gatekeepers/none", `{"reason":"one report"}`, 404, ""},
		{false, "DELETE", "/v1/tenants/acme/gatekeepers/fn", "", 200, ""},
		{true, "DELETE", "/v1/tenants/acme/gatekeepers/fn", "", 403, ""},
		{false, "POST", "/v1/organization/units?acceptUnknown=because", `{"name":"apac"}`, 201, ""},
		{true, "PUT", "/v1/layouts/l?acceptUnknown=because", `{"pattern":"arn:aws:dynamodb:us-east-1:ACME:table/t-{tenant}"}`, 403, "AcceptUnknown"},
	})
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	newWorld(t).steps(t, []step{
		{false, "GET", "/v1/prove", "", 200, `"result":"proved"`},
		{false, "GET", "/v1/prove?tenant=acme", "", 200, `"result":"proved"`},
		{false, "GET", "/v1/prove?tenant=none", "", 404, "ResourceNotFoundException"},
		{true, "GET", "/v1/prove", "", 200, `"result":"proved"`},
		{true, "GET", "/v1/prove?tenant=globex", "", 403, "carrel:ProveIsolation"},
		{false, "PUT", "/v1/findings/0f3a9c5e7b1d2468", `{"reason":"looked at"}`, 200, `"done":true`},
		{false, "PUT", "/v1/findings/none", `{"reason":"looked at"}`, 400, "no id of a finding"},
		{true, "PUT", "/v1/findings/0f3a9c5e7b1d2468", `{"reason":"looked at"}`, 403, "carrel:AcceptUnknown"},
		{false, "POST", "/v1/tenants/acme/break-glass", `{"role":"fn","reason":"ticket 7"}`, 201, "assumed-role/fn/break-glass"},
		{false, "POST", "/v1/tenants/acme/break-glass", `{"role":"fn","reason":" "}`, 400, "reason"},
		{false, "POST", "/v1/tenants/acme/break-glass", `{"role":"fn","reason":"ticket 7","seconds":3601}`, 422, "ValidationException"},
		{false, "POST", "/v1/tenants/acme/break-glass", `{"role":"none","reason":"ticket 7"}`, 404, "no role"},
		{true, "POST", "/v1/tenants/acme/break-glass", `{"role":"fn","reason":"ticket 7"}`, 403, "carrel:BreakGlass"},
	})
}

func TestLayoutsAndShares(t *testing.T) {
	t.Parallel()
	newWorld(t).steps(t, []step{
		{true, "PUT", "/v1/layouts/l", `{"pattern":"arn:aws:dynamodb:us-east-1:ACME:table/t-{tenant}"}`, 200, `"version":1`},
		{true, "PUT", "/v1/layouts/m", `{"pattern":"arn:aws:s3:::bucket/{tenant}/*"}`, 403, "AccessDeniedException"},
		{false, "PUT", "/v1/layouts/m", `{"pattern":"arn:aws:s3:::bucket/{tenant}/*"}`, 200, ""},
		{true, "GET", "/v1/layouts", "", 200, `"name":"m"`},
		{true, "POST", "/v1/shares", `{"resource":"arn:aws:s3:::bucket/acme/*","with":"globex","reason":"reports"}`, 201, `"reason":"reports"`},
		{true, "POST", "/v1/shares", `{"resource":"arn:aws:s3:::bucket/globex/*","with":"globex","reason":"reports"}`, 403, "only the owner"},
		{true, "GET", "/v1/shares", "", 200, "bucket/acme"},
		{true, "DELETE", "/v1/shares/share-none", "", 404, ""},
		{true, "DELETE", "/v1/layouts/m", "", 404, ""},
		{true, "DELETE", "/v1/layouts/l", "", 200, ""},
	})
}

func TestAuditOfOwnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme, globex := w.tenant(t, "acme"), w.tenant(t, "globex")
	for range 3 {
		w.trail.entries = append(w.trail.entries,
			audit.Entry{Account: acme.AccountID, Action: "s3:GetObject", Outcome: "refused"},
			audit.Entry{Account: globex.AccountID, Action: "hidden", Outcome: "done"},
			audit.Entry{Account: w.operator.AccountID, Concerns: acme.AccountID, Action: "carrel:MarkGatekeeper", Outcome: "done", Reason: "one report"})
	}
	var all []AuditEntry
	path := "/v1/audit?limit=2"
	for path != "" {
		a := w.do(t, acme, "GET", path)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		var page Page[AuditEntry]
		a.decode(t, &page)
		all, path = append(all, page.Items...), ""
		if page.NextCursor != "" {
			path = "/v1/audit?limit=2&cursor=" + page.NextCursor
		}
	}
	if len(all) != 6 || all[1].Reason != "one report" {
		t.Errorf("the entries are %+v", all)
	}
	if a := w.do(t, w.operator, "GET", "/v1/audit?tenant=globex"); a.status != http.StatusOK || !strings.Contains(a.body, "hidden") {
		t.Errorf("the operator gets %d %s", a.status, a.body)
	}
	if a := w.do(t, acme, "GET", "/v1/audit?tenant=globex"); a.status != http.StatusForbidden {
		t.Errorf("another tenant gets %d %s", a.status, a.body)
	}
}
