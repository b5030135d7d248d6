package iam_test

import (
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// world is a snapshot that a test changes.
type world struct {
	generation uint64
	confirmed  time.Time
	status     map[tenant.AccountID]tenant.Status
	now        time.Time
	*iamtest.Directory
}

func (w *world) Generation() uint64   { return w.generation }
func (w *world) Confirmed() time.Time { return w.confirmed }
func (w *world) Status(a tenant.AccountID) (tenant.Status, bool) {
	s, found := w.status[a]
	return s, found
}

const (
	acme   tenant.AccountID = "111111111111"
	globex tenant.AccountID = "222222222222"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newWorld() (*world, *iam.Authority) {
	w := &world{
		confirmed: noon, now: noon, Directory: iamtest.NewDirectory(),
		status: map[tenant.AccountID]tenant.Status{acme: tenant.Active, globex: tenant.Active},
	}
	return w, iam.New(iam.Config{Snapshot: w, Directory: w, Region: "us-east-1", Now: func() time.Time { return w.now }})
}

var slugs = map[tenant.AccountID]tenant.Slug{acme: "acme", globex: "globex"}

func user(a tenant.AccountID, name string) call.Principal {
	return call.Principal{
		Type: call.TypeUser, ARN: "arn:aws:iam::" + string(a) + ":user/" + name, Account: a, Tenant: slugs[a],
		AccessKeyID: "AKIA" + strings.ToUpper(name),
	}
}

func roleARN(a tenant.AccountID, role string) string {
	return "arn:aws:iam::" + string(a) + ":role/" + role
}

// role gives a session of a role.
func role(a tenant.AccountID, name string) call.Principal {
	return call.Principal{
		Type: call.TypeRole, ARN: "arn:aws:sts::" + string(a) + ":assumed-role/" + name + "/s", Account: a, Tenant: slugs[a],
		Session: &call.Session{ID: "s", Issuer: roleARN(a, name), Name: "s", Issued: noon},
	}
}

func arnOf(a tenant.AccountID) string { return function.ARN("us-east-1", a, "f", "") }

func own() iam.Request {
	return iam.Request{Principal: user(acme, "admin"), Action: "lambda:GetFunction", Resource: arnOf(acme), Owner: tenant.Identity{Account: acme}}
}

func identity(text string) *iam.Subject {
	return &iam.Subject{Identity: iamtest.Set(policy.Identity, text)}
}

func TestRulesThatNoPolicyChanges(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*world, *iam.Request)
		want   fault.Kind
	}{
		"another account's resource":       {func(_ *world, r *iam.Request) { r.Resource, r.Owner.Account = arnOf(globex), globex }, fault.Denied},
		"another account as owner only":    {func(_ *world, r *iam.Request) { r.Owner.Account = globex }, fault.Denied},
		"another account in the ARN only":  {func(_ *world, r *iam.Request) { r.Resource = arnOf(globex) }, fault.Denied},
		"an ARN without an account":        {func(_ *world, r *iam.Request) { r.Resource = "arn:aws:lambda:us-east-1::function:f" }, fault.Denied},
		"a malformed ARN":                  {func(_ *world, r *iam.Request) { r.Resource = "f" }, fault.Denied},
		"a principal of no type":           {func(_ *world, r *iam.Request) { r.Principal.Type = "" }, fault.Denied},
		"a principal that is gone":         {func(w *world, r *iam.Request) { w.Subjects[r.Principal.ARN] = nil }, fault.Denied},
		"a suspended caller":               {func(w *world, _ *iam.Request) { w.status[acme] = tenant.Suspended }, fault.Suspended},
		"a closing caller":                 {func(w *world, _ *iam.Request) { w.status[acme] = tenant.Closing }, fault.Suspended},
		"an account that does not exist":   {func(w *world, _ *iam.Request) { delete(w.status, acme) }, fault.Denied},
		"a snapshot that nobody confirmed": {func(w *world, _ *iam.Request) { w.confirmed = noon.Add(-iam.MaxStale - 1) }, fault.Unavailable},
		"a suspended account in the chain": {func(w *world, r *iam.Request) {
			w.status[globex], r.Chain = tenant.Suspended, []call.Link{{Principal: user(globex, "admin")}}
		}, fault.Suspended},
	} {
		t.Run(name, func(t *testing.T) {
			w, a := newWorld()
			r := own()
			if _, err := a.Authorise(r); err != nil {
				t.Fatalf("the harmless request was refused: %v", err)
			}
			tt.change(w, &r)
			if _, err := a.Authorise(r); !fault.Is(err, tt.want) {
				t.Errorf("error %v, want kind %v", err, tt.want)
			}
		})
	}
}

