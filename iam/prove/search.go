package prove

import (
	"encoding/binary"
	"slices"
)

// classes is a choice of byte classes, a bit for each.
type classes [4]uint64

func (c *classes) has(i int) bool { return c[i>>6]&(1<<(i&63)) != 0 }
func (c *classes) add(i int)      { c[i>>6] |= 1 << (i & 63) }

// outcome of a search for a word.
type outcome uint8

const (
	none outcome = iota // there is no such word: proved
	found
	exhausted // the budget ran out: nothing is known
)

// search explores the product of all automata breadth first, so that the word
// it finds is among the shortest. States are sets of nodes: musts and nots are
// tracked exactly, and nothing has to be complemented.
type search struct {
	*automaton
	// bytes holds a readable byte of each class, preferred ones first.
	bytes []byte
	seen  map[string]bool
	queue []visit
	// stamp marks the nodes of the set that is being made.
	stamp []int32
	round int32
	alive []int // nodes of each must in that set
}

// visit is a state that was reached, and how.
type visit struct {
	set    []int32
	parent int32
	by     symbol
}

// preferred are the bytes that witnesses are written with where any will do.
const preferred = "7xyabcdefghijklmnopqrstuvwz0123456789XYABCDEFGHIJKLMNOPQRSTUVWZ-_/.:=+@ "

// find looks for a word, exploring at most budget states.
func (a *automaton) find(budget int) ([]symbol, outcome) {
	s := &search{automaton: a, seen: map[string]bool{}, stamp: make([]int32, len(a.nodes)), alive: make([]int, a.musts)}
	if s.tired(len(a.nodes)) {
		return nil, exhausted
	}
	s.divide()
	s.begin()
	var start []int32
	dead := false
	for _, n := range a.starts {
		start, dead = s.enter(start, n, dead)
	}
	if !s.push(start, dead, -1, 0) {
		return nil, none
	}
	for i := 0; i < len(s.queue); i++ {
		if s.accepts(s.queue[i].set) {
			return s.word(i), found
		}
		if len(s.queue) > budget || s.tired(len(s.queue[i].set)) {
			return nil, exhausted
		}
		s.expand(int32(i))
	}
	return nil, none
}

// tired counts work on so many nodes, for each class of bytes, and tells
// whether the whole question took all that it may take.
func (s *search) tired(nodes int) bool {
	if s.meter == nil {
		return false
	}
	*s.meter += nodes * (len(s.bytes) + 1)
	return *s.meter > questionBudget
}

// divide puts bytes that no set tells apart into one class.
func (s *search) divide() {
	var single set
	wide := map[set]int{}
	note := func(on *set) {
		if on == nil {
			return
		}
		if b, one := on.only(); one {
			single.add(b)
		} else if _, known := wide[*on]; !known {
			wide[*on] = len(wide)
		}
	}
	for i := range s.nodes {
		note(s.nodes[i].on)
		if s.nodes[i].slot != nil {
			for _, e := range s.nodes[i].slot.edges {
				note(e.on)
			}
		}
	}
	var class [256]int
	count := 0
	alike := map[uint64]int{}
	for b := range class {
		var signature uint64
		for on, i := range wide {
			if on.has(byte(b)) {
				signature |= 1 << (i & 63)
			}
		}
		c, known := alike[signature]
		if !known || single.has(byte(b)) || len(wide) > 64 {
			c = count
			count++
		}
		if !known && !single.has(byte(b)) {
			alike[signature] = c
		}
		class[b] = c
	}
	s.represent(class[:], count)
}

// represent picks a byte of each class, and orders classes by how readable
// that is, so that the first word found reads well.
func (s *search) represent(class []int, count int) {
	number := make([]int, count)
	for i := range number {
		number[i] = -1
	}
	take := func(b byte) {
		if number[class[b]] < 0 {
			number[class[b]] = len(s.bytes)
			s.bytes = append(s.bytes, b)
		}
	}
	for i := range len(preferred) {
		take(preferred[i])
	}
	for b := range 256 {
		take(byte(b))
	}
	choices := map[*set]classes{}
	choice := func(on *set) classes {
		c, known := choices[on]
		if !known {
			for i, b := range s.bytes {
				if on.has(b) {
					c.add(i)
				}
			}
			choices[on] = c
		}
		return c
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		if n.on != nil {
			n.first = choice(n.on)
		}
		if n.slot != nil {
			for _, e := range n.slot.edges {
				c := choice(e.on)
				for j := range c {
					n.first[j] |= c[j]
				}
			}
		}
	}
}

