package control

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// index is the desired state as it is asked for: by access key, by name, by
// account. It is fed by the snapshots of the stores, which see to it that
// changes come once and in order. The request path reads the tables; control
// acts and lists take the lock for a moment.
type index struct {
	mu       sync.RWMutex
	records  map[store.Key]held[any] // what the snapshots hold, deletions left out
	damaged  map[store.Key]error     // what they could not read
	groups   map[tenant.UID]*group   // functions and what hangs on them
	names    map[tenant.AccountID]map[function.Name]struct{}
	ends     map[tenant.AccountID]int // end tenants of each account
	blobs    map[blobRef]int          // in how many functions a blob is named
	reserved map[tenant.AccountID]int // reserved concurrency of each account
	codeSize map[tenant.AccountID]int64
	loading  bool
	// loads are the identities that came in while everything is being loaded.
	loads map[tenant.AccountID][]directory.Change

	accounts   *table[tenant.AccountID, *account]
	slugs      *table[tenant.Slug, tenant.AccountID]
	identities *table[tenant.AccountID, *directory.Account]
	keys       *table[string, *directory.Entry[directory.AccessKey]]
	endTenants *table[endName, *tenant.EndTenant]
	folded     *table[endName, *tenant.EndTenant]
	functions  *table[functionName, *deployed]
	urls       *table[string, *URLOwner]
	revoked    *table[revokedName, *revocation]
	// links are found by the end tenant that they are for, and linked has all of
	// them by id.
	links  *table[endName, *Link]
	linked atomic.Pointer[map[string]held[Link]]
	// revocations counts what is in revoked: mostly there is nothing.
	revocations atomic.Int64

	// org is the tree of accounts; orgLoads came in while everything is being loaded.
	org      atomic.Pointer[directory.Org]
	orgLoads []directory.Change
	// orgDamaged counts records of the tree that cannot be read: what they
	// forbid is not known.
	orgDamaged atomic.Int64

	// generation counts the changes that decisions depend on.
	generation atomic.Uint64

	// touched are the accounts that changed since the prover's view of them was
	// made; tree counts changes of the tree and of what is attached to it.
	touched map[tenant.AccountID]struct{}
	tree    uint64
}

// touch notes that an account changed. The lock is held.
func (ix *index) touch(id tenant.AccountID) { ix.touched[id] = struct{}{} }

// takeTouched gives the accounts that changed since it was called last, and
// the count of the changes of the tree.
func (ix *index) takeTouched() (accounts map[tenant.AccountID]struct{}, tree uint64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	accounts, ix.touched = ix.touched, map[tenant.AccountID]struct{}{}
	return accounts, ix.tree
}

type held[T any] struct {
	T   T
	key store.Key
	rev store.Revision
}

type account struct {
	tenantRecord
	key  store.Key
	rev  store.Revision
	plan admit.Plan
}

type endName struct {
	account tenant.AccountID
	name    tenant.EndTenantID
}

type functionName struct {
	account tenant.AccountID
	name    function.Name
}

type blobRef struct {
	owner  tenant.UID
	kind   secret.Kind
	digest function.Digest
}

// group is a function and its parts as they have come in so far; the
// function itself may be missing.
type group struct {
	function *held[functionRecord]
	versions map[string]*held[versionRecord]
	aliases  map[string]*held[aliasRecord]
	events   map[string]*held[eventRecord]
	urls     map[string]*held[urlRecord]
	// permissions are policies by qualifier.
	permissions map[string]*held[permissionRecord]
	view        *deployed
}

func newIndex() *index {
	ix := &index{
		records:    map[store.Key]held[any]{},
		damaged:    map[store.Key]error{},
		groups:     map[tenant.UID]*group{},
		names:      map[tenant.AccountID]map[function.Name]struct{}{},
		ends:       map[tenant.AccountID]int{},
		blobs:      map[blobRef]int{},
		reserved:   map[tenant.AccountID]int{},
		codeSize:   map[tenant.AccountID]int64{},
		loads:      map[tenant.AccountID][]directory.Change{},
		touched:    map[tenant.AccountID]struct{}{},
		accounts:   newTable[tenant.AccountID, *account](),
		slugs:      newTable[tenant.Slug, tenant.AccountID](),
		identities: newTable[tenant.AccountID, *directory.Account](),
		keys:       newTable[string, *directory.Entry[directory.AccessKey]](),
		endTenants: newTable[endName, *tenant.EndTenant](),
		folded:     newTable[endName, *tenant.EndTenant](),
		urls:       newTable[string, *URLOwner](),
		functions:  newTable[functionName, *deployed](),
		revoked:    newTable[revokedName, *revocation](),
		links:      newTable[endName, *Link](),
	}
	ix.org.Store(directory.NewOrg())
	return ix
}