// TestOperatorsHaveNoDataActions has everybody let in by acme and a principal of
// globex, as the operators' account and as another tenant, ask for acme's.
func TestOperatorsHaveNoDataActions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		action, resource string
		control          bool
	}{
		{iam.InvokeAction, arnOf(acme), false}, {"lambda:GetFunction", arnOf(acme), false}, {"LAMBDA:GetFunction", arnOf(acme), false},
		{"logs:FilterLogEvents", arnOf(acme), false}, {"s3:GetObject", "arn:aws:s3:::b/k", false}, {"iam:GetUser", "arn:aws:iam::" + string(acme) + ":user/x", false},
		{"carrelx:Get", arnOf(acme), false}, {"carrel", arnOf(acme), true}, {"carrel:GetUsage", arnOf(acme), true}, {"sts:AssumeRole", roleARN(acme, "door"), true},
	} {
		w, a := newWorld()
		w.Objects[c.resource] = iam.Object{Policy: iamtest.Set(policy.Resource,
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`)}
		ask := func(p call.Principal, chain ...call.Link) error {
			_, err := a.Authorise(iam.Request{Principal: p, Action: c.action, Resource: c.resource, Owner: tenant.Identity{Account: acme}, Chain: chain})
			return err
		}
		operator := user(globex, "operator")
		if err := ask(operator); err != nil {
			t.Errorf("the control: another tenant, %s: %v", c.action, err)
		}
		w.Subjects[operator.ARN] = &iam.Subject{Identity: iamtest.Set(policy.Identity, iamtest.AllowAll), Management: true}
		for name, err := range map[string]error{"an operator": ask(operator), "a function that an operator called": ask(user(acme, "fn"), call.Link{Principal: operator})} {
			if (err == nil) != c.control || err != nil && (!fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "operators")) {
				t.Errorf("%s, %s: %v", name, c.action, err)
			}
		}
	}
}

func TestGrantIsForExactlyWhatWasAsked(t *testing.T) {
	t.Parallel()
	_, a := newWorld()
	g, err := a.Authorise(own())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Check("lambda:GetFunction", arnOf(acme)); err != nil {
		t.Error(err)
	}
	for _, other := range [][2]string{{"lambda:DeleteFunction", arnOf(acme)}, {"lambda:GetFunction", arnOf(acme) + ":1"}, {"", ""}} {
		if err := g.Check(other[0], other[1]); !fault.Is(err, fault.Denied) {
			t.Errorf("Check(%q, %q) = %v, want denied", other[0], other[1], err)
		}
	}
}

func TestZeroGrantPanics(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(iam.Grant){
		"Check": func(g iam.Grant) { g.Check("a", "b") }, "Call": func(g iam.Grant) { g.Call() },
		"Request": func(g iam.Grant) { g.Request() }, "Generation": func(g iam.Grant) { g.Generation() },
		"Gatekeeper": func(g iam.Grant) { g.Gatekeeper() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a zero Grant did not panic", name)
				}
			}()
			use(iam.Grant{})
		}()
	}
}

func TestRenewDecidesAgainWhenAnythingMoved(t *testing.T) {
	t.Parallel()
	w, a := newWorld()
	g, err := a.Authorise(own())
	if err != nil {
		t.Fatal(err)
	}
	w.status[acme] = tenant.Suspended
	if _, err := a.Renew(g); err != nil {
		t.Errorf("nothing moved the generation, yet: %v", err)
	}
	w.generation++
	if _, err := a.Renew(g); !fault.Is(err, fault.Suspended) {
		t.Errorf("a grant from before the suspension was renewed: %v", err)
	}
	w.status[acme] = tenant.Active
	w.now = noon.Add(iam.MaxStale + 1)
	if _, err := a.Renew(g); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a grant was renewed from a stale snapshot: %v", err)
	}
}

const onlyF = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:*","Resource":"arn:aws:lambda:*:*:function:f"}]}`

// TestEveryLinkOfTheChainIsAsked: the confused deputy. A role that may do
// everything does nothing for a caller who may not, unless it is a gatekeeper,
// and then on its own account's resources only.
func TestEveryLinkOfTheChainIsAsked(t *testing.T) {
	t.Parallel()
	w, a := newWorld()
	bob, deputy := user(acme, "bob"), role(acme, "deputy")
	w.Subjects[bob.ARN] = identity(onlyF)
	onG := strings.Replace(arnOf(acme), ":f", ":g", 1)
	request := iam.Request{
		Principal: deputy, Action: "lambda:GetFunction", Resource: onG, Owner: tenant.Identity{Account: acme},
		Chain: []call.Link{{Principal: bob, RequestID: "r"}},
	}
	alone := request
	alone.Chain = nil
	if _, err := a.Authorise(alone); err != nil {
		t.Fatalf("control: without its caller the deputy is refused: %v", err)
	}
	twin := request
	twin.Resource = arnOf(acme)
	if _, err := a.Authorise(twin); err != nil {
		t.Fatalf("twin: what both may do is refused: %v", err)
	}
	_, err := a.Authorise(request)
	if !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), bob.ARN) {
		t.Errorf("the deputy did for its caller what the caller may not: %v", err)
	}
	// Another caller in between, that may do everything, changes nothing.
	longer := request
	longer.Chain = append(request.Chain, call.Link{Principal: role(acme, "middle"), RequestID: "r2"})
	if _, err := a.Authorise(longer); !fault.Is(err, fault.Denied) {
		t.Errorf("a longer chain gained what a shorter one does not have: %v", err)
	}

	keeper := identity(iamtest.AllowAll)
	keeper.Gatekeeper = true
	w.Subjects[deputy.ARN] = keeper
	g, err := a.Authorise(request)
	if err != nil || g.Gatekeeper() != deputy.Session.Issuer {
		t.Fatalf("a gatekeeper does not speak for its callers: %v", err)
	}
	if g, err := a.Authorise(twin); err != nil || g.Gatekeeper() == "" {
		t.Errorf("the grant does not say that a gatekeeper ended the chain: %v", err)
	}
	// A gatekeeper of one account is none on another account's resources.
	foreign := request
	foreign.Resource, foreign.Owner.Account = strings.Replace(arnOf(globex), ":f", ":g", 1), globex
	w.Objects[foreign.Resource] = iam.Object{Policy: iamtest.Set(policy.Resource, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Principal":{"AWS":"`+string(acme)+`"},"Action":"lambda:*","Resource":"*"}]}`)}
	if _, err := a.Authorise(foreign); !fault.Is(err, fault.Denied) {
		t.Errorf("a gatekeeper dropped its callers for another account's resource: %v", err)
	}
	foreign.Chain = nil
	if _, err := a.Authorise(foreign); err != nil {
		t.Errorf("twin: with the owner's consent the role itself is refused: %v", err)
	}
}

func TestCapsAndSessionPoliciesBind(t *testing.T) {
	t.Parallel()
	w, a := newWorld()
	for name, bind := range map[string]func(*call.Session){
		"a session policy": func(s *call.Session) { s.Policies = []string{onlyF} },
		"a managed session policy": func(s *call.Session) {
			doc, _, err := policy.Parse(policy.Identity, []byte(onlyF))
			if err != nil {
				t.Fatal(err)
			}
			w.Policies["arn:aws:iam::111111111111:policy/only-f"] = doc
			s.Managed = []string{"arn:aws:iam::111111111111:policy/only-f"}
		},
		"a cap":                    func(s *call.Session) { s.Caps = []string{onlyF} },
		"a cap after a wider one":  func(s *call.Session) { s.Caps = []string{iamtest.AllowAll, onlyF} },
		"a cap before a wider one": func(s *call.Session) { s.Caps = []string{onlyF, iamtest.AllowAll} },
	} {
		p := role(acme, "r")
		bind(p.Session)
		r := own()
		r.Principal = p
		if _, err := a.Authorise(r); err != nil {
			t.Errorf("%s refuses what it allows: %v", name, err)
		}
		r.Resource += "2"
		if _, err := a.Authorise(r); !fault.Is(err, fault.Denied) {
			t.Errorf("%s allows what it does not: %v", name, err)
		}
	}
	// What cannot be read or found allows nothing.
	for name, bind := range map[string]func(*call.Session){
		"a malformed session policy": func(s *call.Session) { s.Policies = []string{"{"} },
		"a malformed cap":            func(s *call.Session) { s.Caps = []string{"{}"} },
		"a managed policy gone":      func(s *call.Session) { s.Managed = []string{"arn:aws:iam::111111111111:policy/gone"} },
	} {
		r := own()
		r.Principal = role(acme, "r")
		bind(r.Principal.Session)
		if _, err := a.Authorise(r); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want denied", name, err)
		}
	}
	// A federated user without a session policy may do nothing.
	r := own()
	r.Principal = role(acme, "r")
	r.Principal.Type, r.Principal.Session.Issuer = call.TypeFederated, user(acme, "admin").ARN
	if _, err := a.Authorise(r); !fault.Is(err, fault.Denied) {
		t.Errorf("a federated user without a session policy: %v", err)
	}
}

// TestEndTenantActsForItself: an end tenant's session is for that end tenant,
// whatever policies say, and gains nothing from a name.
func TestEndTenantActsForItself(t *testing.T) {
	t.Parallel()
	_, a := newWorld()
	p := role(acme, "fn")
	p.Session.EndTenant, p.Session.EndTenantUID = "globex", "uid-of-acmes-globex" // named like another account
	ask := func(endTenant tenant.EndTenantID, uid tenant.UID, chain ...call.Link) error {
		r := iam.Request{Principal: p, Action: iam.InvokeAction, Resource: arnOf(acme), Owner: tenant.Identity{Account: acme, EndTenant: uid}, EndTenant: endTenant, Chain: chain}
		if len(chain) > 0 {
			r.Principal = role(acme, "other")
		}
		_, err := a.Authorise(r)
		return err
	}
	if err := ask("globex", "uid-of-acmes-globex"); err != nil {
		t.Fatalf("twin: its own: %v", err)
	}
	if err := ask("", ""); err != nil {
		t.Errorf("twin: what belongs to no end tenant: %v", err)
	}
	for name, err := range map[string]error{
		"another end tenant":               ask("blue", "uid-of-blue"),
		"another one's uid":                ask("globex", "uid-of-blue"),
		"another one by name only":         ask("blue", ""),
		"another one, from a chain behind": ask("blue", "uid-of-blue", call.Link{Principal: p}),
	} {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want denied", name, err)
		}
	}
	r := iam.Request{Principal: p, Action: "lambda:GetFunction", Resource: arnOf(globex), Owner: tenant.Identity{Account: globex}}
	if _, err := a.Authorise(r); !fault.Is(err, fault.Denied) {
		t.Errorf("an end tenant named like an account reached the account: %v", err)
	}
}

const pooled = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::myapp-${tenant_id}/*"}]}`

func TestTenantTagIsThePlatforms(t *testing.T) {
	t.Parallel()
	w, a := newWorld()
	byTag := strings.Replace(pooled, "${tenant_id}", "${aws:PrincipalTag/tenant_id}", 1)
	for _, text := range []string{pooled, byTag} {
		p := role(acme, "data")
		w.Subjects[p.ARN] = identity(text)
		// Tags that record or session hold all the same, in any case, change nothing.
		w.Subjects[p.ARN].Tags = []call.Tag{{Key: "Tenant_ID", Value: "globex"}}
		p.Session.Tags = []call.Tag{{Key: "tenant_id", Value: "globex"}, {Key: "TENANT_ID", Value: "globex"}}
		ask := func(bucket string) error {
			r := iam.Request{Principal: p, Action: "s3:GetObject", Resource: "arn:aws:s3:::" + bucket + "/k", Owner: tenant.Identity{Account: acme}}
			r.Keys = []iam.Key{{Name: "aws:PrincipalTag/tenant_id", Values: []string{"globex"}}, {Name: "carrel:TenantId", Values: []string{"globex"}}}
			_, err := a.Authorise(r)
			return err
		}
		if err := ask("myapp-acme"); err != nil {
			t.Errorf("%s: its own bucket: %v", text, err)
		}
		if err := ask("myapp-globex"); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: a tag made another tenant of it: %v", text, err)
		}
		p.Session.EndTenant, p.Session.EndTenantUID = "blue", "uid"
		if err := ask("myapp-blue"); err != nil {
			t.Errorf("%s: the end tenant's own: %v", text, err)
		}
		if err := ask("myapp-acme"); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: the end tenant has the account's own: %v", text, err)
		}
	}
}

func TestActingForAnEndTenantNeedsAPolicy(t *testing.T) {
	t.Parallel()
	w, a := newWorld()
	p := user(acme, "gateway")
	w.Subjects[p.ARN] = identity(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*",
		"Condition":{"StringEquals":{"carrel:TenantId":["blue","acme"]}}}]}`)
	ask := func(id tenant.EndTenantID) error {
		_, err := a.Authorise(iam.Request{Principal: p, Action: iam.InvokeAction, Resource: arnOf(acme), Owner: tenant.Identity{Account: acme}, EndTenant: id})
		return err
	}
	if err := ask("blue"); err != nil {
		t.Errorf("the end tenant that the policy names: %v", err)
	}
	if err := ask("red"); !fault.Is(err, fault.Denied) {
		t.Errorf("one that it does not: %v", err)
	}
}

func TestRefusalsNameTheLayer(t *testing.T) {
	t.Parallel()
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`
	for want, s := range map[string]*iam.Subject{
		"because no identity-based policy allows the lambda:GetFunction action":          {},
		"because no permissions boundary allows the lambda:GetFunction action":           {Identity: iamtest.Set(policy.Identity, iamtest.AllowAll), Boundary: &policy.Set{}},
		"because no service control policy allows the lambda:GetFunction action":         {Identity: iamtest.Set(policy.Identity, iamtest.AllowAll), SCPs: []policy.Level{{Name: "root"}}},
		"with an explicit deny in a service control policy":                              {Identity: iamtest.Set(policy.Identity, iamtest.AllowAll), SCPs: []policy.Level{{Name: "root", Set: iamtest.Set(policy.SCP, deny)}}},
		"with an explicit deny in an identity-based policy":                              {Identity: iamtest.Set(policy.Identity, deny)},
		"because the key, user, role or session of arn:aws:iam::111111111111:user/admin": nil,
	} {
		w, a := newWorld()
		w.Subjects[own().Principal.ARN] = s
		if _, err := a.Authorise(own()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestTrustPolicyIsAboutSessionsOnly: it neither allows nor bounds what is
// done with the role itself.
func TestTrustPolicyIsAboutSessionsOnly(t *testing.T) {
	t.Parallel()
	w, a := newWorld()
	role := "arn:aws:iam::" + string(acme) + ":role/r"
	w.Objects[role] = iam.Object{TrustOnly: true, Policy: iamtest.Set(policy.Trust, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)}
	for action, allowed := range map[string]bool{"iam:GetRole": true, "iam:PassRole": true, "sts:AssumeRole": false, "STS:assumerole": false} {
		_, err := a.Authorise(iam.Request{Principal: user(acme, "alice"), Action: action, Resource: role, Owner: tenant.Identity{Account: acme}})
		if (err == nil) != allowed {
			t.Errorf("%s: %v", action, err)
		}
	}
}
