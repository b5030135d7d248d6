package function

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// Instance says of a Target that it is an end tenant's own: the function F@t
// that was derived for end tenant t from a version of the PER_TENANT function F.
// Callers know neither the name nor the instance; they call F for t.
type Instance struct {
	// Strategy is isolation.Function or isolation.Account.
	Strategy isolation.Strategy
	// Provider, ProviderUID and ProviderSlug are whose function it was derived
	// from: there it is decided who may call it, and under the key of ProviderUID
	// its code is sealed.
	Provider     tenant.AccountID
	ProviderUID  tenant.UID
	ProviderSlug tenant.Slug
	// FunctionUID is the function's that it was derived from.
	FunctionUID tenant.UID
	// EndTenant is whom it is for, and EndTenantUID the internal id that this end
	// tenant has in the provider's account.
	EndTenant    tenant.EndTenantID
	EndTenantUID tenant.UID
	// Template is the role whose policies a derived role has, by its ARN and
	// internal id; empty under isolation.Account, where the role is the linked
	// account's own.
	Template    string
	TemplateUID tenant.UID
}

// InstanceName gives the name of the function, and of the role, that is derived
// from a function for an end tenant. No function has an @ in its name, and no
// end tenant, so that it names one pair.
func InstanceName(name Name, id tenant.EndTenantID) string { return string(name) + "@" + string(id) }

// ParseInstanceName reads what InstanceName gives.
func ParseInstanceName(s string) (Name, tenant.EndTenantID, error) {
	before, after, found := strings.Cut(s, "@")
	if !found {
		return "", "", fmt.Errorf("derived function %q: need FUNCTION@TENANT", s)
	}
	name, err := ParseName(before)
	if err != nil {
		return "", "", err
	}
	id, err := tenant.ParseEndTenantID(after)
	return name, id, err
}

// CodeOwner is under whose key the code is sealed: that of the account that
// deployed it, in whichever account it runs.
func (t *Target) CodeOwner() tenant.UID {
	if t.Instance != nil {
		return t.Instance.ProviderUID
	}
	return t.AccountUID
}

// Provider is the account that deployed the function: it decides who may call
// it.
func (t *Target) Provider() tenant.AccountID {
	if t.Instance != nil {
		return t.Instance.Provider
	}
	return t.Account
}

// Strategy says whose function and role it is.
func (t *Target) Strategy() isolation.Strategy {
	if t.Instance != nil {
		return t.Instance.Strategy
	}
	return isolation.Namespace
}

// Wall is the weakest wall that the target's code may run behind: native code
// runs behind a kernel of its own only.
func (t *Target) Wall() isolation.Wall {
	if t.Model == Native {
		return isolation.Kernel
	}
	return isolation.Process
}

// LogGroup names the log that the calls of the target are in.
func (t *Target) LogGroup() string {
	if t.Instance != nil {
		return "/aws/lambda/" + string(t.Name) + "/" + string(t.Instance.EndTenant)
	}
	return "/aws/lambda/" + string(t.Name)
}
