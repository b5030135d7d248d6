package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// statement makes a policy of one statement.
func statement(text string) string { return `{"Version":"2012-10-17","Statement":[{` + text + `}]}` }

var (
	denyInvoke = statement(`"Effect":"Deny","Action":"lambda:Invoke*","Resource":"*"`)
	rcpDeny    = statement(`"Effect":"Deny","Principal":"*","Action":"lambda:Invoke*","Resource":"*"`)
)

// ours gives an operator's grant for something of the organisation.
func (o who) ours(action, what string) iam.Grant { return o.on(action, o.s.ours(what)) }

func (o who) unit(name, parent string) directory.Unit {
	o.t.Helper()
	u, err := o.s.CreateUnit(ctx, o.ours(ActionCreateUnit, "unit/"+name), CreateUnitInput{name, parent})
	if err != nil {
		o.t.Fatal(err)
	}
	return u
}

func (o who) move(slug tenant.Slug, unit string) error {
	return o.s.MoveAccount(ctx, o.on(ActionMoveAccount, o.s.TenantResource(slug)), MoveAccountInput{slug, unit})
}

func (o who) putPolicy(name, text string) (SharedPolicy, error) {
	return o.s.PutSharedPolicy(ctx, o.ours(ActionPutPolicy, "policy/"+name), PutPolicyInput{Name: name, Text: text})
}

func (o who) attach(name, target string, as policy.Kind) error {
	return o.s.AttachGuardrail(ctx, o.ours(ActionAttachPolicy, "policy/"+name), GuardrailInput{name, target, as})
}

func (o who) detach(name, target string, as policy.Kind) error {
	return o.s.DetachGuardrail(ctx, o.ours(ActionDetachPolicy, "policy/"+name), GuardrailInput{name, target, as})
}

// shares has the account share a resource of its own.
func (o who) shares(resource, with string) directory.Share {
	o.t.Helper()
	r, err := o.s.CreateShare(ctx, o.on(ActionCreateShare, o.s.OwnResource(o.account, "share/*")), CreateShareInput{resource, with, "a test"})
	must(o.t, err)
	return r
}

// invokes tells whether the account's admin may call its function f.
func (o who) invokes() bool {
	_, err := o.s.Authorise(ctx, iam.Request{
		Principal: o.me, Action: iam.InvokeAction, Resource: o.s.FunctionResource(o.account, "f"), Owner: tenant.Identity{Account: o.account},
	}, "request")
	if err != nil && !fault.Is(err, fault.Denied) {
		o.t.Error(err)
	}
	return err == nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGuardrails attaches a deny at each place of the tree and looks at who is
// hit by it: whoever is below, and nobody else.
func TestGuardrails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	operator.unit("emea", "")
	operator.unit("retail", "emea")
	inside, outside := operator.tenant("inside"), operator.tenant("outside")
	must(t, operator.move("inside", "retail"))
	made, err := operator.createTenant(CreateTenantInput{Slug: "below", Parent: "inside"})
	must(t, err)
	below := as(t, s, made.AccessKeyID)
	_, err = operator.putPolicy("no-calls", denyInvoke)
	must(t, err)
	_, err = operator.putPolicy("no-calls-r", rcpDeny)
	must(t, err)

	for _, c := range []struct {
		target                 string
		inside, outside, below bool
	}{
		{"root", false, false, false},
		{"emea", false, true, false},
		{"retail", false, true, false},
		{"inside", false, true, false},
		{"tenant/below", true, true, false},
		{"outside", true, false, true},
	} {
		for kind, name := range map[policy.Kind]string{policy.SCP: "no-calls", policy.RCP: "no-calls-r"} {
			if !inside.invokes() || !outside.invokes() || !below.invokes() {
				t.Fatal("the control: without a guardrail somebody is refused")
			}
			must(t, operator.attach(name, c.target, kind))
			must(t, operator.attach(name, c.target, kind))
			if got := [3]bool{inside.invokes(), outside.invokes(), below.invokes()}; got != [3]bool{c.inside, c.outside, c.below} {
				t.Errorf("%s as %s at %s: inside, outside, below may call: %v", name, guardrailNames[kind], c.target, got)
			}
			if !operator.invokes() {
				t.Errorf("%s at %s binds the management account", name, c.target)
			}
			must(t, operator.detach(name, c.target, kind))
		}
	}

	// An SCP of every level has to allow.
	_, err = operator.putPolicy("only-calls", statement(`"Effect":"Allow","Action":"lambda:*","Resource":"*"`))
	must(t, err)
	must(t, operator.attach("only-calls", "emea", policy.SCP))
	must(t, operator.detach("FullAWSAccess", "emea", policy.SCP))
	if !inside.invokes() {
		t.Error("what every level allows is refused")
	}
	_, err = operator.putPolicy("only-calls", statement(`"Effect":"Allow","Action":"s3:*","Resource":"*"`))
	must(t, err)
	if inside.invokes() || below.invokes() || !outside.invokes() {
		t.Error("what a level does not allow is allowed, or hits others")
	}
	if err := operator.detach("only-calls", "emea", policy.SCP); !fault.Is(err, fault.Conflict) {
		t.Errorf("the last SCP was detached: %v", err)
	}
	must(t, operator.move("inside", "root"))
	if !inside.invokes() || !below.invokes() {
		t.Error("the account was moved out and its unit's guardrails still bind")
	}
	s.Close()
	s = w.open()
	if again := as(t, s, inside.me.AccessKeyID); !again.invokes() {
		t.Error("after a restart it is refused")
	}
	must(t, w.operator(s).move("inside", "retail"))
	if again := as(t, s, inside.me.AccessKeyID); again.invokes() {
		t.Error("after a restart the guardrails are gone")
	}
}

