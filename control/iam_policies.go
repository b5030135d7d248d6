package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// Grants for operations on a managed policy are for its ARN, owned by its
// account. Those on built-in policies, which can only be read, are for its ARN
// with the caller's account as the owner.

// CreatePolicyInput is a new managed policy. Path is "/" if empty.
type CreatePolicyInput struct {
	Name        string
	Path        string
	Description string
	Text        string
	Tags        []call.Tag
}

// PolicyView is a managed policy with how often it is in use: in its own
// account, and for one of the management account in all.
type PolicyView struct {
	directory.Policy
	Attachments  int
	BoundaryUses int
}

// CreatePolicy makes a managed policy, with the version v1. The grant is for
// the resource NewIdentityResource of the path and name.
//
// Errors: EntityAlreadyExists; LimitExceeded; MalformedPolicyDocument;
// InvalidInput.
func (s *Service) CreatePolicy(ctx context.Context, g iam.Grant, in CreatePolicyInput) (r directory.Policy, err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionCreatePolicy, NewIdentityResource(account, sortPolicy, in.Path, in.Name))
	if err != nil {
		return directory.Policy{}, err
	}
	defer e.end(&err)
	if err := e.checkNewPolicy(&in); err != nil {
		return directory.Policy{}, err
	}
	now := s.cfg.Now().UTC()
	r = directory.Policy{
		Account: account, Name: in.Name, Path: in.Path, ARN: NewIdentityResource(account, sortPolicy, in.Path, in.Name), ID: newID(policyID),
		Description: in.Description, Tags: slices.Clone(in.Tags),
		Versions: []directory.PolicyVersion{{ID: "v1", Text: in.Text, CreatedAt: now}}, Default: "v1", Next: 2,
		CreatedAt: now, UpdatedAt: now,
	}
	return r, e.create(ctx, policyFamily, foldedName(r.Name), r)
}

func (e *edit) checkNewPolicy(in *CreatePolicyInput) error {
	err := checkName(e.op, "policyName", in.Name, maxPolicyName)
	if err == nil {
		err = checkPath(e.op, &in.Path)
	}
	if err == nil {
		err = checkDescription(e.op, in.Description)
	}
	if err == nil {
		err = checkIAMTags(e.op, in.Tags)
	}
	if err == nil {
		_, err = checkManaged(e.op, in.Text)
	}
	if err != nil {
		return err
	}
	if _, taken := e.in.Policies.Taken(in.Name); taken {
		return alreadyExists(e.op, "A policy called %s already exists. Duplicate names are not allowed.", in.Name)
	}
	if e.in.Policies.Len() >= maxPolicies {
		return overQuota(e.op, "PoliciesPerAccount", maxPolicies)
	}
	return nil
}

// checkManaged checks the text of a managed policy. One that is written to be
// an RCP names a principal, which no other managed policy does.
func checkManaged(op, text string) (*policy.Document, error) {
	doc, err := checkPolicyText(op, policy.ManagedUse, policy.Identity, text)
	if err == nil {
		return doc, nil
	}
	if rcp, _, asRCP := policy.ParseFor(policy.ManagedUse, policy.RCP, []byte(text)); asRCP == nil {
		return rcp, nil
	}
	return nil, err
}

// policyAt finds the policy that a grant for reading is about.
func (s *Service) policyAt(ctx context.Context, g iam.Grant, action, arn string) (PolicyView, error) {
	in, err := s.looking(ctx, g, action, arn)
	if err != nil {
		return PolicyView{}, err
	}
	if r, found := directory.Builtin(arn); found {
		return s.viewPolicy(in, r), nil
	}
	r, found := in.Policy(arn)
	if !found {
		return PolicyView{}, noPolicy(opOf(action), arn)
	}
	return s.viewPolicy(in, r.Record), nil
}

func noPolicy(op, arn string) error {
	return noSuchEntity(op, "Policy %s was not found.", printable(arn))
}

// viewPolicy counts where a policy is in use, as the account may know it.
func (s *Service) viewPolicy(in *directory.Account, r *directory.Policy) PolicyView {
	var u policyUse
	s.usedIn(in, r, func(_, _ string, boundary bool) { u.count(boundary) })
	return PolicyView{*r, u.attachments, u.boundaries}
}

// policyUse is how often a policy is in use.
type policyUse struct{ attachments, boundaries int }

func (u *policyUse) count(boundary bool) {
	if boundary {
		u.boundaries++
	} else {
		u.attachments++
	}
}

