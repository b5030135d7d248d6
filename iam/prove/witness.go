package prove

import (
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// maxTrials bounds the tenants for which a suspicion is tried.
const maxTrials = 40

// samples are ids to try first: of several lengths, and such as people know.
func (j *judgement) samples() []string {
	var out []string
	for _, id := range []string{"acme", "globex", "a7c", "initech-eu", "northwind-traders-7", "x"} {
		if j.grammar.Contains(id) {
			out = append(out, id)
		}
	}
	if len(out) < 4 {
		out = append(out, j.grammar.some(14)...)
	}
	return out
}

// some lists the first ids of a grammar, the shortest first.
func (g Grammar) some(n int) []string {
	var out []string
	layer := []string{""}
	for length := 1; length <= g.Max && len(out) < n && len(layer) < 4096; length++ {
		var next []string
		for _, prefix := range layer {
			from := g.Middle + g.Last
			if length == 1 {
				from = g.First
			}
			for i := range len(from) {
				id := prefix + from[i:i+1]
				if !slices.Contains(next, id) {
					next = append(next, id)
				}
			}
		}
		for _, id := range next {
			if g.Contains(id) && len(out) < n {
				out = append(out, id)
			}
		}
		layer = next
	}
	return out
}

// trials lists tenants for which a suspicion may be true: samples, those that
// the policies name, and such that the text beside a variable makes.
func (j *judgement) trials(p *problem) []string {
	var out []string
	add := func(id string) {
		if j.grammar.Contains(id) && !slices.Contains(out, id) && len(out) < maxTrials {
			out = append(out, id)
		}
	}
	samples, named := j.samples(), j.named(p)
	for _, id := range samples {
		if !slices.Contains(named, id) {
			add(id)
		}
	}
	for _, id := range named {
		add(id)
		add(id + "7")
		add(id[:len(id)-1])
	}
	p.patterns(func(all policy.Pattern) {
		for i, t := range all {
			if t.Kind != policy.Literal {
				continue
			}
			if i+1 < len(all) {
				for k := 1; k <= min(len(t.Text), 12); k++ {
					add(t.Text[len(t.Text)-k:] + "x7")
				}
			}
			if i > 0 {
				for k := 1; k <= min(len(t.Text), 12); k++ {
					add("x7" + t.Text[:k])
				}
			}
		}
	})
	return out
}

// maxNamed bounds the ids that are set apart because policies name them.
const maxNamed = 24

// named lists the ids that stand as text in the policies, or in the name of
// the place.
func (j *judgement) named(p *problem) []string {
	var out []string
	add := func(id string) {
		if j.grammar.Contains(id) && !slices.Contains(out, id) && len(out) < maxNamed {
			out = append(out, id)
		}
	}
	segment := setOf(j.grammar.First + j.grammar.Middle + j.grammar.Last)
	split := func(text string) {
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r > 255 || !segment.has(byte(r)) }) {
			add(word)
		}
	}
	p.patterns(func(all policy.Pattern) {
		for _, t := range all {
			if t.Kind == policy.Literal {
				split(t.Text)
			}
		}
	})
	for _, w := range p.place {
		for _, piece := range w {
			split(strings.TrimPrefix(piece.text, bucketARN))
		}
	}
	return out
}

// account is the number that stands for the tenant's account in witnesses of
// policies that are attached nowhere yet.
const account = "111122223333"

// confirm makes a request of a solution and asks the evaluator. The resource
// is made a little longer where that reads better and is as true.
func (j *judgement) confirm(id string, p *place, c *actionClass, s *solution) *confirmed {
	resource := concrete(s.resource, nil)
	tries := []string{resource}
	if p.kind == objectPlace {
		tries = []string{resource + "/x", resource}
		if strings.HasSuffix(resource, "/") {
			tries = []string{resource + "x", resource}
		}
	}
	for _, r := range tries {
		owner, ok := j.owner(id, p, r, s)
		if !ok {
			continue
		}
		w := &confirmed{tenant: id, owner: owner, context: s.context()}
		w.request = policy.Request{
			Action: c.name, Resource: r, Principal: j.asker(id), Context: w.made(),
		}
		w.request.ResourceAccount = w.request.Principal.Account
		if policy.Evaluate(&w.request, j.layers()).Verdict == policy.Allowed {
			return w
		}
	}
	return nil
}

