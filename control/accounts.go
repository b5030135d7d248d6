package control

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

const (
	// DefaultPlan is the plan of tenants that were made without naming one.
	DefaultPlan = "default"
	// managementPlan is the operators' own.
	managementPlan = "unlimited"
	// AdminUser is the user that is made with every account.
	AdminUser = "admin"
	// FunctionRole is the role that is made with every account, for its functions.
	FunctionRole = "fn"
	// LambdaService is who may take on the role of a function.
	LambdaService = "lambda.amazonaws.com"
)

// Credentials is an account with the access key of its user admin. Printed
// or logged, it shows the secret to nobody; the fields are for the answer to
// the act that made it.
type Credentials struct {
	TenantID        tenant.Slug      `json:"tenantId"`
	AccountID       tenant.AccountID `json:"accountId"`
	AccessKeyID     string           `json:"accessKeyId"`
	SecretAccessKey string           `json:"secretAccessKey"`
	EndpointURL     string           `json:"endpointUrl"`
	Region          string           `json:"region"`
	Plan            string           `json:"plan"`
	RoleARN         string           `json:"roleArn"`
}

// String names the key without its secret.
func (c Credentials) String() string { return "access key " + c.AccessKeyID }

// GoString is String, for the verb that prints everything.
func (c Credentials) GoString() string { return c.String() }

// LogValue is String, for log/slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// FirstAdmin gives the credentials of the management account's admin, for
// the operator's file.
func (s *Service) FirstAdmin() Credentials {
	c := s.admin
	c.EndpointURL = s.cfg.EndpointURL()
	return c
}

// ensureManagement finds the management account, or makes it at first start.
func (s *Service) ensureManagement(ctx context.Context) error {
	if id, found := s.ix.slugs.get(tenant.Management); found {
		s.management = id
		return s.findAdmin()
	}
	made, err := s.makeAccount(ctx, tenant.Tenant{Slug: tenant.Management, Plan: managementPlan}, managementRoles)
	if err != nil {
		return err
	}
	s.management, s.admin = made.AccountID, made
	return nil
}

func (s *Service) findAdmin() error {
	found := false
	if identities, known := s.ix.identities.get(s.management); known {
		identities.Keys.Each(func(k *directory.Entry[directory.AccessKey]) bool {
			u, of := identities.UserOf(k.Record)
			if of && u.Record.Name == AdminUser && !k.Record.Inactive {
				found = true
				s.admin = s.credentials(k.Record.ID, k.Record.Secret, tenant.Tenant{Slug: tenant.Management, Account: s.management, Plan: managementPlan})
			}
			return !found
		})
	}
	if !found {
		return fault.New("control.Open", fault.Internal, "the management account has no admin key; the store of identities was lost or changed")
	}
	return nil
}

func (s *Service) credentials(id, secret string, t tenant.Tenant) Credentials {
	return Credentials{
		TenantID: t.Slug, AccountID: t.Account, AccessKeyID: id, SecretAccessKey: secret, EndpointURL: s.cfg.EndpointURL(),
		Region: s.cfg.Region, Plan: t.Plan, RoleARN: roleARN(t.Account, FunctionRole),
	}
}

// CreateTenantInput says which tenant to make. Plan is DefaultPlan if empty;
// Parent is empty for a tenant directly under the operators. DefaultRoles asks
// for the roles that CreateDefaultRoles makes.
type CreateTenantInput struct {
	Slug         string
	Plan         string
	Parent       string
	Tags         map[string]string
	DefaultRoles bool
}

