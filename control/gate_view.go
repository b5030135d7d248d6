package control

import (
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/tenant"
)

// scene is an authorisation state, as it is or as a change would make it. What
// the maps do not hold is as it is.
//
// Where it is turned into what the prover judges, it errs to the side on which
// more is allowed: a policy that cannot be read bounds nothing, and who was
// named by a policy and is gone since is still let in by it.
type scene struct {
	s          *Service
	org        *directory.Org
	shared     *directory.Table[directory.Policy]
	management tenant.AccountID
	levels     *levelBook
	tenants    map[tenant.AccountID]*tenantRecord
	identities map[tenant.AccountID]*directory.Account
	functions  map[tenant.UID]*deployed
	links      []*Link
}

// now is the state as it is.
func (s *Service) now() *scene {
	management := s.managementAccount()
	v := &scene{s: s, org: s.ix.org.Load(), shared: s.sharedOf(management), management: management}
	for _, l := range s.ix.allLinks() {
		v.links = append(v.links, &l.T)
	}
	return v
}

func (v *scene) tenant(id tenant.AccountID) (*tenantRecord, bool) {
	if r, changed := v.tenants[id]; changed {
		return r, true
	}
	if a, found := v.s.ix.accounts.get(id); found {
		return &a.tenantRecord, true
	}
	return nil, false
}

func (v *scene) parentOf(id tenant.AccountID) (tenant.AccountID, bool) {
	r, found := v.tenant(id)
	if !found {
		return "", false
	}
	return r.Parent, true
}

func (v *scene) in(id tenant.AccountID) *directory.Account {
	if in, changed := v.identities[id]; changed {
		return in
	}
	return v.s.identitiesOf(id)
}

