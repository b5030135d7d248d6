package token_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/token"
)

// node is a node's secret.
type node string

func (n node) Sum(data []byte) (sum [32]byte) {
	m := hmac.New(sha256.New, []byte(n))
	m.Write(data)
	m.Sum(sum[:0])
	return sum
}

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func newRing() (*token.Ring, *clock) {
	c := &clock{noon}
	return token.NewRing(node("the node's secret"), c.now), c
}

// roleSession is a session with every field set.
func roleSession() *token.Claims {
	id := token.NewID()
	return &token.Claims{
		Principal: call.Principal{
			Type: call.TypeRole, ARN: "arn:aws:sts::111111111111:assumed-role/app/s1", Account: "111111111111",
			Tenant: "acme", UserID: "AROA1:s1", AccessKeyID: id,
			Session: &call.Session{
				ID: id, Issuer: "arn:aws:iam::111111111111:role/app", IssuerUID: "uid1", Name: "s1",
				Tags: []call.Tag{{Key: "team", Value: "blue"}, {Key: "empty"}}, Transitive: []string{"team"}, SourceIdentity: "ann",
				Issued: noon, Expires: noon.Add(time.Hour), Policies: []string{`{"a":1}`}, Managed: []string{"arn:p"},
				Caps: []string{"c0", "c1"}, EndTenant: "e1", EndTenantUID: "euid", RequestID: "r1", FunctionVersion: "arn:f:1",
				Provider: "idp.example", Chained: true, From: []string{"AKIA1", "ASIA1"},
			},
		},
		Secret: token.NewSecret(),
	}
}

