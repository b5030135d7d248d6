package control

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// TestLostRaceIsProvedAgain has two nodes make a change each that is safe
// alone and not together: one takes a guardrail away, the other gives what it
// forbids. Each node's change is judged before the other's is made.
func TestLostRaceIsProvedAgain(t *testing.T) {
	t.Parallel()
	detach := func(g *gated) error { return g.operator.detach("own", "acme", policy.SCP) }
	give := func(g *gated) error { return g.acme.putUserPolicy(dev, "data", readsAll) }
	for i, c := range []struct{ slow, quick func(*gated) error }{{detach, give}, {give, detach}} {
		w := newWorld(t)
		two := w.open()
		between := func() {}
		var once sync.Once
		sound := w.stores.Identities
		armed := false
		w.stores.Identities = flaky{sound, func(k store.Key) error {
			if armed && k == generationKey() {
				once.Do(between)
			}
			return nil
		}}
		one := w.open()
		w.stores.Identities = sound
		slow := &gated{t: t, s: one, operator: w.operator(one)}
		slow.acme, slow.globex = slow.operator.tenant("acme"), slow.operator.tenant("globex")
		slow.acme.user(dev)
		_, err := slow.operator.putPolicy("own", ownByGuard)
		must(t, err)
		must(t, slow.operator.attach("own", "acme", policy.SCP))
		_, err = two.gate.settle(ctx)
		must(t, err)
		quick := &gated{t: t, s: two, operator: w.operator(two), acme: as(t, two, slow.acme.me.AccessKeyID)}
		made := false
		between, armed = func() { must(t, c.quick(quick)); made = true }, true
		wants(t, c.slow(slow), fault.Denied, CodeIsolationViolation)
		if !made {
			t.Errorf("race %d: the quick change was not made in between", i)
		}
	}
}

// undecided is a policy of which the prover cannot tell whom it lets where.
const undecided = `"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::${aws:PrincipalTag/team}/${tenant_id}/*"`

