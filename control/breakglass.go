package control

import (
	"context"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// ActionBreakGlass takes on a role of a tenant as an operator.
const ActionBreakGlass = "carrel:BreakGlass"

// The bounds of a session by which an operator is in a tenant's account, in
// seconds.
const (
	minBreakGlass     = 60
	defaultBreakGlass = 900
	maxBreakGlass     = 3600
)

// BreakGlassInput names the role of a tenant that an operator takes on, and
// says why. Seconds are a quarter of an hour if zero, an hour at most.
type BreakGlassInput struct {
	Tenant  tenant.Slug
	Role    string
	Reason  string
	Seconds int
}

// BreakGlassResource is the resource of taking on a role of a tenant. It is
// the operators' to allow, so it is the management account's.
func (s *Service) BreakGlassResource(slug tenant.Slug, role string) string {
	return s.ours("break-glass/" + string(slug) + "/" + role)
}

// BreakGlass gives an operator a session of a tenant's role, without the trust
// policy being asked: operators hold no rights on what tenants hold, and this
// is the one way around that. It ends by itself, the tenant finds it with its
// reason in its audit log, and all that is done with it too, as the session's
// name says what it is. The grant is for ActionBreakGlass on the
// BreakGlassResource.
//
// Errors: fault.NotFound; fault.Invalid without a reason, or for too long.
func (s *Service) BreakGlass(ctx context.Context, g iam.Grant, in BreakGlassInput) (made SessionCredentials, err error) {
	const op = "control.BreakGlass"
	id, _ := s.ix.slugs.get(in.Tenant)
	ctx = iam.WithNote(ctx, iam.Note{Reason: in.Reason, Concerns: id})
	a, err := s.begin(ctx, g, ActionBreakGlass, s.BreakGlassResource(in.Tenant, in.Role))
	if err != nil {
		return made, err
	}
	defer a.end(&err)
	if err := checkReason(op, in.Reason); err != nil {
		return made, err
	}
	if in.Seconds == 0 {
		in.Seconds = defaultBreakGlass
	}
	if in.Seconds < minBreakGlass || in.Seconds > maxBreakGlass {
		return made, invalid(op, "The session can last %d to %d seconds.", minBreakGlass, maxBreakGlass)
	}
	p := g.Request().Principal
	if len(g.Request().Chain) > 0 || p.Session != nil && p.Session.EndTenant != "" {
		return made, fault.New(op, fault.Denied, "A function cannot break glass.").WithCode("AccessDeniedException")
	}
	of, err := s.tenantNamed(op, string(in.Tenant))
	if err != nil {
		return made, err
	}
	if of.Account == s.management || of.Status == tenant.Closing {
		return made, invalid(op, "%q is no tenant that is served.", in.Tenant)
	}
	r, found := s.identitiesOf(of.Account).Roles.Get(in.Role)
	if !found {
		return made, fault.New(op, fault.NotFound, "The tenant %q has no role %q.", in.Tenant, printable(in.Role)).WithCode("ResourceNotFoundException")
	}
	now := s.second()
	session := &call.Session{Issued: now, Expires: s.within(&p, now, in.Seconds), From: from(&p), Chained: p.Type == call.TypeRole}
	if p.Session != nil {
		session.Caps = p.Session.Caps
	}
	return s.dealRole(r.Record, "break-glass", session, 0)
}
