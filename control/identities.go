package control

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/tenant"
)

// The prefixes of public ids, as AWS's.
const (
	userID   = "AIDA"
	groupID  = "AGPA"
	roleID   = "AROA"
	policyID = "ANPA"
)

// newID makes a public id, which is never given again.
func newID(prefix string) string { return prefix + rand.Text()[:17] }

// installIdentity takes a change of users, keys and their kin into the tables.
func (ix *index) installIdentity(c directory.Change) {
	r := c.After
	if r == nil {
		r = c.Before
	}
	id := accountOf(r)
	if ix.loading {
		ix.loads[id] = append(ix.loads[id], c)
		return
	}
	ix.change(id, c)
}

// change puts the account as it is after changes in place of what it was.
func (ix *index) change(id tenant.AccountID, changes ...directory.Change) {
	defer ix.generation.Add(1)
	ix.touch(id)
	before, found := ix.identities.get(id)
	if !found {
		before = directory.NewAccount(id)
	}
	after := before.With(changes...)
	ix.identities.set(id, after)
	for _, c := range changes {
		if k, was := c.Before.(*directory.AccessKey); was {
			ix.keys.remove(k.ID)
		}
		if k, is := c.After.(*directory.AccessKey); is {
			if e, found := after.Keys.Get(k.ID); found {
				ix.keys.set(k.ID, e)
			}
		}
	}
}

// accountOf gives the account that a record of an identity belongs to.
func accountOf(record any) tenant.AccountID {
	switch r := record.(type) {
	case *directory.User:
		return r.Account
	case *directory.Group:
		return r.Account
	case *directory.Role:
		return r.Account
	case *directory.Policy:
		return r.Account
	case *directory.AccessKey:
		return r.Account
	case *directory.Provider:
		return r.Account
	}
	return ""
}

// The records of schema 1, which knew no policies: a user was its account's
// admin, and a role one for functions.
type identityRecord1 struct {
	Name      string           `json:"name"`
	ARN       string           `json:"arn"`
	UID       tenant.UID       `json:"uid"`
	Account   tenant.AccountID `json:"account"`
	Trusts    string           `json:"trusts,omitempty"`
	CreatedAt time.Time        `json:"createdAt"`
}

type keyRecord1 struct {
	ID        string           `json:"id"`
	Secret    string           `json:"secret"`
	Account   tenant.AccountID `json:"account"`
	Principal string           `json:"principal"`
	CreatedAt time.Time        `json:"createdAt"`
}

// migratedID makes the public id of what had none: always the same, so that
// the record need not be written for it.
func migratedID(prefix string, uid tenant.UID) string {
	sum := sha256.Sum256([]byte(prefix + string(uid)))
	return prefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
}

func decodeUser(value []byte) (any, error) {
	e, err := open(value)
	if err != nil {
		return nil, err
	}
	if e.Schema > 1 {
		return decodeAs[directory.User](value)
	}
	var r identityRecord1
	if err := e.into(&r); err != nil {
		return nil, err
	}
	u := &directory.User{
		Account: r.Account, Name: r.Name, Path: "/", ARN: r.ARN, UID: r.UID, ID: migratedID(userID, r.UID), CreatedAt: r.CreatedAt,
	}
	if r.Name == AdminUser {
		u.Managed = []string{directory.AdministratorAccess}
	}
	return u, nil
}

func decodeRole(value []byte) (any, error) {
	e, err := open(value)
	if err != nil {
		return nil, err
	}
	if e.Schema > 1 {
		return decodeAs[directory.Role](value)
	}
	var r identityRecord1
	if err := e.into(&r); err != nil {
		return nil, err
	}
	return &directory.Role{
		Account: r.Account, Name: r.Name, Path: "/", ARN: r.ARN, UID: r.UID, ID: migratedID(roleID, r.UID),
		Trust: trustOf(r.Trusts), MaxSession: defaultSession, CreatedAt: r.CreatedAt,
	}, nil
}

func decodeKey(value []byte) (any, error) {
	e, err := open(value)
	if err != nil {
		return nil, err
	}
	if e.Schema > 1 {
		return decodeAs[directory.AccessKey](value)
	}
	var r keyRecord1
	if err := e.into(&r); err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(r.Principal, ":user/")
	return &directory.AccessKey{ID: r.ID, Secret: r.Secret, Account: r.Account, User: name, CreatedAt: r.CreatedAt}, nil
}

// trustOf is the trust policy that lets a service of the platform take on a role.
func trustOf(service string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}]}`
}

// foldedName is what the key of a role or policy is made of: two names that
// differ by the case of letters are one key, so that only one can be there.
func foldedName(name string) string { return strings.ToLower(name) }
