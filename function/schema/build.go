package schema

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"

	jsonschema "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/carrel-dev/carrel/internal/strictjson"
)

type jsonschemaRegexp = jsonschema.Regexp

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// rule is one schema, as it is evaluated.
type rule struct {
	// at is where it stands, as in #/properties/a.
	at string
	// never says that nothing is valid.
	never bool
	// kinds are the kinds that are allowed, as bits by strictjson.Kind; zero
	// for all. integer says that numbers have to be whole.
	kinds   uint8
	integer bool
	types   string
	// only are the canonical forms that const and enum allow; nil for all.
	only     map[string]struct{}
	onlyWord string

	here    here
	object  objectRules
	list    listRules
	text    textRules
	numbers []bound
	// simple says that the kind and only are all there is to check.
	simple bool
	// evaluating says that the rule asks what others have evaluated.
	evaluating bool
}

// here are rules for the same value.
type here struct {
	ref, dynamic      *rule
	not               *rule
	all, any, one     []*rule
	cond, then, other *rule
}

// each gives the rules for the same value, those of dependentSchemas too.
func (r *rule) each(do func(*rule)) {
	h := &r.here
	for _, x := range []*rule{h.ref, h.dynamic, h.not, h.cond, h.then, h.other} {
		if x != nil {
			do(x)
		}
	}
	for _, list := range [][]*rule{h.all, h.any, h.one} {
		for _, x := range list {
			do(x)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.object.dependent)) {
		do(r.object.dependent[name])
	}
}

type objectRules struct {
	least, most *int
	required    map[string]struct{}
	properties  map[string]*rule
	patterns    []patternRule
	additional  *rule
	names       *rule
	// dependent and needs are dependentSchemas and dependentRequired.
	dependent   map[string]*rule
	needs       map[string][]string
	unevaluated *rule
}

type patternRule struct {
	name *pattern
	rule *rule
}

type listRules struct {
	least, most     *int
	unique          bool
	prefix          []*rule
	items           *rule
	contains        *rule
	leastOf, mostOf *int
	unevaluated     *rule
}

type textRules struct {
	least, most *int
	pattern     *pattern
}

// bound is a keyword that compares numbers.
type bound struct {
	keyword string
	value   *big.Rat
	// small is the value where it is a whole number of 63 bits.
	small   int64
	isSmall bool
	words   string
}

// builder makes rules of what the library compiled.
type builder struct {
	made     map[*jsonschema.Schema]*rule
	order    []*jsonschema.Schema
	patterns *patternBudget
	marks    bool
}

// build makes the rules of a schema and of all that it leads to.
func (b *builder) build(root *jsonschema.Schema) (*rule, error) {
	first := b.rule(root)
	for i := 0; i < len(b.order); i++ {
		if len(b.order) > maxRules {
			return nil, refused("it has more than %d schemas in it", maxRules)
		}
		if err := b.fill(b.made[b.order[i]], b.order[i]); err != nil {
			return nil, err
		}
	}
	return first, nil
}

// rule gives the rule of a schema, to be filled later if it is new.
func (b *builder) rule(s *jsonschema.Schema) *rule {
	if s == nil {
		return nil
	}
	if r, found := b.made[s]; found {
		return r
	}
	r := &rule{}
	if _, at, found := strings.Cut(s.Location, "#"); found {
		r.at = "#" + clip(at)
	}
	b.made[s] = r
	b.order = append(b.order, s)
	return r
}

func (b *builder) rules(list []*jsonschema.Schema) []*rule {
	var all []*rule
	for _, s := range list {
		all = append(all, b.rule(s))
	}
	return all
}

func (b *builder) named(m map[string]*jsonschema.Schema) map[string]*rule {
	if m == nil {
		return nil
	}
	all := make(map[string]*rule, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all[name] = b.rule(m[name])
	}
	return all
}