// policyUses is what viewPolicy counts, of all policies by one look at who has
// some: lists ask for thousands.
func (s *Service) policyUses(in *directory.Account) map[string]policyUse {
	uses := map[string]policyUse{}
	count := func(arn string, boundary bool) {
		u := uses[arn]
		u.count(boundary)
		uses[arn] = u
	}
	in.Uses(count)
	if in.ID == s.management {
		s.ix.identities.each(func(id tenant.AccountID, other *directory.Account) {
			if id == in.ID {
				return
			}
			other.Uses(func(arn string, boundary bool) {
				if directory.AccountIn(arn) == in.ID {
					count(arn, boundary)
				}
			})
		})
	}
	return uses
}

// usedIn calls fn for every user, group and role that has a policy: of the
// account, and where the account is the management's and the policy its own,
// of all accounts.
func (s *Service) usedIn(in *directory.Account, r *directory.Policy, fn func(sort, arn string, boundary bool)) {
	if in.ID != s.management || r.Account != s.management {
		in.Using(r.ARN, fn)
		return
	}
	s.ix.identities.each(func(_ tenant.AccountID, other *directory.Account) { other.Using(r.ARN, fn) })
}

// GetPolicy gives a managed policy.
func (s *Service) GetPolicy(ctx context.Context, g iam.Grant, arn string) (PolicyView, error) {
	return s.policyAt(ctx, g, ActionGetPolicy, arn)
}

// The scopes and usages of ListPolicies.
const (
	ScopeAll         = "All"
	ScopeAWS         = "AWS"
	ScopeLocal       = "Local"
	UsagePermissions = "PermissionsPolicy"
	UsageBoundary    = "PermissionsBoundary"
)

// ListPoliciesInput asks for a page of managed policies. Scope is All if
// empty; Usage, if not empty, leaves only those in use that way.
type ListPoliciesInput struct {
	PathInput
	Scope        string
	OnlyAttached bool
	Usage        string
}

func (in *ListPoliciesInput) check(op string) error {
	if in.Scope == "" {
		in.Scope = ScopeAll
	}
	if !slices.Contains([]string{ScopeAll, ScopeAWS, ScopeLocal}, in.Scope) {
		return breaks(op, in.Scope, "scope", "Member must satisfy enum value set: [All, AWS, Local]")
	}
	if !slices.Contains([]string{"", UsagePermissions, UsageBoundary}, in.Usage) {
		return breaks(op, in.Usage, "policyUsageFilter", "Member must satisfy enum value set: [PermissionsPolicy, PermissionsBoundary]")
	}
	return in.PathInput.check(op)
}

// ListPolicies lists built-in policies and those of the account by ARN.
func (s *Service) ListPolicies(ctx context.Context, g iam.Grant, in ListPoliciesInput) (Page[PolicyView], error) {
	all, err := s.looking(ctx, g, ActionListPolicies, IdentitiesResource(g.Request().Owner.Account, sortPolicy))
	if err == nil {
		err = in.check("control.ListPolicies")
	}
	if err != nil {
		return Page[PolicyView]{}, err
	}
	found, uses := map[string]PolicyView{}, s.policyUses(all)
	look := func(r *directory.Policy) {
		if !strings.HasPrefix(r.Path, in.PathPrefix) {
			return
		}
		v := PolicyView{*r, uses[r.ARN].attachments, uses[r.ARN].boundaries}
		switch {
		case in.OnlyAttached && v.Attachments+v.BoundaryUses == 0,
			in.Usage == UsagePermissions && v.Attachments == 0, in.Usage == UsageBoundary && v.BoundaryUses == 0:
			return
		}
		found[r.ARN] = v
	}
	if in.Scope != ScopeLocal {
		for _, r := range directory.Builtins() {
			look(r)
		}
	}
	if in.Scope != ScopeAWS {
		all.Policies.Each(func(r *directory.Entry[directory.Policy]) bool { look(r.Record); return true })
	}
	var arns []string
	for arn := range found {
		arns = append(arns, arn)
	}
	list := fmt.Sprint("policies ", in.Scope, in.OnlyAttached, in.Usage, in.PathPrefix)
	return identityPage(list, in.PageInput, arns, func(arn string) (PolicyView, error) { return found[arn], nil })
}

// editPolicy begins a change of a managed policy. The caller defers end.
func (s *Service) editPolicy(ctx context.Context, g iam.Grant, action, arn string) (*edit, *directory.Entry[directory.Policy], error) {
	e, err := s.editing(ctx, g, action, arn)
	if err != nil {
		return nil, nil, err
	}
	r, found := e.in.Policy(arn)
	switch {
	case directory.IsBuiltin(arn):
		err = fault.New(e.op, fault.Denied, "The policy %s is built in and cannot be changed.", printable(arn)).WithCode("AccessDenied")
	case !found:
		err = noPolicy(e.op, arn)
	default:
		return e, r, nil
	}
	e.end(&err)
	return nil, nil, err
}

