package control

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// TestNobodyGainsARoleByAFunction (A22): a developer who may do everything
// with functions and pass the role fn tries to have code of theirs run with
// the role boss, by every act that says what runs, and how, with which role.
func TestNobodyGainsARoleByAFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	boss := acme.makeRole("boss", trustOf(LambdaService))
	acme.must(s.AttachRolePolicy(ctx, acme.identity(ActionAttachRolePolicy, sortRole, "boss"), "boss", directory.AdministratorAccess))
	in := acme.input("bosses", "one")
	in.Role, in.PassRole = boss.ARN, acme.pass(boss.ARN)
	acme.active(in)
	acme.publish("bosses")
	_, k := acme.user("dev")
	acme.must(s.AttachUserPolicy(ctx, acme.identity(ActionAttachUserPolicy, sortUser, "dev"), "dev", directory.TenantDeveloper))
	dev := as(t, s, k.ID)
	dev.active(dev.input("own", "one")) // the twin: with the role that may be passed

	if _, err := s.Authorise(ctx, iam.Request{Principal: dev.me, Action: ActionPassRole, Resource: boss.ARN,
		Owner: tenant.Identity{Account: acme.account}, Keys: []iam.Key{PassedToService()}}, "r"); !fault.Is(err, fault.Denied) {
		t.Fatalf("the developer may pass the role on: %v", err)
	}
	timeout := 9
	pass := dev.onWith(ActionPassRole, dev.role(), PassedToService())
	for name, try := range map[string]func(pass iam.Grant) error{
		"create": func(pass iam.Grant) error {
			in := dev.input("new", "evil")
			in.Role, in.PassRole = boss.ARN, pass
			_, err := s.CreateFunction(ctx, dev.may(ActionCreateFunction, "new"), in)
			return err
		},
		"give an own function the role": func(pass iam.Grant) error {
			_, err := s.UpdateFunctionConfiguration(ctx, dev.may(ActionUpdateConfig, "own"), UpdateConfigurationInput{Name: "own", Role: &boss.ARN, PassRole: pass})
			return err
		},
		"give the role's function other code": func(pass iam.Grant) error {
			_, err := s.UpdateFunctionCode(ctx, dev.may(ActionUpdateCode, "bosses"), UpdateCodeInput{Name: "bosses", Package: module("evil"), Publish: true, PassRole: pass})
			return err
		},
		"give the role's function another configuration": func(pass iam.Grant) error {
			_, err := s.UpdateFunctionConfiguration(ctx, dev.may(ActionUpdateConfig, "bosses"), UpdateConfigurationInput{
				Name: "bosses", TimeoutSec: &timeout, Environment: map[string]string{"KEY": "evil"}, PassRole: pass,
			})
			return err
		},
	} {
		for what, pass := range map[string]iam.Grant{
			"no grant": {}, "the grant for another role": pass, "another principal's grant": acme.pass(boss.ARN),
			"a grant for another action":  dev.may(ActionUpdateCode, "own"),
			"a grant for another service": acme.on(ActionPassRole, boss.ARN),
		} {
			if err := try(pass); !fault.Is(err, fault.Denied) {
				t.Errorf("%s with %s: %v", name, what, err)
			}
		}
	}
	target, err := s.Resolve(acme.account, "bosses", "", 0)
	acme.must(err)
	if v := acme.get("bosses", ""); v.Version.Limits.Timeout.Seconds() == 9 || target.Role != boss.ARN || v.Version.UpdateStatus != function.UpdateSuccessful {
		t.Errorf("something was changed: %+v", v.Version)
	}
}

// onWith is on with condition keys.
func (o who) onWith(action, resource string, keys ...iam.Key) iam.Grant {
	o.t.Helper()
	g, err := o.s.Authorise(ctx, iam.Request{Principal: o.me, Action: action, Resource: resource, Owner: tenant.Identity{Account: o.account}, Keys: keys}, "request")
	o.must(err)
	return g
}

// TestRoleHasToTrustLambda also shows that a version keeps the role that it
// was given: not another of its name (A06).
func TestRoleHasToTrustLambda(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	condition := func(account tenant.AccountID) string {
		return strings.Replace(trustOf(LambdaService), `"Action"`, `"Condition":{"StringEquals":{"aws:SourceAccount":"`+string(account)+`"}},"Action"`, 1)
	}
	for name, c := range map[string]struct {
		trust string
		taken bool
	}{
		"lambda": {trustOf(LambdaService), true}, "another": {trustOf("s3.amazonaws.com"), false},
		"own": {condition(acme.account), true}, "foreign": {condition("123456789012"), false},
		"people": {trustOfAccount(acme.account), false},
	} {
		r := acme.makeRole("r-"+name, c.trust)
		in := acme.input(function.Name(name), "x")
		in.Role, in.PassRole = r.ARN, acme.pass(r.ARN)
		_, err := s.CreateFunction(ctx, acme.may(ActionCreateFunction, in.Name), in)
		if c.taken {
			acme.must(err)
			continue
		}
		if text := wants(t, err, fault.Invalid, "InvalidParameterValueException"); !strings.Contains(text, "cannot be assumed by Lambda") {
			t.Error(text)
		}
	}
	missing := acme.input("f", "x")
	missing.Role = roleARN(acme.account, "absent")
	missing.PassRole = acme.pass(missing.Role)
	_, err := s.CreateFunction(ctx, acme.may(ActionCreateFunction, "f"), missing)
	wants(t, err, fault.Invalid, "InvalidParameterValueException")

	acme.ready("lambda")
	target := func() *function.Target {
		got, err := s.Resolve(acme.account, "lambda", "", 0)
		acme.must(err)
		return got
	}
	if r, found := s.ExecutionRole(target()); !found || r.Name != "r-lambda" {
		t.Fatalf("the twin: %+v %v", r, found)
	}
	acme.deleteRole("r-lambda")
	again := acme.makeRole("r-lambda", trustOf(LambdaService))
	if r, found := s.ExecutionRole(target()); found {
		t.Errorf("a function has the role that was made later under its role's name: %+v", r)
	}
	_, err = acme.code(UpdateCodeInput{Name: "lambda", Package: module("new")})
	acme.must(err)
	acme.ready("lambda")
	if _, found := s.ExecutionRole(target()); found {
		t.Error("new code has the new role, which nobody gave it")
	}
	_, err = acme.update(UpdateConfigurationInput{Name: "lambda", Role: &again.ARN})
	acme.must(err)
	acme.ready("lambda")
	if r, found := s.ExecutionRole(target()); !found || r.UID != again.UID {
		t.Errorf("the twin: a role that was given anew: %+v %v", r, found)
	}
}