func (b *builder) fill(r *rule, s *jsonschema.Schema) error {
	if s.Bool != nil {
		r.never, r.simple = !*s.Bool, true
		return nil
	}
	b.fillKinds(r, s)
	if err := r.fillOnly(s); err != nil {
		return err
	}
	r.here = here{
		ref: b.rule(s.Ref), not: b.rule(s.Not), all: b.rules(s.AllOf), any: b.rules(s.AnyOf), one: b.rules(s.OneOf),
		cond: b.rule(s.If), then: b.rule(s.Then), other: b.rule(s.Else),
	}
	if s.DynamicRef != nil {
		// There is one resource, so the anchor means the same wherever it is
		// asked for.
		r.here.dynamic = b.rule(s.DynamicRef.Ref)
	}
	b.fillObject(r, s)
	r.list = listRules{
		least: s.MinItems, most: s.MaxItems, unique: s.UniqueItems, prefix: b.rules(s.PrefixItems), items: b.rule(s.Items2020),
		contains: b.rule(s.Contains), leastOf: s.MinContains, mostOf: s.MaxContains, unevaluated: b.rule(s.UnevaluatedItems),
	}
	r.text = textRules{least: s.MinLength, most: s.MaxLength}
	if s.Pattern != nil {
		r.text.pattern = s.Pattern.(*pattern)
	}
	r.fillNumbers(s)
	r.evaluating = r.object.unevaluated != nil || r.list.unevaluated != nil
	b.marks = b.marks || r.evaluating
	inHere := false
	r.each(func(*rule) { inHere = true })
	r.simple = !inHere && !r.evaluating && len(r.numbers) == 0 && r.text == textRules{} && r.object.empty() && r.list.empty()
	return nil
}

func (o *objectRules) empty() bool {
	return o.least == nil && o.most == nil && o.required == nil && o.properties == nil && o.patterns == nil && o.additional == nil &&
		o.names == nil && o.dependent == nil && o.needs == nil && o.unevaluated == nil
}

func (l *listRules) empty() bool {
	return l.least == nil && l.most == nil && !l.unique && l.prefix == nil && l.items == nil && l.contains == nil && l.unevaluated == nil
}

// kindBits are the kinds that a type of the draft allows.
var kindBits = map[string]uint8{
	"null": 1 << strictjson.Null, "boolean": 1<<strictjson.True | 1<<strictjson.False, "number": 1 << strictjson.Number,
	"integer": 1 << strictjson.Number, "string": 1 << strictjson.String, "array": 1 << strictjson.List, "object": 1 << strictjson.Object,
}

func (b *builder) fillKinds(r *rule, s *jsonschema.Schema) {
	if s.Types == nil || s.Types.IsEmpty() {
		return
	}
	names := s.Types.ToStrings()
	for _, name := range names {
		r.kinds |= kindBits[name]
	}
	r.integer = slices.Contains(names, "integer") && !slices.Contains(names, "number")
	r.types = strings.Join(names, " or ")
}

// fillOnly reads const and enum.
func (r *rule) fillOnly(s *jsonschema.Schema) error {
	allow := func(values []any) (map[string]struct{}, error) {
		all := make(map[string]struct{}, len(values))
		for _, v := range values {
			text, err := json.Marshal(v)
			if err != nil {
				return nil, refused("%s: %v", r.at, err)
			}
			doc, err := strictjson.Parse(text, strictjson.Limits{})
			if err != nil {
				return nil, refused("%s: %v", r.at, err)
			}
			all[string(canonical(nil, doc, 0))] = struct{}{}
		}
		return all, nil
	}
	var err error
	if s.Enum != nil {
		r.onlyWord = "enum"
		if r.only, err = allow(s.Enum.Values); err != nil {
			return err
		}
	}
	if s.Const == nil {
		return nil
	}
	fixed, err := allow([]any{*s.Const})
	if err != nil {
		return err
	}
	if r.only != nil {
		// Both hold: what is in both.
		maps.DeleteFunc(fixed, func(k string, _ struct{}) bool { _, found := r.only[k]; return !found })
	}
	r.only, r.onlyWord = fixed, "const"
	return nil
}

