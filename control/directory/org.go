package directory

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// maxLevels bounds the way up from an account. A tree that goes higher is
// damaged, and an account in it is allowed nothing.
const maxLevels = 32

// Accepted is an operator's word that something the isolation prover could
// not decide is to be taken for safe.
type Accepted struct {
	// Finding is the id of what was not decided.
	Finding   string    `json:"finding"`
	Reason    string    `json:"reason"`
	By        string    `json:"by"` // ARN
	CreatedAt time.Time `json:"createdAt"`
}

// Org is the tree of accounts and what is attached to it. It never changes:
// With makes another one.
type Org struct {
	Units      map[string]*Entry[Unit]
	Guardrails map[string]*Entry[Guardrails] // by target
	Placements map[tenant.AccountID]*Entry[Placement]
	Layouts    map[LayoutName]*Entry[Layout]
	Shares     map[string]*Entry[Share]
	Accepted   map[string]*Entry[Accepted] // by finding
}

// LayoutName names a layout: names are an account's own.
type LayoutName struct {
	Account tenant.AccountID
	Name    string
}

// NewOrg makes an organisation with nothing in it.
func NewOrg() *Org {
	return &Org{
		Units: map[string]*Entry[Unit]{}, Guardrails: map[string]*Entry[Guardrails]{}, Placements: map[tenant.AccountID]*Entry[Placement]{},
		Layouts: map[LayoutName]*Entry[Layout]{}, Shares: map[string]*Entry[Share]{}, Accepted: map[string]*Entry[Accepted]{},
	}
}

// With gives the organisation as it is after changes. Changes of records that
// are none of its are passed over.
func (o *Org) With(changes ...Change) *Org {
	return &Org{
		Units:      with(o.Units, changes, func(r *Unit) string { return r.ID }),
		Guardrails: with(o.Guardrails, changes, func(r *Guardrails) string { return r.Target }),
		Placements: with(o.Placements, changes, func(r *Placement) tenant.AccountID { return r.Account }),
		Layouts:    with(o.Layouts, changes, func(r *Layout) LayoutName { return LayoutName{r.Account, r.Name} }),
		Shares:     with(o.Shares, changes, func(r *Share) string { return r.ID }),
		Accepted:   with(o.Accepted, changes, func(r *Accepted) string { return r.Finding }),
	}
}

func with[K comparable, T any](m map[K]*Entry[T], changes []Change, name func(*T) K) map[K]*Entry[T] {
	copied := false
	for _, c := range changes {
		before, was := c.Before.(*T)
		after, is := c.After.(*T)
		if (was || is) && !copied {
			m, copied = maps.Clone(m), true
		}
		if was {
			if e, found := m[name(before)]; found && e.Key == c.Key {
				delete(m, name(before))
			}
		}
		if is {
			m[name(after)] = &Entry[T]{Record: after, Key: c.Key, Revision: c.Revision}
		}
	}
	return m
}

// Way gives the targets above an account and the account itself, from the
// root down: the root, units, the accounts of its parent tenants, its own.
// Parent gives the account of the tenant above one, empty if there is none;
// false for an account that is not known. Way is false where what is above
// is not known.
func (o *Org) Way(account tenant.AccountID, parent func(tenant.AccountID) (tenant.AccountID, bool)) ([]string, bool) {
	var way []string
	unit := RootUnit
	for at := account; ; {
		way = append(way, string(at))
		if p, placed := o.Placements[at]; placed {
			unit = p.Record.Unit
			break
		}
		above, known := parent(at)
		if !known || len(way) > maxLevels {
			return nil, false
		}
		if above == "" {
			break
		}
		at = above
	}
	for unit != RootUnit {
		u, found := o.Units[unit]
		if !found || len(way) > maxLevels {
			return nil, false
		}
		way = append(way, unit)
		unit = u.Record.Parent
	}
	way = append(way, RootUnit)
	slices.Reverse(way)
	return way, true
}

// PathOf writes the units of a way, as in o-carrel/r-root/ou-emea/.
func PathOf(way []string) string {
	var b strings.Builder
	b.WriteString(iam.OrgID + "/")
	for _, target := range way {
		if target == RootUnit || strings.HasPrefix(target, UnitPrefix) {
			b.WriteString(target + "/")
		}
	}
	return b.String()
}

// UnitPrefix begins the ids of units.
const UnitPrefix = "ou-"

// At gives what is attached to a target. One without a record has
// FullAWSAccess as its only SCP.
func (o *Org) At(target string) Guardrails {
	if g, found := o.Guardrails[target]; found {
		return *g.Record
	}
	return Guardrails{Target: target, SCPs: []string{FullAWSAccess}}
}

// AttachedTo lists the targets that a policy is attached to, sorted.
func (o *Org) AttachedTo(arn string) []string {
	var targets []string
	for target, g := range o.Guardrails {
		if slices.Contains(g.Record.SCPs, arn) || slices.Contains(g.Record.RCPs, arn) {
			targets = append(targets, target)
		}
	}
	slices.Sort(targets)
	return targets
}
