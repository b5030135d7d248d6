package wasm_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

// stateful makes a module with a mutable global of each type, a setter and a
// getter for each, and one immutable global.
func stateful(refs bool) (*wasm.Module, []wasm.ValType) {
	types := []wasm.ValType{wasm.I32, wasm.I64, wasm.F32, wasm.F64, wasm.V128}
	b := wasmtest.New()
	b.RawGlobal(wasm.Global{Type: wasm.GlobalType{Type: wasm.I32}, Init: wasm.ConstExpr{Op: wasm.ConstI32, Lo: 9}})
	b.Global(wasmtest.I32Value(-5))
	b.Global(wasmtest.I64Value(1 << 60))
	b.Global(wasmtest.F32Value(1.5))
	b.Global(wasmtest.F64Value(-2.25))
	b.Global(wasmtest.V128Value(3, 4))
	if refs {
		types = append(types, wasm.FuncRef, wasm.ExternRef)
		for _, t := range types[5:] {
			b.RawGlobal(wasm.Global{Type: wasm.GlobalType{Type: t, Mutable: true}, Init: wasm.ConstExpr{Op: wasm.ConstNull, RefType: t}})
		}
	}
	for i, t := range types {
		name := t.String()
		if t == wasm.V128 {
			// The host has no vectors: the halves are passed as two i64.
			b.Func("set "+name, wasmtest.Types(wasm.I64, wasm.I64), nil, func(c *wasmtest.Code) {
				c.LocalGet(0).Raw(0xfd, 0x12).LocalGet(1).Raw(0xfd, 0x1e, 1).GlobalSet(uint32(i + 1))
			})
			b.Func("get "+name, nil, wasmtest.Types(wasm.I64, wasm.I64), func(c *wasmtest.Code) {
				c.GlobalGet(uint32(i+1)).Raw(0xfd, 0x1d, 0).GlobalGet(uint32(i+1)).Raw(0xfd, 0x1d, 1)
			})
			continue
		}
		b.Func("set "+name, wasmtest.Types(t), nil, func(c *wasmtest.Code) { c.LocalGet(0).GlobalSet(uint32(i + 1)) })
		b.Func("get "+name, nil, wasmtest.Types(t), func(c *wasmtest.Code) { c.GlobalGet(uint32(i + 1)) })
	}
	one := b.Func("", nil, nil, func(*wasmtest.Code) {})
	b.PassiveElements(one)
	b.Func("a funcref", nil, wasmtest.Types(wasm.FuncRef), func(c *wasmtest.Code) { c.RefFunc(one) })
	return b.Module(), types
}

func (g *guest) state(types []wasm.ValType) (all [][]uint64) {
	g.t.Helper()
	for _, t := range types {
		all = append(all, g.must("get "+t.String()))
	}
	return all
}

func (g *guest) setState(types []wasm.ValType, to [][]uint64) {
	g.t.Helper()
	for i, t := range types {
		g.must("set "+t.String(), to[i]...)
	}
}

func same(a, b [][]uint64) bool {
	return slices.EqualFunc(a, b, func(a, b []uint64) bool { return slices.Equal(a, b) })
}

func TestSaveAndRestoreEveryValueType(t *testing.T) {
	t.Parallel()
	m, types := stateful(true)
	g := run(t, m, wasm.Options{})
	ref := g.must("a funcref")[0]
	first := [][]uint64{{1}, {1 << 62}, {0x7fc00001}, {0x7ff8000000000001}, {1 << 63, 7}, {ref}, {77}}
	second := [][]uint64{{2}, {3}, {4}, {5}, {6, 8}, {0}, {88}}
	g.setState(types, first)
	g.must(wasm.SaveExport)
	if got := g.state(types); !same(got, first) {
		t.Fatalf("saving changed the globals to %v", got)
	}
	for range 3 {
		g.setState(types, second)
		if got := g.state(types); !same(got, second) {
			t.Fatalf("before restoring: %v", got)
		}
		fuel := g.global(wasm.FuelExport).Get()
		g.must(wasm.RestoreExport)
		if got := g.state(types); !same(got, first) {
			t.Fatalf("restored: %v, want %v", got, first)
		}
		if g.global(wasm.FuelExport).Get() > fuel {
			t.Fatal("restoring gave fuel back")
		}
	}
	if g.i.Portable() {
		t.Error("references that the guest sets cannot be carried")
	}
	if _, err := g.i.WithImage(g.image()); !fault.Is(err, fault.Unsupported) {
		t.Errorf("an image with references: %v", err)
	}
}

