package control

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/oidc"
	"github.com/carrel-dev/carrel/iam/oidc/oidctest"
	"github.com/carrel-dev/carrel/tenant"
)

// webWorld is a tenant that trusts a provider, and the provider's key.
type webWorld struct {
	who
	idp  *oidctest.Provider
	key  oidctest.Key
	role string
	host string // of the condition keys
}

const webClient = "sts.amazonaws.com"

func newWebWorld(t *testing.T, condition string) *webWorld {
	t.Helper()
	key := oidctest.EC(t, "k1")
	idp := oidctest.New(t, key)
	w := newWorld(t)
	w.rate = 1000
	cfg := w.config()
	cfg.WebIdentities = oidc.New(oidc.Config{Fetch: idp.Dialer(), Now: time.Now})
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	x := &webWorld{who: w.operator(s).tenant("acme"), idp: idp, key: key, host: strings.TrimPrefix(idp.Issuer(), "https://")}
	x.register(x.who)
	x.role = x.makeRole("ci", trustingWeb(x.who, idp.Issuer(), strings.ReplaceAll(condition, "HOST", x.host))).ARN
	x.must(s.PutRolePolicy(ctx, x.identity(ActionPutRolePolicy, sortRole, "ci"), InlineInput{"ci", "all", allowAll}))
	return x
}

func (x *webWorld) register(o who) {
	x.t.Helper()
	arn := ProviderResource(o.account, x.idp.Issuer())
	_, err := x.s.CreateOpenIDConnectProvider(ctx, o.on(ActionCreateProvider, arn), CreateProviderInput{URL: x.idp.Issuer(), ClientIDs: []string{webClient}})
	x.must(err)
	x.must(x.s.PutProviderClaimTags(ctx, o.on(ActionPutProviderClaimTags, arn), arn, map[string]string{"team": "team", "https://claims.example/level": "level"}))
}

func trustingWeb(o who, issuer, condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + ProviderResource(o.account, issuer) +
		`"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession"],"Condition":` + condition + `}]}`
}

// enter asks for a session with a token whose claims are changed.
func (x *webWorld) enter(changes map[string]any) (WebSession, error) {
	return x.enterWith(AssumeWebInput{}, x.key.Sign(x.t, x.idp.Claims(webClient, time.Now(), changes), nil))
}

func (x *webWorld) enterWith(in AssumeWebInput, token string) (WebSession, error) {
	in.Token = token
	if in.RoleARN == "" {
		in.RoleARN = x.role
	}
	if in.SessionName == "" {
		in.SessionName = "run-1"
	}
	w, err := x.s.AskAssumeRoleWithWebIdentity(ctx, call.Origin{}, in)
	if err != nil {
		return WebSession{}, err
	}
	grants, err := x.grants(w.Asked())
	if err != nil {
		return WebSession{}, err
	}
	return x.s.AssumeRoleWithWebIdentity(ctx, grants[0], grants[1:], w)
}

const webCondition = `{"StringEquals":{"HOST:aud":"sts.amazonaws.com"},"StringLike":{"HOST:sub":"repo:acme/*"}}`

func TestWebIdentityIsTheRole(t *testing.T) {
	t.Parallel()
	x := newWebWorld(t, webCondition)
	c, err := x.enter(map[string]any{"team": "blue", "https://claims.example/level": 7, "tenant_id": "globex", "department": "x"})
	x.must(err)
	if c.Subject != "repo:acme/app" || c.Audience != webClient || c.Provider != ProviderResource(x.account, x.idp.Issuer()) || !strings.HasSuffix(c.ARN, ":assumed-role/ci/run-1") {
		t.Errorf("%+v", c)
	}
	me := x.holding(c.SessionCredentials)
	if want := []call.Tag{{Key: "level", Value: "7"}, {Key: "team", Value: "blue"}}; !slices.Equal(me.me.Session.Tags, want) {
		t.Errorf("tags %v", me.me.Session.Tags)
	}
	if me.me.Tenant != "acme" || me.me.Session.Provider != c.Provider || me.me.Session.Chained || len(me.me.Session.Transitive) > 0 {
		t.Errorf("%+v", me.me.Session)
	}
	if !me.allowed(ActionListFunctions, x.s.AccountResource(x.account)) {
		t.Error("the session may not do what the role may")
	}
}

