package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
)

const order = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"type": "object", "required": ["id", "items"], "additionalProperties": false,
	"properties": {
		"id": {"type": "string", "pattern": "^[a-z0-9-]{4,36}$"},
		"note": {"type": ["string", "null"], "maxLength": 5},
		"kind": {"enum": ["a", 1.0, {"x": [1]}]},
		"items": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"$ref": "#/$defs/item"}}
	},
	"$defs": {"item": {
		"type": "object", "required": ["price"],
		"properties": {"price": {"type": "number", "minimum": 0, "multipleOf": 0.01}, "count": {"type": "integer", "exclusiveMaximum": 100}},
		"anyOf": [{"required": ["count"]}, {"properties": {"bulk": {"const": true}}, "required": ["bulk"]}]
	}}
}`

func compiled(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := Compile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEventsAreChecked(t *testing.T) {
	s := compiled(t, order)
	for name, c := range map[string]struct{ event, path, keyword, expected string }{
		"right":         {event: `{"id":"abcd","items":[{"price":1.25,"count":2},{"price":3,"bulk":true}],"note":null,"kind":{"x":[1e0]}}`},
		"a number":      {`3`, "$", "type", "object, found a number"},
		"a member less": {`{"id":"abcd"}`, "$", "required", `a member "items"`},
		"one more":      {`{"id":"abcd","items":[{"price":1,"count":1}],"itmes":1}`, "$.itmes", "additionalProperties", "no member of this name"},
		"a pattern":     {`{"id":"ABCD","items":[{"price":1,"count":1}]}`, "$.id", "pattern", "^[a-z0-9-]{4,36}$"},
		"too long":      {`{"id":"abcd","items":[{"price":1,"count":1}],"note":"äöüäöü"}`, "$.note", "maxLength", "at most 5 characters"},
		"no kind":       {`{"id":"abcd","items":[{"price":1,"count":1}],"kind":2}`, "$.kind", "enum", "one of the 3 values"},
		"no items":      {`{"id":"abcd","items":[]}`, "$.items", "minItems", "at least 1 items"},
		"negative":      {`{"id":"abcd","items":[{"price":-1,"count":1}]}`, "$.items[0].price", "minimum", "at least 0"},
		"thirds":        {`{"id":"abcd","items":[{"price":0.333,"count":1}]}`, "$.items[0].price", "multipleOf", "a multiple of 0.01"},
		"a fraction":    {`{"id":"abcd","items":[{"price":1,"count":1.5}]}`, "$.items[0].count", "type", "integer, found a number with a fraction"},
		"equal items":   {`{"id":"abcd","items":[{"price":1,"count":1},{"count":1.0,"price":10e-1}]}`, "$.items[1]", "uniqueItems", "no item that equals"},
		"no branch":     {`{"id":"abcd","items":[{"price":1,"bulk":false}]}`, "$.items[0]", "anyOf", "the nearest, at $.items[0].bulk, expects the one value that is allowed"},
		"no JSON":       {`{"id":`, "", "", "Could not parse"},
		"twice":         {`{"id":"abcd","id":"abcd"}`, "", "", `"id" stands twice`},
		"too deep":      {strings.Repeat("[", 65) + strings.Repeat("]", 65), "", "", "64 levels"},
		"a huge number": {`{"id":1e999999999}`, "", "", "exponent"},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Check([]byte(c.event))
			if c.expected == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var m *Mismatch
			errors.As(err, &m)
			f := fault.From("", err)
			if f.Kind != fault.Invalid || f.Code != code || !strings.Contains(f.Text(), c.expected) {
				t.Fatalf("%s %s %q, want %q", f.Kind, f.Code, f.Text(), c.expected)
			}
			if c.path != "" && (m == nil || m.Path != c.path || m.Keyword != c.keyword || !strings.HasPrefix(m.At, "#")) {
				t.Errorf("%+v, want %s at %s", m, c.keyword, c.path)
			}
		})
	}
}

func TestSchemasThatAreRefused(t *testing.T) {
	var many strings.Builder
	for i := range 1100 {
		fmt.Fprintf(&many, `%s"p%d":{"type":"null"}`, map[bool]string{true: ","}[i > 0], i)
	}
	for name, c := range map[string]struct{ schema, says string }{
		"no JSON":              {`{`, "too early"},
		"a number":             {`1`, "an object, true or false"},
		"a wrong type":         {`{"properties":{"a":{"type":"text"}}}`, "/properties/a/type"},
		"a misspelt keyword":   {`{"proprties":{}}`, "did you mean properties?"},
		"an unknown keyword":   {`{"items":{"discriminator":"x"}}`, "name it x-…"},
		"an older keyword":     {`{"dependencies":{}}`, "dependentRequired"},
		"another draft":        {`{"$schema":"http://json-schema.org/draft-07/schema#"}`, Dialect},
		"a schema of the web":  {`{"$ref":"https://example.com/schema.json"}`, "outside the schema"},
		"a schema of a file":   {`{"items":{"$ref":"file:///etc/passwd"}}`, "outside the schema"},
		"a relative one":       {`{"$id":"https://example.com/a","$ref":"b"}`, "outside the schema"},
		"the draft's own":      {`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, "outside the schema"},
		"posing as the draft":  {`{"$id":"https://json-schema.org/draft/2020-12/schema"}`, "drafts' own"},
		"a dialect of one's":   {`{"$schema":"https://example.com/mine"}`, Dialect},
		"an id inside":         {`{"$defs":{"a":{"$id":"https://example.com/a"}}}`, "at the top"},
		"nowhere":              {`{"$ref":"#/$defs/a"}`, "not found"},
		"itself":               {`{"$ref":"#"}`, "leads back to itself"},
		"itself, by a round":   {`{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"not":{"$ref":"#"}}}}`, "leads back to itself"},
		"a long chain":         {chain(70, `{"$ref":"#/$defs/%d"}`), "a chain of more than 64"},
		"a look-around":        {`{"pattern":"a(?=b)"}`, "without look-around"},
		"a reference back":     {`{"pattern":"(a)\\1"}`, "without look-around"},
		"a long pattern":       {`{"pattern":"` + strings.Repeat("a", 600) + `"}`, "512"},
		"repeats of repeats":   {`{"pattern":"(abc){400}"}`, "repeats"},
		"too deep":             {strings.Repeat(`{"not":`, 40) + "true" + strings.Repeat("}", 40), "levels deep"},
		"a name twice":         {`{"type":"object","type":"string"}`, "stands twice"},
		"too many schemas":     {`{"properties":{` + many.String() + `}}`, "more than 1024 schemas"},
		"a bound of a million": {`{"minimum":1e100000000}`, "exponent"},
		"too long":             {`{"title":"` + strings.Repeat("a", MaxBytes) + `"}`, "65536 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile([]byte(c.schema))
			if f := fault.From("", err); err == nil || f.Kind != fault.Invalid && f.Kind != fault.TooLarge || !strings.Contains(f.Text(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

// chain makes a schema of n definitions, each of which refers to the next.
func chain(n int, form string) string {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"%d":`+form+`,`, i, i+1)
	}
	fmt.Fprintf(&b, `"%d":{"type":"null"}}}`, n)
	return b.String()
}

// hostile are schemas and events made to take long.
func hostile() map[string]struct{ schema, event string } {
	double := `{"$ref":"#/$defs/0","$defs":{`
	for i := range 30 {
		double += fmt.Sprintf(`"%d":{"anyOf":[{"$ref":"#/$defs/%d"},{"$ref":"#/$defs/%d"}]},`, i, i+1, i+1)
	}
	double += `"30":false}}`
	ids := make([]string, 20_000)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	return map[string]struct{ schema, event string }{
		"doubling at one value": {double, `1`},
		"doubling with depth":   {`{"anyOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}],"type":"array"}`, strings.Repeat("[", 60) + strings.Repeat("]", 60)},
		"unique numbers":        {`{"uniqueItems":true}`, "[" + strings.Join(ids, ",") + "]"},
		"unique at every depth": {`{"uniqueItems":true,"items":{"$ref":"#"}}`, strings.Repeat("[", 60) + strings.Join(ids, ",") + strings.Repeat("]", 60)},
		"a slow pattern":        {`{"pattern":"(?:a?){300}b"}`, `"` + strings.Repeat("a", 1<<20) + `"`},
		"many patterns":         {`{"patternProperties":{"(a|aa)+$":true,"(a|a)*b":true,"(.*)*c":true}}`, `{"` + strings.Repeat("a", 200_000) + `":1}`},
		"unevaluated":           {`{"unevaluatedProperties":false,"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}],"$defs":{"a":{"unevaluatedProperties":true}}}`, members(50_000)},
		"needs of needs":        {`{"dependentRequired":{"k0":["k49999","k49998","k49997"],"k1":["k49999"]}}`, members(50_000)},
		"an enum of objects":    {`{"items":{"enum":[{"a":1},{"b":2}]}}`, "[" + strings.Repeat(`{"a":1.0},`, 50_000) + "1]"},
		"exact numbers":         {`{"items":{"multipleOf":1e-400,"minimum":0.5}}`, "[" + strings.Repeat(`9e400,`, 50_000) + "1]"},
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	return "{" + b.String()[1:] + "}"
}

// TestHostileSchemasAreBounded: whatever schema and event are, a check ends in
// a time that the event's length bounds. The bound on time is wide, as the
// machine may be busy; that of steps is exact.
func TestHostileSchemasAreBounded(t *testing.T) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			s := compiled(t, c.schema)
			begun := time.Now()
			err := s.Check([]byte(c.event))
			took := time.Since(begun)
			t.Logf("%d bytes: %s, %v", len(c.event), took.Round(time.Microsecond), err)
			if took > 20*time.Second {
				t.Errorf("the check took %s", took)
			}
		})
	}
	// The control: what doubles is over the bound and not merely quick.
	double := hostile()["doubling at one value"]
	if err := compiled(t, double.schema).Check([]byte(double.event)); err == nil || !strings.Contains(err.Error(), "too long to check") {
		t.Errorf("2^30 evaluations ended with %v", err)
	}
	// The twin: an event with real alternatives passes.
	if err := compiled(t, `{"items":{"anyOf":[{"type":"string"},{"type":"number"}]}}`).Check([]byte(`["a",1]`)); err != nil {
		t.Error(err)
	}
}

