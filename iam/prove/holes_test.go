package prove_test

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
)

// TestNothingHidesFromUniversal holds the prover to ways in which a policy
// reaches another tenant and that are easily missed. Each has a harmless twin.
func TestNothingHidesFromUniversal(t *testing.T) {
	t.Parallel()
	on := func(resource, condition string) string {
		return `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + resource + `","Condition":` + condition + `}`
	}
	not := func(effect, resource string) string {
		return `{"Effect":"` + effect + `","Action":"s3:GetObject","NotResource":"arn:aws:s3:::` + resource + `"}`
	}
	get := func(r string) string { return allow("s3:GetObject", "arn:aws:s3:::"+r) }
	own := get("shared/${tenant_id}/*")
	for _, test := range []struct{ name, bad, good string }{
		{"for users only", on("shared/*", `{"StringEquals":{"aws:PrincipalType":"User"}}`), on("shared/*", `{"StringEquals":{"aws:PrincipalType":"Robot"}}`)},
		{"a default names the bucket", get("${carrel:EndTenant, 'shared'}/*"), get("${carrel:EndTenant}/*")},
		{"a default names a segment", get("shared/${aws:PrincipalTag/x, 'acme'}/*"), own},
		{"all but its own", not("Allow", "shared/${tenant_id}/*"), own},
		{"case of actions", `{"Effect":"Allow","Action":"S3:gEToBJECT","Resource":"arn:aws:s3:::shared/*"}`, `{"Effect":"Allow","Action":"S3:gEToBJECT","Resource":"arn:aws:s3:::shared/${TENANT_ID}/*"}`},
		{"a deny in other letters", get("shared/*") + `,{"Effect":"Deny","Action":"s3:GetObjects","Resource":"*"}`, get("shared/*") + `,{"Effect":"Deny","Action":"S3:GETOBJECT","Resource":"*"}`},
		{"an action nobody knows", `{"Effect":"Allow","Action":"s3:Unheard?f","Resource":"arn:aws:s3:::shared/*"}`, `{"Effect":"Allow","Action":"s3:Unheard?f","Resource":"arn:aws:s3:::shared/${tenant_id}/*"}`},
		{"not action", `{"Effect":"Allow","NotAction":"s3:GetObject","Resource":"arn:aws:s3:::shared/*"}`, `{"Effect":"Allow","NotAction":"s3:*","Resource":"arn:aws:s3:::shared/*"}`},
		{"tag of the resource, if there is one", on("shared/*", `{"StringEqualsIfExists":{"aws:ResourceTag/tenant_id":"${tenant_id}"}}`), on("shared/*", `{"StringEquals":{"aws:ResourceTag/tenant_id":"${tenant_id}"}}`)},
		{"tag of the resource, in any case", on("shared/*", `{"StringNotEquals":{"AWS:resourcetag/TENANT_ID":"${tenant_id}"}}`), on("shared/*", `{"StringEquals":{"AWS:resourcetag/TENANT_ID":"${tenant_id}"}}`)},
		{"all of no values", on("shared/*", `{"ForAllValues:StringEquals":{"aws:ResourceTag/tenant_id":"${tenant_id}"}}`), on("shared/*", `{"ForAllValues:StringEquals":{"aws:ResourceTag/tenant_id":"${tenant_id}"},"Null":{"aws:ResourceTag/tenant_id":"false"}}`)},
		{"a tag that is not there", on("shared/*", `{"Null":{"aws:ResourceTag/tenant_id":"true"}}`), on("shared/*", `{"Null":{"aws:PrincipalTag/tenant_id":"true"}}`)},
		{"a deny that a missing key avoids", get("shared/*") + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEqualsIfExists":{"aws:PrincipalTag/tenant_id":"${tenant_id}"}}}`,
			get("shared/*") + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEqualsIfExists":{"aws:ResourceTag/tenant_id":"${tenant_id}"}}}`},
		{"a deny by a tag of the request", get("shared/*") + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:RequestTag/tenant_id":"${tenant_id}"}}}`,
			get("shared/*") + `,` + not("Deny", "shared/${tenant_id}/*")},
		{"another tag of the same name", get("shared/${aws:PrincipalTag/tenant-id}/*"), get("shared/${aws:principaltag/Tenant_ID}/*")},
		{"a segment too late", get("shared/*/${tenant_id}/*"), own},
		{"question marks", get("shared/????/*"), get("shared/??/*")},
		{"the id and more", get("shared/${tenant_id}?/*"), get("shared/${tenant_id}/?")},
		{"the id in the middle", get("shared/a${tenant_id}/*"), own},
		{"the id twice", get("shared/${tenant_id}${tenant_id}/*"), get("shared/${tenant_id}/${tenant_id}/*")},
		{"the id by halves", get("shared/${tenant_id}-*/x"), get("shared/${tenant_id}/*-x")},
		{"a number among names", on("shared/*", `{"NumericGreaterThan":{"s3:max-keys":"5"},"NumericLessThan":{"s3:max-keys":"6"}}`), on("shared/*", `{"NumericGreaterThan":{"s3:max-keys":"6"},"NumericLessThan":{"s3:max-keys":"5"}}`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if r := universal(t, test.bad); r.Result != Violated {
				t.Errorf("%s", r.Result)
			}
			if r := universal(t, test.good); r.Result != Proved {
				t.Errorf("the twin is %s: %v", r.Result, r.Findings)
			}
		})
	}
}

// TestTypesOverNames: a number's range may hold an id that none of the
// values beside its ends is.
func TestTypesOverNames(t *testing.T) {
	t.Parallel()
	d := parse(t, policy.Identity, `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*",
		"Condition":{"NumericGreaterThan":{"aws:ResourceTag/tenant_id":"5"},"NumericLessThan":{"aws:ResourceTag/tenant_id":"8"}}}`)
	r := New().Universal(Question{EndTenants: true, Policies: []Policy{{Name: "p", Document: d}}})
	if r.Result == Proved {
		t.Error("proved, and yet the tag may be 6")
	}
}

func TestConsentsHideNothing(t *testing.T) {
	t.Parallel()
	bucket := func(principal, more string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Resource":"arn:aws:s3:::orders/*",` + more + `}`
	}
	all := `"Action":"s3:GetObject"`
	service := func(name string) string { return `"NotAction":"` + name + `:*"` }
	for _, test := range []struct {
		name, policy string
		want         Result
	}{
		{"a federated user by condition", bucket(`"*"`, all+`,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:sts::`+globexID+`:federated-user/*"}}`), Violated},
		{"its own users by condition", bucket(`"*"`, all+`,"Condition":{"StringEquals":{"aws:PrincipalAccount":"`+acmeID+`"}}`), Proved},
		{"actions of all services but one", bucket(`{"AWS":"`+globexID+`"}`, service("other")), Violated},
		{"its own account", bucket(`{"AWS":"`+acmeID+`"}`, service("other")), Proved},
		{"by a tag that end tenants bear", bucket(`"*"`, all+`,"Condition":{"StringEquals":{"aws:PrincipalTag/tenant_id":"acme"}}`), Violated},
		{"by the account's tenant", bucket(`"*"`, all+`,"Condition":{"StringEquals":{"carrel:AccountTenant":"acme"}}`), Proved},
		{"if the account is said", bucket(`"*"`, all+`,"Condition":{"StringEqualsIfExists":{"aws:PrincipalAccount":"`+acmeID+`"}}`), Violated},
		{"no condition holds for nobody", bucket(`"*"`, all+`,"Condition":{"StringEquals":{"aws:PrincipalAccount":"`+acmeID+`"},"Null":{"aws:PrincipalAccount":"false"}}`), Proved},
		{"by a deny for named ones", bucket(`"*"`, all) + `,{"Effect":"Deny","Principal":{"AWS":"` + globexID + `"},"Action":"*","Resource":"*"}`, Violated},
		{"by a deny for all others", bucket(`"*"`, all) + `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"` + acmeID + `"}}}`, Proved},
		{"by a deny for who is not listed", bucket(`"*"`, all) + `,{"Effect":"Deny","NotPrincipal":{"AWS":["` + acmeID + `","` + globexID + `","arn:aws:iam::` + globexID + `:user/u"]},"Action":"*","Resource":"*"}`, Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := organization(t)
			p := named(t, policy.Resource, "policy of orders", test.policy)
			o.Accounts[1].Resources = []Resource{{ARN: "arn:aws:s3:::orders", Policy: &p}}
			if r := New().Organization(o); r.Result != test.want {
				t.Errorf("%s: %v", r.Result, r.Findings)
			}
		})
	}
}

// TestConsentRestsOnGuardrails: what one account lets in may be bound by
// what guards another, and only there something changes.
func TestConsentRestsOnGuardrails(t *testing.T) {
	t.Parallel()
	o := organization(t)
	p := named(t, policy.Resource, "policy of orders", `{"Effect":"Allow","Principal":{"AWS":"`+globexID+`"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::orders/*"}`)
	o.Accounts[1].Resources = []Resource{{ARN: "arn:aws:s3:::orders", Policy: &p}}
	noS3 := named(t, policy.SCP, "no-s3", `{"Effect":"Deny","Action":"s3:*","Resource":"*"}`)
	free := o.Accounts[2].SCPs
	bound := []Level{free[0], {Name: "ou", Policies: []Policy{noS3, free[0].Policies[0]}}}
	o.Accounts[1].SCPs, o.Accounts[2].SCPs = bound, bound
	prover := New()
	if r := prover.Organization(o); r.Result != Proved {
		t.Fatalf("%s: %v", r.Result, r.Findings)
	}
	o.Accounts[2].SCPs = free
	if r := prover.Gate(o, Change{Accounts: []string{"globex"}}); r.Result != Violated {
		t.Errorf("%s after the guardrail is gone", r.Result)
	}
	// An account that is none of the organisation's has no guardrails at all.
	o.Accounts[2].SCPs = bound
	outside := named(t, policy.Resource, "policy of orders", strings.Replace(`{"Effect":"Allow","Principal":{"AWS":"ID"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::orders/*"}`, "ID", "999999999999", 1))
	o.Accounts[1].Resources[0].Policy = &outside
	if r := New().Organization(o); r.Result != Violated {
		t.Errorf("an account outside is %s", r.Result)
	}
}

// TestEndTenantsBearAnyName: an end tenant may have the name of another
// account's tenant, and what tenants share by name is not its.
func TestEndTenantsBearAnyName(t *testing.T) {
	t.Parallel()
	reader := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + acmeID + `:role/fn"},"Action":"sts:AssumeRole"}`
	for _, test := range []struct {
		name, role string
		change     func(o *Organization)
		want       Result
	}{
		{"by its own name in what accounts share", allow("s3:*", "arn:aws:s3:::pool/${tenant_id}/*"), nil, Violated},
		{"by the account's name", allow("s3:*", "arn:aws:s3:::pool/${carrel:AccountTenant}/*"), nil, Proved},
		{"below the account's name", allow("s3:GetObject", "arn:aws:s3:::pool/${carrel:AccountTenant}/${tenant_id}/*"), nil, Proved},
		{"beside the account's name", allow("s3:GetObject", "arn:aws:s3:::pool/${carrel:AccountTenant}${tenant_id}/*"), nil, Violated},
		{"in a bucket of its account", allow("s3:GetObject", "arn:aws:s3:::crm/${tenant_id}*"), func(o *Organization) {
			o.Accounts[1].Resources = []Resource{{ARN: "arn:aws:s3:::crm"}}
		}, Violated},
		{"what its account keeps for all", allow("s3:GetObject", "arn:aws:s3:::crm/*"), func(o *Organization) {
			o.Accounts[1].Resources = []Resource{{ARN: "arn:aws:s3:::crm"}}
		}, Proved},
		{"as a role that trusts one name", "", func(o *Organization) {
			o.Accounts[1].Principals = append(o.Accounts[1].Principals, role(t, acmeID, "reader", reader,
				`{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*","Condition":{"StringEquals":{"aws:PrincipalTag/tenant_id":"x1"}}}`))
		}, Violated},
		{"as a role that looks at the name", "", func(o *Organization) {
			o.Accounts[1].Principals = append(o.Accounts[1].Principals, role(t, acmeID, "reader", reader, allow("s3:GetObject", "arn:aws:s3:::shared/${tenant_id}/*")))
		}, Proved},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			roles := []string{}
			if test.role != "" {
				roles = append(roles, test.role)
			}
			o := provider(t, roles...)
			o.Layouts = append(o.Layouts, Layout{Name: "pool", Pattern: "arn:aws:s3:::pool/{tenant}/*", Account: management})
			if test.change != nil {
				test.change(o)
			}
			if r := New().Organization(o); r.Result != test.want {
				t.Errorf("%s: %v", r.Result, r.Findings)
			}
		})
	}
}

// TestLayoutsOverlap: a tenant's layout over what the operators share does not
// make it the tenant's.
func TestLayoutsOverlap(t *testing.T) {
	t.Parallel()
	o := organization(t)
	a := o.Accounts[1]
	a.Principals[1] = role(t, acmeID, "fn", byLambda, allow("s3:GetObject", "arn:aws:s3:::pool/*"))
	o.Layouts = []Layout{{Name: "mine", Pattern: "arn:aws:s3:::pool/{tenant}/*", Account: acmeID}, {Name: "pool", Pattern: "arn:aws:s3:::pool/{tenant}/*", Account: management}}
	judged(t, o, Violated, "NO_TENANT")
	a.Principals[1] = role(t, acmeID, "fn", byLambda, allow("s3:GetObject", "arn:aws:s3:::pool/${tenant_id}/*"))
	judged(t, o, Proved, "")
}

// TestAcceptedOnceIsNotAcceptedForEver: a word for what could not be decided
// about one policy is none for another that takes its place.
func TestAcceptedOnceIsNotAcceptedForEver(t *testing.T) {
	t.Parallel()
	hard := func(more string) string {
		var all []string
		for i := range 24 {
			all = append(all, `{"Effect":"Allow","Action":"s3:*`+string(rune('a'+i))+`*`+more+`","Resource":"arn:aws:s3:::shared/${tenant_id}/*"}`)
		}
		return strings.Join(all, ",")
	}
	state := func(text string) *Organization {
		o := organization(t)
		o.Accounts[1].Principals[1] = role(t, acmeID, "fn", byLambda, text)
		return o
	}
	o := state(hard(""))
	r := New().Organization(o)
	if r.Result != Unknown {
		t.Fatalf("%s: %v", r.Result, r.Findings)
	}
	accepted := map[string]string{}
	for _, f := range r.Findings {
		accepted[f.ID] = "looked at by hand"
	}
	o.Accepted = accepted
	if r := New().Organization(o); r.Result != Proved || r.Findings[0].Accepted == "" {
		t.Errorf("%s after it was accepted", r.Result)
	}
	o = state(hard("x*"))
	o.Accepted = accepted
	if r := New().Organization(o); r.Result != Unknown {
		t.Errorf("%s: another policy is taken for the one that was accepted", r.Result)
	}
}
