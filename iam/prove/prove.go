// Package prove decides whether any tenant can reach what another one owns.
//
// It looks at policies, not at requests: an answer holds for every request
// that can ever be made. An answer is proved, violated, with a request that
// the evaluator confirms, or unknown, which is never to be taken for safe.
//
// How it works: a tenant's id is a letter of its own, of which nothing is
// known but the grammar it is of. Patterns are automata that read this letter
// where a variable stands; what an id's text can do to other parts of a
// pattern is found by walking the pattern and the grammar together. Whether
// any resource of another tenant is allowed is then whether a product of
// automata is empty. Condition keys are questions of the same kind, each for
// itself. What is not known errs to the side on which more is allowed, so that
// empty means safe. A word that is found is only a suspicion: it becomes a
// violation if the same question about a tenant with a name gives a request
// that the evaluator allows.
//
// The package is pure: no clock, no I/O, and it imports only iam/policy.
package prove

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// Prover judges authorisation states and remembers what it proved, by the
// digests of the statements. It is safe for concurrent use.
type Prover struct {
	mu    sync.Mutex
	known map[string]Report
}

// maxKnown bounds the answers that are remembered; beyond it all are
// forgotten, and found anew as they are needed.
const maxKnown = 20000

// New makes a Prover.
func New() *Prover { return &Prover{known: map[string]Report{}} }

// remembered gives the answer of a question, asking only if it is new.
func (p *Prover) remembered(key string, ask func() Report) Report {
	p.mu.Lock()
	r, known := p.known[key]
	p.mu.Unlock()
	if known {
		r.Cached, r.Judged = 1, 1
		return r
	}
	r = ask()
	r.Judged = 1
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxKnown {
		clear(p.known)
	}
	p.known[key] = r
	return r
}

// digest identifies texts.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// digest identifies a policy with its name, which findings show.
func (p *Policy) digest() string {
	if p == nil || p.Document == nil {
		return "none"
	}
	if p.Digest != "" {
		return p.Name + "\x01" + p.Digest
	}
	text, err := json.Marshal(p.Document)
	if err != nil {
		text = []byte(err.Error())
	}
	return p.Name + "\x01" + digest(string(text))
}

func digests(policies []Policy) string {
	parts := make([]string, len(policies))
	for i := range policies {
		parts[i] = policies[i].digest()
	}
	slices.Sort(parts)
	return strings.Join(parts, "\x02")
}

// Question is a set of policies that are judged as if they were attached
// together to a role of every tenant.
type Question struct {
	Policies []Policy
	// Boundary bounds them; nil if there is none.
	Boundary *Policy
	// SCPs are the guardrails above every tenant, from the root down.
	SCPs []Level
	// Layouts say where owners stand in names.
	Layouts []Layout
	// EndTenants judges the policies of an execution role whose sessions carry
	// the ids of end tenants, and not those of tenants.
	EndTenants bool
}

// Universal judges policies for all tenants there are and can be.
//
// A bucket that a policy names is taken for one that tenants share: whoever
// owns it is taken to consent. Resources that a policy does not name ("*"),
// and those with an account in their ARN, are the tenant's own or need the
// other account's consent, which is judged where it is given.
func (p *Prover) Universal(q Question) Report {
	of := population{grammar: Slugs}
	if q.EndTenants {
		of = population{grammar: EndTenants, end: true}
	}
	r := p.universal(of, q)
	r.Assumptions = assumptions
	return r
}

func (p *Prover) universal(of population, q Question) Report {
	j := &judgement{population: of, layouts: q.Layouts, identity: q.Policies}
	key := []string{"universal", of.grammar.First, of.grammar.Middle, of.grammar.Last, string(rune(of.grammar.Max)), digests(q.Policies)}
	if of.end {
		key = append(key, "end")
	}
	if q.Boundary != nil {
		j.bounds = append(j.bounds, []Policy{*q.Boundary})
	}
	for _, level := range q.SCPs {
		j.bounds = append(j.bounds, level.Policies)
	}
	for _, bound := range j.bounds {
		key = append(key, "bound", digests(bound))
	}
	for _, l := range q.Layouts {
		key = append(key, "layout", l.Name, l.Pattern, l.Account)
	}
	return p.remembered(digest(key...), func() Report {
		j.prepare()
		return j.report().about(key...)
	})
}

// about makes the ids of what was not decided ids of exactly this question:
// what was accepted of some policies is not accepted of others.
func (r Report) about(question ...string) Report {
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Result == Unknown {
			f.ID = digest(append([]string{f.ID}, question...)...)[:16]
		}
	}
	return r
}

// report judges all places.
func (j *judgement) report() Report {
	out := Report{Result: Proved}
	anyone := j.first()
	places := j.places(anyone)
	for i := range places {
		v := j.at(anyone, places, i)
		if v.result != Proved {
			out.add(j.finding(v))
		} else if !j.reaches(places, i) {
			out.Warnings = append(out.Warnings, j.vacuous(&places[i]))
		}
	}
	out.sort()
	return out
}

// add puts a finding in, and lowers the result to it.
func (r *Report) add(f Finding) {
	f.name()
	r.Findings = append(r.Findings, f)
	r.Result = worse(r.Result, f.Result)
}

func worse(a, b Result) Result {
	if a == Violated || b == Violated {
		return Violated
	}
	if a == Unknown || b == Unknown {
		return Unknown
	}
	return Proved
}

// sort puts violations first, and takes out what is said twice.
func (r *Report) sort() {
	rank := func(f Finding) int {
		if f.Result == Violated {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return rank(a) - rank(b) })
	said := map[string]bool{}
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool {
		twice := said[f.ID]
		said[f.ID] = true
		return twice
	})
}

// reaches tells whether a tenant can do anything with its own place.
func (j *judgement) reaches(places []place, index int) bool {
	if places[index].kind != objectPlace && places[index].kind != layoutPlace {
		return true
	}
	id := j.samples()[0]
	if j.only != "" {
		id = j.only
	}
	s := j.one(j.all, id)
	p := j.placeOf(s, &suspicion{places: places, index: index})
	classes, ok := j.classesAt(&places[index])
	if p == nil || !ok {
		return true
	}
	for i := range classes {
		pr := j.problem(s, p, p.own, &classes[i])
		// A resource of its own carries its own tag.
		known := map[string]facts{}
		for k, f := range pr.world.known {
			known[k] = f
		}
		known["aws:resourcetag/tenant_id"] = facts{alone: true, must: [][]words{{s.tenant}}}
		known["s3:existingobjecttag/tenant_id"] = known["aws:resourcetag/tenant_id"]
		pr.world = &world{meter: pr.world.meter, marks: pr.world.marks, means: pr.world.means, known: known}
		if _, o := pr.solve(); o != none {
			return true
		}
	}
	return false
}

func (j *judgement) vacuous(p *place) Finding {
	f := Finding{
		Code: codeVacuous, Tenant: anyTenant, Statement: -1,
		Message: "no tenant reaches its own resources in " + p.where + ": the policies name them and allow nothing there",
		Remedy:  "Check conditions and Denies; if nothing is meant to be allowed, take the statement out.",
	}
	f.name()
	return f
}