func TestOperatorAcceptsUnknown(t *testing.T) {
	t.Parallel()
	g := gatedWorld(t)
	put := func(s string) error {
		_, err := g.operator.putPolicy("p", statement(s))
		return err
	}
	if text := wants(t, put(undecided), fault.Denied, CodeIsolationUnknown); !strings.Contains(text, "--accept-unknown REASON") {
		t.Error(text)
	}
	accept := func(reason string) error {
		accepting, err := g.s.AcceptUnknown(ctx, g.operator.ours(ActionAcceptUnknown, "organization"), reason)
		if err != nil {
			return err
		}
		_, err = g.s.PutSharedPolicy(accepting, g.operator.ours(ActionPutPolicy, "policy/p"), PutPolicyInput{Name: "p", Text: statement(undecided)})
		return err
	}
	wants(t, accept(" "), fault.Invalid, "InvalidParameterValueException")
	must(t, accept("looked at by hand"))
	accepted := g.s.ix.org.Load().Accepted
	if len(accepted) == 0 {
		t.Fatal("nothing is recorded")
	}
	for _, a := range accepted {
		if a.Record.Reason != "looked at by hand" || a.Record.By != g.operator.me.ARN {
			t.Errorf("recorded is %+v", a.Record)
		}
	}
	// The word is about this text, for whoever puts it, and no other.
	must(t, put(`"Effect":"Deny","Action":"s3:*","Resource":"*"`))
	must(t, put(undecided))
	wants(t, put(undecided+`,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), fault.Denied, CodeIsolationUnknown)
	// And it lets no violation through.
	accepting, err := g.s.AcceptUnknown(ctx, g.operator.ours(ActionAcceptUnknown, "organization"), "because")
	must(t, err)
	_, err = g.s.PutSharedPolicy(accepting, g.operator.ours(ActionPutPolicy, "policy/q"), PutPolicyInput{Name: "q", Text: readsAll})
	wants(t, err, fault.Denied, CodeIsolationViolation)
}

// TestOperatorAcceptsBefore lets a tenant's own change through, which no
// operator can make in its place.
func TestOperatorAcceptsBefore(t *testing.T) {
	t.Parallel()
	g := gatedWorld(t)
	refused := func(text string) string {
		t.Helper()
		_, id, found := strings.Cut(wants(t, g.acme.putUserPolicy(dev, "p", statement(text)), fault.Denied, CodeIsolationUnknown), "(finding ")
		if !found {
			t.Fatal("the refusal names no finding")
		}
		return id[:16]
	}
	accept := func(id, reason string) error {
		return g.s.AcceptFinding(ctx, g.operator.ours(ActionAcceptUnknown, "organization"), id, reason)
	}
	wants(t, accept("x", "seen"), fault.Invalid, "InvalidParameterValueException")
	for range 8 { // one for each thing that is not decided
		id := refused(undecided)
		wants(t, accept(id, ""), fault.Invalid, "InvalidParameterValueException")
		must(t, accept(id, "seen"))
		must(t, accept(id, "seen"))
		if g.acme.putUserPolicy(dev, "p", statement(undecided)) == nil {
			refused(undecided + `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`)
			return
		}
	}
	t.Error("it is refused however much is accepted")
}

// TestWhatIsWrongCanBePutRight brings about, past the gate, two things that it
// would not let through. What else is done is not in its way, and it is put
// right: forbidden first, then taken out piece by piece.
func TestWhatIsWrongCanBePutRight(t *testing.T) {
	t.Parallel()
	g := gatedWorld(t)
	u, _ := g.s.identitiesOf(g.acme.account).Users.Get(dev)
	r := *u.Record
	r.Inline = map[string]string{"a": readsAll, "b": readsMore}
	must(t, g.s.save(ctx, u.Key, u.Revision, r))
	if report := g.s.prover.Organization(g.s.overview.current()); report.Result != prove.Violated {
		t.Fatalf("the control: %+v", report)
	}
	wants(t, g.acme.putRolePolicy(FunctionRole, "c", readsAll), fault.Denied, CodeIsolationViolation)
	must(t, g.acme.putRolePolicy(FunctionRole, "c", readsOwn))
	must(t, g.acme.putUserPolicy(dev, "deny", onlyOwn))
	for _, name := range []string{"a", "b", "deny"} {
		must(t, g.s.DeleteUserPolicy(ctx, g.acme.identity(ActionDeleteUserPolicy, sortUser, dev), dev, name))
	}
	wants(t, g.acme.putUserPolicy(dev, "a", readsAll), fault.Denied, CodeIsolationViolation)
}

// TestWhatIsWrongGetsNoWider brings about, past the gate, what it would not
// let through, and widens it without another finding: the request that shows
// what is wrong stays the same. What narrows it is let through.
func TestWhatIsWrongGetsNoWider(t *testing.T) {
	t.Parallel()
	g := gatedWorld(t)
	u, _ := g.s.identitiesOf(g.acme.account).Users.Get(dev)
	r := *u.Record
	r.Inline = map[string]string{"a": readsAll, "b": readsMore}
	must(t, g.s.save(ctx, u.Key, u.Revision, r))
	wider := strings.Replace(readsAll, `"s3:GetObject"`, `["s3:GetObject","s3:PutObject"]`, 1)
	if wider == readsAll {
		t.Fatal("the control: the policy is as it was")
	}
	before := g.s.prover.Organization(g.s.overview.current())
	wants(t, g.acme.putUserPolicy(dev, "a", wider), fault.Denied, CodeIsolationViolation)
	u, _ = g.s.identitiesOf(g.acme.account).Users.Get(dev)
	r = *u.Record
	r.Inline = map[string]string{"a": wider, "b": readsMore}
	must(t, g.s.save(ctx, u.Key, u.Revision, r))
	after := g.s.prover.Organization(g.s.overview.current())
	if before.Findings[0].Result != prove.Violated || before.Findings[0].ID != after.Findings[0].ID {
		t.Errorf("the control: the finding changed from %s to %s", before.Findings[0].Message, after.Findings[0].Message)
	}
	wants(t, g.acme.putUserPolicy(dev, "more", readsAll), fault.Denied, CodeIsolationViolation)
	must(t, g.s.DeleteUserPolicy(ctx, g.acme.identity(ActionDeleteUserPolicy, sortUser, dev), dev, "a"))
	wants(t, g.acme.putUserPolicy(dev, "a", readsAll), fault.Denied, CodeIsolationViolation)
	must(t, g.s.DeleteUserPolicy(ctx, g.acme.identity(ActionDeleteUserPolicy, sortUser, dev), dev, "b"))
}

// TestRefusalsTellNoNames shows that a tenant does not learn from the gate
// whose an account's number is, or whether it is anybody's.
func TestRefusalsTellNoNames(t *testing.T) {
	t.Parallel()
	g := gatedWorld(t)
	trusts := func(account tenant.AccountID) string {
		return wants(t, g.trust(FunctionRole, statement(`"Effect":"Allow","Principal":{"AWS":"`+string(account)+`"},"Action":"sts:AssumeRole"`)), fault.Denied, CodeIsolationViolation)
	}
	there, absent := trusts(g.globex.account), trusts("424242424242")
	if there = strings.ReplaceAll(there, string(g.globex.account), "424242424242"); there != strings.ReplaceAll(absent, "--with TENANT", "--with 424242424242") {
		t.Errorf("of a tenant that is there:\n%s\nof one that is not:\n%s", there, absent)
	}
}

// TestDeletedTenantIsNoStranger deletes a tenant that another one's role names
// and that a guardrail holds back: that is as safe as it was.
func TestDeletedTenantIsNoStranger(t *testing.T) {
	t.Parallel()
	g := gatedWorld(t)
	_, err := g.operator.putPolicy("home", statement(`"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*"`))
	must(t, err)
	must(t, g.operator.attach("home", "root", policy.SCP))
	g.acme.makeRole("door", statement(`"Effect":"Allow","Principal":{"AWS":"`+string(g.globex.account)+`"},"Action":"sts:AssumeRole"`))
	must(t, g.operator.deleteTenant("globex"))
	wants(t, g.operator.detach("home", "root", policy.SCP), fault.Denied, CodeIsolationViolation)
}

// TestGateKeepsUp holds the gate to its time at 1,000 statements in the
// account that is written to, and at many accounts.
func TestGateKeepsUp(t *testing.T) {
	t.Parallel()
	g := gatedWorld(t)
	for i := range 20 {
		var statements []string
		for n := range 50 {
			statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::shared/${tenant_id}/r%d/%d/*"}`, i, n))
		}
		name := fmt.Sprintf("r%d", i)
		g.acme.makeRole(name, trustOf(LambdaService))
		must(t, g.acme.putRolePolicy(name, "data", `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`))
	}
	var took []time.Duration
	for i := range 11 {
		begun := time.Now()
		must(t, g.acme.putUserPolicy(dev, "data", statement(fmt.Sprintf(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/${tenant_id}/%d/*"`, i))))
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("a write at 1,000 statements takes %s, at most %s", took[len(took)/2], took[len(took)-1])
	if median := took[len(took)/2]; median > 50*time.Millisecond {
		t.Errorf("a write at 1,000 statements takes %s", median)
	}
}
