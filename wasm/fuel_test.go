package wasm_test

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

func TestFuelFollowsTheDocumentedCosts(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	i32 := wasmtest.Types(wasm.I32)
	b.Memory(1, 2)
	b.Table(wasm.FuncRef, 1)
	data := b.PassiveData(make([]byte, 1<<15))
	b.Func("empty", nil, nil, func(*wasmtest.Code) {})
	b.Func("three", nil, i32, func(c *wasmtest.Code) {
		c.Block().I32Const(1).I32Const(2).Op(wasmtest.I32Add).Op(wasmtest.Drop).End().I32Const(0)
	})
	sumLoop(b, "sum")
	bulk := func(name string, build func(*wasmtest.Code)) { b.Func(name, i32, nil, build) }
	bulk("fill", func(c *wasmtest.Code) { c.I32Const(0).I32Const(7).LocalGet(0).MemoryFill() })
	bulk("copy", func(c *wasmtest.Code) { c.I32Const(0).I32Const(7).LocalGet(0).MemoryCopy() })
	bulk("init", func(c *wasmtest.Code) { c.I32Const(0).I32Const(0).LocalGet(0).MemoryInit(data) })
	bulk("grow", func(c *wasmtest.Code) { c.LocalGet(0).MemoryGrow().Op(wasmtest.Drop) })
	bulk("tgrow", func(c *wasmtest.Code) { c.RefNull(wasm.FuncRef).LocalGet(0).TableGrow(0).Op(wasmtest.Drop) })
	bulk("tfill", func(c *wasmtest.Code) { c.I32Const(0).RefNull(wasm.FuncRef).LocalGet(0).TableFill(0) })
	g := run(t, b.Module(), wasm.Options{})
	for _, c := range []struct {
		call string
		arg  []uint64
		want int64
	}{
		{"empty", nil, 1},
		{"three", nil, 1 + 5},
		// The function outside the loop: local.get. The loop: 11 at each of n+1 turns.
		{"sum", []uint64{0}, 1 + 1 + 11},
		{"sum", []uint64{9}, 1 + 1 + 10*11},
		{"fill", []uint64{63}, 1 + 4},
		{"fill", []uint64{64 * 100}, 1 + 4 + 100},
		{"fill", []uint64{1<<32 - 1}, 1 + 4 + 1<<26 - 1}, // charged, then traps
		{"copy", []uint64{64 * 100}, 1 + 4 + 100},
		{"init", []uint64{64 * 100}, 1 + 4 + 100},
		{"grow", []uint64{0}, 1 + 3},
		{"grow", []uint64{1}, 1 + 3 + 1024},
		{"grow", []uint64{1<<32 - 1}, 1 + 3 + 1024*65536},
		{"tgrow", []uint64{80}, 1 + 4 + 10},
		{"tfill", []uint64{80}, 1 + 4 + 10},
	} {
		if got := g.cost(c.call, c.arg...); got != c.want {
			t.Errorf("%s%v costs %d, want %d", c.call, c.arg, got, c.want)
		}
	}
}

func TestFuelIsEqualForEqualRunsAndGrowsWithWork(t *testing.T) {
	t.Parallel()
	rnd := testrounds.Rand(t)
	b := wasmtest.New()
	sumLoop(b, "sum")
	one, two := run(t, b.Module(), wasm.Options{}), run(t, b.Module(), wasm.Options{})
	two.slice = 50 // yields often, which must not change what is charged
	for range testrounds.Rounds(t) {
		n := rnd.Uint64N(5000)
		cost := one.cost("sum", n)
		if again := one.cost("sum", n); again != cost {
			t.Fatalf("sum(%d) costs %d, then %d", n, cost, again)
		}
		if other := two.cost("sum", n); other != cost {
			t.Fatalf("sum(%d) costs %d, and %d in another instance", n, cost, other)
		}
		if more := one.cost("sum", n+1); more <= cost {
			t.Fatalf("sum(%d) costs %d, but sum(%d) only %d", n, cost, n+1, more)
		}
	}
	if two.yields < 100 {
		t.Errorf("only %d yields", two.yields)
	}
}

func TestYieldStopsAtEachSlice(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	sumLoop(b, "sum")
	g := run(t, b.Module(), wasm.Options{})
	g.slice = 1000
	g.global(wasm.FuelExport).Set(1000)
	if sum := g.must("sum", 9999)[0]; uint32(sum) != 9999*9998/2 {
		t.Errorf("sum is %d", sum)
	}
	// A yield comes when a whole slice and the step over its end are used: 91 turns of 11.
	if want := 10_000 / 91; g.yields < want-1 || g.yields > want+1 {
		t.Errorf("%d yields, want about %d", g.yields, want)
	}
	free := run(t, b.Module(), wasm.Options{WithoutFuel: true})
	if free.i.Fuel || free.m.ExportedGlobal(wasm.FuelExport) != nil {
		t.Error("there is a fuel counter in spite of the option")
	}
	if sum := free.must("sum", 9999)[0]; uint32(sum) != 9999*9998/2 || free.yields != 0 {
		t.Errorf("without fuel the sum is %d after %d yields", sum, free.yields)
	}
}

func TestStartFunctionCanBeMoved(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	v := b.Global(wasmtest.I32Value(1))
	b.Start(b.Func("", nil, nil, func(c *wasmtest.Code) { c.I32Const(2).GlobalSet(v) }))
	kept, moved := run(t, b.Module(), wasm.Options{}), run(t, b.Module(), wasm.Options{MoveStart: true})
	if got := kept.global(wasm.GlobalExport(v)).Get(); got != 2 {
		t.Errorf("the kept start function left %d", got)
	}
	if got := moved.global(wasm.GlobalExport(v)).Get(); got != 1 {
		t.Errorf("the moved start function ran at once: %d", got)
	}
	if cost := moved.cost(wasm.StartExport); cost != 3 {
		t.Errorf("the start function costs %d", cost)
	}
	if got := moved.global(wasm.GlobalExport(v)).Get(); got != 2 {
		t.Errorf("the moved start function left %d", got)
	}
}

func TestMaxPagesLimitsGrowth(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	b.Memory(1, 0)
	b.Func("grow", wasmtest.Types(wasm.I32), wasmtest.Types(wasm.I32), func(c *wasmtest.Code) { c.LocalGet(0).MemoryGrow() })
	g := run(t, b.Module(), wasm.Options{MaxPages: 3})
	if got := int32(g.must("grow", 3)[0]); got != -1 {
		t.Errorf("growing over the limit gives %d", got)
	}
	if got := int32(g.must("grow", 2)[0]); got != 1 {
		t.Errorf("growing to the limit gives %d", got)
	}
	b.Module().Memories[0].Min = 4
	if _, err := wasm.Instrument(b.Module(), wasm.Options{MaxPages: 3}); err == nil || !strings.Contains(err.Error(), "4 pages") {
		t.Errorf("a first size over the limit: %v", err)
	}
}
