package prove

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// The codes of findings about code that runs for end tenants.
const (
	codeIAMWrite = "END_TENANT_CHANGES_POLICIES"
	codeCode     = "END_TENANT_CHANGES_CODE"
	codeActsAs   = "ACTS_FOR_OTHER_END_TENANTS"
)

// post is where code that was called for an end tenant can come to: a role of
// the account, and whether the session still says which end tenant it is for.
type post struct {
	role *Principal
	end  bool
	// of is the ARN of the role that role is derived from; empty if it is none.
	of   string
	path []Step
	// doubtful says that a step on the way was not confirmed.
	doubtful bool
}

// crowd is the judgement of an account whose functions serve end tenants.
type crowd struct {
	*environment
	prover  *Prover
	account *Account
	roles   map[string]*Principal
	made    map[string]*judgement // by post
}

// deputies judges what code that runs for an end tenant can reach: by its own
// role, and by all that it can come to from there.
func (p *Prover) deputies(e *environment, a *Account) Report {
	if !slices.ContainsFunc(a.Functions, func(f Function) bool { return f.PerTenant }) {
		return Report{Result: Proved}
	}
	c := &crowd{environment: e, prover: p, account: a, roles: map[string]*Principal{}, made: map[string]*judgement{}}
	key := []string{"crowd", a.ID, a.Slug, levelsDigest(a.SCPs), layoutsDigest(e.Layouts)}
	for i := range a.Principals {
		u := &a.Principals[i]
		if u.Kind == Role {
			c.roles[u.ARN] = u
		}
		key = append(key, u.ARN, digests(u.Policies), u.Boundary.digest(), u.Trust.digest(), tagsDigest(u.Tags), fmt.Sprint(u.Gatekeeper))
	}
	for i := range a.Functions {
		key = append(key, a.Functions[i].ARN, a.Functions[i].Role, fmt.Sprint(a.Functions[i].PerTenant), a.Functions[i].Derived, a.Functions[i].Policy.digest())
	}
	for i := range a.Resources {
		key = append(key, a.Resources[i].ARN, a.Resources[i].Policy.digest())
	}
	return p.remembered(digest(append(key, e.digest)...), func() Report { return c.report().about(key...) })
}

// report follows every way there is, each post once: the least set that holds
// where such code starts and all that it can step to.
func (c *crowd) report() Report {
	out := Report{Result: Proved}
	var queue []post
	for i := range c.account.Functions {
		if f := &c.account.Functions[i]; f.PerTenant && c.roles[f.Role] != nil {
			queue = append(queue, post{role: c.roles[f.Role], end: true})
			if derived := c.derived(f); derived != nil {
				queue = append(queue, post{role: derived, end: true, of: f.Role})
			}
		}
	}
	seen, violated := map[string]bool{}, map[string]bool{}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if seen[at.name()] || violated[at.of] {
			continue // what a template reaches too far is said once
		}
		seen[at.name()] = true
		data := c.data(&at)
		if data.Result == Violated {
			violated[at.role.ARN] = true
		}
		out.merge(data, nil)
		out.merge(c.control(&at), nil)
		queue = append(queue, c.steps(&at)...)
	}
	out.sort()
	return out
}

// name tells a post from all others.
func (at *post) name() string { return fmt.Sprint(at.role.ARN, at.end, " ", at.of) }

// derived gives what stands for the roles that are derived for the end tenants
// of a function; nil if there are none.
func (c *crowd) derived(f *Function) *Principal {
	template := c.roles[f.Role]
	if f.Derived == "" || template == nil {
		return nil
	}
	role := *template
	role.ARN, role.Trust = f.Derived, nil
	return &role
}

// judgement gives that of a post.
func (c *crowd) judgement(at *post) *judgement {
	if c.made[at.name()] == nil {
		c.made[at.name()] = c.prepare(at)
	}
	return c.made[at.name()]
}

