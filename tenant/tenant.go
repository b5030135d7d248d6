// Package tenant says who owns a call, a byte, a cent.
//
// An owner is always the pair Identity: the account and, for calls of
// functions that serve many end tenants, the end tenant's internal id.
// Comparing anything less (a slug, a tag, a name) is a mistake: names are
// chosen by customers, internal ids are random and never used again.
package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Slug is a tenant's public name: lower case, unique in the installation and
// never given out twice.
type Slug string

// AccountID is the 12-digit number of an account, as in AWS.
type AccountID string

// UID is an internal id: random, opaque, never used again. Storage keys and
// subjects are built from these only.
type UID string

// EndTenantID is the name of an end tenant inside one account, as a caller
// of a PER_TENANT function gives it.
type EndTenantID string

// Management is the slug of the operators' own account.
const Management Slug = "carrel"

var (
	slugForm      = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}[a-z0-9]$`)
	accountForm   = regexp.MustCompile(`^[0-9]{12}$`)
	endTenantForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	uidForm       = regexp.MustCompile(`^[a-z2-7]{26}$`)
)

// ParseSlug checks a tenant's name.
func ParseSlug(s string) (Slug, error) {
	if !slugForm.MatchString(s) {
		return "", fmt.Errorf("tenant name %q: need 3 to 32 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'", s)
	}
	return Slug(s), nil
}

// ParseAccountID checks an account number.
func ParseAccountID(s string) (AccountID, error) {
	if !accountForm.MatchString(s) {
		return "", fmt.Errorf("account id %q: need 12 digits", s)
	}
	return AccountID(s), nil
}

// ParseEndTenantID checks the name of an end tenant. The form has no
// delimiter and no wildcard, so that it can stand in policies and keys.
func ParseEndTenantID(s string) (EndTenantID, error) {
	if !endTenantForm.MatchString(s) {
		return "", fmt.Errorf("tenant id %q: need 1 to 64 of A-Z, a-z, 0-9, '_' and '-', beginning with a letter or digit", s)
	}
	return EndTenantID(s), nil
}

// Fold gives the form under which two end-tenant names that differ only by
// case are the same name.
func (id EndTenantID) Fold() string { return strings.ToLower(string(id)) }

// ParseUID checks an internal id.
func ParseUID(s string) (UID, error) {
	if !uidForm.MatchString(s) {
		return "", fmt.Errorf("internal id %q is malformed", s)
	}
	return UID(s), nil
}

var uidEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewUID makes an internal id of 128 random bits.
func NewUID() UID {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return UID(uidEncoding.EncodeToString(b[:]))
}

// DeriveUID gives the internal id of what there is one of for each combination
// of others, such as a function and an end tenant. As theirs are random and
// never used again, so is it.
func DeriveUID(sort string, of ...UID) UID {
	h := sha256.New()
	h.Write([]byte(sort))
	for _, uid := range of {
		h.Write([]byte{0})
		h.Write([]byte(uid))
	}
	return UID(uidEncoding.EncodeToString(h.Sum(nil)[:16]))
}

// NewAccountID makes a random account number that does not begin with zero,
// so that tools that mistake it for a number do not shorten it. The caller
// makes sure that it is not taken.
func NewAccountID() AccountID {
	var b [8]byte
	rand.Read(b[:])
	return AccountID(fmt.Sprint(100_000_000_000 + binary.BigEndian.Uint64(b[:])%900_000_000_000))
}

// Identity is who owns something: an account and, where the call named one,
// an end tenant of it.
type Identity struct {
	Account   AccountID `json:"account"`
	EndTenant UID       `json:"endTenant,omitempty"` // empty if none
}

// Status says whether a tenant is served.
type Status string

// The states of a tenant.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Closing   Status = "closing"
)

// Tenant is a customer of the installation.
type Tenant struct {
	Slug      Slug              `json:"tenantId"`
	Account   AccountID         `json:"accountId"`
	UID       UID               `json:"uid"`
	Plan      string            `json:"plan"`
	Status    Status            `json:"status"`
	Parent    AccountID         `json:"parent,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
	CreatedAt time.Time         `json:"createdAt"`
}

// EndTenant is one end tenant's registration in an account. Registered anew
// after deletion, a name gets a new UID and so a new key.
type EndTenant struct {
	ID        EndTenantID `json:"id"`
	UID       UID         `json:"uid"`
	Account   AccountID   `json:"accountId"`
	CreatedAt time.Time   `json:"createdAt"`
}
