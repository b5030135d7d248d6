package schema

import (
	"fmt"
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/strictjson"
)

// Bounds of an event that is checked.
const (
	// MaxEventDepth is how deeply it may nest, MaxEventValues how many values
	// it may have.
	MaxEventDepth  = 64
	MaxEventValues = 250_000
	// A check may take baseSteps and stepsPerByte for each byte of the event,
	// and mostSteps at most. A step is some 10 to 150 ns.
	baseSteps    = 50_000
	stepsPerByte = 16
	mostSteps    = 32_000_000
)

// Mismatch says where an event is not what the schema wants.
type Mismatch struct {
	// Path leads to the value in the event, as in $.orders[0].count.
	Path string
	// Expected says what the schema wants there.
	Expected string
	// Keyword is the keyword of the schema that says so, and At where the
	// schema is that has it, as in #/properties/orders.
	Keyword, At string
}

// Error gives all of it in a sentence without its full stop.
func (m *Mismatch) Error() string {
	return fmt.Sprintf("at %s: expected %s (keyword %s at %s)", m.Path, m.Expected, m.Keyword, m.At)
}

// code is Lambda's for an event that is not well formed.
const code = "InvalidRequestContentException"

// Check holds an event against the schema. The values of the event are in no
// error, since errors are logged; names of members are.
//
// Errors: fault.Invalid, whose cause is a *Mismatch if the event is not what
// the schema wants, and a *strictjson.Error if it is no JSON within the bounds.
func (s *Schema) Check(event []byte) error {
	const op = "schema.Check"
	doc, err := strictjson.Parse(event, strictjson.Limits{Depth: MaxEventDepth, Values: MaxEventValues})
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "Could not parse request body into json: %s.", err).WithCode(code).
			WithRemedy("The function has a schema for its events, and these are read within bounds: %d levels and %d values.", MaxEventDepth, MaxEventValues)
	}
	c := check{doc: doc, left: stepsFor(len(event))}
	if c.eval(s.root, 0, nil) {
		return nil
	}
	if c.left < 0 {
		return fault.New(op, fault.Invalid, "The event takes too long to check against the function's schema.").WithCode(code).
			WithRemedy("Send a smaller event, or give the function a schema with fewer alternatives for one value.")
	}
	m := c.mismatch(&c.bad)
	return fault.Wrap(op, fault.Invalid, m, "The event does not match the function's schema: %s.", m).WithCode(code).
		WithRemedy("The function's owner can show the schema with carrel function schema show.")
}

// stepsFor is how many steps an event of so many bytes may take.
func stepsFor(bytes int) int64 { return min(baseSteps+stepsPerByte*int64(bytes), mostSteps) }

// check is the evaluation of one event.
type check struct {
	doc *strictjson.Doc
	// left is how many steps may be taken yet; negative when it is over.
	left int64
	bad  failure
	buf  []byte
}

// failure is what does not fit, in the form that costs least to make.
type failure struct {
	at      int32
	rule    *rule
	keyword string
	// detail is a name or the index in a list of what the keyword says.
	detail string
	index  int
	near   *failure
}

func (c *check) spend(steps int64) bool {
	c.left -= steps
	return c.left >= 0
}

func (c *check) fail(r *rule, at int32, keyword string) bool {
	c.bad = failure{at: at, rule: r, keyword: keyword}
	return false
}

// eval holds the value at an index against a rule. If marks is not nil, what
// the rule evaluated of its members or items is marked in it. Once the steps
// are used up everything is false.
func (c *check) eval(r *rule, at int32, marks []bool) bool {
	if !c.spend(1) {
		return false
	}
	v := c.doc.Values[at]
	switch {
	case r.never:
		return c.fail(r, at, neverWord(r.at))
	case r.kinds != 0 && (r.kinds&(1<<v.Kind) == 0 || r.integer && v.Kind == strictjson.Number && !isWhole(v.Text)):
		return c.fail(r, at, "type")
	case r.only != nil && !c.isOneOf(r, at):
		return c.fail(r, at, r.onlyWord)
	case r.simple:
		return true
	}
	own := marks
	if r.evaluating && v.Count > 0 {
		if own = c.mask(v.Count); own == nil {
			return false
		}
	}
	if !c.value(r, at, own) || !c.same(r, at, own) || r.evaluating && !c.rest(r, at, own) {
		return false
	}
	if r.evaluating && marks != nil {
		merge(marks, own)
	}
	return true
}

