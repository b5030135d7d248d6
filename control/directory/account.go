package directory

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// Account is the identity state of one account. It never changes: With makes
// another one, which shares what did not change.
type Account struct {
	ID        tenant.AccountID
	Users     *Table[User]
	Groups    *Table[Group]
	Roles     *Table[Role]
	Policies  *Table[Policy]
	Keys      *Table[AccessKey]
	Providers *Table[Provider]
}

// NewAccount makes an account with nothing in it.
func NewAccount(id tenant.AccountID) *Account {
	return &Account{
		ID: id, Users: newTable(userNames), Groups: newTable(groupNames), Roles: newTable(roleNames),
		Policies: newTable(policyNames), Keys: newTable(keyNames), Providers: newTable(providerNames),
	}
}

// Change is a record of an account before and after a write; nil where there
// is none. The records are pointers to the types of this package, and are
// never written to.
type Change struct {
	Key           store.Key
	Revision      store.Revision
	Before, After any
}

// With gives the account as it is after changes. Changes of records that are
// not in an account's tables are passed over.
func (a *Account) With(changes ...Change) *Account {
	return &Account{
		ID: a.ID, Users: a.Users.with(changes), Groups: a.Groups.with(changes), Roles: a.Roles.with(changes),
		Policies: a.Policies.with(changes), Keys: a.Keys.with(changes), Providers: a.Providers.with(changes),
	}
}

// UserOf finds the user that a key is of. Keys of the first schema name their
// user only; such a user cannot have been deleted and made anew, as a user
// with keys is not deleted.
func (a *Account) UserOf(k *AccessKey) (*Entry[User], bool) {
	if k.UserUID == "" {
		return a.Users.Get(k.User)
	}
	return a.Users.ByID(string(k.UserUID))
}

// Policy finds a managed policy of the account by its ARN.
func (a *Account) Policy(arn string) (*Entry[Policy], bool) { return a.Policies.ByID(arn) }

// Role finds a role of the account by its ARN.
func (a *Account) Role(arn string) (*Entry[Role], bool) {
	r, found := a.Roles.Get(arn[strings.LastIndexByte(arn, '/')+1:])
	return r, found && r.Record.ARN == arn
}

// User finds a user of the account by its ARN.
func (a *Account) User(arn string) (*Entry[User], bool) {
	u, found := a.Users.Get(arn[strings.LastIndexByte(arn, '/')+1:])
	return u, found && u.Record.ARN == arn
}

// GroupsOf gives the groups that a user is in; false if one of them is not
// there, which no write leaves: what the user may do is then not known.
func (a *Account) GroupsOf(u *User) ([]*Entry[Group], bool) {
	groups := make([]*Entry[Group], 0, len(u.Groups))
	for _, id := range u.Groups {
		g, found := a.Groups.ByID(id)
		if !found {
			return nil, false
		}
		groups = append(groups, g)
	}
	return groups, true
}

// Entry is a record with where it is kept.
type Entry[T any] struct {
	Record   *T // never written to
	Key      store.Key
	Revision store.Revision
	// compiled is what was made of the record last.
	compiled atomic.Pointer[compiled]
}

// names gives what a record is found by: its name, whose letters' case does
// not tell two apart, and an id; the id may be empty.
type names[T any] func(*T) (name, id string)

func userNames(r *User) (name, id string)         { return r.Name, string(r.UID) }
func groupNames(r *Group) (name, id string)       { return r.Name, r.ID }
func roleNames(r *Role) (name, id string)         { return r.Name, string(r.UID) }
func policyNames(r *Policy) (name, id string)     { return r.Name, r.ARN }
func keyNames(r *AccessKey) (name, id string)     { return r.ID, "" }
func providerNames(r *Provider) (name, id string) { return r.ARN, "" }

// Table is records by name. It never changes.
type Table[T any] struct {
	names  names[T]
	byName map[string]*Entry[T] // the name in lower case
	byID   map[string]*Entry[T]
}

