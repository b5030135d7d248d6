package awsapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/carrel-dev/carrel/fault"
)

// mostDepth is how deeply a request's JSON may nest; Lambda's own shapes
// nest five deep.
const mostDepth = 32

// object is one JSON object with its members as they were sent. Unlike
// encoding/json it tells names apart by case and refuses a name that is
// there twice: two readers of such a request could see different ones.
// The first mistake that a reading method finds is kept in err.
type object struct {
	members map[string]json.RawMessage
	path    string
	err     *error
}

// parseBody reads a request's body; an empty one is an empty object.
//
// Errors: fault.Invalid, as InvalidRequestContentException if it is no JSON
// and as SerializationException if it is no object.
func parseBody(body []byte) (object, error) {
	var err error
	o := object{err: &err}
	if len(bytes.TrimSpace(body)) == 0 {
		return o, nil
	}
	if !validJSON(body) {
		return o, fault.New("awsapi.parse", fault.Invalid, "Could not parse request body into json: %s", syntaxOf(body)).
			WithCode("InvalidRequestContentException")
	}
	o.members = o.parse(body)
	return o, err
}

// syntaxOf says what is wrong with text that is no JSON.
func syntaxOf(body []byte) string {
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return err.Error()
	}
	return "no value"
}

func (o object) fail(format string, args ...any) {
	if *o.err == nil {
		*o.err = fault.New("awsapi.parse", fault.Invalid, format, args...).WithCode("SerializationException")
	}
}

// at names a member for messages, as AWS does: camel case with dots.
func (o object) at(name string) string {
	if o.path != "" {
		return o.path + "." + lowerFirst(name)
	}
	return lowerFirst(name)
}

func lowerFirst(s string) string {
	if s != "" && s[0] >= 'A' && s[0] <= 'Z' {
		return string(s[0]+'a'-'A') + s[1:]
	}
	return s
}

// parse splits a valid JSON object into its members, without copying them.
func (o object) parse(raw []byte) map[string]json.RawMessage {
	raw = bytes.TrimSpace(raw)
	if raw[0] != '{' {
		o.fail("%s can not be converted to an Object%s", kindOfJSON(raw), o.place())
		return nil
	}
	members := map[string]json.RawMessage{}
	rest := bytes.TrimLeft(raw[1:], " \t\r\n")
	for rest[0] != '}' {
		end := valueEnd(rest)
		name := unquote(rest[:end])
		rest = bytes.TrimLeft(rest[end:], " \t\r\n")[1:] // the colon
		rest = bytes.TrimLeft(rest, " \t\r\n")
		if end = valueEnd(rest); end < 0 {
			o.fail("The request nests more than %d levels deep%s", mostDepth, o.place())
			return nil
		}
		if _, twice := members[name]; twice {
			o.fail("The member %q is there more than once%s", fault.Clip(name), o.place())
			return nil
		}
		members[name] = rest[:end]
		rest = bytes.TrimLeft(rest[end:], " \t\r\n")
		if rest[0] == ',' {
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		}
	}
	return members
}

func (o object) place() string {
	if o.path == "" {
		return ""
	}
	return " at '" + o.path + "'"
}

// valueEnd gives the length of the valid JSON value that begins s; negative
// if it nests too deeply.
func valueEnd(s []byte) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			i += stringEnd(s[i:]) - 1
		case '{', '[':
			if depth++; depth > mostDepth {
				return -1
			}
			continue
		case '}', ']':
			if depth == 0 {
				return i // the container around a number or word ends here
			}
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i // the end of a number or word
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(s)
}

