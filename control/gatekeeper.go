package control

import (
	"context"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// GatekeeperInput names a role of a tenant that is marked as a gatekeeper, and
// says why. A gatekeeper's callers do not bound what it may do with the
// resources of its own account. Unmarking needs no reason.
type GatekeeperInput struct {
	Tenant tenant.Slug
	Role   string
	Reason string
}

// GatekeeperResource is the resource of marking a role. Marks are the
// operators' to set, so it is the management account's.
func (s *Service) GatekeeperResource(slug tenant.Slug, role string) string {
	return s.ours("gatekeeper/" + string(slug) + "/" + role)
}

// MarkGatekeeper marks a role. The grant is for ActionMarkGatekeeper on the
// GatekeeperResource.
//
// Errors: fault.NotFound; fault.Invalid without a reason.
func (s *Service) MarkGatekeeper(ctx context.Context, g iam.Grant, in GatekeeperInput) error {
	return s.setGatekeeper(ctx, g, ActionMarkGatekeeper, in)
}

// UnmarkGatekeeper ends a mark. The grant is for ActionUnmarkGatekeeper on the
// GatekeeperResource.
func (s *Service) UnmarkGatekeeper(ctx context.Context, g iam.Grant, in GatekeeperInput) error {
	return s.setGatekeeper(ctx, g, ActionUnmarkGatekeeper, in)
}

func (s *Service) setGatekeeper(ctx context.Context, g iam.Grant, action string, in GatekeeperInput) (err error) {
	id, _ := s.ix.slugs.get(in.Tenant)
	ctx = iam.WithNote(ctx, iam.Note{Reason: in.Reason, Concerns: id})
	e, err := s.editing(ctx, g, action, s.GatekeeperResource(in.Tenant, in.Role))
	if err != nil {
		return err
	}
	defer e.end(&err)
	if action == ActionUnmarkGatekeeper {
		in.Reason = ""
	} else if err := checkReason(e.op, in.Reason); err != nil {
		return err
	}
	a, err := s.tenantNamed(e.op, string(in.Tenant))
	if err != nil {
		return err
	}
	if a.Account != s.management { // whose lock is held
		defer s.lock(a.Account)()
	}
	r, found := s.identitiesOf(a.Account).Roles.Get(in.Role)
	if !found {
		return fault.New(e.op, fault.NotFound, "The tenant %q has no role %q.", in.Tenant, printable(in.Role)).WithCode("ResourceNotFoundException")
	}
	if r.Record.Gatekeeper == in.Reason {
		return nil
	}
	return s.commit(ctx, rewrite(r, func(role *directory.Role) { role.Gatekeeper = in.Reason }))
}