// mask makes room for marks; nil when the steps are used up.
func (c *check) mask(n int32) []bool {
	if !c.spend(1 + int64(n)/8) {
		return nil
	}
	return make([]bool, n)
}

func merge(into, from []bool) {
	for i, marked := range from {
		if marked {
			into[i] = true
		}
	}
}

// value holds a value against the rules for its own kind.
func (c *check) value(r *rule, at int32, marks []bool) bool {
	switch c.doc.Values[at].Kind {
	case strictjson.Object:
		return c.object(r, at, marks)
	case strictjson.List:
		return c.list(r, at, marks)
	case strictjson.String:
		return c.text(r, at)
	case strictjson.Number:
		return c.number(r, at)
	}
	return true
}

func (c *check) object(r *rule, at int32, marks []bool) bool {
	o, v := &r.object, c.doc.Values[at]
	switch {
	case o.least != nil && int(v.Count) < *o.least:
		return c.fail(r, at, "minProperties")
	case o.most != nil && int(v.Count) > *o.most:
		return c.fail(r, at, "maxProperties")
	}
	found := 0
	for m, i := at+1, 0; m < v.End; m, i = c.doc.Values[m].End, i+1 {
		if !c.spend(1) {
			return false
		}
		if _, required := o.required[c.doc.Values[m].Name]; required {
			found++
		}
		evaluated, ok := c.member(r, m)
		if !ok {
			return false
		}
		if evaluated && marks != nil {
			marks[i] = true
		}
		if !c.follows(r, at, m) {
			return false
		}
	}
	if found < len(o.required) {
		return c.fail(r, at, "required")
	}
	return true
}

// member holds a member against what is said of its name.
func (c *check) member(r *rule, m int32) (evaluated, ok bool) {
	o, name := &r.object, c.doc.Values[m].Name
	if o.names != nil && !c.name(r, m) {
		return false, false
	}
	if p, found := o.properties[name]; found {
		evaluated = true
		if !c.eval(p, m, nil) {
			return true, false
		}
	}
	for _, p := range o.patterns {
		if c.matches(p.name, name) {
			evaluated = true
			if !c.eval(p.rule, m, nil) {
				return true, false
			}
		}
		if c.left < 0 {
			return false, false
		}
	}
	if !evaluated && o.additional != nil {
		return true, c.eval(o.additional, m, nil)
	}
	return evaluated, true
}

// name holds a member's name, as a string, against propertyNames.
func (c *check) name(r *rule, m int32) bool {
	n := int32(len(c.doc.Values))
	c.doc.Values = append(c.doc.Values, strictjson.Value{Kind: strictjson.String, Text: c.doc.Values[m].Name, End: n + 1})
	ok := c.eval(r.object.names, n, nil)
	c.doc.Values = c.doc.Values[:n]
	if !ok && c.left >= 0 {
		inner := c.bad
		inner.at = m
		c.fail(r, m, "propertyNames")
		c.bad.near = &inner
	}
	return ok
}

// follows holds an object against what follows from its having a member.
func (c *check) follows(r *rule, at, m int32) bool {
	name := c.doc.Values[m].Name
	for _, needed := range r.object.needs[name] {
		if !c.spend(1 + int64(c.doc.Values[at].Count)) {
			return false
		}
		if _, found := c.doc.Member(at, needed); !found {
			c.fail(r, at, "dependentRequired")
			c.bad.detail = needed
			return false
		}
	}
	return true
}

