package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/fields"
)

// The bounds of bearer tokens.
const (
	// DefaultBearerLife is how long a bearer token lives if nothing is said.
	DefaultBearerLife = 15 * time.Minute
	// MaxUnboundLife is the longest that one lives which is not bound to a
	// client's key.
	MaxUnboundLife = time.Hour
	// MaxCaps is the most caps of one token, those of its root included, and
	// MaxCapBytes the most bytes of all of them.
	MaxCaps     = 8
	MaxCapBytes = 4 << 10
)

// Cap narrows a bearer token.
type Cap struct {
	// Policy is a session policy that has to allow too; empty if the cap is
	// about time alone.
	Policy string
	// NotAfter ends the token earlier; zero if it does not.
	NotAfter time.Time
}

func (c Cap) encode() []byte {
	b := fields.Uint(nil, schema)
	b = fields.Text(b, c.Policy)
	var end int64
	if !c.NotAfter.IsZero() {
		end = c.NotAfter.Unix()
	}
	return fields.Int(b, end)
}

func parseCap(b []byte) (Cap, error) {
	f, _, err := fields.Read(b, schema)
	if err != nil {
		return Cap{}, ErrInvalid
	}
	c := Cap{Policy: f.Text()}
	end := f.Int()
	if end != 0 {
		c.NotAfter = time.Unix(end, 0).UTC()
	}
	if f.Done() != nil || c.Policy == "" && end == 0 {
		return Cap{}, ErrInvalid
	}
	return c, nil
}

// BearerToken is a bearer token taken apart: a sealed root block that only
// nodes can read, the caps that holders appended, and the tag over all of it.
type BearerToken struct {
	root []byte
	caps [][]byte
	tag  [sha256.Size]byte
}

// ParseBearer takes a bearer token apart. It proves nothing: only a node can
// tell whether the token is genuine. The error is ErrInvalid.
func ParseBearer(s string) (*BearerToken, error) {
	raw, err := decode(Bearer, s)
	if err != nil {
		return nil, err
	}
	f, _, err := fields.Read(raw, schema)
	if err != nil {
		return nil, ErrInvalid
	}
	t := &BearerToken{root: f.Bytes()}
	n := f.Uint()
	if n > MaxCaps {
		return nil, ErrInvalid
	}
	size := 0
	for range n {
		c := f.Bytes()
		if _, err := parseCap(c); err != nil {
			return nil, ErrInvalid
		}
		size += len(c)
		t.caps = append(t.caps, c)
	}
	tag := f.Bytes()
	if f.Done() != nil || len(tag) != sha256.Size || size > MaxCapBytes {
		return nil, ErrInvalid
	}
	copy(t.tag[:], tag)
	if t.Text() != s {
		return nil, ErrInvalid // one token has one spelling
	}
	return t, nil
}

// Text gives the token as it is sent.
func (t *BearerToken) Text() string {
	b := fields.Uint(nil, schema)
	b = fields.Text(b, t.root)
	b = fields.Uint(b, uint64(len(t.caps)))
	for _, c := range t.caps {
		b = fields.Text(b, c)
	}
	return text(Bearer, fields.Text(b, t.tag[:]))
}

// Caps gives the caps that holders appended, the oldest first. Those of the
// root block are sealed.
func (t *BearerToken) Caps() []Cap {
	all := make([]Cap, 0, len(t.caps))
	for _, raw := range t.caps {
		c, _ := parseCap(raw) // it was parsed before
		all = append(all, c)
	}
	return all
}

// Narrow gives the token with one more cap. The tag of this one, with which
// the cap could be taken off again, is not in it.
//
// Errors: fault.Invalid for an empty cap, one too many, or too large ones.
func (t *BearerToken) Narrow(c Cap) (*BearerToken, error) {
	const op = "token.Narrow"
	raw := c.encode()
	if _, err := parseCap(raw); err != nil {
		return nil, fault.New(op, fault.Invalid, "A cap needs a policy or a time.")
	}
	size := len(raw)
	for _, c := range t.caps {
		size += len(c)
	}
	if len(t.caps) >= MaxCaps || size > MaxCapBytes {
		return nil, fault.New(op, fault.Invalid, "A token holds at most %d caps of together %d bytes.", MaxCaps, MaxCapBytes).
			WithRemedy("Narrow an earlier token by one cap that says all of it.")
	}
	next := &BearerToken{root: t.root, caps: append(t.caps[:len(t.caps):len(t.caps)], raw), tag: link(t.tag, raw)}
	return next, nil
}

// link gives the tag after one more block.
func link(tag [sha256.Size]byte, block []byte) (next [sha256.Size]byte) {
	m := hmac.New(sha256.New, tag[:])
	m.Write(block) // a hash never fails
	m.Sum(next[:0])
	return next
}

// IssueBearer makes a bearer token. Audience, Listener, id, times and
// principal are the caller's to set.
//
// Errors: fault.Invalid for a token that lives for more than MaxUnboundLife
// and is bound to no key, and as for Issue.
func (r *Ring) IssueBearer(c *Claims) (string, error) {
	const op = "token.IssueBearer"
	if c.Secret != "" || c.Audience == "" || c.Listener == "" {
		return "", fault.New(op, fault.Internal, "a bearer token needs an audience and a listener, and has no secret")
	}
	plaintext, err := r.plaintext(op, c)
	if err != nil {
		return "", err
	}
	s := c.Principal.Session
	if c.Holder == nil && s.Expires.Sub(s.Issued) > MaxUnboundLife {
		return "", fault.New(op, fault.Invalid, "A bearer token that whoever has it may use lives for at most %s.", MaxUnboundLife).
			WithRemedy("Bind it to a key of the client, or ask for a shorter life.")
	}
	if !capsFit(s.Caps) {
		return "", fault.New(op, fault.Invalid, "A token holds at most %d caps of together %d bytes.", MaxCaps, MaxCapBytes)
	}
	root, k := r.seal(Bearer, plaintext)
	t := &BearerToken{root: root, tag: link(k.chain, root)}
	return t.Text(), nil
}

func capsFit(caps []string) bool {
	size := 0
	for _, c := range caps {
		size += len(c)
	}
	return len(caps) <= MaxCaps && size <= MaxCapBytes
}

// OpenBearer gives what a bearer token says, its caps included: in
// Session.Caps after those of the root block, and in Session.Expires. Whether
// audience, listener and holder are the right ones is the caller's to check.
//
// Errors: ErrInvalid; ErrExpired, and then the claims are given all the same.
func (r *Ring) OpenBearer(s string) (*Claims, error) {
	t, err := ParseBearer(s)
	if err != nil {
		return nil, err
	}
	plaintext, k, err := r.open(Bearer, t.root)
	if err != nil {
		return nil, err
	}
	tag := link(k.chain, t.root)
	for _, c := range t.caps {
		tag = link(tag, c)
	}
	if !hmac.Equal(tag[:], t.tag[:]) {
		return nil, ErrInvalid
	}
	c, err := parseClaims(plaintext)
	if err != nil || c.Secret != "" || c.Audience == "" {
		return nil, ErrInvalid
	}
	session := c.Principal.Session
	for _, narrower := range t.Caps() {
		if narrower.Policy != "" {
			session.Caps = append(session.Caps, narrower.Policy)
		}
		if end := narrower.NotAfter; !end.IsZero() && end.Before(session.Expires) {
			session.Expires = end
		}
	}
	if !capsFit(session.Caps) {
		return nil, ErrInvalid
	}
	return c, r.timely(session)
}
