package control

import (
	"context"
	"slices"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// CreateGroup makes a group of the path, "/" if empty. The grant is for the
// resource NewIdentityResource of the path and name.
//
// Errors: EntityAlreadyExists; LimitExceeded.
func (s *Service) CreateGroup(ctx context.Context, g iam.Grant, path, name string) (r directory.Group, err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionCreateGroup, NewIdentityResource(account, sortGroup, path, name))
	if err != nil {
		return directory.Group{}, err
	}
	defer e.end(&err)
	if err := checkName(e.op, "groupName", name, maxGroupName); err != nil {
		return directory.Group{}, err
	}
	if err := checkPath(e.op, &path); err != nil {
		return directory.Group{}, err
	}
	if _, taken := e.in.Groups.Taken(name); taken {
		return directory.Group{}, alreadyExists(e.op, "Group with name %s already exists.", name)
	}
	if e.in.Groups.Len() >= maxGroups {
		return directory.Group{}, overQuota(e.op, "GroupsPerAccount", maxGroups)
	}
	r = directory.Group{
		Account: account, Name: name, Path: path, ARN: NewIdentityResource(account, sortGroup, path, name),
		UID: tenant.NewUID(), ID: newID(groupID), CreatedAt: s.cfg.Now().UTC(),
	}
	k, err := e.uidKey(groupFamily, r.UID)
	if err != nil {
		return directory.Group{}, err
	}
	return r, e.commit(ctx, write{key: k, record: r})
}

// GroupMembers is a group with a page of its users.
type GroupMembers struct {
	Group directory.Group
	Users Page[directory.User]
}

// GetGroup gives a group with its users by name.
func (s *Service) GetGroup(ctx context.Context, g iam.Grant, name string, in PageInput) (GroupMembers, error) {
	all, r, err := s.groupOf(ctx, g, ActionGetGroup, name)
	if err != nil {
		return GroupMembers{}, err
	}
	users, err := identityPage("members/"+r.ARN, in, members(all, r.ID), func(name string) (directory.User, error) {
		u, _ := all.Users.Get(name)
		return *u.Record, nil
	})
	return GroupMembers{*r, users}, err
}

// members gives the names of the users of a group.
func members(in *directory.Account, id string) []string {
	var list []string
	in.Users.Each(func(u *directory.Entry[directory.User]) bool {
		if slices.Contains(u.Record.Groups, id) {
			list = append(list, u.Record.Name)
		}
		return true
	})
	return list
}

func (s *Service) groupOf(ctx context.Context, g iam.Grant, action, name string) (*directory.Account, *directory.Group, error) {
	all, err := s.looking(ctx, g, action, s.IdentityResource(g.Request().Owner.Account, sortGroup, name))
	if err != nil {
		return nil, nil, err
	}
	r, found := all.Groups.Get(name)
	if !found {
		return nil, nil, holder{sortGroup, name}.missing(opOf(action))
	}
	return all, r.Record, nil
}

// ListGroups lists the account's groups by name.
func (s *Service) ListGroups(ctx context.Context, g iam.Grant, in PathInput) (Page[directory.Group], error) {
	all, err := s.looking(ctx, g, ActionListGroups, IdentitiesResource(g.Request().Owner.Account, sortGroup))
	if err == nil {
		err = in.check("control.ListGroups")
	}
	if err != nil {
		return Page[directory.Group]{}, err
	}
	return listRecords("groups", in, all.Groups, func(r *directory.Group) (string, string) { return r.Name, r.Path })
}

// ListGroupsForUser lists the groups that a user is in by name.
func (s *Service) ListGroupsForUser(ctx context.Context, g iam.Grant, user string, in PageInput) (Page[directory.Group], error) {
	const op = "control.ListGroupsForUser"
	all, err := s.looking(ctx, g, ActionListGroupsForUser, s.IdentityResource(g.Request().Owner.Account, sortUser, user))
	if err != nil {
		return Page[directory.Group]{}, err
	}
	u, found := all.Users.Get(user)
	if !found {
		return Page[directory.Group]{}, holder{sortUser, user}.missing(op)
	}
	groups, _ := all.GroupsOf(u.Record)
	var list []string
	for _, r := range groups {
		list = append(list, r.Record.Name)
	}
	return identityPage("groups-of/"+u.Record.ARN, in, list, func(name string) (directory.Group, error) {
		r, _ := all.Groups.Get(name)
		return *r.Record, nil
	})
}

// UpdateGroupInput gives a group another name or path, as UpdateUserInput does
// for users.
type UpdateGroupInput struct {
	Name    string
	NewName string
	NewPath string
	Target  iam.Grant
}

// UpdateGroup gives a group another name or path. Its users and policies stay.
func (s *Service) UpdateGroup(ctx context.Context, g iam.Grant, in UpdateGroupInput) (err error) {
	e, _, err := s.editHolder(ctx, g, ActionUpdateGroup, holder{sortGroup, in.Name})
	if err != nil {
		return err
	}
	defer e.end(&err)
	old, _ := e.in.Groups.Get(in.Name)
	r := *old.Record
	if in.NewName != "" {
		r.Name = in.NewName
	}
	if in.NewPath != "" {
		r.Path = in.NewPath
	}
	r.ARN = NewIdentityResource(r.Account, sortGroup, r.Path, r.Name)
	if err := s.checkAlso(ctx, g, also{in.Target, ActionUpdateGroup, r.ARN}); err != nil {
		return err
	}
	if err := checkName(e.op, "newGroupName", r.Name, maxGroupName); err != nil {
		return err
	}
	if err := checkPath(e.op, &r.Path); err != nil {
		return err
	}
	if other, taken := e.in.Groups.Taken(r.Name); taken && other.Key != old.Key {
		return alreadyExists(e.op, "Group with name %s already exists.", r.Name)
	}
	return update(ctx, e, old, r)
}

