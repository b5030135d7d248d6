package control

import (
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// accessKey is an access key in memory.
type accessKey struct {
	keyRecord
	key store.Key
	rev store.Revision
}

// Generation counts the changes that decisions depend on.
func (s *Service) Generation() uint64 { return s.ix.generation.Load() }

// Confirmed is when all of the state was last known to be current.
func (s *Service) Confirmed() time.Time {
	oldest := s.tenants.Confirmed()
	for _, t := range [...]time.Time{s.identities.Confirmed(), s.functions.Confirmed()} {
		if t.Before(oldest) {
			oldest = t
		}
	}
	return oldest
}

// Status gives the state of an account; false if there is none.
func (s *Service) Status(id tenant.AccountID) (tenant.Status, bool) {
	a, found := s.ix.accounts.get(id)
	if !found {
		return "", false
	}
	return a.Status, true
}

// KeyActive tells whether an access key exists and its account is served.
func (s *Service) KeyActive(accessKeyID string) bool {
	k, found := s.AccessKey(accessKeyID)
	return found && k.Status == credential.Active
}

// AccessKey finds an access key; it is the Lookup of package credential.
func (s *Service) AccessKey(id string) (credential.Key, bool) {
	k, found := s.ix.keys.get(id)
	if !found {
		return credential.Key{}, false
	}
	a, found := s.ix.accounts.get(k.Account)
	if !found {
		return credential.Key{}, false
	}
	status := credential.Active
	if a.Status != tenant.Active {
		status = credential.Suspended
	}
	return credential.Key{
		ID: k.ID, Secret: credential.Secret(k.Secret), Account: k.Account, Principal: k.Principal, Status: status,
	}, true
}

// Principal gives who an access key stands for.
func (s *Service) Principal(accessKeyID string) (call.Principal, bool) {
	k, found := s.ix.keys.get(accessKeyID)
	if !found {
		return call.Principal{}, false
	}
	a, found := s.ix.accounts.get(k.Account)
	if !found {
		return call.Principal{}, false
	}
	return call.Principal{ARN: k.Principal, Account: k.Account, Tenant: a.Slug, Admin: k.Admin, AccessKeyID: k.ID}, true
}

// PlanOf gives the plan of an account; one that allows nothing if there is no
// such account.
func (s *Service) PlanOf(id tenant.AccountID) admit.Plan {
	a, found := s.ix.accounts.get(id)
	if !found {
		return admit.Plan{Name: "none", Rate: 1}
	}
	return a.plan
}

// Account gives an account's tenant; false if there is none.
func (s *Service) Account(id tenant.AccountID) (tenant.Tenant, bool) {
	a, found := s.ix.accounts.get(id)
	if !found {
		return tenant.Tenant{}, false
	}
	return a.Tenant, true
}

// Management is the operators' own account.
func (s *Service) Management() tenant.AccountID { return s.management }

// Resolve finds the version that a call runs. The roll, a random number,
// chooses between the two versions of a weighted alias. It takes no lock and
// allocates nothing; the target is shared and must not be changed.
//
// Errors: fault.NotFound, fault.Conflict for a version that is not Active.
func (s *Service) Resolve(account tenant.AccountID, name function.Name, qualifier string, roll uint64) (*function.Target, error) {
	d, found := s.ix.functions.get(functionName{account, name})
	if !found {
		return nil, functionNotFound(function.ARN(s.cfg.Region, account, name, qualifier))
	}
	r, found := d.routes[qualifier]
	if !found {
		return nil, functionNotFound(d.arn(qualifier))
	}
	c := r.first
	if roll < r.share {
		c = r.second
	}
	if c.target == nil {
		return nil, notReady(c.state)
	}
	return c.target, nil
}

// FindEndTenant gives the internal id of an end tenant; false if no call
// named it yet. It takes no lock, and allocates nothing where the name is
// written as it was at first.
//
// Errors: fault.Conflict for a name that differs from a known one by case only.
func (s *Service) FindEndTenant(account tenant.AccountID, id tenant.EndTenantID) (tenant.UID, bool, error) {
	if e, found := s.ix.endTenants.get(endName{account, id}); found {
		return e.UID, true, nil
	}
	if twin, found := s.ix.folded.get(endName{account, tenant.EndTenantID(id.Fold())}); found {
		return "", false, fault.New("control.FindEndTenant", fault.Conflict,
			"Tenant id %q differs from the known tenant id %q by case only.", id, twin.ID).
			WithCode("InvalidParameterValueException").WithRemedy("Write it as it was written first.")
	}
	return "", false, nil
}
