package wasm_test

import (
	"context"
	"testing"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// guest is an instance of an instrumented module.
type guest struct {
	t      *testing.T
	i      *wasm.Instrumented
	m      api.Module
	yields int
	// slice is what yield sets the fuel to; spent counts what was used up to
	// the last yield.
	slice, spent int64
}

// plenty is a slice that no test uses up.
const plenty = 1 << 50

func instrument(t *testing.T, m *wasm.Module, o wasm.Options) *wasm.Instrumented {
	t.Helper()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	i, err := wasm.Instrument(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// start instantiates bytes that came from i.
func start(t *testing.T, i *wasm.Instrumented, b []byte) *guest {
	t.Helper()
	g := &guest{t: t, i: i, slice: plenty}
	g.instantiate(b, wazero.NewRuntimeConfig(), wazero.NewModuleConfig().WithStartFunctions())
	return g
}

// instantiate makes the instance, with yield and WASI to import.
func (g *guest) instantiate(b []byte, rc wazero.RuntimeConfig, mc wazero.ModuleConfig) {
	g.t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, rc.WithCoreFeatures(api.CoreFeaturesV2))
	g.t.Cleanup(func() { r.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	_, err := r.NewHostModuleBuilder(wasm.ReservedModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) {
			g.yields++
			fuel := m.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal)
			g.spent += g.slice - int64(fuel.Get())
			fuel.Set(uint64(g.slice))
		}), nil, nil).Export(wasm.YieldImport).Instantiate(ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	if g.m, err = r.InstantiateWithConfig(ctx, b, mc); err != nil {
		g.t.Fatal(err)
	}
}

func run(t *testing.T, m *wasm.Module, o wasm.Options) *guest {
	t.Helper()
	i := instrument(t, m, o)
	return start(t, i, i.Module.Encode())
}

func (g *guest) call(name string, args ...uint64) ([]uint64, error) {
	g.t.Helper()
	f := g.m.ExportedFunction(name)
	if f == nil {
		g.t.Fatalf("no export %q", name)
	}
	return f.Call(context.Background(), args...)
}

func (g *guest) must(name string, args ...uint64) []uint64 {
	g.t.Helper()
	out, err := g.call(name, args...)
	if err != nil {
		g.t.Fatalf("%s%v: %v", name, args, err)
	}
	return out
}

func (g *guest) global(name string) api.MutableGlobal {
	g.t.Helper()
	v, ok := g.m.ExportedGlobal(name).(api.MutableGlobal)
	if !ok {
		g.t.Fatalf("no mutable global %q", name)
	}
	return v
}

// refuel begins to count what is used.
func (g *guest) refuel() {
	g.spent = 0
	g.global(wasm.FuelExport).Set(uint64(g.slice))
}

// used gives the fuel used since refuel.
func (g *guest) used() int64 { return g.spent + g.slice - int64(g.global(wasm.FuelExport).Get()) }

// cost gives the fuel that a call uses.
func (g *guest) cost(name string, args ...uint64) int64 {
	g.t.Helper()
	g.refuel()
	if _, err := g.call(name, args...); err != nil {
		g.t.Logf("%s%v: %v", name, args, err)
	}
	return g.used()
}

// image reads what WithImage needs.
func (g *guest) image() wasm.ImageInfo {
	g.t.Helper()
	img := wasm.ImageInfo{Globals: map[uint32]wasm.Value{}, Tainted: uint32(g.global(wasm.TaintExport).Get())}
	if m := g.m.ExportedMemory(wasm.MemoryExport); m != nil {
		img.Pages = m.Size() / wasm.PageSize
	}
	for _, s := range g.i.Globals {
		switch {
		case s.Type == wasm.V128:
			v := g.must(wasm.VectorExport(s.Index))
			img.Globals[s.Index] = wasm.Value{Type: s.Type, Lo: v[0], Hi: v[1]}
		case !s.Type.IsRef():
			img.Globals[s.Index] = wasm.Value{Type: s.Type, Lo: g.global(wasm.GlobalExport(s.Index)).Get()}
		}
	}
	for _, d := range g.i.Droppable {
		if g.global(wasm.DroppedExport(d)).Get() != 0 {
			img.Dropped = append(img.Dropped, d)
		}
	}
	return img
}

// memory copies the whole memory.
func (g *guest) memory() []byte {
	m := g.m.ExportedMemory(wasm.MemoryExport)
	if m == nil {
		return nil
	}
	b, _ := m.Read(0, m.Size())
	return append([]byte(nil), b...)
}

// carried starts a new instance from g's image, as a worker would.
func (g *guest) carried(img wasm.ImageInfo) *guest {
	g.t.Helper()
	b, err := g.i.WithImage(img)
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := parseAndValidate(b); err != nil {
		g.t.Fatalf("the image module: %v", err)
	}
	n := start(g.t, g.i, b)
	n.slice = g.slice
	if pristine := g.memory(); pristine != nil && !n.m.ExportedMemory(wasm.MemoryExport).Write(0, pristine) {
		g.t.Fatal("the memory of the image is too small")
	}
	return n
}

// sumLoop adds a function that adds the numbers below its argument.
func sumLoop(b *wasmtest.Builder, name string) uint32 {
	return b.Func(name, wasmtest.Types(wasm.I32), wasmtest.Types(wasm.I32), func(c *wasmtest.Code) {
		sum := c.Local(wasm.I32)
		c.Block().Loop()
		c.LocalGet(0).Op(wasmtest.I32Eqz).BrIf(1)
		c.LocalGet(0).I32Const(1).Op(wasmtest.I32Sub).LocalTee(0)
		c.LocalGet(sum).Op(wasmtest.I32Add).LocalSet(sum)
		c.Br(0).End().End().LocalGet(sum)
	})
}
