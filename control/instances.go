package control

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// A function with the tenant isolation mode PER_TENANT is one package with a
// role template: its execution role. Whose function and role serves an end
// tenant t is a matter of the strategy:
//
//   - namespace: the function F itself, with its role; the role's session
//     carries the end tenant's id.
//   - function: F@t, derived from the same version, with a role of its own that
//     has the template's policies, a log and concurrency of its own.
//   - account: F@t in the account that is linked for t, with that account's role
//     of the template's name.
//
// Nothing is stored of an instance: it follows from the function, the end
// tenant, and what is linked. So it is there from the moment the strategy is
// set, and whatever is published holds for all instances at once.
//
// A derived role leaves the variables of the template's policies to be
// evaluated: ${carrel:EndTenant} is then the one end tenant whose role it is.
// So all derived roles of a function, also of end tenants to come, have policies
// of one text, and the prover decides about all of them at once.

// derivedPath is the path of derived roles. They are the platform's: there is
// no record of one, and so nobody can assume, pass, change or delete it.
const derivedPath = "/carrel/derived/"

// derivedRoleARN gives the ARN of the role that is derived from a function's
// for an end tenant.
func derivedRoleARN(account tenant.AccountID, name function.Name, id tenant.EndTenantID) string {
	return "arn:aws:iam::" + string(account) + ":role" + derivedPath + function.InstanceName(name, id)
}

// Place finds the version and the instance that serve a call's end tenant, and
// makes the call one of it: its target and owner are then the instance's. Calls of functions
// that serve no end tenants stay as they are, as do those that were placed. It
// takes no lock.
//
// Errors: fault.Conflict where the strategy of the end tenant cannot be served:
// there is no linked account, or it has no such role, or another role of the
// account has the name of the derived one; and for a version that is not Active.
// The call must not run then.
func (s *Service) Place(c *call.Call) error {
	t := c.Target
	if t.Tenancy != function.PerTenant || t.Instance != nil || c.Owner.EndTenant == "" {
		return nil
	}
	d, found := s.ix.functions.get(functionName{t.Account, t.Name})
	if !found || d.UID != t.FunctionUID {
		return functionNotFound(t.Resource()) // it was deleted since it was resolved
	}
	t, err := s.versionFor(d, c)
	if err != nil {
		return err
	}
	c.Target = t
	strategy := s.strategyOf(d, c)
	if strategy == isolation.Namespace {
		return nil
	}
	i := d.instances.get(instanceKey{t, c.Owner.EndTenant, strategy}, s.ix.generation.Load(), func() *instance {
		return s.derive(d, c, strategy)
	})
	if i.err != nil {
		return i.err
	}
	c.Target, c.Owner = i.target, i.owner
	return nil
}

// derive makes the instance that serves a call.
func (s *Service) derive(d *deployed, c *call.Call, strategy isolation.Strategy) *instance {
	t := *c.Target
	t.FunctionUID = instanceUID(strategy, d.UID, c.Owner.EndTenant)
	t.Instance = &function.Instance{
		Strategy: strategy, Provider: t.Account, ProviderUID: t.AccountUID, ProviderSlug: t.AccountSlug,
		FunctionUID: d.UID, EndTenant: c.EndTenant, EndTenantUID: c.Owner.EndTenant,
	}
	i := &instance{target: &t, owner: c.Owner}
	if strategy == isolation.Account {
		i.err = s.deriveLinked(d, &t)
		i.owner = tenant.Identity{Account: t.Account}
	} else {
		i.err = s.deriveRole(d, &t)
	}
	return i
}

