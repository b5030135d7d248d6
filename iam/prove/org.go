package prove

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Organization judges a whole state.
func (p *Prover) Organization(o *Organization) Report { return p.Gate(o, Change{All: true}) }

// Tenant judges one account, named by number or slug.
func (p *Prover) Tenant(o *Organization, account string) Report {
	return p.Gate(o, Change{Accounts: []string{account}})
}

// Gate judges a proposed state where it differs from one that was judged. A
// write is refused unless Result is Proved.
//
// Whether a tenant reaches another is a question to one account at a time:
// its identity policies can only reach what tenants share, by names, and all
// else needs the consent of the account that owns it. So identity policies are
// judged in the accounts that a change is made in. Consents are looked at in all
// accounts, since they may rest on guardrails of others; those that let nobody
// else in take no time.
func (p *Prover) Gate(o *Organization, c Change) Report {
	e := newEnvironment(o)
	out := Report{Result: Proved, Assumptions: assumptions}
	found := map[string]bool{}
	for _, a := range o.Accounts {
		if !c.All && !slices.Contains(c.Accounts, a.ID) && !slices.Contains(c.Accounts, a.Slug) {
			// What it lets in may have been bound by what guards a changed account.
			out.merge(p.consents(e, a), o.Accepted)
			continue
		}
		found[a.ID], found[a.Slug] = true, true
		out.merge(p.account(e, a), o.Accepted)
	}
	for _, name := range c.Accounts {
		if !found[name] && !c.All {
			f := Finding{Result: Unknown, Code: "NO_SUCH_ACCOUNT", Statement: -1, Message: "there is no account or tenant " + name, Remedy: "Name one that exists."}
			out.add(f)
		}
	}
	out.sort()
	return out
}

// assumptions hold for every report about an organisation.
var assumptions = []string{
	"the platform alone sets the tag tenant_id of principals, and every resource that carries one carries its owner's id",
	"a bucket that a policy names, that no account owns and that no layout names, is shared by tenants, and its owner stands in its name or in the first segment of the key",
}

// merge adds the report of a part. Accepted findings count no more.
func (r *Report) merge(part Report, accepted map[string]string) {
	r.Judged += part.Judged
	r.Cached += part.Cached
	for _, f := range part.Findings {
		if reason, ok := accepted[f.ID]; ok && f.Result == Unknown {
			f.Accepted = reason
		} else {
			r.Result = worse(r.Result, f.Result)
		}
		r.Findings = append(r.Findings, f)
	}
	r.Warnings = append(r.Warnings, part.Warnings...)
	for _, s := range part.Shares {
		if !slices.Contains(r.Shares, s) {
			r.Shares = append(r.Shares, s)
		}
	}
}

// environment is what the judgement of one account needs to know of the rest.
type environment struct {
	*Organization
	byID map[string]*Account
	// owners are the accounts of buckets that exist, by name.
	owners map[string]string
	// guards are the different guardrails that bind principals of tenants.
	guards []guard
	// digest is of all that bears on every account.
	digest string
}

// guard is the SCPs above some account, which stands for all that have them.
type guard struct {
	digest string
	of     *Account
}

func newEnvironment(o *Organization) *environment {
	e := &environment{Organization: o, byID: make(map[string]*Account, len(o.Accounts)), owners: map[string]string{}}
	seen, same := map[string]bool{}, map[*Level]bool{}
	for _, a := range o.Accounts {
		e.byID[a.ID] = a
		for i := range a.Resources {
			if name, bucket := strings.CutPrefix(a.Resources[i].ARN, bucketARN); bucket {
				e.owners[name] = a.ID
			}
		}
		if a.Management {
			continue
		}
		// Accounts under one unit have the same levels, mostly the very same.
		if len(a.SCPs) > 0 {
			if same[&a.SCPs[0]] {
				continue
			}
			same[&a.SCPs[0]] = true
		}
		if d := levelsDigest(a.SCPs); !seen[d] {
			seen[d] = true
			e.guards = append(e.guards, guard{d, a})
		}
	}
	parts := []string{o.ID}
	for _, l := range o.Layouts {
		parts = append(parts, "layout", l.Name, l.Pattern, l.Account)
	}
	for _, s := range o.Shares {
		parts = append(parts, "share", s.ID, s.Resource, s.Owner, s.With)
	}
	for _, name := range slices.Sorted(maps.Keys(e.owners)) {
		parts = append(parts, "bucket", name, e.owners[name])
	}
	for _, g := range e.guards {
		parts = append(parts, "guard", g.digest, g.of.ID)
	}
	e.digest = digest(parts...)
	return e
}

func levelsDigest(levels []Level) string {
	var out strings.Builder
	for i := range levels {
		out.WriteString(digests(levels[i].Policies) + "\x03")
	}
	return out.String()
}

// tenant tells whether an account is another tenant's, or none of this
// organisation at all.
func (e *environment) foreign(id string, a *Account) bool {
	other := e.byID[id]
	return id != a.ID && (other == nil || !other.Management)
}

// account judges one account.
func (p *Prover) account(e *environment, a *Account) Report {
	out := Report{Result: Proved}
	for _, l := range e.Links {
		if l.Provider == a.ID || l.Account == a.ID {
			out.Shares = append(out.Shares, l.ID)
		}
	}
	if !a.Management {
		for i := range a.Principals {
			out.merge(p.principal(e, a, &a.Principals[i]), nil)
		}
		out.merge(p.deputies(e, a), nil)
		out.merge(claims(a), nil)
	}
	out.merge(p.consents(e, a), nil)
	return out
}

