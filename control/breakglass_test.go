package control

import (
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// TestOperatorBreaksGlass shows that an operator is in a tenant's account by a session
// of its own kind only, for a while, with a reason.
func TestOperatorBreaksGlass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	acme.active(acme.input("f", "one"))
	acme.makeRole("support", trustOf(LambdaService))
	must(t, acme.putRolePolicy("support", "call", statement(`"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"`)))
	resource := s.FunctionResource(acme.account, "f")
	breaks := func(in BreakGlassInput) (SessionCredentials, error) {
		return s.BreakGlass(ctx, operator.on(ActionBreakGlass, s.BreakGlassResource(in.Tenant, in.Role)), in)
	}
	c, err := breaks(BreakGlassInput{Tenant: "acme", Role: "support", Reason: "ticket 7"})
	must(t, err)
	if lasts := c.Expires.Sub(s.cfg.Now()).Seconds(); lasts < defaultBreakGlass-60 || lasts > defaultBreakGlass {
		t.Errorf("it lasts %v s", lasts)
	}
	session := operator.holding(c)
	if session.account != acme.account || session.me.ARN != "arn:aws:sts::"+string(acme.account)+":assumed-role/support/break-glass" {
		t.Errorf("it is %+v", session.me)
	}
	if acme.decides(session.me, iam.InvokeAction, resource) != policy.Allowed {
		t.Error("the session may not what its role may")
	}
	if acme.decides(operator.me, iam.InvokeAction, resource) == policy.Allowed {
		t.Error("the control: an operator may it without")
	}
	for _, tt := range []struct {
		in   BreakGlassInput
		kind fault.Kind
		code string
	}{
		{BreakGlassInput{Tenant: "acme", Role: "support"}, fault.Invalid, "InvalidParameterValueException"},
		{BreakGlassInput{Tenant: "acme", Role: "support", Reason: "x", Seconds: 3601}, fault.Invalid, "InvalidParameterValueException"},
		{BreakGlassInput{Tenant: "acme", Role: "support", Reason: "x", Seconds: 59}, fault.Invalid, "InvalidParameterValueException"},
		{BreakGlassInput{Tenant: "acme", Role: "none", Reason: "x"}, fault.NotFound, "ResourceNotFoundException"},
		{BreakGlassInput{Tenant: "none", Role: "support", Reason: "x"}, fault.NotFound, "ResourceNotFoundException"},
		{BreakGlassInput{Tenant: tenant.Management, Role: FunctionRole, Reason: "x"}, fault.Invalid, "InvalidParameterValueException"},
	} {
		_, err := breaks(tt.in)
		wants(t, err, tt.kind, tt.code)
	}
	must(t, operator.deleteTenant("acme"))
	_, err = breaks(BreakGlassInput{Tenant: "acme", Role: "support", Reason: "x"})
	wants(t, err, fault.Invalid, "InvalidParameterValueException")
}
