package prove

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// statement is one statement with where it stands.
type statement struct {
	*policy.Statement
	policy *Policy
	index  int
	// number tells it from the others that are judged with it.
	number int
	// conditions identifies the condition block; empty if there is none.
	conditions string
	// actions are the numbers of its action patterns, by actionsOf.
	actions []int
	// prefixes are what its resources begin with.
	prefixes []string
}

// statementsOf takes the statements of policies apart.
func statementsOf(policies []Policy) (allows, denies []*statement) {
	for i := range policies {
		p := &policies[i]
		if p.Document == nil {
			continue
		}
		for j := range p.Document.Statements {
			s := &statement{Statement: &p.Document.Statements[j], policy: p, index: j}
			s.conditions = conditionsKey(s.Conditions)
			for k := range s.Resources {
				s.prefixes = append(s.prefixes, literalPrefix(&s.Resources[k]))
			}
			if s.Effect == policy.Allow {
				allows = append(allows, s)
			} else {
				denies = append(denies, s)
			}
		}
	}
	return allows, denies
}

// literalPrefix is the text that whatever a pattern matches begins with.
func literalPrefix(a *policy.ARNPattern) string {
	if a.All {
		return ""
	}
	var out strings.Builder
	for i, part := range a.Parts {
		if i > 0 {
			out.WriteByte(':')
		}
		for _, t := range part {
			if t.Kind != policy.Literal {
				return out.String()
			}
			out.WriteString(t.Text)
		}
	}
	return out.String()
}

// meets tells whether the statement may be about a resource that begins with
// one of some texts.
func (s *statement) meets(prefixes []string) bool {
	if s.NotResource || len(s.Resources) == 0 {
		return true
	}
	for _, mine := range s.prefixes {
		for _, p := range prefixes {
			if strings.HasPrefix(mine, p) || strings.HasPrefix(p, mine) {
				return true
			}
		}
	}
	return false
}

// patternKey identifies a pattern.
func patternKey(p policy.Pattern) string {
	if len(p) == 1 && p[0].Kind == policy.Literal {
		return p[0].Text
	}
	var out strings.Builder
	for _, t := range p {
		out.WriteByte('\x06' + byte(t.Kind))
		out.WriteString(t.Text)
		if t.HasDefault {
			out.WriteString("\x0e" + t.Default)
		}
	}
	return out.String()
}

func conditionsKey(all []policy.Condition) string {
	if len(all) == 0 {
		return ""
	}
	parts := make([]string, len(all))
	for i := range all {
		parts[i] = conditionKey(&all[i])
	}
	slices.Sort(parts)
	return strings.Join(parts, "\x01")
}

func conditionKey(c *policy.Condition) string {
	var out strings.Builder
	out.WriteString(c.Name() + "\x02" + c.Key)
	for _, v := range c.Values {
		out.WriteString("\x03" + v.Text + "\x04")
		// Escapes and variables tell documents of the two versions apart.
		for _, p := range v.Parts {
			out.WriteString(patternKey(p) + "\x05")
		}
		out.WriteString(patternKey(v.Pattern) + "\x05")
	}
	return out.String()
}

// problem asks for a request on the place that a statement of each must
// matches, and none of avoid does.
type problem struct {
	world *world
	place []words
	musts [][]*statement
	avoid []*statement
	// except are resources that it is not about.
	except []words
}

// solution is such a request, in which ids may still be marks.
type solution struct {
	world    *world
	resource []symbol
	keys     map[string]assignment
}

// The bounds of one problem. Beyond them the answer is unknown.
const (
	wordBudget   = 20000 // states of an automaton
	branchBudget = 400   // choices of how statements match or fail to
)

// questionBudget bounds the work for all problems of one question: one set of
// policies, or one pair of them. It is counted in nodes looked at for a class
// of bytes, some 20 ns each. Beyond it the answer is unknown.
const questionBudget = 30e6

// attempt is a problem as far as choices were made.
type attempt struct {
	*problem
	world  *world
	keys   map[string][]constraint
	chosen map[string]bool // conditions that are already known to fail
	musts  [][]words
	nots   []words
	// spent counts the choices made, over all branches.
	spent *int
	// vague reports that something could not be decided on the way.
	vague *bool
}

