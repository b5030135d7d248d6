//go:build linux

package wasm

import (
	"bytes"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/wasm"
)

// survives runs the guest twice and tells both replies. With control set the
// second call follows without bringing the state back, which shows that the
// guest would notice.
func survives(t *testing.T, g *Guest, control bool) (first, second []byte, reset Reset) {
	t.Helper()
	if control {
		return runRaw(t, g), runRaw(t, g), 0
	}
	r1 := run(t, g, invocation("x"))
	first = bytes.Clone(r1.Output)
	if r1.Status != StatusOK {
		t.Fatalf("first call: %v %s", r1.Status, r1.ErrorMessage)
	}
	r2 := run(t, g, invocation("x"))
	if r2.Status != StatusOK {
		t.Fatalf("second call: %v %s", r2.Status, r2.ErrorMessage)
	}
	return first, r2.Output, r1.Reset
}

// runRaw makes a call and leaves its state behind.
func runRaw(t *testing.T, g *Guest) []byte {
	t.Helper()
	inv := invocation("x")
	g.wasi.Begin(&g.ctx, callOf(inv))
	g.refuel(0)
	if err := g.enter(); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(g.wasi.Output)
}

// stateGuests each answer with something that a call changes.
func stateGuests() map[string]*guest {
	all := map[string]*guest{}
	one := func(name string, pages uint32) *guest {
		g := newGuestModule(pages)
		all[name] = g
		return g
	}
	one("memory", 1).handle(store(500, add(load(500), i32(1))), reply(500, 4))
	one("last byte of memory", 1).handle(store(65532, add(load(65532), i32(1))), reply(65532, 4))
	one("grown memory", 1).handle(
		store(500, memorySize), drop(memoryGrow(i32(3))),
		// What was grown into begins as zeros again.
		when(eq(load(500), i32(1)), store(504, load(200000)), store(200000, i32(99))),
		reply(500, 8),
	)
	all["memory that was empty"] = emptyMemory()
	for name, x := range numericGlobals() {
		g := one("global "+name, 1)
		n := g.global(x.t, x.op, 0)
		g.handle(x.show(n), x.change(n), reply(500, 16))
	}
	// The other reference type, externref, has one value only for our guests: null.
	g := one("global funcref", 1)
	ref := g.global(wasm.FuncRef, wasm.ConstNull, 0)
	f := g.fn(wasm.FuncType{}, 0)
	g.export("f", f)
	g.handle(store(500, seq(globalGet(ref), code{0xd1})), seq(code{0xd2}, u(f)), globalSet(ref), reply(500, 4))
	tableGuests(one)
	return all
}

func emptyMemory() *guest {
	g := newGuestModule(0)
	g.Memories = []wasm.Range{{Min: 0}}
	return g.handle(
		memorySize, set(0),
		when(eq(get(0), i32(0)), drop(memoryGrow(i32(1)))),
		store(500, get(0)), reply(500, 4),
	)
}

type globalKind struct {
	t      wasm.ValType
	op     wasm.ConstOp
	show   func(g uint32) code
	change func(g uint32) code
}

func numericGlobals() map[string]globalKind {
	change := func(c code) func(uint32) code {
		return func(g uint32) code { return seq(c, globalSet(g)) }
	}
	show := func(op byte, align byte) func(uint32) code {
		return func(g uint32) code { return seq(i32(0), globalGet(g), code{op, align}, u(500)) }
	}
	return map[string]globalKind{
		"i32": {wasm.I32, wasm.ConstI32, show(0x36, 2), change(i32(-5))},
		"i64": {wasm.I64, wasm.ConstI64, show(0x37, 3), change(i64(-5))},
		"f32": {wasm.F32, wasm.ConstF32, show(0x38, 2), change(f32(1.5))},
		"f64": {wasm.F64, wasm.ConstF64, show(0x39, 3), change(f64(2.5))},
		"v128": {wasm.V128, wasm.ConstV128,
			func(g uint32) code { return seq(i32(0), globalGet(g), code{0xfd, 11, 4}, u(500)) },
			change(seq(code{0xfd, 12}, bytes.Repeat(code{7}, 16)))},
	}
}