func (c *check) list(r *rule, at int32, marks []bool) bool {
	l, v := &r.list, c.doc.Values[at]
	switch {
	case l.least != nil && int(v.Count) < *l.least:
		return c.fail(r, at, "minItems")
	case l.most != nil && int(v.Count) > *l.most:
		return c.fail(r, at, "maxItems")
	case l.unique && !c.unique(r, at):
		return false
	case l.prefix == nil && l.items == nil && l.contains == nil:
		return true
	}
	found := 0
	for m, i := at+1, 0; m < v.End; m, i = c.doc.Values[m].End, i+1 {
		item := l.items
		if i < len(l.prefix) {
			item = l.prefix[i]
		}
		if !c.spend(1) || item != nil && !c.eval(item, m, nil) {
			return false
		}
		contained := l.contains != nil && c.eval(l.contains, m, nil)
		if contained {
			found++
		}
		if marks != nil && (item != nil || contained) {
			marks[i] = true
		}
	}
	if l.contains == nil {
		return true
	}
	least := 1
	if l.leastOf != nil {
		least = *l.leastOf
	}
	switch {
	case c.left < 0:
		return false
	case found < least && l.leastOf == nil:
		return c.fail(r, at, "contains")
	case found < least:
		return c.fail(r, at, "minContains")
	case l.mostOf != nil && found > *l.mostOf:
		return c.fail(r, at, "maxContains")
	}
	return true
}

// unique compares by canonical forms, so that a list costs what is in it.
func (c *check) unique(r *rule, at int32) bool {
	v := c.doc.Values[at]
	if v.Count < 2 {
		return true
	}
	seen := make(map[string]struct{}, v.Count)
	i := 0
	for m := at + 1; m < v.End; m = c.doc.Values[m].End {
		form, ok := c.canonical(m)
		if !ok {
			return false
		}
		if _, twice := seen[string(form)]; twice {
			c.fail(r, m, "uniqueItems")
			return false
		}
		seen[string(form)] = struct{}{}
		i++
	}
	return true
}

func (c *check) text(r *rule, at int32) bool {
	t, s := &r.text, c.doc.Values[at].Text
	if t.least != nil || t.most != nil {
		if !c.spend(int64(len(s)) / 64) {
			return false
		}
		n := utf8.RuneCountInString(s)
		if t.least != nil && n < *t.least {
			return c.fail(r, at, "minLength")
		}
		if t.most != nil && n > *t.most {
			return c.fail(r, at, "maxLength")
		}
	}
	if t.pattern != nil && !c.matches(t.pattern, s) {
		return c.fail(r, at, "pattern")
	}
	return true
}

// matches charges what the expression may take at worst: each of its
// instructions at each byte.
func (c *check) matches(p *pattern, s string) bool {
	return c.spend(2+int64(len(s))*int64(1+p.program/16)) && p.MatchString(s)
}

func (c *check) number(r *rule, at int32) bool {
	text := c.doc.Values[at].Text
	var exact *big.Rat
	small, err := strconv.ParseInt(text, 10, 64)
	for i := range r.numbers {
		b := &r.numbers[i]
		if b.isSmall && err == nil {
			if !holdsSmall(b, small) {
				return c.failNumber(r, at, i)
			}
			continue
		}
		if !c.spend(64) {
			return false
		}
		if exact == nil {
			exact, _ = new(big.Rat).SetString(text)
		}
		if !holdsExact(b, exact) {
			return c.failNumber(r, at, i)
		}
	}
	return true
}

func (c *check) failNumber(r *rule, at int32, i int) bool {
	c.bad = failure{at: at, rule: r, keyword: r.numbers[i].keyword, index: i}
	return false
}

func holdsSmall(b *bound, n int64) bool {
	switch b.keyword {
	case "minimum":
		return n >= b.small
	case "maximum":
		return n <= b.small
	case "exclusiveMinimum":
		return n > b.small
	case "exclusiveMaximum":
		return n < b.small
	}
	return n%b.small == 0 // multipleOf, which is over 0
}