// TestA16WebIdentitiesAreRefused changes one thing at a time.
func TestA16WebIdentitiesAreRefused(t *testing.T) {
	t.Parallel()
	x := newWebWorld(t, webCondition)
	operator := as(t, x.s, x.s.FirstAdmin().AccessKeyID)
	globex := operator.tenant("globex")
	foreign := globex.makeRole("ci", strings.ReplaceAll(trustingWeb(globex, x.idp.Issuer(), "{}"), "x", "x")).ARN
	// The gate refuses these two; records that have them all the same, from
	// before there was a gate, let nobody in.
	everybody := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:*"}]}`
	ungated := func(o who, name, trust string) string {
		_, err := x.s.CreateRole(ctx, o.fresh(ActionCreateRole, sortRole, name), CreateRoleInput{Name: name, Trust: trust})
		wants(t, err, fault.Denied, CodeIsolationViolation)
		arn := o.free(name)
		r, _ := x.s.identitiesOf(o.account).Role(arn)
		x.must(x.s.write(ctx, []write{rewrite(r, func(r *directory.Role) { r.Trust = trust })}))
		return arn
	}
	crossed, anyone := ungated(globex, "crossed", trustingWeb(x.who, x.idp.Issuer(), "{}")), ungated(x.who, "anyone", everybody)
	plain := x.makeRole("plain", trusting("arn:aws:iam::"+string(x.account)+":root", "")).ARN
	sign := func(changes map[string]any) string {
		return x.key.Sign(t, x.idp.Claims(webClient, time.Now(), changes), nil)
	}
	evil := oidctest.EC(t, "k1")
	if _, err := x.enter(nil); err != nil {
		t.Fatalf("the harmless twin: %v", err)
	}
	for name, tt := range map[string]struct {
		in    AssumeWebInput
		token string
		code  string
	}{
		"another subject":              {AssumeWebInput{}, sign(map[string]any{"sub": "repo:globex/app"}), "AccessDeniedException"},
		"a subject that begins like":   {AssumeWebInput{}, sign(map[string]any{"sub": "repo:acmee/app"}), "AccessDeniedException"},
		"another's key":                {AssumeWebInput{}, evil.Sign(t, x.idp.Claims(webClient, time.Now(), nil), nil), "InvalidIdentityToken"},
		"another audience":             {AssumeWebInput{}, sign(map[string]any{"aud": "app"}), "InvalidIdentityToken"},
		"expired":                      {AssumeWebInput{}, sign(map[string]any{"exp": time.Now().Add(-time.Second).Unix()}), "ExpiredTokenException"},
		"another issuer":               {AssumeWebInput{}, sign(map[string]any{"iss": "https://other.example"}), "InvalidIdentityToken"},
		"a role of another account":    {AssumeWebInput{RoleARN: foreign}, sign(nil), "InvalidIdentityToken"},
		"a role that trusts another's": {AssumeWebInput{RoleARN: crossed}, sign(nil), "InvalidIdentityToken"},
		"an account that is not there": {AssumeWebInput{RoleARN: roleARN("999999999999", "ci")}, sign(nil), "InvalidIdentityToken"},
		"a role that is not there":     {AssumeWebInput{RoleARN: roleARN(x.account, "none")}, sign(nil), "AccessDeniedException"},
		"a role that trusts users":     {AssumeWebInput{RoleARN: plain}, sign(nil), "AccessDeniedException"},
		"a role that names nobody":     {AssumeWebInput{RoleARN: anyone}, sign(nil), "AccessDeniedException"},
		"not a role":                   {AssumeWebInput{RoleARN: "arn:aws:iam::" + string(x.account) + ":user/admin"}, sign(nil), "ValidationError"},
		"a list as a tag":              {AssumeWebInput{}, sign(map[string]any{"team": []string{"a"}}), "IDPRejectedClaim"},
		"a long tag":                   {AssumeWebInput{}, sign(map[string]any{"team": strings.Repeat("x", 257)}), "IDPRejectedClaim"},
		"a tag of odd characters":      {AssumeWebInput{}, sign(map[string]any{"team": "a*\x00"}), "IDPRejectedClaim"},
		"for too long":                 {AssumeWebInput{Seconds: 3601}, sign(nil), "ValidationError"},
		"a bad session policy":         {AssumeWebInput{SessionBounds: SessionBounds{Policy: "{}"}}, sign(nil), "MalformedPolicyDocument"},
		"an empty session name":        {AssumeWebInput{SessionName: "x"}, sign(nil), "ValidationError"},
		"a session's token":            {AssumeWebInput{}, "carrel_st1_abc", "InvalidIdentityToken"},
	} {
		_, err := x.enterWith(tt.in, tt.token)
		if got := fault.From("", err); err == nil || got.Code != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Tags and their name tenant_id are the platform's and the record's to say.
	arn := ProviderResource(x.account, x.idp.Issuer())
	for _, key := range []string{"tenant_id", "Tenant_ID", "aws:x"} {
		if x.s.PutProviderClaimTags(ctx, x.on(ActionPutProviderClaimTags, arn), arn, map[string]string{"team": key}) == nil {
			t.Errorf("a claim may set the tag %s", key)
		}
	}
}

// TestWebIdentityTagsNeedTagSession has a role trust a provider and not let it
// set tags.
func TestWebIdentityTagsNeedTagSession(t *testing.T) {
	t.Parallel()
	x := newWebWorld(t, webCondition)
	x.role = x.makeRole("untagged", strings.Replace(trustingWeb(x.who, x.idp.Issuer(), "{}"), `,"sts:TagSession"`, "", 1)).ARN
	if _, err := x.enter(nil); err != nil {
		t.Errorf("without tags: %v", err)
	}
	if _, err := x.enter(map[string]any{"team": "blue"}); !fault.Is(err, fault.Denied) {
		t.Errorf("with a tag: %v", err)
	}
}

// TestWebIdentityEnds takes the provider, then the role, away between the
// question and the act, and the sessions with the role.
func TestWebIdentityEnds(t *testing.T) {
	t.Parallel()
	x := newWebWorld(t, webCondition)
	token := x.key.Sign(t, x.idp.Claims(webClient, time.Now(), nil), nil)
	w, err := x.s.AskAssumeRoleWithWebIdentity(ctx, call.Origin{}, AssumeWebInput{RoleARN: x.role, SessionName: "run-1", Token: token})
	x.must(err)
	grants, err := x.grants(w.Asked())
	x.must(err)
	other, err := x.s.AskAssumeRoleWithWebIdentity(ctx, call.Origin{}, AssumeWebInput{RoleARN: x.role, SessionName: "run-1",
		Token: x.key.Sign(t, x.idp.Claims(webClient, time.Now(), map[string]any{"sub": "repo:globex/app"}), nil)})
	x.must(err)
	if _, err := x.s.AssumeRoleWithWebIdentity(ctx, grants[0], nil, other); !fault.Is(err, fault.Denied) {
		t.Errorf("one identity's grant for another: %v", err)
	}
	c, err := x.s.AssumeRoleWithWebIdentity(ctx, grants[0], nil, w)
	x.must(err)
	me := x.holding(c.SessionCredentials)
	arn := ProviderResource(x.account, x.idp.Issuer())
	x.must(x.s.DeleteOpenIDConnectProvider(ctx, x.on(ActionDeleteProvider, arn), arn))
	if _, err := x.s.AssumeRoleWithWebIdentity(ctx, grants[0], nil, w); !fault.Is(err, fault.Denied) {
		t.Errorf("the provider is gone: %v", err)
	}
	if _, err := x.enter(nil); fault.From("", err).Code != "InvalidIdentityToken" {
		t.Errorf("the provider is gone: %v", err)
	}
	x.must(x.s.RevokeSession(ctx, x.on(ActionRevokeSession, x.s.SessionResource(x.account, x.role)), RevokeSessionInput{Account: x.account, What: x.role}))
	if me.allowed(ActionListFunctions, x.s.AccountResource(x.account)) {
		t.Error("the session goes on after it was revoked")
	}
}

// TestWebIdentityKeys looks at the condition keys that are asked with.
func TestWebIdentityKeys(t *testing.T) {
	t.Parallel()
	x := newWebWorld(t, webCondition)
	w, err := x.s.AskAssumeRoleWithWebIdentity(ctx, call.Origin{}, AssumeWebInput{RoleARN: x.role, SessionName: "run-1", Token: x.key.Sign(t,
		x.idp.Claims(webClient, time.Now(), map[string]any{"team": "blue", "amr": []string{"mfa", "pwd"}}), nil)})
	x.must(err)
	got := map[string][]string{}
	for _, k := range w.Asked()[0].Keys {
		got[k.Name] = k.Values
	}
	want := map[string][]string{
		x.host + ":sub": {"repo:acme/app"}, x.host + ":aud": {webClient}, x.host + ":oaud": {webClient}, x.host + ":amr": {"mfa", "pwd"},
		"sts:rolesessionname": {"run-1"}, "aws:requesttag/team": {"blue"}, "aws:tagkeys": {"team"},
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("keys %v", got)
	}
	if p := w.Asked()[0].Principal; p.Type != call.TypeWebIdentity || p.Tenant != "" || p.Session != nil {
		t.Errorf("principal %+v", p)
	}
	// It is nobody: nothing but a trust policy that names it allows it anything.
	for _, action := range []string{ActionListFunctions, "sts:AssumeRole", "iam:GetRole"} {
		_, err := x.s.Authorise(ctx, iam.Request{Principal: w.Asked()[0].Principal, Action: action, Resource: x.role, Owner: tenant.Identity{Account: x.account}}, "request")
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", action, err)
		}
	}
}
