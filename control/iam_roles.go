package control

import (
	"context"
	"slices"
	"strconv"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// CreateRoleInput is a new role. Path is "/" and MaxSession, in seconds, 3,600
// where they are empty.
type CreateRoleInput struct {
	Name        string
	Path        string
	Description string
	// Trust is the trust policy's text.
	Trust      string
	MaxSession int
	Boundary   string
	Tags       []call.Tag
}

// CreateRole makes a role, which may do nothing yet. The grant is for the
// resource NewIdentityResource of the path and name.
//
// Errors: EntityAlreadyExists; LimitExceeded; MalformedPolicyDocument, also
// for a principal of the own account that does not exist; InvalidInput;
// NoSuchEntity for the boundary.
func (s *Service) CreateRole(ctx context.Context, g iam.Grant, in CreateRoleInput) (r directory.Role, err error) {
	account := g.Request().Owner.Account
	defer s.sharing(g, in.Boundary)()
	e, err := s.editing(ctx, g, ActionCreateRole, NewIdentityResource(account, sortRole, in.Path, in.Name))
	if err != nil {
		return directory.Role{}, err
	}
	defer e.end(&err)
	if err := e.checkNewRole(&in); err != nil {
		return directory.Role{}, err
	}
	ids, err := e.trust(in.Trust)
	if err != nil {
		return directory.Role{}, err
	}
	r = directory.Role{
		Account: account, Name: in.Name, Path: in.Path, ARN: NewIdentityResource(account, sortRole, in.Path, in.Name),
		UID: tenant.NewUID(), ID: newID(roleID), Description: in.Description, Trust: in.Trust, TrustIDs: ids,
		Tags: slices.Clone(in.Tags), MaxSession: in.MaxSession,
		Attached: directory.Attached{Boundary: in.Boundary}, CreatedAt: s.cfg.Now().UTC(),
	}
	return r, e.create(ctx, roleFamily, foldedName(r.Name), r)
}

func (e *edit) checkNewRole(in *CreateRoleInput) error {
	if in.MaxSession == 0 {
		in.MaxSession = defaultSession
	}
	err := checkName(e.op, "roleName", in.Name, maxRoleName)
	if err == nil {
		err = checkPath(e.op, &in.Path)
	}
	if err == nil {
		err = checkDescription(e.op, in.Description)
	}
	if err == nil {
		err = checkSession(e.op, in.MaxSession)
	}
	if err == nil {
		err = checkIAMTags(e.op, in.Tags)
	}
	if err == nil {
		err = e.boundary(in.Boundary)
	}
	if err != nil {
		return err
	}
	if _, taken := e.in.Roles.Taken(in.Name); taken {
		return alreadyExists(e.op, "Role with name %s already exists.", in.Name)
	}
	if e.in.Roles.Len() >= maxRoles {
		return overQuota(e.op, "RolesPerAccount", maxRoles)
	}
	return nil
}

func checkSession(op string, seconds int) error {
	switch {
	case seconds < minSession:
		return breaks(op, strconv.Itoa(seconds), "maxSessionDuration", "Member must have value greater than or equal to 3600")
	case seconds > maxSession:
		return breaks(op, strconv.Itoa(seconds), "maxSessionDuration", "Member must have value less than or equal to 43200")
	}
	return nil
}

// trust checks a trust policy and gives the internal ids of the users and
// roles that it names. One of the own account has to exist. Whether one of
// another account does is not told: without an id it is never trusted, so a
// trust policy that was written too early has to be written again.
func (e *edit) trust(text string) (map[string]tenant.UID, error) {
	doc, err := checkPolicyText(e.op, policy.TrustUse, policy.Trust, text)
	if err != nil {
		return nil, err
	}
	ids := map[string]tenant.UID{}
	for _, st := range doc.Statements {
		if st.Principals == nil {
			continue
		}
		for _, arn := range st.Principals.AWS {
			uid, bound, found := e.s.principalID(arn)
			switch {
			case !bound:
			case !found && directory.AccountIn(arn) == e.account:
				return nil, malformedPolicy(e.op, `Invalid principal in policy: "AWS":%q`, printable(arn))
			default:
				ids[arn] = uid
			}
		}
	}
	return ids, nil
}

// principalID finds the internal id of the user or role that an ARN in a
// trust policy stands for; for a role's session it is the role's. The ARN of
// an account is not bound to any id, and neither is a federated user's, whose
// name is given anew with each session.
func (s *Service) principalID(arn string) (uid tenant.UID, bound, found bool) {
	if uid, bound, found = directory.PrincipalID(arn, s.ix.identities.get); found {
		return uid, bound, found
	}
	if derived, is, there := s.derivedNamed(arn); is {
		return derived, true, there
	}
	return uid, bound, found
}

// GetRole gives a role.
func (s *Service) GetRole(ctx context.Context, g iam.Grant, name string) (directory.Role, error) {
	in, err := s.looking(ctx, g, ActionGetRole, s.IdentityResource(g.Request().Owner.Account, sortRole, name))
	if err != nil {
		return directory.Role{}, err
	}
	r, found := in.Roles.Get(name)
	if !found {
		return directory.Role{}, holder{sortRole, name}.missing("control.GetRole")
	}
	return *r.Record, nil
}

// ListRoles lists the account's roles by name.
func (s *Service) ListRoles(ctx context.Context, g iam.Grant, in PathInput) (Page[directory.Role], error) {
	all, err := s.looking(ctx, g, ActionListRoles, IdentitiesResource(g.Request().Owner.Account, sortRole))
	if err == nil {
		err = in.check("control.ListRoles")
	}
	if err != nil {
		return Page[directory.Role]{}, err
	}
	return listRecords("roles", in, all.Roles, func(r *directory.Role) (string, string) { return r.Name, r.Path })
}

// UpdateRoleInput changes a role's description or the longest session, in
// seconds; nil leaves a field.
type UpdateRoleInput struct {
	Name        string
	Description *string
	MaxSession  *int
}

// UpdateRole changes a role's description or longest session. Sessions that
// exist last as long as they were made for.
func (s *Service) UpdateRole(ctx context.Context, g iam.Grant, in UpdateRoleInput) error {
	_, err := s.editRole(ctx, g, ActionUpdateRole, roleChange{in.Name, func(e *edit, r *directory.Role) error {
		if in.Description != nil {
			r.Description = *in.Description
		}
		if in.MaxSession != nil {
			r.MaxSession = *in.MaxSession
		}
		if err := checkDescription(e.op, r.Description); err != nil {
			return err
		}
		return checkSession(e.op, r.MaxSession)
	}})
	return err
}

// UpdateRoleDescription changes a role's description and gives the role.
func (s *Service) UpdateRoleDescription(ctx context.Context, g iam.Grant, name, description string) (directory.Role, error) {
	return s.editRole(ctx, g, ActionUpdateRoleDescription, roleChange{name, func(e *edit, r *directory.Role) error {
		r.Description = description
		return checkDescription(e.op, description)
	}})
}

// UpdateAssumeRolePolicy gives a role another trust policy. Errors as of
// CreateRole.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, g iam.Grant, name, trust string) error {
	_, err := s.editRole(ctx, g, ActionUpdateAssumeRolePolicy, roleChange{name, func(e *edit, r *directory.Role) (err error) {
		r.Trust = trust
		r.TrustIDs, err = e.trust(trust)
		return err
	}})
	return err
}

