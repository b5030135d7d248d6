package wasm

import "github.com/carrel-dev/carrel/fault"

// edit is a place in a body where something is put in, or put instead of an
// index. Edits are found in one walk over the body, because what a function
// entry or a loop head costs is known only at its end.
type edit struct {
	pos  int
	kind editKind
	// cut is how many bytes of the original are left out.
	cut uint8
	// arg is a region, an index, a shift, or a number in leaves, as the kind
	// wants it.
	arg int32
}

type editKind uint8

const (
	editRegion  editKind = iota // charge the cost of region arg and look whether any fuel is left
	editSegment                 // charge the cost of region arg
	editIndex                   // the function index arg
	editBulk                    // charge the operand shifted right by arg
	editPages                   // charge the operand of memory.grow
	editTaint                   // set the taint bits arg
	editDropped                 // set the global arg
	editLeaf                    // begin the leaf loop arg
	editLeafEnd                 // end it
)

// block is an open block.
type block struct {
	// region is what pays for the instructions before the block.
	region int32
	// split tells that a br_table can end the block: what follows it is a
	// segment of its own.
	split bool
	// dispatch tells that a br_table is all that the loop has of its own.
	dispatch bool
	// start is where a loop begins, and edit which edit charges its region;
	// edit is 0 for other blocks.
	start, edit int
}

// rewriter rewrites bodies, one after the other.
type rewriter struct {
	*instrumenter
	body  body
	in    instr
	edits []edit
	// costs are those of the regions of the function, and of their segments.
	costs  []int64
	open   []block
	leaves []leaf
	// called is where the last call in the function begins.
	called int
	// straight tells that every way from the function's entry leads here.
	straight bool
	// bulk tells whether the function needs a local for a length.
	bulk bool
	out  []byte
	// spare and count are the indexes of the added locals: the fuel that is
	// left, and a length.
	spare, count uint32
	// params and groups are the types of the function's local variables.
	params []ValType
	groups []LocalGroup
}

// rewriteBodies rewrites all function bodies.
func (b *instrumenter) rewriteBodies() error {
	m := b.source
	total := 0
	for i := range m.Codes {
		total += len(m.Codes[i].Body)
	}
	r := &rewriter{instrumenter: b, out: make([]byte, 0, total+total/2+64*len(m.Codes))}
	codes := make([]Code, len(m.Codes))
	for i := range m.Codes {
		code := &m.Codes[i]
		locals := len(m.Types[m.Functions[i]].Params)
		for _, g := range code.Locals {
			locals += int(g.Count)
		}
		if locals > MaxLocals {
			return fault.New("wasm.Instrument", fault.TooLarge, "function %d has %d local variables, and %d is the limit.", uint32(i)+b.imported, locals, MaxLocals)
		}
		r.spare, r.count = uint32(locals), uint32(locals)+1
		r.params, r.groups = m.Types[m.Functions[i]].Params, code.Locals
		if err := r.find(code.Body); err != nil {
			return refusal("wasm.Instrument", err)
		}
		start := len(r.out)
		r.emit(code.Body)
		codes[i] = Code{Locals: r.locals(code.Locals), Body: r.out[start:len(r.out):len(r.out)]}
	}
	b.Module.Codes = codes
	return nil
}

func (r *rewriter) locals(locals []LocalGroup) []LocalGroup {
	if !r.Fuel {
		return locals
	}
	locals = append(locals[:len(locals):len(locals)], LocalGroup{Count: 1, Type: I64})
	if r.bulk {
		locals = append(locals, LocalGroup{Count: 1, Type: I32})
	}
	return locals
}

// find walks over a body and notes the edits and the costs of its regions.
func (r *rewriter) find(code []byte) error {
	r.body = body{b: code}
	r.edits = append(r.edits[:0], edit{kind: editRegion})
	r.costs = append(r.costs[:0], 1)
	r.open = append(r.open[:0], block{})
	r.leaves, r.called, r.bulk = r.leaves[:0], -1, false
	r.straight = true
	region := int32(0)
	for len(r.open) > 0 {
		start := r.body.pos
		if err := r.body.next(&r.in); err != nil {
			return err
		}
		switch r.in.op {
		case opElse:
			region = r.open[len(r.open)-1].region
		case opEnd:
			var err error
			if region, err = r.close(code); err != nil {
				return err
			}
		case opIf:
			r.costs[region]++
			r.straight = false
			r.open = append(r.open, block{region: region})
		case opBlock:
			r.open = append(r.open, block{region: region})
		case opLoop:
			if r.straight && len(r.edits) == 1 {
				r.edits[0].kind = editSegment // the loop looks in its stead
			}
			r.straight = false
			r.open = append(r.open, block{region: region, start: start, edit: len(r.edits)})
			region = int32(len(r.costs))
			r.costs = append(r.costs, 0)
			r.edits = append(r.edits, edit{pos: r.body.pos, kind: editRegion, arg: region})
		default:
			r.costs[region]++
			r.note(start, region)
		}
	}
	return nil
}

