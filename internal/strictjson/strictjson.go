// Package strictjson reads JSON that strangers wrote into a flat list of
// values, under bounds that hold before anything is allocated for them.
//
// It takes what RFC 8259 calls JSON and besides refuses what two readers could
// understand differently: a name that stands twice in an object, text that is
// not UTF-8, half of a surrogate pair, and numbers that few programs can hold.
package strictjson

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits bound what is read. A zero field is no bound, but for Depth.
type Limits struct {
	// Bytes is the longest text.
	Bytes int
	// Depth is how deeply objects and lists may nest; MostDepth at most and if zero.
	Depth int
	// Values is the most values, those in objects and lists counted.
	Values int
}

// MostDepth is how deeply a text may nest at most: reading recurses that deep.
const MostDepth = 512

// Bounds of numbers: their length in bytes, and the power of ten that they
// are multiplied with. A double reaches 308; a bound above it keeps arithmetic
// on exact numbers cheap.
const (
	mostDigits   = 128
	mostExponent = 400
)

// Kind is the kind of a value.
type Kind uint8

// The kinds of JSON.
const (
	Null Kind = iota
	False
	True
	Number
	String
	List
	Object
)

// String gives the kind with its article, for messages.
func (k Kind) String() string {
	return [...]string{"null", "false", "true", "a number", "a string", "a list", "an object"}[k]
}

// Value is one value. What an object or list holds follows it directly.
type Value struct {
	Kind Kind
	// Count is how many members or items it has.
	Count int32
	// End is the index after the last value in it.
	End int32
	// Name is its name, if it is a member of an object.
	Name string
	// Text is a string's text, or a number as it was written.
	Text string
}

// Doc is a text that was read. Values[0] is all of it.
type Doc struct {
	Values []Value
}

// Error says what is wrong with a text, and where.
type Error struct {
	// Offset is the byte at which it was seen.
	Offset int
	// Path leads to the value, as in $.a[0].
	Path string
	// Message is a sentence without its full stop.
	Message string
}

// Error gives message and place.
func (e *Error) Error() string {
	if e.Path == "" || e.Path == "$" {
		return fmt.Sprintf("%s (at byte %d)", e.Message, e.Offset)
	}
	return fmt.Sprintf("at %s: %s (at byte %d)", e.Path, e.Message, e.Offset)
}

// Parse reads a text. The result shares no memory with it.
//
// Errors: *Error.
func Parse(text []byte, l Limits) (*Doc, error) {
	if l.Bytes > 0 && len(text) > l.Bytes {
		return nil, &Error{Offset: l.Bytes, Message: fmt.Sprintf("the text has %d bytes; %d are allowed", len(text), l.Bytes)}
	}
	if l.Depth <= 0 || l.Depth > MostDepth {
		l.Depth = MostDepth
	}
	p := parser{text: string(text), limits: l}
	if !utf8.ValidString(p.text) {
		return nil, &Error{Offset: invalidAt(p.text), Message: "the text is not UTF-8"}
	}
	p.values = make([]Value, 0, min(len(text)/8+1, 1024))
	p.space()
	if !p.value("", 0) {
		return nil, p.err
	}
	if p.space(); p.at < len(p.text) {
		p.fail("there is more text after the value")
		return nil, p.err
	}
	return &Doc{Values: p.values}, nil
}

func invalidAt(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return 0
}

type parser struct {
	text   string
	at     int
	limits Limits
	values []Value
	open   []int32
	names  map[string]struct{}
	err    *Error
}

// fail keeps the first error and gives false.
func (p *parser) fail(format string, args ...any) bool {
	if p.err == nil {
		p.err = &Error{Offset: p.at, Message: fmt.Sprintf(format, args...), Path: p.path()}
	}
	return false
}

