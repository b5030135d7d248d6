package control

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// serves makes the function shop, which serves end tenants.
func (o who) serves(names ...tenant.EndTenantID) {
	o.t.Helper()
	in := o.input("shop", "v1")
	in.Tenancy = function.PerTenant
	o.active(in)
	for _, id := range names {
		_, err := o.s.EndTenant(ctx, o.may(iam.InvokeAction, "shop"), id)
		o.must(err)
	}
}

// calls is a call of shop for an end tenant, before it was placed.
func (o who) calls(id tenant.EndTenantID, qualifier string) *call.Call {
	o.t.Helper()
	target, err := o.s.Resolve(o.account, "shop", qualifier, 0)
	o.must(err)
	uid, _, err := o.s.FindEndTenant(o.account, id)
	o.must(err)
	return &call.Call{
		RequestID: "request", Principal: o.me, Target: target, EndTenant: id, Owner: tenant.Identity{Account: o.account, EndTenant: uid},
	}
}

// placed is such a call afterwards.
func (o who) placed(id tenant.EndTenantID, qualifier string) *call.Call {
	o.t.Helper()
	c := o.calls(id, qualifier)
	o.must(o.s.Place(c))
	return c
}

// runs is what a placed call's code is when it asks for something.
func (o who) runs(c *call.Call) call.Principal {
	o.t.Helper()
	t := c.Target
	r, found := o.s.ExecutionRole(t)
	if !found {
		o.t.Fatalf("%s has no role", t.Role)
	}
	p := call.Principal{
		Type: call.TypeRole, Account: t.Account, Tenant: t.AccountSlug, ARN: "arn:aws:sts::" + string(t.Account) + ":assumed-role/" + r.Name + "/shop",
		Session: &call.Session{ID: "1", Issuer: t.Role, IssuerUID: r.UID, Name: "shop", EndTenant: c.EndTenant, EndTenantUID: c.Asked().EndTenant},
	}
	if t.Instance != nil {
		p.Session.Template = t.Instance.TemplateUID
	}
	if provider := t.Provider(); provider != t.Account {
		p.Session.EndTenantOf = provider
	}
	return p
}

// asks decides a request of a principal.
func (o who) asks(p call.Principal, action, resource string) error {
	owner := strings.Split(resource, ":")[4]
	if owner == "" {
		owner = string(o.account)
	}
	_, err := o.s.Authorise(ctx, iam.Request{Principal: p, Action: action, Resource: resource, Owner: tenant.Identity{Account: tenant.AccountID(owner)}}, "request")
	return err
}

