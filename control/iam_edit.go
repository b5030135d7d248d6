package control

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// IdentityResource is the resource that grants for operations on a user,
// group or role are made for: its ARN, and for one that does not exist the
// ARN that it would have with the path /. The sort is user, group or role.
func (s *Service) IdentityResource(account tenant.AccountID, sort, name string) string {
	if in, found := s.ix.identities.get(account); found {
		if arn, found := arnIn(in, sort, name); found {
			return arn
		}
	}
	return NewIdentityResource(account, sort, "/", name)
}

// NewIdentityResource is the resource of what does not exist yet: the sort is
// user, group, role or policy.
func NewIdentityResource(account tenant.AccountID, sort, path, name string) string {
	if path == "" {
		path = "/"
	}
	return "arn:aws:iam::" + string(account) + ":" + sort + path + name
}

// SplitIdentityResource gives what arn:aws:iam::ACCOUNT:SORT/path/name is made
// of: the sort, the path with its slashes, and the name. A path may have colons.
func SplitIdentityResource(arn string) (sort, path, name string) {
	parts := strings.SplitN(arn, ":", 6)
	sort, rest, _ := strings.Cut(parts[len(parts)-1], "/")
	i := strings.LastIndexByte(rest, '/')
	return sort, "/" + rest[:i+1], rest[i+1:]
}

// IdentitiesResource is the resource of a list: of all users, groups, roles,
// policies or oidc-providers of an account.
func IdentitiesResource(account tenant.AccountID, sort string) string {
	return "arn:aws:iam::" + string(account) + ":" + sort + "/"
}

// IdentityAccountResource is the resource of operations on the identities of
// an account as a whole: its summary, its details, simulations of policies
// that are not attached.
func IdentityAccountResource(account tenant.AccountID) string {
	return "arn:aws:iam::" + string(account) + ":root"
}

func arnIn(in *directory.Account, sort, name string) (string, bool) {
	switch sort {
	case sortUser:
		if u, found := in.Users.Get(name); found {
			return u.Record.ARN, true
		}
	case sortGroup:
		if g, found := in.Groups.Get(name); found {
			return g.Record.ARN, true
		}
	case sortRole:
		if r, found := in.Roles.Get(name); found {
			return r.Record.ARN, true
		}
	}
	return "", false
}

// The sorts of identities, as in their ARNs.
const (
	sortUser     = "user"
	sortGroup    = "group"
	sortRole     = "role"
	sortPolicy   = "policy"
	sortProvider = "oidc-provider"
)

// opOf names the operation of an action in errors.
func opOf(action string) string {
	_, name, _ := strings.Cut(action, ":")
	return "control." + name
}

// identitiesOf gives an account's; empty ones if it has none.
func (s *Service) identitiesOf(account tenant.AccountID) *directory.Account {
	if in, found := s.ix.identities.get(account); found {
		return in
	}
	return directory.NewAccount(account)
}

// looking checks a grant for reading identities, and gives them.
func (s *Service) looking(ctx context.Context, g iam.Grant, action, resource string) (*directory.Account, error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, action, resource); err != nil {
		return nil, err
	}
	return s.identitiesOf(account), nil
}

// edit is a change of one account's identities in progress.
type edit struct {
	*act
	s  *Service
	op string
	// owner is whose key seals the account's records.
	owner tenant.UID
	// in is the identities before the change. The account's lock is held.
	in *directory.Account
}

// editing begins a change of an account's identities. The caller defers end.
func (s *Service) editing(ctx context.Context, g iam.Grant, action, resource string) (*edit, error) {
	a, err := s.begin(ctx, g, action, resource)
	if err != nil {
		return nil, err
	}
	owner, _ := s.ix.accounts.get(a.account)
	return &edit{act: a, s: s, op: opOf(action), owner: owner.UID, in: s.identitiesOf(a.account)}, nil
}

// commit makes the change, with IAM's code for a lost race.
func (e *edit) commit(ctx context.Context, writes ...write) error {
	err := e.s.commit(ctx, writes...)
	var f *fault.Error
	if fault.Is(err, fault.Conflict) && errors.As(err, &f) && f.Code == "ResourceConflictException" {
		return unmodifiable(e.op, err)
	}
	return err
}

// create writes a record under a name that is hidden.
func (e *edit) create(ctx context.Context, f family, name string, record any) error {
	k, err := e.s.hide(f, e.owner, name)
	if err != nil {
		return err
	}
	return e.commit(ctx, write{key: k, record: record})
}

