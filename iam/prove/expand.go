package prove

import (
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// meaning is what the variable of a condition key stands for.
type meaning struct {
	// known says that the value is text, in which ids may be marks.
	known bool
	text  words
	// never says that the key is never there.
	never bool
}

// facts are what is known of a key besides what policies say of it.
type facts struct {
	// always and never say that the key is always, or never, there.
	always, never bool
	// alone says that it is never a set, several that it always is one.
	alone, several bool
	// must are languages of which its value is, one of each.
	must [][]words
}

// world is what requests can look like: which ids are unknown, and what is
// known of condition keys. Whatever it does not know can be anything.
type world struct {
	marks []*lang
	means map[string]meaning
	known map[string]facts
	// texts are the bytes that texts are made of; nil for all.
	texts *set
	// meter counts the work for a whole question; nil if nobody does.
	meter *int
}

// tired tells whether a question took all that one may take.
func (w *world) tired() bool { return w.meter != nil && *w.meter > questionBudget }

// with gives a world in which a key has a value.
func (w *world) with(key string, value words) *world {
	out := &world{marks: w.marks, means: map[string]meaning{}, known: map[string]facts{}, texts: w.texts, meter: w.meter}
	for k, v := range w.means {
		out.means[k] = v
	}
	for k, v := range w.known {
		out.known[k] = v
	}
	f := out.known[key]
	f.always, f.alone = true, true
	f.must = append(f.must[:len(f.must):len(f.must)], []words{value})
	out.known[key] = f
	out.means[key] = meaning{known: true, text: value}
	return out
}

// use says what a language is wanted for. A must may be made larger and a not
// smaller where something is not known; the proof stays sound.
type use bool

const (
	asMust use = true
	asNot  use = false
)

// expand gives a pattern with its variables replaced; false if it matches
// nothing. runs is what wildcards stand for.
func (w *world) expand(p policy.Pattern, runs *set, u use, fold bool) (words, bool) {
	var out words
	for _, t := range p {
		switch t.Kind {
		case policy.Literal:
			out = append(out, piece{kind: textPiece, text: t.Text, fold: fold})
		case policy.Run:
			out = append(out, piece{kind: runPiece, set: runs})
		case policy.One:
			out = append(out, piece{kind: onePiece, set: runs})
		case policy.Variable:
			value, ok := w.variable(&t, runs, u, fold)
			if !ok {
				return nil, false
			}
			out = append(out, value...)
		}
	}
	return join(out), true
}

func (w *world) variable(t *policy.Token, runs *set, u use, fold bool) (words, bool) {
	m := w.means[t.Text]
	switch {
	case m.known:
		return w.folded(m.text, u, fold), true
	case m.never && t.HasDefault:
		return words{{kind: textPiece, text: t.Default, fold: fold}}, true
	case m.never || u == asNot:
		return nil, false
	}
	return words{{kind: runPiece, set: runs}}, true
}

// folded gives a value without regard to case. An id in other letters is not
// the mark any more: a must takes any text of its bytes.
func (w *world) folded(text words, u use, fold bool) words {
	if !fold {
		return text
	}
	out := make(words, len(text))
	for i, p := range text {
		if p.kind == markPiece && u == asMust {
			s := *w.marks[p.mark-firstMark].alphabet
			for b := byte('a'); b <= 'z'; b++ {
				if s.has(b) || s.has(b&^0x20) {
					s.add(b)
					s.add(b &^ 0x20)
				}
			}
			p = piece{kind: runPiece, set: &s}
		}
		p.fold = p.kind == textPiece
		out[i] = p
	}
	return out
}

// expandARN gives a resource pattern.
func (w *world) expandARN(a *policy.ARNPattern, u use) (words, bool) {
	if a.All {
		return words{{kind: runPiece, set: anyByte}}, true
	}
	return w.expandParts(&a.Parts, u)
}

// expandParts joins the six parts of an ARN; no wildcard of the first five
// spans a colon. What is compared begins with arn, whatever the pattern.
func (w *world) expandParts(parts *[6]policy.Pattern, u use) (words, bool) {
	var out words
	if !isARN(parts[0], u) {
		return nil, false
	}
	out = append(out, piece{kind: textPiece, text: "arn"})
	for i := 1; i < len(parts); i++ {
		runs := notColon
		if i == 5 {
			runs = anyByte
		}
		part, ok := w.expand(parts[i], runs, u, false)
		if !ok {
			return nil, false
		}
		out = append(out, piece{kind: textPiece, text: ":"})
		out = append(out, part...)
	}
	return join(out), true
}

// isARN tells whether the first part of a pattern matches arn: for a must if
// it may, for a not if it does for sure.
func isARN(p policy.Pattern, u use) bool {
	if len(p) == 1 && p[0].Kind == policy.Literal {
		return p[0].Text == "arn"
	}
	return len(p) > 0 && (u == asMust || len(p) == 1 && p[0].Kind == policy.Run)
}

// join puts neighbouring texts together.
func join(w words) words {
	out := w[:0:0]
	for _, p := range w {
		if p.kind == textPiece && p.text == "" {
			continue
		}
		if n := len(out); n > 0 && p.kind == textPiece && out[n-1].kind == textPiece && p.fold == out[n-1].fold {
			out[n-1].text += p.text
			continue
		}
		out = append(out, p)
	}
	return out
}

// prefix is the text that every word begins with.
func (w words) prefix() string {
	if len(w) == 0 || w[0].kind != textPiece || w[0].fold {
		return ""
	}
	return w[0].text
}

// apart tells at once that two languages have no word in common.
func apart(a, b words) bool {
	x, y := a.prefix(), b.prefix()
	return !strings.HasPrefix(x, y) && !strings.HasPrefix(y, x)
}

// concrete gives a word in which ids replaced marks.
func concrete(word []symbol, ids []string) string {
	var out strings.Builder
	for _, s := range word {
		if s >= firstMark {
			out.WriteString(ids[s-firstMark])
		} else {
			out.WriteByte(byte(s))
		}
	}
	return out.String()
}

// symbols is a text as symbols.
func symbols(text string) []symbol {
	out := make([]symbol, len(text))
	for i := range len(text) {
		out[i] = symbol(text[i])
	}
	return out
}

// compose gives the automaton of a question about one text. Marks of several
// musts may only be read together where they cannot overlap in part: where
// each fills the text between two bytes that no id has. Of musts for which
// that is not so only the first keeps its marks; the others take any text
// there, which is more than they should.
//
// If one must alone has marks then a text can be taken to have them exactly
// where the variables of that must were read: it has no need to read a mark as
// the text that it is.
func (w *world) compose(musts [][]words, nots []words) *automaton {
	a := &automaton{marks: w.marks, meter: w.meter}
	loose, marked := false, 0
	if w.texts != nil {
		a.must([]words{{{kind: runPiece, set: w.texts}}})
	}
	for _, alternatives := range musts {
		if len(w.marks) > 0 && w.unbounded(alternatives) {
			if loose {
				alternatives = w.blurred(alternatives)
			}
			loose = true
		}
		a.must(alternatives)
		if slices.ContainsFunc(alternatives, words.marked) {
			marked++
			a.strict = int16(a.musts)
		}
	}
	if marked != 1 {
		a.strict = 0
	}
	a.not(nots)
	return a
}

// marked tells whether a mark stands among the pieces.
func (w words) marked() bool {
	return slices.ContainsFunc(w, func(p piece) bool { return p.kind == markPiece })
}

// unbounded tells whether a mark may stand for less than a whole segment.
// With several marks all are: one may be a part of another.
func (w *world) unbounded(alternatives []words) bool {
	for _, alt := range alternatives {
		for i, p := range alt {
			if p.kind != markPiece {
				continue
			}
			ids := w.marks[p.mark-firstMark].alphabet
			left := i == 0 || alt[i-1].kind == textPiece && !ids.has(alt[i-1].text[len(alt[i-1].text)-1])
			right := i == len(alt)-1 || alt[i+1].kind == textPiece && !ids.has(alt[i+1].text[0])
			if len(w.marks) > 1 || !left || !right {
				return true
			}
		}
	}
	return false
}

func (w *world) blurred(alternatives []words) []words {
	out := make([]words, len(alternatives))
	for i, alt := range alternatives {
		out[i] = make(words, len(alt))
		for j, p := range alt {
			if p.kind == markPiece {
				p = piece{kind: runPiece, set: w.marks[p.mark-firstMark].alphabet}
			}
			out[i][j] = p
		}
	}
	return out
}