func bearer() *token.Claims {
	c := roleSession()
	c.Secret, c.Audience, c.Listener = "", "lambda", "gateway"
	c.Principal.Session.Expires = noon.Add(token.DefaultBearerLife)
	return c
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestTokenSaysWhatItWasMadeWith(t *testing.T) {
	t.Parallel()
	r, _ := newRing()
	for _, p := range []token.Purpose{token.Session, token.Invocation} {
		want := roleSession()
		got, err := r.Open(p, must[string](t)(r.Issue(p, want)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("purpose %d: got %+v, %v\nwant %+v", p, got.Principal, err, want.Principal)
		}
	}
	want := bearer()
	public, _, _ := ed25519.GenerateKey(nil)
	want.Holder = public
	got, err := r.OpenBearer(must[string](t)(r.IssueBearer(want)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("bearer: got %+v, %v", got, err)
	}
	account, message, err := r.OpenMessage(r.SealMessage("111111111111", "because"))
	if err != nil || account != "111111111111" || message != "because" {
		t.Errorf("message: %q, %q, %v", account, message, err)
	}
}

// kinds makes one token of each kind, and opens a text as each kind.
func kinds(t testing.TB, r *token.Ring) (texts map[string]string, open map[string]func(string) error) {
	texts = map[string]string{
		"session":    must[string](t)(r.Issue(token.Session, roleSession())),
		"invocation": must[string](t)(r.Issue(token.Invocation, roleSession())),
		"bearer":     must[string](t)(r.IssueBearer(bearer())),
		"message":    r.SealMessage("111111111111", "because"),
	}
	open = map[string]func(string) error{
		"session":    func(s string) error { _, err := r.Open(token.Session, s); return err },
		"invocation": func(s string) error { _, err := r.Open(token.Invocation, s); return err },
		"bearer":     func(s string) error { _, err := r.OpenBearer(s); return err },
		"message":    func(s string) error { _, _, err := r.OpenMessage(s); return err },
	}
	return texts, open
}

// TestA19NoKindOfTokenIsTakenForAnother tries every kind as every kind, also
// with the other kind's prefix, and with its purpose written over.
func TestA19NoKindOfTokenIsTakenForAnother(t *testing.T) {
	t.Parallel()
	r, _ := newRing()
	texts, open := kinds(t, r)
	for made, text := range texts {
		for wanted, read := range open {
			if made == wanted {
				if err := read(text); err != nil {
					t.Errorf("a %s token is refused as one: %v", made, err)
				}
				continue
			}
			_, rest, _ := strings.Cut(strings.TrimPrefix(text, "carrel_"), "_")
			prefix := texts[wanted][:len("carrel_xx1_")]
			for _, forged := range []string{text, prefix + rest} {
				if err := read(forged); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("a %s token is taken as a %s one: %v", made, wanted, err)
				}
			}
		}
	}
}

// TestA15NothingOfATokenCanBeChanged flips every bit of every kind.
func TestA15NothingOfATokenCanBeChanged(t *testing.T) {
	t.Parallel()
	r, _ := newRing()
	texts, open := kinds(t, r)
	for kind, text := range texts {
		for i := range len(text) {
			for bit := range 7 {
				changed := []byte(text)
				changed[i] ^= 1 << bit
				if err := open[kind](string(changed)); !errors.Is(err, token.ErrInvalid) {
					t.Fatalf("%s: byte %d changed from %q to %q: error %v", kind, i, text[i], changed[i], err)
				}
			}
		}
		for i := range len(text) {
			if err := open[kind](text[:i]); err == nil {
				t.Fatalf("%s: the first %d bytes are taken", kind, i)
			}
		}
		for _, more := range []string{"A", "=", "\n", " ", "."} {
			if err := open[kind](text + more); err == nil {
				t.Errorf("%s: taken with %q behind it", kind, more)
			}
		}
		other := token.NewRing(node("another secret"), (&clock{noon}).now)
		_, elsewhere := kinds(t, other)
		if err := elsewhere[kind](text); err == nil {
			t.Errorf("%s: taken by a node with another secret", kind)
		}
		if err := open[kind](text); err != nil {
			t.Errorf("%s: the harmless twin is refused: %v", kind, err)
		}
	}
}

// TestA18TimesOfTokens looks at both edges of a token's life.
func TestA18TimesOfTokens(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at   time.Duration
		want error
	}{
		"at once":                        {0, nil},
		"by a node whose clock is late":  {-token.Skew, nil},
		"later than that":                {-token.Skew - time.Second, token.ErrInvalid},
		"at the last moment":             {time.Hour - 1, nil},
		"at its end":                     {time.Hour, token.ErrExpired},
		"the next day":                   {24 * time.Hour, token.ErrExpired},
		"when its key is not used again": {5 * 24 * time.Hour, token.ErrInvalid},
	} {
		r, c := newRing()
		text := must[string](t)(r.Issue(token.Session, roleSession()))
		c.Time = noon.Add(tt.at)
		if _, err := r.Open(token.Session, text); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
	}
}

func TestKeysRotateDailyAndOldOnesStayForTheLongestLife(t *testing.T) {
	t.Parallel()
	r, c := newRing()
	claims := roleSession()
	claims.Principal.Session.Expires = noon.Add(token.MaxLife)
	text := must[string](t)(r.Issue(token.Session, claims))
	for at := time.Duration(0); at < token.MaxLife; at += time.Hour {
		c.Time = noon.Add(at)
		if _, err := r.Open(token.Session, text); err != nil {
			t.Fatalf("after %s: %v", at, err)
		}
	}
	// A node that has read nothing yet, as after a restart.
	c.Time = noon.Add(token.MaxLife - 1)
	again := token.NewRing(node("the node's secret"), c.now)
	if _, err := again.Open(token.Session, text); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestLongerLivesAreRefused(t *testing.T) {
	t.Parallel()
	r, _ := newRing()
	c := roleSession()
	c.Principal.Session.Expires = noon.Add(token.MaxLife + 1)
	if _, err := r.Issue(token.Session, c); !fault.Is(err, fault.Invalid) {
		t.Errorf("a session longer than MaxLife: %v", err)
	}
	c.Principal.Session.Expires = noon
	if _, err := r.Issue(token.Session, c); !fault.Is(err, fault.Invalid) {
		t.Errorf("a session of no length: %v", err)
	}
	b := bearer()
	b.Principal.Session.Expires = noon.Add(token.MaxUnboundLife + time.Second)
	if _, err := r.IssueBearer(b); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unbound bearer token of more than an hour: %v", err)
	}
	b.Holder, _, _ = ed25519.GenerateKey(nil)
	if _, err := r.IssueBearer(b); err != nil {
		t.Errorf("the same, bound to a key: %v", err)
	}
	c = roleSession()
	c.Principal.Session.Policies = []string{strings.Repeat("x", token.MaxClaims)}
	if _, err := r.Issue(token.Session, c); !fault.Is(err, fault.Invalid) {
		t.Errorf("claims over the bound: %v", err)
	}
}

func policyNo(i int) string { return fmt.Sprintf(`{"Statement":[{"Sid":"cap%d"}]}`, i) }

func narrowed(t testing.TB, r *token.Ring, n int) *token.BearerToken {
	b := must[*token.BearerToken](t)(token.ParseBearer(must[string](t)(r.IssueBearer(bearer()))))
	for i := range n {
		b = must[*token.BearerToken](t)(b.Narrow(token.Cap{Policy: policyNo(i)}))
	}
	return b
}

func TestHolderNarrowsWithoutAsking(t *testing.T) {
	t.Parallel()
	r, c := newRing()
	b := narrowed(t, r, 3)
	got := must[*token.Claims](t)(r.OpenBearer(b.Text()))
	if want := []string{"c0", "c1", policyNo(0), policyNo(1), policyNo(2)}; !slices.Equal(got.Principal.Session.Caps, want) {
		t.Errorf("caps %q, want %q", got.Principal.Session.Caps, want)
	}
	short := must[*token.BearerToken](t)(b.Narrow(token.Cap{NotAfter: noon.Add(time.Minute)}))
	long := must[*token.BearerToken](t)(short.Narrow(token.Cap{NotAfter: noon.Add(24 * time.Hour)}))
	c.Time = noon.Add(time.Minute)
	if _, err := r.OpenBearer(long.Text()); !errors.Is(err, token.ErrExpired) {
		t.Errorf("a token narrowed to a minute, after it, with a longer cap behind: %v", err)
	}
	if _, err := r.OpenBearer(b.Text()); err != nil {
		t.Errorf("the token that was narrowed is not good any more: %v", err)
	}
}

func TestCapsAreBounded(t *testing.T) {
	t.Parallel()
	r, _ := newRing()
	b := narrowed(t, r, token.MaxCaps)
	if _, err := b.Narrow(token.Cap{Policy: "x"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a ninth cap: %v", err)
	}
	if _, err := r.OpenBearer(b.Text()); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("eight caps and two of the root: %v", err)
	}
	if _, err := narrowed(t, r, 1).Narrow(token.Cap{Policy: strings.Repeat("x", token.MaxCapBytes)}); !fault.Is(err, fault.Invalid) {
		t.Errorf("caps over the bound: %v", err)
	}
	if _, err := narrowed(t, r, 1).Narrow(token.Cap{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an empty cap: %v", err)
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	r, _ := newRing()
	c := roleSession()
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if s := fmt.Sprintf(form, c) + fmt.Sprintf(form, *c); strings.Contains(s, c.Secret) {
			t.Errorf("%s of claims prints the secret", form)
		}
		if s := fmt.Sprintf(form, r); strings.Contains(s, "secret") {
			t.Errorf("%s of a ring prints %s", form, s)
		}
	}
}
