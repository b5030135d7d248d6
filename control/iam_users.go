package control

import (
	"context"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// CreateUserInput is a new user. Path is "/" if empty; Boundary is the ARN of
// a managed policy, or empty.
type CreateUserInput struct {
	Name     string
	Path     string
	Boundary string
	Tags     []call.Tag
}

// CreateUser makes a user, who may do nothing yet. The grant is for the
// resource NewIdentityResource of the path and name.
//
// Errors: EntityAlreadyExists, also for a name that differs by case only;
// LimitExceeded; InvalidInput; NoSuchEntity for the boundary.
func (s *Service) CreateUser(ctx context.Context, g iam.Grant, in CreateUserInput) (u directory.User, err error) {
	account := g.Request().Owner.Account
	defer s.sharing(g, in.Boundary)()
	e, err := s.editing(ctx, g, ActionCreateUser, NewIdentityResource(account, sortUser, in.Path, in.Name))
	if err != nil {
		return directory.User{}, err
	}
	defer e.end(&err)
	if err := e.checkNewUser(&in); err != nil {
		return directory.User{}, err
	}
	u = directory.User{
		Account: account, Name: in.Name, Path: in.Path, ARN: NewIdentityResource(account, sortUser, in.Path, in.Name),
		UID: tenant.NewUID(), ID: newID(userID), Tags: slices.Clone(in.Tags),
		Attached: directory.Attached{Boundary: in.Boundary}, CreatedAt: s.cfg.Now().UTC(),
	}
	k, err := e.uidKey(userFamily, u.UID)
	if err != nil {
		return directory.User{}, err
	}
	return u, e.commit(ctx, write{key: k, record: u})
}

func (e *edit) checkNewUser(in *CreateUserInput) error {
	err := checkName(e.op, "userName", in.Name, maxUserName)
	if err == nil {
		err = checkPath(e.op, &in.Path)
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
	if _, taken := e.in.Users.Taken(in.Name); taken {
		return alreadyExists(e.op, "User with name %s already exists.", in.Name)
	}
	if e.in.Users.Len() >= maxUsers {
		return overQuota(e.op, "UsersPerAccount", maxUsers)
	}
	return nil
}

// GetUser gives a user. What it holds is shared and must not be changed, as of
// all records that this package gives.
func (s *Service) GetUser(ctx context.Context, g iam.Grant, name string) (directory.User, error) {
	in, err := s.looking(ctx, g, ActionGetUser, s.IdentityResource(g.Request().Owner.Account, sortUser, name))
	if err != nil {
		return directory.User{}, err
	}
	u, found := in.Users.Get(name)
	if !found {
		return directory.User{}, holder{sortUser, name}.missing("control.GetUser")
	}
	return *u.Record, nil
}

// ListUsers lists the account's users by name.
func (s *Service) ListUsers(ctx context.Context, g iam.Grant, in PathInput) (Page[directory.User], error) {
	account := g.Request().Owner.Account
	all, err := s.looking(ctx, g, ActionListUsers, IdentitiesResource(account, sortUser))
	if err == nil {
		err = in.check("control.ListUsers")
	}
	if err != nil {
		return Page[directory.User]{}, err
	}
	return listRecords("users", in, all.Users, func(u *directory.User) (string, string) { return u.Name, u.Path })
}

// listRecords gives a page of a table's records whose path has the prefix.
func listRecords[T any](list string, in PathInput, from *directory.Table[T], of func(*T) (name, path string)) (Page[T], error) {
	var all []string
	from.Each(func(e *directory.Entry[T]) bool {
		if name, path := of(e.Record); strings.HasPrefix(path, in.PathPrefix) {
			all = append(all, name)
		}
		return true
	})
	return identityPage(list+in.PathPrefix, in.PageInput, all, func(name string) (T, error) {
		e, _ := from.Get(name)
		return *e.Record, nil
	})
}

// UpdateUserInput gives a user another name or path; empty leaves it. As in
// AWS the caller needs iam:UpdateUser on what the user is and on what it is to
// be: Target is the grant for the latter, for NewIdentityResource of the new
// path and name.
type UpdateUserInput struct {
	Name    string
	NewName string
	NewPath string
	Target  iam.Grant
}

// UpdateUser gives a user another name or path. Policies that name it by its
// ARN do not follow, and roles do not trust it any more that did; its keys,
// groups and policies stay.
func (s *Service) UpdateUser(ctx context.Context, g iam.Grant, in UpdateUserInput) (err error) {
	e, _, err := s.editHolder(ctx, g, ActionUpdateUser, holder{sortUser, in.Name})
	if err != nil {
		return err
	}
	defer e.end(&err)
	u, _ := e.in.Users.Get(in.Name)
	r := *u.Record
	if in.NewName != "" {
		r.Name = in.NewName
	}
	if in.NewPath != "" {
		r.Path = in.NewPath
	}
	r.ARN = NewIdentityResource(r.Account, sortUser, r.Path, r.Name)
	if err := s.checkAlso(ctx, g, also{in.Target, ActionUpdateUser, r.ARN}); err != nil {
		return err
	}
	if err := checkName(e.op, "newUserName", r.Name, maxUserName); err != nil {
		return err
	}
	if err := checkPath(e.op, &r.Path); err != nil {
		return err
	}
	if e.account == s.managementAccount() && in.Name == AdminUser && r.Name != AdminUser {
		return invalidInput(e.op, "The %s of the management account keeps its name: the node finds it by that.", AdminUser)
	}
	if other, taken := e.in.Users.Taken(r.Name); taken && other.Key != u.Key {
		return alreadyExists(e.op, "User with name %s already exists.", r.Name)
	}
	// Keys of the first schema name their user only: they are written anew
	// first, so that they stay the user's. A node that changes one at the same
	// time makes this fail, and what was written by then says what was so.
	for _, k := range e.keysOf(u) {
		if k.Record.UserUID == "" {
			if err := e.commit(ctx, rewrite(k, func(k *directory.AccessKey) { k.UserUID = r.UID })); err != nil {
				return err
			}
		}
	}
	return e.commit(ctx, write{u.Key, u.Revision, r})
}

// also is the second grant of an act that needs two, and what it has to be for.
type also struct {
	grant            iam.Grant
	action, resource string
}

// checkAlso checks the second grant of an act that needs two: it has to be of
// the same principal as the first.
func (s *Service) checkAlso(ctx context.Context, first iam.Grant, second also) error {
	renewed, err := s.check(ctx, second.grant, second.action, second.resource)
	if err != nil {
		return err
	}
	if a, b := first.Request().Principal, renewed.Request().Principal; a.ARN != b.ARN || a.Account != b.Account || a.AccessKeyID != b.AccessKeyID {
		return fault.New(opOf(second.action), fault.Denied, "the grants of an act are of two principals")
	}
	return nil
}

// DeleteUser removes a user.
//
// Errors: DeleteConflict while it has keys, policies or groups.
func (s *Service) DeleteUser(ctx context.Context, g iam.Grant, name string) (err error) {
	e, p, err := s.editHolder(ctx, g, ActionDeleteUser, holder{sortUser, name})
	if err != nil {
		return err
	}
	defer e.end(&err)
	u, _ := e.in.Users.Get(name)
	switch {
	case len(u.Record.Groups) > 0:
		return deleteConflict(e.op, "Cannot delete entity, must remove users from group first.")
	case len(e.keysOf(u)) > 0:
		return deleteConflict(e.op, "Cannot delete entity, must delete access keys first.")
	}
	if err := p.bare(e.op); err != nil {
		return err
	}
	return erase(ctx, e, u)
}

// bare refuses to delete what still has policies.
func (p principal) bare(op string) error {
	switch {
	case len(p.attached.Managed) > 0:
		return deleteConflict(op, "Cannot delete entity, must detach all policies first.")
	case len(p.attached.Inline) > 0:
		return deleteConflict(op, "Cannot delete entity, must delete policies first.")
	}
	return nil
}

// keysOf gives the access keys of a user.
func (e *edit) keysOf(u *directory.Entry[directory.User]) []*directory.Entry[directory.AccessKey] {
	return keysOf(e.in, u)
}

// PutUserPolicy sets an inline policy of a user.
//
// Errors: MalformedPolicyDocument; LimitExceeded over 2,048 characters of all
// inline policies of the user.
func (s *Service) PutUserPolicy(ctx context.Context, g iam.Grant, in InlineInput) error {
	return s.putInline(ctx, g, holderAct{holder{sortUser, in.Entity}, ActionPutUserPolicy}, in)
}

// GetUserPolicy gives an inline policy of a user.
func (s *Service) GetUserPolicy(ctx context.Context, g iam.Grant, user, name string) (InlineInput, error) {
	return s.getInline(ctx, g, holderAct{holder{sortUser, user}, ActionGetUserPolicy}, name)
}

// ListUserPolicies lists the names of a user's inline policies.
func (s *Service) ListUserPolicies(ctx context.Context, g iam.Grant, user string, in PageInput) (Page[string], error) {
	return s.listInline(ctx, g, holderAct{holder{sortUser, user}, ActionListUserPolicies}, in)
}

// DeleteUserPolicy removes an inline policy of a user.
func (s *Service) DeleteUserPolicy(ctx context.Context, g iam.Grant, user, name string) error {
	return s.deleteInline(ctx, g, holderAct{holder{sortUser, user}, ActionDeleteUserPolicy}, name)
}

// AttachUserPolicy attaches a managed policy to a user.
func (s *Service) AttachUserPolicy(ctx context.Context, g iam.Grant, user, arn string) error {
	return s.attach(ctx, g, holderAct{holder{sortUser, user}, ActionAttachUserPolicy}, arn)
}

// DetachUserPolicy takes a managed policy off a user.
func (s *Service) DetachUserPolicy(ctx context.Context, g iam.Grant, user, arn string) error {
	return s.detach(ctx, g, holderAct{holder{sortUser, user}, ActionDetachUserPolicy}, arn)
}

// ListAttachedUserPolicies lists a user's managed policies.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, g iam.Grant, user string, in PathInput) (Page[AttachedPolicy], error) {
	return s.listAttached(ctx, g, holderAct{holder{sortUser, user}, ActionListAttachedUser}, in)
}

// PutUserPermissionsBoundary makes a managed policy the boundary of a user.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, g iam.Grant, user, arn string) error {
	return s.putBoundary(ctx, g, holderAct{holder{sortUser, user}, ActionPutUserBoundary}, arn)
}

// DeleteUserPermissionsBoundary takes a user's boundary away.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, g iam.Grant, user string) error {
	return s.deleteBoundary(ctx, g, holderAct{holder{sortUser, user}, ActionDeleteUserBoundary})
}

// TagUser adds tags to a user, or changes them.
func (s *Service) TagUser(ctx context.Context, g iam.Grant, user string, tags []call.Tag) error {
	return s.tagHolder(ctx, g, holderAct{holder{sortUser, user}, ActionTagUser}, tags)
}

// UntagUser removes tags of a user.
func (s *Service) UntagUser(ctx context.Context, g iam.Grant, user string, keys []string) error {
	return s.untagHolder(ctx, g, holderAct{holder{sortUser, user}, ActionUntagUser}, keys)
}

// ListUserTags lists a user's tags by key.
func (s *Service) ListUserTags(ctx context.Context, g iam.Grant, user string, in PageInput) (Page[call.Tag], error) {
	return s.listTagsOf(ctx, g, holderAct{holder{sortUser, user}, ActionListUserTags}, in)
}
