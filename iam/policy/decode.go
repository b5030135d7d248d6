package policy

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep a document may nest; the deepest place of a policy, a
// value in a condition's list, is at 6.
const maxDepth = 8

// nodeKind says which kind of JSON value a node is.
type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	textNode
	listNode
	objectNode
)

// node is one JSON value. It keeps what encoding/json would lose: numbers as
// they were written, and the order of members.
type node struct {
	kind nodeKind
	// text is a string's value, or a number or truth value as written.
	text    string
	items   []node
	members []member
}

type member struct {
	name  string
	value node
}

// decoder reads JSON strictly by RFC 8259, and besides refuses duplicate
// names and characters that AWS refuses.
type decoder struct {
	text []byte
	pos  int
	path []string
}

func decode(text []byte) (node, *Error) {
	d := &decoder{text: text}
	d.space()
	n, err := d.value(0)
	if err != nil {
		return node{}, err
	}
	d.space()
	if d.pos != len(d.text) {
		return node{}, d.fail("there is something after the end of the document.", "Send one JSON object and nothing else.")
	}
	return n, nil
}

// fail makes an error for the place that was reached.
func (d *decoder) fail(message, remedy string) *Error {
	before := d.text[:d.pos]
	line := 1
	column := 1
	for _, r := range string(before) {
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return &Error{Path: "$" + strings.Join(d.path, ""), Message: fmt.Sprintf("line %d, column %d: %s", line, column, message), Remedy: remedy}
}

func (d *decoder) unexpected() *Error {
	if d.pos >= len(d.text) {
		return d.fail("the document ends too early.", "Close what is open: a string, a list or an object.")
	}
	r, _ := utf8.DecodeRune(d.text[d.pos:])
	return d.fail(fmt.Sprintf("%q is not JSON here.", r), "Correct the JSON at this place.")
}

func (d *decoder) space() {
	for d.pos < len(d.text) && isSpace(d.text[d.pos]) {
		d.pos++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// next gives the byte to be read, or 0 at the end; 0 is nowhere valid.
func (d *decoder) next() byte {
	if d.pos < len(d.text) {
		return d.text[d.pos]
	}
	return 0
}

func (d *decoder) value(depth int) (node, *Error) {
	if depth > maxDepth {
		return node{}, d.fail("the document nests too deep.", fmt.Sprintf("Use at most %d levels; a policy needs no more.", maxDepth))
	}
	switch c := d.next(); {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.list(depth)
	case c == '"':
		s, err := d.str()
		return node{kind: textNode, text: s}, err
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	}
	for word, kind := range words {
		if bytes.HasPrefix(d.text[d.pos:], []byte(word)) {
			d.pos += len(word)
			return node{kind: kind, text: word}, nil
		}
	}
	return node{}, d.unexpected()
}

var words = map[string]nodeKind{"true": boolNode, "false": boolNode, "null": nullNode}

func (d *decoder) object(depth int) (node, *Error) {
	n := node{kind: objectNode}
	seen := map[string]bool{}
	d.pos++
	for d.space(); d.next() != '}'; d.space() {
		if len(n.members) > 0 {
			if d.next() != ',' {
				return node{}, d.unexpected()
			}
			d.pos++
			d.space()
		}
		if d.next() != '"' {
			return node{}, d.unexpected()
		}
		at := d.pos
		name, err := d.str()
		if err != nil {
			return node{}, err
		}
		d.path = append(d.path, step(name))
		if seen[name] {
			d.pos = at
			return node{}, d.fail(fmt.Sprintf("%q stands twice in one object.", name), "Keep one of them, or merge their values into a list.")
		}
		seen[name] = true
		d.space()
		if d.next() != ':' {
			return node{}, d.unexpected()
		}
		d.pos++
		d.space()
		v, err := d.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		d.path = d.path[:len(d.path)-1]
		n.members = append(n.members, member{name, v})
	}
	d.pos++
	return n, nil
}

func (d *decoder) list(depth int) (node, *Error) {
	n := node{kind: listNode}
	d.pos++
	for d.space(); d.next() != ']'; d.space() {
		if len(n.items) > 0 {
			if d.next() != ',' {
				return node{}, d.unexpected()
			}
			d.pos++
			d.space()
		}
		d.path = append(d.path, index(len(n.items)))
		v, err := d.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		d.path = d.path[:len(d.path)-1]
		n.items = append(n.items, v)
	}
	d.pos++
	return n, nil
}

func (d *decoder) digits() bool {
	from := d.pos
	for c := d.next(); c >= '0' && c <= '9'; c = d.next() {
		d.pos++
	}
	return d.pos > from
}

func (d *decoder) number() (node, *Error) {
	from := d.pos
	if d.next() == '-' {
		d.pos++
	}
	if d.next() == '0' {
		d.pos++
	} else if !d.digits() {
		return node{}, d.unexpected()
	}
	if d.next() == '.' {
		d.pos++
		if !d.digits() {
			return node{}, d.unexpected()
		}
	}
	if c := d.next(); c == 'e' || c == 'E' {
		d.pos++
		if c := d.next(); c == '+' || c == '-' {
			d.pos++
		}
		if !d.digits() {
			return node{}, d.unexpected()
		}
	}
	return node{kind: numberNode, text: string(d.text[from:d.pos])}, nil
}

// str reads a string. Between the quotes only those characters may stand that
// AWS takes in policies: U+0009, U+000A, U+000D and U+0020 to U+00FF, of
// which JSON forbids the first three there; others can be written as \uXXXX.
func (d *decoder) str() (string, *Error) {
	var out strings.Builder
	for d.pos++; ; {
		c := d.next()
		switch {
		case c == '"':
			d.pos++
			return out.String(), nil
		case c == '\\':
			r, err := d.escape()
			if err != nil {
				return "", err
			}
			out.WriteRune(r)
		case c < ' ':
			return "", d.unexpected()
		default:
			r, size := utf8.DecodeRune(d.text[d.pos:])
			if r == utf8.RuneError && size == 1 {
				return "", d.fail("the text is not UTF-8.", "Save the document as UTF-8.")
			}
			if r > 0xFF {
				return "", d.fail(fmt.Sprintf("the character %q cannot stand in a policy.", r), fmt.Sprintf("Write it as an escape: %s.", strings.Trim(strconv.QuoteToASCII(string(r)), `"`)))
			}
			out.WriteRune(r)
			d.pos += size
		}
	}
}

// escapes are JSON's short escapes.
var escapes = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (d *decoder) escape() (rune, *Error) {
	d.pos++
	if r, short := escapes[d.next()]; short {
		d.pos++
		return r, nil
	}
	r, err := d.hex()
	if err != nil {
		return 0, err
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if d.next() == '\\' {
		d.pos++
		second, err := d.hex()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, d.fail("half of a surrogate pair stands alone.", `Write both halves, as in \ud83d\ude00.`)
}

// hex reads uXXXX.
func (d *decoder) hex() (rune, *Error) {
	if d.next() != 'u' {
		return 0, d.unexpected()
	}
	d.pos++
	end := min(d.pos+4, len(d.text))
	n, err := strconv.ParseUint(string(d.text[d.pos:end]), 16, 16)
	if err != nil || end-d.pos < 4 {
		return 0, d.fail(`\u needs four hexadecimal digits.`, `Write it as in \u00e9.`)
	}
	d.pos = end
	return rune(n), nil
}

// step is a member in a JSON path; names that are not plain words are quoted.
func step(name string) string {
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_') {
			return "[" + strconv.Quote(name) + "]"
		}
	}
	if name == "" {
		return `[""]`
	}
	return "." + name
}

// index is an item of a list in a JSON path.
func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

func (n *node) describe() string {
	return [...]string{"null", "a truth value", "a number", "a string", "a list", "an object"}[n.kind]
}
