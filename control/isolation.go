package control

import (
	"context"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/tenant"
)

// ActionProveIsolation asks whether tenants can reach one another.
const ActionProveIsolation = "carrel:ProveIsolation"

// Prove judges the authorisation state as it is: for the operators all of it,
// or one tenant if it is named; for a tenant its own account. The grant is for
// ActionProveIsolation: on isolation of the management account, on the tenant,
// or on isolation of the tenant's own account.
//
// Errors: fault.NotFound for the tenant.
func (s *Service) Prove(ctx context.Context, g iam.Grant, slug tenant.Slug) (prove.Report, error) {
	const op = "control.Prove"
	account := g.Request().Owner.Account
	resource := s.OwnResource(account, "isolation")
	if account == s.management && slug != "" {
		resource = s.TenantResource(slug)
	}
	if _, err := s.check(ctx, g, ActionProveIsolation, resource); err != nil {
		return prove.Report{}, err
	}
	now := s.overview.current()
	if account == s.management && slug == "" {
		return s.prover.Organization(now), nil
	}
	of := account
	if account == s.management {
		a, err := s.tenantNamed(op, string(slug))
		if err != nil {
			return prove.Report{}, err
		}
		if of = a.Account; a.Status == tenant.Closing {
			return prove.Report{}, fault.New(op, fault.NotFound, "The tenant %q was deleted.", slug).WithCode("ResourceNotFoundException")
		}
	}
	r := s.prover.Tenant(now, string(of))
	if account != s.management {
		p := &proposal{after: now, change: prove.Change{Accounts: []string{string(account)}}}
		r.Findings = p.disguised(r.Findings)
	}
	return r, nil
}