// CreateTenant makes a tenant with its user admin, an access key and the role
// fn, and gives the key's secret, once.
//
// Errors: fault.Invalid; fault.Conflict for a name that is or was in use.
func (s *Service) CreateTenant(ctx context.Context, g iam.Grant, in CreateTenantInput) (made Credentials, err error) {
	a, err := s.begin(ctx, g, ActionCreateTenant, s.TenantResource(tenant.Slug(in.Slug)))
	if err != nil {
		return Credentials{}, err
	}
	defer a.end(&err)
	const op = "control.CreateTenant"
	slug, err := tenant.ParseSlug(in.Slug)
	if err != nil {
		return Credentials{}, invalid(op, "%v", err)
	}
	if in.Plan == "" {
		in.Plan = DefaultPlan
	}
	if err := checkPlan(in.Plan); err != nil {
		return Credentials{}, err
	}
	if err := checkTags(op, in.Tags); err != nil {
		return Credentials{}, err
	}
	t := tenant.Tenant{Slug: slug, Plan: in.Plan, Tags: maps.Clone(in.Tags)}
	if in.Parent != "" {
		parent, err := s.tenantNamed(op, in.Parent)
		if err != nil {
			return Credentials{}, err
		}
		if parent.Status != tenant.Active {
			return Credentials{}, fault.New(op, fault.Conflict, "The parent tenant %q is %s.", in.Parent, parent.Status)
		}
		t.Parent = parent.Account
	}
	if _, taken := s.ix.slugs.get(slug); taken {
		return Credentials{}, slugTaken(op, slug)
	}
	var roles []defaultRole
	if in.DefaultRoles {
		roles = tenantRoles
	}
	return s.makeAccount(ctx, t, roles)
}

func slugTaken(op string, slug tenant.Slug) error {
	return fault.New(op, fault.Conflict, "The tenant name %q is in use, or was: names are never given out again.", slug).
		WithRemedy("Choose another name.")
}

func checkPlan(name string) error {
	if _, found := admit.Plans()[name]; !found {
		return invalid("control.SetPlan", "There is no plan %q; there are %s.", name, strings.Join(slices.Sorted(maps.Keys(admit.Plans())), ", "))
	}
	return nil
}

// makeAccount writes a tenant as a whole, with roles for people.
func (s *Service) makeAccount(ctx context.Context, t tenant.Tenant, roles []defaultRole) (Credentials, error) {
	const op = "control.makeAccount"
	t.UID, t.Account, t.Status, t.CreatedAt = tenant.NewUID(), tenant.NewAccountID(), tenant.Active, s.cfg.Now().UTC()
	for _, taken := s.ix.accounts.get(t.Account); taken; _, taken = s.ix.accounts.get(t.Account) {
		t.Account = tenant.NewAccountID()
	}
	if err := s.cfg.Keys.CreateTenant(t.UID); err != nil {
		return Credentials{}, fault.Wrap(op, fault.Internal, err, "the tenant's key cannot be made")
	}
	writes, key, err := s.firstIdentities(t, roles)
	if err == nil {
		err = s.commit(ctx, writes...)
	}
	if err == nil {
		return s.credentials(key.ID, key.Secret, t), nil
	}
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Internal: // the tenant may come to be all the same
		return Credentials{}, err
	}
	_ = s.cfg.Keys.DestroyTenant(t.UID) // nothing was sealed under it
	if fault.Is(err, fault.Conflict) {
		return Credentials{}, slugTaken(op, t.Slug)
	}
	return Credentials{}, err
}

// firstIdentities gives what is written of a new account, its own record last,
// and the key of its admin.
func (s *Service) firstIdentities(t tenant.Tenant, roles []defaultRole) ([]write, directory.AccessKey, error) {
	admin := directory.User{
		Account: t.Account, Name: AdminUser, Path: "/", ARN: userARN(t.Account, AdminUser), UID: tenant.NewUID(), ID: newID(userID),
		Attached: directory.Attached{Managed: []string{directory.AdministratorAccess}}, CreatedAt: t.CreatedAt,
	}
	role := directory.Role{
		Account: t.Account, Name: FunctionRole, Path: "/", ARN: roleARN(t.Account, FunctionRole), UID: tenant.NewUID(), ID: newID(roleID),
		Trust: trustOf(LambdaService), MaxSession: defaultSession, CreatedAt: t.CreatedAt,
	}
	key := directory.AccessKey{
		ID: newAccessKeyID(), Secret: newSecret(), Account: t.Account, User: admin.Name, UserUID: admin.UID, CreatedAt: t.CreatedAt,
	}
	userKey, err := newKey(userFamily, string(t.UID), string(admin.UID))
	if err != nil {
		return nil, key, err
	}
	roleKey, err := s.hide(roleFamily, t.UID, role.Name)
	if err != nil {
		return nil, key, err
	}
	keyKey, err := s.hide(keyFamily, t.UID, key.ID)
	if err != nil {
		return nil, key, err
	}
	tenantKey, err := s.hide(tenantFamily, "", string(t.Slug))
	if err != nil {
		return nil, key, err
	}
	writes, err := s.defaultRoles(t.Account, t.UID, roles)
	if err != nil {
		return nil, key, err
	}
	return append(writes, write{key: userKey, record: admin}, write{key: roleKey, record: role}, write{key: keyKey, record: key},
		write{key: tenantKey, record: tenantRecord{Tenant: t}}), key, nil
}