func TestImageCarriesEveryNumericType(t *testing.T) {
	t.Parallel()
	m, types := stateful(false)
	g := run(t, m, wasm.Options{})
	want := [][]uint64{{1}, {1 << 62}, {0x7fc00001}, {0x7ff8000000000001}, {1 << 63, 7}}
	g.setState(types, want)
	n := g.carried(g.image())
	if got := n.state(types); !same(got, want) {
		t.Errorf("carried: %v, want %v", got, want)
	}
	n.setState(types, [][]uint64{{2}, {3}, {4}, {5}, {6, 8}})
	n.must(wasm.RestoreExport) // without a save: the image is what was saved
	if got := n.state(types); !same(got, want) {
		t.Errorf("restored to %v, want %v", got, want)
	}
	img := g.image()
	delete(img.Globals, 2)
	if _, err := g.i.WithImage(img); !fault.Is(err, fault.Invalid) {
		t.Errorf("an image without a global: %v", err)
	}
	img = g.image()
	img.Globals[2] = wasm.Value{Type: wasm.I32}
	if _, err := g.i.WithImage(img); !fault.Is(err, fault.Invalid) {
		t.Errorf("an image with a global of another type: %v", err)
	}
	img = g.image()
	img.Globals[0] = wasm.Value{Type: wasm.I32}
	if _, err := g.i.WithImage(img); !fault.Is(err, fault.Invalid) {
		t.Errorf("an image with a global that cannot change: %v", err)
	}
}

// segmented makes a guest whose initialisation copies a passive segment,
// drops it, grows the memory, and leaves another passive segment.
func segmented() *wasm.Module {
	b := wasmtest.New()
	i32 := wasmtest.Types(wasm.I32)
	b.Memory(1, 5)
	count := b.Global(wasmtest.I32Value(0))
	b.Table(wasm.FuncRef, 2)
	b.Data(100, []byte("active"))
	first, second := b.PassiveData([]byte("first")), b.PassiveData([]byte("second"))
	f := b.Func("answer", nil, i32, func(c *wasmtest.Code) { c.GlobalGet(count) })
	b.Elements(1, f)
	b.Func("_initialize", nil, nil, func(c *wasmtest.Code) {
		c.I32Const(0).I32Const(0).I32Const(5).MemoryInit(first).DataDrop(first)
		c.I32Const(2).MemoryGrow().Op(wasmtest.Drop)
		c.I32Const(42).GlobalSet(count)
	})
	b.Func("handle", i32, i32, func(c *wasmtest.Code) {
		c.GlobalGet(count).I32Const(1).Op(wasmtest.I32Add).GlobalSet(count)
		c.LocalGet(0).I32Const(0).I32Const(6).MemoryInit(second)
		c.I32Const(1).CallIndirect(b.Type(nil, i32), 0)
		c.MemorySize().Op(wasmtest.I32Add).I32Const(0).Mem(wasmtest.I32Load8U, 100).Op(wasmtest.I32Add)
	})
	b.Func("again", nil, nil, func(c *wasmtest.Code) { c.I32Const(0).I32Const(0).I32Const(5).MemoryInit(first) })
	b.Func("drop", nil, nil, func(c *wasmtest.Code) { c.DataDrop(second) })
	return b.Module()
}

func TestImageRunsLikeTheOriginal(t *testing.T) {
	t.Parallel()
	g := run(t, segmented(), wasm.Options{})
	g.must("_initialize")
	img := g.image()
	if img.Pages != 3 || img.Tainted != wasm.TaintData || len(img.Dropped) != 1 {
		t.Fatalf("image %+v", img)
	}
	n := g.carried(img)
	if n.global(wasm.TaintExport).Get() != 0 {
		t.Error("a new instance is tainted")
	}
	for _, at := range []uint64{7, 70_000} {
		if a, b := g.must("handle", at), n.must("handle", at); a[0] != b[0] {
			t.Errorf("the original gives %d, the carried one %d", a[0], b[0])
		}
		if a, b := g.cost("handle", at), n.cost("handle", at); a != b {
			t.Errorf("the original costs %d, the carried one %d", a, b)
		}
	}
	if !bytes.Equal(g.memory(), n.memory()) {
		t.Error("the memories differ after the same calls")
	}
	for _, i := range []*guest{g, n} {
		if _, err := i.call("again"); err == nil {
			t.Error("a dropped segment came back")
		}
	}
	img.MaxPages = 3
	if small := g.carried(img); small.m.ExportedMemory(wasm.MemoryExport).Size() != 3*wasm.PageSize {
		t.Error("the image at its limit")
	}
	for _, pages := range []uint32{0, 4} {
		img.Pages = pages
		if _, err := g.i.WithImage(img); !fault.Is(err, fault.Invalid) {
			t.Errorf("an image of %d pages for a memory of 1 to 3: %v", pages, err)
		}
	}
}