func (c *crowd) prepare(at *post) *judgement {
	j := &judgement{population: population{grammar: EndTenants, end: at.end, anyOwner: !at.end}, identity: at.role.Policies, principal: at.role.ARN, owned: map[string]bool{}}
	j.mine = map[string]bool{}
	for name, id := range c.owners {
		j.owned[name] = true
		j.mine[name] = at.end && id == c.account.ID
	}
	for _, l := range c.Layouts {
		switch name, bucket := strings.CutPrefix(l.Pattern, bucketARN); {
		case l.Account == c.account.ID:
			j.home = append(j.home, l)
		case c.operators(l) && bucket && at.end:
			// Its owners are accounts: see across.
			name, _, _ = strings.Cut(name, "/")
			j.owned[name] = true
		case c.operators(l) || !c.owns(l):
			j.layouts = append(j.layouts, l)
		}
	}
	j.layouts = append(j.layouts, j.home...)
	j.fixed = c.fixed(c.account, at.role)
	delete(j.fixed, "aws:principaltype")
	if !at.end {
		j.only = c.account.Slug
	}
	if at.role.Boundary != nil {
		j.bounds = append(j.bounds, []Policy{*at.role.Boundary})
	}
	for _, level := range c.account.SCPs {
		j.bounds = append(j.bounds, level.Policies)
	}
	j.prepare()
	return j
}

// data judges what a post reaches of other end tenants' objects.
func (c *crowd) data(at *post) Report {
	r := c.judgement(at).report()
	if across := c.across(at); across != nil {
		r.merge(across.report(), nil)
	}
	for i := range c.account.Resources {
		if j := c.letIn(at, &c.account.Resources[i]); j != nil {
			r.merge(j.report(), nil)
		}
	}
	for _, list := range []*[]Finding{&r.Findings, &r.Warnings} {
		for i := range *list {
			c.placed(&(*list)[i], at)
		}
	}
	r.Result = Proved
	for i := range r.Findings {
		r.Result = worse(r.Result, r.Findings[i].Result)
	}
	return r
}

// across judges what the code of an end tenant reaches by bearing the name of
// another account's tenant: in what the operators share out by tenants' names,
// whose owners are accounts. Nil if there is nothing such.
func (c *crowd) across(at *post) *judgement {
	shared := slices.DeleteFunc(slices.Clone(c.Layouts), func(l Layout) bool { return !c.operators(l) })
	if !at.end || len(shared) == 0 {
		return nil
	}
	j := *c.judgement(at)
	j.population.account, j.home, j.homeOnly = c.account.Slug, shared, true
	j.allows, j.denies = nil, nil
	j.prepare()
	return &j
}

// operators tells whether a layout is of the operators' own resources.
func (c *crowd) operators(l Layout) bool {
	owner := c.byID[l.Account]
	return owner == nil || owner.Management
}

// letIn judges what a resource's own policy lets a post do, past the post's
// own policies and what bounds them; nil if that is nothing. The policy's own
// Denies count, and those of the post's policies do not: that is more than
// there is.
func (c *crowd) letIn(at *post, r *Resource) *judgement {
	if r.Policy == nil || r.Policy.Document == nil {
		return nil
	}
	who := caller{account: c.account.ID, arn: at.role.ARN}
	d := *r.Policy.Document
	d.Statements = slices.DeleteFunc(slices.Clone(d.Statements), func(s policy.Statement) bool {
		if s.Effect == policy.Allow {
			return !direct(&s, at.role.ARN)
		}
		return !surely(&statement{Statement: &s}, who)
	})
	if !slices.ContainsFunc(d.Statements, func(s policy.Statement) bool { return s.Effect == policy.Allow }) {
		return nil
	}
	j := *c.judgement(at)
	j.own, j.ownBounds = j.identity, j.bounds
	j.identity, j.bounds, j.allows, j.denies = []Policy{{Name: r.Policy.Name, Document: &d}}, nil, nil, nil
	j.direct = true
	j.prepare()
	return &j
}