// apply takes in a change that a snapshot saw. A record that cannot be read
// counts as not there: nobody is let in by it and nothing runs by it.
func (ix *index) apply(it store.Item[any]) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	before := ix.records[it.Key].T
	after := it.Value
	if it.Deleted || it.Err != nil {
		after = nil
	}
	if _, was := ix.damaged[it.Key]; was != (it.Err != nil) && isTree(familyOf(it.Key)) {
		ix.treeDamage(it.Err != nil)
	}
	if delete(ix.damaged, it.Key); it.Err != nil {
		ix.damaged[it.Key] = it.Err
	}
	if after == nil {
		delete(ix.records, it.Key)
	} else {
		ix.records[it.Key] = held[any]{after, it.Key, it.Revision}
	}
	if before != nil || after != nil {
		ix.install(it, before, after)
	}
}

// decodeFor reads a value into the record of the key's family.
func decodeFor(e store.Entry) (any, error) {
	k, value := e.Key, e.Value
	switch familyOf(k) {
	case tenantFamily:
		return decodeAs[tenantRecord](value)
	case endTenantFamily:
		return decodeAs[tenant.EndTenant](value)
	case userFamily:
		return decodeUser(value)
	case groupFamily:
		return decodeAs[directory.Group](value)
	case roleFamily:
		return decodeRole(value)
	case policyFamily:
		return decodeAs[directory.Policy](value)
	case keyFamily:
		return decodeKey(value)
	case providerFamily:
		return decodeAs[directory.Provider](value)
	case revokedFamily:
		return decodeAs[revocation](value)
	case linkFamily:
		return decodeAs[Link](value)
	case generationFamily, unitFamily, guardrailFamily, placementFamily, acceptedFamily, layoutFamily, shareFamily:
		return decodeOrg(familyOf(k), value)
	case functionFamily:
		return decodeAs[functionRecord](value)
	case versionFamily:
		return decodeAs[versionRecord](value)
	case aliasFamily:
		return decodeAs[aliasRecord](value)
	case eventFamily:
		return decodeAs[eventRecord](value)
	case urlFamily:
		return decodeAs[urlRecord](value)
	case permissionFamily:
		return decodeAs[permissionRecord](value)
	}
	return nil, fault.New("control.decode", fault.Unsupported, "a stored record is of the unknown family %q.", familyOf(k)).
		WithRemedy("Run the newer version that wrote it.")
}

