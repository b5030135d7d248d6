package queryapi

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/carrel-dev/carrel/fault"
)

// Inputs of operations are structs whose fields are named as the parameters
// are. A field's tag says what AWS's model of the service demands of it:
//
//	q:"required"  the parameter has to be there
//	q:"parameter" the same, where IAM answers MissingParameter
//	name:"arn"    the parameter's name where it is not the field's
//	len:"1-64"    the least and the most characters; elements, of a list
//	range:"1-9"   the least and the most of a number
//	form:"name"   the pattern, by its name in forms
//	enum:"a,b"    the values that there are
//
// A list's form and enum hold for its elements, and elem:"1-64" for their
// length. Fields are string, int, bool and pointers to them, which tell what
// is absent from what is empty; structs; and slices of structs and strings.

// forms are the patterns of the models, by a name each.
var forms = map[string]*regexp.Regexp{
	"name":         regexp.MustCompile(`^[\w+=,.@-]+$`),
	"optionalName": regexp.MustCompile(`^[\w+=,.@-]*$`),
	"path":         regexp.MustCompile(`^(?:/|/[\x21-\x7E]+/)$`),
	"pathPrefix":   regexp.MustCompile(`^/[\x21-\x7F]{0,511}$`),
	"policyPath":   regexp.MustCompile(`^((/[A-Za-z0-9.,+@=_-]+)*)/$`),
	"tagKey":       regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]+$`),
	"tagValue":     regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`),
	"document":     regexp.MustCompile(`^[\t\n\r\x20-\x{FF}]+$`),
	"description":  regexp.MustCompile(`^[\t\n\r\x20-\x7E\x{A1}-\x{FF}]*$`),
	"marker":       regexp.MustCompile(`^[\x20-\x{FF}]+$`),
	"word":         regexp.MustCompile(`^\w+$`),
	"version":      regexp.MustCompile(`^v[1-9][0-9]*(\.[A-Za-z0-9-]*)?$`),
	"sessionName":  regexp.MustCompile(`^[\w+=,.@-]*$`),
	"externalId":   regexp.MustCompile(`^[\w+=,.@:/-]*$`),
}

// shown are the patterns as messages show them, where AWS spells them
// otherwise than Go.
var shown = map[string]string{
	"path": `(\u002F)|(\u002F[\u0021-\u007E]+\u002F)`, "pathPrefix": `\u002F[\u0021-\u007F]*`,
	"document": `[\u0009\u000A\u000D\u0020-\u00FF]+`, "description": `[\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*`,
	"marker": `[\u0020-\u00FF]+`,
}

// spelled are the patterns that IAM has a sentence of its own for.
var spelled = map[string]string{
	"name":         "It must contain only alphanumeric characters and/or the following: +=,.@_-",
	"optionalName": "It must contain only alphanumeric characters and/or the following: +=,.@_-",
	"path":         "It must begin and end with / and contain only alphanumeric characters and/or / characters.",
	"policyPath":   "It must begin and end with / and contain only alphanumeric characters and/or / characters.",
	"pathPrefix":   "It must begin with the / character and contain only alphanumeric characters and/or / characters.",
	"document":     "It must contain only printable ASCII characters.",
	"word":         "It must contain only alphanumeric characters.",
}

// violations collects what is wrong with a request, so that one answer names
// everything, in AWS's words.
type violations struct {
	list []string
	// sentence is what IAM says of a pattern, alone.
	sentence string
	// showsValues says that messages repeat the values, as STS's do.
	showsValues bool
}

const mostViolations = 20

func (v *violations) add(value, field, constraint string) {
	if !v.showsValues && !strings.HasPrefix(constraint, "Member must satisfy enum value set") {
		value = ""
	}
	if value != "" {
		value += " "
	}
	if len(v.list) < mostViolations {
		v.list = append(v.list, "Value "+value+"at '"+field+"' failed to satisfy constraint: "+constraint)
	}
}

