package wasm

import "slices"

// A leaf loop has no loop, no call and nothing else that needs an edit in it.
// A call of yield inside of it would be its only call, and the engine keeps
// every variable that changes in a loop with a call in memory as well as in a
// register: the call that never happens would cost more than the counter
// (measured on a loop of ten operations: 1.98 times the loop without fuel,
// against 1.35). So the call is moved out:
//
//	block $exit
//	  loop $again
//	    block $yield
//	      loop $leaf       ;; the loop as it was
//	        charge; br_if $yield
//	        ...
//	      end
//	      br $exit
//	    end
//	    copy the variables that the loop changes
//	    call yield; give the charge back
//	    br $again
//	  end
//	end
//
// The copies are what the engine then keeps in memory across the call instead
// of the variables themselves. The charge is given back because the head of
// the loop takes it again.
type leaf struct {
	region int32
	// sets are the variables that the loop changes, without references.
	sets []uint32
}

const (
	// leafDepth is how many blocks are put between a leaf loop and what is around it.
	leafDepth = 3
	// maxLeafSets caps the variables to copy, maxLeaves the loops to split
	// in one function: the engine's time goes with the square of its blocks.
	maxLeafSets = 16
	maxLeaves   = 256
)

// splitLeaf looks at a loop that has just ended, and notes the edits that
// split it if it is a leaf.
func (r *rewriter) splitLeaf(b block, code []byte) error {
	head, inside := r.edits[b.edit], r.edits[b.edit+1:]
	untouched := r.called < b.start && !slices.ContainsFunc(inside, func(e edit) bool { return e.kind != editSegment })
	if !untouched || !r.Fuel || len(r.leaves) >= maxLeaves || !plainLoop(code[b.start+1]) {
		return nil
	}
	begin, end := head.pos, r.body.pos
	sets, ok, err := r.leafEdits(body{b: code[:end], pos: begin})
	if err != nil {
		return err
	}
	if !ok {
		r.edits = r.edits[:b.edit+1+len(inside)]
		return nil
	}
	slices.SortFunc(r.edits[b.edit+1:], func(a, b edit) int { return a.pos - b.pos })
	n := int32(len(r.leaves))
	r.leaves = append(r.leaves, leaf{region: head.arg, sets: sets})
	r.edits[b.edit] = edit{pos: b.start, kind: editLeaf, cut: uint8(begin - b.start), arg: n}
	r.edits = append(r.edits, edit{pos: end, kind: editLeafEnd, arg: n})
	return nil
}

// plainLoop tells by the first byte of its block type whether a loop takes
// nothing from the stack: it has no type index.
func plainLoop(blockType byte) bool {
	return blockType == blockEmpty&0x7f || singleTypes[blockType] != nil
}

// leafEdits notes the edits for branches out of a leaf loop, which have more
// blocks to leave, and gives the variables that the loop changes. It gives ok
// false if there are too many.
func (r *rewriter) leafEdits(c body) (sets []uint32, ok bool, err error) {
	in := instr{}
	for depth := uint32(0); c.pos < len(c.b); {
		start := c.pos
		if err := c.next(&in); err != nil {
			return nil, false, err
		}
		switch in.op {
		case opBlock, opIf:
			depth++
		case opEnd:
			depth-- // the last end, of the loop, is the last instruction
		case opBr, opBrIf:
			r.label(body{b: c.b[:c.pos], pos: start + 1}, 1, depth)
		case opBrTable:
			labels := len(in.labels.b)
			r.label(body{b: c.b[:c.pos], pos: c.pos - labels}, in.labels.n, depth)
		case opLocalSet, opLocalTee:
			if slices.Contains(sets, in.a) || r.localType(in.a).IsRef() {
				continue
			}
			if sets = append(sets, in.a); len(sets) > maxLeafSets {
				return nil, false, nil
			}
		}
	}
	return sets, true, nil
}

// label notes edits for the n labels at c.pos that are further out than depth.
func (r *rewriter) label(c body, n, depth uint32) {
	for ; n > 0; n-- {
		start := c.pos
		l, err := c.u32()
		if err != nil {
			return // find has decoded the same bytes before
		}
		if l > depth {
			r.edits = append(r.edits, edit{pos: start, kind: editIndex, cut: uint8(c.pos - start), arg: int32(l + leafDepth)})
		}
	}
}

// localType gives the type of a local variable of the function.
func (r *rewriter) localType(index uint32) ValType {
	if index < uint32(len(r.params)) {
		return r.params[index]
	}
	index -= uint32(len(r.params))
	for _, g := range r.groups {
		if index < g.Count {
			return g.Type
		}
		index -= g.Count
	}
	return anyType
}

// emitLeaf opens the blocks around a leaf loop, and the loop.
func (r *rewriter) emitLeaf(l *leaf, blockType []byte) {
	for _, op := range []byte{opBlock, opLoop} {
		r.out = append(append(r.out, op), blockType...)
	}
	r.out = append(r.out, opBlock, blockEmpty&0x7f, opLoop)
	r.out = append(r.out, blockType...)
	r.emitLook(r.costs[l.region])
	r.index(opBrIf, 1)
}

// emitLeafEnd closes the blocks around a leaf loop.
func (r *rewriter) emitLeafEnd(l *leaf) {
	r.index(opBr, 2)
	r.out = append(r.out, opEnd)
	for _, v := range l.sets {
		r.emitCopy(v)
	}
	r.index(opCall, r.imported)
	if cost := r.costs[l.region]; cost > 0 {
		r.emitSegment(-cost)
	}
	r.index(opBr, 0)
	r.out = append(r.out, opEnd, opEnd)
}

// emitCopy sets a variable to itself in a way that the engine does not see through.
func (r *rewriter) emitCopy(local uint32) {
	r.index(opLocalGet, local)
	switch r.localType(local) {
	case I32:
		r.out = append(r.out, opI32Const, 0, opI32Or)
	case I64:
		r.out = append(r.out, opI64Const, 0, opI64Or)
	case F32:
		r.out = append(r.out, opI32FromF32, opI32Const, 0, opI32Or, opF32FromI32)
	case F64:
		r.out = append(r.out, opI64FromF64, opI64Const, 0, opI64Or, opF64FromI64)
	case V128:
		r.index(opLocalGet, local)
		r.out = append(r.out, prefixSIMD, simdOr)
	}
	r.index(opLocalSet, local)
}