// DeletePolicy removes a managed policy.
//
// Errors: DeleteConflict while it is in use, or has versions beside the
// default one.
func (s *Service) DeletePolicy(ctx context.Context, g iam.Grant, arn string) (err error) {
	if g.Request().Owner.Account == s.management {
		s.sharedPolicies.Lock()
		defer s.sharedPolicies.Unlock()
	}
	e, r, err := s.editPolicy(ctx, g, ActionDeletePolicy, arn)
	if err != nil {
		return err
	}
	defer e.end(&err)
	used := false
	s.usedIn(e.in, r.Record, func(string, string, bool) { used = true })
	switch {
	case used || len(s.ix.org.Load().AttachedTo(arn)) > 0:
		return deleteConflict(e.op, "Cannot delete a policy attached to entities.")
	case len(r.Record.Versions) > 1:
		return deleteConflict(e.op, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
	}
	return erase(ctx, e, r)
}

// CreateVersionInput is a new version of a managed policy.
type CreateVersionInput struct {
	ARN        string
	Text       string
	SetDefault bool
}

// CreatePolicyVersion adds a version to a managed policy.
//
// Errors: LimitExceeded over five versions; MalformedPolicyDocument.
func (s *Service) CreatePolicyVersion(ctx context.Context, g iam.Grant, in CreateVersionInput) (v directory.PolicyVersion, err error) {
	e, r, err := s.editPolicy(ctx, g, ActionCreatePolicyVersion, in.ARN)
	if err != nil {
		return directory.PolicyVersion{}, err
	}
	defer e.end(&err)
	if _, err := checkManaged(e.op, in.Text); err != nil {
		return directory.PolicyVersion{}, err
	}
	if in.SetDefault {
		if err := s.fits(e.op, in.ARN, in.Text); err != nil {
			return directory.PolicyVersion{}, err
		}
	}
	if len(r.Record.Versions) >= maxPolicyVersions {
		return directory.PolicyVersion{}, limitExceeded(e.op, "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
	}
	now := s.cfg.Now().UTC()
	v = directory.PolicyVersion{ID: fmt.Sprint("v", r.Record.Next), Text: in.Text, CreatedAt: now}
	return v, e.commit(ctx, rewrite(r, func(p *directory.Policy) {
		p.Versions, p.Next, p.UpdatedAt = append(slices.Clip(p.Versions), v), p.Next+1, now
		if in.SetDefault {
			p.Default = v.ID
		}
	}))
}

// VersionView is a version of a managed policy; Default says that it counts.
type VersionView struct {
	directory.PolicyVersion
	Default bool
}

// GetPolicyVersion gives a version of a managed policy.
func (s *Service) GetPolicyVersion(ctx context.Context, g iam.Grant, arn, version string) (VersionView, error) {
	r, err := s.policyAt(ctx, g, ActionGetPolicyVersion, arn)
	if err != nil {
		return VersionView{}, err
	}
	v, found := r.Version(version)
	if !found {
		return VersionView{}, noVersion("control.GetPolicyVersion", arn, version)
	}
	return VersionView{v, v.ID == r.Default}, nil
}

func noVersion(op, arn, version string) error {
	return noSuchEntity(op, "Policy %s version %s does not exist or is not attachable.", printable(arn), printable(version))
}

// ListPolicyVersions lists the versions of a managed policy, the newest first.
func (s *Service) ListPolicyVersions(ctx context.Context, g iam.Grant, arn string, in PageInput) (Page[VersionView], error) {
	r, err := s.policyAt(ctx, g, ActionListPolicyVersions, arn)
	if err != nil {
		return Page[VersionView]{}, err
	}
	byOrder := map[string]VersionView{}
	var order []string
	for i, v := range r.Versions {
		at := fmt.Sprintf("%d", len(r.Versions)-i)
		byOrder[at], order = VersionView{v, v.ID == r.Default}, append(order, at)
	}
	return identityPage("versions/"+arn, in, order, func(at string) (VersionView, error) { return byOrder[at], nil })
}

// SetDefaultPolicyVersion makes a version the one that counts.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, g iam.Grant, arn, version string) (err error) {
	e, r, err := s.editPolicy(ctx, g, ActionSetDefaultPolicyVersion, arn)
	if err != nil {
		return err
	}
	defer e.end(&err)
	v, found := r.Record.Version(version)
	if !found {
		return noVersion(e.op, arn, version)
	}
	if err := s.fits(e.op, arn, v.Text); err != nil {
		return err
	}
	return e.commit(ctx, rewrite(r, func(p *directory.Policy) { p.Default, p.UpdatedAt = version, s.cfg.Now().UTC() }))
}

// DeletePolicyVersion removes a version that is not the default one.
func (s *Service) DeletePolicyVersion(ctx context.Context, g iam.Grant, arn, version string) (err error) {
	e, r, err := s.editPolicy(ctx, g, ActionDeletePolicyVersion, arn)
	if err != nil {
		return err
	}
	defer e.end(&err)
	if _, found := r.Record.Version(version); !found {
		return noVersion(e.op, arn, version)
	}
	if version == r.Record.Default {
		return deleteConflict(e.op, "Cannot delete the default version of a policy.")
	}
	return e.commit(ctx, rewrite(r, func(p *directory.Policy) {
		p.Versions = slices.DeleteFunc(slices.Clone(p.Versions), func(v directory.PolicyVersion) bool { return v.ID == version })
		p.UpdatedAt = s.cfg.Now().UTC()
	}))
}

// ListEntitiesInput asks who has a managed policy. Filter is empty or one of
// User, Group, Role; Usage as in ListPoliciesInput.
type ListEntitiesInput struct {
	PathInput
	ARN    string
	Filter string
	Usage  string
}

// PolicyEntity is a user, group or role that has a policy. Sort is user,
// group or role.
type PolicyEntity struct {
	Sort string
	Name string
	ID   string
	ARN  string
}

// ListEntitiesForPolicy lists the users, groups and roles that have a policy:
// groups first, then roles, then users, each by ARN.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, g iam.Grant, in ListEntitiesInput) (Page[PolicyEntity], error) {
	const op = "control.ListEntitiesForPolicy"
	r, err := s.policyAt(ctx, g, ActionListEntitiesForPolicy, in.ARN)
	if err == nil {
		err = in.check(op)
	}
	if err != nil {
		return Page[PolicyEntity]{}, err
	}
	if !slices.Contains([]string{"", "User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy"}, in.Filter) {
		return Page[PolicyEntity]{}, breaks(op, in.Filter, "entityFilter", "Member must satisfy enum value set: [User, Role, Group, LocalManagedPolicy, AWSManagedPolicy]")
	}
	found := map[string]PolicyEntity{}
	s.usedIn(s.identitiesOf(g.Request().Owner.Account), &r.Policy, func(sort, arn string, boundary bool) {
		_, path, name := SplitIdentityResource(arn)
		switch {
		case in.Filter != "" && !strings.EqualFold(in.Filter, sort), !strings.HasPrefix(path, in.PathPrefix),
			in.Usage == UsagePermissions && boundary, in.Usage == UsageBoundary && !boundary:
			return
		}
		found[sort+"/"+arn] = PolicyEntity{Sort: sort, Name: name, ID: s.publicID(sort, arn), ARN: arn}
	})
	var keys []string
	for k := range found {
		keys = append(keys, k)
	}
	return identityPage("entities/"+in.ARN+in.Filter+in.Usage+in.PathPrefix, in.PageInput, keys, func(k string) (PolicyEntity, error) { return found[k], nil })
}

