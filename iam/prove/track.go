package prove

import (
	"encoding/base64"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"github.com/carrel-dev/carrel/iam/policy"
)

// constraint says of a condition that it holds, or that it does not.
type constraint struct {
	condition *policy.Condition
	// effect is the statement's: a value that is not of the operator's type
	// meets a condition of a Deny and none of an Allow.
	effect policy.Effect
	holds  bool
}

// assignment is what a request says of one key.
type assignment struct {
	present, several bool
	values           [][]symbol
	// vague says that there is such a value for all that is known, but that it
	// was not found.
	vague bool
}

// keyBudget bounds the states explored for the value of one key.
const keyBudget = 4000

// solveKey looks for what one key can be so that all constraints are met:
// absent, one value, or a set. none is a proof that there is nothing such.
func (w *world) solveKey(key string, all []constraint) (assignment, outcome) {
	f := w.known[key]
	if !f.always && absentMeets(all) {
		return assignment{}, found
	}
	if f.never || !presentMeets(all) {
		return assignment{}, none
	}
	result := none
	if !f.several {
		one, o := w.solveValue(key, all)
		if o == found {
			return assignment{present: true, values: [][]symbol{one}}, found
		}
		result = o
	}
	if !f.alone {
		values, o := w.solveSet(key, all)
		if o == found {
			return assignment{present: true, several: true, values: values}, found
		}
		if o == exhausted {
			result = exhausted
		}
	}
	return assignment{vague: true}, result
}

func absentMeets(all []constraint) bool {
	for _, c := range all {
		if holdsAbsent(c.condition) != c.holds {
			return false
		}
	}
	return true
}

// holdsAbsent tells whether a condition holds where its key is absent.
func holdsAbsent(c *policy.Condition) bool {
	if c.Operator == policy.Null {
		return nullIs(c, true)
	}
	return c.IfExists || c.Quantifier == policy.ForAllValues || c.Quantifier == policy.Single && c.Operator.Inverted()
}

func nullIs(c *policy.Condition, absent bool) bool {
	return slices.ContainsFunc(c.Values, func(v policy.Value) bool { return v.Bool == absent })
}

// presentMeets tells whether the constraints of Null allow a value.
func presentMeets(all []constraint) bool {
	for _, c := range all {
		if c.condition.Operator == policy.Null && nullIs(c.condition, false) != c.holds {
			return false
		}
	}
	return true
}

// solveSet looks for a set: all of its values have to meet some constraints,
// and for each of the others there is one value that meets it.
func (w *world) solveSet(key string, all []constraint) ([][]symbol, outcome) {
	var every, some []constraint
	for _, c := range all {
		switch {
		case c.condition.Operator == policy.Null:
		case c.condition.Quantifier == policy.Single:
			// Without a set operator a set never matches.
			if c.holds {
				return nil, none
			}
		case (c.condition.Quantifier == policy.ForAllValues) == c.holds:
			every = append(every, c)
		default:
			some = append(some, c)
		}
	}
	values := [][]symbol{}
	result := found
	for _, c := range some {
		value, o := w.solveValue(key, append(every[:len(every):len(every)], c))
		if o == none {
			return nil, none
		}
		if o == exhausted {
			result = exhausted
		}
		values = append(values, value)
	}
	return values, result
}

// solveValue looks for one value that meets all constraints.
func (w *world) solveValue(key string, all []constraint) ([]symbol, outcome) {
	var texts, typed []constraint
	for _, c := range all {
		switch {
		case c.condition.Operator == policy.Null:
		case isText(c.condition.Operator):
			texts = append(texts, c)
		default:
			typed = append(typed, c)
		}
	}
	if len(typed) == 0 {
		return w.solveText(key, texts)
	}
	choice, complete := candidates(typed, texts)
	if text, one := w.only(key); one {
		choice, complete = []string{text}, true
	} else if len(w.known[key].must) > 0 {
		// A part that a constant divides off may have values of the key's
		// language and none among the candidates.
		complete = false
	}
	for _, text := range choice {
		if meets(text, typed) {
			// The value is known now; whether it is of the texts' languages too is
			// a question to the automaton.
			if _, o := w.with(key, words{{kind: textPiece, text: text}}).solveText(key, texts); o == found {
				return symbols(text), found
			}
		}
	}
	if complete {
		return nil, none
	}
	return nil, exhausted
}

// only gives the text that a key is known to be.
func (w *world) only(key string) (string, bool) {
	for _, alternatives := range w.known[key].must {
		if len(alternatives) == 1 && len(alternatives[0]) == 1 && alternatives[0][0].kind == textPiece {
			return alternatives[0][0].text, true
		}
	}
	return "", false
}

// family tells whether all constraints compare values of one type, so that
// the candidates leave no case out.
func family(typed []constraint) bool {
	for _, c := range typed {
		if kindOf(c.condition.Operator) != kindOf(typed[0].condition.Operator) {
			return false
		}
	}
	return true
}

func isText(o policy.Operator) bool {
	return o <= policy.StringNotLike || o >= policy.ArnEquals && o <= policy.ArnNotLike
}

func isArn(o policy.Operator) bool { return o >= policy.ArnEquals && o <= policy.ArnNotLike }

// kindOf numbers the types of values.
func kindOf(o policy.Operator) int {
	switch {
	case o >= policy.NumericEquals && o <= policy.NumericGreaterThanEquals:
		return 1
	case o >= policy.DateEquals && o <= policy.DateGreaterThanEquals:
		return 2
	case o == policy.Bool:
		return 3
	case o == policy.BinaryEquals:
		return 4
	case o == policy.IPAddress || o == policy.NotIPAddress:
		return 5
	}
	return 0
}