// mismatch adds a value that has not the form of the name.
func (v *violations) mismatch(value, form, field string) {
	if sentence := spelled[form]; sentence != "" && !v.showsValues {
		v.sentence = "The specified value for " + field + " is invalid. " + sentence
		return
	}
	v.add(value, field, patternText(form))
}

func (v *violations) err() error {
	switch {
	case len(v.list) == 0 && v.sentence != "":
		return fault.New("queryapi.validate", fault.Invalid, "%s", v.sentence).WithCode("ValidationError")
	case len(v.list) == 0:
		return nil
	}
	plural := ""
	if len(v.list) > 1 {
		plural = "s"
	}
	return fault.New("queryapi.validate", fault.Invalid, "%d validation error%s detected: %s", len(v.list), plural, strings.Join(v.list, "; ")).
		WithCode("ValidationError")
}

// decode fills the struct that into points at from a form and checks it. A
// parameter that the operation does not have is refused: what is not
// understood might have narrowed what is asked for.
func decode(op *operation, form *node, into any) error {
	d := &decoder{violations: violations{showsValues: op.showsValues}}
	d.fields(form, reflect.ValueOf(into).Elem(), "")
	if d.broken != nil {
		return d.broken
	}
	if name, left := form.leftover(); left {
		return fault.New("queryapi.decode", fault.Unsupported, "The parameter %s of %s is not available in Carrel.", quoted(name), op.name).
			WithCode("ValidationError").WithRemedy("Leave it out of the request.")
	}
	if err := d.violations.err(); err != nil {
		return err
	}
	if c, ok := into.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

type decoder struct {
	violations
	broken error // of the form itself
}

// fields fills a struct; embedded ones lie flat in it.
func (d *decoder) fields(n *node, v reflect.Value, path string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			d.fields(n, v.Field(i), path)
			continue
		}
		at := path + strings.ToLower(f.Name[:1]) + f.Name[1:]
		name := f.Name
		if other := f.Tag.Get("name"); other != "" {
			name = other
		}
		child := n.children[name]
		if child == nil {
			d.absent(at, f)
			if d.broken != nil {
				return
			}
			continue
		}
		d.value(child, v.Field(i), field{at, f.Tag})
		if d.broken != nil {
			return
		}
	}
}

func (d *decoder) absent(path string, f reflect.StructField) {
	switch f.Tag.Get("q") {
	case "required":
		d.add("null", path, "Member must not be null")
	case "parameter":
		d.broken = fault.New("queryapi.decode", fault.Invalid, "The request must contain the parameter %s.", f.Name).WithCode("MissingParameter")
	}
}

// field is where a value goes: its path in messages, and its tag.
type field struct {
	path string
	tag  reflect.StructTag
}

func (d *decoder) value(n *node, v reflect.Value, f field) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), f)
	case reflect.Struct:
		if n.value != nil {
			d.broken = malformed("The parameter %s is malformed.", f.path)
			return
		}
		d.fields(n, v, f.path+".")
	case reflect.Slice:
		d.elements(n, v, f)
	default:
		if n.value == nil {
			d.broken = malformed("The parameter %s is malformed.", f.path)
			return
		}
		text := *n.value
		n.value = nil
		d.scalar(text, v, f)
	}
}

