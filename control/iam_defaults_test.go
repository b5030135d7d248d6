package control

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/observe/logs"
	"github.com/carrel-dev/carrel/tenant"
)

// roleNames lists the roles of an account.
func (o who) roleNames() string {
	var names []string
	o.s.identitiesOf(o.account).Roles.Each(func(e *directory.Entry[directory.Role]) bool {
		names = append(names, e.Record.Name)
		return true
	})
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (o who) defaultRoles() []directory.Role {
	o.t.Helper()
	made, err := o.s.CreateDefaultRoles(ctx, o.on(ActionCreateDefaultRoles, IdentityAccountResource(o.account)))
	o.must(err)
	return made
}

func TestDefaultRolesAreThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	if got := operator.roleNames(); got != "auditor fn operator" {
		t.Errorf("the management account has the roles %s", got)
	}
	if made := operator.defaultRoles(); len(made) != 0 {
		t.Errorf("made again: %v", made)
	}
	c, err := operator.createTenant(CreateTenantInput{Slug: "people", DefaultRoles: true})
	operator.must(err)
	all := "fn tenant-admin tenant-billing-reader tenant-developer"
	if got := as(t, s, c.AccessKeyID).roleNames(); got != all {
		t.Errorf("a tenant of people has the roles %s", got)
	}
	programs := operator.tenant("programs")
	if got := programs.roleNames(); got != "fn" {
		t.Errorf("a tenant of programs has the roles %s", got)
	}
	// Whose name differs by case only is one that is there, and stays as it is.
	own := programs.makeRole("Tenant-Admin", trustOfAccount(programs.account))
	if made := programs.defaultRoles(); len(made) != 2 || len(programs.defaultRoles()) != 0 {
		t.Errorf("made: %v", made)
	}
	if got := programs.roleNames(); got != "Tenant-Admin fn tenant-billing-reader tenant-developer" {
		t.Errorf("then it has the roles %s", got)
	}
	if r, found := s.identitiesOf(programs.account).Role(own.ARN); !found || len(r.Record.Managed) != 0 {
		t.Errorf("a role of the account's own was changed: %+v", r)
	}
}

