package prove

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// Answer is the answer to whether there is a request.
type Answer uint8

// The answers.
const (
	No Answer = iota
	Yes
	Undecided
)

// MarshalJSON writes true, false or "unknown".
func (a Answer) MarshalJSON() ([]byte, error) {
	return []byte([...]string{"false", "true", `"unknown"`}[a]), nil
}

// String is yes, no or unknown.
func (a Answer) String() string { return [...]string{"no", "yes", "unknown"}[a] }

// Request is a request in the form that the batch simulator reads.
type Request struct {
	Action   string          `json:"action"`
	Resource RequestResource `json:"resource"`
	// Principal is an ARN of the account that owns the resource.
	Principal string `json:"principal"`
	// Context holds condition keys: a string, or a list for a set of values.
	Context map[string]any `json:"context"`
}

// RequestResource is what a request is about, and whose it is.
type RequestResource struct {
	Resource  string `json:"resource"`
	AccountID string `json:"accountId"`
}

// Implication compares two identity policies.
type Implication struct {
	// AllowedByANotByB tells whether there is a request that A allows and B does
	// not; Witness is one.
	AllowedByANotByB Answer   `json:"allowedByANotByB"`
	Witness          *Request `json:"witness,omitempty"`
	AllowedByBNotByA Answer   `json:"allowedByBNotByA"`
	ReverseWitness   *Request `json:"reverseWitness,omitempty"`
}

// Implies compares two identity policies over all requests, with any
// condition keys: no means that there is no request of the kind at all, and
// yes comes with one that the evaluator confirmed.
func Implies(a, b *policy.Document) Implication {
	var out Implication
	out.AllowedByANotByB, out.Witness = first(newComparison(a, b))
	out.AllowedByBNotByA, out.ReverseWitness = first(newComparison(b, a))
	return out
}

func first(c *comparison) (Answer, *Request) {
	answer := No
	for change := range c.each {
		if change.request != nil {
			return Yes, change.request
		}
		answer = Undecided
	}
	return answer, nil
}

// Difference is what a new policy changes: an example for each kind of action.
type Difference struct {
	Allowed []Request `json:"allowed"`
	Denied  []Request `json:"denied"`
	// Unknown are actions for which it was not decided whether anything changes.
	Unknown []string `json:"unknown"`
}

// Diff tells what a policy allows that an older one did not, and the reverse.
// All lists are empty if the two are equivalent.
func Diff(old, new *policy.Document) Difference {
	out := Difference{Allowed: []Request{}, Denied: []Request{}, Unknown: []string{}}
	gather := func(c *comparison, to *[]Request) {
		for change := range c.each {
			if change.request != nil {
				*to = append(*to, *change.request)
			} else if !slices.Contains(out.Unknown, change.action) {
				out.Unknown = append(out.Unknown, change.action)
			}
		}
	}
	gather(newComparison(new, old), &out.Allowed)
	gather(newComparison(old, new), &out.Denied)
	return out
}

// comparison looks for what one policy allows and another does not.
type comparison struct {
	a, b         *policy.Document
	aAllow, deny []*statement
	bAllow, bNo  []*statement
	acts         *actions
	variables    []string
	// texts are the bytes that texts need be made of, nil for all, and text the
	// language of those.
	texts *set
	text  *lang
	meter int
}

// difference is a request, or an action for which there may be one.
type difference struct {
	action  string
	request *Request
}

func newComparison(a, b *policy.Document) *comparison {
	c := &comparison{a: a, b: b}
	c.aAllow, c.deny = statementsOf([]Policy{{Name: "A", Document: a}})
	c.bAllow, c.bNo = statementsOf([]Policy{{Name: "B", Document: b}})
	c.acts = actionsOf(c.aAllow, c.deny, c.bAllow, c.bNo)
	all := &problem{musts: [][]*statement{c.aAllow, c.bNo}, avoid: slices.Concat(c.deny, c.bAllow)}
	used := set{}
	all.patterns(func(p policy.Pattern) {
		for _, t := range p {
			if t.Kind == policy.Variable && !slices.Contains(c.variables, t.Text) {
				c.variables = append(c.variables, t.Text)
			}
			for _, text := range []string{t.Text, t.Default} {
				for i := range len(text) {
					used.add(text[i])
				}
			}
		}
	})
	c.text = anything
	if c.plain(&used) {
		c.texts, c.text = ascii, anyASCII
	}
	return c
}