func decodeAs[T any](value []byte) (any, error) {
	var r T
	if err := decode(value, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// install moves the index from the record before to the one after; either
// may be nil.
func (ix *index) install(c store.Item[any], before, after any) {
	switch familyOf(c.Key) {
	case tenantFamily:
		ix.installTenant(c, before, after)
	case endTenantFamily:
		ix.installEndTenant(before, after)
	case userFamily, groupFamily, roleFamily, policyFamily, keyFamily, providerFamily:
		ix.installIdentity(directory.Change{Key: c.Key, Revision: c.Revision, Before: before, After: after})
	case unitFamily, guardrailFamily, placementFamily, acceptedFamily, layoutFamily, shareFamily:
		ix.installOrg(c, before, after)
	case revokedFamily:
		ix.installRevocation(before, after)
	case linkFamily:
		ix.installLink(c, before, after)
	case generationFamily: // the gate reads it for itself
	default:
		ix.installPart(c, before, after)
	}
}

func (ix *index) installTenant(c store.Item[any], before, after any) {
	defer ix.generation.Add(1)
	if after == nil { // tenants leave a tombstone: this one cannot be read
		ix.touch(before.(*tenantRecord).Account)
		ix.accounts.remove(before.(*tenantRecord).Account)
		return
	}
	r := after.(*tenantRecord)
	ix.touch(r.Account)
	plan, found := admit.Plans()[r.Plan]
	if !found {
		plan = admit.Plans()[DefaultPlan]
	}
	ix.accounts.set(r.Account, &account{tenantRecord: *r, key: c.Key, rev: c.Revision, plan: plan})
	ix.slugs.set(r.Slug, r.Account)
}

func (ix *index) installEndTenant(before, after any) {
	if before != nil {
		e := before.(*tenant.EndTenant)
		ix.ends[e.Account]--
		ix.endTenants.remove(endName{e.Account, e.ID})
		ix.folded.remove(endName{e.Account, tenant.EndTenantID(e.ID.Fold())})
	}
	if after != nil {
		e := after.(*tenant.EndTenant)
		ix.ends[e.Account]++
		ix.endTenants.set(endName{e.Account, e.ID}, e)
		ix.folded.set(endName{e.Account, tenant.EndTenantID(e.ID.Fold())}, e)
	}
}

// installPart puts a part into its group and shows the group anew.
func (ix *index) installPart(c store.Item[any], before, after any) {
	var uid tenant.UID
	switch {
	case familyOf(c.Key) != functionFamily:
		uid = functionOf(c.Key)
	case after != nil:
		uid = after.(*functionRecord).UID
	default:
		uid = before.(*functionRecord).UID
	}
	// A name that was deleted and given anew between two looks at the store:
	// the old function ends before the new one begins.
	if old, isFunction := before.(*functionRecord); isFunction && old.UID != uid {
		ix.groups[old.UID].function = nil
		ix.show(old.UID)
	}
	f := ix.groups[uid]
	if f == nil {
		f = &group{
			versions: map[string]*held[versionRecord]{},
			aliases:  map[string]*held[aliasRecord]{},
			events:   map[string]*held[eventRecord]{},
			urls:     map[string]*held[urlRecord]{},

			permissions: map[string]*held[permissionRecord]{},
		}
		ix.groups[uid] = f
	}
	switch familyOf(c.Key) {
	case functionFamily:
		f.function = nil
		if after != nil {
			f.function = &held[functionRecord]{*after.(*functionRecord), c.Key, c.Revision}
		}
		if !maps.Equal(tagsOf(before), tagsOf(after)) {
			ix.generation.Add(1) // policies can ask for them
		}
	case versionFamily:
		put(f.versions, c, before, func(r *versionRecord) string { return r.Number })
	case aliasFamily:
		put(f.aliases, c, before, func(r *aliasRecord) string { return r.Name })
	case eventFamily:
		put(f.events, c, before, func(r *eventRecord) string { return r.Qualifier })
	case urlFamily:
		put(f.urls, c, before, func(r *urlRecord) string { return r.Qualifier })
	case permissionFamily:
		put(f.permissions, c, before, func(r *permissionRecord) string { return r.Qualifier })
		ix.generation.Add(1)
	}
	ix.show(uid)
}

// tagsOf gives the tags of a function's record; nil if there is none.
func tagsOf(record any) map[string]string {
	if r, there := record.(*functionRecord); there {
		return r.Tags
	}
	return nil
}

// put moves a part from what it was before, under its name then, to what it
// is in c.
func put[T any](into map[string]*held[T], c store.Item[any], before any, name func(*T) string) {
	if before != nil {
		delete(into, name(before.(*T)))
	}
	if r, there := c.Value.(*T); there && !c.Deleted && c.Err == nil {
		into[name(r)] = &held[T]{*r, c.Key, c.Revision}
	}
}

// show makes the group's view the one that readers see. While everything is
// being loaded that is put off to the end.
func (ix *index) show(uid tenant.UID) {
	if ix.loading {
		return
	}
	f := ix.groups[uid]
	old := f.view
	if old != nil {
		ix.account(old, -1)
		ix.touch(old.Account)
	}
	if f.function == nil {
		f.view = nil
		ix.showURLs(old, nil)
		if old != nil {
			name := functionName{old.Account, old.Name}
			// The name may be another function's by now.
			if now, found := ix.functions.get(name); found && now.UID == uid {
				ix.functions.remove(name)
				delete(ix.names[old.Account], old.Name)
			}
		}
		if len(f.versions)+len(f.aliases)+len(f.events)+len(f.urls)+len(f.permissions) == 0 {
			delete(ix.groups, uid)
		}
		return
	}
	f.view = view(f)
	ix.showURLs(old, f.view)
	ix.account(f.view, 1)
	ix.touch(f.view.Account)
	ix.functions.set(functionName{f.view.Account, f.view.Name}, f.view)
	if ix.names[f.view.Account] == nil {
		ix.names[f.view.Account] = map[function.Name]struct{}{}
	}
	ix.names[f.view.Account][f.view.Name] = struct{}{}
}

// account adds a view to the sums, or takes it off them.
func (ix *index) account(d *deployed, sign int) {
	for ref, size := range d.blobs() {
		if ix.blobs[ref] += sign; ix.blobs[ref] == 0 {
			delete(ix.blobs, ref)
		}
		ix.codeSize[d.Account] += int64(sign) * size
	}
	if d.Reserved != nil {
		ix.reserved[d.Account] += sign * *d.Reserved
	}
}

// loaded ends the loading: everything is shown.
func (ix *index) loaded() {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.loading = false
	for id, changes := range ix.loads {
		ix.change(id, changes...)
	}
	ix.loads = nil
	ix.orgLoaded()
	for uid := range ix.groups {
		ix.show(uid)
	}
}

// orphans lists the parts whose function is gone, as a node that died in the
// middle of a deletion leaves them, and the identities and end tenants whose
// tenant was never made.
func (ix *index) orphans() map[store.Key]store.Revision {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	gone := map[store.Key]store.Revision{}
	owners := map[tenant.UID]bool{}
	ix.accounts.each(func(_ tenant.AccountID, a *account) { owners[a.UID] = true })
	if len(ix.damaged) > 0 {
		return gone // what hangs on a record that cannot be read hangs on something
	}
	for k, r := range ix.records {
		switch familyOf(k) {
		case versionFamily, aliasFamily, eventFamily, urlFamily, permissionFamily:
			if f := ix.groups[functionOf(k)]; f == nil || f.function == nil {
				gone[k] = r.rev
			}
		case userFamily, groupFamily, roleFamily, policyFamily, keyFamily, providerFamily, layoutFamily, shareFamily, revokedFamily, linkFamily:
			if !owners[Owner(k)] {
				gone[k] = r.rev
			}
		case tenantFamily, endTenantFamily, functionFamily:
		}
	}
	return gone
}

// overRevocations lists the revocations that mean no session any more.
func (ix *index) overRevocations(now time.Time) map[store.Key]store.Revision {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	over := map[store.Key]store.Revision{}
	for k, r := range ix.records {
		if of, is := r.T.(*revocation); is && of.Until.Before(now) {
			over[k] = r.rev
		}
	}
	return over
}

// record gives a record as it is now; nil if there is none, or none that can
// be read.
func (ix *index) record(k store.Key) any {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.records[k].T
}

// revocationCount gives how many revocations an account has.
func (ix *index) revocationCount(id tenant.AccountID) (n int) {
	ix.revoked.each(func(name revokedName, _ *revocation) {
		if name.account == id {
			n++
		}
	})
	return n
}

// revision gives the last known revision of a record; zero if it has none.
func (ix *index) revision(k store.Key) store.Revision {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.records[k].rev
}

// endTenantCount gives how many end tenants an account has.
func (ix *index) endTenantCount(id tenant.AccountID) int {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.ends[id]
}

// functionCount gives how many functions an account has.
func (ix *index) functionCount(id tenant.AccountID) int {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return len(ix.names[id])
}

// functionNames lists the functions of an account, in no order.
func (ix *index) functionNames(id tenant.AccountID) []function.Name {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return slices.Collect(maps.Keys(ix.names[id]))
}

// reservedOf gives the sum of the reserved concurrency of an account.
func (ix *index) reservedOf(id tenant.AccountID) int {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.reserved[id]
}

// codeSizeOf gives the bytes of an account's packages; one that several
// functions have counts for each.
func (ix *index) codeSizeOf(id tenant.AccountID) int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.codeSize[id]
}

// named tells whether a record names the blob, or may: what a record names
// that cannot be read is not known.
func (ix *index) named(ref blobRef) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.blobs[ref] > 0 || len(ix.damaged) > 0
}

// byUID finds a function by its internal id.
func (ix *index) byUID(uid tenant.UID) (*deployed, bool) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if g := ix.groups[uid]; g != nil && g.view != nil {
		return g.view, true
	}
	return nil, false
}

// unfinished lists the functions that have something to be built.
func (ix *index) unfinished() []*deployed {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var list []*deployed
	for _, g := range ix.groups {
		if g.view != nil && len(g.view.pending()) > 0 {
			list = append(list, g.view)
		}
	}
	return list
}