// knownActions are the actions of everything that a node decides about: of the
// methods of this package, and of what other packages guard.
func knownActions() []string {
	all := map[string]bool{}
	for _, actions := range guards() {
		for _, a := range actions {
			all[a] = true
		}
	}
	for _, a := range []string{
		ActionPassRole, ActionTagSession, ActionSetSourceIdentity, ActionListAccountAliases, "sts:GetCallerIdentity",
		logs.ReadAction, ActionPutEventSchema, ActionGetEventSchema, ActionDeleteEventSchema, "carrel:GetUsage", "carrel:ListEvents", "carrel:ListPlans", "carrel:ListAudit", "carrel:GetStatus",
	} {
		all[a] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// TestBuiltinPoliciesNameWhatThereIs: an action that nothing is guarded by
// allows nothing, and somebody counts on it.
func TestBuiltinPoliciesNameWhatThereIs(t *testing.T) {
	t.Parallel()
	known := knownActions()
	ahead := []string{"carrel:Prove*"}
	named := regexp.MustCompile(`"((?:carrel|iam|lambda|logs|sts):[A-Za-z*]+)"`)
	for _, p := range directory.Builtins() {
		for _, m := range named.FindAllStringSubmatch(p.Text(), -1) {
			is := func(action string) bool { return matching(m[1], action) }
			if m[1] != "iam:PassedToService" && !slices.Contains(ahead, m[1]) && !slices.ContainsFunc(known, is) {
				t.Errorf("%s names %s, which is no action of this platform", p.Name, m[1])
			}
		}
	}
}

// matching tells whether an action is on a list of names with wildcards.
func matching(list, action string) bool {
	return slices.ContainsFunc(strings.Fields(list), func(pattern string) bool {
		is, err := path.Match(pattern, action)
		return is && err == nil
	})
}

// TestDefaultRolesMayWhatTheyAreFor asks for every action there is, for a
// session of each default role: on what is its own account's, and on what is
// another tenant's, where the answer is always no.
func TestDefaultRolesMayWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rate = 1000
	s := w.open()
	operator := w.operator(s)
	people := func(slug string) who {
		c, err := operator.createTenant(CreateTenantInput{Slug: slug, DefaultRoles: true})
		operator.must(err)
		return as(t, s, c.AccessKeyID)
	}
	acme, globex := people("acme"), people("globex")
	for _, o := range []who{operator, acme, globex} {
		o.active(o.input("f", "f"))
	}
	// Globex lets the others call its function: tenants may, and operators not.
	globex.shares(s.FunctionResource(globex.account, "f"), "acme")
	for _, o := range []who{acme, operator} {
		_, err := s.AddPermission(ctx, globex.may(ActionAddPermission, "f"), PermissionInput{
			Name: "f", StatementID: string(o.account), Action: iam.InvokeAction, Principal: string(o.account),
		})
		globex.must(err)
	}

	for _, c := range []struct {
		of    who
		role  string
		may   string // what it may of its own account
		not   string // exceptions to that
		calls bool   // whether it may call what globex lets it call
	}{
		{operator, RoleOperator, "*", "", false},
		{operator, RoleAuditor, "*:Get* *:List* iam:Simulate* carrel:Prove*",
			"lambda:GetFunction sts:GetSessionToken sts:GetFederationToken sts:GetAccessKeyInfo", false},
		{acme, RoleTenantAdmin, "*", "", true},
		{acme, RoleTenantDeveloper, "lambda:* logs:FilterLogEvents carrel:CreateToken carrel:GetUsage carrel:ListEvents carrel:PutEventSchema carrel:GetEventSchema carrel:DeleteEventSchema sts:GetCallerIdentity iam:GetRole iam:ListRoles",
			"lambda:AddPermission lambda:RemovePermission", true},
		{acme, RoleBillingReader, "carrel:GetUsage carrel:ListPlans lambda:GetAccountSettings sts:GetCallerIdentity", "", false},
	} {
		session := c.of.assumed(AssumeRoleInput{RoleARN: roleARN(c.of.account, c.role)})
		ask := func(action string, of tenant.AccountID) bool {
			_, err := s.Authorise(ctx, iam.Request{
				Principal: session.me, Action: action, Resource: somethingOf(s, action, of), Owner: tenant.Identity{Account: of},
			}, "r")
			return err == nil
		}
		for _, action := range knownActions() {
			want := matching(c.may, action) && !matching(c.not, action)
			// The trust policy has to say so too, and it says nothing of source
			// identities and identity providers.
			want = want && action != ActionSetSourceIdentity && action != ActionAssumeRoleWeb
			if got := ask(action, c.of.account); got != want {
				t.Errorf("%s: %s on its own account: %v, want %v", c.role, action, got, want)
			}
			want = c.calls && action == iam.InvokeAction
			if got := ask(action, globex.account); got != want {
				t.Errorf("%s: %s on another's: %v, want %v", c.role, action, got, want)
			}
		}
		for role, want := range map[string]bool{"fn": c.role != RoleAuditor && c.role != RoleBillingReader, c.role: c.role == RoleOperator || c.role == RoleTenantAdmin} {
			_, err := s.Authorise(ctx, iam.Request{
				Principal: session.me, Action: ActionPassRole, Resource: roleARN(c.of.account, role), Owner: tenant.Identity{Account: c.of.account},
				Keys: []iam.Key{PassedToService()},
			}, "r")
			if (err == nil) != want {
				t.Errorf("%s passes the role %s: %v, want %v", c.role, role, err == nil, want)
			}
		}
	}
}

// somethingOf is something of an account that an action can be about.
func somethingOf(s *Service, action string, of tenant.AccountID) string {
	service, name, _ := strings.Cut(action, ":")
	switch {
	case service == "lambda", service == "logs":
		return s.FunctionResource(of, "f")
	case service == "carrel":
		return s.OwnResource(of, "thing/x")
	case service == "sts" && strings.HasPrefix(name, "Get"), action == ActionDecodeMessage:
		return STSResource(of)
	case of == s.Management():
		return roleARN(of, RoleAuditor)
	}
	return roleARN(of, RoleBillingReader)
}

// TestTenantsRoleForOperators has a tenant make a role for operators: what one does with it is
// the tenant's own, and ends with the role.
func TestTenantsRoleForOperators(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	operator := as(t, s, s.FirstAdmin().AccessKeyID)
	acme.active(acme.input("f", "f"))
	f := s.FunctionResource(acme.account, "f")
	inside := func(o who) bool {
		_, err := s.Authorise(ctx, iam.Request{Principal: o.me, Action: ActionGetFunction, Resource: f, Owner: tenant.Identity{Account: acme.account}}, "r")
		return err == nil
	}
	role := acme.makeRole("support", trusting("arn:aws:iam::"+string(operator.account)+":root", ""))
	acme.must(s.AttachRolePolicy(ctx, acme.identity(ActionAttachRolePolicy, sortRole, role.Name), role.Name, "arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess"))
	if inside(operator) {
		t.Error("an operator sees a tenant's function")
	}
	session := operator.assumed(AssumeRoleInput{RoleARN: role.ARN})
	if !inside(session) || session.me.Account != acme.account || time.Until(session.me.Session.Expires) > time.Hour {
		t.Errorf("with the tenant's role: %v until %s as %s", inside(session), session.me.Session.Expires, session.me.ARN)
	}
	acme.must(s.DetachRolePolicy(ctx, acme.identity(ActionDetachRolePolicy, sortRole, role.Name), role.Name, "arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess"))
	acme.deleteRole(role.Name)
	if inside(session) {
		t.Error("the session outlives the role")
	}
}
