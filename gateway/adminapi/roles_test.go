package adminapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/observe/logs"
)

// assume takes on a role of the account as its admin.
func (w *world) assume(t testing.TB, who control.Credentials, role string) control.SessionCredentials {
	t.Helper()
	p, _ := w.control.Principal(who.AccessKeyID)
	in := control.AssumeRoleInput{RoleARN: "arn:aws:iam::" + string(who.AccountID) + ":role/" + role, SessionName: "s1"}
	asked, err := w.control.AskAssumeRole(t.Context(), p, in)
	if err != nil {
		t.Fatal(err)
	}
	var grants []iam.Grant
	for _, r := range asked {
		g, err := w.control.Authorise(t.Context(), r, "setup")
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, g)
	}
	c, err := w.control.AssumeRole(t.Context(), grants[0], grants[1:], in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// as sends a request with temporary credentials.
func (w *world) as(t testing.TB, c control.SessionCredentials, method, path, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	keys := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hex.EncodeToString(sum[:]), Service, region, time.Now()); err != nil {
		t.Fatal(err)
	}
	return w.send(t, r)
}

// TestDefaultRolesAtThisAPI has a session of each default role ask for every
// operation. What no policy refuses may fail all the same: it was allowed.
func TestDefaultRolesAtThisAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	makeTenant := func(slug string) control.Credentials {
		t.Helper()
		var c control.Credentials
		w.do(t, w.operator, "POST", "/v1/tenants", `{"tenantId":"`+slug+`","defaultRoles":true}`).decode(t, &c)
		return c
	}
	acme, globex := makeTenant("acme"), makeTenant("globex")
	w.function(t, acme, "greeter")
	w.function(t, globex, "other")
	w.logs.print(logs.Entry{RequestID: "r1", Text: "a secret of acme"})
	billing := map[string]bool{"GET /v1/plans": true, "GET /v1/usage": true, "GET /v1/usage/records": true}
	developing := map[string]bool{"GET /v1/usage": true, "GET /v1/usage/records": true, "GET /v1/events": true, "GET /v1/functions/greeter/logs": true, "POST /v1/tokens": true,
		"PUT /v1/functions/greeter/schema": true, "GET /v1/functions/greeter/schema": true, "DELETE /v1/functions/greeter/schema": true}
	for _, c := range []struct {
		of   control.Credentials
		role string
		may  func(method, path string) bool
	}{
		// The provider that is named is no account's.
		{w.operator, control.RoleOperator, func(method, path string) bool { return method == "GET" || path != "/v1/claim-tags" }},
		{w.operator, control.RoleAuditor, func(method, path string) bool { return method == "GET" && !strings.HasSuffix(path, "/logs") }},
		{acme, control.RoleTenantAdmin, func(method, path string) bool {
			return billing[method+" "+path] || developing[method+" "+path] || path == "/v1/default-roles" || path == "/v1/audit" || path == "/v1/prove" || method+" "+path == "GET /v1/claim-tags" ||
				strings.HasPrefix(path, "/v1/layouts") || strings.HasPrefix(path, "/v1/shares") || strings.HasPrefix(path, "/v1/links") ||
				strings.Contains(path, "/rollout") || strings.Contains(path, "/pins/")
		}},
		{acme, control.RoleTenantDeveloper, func(method, path string) bool { return developing[method+" "+path] }},
		{acme, control.RoleBillingReader, func(method, path string) bool { return billing[method+" "+path] }},
	} {
		session := w.assume(t, c.of, c.role)
		for _, r := range routes {
			if r.method == "DELETE" && r.path == "/v1/tenants/globex" && c.role == control.RoleOperator {
				continue // the others need it
			}
			a := w.as(t, session, r.method, r.path, r.body)
			refused := a.status == http.StatusForbidden && strings.Contains(a.body, "is not authorized to perform")
			if want := c.may(r.method, r.path); refused == want || a.status == http.StatusUnauthorized || a.status >= 500 {
				t.Errorf("%s: %s %s: %d %s, want it allowed: %v", c.role, r.method, r.path, a.status, a.body, want)
			}
			if c.of.AccountID != acme.AccountID && strings.Contains(a.body, "a secret of acme") {
				t.Errorf("%s: %s %s shows what a tenant's function printed", c.role, r.method, r.path)
			}
		}
		// Another tenant's are out of reach, whoever asks.
		if a := w.as(t, session, "GET", "/v1/functions/other/logs", ""); a.status == http.StatusOK {
			t.Errorf("%s reads the log of another's function: %s", c.role, a.body)
		}
		if c.role == control.RoleTenantDeveloper && !strings.Contains(w.as(t, session, "GET", "/v1/functions/greeter/logs", "").body, "a secret of acme") {
			t.Error("the twin: a developer does not see what the own function printed")
		}
	}
}

func TestDefaultRolesAreMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.tenant(t, "acme")
	for _, want := range []int{3, 0} {
		a := w.do(t, acme, "POST", "/v1/default-roles")
		var made DefaultRoles
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || len(made.Roles) != want {
			t.Fatalf("%d %s, want %d roles", a.status, a.body, want)
		}
		for _, r := range made.Roles {
			if r.ARN != "arn:aws:iam::"+string(acme.AccountID)+":role/"+r.Name || !strings.HasPrefix(r.PolicyARN, "arn:aws:iam::aws:policy/carrel/Carrel") || r.Description == "" {
				t.Errorf("made %+v", r)
			}
		}
	}
}