// begin starts a new set.
func (s *search) begin() {
	s.round++
	clear(s.alive)
}

// enter adds a node and what follows from it to the set. dead reports that
// whatever word comes of it is one of a not.
func (s *search) enter(to []int32, n int32, dead bool) ([]int32, bool) {
	for n >= 0 && s.stamp[n] != s.round {
		s.stamp[n] = s.round
		at := &s.nodes[n]
		if at.layer == notLayer {
			dead = dead || at.sink
		} else {
			s.alive[at.layer]++
		}
		to = append(to, n)
		n = at.skip
	}
	return to, dead
}

// push queues a set if it is new and may still come to something.
func (s *search) push(to []int32, dead bool, parent int32, by symbol) bool {
	if dead || slices.Contains(s.alive, 0) {
		return false
	}
	slices.Sort(to)
	key := make([]byte, 0, 4*len(to))
	for _, n := range to {
		key = binary.LittleEndian.AppendUint32(key, uint32(n))
	}
	if s.seen[string(key)] {
		return true
	}
	s.seen[string(key)] = true
	s.queue = append(s.queue, visit{to, parent, by})
	return true
}

func (s *search) accepts(at []int32) bool {
	clear(s.alive)
	for _, i := range at {
		n := &s.nodes[i]
		if !n.accept {
			continue
		}
		if n.layer == notLayer {
			return false
		}
		s.alive[n.layer]++
	}
	return !slices.Contains(s.alive, 0)
}

// expand follows every mark and every class of bytes from a state.
func (s *search) expand(i int32) {
	at := s.queue[i].set
	for m := range s.marks {
		s.follow(i, firstMark+symbol(m))
	}
	possible := s.possibleBytes(at)
	for c, b := range s.bytes {
		if !possible.has(c) {
			continue
		}
		s.begin()
		var to []int32
		dead := false
		for _, j := range at {
			n := &s.nodes[j]
			if n.on != nil && n.first.has(c) && n.slot == nil {
				target := n.to
				if n.loop {
					target = j
				}
				to, dead = s.enter(to, target, dead)
			}
			if n.slot != nil {
				for _, e := range n.slot.edges {
					if e.on.has(b) {
						to, dead = s.enter(to, e.to, dead)
					}
				}
			}
		}
		s.push(to, dead, i, symbol(b))
	}
}

// possibleBytes gives the classes on which every must has somewhere to go.
func (s *search) possibleBytes(at []int32) classes {
	layers := make([]classes, s.musts)
	for _, i := range at {
		if n := &s.nodes[i]; n.layer != notLayer {
			for j := range n.first {
				layers[n.layer][j] |= n.first[j]
			}
		}
	}
	all := classes{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	for _, l := range layers {
		for j := range all {
			all[j] &= l[j]
		}
	}
	return all
}

// follow reads one mark from a state. Marks stand only where a variable of a
// must was read: any other text is spelled out.
func (s *search) follow(i int32, mark symbol) {
	if !slices.ContainsFunc(s.queue[i].set, func(j int32) bool { return s.nodes[j].mark == mark && s.nodes[j].layer != notLayer }) {
		return
	}
	s.begin()
	var to []int32
	dead := false
	for _, j := range s.queue[i].set {
		n := &s.nodes[j]
		if n.mark == mark {
			to, dead = s.enter(to, n.to, dead)
		}
		if n.slot != nil {
			for _, e := range n.slot.marks {
				if e.mark == mark {
					to, dead = s.enter(to, e.to, dead)
				}
			}
		}
		for _, target := range s.jump(j, mark) {
			to, dead = s.enter(to, target, dead)
		}
	}
	s.push(to, dead, i, mark)
}

// word reads the way to a state backwards.
func (s *search) word(i int) []symbol {
	var out []symbol
	for at := s.queue[i]; at.parent >= 0; at = s.queue[at.parent] {
		out = append(out, at.by)
	}
	slices.Reverse(out)
	return out
}