// solve decides the problem. none is a proof that there is no such request.
func (p *problem) solve() (*solution, outcome) {
	if p.world.tired() {
		return nil, exhausted
	}
	spent, vague := 0, false
	a := &attempt{problem: p, world: p.world, keys: map[string][]constraint{}, chosen: map[string]bool{}, nots: p.except, spent: &spent, vague: &vague}
	for key := range p.world.known {
		a.keys[key] = nil
	}
	s := a.choose(0, nil)
	switch {
	case s != nil:
		return s, found
	case vague || spent > branchBudget:
		return nil, exhausted
	}
	return nil, none
}

// group is statements that match under the same conditions, so that which of
// them matches makes no difference but for the resource.
type group struct {
	all []*statement
	not bool // one statement with NotResource
}

func groups(all []*statement) []group {
	var out []group
	index := map[string]int{}
	for _, s := range all {
		if s.NotResource {
			out = append(out, group{[]*statement{s}, true})
			continue
		}
		i, known := index[s.conditions]
		if !known {
			i = len(out)
			index[s.conditions] = i
			out = append(out, group{})
		}
		out[i].all = append(out[i].all, s)
	}
	for i, g := range out {
		if !g.not && g.all[0].conditions == "" && slices.ContainsFunc(g.all, anyResource) {
			// What this group allows holds all that the others do.
			return []group{out[i]}
		}
	}
	slices.SortStableFunc(out, func(a, b group) int { return cmp.Compare(len(a.all[0].Conditions), len(b.all[0].Conditions)) })
	return out
}

func anyResource(s *statement) bool {
	return len(s.Resources) == 0 || !s.NotResource && slices.ContainsFunc(s.Resources, func(r policy.ARNPattern) bool { return r.All })
}

// choose picks a group of each must, and then goes on to what is to be avoided.
func (a *attempt) choose(layer int, picked []group) *solution {
	if layer < len(a.problem.musts) {
		for _, g := range groups(a.problem.musts[layer]) {
			if *a.spent++; *a.spent > branchBudget {
				return nil
			}
			next := a.branch()
			if !next.fix(g.all[0]) || !next.constrain(g.all[0], true) {
				continue
			}
			if s := next.choose(layer+1, append(picked[:len(picked):len(picked)], g)); s != nil {
				return s
			}
		}
		return nil
	}
	for _, g := range picked {
		a.resource(g)
	}
	return a.begin()
}

func (a *attempt) branch() *attempt {
	next := *a
	next.keys = maps.Clone(a.keys)
	next.chosen = maps.Clone(a.chosen)
	next.musts = slices.Clip(a.musts)
	next.nots = slices.Clip(a.nots)
	return &next
}

// fix takes from conditions of the form key equals value what a variable of
// that key then stands for.
func (a *attempt) fix(s *statement) bool {
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if c.Operator != policy.StringEquals || c.Quantifier != policy.Single || c.IfExists || len(c.Values) != 1 || a.world.means[c.Key].known {
			continue
		}
		if !a.closed(c.Values[0].Pattern) {
			continue
		}
		if text, ok := a.world.expand(c.Values[0].Pattern, anyByte, asMust, false); ok {
			a.world = a.world.with(c.Key, text)
		}
	}
	return true
}

// closed tells whether every variable of a pattern is known.
func (a *attempt) closed(p policy.Pattern) bool {
	for _, t := range p {
		if t.Kind == policy.Variable && !a.world.means[t.Text].known || t.Kind == policy.Run || t.Kind == policy.One {
			return false
		}
	}
	return true
}

// constrain adds the conditions of a statement that matches; false if they
// cannot hold.
func (a *attempt) constrain(s *statement, hold bool) bool {
	for i := range s.Conditions {
		if !a.add(constraint{&s.Conditions[i], s.Effect, hold}) {
			return false
		}
	}
	return true
}

func (a *attempt) add(c constraint) bool {
	key := c.condition.Key
	a.keys[key] = append(a.keys[key][:len(a.keys[key]):len(a.keys[key])], c)
	_, o := a.world.solveKey(key, a.keys[key])
	return o != none
}

// resource adds where a group of statements matches.
func (a *attempt) resource(g group) {
	if slices.ContainsFunc(g.all, anyResource) && !g.not {
		return
	}
	if g.not {
		a.nots = append(a.nots, a.languages(g.all[0].Resources, asNot)...)
		return
	}
	var all []words
	for _, s := range g.all {
		all = append(all, a.languages(s.Resources, asMust)...)
	}
	a.musts = append(a.musts, all)
}

// languages gives those of resource patterns that can meet the place.
func (a *attempt) languages(patterns []policy.ARNPattern, u use) []words {
	var out []words
	for i := range patterns {
		w, ok := a.world.expandARN(&patterns[i], u)
		if ok && slices.ContainsFunc(a.place, func(p words) bool { return !apart(p, w) }) {
			out = append(out, w)
		}
	}
	return out
}

