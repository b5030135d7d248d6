package control

import (
	"fmt"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// rollOut begins a roll-out of shop.
func (o who) rollOut(in RolloutInput) (RolloutView, error) {
	o.t.Helper()
	in.Name = "shop"
	return o.s.StartRollout(ctx, o.may(ActionStartRollout, "shop"), in)
}

// versions of shop: 1 and 2, and the alias live of version 1.
func (o who) versions(names ...tenant.EndTenantID) {
	o.t.Helper()
	o.serves(names...)
	o.publish("shop")
	_, err := o.code(UpdateCodeInput{Name: "shop", Package: module("v2"), PassRole: o.passes("shop", nil)})
	o.must(err)
	o.ready("shop")
	o.publish("shop")
	o.alias("shop", "live", "1")
}

// gets fails unless end tenants get these versions.
func (o who) gets(qualifier string, want map[tenant.EndTenantID]string) {
	o.t.Helper()
	for id, version := range want {
		if c := o.placed(id, qualifier); c.Target.Version != version || c.Target.Qualifier != qualifier {
			o.t.Errorf("%s gets version %s by %q, want %s", id, c.Target.Version, c.Target.Qualifier, version)
		}
	}
}

func TestRolloutOfAnAlias(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.versions("blue", "red")
	for _, strategy := range []isolation.Strategy{isolation.Namespace, isolation.Function} {
		s.strategy = func(*call.Call) isolation.Strategy { return strategy }
		v, err := acme.rollOut(RolloutInput{Qualifier: "live", Cohort: Cohort{Tenants: []tenant.EndTenantID{"blue"}}})
		acme.must(err)
		if v.From != "1" || v.To != "2" || v.EndTenants != 2 || v.Moved != 1 {
			t.Errorf("begun: %+v", v)
		}
		acme.gets("live", map[tenant.EndTenantID]string{"blue": "2", "red": "1"})
		acme.gets("1", map[tenant.EndTenantID]string{"blue": "1"})
		acme.gets("", map[tenant.EndTenantID]string{"blue": function.Latest})
		wants(t, s.DeleteFunction(ctx, acme.may(ActionDeleteFunction, "shop"), "shop", "2"), fault.Conflict, "ResourceConflictException")
		version := "2"
		_, err = s.UpdateAlias(ctx, acme.may(ActionUpdateAlias, "shop"), AliasInput{Name: "shop", Alias: "live", Version: &version})
		wants(t, err, fault.Conflict, "ResourceConflictException")

		v, err = s.PromoteRollout(ctx, acme.may(ActionPromoteRollout, "shop"), "shop", "live")
		acme.must(err)
		if v.Moved != 2 || v.State != RolloutPromoted {
			t.Errorf("promoted: %+v", v)
		}
		acme.gets("live", map[tenant.EndTenantID]string{"blue": "2", "red": "2"})
		_, err = s.RollbackRollout(ctx, acme.may(ActionRollbackRollout, "shop"), "shop", "live")
		acme.must(err)
		acme.gets("live", map[tenant.EndTenantID]string{"blue": "1", "red": "1"})
		_, err = s.PromoteRollout(ctx, acme.may(ActionPromoteRollout, "shop"), "shop", "live")
		wants(t, err, fault.Conflict, "ResourceConflictException")
	}
}

// TestRolloutOfTheBareName also finds it again after a restart.
func TestRolloutOfTheBareName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.versions("blue", "red", "green")
	_, err := acme.rollOut(RolloutInput{To: "1", Cohort: Cohort{Percent: 100}})
	acme.must(err)
	_, err = s.PromoteRollout(ctx, acme.may(ActionPromoteRollout, "shop"), "shop", "")
	acme.must(err)
	_, err = acme.rollOut(RolloutInput{Cohort: Cohort{Tenants: []tenant.EndTenantID{"red"}}})
	acme.must(err)
	acme.must(s.PinVersion(ctx, acme.may(ActionPinVersion, "shop"), PinInput{Name: "shop", EndTenant: "green", Version: "2"}))
	want := map[tenant.EndTenantID]string{"blue": "1", "red": "2", "green": "2"}
	acme.gets("", want)
	acme.must(s.Close())
	s = w.open()
	again := who{t, s, acme.me, acme.account}
	again.gets("", want)
	again.must(s.UnpinVersion(ctx, again.may(ActionUnpinVersion, "shop"), PinInput{Name: "shop", EndTenant: "green"}))
	again.gets("", map[tenant.EndTenantID]string{"green": "1"})
	_, err = s.RollbackRollout(ctx, again.may(ActionRollbackRollout, "shop"), "shop", "")
	again.must(err)
	again.gets("", map[tenant.EndTenantID]string{"blue": "1", "red": "1", "green": "1"})
}

func TestRolloutsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.versions("blue")
	acme.active(acme.input("plain", "v1"))
	all := Cohort{Percent: 100}
	for name, test := range map[string]struct {
		in   RolloutInput
		kind fault.Kind
		code string
	}{
		"nobody":         {RolloutInput{}, fault.Invalid, "InvalidParameterValueException"},
		"over all":       {RolloutInput{Cohort: Cohort{Percent: 101}}, fault.Invalid, "InvalidParameterValueException"},
		"no such tenant": {RolloutInput{Cohort: Cohort{Tenants: []tenant.EndTenantID{"a/b"}}}, fault.Invalid, "InvalidParameterValueException"},
		"no version":     {RolloutInput{To: "9", Cohort: all}, fault.NotFound, "ResourceNotFoundException"},
		"an alias as to": {RolloutInput{To: "live", Cohort: all}, fault.NotFound, "ResourceNotFoundException"},
		"no alias":       {RolloutInput{Qualifier: "none", Cohort: all}, fault.NotFound, "ResourceNotFoundException"},
		"the same":       {RolloutInput{Qualifier: "live", To: "1", Cohort: all}, fault.Conflict, "ResourceConflictException"},
	} {
		_, err := acme.rollOut(test.in)
		if !fault.Is(err, test.kind) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wants(t, err, test.kind, test.code)
	}
	_, err := s.StartRollout(ctx, acme.may(ActionStartRollout, "plain"), RolloutInput{Name: "plain", Cohort: all})
	wants(t, err, fault.Invalid, "InvalidParameterValueException")
	_, err = s.GetRollout(ctx, acme.may(ActionGetRollout, "shop"), "shop", "")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	_, err = acme.rollOut(RolloutInput{To: "1", Cohort: all})
	acme.must(err)
	_, err = acme.rollOut(RolloutInput{To: "2", Cohort: all})
	wants(t, err, fault.Conflict, "ResourceConflictException")
}

// TestSharesAreStable wants a share to have about its size, and nobody to leave
// it when it grows.
func TestSharesAreStable(t *testing.T) {
	t.Parallel()
	of := tenant.NewUID()
	const many = 10_000
	ids := make([]tenant.UID, many)
	for i := range ids {
		ids[i] = tenant.NewUID()
	}
	before := map[tenant.UID]bool{}
	for _, percent := range []float64{0, 1, 10, 50, 100} {
		now := map[tenant.UID]bool{}
		for _, id := range ids {
			if inShare(percent, of, id) {
				now[id] = true
			} else if before[id] {
				t.Fatalf("%s left the share when it grew to %v", id, percent)
			}
		}
		if got := float64(len(now)) / many * 100; got < percent-2 || got > percent+2 || percent == 100 && len(now) != many {
			t.Errorf("a share of %v percent has %v", percent, got)
		}
		before = now
	}
}

// TestRolloutByTag is for end tenants whose account is linked.
func TestRolloutByTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	acme.versions("blue", "red", "green")
	for i, id := range []tenant.EndTenantID{"blue", "red"} {
		made, err := operator.createTenant(CreateTenantInput{Slug: string(id) + "-co", Parent: string(acme.account), Tags: map[string]string{"ring": fmt.Sprint(i)}})
		acme.must(err)
		l, err := acme.link(id, string(id)+"-co")
		acme.must(err)
		_, err = as(t, s, made.AccessKeyID).accepts(l.ID)
		acme.must(err)
	}
	_, err := acme.rollOut(RolloutInput{Qualifier: "live", Cohort: Cohort{TagKey: "ring", TagValue: "0"}})
	acme.must(err)
	acme.gets("live", map[tenant.EndTenantID]string{"blue": "2", "red": "1", "green": "1"})
	if _, err := s.Authorise(ctx, iam.Request{Principal: acme.me, Action: ActionStartRollout, Resource: s.FunctionResource(s.Management(), "shop"), Owner: tenant.Identity{Account: s.Management()}}, "r"); err == nil {
		t.Error("another account's function can be rolled out")
	}
}