// TestPlainEventsAreWithinTheBound: what schemas are made for is not refused
// for its length.
func TestPlainEventsAreWithinTheBound(t *testing.T) {
	s := compiled(t, `{"type":"array","items":{"type":"object","required":["id","n"],"properties":{
		"id":{"type":"string","pattern":"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},"n":{"type":"integer","minimum":0,"maximum":10}},
		"unevaluatedProperties":false}}`)
	event := "[" + strings.Repeat(`{"id":"123e4567-e89b-12d3-a456-426614174000","n":3},`, 20_000) + `{"id":"123e4567-e89b-12d3-a456-426614174000","n":3}]`
	if err := s.Check([]byte(event)); err != nil {
		t.Error(err)
	}
}

// FuzzCheck holds the evaluation against the library's own, wherever the
// library's ends.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(order), []byte(`{"id":"abcd","items":[{"price":1,"count":1}]}`))
	for _, c := range hostile() {
		if len(c.event) < 4096 {
			f.Add([]byte(c.schema), []byte(c.event))
		}
	}
	for _, s := range []string{
		`{"oneOf":[{"type":"string"},{"minLength":2}],"not":{"const":"x"}}`, `{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"maxProperties":1}}`,
		`{"prefixItems":[{"type":"null"}],"items":false,"contains":{"type":"null"},"minContains":0}`, `{"propertyNames":{"pattern":"^a"},"dependentSchemas":{"a":{"required":["b"]}}}`,
		`{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, `{"prefixItems":[true],"unevaluatedItems":{"type":"number"}}`,
	} {
		f.Add([]byte(s), []byte(`{"a":1,"b":[null,1]}`))
		f.Add([]byte(s), []byte(`[null,1,"xx"]`))
	}
	f.Fuzz(func(t *testing.T, schema, event []byte) {
		s, err := Compile(schema)
		if err != nil || len(event) > 4096 {
			return
		}
		err = s.Check(event)
		var m *Mismatch
		if err != nil && !errors.As(err, &m) {
			if f := fault.From("", err); f.Kind != fault.Invalid {
				t.Fatalf("%v", err)
			}
			return // no JSON, or over the bound
		}
		if bytes.Contains(schema, []byte(`Of`)) && bytes.Contains(schema, []byte(`$ref`)) || bytes.Contains(schema, []byte("$dynamicRef")) {
			return // the library's own evaluation may take exponential time
		}
		if want := byLibrary(t, schema, event); (err == nil) != (want == nil) {
			t.Fatalf("%s of %s: %v; the library says %v", schema, event, err, want)
		}
	})
}

func byLibrary(t *testing.T, schema, event []byte) error {
	t.Helper()
	read := func(text []byte) any {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	s, err := compile(read(schema), &patternBudget{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(read(event))
}

// BenchmarkCheck is what a call of a function with a schema pays more.
func BenchmarkCheck(b *testing.B) {
	s := compiled(b, order)
	item := `{"price":1.25,"count":2}`
	for _, n := range []int{1, 100} {
		var items []string
		for i := range n {
			items = append(items, strings.Replace(item, "1.25", fmt.Sprintf("%d.25", i), 1))
		}
		event := []byte(`{"id":"abcd","items":[` + strings.Join(items, ",") + `]}`)
		b.Run(fmt.Sprintf("%d bytes", len(event)), func(b *testing.B) {
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Check(event); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile([]byte(order)); err != nil {
			b.Fatal(err)
		}
	}
}