// functionsOf gives the functions of an account by name. Of a changed one
// only the records, the permissions and the versions mean something.
func (v *scene) functionsOf(id tenant.AccountID) []*deployed {
	var list []*deployed
	seen := map[tenant.UID]bool{}
	for _, name := range v.s.ix.functionNames(id) {
		if d, found := v.s.ix.functions.get(functionName{id, name}); found {
			if changed, is := v.functions[d.UID]; is {
				d = changed
			}
			seen[d.UID] = true
			list = append(list, d)
		}
	}
	for uid, d := range v.functions {
		if d.Account == id && !seen[uid] {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *deployed) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

// viewed is an account as the prover sees it. It never changes.
type viewed struct {
	*prove.Account
	// uses are the policies of the management account that are attached here.
	uses   []string
	levels *viewedLevels
}

// view makes what the prover sees of an account; false for one that is not
// there.
func (v *scene) view(id tenant.AccountID) (viewed, bool) {
	r, known := v.tenant(id)
	if !known {
		return viewed{}, false
	}
	b := &viewer{scene: v, in: v.in(id), made: viewed{Account: &prove.Account{
		ID: string(id), Slug: string(r.Slug), Parent: string(r.Parent), Management: id == v.management,
	}}}
	if r.Status == tenant.Closing {
		// Nobody acts there any more. Others may name it all the same.
		return v.under(b.made), true
	}
	b.in.Users.Each(func(u *directory.Entry[directory.User]) bool { b.user(u.Record); return true })
	b.in.Roles.Each(func(r *directory.Entry[directory.Role]) bool { b.role(r.Record); return true })
	slices.SortFunc(b.made.Principals, func(a, b prove.Principal) int { return strings.Compare(a.ARN, b.ARN) })
	b.in.Providers.Each(func(p *directory.Entry[directory.Provider]) bool {
		b.made.Providers = append(b.made.Providers, prove.Provider{ARN: p.Record.ARN, ClaimTags: p.Record.ClaimTags})
		return true
	})
	slices.SortFunc(b.made.Providers, func(a, b prove.Provider) int { return strings.Compare(a.ARN, b.ARN) })
	for _, d := range v.functionsOf(id) {
		b.function(d)
	}
	return v.under(b.made), true
}

// under puts an account under the guardrails above it.
func (v *scene) under(a viewed) viewed {
	levels := v.levels.above(v, tenant.AccountID(a.ID))
	if levels == a.levels {
		return a
	}
	next := *a.Account
	next.SCPs, next.RCPs = levels.scps, levels.rcps
	return viewed{Account: &next, uses: a.uses, levels: levels}
}

// viewer makes the view of one account.
type viewer struct {
	*scene
	in   *directory.Account
	made viewed
}

func (b *viewer) user(u *directory.User) {
	p := prove.Principal{Kind: prove.User, ARN: u.ARN, Tags: tagMap(u.Tags)}
	b.attach(&p, u.Attached, "")
	for _, id := range u.Groups {
		if g, found := b.in.Groups.ByID(id); found {
			b.attach(&p, g.Record.Attached, "group/"+g.Record.Name+"/")
		}
	}
	b.made.Principals = append(b.made.Principals, p)
}

func (b *viewer) role(r *directory.Role) {
	p := prove.Principal{Kind: prove.Role, ARN: r.ARN, Tags: tagMap(r.Tags), Gatekeeper: r.Gatekeeper != ""}
	b.attach(&p, r.Attached, "")
	if trust, ok := b.s.proven(policy.Trust, "trust policy of "+r.Name, r.Trust); ok {
		p.Trust = &trust
	}
	b.made.Principals = append(b.made.Principals, p)
}

// attach gives a principal what is attached to it or to a group of its.
func (b *viewer) attach(p *prove.Principal, at directory.Attached, prefix string) {
	for _, arn := range at.Managed {
		if policy, ok := b.managed(policy.Identity, arn); ok {
			p.Policies = append(p.Policies, policy)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(at.Inline)) {
		if policy, ok := b.s.proven(policy.Identity, prefix+name, at.Inline[name]); ok {
			p.Policies = append(p.Policies, policy)
		}
	}
	if at.Boundary == "" {
		return
	}
	if boundary, ok := b.managed(policy.Boundary, at.Boundary); ok {
		p.Boundary = &boundary
	}
}

func (b *viewer) managed(kind policy.Kind, arn string) (prove.Policy, bool) {
	if directory.AccountIn(arn) == b.management && !slices.Contains(b.made.uses, arn) {
		b.made.uses = append(b.made.uses, arn)
	}
	p, found := b.in.Managed(arn, b.shared)
	if !found {
		return prove.Policy{}, false
	}
	return b.s.proven(kind, arn, p.Text())
}

// function adds a function: once for each role that one of its versions has,
// and at least once for each policy.
func (b *viewer) function(d *deployed) {
	roles := d.roles()
	var policies []*prove.Policy
	for _, q := range slices.Sorted(maps.Keys(d.permissions)) {
		r := tenantsStatements(d.permissions[q].T)
		if p, ok := b.s.proven(policy.Resource, "policy of "+d.arn(q), d.policyText(r)); ok {
			policies = append(policies, &p)
		}
	}
	for i := range max(len(roles), len(policies)) {
		f := prove.Function{ARN: d.arn(""), Role: roles[min(i, len(roles)-1)], PerTenant: d.Tenancy != "", Tags: d.Tags}
		if f.PerTenant {
			// Whatever the strategy is now: it can be changed without a proof.
			f.Derived = derivedRoleARN(d.Account, d.Name, prove.EndTenantMark)
		}
		if i < len(policies) {
			f.Policy = policies[i]
		}
		b.made.Functions = append(b.made.Functions, f)
	}
}

// roles lists the roles that versions of the function run as, that of $LATEST
// first.
func (d *deployed) roles() []string {
	roles := []string{d.Latest.Role}
	add := func(role string) {
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	if d.Serving != nil {
		add(d.Serving.Role)
	}
	for _, n := range d.numbers() {
		add(d.versions[n].T.Role)
	}
	return roles
}

// proven gives a text as the prover takes it; false if it is no policy, which
// then allows nothing.
func (s *Service) proven(kind policy.Kind, name, text string) (prove.Policy, bool) {
	doc, digest, ok := s.compiler.Document(kind, text)
	return prove.Policy{Name: name, Digest: digest, Document: doc}, ok
}

func tagMap(tags []call.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

// viewedLevels are the guardrails above an account as the prover sees them:
// one value for all accounts that have the same.
type viewedLevels struct {
	scps, rcps []prove.Level
}

// levelBook keeps the guardrails above accounts by what they are.
type levelBook struct {
	byWay map[string]*viewedLevels
	// same finds them by their texts, those of an earlier book too.
	same map[string]*viewedLevels
}

// newLevelBook begins a book for another state of the tree and of what is
// attached to it. Guardrails that are the same as in an earlier one are the
// same values.
func newLevelBook(before *levelBook) *levelBook {
	b := &levelBook{byWay: map[string]*viewedLevels{}, same: map[string]*viewedLevels{}}
	if before != nil {
		for _, l := range before.byWay {
			b.same[l.key()] = l
		}
	}
	return b
}

// above gives the guardrails above an account.
func (b *levelBook) above(v *scene, id tenant.AccountID) *viewedLevels {
	way, known := v.org.Way(id, v.parentOf)
	if !known {
		way = nil // nothing is known to bind it
	}
	var name strings.Builder
	for _, target := range way {
		// What has no record of its own has what all those have.
		if _, own := v.org.Guardrails[target]; !own {
			target = ""
		}
		name.WriteString(target + "/")
	}
	if id == v.management {
		name.WriteString("management")
	}
	if l, made := b.byWay[name.String()]; made {
		return l
	}
	l := v.makeLevels(way, id == v.management)
	if old, made := b.same[l.key()]; made {
		l = old
	}
	b.same[l.key()], b.byWay[name.String()] = l, l
	return l
}

func (v *scene) makeLevels(way []string, management bool) *viewedLevels {
	l := &viewedLevels{}
	for _, target := range way {
		at := v.org.At(target)
		scps, all := v.guardrails(policy.SCP, at.SCPs)
		if all {
			l.scps = append(l.scps, prove.Level{Name: target, Policies: scps})
		}
		if rcps, _ := v.guardrails(policy.RCP, at.RCPs); len(rcps) > 0 && !management {
			l.rcps = append(l.rcps, prove.Level{Name: target, Policies: rcps})
		}
	}
	return l
}

// guardrails gives the policies at a target; false if one cannot be read.
func (v *scene) guardrails(kind policy.Kind, arns []string) (list []prove.Policy, all bool) {
	all = true
	for _, arn := range arns {
		r, found := directory.Guardrail(arn, v.shared)
		if !found {
			all = false
			continue
		}
		p, ok := v.s.proven(kind, arn, r.Text())
		if !ok {
			all = false
			continue
		}
		list = append(list, p)
	}
	return list, all
}

func (l *viewedLevels) key() string { return levelsKey(l.scps) + "|" + levelsKey(l.rcps) }

func levelsKey(levels []prove.Level) string {
	var key strings.Builder
	for _, l := range levels {
		for _, p := range l.Policies {
			key.WriteString(p.Name + " " + p.Digest + " ")
		}
		key.WriteString("/ ")
	}
	return key.String()
}