func (d *decoder) elements(n *node, v reflect.Value, f field) {
	items, err := n.items(f.path)
	if err != nil {
		d.broken = err
		return
	}
	if least, most, has := bounds(f.tag.Get("len")); has && (len(items) < least || len(items) > most) {
		d.add(fmt.Sprintf("of %d elements", len(items)), f.path, lengthText(least, most, len(items)))
		for _, item := range items {
			item.value, item.children = nil, nil
		}
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	tag := reflect.StructTag(fmt.Sprintf(`len:%q form:%q enum:%q`, f.tag.Get("elem"), f.tag.Get("form"), f.tag.Get("enum")))
	if v.Type().Elem().Kind() == reflect.String {
		d.texts(items, v, field{f.path, tag})
		return
	}
	for i, item := range items {
		d.value(item, v.Index(i), field{fmt.Sprintf("%s.%d.member", f.path, i+1), tag})
		if d.broken != nil {
			return
		}
	}
}

// texts fills a list of texts. What is wrong with one is said of the list,
// with everything that is demanded of its elements.
func (d *decoder) texts(items []*node, v reflect.Value, f field) {
	elements := &decoder{violations: violations{showsValues: true}}
	for i, item := range items {
		elements.value(item, v.Index(i), f)
	}
	if d.broken = elements.broken; d.broken != nil || len(elements.violations.list) == 0 {
		return
	}
	var demands []string
	if least, most, has := bounds(f.tag.Get("len")); has {
		demands = append(demands, lengthText(least, most, most+1), lengthText(least, most, least-1))
	}
	if name := f.tag.Get("form"); name != "" {
		demands = append(demands, patternText(name))
	}
	if words := f.tag.Get("enum"); words != "" {
		demands = append(demands, enumText(words))
	}
	demands = append(demands, "Member must not be null")
	d.add("of the list", f.path, "Member must satisfy constraint: ["+strings.Join(demands, ", ")+"]")
}

func patternText(form string) string {
	text, special := shown[form]
	if !special {
		text = strings.TrimSuffix(strings.TrimPrefix(forms[form].String(), "^"), "$")
	}
	return "Member must satisfy regular expression pattern: " + text
}

func enumText(words string) string {
	return "Member must satisfy enum value set: [" + strings.ReplaceAll(words, ",", ", ") + "]"
}

func (d *decoder) scalar(text string, v reflect.Value, f field) {
	switch v.Kind() {
	case reflect.String:
		d.check(text, f)
		v.SetString(text)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			d.broken = malformed("%s is not a whole number at '%s'.", quoted(text), f.path)
			return
		}
		if least, most, has := bounds(f.tag.Get("range")); has {
			switch {
			case int(n) < least:
				d.add(quoted(text), f.path, fmt.Sprintf("Member must have value greater than or equal to %d", least))
			case int(n) > most:
				d.add(quoted(text), f.path, fmt.Sprintf("Member must have value less than or equal to %d", most))
			}
		}
		v.SetInt(n)
	case reflect.Bool:
		if text != "true" && text != "false" {
			d.broken = malformed("%s is neither true nor false at '%s'.", quoted(text), f.path)
			return
		}
		v.SetBool(text == "true")
	default:
		panic("queryapi: an input has a field of kind " + v.Kind().String())
	}
}

// check holds a text to its field's tag.
func (d *decoder) check(text string, f field) {
	shownValue := quoted(strings.ToValidUTF8(text, "?"))
	if !utf8.ValidString(text) {
		d.add(shownValue, f.path, "Member must be valid UTF-8")
		return
	}
	if least, most, has := bounds(f.tag.Get("len")); has {
		if n := utf8.RuneCountInString(text); n < least || n > most {
			d.add(shownValue, f.path, lengthText(least, most, n))
			return
		}
	}
	if name := f.tag.Get("form"); name != "" && !forms[name].MatchString(text) {
		d.mismatch(shownValue, name, f.path)
	}
	if words := f.tag.Get("enum"); words != "" {
		for word := range strings.SplitSeq(words, ",") {
			if word == text {
				return
			}
		}
		d.add(shownValue, f.path, enumText(words))
	}
}

func lengthText(least, most, n int) string {
	if n < least {
		return fmt.Sprintf("Member must have length greater than or equal to %d", least)
	}
	return fmt.Sprintf("Member must have length less than or equal to %d", most)
}

// bounds reads least-most.
func bounds(tag string) (least, most int, has bool) {
	if tag == "" {
		return 0, 0, false
	}
	a, b, _ := strings.Cut(tag, "-")
	least, err := strconv.Atoi(a)
	if err == nil {
		most, err = strconv.Atoi(b)
	}
	if err != nil {
		panic("queryapi: an input has the bounds " + tag)
	}
	return least, most, true
}
