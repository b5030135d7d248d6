// Package schema checks a function's events against the JSON Schema that its
// version declares (draft 2020-12).
//
// Schemas and events are both foreign. A schema is bounded in size, depth,
// count and patterns before anything is made of it, names nothing outside
// itself, and is compiled by a library. What the library gives is turned into
// rules, and those are evaluated here, because a check has to have a bound that
// the library's own has not: schemas can be written that take exponential time.
// A check counts its steps, and an event that needs more than its length allows
// is refused. The count depends on schema and event only, so the same event is
// refused on every node or on none.
//
// # What is different from the draft
//
// "$ref" and "$dynamicRef" lead into the schema itself, and "$id" and "$schema"
// stand only at its top. Patterns are those of Go's package regexp, which take
// linear time: they have no look-around and no references back, \uXXXX is
// written \x{XXXX}, and \s, \d and \w know ASCII only. "format" and the keywords
// that begin with "content" are notes, as the draft has it, and are not checked.
// An unknown keyword is refused, because it would check nothing; one that
// begins with "x-" is a note.
package schema

import (
	"errors"
	"fmt"
	"strings"

	jsonschema "github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/strictjson"
)

// Bounds of a schema.
const (
	// MaxBytes is the longest schema.
	MaxBytes = 64 << 10
	// MaxDepth is how deeply it may nest.
	MaxDepth = 32
	// maxValues is the most JSON values in it, maxRules the most schemas.
	maxValues = 8192
	maxRules  = 1024
	// maxChain is the most schemas that lead to one another at one value.
	maxChain = 64
	// maxPattern is the longest pattern in bytes; maxProgram bounds what it is
	// compiled to, in instructions, and maxPrograms all patterns together.
	maxPattern  = 512
	maxProgram  = 1000
	maxPrograms = 16_000
)

// Dialect is the one that schemas are written in; they may leave it out.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct {
	root *rule
	// size is about how much memory it takes, in bytes.
	size int64
	// marks says that some rule asks what others have evaluated.
	marks bool
}

// Size is about how much memory the schema takes, in bytes.
func (s *Schema) Size() int64 { return s.size }

// Compile reads a schema.
//
// Errors: fault.Invalid with the place in the schema, or fault.TooLarge.
func Compile(text []byte) (*Schema, error) {
	const op = "schema.Compile"
	if len(text) > MaxBytes {
		return nil, fault.New(op, fault.TooLarge, "The schema has %d bytes; %d are allowed.", len(text), MaxBytes).
			WithCode("RequestEntityTooLargeException")
	}
	doc, err := strictjson.Parse(text, strictjson.Limits{Bytes: MaxBytes, Depth: MaxDepth, Values: maxValues})
	if err != nil {
		return nil, refused("%s", err)
	}
	if err := screen(doc); err != nil {
		return nil, err
	}
	patterns := &patternBudget{}
	made, err := compile(plain(doc, 0), patterns)
	if err != nil {
		return nil, err
	}
	b := builder{made: map[*jsonschema.Schema]*rule{}, patterns: patterns}
	root, err := b.build(made)
	if err != nil {
		return nil, err
	}
	if err := bounded(root); err != nil {
		return nil, err
	}
	return &Schema{root: root, marks: b.marks, size: int64(len(text))*24 + int64(len(b.made))*768 + int64(patterns.used)*160}, nil
}

// refused is the error of a schema that is not taken.
func refused(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return fault.New("schema.Compile", fault.Invalid, "The schema is not taken: %s.", strings.TrimSuffix(text, ".")).
		WithCode("ValidationException").WithRemedy(`"carrel function schema check" checks one without a node.`)
}

// location is where the library believes the schema to be. Nothing is there.
const location = "mem:///event"

// nowhere is the loader of what is not in the schema: it gives nothing.
type nowhere struct{}

// Load implements jsonschema.URLLoader.
func (nowhere) Load(string) (any, error) {
	return nil, errors.New("a schema may name nothing outside itself")
}

// compile has the library read a schema. The library recurses no deeper than
// the text nests, which was bounded.
func compile(doc any, patterns *patternBudget) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	c.UseRegexpEngine(patterns.compile)
	if err := c.AddResource(location, doc); err != nil {
		return nil, refused("%v", err)
	}
	made, err := c.Compile(location)
	if err == nil {
		return made, nil
	}
	var wrong *jsonschema.SchemaValidationError
	var why *jsonschema.ValidationError
	var pattern *jsonschema.InvalidRegexError
	switch {
	case errors.As(err, &wrong) && errors.As(wrong.Err, &why):
		for len(why.Causes) > 0 {
			why = why.Causes[0]
		}
		return nil, refused("at #%s: %s", pointer(why.InstanceLocation), why.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
	case errors.As(err, &pattern):
		return nil, refused("the pattern %q: %v", clip(pattern.Regex), pattern.Err)
	}
	return nil, refused("%s", clip(strings.ReplaceAll(err.Error(), location, "")))
}

func pointer(path []string) string {
	var b strings.Builder
	for _, step := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	return clip(b.String())
}

func clip(s string) string {
	if len(s) <= 160 {
		return s
	}
	return strings.ToValidUTF8(s[:160], "") + "…"
}