func newTable[T any](n names[T]) *Table[T] { return &Table[T]{names: n} }

// Get finds a record by its name as it is written: letters' case matters, for
// policies name resources with it.
func (t *Table[T]) Get(name string) (*Entry[T], bool) {
	e, found := t.byName[strings.ToLower(name)]
	if !found {
		return nil, false
	}
	own, _ := t.names(e.Record)
	return e, own == name
}

// Taken finds what has a name that differs by the case of letters at most.
func (t *Table[T]) Taken(name string) (*Entry[T], bool) {
	e, found := t.byName[strings.ToLower(name)]
	return e, found
}

// ByID finds a user or role by internal id, a group by its public id, a
// policy by its ARN.
func (t *Table[T]) ByID(id string) (*Entry[T], bool) {
	e, found := t.byID[id]
	return e, found
}

// Len counts the records.
func (t *Table[T]) Len() int { return len(t.byName) }

// Each calls fn for every record, in no order, until it gives false.
func (t *Table[T]) Each(fn func(*Entry[T]) bool) {
	for _, e := range t.byName {
		if !fn(e) {
			return
		}
	}
}

// with gives the table after changes; itself if none is of its records.
func (t *Table[T]) with(changes []Change) *Table[T] {
	next := t
	for _, c := range changes {
		before, was := c.Before.(*T)
		after, is := c.After.(*T)
		if !was && !is {
			continue
		}
		if next == t {
			next = &Table[T]{names: t.names, byName: maps.Clone(t.byName), byID: maps.Clone(t.byID)}
			if next.byName == nil {
				next.byName, next.byID = map[string]*Entry[T]{}, map[string]*Entry[T]{}
			}
		}
		if was {
			next.remove(c.Key, before)
		}
		if is {
			next.add(&Entry[T]{Record: after, Key: c.Key, Revision: c.Revision})
		}
	}
	return next
}

func (t *Table[T]) remove(k store.Key, r *T) {
	name, id := t.names(r)
	name = strings.ToLower(name)
	if e := t.byName[name]; e == nil || e.Key != k {
		return
	}
	delete(t.byName, name)
	delete(t.byID, id)
}

// add puts an entry in. Two records of one name cannot be written; should
// there be two all the same, the first stays, whoever the second is.
func (t *Table[T]) add(e *Entry[T]) {
	name, id := t.names(e.Record)
	name = strings.ToLower(name)
	if old, taken := t.byName[name]; taken && old.Key != e.Key {
		return
	}
	t.byName[name] = e
	if id != "" {
		t.byID[id] = e
	}
}

// Using calls fn for each user, group and role that has a managed policy, with
// its sort as in ARNs; twice for one that has it both ways.
func (a *Account) Using(policy string, fn func(sort, arn string, boundary bool)) {
	a.attachments(func(sort, arn string, at *Attached) {
		if slices.Contains(at.Managed, policy) {
			fn(sort, arn, false)
		}
		if at.Boundary == policy {
			fn(sort, arn, true)
		}
	})
}

// Uses calls fn for every managed policy that a user, group or role has, as a
// policy or as its boundary.
func (a *Account) Uses(fn func(policy string, boundary bool)) {
	a.attachments(func(_, _ string, at *Attached) {
		for _, policy := range at.Managed {
			fn(policy, false)
		}
		if at.Boundary != "" {
			fn(at.Boundary, true)
		}
	})
}

// attachments calls fn for every user, group and role.
func (a *Account) attachments(fn func(sort, arn string, at *Attached)) {
	a.Users.Each(func(e *Entry[User]) bool { fn("user", e.Record.ARN, &e.Record.Attached); return true })
	a.Groups.Each(func(e *Entry[Group]) bool { fn("group", e.Record.ARN, &e.Record.Attached); return true })
	a.Roles.Each(func(e *Entry[Role]) bool { fn("role", e.Record.ARN, &e.Record.Attached); return true })
}
