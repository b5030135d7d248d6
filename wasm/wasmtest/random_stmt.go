package wasmtest

import "github.com/carrel-dev/carrel/wasm"

// statement writes code that leaves the stack as it is.
func (g *random) statement() {
	g.budget--
	t := g.pick(valueTypes)
	switch g.r.IntN(14) {
	case 0, 1:
		g.value(t)
		g.global(t, (*Code).GlobalSet)
	case 2, 3:
		if l := g.r.IntN(len(g.locals)); g.locals[l] != 0 {
			g.value(g.locals[l])
			g.c.LocalSet(uint32(l))
		}
	case 4, 5:
		g.address()
		g.value(t)
		g.c.Raw(map[wasm.ValType][]byte{
			wasm.I32: {0x3a}, wasm.I64: {0x37}, wasm.F32: {0x38}, wasm.F64: {0x39}, wasm.V128: {0xfd, 0x0b},
		}[t]...).Raw(0, byte(g.r.IntN(100)))
	case 6:
		g.value(wasm.I32)
		g.c.If()
		g.nested()
		g.c.Else()
		g.nested()
		g.c.End()
	case 7:
		g.loop()
	case 8:
		g.call()
	case 9:
		g.bulk()
	case 10:
		g.table()
	case 11:
		g.branch()
	case 12:
		g.small(4)
		g.c.MemoryGrow().Op(Drop)
	case 13:
		if g.r.IntN(4) == 0 {
			g.c.DataDrop(g.passive[g.r.IntN(len(g.passive))])
		}
	}
}

func (g *random) nested() {
	g.labels++
	for range g.r.IntN(3) {
		if g.budget > 0 {
			g.statement()
		}
	}
	g.labels--
}

// loop writes a loop that turns at most four times: its counter is a local
// that no other code knows.
func (g *random) loop() {
	if g.loops > 1 {
		return
	}
	// The counter stays out of g.locals, but takes the next index.
	counter := g.c.Local(wasm.I32)
	g.locals = append(g.locals, 0)
	g.c.I32Const(1 + g.r.Int32N(4)).LocalSet(counter).Loop().Block()
	g.loops++
	labels := g.labels
	g.labels = 0 // a branch to the loop's own head would not count down
	g.nested()
	g.labels = labels
	g.loops--
	g.c.End().LocalGet(counter).I32Const(1).Op(I32Sub).LocalTee(counter).BrIf(0).End()
}

// call calls a function made before, directly or through the table.
func (g *random) call() {
	if g.calls == 0 || g.loops > 1 || len(g.signatures) == 0 {
		return
	}
	g.calls--
	f := g.r.IntN(len(g.signatures))
	t := g.signatures[f]
	for _, v := range t.Params {
		g.value(v)
	}
	g.c.Call(uint32(f))
	for range t.Results {
		g.c.Op(Drop)
	}
}

func (g *random) bulk() {
	g.address()
	switch g.r.IntN(3) {
	case 0:
		g.value(wasm.I32)
		g.small(4096)
		g.c.MemoryFill()
	case 1:
		g.address()
		g.small(4096)
		g.c.MemoryCopy()
	default:
		g.small(16)
		g.small(16)
		g.c.MemoryInit(g.passive[g.r.IntN(len(g.passive))])
	}
}

func (g *random) table() {
	switch g.r.IntN(6) {
	case 0:
		g.small(tableSize)
		g.c.RefNull(wasm.FuncRef).TableSet(0)
	case 1:
		g.small(tableSize)
		g.small(tableSize)
		g.c.TableGet(0).TableSet(0)
	case 2:
		g.small(tableSize)
		g.small(2)
		g.small(2)
		g.c.TableInit(0, passiveElements)
	case 3:
		g.small(tableSize)
		g.c.RefNull(wasm.FuncRef)
		g.small(4)
		g.c.TableFill(0)
	case 4:
		g.c.RefNull(wasm.FuncRef)
		g.small(2)
		g.c.TableGrow(0).Op(Drop)
	default:
		if g.r.IntN(4) == 0 {
			g.c.ElemDrop(passiveElements)
		}
	}
}

// branch leaves blocks early, by br_if or br_table, or the function by a trap.
func (g *random) branch() {
	if g.r.IntN(20) == 0 {
		g.value(wasm.I32)
		g.c.If().Op(Unreachable).End()
		return
	}
	if g.labels == 0 {
		return
	}
	label := func() uint32 { return g.r.Uint32N(uint32(g.labels)) }
	if g.r.IntN(2) == 0 {
		g.value(wasm.I32)
		g.c.BrIf(label())
		return
	}
	// br_table ends the code that can be reached in its block: give it its own.
	g.c.Block()
	g.small(4)
	g.c.BrTable(0, label()+1, 0, label()+1).End()
}
