package control

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// overview is what the prover sees of all accounts. What did not change since
// it was looked at last is not made again, so that a change costs what it
// changes and not what there is.
type overview struct {
	s  *Service
	mu sync.Mutex
	// at is the state that the rest was made of.
	at   *scene
	tree uint64
	// accounts by id; list is the same in the order of ids, and never changed.
	accounts map[tenant.AccountID]viewed
	list     []*prove.Account
}

func newOverview(s *Service) *overview {
	return &overview{s: s, accounts: map[tenant.AccountID]viewed{}}
}

// current gives the state as it is.
func (o *overview) current() *prove.Organization {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refresh()
	return o.at.organization(o.list)
}

// refresh looks at what changed. The lock is held.
func (o *overview) refresh() {
	touched, tree := o.s.ix.takeTouched()
	next := o.s.now()
	again := o.at == nil || tree != o.tree || next.shared != o.at.shared || next.management != o.at.management
	next.levels = o.levels(again)
	if again && o.at != nil {
		for _, id := range o.using(changedPolicies(o.at.shared, next.shared)) {
			touched[id] = struct{}{}
		}
	}
	o.at, o.tree = next, tree
	changed, gone := map[tenant.AccountID]viewed{}, map[string]bool{}
	if again {
		for id, a := range o.accounts {
			changed[id] = next.under(a)
		}
	}
	for id := range touched {
		delete(changed, id)
		if a, there := next.view(id); there {
			changed[id] = a
		} else {
			gone[string(id)] = true
		}
	}
	maps.Copy(o.accounts, changed)
	for id := range gone {
		delete(o.accounts, tenant.AccountID(id))
	}
	o.list = merged(o.list, changed, gone)
}

// levels gives the book to look guardrails up in.
func (o *overview) levels(again bool) *levelBook {
	if o.at == nil {
		return newLevelBook(nil)
	}
	if again {
		return newLevelBook(o.at.levels)
	}
	return o.at.levels
}

// using lists the accounts in which one of some policies is attached.
func (o *overview) using(policies map[string]bool) []tenant.AccountID {
	var list []tenant.AccountID
	if len(policies) == 0 {
		return nil
	}
	for id, a := range o.accounts {
		if slices.ContainsFunc(a.uses, func(arn string) bool { return policies[arn] }) {
			list = append(list, id)
		}
	}
	return list
}

// changedPolicies gives the ARNs of the policies that are not the same in two
// states of an account.
func changedPolicies(before, after *directory.Table[directory.Policy]) map[string]bool {
	changed := map[string]bool{}
	if before == after {
		return changed
	}
	compare := func(these, those *directory.Table[directory.Policy]) {
		these.Each(func(e *directory.Entry[directory.Policy]) bool {
			if other, found := those.ByID(e.Record.ARN); !found || other.Record.Text() != e.Record.Text() {
				changed[e.Record.ARN] = true
			}
			return true
		})
	}
	compare(before, after)
	compare(after, before)
	return changed
}

// organization puts accounts under the layouts, shares and accepted findings
// of a state.
func (v *scene) organization(accounts []*prove.Account) *prove.Organization {
	o := &prove.Organization{ID: iam.OrgID, Accounts: accounts, Accepted: map[string]string{}}
	for _, l := range v.org.Layouts {
		o.Layouts = append(o.Layouts, prove.Layout{Name: l.Record.Name, Pattern: l.Record.Pattern, Account: string(l.Record.Account)})
	}
	slices.SortFunc(o.Layouts, func(a, b prove.Layout) int { return strings.Compare(a.Account+a.Name, b.Account+b.Name) })
	for _, s := range v.org.Shares {
		o.Shares = append(o.Shares, prove.Share{
			ID: s.Record.ID, Resource: s.Record.Resource, Owner: string(s.Record.Owner), With: string(s.Record.With), Reason: s.Record.Reason,
		})
	}
	slices.SortFunc(o.Shares, func(a, b prove.Share) int { return strings.Compare(a.ID, b.ID) })
	for _, l := range v.links {
		if l.Accepted() {
			o.Links = append(o.Links, prove.Link{ID: l.ID, Provider: string(l.Provider), Account: string(l.Account)})
		}
	}
	slices.SortFunc(o.Links, func(a, b prove.Link) int { return strings.Compare(a.ID, b.ID) })
	for finding, a := range v.org.Accepted {
		o.Accepted[finding] = a.Record.Reason
	}
	return o
}

// proposal is a change as the prover is asked about it.
type proposal struct {
	before, after *prove.Organization
	change        prove.Change
	// policies are those of the management account that got another text.
	policies []prove.Policy
}

// propose gives the state as it is and as writes would make it.
func (o *overview) propose(writes []write) (*proposal, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refresh()
	d := &draft{overview: o, scene: *o.at, touched: map[tenant.AccountID]bool{}, changes: map[tenant.AccountID][]directory.Change{}}
	d.tenants, d.functions = map[tenant.AccountID]*tenantRecord{}, map[tenant.UID]*deployed{}
	for _, w := range writes {
		if err := d.take(w); err != nil {
			return nil, err
		}
	}
	return d.proposal(), nil
}

