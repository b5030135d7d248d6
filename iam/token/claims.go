package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/fields"
	"github.com/carrel-dev/carrel/tenant"
)

// Claims is what a token says.
type Claims struct {
	// Principal is whom the token stands for, with its Session. The Origin is
	// no part of a token. The AccessKeyID is the session's id.
	Principal call.Principal
	// Secret is the secret access key; empty in a bearer token.
	Secret string
	// Audience is the API that a bearer token is for, as the name of its
	// service, and Listener the node's listener that it is taken at.
	Audience, Listener string
	// Holder is the key that the requests of a bearer token are signed with;
	// nil if whoever has the token may use it.
	Holder ed25519.PublicKey
}

// Format names the token without its secret, whatever the verb.
func (c Claims) Format(f fmt.State, _ rune) { io.WriteString(f, "token of "+c.Principal.ARN) }

// LogValue is Format, for log/slog.
func (c Claims) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// ErrExpired is the error of a token whose time is over. Its claims are given
// with it, so that its holder can be told.
var ErrExpired = errors.New("token: expired")

// NewID makes the id of a session, which is its access key id too: ASIA and 80
// random bits.
func NewID() string { return "ASIA" + rand.Text()[:16] }

// NewBearerID makes the id of a bearer token.
func NewBearerID() string { return bearerID + rand.Text()[:16] }

const bearerID = "CBTA"

// IsBearerID tells whether a session's id is that of a bearer token.
func IsBearerID(id string) bool { return strings.HasPrefix(id, bearerID) }

