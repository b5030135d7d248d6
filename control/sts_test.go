package control

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/tenant"
)

// trusting is a trust policy for principals: ARNs, separated by blanks. The
// condition is JSON, or empty.
func trusting(principals, condition string) string {
	if condition == "" {
		condition = "{}"
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["` + strings.Join(strings.Fields(principals), `","`) +
		`"]},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"],"Condition":` + condition + `}]}`
}

// grants asks for all that a request needs.
func (o who) grants(asked []iam.Request) ([]iam.Grant, error) {
	var all []iam.Grant
	for _, r := range asked {
		g, err := o.s.Authorise(ctx, r, "request")
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// assume takes on a role as a door of the node does it.
func (o who) assume(in AssumeRoleInput) (SessionCredentials, error) {
	if in.SessionName == "" {
		in.SessionName = "s1"
	}
	asked, err := o.s.AskAssumeRole(ctx, o.me, in)
	if err != nil {
		return SessionCredentials{}, err
	}
	grants, err := o.grants(asked)
	if err != nil {
		return SessionCredentials{}, err
	}
	return o.s.AssumeRole(ctx, grants[0], grants[1:], in)
}

// holding is who has temporary credentials.
func (o who) holding(c SessionCredentials) who {
	o.t.Helper()
	k, found := o.s.Session(c.SessionToken)
	if !found || k.ID != c.AccessKeyID || string(k.Secret) != c.SecretAccessKey || k.Status != "Active" {
		o.t.Fatalf("the node does not know its credentials %v: %v", c, found)
	}
	return who{o.t, o.s, *k.Holder, k.Account}
}

func (o who) assumed(in AssumeRoleInput) who {
	o.t.Helper()
	c, err := o.assume(in)
	o.must(err)
	return o.holding(c)
}

// allowed asks for a decision on something of the own account.
func (o who) allowed(action, resource string) bool {
	_, err := o.s.Authorise(ctx, iam.Request{Principal: o.me, Action: action, Resource: resource, Owner: tenant.Identity{Account: o.account}}, "request")
	return err == nil
}

// free is a role that trusts its whole account and may do everything.
func (o who) free(name string) string {
	o.t.Helper()
	r := o.makeRole(name, trusting("arn:aws:iam::"+string(o.account)+":root", ""))
	o.must(o.s.PutRolePolicy(ctx, o.identity(ActionPutRolePolicy, sortRole, name), InlineInput{name, "all", allowAll}))
	return r.ARN
}

func stsWorld(t *testing.T) (*Service, who) {
	t.Helper()
	w := newWorld(t)
	w.rate = 1000
	s := w.open()
	return s, w.operator(s).tenant("acme")
}

func TestAssumedRoleIsTheRole(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	role := acme.free("app")
	c, err := acme.assume(AssumeRoleInput{
		RoleARN: role, SessionName: "ann@example", SourceIdentity: "ann", Transitive: []string{"team"},
		SessionBounds: SessionBounds{Tags: []call.Tag{{Key: "team", Value: "blue"}}},
	})
	acme.must(err)
	if !strings.HasPrefix(c.AccessKeyID, "ASIA") || len(c.SecretAccessKey) != 40 || time.Until(c.Expires) > time.Hour || time.Until(c.Expires) < 59*time.Minute {
		t.Errorf("credentials: %v until %s", c.AccessKeyID, c.Expires)
	}
	app := acme.holding(c)
	if want := "arn:aws:sts::" + string(acme.account) + ":assumed-role/app/ann@example"; app.me.ARN != want || c.ARN != want || app.me.Type != call.TypeRole {
		t.Errorf("principal %+v", app.me)
	}
	if !strings.HasPrefix(app.me.UserID, "AROA") || !strings.HasSuffix(app.me.UserID, ":ann@example") || app.me.Tenant != "acme" {
		t.Errorf("principal %+v", app.me)
	}
	if !app.allowed(ActionListFunctions, s.AccountResource(acme.account)) {
		t.Error("the session may not do what the role may")
	}
	if s := app.me.Session; s.From[0] != origin(acme.account, acme.me.AccessKeyID, acme.me.ARN) || s.SourceIdentity != "ann" || s.Chained {
		t.Errorf("session %+v", s)
	}
}

// TestAssumeRoleIsRefused takes one thing at a time away from what is allowed.
func TestAssumeRoleIsRefused(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	globex := as(t, s, s.FirstAdmin().AccessKeyID).tenant("globex")
	me := "arn:aws:iam::" + string(acme.account) + ":root"
	acme.makeRole("conditional", trusting(me, `{"StringEquals":{"sts:ExternalId":"x-1","aws:RequestTag/team":"blue","sts:RoleSessionName":"s1"}}`))
	long := acme.makeRole("long", trusting(me, ""))
	good := func() AssumeRoleInput {
		return AssumeRoleInput{
			RoleARN: roleARN(acme.account, "conditional"), SessionName: "s1", ExternalID: "x-1",
			SessionBounds: SessionBounds{Tags: []call.Tag{{Key: "team", Value: "blue"}}},
		}
	}
	many := make([]call.Tag, 51)
	for i := range many {
		many[i] = call.Tag{Key: strings.Repeat("k", i+1)}
	}
	for name, tt := range map[string]struct {
		change func(*AssumeRoleInput)
		kind   fault.Kind
		code   string
	}{
		"no external id":              {func(in *AssumeRoleInput) { in.ExternalID = "" }, fault.Denied, "AccessDeniedException"},
		"another external id":         {func(in *AssumeRoleInput) { in.ExternalID = "x-2" }, fault.Denied, "AccessDeniedException"},
		"another session name":        {func(in *AssumeRoleInput) { in.SessionName = "s2" }, fault.Denied, "AccessDeniedException"},
		"no tag":                      {func(in *AssumeRoleInput) { in.Tags = nil }, fault.Denied, "AccessDeniedException"},
		"another tag":                 {func(in *AssumeRoleInput) { in.Tags[0].Value = "red" }, fault.Denied, "AccessDeniedException"},
		"no such role":                {func(in *AssumeRoleInput) { in.RoleARN += "x" }, fault.Denied, "AccessDeniedException"},
		"another account's role":      {func(in *AssumeRoleInput) { in.RoleARN = roleARN(globex.account, FunctionRole) }, fault.Denied, "AccessDeniedException"},
		"a user as role":              {func(in *AssumeRoleInput) { in.RoleARN = acme.me.ARN }, fault.Invalid, "ValidationError"},
		"an odd session name":         {func(in *AssumeRoleInput) { in.SessionName = "a/b" }, fault.Invalid, "ValidationError"},
		"an odd external id":          {func(in *AssumeRoleInput) { in.ExternalID = "a b" }, fault.Invalid, "ValidationError"},
		"the platform's tag":          {func(in *AssumeRoleInput) { in.Tags[0].Key = "Tenant_ID" }, fault.Invalid, "InvalidInput"},
		"AWS's tags":                  {func(in *AssumeRoleInput) { in.Tags = append(in.Tags, call.Tag{Key: "aws:x"}) }, fault.Invalid, "InvalidInput"},
		"the platform's tag as well":  {func(in *AssumeRoleInput) { in.Tags = append(in.Tags, call.Tag{Key: "tenant_id", Value: "globex"}) }, fault.Invalid, "InvalidInput"},
		"a tag in two spellings":      {func(in *AssumeRoleInput) { in.Tags = append(in.Tags, call.Tag{Key: "Team"}) }, fault.Invalid, "InvalidInput"},
		"51 tags":                     {func(in *AssumeRoleInput) { in.Tags = append(many[:50], in.Tags...) }, fault.Conflict, "LimitExceeded"},
		"a transitive tag not passed": {func(in *AssumeRoleInput) { in.Transitive = []string{"x"} }, fault.Invalid, "InvalidParameterValue"},
		"less than 15 minutes":        {func(in *AssumeRoleInput) { in.Seconds = 899 }, fault.Invalid, "ValidationError"},
		"more than the role allows":   {func(in *AssumeRoleInput) { in.Seconds = 3601 }, fault.Invalid, "ValidationError"},
		"more than 12 hours":          {func(in *AssumeRoleInput) { in.Seconds = 43201 }, fault.Invalid, "ValidationError"},
		"a policy that is none":       {func(in *AssumeRoleInput) { in.Policy = "{" }, fault.Invalid, "MalformedPolicyDocument"},
		"a policy over the bound":     {func(in *AssumeRoleInput) { in.Policy = allowAll + strings.Repeat(" ", 2048) }, fault.Invalid, "ValidationError"},
		"a policy that is not there":  {func(in *AssumeRoleInput) { in.PolicyARNs = []string{"arn:aws:iam::aws:policy/None"} }, fault.Invalid, "MalformedPolicyDocument"},
		"too many policies": {func(in *AssumeRoleInput) {
			in.PolicyARNs = slices.Repeat([]string{"arn:aws:iam::aws:policy/AdministratorAccess"}, 11)
		}, fault.Invalid, "ValidationError"},
		"too much of everything": {func(in *AssumeRoleInput) {
			for i := range 16 {
				in.Tags = append(in.Tags, call.Tag{Key: strings.Repeat("k", i+1), Value: strings.Repeat("v", 256)})
			}
			in.Policy = allowAll
		}, fault.Invalid, "PackedPolicyTooLarge"},
	} {
		in := good()
		if _, err := acme.assume(in); err != nil {
			t.Fatalf("the harmless twin: %v", err)
		}
		tt.change(&in)
		_, err := acme.assume(in)
		if f := fault.From("", err); err == nil || f.Kind != tt.kind || f.Code != tt.code {
			t.Errorf("%s: %v, want %v %s", name, err, tt.kind, tt.code)
		}
	}
	if _, err := globex.assume(AssumeRoleInput{RoleARN: long.ARN}); !fault.Is(err, fault.Denied) {
		t.Errorf("from another account: %v", err)
	}
}

// TestGrantsAreForWhatIsMade asks with one input and makes with another.
func TestGrantsAreForWhatIsMade(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	in := AssumeRoleInput{RoleARN: acme.free("app"), SessionName: "s1", SessionBounds: SessionBounds{Tags: []call.Tag{{Key: "team", Value: "blue"}}}}
	asked, err := s.AskAssumeRole(ctx, acme.me, in)
	acme.must(err)
	grants, err := acme.grants(asked)
	acme.must(err)
	for name, change := range map[string]func(*AssumeRoleInput){
		"another tag":          func(in *AssumeRoleInput) { in.Tags = []call.Tag{{Key: "team", Value: "red"}} },
		"another session name": func(in *AssumeRoleInput) { in.SessionName = "s2" },
		"an external id":       func(in *AssumeRoleInput) { in.ExternalID = "xx" },
		"a source identity":    func(in *AssumeRoleInput) { in.SourceIdentity = "ann" },
		"a transitive tag":     func(in *AssumeRoleInput) { in.Transitive = []string{"team"} },
		"no tag":               func(in *AssumeRoleInput) { in.Tags = nil },
	} {
		other := in
		change(&other)
		if _, err := s.AssumeRole(ctx, grants[0], grants[1:], other); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.AssumeRole(ctx, grants[0], nil, in); !fault.Is(err, fault.Denied) {
		t.Errorf("tags without a grant for them: %v", err)
	}
	if _, err := s.AssumeRole(ctx, grants[0], grants[1:], in); err != nil {
		t.Errorf("the harmless twin: %v", err)
	}
}

func TestTagsThatGoOn(t *testing.T) {
	t.Parallel()
	_, acme := stsWorld(t)
	one, two := acme.free("one"), acme.free("two")
	first := acme.assumed(AssumeRoleInput{
		RoleARN: one, SourceIdentity: "ann", Transitive: []string{"Team"},
		SessionBounds: SessionBounds{Tags: []call.Tag{{Key: "team", Value: "blue"}, {Key: "shift", Value: "late"}}},
	})
	second := first.assumed(AssumeRoleInput{RoleARN: two, SessionBounds: SessionBounds{Tags: []call.Tag{{Key: "own", Value: "1"}}}})
	third := second.assumed(AssumeRoleInput{RoleARN: one})
	if got := third.me.Session; !slices.Equal(got.Tags, []call.Tag{{Key: "team", Value: "blue"}}) || got.SourceIdentity != "ann" || !got.Chained {
		t.Errorf("after two more roles: %+v", got)
	}
	_, err := second.assume(AssumeRoleInput{RoleARN: one, SessionBounds: SessionBounds{Tags: []call.Tag{{Key: "TEAM", Value: "red"}}}})
	wants(t, err, fault.Invalid, "InvalidParameterValue")
	_, err = second.assume(AssumeRoleInput{RoleARN: one, SourceIdentity: "bob"})
	wants(t, err, fault.Denied, "AccessDenied")
	_, err = second.assume(AssumeRoleInput{RoleARN: one, Seconds: 3601})
	wants(t, err, fault.Invalid, "ValidationError")

	// An inherited tag needs its permission as one that is passed.
	plain := acme.makeRole("plain", strings.Replace(trusting("arn:aws:iam::"+string(acme.account)+":root", ""), `,"sts:TagSession"`, "", 1))
	if _, err := second.assume(AssumeRoleInput{RoleARN: plain.ARN}); !fault.Is(err, fault.Denied) {
		t.Errorf("inherited tags without sts:TagSession: %v", err)
	}
	if _, err := acme.assume(AssumeRoleInput{RoleARN: plain.ARN}); err != nil {
		t.Errorf("the twin without tags: %v", err)
	}
}

// TestInheritedTagsTakeSpace goes on with tags that take all the space there
// is, so that no other fits beside them.
func TestInheritedTagsTakeSpace(t *testing.T) {
	t.Parallel()
	_, acme := stsWorld(t)
	role := acme.free("app")
	in := AssumeRoleInput{RoleARN: role}
	for left, i := maxPacked, 0; left > 0; i++ {
		tag := call.Tag{Key: string(rune('a' + i)), Value: strings.Repeat("v", min(left-1, 256))}
		left -= len(tag.Key) + len(tag.Value)
		in.Tags, in.Transitive = append(in.Tags, tag), append(in.Transitive, tag.Key)
	}
	first := acme.assumed(in)
	second, err := first.assume(AssumeRoleInput{RoleARN: role})
	if err != nil || second.PackedPolicySize != 100 {
		t.Errorf("the tags alone take %d%%: %v", second.PackedPolicySize, err)
	}
	_, err = first.assume(AssumeRoleInput{RoleARN: role, SessionBounds: SessionBounds{Tags: []call.Tag{{Key: "one", Value: "more"}}}})
	wants(t, err, fault.Invalid, "PackedPolicyTooLarge")
}

func TestRoleChainsAreBounded(t *testing.T) {
	t.Parallel()
	_, acme := stsWorld(t)
	role, at := acme.free("app"), acme
	for range call.MaxChain {
		at = at.assumed(AssumeRoleInput{RoleARN: role})
	}
	_, err := at.assume(AssumeRoleInput{RoleARN: role})
	wants(t, err, fault.Denied, "AccessDenied")
}

func (o who) sessionToken(seconds int) (SessionCredentials, error) {
	g, err := o.s.Authorise(ctx, iam.Request{Principal: o.me, Action: ActionGetSessionToken, Resource: o.me.ARN, Owner: tenant.Identity{Account: o.account}}, "r")
	if err != nil {
		return SessionCredentials{}, err
	}
	return o.s.GetSessionToken(ctx, g, seconds)
}

func (o who) federate(in GetFederationTokenInput) (SessionCredentials, error) {
	grants, err := o.grants(AskFederationToken(o.me, in))
	if err != nil {
		return SessionCredentials{}, err
	}
	return o.s.GetFederationToken(ctx, grants[0], grants[1:], in)
}

func TestSessionTokensAreOfUsers(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	c, err := acme.sessionToken(0)
	acme.must(err)
	session := acme.holding(c)
	if session.me.ARN != acme.me.ARN || session.me.Type != call.TypeUser || time.Until(c.Expires) < 11*time.Hour {
		t.Errorf("%+v until %s", session.me, c.Expires)
	}
	if !session.allowed(ActionListFunctions, s.AccountResource(acme.account)) {
		t.Error("the session may not do what the user may")
	}
	_, err = session.sessionToken(0)
	wants(t, err, fault.Denied, "AccessDenied")
	_, err = session.federate(GetFederationTokenInput{Name: "bob"})
	wants(t, err, fault.Denied, "AccessDenied")
	_, err = acme.sessionToken(899)
	wants(t, err, fault.Invalid, "ValidationError")
	_, err = acme.sessionToken(129601)
	wants(t, err, fault.Invalid, "ValidationError")
}

func TestFederatedUsersMayWhatTheirPoliciesSay(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	all := s.AccountResource(acme.account)
	in := GetFederationTokenInput{Name: "bob", SessionBounds: SessionBounds{Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"lambda:List*","Resource":"*"}}`}}
	c, err := acme.federate(in)
	acme.must(err)
	bob := acme.holding(c)
	if bob.me.ARN != FederatedResource(acme.account, "bob") || bob.me.UserID != string(acme.account)+":bob" {
		t.Errorf("%+v", bob.me)
	}
	if !bob.allowed(ActionListFunctions, all) || bob.allowed(ActionGetAccountSettings, all) {
		t.Error("the session policy does not say what the federated user may do")
	}
	_, err = bob.assume(AssumeRoleInput{RoleARN: acme.free("app")})
	wants(t, err, fault.Denied, "AccessDenied")
	in.Policy = ""
	c, err = acme.federate(in)
	acme.must(err)
	if acme.holding(c).allowed(ActionListFunctions, all) {
		t.Error("a federated user without a session policy may do something")
	}
	in.Name = "b/b"
	_, err = acme.federate(in)
	wants(t, err, fault.Invalid, "ValidationError")
}

// TestA21SessionsOnlyShrink makes random chains of sessions: none lives longer
// than the one it came from, none loses a cap, none is let do what the caps of
// an earlier one forbid, and none makes credentials that last.
func TestA21SessionsOnlyShrink(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	roles := []string{acme.free("one"), acme.free("two")}
	rng := testrounds.Rand(t)
	all := s.AccountResource(acme.account)
	for range testrounds.Rounds(t) {
		at := acme
		if rng.IntN(2) == 0 {
			c, err := acme.sessionToken(900 + rng.IntN(7200))
			acme.must(err)
			at = acme.holding(c)
		}
		capped := false
		for range 1 + rng.IntN(4) {
			before := at
			if at.me.Session != nil && rng.IntN(3) == 0 { // as a bearer token or a call would
				session := *at.me.Session
				session.Caps = append(slices.Clone(session.Caps), `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}`)
				before.me.Session, capped = &session, true
			}
			at = before.assumed(AssumeRoleInput{RoleARN: roles[rng.IntN(2)], Seconds: 900 + rng.IntN(2700)})
			new, old := at.me.Session, before.me.Session
			if old == nil {
				continue
			}
			if new.Expires.After(old.Expires) {
				t.Errorf("a session until %s made one until %s", old.Expires, new.Expires)
			}
			if !slices.Equal(new.Caps, old.Caps) || !slices.Equal(new.From[:len(new.From)-1], old.From) {
				t.Errorf("caps %q and origin %q became %q and %q", old.Caps, old.From, new.Caps, new.From)
			}
		}
		if got := at.allowed(ActionListFunctions, all); got == capped {
			t.Errorf("allowed %v, capped %v: %+v", got, capped, at.me.Session)
		}
	}
}

// TestBoundedSessionsMakeNoLastingKeys has sessions make access keys, which
// would be bound by nothing that bounds the session.
func TestBoundedSessionsMakeNoLastingKeys(t *testing.T) {
	t.Parallel()
	_, acme := stsWorld(t)
	acme.user("ann")
	role := acme.free("app")
	make := func(o who) error {
		_, err := o.s.CreateAccessKey(ctx, o.identity(ActionCreateAccessKey, sortUser, "ann"), "ann")
		return err
	}
	user, err := acme.sessionToken(0)
	acme.must(err)
	bounded := acme.assumed(AssumeRoleInput{RoleARN: role, SessionBounds: SessionBounds{Policy: allowAll}})
	capped := acme.assumed(AssumeRoleInput{RoleARN: role})
	capped.me.Session.Caps = []string{allowAll}
	for name, o := range map[string]who{"a user's session": acme.holding(user), "a role's with a session policy": bounded, "a capped one": capped} {
		if err := make(o); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := make(acme.assumed(AssumeRoleInput{RoleARN: role})); err != nil {
		t.Errorf("the twin, a role's session: %v", err)
	}
}

func TestSessionsOfEndTenantsStayInTheirAccount(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	globex := as(t, s, s.FirstAdmin().AccessKeyID).tenant("globex")
	role := acme.free("app")
	p := acme.assumed(AssumeRoleInput{RoleARN: role})
	p.me.Session.EndTenant, p.me.Session.EndTenantUID, p.me.Session.RequestID = "e1", "uid", "r1"
	globex.shares(roleARN(globex.account, "open"), "acme")
	abroad := globex.makeRole("open", trusting("arn:aws:iam::"+string(acme.account)+":root", ""))
	_, err := p.assume(AssumeRoleInput{RoleARN: abroad.ARN})
	wants(t, err, fault.Denied, "AccessDenied")
	c, err := p.assume(AssumeRoleInput{RoleARN: role})
	acme.must(err)
	if _, found := s.Session(c.SessionToken); found {
		t.Error("a session of a call is good although nobody knows whether the call runs")
	}
	s.SetLive(func(id string) bool { return id == "r1" })
	if got := acme.holding(c).me.Session; got.EndTenant != "e1" || got.EndTenantUID != "uid" || got.RequestID != "r1" {
		t.Errorf("%+v", got)
	}
	s.SetLive(func(string) bool { return false })
	if _, found := s.Session(c.SessionToken); found {
		t.Error("a session is good after the call that it was made for")
	}
}

func TestCalledFunctionsMakeNoCredentials(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	in := AssumeRoleInput{RoleARN: acme.free("app"), SessionName: "s1"}
	asked, err := s.AskAssumeRole(ctx, acme.me, in)
	acme.must(err)
	asked[0].Chain = []call.Link{{Principal: acme.me, RequestID: "r", Function: function.ARN(region, acme.account, "f", "")}}
	g, err := s.Authorise(ctx, asked[0], "r")
	acme.must(err)
	_, err = s.AssumeRole(ctx, g, nil, in)
	wants(t, err, fault.Denied, "AccessDenied")
}

func (o who) revoke(what string) error {
	return o.s.RevokeSession(ctx, o.on(ActionRevokeSession, o.s.SessionResource(o.account, what)), RevokeSessionInput{Account: o.account, What: what, Reason: "test"})
}

// good tells whether credentials are: to get in, and in a decision.
func (o who) good(c SessionCredentials, p call.Principal) bool {
	_, opened := o.s.Session(c.SessionToken)
	_, known := o.s.Subject(&p)
	if opened != known {
		o.t.Errorf("to get in: %v, in a decision: %v", opened, known)
	}
	return opened
}

func TestRevokedSessionsEndWithAllThatCameOfThem(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	globex := as(t, s, s.FirstAdmin().AccessKeyID).tenant("globex")
	one, two := acme.free("one"), acme.free("two")
	globex.shares(roleARN(globex.account, "open"), "acme")
	abroad := globex.makeRole("open", trusting("arn:aws:iam::"+string(acme.account)+":root", ""))
	for name, tt := range map[string]struct {
		what            func(first SessionCredentials) string
		first, derived  bool // are they good afterwards?
		another, abroad bool
	}{
		"one session":       {func(c SessionCredentials) string { return c.AccessKeyID }, false, false, true, false},
		"all of a role":     {func(SessionCredentials) string { return one }, false, false, false, false},
		"all of the next":   {func(SessionCredentials) string { return two }, true, false, true, true},
		"all of a user":     {func(SessionCredentials) string { return acme.me.ARN }, false, false, false, false},
		"all of another":    {func(SessionCredentials) string { return userARN(acme.account, "ann") }, true, true, true, true},
		"all of a key":      {func(SessionCredentials) string { return acme.me.AccessKeyID }, false, false, false, false},
		"all of an account": {func(SessionCredentials) string { return "*" }, false, false, false, false},
		"another session":   {func(SessionCredentials) string { return "ASIAXXXXXXXXXXXXXXXX" }, true, true, true, true},
	} {
		first, err := acme.assume(AssumeRoleInput{RoleARN: one})
		acme.must(err)
		holder := acme.holding(first)
		derived, err := holder.assume(AssumeRoleInput{RoleARN: two})
		acme.must(err)
		away, err := holder.assume(AssumeRoleInput{RoleARN: abroad.ARN})
		acme.must(err)
		another, err := acme.assume(AssumeRoleInput{RoleARN: one})
		acme.must(err)
		who := func(c SessionCredentials) call.Principal { return acme.holding(c).me }
		a, b, c, d := who(first), who(derived), who(another), who(away)
		before := s.Generation()
		acme.must(acme.revoke(tt.what(first)))
		if s.Generation() == before {
			t.Errorf("%s: grants from before stay good", name)
		}
		for i, got := range []bool{acme.good(first, a), acme.good(derived, b), acme.good(another, c), acme.good(away, d)} {
			if want := []bool{tt.first, tt.derived, tt.another, tt.abroad}[i]; got != want {
				t.Errorf("%s: session %d good: %v, want %v", name, i, got, want)
			}
		}
		for k, r := range s.ix.records { // the next case starts anew
			if _, is := r.T.(*revocation); is {
				acme.must(s.remove(ctx, k, r.rev))
			}
		}
	}
}

// TestOthersSessionsCannotBeRevoked has an account revoke what is another's,
// by an id that it came to know.
func TestOthersSessionsCannotBeRevoked(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	operator := as(t, s, s.FirstAdmin().AccessKeyID)
	globex := operator.tenant("globex")
	c, err := acme.assume(AssumeRoleInput{RoleARN: acme.free("app")})
	acme.must(err)
	p := acme.holding(c).me
	acme.must(globex.revoke(c.AccessKeyID)) // as if it were its own: nothing tells it otherwise
	acme.must(globex.revoke("*"))
	if !acme.good(c, p) {
		t.Error("an account ended another's session")
	}
	g := globex.on(ActionRevokeSession, s.SessionResource(globex.account, "*"))
	wants(t, s.RevokeSession(ctx, g, RevokeSessionInput{Account: acme.account, What: "*"}), fault.Denied, "")
	g = operator.on(ActionRevokeSession, s.TenantResource("acme"))
	acme.must(s.RevokeSession(ctx, g, RevokeSessionInput{Account: acme.account, What: c.AccessKeyID}))
	if acme.good(c, p) {
		t.Error("the operators cannot end a tenant's session")
	}
	for _, what := range []string{"", "x", "arn:aws:iam::" + string(globex.account) + ":role/x"} {
		wants(t, acme.revoke(what), fault.Invalid, "InvalidParameterValueException")
	}
}

func TestRevocationsAreSweptWhenNobodyIsMeant(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	acme.must(acme.revoke("ASIAXXXXXXXXXXXXXXXX"))
	s.cfg.Now = func() time.Time { return time.Now().Add(72 * time.Hour) }
	acme.must(acme.revoke("ASIAYYYYYYYYYYYYYYYY"))
	if n := s.ix.revocations.Load(); n != 1 {
		t.Errorf("%d revocations, want the last one only", n)
	}
}

func TestSuspendedAccountsSessionsAreSaidToBe(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	c, err := acme.assume(AssumeRoleInput{RoleARN: acme.free("app")})
	acme.must(err)
	operator := as(t, s, s.FirstAdmin().AccessKeyID)
	if _, err := s.SuspendTenant(context.Background(), operator.on(ActionSuspendTenant, s.TenantResource("acme")), "acme"); err != nil {
		t.Fatal(err)
	}
	if k, found := s.Session(c.SessionToken); !found || k.Status != "Suspended" {
		t.Errorf("%v %v", k.Status, found)
	}
}

func TestMessagesAreDecodedByTheirAccount(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	globex := as(t, s, s.FirstAdmin().AccessKeyID).tenant("globex")
	encoded := s.Tokens().SealMessage(acme.account, "because")
	decode := func(o who, m string) (string, error) {
		return s.DecodeAuthorizationMessage(ctx, o.on(ActionDecodeMessage, STSResource(o.account)), m)
	}
	if m, err := decode(acme, encoded); err != nil || m != "because" {
		t.Errorf("%q, %v", m, err)
	}
	for _, m := range []string{encoded + "x", "", "x"} {
		_, err := decode(acme, m)
		wants(t, err, fault.Invalid, "InvalidAuthorizationMessageException")
	}
	_, err := decode(globex, encoded)
	wants(t, err, fault.Invalid, "InvalidAuthorizationMessageException")
	info := func(o who, id string) error {
		_, err := s.GetAccessKeyInfo(ctx, o.on(ActionGetAccessKeyInfo, STSResource(o.account)), id)
		return err
	}
	acme.must(info(acme, acme.me.AccessKeyID))
	if a, b := info(globex, acme.me.AccessKeyID), info(globex, "AKIANONE"); wants(t, a, fault.Invalid, "ValidationError") == "" || b == nil {
		t.Errorf("another's key: %v; none: %v", a, b)
	}
}
