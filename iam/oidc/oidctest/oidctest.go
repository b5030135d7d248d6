// Package oidctest is an identity provider for tests: a server with a
// certificate of its own, a discovery document and a key set, which signs what
// it is told to.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/carrel-dev/carrel/internal/dial"
)

// Key is a key of a provider.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Private   crypto.Signer
}

// RSA and EC make keys.
func RSA(t testing.TB, id string, bits int) Key {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, jose.RS256, k}
}

// EC makes a key on P-256.
func EC(t testing.TB, id string) Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, jose.ES256, k}
}

// Provider is a running identity provider.
type Provider struct {
	*httptest.Server

	mu      sync.Mutex
	keys    []Key
	fetches int
	// answer replaces the answer to a path, where it gives a status.
	answer func(path string) (status int, body string)
}

// New starts a provider with keys.
func New(t testing.TB, keys ...Key) *Provider {
	t.Helper()
	p := &Provider{keys: keys}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

// Issuer is the provider's issuer.
func (p *Provider) Issuer() string { return p.URL }

// SetKeys replaces the keys that are published.
func (p *Provider) SetKeys(keys ...Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// SetAnswer has the provider answer otherwise; nil for as it should.
func (p *Provider) SetAnswer(answer func(path string) (status int, body string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// Fetches counts the requests for keys.
func (p *Provider) Fetches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// Dialer reaches the provider, and nothing else.
func (p *Provider) Dialer() *dial.Dialer {
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	return dial.New(dial.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: roots})
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer != nil {
		if status, body := p.answer(r.URL.Path); status != 0 {
			w.WriteHeader(status)
			w.Write([]byte(body))
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256", "none"},
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		})
	case "/keys":
		p.fetches++
		var set jose.JSONWebKeySet
		for _, k := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Use: "sig"})
		}
		json.NewEncoder(w).Encode(set)
	default:
		http.NotFound(w, r)
	}
}

// Claims are those of a good token for an audience: changes are put over them,
// and nil takes one away.
func (p *Provider) Claims(audience string, now time.Time, changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": p.URL, "sub": "repo:acme/app", "aud": audience, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// Sign signs claims; the header is kid, typ and what is given.
func (k Key) Sign(t testing.TB, claims any, header map[string]any) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	for name, value := range header {
		o.WithHeader(jose.HeaderKey(name), value)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: k.Algorithm, Key: jose.JSONWebKey{Key: k.Private, KeyID: k.ID}}, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