func holdsExact(b *bound, n *big.Rat) bool {
	switch b.keyword {
	case "minimum":
		return n.Cmp(b.value) >= 0
	case "maximum":
		return n.Cmp(b.value) <= 0
	case "exclusiveMinimum":
		return n.Cmp(b.value) > 0
	case "exclusiveMaximum":
		return n.Cmp(b.value) < 0
	}
	return new(big.Rat).Quo(n, b.value).IsInt()
}

// same holds a value against the rules for the same value.
func (c *check) same(r *rule, at int32, marks []bool) bool {
	h := &r.here
	switch {
	case h.ref != nil && !c.eval(h.ref, at, marks), h.dynamic != nil && !c.eval(h.dynamic, at, marks):
		return false
	case h.not != nil && (c.eval(h.not, at, nil) || c.left < 0):
		return c.fail(r, at, "not")
	}
	for _, x := range h.all {
		if !c.eval(x, at, marks) {
			return false
		}
	}
	if h.any != nil && !c.anyOf(r, at, marks) || h.one != nil && !c.oneOf(r, at, marks) || h.cond != nil && !c.cond(r, at, marks) {
		return false
	}
	if r.object.dependent == nil || c.doc.Values[at].Kind != strictjson.Object {
		return true
	}
	for m := at + 1; m < c.doc.Values[at].End; m = c.doc.Values[m].End {
		x, found := r.object.dependent[c.doc.Values[m].Name]
		if !c.spend(1) || found && !c.eval(x, at, marks) {
			return false
		}
	}
	return true
}

// try is eval whose marks are kept only if the rule holds.
func (c *check) try(r *rule, at int32, marks []bool) bool {
	if marks == nil {
		return c.eval(r, at, nil)
	}
	own := c.mask(int32(len(marks)))
	if own == nil || !c.eval(r, at, own) {
		return false
	}
	merge(marks, own)
	return true
}

func (c *check) anyOf(r *rule, at int32, marks []bool) bool {
	near := failure{at: -1}
	holds := false
	for _, x := range r.here.any {
		if c.try(x, at, marks) {
			if holds = true; marks == nil {
				return true
			}
		} else if c.bad.at > near.at {
			near = c.bad
		}
	}
	if holds && c.left >= 0 {
		return true
	}
	return c.none(r, at, near, "anyOf")
}

// none fails for want of an alternative that holds, and names what the one
// wants that got furthest.
func (c *check) none(r *rule, at int32, near failure, keyword string) bool {
	c.fail(r, at, keyword)
	if near.at > at {
		c.bad.near = &near
	}
	return false
}

func (c *check) oneOf(r *rule, at int32, marks []bool) bool {
	near := failure{at: -1}
	holding := 0
	for _, x := range r.here.one {
		if c.try(x, at, marks) {
			if holding++; holding > 1 {
				c.fail(r, at, "oneOf")
				c.bad.index = holding
				return false
			}
		} else if c.bad.at > near.at {
			near = c.bad
		}
	}
	if holding == 1 && c.left >= 0 {
		return true
	}
	return c.none(r, at, near, "oneOf")
}

func (c *check) cond(r *rule, at int32, marks []bool) bool {
	next := r.here.other
	if c.try(r.here.cond, at, marks) {
		next = r.here.then
	}
	return c.left >= 0 && (next == nil || c.eval(next, at, marks))
}

// rest holds what no rule evaluated against unevaluatedProperties and
// unevaluatedItems.
func (c *check) rest(r *rule, at int32, marks []bool) bool {
	v := c.doc.Values[at]
	x := r.object.unevaluated
	if v.Kind == strictjson.List {
		x = r.list.unevaluated
	}
	if x == nil || v.Kind != strictjson.List && v.Kind != strictjson.Object {
		return true
	}
	for m, i := at+1, 0; m < v.End; m, i = c.doc.Values[m].End, i+1 {
		if !c.spend(1) || !marks[i] && !c.eval(x, m, nil) {
			return false
		}
		marks[i] = true
	}
	return true
}
