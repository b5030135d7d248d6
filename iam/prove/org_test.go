package prove_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
)

const (
	management = "000000000001"
	acmeID     = "111111111111"
	globexID   = "222222222222"
)

func named(t testing.TB, kind policy.Kind, name, text string) Policy {
	return Policy{Name: name, Document: parse(t, kind, text)}
}

func role(t testing.TB, account, name, trust string, policies ...string) Principal {
	p := Principal{Kind: Role, ARN: "arn:aws:iam::" + account + ":role/" + name}
	tr := named(t, policy.Trust, "trust of "+name, trust)
	p.Trust = &tr
	for i, text := range policies {
		p.Policies = append(p.Policies, named(t, policy.Identity, fmt.Sprintf("%s-%d", name, i), text))
	}
	return p
}

const (
	byLambda = `{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}`
	full     = `{"Effect":"Allow","Action":"*","Resource":"*"}`
)

// tenantAccount is an account as it is made: its admin and its role fn.
func tenantAccount(t testing.TB, id, slug string) *Account {
	return &Account{
		ID: id, Slug: slug, SCPs: []Level{{Name: "r-root", Policies: []Policy{named(t, policy.SCP, "FullAWSAccess", full)}}},
		Principals: []Principal{
			{Kind: User, ARN: "arn:aws:iam::" + id + ":user/admin", Policies: []Policy{named(t, policy.Identity, "AdministratorAccess", full)}},
			role(t, id, "fn", byLambda),
		},
	}
}

func organization(t testing.TB) *Organization {
	m := tenantAccount(t, management, "operators")
	m.Management = true
	return &Organization{ID: "o-carrel", Accounts: []*Account{m, tenantAccount(t, acmeID, "acme"), tenantAccount(t, globexID, "globex")}}
}

func judged(t *testing.T, o *Organization, want Result, code string) Report {
	t.Helper()
	r := New().Organization(o)
	for _, f := range append(r.Findings, r.Warnings...) {
		t.Log(f.Result, f.Code, f.Message, f.Path)
	}
	if r.Result != want {
		t.Fatalf("%s, want %s", r.Result, want)
	}
	if want == Violated && r.Findings[0].Code != code {
		t.Fatalf("code %s, want %s", r.Findings[0].Code, code)
	}
	return r
}

func TestFreshOrganizationIsProved(t *testing.T) {
	t.Parallel()
	judged(t, organization(t), Proved, "")
}

func TestForeignPrincipals(t *testing.T) {
	t.Parallel()
	trust := func(principal, condition string) string {
		if condition != "" {
			condition = `,"Condition":` + condition
		}
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"` + condition + `}`
	}
	globex := `{"AWS":"arn:aws:iam::` + globexID + `:root"}`
	for _, test := range []struct {
		name, trust string
		want        Result
		code        string
	}{
		{"own account", trust(`{"AWS":"`+acmeID+`"}`, ""), Proved, ""},
		{"operators", trust(`{"AWS":"`+management+`"}`, ""), Proved, ""},
		{"another tenant", trust(globex, ""), Violated, "FOREIGN_PRINCIPAL"},
		{"another tenant's role", trust(`{"AWS":"arn:aws:iam::`+globexID+`:role/fn"}`, ""), Violated, "FOREIGN_PRINCIPAL"},
		{"another tenant with an external id", trust(globex, `{"StringEquals":{"sts:ExternalId":"x"}}`), Violated, "FOREIGN_PRINCIPAL"},
		{"everybody", trust(`"*"`, ""), Violated, "PUBLIC"},
		{"everybody of the account", trust(`"*"`, `{"StringEquals":{"aws:PrincipalAccount":"`+acmeID+`"}}`), Proved, ""},
		{"everybody of the account by ARN", trust(`"*"`, `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::`+acmeID+`:role/*"}}`), Proved, ""},
		{"everybody of any account by ARN", trust(`"*"`, `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/admin"}}`), Violated, "PUBLIC"},
		{"everybody of the organisation", trust(`"*"`, `{"StringEquals":{"aws:PrincipalOrgID":"o-carrel"}}`), Violated, "PUBLIC"},
		{"whoever has the tag", trust(`"*"`, `{"StringEquals":{"aws:PrincipalTag/tenant_id":"acme"}}`), Violated, "PUBLIC"},
		{"whoever is of the tenant", trust(`"*"`, `{"StringEquals":{"carrel:AccountTenant":"acme"}}`), Proved, ""},
		{"only if it exists", trust(`"*"`, `{"StringEqualsIfExists":{"aws:PrincipalAccount":"`+acmeID+`"}}`), Proved, ""},
		{"denied to others", trust(`"*"`, "") + `,{"Effect":"Deny","Principal":"*","Action":"sts:*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"` + acmeID + `"}}}`, Proved, ""},
		{"a foreign provider", `{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::` + globexID + `:oidc-provider/idp.example"},"Action":"sts:AssumeRoleWithWebIdentity"}`, Violated, "FOREIGN_PRINCIPAL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := organization(t)
			o.Accounts[1].Principals = append(o.Accounts[1].Principals, role(t, acmeID, "door", test.trust))
			judged(t, o, test.want, test.code)
		})
	}
}

