package control

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/oidc"
	"github.com/carrel-dev/carrel/tenant"
)

// WebIdentities verifies tokens of identity providers; oidc.Verifier is one.
type WebIdentities interface {
	// Verify gives what a token of the provider says; errors as of oidc.Verifier.
	Verify(ctx context.Context, token string, p oidc.Provider) (*oidc.Claims, error)
}

// AssumeWebInput asks for a session of a role with a token of an identity
// provider. Seconds is an hour if zero. The Tags of SessionBounds are not
// asked for: they are those of the claims that the provider's ClaimTags list.
type AssumeWebInput struct {
	RoleARN     string
	SessionName string
	Seconds     int
	Token       string
	SessionBounds
}

// WebIdentity is who a token was verified to stand for. Only
// AskAssumeRoleWithWebIdentity makes one.
type WebIdentity struct {
	in       AssumeWebInput
	provider *directory.Provider
	claims   *oidc.Claims
	asked    []iam.Request
}

// WebSession is what AssumeRoleWithWebIdentity gives.
type WebSession struct {
	SessionCredentials
	// Subject and Audience are the token's; Provider is the ARN of its issuer.
	Subject, Audience, Provider string
}

// resource is the role that is asked for; none for no identity.
func (w *WebIdentity) resource() string {
	if w == nil || w.provider == nil {
		return ""
	}
	return w.in.RoleARN
}

// Asked gives what has to be granted.
func (w *WebIdentity) Asked() []iam.Request { return w.asked }

// AskAssumeRoleWithWebIdentity verifies the token and gives who it stands
// for, with what has to be granted: the action, and that of setting tags where
// claims set any. The provider has to be the role's account's own. Whether
// there is a role is not told by it.
//
// A refusal is in the account's audit log.
//
// Errors: ValidationError; InvalidIdentityToken, also for an account or
// provider that is not there; ExpiredTokenException, IDPRejectedClaim,
// IDPCommunicationError.
func (s *Service) AskAssumeRoleWithWebIdentity(ctx context.Context, from call.Origin, in AssumeWebInput) (*WebIdentity, error) {
	const op = "control.AssumeRoleWithWebIdentity"
	account := directory.AccountIn(in.RoleARN)
	if account == "" || !strings.HasPrefix(in.RoleARN, "arn:aws:iam::"+string(account)+":role/") || len(in.RoleARN) > 2048 {
		return nil, fault.New(op, fault.Invalid, "%s is invalid", printable(in.RoleARN)).WithCode("ValidationError")
	}
	if !sessionNameForm.MatchString(in.SessionName) {
		return nil, breaks(op, in.SessionName, "roleSessionName", `Member must satisfy regular expression pattern: [\w+=,.@-]{2,64}`)
	}
	if s.cfg.WebIdentities == nil {
		return nil, fault.New(op, fault.Unsupported, "This node verifies no tokens of identity providers.").WithCode("InvalidAction")
	}
	w, err := s.verifyWeb(ctx, account, in)
	if err != nil {
		if _, known := s.ix.accounts.get(account); known {
			s.cfg.Journal.Refuse(ctx, iam.Request{
				Principal: call.Principal{Type: call.TypeAnonymous, ARN: "anonymous", Origin: from},
				Action:    ActionAssumeRoleWeb, Resource: in.RoleARN, Owner: tenant.Identity{Account: account},
			}, requestID(ctx), err)
		}
		return nil, err
	}
	w.asked = w.questions(from)
	return w, nil
}

// verifyWeb finds the provider that a token names and has the token verified.
func (s *Service) verifyWeb(ctx context.Context, account tenant.AccountID, in AssumeWebInput) (*WebIdentity, error) {
	const op = "control.AssumeRoleWithWebIdentity"
	issuer, err := oidc.Issuer(in.Token)
	if err != nil {
		return nil, err
	}
	entry, found := s.identitiesOf(account).Providers.Get(ProviderResource(account, issuer))
	if !found {
		return nil, oidc.Unverified()
	}
	w := &WebIdentity{in: in, provider: entry.Record}
	w.claims, err = s.cfg.WebIdentities.Verify(ctx, in.Token, oidc.Provider{
		Account: account, Issuer: w.provider.URL, ClientIDs: w.provider.ClientIDs,
	})
	if err != nil {
		return nil, err
	}
	w.in.Tags, err = claimTags(op, w.provider, w.claims)
	return w, err
}