// update writes an entry's record anew.
func update[T any](ctx context.Context, e *edit, at *directory.Entry[T], record T) error {
	return e.commit(ctx, write{at.Key, at.Revision, record})
}

// erase deletes an entry's record.
func erase[T any](ctx context.Context, e *edit, at *directory.Entry[T]) error {
	return e.commit(ctx, write{key: at.Key, last: at.Revision})
}

// holder is a user, group or role as what policies are attached to.
type holder struct {
	sort, name string
}

func (h holder) missing(op string) error {
	return noSuchEntity(op, "The %s with name %s cannot be found.", h.sort, printable(h.name))
}

// principal is what users, groups and roles have in common in their records.
type principal struct {
	arn      string
	attached directory.Attached
	tags     []call.Tag
	// put gives the write of the record with these policies and tags in it.
	put func(directory.Attached, []call.Tag) write
}

// find gives a holder of the account; the policies and tags are copies.
func (h holder) find(in *directory.Account) (principal, bool) {
	switch h.sort {
	case sortUser:
		if u, found := in.Users.Get(h.name); found {
			return principal{u.Record.ARN, u.Record.Attached, u.Record.Tags, func(a directory.Attached, t []call.Tag) write {
				return rewrite(u, func(r *directory.User) { r.Attached, r.Tags = a, t })
			}}, true
		}
	case sortGroup:
		if g, found := in.Groups.Get(h.name); found {
			return principal{g.Record.ARN, g.Record.Attached, nil, func(a directory.Attached, _ []call.Tag) write {
				return rewrite(g, func(r *directory.Group) { r.Attached = a })
			}}, true
		}
	case sortRole:
		if r, found := in.Roles.Get(h.name); found {
			return principal{r.Record.ARN, r.Record.Attached, r.Record.Tags, func(a directory.Attached, t []call.Tag) write {
				return rewrite(r, func(r *directory.Role) { r.Attached, r.Tags = a, t })
			}}, true
		}
	}
	return principal{}, false
}

// rewrite is the write of a copy of an entry's record with a change in it.
func rewrite[T any](at *directory.Entry[T], change func(*T)) write {
	r := *at.Record
	change(&r)
	return write{at.Key, at.Revision, r}
}

// holderOf checks a grant for reading a holder, and gives it.
func (s *Service) holderOf(ctx context.Context, g iam.Grant, action string, h holder) (principal, error) {
	in, err := s.looking(ctx, g, action, s.IdentityResource(g.Request().Owner.Account, h.sort, h.name))
	if err != nil {
		return principal{}, err
	}
	p, found := h.find(in)
	if !found {
		return principal{}, h.missing(opOf(action))
	}
	return p, nil
}

// editHolder begins a change of a holder that exists. The caller defers end.
func (s *Service) editHolder(ctx context.Context, g iam.Grant, action string, h holder) (*edit, principal, error) {
	resource := s.IdentityResource(g.Request().Owner.Account, h.sort, h.name)
	e, err := s.editing(ctx, g, action, resource)
	if err != nil {
		return nil, principal{}, err
	}
	p, found := h.find(e.in)
	switch {
	case !found:
		err = h.missing(e.op)
	case p.arn != resource: // given another path since the grant was looked at
		err = unmodifiable(e.op, nil)
	default:
		return e, p, nil
	}
	e.end(&err)
	return nil, principal{}, err
}

// changeHolder makes one change of a holder's policies or tags. The change
// works on copies.
func (s *Service) changeHolder(ctx context.Context, g iam.Grant, h holderChange) (err error) {
	e, p, err := s.editHolder(ctx, g, h.action, h.holder)
	if err != nil {
		return err
	}
	defer e.end(&err)
	p.attached.Managed = slices.Clone(p.attached.Managed)
	inline := make(map[string]string, len(p.attached.Inline)+1)
	for name, text := range p.attached.Inline {
		inline[name] = text
	}
	p.attached.Inline = inline
	p.tags = slices.Clone(p.tags)
	if err := h.change(e, &p); err != nil {
		return err
	}
	return e.commit(ctx, p.put(p.attached, p.tags))
}

// holderChange is a change of a holder, under an action.
type holderChange struct {
	holderAct
	change func(*edit, *principal) error
}

// holderAct is what is done with a holder.
type holderAct struct {
	holder
	action string
}

// uidKey is where the record of a user or group is: under its internal id, so
// that one write gives it another name. That a name is given once is for the
// gate to see to.
func (e *edit) uidKey(f family, uid tenant.UID) (store.Key, error) {
	return newKey(f, string(e.owner), string(uid))
}