// deriveLinked moves an instance into the account that is linked for its end
// tenant, to the role there that has the name of the function's.
func (s *Service) deriveLinked(d *deployed, t *function.Target) error {
	const op = "control.Place"
	in := t.Instance
	a, linked := s.linkedFor(in.Provider, in.EndTenant, in.EndTenantUID)
	if !linked {
		return fault.New(op, fault.Conflict, "No account is linked for the tenant %s of %s.", in.EndTenant, in.ProviderSlug).
			WithCode("ResourceConflictException").WithRemedy("Link one with carrel tenant link and have it accepted there, or choose another strategy.")
	}
	name := t.Role[strings.LastIndexByte(t.Role, '/')+1:]
	role, found := s.identitiesOf(a.Account).Roles.Get(name)
	if !found || !s.assumable(role.Record, &d.functionRecord) {
		return fault.New(op, fault.Conflict, "The account %s, which is linked for the tenant %s, has no role %s that the function may have.", a.Slug, in.EndTenant, name).
			WithCode("ResourceConflictException").WithRemedy("Make the role there, with a trust policy that allows sts:AssumeRole to the service %s.", LambdaService)
	}
	t.Account, t.AccountUID, t.AccountSlug = a.Account, a.UID, a.Slug
	t.Role, t.RoleUID = role.Record.ARN, role.Record.UID
	return nil
}

// deriveRole gives an instance of the strategy function its own role. One whose
// template is gone has none, as the function itself.
func (s *Service) deriveRole(d *deployed, t *function.Target) error {
	in := t.Instance
	name := function.InstanceName(t.Name, in.EndTenant)
	if taken, is := s.identitiesOf(t.Account).Roles.Taken(name); is {
		return fault.New("control.Place", fault.Conflict, "The role %s has the name of the role that is derived for the tenant %s.", taken.Record.ARN, in.EndTenant).
			WithCode("ResourceConflictException").WithRemedy("Delete it, or choose another strategy.")
	}
	if template, found := s.ExecutionRole(&function.Target{Account: t.Account, Role: t.Role, RoleUID: t.RoleUID}); found {
		in.Template, in.TemplateUID = template.ARN, template.UID
	}
	t.Role, t.RoleUID = derivedRoleARN(t.Account, t.Name, in.EndTenant), derivedRoleUID(in)
	return nil
}

// derivedRoleUID gives the internal id of the role of an instance.
func derivedRoleUID(in *function.Instance) tenant.UID {
	return tenant.DeriveUID("role", in.FunctionUID, in.EndTenantUID, in.TemplateUID)
}

// derivedRole gives the role of an instance as it is to be shown: its
// template's with what is its own. False if the template was deleted.
func (s *Service) derivedRole(t *function.Target) (*directory.Role, bool) {
	in := t.Instance
	accounts, found := s.ix.identities.get(t.Account)
	if !found || in.TemplateUID == "" {
		return nil, false
	}
	template, found := accounts.Roles.ByID(string(in.TemplateUID))
	if !found || template.Record.ARN != in.Template {
		return nil, false
	}
	r := *template.Record
	r.Name, r.Path, r.ARN = function.InstanceName(t.Name, in.EndTenant), derivedPath, t.Role
	r.UID, r.ID = t.RoleUID, migratedID(roleID, t.RoleUID)
	r.Trust, r.TrustIDs = trustOf(LambdaService), nil
	return &r, true
}

// templateOf finds the role whose policies the session of a derived role has;
// false if it was deleted.
func templateOf(in *directory.Account, p *call.Principal) (*directory.Entry[directory.Role], bool) {
	session := p.Session
	if session.EndTenantUID == "" || session.EndTenantOf != "" ||
		!strings.HasPrefix(session.Issuer, "arn:aws:iam::"+string(p.Account)+":role"+derivedPath) {
		return nil, false
	}
	return in.Roles.ByID(string(session.Template))
}

// derivedNamed finds the internal id of the derived role that an ARN in a
// policy stands for; is tells whether it has the form of one, found whether
// there is such a function and end tenant.
func (s *Service) derivedNamed(arn string) (uid tenant.UID, is, found bool) {
	account := directory.AccountIn(arn)
	name, is := strings.CutPrefix(arn, "arn:aws:iam::"+string(account)+":role"+derivedPath)
	if !is {
		// The ARN of a session names its role without the path.
		if name, is = strings.CutPrefix(arn, "arn:aws:sts::"+string(account)+":assumed-role/"); !is {
			return "", false, false
		}
		name, _, _ = strings.Cut(name, "/")
	}
	of, id, err := function.ParseInstanceName(name)
	if err != nil {
		return "", false, false
	}
	d, there := s.ix.functions.get(functionName{account, of})
	e, known := s.ix.endTenants.get(endName{account, id})
	if !there || !known || d.Tenancy != function.PerTenant {
		return "", true, false
	}
	template, there := s.ExecutionRole(&function.Target{Account: account, Role: d.Latest.Role, RoleUID: d.Latest.RoleUID})
	if !there {
		return "", true, false
	}
	return derivedRoleUID(&function.Instance{FunctionUID: d.UID, EndTenantUID: e.UID, TemplateUID: template.UID}), true, true
}

