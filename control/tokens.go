package control

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/tenant"
)

// ActionCreateToken is the action of CreateToken.
const ActionCreateToken = "carrel:CreateToken"

// Listener is the name of the node's one port in bearer tokens.
const Listener = "gateway"

// The audiences of bearer tokens: the service names of the APIs that take them.
const (
	AudienceLambda = "lambda"
	AudienceCarrel = "carrel"
)

// CreateTokenInput asks for a bearer token of the caller's own.
type CreateTokenInput struct {
	// Audience is AudienceLambda or AudienceCarrel.
	Audience string
	// Life is token.DefaultBearerLife if zero.
	Life time.Duration
	// Scope is a policy that has to allow everything that is asked with the
	// token; it grants nothing.
	Scope string
	// Holder is the client's key that the token is bound to; nil for none.
	Holder ed25519.PublicKey
}

// NewToken is a bearer token as the act that makes it gives it. Printed or
// logged, it shows no secret.
type NewToken struct {
	ID, Token string
	Expires   time.Time
}

// String names the token without its text.
func (t NewToken) String() string { return "bearer token " + t.ID }

// GoString is String, for the verb that prints everything.
func (t NewToken) GoString() string { return t.String() }

// TokenResource is the resource of operations on an account's bearer tokens.
func (s *Service) TokenResource(account tenant.AccountID) string {
	return "arn:aws:carrel:" + s.cfg.Region + ":" + string(account) + ":token/*"
}

// CreateToken makes a bearer token that stands for the caller, bounded by the
// scope and by everything that bounds the caller: it lives no longer, and has
// its session policies and caps.
//
// Errors: fault.Invalid for a token that would live too long, with more than
// an hour for one that is bound to no key, or for a scope that is no policy;
// fault.Denied for a caller that came with a bearer token, who narrows that.
func (s *Service) CreateToken(ctx context.Context, g iam.Grant, in CreateTokenInput) (made NewToken, err error) {
	const op = "control.CreateToken"
	r := g.Request()
	p := r.Principal
	if err := g.Check(ActionCreateToken, s.TokenResource(p.Account)); err != nil {
		return made, err
	}
	if err := checkToken(op, &r, &in); err != nil {
		return made, s.refused(ctx, r, err)
	}
	done, err := s.issuing(ctx, []iam.Grant{g}, []iam.Request{r})
	if err != nil {
		return made, err
	}
	defer func() { done(err) }()
	session := &call.Session{}
	if p.Session != nil {
		copied := *p.Session
		session = &copied
	} else {
		u, err := s.asker(op, &p)
		if err != nil {
			return made, err
		}
		session.Issuer, session.IssuerUID = u.ARN, u.UID
	}
	session.From = from(&p)
	session.Caps = append(slices.Clone(session.Caps), in.Scope)
	session.ID = token.NewBearerID()
	session.Issued = s.second()
	session.Expires = s.within(&p, session.Issued, int(in.Life/time.Second))
	p.AccessKeyID, p.Session, p.Origin = session.ID, session, call.Origin{}
	text, err := s.tokens.IssueBearer(&token.Claims{Principal: p, Audience: in.Audience, Listener: Listener, Holder: in.Holder})
	if err != nil {
		return made, err
	}
	return NewToken{ID: session.ID, Token: text, Expires: session.Expires}, nil
}

func checkToken(op string, r *iam.Request, in *CreateTokenInput) error {
	p := &r.Principal
	switch {
	case len(r.Chain) > 0, p.Type != call.TypeUser && p.Type != call.TypeRole && p.Type != call.TypeFederated,
		p.Session != nil && (token.IsBearerID(p.Session.ID) || p.Session.RequestID != ""):
		return fault.New(op, fault.Denied, "A bearer token, or a call, cannot make another token.").WithCode("AccessDenied").
			WithRemedy("Narrow the token with carrel token narrow.")
	case p.Session != nil && p.Session.RequestID != "":
		return fault.New(op, fault.Denied, "Credentials that end with a call cannot make a token, which would not.").WithCode("AccessDenied")
	case p.Session != nil && len(p.Session.From) >= call.MaxChain:
		return fault.New(op, fault.Denied, "The session comes from a chain of sessions that is too long.").WithCode("AccessDenied")
	case in.Audience != AudienceLambda && in.Audience != AudienceCarrel:
		return invalid(op, "There is no API %q that takes tokens; there are %q and %q.", printable(in.Audience), AudienceLambda, AudienceCarrel)
	}
	if in.Life == 0 {
		in.Life = token.DefaultBearerLife
	}
	if in.Life < time.Second || in.Life > token.MaxLife {
		return invalid(op, "A token lives from 1 s to %s.", token.MaxLife)
	}
	var refused *policy.Error
	if _, _, err := policy.Parse(policy.Session, []byte(in.Scope)); errors.As(err, &refused) {
		return fault.New(op, fault.Invalid, "The scope is refused. %s: %s", refused.Path, refused.Message).
			WithCode("MalformedPolicyDocument").WithRemedy("%s", refused.Remedy)
	} else if err != nil {
		return malformedPolicy(op, "The scope is refused: %s", err)
	}
	return nil
}