// TestDamagedTree shows that nobody is let in where what is above cannot be read.
func TestDamagedTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	_, err := operator.putPolicy("no-calls", denyInvoke)
	must(t, err)
	must(t, operator.attach("no-calls", "acme", policy.SCP))
	s.Close()
	for _, e := range w.raw(guardrailFamily) {
		value := append([]byte{}, e.Value...)
		value[len(value)-1] ^= 1
		if _, err := w.stores.Identities.Update(ctx, e.Key, value, e.Revision); err != nil {
			t.Fatal(err)
		}
	}
	s = w.open()
	if as(t, s, acme.me.AccessKeyID).invokes() {
		t.Error("a guardrail that cannot be read does not bind")
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	u := operator.unit("emea", "")
	operator.tenant("acme")
	_, err := operator.createTenant(CreateTenantInput{Slug: "below", Parent: "acme"})
	must(t, err)
	must(t, operator.move("acme", "unit/emea"))

	wants(t, operator.move("below", "root"), fault.Invalid, "InvalidParameterValueException")
	wants(t, operator.move("acme", "nowhere"), fault.NotFound, "ResourceNotFoundException")
	wants(t, operator.move(tenant.Management, "emea"), fault.Invalid, "InvalidParameterValueException")
	remove := func(name string) error { return s.DeleteUnit(ctx, operator.ours(ActionDeleteUnit, "unit/"+name), name) }
	wants(t, remove("emea"), fault.Conflict, "OrganizationalUnitNotEmptyException")
	wants(t, remove("nowhere"), fault.NotFound, "ResourceNotFoundException")
	for _, name := range []string{"", "root", "ou-x", "a b", "-a", strings.Repeat("a", 65), "a/b", "é"} {
		if _, err := s.CreateUnit(ctx, operator.ours(ActionCreateUnit, "unit/"+name), CreateUnitInput{Name: name}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a unit %q: %v", name, err)
		}
	}
	if _, err := s.CreateUnit(ctx, operator.ours(ActionCreateUnit, "unit/emea"), CreateUnitInput{Name: "emea"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second unit of the name: %v", err)
	}
	parent := "emea"
	for i := range maxUnitDepth - 1 {
		parent = operator.unit(fmt.Sprintf("u%d", i), parent).ID
	}
	if _, err := s.CreateUnit(ctx, operator.ours(ActionCreateUnit, "unit/deep"), CreateUnitInput{"deep", parent}); !fault.Is(err, fault.Throttled) {
		t.Errorf("a unit too deep: %v", err)
	}

	var lines []string
	in := PageInput{MaxItems: 2}
	for {
		page, err := s.Organization(ctx, operator.ours(ActionGetOrganization, "organization"), in)
		must(t, err)
		for _, n := range page.Items {
			name := n.Parent
			if name == u.ID {
				name = "emea"
			}
			if n.Kind == NodeTenant && n.Name != string(tenant.Management) {
				lines = append(lines, n.Name+" in "+strings.Replace(name, string(mustAccount(t, s, "acme")), "acme", 1))
			}
			if len(n.SCPs) != 1 || len(n.RCPs) != 1 {
				t.Errorf("attached to %s: %v %v", n.Name, n.SCPs, n.RCPs)
			}
		}
		if in.Marker = page.NextMarker; in.Marker == "" {
			break
		}
	}
	if got := strings.Join(lines, ", "); got != "acme in emea, below in acme" {
		t.Errorf("the tree is %s", got)
	}
	must(t, operator.move("acme", "root"))
	wants(t, remove("emea"), fault.Conflict, "OrganizationalUnitNotEmptyException") // it has units
	must(t, remove("u3"))
}

func mustAccount(t testing.TB, s *Service, slug tenant.Slug) tenant.AccountID {
	t.Helper()
	id, found := s.ix.slugs.get(slug)
	if !found {
		t.Fatalf("no tenant %s", slug)
	}
	return id
}

func TestSharedPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	for i := range 8 {
		p, err := operator.putPolicy("p", statement(fmt.Sprintf(`"Sid":"S%d","Effect":"Deny","Action":"s3:*","Resource":"*"`, i)))
		must(t, err)
		if p.Default != fmt.Sprintf("v%d", i+1) || len(p.Versions) > maxPolicyVersions || !strings.Contains(p.Text(), fmt.Sprintf("S%d", i)) {
			t.Fatalf("the version that counts is %s of %d", p.Default, len(p.Versions))
		}
	}
	if again, err := operator.putPolicy("p", statement(`"Sid":"S7","Effect":"Deny","Action":"s3:*","Resource":"*"`)); err != nil || again.Default != "v8" {
		t.Errorf("the same text made a version: %v %v", again.Default, err)
	}
	_, err := operator.putPolicy("bad", `{"Statement":[]}`)
	wants(t, err, fault.Invalid, "MalformedPolicyDocument")
	_, err = operator.putPolicy("P", denyInvoke)
	wants(t, err, fault.Conflict, "ConflictException")
	wants(t, operator.attach("p", "acme", policy.RCP), fault.Invalid, "MalformedPolicyDocument")
	wants(t, operator.attach("p", "acme", policy.Identity), fault.Invalid, "InvalidParameterValueException")
	wants(t, operator.attach("none", "acme", policy.SCP), fault.NotFound, "ResourceNotFoundException")
	wants(t, operator.attach("p", "none", policy.SCP), fault.NotFound, "ResourceNotFoundException")
	wants(t, operator.detach("p", "acme", policy.SCP), fault.NotFound, "PolicyNotAttachedException")
	must(t, operator.attach("p", "acme", policy.SCP))
	_, err = operator.putPolicy("p", rcpDeny)
	wants(t, err, fault.Invalid, "MalformedPolicyDocument")
	remove := func() error { return s.DeleteSharedPolicy(ctx, operator.ours(ActionDropPolicy, "policy/p"), "p") }
	if text := wants(t, remove(), fault.Conflict, "PolicyInUseException"); !strings.Contains(text, "tenant acme") {
		t.Error(text)
	}
	arn := NewIdentityResource(s.management, sortPolicy, "/", "p")
	must(t, operator.detach("p", "acme", policy.SCP))
	must(t, s.AttachUserPolicy(ctx, acme.on(ActionAttachUserPolicy, userARN(acme.account, AdminUser)), AdminUser, arn))
	wants(t, remove(), fault.Conflict, "PolicyInUseException")
	got, err := s.GetSharedPolicy(ctx, operator.ours(ActionReadPolicy, "policy/p"), "p")
	if err != nil || got.Attachments != 1 {
		t.Errorf("it is in use %d times: %v", got.Attachments, err)
	}
	must(t, s.DetachUserPolicy(ctx, acme.on(ActionDetachUserPolicy, userARN(acme.account, AdminUser)), AdminUser, arn))
	must(t, remove())
	page, err := s.ListSharedPolicies(ctx, operator.ours(ActionReadPolicies, "policy/*"), PageInput{})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("left are %v, %v", page.Items, err)
	}
	for i := range maxGuardrails {
		name := fmt.Sprintf("q%d", i)
		_, err := operator.putPolicy(name, denyInvoke)
		must(t, err)
		if err := operator.attach(name, "root", policy.SCP); (err == nil) != (i < maxGuardrails-1) {
			t.Errorf("%d SCPs: %v", i+2, err)
		}
	}
}

