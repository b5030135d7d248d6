package prove

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// The codes of findings about resource and trust policies.
const (
	codeForeign   = "FOREIGN_PRINCIPAL"
	codePublic    = "PUBLIC"
	codeDeputy    = "CONFUSED_DEPUTY"
	codeFederated = "FEDERATED_WITHOUT_SUBJECT"
)

// object is a resource with a policy of its own.
type object struct {
	arn    string
	policy *Policy
	trust  bool
}

// objects lists what an account has that may consent to others.
func (a *Account) objects() []object {
	var out []object
	for i := range a.Principals {
		if u := &a.Principals[i]; u.Trust != nil {
			out = append(out, object{u.ARN, u.Trust, true})
		}
	}
	for i := range a.Functions {
		if f := &a.Functions[i]; f.Policy != nil {
			out = append(out, object{f.ARN, f.Policy, false})
		}
	}
	for i := range a.Resources {
		if r := &a.Resources[i]; r.Policy != nil {
			out = append(out, object{r.ARN, r.Policy, false})
		}
	}
	return out
}

// consents judges whom the policies of an account's resources let in. What a
// tenant may do by its own identity policies is its own to change, so it is
// taken to be everything; guardrails are not, and count.
func (p *Prover) consents(e *environment, a *Account) Report {
	out := Report{Result: Proved}
	for _, x := range a.objects() {
		if !opens(x.policy, a) {
			continue
		}
		key := digest("consent", e.digest, a.ID, a.Slug, x.arn, x.policy.digest(), levelsDigest(a.RCPs))
		out.merge(p.remembered(key, func() Report {
			question := []string{x.policy.digest(), levelsDigest(a.RCPs)}
			for _, g := range e.guards {
				question = append(question, g.digest)
			}
			return (&consent{environment: e, account: a, object: x}).report().about(question...)
		}), nil)
	}
	return out
}

// opens tells whether a policy may let in anybody but its own account and the
// platform's functions, at a glance.
func opens(p *Policy, a *Account) bool {
	if p.Document == nil {
		return false
	}
	return slices.ContainsFunc(p.Document.Statements, func(s policy.Statement) bool {
		if s.Effect != policy.Allow || s.Principals == nil {
			return s.Effect == policy.Allow
		}
		foreign := func(arn string) bool { return accountOf(arn) != a.ID }
		services := slices.ContainsFunc(s.Principals.Service, func(host string) bool { return host != "lambda.amazonaws.com" || p.Document.Kind != policy.Trust })
		return s.NotPrincipal || s.Principals.Any || services || slices.ContainsFunc(s.Principals.AWS, foreign) || len(s.Principals.Federated) > 0
	})
}

func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

// caller is somebody of another account, or of any other.
type caller struct {
	// account is a number, or empty for any that is not named.
	account string
	// arn is the principal if a policy names it, as it does.
	arn       string
	anonymous bool
}

// consent is the judgement of one object's policy.
type consent struct {
	*environment
	account *Account
	object  object
	meter   int
	// others are the accounts that the policy names in any way.
	others []string
}

var accountNumbers = regexp.MustCompile(`[0-9]{12}`)

// callers lists whom to judge the policy for.
func (c *consent) callers() []caller {
	var out []caller
	everybody := false
	text := ""
	for i := range c.object.policy.Document.Statements {
		s := &c.object.policy.Document.Statements[i]
		text += conditionsKey(s.Conditions)
		if s.Effect != policy.Allow || s.Principals == nil {
			continue
		}
		everybody = everybody || s.Principals.Any || s.NotPrincipal
		for _, arn := range s.Principals.AWS {
			if id := accountOf(arn); c.foreign(id, c.account) {
				out = append(out, caller{account: id, arn: arn})
			}
		}
	}
	if !everybody {
		return out
	}
	for _, s := range c.Shares {
		if s.Owner == c.account.ID {
			text += " " + s.With
		}
	}
	for _, id := range accountNumbers.FindAllString(text, -1) {
		if c.foreign(id, c.account) && !slices.Contains(c.others, id) {
			c.others = append(c.others, id)
			out = append(out, caller{account: id})
		}
	}
	out = append(out, caller{})
	if !c.object.trust {
		// A role is never taken on by somebody without credentials.
		out = append(out, caller{anonymous: true})
	}
	return out
}