// TestFunctionPolicies looks at resource policies, which may let in callers
// without credentials and the platform's services too.
func TestFunctionPolicies(t *testing.T) {
	t.Parallel()
	arn := "arn:aws:lambda:us-east-1:" + acmeID + ":function:price"
	for _, test := range []struct {
		name, principal, condition string
		want                       Result
		code, warning              string
	}{
		{"own account", `{"AWS":"` + acmeID + `"}`, "", Proved, "", ""},
		{"everybody", `"*"`, "", Violated, "PUBLIC", ""},
		{"whoever has no other account", `"*"`, `{"StringEqualsIfExists":{"aws:PrincipalAccount":"` + acmeID + `"}}`, Violated, "PUBLIC", ""},
		{"everybody of the account", `"*"`, `{"StringEquals":{"aws:PrincipalAccount":"` + acmeID + `"}}`, Proved, "", ""},
		{"a service", `{"Service":"s3.amazonaws.com"}`, "", Proved, "", "CONFUSED_DEPUTY"},
		{"a service for the account", `{"Service":"s3.amazonaws.com"}`, `{"StringEquals":{"aws:SourceAccount":"` + acmeID + `"}}`, Proved, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			condition := test.condition
			if condition == "" {
				condition = "{}"
			}
			p := named(t, policy.Resource, "policy", strings.Replace(`{"Effect":"Allow","Principal":`+test.principal+`,"Action":"lambda:InvokeFunction","Resource":"`+arn+`","Condition":`+condition+`}`, `,"Condition":{}`, "", 1))
			o := organization(t)
			o.Accounts[1].Functions = []Function{{ARN: arn, Role: "arn:aws:iam::" + acmeID + ":role/fn", Policy: &p}}
			r := judged(t, o, test.want, test.code)
			if got := len(r.Warnings) > 0 && r.Warnings[0].Code == test.warning; got != (test.warning != "") {
				t.Errorf("warnings %v, want %q", r.Warnings, test.warning)
			}
		})
	}
}

func TestShareCoversWhatItNames(t *testing.T) {
	t.Parallel()
	with := func(share *Share) *Organization {
		o := organization(t)
		arn := "arn:aws:lambda:us-east-1:" + acmeID + ":function:price"
		p := named(t, policy.Resource, "policy", `{"Effect":"Allow","Principal":{"AWS":"`+globexID+`"},"Action":"lambda:InvokeFunction","Resource":"`+arn+`"}`)
		o.Accounts[1].Functions = []Function{{ARN: arn, Role: "arn:aws:iam::" + acmeID + ":role/fn", Policy: &p}}
		if share != nil {
			o.Shares = []Share{*share}
		}
		return o
	}
	judged(t, with(nil), Violated, "FOREIGN_PRINCIPAL")
	arn := "arn:aws:lambda:us-east-1:" + acmeID + ":function:"
	r := judged(t, with(&Share{ID: "s1", Resource: arn + "price", Owner: acmeID, With: globexID}), Proved, "")
	if len(r.Shares) != 1 || r.Shares[0] != "s1" {
		t.Errorf("the proof rests on %v", r.Shares)
	}
	judged(t, with(&Share{ID: "s1", Resource: arn + "other", Owner: acmeID, With: globexID}), Violated, "FOREIGN_PRINCIPAL")
	judged(t, with(&Share{ID: "s1", Resource: arn + "price", Owner: globexID, With: globexID}), Violated, "FOREIGN_PRINCIPAL")
	judged(t, with(&Share{ID: "s1", Resource: arn + "price", Owner: acmeID, With: "333333333333"}), Violated, "FOREIGN_PRINCIPAL")
}