// close ends a block and gives what pays for the instructions after it.
func (r *rewriter) close(code []byte) (region int32, err error) {
	b := r.open[len(r.open)-1]
	r.open = r.open[:len(r.open)-1]
	switch {
	case len(r.open) == 0:
		return 0, nil
	case b.edit > 0:
		cost := &r.costs[r.edits[b.edit].arg]
		if *cost = max(*cost, 1); b.dispatch && *cost <= dispatchCost {
			*cost = 0
		}
		return b.region, r.splitLeaf(b, code)
	case !b.split:
		return b.region, nil
	}
	r.split()
	region = int32(len(r.costs))
	r.costs = append(r.costs, 0)
	r.edits = append(r.edits, edit{pos: r.body.pos, kind: editSegment, arg: region})
	return region, nil
}

// split notes that the innermost open block can be left by br_table. Those
// around it learn it when it ends.
func (r *rewriter) split() { r.open[len(r.open)-1].split = true }

// dispatchCost is what a loop has of its own if it is a dispatch: a number to
// push, and a br_table.
const dispatchCost = 2

// dispatch notes whether the br_table just met is the dispatch of a loop, and
// leads to no turn that is in no segment.
func (r *rewriter) dispatch(region int32) {
	if r.costs[region] > dispatchCost {
		return
	}
	depth := uint32(0)
	for ; r.top(depth).edit == 0; depth++ {
		if int(depth) == len(r.open)-1 {
			return
		}
	}
	loop := r.top(depth)
	if r.edits[loop.edit].arg != region {
		return
	}
	c := body{b: r.in.labels.b}
	for range r.in.labels.n {
		if l, err := c.u32(); err != nil || l == depth {
			return
		}
	}
	loop.dispatch = true
}

func (r *rewriter) top(depth uint32) *block { return &r.open[len(r.open)-1-int(depth)] }

// note notes the edits for an instruction that opens or closes no block.
func (r *rewriter) note(start int, region int32) {
	add := func(kind editKind, arg int32) {
		r.edits = append(r.edits, edit{pos: start, kind: kind, arg: arg})
	}
	switch r.in.op {
	case opBr, opBrIf, opReturn:
		r.straight = false
	case opBrTable:
		r.straight = false
		r.split()
		r.dispatch(region)
	case opCallIndirect:
		r.called = start
	case opCall, opRefFunc:
		r.called = start
		if f := r.moved(r.in.a); f != r.in.a {
			// One byte of opcode, then the index: the whole rest of the instruction.
			r.edits = append(r.edits, edit{pos: start + 1, kind: editIndex, cut: uint8(r.body.pos - start - 1), arg: int32(f)})
		}
	case opGlobalSet:
		r.written[r.in.a] = true
	case opMemoryGrow:
		r.charge(start, editPages, 0)
	case opMemoryFill, opMemoryCopy, opMemoryInit:
		r.charge(start, editBulk, 6)
	case opTableSet, opElemDrop:
		add(editTaint, TaintTable)
	case opTableGrow, opTableFill, opTableCopy, opTableInit:
		add(editTaint, TaintTable)
		r.charge(start, editBulk, 3)
	case opDataDrop:
		add(editTaint, TaintData)
		add(editDropped, int32(r.droppedGlobal(r.in.a)))
	}
}

func (r *rewriter) charge(start int, kind editKind, shift int32) {
	if r.Fuel {
		r.bulk = true
		r.edits = append(r.edits, edit{pos: start, kind: kind, arg: shift})
	}
}