// publicID gives the public id of a user, group or role.
func (s *Service) publicID(sort, arn string) string {
	in := s.identitiesOf(directory.AccountIn(arn))
	_, _, name := SplitIdentityResource(arn)
	switch sort {
	case sortUser:
		if u, found := in.Users.Get(name); found {
			return u.Record.ID
		}
	case sortGroup:
		if r, found := in.Groups.Get(name); found {
			return r.Record.ID
		}
	case sortRole:
		if r, found := in.Roles.Get(name); found {
			return r.Record.ID
		}
	}
	return ""
}

// TagPolicy adds tags to a managed policy, or changes them.
func (s *Service) TagPolicy(ctx context.Context, g iam.Grant, arn string, tags []call.Tag) (err error) {
	e, r, err := s.editPolicy(ctx, g, ActionTagPolicy, arn)
	if err != nil {
		return err
	}
	defer e.end(&err)
	all, err := addTags(e.op, slices.Clone(r.Record.Tags), tags)
	if err != nil {
		return err
	}
	return e.commit(ctx, rewrite(r, func(p *directory.Policy) { p.Tags = all }))
}

// UntagPolicy removes tags of a managed policy.
func (s *Service) UntagPolicy(ctx context.Context, g iam.Grant, arn string, keys []string) (err error) {
	e, r, err := s.editPolicy(ctx, g, ActionUntagPolicy, arn)
	if err != nil {
		return err
	}
	defer e.end(&err)
	return e.commit(ctx, rewrite(r, func(p *directory.Policy) { p.Tags = removeTags(slices.Clone(p.Tags), keys) }))
}

// ListPolicyTags lists a managed policy's tags by key.
func (s *Service) ListPolicyTags(ctx context.Context, g iam.Grant, arn string, in PageInput) (Page[call.Tag], error) {
	r, err := s.policyAt(ctx, g, ActionListPolicyTags, arn)
	if err != nil {
		return Page[call.Tag]{}, err
	}
	return tagPage("tags/"+arn, in, r.Tags)
}