// path leads to the value that was begun last in the containers that are open.
func (p *parser) path() string {
	var b strings.Builder
	b.WriteByte('$')
	for n, i := range p.open {
		if n > 0 {
			p.step(&b, p.open[n-1], i)
		}
		if n == len(p.open)-1 && len(p.values)-1 > int(i) {
			// The last value in it, if one was begun.
			last := int32(len(p.values) - 1)
			for c := i + 1; c < int32(len(p.values)); c = max(p.values[c].End, c+1) {
				last = c
			}
			p.step(&b, i, last)
		}
	}
	return b.String()
}

// step writes how a container names one of its values.
func (p *parser) step(b *strings.Builder, in, child int32) {
	if p.values[in].Kind == Object {
		writeName(b, p.values[child].Name)
		return
	}
	n := 0
	for c := in + 1; c < child; c = max(p.values[c].End, c+1) {
		n++
	}
	fmt.Fprintf(b, "[%d]", n)
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) next() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *parser) unexpected() bool {
	if p.at >= len(p.text) {
		return p.fail("the text ends too early")
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return p.fail("%q is not expected here", r)
}

// value reads the value at p.at; depth is that of what holds it.
func (p *parser) value(name string, depth int) bool {
	if p.limits.Values > 0 && len(p.values) >= p.limits.Values {
		return p.fail("there are more than %d values", p.limits.Values)
	}
	i := len(p.values)
	p.values = append(p.values, Value{Name: name, End: int32(i + 1)})
	v := &p.values[i]
	switch c := p.next(); {
	case c == '{' || c == '[':
		if depth >= p.limits.Depth {
			return p.fail("the text nests more than %d levels deep", p.limits.Depth)
		}
		return p.container(int32(i), depth+1)
	case c == '"':
		s, ok := p.str()
		v.Kind, v.Text = String, s
		return ok
	case c == '-' || c >= '0' && c <= '9':
		v.Kind = Number
		ok := false
		v.Text, ok = p.number()
		return ok
	case p.word("null"):
		v.Kind = Null
	case p.word("true"):
		v.Kind = True
	case p.word("false"):
		v.Kind = False
	default:
		return p.unexpected()
	}
	return true
}

func (p *parser) word(w string) bool {
	if strings.HasPrefix(p.text[p.at:], w) {
		p.at += len(w)
		return true
	}
	return false
}

// container reads an object or a list.
func (p *parser) container(i int32, depth int) bool {
	object := p.text[p.at] == '{'
	closing := byte(']')
	p.values[i].Kind = List
	if object {
		p.values[i].Kind, closing = Object, '}'
	}
	p.open = append(p.open, i)
	p.at++
	count := int32(0)
	for p.space(); p.next() != closing; p.space() {
		if count > 0 {
			if p.next() != ',' {
				return p.unexpected()
			}
			p.at++
			p.space()
		}
		name := ""
		if object {
			var ok bool
			if name, ok = p.name(); !ok {
				return false
			}
		}
		if !p.value(name, depth) {
			return false
		}
		count++
	}
	p.at++
	v := &p.values[i]
	v.Count, v.End = count, int32(len(p.values))
	if object && !p.unique(i) {
		return false
	}
	p.open = p.open[:len(p.open)-1]
	return true
}

// name reads a member's name and the colon.
func (p *parser) name() (string, bool) {
	if p.next() != '"' {
		return "", p.unexpected()
	}
	name, ok := p.str()
	if !ok {
		return "", false
	}
	if p.space(); p.next() != ':' {
		return "", p.unexpected()
	}
	p.at++
	p.space()
	return name, true
}

// unique refuses an object in which a name stands twice.
func (p *parser) unique(i int32) bool {
	v := &p.values[i]
	if v.Count < 2 {
		return true
	}
	twice := func(name string) bool {
		p.open = p.open[:len(p.open)-1]
		p.fail("the name %q stands twice", clip(name))
		var b strings.Builder
		writeName(&b, name)
		p.err.Path += b.String()
		return false
	}
	if v.Count <= 8 {
		for a := i + 1; a < v.End; a = p.values[a].End {
			for b := p.values[a].End; b < v.End; b = p.values[b].End {
				if p.values[a].Name == p.values[b].Name {
					return twice(p.values[a].Name)
				}
			}
		}
		return true
	}
	if p.names == nil {
		p.names = make(map[string]struct{}, v.Count)
	}
	clear(p.names)
	if v.Count > 1024 {
		p.names = make(map[string]struct{}, v.Count) // clearing takes as long as the largest object was
		defer func() { p.names = nil }()
	}
	for c := i + 1; c < v.End; c = p.values[c].End {
		name := p.values[c].Name
		if _, found := p.names[name]; found {
			return twice(name)
		}
		p.names[name] = struct{}{}
	}
	return true
}

// str reads the string at p.at.
func (p *parser) str() (string, bool) {
	p.at++
	begin := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return p.text[begin : p.at-1], true
		case c == '\\':
			return p.escaped(begin)
		case c < ' ':
			return "", p.fail("a control character stands in a string")
		}
		p.at++
	}
	return "", p.unexpected()
}

