package prove

import (
	"slices"
)

// symbol is a byte, or firstMark and up: the whole of an id that is not known.
type symbol uint16

const firstMark symbol = 256

// pieceKind says what a piece of a pattern is.
type pieceKind uint8

const (
	textPiece pieceKind = iota // text itself
	onePiece                   // one character of set
	runPiece                   // any characters of set, or none
	markPiece                  // the id that mark stands for
	slotPiece                  // any word of ids but not
	edgePiece                  // this or any later end is accepted: makes prefixes words
)

// piece is a part of a pattern in which no variable is left.
type piece struct {
	kind pieceKind
	text string
	fold bool // text without regard to case
	set  *set
	mark symbol
	ids  *lang
	not  []symbol
}

// words is a language of texts: a sequence of pieces. An expression of several
// sequences means any of them.
type words []piece

// node is a state of an automaton.
type node struct {
	on    *set  // bytes that lead to `to`, or back if loop
	to    int32 // also where mark leads
	skip  int32 // where nothing leads; -1 if nowhere
	mark  symbol
	layer int16 // the must it is of, or notLayer
	loop  bool
	// accept ends a word; sink accepts whatever follows.
	accept, sink bool
	// slot is not nil in a slot, where there are more edges.
	slot *slotNode
	// first is the set as a choice of byte classes, filled in by classes.
	first classes
}

type slotNode struct {
	edges []byteEdge
	marks []markEdge
	// start says that nothing of the slot was read yet.
	start bool
}

type byteEdge struct {
	on *set
	to int32
}

type markEdge struct {
	mark symbol
	to   int32
}

const notLayer int16 = -1

// automaton looks for words that are in every must and in none of the nots.
type automaton struct {
	nodes  []node
	starts []int32
	musts  int
	// strict is the number of the must, from 1, that reads marks only where its
	// variables stand; 0 for none.
	strict int16
	// meter counts work, if it is not nil.
	meter *int
	// marks are the languages of the symbols from firstMark up.
	marks []*lang
	// jumps remembers where an id can lead, by node and mark.
	jumps map[[2]int32][]int32
}

// must adds a language that the word has to be of: any of the alternatives.
func (a *automaton) must(alternatives []words) {
	layer := int16(a.musts)
	a.musts++
	for _, w := range alternatives {
		a.add(w, layer)
	}
}

// not adds languages that the word may not be of.
func (a *automaton) not(alternatives []words) {
	for _, w := range alternatives {
		a.add(w, notLayer)
	}
}

func (a *automaton) push(n node) int32 {
	a.nodes = append(a.nodes, n)
	return int32(len(a.nodes) - 1)
}

// add lays a sequence out: each piece leads to the node that comes next.
func (a *automaton) add(w words, layer int16) {
	a.starts = append(a.starts, int32(len(a.nodes)))
	prefixes := false
	for _, p := range w {
		next := int32(len(a.nodes)) + 1
		switch p.kind {
		case textPiece:
			for i := range len(p.text) {
				a.push(node{on: byteSet(p.text[i], p.fold), to: int32(len(a.nodes)) + 1, skip: -1, layer: layer, accept: prefixes})
			}
		case onePiece:
			a.one(p.set, layer, prefixes)
		case runPiece:
			a.push(node{on: p.set, loop: true, skip: next, to: -1, layer: layer, accept: prefixes})
		case markPiece:
			a.push(node{to: next, skip: -1, mark: p.mark, layer: layer, accept: prefixes})
		case slotPiece:
			a.slot(p, layer, prefixes)
		case edgePiece:
			prefixes = true
		}
	}
	end := a.push(node{skip: -1, to: -1, layer: layer, accept: true})
	if n := len(w); n > 0 && w[n-1].kind == runPiece && w[n-1].set == anyByte {
		a.nodes[end-1].sink = true
	}
}

// one adds a node for one character. A character above ASCII has several
// bytes: a must takes any number of such, a not takes none, so that either
// errs to the safe side however the evaluator counts.
func (a *automaton) one(s *set, layer int16, accept bool) {
	at := int32(len(a.nodes))
	if layer == notLayer {
		low := *s
		low[2], low[3] = 0, 0
		a.push(node{on: &low, to: at + 1, skip: -1, layer: layer, accept: accept})
		return
	}
	a.push(node{on: s, to: at + 1, skip: -1, layer: layer, accept: accept})
	if s[2]|s[3] != 0 {
		a.push(node{on: &set{0, 0, s[2], s[3]}, loop: true, to: -1, skip: at + 2, layer: layer, accept: accept})
	}
}

func byteSet(b byte, fold bool) *set {
	if !fold || b|0x20 < 'a' || b|0x20 > 'z' {
		return singletons[b]
	}
	s := &set{}
	s.add(b | 0x20)
	s.add(b &^ 0x20)
	return s
}

