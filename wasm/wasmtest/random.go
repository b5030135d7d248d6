package wasmtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/carrel-dev/carrel/wasm"
)

// Random makes a valid module that uses most of what modules can: mutable
// globals of all numeric types (exported as g0, g1, ...), a memory that
// grows, a table with setters, passive segments, loops, and functions f0, f1,
// ... that call one another. Every call of an export ends soon: loops are
// counted and calls go downwards only. Calls may trap. The export "null" with
// an i32 tells whether that element of the table is null. Nothing is
// imported. The same source of numbers gives the same module.
func Random(r *rand.Rand) *wasm.Module {
	g := &random{r: r, b: New()}
	g.b.Memory(1, 1+r.Uint32N(3))
	g.b.Table(wasm.FuncRef, tableSize)
	for i, t := range valueTypes {
		v := wasm.Value{Type: t, Lo: g.bits(t), Hi: r.Uint64()}
		g.b.Export(fmt.Sprintf("g%d", i), wasm.ExternGlobal, g.b.Global(v))
	}
	for range r.IntN(3) {
		g.b.Data(r.Uint32N(1<<15), g.bytes())
	}
	for range 2 {
		g.passive = append(g.passive, g.b.PassiveData(g.bytes()))
	}
	for i := range 2 + r.IntN(4) {
		g.function(i)
	}
	last := uint32(len(g.signatures)) - 1
	g.b.Elements(r.Uint32N(tableSize-2), r.Uint32N(last+1), r.Uint32N(last+1))
	g.b.PassiveElements(0, last)
	g.b.Func("null", Types(wasm.I32), Types(wasm.I32), func(c *Code) {
		c.LocalGet(0).I32Const(tableSize - 1).Op(I32And).TableGet(0).Op(RefIsNull)
	})
	return g.b.Module()
}

const (
	tableSize = 8
	// passiveElements is the index of the only passive element segment.
	passiveElements = 1
)

var valueTypes = Types(wasm.I32, wasm.I64, wasm.F32, wasm.F64, wasm.V128)

type random struct {
	r          *rand.Rand
	b          *Builder
	signatures []wasm.FuncType
	passive    []uint32

	c      *Code
	locals []wasm.ValType
	// budget is how many more pieces the function may have, calls how many
	// more calls; loops is how many loops are open.
	budget, calls, loops int
	labels               int
}

func (g *random) pick(types []wasm.ValType) wasm.ValType { return types[g.r.IntN(len(types))] }

func (g *random) bytes() []byte {
	b := make([]byte, g.r.IntN(64))
	for i := range b {
		b[i] = byte(g.r.Uint32())
	}
	return b
}

// bits gives a number for a type, of a magnitude that ordinary programs use.
func (g *random) bits(t wasm.ValType) uint64 {
	switch t {
	case wasm.F32:
		return F32Value(float32(g.r.NormFloat64() * 100)).Lo
	case wasm.F64:
		return F64Value(g.r.NormFloat64() * 1e6).Lo
	case wasm.I32:
		return uint64(g.r.Uint32() >> g.r.Uint32N(32))
	}
	return g.r.Uint64() >> g.r.Uint32N(64)
}

func (g *random) function(i int) {
	var t wasm.FuncType
	for range g.r.IntN(4) {
		t.Params = append(t.Params, g.pick(valueTypes[:4]))
	}
	for range g.r.IntN(3) {
		t.Results = append(t.Results, g.pick(valueTypes[:4]))
	}
	g.b.Func(fmt.Sprintf("f%d", i), t.Params, t.Results, func(c *Code) {
		g.c, g.budget, g.calls, g.loops, g.labels = c, 60, 3, 0, 0
		g.locals = append([]wasm.ValType(nil), t.Params...)
		for range 2 + g.r.IntN(4) {
			v := g.pick(valueTypes)
			c.Local(v)
			g.locals = append(g.locals, v)
		}
		for range 3 + g.r.IntN(5) {
			g.statement()
		}
		for _, v := range t.Results {
			g.value(v)
		}
	})
	g.signatures = append(g.signatures, t)
}

