package control

import (
	"context"
	"slices"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// The roles for people that come with the platform.
const (
	// RoleOperator and RoleAuditor are made with the management account.
	RoleOperator = "operator"
	RoleAuditor  = "auditor"
	// RoleTenantAdmin and its kin are made by CreateDefaultRoles.
	RoleTenantAdmin     = "tenant-admin"
	RoleTenantDeveloper = "tenant-developer"
	RoleBillingReader   = "tenant-billing-reader"
)

type defaultRole struct{ name, policy, about string }

var (
	managementRoles = []defaultRole{
		{RoleOperator, directory.Operator, "The platform: tenants, guardrails and the management account."},
		{RoleAuditor, directory.Auditor, "Reads what is configured, and nothing else."},
	}
	tenantRoles = []defaultRole{
		{RoleTenantAdmin, directory.TenantAdmin, "Everything in this account."},
		{RoleTenantDeveloper, directory.TenantDeveloper, "Functions of this account, and the role fn for them."},
		{RoleBillingReader, directory.TenantBillingReader, "What this account has used."},
	}
)

// CreateDefaultRoles makes the roles tenant-admin, tenant-developer and
// tenant-billing-reader in an account, each with the built-in policy of its
// kind; in the management account, operator and auditor. Whoever of the account
// may assume roles by its own policies can assume them. Those that exist stay
// as they are. The grant is for IdentityAccountResource.
//
// A tenant's are not made with its account, as most accounts are used by
// programs alone: each would be three more records to write, keep and load.
func (s *Service) CreateDefaultRoles(ctx context.Context, g iam.Grant) (made []directory.Role, err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionCreateDefaultRoles, IdentityAccountResource(account))
	if err != nil {
		return nil, err
	}
	defer e.end(&err)
	roles := slices.Clone(tenantRoles)
	if account == s.managementAccount() {
		roles = slices.Clone(managementRoles)
	}
	roles = slices.DeleteFunc(roles, func(r defaultRole) bool { _, taken := e.in.Roles.Taken(r.name); return taken })
	if e.in.Roles.Len()+len(roles) > maxRoles {
		return nil, overQuota(e.op, "RolesPerAccount", maxRoles)
	}
	writes, err := s.defaultRoles(account, e.owner, roles)
	if err != nil || len(writes) == 0 {
		return nil, err
	}
	for _, w := range writes {
		made = append(made, w.record.(directory.Role))
	}
	return made, e.commit(ctx, writes...)
}

// defaultRoles gives the writes of roles, each with one built-in policy, that
// trust their own account.
func (s *Service) defaultRoles(account tenant.AccountID, owner tenant.UID, roles []defaultRole) ([]write, error) {
	var writes []write
	for _, d := range roles {
		k, err := s.hide(roleFamily, owner, foldedName(d.name))
		if err != nil {
			return nil, err
		}
		writes = append(writes, write{key: k, record: directory.Role{
			Account: account, Name: d.name, Path: "/", ARN: roleARN(account, d.name), UID: tenant.NewUID(), ID: newID(roleID),
			Description: d.about, Trust: trustOfAccount(account), MaxSession: defaultSession,
			Attached: directory.Attached{Managed: []string{d.policy}}, CreatedAt: s.cfg.Now().UTC(),
		}})
	}
	return writes, nil
}

// trustOfAccount is the trust policy that leaves it to the policies of an
// account who of it may take on a role.
func trustOfAccount(account tenant.AccountID) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + string(account) + `:root"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
}
