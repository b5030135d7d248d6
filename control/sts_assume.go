package control

import (
	"context"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// AssumeRoleInput asks for a session of a role. Seconds is an hour if zero.
type AssumeRoleInput struct {
	RoleARN     string
	SessionName string
	Seconds     int
	ExternalID  string
	// SourceIdentity stays with all sessions made from this one.
	SourceIdentity string
	// Transitive are keys of Tags that sessions made from this one inherit.
	Transitive []string
	SessionBounds
}

// AskAssumeRole checks what can be checked without the role, and gives what
// has to be granted for AssumeRole: the action itself, and those of setting
// tags and a source identity where the session will have any, its own or
// inherited. The trust policy sees inherited tags as tags of the request too.
//
// Errors: ValidationError, InvalidInput, InvalidParameterValue; fault.Denied, which is
// journaled, for a caller that may assume no role at all.
func (s *Service) AskAssumeRole(ctx context.Context, p call.Principal, in AssumeRoleInput) ([]iam.Request, error) {
	const op = "control.AssumeRole"
	account := directory.AccountIn(in.RoleARN)
	if account == "" || !strings.HasPrefix(in.RoleARN, "arn:aws:iam::"+string(account)+":role/") || len(in.RoleARN) > 2048 {
		return nil, fault.New(op, fault.Invalid, "%s is invalid", printable(in.RoleARN)).WithCode("ValidationError")
	}
	if !sessionNameForm.MatchString(in.SessionName) {
		return nil, breaks(op, in.SessionName, "roleSessionName", `Member must satisfy regular expression pattern: [\w+=,.@-]{2,64}`)
	}
	if in.ExternalID != "" && (len(in.ExternalID) > maxExternalID || !externalIDForm.MatchString(in.ExternalID)) {
		return nil, breaks(op, in.ExternalID, "externalId", `Member must satisfy regular expression pattern: [\w+=,.@:\/-]{2,1224}`)
	}
	if in.SourceIdentity != "" && (!sessionNameForm.MatchString(in.SourceIdentity) || strings.HasPrefix(strings.ToLower(in.SourceIdentity), reservedByAWS)) {
		return nil, breaks(op, in.SourceIdentity, "sourceIdentity", `Member must satisfy regular expression pattern: [\w+=,.@-]{2,64}`)
	}
	if err := checkIAMTags(op, in.Tags); err != nil {
		return nil, err
	}
	var h heritage
	err := mayAssume(op, &p, account)
	if err == nil {
		h, err = inherit(op, &p, &in)
	}
	if err != nil {
		return nil, s.refused(ctx, iam.Request{Principal: p, Action: ActionAssumeRole, Resource: in.RoleARN, Owner: tenant.Identity{Account: account}}, err)
	}
	return h.questions(p, in), nil
}

// mayAssume refuses callers that no policy could allow to assume a role.
func mayAssume(op string, p *call.Principal, account tenant.AccountID) error {
	refuse := func(why string) error { return fault.New(op, fault.Denied, "%s", why).WithCode("AccessDenied") }
	s := p.Session
	switch {
	case p.Type != call.TypeUser && p.Type != call.TypeRole:
		return refuse("Credentials of a federated user cannot assume a role.")
	case s == nil:
		return nil
	case s.EndTenant != "" && p.Account != account:
		return refuse("A session that acts for an end tenant cannot leave its account.")
	case len(s.From) >= call.MaxChain:
		return refuse("The session comes from a chain of sessions that is too long.")
	}
	return nil
}

// heritage is what a session has from the one that asked for it, together
// with what was asked for.
type heritage struct {
	// tags are those that were asked for, and after them those inherited.
	tags           []call.Tag
	transitive     []string
	sourceIdentity string
}

func inherit(op string, p *call.Principal, in *AssumeRoleInput) (heritage, error) {
	h := heritage{tags: slices.Clone(in.Tags), transitive: slices.Clone(in.Transitive), sourceIdentity: in.SourceIdentity}
	for _, key := range in.Transitive {
		if !hasTag(in.Tags, key) {
			return h, fault.New(op, fault.Invalid, "The specified transitive tag key must be included in the requested tags.").WithCode("InvalidParameterValue")
		}
	}
	s := p.Session
	if s == nil {
		return h, nil
	}
	for _, t := range s.Tags {
		if !slices.ContainsFunc(s.Transitive, func(key string) bool { return strings.EqualFold(key, t.Key) }) {
			continue
		}
		if hasTag(in.Tags, t.Key) {
			return h, fault.New(op, fault.Invalid, "One of the specified tag keys conflicts with a transitive tag of the calling session.").
				WithCode("InvalidParameterValue")
		}
		h.tags, h.transitive = append(h.tags, t), append(h.transitive, t.Key)
	}
	if s.SourceIdentity != "" {
		if in.SourceIdentity != "" && in.SourceIdentity != s.SourceIdentity {
			return h, fault.New(op, fault.Denied, "The source identity cannot be changed.").WithCode("AccessDenied")
		}
		h.sourceIdentity = s.SourceIdentity
	}
	return h, nil
}

func hasTag(tags []call.Tag, key string) bool {
	return slices.ContainsFunc(tags, func(t call.Tag) bool { return strings.EqualFold(t.Key, key) })
}

func (h *heritage) questions(p call.Principal, in AssumeRoleInput) []iam.Request {
	keys := append([]iam.Key{{Name: "sts:rolesessionname", Values: []string{in.SessionName}}}, iam.RequestTags(h.tags)...)
	if in.ExternalID != "" {
		keys = append(keys, iam.Key{Name: "sts:externalid", Values: []string{in.ExternalID}})
	}
	if len(h.transitive) > 0 {
		keys = append(keys, iam.Key{Name: "sts:transitivetagkeys", Values: h.transitive, Multiple: true})
	}
	if h.sourceIdentity != "" {
		keys = append(keys, iam.Key{Name: "sts:sourceidentity", Values: []string{h.sourceIdentity}})
	}
	r := iam.Request{
		Principal: p, Action: ActionAssumeRole, Resource: in.RoleARN,
		Owner: tenant.Identity{Account: directory.AccountIn(in.RoleARN)}, Keys: keys,
	}
	all := []iam.Request{r}
	if len(h.tags) > 0 {
		r.Action = ActionTagSession
		all = append(all, r)
	}
	if h.sourceIdentity != "" {
		r.Action = ActionSetSourceIdentity
		all = append(all, r)
	}
	return all
}

// AssumeRole gives a session of a role. The grants are for what AskAssumeRole
// gives; the first one is g. The session ends with the one that asked for it
// at the latest, and has all its caps.
//
// Errors: as of AskAssumeRole; MalformedPolicyDocument, PackedPolicyTooLarge;
// fault.Denied where a part is not granted, or in a chain of calls.
func (s *Service) AssumeRole(ctx context.Context, g iam.Grant, also []iam.Grant, in AssumeRoleInput) (made SessionCredentials, err error) {
	const op = "control.AssumeRole"
	if err := g.Check(ActionAssumeRole, in.RoleARN); err != nil {
		return made, err
	}
	p := g.Request().Principal
	asked, err := s.AskAssumeRole(ctx, p, in)
	if err != nil {
		return made, err
	}
	if len(g.Request().Chain) > 0 {
		// What callers of a call may not do could not be said in a session.
		return made, s.refused(ctx, g.Request(), fault.New(op, fault.Denied, "A function that was called cannot make credentials.").WithCode("AccessDenied"))
	}
	r, found := s.identitiesOf(asked[0].Owner.Account).Role(in.RoleARN)
	if !found {
		return made, fault.New(op, fault.Denied, "The role %s is not there any more.", printable(in.RoleARN)).WithCode("AccessDenied")
	}
	role := r.Record
	if in.Seconds, err = sessionSeconds(op, &p, role, in.Seconds); err != nil {
		return made, err
	}
	h, err := inherit(op, &p, &in)
	if err != nil {
		return made, err
	}
	packed, err := s.checkBounds(op, role.Account, &in.SessionBounds, h.tags[len(in.Tags):]...)
	if err != nil {
		return made, err
	}
	done, err := s.issuing(ctx, append([]iam.Grant{g}, also...), asked)
	if err != nil {
		return made, err
	}
	defer func() { done(err) }()
	now := s.second()
	session := &call.Session{
		Tags: h.tags, Transitive: h.transitive, SourceIdentity: h.sourceIdentity,
		Issued: now, Expires: s.within(&p, now, in.Seconds), Policies: in.policies(), Managed: slices.Clone(in.PolicyARNs), From: from(&p),
	}
	if old := p.Session; old != nil {
		session.Caps, session.Chained = slices.Clone(old.Caps), p.Type == call.TypeRole
		session.EndTenant, session.EndTenantUID = old.EndTenant, old.EndTenantUID
		session.EndTenantOf = old.EndTenantOf
		session.RequestID, session.FunctionVersion = old.RequestID, old.FunctionVersion
	}
	return s.dealRole(role, in.SessionName, session, packed)
}

// sessionSeconds gives how long a session of a role may be.
func sessionSeconds(op string, p *call.Principal, role *directory.Role, seconds int) (int, error) {
	if seconds == 0 {
		seconds = defaultSession
	}
	most := role.MaxSession
	if most == 0 {
		most = defaultSession
	}
	if err := checkSeconds(op, seconds, maxSession); err != nil {
		return 0, err
	}
	if p.Type == call.TypeRole && seconds > maxChained {
		return 0, fault.New(op, fault.Invalid, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining").
			WithCode("ValidationError")
	}
	if seconds > most {
		return 0, fault.New(op, fault.Invalid, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.").WithCode("ValidationError")
	}
	return seconds, nil
}

// dealRole makes the credentials of a role's session.
func (s *Service) dealRole(role *directory.Role, name string, session *call.Session, packed int) (SessionCredentials, error) {
	a, found := s.ix.accounts.get(role.Account)
	if !found {
		return SessionCredentials{}, fault.New("control.AssumeRole", fault.Denied, "The account %s is not there.", role.Account)
	}
	session.Issuer, session.IssuerUID, session.Name = role.ARN, role.UID, name
	return s.deal(call.Principal{
		Type: call.TypeRole, ARN: "arn:aws:sts::" + string(role.Account) + ":assumed-role/" + role.Name + "/" + name,
		Account: role.Account, Tenant: a.Slug, UserID: role.ID + ":" + name, Session: session,
	}, packed)
}