// placed says of a finding whom it is about and how they come there.
func (c *crowd) placed(f *Finding, at *post) {
	f.Tenant = "<any end tenant of " + c.account.Slug + ">"
	f.Message = strings.ReplaceAll(f.Message, "tenant "+anyTenant, "code that runs for end tenant "+anyTenant+" of "+c.account.Slug)
	f.Message += ", as " + at.role.ARN
	f.grounds = f.grounds.by(c.account.ID, at.role.ARN)
	for _, s := range at.path {
		f.Message += fmt.Sprintf(", which %s reaches by %s", s.From, s.By)
	}
	f.Path = at.path
	if f.Witness != nil {
		w := *f.Witness
		w.Principal = at.role.ARN
		f.Witness = &w
	}
	if at.doubtful && f.Result == Violated {
		f.Result, f.Witness, f.basis = Unknown, nil, c.judgement(at).basis()
		f.Message = "if a step on the way is possible, which was not decided: " + f.Message
	}
	f.name()
}

// iamWrites are the actions with which whoever may do them gets all rights in
// an account.
var iamWrites = []string{
	"PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy", "PutUserPolicy", "AttachUserPolicy", "CreateAccessKey",
	"DeleteRolePermissionsBoundary", "DeleteRolePolicy", "DetachRolePolicy", "CreatePolicyVersion", "SetDefaultPolicyVersion",
}

// control judges what a post can change that runs for, or guards, others.
func (c *crowd) control(at *post) Report {
	out := Report{Result: Proved}
	add := func(code, action, resource, message, remedy string) {
		sure, may := c.allowed(at, action, resource, nil)
		if !may {
			return
		}
		f := Finding{Result: Violated, Code: code, Statement: -1, Message: "tenant " + anyTenant + " can " + message, Remedy: remedy,
			Witness: &Witness{Action: action, Resource: resource}, grounds: c.judgement(at).grounds().by(code, action, resource)}
		if !sure {
			f.Result, f.Witness, f.basis = Unknown, nil, c.judgement(at).basis()
		}
		c.placed(&f, at)
		out.add(f)
	}
	for _, name := range iamWrites {
		for _, arn := range c.written() {
			add(codeIAMWrite, "iam:"+name, arn, "do iam:"+name+" on "+arn+", and so give itself any right in the account", "Take IAM's writing actions from the role that functions run as.")
			if out.Result == Violated {
				return out
			}
		}
	}
	for _, f := range c.account.Functions {
		if !f.PerTenant {
			continue
		}
		for _, action := range []string{"lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"} {
			add(codeCode, action, f.ARN, "change the function "+f.ARN+", which runs for other end tenants", "Take "+action+" from the role that functions run as.")
		}
		if !at.end {
			add(codeActsAs, "lambda:InvokeFunction", f.ARN, "call "+f.ARN+" for any end tenant", "Keep code that runs for end tenants from taking on this role.")
		}
	}
	return out
}

// written lists what IAM's writing actions may be about: principals, and the
// account's policies.
func (c *crowd) written() []string {
	var out []string
	for i := range c.account.Principals {
		u := &c.account.Principals[i]
		out = append(out, u.ARN)
		for _, p := range u.Policies {
			if accountOf(p.Name) == c.account.ID && !slices.Contains(out, p.Name) {
				out = append(out, p.Name)
			}
		}
	}
	return out
}

