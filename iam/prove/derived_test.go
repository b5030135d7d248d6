package prove_test

import (
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
)

// TestDerivedRoles is about the roles that are derived for end tenants: they
// have the policies of their template and other names. One of them that a
// policy of something else names stands for all, so that what only it can do is
// not decided.
func TestDerivedRoles(t *testing.T) {
	t.Parallel()
	const family = "arn:aws:iam::" + acmeID + ":role/carrel/derived/shop@"
	const template = "arn:aws:iam::" + acmeID + ":role/fn"
	all := allow("s3:GetObject", "arn:aws:s3:::shared/*")
	where := func(effect, operator, arn string) string {
		return `{"Effect":"` + effect + `","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*","Condition":{"` + operator + `":{"aws:PrincipalArn":"` + arn + `"}}}`
	}
	trusts := func(a *Account, arn string) {
		assume := `{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"sts:AssumeRole"}`
		a.Principals = append(a.Principals, role(t, acmeID, "reader", assume, all))
	}
	for _, test := range []struct {
		name   string
		role   []string
		change func(a *Account)
		// derived is the result with derived roles, and alone without them.
		derived, alone Result
	}{
		{"own segment", []string{allow("s3:*", "arn:aws:s3:::shared/${tenant_id}/*")}, nil, Proved, Proved},
		{"prefix", []string{allow("s3:*", "arn:aws:s3:::shared/${tenant_id}*")}, nil, Violated, Violated},
		{"denied to the template alone", []string{all, where("Deny", "ArnEquals", template)}, nil, Violated, Proved},
		{"denied to derived roles alone", []string{all, where("Deny", "ArnLike", family+"*")}, nil, Violated, Violated},
		{"allowed to derived roles alone", []string{where("Allow", "ArnLike", family+"*")}, nil, Violated, Proved},
		{"allowed to one derived role", []string{where("Allow", "ArnEquals", family+"blue")}, nil, Violated, Proved},
		{"allowed to derived roles of another function", []string{where("Allow", "ArnLike", "arn:aws:iam::"+acmeID+":role/carrel/derived/other@*")}, nil, Proved, Proved},
		{"by the role's own name", []string{`{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/${tenant_id}/*","Condition":{"ArnEquals":{"aws:PrincipalArn":"` + family + `${tenant_id}"}}}`}, nil, Proved, Proved},
		{"trusted by name", nil, func(a *Account) { trusts(a, family+"blue") }, Unknown, Proved},
		{"trusted as the template", nil, func(a *Account) { trusts(a, template) }, Violated, Violated},
		{"trusted as another function's", nil, func(a *Account) { trusts(a, "arn:aws:iam::"+acmeID+":role/other") }, Proved, Proved},
		{"let in by name", nil, func(a *Account) {
			p := named(t, policy.Resource, "policy of shared", `{"Effect":"Allow","Principal":{"AWS":"`+family+`blue"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*"}`)
			a.Resources = []Resource{{ARN: "arn:aws:s3:::shared", Policy: &p}}
		}, Unknown, Proved},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for mark, want := range map[string]Result{family + EndTenantMark: test.derived, "": test.alone} {
				o := provider(t, test.role...)
				o.Accounts[1].Functions[0].Derived = mark
				if test.change != nil {
					test.change(o.Accounts[1])
				}
				if r := New().Organization(o); r.Result != want {
					t.Errorf("derived as %q: %s, want %s: %+v", mark, r.Result, want, r.Findings)
				}
			}
		})
	}
}

// TestDerivedRolesAreNamedInWitnesses wants an example that somebody can try.
func TestDerivedRolesAreNamedInWitnesses(t *testing.T) {
	t.Parallel()
	const family = "arn:aws:iam::" + acmeID + ":role/carrel/derived/shop@"
	o := provider(t, `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*","Condition":{"ArnEquals":{"aws:PrincipalArn":"`+family+`blue"}}}`)
	o.Accounts[1].Functions[0].Derived = family + EndTenantMark
	r := New().Organization(o)
	if r.Result != Violated || len(r.Findings) != 1 {
		t.Fatalf("%s: %+v", r.Result, r.Findings)
	}
	if w := r.Findings[0].Witness; w == nil || w.Tenant != "blue" || w.Owner == "blue" {
		t.Errorf("the witness is %+v", r.Findings[0].Witness)
	}
}