// roleChange is a change of a role; it works on a copy.
type roleChange struct {
	name   string
	change func(*edit, *directory.Role) error
}

func (s *Service) editRole(ctx context.Context, g iam.Grant, action string, c roleChange) (r directory.Role, err error) {
	e, _, err := s.editHolder(ctx, g, action, holder{sortRole, c.name})
	if err != nil {
		return directory.Role{}, err
	}
	defer e.end(&err)
	at, _ := e.in.Roles.Get(c.name)
	r = *at.Record
	if err := c.change(e, &r); err != nil {
		return directory.Role{}, err
	}
	return r, update(ctx, e, at, r)
}

// DeleteRole removes a role. Its sessions are good for nothing from then on,
// also if a role of the name is made again, and functions that run with it
// have no role.
//
// Errors: DeleteConflict while it has policies.
func (s *Service) DeleteRole(ctx context.Context, g iam.Grant, name string) (err error) {
	e, p, err := s.editHolder(ctx, g, ActionDeleteRole, holder{sortRole, name})
	if err != nil {
		return err
	}
	defer e.end(&err)
	if err := p.bare(e.op); err != nil {
		return err
	}
	r, _ := e.in.Roles.Get(name)
	return erase(ctx, e, r)
}

// ListInstanceProfilesForRole is here for clients that ask before they delete
// a role: there are no instances and so no profiles.
//
// Errors: NoSuchEntity for a role that does not exist.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, g iam.Grant, name string) error {
	_, err := s.holderOf(ctx, g, ActionListInstanceProfilesRole, holder{sortRole, name})
	return err
}