// plain tells whether texts above ASCII need no look: the policies name none,
// and leave some character alone that means nothing to any operator. Each
// character above ASCII of a request can then be replaced by that one, and
// neither policy sees a difference. Requests are taken to be UTF-8.
func (c *comparison) plain(used *set) bool {
	return used[2]|used[3] == 0 && strings.ContainsFunc("~^|`!", func(r rune) bool { return !used.has(byte(r)) })
}

// world gives a new one.
func (c *comparison) world() *world {
	return &world{means: map[string]meaning{}, known: map[string]facts{}, texts: c.texts, meter: &c.meter}
}

// each goes through the classes of actions in which the policies differ, or
// may.
func (c *comparison) each(yield func(difference) bool) {
	for _, service := range c.services() {
		classes, ok := c.acts.classes(service)
		if !ok {
			if !yield(difference{action: service + ":*"}) {
				return
			}
			continue
		}
		for i := range classes {
			d, differ := c.class(&classes[i], service)
			if differ && !yield(d) {
				return
			}
		}
	}
}

// services are those that the policies name, and one more, which is one that
// people know if there is such: nothing is said about it but *.
func (c *comparison) services() []string {
	out := c.acts.services(c.aAllow, c.deny, c.bAllow, c.bNo)
	for _, known := range []string{"s3", "sqs", "dynamodb", "lambda"} {
		if !slices.Contains(out, known) {
			out[0] = known
			break
		}
	}
	return out
}

// class compares the policies for one class of actions.
func (c *comparison) class(class *actionClass, service string) (difference, bool) {
	out := difference{action: class.name}
	if len(c.acts.filter(c.aAllow, class)) == 0 {
		return out, false
	}
	suspected := false
	for _, w := range c.worlds() {
		for _, pr := range c.problems(class, w) {
			pr.place = everywhere
			if _, o := pr.solve(); o == none {
				continue
			}
			// A variable's value may be too little known to tell what else its text
			// matches. Where anything in its place is not enough, no value is.
			loose := *pr
			loose.world = c.free(w)
			if _, o := loose.solve(); o == none {
				continue
			}
			suspected = true
			if out.request = c.find(class, service, pr); out.request != nil {
				return out, true
			}
		}
	}
	return out, suspected
}

// everywhere is every resource there can be.
var everywhere = []words{allARNs("arn:", notColon), {{kind: textPiece, text: "*"}}}

func allARNs(start string, part *set) words {
	out := words{{kind: textPiece, text: start}}
	for i := range 4 {
		if i > 0 {
			out = append(out, piece{kind: textPiece, text: ":"})
		}
		out = append(out, piece{kind: runPiece, set: part})
	}
	return append(out, piece{kind: textPiece, text: ":"}, piece{kind: runPiece, set: anyByte})
}

// problems are the two ways in which B can fail to allow what A does: none of
// its Allows matches, or one of its Denies does.
func (c *comparison) problems(class *actionClass, w *world) []*problem {
	allow, deny := c.acts.filter(c.aAllow, class), c.acts.filter(c.deny, class)
	granted := c.acts.filter(c.bAllow, class)
	out := []*problem{{world: w, musts: [][]*statement{beyond(allow, granted)}, avoid: slices.Concat(deny, granted)}}
	if no := beyond(c.acts.filter(c.bNo, class), deny); len(no) > 0 {
		out = append(out, &problem{world: w, musts: [][]*statement{allow, no}, avoid: deny})
	}
	return out
}

// beyond leaves out the statements of a list that say no more than one of
// another list does, at a glance.
func beyond(list, others []*statement) []*statement {
	return slices.DeleteFunc(slices.Clone(list), func(s *statement) bool {
		return slices.ContainsFunc(others, func(t *statement) bool { return s.within(t) })
	})
}