// stringEnd gives the length of the JSON string that begins s.
func stringEnd(s []byte) int {
	for i := 1; ; {
		n := bytes.IndexAny(s[i:], `"\`)
		if s[i+n] == '"' {
			return i + n + 1
		}
		i += n + 2
	}
}

// unquote gives the text of a valid JSON string.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 && isASCII(raw) {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "" // cannot be: the caller has checked that it is valid
	}
	return s
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func kindOfJSON(raw []byte) string {
	switch raw[0] {
	case '"':
		return "STRING_VALUE"
	case '{':
		return "START_OBJECT"
	case '[':
		return "START_ARRAY"
	case 't', 'f':
		return "BOOLEAN_VALUE"
	}
	return "NUMBER_VALUE"
}

// get gives a member; false if it is absent or null, which is the same in
// AWS's protocol.
func (o object) get(name string) (json.RawMessage, bool) {
	raw, found := o.members[name]
	return raw, found && string(raw) != "null"
}

// has tells whether the member is there and says something: an empty object
// or list says nothing (Terraform sends those for blocks that are not set).
func (o object) has(name string) bool {
	raw, found := o.get(name)
	return found && string(raw) != "{}" && string(raw) != "[]" && string(raw) != `""`
}

func (o object) want(name string, first byte, kind string) (json.RawMessage, bool) {
	raw, found := o.get(name)
	if found && raw[0] != first {
		o.fail("%s can not be converted to %s at '%s'", kindOfJSON(raw), kind, o.at(name))
		return nil, false
	}
	return raw, found
}

// text gives a string member; nil if it is absent.
func (o object) text(name string) *string {
	raw, found := o.want(name, '"', "a String")
	if !found {
		return nil
	}
	s := unquote(raw)
	return &s
}

// integer gives a whole number; nil if it is absent.
func (o object) integer(name string) *int {
	raw, found := o.get(name)
	if !found {
		return nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	if err != nil {
		o.fail("%s can not be converted to an Integer at '%s'", kindOfJSON(raw), o.at(name))
		return nil
	}
	i := int(n)
	return &i
}

// flag gives a boolean; false if it is absent.
func (o object) flag(name string) bool {
	raw, found := o.get(name)
	if !found {
		return false
	}
	if raw[0] != 't' && raw[0] != 'f' {
		o.fail("%s can not be converted to a Boolean at '%s'", kindOfJSON(raw), o.at(name))
	}
	return raw[0] == 't'
}

// blob gives base64 content; nil if it is absent.
func (o object) blob(name string) []byte {
	raw, found := o.want(name, '"', "a Blob")
	if !found {
		return nil
	}
	encoded := raw[1 : len(raw)-1]
	if bytes.IndexByte(encoded, '\\') >= 0 {
		encoded = []byte(unquote(raw))
	}
	content := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(content, encoded)
	if err != nil {
		o.fail("The value at '%s' is not valid base64", o.at(name))
		return nil
	}
	return content[:n]
}

// child gives a nested object; one without members if it is absent.
func (o object) child(name string) object {
	c := object{path: o.at(name), err: o.err}
	if raw, found := o.get(name); found {
		c.members = c.parse(raw)
	}
	return c
}

// texts gives a map of strings; nil if it is absent.
func (o object) texts(name string) map[string]string {
	if _, found := o.get(name); !found {
		return nil
	}
	c := o.child(name)
	m := make(map[string]string, len(c.members))
	for key := range c.members {
		if s := c.text(key); s != nil {
			m[key] = *s
		}
	}
	return m
}

// weights gives a map of numbers; nil if it is absent.
func (o object) weights(name string) map[string]float64 {
	if _, found := o.get(name); !found {
		return nil
	}
	c := o.child(name)
	m := make(map[string]float64, len(c.members))
	for key, raw := range c.members {
		w, err := strconv.ParseFloat(string(raw), 64)
		if err != nil {
			c.fail("%s can not be converted to a Double at '%s'", kindOfJSON(raw), c.at(key))
			return nil
		}
		m[key] = w
	}
	return m
}

// list gives a list of strings; nil if it is absent.
func (o object) list(name string) []string {
	raw, found := o.want(name, '[', "a List")
	if !found {
		return nil
	}
	var items []string
	if err := json.Unmarshal(raw, &items); err != nil {
		o.fail("The list at '%s' may hold strings only", o.at(name))
	}
	return items
}