// word looks for a resource with the choices made.
func (a *attempt) word() ([]symbol, outcome) {
	w, o := a.world.compose(append([][]words{a.place}, a.musts...), a.nots).find(wordBudget)
	if o == exhausted {
		*a.vague = true
	}
	return w, o
}

// begin avoids what has no conditions and so leaves no choice.
func (a *attempt) begin() *solution {
	var conditional []*statement
	for _, s := range a.avoid {
		switch {
		case len(s.Conditions) > 0:
			if !a.elsewhere(s) {
				conditional = append(conditional, s)
			}
		case !a.outside(s):
			return nil
		}
	}
	if _, o := a.word(); o == none {
		return nil
	}
	slices.SortStableFunc(conditional, func(x, y *statement) int { return cmp.Compare(len(x.Conditions), len(y.Conditions)) })
	return a.evade(conditional)
}

// elsewhere tells whether a statement is about other resources for sure.
func (a *attempt) elsewhere(s *statement) bool {
	return !anyResource(s) && !s.NotResource && len(a.languages(s.Resources, asMust)) == 0
}

// outside keeps the resource out of a statement; false if that cannot be.
func (a *attempt) outside(s *statement) bool {
	if anyResource(s) {
		return false
	}
	if s.NotResource {
		a.musts = append(a.musts, a.languages(s.Resources, asMust))
	} else {
		a.nots = append(a.nots, a.languages(s.Resources, asNot)...)
	}
	return true
}

// evade avoids statements one after the other, each by one of its conditions
// that fails or by the resource.
func (a *attempt) evade(rest []*statement) *solution {
	if *a.spent++; *a.spent > branchBudget {
		return nil
	}
	if len(rest) == 0 {
		return a.finish()
	}
	s := rest[0]
	for i := range s.Conditions {
		if a.chosen[s.Effect.String()+conditionKey(&s.Conditions[i])] {
			return a.evade(rest[1:])
		}
	}
	for i := range s.Conditions {
		next := a.branch()
		if !next.add(constraint{&s.Conditions[i], s.Effect, false}) {
			continue
		}
		next.chosen[s.Effect.String()+conditionKey(&s.Conditions[i])] = true
		if solved := next.evade(rest[1:]); solved != nil {
			return solved
		}
		if a.free(s.Conditions[i].Key) {
			// That it fails restricts nothing else: no other way can do better.
			return nil
		}
	}
	next := a.branch()
	if !next.outside(s) {
		return nil
	}
	if _, o := next.word(); o == none {
		return nil
	}
	return next.evade(rest[1:])
}

// free tells whether a key is that of one condition only and no variable.
func (a *attempt) free(key string) bool {
	if _, known := a.problem.world.known[key]; known {
		return false
	}
	uses := 0
	for _, list := range append(a.problem.musts[:len(a.problem.musts):len(a.problem.musts)], a.avoid) {
		for _, s := range list {
			for i := range s.Conditions {
				c := &s.Conditions[i]
				if c.Key == key {
					uses++
				}
				if slices.ContainsFunc(c.Values, func(v policy.Value) bool {
					return mentions(v.Pattern, key) || slices.ContainsFunc(v.Parts[:], func(p policy.Pattern) bool { return mentions(p, key) })
				}) {
					return false
				}
			}
			for i := range s.Resources {
				if slices.ContainsFunc(s.Resources[i].Parts[:], func(p policy.Pattern) bool { return mentions(p, key) }) {
					return false
				}
			}
		}
	}
	return uses == 1
}

func mentions(p policy.Pattern, key string) bool {
	return slices.ContainsFunc(p, func(t policy.Token) bool { return t.Kind == policy.Variable && t.Text == key })
}

// finish puts the request together. Values are looked for anew, for what was
// learnt of variables since.
func (a *attempt) finish() *solution {
	resource, o := a.word()
	if o != found {
		return nil
	}
	s := &solution{world: a.world, resource: resource, keys: map[string]assignment{}}
	for key := range a.world.known {
		if _, there := a.keys[key]; !there {
			a.keys[key] = nil
		}
	}
	for key, all := range a.keys {
		value, o := a.world.solveKey(key, all)
		switch o {
		case none:
			return nil
		case exhausted:
			*a.vague = true
		}
		s.keys[key] = value
	}
	return s
}