func (s *statement) within(t *statement) bool {
	if t.conditions != "" && s.conditions != t.conditions || s.NotResource != t.NotResource || len(s.Resources) == 0 != (len(t.Resources) == 0) {
		return false
	}
	if s.NotResource {
		s, t = t, s // what a NotResource names it is not about
	}
	return !slices.ContainsFunc(s.Resources, func(a policy.ARNPattern) bool {
		return !slices.ContainsFunc(t.Resources, func(b policy.ARNPattern) bool { return a.String() == b.String() })
	})
}

// maxVariables bounds the variables for which all cases are gone through.
const maxVariables = 3

// worlds are the cases of what variables' keys can be: absent, one unknown
// value, or a set, which a variable never stands for.
func (c *comparison) worlds() []*world {
	out := []*world{c.world()}
	if len(c.variables) > maxVariables {
		return out // in which they can be anything
	}
	for _, key := range c.variables {
		var next []*world
		for _, w := range out {
			for state := range 3 {
				v := &world{marks: slices.Clone(w.marks), means: maps.Clone(w.means), known: maps.Clone(w.known), texts: w.texts, meter: w.meter}
				switch state {
				case 0:
					v.means[key], v.known[key] = meaning{never: true}, facts{never: true}
				case 1:
					mark := words{{kind: markPiece, mark: firstMark + symbol(len(v.marks))}}
					v.marks = append(v.marks, c.text)
					v.means[key], v.known[key] = meaning{known: true, text: mark}, facts{always: true, alone: true, must: [][]words{{mark}}}
				case 2:
					v.means[key], v.known[key] = meaning{never: true}, facts{always: true, several: true}
				}
				next = append(next, v)
			}
		}
		out = next
	}
	return out
}

// free gives the world in which variables that have a value stand for anything.
func (c *comparison) free(w *world) *world {
	out := c.world()
	for key, m := range w.means {
		if m.never {
			out.means[key], out.known[key] = m, w.known[key]
		}
	}
	return out
}

// maxValues bounds the values that are tried for variables.
const maxValues = 200

// find looks for a request without unknown values.
func (c *comparison) find(class *actionClass, service string, pr *problem) *Request {
	places := places(service)
	tried := 0
	for _, w := range c.concreteWorlds(pr) {
		for _, place := range places {
			if tried++; tried > maxValues {
				return nil
			}
			try := *pr
			try.world, try.place = w, place
			if s, o := try.solve(); o == found {
				if r := c.confirm(class, s); r != nil {
					return r
				}
			}
		}
	}
	return nil
}

// places are where resources of a service are looked for: first such as read
// well, in the end all there are.
func places(service string) [][]words {
	var out [][]words
	for _, start := range map[string][]string{
		"s3": {"arn:aws:s3:::bucket/key", "arn:aws:s3:::x"}, "iam": {"arn:aws:iam::" + account + ":user/x", "arn:aws:iam::" + account + ":"},
	}[service] {
		out = append(out, []words{{{kind: textPiece, text: start}, {kind: runPiece, set: anyByte}}})
	}
	for _, start := range []string{"arn:aws:" + service + ":us-east-1:" + account + ":x", "arn:aws:" + service + ":::x"} {
		out = append(out, []words{{{kind: textPiece, text: start}, {kind: runPiece, set: anyByte}}})
	}
	return append(out, everywhere)
}

// concreteWorlds gives worlds in which the variables that have a value have
// one of some values.
func (c *comparison) concreteWorlds(pr *problem) []*world {
	base := c.world()
	var open []string
	for _, key := range c.variables {
		m, f := pr.world.means[key], pr.world.known[key]
		if m.never {
			base.means[key], base.known[key] = m, f
		} else {
			open = append(open, key)
		}
	}
	out := []*world{base}
	values := c.values(pr)
	for i, key := range open {
		var next []*world
		for _, w := range out {
			for k := range values {
				value := values[(k+i)%len(values)]
				next = append(next, w.with(key, words{{kind: textPiece, text: value}}))
			}
		}
		out = next[:min(len(next), maxValues)]
	}
	return out
}

