package control

import (
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/tenant"
)

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
	u, a, found := s.holder(k.Record)
	if !found {
		return credential.Key{}, false
	}
	status := credential.Active
	switch {
	case k.Record.Inactive:
		status = credential.Inactive
	case a.Status != tenant.Active:
		status = credential.Suspended
	}
	return credential.Key{
		ID: id, Secret: credential.Secret(k.Record.Secret), Account: k.Record.Account, Principal: u.ARN, Status: status,
	}, true
}

// holder finds the user that a key is of, and its account.
func (s *Service) holder(k *directory.AccessKey) (*directory.User, *account, bool) {
	a, found := s.ix.accounts.get(k.Account)
	if !found {
		return nil, nil, false
	}
	identities, found := s.ix.identities.get(k.Account)
	if !found {
		return nil, nil, false
	}
	u, found := identities.UserOf(k)
	if !found {
		return nil, nil, false
	}
	return u.Record, a, true
}

// Principal gives who an access key stands for; false if it is of nobody.
// Whether the key is active is decided apart.
func (s *Service) Principal(accessKeyID string) (call.Principal, bool) {
	k, found := s.ix.keys.get(accessKeyID)
	if !found {
		return call.Principal{}, false
	}
	u, a, found := s.holder(k.Record)
	if !found {
		return call.Principal{}, false
	}
	return call.Principal{
		Type: call.TypeUser, ARN: u.ARN, Account: u.Account, Tenant: a.Slug, UserID: u.ID, AccessKeyID: accessKeyID,
	}, true
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
