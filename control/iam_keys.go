package control

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// KeyView is an access key without its secret.
type KeyView struct {
	ID        string
	User      string
	Inactive  bool
	CreatedAt time.Time
}

// NewKey is an access key as the act that makes it gives it: nobody is shown
// the secret again.
type NewKey struct {
	KeyView
	SecretAccessKey string
}

// String names the key without its secret.
func (k NewKey) String() string { return "access key " + k.ID }

// GoString is String, for the verb that prints everything.
func (k NewKey) GoString() string { return k.String() }

func keysOf(in *directory.Account, u *directory.Entry[directory.User]) []*directory.Entry[directory.AccessKey] {
	var keys []*directory.Entry[directory.AccessKey]
	in.Keys.Each(func(k *directory.Entry[directory.AccessKey]) bool {
		if of, found := in.UserOf(k.Record); found && of.Key == u.Key {
			keys = append(keys, k)
		}
		return true
	})
	slices.SortFunc(keys, func(a, b *directory.Entry[directory.AccessKey]) int { return strings.Compare(a.Record.ID, b.Record.ID) })
	return keys
}

// CreateAccessKey makes an access key of a user, and gives its secret, once.
//
// Errors: LimitExceeded over two keys, inactive ones counted; AccessDenied for
// a session that is bounded by more than the policies of who has it.
func (s *Service) CreateAccessKey(ctx context.Context, g iam.Grant, user string) (made NewKey, err error) {
	e, _, err := s.editHolder(ctx, g, ActionCreateAccessKey, holder{sortUser, user})
	if err != nil {
		return NewKey{}, err
	}
	defer e.end(&err)
	if err := mayMakeLasting(e.op, g); err != nil {
		return NewKey{}, err
	}
	u, _ := e.in.Users.Get(user)
	if len(e.keysOf(u)) >= maxKeysOfUser {
		return NewKey{}, overQuota(e.op, "AccessKeysPerUser", maxKeysOfUser)
	}
	k := directory.AccessKey{
		ID: newAccessKeyID(), Secret: newSecret(), Account: e.account, User: user, UserUID: u.Record.UID, CreatedAt: s.cfg.Now().UTC(),
	}
	if err := e.create(ctx, keyFamily, k.ID, k); err != nil {
		return NewKey{}, err
	}
	return NewKey{KeyView{k.ID, user, false, k.CreatedAt}, k.Secret}, nil
}

// ListAccessKeys lists a user's keys.
func (s *Service) ListAccessKeys(ctx context.Context, g iam.Grant, user string, in PageInput) (Page[KeyView], error) {
	all, err := s.looking(ctx, g, ActionListAccessKeys, s.IdentityResource(g.Request().Owner.Account, sortUser, user))
	if err != nil {
		return Page[KeyView]{}, err
	}
	u, found := all.Users.Get(user)
	if !found {
		return Page[KeyView]{}, holder{sortUser, user}.missing("control.ListAccessKeys")
	}
	var ids []string
	for _, k := range keysOf(all, u) {
		ids = append(ids, k.Record.ID)
	}
	return identityPage("keys/"+u.Record.ARN, in, ids, func(id string) (KeyView, error) {
		k, _ := all.Keys.Get(id)
		return KeyView{id, user, k.Record.Inactive, k.Record.CreatedAt}, nil
	})
}

// UpdateAccessKey switches a key on or off; the status is Active or Inactive.
// A key that is off is good for nothing from the moment this returns.
func (s *Service) UpdateAccessKey(ctx context.Context, g iam.Grant, in UpdateKeyInput) (err error) {
	e, k, err := s.editKey(ctx, g, ActionUpdateAccessKey, in)
	if err != nil {
		return err
	}
	defer e.end(&err)
	if in.Status != keyActive && in.Status != keyInactive {
		return breaks(e.op, in.Status, "status", "Member must satisfy enum value set: [Active, Inactive]")
	}
	if in.Status == keyInactive {
		if err := e.keepsAdmin(k); err != nil {
			return err
		}
	}
	return e.commit(ctx, rewrite(k, func(k *directory.AccessKey) { k.Inactive = in.Status == keyInactive }))
}

// UpdateKeyInput names a key of a user. The status is for UpdateAccessKey
// alone.
type UpdateKeyInput struct {
	User   string
	ID     string
	Status string
}

const (
	keyActive   = "Active"
	keyInactive = "Inactive"
)