// TestGuardrailsCount shows that what a guardrail forbids is safe, and no
// more so when the guardrail is gone.
func TestGuardrailsCount(t *testing.T) {
	t.Parallel()
	open := `{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}`
	rcp := named(t, policy.RCP, "perimeter", `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"`+acmeID+`"}}}`)
	o := organization(t)
	o.Accounts[1].Principals = append(o.Accounts[1].Principals, role(t, acmeID, "door", open))
	o.Accounts[1].RCPs = []Level{{Name: "r-root", Policies: []Policy{rcp}}}
	judged(t, o, Proved, "")
	o.Accounts[1].RCPs = nil
	judged(t, o, Violated, "PUBLIC")

	scp := named(t, policy.SCP, "own", `{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::shared/${tenant_id}/*"}`)
	o = organization(t)
	o.Accounts[1].Principals[0].Policies = []Policy{named(t, policy.Identity, "broad", allow("s3:*", "arn:aws:s3:::shared/*"))}
	judged(t, o, Violated, "NO_TENANT")
	o.Accounts[1].SCPs = append(o.Accounts[1].SCPs, Level{Name: "acme", Policies: []Policy{scp}})
	judged(t, o, Proved, "")
}

// TestTenantMayNameItself shows that what is wrong for every tenant may be
// right for one.
func TestTenantMayNameItself(t *testing.T) {
	t.Parallel()
	o := organization(t)
	mine := named(t, policy.Identity, "mine", allow("s3:GetObject", "arn:aws:s3:::shared/acme/*"))
	o.Accounts[1].Principals[0].Policies = []Policy{mine}
	judged(t, o, Proved, "")
	o.Accounts[2].Principals[0].Policies = []Policy{mine}
	judged(t, o, Violated, "LITERAL_TENANT")
}

func TestTagsOfPrincipals(t *testing.T) {
	t.Parallel()
	o := organization(t)
	o.Accounts[1].Principals[0].Policies = []Policy{named(t, policy.Identity, "team", allow("s3:GetObject", "arn:aws:s3:::shared/${aws:PrincipalTag/team}/*"))}
	o.Accounts[1].Principals[0].Tags = map[string]string{"Team": "acme"}
	judged(t, o, Proved, "")
	o.Accounts[1].Principals[0].Tags = map[string]string{"Team": "globex"}
	judged(t, o, Violated, "FREE_VARIABLE")
}

func TestClaimsSetNoTenant(t *testing.T) {
	t.Parallel()
	o := organization(t)
	o.Accounts[1].Providers = []Provider{{ARN: "arn:aws:iam::" + acmeID + ":oidc-provider/idp", ClaimTags: map[string]string{"org": "team"}}}
	judged(t, o, Proved, "")
	o.Accounts[1].Providers[0].ClaimTags["org"] = "Tenant_ID"
	judged(t, o, Violated, "TENANT_TAG_FROM_CLAIM")
}

// provider is an account whose function serves end tenants.
func provider(t testing.TB, policies ...string) *Organization {
	o := organization(t)
	a := o.Accounts[1]
	a.Principals[1] = role(t, acmeID, "fn", byLambda, policies...)
	a.Functions = []Function{{ARN: "arn:aws:lambda:us-east-1:" + acmeID + ":function:shop", Role: a.Principals[1].ARN, PerTenant: true}}
	o.Layouts = []Layout{{Name: "data", Pattern: "arn:aws:s3:::shared/{tenant}/*", Account: acmeID}}
	return o
}