// claimTags gives the session tags that claims set: those that the provider's
// record lists, and no others. A claim that is not there sets none.
func claimTags(op string, p *directory.Provider, c *oidc.Claims) ([]call.Tag, error) {
	rejected := func(claim, why string) error {
		return fault.New(op, fault.Denied, "The claim %s cannot be a session tag: %s.", printable(claim), why).WithCode("IDPRejectedClaim")
	}
	var tags []call.Tag
	for _, claim := range slices.Sorted(maps.Keys(p.ClaimTags)) {
		value, found, err := c.Text(claim)
		if err != nil {
			return nil, rejected(claim, "it is a list or an object")
		}
		if !found {
			continue
		}
		tag := call.Tag{Key: p.ClaimTags[claim], Value: value}
		if err := checkIAMTags(op, append(slices.Clone(tags), tag)); err != nil {
			return nil, rejected(claim, fault.From(op, err).Message)
		}
		tags = append(tags, tag)
	}
	return tags, nil
}

// questions are asked for the provider's identity, which no policy but a
// role's trust policy can allow anything.
func (w *WebIdentity) questions(from call.Origin) []iam.Request {
	account := w.provider.Account
	host := strings.TrimPrefix(w.provider.ARN, ProviderResource(account, ""))
	one := func(name, value string) iam.Key { return iam.Key{Name: name, Values: []string{value}} }
	keys := append([]iam.Key{
		one(host+":sub", w.claims.Subject), one(host+":aud", w.claims.Party), one(host+":oaud", w.claims.Audience),
		one("sts:rolesessionname", w.in.SessionName),
	}, iam.RequestTags(w.in.Tags)...)
	if len(w.claims.Methods) > 0 {
		keys = append(keys, iam.Key{Name: host + ":amr", Values: w.claims.Methods, Multiple: true})
	}
	r := iam.Request{
		Principal: call.Principal{
			Type: call.TypeWebIdentity, ARN: w.provider.ARN, Account: account,
			UserID: w.provider.ARN + ":" + w.claims.Party + ":" + w.claims.Subject, Origin: from,
		},
		Action: ActionAssumeRoleWeb, Resource: w.in.RoleARN, Owner: tenant.Identity{Account: account}, Keys: keys,
	}
	all := []iam.Request{r}
	if len(w.in.Tags) > 0 {
		r.Action = ActionTagSession
		all = append(all, r)
	}
	return all
}

// AssumeRoleWithWebIdentity gives a session of a role to who a token stands
// for. The grants are for what the identity asks; the first one is g. The
// session may outlive the token, as on AWS: a token says who somebody is, and
// not what it may do for how long, which the role does.
//
// Errors: MalformedPolicyDocument, PackedPolicyTooLarge, ValidationError;
// fault.Denied where a part is not granted.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, g iam.Grant, also []iam.Grant, w *WebIdentity) (made WebSession, err error) {
	const op = "control.AssumeRoleWithWebIdentity"
	if err := g.Check(ActionAssumeRoleWeb, w.resource()); err != nil {
		return made, err
	}
	account := w.provider.Account
	if now, found := s.identitiesOf(account).Providers.Get(w.provider.ARN); !found || now.Record.CreatedAt != w.provider.CreatedAt {
		return made, fault.New(op, fault.Denied, "The identity provider is not there any more.").WithCode("AccessDenied")
	}
	r, found := s.identitiesOf(account).Role(w.in.RoleARN)
	if !found {
		return made, fault.New(op, fault.Denied, "The role %s is not there any more.", printable(w.in.RoleARN)).WithCode("AccessDenied")
	}
	principal := g.Request().Principal
	seconds, err := sessionSeconds(op, &principal, r.Record, w.in.Seconds)
	if err != nil {
		return made, err
	}
	packed, err := s.checkBounds(op, account, &w.in.SessionBounds)
	if err != nil {
		return made, err
	}
	done, err := s.issuing(ctx, append([]iam.Grant{g}, also...), w.asked)
	if err != nil {
		return made, err
	}
	defer func() { done(err) }()
	now := s.second()
	c, err := s.dealRole(r.Record, w.in.SessionName, &call.Session{
		Tags: slices.Clone(w.in.Tags), Issued: now, Expires: s.within(&principal, now, seconds), Provider: w.provider.ARN,
		Policies: w.in.policies(), Managed: slices.Clone(w.in.PolicyARNs),
	}, packed)
	return WebSession{SessionCredentials: c, Subject: w.claims.Subject, Audience: w.claims.Party, Provider: w.provider.ARN}, err
}