// DeleteAccessKey removes a key; the status of the input is not looked at.
func (s *Service) DeleteAccessKey(ctx context.Context, g iam.Grant, in UpdateKeyInput) (err error) {
	e, k, err := s.editKey(ctx, g, ActionDeleteAccessKey, in)
	if err != nil {
		return err
	}
	defer e.end(&err)
	if err := e.keepsAdmin(k); err != nil {
		return err
	}
	defer s.uses.last.Delete(in.ID)
	return erase(ctx, e, k)
}

// keepsAdmin refuses to do without the last active key of the management
// account's admin: nobody could get in any more, and the node not start.
func (e *edit) keepsAdmin(k *directory.Entry[directory.AccessKey]) error {
	u, found := e.in.UserOf(k.Record)
	if e.account != e.s.managementAccount() || !found || u.Record.Name != AdminUser {
		return nil
	}
	for _, other := range e.keysOf(u) {
		if other.Key != k.Key && !other.Record.Inactive {
			return nil
		}
	}
	return deleteConflict(e.op, "It is the last active key of the management account's %s.", AdminUser).(*fault.Error).
		WithRemedy("Make another key first.")
}

// editKey begins a change of a key of the user that the input names.
func (s *Service) editKey(ctx context.Context, g iam.Grant, action string, in UpdateKeyInput) (*edit, *directory.Entry[directory.AccessKey], error) {
	e, _, err := s.editHolder(ctx, g, action, holder{sortUser, in.User})
	if err != nil {
		return nil, nil, err
	}
	u, _ := e.in.Users.Get(in.User)
	for _, k := range e.keysOf(u) {
		if k.Record.ID == in.ID {
			return e, k, nil
		}
	}
	err = noSuchEntity(e.op, "The Access Key with id %s cannot be found", printable(in.ID))
	e.end(&err)
	return nil, nil, err
}

// KeyUse is when and for what an access key was used last.
type KeyUse struct {
	User string
	// Time is zero for a key that was not used since the node was started.
	Time    time.Time
	Service string
	Region  string
}

// KeyUser gives the account and the name of the user that a key is of; false if
// there is no such key. It is for the resource of a grant for
// GetAccessKeyLastUsed.
func (s *Service) KeyUser(accessKeyID string) (account tenant.AccountID, user string, found bool) {
	k, found := s.ix.keys.get(accessKeyID)
	if !found {
		return "", "", false
	}
	u, _, found := s.holder(k.Record)
	if !found {
		return "", "", false
	}
	return u.Account, u.Name, true
}

// GetAccessKeyLastUsed says when a key was used last. It is kept in memory, so
// what was before the node's start is not known, and another node's uses are
// not either. The grant is for the user that KeyUser gives.
//
// Errors: fault.Denied for a key that is not of the grant's account, whether
// there is one of the id or not.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, g iam.Grant, accessKeyID string) (KeyUse, error) {
	owner := g.Request().Owner.Account
	account, user, found := s.KeyUser(accessKeyID)
	if !found || account != owner {
		return KeyUse{}, fault.New("control.GetAccessKeyLastUsed", fault.Denied, "There is no access key %s in the account.", printable(accessKeyID)).
			WithCode("AccessDenied")
	}
	if _, err := s.looking(ctx, g, ActionGetAccessKeyLastUsed, s.IdentityResource(account, sortUser, user)); err != nil {
		return KeyUse{}, err
	}
	use := KeyUse{User: user, Service: "N/A", Region: "N/A"}
	if last, used := s.uses.of(accessKeyID); used {
		use.Time, use.Service, use.Region = last.at, last.service, s.cfg.Region
	}
	return use, nil
}

// KeyUsed notes that a key was used for a service. It takes no lock for a key
// that was noted within the last minute.
func (s *Service) KeyUsed(accessKeyID, service string, at time.Time) {
	s.uses.note(accessKeyID, service, at)
}

// keyUses is when keys were used last, to the minute.
type keyUses struct{ last sync.Map } // access key id -> *keyUse, never changed

type keyUse struct {
	at      time.Time
	service string
}

func (u *keyUses) note(id, service string, at time.Time) {
	if old, found := u.last.Load(id); found && at.Sub(old.(*keyUse).at) < time.Minute && old.(*keyUse).service == service {
		return
	}
	u.last.Store(id, &keyUse{at, service})
}

func (u *keyUses) of(id string) (*keyUse, bool) {
	last, found := u.last.Load(id)
	if !found {
		return nil, false
	}
	return last.(*keyUse), true
}