// slot adds the automaton of all ids but one. Its states are pairs of a state
// of the language and how much of the excluded word was read, -1 once the id
// differs from it.
func (a *automaton) slot(p piece, layer int16, accept bool) {
	type pair struct{ state, read int }
	base := int32(len(a.nodes))
	index := map[pair]int32{}
	var pairs []pair
	at := func(q pair) int32 {
		i, found := index[q]
		if !found {
			i = int32(len(pairs))
			index[q] = i
			pairs = append(pairs, q)
		}
		return base + i
	}
	at(pair{0, 0})
	var built []node
	follows := func(read int, s symbol) int {
		if read >= 0 && read < len(p.not) && p.not[read] == s {
			return read + 1
		}
		return -1
	}
	exits := []int{}
	for i := 0; i < len(pairs); i++ {
		q := pairs[i]
		n := node{skip: -1, to: -1, layer: layer, accept: accept, slot: &slotNode{start: q == pair{0, 0}}}
		for _, e := range p.ids.states[q.state].edges {
			rest := *e.on
			if q.read >= 0 && q.read < len(p.not) && p.not[q.read] < firstMark && rest.has(byte(p.not[q.read])) {
				b := byte(p.not[q.read])
				rest[b>>6] &^= 1 << (b & 63)
				n.slot.edges = append(n.slot.edges, byteEdge{singletons[b], at(pair{e.to, q.read + 1})})
			}
			n.slot.edges = append(n.slot.edges, byteEdge{&rest, at(pair{e.to, -1})})
		}
		for m, ids := range a.marks {
			for _, to := range p.ids.through(ids, q.state) {
				s := firstMark + symbol(m)
				n.slot.marks = append(n.slot.marks, markEdge{s, at(pair{to, follows(q.read, s)})})
			}
		}
		if p.ids.states[q.state].accept && q.read != len(p.not) {
			exits = append(exits, i)
		}
		built = append(built, n)
	}
	a.nodes = append(a.nodes, built...)
	for _, i := range exits {
		a.nodes[int(base)+i].skip = base + int32(len(built))
	}
}

// closed tells whether the node is one that marks pass by edges only.
func (n *node) closed() bool { return n.slot != nil }

// jump gives the nodes that any id of a mark's language can lead to, read as
// the text that it is. A must takes what some id can do, a not only what
// every id does.
func (a *automaton) jump(from int32, mark symbol) []int32 {
	key := [2]int32{from, int32(mark)}
	if to, found := a.jumps[key]; found {
		return to
	}
	var to []int32
	if layer := a.nodes[from].layer; layer == notLayer {
		to = a.sure(from, a.marks[mark-firstMark])
	} else if layer+1 != a.strict {
		to = a.possible(from, a.marks[mark-firstMark])
	}
	if a.jumps == nil {
		a.jumps = map[[2]int32][]int32{}
	}
	a.jumps[key] = to
	return to
}

// sure gives where every id leads: through as many single characters as the
// shortest id has bytes, into a run.
func (a *automaton) sure(from int32, ids *lang) []int32 {
	at, passed := from, 0
	for {
		n := &a.nodes[at]
		if n.on == nil || !n.on.holds(ids.alphabet) {
			return nil
		}
		if n.loop {
			return []int32{at}
		}
		if passed++; passed > ids.min {
			return nil
		}
		at = n.to
	}
}

// possible walks the automaton and the ids' language together.
func (a *automaton) possible(from int32, ids *lang) []int32 {
	type triple struct {
		node        int32
		state, trie int
	}
	t := trieOf(ids.except)
	seen := map[triple]bool{}
	var out []int32
	queue := []triple{{from, 0, 0}}
	if ids.states[0].accept {
		out = append(out, from)
	}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		step := func(on *set, to int32) {
			for _, e := range ids.states[p.state].edges {
				for _, next := range t.steps(p.trie, e.on, on) {
					q := triple{to, e.to, next}
					if seen[q] {
						continue
					}
					seen[q] = true
					queue = append(queue, q)
					// An id that fills a slot from its start is the slot's own matter.
					if ids.states[q.state].accept && !t.ends(q.trie) && !(a.startsSlot(from) && a.nodes[to].closed()) {
						out = append(out, to)
					}
				}
			}
		}
		for at := p.node; at >= 0; at = a.nodes[at].skip {
			n := &a.nodes[at]
			if n.on != nil && n.loop {
				step(n.on, at)
			} else if n.on != nil {
				step(n.on, n.to)
			}
			if n.slot != nil {
				for _, e := range n.slot.edges {
					step(e.on, e.to)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a *automaton) startsSlot(at int32) bool {
	n := &a.nodes[at]
	return n.slot != nil && n.slot.start
}
