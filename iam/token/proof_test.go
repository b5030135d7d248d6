package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/iam/token"
)

// bound is a bearer token of a key, and who checks its proofs.
type bound struct {
	text   string
	claims *token.Claims
	key    ed25519.PrivateKey
	proofs *token.Proofs
	clock  *clock
}

func newBound(t testing.TB) bound {
	r, c := newRing()
	claims := bearer()
	public, private, _ := ed25519.GenerateKey(nil)
	claims.Holder = public
	claims.Principal.Session.Expires = noon.Add(24 * time.Hour)
	text := must[string](t)(r.IssueBearer(claims))
	return bound{text, must[*token.Claims](t)(r.OpenBearer(text)), private, token.NewProofs(c.now), c}
}

const body = `{"x":1}`

func (b bound) input() token.ProofInput {
	return token.ProofInput{Token: b.text, Nonce: b.proofs.Nonce(), Now: b.clock.Time}
}

// request is one with a proof, as the server sees it.
func (b bound) request(in token.ProofInput) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://node.example:9600/2015-03-31/functions/f/invocations?Qualifier=1", strings.NewReader(body))
	r.Header.Set("X-Amz-Tenant-Id", "e1")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "x")
	r.Header.Set(token.ProofHeader, token.Prove(b.key, r, []byte(body), in))
	return r
}

func (b bound) check(r *http.Request) error {
	data, _ := io.ReadAll(r.Body)
	return b.proofs.Check(r, data, b.text, b.claims)
}