// escaped reads on from the first backslash of a string.
func (p *parser) escaped(begin int) (string, bool) {
	var b strings.Builder
	b.WriteString(p.text[begin:p.at])
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return b.String(), true
		case c < ' ':
			return "", p.fail("a control character stands in a string")
		case c != '\\':
			b.WriteByte(c)
			p.at++
		default:
			p.at++
			r, ok := p.escape()
			if !ok {
				return "", false
			}
			b.WriteRune(r)
		}
	}
	return "", p.unexpected()
}

func (p *parser) escape() (rune, bool) {
	c := p.next()
	if n := strings.IndexByte(`"\/bfnrt`, c); n >= 0 && c != 0 {
		p.at++
		return rune("\"\\/\b\f\n\r\t"[n]), true
	}
	if c != 'u' {
		return 0, p.fail("a string has an escape that JSON does not know")
	}
	p.at++
	r, ok := p.hex()
	switch {
	case !ok:
		return 0, false
	case r >= 0xdc00 && r < 0xe000:
		return 0, p.fail("a string has the second half of a surrogate pair without the first")
	case r < 0xd800 || r >= 0xe000:
		return r, true
	}
	if !p.word(`\u`) {
		return 0, p.fail("a string has the first half of a surrogate pair without the second")
	}
	low, ok := p.hex()
	if ok && (low < 0xdc00 || low >= 0xe000) {
		return 0, p.fail("a string has the first half of a surrogate pair without the second")
	}
	return 0x10000 + (r-0xd800)<<10 + (low - 0xdc00), ok
}

func (p *parser) hex() (rune, bool) {
	if p.at+4 > len(p.text) {
		p.at = len(p.text)
		return 0, p.unexpected()
	}
	n, err := strconv.ParseUint(p.text[p.at:p.at+4], 16, 16)
	if err != nil || p.text[p.at] == '+' {
		return 0, p.fail("a string has an escape that JSON does not know")
	}
	p.at += 4
	return rune(n), true
}

// number reads a number by the grammar of RFC 8259 and within the bounds.
func (p *parser) number() (string, bool) {
	begin := p.at
	if p.next() == '-' {
		p.at++
	}
	if p.next() == '0' {
		p.at++
	} else if !p.digits() {
		return "", p.unexpected()
	}
	if p.next() == '.' {
		p.at++
		if !p.digits() {
			return "", p.unexpected()
		}
	}
	exponent := 0
	if c := p.next(); c == 'e' || c == 'E' {
		p.at++
		if c := p.next(); c == '+' || c == '-' {
			p.at++
		}
		from := p.at
		if !p.digits() {
			return "", p.unexpected()
		}
		var err error
		if exponent, err = strconv.Atoi(p.text[from:p.at]); err != nil {
			exponent = mostExponent + 1
		}
	}
	if p.at-begin > mostDigits || exponent > mostExponent {
		return "", p.fail("a number has more than %d characters or an exponent over %d", mostDigits, mostExponent)
	}
	return p.text[begin:p.at], true
}

func (p *parser) digits() bool {
	from := p.at
	for c := p.next(); c >= '0' && c <= '9'; c = p.next() {
		p.at++
	}
	return p.at > from
}