// solveText asks an automaton for a value of all the languages.
func (w *world) solveText(key string, texts []constraint) ([]symbol, outcome) {
	musts := slices.Clone(w.known[key].must)
	var nots []words
	for _, c := range texts {
		u := use(c.holds != c.condition.Operator.Inverted())
		language := w.language(c.condition, u)
		if u == asMust {
			musts = append(musts, language)
		} else {
			nots = append(nots, language...)
		}
	}
	if len(musts) == 0 {
		musts = [][]words{{{{kind: runPiece, set: anyByte}}}}
	}
	return w.compose(musts, nots).find(keyBudget)
}

// language gives what the values of a condition match.
func (w *world) language(c *policy.Condition, u use) []words {
	var out []words
	for i := range c.Values {
		var one words
		var ok bool
		if isArn(c.Operator) {
			one, ok = w.expandParts(&c.Values[i].Parts, u)
		} else {
			one, ok = w.expand(c.Values[i].Pattern, anyByte, u, c.Operator.IgnoresCase())
		}
		if ok {
			out = append(out, one)
		}
	}
	return out
}

// meets asks the evaluator whether a value meets constraints.
func meets(text string, all []constraint) bool {
	for _, c := range all {
		bare := *c.condition
		bare.Quantifier, bare.IfExists = policy.Single, false
		if holds(&bare, c.effect, text) != c.holds {
			return false
		}
	}
	return true
}

// holds asks the evaluator about one condition and one value.
func holds(c *policy.Condition, effect policy.Effect, value string) bool {
	d := &policy.Document{Kind: policy.Identity, Version: policy.Version2012, Statements: []policy.Statement{{
		Effect: effect, Actions: []policy.Pattern{{{Kind: policy.Run}}}, Resources: []policy.ARNPattern{{All: true}},
		Conditions: []policy.Condition{*c},
	}}}
	ctx := &policy.Context{}
	ctx.Set(c.Key, value)
	r := &policy.Request{Action: "a:b", Resource: "*", ResourceAccount: "1", Context: ctx, Principal: policy.Principal{Type: policy.User, Account: "1"}}
	verdict := policy.Evaluate(r, &policy.Layers{Identity: policy.Compile(policy.Source{Document: d})}).Verdict
	if effect == policy.Deny {
		return verdict == policy.ExplicitlyDenied
	}
	return verdict == policy.Allowed
}

// candidates gives values of which one meets typed constraints if any does:
// one of each part that the constants divide their type's values into, and
// one that is of no type. It says whether that leaves no case out.
func candidates(typed, texts []constraint) (out []string, complete bool) {
	var numbers []*big.Rat
	var times []int64
	longest := 0
	for _, c := range append(typed[:len(typed):len(typed)], texts...) {
		for i := range c.condition.Values {
			v := &c.condition.Values[i]
			switch kindOf(c.condition.Operator) {
			case 1:
				numbers = append(numbers, v.Number)
			case 2:
				times = append(times, v.Time)
			case 3:
				out = append(out, "true", "false")
			case 4:
				longest = max(longest, len(v.Binary))
				out = append(out, v.Text, base64.StdEncoding.EncodeToString(make([]byte, longest+1)))
			case 5:
				out = append(out, addresses(v.Prefix)...)
			default:
				out = append(out, v.Text)
			}
		}
	}
	out = append(out, decimals(numbers)...)
	out = append(out, dates(times)...)
	out = append(out, "x", "")
	tooLong := func(s string) bool { return len(s) > 64 && kindOf(typed[0].condition.Operator) != 5 }
	return out, len(texts) == 0 && family(typed) && !slices.ContainsFunc(out, tooLong)
}

func decimals(numbers []*big.Rat) []string {
	slices.SortFunc(numbers, func(a, b *big.Rat) int { return a.Cmp(b) })
	var out []string
	add := func(r *big.Rat) {
		places, _ := r.FloatPrec()
		out = append(out, r.FloatString(places))
	}
	for i, n := range numbers {
		add(n)
		if i == 0 {
			add(new(big.Rat).Sub(n, big.NewRat(1, 1)))
		}
		if i == len(numbers)-1 {
			add(new(big.Rat).Add(n, big.NewRat(1, 1)))
		} else if numbers[i+1].Cmp(n) != 0 {
			add(new(big.Rat).Quo(new(big.Rat).Add(n, numbers[i+1]), big.NewRat(2, 1)))
		}
	}
	return out
}

func dates(times []int64) []string {
	slices.Sort(times)
	var out []string
	for _, t := range times {
		for _, at := range []int64{t, t - 1, t + 1, t - int64(time.Hour), t + int64(time.Hour)} {
			out = append(out, time.Unix(0, at).UTC().Format(time.RFC3339Nano))
		}
	}
	return out
}

// addresses gives those at the ends of a block, those next to it, and those
// where each family starts: every part that blocks divide addresses into
// begins at one of these.
func addresses(p netip.Prefix) []string {
	first := p.Masked().Addr()
	bytes := first.AsSlice()
	for i := p.Bits(); i < 8*len(bytes); i++ {
		bytes[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	out := []string{"203.0.113.77", first.String(), last.String(), "0.0.0.0", "::", "2001:db8::77"}
	for _, a := range []netip.Addr{first.Prev(), last.Next()} {
		if a.IsValid() {
			out = append(out, a.String())
		}
	}
	return out
}