// tableGuests answer with what a function in a table, or a segment, gives.
func tableGuests(one func(string, uint32) *guest) {
	i32result := wasm.FuncType{Results: []wasm.ValType{wasm.I32}}
	withTable := func(name string) (*guest, uint32, uint32) {
		g := one(name, 1)
		f1, f2 := g.fn(i32result, 0, i32(1)), g.fn(i32result, 0, i32(2))
		g.Tables = []wasm.Table{{Type: wasm.FuncRef, Size: wasm.Range{Min: 3}}}
		g.Elements = []wasm.Element{
			{Mode: wasm.Active, Type: wasm.FuncRef, Offset: wasm.ConstExpr{Op: wasm.ConstI32}, Funcs: []uint32{f1, f1, f1}},
			{Mode: wasm.Passive, Type: wasm.FuncRef, Funcs: []uint32{f2}},
		}
		return g, g.typ(i32result), f2
	}
	first := func(t uint32) code { return seq(i32(0), callIndirect(t, 0)) }
	g, t, f2 := withTable("table.set")
	g.handle(store(500, first(t)), i32(0), seq(code{0xd2}, u(f2)), code{0x26, 0}, reply(500, 4))
	g, t, f2 = withTable("table.fill")
	g.handle(store(500, first(t)), i32(0), seq(code{0xd2}, u(f2)), i32(2), code{0xfc, 17, 0}, reply(500, 4))
	g, t, _ = withTable("table.init")
	g.handle(store(500, first(t)), i32(0), i32(0), i32(1), code{0xfc, 12, 1, 0}, reply(500, 4))
	g, _, f2 = withTable("table.grow")
	g.handle(store(500, code{0xfc, 16, 0}), drop(seq(code{0xd2}, u(f2), i32(2), code{0xfc, 15, 0})), reply(500, 4))
	g = one("data.drop", 1)
	zero := uint32(1)
	g.DataCount = &zero
	g.Data = []wasm.Data{{Mode: wasm.Passive, Bytes: []byte("data")}}
	// Copying 0 bytes from a dropped segment is allowed at offset 0 only, so
	// the guest asks what it is allowed to: 4 bytes, if the flag in memory says
	// that it did not drop it. The flag is restored; the segment has to be too.
	g.handle(i32(500), i32(0), i32(4), code{0xfc, 8, 0, 0}, code{0xfc, 9, 0}, reply(500, 4))
	g, _, _ = withTable("elem.drop")
	g.handle(i32(0), i32(0), i32(1), code{0xfc, 12, 1, 0}, code{0xfc, 13, 1}, reply(500, 4))
}

// trapsTwice are guests whose second call would trap if state survived.
var trapsTwice = map[string]bool{"data.drop": true, "elem.drop": true}

func TestNoStateSurvives(t *testing.T) {
	all := engines(t)
	for name, m := range stateGuests() {
		a := build(t, m.Encode())
		for way, e := range all {
			t.Run(strings.ReplaceAll(name, " ", "_")+"/"+way, func(t *testing.T) {
				g := loadFD(t, e, a)
				first, second, reset := survives(t, g, false)
				if !bytes.Equal(first, second) {
					t.Fatalf("the second call sees the first: %x, then %x", first, second)
				}
				t.Logf("reset %d", reset)
				if trapsTwice[name] {
					runRaw(t, g)
					g.wasi.Begin(&g.ctx, callOf(invocation("x")))
					if g.enter() == nil {
						t.Fatal("control: the guest does not notice that its state was kept")
					}
					return
				}
				first, second, _ = survives(t, g, true)
				if bytes.Equal(first, second) {
					t.Fatalf("control: the guest does not notice that its state was kept: %x", first)
				}
			})
		}
	}
}