// values are tried for variables: plain ones first, and those that the
// policies name.
func (c *comparison) values(pr *problem) []string {
	out := []string{"alice", "bob", "", "a"}
	add := func(s string) {
		if len(out) < 24 && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	pr.patterns(func(p policy.Pattern) {
		for _, t := range p {
			if t.Kind == policy.Literal {
				add(t.Text)
				for _, word := range strings.FieldsFunc(t.Text, func(r rune) bool { return r == '/' || r == ':' }) {
					add(word)
				}
			}
			if t.HasDefault {
				add(t.Default)
			}
		}
	})
	return out
}

// confirm asks the evaluator whether A allows a request and B does not. A
// principal of which that is true as well with the keys that follow from it is
// taken first, so that whoever fills these in comes to the same answer.
func (c *comparison) confirm(class *actionClass, s *solution) *Request {
	w := &confirmed{context: s.context()}
	user := policy.Principal{Type: policy.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/any"}
	role := policy.Principal{Type: policy.Role, Account: account, Issuer: "arn:aws:iam::" + account + ":role/any", ARN: "arn:aws:sts::" + account + ":assumed-role/any/session"}
	w.request = policy.Request{Action: class.name, Resource: concrete(s.resource, nil), ResourceAccount: account, Context: w.made(), Principal: user}
	if !c.differ(&w.request) {
		return nil
	}
	if short := w.request.Resource; strings.HasSuffix(short, "/") {
		if w.request.Resource += "x"; !c.differ(&w.request) {
			w.request.Resource = short
		}
	}
	for _, p := range []policy.Principal{user, role} {
		full := w.request
		full.Principal, full.Context = p, implied(&p)
		w.request.Context.Keys(func(key string, values []string, several bool) {
			if several {
				full.Context.SetAll(key, values)
			} else {
				full.Context.Set(key, values[0])
			}
		})
		if c.differ(&full) {
			w.request.Principal = p
			break
		}
	}
	out := &Request{Action: c.written(class.name), Resource: RequestResource{w.request.Resource, account}, Principal: w.request.Principal.ARN, Context: map[string]any{}}
	for key, values := range w.context {
		if name, many := strings.CutPrefix(key, manyPrefix); many {
			out.Context[c.written(name)] = values
		} else {
			out.Context[c.written(name)] = values[0]
		}
	}
	return out
}

// written gives an action or condition key as a policy writes it.
func (c *comparison) written(lower string) string {
	return cmp.Or(c.a.Written[lower], c.b.Written[lower], lower)
}

// differ tells whether A allows a request and B does not.
func (c *comparison) differ(r *policy.Request) bool {
	allowed := func(d *policy.Document) bool {
		return policy.Evaluate(r, &policy.Layers{Identity: policy.Compile(policy.Source{Document: d})}).Verdict == policy.Allowed
	}
	return allowed(c.a) && !allowed(c.b)
}

// implied gives the condition keys that follow from a principal.
func implied(p *policy.Principal) *policy.Context {
	c := &policy.Context{}
	c.Set("aws:PrincipalIsAWSService", "false")
	c.Set("aws:PrincipalAccount", p.Account)
	c.Set("aws:ResourceAccount", p.Account)
	c.Set("aws:PrincipalArn", cmp.Or(p.Issuer, p.ARN))
	c.Set("aws:PrincipalType", "AssumedRole")
	if p.Type == policy.User {
		c.Set("aws:PrincipalType", "User")
		c.Set("aws:username", p.ARN[strings.LastIndexByte(p.ARN, '/')+1:])
	}
	return c
}

// String writes the request in one line.
func (r *Request) String() string {
	out := r.Action + " on " + r.Resource.Resource
	if len(r.Context) > 0 {
		text, err := json.Marshal(r.Context) // strings and lists of them always marshal
		if err == nil {
			out += " with " + string(text)
		}
	}
	return out
}