// constant pushes a constant.
func (g *random) constant(t wasm.ValType) {
	v := g.bits(t)
	switch t {
	case wasm.I32:
		g.c.I32Const(int32(v))
	case wasm.I64:
		g.c.I64Const(int64(v))
	case wasm.V128:
		g.c.V128Const(v, g.r.Uint64())
	case wasm.F32:
		g.c.Raw(0x43, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	default:
		g.c.Raw(0x44, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
	}
}

// leaf pushes a constant, a local or a global.
func (g *random) leaf(t wasm.ValType) {
	if g.r.IntN(3) > 0 {
		first := g.r.IntN(len(g.locals))
		for i := range g.locals {
			if l := (first + i) % len(g.locals); g.locals[l] == t {
				g.c.LocalGet(uint32(l))
				return
			}
		}
	}
	if g.r.IntN(2) == 0 {
		g.global(t, (*Code).GlobalGet)
		return
	}
	g.constant(t)
}

func (g *random) global(t wasm.ValType, use func(*Code, uint32) *Code) {
	for i, v := range valueTypes {
		if v == t {
			use(g.c, uint32(i))
		}
	}
}

// operator is an instruction with what it takes and leaves.
type operator struct {
	code []byte
	in   []wasm.ValType
}

var operators = map[wasm.ValType][]operator{
	wasm.I32: {
		{[]byte{0x6a}, Types(wasm.I32, wasm.I32)}, {[]byte{0x6b}, Types(wasm.I32, wasm.I32)}, {[]byte{0x6c}, Types(wasm.I32, wasm.I32)},
		{[]byte{0x6e}, Types(wasm.I32, wasm.I32)}, {[]byte{0x73}, Types(wasm.I32, wasm.I32)}, {[]byte{0x74}, Types(wasm.I32, wasm.I32)},
		{[]byte{0x45}, Types(wasm.I32)}, {[]byte{0x67}, Types(wasm.I32)}, {[]byte{0xc0}, Types(wasm.I32)}, {[]byte{0x48}, Types(wasm.I32, wasm.I32)},
		{[]byte{0x54}, Types(wasm.I64, wasm.I64)}, {[]byte{0x5d}, Types(wasm.F32, wasm.F32)}, {[]byte{0x65}, Types(wasm.F64, wasm.F64)},
		{[]byte{0xa7}, Types(wasm.I64)}, {[]byte{0xfc, 0}, Types(wasm.F32)}, {[]byte{0xfc, 3}, Types(wasm.F64)}, {[]byte{0xaa}, Types(wasm.F64)},
		{[]byte{0xfd, 0x1b, 2}, Types(wasm.V128)}, {[]byte{0xfd, 0x53}, Types(wasm.V128)}, {[]byte{0x3f, 0}, nil}, {[]byte{0xfc, 16, 0}, nil},
	},
	wasm.I64: {
		{[]byte{0x7c}, Types(wasm.I64, wasm.I64)}, {[]byte{0x7e}, Types(wasm.I64, wasm.I64)}, {[]byte{0x80}, Types(wasm.I64, wasm.I64)},
		{[]byte{0x85}, Types(wasm.I64, wasm.I64)}, {[]byte{0x8a}, Types(wasm.I64, wasm.I64)}, {[]byte{0xad}, Types(wasm.I32)},
		{[]byte{0xfc, 6}, Types(wasm.F64)}, {[]byte{0xbd}, Types(wasm.F64)}, {[]byte{0xfd, 0x1d, 1}, Types(wasm.V128)},
	},
	wasm.F32: {
		{[]byte{0x92}, Types(wasm.F32, wasm.F32)}, {[]byte{0x94}, Types(wasm.F32, wasm.F32)}, {[]byte{0x8c}, Types(wasm.F32)},
		{[]byte{0xb2}, Types(wasm.I32)}, {[]byte{0xb6}, Types(wasm.F64)}, {[]byte{0xfd, 0x1f, 3}, Types(wasm.V128)},
	},
	wasm.F64: {
		{[]byte{0xa0}, Types(wasm.F64, wasm.F64)}, {[]byte{0xa2}, Types(wasm.F64, wasm.F64)}, {[]byte{0x9f}, Types(wasm.F64)},
		{[]byte{0xb9}, Types(wasm.I64)}, {[]byte{0xbb}, Types(wasm.F32)}, {[]byte{0xfd, 0x21, 0}, Types(wasm.V128)},
	},
	wasm.V128: {
		{[]byte{0xfd, 0x0f}, Types(wasm.I32)}, {[]byte{0xfd, 0x12}, Types(wasm.I64)}, {[]byte{0xfd, 0x51}, Types(wasm.V128, wasm.V128)},
		{[]byte{0xfd, 0xae, 1}, Types(wasm.V128, wasm.V128)}, {[]byte{0xfd, 0x1c, 1}, Types(wasm.V128, wasm.I32)},
	},
}

// value pushes a value of a type.
func (g *random) value(t wasm.ValType) {
	g.budget--
	if g.budget <= 0 {
		g.leaf(t)
		return
	}
	switch g.r.IntN(9) {
	case 0, 1, 2, 3:
		o := operators[t][g.r.IntN(len(operators[t]))]
		for _, v := range o.in {
			g.value(v)
		}
		g.c.Raw(o.code...)
	case 4:
		g.value(wasm.I32)
		g.c.IfOf(t)
		g.value(t)
		g.c.Else()
		g.value(t)
		g.c.End()
	case 5:
		g.address()
		g.c.Raw(map[wasm.ValType][]byte{
			wasm.I32: {0x2d}, wasm.I64: {0x29}, wasm.F32: {0x2a}, wasm.F64: {0x2b}, wasm.V128: {0xfd, 0x00},
		}[t]...).Raw(0, byte(g.r.IntN(100)))
	case 6:
		g.value(t)
		g.value(t)
		g.value(wasm.I32)
		g.c.Op(Select)
	default:
		g.leaf(t)
	}
}

// address pushes an address that is usually inside of the memory.
func (g *random) address() {
	g.value(wasm.I32)
	if g.r.IntN(20) > 0 {
		g.c.I32Const(0x7fff).Op(I32And)
	}
}

// small pushes a number below a power of two.
func (g *random) small(below int32) {
	g.value(wasm.I32)
	g.c.I32Const(below - 1).Op(I32And)
}