// TestPermissionMeansWhoItWasGivenTo (A06): a permission for a user is not one
// for another of the name.
func TestPermissionMeansWhoItWasGivenTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme, globex := operator.tenant("acme"), operator.tenant("globex")
	acme.active(acme.input("f", "one"))
	acme.publish("f")
	acme.alias("f", "live", "1")
	acme.shares(s.FunctionResource(acme.account, "f"), "globex")
	give := func(id, principal, qualifier string) {
		t.Helper()
		_, err := s.AddPermission(ctx, acme.may(ActionAddPermission, "f"), PermissionInput{
			Name: "f", Qualifier: qualifier, StatementID: id, Action: iam.InvokeAction, Principal: principal,
		})
		acme.must(err)
	}
	friend := func() call.Principal {
		t.Helper()
		_, k := globex.user("friend")
		globex.must(s.AttachUserPolicy(ctx, globex.identity(ActionAttachUserPolicy, sortUser, "friend"), "friend", directory.AdministratorAccess))
		return as(t, s, k.ID).me
	}
	early := userARN(globex.account, "friend")
	give("early", early, "")
	first := friend()
	resource := func(q string) string { return function.ARN(region, acme.account, "f", q) }
	if acme.decides(first, iam.InvokeAction, resource("")) == policy.Allowed {
		t.Error("who got the name later is let in")
	}
	give("now", early, "")
	give("alias", early, "live")
	for q, want := range map[string]policy.Verdict{"": policy.Allowed, "live": policy.Allowed, "1": policy.ImplicitlyDenied, "$LATEST": policy.ImplicitlyDenied} {
		if got := acme.decides(first, iam.InvokeAction, resource(q)); got != want {
			t.Errorf("%q: %v, want %v", q, got, want)
		}
	}
	globex.must(s.DetachUserPolicy(ctx, globex.identity(ActionDetachUserPolicy, sortUser, "friend"), "friend", directory.AdministratorAccess))
	globex.deleteUser("friend")
	second := friend()
	for _, q := range []string{"", "live"} {
		if acme.decides(second, iam.InvokeAction, resource(q)) == policy.Allowed {
			t.Errorf("%q: who has the name now is let in", q)
		}
	}
	give("again", early, "")
	if acme.decides(second, iam.InvokeAction, resource("")) != policy.Allowed {
		t.Error("the twin: a permission that was given anew lets nobody in")
	}

	// What hangs on an alias goes with it, and on a function too.
	acme.must(s.DeleteAlias(ctx, acme.may(ActionDeleteAlias, "f"), "f", "live"))
	acme.alias("f", "live", "1")
	_, err := s.GetFunctionPolicy(ctx, acme.may(ActionGetFunctionPolicy, "f"), "f", "live")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	acme.delete("f")
	acme.active(acme.input("f", "two"))
	if acme.decides(second, iam.InvokeAction, resource("")) == policy.Allowed {
		t.Error("a function inherits the policy of one that was deleted")
	}
	_, err = s.GetFunctionPolicy(ctx, acme.may(ActionGetFunctionPolicy, "f"), "f", "")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
}

// TestPermissionsHaveABound fills a policy up.
func TestPermissionsHaveABound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "one"))
	in := PermissionInput{Name: "f", StatementID: "s", Action: iam.InvokeAction, Principal: "s3.amazonaws.com", SourceARN: "arn:aws:s3:::" + strings.Repeat("b", 1024)}
	var err error
	for n := 0; err == nil && n < 100; n++ {
		in.StatementID += "s"
		_, err = s.AddPermission(ctx, acme.may(ActionAddPermission, "f"), in)
	}
	wants(t, err, fault.TooLarge, "PolicyLengthExceededException")
	in.StatementID, in.SourceARN = "ss", ""
	_, err = s.AddPermission(ctx, acme.may(ActionAddPermission, "f"), in)
	wants(t, err, fault.Conflict, "ResourceConflictException")
	in.StatementID, in.RevisionID = "new", "other"
	_, err = s.AddPermission(ctx, acme.may(ActionAddPermission, "f"), in)
	wants(t, err, fault.Precondition, "PreconditionFailedException")
}
