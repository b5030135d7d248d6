package control

import (
	"context"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/tenant"
)

var ctx = context.Background()

func (o who) createTenant(in CreateTenantInput) (Credentials, error) {
	o.t.Helper()
	return o.s.CreateTenant(ctx, o.on(ActionCreateTenant, o.s.TenantResource(tenant.Slug(in.Slug))), in)
}

func (o who) deleteTenant(slug tenant.Slug) error {
	o.t.Helper()
	_, err := o.s.DeleteTenant(ctx, o.on(ActionDeleteTenant, o.s.TenantResource(slug)), slug)
	return err
}

// TestNamesAreNeverGivenAgain is A05 and A06 for tenants.
func TestNamesAreNeverGivenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	made, err := operator.createTenant(CreateTenantInput{Slug: "acme", Tags: map[string]string{"tier": "gold"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, slug := range []string{"Acme", "ACME", "acme ", "аcme", "acme.", "ac*e", "", "a", "carrel\n"} {
		_, err := operator.s.CreateTenant(ctx, operator.on(ActionCreateTenant, s.TenantResource(tenant.Slug(slug))), CreateTenantInput{Slug: slug})
		wants(t, err, fault.Invalid, "InvalidParameterValueException")
	}
	for _, slug := range []string{"acme", "carrel"} {
		_, err = operator.createTenant(CreateTenantInput{Slug: slug})
		wants(t, err, fault.Conflict, "")
	}
	if err := operator.deleteTenant("acme"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // before and after a restart
		if _, err = operator.createTenant(CreateTenantInput{Slug: "acme"}); !strings.Contains(wants(t, err, fault.Conflict, ""), "never given out again") {
			t.Fatal(err)
		}
		if k, found := s.AccessKey(made.AccessKeyID); !found || k.Status != credential.Suspended || s.KeyActive(made.AccessKeyID) {
			t.Fatalf("the deleted tenant's key is %v %v", k.Status, found)
		}
		if status, _ := s.Status(made.AccountID); status != tenant.Closing {
			t.Fatalf("the deleted tenant is %s", status)
		}
		s.Close()
		s = w.open()
		operator = w.operator(s)
	}
	if _, err := operator.createTenant(CreateTenantInput{Slug: "acme-2"}); err != nil {
		t.Fatalf("the twin: %v", err)
	}
}

func TestTenantLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	made, err := operator.createTenant(CreateTenantInput{Slug: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if made.RoleARN != "arn:aws:iam::"+string(made.AccountID)+":role/fn" || made.Plan != "default" {
		t.Fatalf("made %+v", made)
	}
	if _, err := operator.createTenant(CreateTenantInput{Slug: "acme-eu", Parent: "acme"}); err != nil {
		t.Fatal(err)
	}
	_, err = operator.createTenant(CreateTenantInput{Slug: "lost", Parent: "nobody"})
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	_, err = operator.createTenant(CreateTenantInput{Slug: "poor", Plan: "free"})
	if text := wants(t, err, fault.Invalid, "InvalidParameterValueException"); !strings.Contains(text, "default, small, unlimited") {
		t.Fatal(text)
	}
	wants(t, operator.deleteTenant("acme"), fault.Conflict, "")

	resource := s.TenantResource("acme")
	if _, err := s.SetPlan(ctx, operator.on(ActionSetPlan, resource), "acme", "unlimited"); err != nil || s.PlanOf(made.AccountID).Name != "unlimited" {
		t.Fatalf("plan %v %v", s.PlanOf(made.AccountID), err)
	}
	if s.PlanOf("000000000000").Concurrency != 0 {
		t.Fatal("an unknown account has a plan")
	}
	before := s.Generation()
	if got, err := s.SuspendTenant(ctx, operator.on(ActionSuspendTenant, resource), "acme"); err != nil || got.Status != tenant.Suspended {
		t.Fatal(got, err)
	}
	if s.Generation() == before || s.KeyActive(made.AccessKeyID) {
		t.Fatal("the suspension is not in force")
	}
	page, err := s.ListTenants(ctx, operator.on(ActionListTenants, s.TenantsResource()), PageInput{MaxItems: 2})
	if err != nil || len(page.Items) != 2 || page.Items[0].Slug != "acme" || page.Items[1].Slug != "acme-eu" || page.NextMarker == "" {
		t.Fatalf("%+v %v", page, err)
	}
	page, err = s.ListTenants(ctx, operator.on(ActionListTenants, s.TenantsResource()), PageInput{Marker: page.NextMarker})
	if err != nil || len(page.Items) != 1 || page.Items[0].Slug != tenant.Management || page.NextMarker != "" {
		t.Fatalf("%+v %v", page, err)
	}
	if err := operator.deleteTenant("acme-eu"); err != nil {
		t.Fatal(err)
	}
	if err := operator.deleteTenant("acme"); err != nil {
		t.Fatal(err)
	}
	_, err = s.ResumeTenant(ctx, operator.on(ActionResumeTenant, resource), "acme")
	wants(t, err, fault.Conflict, "")
	wants(t, operator.deleteTenant(tenant.Management), fault.Invalid, "InvalidParameterValueException")
}

// TestRecreatedFunctionInheritsNothing is A06 for functions.
func TestRecreatedFunctionInheritsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	in := acme.input("f", "one")
	in.Tags = map[string]string{"a": "b"}
	old := acme.active(in)
	acme.publish("f")
	acme.alias("f", "live", "1")
	if err := s.PutConcurrency(ctx, acme.may(ActionPutConcurrency, "f"), "f", 5); err != nil {
		t.Fatal(err)
	}
	one := 1
	if _, err := s.PutEventConfig(ctx, acme.may(ActionPutEventConfig, "f"), "f", function.EventConfig{MaximumRetries: &one}); err != nil {
		t.Fatal(err)
	}
	acme.delete("f")
	now := acme.active(acme.input("f", "two"))
	if now.Function.UID == old.Function.UID || now.Reserved != nil || len(now.Tags) != 0 {
		t.Fatalf("the new function is %+v", now)
	}
	for range 2 {
		for _, q := range []string{"1", "live"} {
			_, err := s.Resolve(acme.account, "f", q, 0)
			wants(t, err, fault.NotFound, "ResourceNotFoundException")
		}
		_, err := s.GetEventConfig(ctx, acme.may(ActionGetEventConfig, "f"), "f", "")
		wants(t, err, fault.NotFound, "ResourceNotFoundException")
		s.Close()
		s = w.open()
		acme = as(t, s, acme.me.AccessKeyID)
	}
	if v := acme.publish("f"); v.Version.Number != "1" {
		t.Fatalf("the new function's first version is %s", v.Version.Number)
	}
}

// TestForeignNamesAreLikeAbsentOnes is A07: each operation with the name of
// another tenant's function, with a marker of another tenant's list, and with
// another account as the owner.
func TestForeignNamesAreLikeAbsentOnes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme, globex := operator.tenant("acme"), operator.tenant("globex")
	globex.active(globex.input("theirs", "code"))
	globex.active(globex.input("theirs2", "code"))
	globex.publish("theirs")
	globex.alias("theirs", "live", "1")
	acme.active(acme.input("mine", "code"))
	before := w.untouched()

	one, version := 1, "1"
	operations := map[string]func(o who, name function.Name) error{
		ActionGetFunction: func(o who, n function.Name) error {
			_, err := s.GetFunction(ctx, o.may(ActionGetFunction, n), n, "")
			return err
		},
		"GetCode": func(o who, n function.Name) error {
			_, err := s.GetCode(ctx, o.may(ActionGetFunction, n), n, "1")
			return err
		},
		ActionUpdateCode: func(o who, n function.Name) error {
			_, err := o.code(UpdateCodeInput{Name: n, Package: module("x")})
			return err
		},
		ActionUpdateConfig: func(o who, n function.Name) error {
			_, err := o.update(UpdateConfigurationInput{Name: n, TimeoutSec: &one})
			return err
		},
		ActionDeleteFunction: func(o who, n function.Name) error {
			return s.DeleteFunction(ctx, o.may(ActionDeleteFunction, n), n, "")
		},
		ActionPublishVersion: func(o who, n function.Name) error {
			_, err := s.PublishVersion(ctx, o.may(ActionPublishVersion, n), PublishInput{Name: n})
			return err
		},
		ActionListVersions: func(o who, n function.Name) error {
			_, err := s.ListVersions(ctx, o.may(ActionListVersions, n), n, ListInput{})
			return err
		},
		ActionCreateAlias: func(o who, n function.Name) error {
			_, err := s.CreateAlias(ctx, o.may(ActionCreateAlias, n), AliasInput{Name: n, Alias: "x", Version: &version})
			return err
		},
		ActionGetAlias: func(o who, n function.Name) error {
			_, err := s.GetAlias(ctx, o.may(ActionGetAlias, n), n, "live")
			return err
		},
		ActionUpdateAlias: func(o who, n function.Name) error {
			_, err := s.UpdateAlias(ctx, o.may(ActionUpdateAlias, n), AliasInput{Name: n, Alias: "live"})
			return err
		},
		ActionDeleteAlias: func(o who, n function.Name) error {
			return s.DeleteAlias(ctx, o.may(ActionDeleteAlias, n), n, "live")
		},
		ActionListAliases: func(o who, n function.Name) error {
			_, err := s.ListAliases(ctx, o.may(ActionListAliases, n), ListAliasesInput{Name: n})
			return err
		},
		ActionPutConcurrency: func(o who, n function.Name) error {
			return s.PutConcurrency(ctx, o.may(ActionPutConcurrency, n), n, 1)
		},
		ActionPutRecursion: func(o who, n function.Name) error {
			return s.PutRecursion(ctx, o.may(ActionPutRecursion, n), n, RecursionAllow)
		},
		ActionGetRecursion: func(o who, n function.Name) error {
			_, err := s.GetRecursion(ctx, o.may(ActionGetRecursion, n), n)
			return err
		},
		ActionGetConcurrency: func(o who, n function.Name) error {
			_, err := s.GetConcurrency(ctx, o.may(ActionGetConcurrency, n), n)
			return err
		},
		ActionDeleteConcurrency: func(o who, n function.Name) error {
			return s.DeleteConcurrency(ctx, o.may(ActionDeleteConcurrency, n), n)
		},
		ActionTagResource: func(o who, n function.Name) error {
			return s.TagResource(ctx, o.may(ActionTagResource, n), n, map[string]string{"a": "b"})
		},
		ActionUntagResource: func(o who, n function.Name) error {
			return s.UntagResource(ctx, o.may(ActionUntagResource, n), n, []string{"a"})
		},
		ActionListTags: func(o who, n function.Name) error {
			_, err := s.ListTags(ctx, o.may(ActionListTags, n), n)
			return err
		},
		ActionPutEventConfig: func(o who, n function.Name) error {
			_, err := s.PutEventConfig(ctx, o.may(ActionPutEventConfig, n), n, function.EventConfig{MaximumRetries: &one})
			return err
		},
		ActionUpdateEventConfig: func(o who, n function.Name) error {
			_, err := s.UpdateEventConfig(ctx, o.may(ActionUpdateEventConfig, n), n, function.EventConfig{MaximumRetries: &one})
			return err
		},
		ActionGetEventConfig: func(o who, n function.Name) error {
			_, err := s.GetEventConfig(ctx, o.may(ActionGetEventConfig, n), n, "")
			return err
		},
		ActionDeleteEventConfig: func(o who, n function.Name) error {
			return s.DeleteEventConfig(ctx, o.may(ActionDeleteEventConfig, n), n, "")
		},
		ActionListEventConfigs: func(o who, n function.Name) error {
			_, err := s.ListEventConfigs(ctx, o.may(ActionListEventConfigs, n), n, ListInput{})
			return err
		},
		"Resolve": func(o who, n function.Name) error {
			_, err := s.Resolve(o.account, n, "", 0)
			return err
		},
	}
	for name, do := range operations {
		foreign, absent := do(acme, "theirs"), do(acme, "absent")
		if got, want := wants(t, foreign, fault.NotFound, "ResourceNotFoundException"), wants(t, absent, fault.NotFound, "ResourceNotFoundException"); strings.ReplaceAll(got, "theirs", "absent") != want {
			t.Errorf("%s tells a foreign name from an absent one: %q, %q", name, got, want)
		}
		refusal := func(n function.Name) string {
			_, err := s.Authorise(ctx, iam.Request{
				Principal: acme.me, Action: name, Resource: s.FunctionResource(globex.account, n), Owner: tenant.Identity{Account: globex.account},
			}, "request")
			return wants(t, err, fault.Denied, "AccessDeniedException")
		}
		if refusal("absent") != strings.ReplaceAll(refusal("theirs"), "theirs", "absent") {
			t.Errorf("%s by ARN tells a foreign name from an absent one", name)
		}
	}
	if after := w.untouched(); after != before {
		t.Fatalf("something was changed: %v, then %v", before, after)
	}
	if err := operations[ActionGetFunction](globex, "theirs"); err != nil {
		t.Fatalf("the twin: the owner is refused: %v", err)
	}

	page, err := s.ListFunctions(ctx, globex.on(ActionListFunctions, s.AccountResource(globex.account)), ListInput{MaxItems: 1})
	if err != nil || page.NextMarker == "" {
		t.Fatal(page, err)
	}
	stolen, err := s.ListFunctions(ctx, acme.on(ActionListFunctions, s.AccountResource(acme.account)), ListInput{Marker: page.NextMarker})
	if err != nil || len(stolen.Items) != 0 {
		t.Fatalf("with globex's marker acme sees %v, %v", stolen.Items, err)
	}
	in := acme.input("x", "x")
	in.Role = globex.role()
	_, err = s.CreateFunction(ctx, acme.may(ActionCreateFunction, "x"), in)
	wants(t, err, fault.Denied, "AccessDeniedException")
	_, err = s.Authorise(ctx, iam.Request{
		Principal: acme.me, Action: ActionGetTenant, Resource: s.TenantResource("globex"), Owner: tenant.Identity{Account: s.Management()},
	}, "request")
	wants(t, err, fault.Denied, "AccessDeniedException")
}

func TestEndTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	in := acme.input("f", "f")
	in.Tenancy = function.PerTenant
	acme.active(in)
	target, err := s.Resolve(acme.account, "f", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if target.Tenancy != function.PerTenant {
		t.Fatalf("the target is %+v", target)
	}
	grant := func(o who) iam.Grant {
		g, err := s.Authority().AuthoriseCall(&call.Call{Principal: o.me, Owner: tenant.Identity{Account: o.account}, Target: target})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	if uid, found, err := s.FindEndTenant(acme.account, "Customer-1"); found || err != nil {
		t.Fatal(uid, found, err)
	}
	uid, err := s.EndTenant(ctx, grant(acme), "Customer-1")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again, err := s.EndTenant(ctx, grant(acme), "Customer-1")
		if err != nil || again != uid {
			t.Fatalf("got %s, then %s, %v", uid, again, err)
		}
		_, err = s.EndTenant(ctx, grant(acme), "customer-1")
		wants(t, err, fault.Conflict, "InvalidParameterValueException")
		_, _, err = s.FindEndTenant(acme.account, "CUSTOMER-1")
		wants(t, err, fault.Conflict, "InvalidParameterValueException")
		s.Close()
		s = w.open()
		acme = as(t, s, acme.me.AccessKeyID)
	}
	for _, id := range []tenant.EndTenantID{"", "-x", "a.b", "a*", "a b", "ä"} {
		_, err = s.EndTenant(ctx, grant(acme), id)
		wants(t, err, fault.Invalid, "InvalidParameterValueException")
	}
	if _, found, _ := s.FindEndTenant(s.Management(), "Customer-1"); found {
		t.Fatal("another account has the end tenant")
	}
}