// strategyOf gives the strategy that holds for a call's end tenant: that of the
// function's tag, which was checked when it was set.
func (s *Service) strategyOf(d *deployed, c *call.Call) isolation.Strategy {
	if s.strategy != nil {
		return s.strategy(c)
	}
	if set, err := isolation.ParseStrategy(d.Tags[strategyTag]); err == nil && set != isolation.NoStrategy {
		return set
	}
	return isolation.DefaultStrategy
}

// instance is what was derived for an end tenant, or why it could not be.
type instance struct {
	target     *function.Target
	owner      tenant.Identity
	err        error
	generation uint64
}

// instanceKey is what an instance is derived from.
type instanceKey struct {
	target    *function.Target
	endTenant tenant.UID
	strategy  isolation.Strategy
}

// maxInstances is how many instances of a function are kept ready, of some
// 700 bytes each. Beyond it all are made anew as they are called.
const maxInstances = 1 << 14

// instances keeps what was derived from a function as it is, so that a call
// allocates nothing. One is good for the generation it was made at.
type instances struct {
	made  sync.Map // instanceKey -> *instance
	count atomic.Int64
}

func (all *instances) get(k instanceKey, generation uint64, derive func() *instance) *instance {
	if v, found := all.made.Load(k); found && v.(*instance).generation == generation {
		return v.(*instance)
	}
	i := derive()
	i.generation = generation
	if all.count.Load() >= maxInstances {
		all.made.Clear()
		all.count.Store(0)
	}
	if _, was := all.made.Swap(k, i); !was {
		all.count.Add(1)
	}
	return i
}

// InstanceView is a derived function as it is shown.
type InstanceView struct {
	// Name is F@t.
	Name string
	UID  tenant.UID
	// Provider is the account of the function that it is derived from.
	Provider tenant.AccountID
	Strategy isolation.Strategy
	LogGroup string
}

// GetInstance gives a derived function by its name, F@t: to the function's own
// account the one that runs there under the strategy function, and to an account
// that is linked for the end tenant the one that runs in it. The grant is for
// ActionGetFunction on function:F@t of the account that asks.
//
// Errors: fault.NotFound for what is none.
func (s *Service) GetInstance(ctx context.Context, g iam.Grant, name string) (InstanceView, error) {
	account := g.Request().Owner.Account
	resource := s.FunctionResource(account, function.Name(name))
	if _, err := s.check(ctx, g, ActionGetFunction, resource); err != nil {
		return InstanceView{}, err
	}
	of, id, err := function.ParseInstanceName(name)
	if err != nil {
		return InstanceView{}, functionNotFound(resource)
	}
	v := InstanceView{Name: name, Provider: account, Strategy: isolation.Function, LogGroup: "/aws/lambda/" + string(of) + "/" + string(id)}
	a, _ := s.ix.accounts.get(account)
	if l, linked := s.ix.links.get(endName{a.Parent, id}); linked && l.Account == account && l.Accepted() {
		v.Provider, v.Strategy = a.Parent, isolation.Account
	}
	d, found := s.ix.functions.get(functionName{v.Provider, of})
	e, known := s.ix.endTenants.get(endName{v.Provider, id})
	if !found || !known || d.Tenancy != function.PerTenant {
		return InstanceView{}, functionNotFound(resource)
	}
	v.UID = instanceUID(v.Strategy, d.UID, e.UID)
	return v, nil
}

// instanceUID gives the internal id of a derived function.
func instanceUID(strategy isolation.Strategy, of, endTenant tenant.UID) tenant.UID {
	return tenant.DeriveUID("instance "+strategy.String(), of, endTenant)
}