// asker is the principal of witnesses, for the tenant that asks.
func (j *judgement) asker(tenant string) policy.Principal {
	role := strings.Replace(j.principal, EndTenantMark, tenant, 1)
	if role == "" {
		role = "arn:aws:iam::" + account + ":role/any"
	}
	id := accountOf(role)
	return policy.Principal{
		Type: policy.Role, Account: id, Issuer: role, ARN: "arn:aws:sts::" + id + ":assumed-role/" + role[strings.LastIndexByte(role, '/')+1:] + "/session",
	}
}

// layers compiles the policies for the evaluator.
func (j *judgement) layers() *policy.Layers {
	out := &policy.Layers{Identity: compile(j.identity)}
	if j.direct {
		out = &policy.Layers{Identity: compile(j.own), Resource: compile(j.identity)}
		for _, bound := range j.ownBounds {
			out.SCPs = append(out.SCPs, policy.Level{Name: "bound", Set: compile(bound)})
		}
	}
	for _, bound := range j.bounds {
		out.SCPs = append(out.SCPs, policy.Level{Name: "bound", Set: compile(bound)})
	}
	return out
}

func compile(policies []Policy) *policy.Set {
	sources := make([]policy.Source, 0, len(policies))
	for _, p := range policies {
		if p.Document != nil {
			sources = append(sources, policy.Source{Name: p.Name, Document: p.Document})
		}
	}
	return policy.Compile(sources...)
}

// context gives the condition keys of a solution without marks.
func (s *solution) context() map[string][]string {
	out := map[string][]string{}
	for key, a := range s.keys {
		if !a.present {
			continue
		}
		values := []string{}
		for _, v := range a.values {
			values = append(values, concrete(v, nil))
		}
		if a.several {
			key = manyPrefix + key
		}
		out[key] = values
	}
	return out
}

// manyPrefix marks keys whose values are a set, where sets and single values
// stand in one map.
const manyPrefix = "set:"

// made gives the context as the evaluator takes it.
func (w *confirmed) made() *policy.Context {
	c := &policy.Context{}
	for key, values := range w.context {
		if name, many := strings.CutPrefix(key, manyPrefix); many {
			c.SetAll(name, values)
		} else {
			c.Set(key, values[0])
		}
	}
	return c
}

// owner finds whose resource a text names: the id, other than the tenant's,
// with which it is of the place.
func (j *judgement) owner(id string, p *place, resource string, s *solution) (string, bool) {
	if p.kind == controlPlace {
		return "", true
	}
	languages, text := p.foreign, resource
	if p.kind == listingPlace {
		a := s.keys["s3:prefix"]
		if !a.present {
			return "", true
		}
		languages, text = p.prefixes, ""
		if len(a.values) > 0 {
			text = concrete(a.values[0], nil)
		}
	}
	best := ""
	for _, language := range languages {
		for from := range len(text) {
			for to := from + 1; to <= len(text) && to-from <= j.grammar.Max; to++ {
				b := text[from:to]
				if j.another(b, id) && len(b) > len(best) && member(language, b, text) {
					best = b
				}
			}
		}
	}
	return best, best != "" || p.kind == listingPlace
}

// another tells whether a text is the id of an owner other than the tenant.
func (j *judgement) another(owner, tenant string) bool {
	if j.account != "" {
		return owner != j.account && Slugs.Contains(owner)
	}
	return (owner != tenant || j.anyOwner) && j.grammar.Contains(owner)
}

// member tells whether a text is of a language with an id in its slot.
func member(language words, id, text string) bool {
	out := make(words, len(language))
	for i, p := range language {
		if p.kind == slotPiece {
			p = piece{kind: textPiece, text: id}
		}
		out[i] = p
	}
	a := &automaton{}
	a.must([]words{join(out)})
	a.must([]words{{{kind: textPiece, text: text}}})
	_, o := a.find(wordBudget)
	return o == found
}

// culprit finds the statement, and its pattern, that allows a request.
func (j *judgement) culprit(w *confirmed) (*statement, *policy.ARNPattern) {
	for _, s := range j.allows[0] {
		for i := range max(len(s.Resources), 1) {
			one := *s.Statement
			if len(s.Resources) > 0 && !s.NotResource {
				one.Resources = one.Resources[i : i+1]
			}
			d := &policy.Document{Kind: policy.Identity, Version: policy.Version2012, Statements: []policy.Statement{one}}
			l := &policy.Layers{Identity: policy.Compile(policy.Source{Document: d})}
			if j.direct {
				l.Identity, l.Resource = nil, l.Identity
			}
			if policy.Evaluate(&w.request, l).Verdict != policy.Allowed {
				continue
			}
			if len(one.Resources) == 1 && !s.NotResource {
				return s, &one.Resources[0]
			}
			return s, nil
		}
	}
	return nil, nil
}