// PutRolePolicy sets an inline policy of a role.
//
// Errors: MalformedPolicyDocument; LimitExceeded over 10,240 characters of all
// inline policies of the role.
func (s *Service) PutRolePolicy(ctx context.Context, g iam.Grant, in InlineInput) error {
	return s.putInline(ctx, g, holderAct{holder{sortRole, in.Entity}, ActionPutRolePolicy}, in)
}

// GetRolePolicy gives an inline policy of a role.
func (s *Service) GetRolePolicy(ctx context.Context, g iam.Grant, role, name string) (InlineInput, error) {
	return s.getInline(ctx, g, holderAct{holder{sortRole, role}, ActionGetRolePolicy}, name)
}

// ListRolePolicies lists the names of a role's inline policies.
func (s *Service) ListRolePolicies(ctx context.Context, g iam.Grant, role string, in PageInput) (Page[string], error) {
	return s.listInline(ctx, g, holderAct{holder{sortRole, role}, ActionListRolePolicies}, in)
}

// DeleteRolePolicy removes an inline policy of a role.
func (s *Service) DeleteRolePolicy(ctx context.Context, g iam.Grant, role, name string) error {
	return s.deleteInline(ctx, g, holderAct{holder{sortRole, role}, ActionDeleteRolePolicy}, name)
}

// AttachRolePolicy attaches a managed policy to a role.
func (s *Service) AttachRolePolicy(ctx context.Context, g iam.Grant, role, arn string) error {
	return s.attach(ctx, g, holderAct{holder{sortRole, role}, ActionAttachRolePolicy}, arn)
}

// DetachRolePolicy takes a managed policy off a role.
func (s *Service) DetachRolePolicy(ctx context.Context, g iam.Grant, role, arn string) error {
	return s.detach(ctx, g, holderAct{holder{sortRole, role}, ActionDetachRolePolicy}, arn)
}

// ListAttachedRolePolicies lists a role's managed policies.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, g iam.Grant, role string, in PathInput) (Page[AttachedPolicy], error) {
	return s.listAttached(ctx, g, holderAct{holder{sortRole, role}, ActionListAttachedRole}, in)
}

// PutRolePermissionsBoundary makes a managed policy the boundary of a role.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, g iam.Grant, role, arn string) error {
	return s.putBoundary(ctx, g, holderAct{holder{sortRole, role}, ActionPutRoleBoundary}, arn)
}

// DeleteRolePermissionsBoundary takes a role's boundary away.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, g iam.Grant, role string) error {
	return s.deleteBoundary(ctx, g, holderAct{holder{sortRole, role}, ActionDeleteRoleBoundary})
}

// TagRole adds tags to a role, or changes them.
func (s *Service) TagRole(ctx context.Context, g iam.Grant, role string, tags []call.Tag) error {
	return s.tagHolder(ctx, g, holderAct{holder{sortRole, role}, ActionTagRole}, tags)
}

// UntagRole removes tags of a role.
func (s *Service) UntagRole(ctx context.Context, g iam.Grant, role string, keys []string) error {
	return s.untagHolder(ctx, g, holderAct{holder{sortRole, role}, ActionUntagRole}, keys)
}

// ListRoleTags lists a role's tags by key.
func (s *Service) ListRoleTags(ctx context.Context, g iam.Grant, role string, in PageInput) (Page[call.Tag], error) {
	return s.listTagsOf(ctx, g, holderAct{holder{sortRole, role}, ActionListRoleTags}, in)
}