func newAccessKeyID() string { return "AKIA" + rand.Text()[:16] }

// newSecret makes a secret access key: 240 random bits, 40 characters as AWS's.
func newSecret() string {
	var b [30]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// tenantNamed finds a tenant by its slug or account id.
func (s *Service) tenantNamed(op, name string) (*account, error) {
	id, found := s.ix.slugs.get(tenant.Slug(name))
	if !found {
		id = tenant.AccountID(name)
	}
	a, found := s.ix.accounts.get(id)
	if !found {
		return nil, fault.New(op, fault.NotFound, "There is no tenant %q.", name).WithCode("ResourceNotFoundException")
	}
	return a, nil
}

// GetTenant gives a tenant, a deleted one too.
func (s *Service) GetTenant(ctx context.Context, g iam.Grant, slug tenant.Slug) (tenant.Tenant, error) {
	if _, err := s.check(ctx, g, ActionGetTenant, s.TenantResource(slug)); err != nil {
		return tenant.Tenant{}, err
	}
	return s.getTenant("control.GetTenant", slug)
}

func (s *Service) getTenant(op string, slug tenant.Slug) (tenant.Tenant, error) {
	id, found := s.ix.slugs.get(slug)
	if !found {
		return tenant.Tenant{}, fault.New(op, fault.NotFound, "There is no tenant %q.", slug).WithCode("ResourceNotFoundException")
	}
	a, _ := s.ix.accounts.get(id)
	t := a.Tenant
	t.Tags = maps.Clone(t.Tags)
	return t, nil
}

// ListTenants gives the tenants in the order of their names, the management
// account and the deleted ones too.
func (s *Service) ListTenants(ctx context.Context, g iam.Grant, in PageInput) (Page[tenant.Tenant], error) {
	if _, err := s.check(ctx, g, ActionListTenants, s.TenantsResource()); err != nil {
		return Page[tenant.Tenant]{}, err
	}
	var slugs []string
	s.ix.slugs.each(func(slug tenant.Slug, _ tenant.AccountID) { slugs = append(slugs, string(slug)) })
	return pageOf("control.ListTenants", in, slugs, func(slug string) (tenant.Tenant, error) {
		return s.getTenant("control.ListTenants", tenant.Slug(slug))
	})
}

// SuspendTenant refuses a tenant's calls and requests from now on; its data stays.
func (s *Service) SuspendTenant(ctx context.Context, g iam.Grant, slug tenant.Slug) (tenant.Tenant, error) {
	return s.setTenant(ctx, g, ActionSuspendTenant, tenantChange{slug, func(r *tenantRecord) error { r.Status = tenant.Suspended; return nil }})
}

// ResumeTenant ends a suspension.
func (s *Service) ResumeTenant(ctx context.Context, g iam.Grant, slug tenant.Slug) (tenant.Tenant, error) {
	return s.setTenant(ctx, g, ActionResumeTenant, tenantChange{slug, func(r *tenantRecord) error { r.Status = tenant.Active; return nil }})
}

// SetPlan puts a tenant on another plan, from its next call on.
func (s *Service) SetPlan(ctx context.Context, g iam.Grant, slug tenant.Slug, plan string) (tenant.Tenant, error) {
	return s.setTenant(ctx, g, ActionSetPlan, tenantChange{slug, func(r *tenantRecord) error {
		r.Plan = plan
		return checkPlan(plan)
	}})
}

// DeleteTenant refuses a tenant for good and keeps its name as a tombstone.
// Its data and its key stay where they are.
//
// Errors: fault.Conflict while it has tenants below it.
func (s *Service) DeleteTenant(ctx context.Context, g iam.Grant, slug tenant.Slug) (tenant.Tenant, error) {
	return s.setTenant(ctx, g, ActionDeleteTenant, tenantChange{slug, func(r *tenantRecord) error {
		var below []string
		s.ix.accounts.each(func(_ tenant.AccountID, a *account) {
			if a.Parent == r.Account && a.Status != tenant.Closing {
				below = append(below, string(a.Slug))
			}
		})
		if len(below) > 0 {
			slices.Sort(below)
			return fault.New("control.DeleteTenant", fault.Conflict, "The tenant %q has %d tenants below it, such as %s.", slug, len(below), below[0]).
				WithRemedy("Delete them first.")
		}
		r.Status, r.Deleted = tenant.Closing, s.cfg.Now().UTC()
		return nil
	}})
}

type tenantChange struct {
	slug   tenant.Slug
	change func(*tenantRecord) error
}

func (s *Service) setTenant(ctx context.Context, g iam.Grant, action string, c tenantChange) (t tenant.Tenant, err error) {
	op := "control." + strings.TrimPrefix(action, "carrel:")
	act, err := s.begin(ctx, g, action, s.TenantResource(c.slug))
	if err != nil {
		return tenant.Tenant{}, err
	}
	defer act.end(&err)
	id, found := s.ix.slugs.get(c.slug)
	if !found {
		return tenant.Tenant{}, fault.New(op, fault.NotFound, "There is no tenant %q.", c.slug).WithCode("ResourceNotFoundException")
	}
	a, _ := s.ix.accounts.get(id)
	switch {
	case c.slug == tenant.Management:
		return tenant.Tenant{}, fault.New(op, fault.Invalid, "The management account cannot be changed.").WithCode("InvalidParameterValueException")
	case a.Status == tenant.Closing:
		return tenant.Tenant{}, fault.New(op, fault.Conflict, "The tenant %q was deleted.", c.slug).
			WithRemedy("Make a tenant of another name.")
	}
	r := a.tenantRecord
	if err := c.change(&r); err != nil {
		return tenant.Tenant{}, err
	}
	if err := s.commit(ctx, write{a.key, a.rev, r}); err != nil {
		return tenant.Tenant{}, err
	}
	return r.Tenant, nil
}

// EndTenant gives the internal id of an end tenant and makes it known if this
// is the first authorised call that names it. The grant is that of the call.
//
// Errors: fault.Conflict for a name that differs from a known one by case
// only; fault.Throttled where the plan allows no more end tenants.
func (s *Service) EndTenant(ctx context.Context, g iam.Grant, id tenant.EndTenantID) (uid tenant.UID, err error) {
	const op = "control.EndTenant"
	account := g.Request().Owner.Account
	action := iam.InvokeAction
	if g.Request().Action == iam.InvokeURLAction {
		action = iam.InvokeURLAction
	}
	g, err = s.check(ctx, g, action, g.Request().Resource)
	if err != nil {
		return "", err
	}
	if _, err := tenant.ParseEndTenantID(string(id)); err != nil {
		return "", invalid(op, "%v", err)
	}
	if uid, found, err := s.FindEndTenant(account, id); found || err != nil {
		return uid, err
	}
	done, err := s.cfg.Journal.Decide(ctx, g, requestID(ctx))
	if err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err, "the decision could not be journaled, so nothing was changed")
	}
	a := &act{account: account, done: done, unlock: s.lock(account)}
	defer a.end(&err)
	if uid, found, err := s.FindEndTenant(account, id); found || err != nil {
		return uid, err
	}
	owner, _ := s.ix.accounts.get(account)
	if n := s.ix.endTenantCount(account); n >= owner.plan.EndTenants {
		e := fault.New(op, fault.Throttled, "The account has %d end tenants; its plan %q allows no more.", n, owner.plan.Name).
			WithCode("TooManyRequestsException").WithRemedy("Ask the operator for a larger plan.")
		e.Reason = "ConcurrentInvocationLimitExceeded"
		return "", e
	}
	e := tenant.EndTenant{ID: id, UID: tenant.NewUID(), Account: account, CreatedAt: s.cfg.Now().UTC()}
	k, err := s.hide(endTenantFamily, owner.UID, id.Fold())
	if err != nil {
		return "", err
	}
	if err := s.save(ctx, k, 0, e); err != nil {
		return "", err
	}
	return e.UID, nil
}

// invalid is an error about a parameter, with Lambda's code for it.
func invalid(op, format string, args ...any) error {
	return fault.New(op, fault.Invalid, "%s", fmt.Sprintf(format, args...)).WithCode("InvalidParameterValueException")
}
