package policy

import (
	"strings"
	"unicode/utf8"
)

// The limits of one pattern, which bound what matching it can take: with them
// each place in a text is compared with at most 41 pieces. They are ours; AWS
// bounds only whole documents.
const (
	maxOnes      = 32
	maxVariables = 8
)

// glob is a pattern made ready for matching. It is cut at its runs: between
// two runs stands a segment of pieces that are matched one after the other.
// The first segment has to be at the text's start and the last at its end;
// those between are looked for from left to right, and taking the leftmost
// place of each is enough, so that there is no going back.
type glob struct {
	segments  [][]piece
	variables []variable
	// fold is for the operators that ignore case.
	fold bool
}

// piece is text to be equal to, one character, or a variable's value.
type piece struct {
	kind TokenKind
	text string
	// variable is the place in the glob's variables.
	variable int
}

// variable is a key to be looked up, with its default.
type variable struct {
	key        string
	hash       uint32
	hasDefault bool
	otherwise  string
}

// bindings are the values of a glob's variables in one request.
type bindings [maxVariables]string

func newGlob(p Pattern, fold bool) glob {
	g := glob{segments: [][]piece{nil}, fold: fold}
	for _, t := range p {
		last := len(g.segments) - 1
		switch t.Kind {
		case Run:
			if last == 0 || len(g.segments[last]) > 0 {
				g.segments = append(g.segments, nil)
			}
		case Variable:
			g.segments[last] = append(g.segments[last], piece{kind: Variable, variable: len(g.variables)})
			g.variables = append(g.variables, variable{t.Text, hash(t.Text), t.HasDefault, t.Default})
		default:
			g.segments[last] = append(g.segments[last], piece{kind: t.Kind, text: t.Text})
		}
	}
	return g
}

// value gives what a variable stands for in a request. A set of values stands
// for nothing.
func (v *variable) value(c *Context) (string, bool) {
	if e := c.find(v.key, v.hash); e != nil && !e.several {
		return c.values[e.from], true
	}
	return v.otherwise, v.hasDefault
}

// match tells whether the whole text matches. A variable without a value
// makes the pattern match nothing.
func (g *glob) match(text string, c *Context) bool {
	var values bindings
	for i := range g.variables {
		value, found := g.variables[i].value(c)
		if !found {
			return false
		}
		values[i] = value
	}
	rest, ok := g.prefix(g.segments[0], text, &values)
	last := len(g.segments) - 1
	if !ok || last == 0 {
		return ok && rest == ""
	}
	for _, segment := range g.segments[1:last] {
		if rest, ok = g.find(segment, rest, &values); !ok {
			return false
		}
	}
	return g.suffix(g.segments[last], rest, &values)
}

// prefix matches pieces at the start of a text and gives the rest.
func (g *glob) prefix(pieces []piece, text string, values *bindings) (string, bool) {
	for i := range pieces {
		p := &pieces[i]
		want := p.text
		switch p.kind {
		case One:
			if text == "" {
				return "", false
			}
			_, size := utf8.DecodeRuneInString(text)
			text = text[size:]
			continue
		case Variable:
			want = values[p.variable]
		}
		if len(text) < len(want) || !g.same(text[:len(want)], want) {
			return "", false
		}
		text = text[len(want):]
	}
	return text, true
}

func (g *glob) same(a, b string) bool { return a == b || g.fold && equalFold(a, b) }

// index gives the place of a text in another, or -1.
func (g *glob) index(text, want string) int {
	if !g.fold {
		return strings.Index(text, want)
	}
	for i := 0; i+len(want) <= len(text); i++ {
		if equalFold(text[i:i+len(want)], want) {
			return i
		}
	}
	return -1
}

// find gives what follows the leftmost place of pieces in a text.
func (g *glob) find(pieces []piece, text string, values *bindings) (string, bool) {
	first := pieces[0].text
	if pieces[0].kind == Variable {
		first = values[pieces[0].variable]
	}
	for {
		i := g.index(text, first)
		if i < 0 {
			return "", false
		}
		text = text[i:]
		if rest, ok := g.prefix(pieces, text, values); ok {
			return rest, true
		}
		if text == "" {
			return "", false
		}
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
	}
}

// suffix matches pieces at the end of a text.
func (g *glob) suffix(pieces []piece, text string, values *bindings) bool {
	for i := len(pieces) - 1; i >= 0; i-- {
		p := &pieces[i]
		want := p.text
		switch p.kind {
		case One:
			if text == "" {
				return false
			}
			_, size := utf8.DecodeLastRuneInString(text)
			text = text[:len(text)-size]
			continue
		case Variable:
			want = values[p.variable]
		}
		start := len(text) - len(want)
		if start < 0 || !g.same(text[start:], want) {
			return false
		}
		text = text[:start]
	}
	return true
}

// arnGlob is an ARN pattern made ready for matching.
type arnGlob struct {
	all   bool
	parts [6]glob
}

func newARNGlob(parts *[6]Pattern) arnGlob {
	var a arnGlob
	for i, p := range parts {
		a.parts[i] = newGlob(p, false)
	}
	return a
}

// arnParts cuts an ARN at its first five colons.
func arnParts(text string) (parts [6]string, ok bool) {
	for i := range 5 {
		if parts[i], text, ok = strings.Cut(text, ":"); !ok {
			return parts, false
		}
	}
	parts[5] = text
	return parts, parts[0] == "arn"
}

func (a *arnGlob) match(parts *[6]string, c *Context) bool {
	for i := range a.parts {
		if !a.parts[i].match(parts[i], c) {
			return false
		}
	}
	return true
}