// principal judges the identity policies of a user or role: first for every
// tenant alike, which is remembered for all accounts with the same policies,
// and if that is not safe for this tenant with its tags.
func (p *Prover) principal(e *environment, a *Account, u *Principal) Report {
	if len(u.Policies) == 0 {
		return Report{Result: Proved, Judged: 1}
	}
	q := Question{Policies: u.Policies, Boundary: u.Boundary, SCPs: a.SCPs, Layouts: e.layoutsFor(a)}
	r := p.universal(population{grammar: Slugs}, q)
	if r.Result == Proved {
		r.Warnings = placed(r.Warnings, a, u)
		return r
	}
	key := digest("principal", e.digest, a.ID, a.Slug, u.ARN, digests(u.Policies), u.Boundary.digest(), levelsDigest(a.SCPs), tagsDigest(u.Tags), u.Trust.digest())
	return p.remembered(key, func() Report {
		j := &judgement{population: population{grammar: Slugs}, layouts: q.Layouts, identity: q.Policies, only: a.Slug, fixed: e.fixed(a, u), owned: e.owned(a)}
		if q.Boundary != nil {
			j.bounds = append(j.bounds, []Policy{*q.Boundary})
		}
		for _, level := range q.SCPs {
			j.bounds = append(j.bounds, level.Policies)
		}
		j.prepare()
		r := j.report()
		r.Findings, r.Warnings = placed(r.Findings, a, u), placed(r.Warnings, a, u)
		return r.about(digests(u.Policies), u.Boundary.digest(), levelsDigest(a.SCPs), tagsDigest(u.Tags), u.Trust.digest(), layoutsDigest(q.Layouts))
	})
}

func layoutsDigest(layouts []Layout) string {
	var parts []string
	for _, l := range layouts {
		parts = append(parts, l.Name, l.Pattern, l.Account)
	}
	return digest(parts...)
}

// placed says of findings which tenant and principal they are about.
func placed(all []Finding, a *Account, u *Principal) []Finding {
	out := make([]Finding, len(all))
	for i, f := range all {
		f.Tenant = a.Slug
		f.Message = strings.ReplaceAll(f.Message, anyTenant, a.Slug) + ", as " + u.ARN
		f.grounds = f.grounds.by(a.ID, u.ARN)
		if f.Witness != nil {
			w := *f.Witness
			w.Principal = u.ARN
			f.Witness = &w
		}
		f.name()
		out[i] = f
	}
	return out
}

// layoutsFor gives the layouts that bind an account: not its own, whose
// resources are all its own, and not those of other tenants, whose resources
// it reaches by their consent only.
func (e *environment) layoutsFor(a *Account) []Layout {
	return slices.DeleteFunc(slices.Clone(e.Layouts), func(l Layout) bool {
		owner := e.byID[l.Account]
		return l.Account == a.ID || owner != nil && !owner.Management && e.owns(l)
	})
}

// owns tells whether the bucket of a layout exists.
func (e *environment) owns(l Layout) bool {
	name, bucket := strings.CutPrefix(l.Pattern, bucketARN)
	name, _, _ = strings.Cut(name, "/")
	return !bucket || e.owners[name] != ""
}

// owned gives the buckets that belong to a tenant, by being there or by a
// layout of the account's own: the owner's consent decides about these.
func (e *environment) owned(a *Account) map[string]bool {
	out := map[string]bool{}
	for _, l := range e.Layouts {
		if name, bucket := strings.CutPrefix(l.Pattern, bucketARN); bucket && l.Account == a.ID {
			name, _, _ = strings.Cut(name, "/")
			out[name] = true
		}
	}
	for name, id := range e.owners {
		if owner := e.byID[id]; owner != nil && !owner.Management {
			out[name] = true
		}
	}
	return out
}

// fixed gives what is known of a principal's condition keys.
func (e *environment) fixed(a *Account, u *Principal) map[string]string {
	out := map[string]string{"aws:principalaccount": a.ID, "aws:principalorgid": e.ID, "aws:principalarn": u.ARN}
	if e.ID == "" {
		delete(out, "aws:principalorgid")
	}
	if u.Kind == User {
		out["aws:username"] = u.ARN[strings.LastIndexByte(u.ARN, '/')+1:]
		out["aws:principaltype"] = "User"
	}
	if !sessionTags(u) {
		for key, value := range u.Tags {
			out["aws:principaltag/"+strings.ToLower(key)] = value
		}
	}
	return out
}

// sessionTags tells whether sessions may come with tags of their own, which
// replace the principal's: of a role if its trust policy lets anybody tag,
// of a user if it may tag federated sessions.
func sessionTags(u *Principal) bool {
	policies := u.Policies
	if u.Kind == Role {
		if u.Trust == nil {
			return false
		}
		policies = []Policy{*u.Trust}
	}
	allows, _ := statementsOf(policies)
	acts := actionsOf(allows)
	class, _ := acts.named("sts:TagSession")
	return len(acts.filter(allows, &class)) > 0
}

func tagsDigest(tags map[string]string) string {
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		fmt.Fprintf(&out, "%q=%q;", key, tags[key])
	}
	return out.String()
}

// claims finds providers that would let a token say who the tenant is.
func claims(a *Account) Report {
	out := Report{Result: Proved}
	for _, p := range a.Providers {
		for _, claim := range slices.Sorted(maps.Keys(p.ClaimTags)) {
			if strings.EqualFold(p.ClaimTags[claim], "tenant_id") {
				out.add(Finding{
					Result: Violated, Code: "TENANT_TAG_FROM_CLAIM", Tenant: a.Slug, Statement: -1,
					Message: fmt.Sprintf("the identity provider %s sets the tag tenant_id from the claim %s, so that whoever issues its tokens says which tenant a session is of", p.ARN, claim),
					Remedy:  "Map the claim to another tag; the platform sets tenant_id.",
				})
			}
		}
	}
	return out
}
