package schema

import (
	"encoding/json"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/carrel-dev/carrel/internal/strictjson"
)

// holds says what stands behind a keyword.
type holds uint8

const (
	note     holds = iota // nothing that is a schema
	one                   // a schema
	several               // a list of schemas
	named                 // an object of schemas
	inside                // a reference into the schema
	topOnly               // allowed at the top only
	unlikely              // known, and refused
)

// keywords are those of draft 2020-12.
var keywords = map[string]holds{
	"$id": topOnly, "$schema": topOnly, "$ref": inside, "$dynamicRef": inside, "$anchor": note, "$dynamicAnchor": note,
	"$comment": note, "$defs": named, "definitions": named, "$vocabulary": unlikely,
	"title": note, "description": note, "default": note, "examples": note, "deprecated": note, "readOnly": note, "writeOnly": note,
	"type": note, "enum": note, "const": note,
	"allOf": several, "anyOf": several, "oneOf": several, "not": one, "if": one, "then": one, "else": one, "dependentSchemas": named,
	"properties": named, "patternProperties": named, "additionalProperties": one, "propertyNames": one, "unevaluatedProperties": one,
	"required": note, "minProperties": note, "maxProperties": note, "dependentRequired": note,
	"prefixItems": several, "items": one, "contains": one, "unevaluatedItems": one,
	"minItems": note, "maxItems": note, "uniqueItems": note, "minContains": note, "maxContains": note,
	"minLength": note, "maxLength": note, "pattern": note, "format": note,
	"contentEncoding": note, "contentMediaType": note, "contentSchema": note,
	"minimum": note, "maximum": note, "exclusiveMinimum": note, "exclusiveMaximum": note, "multipleOf": note,
	"dependencies": unlikely, "additionalItems": unlikely, "$recursiveRef": unlikely, "$recursiveAnchor": unlikely, "id": unlikely,
}

// instead says what draft 2020-12 has in the place of older drafts' keywords.
var instead = map[string]string{
	"dependencies": "dependentRequired or dependentSchemas", "additionalItems": "items beside prefixItems",
	"$recursiveRef": "$dynamicRef", "$recursiveAnchor": "$dynamicAnchor", "id": "$id", "$vocabulary": "no other vocabulary",
}

// screen refuses what is not to reach the library, and keywords that would
// check nothing.
func screen(doc *strictjson.Doc) error {
	if k := doc.Values[0].Kind; k != strictjson.Object && k != strictjson.True && k != strictjson.False {
		return refused("it is %s; a schema is an object, true or false", k)
	}
	return screenSchema(doc, 0)
}

// screenSchema looks at one schema and those in it. It recurses no deeper than
// the text nests.
func screenSchema(doc *strictjson.Doc, at int32) error {
	v := &doc.Values[at]
	if v.Kind != strictjson.Object {
		return nil // true, false, or wrong, which the library says
	}
	for c := at + 1; c < v.End; c = doc.Values[c].End {
		if err := screenKeyword(doc, c, at == 0); err != nil {
			return err
		}
		var inner []int32
		switch keywords[doc.Values[c].Name] {
		case one:
			inner = append(inner, c)
		case several, named:
			for i := c + 1; i < doc.Values[c].End; i = doc.Values[i].End {
				inner = append(inner, i)
			}
		}
		for _, i := range inner {
			if err := screenSchema(doc, i); err != nil {
				return err
			}
		}
	}
	return nil
}

func screenKeyword(doc *strictjson.Doc, at int32, top bool) error {
	v := &doc.Values[at]
	kind, known := keywords[v.Name]
	switch {
	case strings.HasPrefix(v.Name, "x-"):
		return nil
	case !known:
		hint := "name it x-… if it is a note"
		names := make([]string, 0, len(keywords))
		for name, kind := range keywords {
			if kind != unlikely {
				names = append(names, name)
			}
		}
		if near, found := strictjson.Nearest(v.Name, sorted(names)); found {
			hint = "did you mean " + near + "?"
		}
		return refused("%s is no keyword of draft 2020-12 and would check nothing; %s", doc.Path(at), hint)
	case kind == unlikely:
		return refused("%s is not taken; use %s", doc.Path(at), instead[v.Name])
	case kind == topOnly && !top:
		return refused("%s: %s may stand at the top of the schema only", doc.Path(at), v.Name)
	case kind == inside && (v.Kind != strictjson.String || !strings.HasPrefix(v.Text, "#")):
		return refused("%s names something outside the schema; put it under $defs and name it as in #/$defs/name", doc.Path(at))
	case v.Name == "$schema" && strings.TrimSuffix(v.Text, "#") != Dialect:
		return refused("$schema has to be %s", Dialect)
	case v.Name == "$id" && (v.Kind != strictjson.String || strings.Contains(v.Text, "//json-schema.org/")):
		return refused("$id may not be a name of the drafts' own")
	}
	return nil
}

// plain gives a document as the library reads it.
func plain(doc *strictjson.Doc, at int32) any {
	v := &doc.Values[at]
	switch v.Kind {
	case strictjson.True, strictjson.False:
		return v.Kind == strictjson.True
	case strictjson.Number:
		return json.Number(v.Text)
	case strictjson.String:
		return v.Text
	case strictjson.List:
		list := make([]any, 0, v.Count)
		for c := at + 1; c < v.End; c = doc.Values[c].End {
			list = append(list, plain(doc, c))
		}
		return list
	case strictjson.Object:
		object := make(map[string]any, v.Count)
		for c := at + 1; c < v.End; c = doc.Values[c].End {
			object[doc.Values[c].Name] = plain(doc, c)
		}
		return object
	}
	return nil
}

// pattern is a regular expression with the size of its program.
type pattern struct {
	*regexp.Regexp
	program int
}

// patternBudget bounds all patterns of a schema.
type patternBudget struct{ used int }

type patternError string

// Error says what is wrong with a pattern.
func (e patternError) Error() string { return string(e) }

// compile implements jsonschema.RegexpEngine. The program is measured before
// it is made: repeats multiply.
func (b *patternBudget) compile(text string) (jsonschemaRegexp, error) {
	if len(text) > maxPattern {
		return nil, patternError("it is longer than 512 bytes")
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		hint := ""
		if strings.Contains(text, "(?") || strings.Contains(text, `\`) {
			hint = " (patterns are those of Go's package regexp, without look-around and references back)"
		}
		return nil, patternError(err.Error() + hint)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, patternError(err.Error())
	}
	n := len(program.Inst)
	if n > maxProgram {
		return nil, patternError("it is too large when its repeats are written out")
	}
	if b.used += n; b.used > maxPrograms {
		return nil, patternError("all patterns of the schema together are too large")
	}
	made, err := regexp.Compile(text)
	if err != nil {
		return nil, patternError(err.Error())
	}
	return &pattern{made, n}, nil
}
