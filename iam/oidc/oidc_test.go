package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/oidc"
	"github.com/carrel-dev/carrel/iam/oidc/oidctest"
	"github.com/carrel-dev/carrel/internal/dial"
	"github.com/carrel-dev/carrel/tenant"
)

// world is a verifier and a provider that it may reach.
type world struct {
	*oidctest.Provider
	t        *testing.T
	verifier *oidc.Verifier
	rsa, ec  oidctest.Key
	now      time.Time
	clock    atomic.Int64 // seconds after now
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, rsa: oidctest.RSA(t, "r1", 2048), ec: oidctest.EC(t, "e1"), now: time.Unix(1_800_000_000, 0)}
	w.Provider = oidctest.New(t, w.rsa, w.ec)
	w.verifier = oidc.New(oidc.Config{Fetch: w.Dialer(), Now: func() time.Time { return w.now.Add(time.Duration(w.clock.Load()) * time.Second) }})
	return w
}

func (w *world) provider() oidc.Provider {
	return oidc.Provider{Account: "111111111111", Issuer: w.Issuer(), ClientIDs: []string{"sts.amazonaws.com", "app"}}
}

func (w *world) claims(changes map[string]any) map[string]any {
	return w.Claims("sts.amazonaws.com", w.now, changes)
}

func (w *world) verify(token string) (*oidc.Claims, error) {
	return w.verifier.Verify(w.t.Context(), token, w.provider())
}

func code(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return ""
	}
	return f.Code
}

func TestGoodTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, token := range map[string]string{
		"RSA":                 w.rsa.Sign(t, w.claims(nil), nil),
		"elliptic curve":      w.ec.Sign(t, w.claims(nil), nil),
		"RS512":               oidctest.Key{ID: "r1", Algorithm: jose.RS512, Private: w.rsa.Private}.Sign(t, w.claims(nil), nil),
		"a thumbprint":        w.rsa.Sign(t, w.claims(nil), map[string]any{"x5t": "abc"}),
		"not before":          w.rsa.Sign(t, w.claims(map[string]any{"nbf": w.now.Add(30 * time.Second).Unix()}), nil),
		"audience as a list":  w.rsa.Sign(t, w.claims(map[string]any{"aud": []string{"sts.amazonaws.com"}}), nil),
		"two, and whose":      w.rsa.Sign(t, w.claims(map[string]any{"aud": []string{"x", "sts.amazonaws.com"}, "azp": "sts.amazonaws.com"}), nil),
		"the clock is behind": w.rsa.Sign(t, w.claims(map[string]any{"iat": w.now.Add(59 * time.Second).Unix()}), nil),
		"fractions":           w.rsa.Sign(t, w.claims(map[string]any{"exp": float64(w.now.Unix()) + 60.5}), nil),
	} {
		c, err := w.verify(token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Subject != "repo:acme/app" || c.Party != "sts.amazonaws.com" || c.Audience != "sts.amazonaws.com" {
			t.Errorf("%s: %+v", name, c)
		}
		if iss, err := oidc.Issuer(token); err != nil || iss != w.Issuer() {
			t.Errorf("%s: issuer %q, %v", name, iss, err)
		}
	}
	if n := w.Fetches(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	c, err := w.verify(w.rsa.Sign(t, w.claims(map[string]any{"aud": []string{"app", "x"}, "azp": "sts.amazonaws.com", "amr": []any{"mfa", 1},
		"team": "blue", "level": 7, "big": 12345678901234567, "admin": true, "groups": []string{"a"}}), nil))
	if err != nil || c.Party != "sts.amazonaws.com" || c.Audience != "app" || len(c.Methods) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, want := range map[string]string{"team": "blue", "level": "7", "big": "12345678901234567", "admin": "true"} {
		if text, found, err := c.Text(name); text != want || !found || err != nil {
			t.Errorf("claim %s: %q, %v, %v", name, text, found, err)
		}
	}
	if _, found, err := c.Text("absent"); found || err != nil {
		t.Error("an absent claim is found")
	}
	if _, _, err := c.Text("groups"); err == nil {
		t.Error("a list is a text")
	}
}

func b64(v any) string {
	b, ok := v.([]byte)
	if !ok {
		b, _ = json.Marshal(v)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// hs256 signs with a shared secret, whatever that is.
func hs256(header, claims any, secret []byte) string {
	signed := b64(header) + "." + b64(claims)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(signed))
	return signed + "." + b64(m.Sum(nil))
}

// TestA15A16ForgedTokens gives the verifier what was made to be taken for a
// token of the provider.
func TestA15A16ForgedTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := oidctest.RSA(t, "r1", 2048) // under the name of the provider's key
	weak := oidctest.RSA(t, "weak", 1024)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	other := oidctest.New(t, evil)
	w.SetKeys(w.rsa, w.ec, weak)
	der, _ := x509.MarshalPKIXPublicKey(w.rsa.Private.Public())
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := w.rsa.Sign(t, w.claims(nil), nil)
	parts := strings.Split(good, ".")
	claims := w.claims(map[string]any{"sub": "repo:acme/other"})
	forged := b64(claims)
	n := w.rsa.Private.Public().(*rsa.PublicKey).N.Bytes()
	embedded := jose.JSONWebKey{Key: evil.Private.Public(), KeyID: "r1"}
	if _, err := w.verify(good); err != nil {
		t.Fatalf("the harmless twin: %v", err)
	}
	for name, token := range map[string]string{
		"alg none":                      b64(map[string]string{"alg": "none", "kid": "r1"}) + "." + forged + ".",
		"alg none with a signature":     b64(map[string]string{"alg": "none", "kid": "r1"}) + "." + forged + "." + parts[2],
		"alg None":                      b64(map[string]string{"alg": "NonE", "kid": "r1"}) + "." + forged + ".",
		"no alg":                        b64(map[string]string{"kid": "r1"}) + "." + forged + "." + parts[2],
		"public key as secret":          hs256(map[string]string{"alg": "HS256", "kid": "r1"}, claims, public),
		"DER of it as secret":           hs256(map[string]string{"alg": "HS256", "kid": "r1"}, claims, der),
		"modulus as secret":             hs256(map[string]string{"alg": "HS256", "kid": "r1"}, claims, n),
		"empty secret":                  hs256(map[string]string{"alg": "HS256", "kid": "r1"}, claims, nil),
		"HMAC said to be RSA":           hs256(map[string]string{"alg": "RS256", "kid": "r1"}, claims, public),
		"key of its own name":           evil.Sign(t, w.claims(nil), nil),
		"its own key embedded":          evil.Sign(t, w.claims(nil), map[string]any{"jwk": embedded}),
		"its own key set":               evil.Sign(t, w.claims(nil), map[string]any{"jku": other.URL + "/keys"}),
		"its own certificate":           evil.Sign(t, w.claims(nil), map[string]any{"x5u": other.URL + "/keys"}),
		"good key, embedded too":        w.rsa.Sign(t, w.claims(nil), map[string]any{"jwk": jose.JSONWebKey{Key: w.rsa.Private.Public(), KeyID: "r1"}}),
		"good key, key set named":       w.rsa.Sign(t, w.claims(nil), map[string]any{"jku": w.URL + "/keys"}),
		"critical extension":            w.rsa.Sign(t, w.claims(nil), map[string]any{"crit": []string{"exp"}, "exp": 1}),
		"payload not encoded":           w.rsa.Sign(t, w.claims(nil), map[string]any{"b64": true}),
		"no kid":                        oidctest.Key{Algorithm: jose.RS256, Private: w.rsa.Private}.Sign(t, w.claims(nil), nil),
		"kid of another key":            oidctest.Key{ID: "e1", Algorithm: jose.RS256, Private: w.rsa.Private}.Sign(t, w.claims(nil), nil),
		"kid that is nobody's":          oidctest.Key{ID: "zz", Algorithm: jose.RS256, Private: w.rsa.Private}.Sign(t, w.claims(nil), nil),
		"kid as a path":                 oidctest.Key{ID: "../../r1", Algorithm: jose.RS256, Private: w.rsa.Private}.Sign(t, w.claims(nil), nil),
		"weak key of the provider":      weak.Sign(t, w.claims(nil), nil),
		"PSS, which is not listed":      oidctest.Key{ID: "r1", Algorithm: jose.PS256, Private: w.rsa.Private}.Sign(t, w.claims(nil), nil),
		"another curve":                 oidctest.Key{ID: "e1", Algorithm: jose.ES384, Private: p384}.Sign(t, w.claims(nil), nil),
		"claims exchanged":              parts[0] + "." + forged + "." + parts[2],
		"signature cut":                 parts[0] + "." + parts[1] + "." + parts[2][:20],
		"signature empty":               parts[0] + "." + parts[1] + ".",
		"signature of zeros":            parts[0] + "." + parts[1] + "." + b64(make([]byte, 256)),
		"curve signature of zeros":      strings.Join(strings.Split(w.ec.Sign(t, w.claims(nil), nil), ".")[:2], ".") + "." + b64(make([]byte, 64)),
		"padded":                        good + "=",
		"with a line break":             parts[0] + "." + parts[1] + ".\n" + parts[2],
		"four parts":                    good + "." + parts[2],
		"five parts, encrypted":         good + "." + parts[1] + "." + parts[2],
		"JSON form":                     `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"access token":                  w.rsa.Sign(t, w.claims(nil), map[string]any{"typ": "at+jwt"}),
		"logout token":                  w.rsa.Sign(t, w.claims(nil), map[string]any{"typ": "logout+jwt"}),
		"other issuer":                  w.rsa.Sign(t, w.claims(map[string]any{"iss": other.URL}), nil),
		"issuer with a slash":           w.rsa.Sign(t, w.claims(map[string]any{"iss": w.URL + "/"}), nil),
		"issuer in capitals":            w.rsa.Sign(t, w.claims(map[string]any{"iss": strings.ToUpper(w.URL)}), nil),
		"no issuer":                     w.rsa.Sign(t, w.claims(map[string]any{"iss": nil}), nil),
		"issuer as a list":              w.rsa.Sign(t, w.claims(map[string]any{"iss": []string{w.URL}}), nil),
		"other audience":                w.rsa.Sign(t, w.claims(map[string]any{"aud": "other"}), nil),
		"no audience":                   w.rsa.Sign(t, w.claims(map[string]any{"aud": nil}), nil),
		"empty audience":                w.rsa.Sign(t, w.claims(map[string]any{"aud": ""}), nil),
		"audiences, issued to nobody":   w.rsa.Sign(t, w.claims(map[string]any{"aud": []string{"sts.amazonaws.com", "x"}}), nil),
		"issued to another":             w.rsa.Sign(t, w.claims(map[string]any{"azp": "x"}), nil),
		"ours as party, other audience": w.rsa.Sign(t, w.claims(map[string]any{"aud": "x", "azp": "app"}), nil),
		"audience as an object":         w.rsa.Sign(t, w.claims(map[string]any{"aud": map[string]string{"sts.amazonaws.com": "x"}}), nil),
		"no end":                        w.rsa.Sign(t, w.claims(map[string]any{"exp": nil}), nil),
		"end as text":                   w.rsa.Sign(t, w.claims(map[string]any{"exp": "2099-01-01"}), nil),
		"end beyond time":               w.rsa.Sign(t, w.claims(map[string]any{"exp": 1e300}), nil),
		"end before time":               w.rsa.Sign(t, w.claims(map[string]any{"exp": -1}), nil),
		"no beginning":                  w.rsa.Sign(t, w.claims(map[string]any{"iat": nil}), nil),
		"made tomorrow":                 w.rsa.Sign(t, w.claims(map[string]any{"iat": w.now.Add(24 * time.Hour).Unix()}), nil),
		"not yet":                       w.rsa.Sign(t, w.claims(map[string]any{"nbf": w.now.Add(61 * time.Second).Unix()}), nil),
		"no subject":                    w.rsa.Sign(t, w.claims(map[string]any{"sub": nil}), nil),
		"subject as a number":           w.rsa.Sign(t, w.claims(map[string]any{"sub": 7}), nil),
		"long subject":                  w.rsa.Sign(t, w.claims(map[string]any{"sub": strings.Repeat("s", 256)}), nil),
		"long token":                    w.rsa.Sign(t, w.claims(map[string]any{"x": strings.Repeat("x", oidc.MaxToken)}), nil),
		"member twice":                  w.rsa.Sign(t, json.RawMessage(`{"sub":"repo:acme/app","sub":"x",`+string(mustJSON(w.claims(map[string]any{"sub": nil})))[1:]), nil),
		"not claims":                    w.rsa.Sign(t, []int{1}, nil),
		"empty":                         "",
		"dots":                          "..",
	} {
		if c, err := w.verify(token); err == nil || code(err) != "InvalidIdentityToken" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	late := w.rsa.Sign(t, w.claims(map[string]any{"exp": w.now.Unix()}), nil)
	if _, err := w.verify(late); code(err) != "ExpiredTokenException" {
		t.Errorf("at its end: %v", err)
	}
	if other.Fetches() > 0 {
		t.Error("a key set that a token named was fetched")
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// TestKeysThatChange has a provider take a key back and bring another.
func TestKeysThatChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, next := w.rsa, oidctest.RSA(t, "r2", 2048)
	sign := func(k oidctest.Key) string {
		return k.Sign(t, w.claims(map[string]any{"exp": w.now.Add(48 * time.Hour).Unix()}), nil)
	}
	step := func(name string, k oidctest.Key, want bool) {
		t.Helper()
		if _, err := w.verify(sign(k)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	step("the first key", old, true)
	w.SetKeys(next)
	step("the next, at once", next, false)
	w.clock.Add(10)
	step("the next, a moment later", next, true)
	step("the first, that was taken back", old, false)
	n := w.Fetches()
	for range 50 {
		step("unknown again and again", old, false)
	}
	if w.Fetches() > n+1 {
		t.Errorf("unknown keys made it fetch %d times", w.Fetches()-n)
	}
	w.clock.Add(20 * 60)
	step("the next, fetched anew", next, true)
	w.SetAnswer(func(string) (int, string) { return 500, "" })
	w.clock.Add(20 * 60)
	step("while the provider is away", next, true)
	w.clock.Add(60 * 60)
	if _, err := w.verify(sign(next)); code(err) != "IDPCommunicationError" {
		t.Errorf("away for long: %v", err)
	}
	w.SetAnswer(nil)
	w.clock.Add(10)
	step("it is back", next, true)
}

// TestProvidersThatAnswerOddly gives a verifier one bad answer each.
func TestProvidersThatAnswerOddly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const discovery, keys = "/.well-known/openid-configuration", "/keys"
	answers := map[string]struct{ path, body string }{
		"not JSON": {discovery, "<html>"}, "nothing": {discovery, ""}, "another issuer": {discovery, `{"issuer":"https://other.example","jwks_uri":"` + w.URL + `/keys"}`},
		"no keys": {discovery, `{"issuer":"` + w.URL + `"}`}, "keys without TLS": {discovery, `{"issuer":"` + w.URL + `","jwks_uri":"http` + strings.TrimPrefix(w.URL, "https") + `/keys"}`},
		"keys inside":   {discovery, `{"issuer":"` + w.URL + `","jwks_uri":"https://169.254.169.254/keys"}`},
		"keys in files": {discovery, `{"issuer":"` + w.URL + `","jwks_uri":"file:///etc/passwd"}`},
		"large":         {discovery, `{"issuer":"` + w.URL + `","jwks_uri":"` + w.URL + `/keys","x":"` + strings.Repeat("x", 64<<10) + `"}`},
		"large set":     {keys, `{"keys":[],"x":"` + strings.Repeat("x", 256<<10) + `"}`}, "many keys": {keys, `{"keys":[` + strings.Repeat("{},", 64) + `{}]}`},
		"no set": {keys, `[]`}, "deep": {keys, `{"keys":` + strings.Repeat("[", 100_000)},
	}
	for name, a := range answers {
		w.SetAnswer(func(path string) (int, string) {
			if path != a.path {
				return 0, ""
			}
			return 200, a.body
		})
		w.clock.Add(10)
		if _, err := w.verify(w.rsa.Sign(t, w.claims(nil), nil)); code(err) != "IDPCommunicationError" {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.SetAnswer(nil)
	w.clock.Add(10)
	if _, err := w.verify(w.rsa.Sign(t, w.claims(nil), nil)); err != nil {
		t.Errorf("the harmless twin: %v", err)
	}
}

// slow is a provider that does not answer until it may.
type slow struct {
	of   oidc.Fetcher
	wait chan struct{}
	open atomic.Int64
}

func (s *slow) Get(ctx context.Context, r dial.Request) (*dial.Response, error) {
	s.open.Add(1)
	<-s.wait
	return s.of.Get(ctx, r)
}

// TestOneAccountsProvidersHoldUpNobody has an account ask for tokens of many
// slow providers; another one's is not asked later for it.
func TestOneAccountsProvidersHoldUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &slow{of: w.Dialer(), wait: make(chan struct{})}
	v := oidc.New(oidc.Config{Fetch: s, Now: func() time.Time { return w.now }})
	token := w.rsa.Sign(t, w.claims(nil), nil)
	done := make(chan error)
	ask := func(account tenant.AccountID, i int) {
		p := w.provider()
		p.Account, p.Issuer = account, p.Issuer+strings.Repeat("/x", i)
		_, err := v.Verify(t.Context(), token, p)
		done <- err
	}
	for i := range 20 {
		go ask("222222222222", i)
	}
	for range 16 { // those that are too many are told at once
		if err := <-done; code(err) != "IDPCommunicationError" {
			t.Errorf("one too many: %v", err)
		}
	}
	go ask("111111111111", 0)
	close(s.wait)
	good := 0
	for range 5 {
		if <-done == nil {
			good++
		}
	}
	if good != 2 && good != 1 {
		t.Errorf("%d tokens were taken", good)
	}
	if _, err := v.Verify(t.Context(), token, w.provider()); err != nil {
		t.Errorf("the other account: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	k := oidctest.EC(f, "e1")
	p := oidctest.New(f, k)
	now := time.Unix(1_800_000_000, 0)
	v := oidc.New(oidc.Config{Fetch: p.Dialer(), Now: func() time.Time { return now }})
	good := k.Sign(f, p.Claims("app", now, nil), nil)
	f.Add(good)
	f.Add("e30.e30.")
	f.Add(fmt.Sprint(strings.Replace(good, ".", ".e30.", 1)))
	f.Fuzz(func(t *testing.T, token string) {
		oidc.Issuer(token)
		c, err := v.Verify(t.Context(), token, oidc.Provider{Account: "111111111111", Issuer: p.Issuer(), ClientIDs: []string{"app"}})
		if err == nil && (token != good || c.Subject == "") {
			t.Errorf("%q was taken: %+v", token, c)
		}
	})
}
