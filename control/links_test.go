package control

import (
	"slices"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// child makes a tenant below another one.
func (o who) child(parent who, slug string) who {
	o.t.Helper()
	made, err := o.createTenant(CreateTenantInput{Slug: slug, Parent: string(parent.account)})
	o.must(err)
	return as(o.t, o.s, made.AccessKeyID)
}

func (o who) link(id tenant.EndTenantID, account string) (Link, error) {
	o.t.Helper()
	return o.s.CreateLink(ctx, o.on(ActionCreateLink, o.s.OwnResource(o.account, "link/*")), LinkInput{EndTenant: id, Account: account})
}

func (o who) accepts(id string) (Link, error) {
	o.t.Helper()
	return o.s.AcceptLink(ctx, o.on(ActionAcceptLink, o.s.OwnResource(o.account, "link/"+id)), id)
}

func (o who) unlinks(id string) error {
	o.t.Helper()
	return o.s.DeleteLink(ctx, o.on(ActionDeleteLink, o.s.OwnResource(o.account, "link/"+id)), id)
}

func TestLinkNeedsBothSides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme, stranger := operator.tenant("acme"), operator.tenant("stranger")
	blue, red := operator.child(acme, "blue-co"), operator.child(acme, "red-co")
	acme.serves("blue", "red")
	s.strategy = func(*call.Call) isolation.Strategy { return isolation.Account }

	_, err := acme.link("blue", "stranger")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	_, err = acme.link("blue", "nobody")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	_, err = acme.link("nobody", "blue-co")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	_, err = blue.link("blue", "acme")
	wants(t, err, fault.NotFound, "ResourceNotFoundException")

	c := acme.calls("blue", "")
	wants(t, s.Place(c), fault.Conflict, "ResourceConflictException")
	l, err := acme.link("blue", "blue-co")
	acme.must(err)
	wants(t, s.Place(c), fault.Conflict, "ResourceConflictException")
	for _, other := range []who{acme, red, stranger} {
		_, err = other.accepts(l.ID)
		wants(t, err, fault.NotFound, "ResourceNotFoundException")
	}
	_, err = acme.link("blue", "red-co")
	wants(t, err, fault.Conflict, "ConflictException")
	_, err = acme.link("red", "blue-co")
	wants(t, err, fault.Conflict, "ConflictException")
	_, err = blue.accepts(l.ID)
	blue.must(err)
	before := *c
	acme.must(s.Place(c))

	at := c.Target
	if at.Account != blue.account || c.Owner != (tenant.Identity{Account: blue.account}) || at.Role != blue.role() || at.AccountSlug != "blue-co" {
		t.Errorf("it runs in %s as %s for %+v", at.Account, at.Role, c.Owner)
	}
	if c.Asked() != before.Owner || at.ARN != before.Target.ARN || at.Resource() != before.Target.Resource() || c.TenantID() != "blue" {
		t.Errorf("callers see another function: %s for %+v", at.Resource(), c.Asked())
	}
	if at.CodeOwner() != before.Target.AccountUID {
		t.Error("the code is sealed for another account")
	}
	wants(t, s.Place(acme.calls("red", "")), fault.Conflict, "ResourceConflictException")

	for who, want := range map[who]int{acme: 1, blue: 1, red: 0, stranger: 0, operator: 1} {
		page, err := s.ListLinks(ctx, who.on(ActionListLinks, s.OwnResource(who.account, "link/*")), PageInput{})
		if err != nil || len(page.Items) != want {
			t.Errorf("account %s sees the links %+v, %v", who.account, page.Items, err)
		}
	}
	if report := s.prover.Tenant(s.overview.current(), "blue-co"); !slices.Contains(report.Shares, l.ID) {
		t.Errorf("the proof does not say that it rests on the link: %+v", report)
	}
	wants(t, red.unlinks(l.ID), fault.NotFound, "ResourceNotFoundException")
	acme.must(blue.unlinks(l.ID))
	wants(t, s.Place(acme.calls("blue", "")), fault.Conflict, "ResourceConflictException")
}

// TestLinkedFunctionIsTheAccounts asks what code can do in a linked account: what
// the account's role can, and nothing for other end tenants of the provider.
func TestLinkedFunctionIsTheAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	blue := operator.child(acme, "blue-co")
	acme.serves("blue", "red")
	s.strategy = func(*call.Call) isolation.Strategy { return isolation.Account }
	acme.must(acme.putRolePolicy(FunctionRole, "data", ownPrefix))
	blue.must(blue.putRolePolicy(FunctionRole, "calls", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["lambda:InvokeFunction","sqs:SendMessage"],"Resource":"*"}]}`))
	l, err := acme.link("blue", "blue-co")
	acme.must(err)
	_, err = blue.accepts(l.ID)
	blue.must(err)
	p := blue.runs(acme.placed("blue", ""))
	blue.must(blue.asks(p, "sqs:SendMessage", "arn:aws:sqs:us-east-1:"+string(blue.account)+":jobs"))
	for _, resource := range []string{"arn:aws:s3:::data/blue/x", "arn:aws:sqs:us-east-1:" + string(acme.account) + ":jobs"} {
		wants(t, acme.asks(p, "s3:GetObject", resource), fault.Denied, "AccessDeniedException")
	}
	// The provider lets the account call its function; the session is still the
	// end tenant's.
	_, err = s.CreateShare(ctx, acme.on(ActionCreateShare, s.OwnResource(acme.account, "share/*")), CreateShareInput{
		Resource: s.FunctionResource(acme.account, "shop"), With: "blue-co", Reason: "it calls itself",
	})
	acme.must(err)
	_, err = s.AddPermission(ctx, acme.may(ActionAddPermission, "shop"), PermissionInput{
		Name: "shop", StatementID: "blue", Action: iam.InvokeAction, Principal: string(blue.account),
	})
	acme.must(err)
	acme.must(acme.askFor(p, acme.calls("blue", "")))
	wants(t, acme.askFor(p, acme.calls("red", "")), fault.Denied, "AccessDeniedException")
	// The control: without the end tenant in the session it would be allowed.
	free := p
	session := *p.Session
	session.EndTenant, session.EndTenantUID, session.EndTenantOf = "", "", ""
	free.Session = &session
	acme.must(acme.askFor(free, acme.calls("red", "")))

	// A role that does not trust functions of the provider is not taken.
	blue.must(s.UpdateAssumeRolePolicy(ctx, blue.identity(ActionUpdateAssumeRolePolicy, sortRole, FunctionRole), FunctionRole,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":"`+string(blue.account)+`"}}}]}`))
	wants(t, s.Place(acme.calls("blue", "")), fault.Conflict, "ResourceConflictException")
}

// TestSuspendedLinkedAccountRunsNothing is about calls that the provider allows.
func TestSuspendedLinkedAccountRunsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	blue := operator.child(acme, "blue-co")
	acme.serves("blue")
	s.strategy = func(*call.Call) isolation.Strategy { return isolation.Account }
	l, err := acme.link("blue", "blue-co")
	acme.must(err)
	_, err = blue.accepts(l.ID)
	blue.must(err)
	_, err = s.authority.AuthoriseCall(acme.placed("blue", ""))
	acme.must(err)
	_, err = s.SuspendTenant(ctx, operator.on(ActionSuspendTenant, s.TenantResource("blue-co")), "blue-co")
	acme.must(err)
	if _, err = s.authority.AuthoriseCall(acme.placed("blue", "")); !fault.Is(err, fault.Suspended) {
		t.Errorf("a suspended account runs a call: %v", err)
	}
}