// steps lists where a post leads.
func (c *crowd) steps(at *post) []post {
	var out []post
	step := func(to *Principal, end bool, by string, sure bool) {
		if to == nil {
			return
		}
		path := append(at.path[:len(at.path):len(at.path)], Step{From: at.role.ARN, To: to.ARN, By: by})
		out = append(out, post{role: to, end: end, path: path, doubtful: at.doubtful || !sure})
	}
	for i := range c.account.Principals {
		to := &c.account.Principals[i]
		if to.Kind != Role || to == at.role && !at.end {
			continue
		}
		if sure, may := c.assumes(at, to); may {
			// The session still is one for the end tenant.
			step(to, at.end, "sts:AssumeRole", sure)
		}
		if sure, may := c.passes(at, to); may {
			step(to, false, "iam:PassRole and a function of its own", sure)
		}
	}
	for i := range c.account.Functions {
		f := &c.account.Functions[i]
		to := c.roles[f.Role]
		if to == nil {
			continue
		}
		if sure, may := c.allowed(at, "lambda:UpdateFunctionCode", f.ARN, nil); may && !f.PerTenant {
			step(to, false, "lambda:UpdateFunctionCode on "+f.ARN, sure)
		}
		if sure, may := c.allowed(at, "lambda:InvokeFunction", f.ARN, nil); may && to.Gatekeeper {
			// A gatekeeper acts by its own rights and not within its caller's. Any
			// other function can do less than who calls it, and is no step.
			step(to, f.PerTenant && at.end, "lambda:InvokeFunction on the gatekeeper "+f.ARN, sure)
		}
	}
	return out
}

// passes tells whether a post can run code as a role: by passing it to a
// function that it makes or changes.
func (c *crowd) passes(at *post, to *Principal) (sure, may bool) {
	if !trustsFunctions(to) {
		return false, false
	}
	service := map[string]string{"iam:passedtoservice": "lambda.amazonaws.com"}
	if sure, may = c.allowed(at, "iam:PassRole", to.ARN, service); !may {
		return false, false
	}
	targets := []string{}
	for _, f := range c.account.Functions {
		targets = append(targets, f.ARN)
	}
	for _, arn := range targets {
		if s, m := c.allowed(at, "lambda:UpdateFunctionConfiguration", arn, nil); m {
			return sure && s, true
		}
	}
	if len(targets) > 0 {
		made := targets[0][:strings.LastIndexByte(targets[0], ':')+1] + "made-by-an-end-tenant"
		if s, m := c.allowed(at, "lambda:CreateFunction", made, nil); m {
			return sure && s, true
		}
		// A name may be allowed that was not guessed.
		if c.somewhere(at, "lambda:CreateFunction") {
			return false, true
		}
	}
	return false, false
}

func trustsFunctions(u *Principal) bool {
	if u.Trust == nil || u.Trust.Document == nil {
		return false
	}
	return slices.ContainsFunc(u.Trust.Document.Statements, func(s policy.Statement) bool {
		return s.Effect == policy.Allow && s.Principals != nil && (s.Principals.Any || slices.Contains(s.Principals.Service, "lambda.amazonaws.com"))
	})
}

// somewhere tells whether a post may do an action on any resource at all.
func (c *crowd) somewhere(at *post, action string) bool {
	j := c.judgement(at)
	class, _ := j.acts.named(action)
	pr := j.problem(j.first(), &place{}, []words{{{kind: runPiece, set: anyByte}}}, &class)
	_, o := pr.solve()
	return o != none
}

// allowed tells whether a post can do an action on a resource of the account:
// for sure, so that the evaluator says so, and whether it may.
func (c *crowd) allowed(at *post, action, resource string, keys map[string]string) (sure, may bool) {
	j := *c.judgement(at)
	j.fixed = maps.Clone(j.fixed)
	maps.Copy(j.fixed, keys)
	sure, may = j.grants(action, resource, nil)
	return sure, may || c.openTo(at, resource)
}

// openTo tells whether the policy of a function may let a post do something
// by itself; what exactly is not looked at.
func (c *crowd) openTo(at *post, resource string) bool {
	return slices.ContainsFunc(c.account.Functions, func(f Function) bool {
		return f.ARN == resource && f.Policy != nil && f.Policy.Document != nil &&
			slices.ContainsFunc(f.Policy.Document.Statements, func(s policy.Statement) bool { return s.Effect == policy.Allow && direct(&s, at.role.ARN) })
	})
}