// TestA17CapturedProofIsWorthNothing takes a request that was sent and changes
// one thing at a time, or sends it again.
func TestA17CapturedProofIsWorthNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Request){
		"method":            func(r *http.Request) { r.Method = http.MethodPut },
		"host":              func(r *http.Request) { r.Host = "other.example" },
		"path":              func(r *http.Request) { r.URL.Path += "x" },
		"query":             func(r *http.Request) { r.URL.RawQuery = "Qualifier=2" },
		"no query":          func(r *http.Request) { r.URL.RawQuery = "" },
		"body":              func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"x":2}`)) },
		"no body":           func(r *http.Request) { r.Body = http.NoBody },
		"tenant":            func(r *http.Request) { r.Header.Set("X-Amz-Tenant-Id", "e2") },
		"no tenant":         func(r *http.Request) { r.Header.Del("X-Amz-Tenant-Id") },
		"one header more":   func(r *http.Request) { r.Header.Set("X-Amz-Invocation-Type", "Event") },
		"content type":      func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"no proof":          func(r *http.Request) { r.Header.Del(token.ProofHeader) },
		"two proofs":        func(r *http.Request) { r.Header.Add(token.ProofHeader, r.Header.Get(token.ProofHeader)) },
		"an empty proof":    func(r *http.Request) { r.Header.Set(token.ProofHeader, "") },
		"another signature": func(r *http.Request) { r.Header.Set(token.ProofHeader, r.Header.Get(token.ProofHeader)[:200]+"AAAA") },
	} {
		b := newBound(t)
		r := b.request(b.input())
		change(r)
		if err := b.check(r); !errors.Is(err, token.ErrProof) {
			t.Errorf("%s: error %v, want ErrProof", name, err)
		}
	}
	b := newBound(t)
	harmless := b.request(b.input())
	harmless.Header.Set("User-Agent", "y") // not covered, and steers nothing
	if err := b.check(harmless); err != nil {
		t.Fatalf("the harmless twin: %v", err)
	}
	harmless.Body = io.NopCloser(strings.NewReader(body))
	if err := b.check(harmless); !errors.Is(err, token.ErrProof) {
		t.Errorf("sent again: %v", err)
	}
}

// TestA17ProofsAreOfOneNodeAndMoment sends proofs late, to another node, and
// to the node after its restart.
func TestA17ProofsAreOfOneNodeAndMoment(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	r := b.request(b.input())
	late := b
	late.clock = &clock{noon}
	b.clock.Time = noon.Add(2 * time.Minute)
	if err := b.check(r); !errors.Is(err, token.ErrNonce) {
		t.Errorf("two minutes late: %v", err)
	}
	in := b.input()
	in.Now = in.Now.Add(-token.Skew - time.Second)
	if err := b.check(b.request(in)); !errors.Is(err, token.ErrProof) {
		t.Errorf("made too long ago, with a present nonce: %v", err)
	}
	in.Now = b.clock.Add(token.Skew + time.Second)
	if err := b.check(b.request(in)); !errors.Is(err, token.ErrProof) {
		t.Errorf("made in the future: %v", err)
	}
	second := b
	second.proofs = token.NewProofs(b.clock.now)
	if err := second.check(b.request(b.input())); !errors.Is(err, token.ErrNonce) {
		t.Errorf("to another node: %v", err)
	}
	if err := b.check(b.request(b.input())); err != nil {
		t.Errorf("the harmless twin: %v", err)
	}
	none := b.input()
	none.Nonce = ""
	if err := b.check(b.request(none)); !errors.Is(err, token.ErrNonce) {
		t.Errorf("the first request of a client: %v", err)
	}
}

// TestA15ProofOfAnotherAlgorithm forges proofs that JWT libraries have taken.
func TestA15ProofOfAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	_, other, _ := ed25519.GenerateKey(nil)
	thief := b
	thief.key = other
	if err := b.check(thief.request(b.input())); !errors.Is(err, token.ErrProof) {
		t.Errorf("a proof by another key: %v", err)
	}
	good := b.request(b.input())
	parts := strings.Split(good.Header.Get(token.ProofHeader), ".")
	enc := base64.RawURLEncoding
	header, _ := enc.DecodeString(parts[0])
	for name, h := range map[string]string{
		"alg none":       strings.Replace(string(header), "EdDSA", "none", 1),
		"alg HS256":      strings.Replace(string(header), "EdDSA", "HS256", 1),
		"no typ":         strings.Replace(string(header), "dpop+jwt", "", 1),
		"a JWT":          strings.Replace(string(header), "dpop+jwt", "JWT", 1),
		"a kid":          strings.Replace(string(header), `{"typ"`, `{"kid":"../k","typ"`, 1),
		"a jku":          strings.Replace(string(header), `{"typ"`, `{"jku":"http://127.0.0.1/","typ"`, 1),
		"a private key":  strings.Replace(string(header), `"kty"`, `"d":"AA","kty"`, 1),
		"no object":      "null",
		"two objects":    string(header) + string(header),
		"another key":    strings.Replace(string(header), enc.EncodeToString(b.claims.Holder), enc.EncodeToString(other.Public().(ed25519.PublicKey)), 1),
		"not JSON":       "{",
		"unknown member": strings.Replace(string(header), `{"typ"`, `{"crit":["x"],"typ"`, 1),
	} {
		// Signed by the right key, so that only the header can be the reason.
		signed := enc.EncodeToString([]byte(h)) + "." + parts[1]
		forged := signed + "." + enc.EncodeToString(ed25519.Sign(b.key, []byte(signed)))
		r := b.request(b.input())
		r.Header.Set(token.ProofHeader, forged)
		if err := b.check(r); !errors.Is(err, token.ErrProof) {
			t.Errorf("%s: error %v", name, err)
		}
		r = b.request(b.input())
		r.Header.Set(token.ProofHeader, enc.EncodeToString([]byte(h))+"."+parts[1]+".")
		if err := b.check(r); !errors.Is(err, token.ErrProof) {
			t.Errorf("%s, unsigned: error %v", name, err)
		}
	}
	if err := b.check(good); err != nil {
		t.Errorf("the harmless twin: %v", err)
	}
	if err := b.proofs.Check(b.request(b.input()), []byte(body), b.text+"x", b.claims); !errors.Is(err, token.ErrProof) {
		t.Errorf("a proof for another token: %v", err)
	}
}