// DeleteGroup removes a group.
//
// Errors: DeleteConflict while it has users or policies.
func (s *Service) DeleteGroup(ctx context.Context, g iam.Grant, name string) (err error) {
	e, p, err := s.editHolder(ctx, g, ActionDeleteGroup, holder{sortGroup, name})
	if err != nil {
		return err
	}
	defer e.end(&err)
	r, _ := e.in.Groups.Get(name)
	if len(members(e.in, r.Record.ID)) > 0 {
		return deleteConflict(e.op, "Cannot delete entity, must remove users from group first.")
	}
	if err := p.bare(e.op); err != nil {
		return err
	}
	return erase(ctx, e, r)
}

// AddUserToGroup puts a user into a group. One that is in it is no error.
//
// Errors: LimitExceeded over ten groups of a user.
func (s *Service) AddUserToGroup(ctx context.Context, g iam.Grant, group, user string) error {
	return s.setMember(ctx, g, ActionAddUserToGroup, membership{group, user, func(op string, groups []string, id string) ([]string, error) {
		if slices.Contains(groups, id) {
			return groups, nil
		}
		if len(groups) >= maxGroupsOfUser {
			return nil, overQuota(op, "GroupsPerUser", maxGroupsOfUser)
		}
		return append(groups, id), nil
	}})
}

// RemoveUserFromGroup takes a user out of a group. One that is not in it is no
// error.
func (s *Service) RemoveUserFromGroup(ctx context.Context, g iam.Grant, group, user string) error {
	return s.setMember(ctx, g, ActionRemoveUserFromGroup, membership{group, user, func(_ string, groups []string, id string) ([]string, error) {
		return slices.DeleteFunc(groups, func(in string) bool { return in == id }), nil
	}})
}

// membership is a change of the groups of a user.
type membership struct {
	group, user string
	change      func(op string, groups []string, id string) ([]string, error)
}

func (s *Service) setMember(ctx context.Context, g iam.Grant, action string, m membership) (err error) {
	e, _, err := s.editHolder(ctx, g, action, holder{sortGroup, m.group})
	if err != nil {
		return err
	}
	defer e.end(&err)
	group, _ := e.in.Groups.Get(m.group)
	u, found := e.in.Users.Get(m.user)
	if !found {
		return holder{sortUser, m.user}.missing(e.op)
	}
	groups, err := m.change(e.op, slices.Clone(u.Record.Groups), group.Record.ID)
	if err != nil || slices.Equal(groups, u.Record.Groups) {
		return err
	}
	return e.commit(ctx, rewrite(u, func(r *directory.User) { r.Groups = groups }))
}

// PutGroupPolicy sets an inline policy of a group.
//
// Errors: MalformedPolicyDocument; LimitExceeded over 5,120 characters of all
// inline policies of the group.
func (s *Service) PutGroupPolicy(ctx context.Context, g iam.Grant, in InlineInput) error {
	return s.putInline(ctx, g, holderAct{holder{sortGroup, in.Entity}, ActionPutGroupPolicy}, in)
}

// GetGroupPolicy gives an inline policy of a group.
func (s *Service) GetGroupPolicy(ctx context.Context, g iam.Grant, group, name string) (InlineInput, error) {
	return s.getInline(ctx, g, holderAct{holder{sortGroup, group}, ActionGetGroupPolicy}, name)
}

// ListGroupPolicies lists the names of a group's inline policies.
func (s *Service) ListGroupPolicies(ctx context.Context, g iam.Grant, group string, in PageInput) (Page[string], error) {
	return s.listInline(ctx, g, holderAct{holder{sortGroup, group}, ActionListGroupPolicies}, in)
}

// DeleteGroupPolicy removes an inline policy of a group.
func (s *Service) DeleteGroupPolicy(ctx context.Context, g iam.Grant, group, name string) error {
	return s.deleteInline(ctx, g, holderAct{holder{sortGroup, group}, ActionDeleteGroupPolicy}, name)
}

// AttachGroupPolicy attaches a managed policy to a group.
func (s *Service) AttachGroupPolicy(ctx context.Context, g iam.Grant, group, arn string) error {
	return s.attach(ctx, g, holderAct{holder{sortGroup, group}, ActionAttachGroupPolicy}, arn)
}

// DetachGroupPolicy takes a managed policy off a group.
func (s *Service) DetachGroupPolicy(ctx context.Context, g iam.Grant, group, arn string) error {
	return s.detach(ctx, g, holderAct{holder{sortGroup, group}, ActionDetachGroupPolicy}, arn)
}

// ListAttachedGroupPolicies lists a group's managed policies.
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, g iam.Grant, group string, in PathInput) (Page[AttachedPolicy], error) {
	return s.listAttached(ctx, g, holderAct{holder{sortGroup, group}, ActionListAttachedGroup}, in)
}