func (b *builder) fillObject(r *rule, s *jsonschema.Schema) {
	o := &r.object
	o.least, o.most = s.MinProperties, s.MaxProperties
	if len(s.Required) > 0 {
		o.required = make(map[string]struct{}, len(s.Required))
		for _, name := range s.Required {
			o.required[name] = struct{}{}
		}
	}
	o.properties, o.names = b.named(s.Properties), b.rule(s.PropertyNames)
	byText := make(map[string]jsonschema.Regexp, len(s.PatternProperties))
	for p := range s.PatternProperties {
		byText[p.String()] = p
	}
	for _, text := range slices.Sorted(maps.Keys(byText)) {
		o.patterns = append(o.patterns, patternRule{byText[text].(*pattern), b.rule(s.PatternProperties[byText[text]])})
	}
	switch additional := s.AdditionalProperties.(type) {
	case bool:
		o.additional = &rule{never: !additional, simple: true, at: r.at + "/additionalProperties"}
	case *jsonschema.Schema:
		o.additional = b.rule(additional)
	}
	o.dependent, o.needs, o.unevaluated = b.named(s.DependentSchemas), s.DependentRequired, b.rule(s.UnevaluatedProperties)
}

func (r *rule) fillNumbers(s *jsonschema.Schema) {
	for _, n := range []struct {
		keyword string
		value   *big.Rat
		words   string
	}{
		{"minimum", s.Minimum, "at least "}, {"maximum", s.Maximum, "at most "},
		{"exclusiveMinimum", s.ExclusiveMinimum, "more than "}, {"exclusiveMaximum", s.ExclusiveMaximum, "less than "},
		{"multipleOf", s.MultipleOf, "a multiple of "},
	} {
		if n.value == nil {
			continue
		}
		b := bound{keyword: n.keyword, value: n.value}
		if n.value.IsInt() && n.value.Num().IsInt64() {
			b.small, b.isSmall = n.value.Num().Int64(), true
		}
		text := n.value.RatString()
		if !n.value.IsInt() {
			text = strings.TrimRight(n.value.FloatString(20), "0")
		}
		b.words = n.words + clip(text)
		r.numbers = append(r.numbers, b)
	}
}

// bounded refuses schemas that lead back to themselves at the same value, and
// chains that are long.
func bounded(root *rule) error {
	height := map[*rule]int{}
	under := map[*rule]bool{}
	var visit func(*rule) error
	var wrong error
	visit = func(r *rule) error {
		if under[r] {
			return refused("%s leads back to itself without going into the value", r.at)
		}
		if _, done := height[r]; done || wrong != nil {
			return wrong
		}
		under[r] = true
		most := 0
		r.each(func(x *rule) {
			if wrong == nil {
				if wrong = visit(x); wrong == nil {
					most = max(most, height[x])
				}
			}
		})
		under[r] = false
		if height[r] = most + 1; height[r] > maxChain && wrong == nil {
			wrong = refused("%s begins a chain of more than %d schemas for one value", r.at, maxChain)
		}
		return wrong
	}
	for _, r := range reachable(root) {
		if err := visit(r); err != nil {
			return err
		}
	}
	return nil
}

// reachable lists all rules that a rule leads to.
func reachable(root *rule) []*rule {
	seen := map[*rule]bool{root: true}
	list := []*rule{root}
	add := func(r *rule) {
		if r != nil && !seen[r] {
			seen[r] = true
			list = append(list, r)
		}
	}
	for i := 0; i < len(list); i++ {
		r := list[i]
		r.each(add)
		for _, name := range slices.Sorted(maps.Keys(r.object.properties)) {
			add(r.object.properties[name])
		}
		for _, p := range r.object.patterns {
			add(p.rule)
		}
		for _, p := range r.list.prefix {
			add(p)
		}
		for _, x := range []*rule{r.object.additional, r.object.names, r.object.unevaluated, r.list.items, r.list.contains, r.list.unevaluated} {
			add(x)
		}
	}
	return list
}
