package schema

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/internal/strictjson"
)

// neverWord is the keyword under which a schema stands that nothing fits.
func neverWord(at string) string {
	switch word := at[strings.LastIndexByte(at, '/')+1:]; word {
	case "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "items", "contains", "propertyNames", "not":
		return word
	}
	return "false"
}

// mismatch puts a failure into words.
func (c *check) mismatch(f *failure) *Mismatch {
	m := &Mismatch{Path: c.doc.Path(f.at), Keyword: f.keyword, At: f.rule.at, Expected: c.expected(f)}
	if f.near != nil {
		near := c.mismatch(f.near)
		m.Expected += "; the nearest, at " + near.Path + ", expects " + near.Expected
		if f.keyword == "propertyNames" {
			m.Expected = "its name to be " + near.Expected
		}
	}
	return m
}

func (c *check) expected(f *failure) string {
	r := f.rule
	switch f.keyword {
	case "type":
		kind := c.doc.Values[f.at].Kind.String()
		if r.integer && r.kinds&(1<<c.doc.Values[f.at].Kind) != 0 {
			kind = "a number with a fraction"
		}
		return r.types + ", found " + kind
	case "enum":
		return "one of the " + strconv.Itoa(len(r.only)) + " values listed"
	case "const":
		return "the one value that is allowed"
	case "required":
		return "a member " + strconv.Quote(clip(c.missing(f)))
	case "dependentRequired":
		return "a member " + strconv.Quote(clip(f.detail)) + " beside those that are there"
	case "additionalProperties", "unevaluatedProperties":
		return "no member of this name"
	case "items", "unevaluatedItems":
		return "no item here"
	case "false":
		return "nothing here"
	case "uniqueItems":
		return "no item that equals an earlier one"
	case "contains":
		return "an item that " + r.at + "/contains allows"
	case "pattern":
		return "text that matches " + strconv.Quote(clip(r.text.pattern.String()))
	case "propertyNames":
		return "another name"
	case "not":
		return "what " + r.at + "/not does not allow"
	case "anyOf":
		return "what one of " + strconv.Itoa(len(r.here.any)) + " alternatives allows"
	case "oneOf":
		if f.index > 1 {
			return "what one alternative alone allows; more of them do"
		}
		return "what one of " + strconv.Itoa(len(r.here.one)) + " alternatives allows"
	}
	return c.count(f)
}

// count says what keywords want that have a number.
func (c *check) count(f *failure) string {
	r := f.rule
	for word, n := range map[string]struct {
		says  string
		bound *int
		unit  string
	}{
		"minProperties": {"at least ", r.object.least, " members"}, "maxProperties": {"at most ", r.object.most, " members"},
		"minItems": {"at least ", r.list.least, " items"}, "maxItems": {"at most ", r.list.most, " items"},
		"minContains": {"at least ", r.list.leastOf, " items that contains allows"}, "maxContains": {"at most ", r.list.mostOf, " items that contains allows"},
		"minLength": {"at least ", r.text.least, " characters"}, "maxLength": {"at most ", r.text.most, " characters"},
	} {
		if word == f.keyword && n.bound != nil {
			return n.says + strconv.Itoa(*n.bound) + n.unit
		}
	}
	return r.numbers[f.index].words
}

// missing gives the first required name that an object does not have.
func (c *check) missing(f *failure) string {
	has := map[string]bool{}
	v := c.doc.Values[f.at]
	if v.Kind == strictjson.Object {
		for m := f.at + 1; m < v.End; m = c.doc.Values[m].End {
			has[c.doc.Values[m].Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.rule.object.required)) {
		if !has[name] {
			return name
		}
	}
	return ""
}