// direct tells whether a statement names a role, a session of it, or
// everybody: then it lets sessions of the role in by itself.
func direct(s *policy.Statement, role string) bool {
	if s.Principals == nil || s.Principals.Any || s.NotPrincipal {
		return s.Principals != nil
	}
	session := "arn:aws:sts::" + accountOf(role) + ":assumed-role/" + role[strings.LastIndexByte(role, '/')+1:] + "/"
	session, _, _ = strings.Cut(session, EndTenantMark)
	return slices.ContainsFunc(s.Principals.AWS, func(arn string) bool {
		return arn == role || strings.HasPrefix(arn, session) || oneOf(arn, role)
	})
}

// oneOf tells whether an ARN is one of the roles that family stands for.
func oneOf(arn, family string) bool {
	before, after, is := strings.Cut(family, EndTenantMark)
	return is && len(arn) > len(before)+len(after) && strings.HasPrefix(arn, before) && strings.HasSuffix(arn, after)
}

// assumes tells whether a post can take on a role: its trust policy has to let
// it, and its own policies unless the trust policy names it.
func (c *crowd) assumes(at *post, to *Principal) (sure, may bool) {
	if to.Trust == nil {
		return false, false
	}
	return c.judgement(at).grants("sts:AssumeRole", to.ARN, &trust{c.account.ID, at.role.ARN, to.Trust})
}

// trust is the policy of a role that is to be assumed, by a role of its account.
type trust struct {
	account, from string
	policy        *Policy
}

// grants tells whether the policies allow an action on a resource of the
// principal's own account.
func (j *judgement) grants(action, resource string, t *trust) (sure, may bool) {
	at := []words{{{kind: textPiece, text: resource}}}
	class, _ := j.acts.named(action)
	build := func(s *stand) []*problem {
		pr := j.problem(s, &place{}, at, &class)
		if t == nil {
			return []*problem{pr}
		}
		return t.onto(pr)
	}
	for _, pr := range build(j.first()) {
		if _, o := pr.solve(); o != none {
			may = true
		}
	}
	if !may {
		return false, false
	}
	id := j.only
	if id == "" {
		id = j.samples()[0]
	}
	for _, pr := range build(j.one(j.all, id)) {
		solved, o := pr.solve()
		if o != found {
			continue
		}
		w := &confirmed{context: solved.context()}
		owner := accountOf(resource)
		w.request = policy.Request{
			Action: action, Resource: resource, ResourceAccount: owner, Context: w.made(),
			Principal: policy.Principal{Type: policy.Role, Account: owner, ARN: "arn:aws:sts::" + owner + ":assumed-role/any/session",
				Issuer: strings.Replace(j.fixed["aws:principalarn"], EndTenantMark, id, 1)},
		}
		l := j.layers()
		if t != nil {
			l.Resource, l.TrustOnly = compile([]Policy{*t.policy}), true
		}
		if policy.Evaluate(&w.request, l).Verdict == policy.Allowed {
			return true, true
		}
	}
	return false, true
}

// onto adds a trust policy to a problem: once with the principal's own
// policies, and once without them, where the trust policy names it.
func (t *trust) onto(pr *problem) []*problem {
	allows, denies := statementsOf([]Policy{*t.policy})
	acts := actionsOf(allows, denies)
	class, _ := acts.named("sts:AssumeRole")
	who := caller{account: t.account, arn: t.from}
	denies = slices.DeleteFunc(acts.filter(denies, &class), func(s *statement) bool { return !surely(s, who) })
	allows = slices.DeleteFunc(acts.filter(allows, &class), func(s *statement) bool { return !mayBe(s, who) })
	named := slices.DeleteFunc(slices.Clone(allows), func(s *statement) bool { return !direct(s.Statement, t.from) })
	both, alone := *pr, *pr
	both.avoid = append(pr.avoid[:len(pr.avoid):len(pr.avoid)], denies...)
	both.musts = append(pr.musts[:len(pr.musts):len(pr.musts)], allows)
	alone.avoid = both.avoid
	alone.musts = append(slices.Clone(pr.musts[1:]), named)
	return []*problem{&both, &alone}
}
