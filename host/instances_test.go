package host

import (
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// TestInstancesAreWhoTheyAre is about what F@t1 is when it calls on: under the
// strategy function its derived role, and under account the linked account's.
func TestInstancesAreWhoTheyAre(t *testing.T) {
	for strategy, want := range map[isolation.Strategy]struct {
		account tenant.AccountID
		role    string
		of      tenant.AccountID
	}{
		isolation.Function: {acme, "arn:aws:iam::111111111111:role/f@t1", ""},
		isolation.Account:  {globex, "arn:aws:iam::222222222222:role/f", acme},
	} {
		w := newWorld()
		f, g := w.deploy(acme, "f", function.PerTenant), w.deploy(acme, "g", function.PerTenant)
		w.tenants["111111111111/t1"], w.tenants["111111111111/t2"] = "uid-1", "uid-2"
		in := *f
		in.Account, in.AccountSlug, in.Role = want.account, "slug-"+tenant.Slug(want.account[:1]), want.role
		in.Instance = &function.Instance{Strategy: strategy, Provider: acme, EndTenant: "t1", EndTenantUID: "uid-1"}
		c := from(f)
		c.Target, c.EndTenant, c.Owner = &in, "t1", tenant.Identity{Account: want.account}
		if strategy == isolation.Function {
			c.Owner.EndTenant = "uid-1"
		}
		// The provider lets everybody of the other account in, for any end tenant.
		open := iam.Object{Policy: iamtest.Set(policy.Resource,
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+string(globex)+`"},"Action":"lambda:InvokeFunction","Resource":"`+g.FunctionARN()+`*"}]}`)}
		w.directory.Objects[g.FunctionARN()], w.directory.Objects[g.ARN] = open, open

		// A bare name is one of the provider's.
		if what, _, payload := w.ask(c, invocation{name: "g"}); what != replyResult {
			t.Fatalf("%s: %d %s", strategy, what, payload)
		}
		n := w.calls[len(w.calls)-1]
		s := n.Principal.Session
		if n.Principal.Account != want.account || s.Issuer != want.role || s.EndTenant != "t1" || s.EndTenantUID != "uid-1" || s.EndTenantOf != want.of {
			t.Errorf("%s: it calls as %+v, %+v", strategy, n.Principal, s)
		}
		if n.Owner != (tenant.Identity{Account: acme, EndTenant: "uid-1"}) || n.EndTenant != "t1" {
			t.Errorf("%s: the call is for %+v, %s", strategy, n.Owner, n.EndTenant)
		}
		if chain := n.Chain[len(n.Chain)-1]; chain.Function != f.FunctionARN() {
			t.Errorf("%s: the chain has %s", strategy, chain.Function)
		}
		w.refused(t, c, invocation{name: "g", endTenant: "t2"}, "AccessDeniedException")
		// The control: a call that is for nobody there may name any.
		free := *c
		plain := *f
		plain.Tenancy, plain.Instance = "", nil
		free.Target, free.EndTenant, free.Owner = &plain, "", tenant.Identity{Account: acme}
		if what, _, payload := w.ask(&free, invocation{name: "g", endTenant: "t2"}); what != replyResult {
			t.Errorf("%s: the control: %d %s", strategy, what, payload)
		}
	}
}

// TestInstancesHaveTheirFunctionsName wants chains to know a function again
// whatever the strategy is, so that loops end.
func TestInstancesHaveTheirFunctionsName(t *testing.T) {
	w := newWorld()
	f := w.deploy(acme, "f", function.PerTenant)
	in := *f
	in.Account = globex
	in.Instance = &function.Instance{Strategy: isolation.Account, Provider: acme}
	c := &call.Call{Target: &in, Owner: tenant.Identity{Account: globex}}
	if c.Target.FunctionARN() != f.FunctionARN() || c.Asked().Account != acme {
		t.Errorf("%s of %+v", c.Target.FunctionARN(), c.Asked())
	}
}