func TestLayoutsAndShares(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme, globex := operator.tenant("acme"), operator.tenant("globex")
	layout := func(o who, name, pattern string) (directory.Layout, error) {
		return s.PutLayout(ctx, o.on(ActionPutLayout, s.OwnResource(o.account, "layout/"+name)), PutLayoutInput{name, pattern})
	}
	share := func(o who, resource, with, reason string) (directory.Share, error) {
		return s.CreateShare(ctx, o.on(ActionCreateShare, s.OwnResource(o.account, "share/*")), CreateShareInput{resource, with, reason})
	}
	table := "arn:aws:dynamodb:us-east-1:" + string(acme.account) + ":table/orders-{tenant}"
	for _, pattern := range []string{
		"", "arn:aws:s3:::shared", "arn:aws:s3:::*/{tenant}/*", "arn:aws:s3:::{tenant}x/*", "arn:aws:s3:::{tenant}/{tenant}", "arn:aws:s3:::a?/{tenant}/*",
		"arn:aws:s3::{tenant}:a/*", "arn:aws:s3:::a/{tenant}/*/x", "arn:aws:s3:::a/{tenant}/?", "arn:aws:s3:::${x}/{tenant}/*", "s3:{tenant}",
	} {
		_, err := layout(operator, "bad", pattern)
		wants(t, err, fault.Invalid, "InvalidParameterValueException")
	}
	for i, pattern := range []string{"arn:aws:s3:::shared/{tenant}/*", "arn:aws:s3:::shared2/{tenant}/*"} {
		if l, err := layout(operator, "shared", pattern); err != nil || l.Version != i+1 {
			t.Fatalf("%+v %v", l, err)
		}
	}
	_, err := layout(operator, "other", "arn:aws:s3:::shared2/a/{tenant}/*")
	wants(t, err, fault.Conflict, "ConflictException")
	_, err = layout(acme, "mine", "arn:aws:s3:::acme/{tenant}/*")
	wants(t, err, fault.Denied, "AccessDeniedException")
	_, err = layout(globex, "theirs", table)
	wants(t, err, fault.Denied, "AccessDeniedException")
	_, err = layout(acme, "orders", table)
	must(t, err)

	function := "arn:aws:lambda:us-east-1:" + string(acme.account) + ":function:f"
	for _, c := range []struct {
		o        who
		resource string
		good     bool
	}{
		{acme, function, true},
		{globex, function + "2", false},
		{acme, "arn:aws:lambda:us-east-1:" + string(acme.account) + ":function:*", true},
		{acme, "arn:aws:lambda:us-east-1:*:function:f", false},
		{acme, "arn:aws:s3:::shared2/acme/*", true},
		{acme, "arn:aws:s3:::shared2/acme/reports/2026?.csv", true},
		{acme, "arn:aws:s3:::shared2/acme*", false},
		{acme, "arn:aws:s3:::shared2/acme", false},
		{acme, "arn:aws:s3:::shared2/globex/*", false},
		{acme, "arn:aws:s3:::shared2/*", false},
		{acme, "arn:aws:s3:::unowned/acme/*", false},
		{operator, "arn:aws:s3:::shared2/globex/x", false},
		{acme, strings.Replace(table, slot, "acme", 1), true},
		{globex, strings.Replace(table, slot, "globex", 1), true},
		{acme, strings.Replace(table, slot, "globex", 1), false},
		{acme, strings.Replace(table, slot, "acme", 1) + "*", false},
		{acme, "nonsense", false},
		{acme, "*", false},
	} {
		with := "globex"
		if c.o.account == globex.account {
			with = "acme"
		}
		_, err := share(c.o, c.resource, with, "the reports of the year")
		if c.good {
			must(t, err)
		} else if !fault.Is(err, fault.Denied) {
			t.Errorf("%s shared %s: %v", c.o.me.ARN, c.resource, err)
		}
	}
	for _, reason := range []string{"", "  ", "a\nb", strings.Repeat("a", maxGivenReason+1)} {
		_, err := share(acme, function, "globex", reason)
		wants(t, err, fault.Invalid, "InvalidParameterValueException")
	}
	_, err = share(acme, function, "globex", "again")
	wants(t, err, fault.Conflict, "ConflictException")
	_, err = share(acme, function, "nobody", "again")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	_, err = share(acme, function, "acme", "again")
	wants(t, err, fault.Invalid, "InvalidParameterValueException")

	list := func(o who) []directory.Share {
		page, err := s.ListShares(ctx, o.on(ActionListShares, s.OwnResource(o.account, "share/*")), PageInput{})
		must(t, err)
		return page.Items
	}
	other := operator.tenant("third")
	if len(list(other)) != 0 || len(list(acme)) != 6 || len(list(globex)) != 6 || len(list(operator)) != 6 {
		t.Errorf("the shares listed: %d %d %d", len(list(other)), len(list(acme)), len(list(globex)))
	}
	for _, r := range list(acme) {
		drop := func(o who) error {
			return s.DeleteShare(ctx, o.on(ActionDeleteShare, s.OwnResource(o.account, "share/"+r.ID)), r.ID)
		}
		if r.Owner == acme.account {
			wants(t, drop(globex), fault.NotFound, "ResourceNotFoundException")
			must(t, drop(acme))
		}
	}
	layouts, err := s.ListLayouts(ctx, other.on(ActionListLayouts, s.OwnResource(other.account, "layout/*")), PageInput{})
	if err != nil || len(layouts.Items) != 1 {
		t.Errorf("a third tenant sees %+v, %v", layouts.Items, err)
	}
	must(t, s.DeleteLayout(ctx, acme.on(ActionDeleteLayout, s.OwnResource(acme.account, "layout/orders")), "orders"))
	wants(t, s.DeleteLayout(ctx, acme.on(ActionDeleteLayout, s.OwnResource(acme.account, "layout/shared")), "shared"), fault.NotFound, "ResourceNotFoundException")
}

func TestGatekeeperMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	in := GatekeeperInput{"acme", FunctionRole, "it hands out one report"}
	mark := func(action string, in GatekeeperInput) error {
		g := operator.on(action, s.GatekeeperResource(in.Tenant, in.Role))
		if action == ActionMarkGatekeeper {
			return s.MarkGatekeeper(ctx, g, in)
		}
		return s.UnmarkGatekeeper(ctx, g, in)
	}
	marked := func() string {
		r, _ := s.identitiesOf(acme.account).Roles.Get(FunctionRole)
		return r.Record.Gatekeeper
	}
	wants(t, mark(ActionMarkGatekeeper, GatekeeperInput{"acme", FunctionRole, ""}), fault.Invalid, "InvalidParameterValueException")
	wants(t, mark(ActionMarkGatekeeper, GatekeeperInput{"acme", "none", "x"}), fault.NotFound, "ResourceNotFoundException")
	wants(t, mark(ActionMarkGatekeeper, GatekeeperInput{"none", "none", "x"}), fault.NotFound, "ResourceNotFoundException")
	must(t, mark(ActionMarkGatekeeper, in))
	if marked() != in.Reason {
		t.Errorf("the mark is %q", marked())
	}
	must(t, mark(ActionUnmarkGatekeeper, in))
	if marked() != "" {
		t.Errorf("the mark is still %q", marked())
	}
	// The tenant's own admin cannot: the marks are the operators'.
	_, err := s.Authorise(ctx, iam.Request{
		Principal: acme.me, Action: ActionMarkGatekeeper, Resource: s.GatekeeperResource("acme", FunctionRole), Owner: tenant.Identity{Account: s.management},
	}, "request")
	wants(t, err, fault.Denied, "AccessDeniedException")
}
