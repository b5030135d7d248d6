package wasm

// vec sets vector instructions by the last two digits of their opcodes.
func (t *opTable) vec(from, to int, out ValType, in ...ValType) {
	t.set(simdBase+from, simdBase+to, immNone, out, in...)
}

// unset takes back opcodes that are not instructions.
func (t *opTable) unset(opcodes ...int) {
	for _, o := range opcodes {
		t[simdBase+o] = opInfo{}
	}
}

func (t *opTable) vectorAccess() {
	for i, align := range []uint8{4, 3, 3, 3, 3, 3, 3, 0, 1, 2, 3} {
		t.set(simdBase+i, simdBase+i, immMemory, V128, I32)
		t[simdBase+i].align = align
	}
	t.set(simdBase+11, simdBase+11, immMemory, anyType, I32, V128)
	t[simdBase+11].align = 4
	t.set(simdBase+simdConst, simdBase+simdConst, immBits128, V128)
	t.set(simdBase+simdShuffle, simdBase+simdShuffle, immBits128, V128, V128, V128)
	t.vec(0x0e, 0x0e, V128, V128, V128)
	for i, scalar := range []ValType{I32, I32, I32, I64, F32, F64} {
		t.vec(0x0f+i, 0x0f+i, V128, scalar)
	}
	op := simdBase + 0x15
	lane := func(lanes uint8, out ValType, in ...ValType) {
		t.set(op, op, immLane, out, in...)
		t[op].lanes = lanes
		op++
	}
	for _, lanes := range []uint8{16, 8} {
		lane(lanes, I32, V128)
		lane(lanes, I32, V128)
		lane(lanes, V128, V128, I32)
	}
	for i, scalar := range []ValType{I32, I64, F32, F64} {
		lanes := []uint8{4, 2, 4, 2}[i]
		lane(lanes, scalar, V128)
		lane(lanes, V128, V128, scalar)
	}
	for i := range 4 {
		t.set(simdBase+0x54+i, simdBase+0x54+i, immMemLane, V128, I32, V128)
		t.set(simdBase+0x58+i, simdBase+0x58+i, immMemLane, anyType, I32, V128)
		for _, o := range []int{0x54, 0x58} {
			t[simdBase+o+i].align, t[simdBase+o+i].lanes = uint8(i), uint8(16>>i)
		}
	}
	for i := range 2 {
		t.set(simdBase+0x5c+i, simdBase+0x5c+i, immMemory, V128, I32)
		t[simdBase+0x5c+i].align = uint8(2 + i)
	}
}

func (t *opTable) vectorInteger() {
	t.vec(0x23, 0x4c, V128, V128, V128) // comparisons, floats too
	t.vec(0x4d, 0x4d, V128, V128)
	t.vec(0x4e, 0x51, V128, V128, V128)
	t.vec(0x52, 0x52, V128, V128, V128, V128)
	t.vec(0x53, 0x53, I32, V128)
	// Four rows of 32 opcodes, laid out alike for i8x16, i16x8, i32x4, i64x2.
	for row := 0x60; row <= 0xc0; row += 0x20 {
		t.vec(row, row+1, V128, V128)
		t.vec(row+2, row+2, V128, V128, V128)
		t.vec(row+3, row+4, I32, V128)
		t.vec(row+5, row+6, V128, V128, V128)
		t.vec(row+7, row+10, V128, V128)
		t.vec(row+11, row+13, V128, V128, I32)
		t.vec(row+14, row+31, V128, V128, V128)
	}
	t.vec(0x62, 0x62, V128, V128)
	for _, single := range []int{0x74, 0x75, 0x7a, 0x7c, 0x7d, 0x7e, 0x7f, 0x94} {
		t.vec(single, single, V128, V128)
	}
	t.unset(0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb,
		0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4)
}

func (t *opTable) vectorFloat() {
	t.vec(0x5e, 0x5f, V128, V128)
	for row := 0xe0; row <= 0xec; row += 12 {
		t.vec(row, row+3, V128, V128)
		t.unset(row + 2)
	}
	t.vec(0xe4, 0xeb, V128, V128, V128)
	t.vec(0xf0, 0xf7, V128, V128, V128)
	t.vec(0xf8, 0xff, V128, V128)
}
