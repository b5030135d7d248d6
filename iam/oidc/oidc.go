// Package oidc verifies tokens of identity providers: OpenID Connect ID tokens
// with which a workload or a person asks for a session of a role.
//
// What a token says is believed only after its signature was checked with a
// key that was fetched from the issuer that the account registered, over TLS
// and through package dial. Nothing in the token says where keys are, which of
// its own to take or how to compare: key and algorithm are of the provider's
// key set and of a closed list.
//
// The rules are those of OpenID Connect Core 1.0, section 3.1.3.7, of
// OpenID Connect Discovery 1.0, sections 3 and 4, and of RFC 8725; where one
// leaves a choice, the stricter is taken: kid, exp and iat are needed, and a
// token for several audiences has to name the one party it was issued to.
package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/dial"
	"github.com/carrel-dev/carrel/tenant"
)

// The bounds of a token.
const (
	// MaxToken is the longest token, in bytes: that of STS.
	MaxToken = 20_000
	// Skew is how far a provider's clock may be ahead of ours. A token's end
	// is exact.
	Skew = time.Minute

	maxClaims    = 200
	maxSubject   = 255 // OpenID Connect Core 1.0, section 2
	maxAudiences = 20
	maxText      = 2_048 // bytes of any text that is looked at
)

// algorithms are those of STS: "Create an OpenID Connect (OIDC) identity
// provider in IAM", IAM User Guide. None of them has a shared secret.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// Fetcher fetches what providers publish; dial.Dialer is one.
type Fetcher interface {
	Get(ctx context.Context, r dial.Request) (*dial.Response, error)
}

// Config is what a Verifier needs. Both fields are needed.
type Config struct {
	Fetch Fetcher
	Now   func() time.Time
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	cfg  Config
	sets cache
}

// New makes a Verifier. It panics where something is missing: one that cannot
// refuse must not start.
func New(cfg Config) *Verifier {
	if cfg.Fetch == nil || cfg.Now == nil {
		panic("oidc: Config is not complete")
	}
	return &Verifier{cfg: cfg, sets: newCache()}
}

// Provider is an issuer as an account registered it.
type Provider struct {
	// Account is whose provider it is. What one account's requests make us
	// fetch does not hold up another's.
	Account tenant.AccountID
	// Issuer is what iss has to be, letter by letter.
	Issuer string
	// ClientIDs are the audiences that tokens may be for; with none, no token
	// is taken.
	ClientIDs []string
}

// Claims is what a verified token says.
type Claims struct {
	Subject string
	// Party is whom the token was issued to: azp, or else its one audience.
	// Audience is the registered audience that it is for.
	Party, Audience string
	// Methods is amr.
	Methods []string
	Expires time.Time

	values map[string]any
}

// Text gives a claim as text; false if there is none of the name. A claim that
// is neither text, number nor truth value is an error.
func (c *Claims) Text(name string) (text string, found bool, err error) {
	switch v := c.values[name].(type) {
	case nil:
		return "", false, nil
	case string:
		return v, true, nil
	case json.Number:
		return v.String(), true, nil
	case bool:
		return fmt.Sprint(v), true, nil
	}
	return "", false, fmt.Errorf("oidc: the claim %q is a list or an object", name)
}

const op = "oidc.Verify"

// The codes of STS.
const (
	codeInvalid = "InvalidIdentityToken"
	codeExpired = "ExpiredTokenException"
	codeNoReply = "IDPCommunicationError"
)

func refuse(format string, args ...any) *fault.Error {
	return fault.New(op, fault.Invalid, format, args...).WithCode(codeInvalid)
}

// Unverified is the error of a token that no registered provider signed: one
// text, whether there is no such provider or it did not sign it, as whoever
// sends it proved nothing yet.
func Unverified() *fault.Error {
	return refuse("No OpenIDConnect provider of the account has signed the token.").
		WithRemedy("See that a provider with the token's issuer is registered; the account's audit log says more.")
}

// Issuer gives the issuer that a token names, so that the provider can be
// found. It proves nothing: whoever made the token wrote it.
func Issuer(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > MaxToken {
		return "", refuse("The token is not a signed JWT of at most %d characters.", MaxToken)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return "", refuse("The token is not a JWT.")
	}
	var said struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(raw, &said); err != nil || said.Issuer == "" || len(said.Issuer) > maxText {
		return "", refuse("The token names no issuer.")
	}
	return said.Issuer, nil
}

// Verify gives what a token of the provider says.
//
// Errors: fault.Invalid with InvalidIdentityToken or ExpiredTokenException;
// fault.Unavailable with IDPCommunicationError where the provider's keys
// cannot be had.
func (v *Verifier) Verify(ctx context.Context, token string, p Provider) (*Claims, error) {
	signed, kid, err := parse(token)
	if err != nil {
		return nil, err
	}
	algorithm := jose.SignatureAlgorithm(signed.Signatures[0].Header.Algorithm)
	keys, err := v.keys(ctx, p, kid)
	if err != nil {
		return nil, err
	}
	for i := range keys {
		if !fits(&keys[i], algorithm) {
			continue
		}
		if payload, err := signed.Verify(keys[i].Key); err == nil {
			return v.claims(payload, &p)
		}
	}
	return nil, Unverified()
}

// banned are headers that would say where a key is or how to read the token.
// None of them is ever heeded; a token with one was made to find out.
var banned = []string{"jwk", "jku", "x5u", "x5c", "crit", "b64", "enc", "zip", "cty", "epk"}