// report judges the policy for every caller.
func (c *consent) report() Report {
	out := Report{Result: Proved, Warnings: c.warnings()}
	out.merge(c.providers(), nil)
	said := map[string]bool{}
	for _, who := range c.callers() {
		for _, g := range c.guardsOf(who) {
			f, found := c.judge(who, g)
			if found && !said[f.Policy+fmt.Sprint(f.Statement, f.Tenant)] {
				said[f.Policy+fmt.Sprint(f.Statement, f.Tenant)] = true
				out.add(f)
			}
			if who.anonymous || found {
				break // guardrails do not bind who is of no account
			}
		}
		for _, s := range c.shares(who) {
			out.Shares = append(out.Shares, s.ID)
		}
	}
	return out
}

// guardsOf gives the guardrails that may bind a caller. Nothing binds one of an
// account that is none of the organisation's.
func (c *consent) guardsOf(who caller) []guard {
	if who.anonymous || who.account != "" && c.byID[who.account] == nil || len(c.guards) == 0 {
		return []guard{{of: &Account{}}}
	}
	return c.guards
}

// shares gives those that let a caller at this object, or a part of it.
func (c *consent) shares(who caller) []Share {
	return slices.DeleteFunc(slices.Clone(c.Shares), func(s Share) bool {
		return s.Owner != c.account.ID || who.account == "" || s.With != who.account || !c.touches(s)
	})
}

func (c *consent) touches(s Share) bool {
	for _, shared := range shareWords(s.Resource) {
		for _, mine := range c.place() {
			a := &automaton{}
			a.must([]words{shared})
			a.must([]words{mine})
			if _, o := a.find(wordBudget); o != none {
				return true
			}
		}
	}
	return false
}

// shareWords reads the resource of a share; a function's versions and aliases
// are shared with it.
func shareWords(resource string) []words {
	// The slot is put in and taken out again: a share is a layout without one.
	w, ok := layoutWords(resource + tenantSlot)
	if !ok {
		return nil
	}
	out := []words{w}
	if strings.HasPrefix(resource, "arn:aws:lambda:") && !strings.HasSuffix(resource, "*") {
		qualified, _ := layoutWords(resource + ":*" + tenantSlot)
		out = append(out, qualified)
	}
	return out
}

// place is every resource that the object's policy can be about.
func (c *consent) place() []words {
	text := func(s string) piece { return piece{kind: textPiece, text: s} }
	whole := words{text(c.object.arn)}
	if c.object.trust {
		return []words{whole}
	}
	delimiter := ":"
	if strings.HasPrefix(c.object.arn, bucketARN) {
		delimiter = "/"
	}
	return []words{whole, {text(c.object.arn + delimiter), piece{kind: runPiece, set: anyByte}}}
}

// judge decides for one caller under one set of guardrails.
func (c *consent) judge(who caller, g guard) (Finding, bool) {
	all := Slugs.lang()
	anyone := (&population{grammar: Slugs}).any(all, []string{c.account.Slug})
	if _, o := c.solve(who, g, anyone); o == none {
		return Finding{}, false
	}
	for _, id := range []string{c.slugOf(who.account), "globex", "initech-eu"} {
		if id == "" || id == c.account.Slug {
			continue
		}
		x, o := c.solve(who, g, (&population{grammar: Slugs}).one(all, id))
		if o != found {
			continue
		}
		if f, ok := c.confirm(who, g, x); ok {
			return f, true
		}
	}
	return Finding{
		Result: Unknown, Code: codeUndecided, Tenant: c.nameOf(who), Statement: -1, Policy: c.object.policy.Name,
		basis:   digest(c.object.policy.digest(), levelsDigest(c.account.RCPs), g.digest),
		Message: fmt.Sprintf("it was not decided whether the policy of %s lets in %s", c.object.arn, c.describe(who)),
		Remedy:  "Name the principals, and bind their accounts with aws:PrincipalAccount.",
	}, true
}