// draft is a state in the making.
type draft struct {
	*overview
	scene
	touched map[tenant.AccountID]bool
	changes map[tenant.AccountID][]directory.Change
	tree    bool
	all     bool
}

// take puts one write into the draft, as it will be read once it is made.
func (d *draft) take(w write) error {
	c := directory.Change{Key: w.key, Before: d.overview.s.ix.record(w.key)}
	if w.record != nil {
		value, err := encode(w.record)
		if err == nil {
			c.After, err = decodeFor(store.Entry{Key: w.key, Value: value})
		}
		if err != nil {
			return err
		}
	}
	either := c.After
	if either == nil {
		either = c.Before
	}
	switch r := either.(type) {
	case *tenantRecord:
		d.tenants[r.Account], d.touched[r.Account] = r, true
		if r.Slug == tenant.Management {
			d.management = r.Account
		}
	case *functionRecord:
		d.function(r.UID, r.Account, func(f *deployed) { f.functionRecord = *r })
	case *permissionRecord:
		d.function(r.Function, "", func(f *deployed) {
			f.permissions = maps.Clone(f.permissions)
			delete(f.permissions, r.Qualifier)
			if c.After != nil {
				f.permissions[r.Qualifier] = &held[permissionRecord]{T: *r}
			}
		})
	case *Link:
		d.links = append(slices.DeleteFunc(slices.Clone(d.links), func(l *Link) bool { return l.ID == r.ID }), r)
		if c.After == nil {
			d.links = d.links[:len(d.links)-1]
		}
		d.touched[r.Provider], d.touched[r.Account] = true, true
	case *directory.Share:
		d.org, d.touched[r.Owner] = d.org.With(c), true
	case *directory.Layout:
		d.org, d.all = d.org.With(c), true
	case *directory.Unit, *directory.Guardrails, *directory.Placement:
		d.org, d.tree = d.org.With(c), true
	case *directory.Accepted:
		d.org = d.org.With(c)
	case *directory.AccessKey:
	default:
		id := accountOf(either)
		d.changes[id], d.touched[id] = append(d.changes[id], c), true
	}
	return nil
}

// function changes a copy of a function, or of one that is to be.
func (d *draft) function(uid tenant.UID, account tenant.AccountID, change func(*deployed)) {
	next := &deployed{}
	is, found := d.overview.s.ix.byUID(uid)
	if changed, again := d.functions[uid]; again {
		is, found = changed, true
	}
	if found {
		next = &deployed{functionRecord: is.functionRecord, versions: is.versions, permissions: is.permissions}
	}
	if next.permissions == nil {
		next.permissions = map[string]*held[permissionRecord]{}
	}
	change(next)
	if account == "" {
		account = next.Account
	}
	d.functions[uid], d.touched[account] = next, true
}

// proposal ends the draft.
func (d *draft) proposal() *proposal {
	before := d.at.organization(d.list)
	d.identities = map[tenant.AccountID]*directory.Account{}
	for id, changes := range d.changes {
		d.identities[id] = d.at.in(id).With(changes...)
	}
	d.shared = d.in(d.management).Policies
	p := &proposal{before: before}
	changed := changedPolicies(d.at.shared, d.shared)
	for arn := range changed {
		if e, found := d.shared.ByID(arn); found {
			if doc, ok := d.overview.s.proven(sharedKind, arn, e.Record.Text()); ok {
				p.policies = append(p.policies, doc)
			}
		}
	}
	for _, id := range d.using(changed) {
		d.touched[id] = true
	}
	next := map[tenant.AccountID]viewed{}
	if d.tree || len(changed) > 0 {
		d.scene.levels = newLevelBook(d.at.levels)
		for id, a := range d.accounts {
			if under := d.under(a); under.levels != a.levels {
				next[id] = under
			}
		}
	}
	gone := map[string]bool{}
	for id := range d.touched {
		delete(next, id)
		if a, there := d.view(id); there {
			next[id] = a
		} else {
			gone[string(id)] = true
		}
	}
	p.after = d.organization(merged(d.list, next, gone))
	p.change.All = d.all
	for _, id := range slices.Sorted(maps.Keys(next)) {
		p.change.Accounts = append(p.change.Accounts, string(id))
	}
	return p
}

// merged gives a list of accounts with some of them replaced, new or gone. The
// list itself stays as it is.
func merged(list []*prove.Account, changed map[tenant.AccountID]viewed, gone map[string]bool) []*prove.Account {
	if len(changed)+len(gone) == 0 {
		return list
	}
	next := make([]*prove.Account, len(list), len(list)+len(changed))
	copy(next, list)
	byID := func(a, b *prove.Account) int { return strings.Compare(a.ID, b.ID) }
	var added []*prove.Account
	for _, a := range changed {
		if at, found := slices.BinarySearchFunc(list, a.Account, byID); found {
			next[at] = a.Account
		} else {
			added = append(added, a.Account)
		}
	}
	switch {
	case len(added) == 1:
		at, _ := slices.BinarySearchFunc(next, added[0], byID)
		next = slices.Insert(next, at, added[0])
	case len(added) > 1:
		next = append(next, added...)
		slices.SortFunc(next, byID)
	}
	if len(gone) > 0 {
		next = slices.DeleteFunc(next, func(a *prove.Account) bool { return gone[a.ID] })
	}
	return next
}