// parse takes a token apart and gives the name of its key.
func parse(token string) (*jose.JSONWebSignature, string, error) {
	if len(token) > MaxToken {
		return nil, "", refuse("The token is not a signed JWT of at most %d characters.", MaxToken)
	}
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, "", refuse("The token is not a JWT that is signed with one of %v.", algorithms)
	}
	if exact(token) != nil {
		return nil, "", refuse("The token is not a JWT in its one form.")
	}
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(head)
	var header map[string]json.RawMessage
	if err != nil || json.Unmarshal(raw, &header) != nil {
		return nil, "", refuse("The token's header is malformed.")
	}
	for _, name := range banned {
		if _, there := header[name]; there {
			return nil, "", refuse("The token's header has the member %q, which no ID token needs.", name)
		}
	}
	var kind struct {
		Type string `json:"typ"`
		Key  string `json:"kid"`
	}
	if json.Unmarshal(raw, &kind) != nil || kind.Type != "" && !strings.EqualFold(kind.Type, "JWT") {
		return nil, "", refuse("The token is not an ID token: its typ is not JWT.")
	}
	if kind.Key == "" || len(kind.Key) > maxText {
		return nil, "", refuse("The token does not name its key: kid is missing.")
	}
	return signed, kind.Key, nil
}

var errForm = errors.New("oidc: another spelling of a token")

// exact refuses spellings that decoders take for the same token: it has three
// parts of base64url without padding, line breaks or loose bits.
func exact(token string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || strings.ContainsAny(token, "\r\n") {
		return errForm
	}
	for _, p := range parts {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(p); err != nil || p == "" {
			return errForm
		}
	}
	return nil
}

// fits tells whether a key may check signatures of an algorithm: by its kind
// and size, whatever the set says, and by what the set says of it.
func fits(k *jose.JSONWebKey, algorithm jose.SignatureAlgorithm) bool {
	if k.Algorithm != "" && k.Algorithm != string(algorithm) || k.Use != "" && k.Use != "sig" {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		size := key.N.BitLen()
		return strings.HasPrefix(string(algorithm), "RS") && size >= 2048 && size <= 8192
	case *ecdsa.PublicKey:
		return map[jose.SignatureAlgorithm]int{jose.ES256: 256, jose.ES384: 384, jose.ES512: 521}[algorithm] == key.Curve.Params().BitSize
	}
	return false
}

// audiences is aud: one text or a list of them.
type audiences []string

func (a *audiences) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

type payload struct {
	Issuer    string    `json:"iss"`
	Subject   string    `json:"sub"`
	Audience  audiences `json:"aud"`
	Party     string    `json:"azp"`
	Expires   *float64  `json:"exp"`
	Issued    *float64  `json:"iat"`
	NotBefore *float64  `json:"nbf"`
}

// claims judges what a token says whose signature is good.
func (v *Verifier) claims(raw []byte, p *Provider) (*Claims, error) {
	var said payload
	c := &Claims{}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.SetNumberType(json.UnmarshalJSONNumber)
	if json.Unmarshal(raw, &said) != nil || d.Decode(&c.values) != nil || len(c.values) > maxClaims {
		return nil, refuse("The token's claims are malformed.")
	}
	now := v.cfg.Now()
	switch {
	case said.Issuer != p.Issuer:
		return nil, refuse("The token's issuer is not the provider's.")
	case said.Subject == "" || len(said.Subject) > maxSubject:
		return nil, refuse("The token has no subject of at most %d characters.", maxSubject)
	case said.Expires == nil || said.Issued == nil || !sane(said.Expires, said.Issued, said.NotBefore):
		return nil, refuse("The token needs exp and iat.")
	case !now.Before(at(*said.Expires)):
		return nil, fault.New(op, fault.Invalid, "Token expired: current date/time must be before the expiration date/time").WithCode(codeExpired)
	case at(*said.Issued).After(now.Add(Skew)), said.NotBefore != nil && at(*said.NotBefore).After(now.Add(Skew)):
		return nil, refuse("The token is not valid yet.")
	}
	c.Subject, c.Expires = said.Subject, at(*said.Expires)
	if c.Party, c.Audience = partyOf(&said, p.ClientIDs); c.Party == "" {
		return nil, refuse("Incorrect token audience")
	}
	if list, ok := c.values["amr"].([]any); ok {
		for _, m := range list[:min(len(list), maxAudiences)] {
			if text, ok := m.(string); ok && len(text) <= maxText {
				c.Methods = append(c.Methods, text)
			}
		}
	}
	return c, nil
}

// partyOf gives the registered party that a token was issued to and the
// registered audience that it is for; empty if it is for nobody registered.
func partyOf(said *payload, registered []string) (party, audience string) {
	if len(said.Audience) > maxAudiences {
		return "", ""
	}
	for _, a := range said.Audience {
		if a != "" && slices.Contains(registered, a) {
			audience = a
			break
		}
	}
	party = said.Party
	if party == "" && len(said.Audience) == 1 {
		party = audience
	}
	if audience == "" || !slices.Contains(registered, party) {
		return "", ""
	}
	return party, audience
}

// sane tells whether times are some that can be computed with.
func sane(times ...*float64) bool {
	for _, t := range times {
		if t != nil && !(*t >= 0 && *t < 1<<40) {
			return false
		}
	}
	return true
}

func at(seconds float64) time.Time { return time.Unix(int64(seconds), 0) }