func (c *consent) slugOf(id string) string {
	if other := c.byID[id]; other != nil {
		return other.Slug
	}
	return ""
}

func (c *consent) nameOf(who caller) string {
	if slug := c.slugOf(who.account); slug != "" {
		return slug
	}
	if who.account != "" {
		return who.account
	}
	return anyTenant
}

func (c *consent) describe(who caller) string {
	switch {
	case who.anonymous:
		return "callers without credentials"
	case who.account == "":
		return "other tenants"
	case c.slugOf(who.account) != "":
		return "tenant " + c.slugOf(who.account)
	}
	return "account " + who.account + ", which is none of this installation's"
}

// consented is a request that a caller may make, not confirmed yet.
type consented struct {
	*solution
	action string
	stand  *stand
}

// solve looks for a request of the caller that the policy lets through.
func (c *consent) solve(who caller, g guard, s *stand) (*consented, outcome) {
	allows, denies := statementsOf([]Policy{*c.object.policy})
	layers := [][]*statement{slices.DeleteFunc(allows, func(s *statement) bool { return !mayBe(s, who) })}
	denies = slices.DeleteFunc(denies, func(s *statement) bool { return !surely(s, who) })
	for _, level := range c.account.RCPs {
		_, more := statementsOf(level.Policies)
		denies = append(denies, slices.DeleteFunc(more, func(s *statement) bool { return !surely(s, who) })...)
	}
	if !who.anonymous {
		for _, level := range g.of.SCPs {
			allow, deny := statementsOf(level.Policies)
			layers, denies = append(layers, allow), append(denies, deny...)
		}
	}
	place, except := c.place(), c.except(who, s)
	if c.account.Management {
		place = c.layoutsOfOthers(s)
	}
	if len(place) == 0 || len(layers[0]) == 0 {
		return nil, none
	}
	acts := actionsOf(append(layers[:len(layers):len(layers)], denies)...)
	result := none
	classes, ok := c.classes(acts, layers, denies)
	if !ok {
		return nil, exhausted
	}
	for _, class := range classes {
		pr := &problem{world: c.world(who, s), place: place, avoid: acts.filter(denies, &class), except: except}
		for _, layer := range layers {
			pr.musts = append(pr.musts, acts.filter(layer, &class))
		}
		x, o := pr.solve()
		if o == found {
			return &consented{x, class.name, s}, found
		}
		if o == exhausted {
			result = exhausted
		}
	}
	return nil, result
}

// classes gives the actions that the policy tells apart; false if they are
// too many.
func (c *consent) classes(acts *actions, layers [][]*statement, denies []*statement) ([]actionClass, bool) {
	if c.object.trust {
		class, _ := acts.named("sts:AssumeRole")
		return []actionClass{class}, true
	}
	var out []actionClass
	for _, service := range acts.services(append(layers[:len(layers):len(layers)], denies)...) {
		classes, ok := acts.classes(service)
		if !ok {
			return nil, false
		}
		out = append(out, classes...)
	}
	return out, true
}

// except gives what the caller may reach: what is shared with it, and what
// carries its name by a layout.
func (c *consent) except(who caller, s *stand) []words {
	var out []words
	for _, share := range c.shares(who) {
		out = append(out, shareWords(share.Resource)...)
	}
	for _, l := range c.Layouts {
		if own, ok := layoutWords(l.Pattern, s.tenant...); ok && l.Account == c.account.ID {
			out = append(out, own)
		}
	}
	return out
}