// emit writes the body with its edits to out.
func (r *rewriter) emit(code []byte) {
	done := 0
	for i := range r.edits {
		e := &r.edits[i]
		r.out = append(r.out, code[done:e.pos]...)
		done = e.pos + int(e.cut)
		switch e.kind {
		case editRegion:
			if r.Fuel {
				r.emitRegion(r.costs[e.arg])
			}
		case editSegment:
			if cost := r.costs[e.arg]; r.Fuel && cost > 0 {
				r.emitSegment(cost)
			}
		case editIndex:
			r.out = appendU32(r.out, uint32(e.arg))
		case editBulk:
			r.emitBulk(e.arg)
		case editPages:
			r.emitPages()
		case editTaint:
			r.index(opGlobalGet, r.taint)
			r.out = append(r.out, opI32Const, byte(e.arg), opI32Or)
			r.index(opGlobalSet, r.taint)
		case editDropped:
			r.out = append(r.out, opI32Const, 1)
			r.index(opGlobalSet, uint32(e.arg))
		case editLeaf:
			r.emitLeaf(&r.leaves[e.arg], code[e.pos+1:done])
		case editLeafEnd:
			r.emitLeafEnd(&r.leaves[e.arg])
		}
	}
	r.out = append(r.out, code[done:]...)
}

// Opcodes that only added code uses.
const (
	opI32Const   = 0x41
	opI64Const   = 0x42
	opI32LtU     = 0x49
	opI64LtS     = 0x53
	opI32Or      = 0x72
	opI64Sub     = 0x7d
	opI64Shl     = 0x86
	opI64ShrU    = 0x88
	opI64ExtendU = 0xad
	opI64Add     = 0x7c
	opI64Or      = 0x84
	opI32FromF32 = 0xbc
	opI64FromF64 = 0xbd
	opF32FromI32 = 0xbe
	opF64FromI64 = 0xbf
	simdOr       = 0x50
)

func (r *rewriter) index(op byte, index uint32) { r.out = appendU32(append(r.out, op), index) }

// emitRegion charges a constant and yields if less than nothing is left.
func (r *rewriter) emitRegion(cost int64) {
	r.emitLook(cost)
	r.emitYield()
}

// emitSegment charges a constant and leaves looking to the next region.
func (r *rewriter) emitSegment(cost int64) {
	r.index(opGlobalGet, r.fuel)
	r.out = append(appendS64(append(r.out, opI64Const), cost), opI64Sub)
	r.index(opGlobalSet, r.fuel)
}

// emitLook charges a constant and pushes whether less than nothing is left.
func (r *rewriter) emitLook(cost int64) {
	r.index(opGlobalGet, r.fuel)
	if cost > 0 {
		r.out = appendS64(append(r.out, opI64Const), cost)
		r.emitSubtract()
	}
	r.out = append(r.out, opI64Const, 0, opI64LtS)
}

// emitSubtract takes the charge from the fuel, both on the stack, and leaves
// the rest there. The local saves reading the global again.
func (r *rewriter) emitSubtract() {
	r.out = append(r.out, opI64Sub)
	r.index(opLocalTee, r.spare)
	r.index(opGlobalSet, r.fuel)
	r.index(opLocalGet, r.spare)
}

// emitYield calls yield if the number on the stack is not 0.
func (r *rewriter) emitYield() {
	r.out = append(r.out, opIf, blockEmpty&0x7f)
	r.index(opCall, r.imported)
	r.out = append(r.out, opEnd)
}

// emitOperand takes a charge that depends on an operand, and yields if less
// than nothing is left.
func (r *rewriter) emitOperand() {
	r.emitSubtract()
	r.out = append(r.out, opI64Const, 0, opI64LtS)
	r.emitYield()
}

// emitBulk charges the length on the stack, shifted right, and leaves it there.
func (r *rewriter) emitBulk(shift int32) {
	r.index(opLocalTee, r.count)
	r.index(opGlobalGet, r.fuel)
	r.index(opLocalGet, r.count)
	r.out = append(r.out, opI64ExtendU, opI64Const, byte(shift), opI64ShrU)
	r.emitOperand()
}

// emitPages charges the pages on the stack, at most maxPages, and leaves them there.
func (r *rewriter) emitPages() {
	const shift = 10 // 64 KiB in units of 64 bytes
	r.index(opLocalTee, r.count)
	r.index(opGlobalGet, r.fuel)
	r.index(opLocalGet, r.count)
	r.out = appendS64(append(r.out, opI32Const), maxPages)
	r.index(opLocalGet, r.count)
	r.out = appendS64(append(r.out, opI32Const), maxPages)
	r.out = append(r.out, opI32LtU, opSelect, opI64ExtendU, opI64Const, shift, opI64Shl)
	r.emitOperand()
}
