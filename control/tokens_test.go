package control

import (
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/tenant"
)

const scopeAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

func (o who) newToken(in CreateTokenInput) (NewToken, error) {
	o.t.Helper()
	if in.Audience == "" {
		in.Audience = AudienceCarrel
	}
	if in.Scope == "" {
		in.Scope = scopeAll
	}
	return o.s.CreateToken(ctx, o.on(ActionCreateToken, o.s.TokenResource(o.account)), in)
}

// bearing is who has a bearer token.
func (o who) bearing(made NewToken) who {
	o.t.Helper()
	c, err := o.s.Tokens().OpenBearer(made.Token)
	o.must(err)
	return who{o.t, o.s, c.Principal, c.Principal.Account}
}

// TestA21TokensOnlyShrink has sessions of all lengths and caps make tokens:
// none lives longer than its maker, none lacks one of its maker's caps, and
// what is narrowed is neither wider nor longer.
func TestA21TokensOnlyShrink(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	role := acme.free("one")
	rng := testrounds.Rand(t)
	const sts = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["sts:*","carrel:CreateToken"],"Resource":"*"}}`
	for range testrounds.Rounds(t) {
		maker := acme.assumed(AssumeRoleInput{RoleARN: role, Seconds: 900 + rng.IntN(2700)})
		if rng.IntN(2) == 0 {
			session := *maker.me.Session
			session.Caps = []string{sts}
			maker.me.Session = &session
		}
		in := CreateTokenInput{Life: time.Duration(1+rng.IntN(3600)) * time.Second}
		if rng.IntN(2) == 0 {
			in.Scope = sts
		}
		made, err := maker.newToken(in)
		acme.must(err)
		has := acme.bearing(made)
		old, new := maker.me.Session, has.me.Session
		if new.Expires.After(old.Expires) || !made.Expires.Equal(new.Expires) || len(new.Caps) != len(old.Caps)+1 || new.Issuer != old.Issuer {
			t.Errorf("%+v made %+v", old, new)
		}
		want := len(old.Caps) == 0 && in.Scope == ""
		if got := has.allowed(ActionListFunctions, s.AccountResource(acme.account)); got != want {
			t.Errorf("allowed %v, want %v: %q", got, want, new.Caps)
		}
		b, err := token.ParseBearer(made.Token)
		acme.must(err)
		end := new.Expires.Add(time.Duration(rng.IntN(7200)-3600) * time.Second)
		b, err = b.Narrow(token.Cap{Policy: scopeAll, NotAfter: end})
		acme.must(err)
		if c, err := s.Tokens().OpenBearer(b.Text()); err == nil && (c.Principal.Session.Expires.After(new.Expires) || len(c.Principal.Session.Caps) != len(new.Caps)+1) {
			t.Errorf("%+v was narrowed to %+v", new, c.Principal.Session)
		}
		if _, err := has.newToken(CreateTokenInput{}); !fault.Is(err, fault.Denied) {
			t.Errorf("a token made a token: %v", err)
		}
	}
}

// TestCredentialsOfACallEndWithIt has what was made for a call used after it.
func TestCredentialsOfACallEndWithIt(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	running := true
	s.SetLive(func(id string) bool { return running && id == "call-1" })
	maker := acme.assumed(AssumeRoleInput{RoleARN: acme.free("runs")})
	session := *maker.me.Session
	session.RequestID = "call-1"
	maker.me.Session = &session
	text, err := s.Tokens().Issue(token.Session, &token.Claims{Principal: maker.me, Secret: token.NewSecret()})
	acme.must(err)
	derived, err := maker.assume(AssumeRoleInput{RoleARN: acme.free("next")})
	acme.must(err)
	good := func() [2]bool {
		_, one := s.Session(text)
		_, two := s.Session(derived.SessionToken)
		return [2]bool{one, two}
	}
	if got := good(); got != [2]bool{true, true} {
		t.Errorf("while the call runs: %v", got)
	}
	if _, err := maker.newToken(CreateTokenInput{}); !fault.Is(err, fault.Denied) {
		t.Errorf("a token that would outlive the call: %v", err)
	}
	running = false
	if got := good(); got != [2]bool{} {
		t.Errorf("after the call: %v", got)
	}
}

// TestA19KindsOfTokens opens each kind of token as each other.
func TestA19KindsOfTokens(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	c, err := acme.assume(AssumeRoleInput{RoleARN: acme.free("app")})
	acme.must(err)
	bearer, err := acme.newToken(CreateTokenInput{})
	acme.must(err)
	invocation, err := s.Tokens().Issue(token.Invocation, &token.Claims{Principal: acme.holding(c).me, Secret: token.NewSecret()})
	acme.must(err)
	kinds := map[string]string{"session": c.SessionToken, "bearer": bearer.Token, "invocation": invocation, "message": s.Tokens().SealMessage(acme.account, "x")}
	opens := map[string]func(string) bool{
		"session":    func(text string) bool { _, found := s.Session(text); return found },
		"bearer":     func(text string) bool { _, err := s.Tokens().OpenBearer(text); return err == nil },
		"invocation": func(text string) bool { _, err := s.Tokens().Open(token.Invocation, text); return err == nil },
		"message":    func(text string) bool { _, _, err := s.Tokens().OpenMessage(text); return err == nil },
	}
	prefix := func(text string) string { return text[:len("carrel_st1_")] }
	for kind, text := range kinds {
		for as, opened := range opens {
			renamed := prefix(kinds[as]) + text[len(prefix(text)):]
			if got := opened(text); got != (kind == as) {
				t.Errorf("a token of the kind %s taken as %s: %v", kind, as, got)
			}
			if kind != as && opened(renamed) {
				t.Errorf("a token of the kind %s named %s is taken", kind, as)
			}
		}
	}
}

// TestRevokedOnAnotherNode revokes on one node and waits for another to know.
func TestRevokedOnAnotherNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rate = 1000
	one, two := w.open(), w.open()
	acme := w.operator(one).tenant("acme")
	role := acme.free("app")
	c, err := acme.assume(AssumeRoleInput{RoleARN: role})
	acme.must(err)
	made, err := acme.newToken(CreateTokenInput{})
	acme.must(err)
	there := func(p call.Principal) bool {
		_, err := two.Authorise(ctx, iam.Request{Principal: p, Action: ActionListFunctions, Resource: two.AccountResource(acme.account), Owner: tenant.Identity{Account: acme.account}}, "request")
		return err == nil
	}
	session, bearer := acme.holding(c).me, acme.bearing(made).me
	within := func(what string, want bool) {
		t.Helper()
		deadline, tick := time.After(iam.MaxStale), time.NewTicker(5*time.Millisecond)
		defer tick.Stop()
		for {
			if there(session) == want && there(bearer) == want {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("%s: not %v within %s", what, want, iam.MaxStale)
			case <-tick.C:
			}
		}
	}
	within("before", true)
	acme.must(acme.revoke(c.AccessKeyID))
	acme.must(acme.revoke(made.ID))
	within("after", false)
	if _, found := two.Session(c.SessionToken); found {
		t.Error("the other node lets the session in")
	}
}
