package prove

import (
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// population is whose ids a question is about.
type population struct {
	grammar Grammar
	// end says that they are end tenants: the sessions of execution roles then
	// carry their ids, and the account's slug says nothing about them.
	end bool
	// account is the slug of the account whose end tenants ask where other
	// accounts own; empty where end tenants do.
	account string
	// anyOwner says that what any tenant owns counts as another's: whose role it
	// is says nothing about whom the request is for.
	anyOwner bool
}

// keys are the condition keys whose value is the asking tenant's id.
func (p *population) keys() []string {
	if p.end {
		return []string{"carrel:tenantid", "carrel:endtenant", "aws:principaltag/tenant_id"}
	}
	return []string{"carrel:tenantid", "carrel:accounttenant", "aws:principaltag/tenant_id"}
}

// stand is a world seen by one tenant: one whose id is a mark, or is known.
type stand struct {
	*ids
	world *world
	// tenant is the id if it is known.
	name string
}

// any is the stand of every tenant but some, by a mark.
func (p *population) any(all *lang, except []string) *stand {
	mark := words{{kind: markPiece, mark: firstMark}}
	own := []symbol{firstMark}
	if p.account != "" {
		own = symbols(p.account)
	}
	return p.stand(&world{marks: []*lang{p.grammar.lang(except...)}}, &ids{tenant: mark, own: own, all: all})
}

// one is the stand of one tenant.
func (p *population) one(all *lang, id string) *stand {
	own := symbols(id)
	if p.anyOwner {
		own = nil
	}
	if p.account != "" {
		own = symbols(p.account)
	}
	s := p.stand(&world{}, &ids{tenant: words{{kind: textPiece, text: id}}, own: own, all: all})
	s.name = id
	return s
}

func (p *population) stand(w *world, d *ids) *stand {
	w.means, w.known, d.keys = map[string]meaning{}, map[string]facts{}, map[string]bool{}
	for _, key := range p.keys() {
		d.keys[key] = true
		w.means[key] = meaning{known: true, text: d.tenant}
		w.known[key] = facts{always: true, alone: true, must: [][]words{{d.tenant}}}
	}
	if p.end {
		w.known["carrel:accounttenant"] = facts{always: true, alone: true}
		if p.account != "" {
			slug := words{{kind: textPiece, text: p.account}}
			w.means["carrel:accounttenant"] = meaning{known: true, text: slug}
			w.known["carrel:accounttenant"] = facts{always: true, alone: true, must: [][]words{{slug}}}
		}
	} else {
		w.means["carrel:endtenant"] = meaning{never: true}
		w.known["carrel:endtenant"] = facts{never: true}
	}
	// The platform tags resources with their owner. A tenant that tags its own
	// with another's id gives its own away, which is its right.
	for _, key := range []string{"aws:resourcetag/tenant_id", "s3:existingobjecttag/tenant_id"} {
		w.known[key] = facts{alone: true, must: [][]words{{{d.slot()}}}}
	}
	// Who asks may be a user or any session; the same policies are attached to both.
	types := []words{}
	for _, t := range []string{"AssumedRole", "User", "FederatedUser", "Account"} {
		types = append(types, words{{kind: textPiece, text: t}})
	}
	w.known["aws:principaltype"] = facts{always: true, alone: true, must: [][]words{types}}
	w.known["aws:principalisawsservice"] = facts{always: true, alone: true, must: [][]words{{{{kind: textPiece, text: "false"}}}}}
	return &stand{ids: d, world: w}
}

// judgement is a set of policies that are judged together, with what bounds
// them.
type judgement struct {
	population
	layouts []Layout
	// identity grant; each of bounds has to allow besides.
	identity []Policy
	bounds   [][]Policy

	all  *lang
	acts *actions
	// found and seen remember what was worked out: near, by place, and places,
	// by stand.
	found  map[string]nearby
	meter  int
	seen   map[string][]place
	allows [][]*statement // of identity, then of each bound
	denies []*statement

	// only is the one tenant that is judged; empty for every one. fixed are
	// condition keys of its principal, and owned the buckets that belong to a
	// tenant and need no look.
	only  string
	fixed map[string]string
	owned map[string]bool
	// principal is the role that asks, in witnesses; empty for any.
	principal string
	// direct says that the policies are a resource's, which let the principal in
	// by themselves.
	direct bool
	// own and ownBounds are the principal's policies, then.
	own       []Policy
	ownBounds [][]Policy
	// home are layouts of the principal's own account, which need no consent:
	// they are judged whether policies name them or not.
	home []Layout
	// homeOnly leaves out all places but those of home.
	homeOnly bool
	// mine are the buckets of the account whose end tenants ask. What it keeps
	// in them is its own, unless a pattern means to keep end tenants apart there.
	mine map[string]bool
}

// first is the stand from which places are judged.
func (j *judgement) first() *stand {
	if j.only != "" {
		return j.one(j.all, j.only)
	}
	return j.any(j.all, nil)
}

// one is the stand of one tenant, with what is known of its principal.
func (j *judgement) one(all *lang, id string) *stand { return j.fix(j.population.one(all, id)) }

// any is the stand of every tenant but some.
func (j *judgement) any(all *lang, except []string) *stand {
	return j.fix(j.population.any(all, except))
}

func (j *judgement) fix(s *stand) *stand {
	s.world.meter = &j.meter
	for key, value := range j.fixed {
		text := s.marked(value)
		s.world.means[key] = meaning{known: true, text: text}
		s.world.known[key] = facts{always: true, alone: true, must: [][]words{{text}}}
	}
	return s
}

// marked gives a text in which the asking tenant's id replaced EndTenantMark.
func (s *stand) marked(text string) words {
	before, after, family := strings.Cut(text, EndTenantMark)
	if !family {
		return words{{kind: textPiece, text: text}}
	}
	return join(slices.Concat(words{{kind: textPiece, text: before}}, s.tenant, words{{kind: textPiece, text: after}}))
}

// places gives those to judge as a stand sees them.
func (j *judgement) places(s *stand) []place {
	var out []place
	if !j.homeOnly {
		out = slices.DeleteFunc(s.places(j.allows[0], j.layouts), func(p place) bool { return j.owned[p.bucket] && !(p.meant && j.mine[p.bucket]) })
	}
	for i := range j.home {
		for _, p := range s.ofLayout(&j.home[i]) {
			if !slices.ContainsFunc(out, func(q place) bool { return q.kind == p.kind && q.where == p.where }) {
				out = append(out, p)
			}
		}
	}
	return out
}

func (j *judgement) prepare() {
	j.found, j.seen = map[string]nearby{}, map[string][]place{}
	j.all = j.grammar.lang()
	if j.account != "" {
		j.all = Slugs.lang()
	}
	for _, layer := range append([][]Policy{j.identity}, j.bounds...) {
		allows, denies := statementsOf(layer)
		j.allows = append(j.allows, allows)
		j.denies = append(j.denies, denies...)
	}
	number := 0
	for _, list := range append(j.allows[:len(j.allows):len(j.allows)], j.denies) {
		for _, s := range list {
			s.number = number
			number++
		}
	}
	j.acts = actionsOf(append(j.allows[:len(j.allows):len(j.allows)], j.denies)...)
}

// nearby is the statements that may be about a place.
type nearby struct {
	allows [][]*statement
	denies []*statement
}

// near leaves out the statements that are about other resources for sure.
func (j *judgement) near(p *place) nearby {
	if len(p.foreign) == 0 {
		return nearby{j.allows, j.denies}
	}
	key := string(rune('0'+p.kind)) + p.where
	n, known := j.found[key]
	if known {
		return n
	}
	var prefixes []string
	for _, w := range p.foreign {
		prefixes = append(prefixes, w.prefix())
	}
	pick := func(all []*statement) (out []*statement) {
		for _, s := range all {
			if s.meets(prefixes) {
				out = append(out, s)
			}
		}
		return out
	}
	for _, layer := range j.allows {
		n.allows = append(n.allows, pick(layer))
	}
	n.denies = pick(j.denies)
	j.found[key] = n
	return n
}

// problem asks for a request of a class of actions at a place.
func (j *judgement) problem(s *stand, p *place, resources []words, c *actionClass) *problem {
	n := j.near(p)
	out := &problem{world: s.world, place: resources, avoid: j.acts.filter(n.denies, c)}
	for _, layer := range n.allows {
		out.musts = append(out.musts, j.acts.filter(layer, c))
	}
	if p.kind == listingPlace {
		known := map[string]facts{}
		for k, f := range s.world.known {
			known[k] = f
		}
		known["s3:prefix"] = facts{alone: true, must: [][]words{p.prefixes}}
		out.world = &world{meter: s.world.meter, marks: s.world.marks, means: s.world.means, known: known}
	}
	return out
}

// classesAt gives the classes of actions that mean something at a place.
func (j *judgement) classesAt(p *place) ([]actionClass, bool) {
	named := func(names []string) (out []actionClass, ok bool) {
		for _, n := range names {
			c, _ := j.acts.named("s3:" + n)
			out = append(out, c)
		}
		return out, true
	}
	switch p.kind {
	case bucketPlace:
		return named(bucketActions)
	case listingPlace:
		return named(bucketLists)
	case controlPlace:
		return named(bucketWrites)
	case layoutPlace:
		var out []actionClass
		for _, service := range j.acts.services(append(j.allows[:len(j.allows):len(j.allows)], j.denies)...) {
			classes, ok := j.acts.classes(service)
			if !ok {
				return nil, false
			}
			out = append(out, classes...)
		}
		return out, true
	}
	all, ok := j.acts.classes("s3")
	return slices.DeleteFunc(all, func(c actionClass) bool {
		return c.known && slices.Contains(bucketActions, strings.TrimPrefix(c.name, "s3:"))
	}), ok
}

// verdict is what came of one place.
type verdict struct {
	result  Result
	place   *place
	action  string
	witness *confirmed
	// why says what was not decided.
	why string
}

// confirmed is a request that the evaluator allowed.
type confirmed struct {
	tenant, owner string
	request       policy.Request
	context       map[string][]string
}

// at decides about one of the places, class of actions by class.
func (j *judgement) at(anyone *stand, places []place, index int) verdict {
	p := &places[index]
	out := verdict{result: Proved, place: p}
	classes, ok := j.classesAt(p)
	if !ok {
		out.result, out.why = Unknown, "its policies tell too many actions apart"
		return out
	}
	done := map[string]bool{}
	for i := range classes {
		c := &classes[i]
		pr := j.problem(anyone, p, p.foreign, c)
		key := pr.key()
		if len(pr.musts[0]) == 0 || done[key] {
			continue
		}
		done[key] = true
		_, o := pr.solve()
		if o == none {
			continue
		}
		v := j.pursue(&suspicion{pr, places, index, c})
		if v.result == Violated {
			return v
		}
		if v.result == Unknown {
			out = v
		}
	}
	return out
}

// key identifies the statements of a problem.
func (p *problem) key() string {
	var out strings.Builder
	for _, list := range append(p.musts[:len(p.musts):len(p.musts)], p.avoid) {
		for _, s := range list {
			out.WriteString(strconv.Itoa(s.number) + " ")
		}
		out.WriteString("\x02")
	}
	return out.String()
}

// suspicion is a problem that a tenant whose id is a mark has a solution for.
type suspicion struct {
	*problem
	places []place
	index  int
	class  *actionClass
}

// pursue looks for tenants for which a suspicion is true. If there are none
// among those that the policies name, and it is not true of any other, it was
// none.
func (j *judgement) pursue(x *suspicion) verdict {
	p := &x.places[x.index]
	trials := j.trials(x.problem)
	if j.only != "" {
		trials = []string{j.only}
	}
	for _, id := range trials {
		if w := j.try(id, x); w != nil {
			return verdict{result: Violated, place: p, action: x.class.name, witness: w}
		}
	}
	unknown := verdict{result: Unknown, place: p, action: x.class.name, why: "whether " + x.class.name + " can reach " + p.where + " of another tenant"}
	if j.only != "" {
		return unknown
	}
	named := j.named(x.problem)
	for _, id := range named {
		if j.possible(j.one(j.all, id), x) {
			return unknown
		}
	}
	if j.possible(j.any(j.all, named), x) {
		return unknown
	}
	return verdict{result: Proved, place: p}
}

// possible tells whether a stand's problem may have a solution.
func (j *judgement) possible(s *stand, x *suspicion) bool {
	p := j.placeOf(s, x)
	if p == nil {
		return true
	}
	_, o := j.problem(s, p, p.foreign, x.class).solve()
	return o != none
}

// placeOf gives the place as another stand sees it.
func (j *judgement) placeOf(s *stand, x *suspicion) *place {
	mine, known := j.seen[s.name]
	if !known {
		mine = j.places(s)
		j.seen[s.name] = mine
	}
	if len(mine) != len(x.places) {
		return nil
	}
	return &mine[x.index]
}

// try looks for a request of one tenant, and has the evaluator confirm it.
func (j *judgement) try(id string, x *suspicion) *confirmed {
	s := j.one(j.all, id)
	p := j.placeOf(s, x)
	if p == nil {
		return nil
	}
	free := j.freeVariables(x.problem, s.world)
	values := []string{""}
	if len(free) > 0 {
		values = []string{j.other(id), "x", "", id}
	}
	for _, value := range values {
		local := *s
		for _, key := range free {
			local.world = local.world.with(key, words{{kind: textPiece, text: value}})
		}
		pr := j.problem(&local, p, p.foreign, x.class)
		// What cannot be taken for the tenant's own makes the better example.
		clear := *pr
		clear.except = p.own
		for _, pr := range []*problem{&clear, pr} {
			solved, o := pr.solve()
			if o != found {
				continue
			}
			if w := j.confirm(id, p, x.class, solved); w != nil {
				return w
			}
		}
	}
	return nil
}

// other gives an id that is not the one given.
func (j *judgement) other(id string) string {
	for _, b := range j.samples() {
		if b != id {
			return b
		}
	}
	return "globex"
}

// freeVariables lists the keys of variables whose value is not known.
func (j *judgement) freeVariables(pr *problem, w *world) []string {
	var out []string
	note := func(p policy.Pattern) {
		for _, t := range p {
			m := w.means[t.Text]
			if t.Kind == policy.Variable && !m.known && !m.never && !slices.Contains(out, t.Text) {
				out = append(out, t.Text)
			}
		}
	}
	pr.patterns(note)
	return out
}

// patterns calls a function for every pattern of the problem but actions.
func (p *problem) patterns(do func(policy.Pattern)) {
	for _, list := range append(p.musts[:len(p.musts):len(p.musts)], p.avoid) {
		for _, s := range list {
			for i := range s.Resources {
				for _, part := range s.Resources[i].Parts {
					do(part)
				}
			}
			for i := range s.Conditions {
				for _, v := range s.Conditions[i].Values {
					do(v.Pattern)
					for _, part := range v.Parts {
						do(part)
					}
				}
			}
		}
	}
}
