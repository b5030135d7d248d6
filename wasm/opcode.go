package wasm

// Opcodes that are more than an entry in the table. Those of the prefixes
// 0xfc and 0xfd are numbered from 0x100 and 0x200.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2

	prefixMisc = 0xfc
	prefixSIMD = 0xfd
	miscBase   = 0x100
	simdBase   = 0x200
	opCount    = 0x300

	opMemoryInit = miscBase + 8
	opDataDrop   = miscBase + 9
	opMemoryCopy = miscBase + 10
	opMemoryFill = miscBase + 11
	opTableInit  = miscBase + 12
	opElemDrop   = miscBase + 13
	opTableCopy  = miscBase + 14
	opTableGrow  = miscBase + 15
	opTableSize  = miscBase + 16
	opTableFill  = miscBase + 17

	simdConst   = 12
	simdShuffle = 13
)

// immediate says what follows an opcode.
type immediate uint8

const (
	immUnknown immediate = iota // not an instruction
	immNone
	immIndex   // one index
	immTwo     // two indexes
	immZero    // a zero byte
	immTwoZero // two zero bytes
	immIdxZero // an index and a zero byte
	immBlock   // a block type
	immLabels  // the targets of br_table
	immSelect  // the types of select
	immI32     // i32.const
	immI64     // i64.const
	immBits32  // f32.const
	immBits64  // f64.const
	immBits128 // v128.const and the lanes of a shuffle
	immRef     // a reference type
	immMemory  // alignment and offset
	immMemLane // alignment, offset, and a lane
	immLane    // a lane
)

// opInfo is what is known of an instruction.
type opInfo struct {
	imm immediate
	// ins and outs are how many of in and out mean something.
	ins, outs uint8
	in        [3]ValType
	out       ValType
	// align is the exponent of the natural alignment of an access to memory.
	align uint8
	// lanes is the number of lanes that a lane immediate may name.
	lanes uint8
	// plain tells that in and out are all that validation needs.
	plain bool
}

var ops = makeOps()

// opTable is written once, by makeOps.
type opTable [opCount]opInfo

func (t *opTable) set(from, to int, imm immediate, out ValType, in ...ValType) {
	o := opInfo{imm: imm, ins: uint8(len(in)), out: out, plain: true}
	copy(o.in[:], in)
	if out != anyType {
		o.outs = 1
	}
	for i := from; i <= to; i++ {
		t[i] = o
	}
}

func (t *opTable) special(imm immediate, opcodes ...int) {
	for _, o := range opcodes {
		t[o] = opInfo{imm: imm}
	}
}

func makeOps() *opTable {
	t := &opTable{}
	t.special(immNone, opUnreachable, 1, opElse, opEnd, opReturn, opDrop, opSelect, opRefIsNull)
	t.special(immBlock, opBlock, opLoop, opIf)
	t.special(immIndex, opBr, opBrIf, opCall, opLocalGet, opLocalSet, opLocalTee, opGlobalGet, opGlobalSet,
		opTableGet, opTableSet, opRefFunc, opDataDrop, opElemDrop, opTableGrow, opTableSize, opTableFill)
	t.special(immTwo, opCallIndirect, opTableInit, opTableCopy)
	t.special(immLabels, opBrTable)
	t.special(immSelect, opSelectTyped)
	t.special(immRef, opRefNull)
	t.special(immIdxZero, opMemoryInit)
	t.set(opMemorySize, opMemorySize, immZero, I32)
	t.set(opMemoryGrow, opMemoryGrow, immZero, I32, I32)
	t.set(opMemoryCopy, opMemoryCopy, immTwoZero, anyType, I32, I32, I32)
	t.set(opMemoryFill, opMemoryFill, immZero, anyType, I32, I32, I32)
	t.set(0x41, 0x41, immI32, I32)
	t.set(0x42, 0x42, immI64, I64)
	t.set(0x43, 0x43, immBits32, F32)
	t.set(0x44, 0x44, immBits64, F64)
	t.memory()
	t.numeric()
	t.conversions()
	t.vectorAccess()
	t.vectorInteger()
	t.vectorFloat()
	return t
}

func (t *opTable) memory() {
	loads := []ValType{I32, I64, F32, F64, I32, I32, I32, I32, I64, I64, I64, I64, I64, I64}
	for i, align := range []uint8{2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2} {
		t.set(0x28+i, 0x28+i, immMemory, loads[i], I32)
		t[0x28+i].align = align
	}
	stores := []ValType{I32, I64, F32, F64, I32, I32, I64, I64, I64}
	for i, align := range []uint8{2, 3, 2, 3, 0, 1, 0, 1, 2} {
		t.set(0x36+i, 0x36+i, immMemory, anyType, I32, stores[i])
		t[0x36+i].align = align
	}
}

func (t *opTable) numeric() {
	t.set(0x45, 0x45, immNone, I32, I32)
	t.set(0x46, 0x4f, immNone, I32, I32, I32)
	t.set(0x50, 0x50, immNone, I32, I64)
	t.set(0x51, 0x5a, immNone, I32, I64, I64)
	t.set(0x5b, 0x60, immNone, I32, F32, F32)
	t.set(0x61, 0x66, immNone, I32, F64, F64)
	t.set(0x67, 0x69, immNone, I32, I32)
	t.set(0x6a, 0x78, immNone, I32, I32, I32)
	t.set(0x79, 0x7b, immNone, I64, I64)
	t.set(0x7c, 0x8a, immNone, I64, I64, I64)
	t.set(0x8b, 0x91, immNone, F32, F32)
	t.set(0x92, 0x98, immNone, F32, F32, F32)
	t.set(0x99, 0x9f, immNone, F64, F64)
	t.set(0xa0, 0xa6, immNone, F64, F64, F64)
}

func (t *opTable) conversions() {
	// Each digit pair is target and source, by the number of the type below.
	types := []ValType{I32, I64, F32, F64}
	for i, c := range []byte{
		0x01, 0x02, 0x02, 0x03, 0x03, 0x10, 0x10, 0x12, 0x12, 0x13, 0x13, 0x20, 0x20, 0x21, 0x21, 0x23,
		0x30, 0x30, 0x31, 0x31, 0x32, 0x02, 0x13, 0x20, 0x31, 0x00, 0x00, 0x11, 0x11, 0x11,
	} {
		t.set(0xa7+i, 0xa7+i, immNone, types[c>>4], types[c&15])
	}
	for i, c := range []byte{0x02, 0x02, 0x03, 0x03, 0x12, 0x12, 0x13, 0x13} {
		t.set(miscBase+i, miscBase+i, immNone, types[c>>4], types[c&15])
	}
}
