package policy

import "slices"

// prefixIndex finds statements by a text that a pattern of theirs begins
// with. A lookup takes one pass over the request's text, whatever is in it.
type prefixIndex struct {
	// lengths are those of the prefixes, in rising order.
	lengths []int
	lists   map[prefixKey][]int32
}

// prefixKey is a prefix by its length and hash. Two prefixes that share one
// are looked at together: a candidate is matched whole anyway.
type prefixKey struct {
	length int
	hash   uint32
}

// Literal prefixes that are shorter say too little, and longer ones no more.
const (
	leastPrefix = 4
	mostPrefix  = 96
)

func (x *prefixIndex) add(prefix string, statement int32) {
	prefix = prefix[:min(len(prefix), mostPrefix)]
	k := prefixKey{len(prefix), hash(prefix)}
	if x.lists == nil {
		x.lists = map[prefixKey][]int32{}
	}
	if list := x.lists[k]; len(list) == 0 || list[len(list)-1] != statement {
		x.lists[k] = append(list, statement)
	}
	if at, found := slices.BinarySearch(x.lengths, len(prefix)); !found {
		x.lengths = slices.Insert(x.lengths, at, len(prefix))
	}
}

// index sorts the statements into what finds them.
func (set *Set) index() {
	for i := range set.statements {
		s, n := &set.statements[i], int32(i)
		prefixes := s.resourcePrefixes()
		to := &set.byResource
		if prefixes == nil {
			prefixes, to = s.actionPrefixes(), &set.byAction
		}
		if prefixes == nil {
			set.rest = append(set.rest, n)
		}
		for _, p := range prefixes {
			to.add(p, n)
		}
	}
}

// resourcePrefixes gives what the statement's resources begin with; nil if
// one of them may begin with anything.
func (s *statement) resourcePrefixes() (list []string) {
	if s.notResource {
		return nil
	}
	for i := range s.resources {
		prefix := s.resources[i].prefix()
		if len(prefix) < leastPrefix {
			return nil
		}
		list = append(list, prefix)
	}
	return list
}

func (s *statement) actionPrefixes() (list []string) {
	if s.notAction {
		return nil
	}
	for i := range s.actions {
		prefix, _ := s.actions[i].prefixText()
		if prefix == "" {
			return nil
		}
		list = append(list, prefix)
	}
	return list
}

// prefixText gives the literal text that a pattern begins with, and whether
// that is all of it.
func (g *glob) prefixText() (text string, whole bool) {
	for _, p := range g.segments[0] {
		if p.kind != Literal {
			return text, false
		}
		text += p.text
	}
	return text, len(g.segments) == 1
}

// prefix gives the literal text that all matching ARNs begin with.
func (a *arnGlob) prefix() (text string) {
	if a.all {
		return ""
	}
	for i := range a.parts {
		part, whole := a.parts[i].prefixText()
		text += part
		if !whole {
			break
		}
		if i < len(a.parts)-1 {
			text += ":"
		}
	}
	return text
}

// candidates calls fn with every list of statements that may match, until it
// gives false.
func (set *Set) candidates(q *query, fn func([]int32) bool) bool {
	return fn(set.rest) && set.byResource.find(q.Resource, fn) && set.byAction.find(q.Action, fn)
}

func (x *prefixIndex) find(text string, fn func([]int32) bool) bool {
	h, at := uint32(hashStart), 0
	for _, length := range x.lengths {
		if length > len(text) {
			break
		}
		for ; at < length; at++ {
			h = (h ^ uint32(lowerByte(text[at]))) * hashPrime
		}
		if list := x.lists[prefixKey{length, h}]; list != nil && !fn(list) {
			return false
		}
	}
	return true
}