func TestEndTenants(t *testing.T) {
	t.Parallel()
	assume := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + acmeID + `:role/fn"},"Action":"sts:AssumeRole"}`
	data := allow("s3:GetObject", "arn:aws:s3:::shared/*")
	worker := "arn:aws:lambda:us-east-1:" + acmeID + ":function:worker"
	for _, test := range []struct {
		name   string
		role   []string
		change func(a *Account)
		want   Result
		code   string
	}{
		{"own segment", []string{allow("s3:*", "arn:aws:s3:::shared/${tenant_id}/*")}, nil, Proved, ""},
		{"own segment by tag", []string{allow("s3:*", "arn:aws:s3:::shared/${carrel:EndTenant}/*")}, nil, Proved, ""},
		{"prefix", []string{allow("s3:*", "arn:aws:s3:::shared/${tenant_id}*")}, nil, Violated, "PREFIX_WITHOUT_DELIMITER"},
		{"everything", []string{allow("s3:*", "*")}, nil, Violated, "NO_TENANT"},
		{"by the account's slug", []string{allow("s3:*", "arn:aws:s3:::shared/${carrel:AccountTenant}/*")}, nil, Violated, "FREE_VARIABLE"},
		{"changes policies", []string{allow("iam:PutRolePolicy", "*")}, nil, Violated, "END_TENANT_CHANGES_POLICIES"},
		{"changes code", []string{allow("lambda:UpdateFunctionCode", "*")}, nil, Violated, "END_TENANT_CHANGES_CODE"},
		{"assumes a role that reads all", nil, func(a *Account) { a.Principals = append(a.Principals, role(t, acmeID, "reader", assume, data)) }, Violated, "NO_TENANT"},
		{"may not assume a role that reads all", nil, func(a *Account) { a.Principals = append(a.Principals, role(t, acmeID, "reader", byLambda, data)) }, Proved, ""},
		{"assumes a harmless role", nil, func(a *Account) {
			a.Principals = append(a.Principals, role(t, acmeID, "reader", assume, allow("sqs:SendMessage", "*")))
		}, Proved, ""},
		{"is let in by the bucket", nil, func(a *Account) {
			p := named(t, policy.Resource, "policy of shared", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+acmeID+`:role/fn"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*"}`)
			a.Resources = []Resource{{ARN: "arn:aws:s3:::shared", Policy: &p}}
		}, Violated, "NO_TENANT"},
		{"is let in by the bucket to its own", nil, func(a *Account) {
			p := named(t, policy.Resource, "policy of shared", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+acmeID+`:role/fn"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/${tenant_id}/*"}`)
			a.Resources = []Resource{{ARN: "arn:aws:s3:::shared", Policy: &p}}
		}, Proved, ""},
		{"passes a role", []string{allow("iam:PassRole", "*"), allow("lambda:CreateFunction", "*")}, func(a *Account) {
			a.Principals = append(a.Principals, role(t, acmeID, "reader", byLambda, data))
		}, Violated, "NO_TENANT"},
		{"calls a function that reads all", []string{allow("lambda:InvokeFunction", worker)}, func(a *Account) {
			a.Principals = append(a.Principals, role(t, acmeID, "reader", byLambda, data))
			a.Functions = append(a.Functions, Function{ARN: worker, Role: "arn:aws:iam::" + acmeID + ":role/reader"})
		}, Proved, ""},
		{"calls a gatekeeper that reads all", []string{allow("lambda:InvokeFunction", worker)}, func(a *Account) {
			a.Principals = append(a.Principals, role(t, acmeID, "reader", byLambda, data))
			a.Principals[2].Gatekeeper = true
			a.Functions = append(a.Functions, Function{ARN: worker, Role: "arn:aws:iam::" + acmeID + ":role/reader"})
		}, Violated, "NO_TENANT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := provider(t, test.role...)
			if test.change != nil {
				test.change(o.Accounts[1])
			}
			r := judged(t, o, test.want, test.code)
			if strings.Contains(test.name, "role that") && test.want == Violated && len(r.Findings[0].Path) != 1 {
				t.Errorf("path %v", r.Findings[0].Path)
			}
		})
	}
}

// TestUndecidedCanBeAccepted also shows that a word about one policy is none
// about another of which the same is not decided.
func TestUndecidedCanBeAccepted(t *testing.T) {
	t.Parallel()
	const undecided = `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::${aws:PrincipalTag/team}/${tenant_id}/*"`
	with := func(text string, accepted map[string]string) *Organization {
		o := organization(t)
		o.Accounts[1].Principals[0].Policies = []Policy{named(t, policy.Identity, "p", text)}
		o.Accepted = accepted
		return o
	}
	r := judged(t, with(undecided+"}", nil), Unknown, "")
	accepted := map[string]string{}
	for _, f := range r.Findings {
		accepted[f.ID] = "looked at"
	}
	again := judged(t, with(undecided+"}", accepted), Proved, "")
	if len(again.Findings) != len(r.Findings) || again.Findings[0].Accepted != "looked at" {
		t.Errorf("%+v", again.Findings)
	}
	other := judged(t, with(undecided+`,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`, accepted), Unknown, "")
	if other.Findings[0].Message != r.Findings[0].Message {
		t.Errorf("the control: %s and %s", other.Findings[0].Message, r.Findings[0].Message)
	}
	r = New().Gate(organization(t), Change{Accounts: []string{"nobody"}})
	if r.Result != Unknown || !strings.Contains(r.Findings[0].Message, "nobody") {
		t.Errorf("%+v", r)
	}
}