// NewSecret makes a secret access key: 240 random bits, 40 characters as AWS's.
func NewSecret() string {
	var b [30]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// Issue makes a token for Session or Invocation. The claims are complete but
// for nothing: id, times and principal are the caller's to set.
//
// Errors: fault.Invalid for claims without a session, a session that lives
// longer than MaxLife or not at all, or claims that are too large to be carried.
func (r *Ring) Issue(p Purpose, c *Claims) (string, error) {
	const op = "token.Issue"
	if p != Session && p != Invocation || c.Secret == "" {
		return "", fault.New(op, fault.Internal, "a session's token needs a purpose and a secret")
	}
	plaintext, err := r.plaintext(op, c)
	if err != nil {
		return "", err
	}
	sealed, _ := r.seal(p, plaintext)
	return text(p, sealed), nil
}

// Open gives what a token for Session or Invocation says.
//
// Errors: ErrInvalid; ErrExpired, and then the claims are given all the same.
func (r *Ring) Open(p Purpose, s string) (*Claims, error) {
	if p != Session && p != Invocation {
		return nil, ErrInvalid
	}
	raw, err := decode(p, s)
	if err != nil {
		return nil, err
	}
	plaintext, _, err := r.open(p, raw)
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(plaintext)
	if err != nil || c.Secret == "" || c.Audience != "" || c.Holder != nil {
		return nil, ErrInvalid
	}
	return c, r.timely(c.Principal.Session)
}

// timely checks a session's times. Its beginning may be ahead of our clock by
// Skew, as another node may have made it; its end is exact.
func (r *Ring) timely(s *call.Session) error {
	now := r.now()
	if s.Issued.After(now.Add(Skew)) || s.Expires.Sub(s.Issued) > MaxLife {
		return ErrInvalid
	}
	if !now.Before(s.Expires) {
		return ErrExpired
	}
	return nil
}

// MaxClaims bounds what a token says, in bytes: its text still goes into a
// request's header.
const MaxClaims = 8 << 10

// Size is how many bytes the claims take, of MaxClaims.
func (c *Claims) Size() int { return len(c.encode(nil)) }

func (r *Ring) plaintext(op string, c *Claims) ([]byte, error) {
	s := c.Principal.Session
	switch {
	case s == nil || s.ID == "" || c.Principal.Account == "":
		return nil, fault.New(op, fault.Internal, "a token needs a principal with a session")
	case !s.Expires.After(s.Issued) || s.Expires.Sub(s.Issued) > MaxLife:
		return nil, fault.New(op, fault.Invalid, "A token lives for at most %s.", MaxLife)
	}
	b := c.encode(nil)
	if len(b) > MaxClaims {
		return nil, fault.New(op, fault.Invalid, "The token would be of %d bytes; at most %d can be carried.", len(b), MaxClaims).
			WithRemedy("Use fewer or shorter tags, and attach policies instead of passing them.")
	}
	return b, nil
}

// schema is the form of what is sealed. Fields are only ever added at the end;
// 1 had no EndTenantOf and no Template.
const schema = 2

// mostItems bounds every list in a token.
const mostItems = 64

func (c *Claims) encode(b []byte) []byte {
	p, s := &c.Principal, c.Principal.Session
	b = fields.Uint(b, schema)
	for _, text := range [...]string{
		string(p.Type), p.ARN, string(p.Account), string(p.Tenant), p.UserID,
		s.ID, s.Issuer, string(s.IssuerUID), s.Name, s.SourceIdentity, string(s.EndTenant), string(s.EndTenantUID),
		s.RequestID, s.FunctionVersion, s.Provider, flag(s.Chained),
		c.Secret, c.Audience, c.Listener, string(c.Holder),
	} {
		b = fields.Text(b, text)
	}
	b = fields.Int(b, s.Issued.Unix())
	b = fields.Int(b, s.Expires.Unix())
	tags := make([]string, 0, 2*len(s.Tags))
	for _, t := range s.Tags {
		tags = append(tags, t.Key, t.Value)
	}
	for _, list := range [...][]string{tags, s.Transitive, s.Policies, s.Managed, s.Caps, s.From} {
		b = fields.Uint(b, uint64(len(list)))
		for _, text := range list {
			b = fields.Text(b, text)
		}
	}
	b = fields.Text(b, s.EndTenantOf)
	return fields.Text(b, s.Template)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}

func parseClaims(b []byte) (*Claims, error) {
	f, version, err := fields.Read(b, schema)
	if err != nil {
		return nil, ErrInvalid
	}
	c, s := &Claims{}, &call.Session{}
	p := &c.Principal
	p.Session = s
	p.Type, p.ARN = call.PrincipalType(f.Text()), f.Text()
	p.Account, p.Tenant, p.UserID = tenant.AccountID(f.Text()), tenant.Slug(f.Text()), f.Text()
	s.ID, s.Issuer, s.IssuerUID, s.Name, s.SourceIdentity = f.Text(), f.Text(), tenant.UID(f.Text()), f.Text(), f.Text()
	s.EndTenant, s.EndTenantUID = tenant.EndTenantID(f.Text()), tenant.UID(f.Text())
	s.RequestID, s.FunctionVersion, s.Provider, s.Chained = f.Text(), f.Text(), f.Text(), f.Text() != ""
	c.Secret, c.Audience, c.Listener = f.Text(), f.Text(), f.Text()
	if holder := f.Bytes(); len(holder) == ed25519.PublicKeySize {
		c.Holder = ed25519.PublicKey(holder)
	} else if len(holder) > 0 {
		f.Fail()
	}
	s.Issued, s.Expires = time.Unix(f.Int(), 0).UTC(), time.Unix(f.Int(), 0).UTC()
	tags := list(f, 2*mostItems)
	for i := 0; i+1 < len(tags); i += 2 {
		s.Tags = append(s.Tags, call.Tag{Key: tags[i], Value: tags[i+1]})
	}
	s.Transitive, s.Policies, s.Managed = list(f, mostItems), list(f, mostItems), list(f, mostItems)
	s.Caps, s.From = list(f, mostItems), list(f, mostItems)
	if version >= 2 {
		s.EndTenantOf, s.Template = tenant.AccountID(f.Text()), tenant.UID(f.Text())
	}
	if f.Done() != nil || s.ID == "" || p.Account == "" {
		return nil, ErrInvalid
	}
	p.AccessKeyID = s.ID
	return c, nil
}

func list(f *fields.Reader, most uint64) []string {
	n := f.Uint()
	if n > most {
		f.Fail()
		return nil
	}
	var all []string
	for range n {
		all = append(all, f.Text())
	}
	return all
}