const ownPrefix = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::data/${carrel:EndTenant}/*"}]}`

func TestNamespaceIsTheFunctionItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.serves("blue")
	acme.must(acme.putRolePolicy(FunctionRole, "data", ownPrefix))
	before := acme.calls("blue", "")
	c := acme.placed("blue", "")
	if c.Target != before.Target || c.Owner != before.Owner || c.Target.Role != acme.role() || c.Target.LogGroup() != "/aws/lambda/shop" {
		t.Errorf("the call is placed as %+v of %+v", c.Target, c.Owner)
	}
	p := acme.runs(c)
	acme.must(acme.asks(p, "s3:GetObject", "arn:aws:s3:::data/blue/x"))
	wants(t, acme.asks(p, "s3:GetObject", "arn:aws:s3:::data/red/x"), fault.Denied, "AccessDeniedException")
}

func TestFunctionOfEachEndTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.serves("blue", "red")
	acme.must(acme.putRolePolicy(FunctionRole, "data", ownPrefix))
	s.strategy = func(*call.Call) isolation.Strategy { return isolation.Function }
	plain := acme.calls("blue", "")
	blue, red := acme.placed("blue", ""), acme.placed("red", "")
	if again := acme.placed("blue", ""); again.Target != blue.Target {
		t.Error("an instance is made anew by every call")
	}
	t.Run("identity", func(t *testing.T) {
		b := blue.Target
		if b.Role != "arn:aws:iam::"+string(acme.account)+":role/carrel/derived/shop@blue" || b.LogGroup() != "/aws/lambda/shop/blue" {
			t.Errorf("role %s, log %s", b.Role, b.LogGroup())
		}
		if b.FunctionUID == red.Target.FunctionUID || b.FunctionUID == plain.Target.FunctionUID || b.RoleUID == red.Target.RoleUID {
			t.Error("two instances are one")
		}
		if b.ARN != plain.Target.ARN || b.Resource() != plain.Target.Resource() || blue.Owner != plain.Owner || blue.Asked() != plain.Asked() {
			t.Errorf("callers see another function: %s for %+v", b.Resource(), blue.Asked())
		}
		if b.Artifact != plain.Target.Artifact || b.CodeOwner() != plain.Target.AccountUID {
			t.Error("the code is another")
		}
		if _, err := tenant.ParseUID(string(b.FunctionUID)); err != nil {
			t.Error(err)
		}
	})
	t.Run("policies", func(t *testing.T) {
		p := acme.runs(blue)
		acme.must(acme.asks(p, "s3:GetObject", "arn:aws:s3:::data/blue/x"))
		wants(t, acme.asks(p, "s3:GetObject", "arn:aws:s3:::data/red/x"), fault.Denied, "AccessDeniedException")
		// The instance of one end tenant cannot be used for another one.
		wants(t, acme.askFor(p, red), fault.Denied, "AccessDeniedException")
	})
	t.Run("forged", func(t *testing.T) {
		for name, change := range map[string]func(*call.Session){
			"no template":          func(s *call.Session) { s.Template = "" },
			"another template":     func(s *call.Session) { s.Template = tenant.NewUID() },
			"not an end tenant's":  func(s *call.Session) { s.EndTenantUID = "" },
			"of another account":   func(s *call.Session) { s.EndTenantOf = "111111111111" },
			"not a derived role's": func(s *call.Session) { s.Issuer, s.IssuerUID = "arn:aws:iam::"+string(acme.account)+":role/other", "x" },
		} {
			p := acme.runs(blue)
			session := *p.Session
			p.Session = &session
			change(&session)
			if _, found := s.Subject(&p); found {
				t.Errorf("%s: the session is somebody", name)
			}
		}
	})
}

// askFor decides a call of shop for another call's end tenant.
func (o who) askFor(p call.Principal, c *call.Call) error {
	_, err := o.s.Authorise(ctx, iam.Request{
		Principal: p, Action: iam.InvokeAction, Resource: c.Target.Resource(), Owner: c.Asked(), EndTenant: c.EndTenant,
	}, "request")
	return err
}

func TestDerivedRolesAreThePlatforms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.serves("blue", "red")
	s.strategy = func(*call.Call) isolation.Strategy { return isolation.Function }
	arn := acme.placed("blue", "").Target.Role
	if acme.decides(acme.me, "sts:AssumeRole", arn) == policy.Allowed {
		t.Error("a derived role can be assumed")
	}
	in := acme.input("thief", "x")
	in.Role = arn
	in.PassRole = acme.pass(arn)
	_, err := s.CreateFunction(ctx, acme.may(ActionCreateFunction, "thief"), in)
	wants(t, err, fault.Invalid, "InvalidParameterValueException")
	acme.must(acme.putRolePolicy(FunctionRole, "iam", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}`))

	// A role that is named so stands in the way, and nobody has its rights.
	acme.makeRole("shop@blue", trustOf(LambdaService))
	c := acme.calls("blue", "")
	wants(t, s.Place(c), fault.Conflict, "ResourceConflictException")
	if c.Target.Instance != nil {
		t.Error("the call was placed all the same")
	}
	acme.placed("red", "")
	acme.deleteRole("shop@blue")
	acme.placed("blue", "")
}

func TestDerivedRolesAreNamedByPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.serves("blue", "red")
	s.strategy = func(*call.Call) isolation.Strategy { return isolation.Function }
	acme.active(acme.input("stock", "v1"))
	blue, red := acme.placed("blue", ""), acme.placed("red", "")
	_, err := s.AddPermission(ctx, acme.may(ActionAddPermission, "stock"), PermissionInput{
		Name: "stock", StatementID: "blue", Action: iam.InvokeAction, Principal: blue.Target.Role,
	})
	acme.must(err)
	stock := s.FunctionResource(acme.account, "stock")
	acme.must(acme.asks(acme.runs(blue), iam.InvokeAction, stock))
	wants(t, acme.asks(acme.runs(red), iam.InvokeAction, stock), fault.Denied, "AccessDeniedException")
	_, err = s.AddPermission(ctx, acme.may(ActionAddPermission, "stock"), PermissionInput{
		Name: "stock", StatementID: "none", Action: iam.InvokeAction, Principal: strings.Replace(blue.Target.Role, "blue", "nobody", 1),
	})
	wants(t, err, fault.Invalid, "InvalidParameterValueException")

	// With its template a derived role is gone, also if there is a new one.
	s.ix.mu.RLock()
	role, _ := s.identitiesOf(acme.account).Role(acme.role())
	s.ix.mu.RUnlock()
	acme.must(s.remove(ctx, role.Key, role.Revision))
	if _, found := s.ExecutionRole(blue.Target); found {
		t.Error("a derived role outlives its template")
	}
	p := acme.calls("blue", "")
	acme.must(s.Place(p))
	if _, found := s.ExecutionRole(p.Target); found {
		t.Error("a role is derived from one that is gone")
	}
}

// TestProverSeesDerivedRoles wants a policy to be refused that lets derived
// roles through, whatever the strategy is at present.
func TestProverSeesDerivedRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.serves("blue")
	only := func(arn string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::data/*","Condition":{"ArnLike":{"aws:PrincipalArn":"` + arn + `"}}}]}`
	}
	family := derivedRoleARN(acme.account, "shop", "*")
	text := wants(t, acme.putRolePolicy(FunctionRole, "data", only(family)), fault.Denied, "IsolationViolation")
	if !strings.Contains(text, "derived/shop@"+prove.EndTenantMark) {
		t.Errorf("the refusal does not say whose role it is: %s", text)
	}
	// The control: other functions' derived roles are not there.
	acme.must(acme.putRolePolicy(FunctionRole, "data", only(derivedRoleARN(acme.account, "shops", "*"))))
}

func TestInstancesAreFoundByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	blue := operator.child(acme, "blue-co")
	acme.serves("blue", "red")
	l, err := acme.link("blue", "blue-co")
	acme.must(err)
	get := func(o who, name string) (InstanceView, error) {
		return s.GetInstance(ctx, o.may(ActionGetFunction, function.Name(name)), name)
	}
	_, err = get(blue, "shop@blue")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	_, err = blue.accepts(l.ID)
	blue.must(err)
	for strategy, who := range map[isolation.Strategy]who{isolation.Function: acme, isolation.Account: blue} {
		s.strategy = func(*call.Call) isolation.Strategy { return strategy }
		v, err := get(who, "shop@blue")
		who.must(err)
		if c := acme.placed("blue", ""); v.UID != c.Target.FunctionUID || v.LogGroup != c.Target.LogGroup() || v.Provider != acme.account {
			t.Errorf("%s shows %+v and runs %+v", strategy, v, c.Target)
		}
	}
	for name, who := range map[string]who{"shop@red": blue, "shop@nobody": acme, "shop": acme, "other@blue": acme} {
		if _, err := get(who, name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPlacingAllocatesLittle is about calls of end tenants that were here before.
func TestPlacingAllocatesLittle(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.serves("blue")
	for _, strategy := range []isolation.Strategy{isolation.Namespace, isolation.Function} {
		s.strategy = func(*call.Call) isolation.Strategy { return strategy }
		before := *acme.calls("blue", "")
		if n := testing.AllocsPerRun(100, func() {
			c := before
			if err := s.Place(&c); err != nil {
				t.Fatal(err)
			}
		}); n > 4 {
			t.Errorf("%s: placing a call allocates %v times", strategy, n)
		}
	}
}

func TestStrategyIsATagOfTheFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.serves("blue")
	tag := func(value string) error {
		return s.TagResource(ctx, acme.may(ActionTagResource, "shop"), "shop", map[string]string{strategyTag: value})
	}
	for _, value := range []string{"", "Function", "process", "namespace "} {
		wants(t, tag(value), fault.Invalid, "InvalidParameterValueException")
	}
	for _, strategy := range []isolation.Strategy{isolation.Function, isolation.Namespace} {
		acme.must(tag(strategy.String()))
		if c := acme.placed("blue", ""); c.Target.Strategy() != strategy {
			t.Errorf("under %s it is placed under %s", strategy, c.Target.Strategy())
		}
	}
	acme.must(tag("account"))
	wants(t, s.Place(acme.calls("blue", "")), fault.Conflict, "ResourceConflictException")
}
