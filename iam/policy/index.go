package policy

import (
	"slices"
	"strings"
)

// prefixIndex finds statements by a text that a pattern of theirs begins
// with. A lookup takes one pass over the request's text, whatever is in it.
type prefixIndex struct {
	// lengths are those of the prefixes, in rising order.
	lengths []int
	nodes   map[prefixKey]*indexNode
}

// prefixKey is a prefix by its length and hash. Two prefixes that share one
// are looked at together: a candidate is matched whole anyway.
type prefixKey struct {
	length int
	hash   uint32
}

// indexNode is where a prefix ends.
type indexNode struct {
	// list are the statements with a pattern of which nothing more is indexed.
	list []int32
	// branches are for the patterns that go on with a variable.
	branches []branch
}

// branch is a variable with what follows its value. In a request the value is
// known, so that the text behind it can be looked up like any other.
type branch struct {
	variable variable
	after    prefixIndex
}

// opening is what a pattern begins with, up to the first wildcard: literal
// text, then variables, each with the literal text behind it.
type opening struct {
	text  string
	steps []openingStep
}

type openingStep struct {
	variable variable
	text     string
}

// Literal prefixes that are shorter say too little, and longer ones no more.
const (
	leastPrefix = 4
	mostPrefix  = 96
)

func (x *prefixIndex) add(o opening, statement int32) {
	node := x.node(o.text)
	// Text beyond mostPrefix is not looked at, and so nor is what follows it.
	if len(o.text) > mostPrefix || len(o.steps) == 0 {
		if n := len(node.list); n == 0 || node.list[n-1] != statement {
			node.list = append(node.list, statement)
		}
		return
	}
	next := opening{o.steps[0].text, o.steps[1:]}
	for i := range node.branches {
		if b := &node.branches[i]; b.variable == o.steps[0].variable {
			b.after.add(next, statement)
			return
		}
	}
	node.branches = append(node.branches, branch{variable: o.steps[0].variable})
	node.branches[len(node.branches)-1].after.add(next, statement)
}

// node gives the place where a prefix ends, made if need be.
func (x *prefixIndex) node(prefix string) *indexNode {
	prefix = prefix[:min(len(prefix), mostPrefix)]
	k := prefixKey{len(prefix), hash(prefix)}
	if x.nodes == nil {
		x.nodes = map[prefixKey]*indexNode{}
	}
	if x.nodes[k] == nil {
		x.nodes[k] = &indexNode{}
	}
	if at, found := slices.BinarySearch(x.lengths, len(prefix)); !found {
		x.lengths = slices.Insert(x.lengths, at, len(prefix))
	}
	return x.nodes[k]
}

// index sorts the statements into what finds them.
func (set *Set) index() {
	for i := range set.statements {
		s, n := &set.statements[i], int32(i)
		switch {
		case s.hasOpenings():
			for i := range s.resources {
				if o, named := s.resources[i].opening(); named {
					set.byName.add(o, n)
				} else {
					set.byResource.add(o, n)
				}
			}
		case s.actionOpenings() != nil:
			for _, o := range s.actionOpenings() {
				set.byAction.add(o, n)
			}
		default:
			set.rest = append(set.rest, n)
		}
	}
}

// hasOpenings tells whether each of the statement's resources begins with
// something, so that it can be found by that.
func (s *statement) hasOpenings() bool {
	if s.notResource {
		return false
	}
	for i := range s.resources {
		if o, _ := s.resources[i].opening(); len(o.text) < leastPrefix {
			return false
		}
	}
	return len(s.resources) > 0
}

// actionOpenings gives what the statement's actions begin with; nil if one of
// them may begin with anything.
func (s *statement) actionOpenings() (list []opening) {
	if s.notAction {
		return nil
	}
	for i := range s.actions {
		var o opening
		if o.extend(&s.actions[i]); o.text == "" {
			return nil
		}
		list = append(list, o)
	}
	return list
}

// extend adds what a pattern begins with, and tells whether that is all of it.
func (o *opening) extend(g *glob) (whole bool) {
	for _, p := range g.segments[0] {
		switch p.kind {
		case Literal:
			o.write(p.text)
		case Variable:
			o.steps = append(o.steps, openingStep{variable: g.variables[p.variable]})
		default:
			return false
		}
	}
	return len(g.segments) == 1
}

// write adds literal text, behind the last variable if there is one.
func (o *opening) write(text string) {
	to := &o.text
	if n := len(o.steps); n > 0 {
		to = &o.steps[n-1].text
	}
	*to += text
}

// opening gives what all matching ARNs begin with, or, if wildcards stand
// before the sixth part and that begins with enough, what the sixth part
// begins with.
func (a *arnGlob) opening() (o opening, named bool) {
	if a.all {
		return o, false
	}
	for i := range a.parts {
		if !o.extend(&a.parts[i]) && i < len(a.parts)-1 {
			var name opening
			name.extend(&a.parts[len(a.parts)-1])
			if len(name.text) >= leastPrefix {
				return name, true
			}
			break
		}
		if i < len(a.parts)-1 {
			o.write(":")
		}
	}
	return o, false
}

// candidates calls fn with every list of statements that may match, until it
// gives false.
func (set *Set) candidates(q *query, fn func([]int32) bool) bool {
	return fn(set.rest) && set.byResource.find(q.Resource, q.Context, fn) && set.byName.find(q.parts[5], q.Context, fn) &&
		set.byAction.find(q.Action, q.Context, fn)
}

func (x *prefixIndex) find(text string, c *Context, fn func([]int32) bool) bool {
	h, at := uint32(hashStart), 0
	for _, length := range x.lengths {
		if length > len(text) {
			break
		}
		for ; at < length; at++ {
			h = (h ^ uint32(lowerByte(text[at]))) * hashPrime
		}
		if node := x.nodes[prefixKey{length, h}]; node != nil && !node.find(text[length:], c, fn) {
			return false
		}
	}
	return true
}

// find goes on behind a prefix.
func (n *indexNode) find(text string, c *Context, fn func([]int32) bool) bool {
	if len(n.list) > 0 && !fn(n.list) {
		return false
	}
	for i := range n.branches {
		b := &n.branches[i]
		value, found := b.variable.value(c)
		if !found || !strings.HasPrefix(text, value) {
			continue // then nothing behind it matches
		}
		if !b.after.find(text[len(value):], c, fn) {
			return false
		}
	}
	return true
}
