package prove

import (
	"math/bits"
	"strings"
)

// Grammar is the language of the ids of tenants: First, then Middle, then
// Last, Min to Max bytes in all. An id of one byte is of First alone.
type Grammar struct {
	First, Middle, Last string
	Min, Max            int
}

const (
	lowerLetters = "abcdefghijklmnopqrstuvwxyz"
	upperLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits       = "0123456789"
)

// The grammars of package tenant: ^[a-z][a-z0-9-]{1,30}[a-z0-9]$ for slugs and
// ^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$ for end tenants. Ids of either may be
// prefixes of one another, and hold no delimiter and no wildcard.
var (
	Slugs      = Grammar{First: lowerLetters, Middle: lowerLetters + digits + "-", Last: lowerLetters + digits, Min: 3, Max: 32}
	EndTenants = Grammar{
		First:  upperLetters + lowerLetters + digits,
		Middle: upperLetters + lowerLetters + digits + "_-", Last: upperLetters + lowerLetters + digits + "_-", Min: 1, Max: 64,
	}
)

// Contains tells whether a text is an id.
func (g Grammar) Contains(id string) bool {
	if len(id) < g.Min || len(id) > g.Max || len(id) == 0 || !strings.Contains(g.First, id[:1]) {
		return false
	}
	for i := 1; i < len(id)-1; i++ {
		if strings.IndexByte(g.Middle, id[i]) < 0 {
			return false
		}
	}
	return len(id) == 1 || strings.IndexByte(g.Last, id[len(id)-1]) >= 0
}

// set is a set of bytes.
type set [4]uint64

func (s *set) has(b byte) bool { return s[b>>6]&(1<<(b&63)) != 0 }
func (s *set) add(b byte)      { s[b>>6] |= 1 << (b & 63) }

// only gives the byte of a set that has one alone.
func (s *set) only() (b byte, one bool) {
	for i, w := range s {
		if w == 0 {
			continue
		}
		if one || w&(w-1) != 0 {
			return 0, false
		}
		b, one = byte(64*i+bits.TrailingZeros64(w)), true
	}
	return b, one
}

func (s *set) holds(other *set) bool {
	for i := range s {
		if other[i]&^s[i] != 0 {
			return false
		}
	}
	return true
}

func setOf(text string) *set {
	s := &set{}
	for i := range len(text) {
		s.add(text[i])
	}
	return s
}

func without(text string) *set {
	s := &set{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	for i := range len(text) {
		s[text[i]>>6] &^= 1 << (text[i] & 63)
	}
	return s
}

var (
	anyByte    = without("")
	notColon   = without(":")
	notSlash   = without("/")
	ascii      = &set{^uint64(0), ^uint64(0)}
	singletons = func() (all [256]*set) {
		for b := range all {
			all[b] = &set{}
			all[b].add(byte(b))
		}
		return all
	}()
)

// lang is a language of ids as an automaton of its own. What a symbol that
// stands for an id can do to a pattern is found by walking both.
type lang struct {
	states []langState
	// except are words taken out of the language.
	except []string
	// alphabet are all bytes of its words, min the length of the shortest.
	alphabet *set
	min      int
}

type langState struct {
	edges  []langEdge
	accept bool
}

type langEdge struct {
	on *set
	to int
}

// maxCounted is the longest id whose length is counted; for longer ones the
// language has no end, which only makes it larger.
const maxCounted = 8

// lang gives the automaton of a grammar without some words.
func (g Grammar) lang(except ...string) *lang {
	first, middle, last := setOf(g.First), setOf(g.Middle), setOf(g.Last)
	l := &lang{except: except, min: max(g.Min, 1), alphabet: setOf(g.First + g.Middle + g.Last)}
	// State i has read i bytes, the last of which can be followed by more; the
	// last state of all has read a whole id.
	n := max(g.Min, 2)
	if g.Max <= maxCounted {
		n = g.Max
	}
	end := n + 1
	l.states = make([]langState, n+2)
	l.states[0].edges = []langEdge{{first, 1}}
	l.states[1].accept = g.Min <= 1
	l.states[end].accept = true
	for i := 1; i <= n; i++ {
		s := &l.states[i]
		if i < n {
			s.edges = append(s.edges, langEdge{middle, i + 1})
		} else if g.Max > maxCounted {
			s.edges = append(s.edges, langEdge{middle, i})
		}
		if i+1 >= g.Min && (i < n || g.Max > maxCounted) {
			s.edges = append(s.edges, langEdge{last, end})
		}
	}
	return l
}

// anything is the language of all texts, which values of other keys are of.
var anything = &lang{states: []langState{{edges: []langEdge{{anyByte, 0}}, accept: true}}, alphabet: anyByte}

// anyASCII is the same without bytes above ASCII.
var anyASCII = &lang{states: []langState{{edges: []langEdge{{ascii, 0}}, accept: true}}, alphabet: ascii}

// through gives the states of l that words of another language lead to, read
// as part of a longer word.
func (l *lang) through(other *lang, from int) []int {
	type pair struct{ outer, inner, trie int }
	t := trieOf(other.except)
	seen := map[pair]bool{}
	found := map[int]bool{}
	queue := []pair{{from, 0, 0}}
	var out []int
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if seen[p] {
			continue
		}
		seen[p] = true
		if other.states[p.inner].accept && !t.ends(p.trie) && !found[p.outer] {
			found[p.outer] = true
			out = append(out, p.outer)
		}
		for _, e := range other.states[p.inner].edges {
			for _, f := range l.states[p.outer].edges {
				for _, next := range t.steps(p.trie, e.on, f.on) {
					queue = append(queue, pair{f.to, e.to, next})
				}
			}
		}
	}
	return out
}

// trie holds a few words; state 0 is the start and -1 is off all of them.
type trie struct{ nodes []trieNode }

type trieNode struct {
	next map[byte]int
	end  bool
}

func trieOf(words []string) *trie {
	t := &trie{nodes: []trieNode{{}}}
	for _, w := range words {
		at := 0
		for i := range len(w) {
			if t.nodes[at].next == nil {
				t.nodes[at].next = map[byte]int{}
			}
			next, found := t.nodes[at].next[w[i]]
			if !found {
				next = len(t.nodes)
				t.nodes = append(t.nodes, trieNode{})
				t.nodes[at].next[w[i]] = next
			}
			at = next
		}
		t.nodes[at].end = true
	}
	return t
}

func (t *trie) ends(at int) bool { return at >= 0 && t.nodes[at].end }

// steps gives the states that follow on any byte of all the sets.
func (t *trie) steps(at int, sets ...*set) []int {
	both := *anyByte
	for _, s := range sets {
		for i := range both {
			both[i] &= s[i]
		}
	}
	var out []int
	if at >= 0 {
		for b, next := range t.nodes[at].next {
			if both.has(b) {
				out = append(out, next)
				both[b>>6] &^= 1 << (b & 63)
			}
		}
	}
	if both != (set{}) {
		out = append(out, -1)
	}
	return out
}