// layoutsOfOthers gives what of the operators' resources is a tenant's.
func (c *consent) layoutsOfOthers(s *stand) []words {
	var out []words
	for _, l := range c.Layouts {
		if foreign, ok := layoutWords(l.Pattern, s.slot()); ok && l.Account == c.account.ID {
			out = append(out, foreign)
		}
	}
	return out
}

// world says what is known of a request of the caller.
func (c *consent) world(who caller, s *stand) *world {
	text := func(s string) words { return words{{kind: textPiece, text: s}} }
	w := &world{meter: &c.meter, marks: s.world.marks, means: map[string]meaning{}, known: map[string]facts{}}
	always := func(key string, value ...words) {
		w.known[key] = facts{always: true, alone: true, must: [][]words{value}}
	}
	always("aws:resourceaccount", text(c.account.ID))
	w.means["aws:resourceaccount"] = meaning{known: true, text: text(c.account.ID)}
	if who.anonymous {
		for _, key := range []string{"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principaltag/tenant_id", "carrel:tenantid", "carrel:accounttenant", "carrel:endtenant", "aws:userid", "aws:username"} {
			w.known[key] = facts{never: true}
			w.means[key] = meaning{never: true}
		}
		return w
	}
	number := words{{kind: slotPiece, ids: accountLang, not: symbols(c.account.ID)}}
	if who.account != "" {
		number = text(who.account)
		w.means["aws:principalaccount"] = meaning{known: true, text: number}
	}
	always("aws:principalaccount", number)
	var arns []words
	for _, service := range []string{"iam", "sts"} { // a federated user's is of sts
		arns = append(arns, join(slices.Concat(text("arn:aws:"+service+"::"), number, text(":"), words{{kind: runPiece, set: anyByte}})))
	}
	always("aws:principalarn", arns...)
	if who.arn != "" && !strings.HasSuffix(who.arn, ":root") && !strings.Contains(who.arn, ":sts:") {
		always("aws:principalarn", text(who.arn))
	}
	if c.ID != "" && (who.account == "" || c.byID[who.account] != nil) {
		always("aws:principalorgid", text(c.ID))
		w.means["aws:principalorgid"] = meaning{known: true, text: text(c.ID)}
	}
	// Its session may be one for an end tenant of its own, of any name: only
	// the account's slug tells tenants apart.
	always("carrel:accounttenant", s.tenant)
	w.means["carrel:accounttenant"] = meaning{known: true, text: s.tenant}
	w.known["aws:sourceaccount"] = facts{alone: true, must: [][]words{{words{{kind: slotPiece, ids: accountLang, not: symbols(c.account.ID)}}}}}
	return w
}

var accountLang = Grammar{First: digits, Middle: digits, Last: digits, Min: 12, Max: 12}.lang()

// mayBe tells whether a statement may be about a caller.
func mayBe(s *statement, who caller) bool {
	p := s.Principals
	if p == nil {
		return false
	}
	return s.NotPrincipal || p.Any || who.account != "" && (lists(p, who) ||
		slices.ContainsFunc(p.AWS, func(arn string) bool { return oneOf(arn, who.arn) }))
}

// surely tells whether a statement is about a caller for sure.
func surely(s *statement, who caller) bool {
	p := s.Principals
	if p == nil {
		return false
	}
	if s.NotPrincipal {
		return !p.Any && !slices.ContainsFunc(p.AWS, func(arn string) bool { return who.account == "" || accountOf(arn) == who.account })
	}
	return p.Any || who.account != "" && lists(p, who)
}

func lists(p *policy.Principals, who caller) bool {
	return slices.Contains(p.AWS, who.arn) || slices.Contains(p.AWS, rootOf(who.account))
}

func rootOf(account string) string { return "arn:aws:iam::" + account + ":root" }