func TestImageWithoutSegmentsInCodeHasNone(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	b.Memory(1, 1)
	for i := range uint32(100) {
		b.Data(i*8, []byte("segment"))
	}
	b.Start(b.Func("", nil, nil, func(*wasmtest.Code) {}))
	g := run(t, b.Module(), wasm.Options{MoveStart: true})
	out, err := g.i.WithImage(g.image())
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseAndValidate(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Data) != 0 || m.Start != nil {
		t.Errorf("%d data segments and start %v are left", len(m.Data), m.Start)
	}
	if _, ok := m.Export(wasm.StartExport, wasm.ExternFunc); ok {
		t.Error("the start function is left")
	}
}

func TestTaintIsSetByWhatCannotBeUndone(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	b.Memory(1, 2)
	b.Table(wasm.FuncRef, 4)
	v := b.Global(wasmtest.I32Value(0))
	data := b.PassiveData([]byte("data"))
	noop := b.Func("noop", nil, nil, func(*wasmtest.Code) {})
	elements := b.PassiveElements(noop)
	want := map[string]uint64{}
	add := func(name string, taint uint64, build func(*wasmtest.Code)) {
		want[name] = taint
		b.Func(name, nil, nil, build)
	}
	add("set", wasm.TaintTable, func(c *wasmtest.Code) { c.I32Const(0).RefFunc(noop).TableSet(0) })
	add("grow", wasm.TaintTable, func(c *wasmtest.Code) { c.RefNull(wasm.FuncRef).I32Const(1).TableGrow(0).Op(wasmtest.Drop) })
	add("fill", wasm.TaintTable, func(c *wasmtest.Code) { c.I32Const(0).RefNull(wasm.FuncRef).I32Const(1).TableFill(0) })
	add("copy", wasm.TaintTable, func(c *wasmtest.Code) { c.I32Const(0).I32Const(1).I32Const(1).TableCopy(0, 0) })
	add("init", wasm.TaintTable, func(c *wasmtest.Code) { c.I32Const(0).I32Const(0).I32Const(1).TableInit(0, elements) })
	add("elem.drop", wasm.TaintTable, func(c *wasmtest.Code) { c.ElemDrop(elements) })
	add("data.drop", wasm.TaintData, func(c *wasmtest.Code) { c.DataDrop(data) })
	add("both", wasm.TaintTable|wasm.TaintData, func(c *wasmtest.Code) { c.ElemDrop(elements).DataDrop(data) })
	add("not reached", 0, func(c *wasmtest.Code) { c.I32Const(0).If().ElemDrop(elements).End() })
	add("harmless", 0, func(c *wasmtest.Code) {
		c.I32Const(1).GlobalSet(v).I32Const(0).TableGet(0).Op(wasmtest.Drop).TableSize(0).Op(wasmtest.Drop)
		c.I32Const(0).I32Const(1).Mem(wasmtest.I32Store, 0).I32Const(0).I32Const(1).I32Const(9).MemoryFill().Call(noop)
	})
	for _, fuel := range []bool{true, false} {
		for name, taint := range want {
			g := run(t, b.Module(), wasm.Options{WithoutFuel: !fuel})
			if g.must(name); g.global(wasm.TaintExport).Get() != taint {
				t.Errorf("%s taints %d, want %d", name, g.global(wasm.TaintExport).Get(), taint)
			}
			if _, err := g.i.WithImage(g.image()); (err == nil) != (taint&wasm.TaintTable == 0) {
				t.Errorf("%s: an image gives %v", name, err)
			}
		}
	}
}

func TestStripKeepsAllButCode(t *testing.T) {
	t.Parallel()
	i := instrument(t, segmented(), wasm.Options{})
	whole := i.Module.Encode()
	small, err := wasm.Strip(whole)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseAndValidate(small)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Codes) != len(i.Module.Codes) || len(m.Exports) != len(i.Module.Exports) || len(small) >= len(whole) {
		t.Errorf("%d of %d bytes, %d bodies, %d exports", len(small), len(whole), len(m.Codes), len(m.Exports))
	}
	if _, err := start(t, i, small).call("handle", 1); err == nil {
		t.Error("a stripped body ran")
	}
	if _, err := wasm.Strip([]byte("no module")); !fault.Is(err, fault.Invalid) {
		t.Errorf("stripping what is no module: %v", err)
	}
}

func TestImageKeepsReferencesThatNeverChange(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	f := b.Func("", nil, nil, func(*wasmtest.Code) {})
	ref := b.RawGlobal(wasm.Global{
		Type: wasm.GlobalType{Type: wasm.FuncRef, Mutable: true}, Init: wasm.ConstExpr{Op: wasm.ConstFunc, Index: f},
	})
	b.Func("null", nil, wasmtest.Types(wasm.I32), func(c *wasmtest.Code) { c.GlobalGet(ref).Op(wasmtest.RefIsNull) })
	n := func() *guest { g := run(t, b.Module(), wasm.Options{}); return g.carried(g.image()) }()
	for _, when := range []string{"at first", "restored"} {
		if n.must("null")[0] != 0 {
			t.Errorf("%s the reference is null", when)
		}
		n.must(wasm.RestoreExport)
	}
}
