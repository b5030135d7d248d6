//go:build linux

package wasm

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/carrel-dev/carrel/sandbox/wasm/wasi"
)

// A guest gets fuel in slices, each meant to last sliceTime: native code has
// no safepoints, so a longer one would hold up Go's collector and timers, and
// every interrupt. How long a unit lasts depends on the program, so the slice
// follows what was measured; its cap keeps a guest that changes its habits to
// a few milliseconds. What a run uses in all does not depend on the slices.
const (
	sliceTime  = 200 * time.Microsecond
	firstSlice = 250_000
	minSlice   = 100_000
	maxSlice   = 2_000_000
)

// noLimit stands for no fuel limit.
const noLimit = 1 << 62

// Reasons for stopping that come from the engine itself.
var (
	errFuel     = errors.New("the fuel limit is reached")
	errDeadline = errors.New("the deadline has passed")
)

// Guest is a function that is loaded. One call at a time runs on it.
type Guest struct {
	engine *Engine
	meta   Meta
	loaded *Artifact // nil while it is built
	shared *shared
	region *region
	wasi   *wasi.State
	config wazero.ModuleConfig
	instance

	ctx       runContext
	slice     int64  // fuel given at the last yield
	pace      uint64 // fuel to give at the next
	paced     time.Time
	spent     uint64 // fuel used in the slices before
	limit     uint64
	context   []byte
	deadline  time.Time
	interrupt func() error
	host      HostFunc
	reply     []byte // of the last carrel_v1.call
	imaging   bool   // an image is made: the host does nothing
	// Of the result that is given in pieces: whether there is one, how many
	// bytes of it there were, and may be.
	began                 bool
	streamed, streamLimit int
	stack                 [2]uint64
	calls                 int // since enterAnew
}

// instance is what changes when a guest is instantiated anew.
type instance struct {
	mod      api.Module
	memory   api.Memory
	buffer   reflect.Value // of memory, to make it smaller; invalid if that is not possible
	fuel     api.MutableGlobal
	tainted  api.MutableGlobal
	main     api.Function
	restored api.Function
	putBack  api.Function
}

func newGuest(e *Engine, meta Meta, s *shared, memoryLimit uint64) (*Guest, error) {
	g := &Guest{
		engine: e, meta: meta, shared: s,
		config: wazero.NewModuleConfig().WithName("").WithStartFunctions(),
	}
	s.users.Add(1)
	g.ctx = runContext{context.Background(), g}
	var err error
	if g.region, err = newRegion(memoryLimit, e.watch); err != nil {
		return nil, errors.Join(err, s.free())
	}
	g.wasi = wasi.NewState(wasi.Hooks{Charge: g.charge, Used: g.used, Reserve: g.region.reserve, Interrupt: g.check})
	return g, nil
}

// first makes the first instance of a loaded artifact.
func (g *Guest) first(ctx context.Context, a loading) error {
	if !g.meta.Imaged {
		return g.fresh(ctx)
	}
	if err := g.region.setImage(a.Image, uint64(g.meta.MemoryPages)*wasmPage, a.fd, a.at.image); err != nil {
		return err
	}
	if err := g.instantiate(); err != nil {
		return err
	}
	return g.call("carrel.save")
}

// fresh instantiates and initialises a guest without an image, and makes the
// result what later restores go back to.
func (g *Guest) fresh(ctx context.Context) error {
	g.region.blank()
	if err := g.instantiate(); err != nil {
		return err
	}
	g.meta.InitFuelLimit = min(g.meta.InitFuelLimit, repeatFuel) // the artifact may say anything
	if err := g.initialise(ctx); err != nil {
		return err
	}
	// What initialisation did to tables is part of the state to go back to.
	g.tainted.Set(0)
	if err := g.region.adopt(); err != nil {
		return err
	}
	return g.call("carrel.save")
}

// Meta says what the guest was loaded from.
func (g *Guest) Meta() Meta { return g.meta }

// Close frees the guest.
func (g *Guest) Close() error {
	ctx := context.Background()
	var errs []error
	if g.mod != nil {
		errs = append(errs, g.mod.Close(ctx))
	}
	return errors.Join(append(errs, g.shared.free(), g.region.close())...)
}

// instantiate makes a new instance on the guest's region.
func (g *Guest) instantiate() error {
	if g.mod != nil {
		if err := g.mod.Close(&g.ctx); err != nil {
			return err
		}
	}
	ctx := experimental.WithMemoryAllocator(&g.ctx, g.region)
	mod, err := g.engine.runtime.InstantiateModule(ctx, g.shared.module, g.config)
	if err != nil {
		return fmt.Errorf("instantiation failed: %w", err)
	}
	g.instance = instance{mod: mod}
	g.fuel, _ = mod.ExportedGlobal("carrel.fuel").(api.MutableGlobal)
	g.tainted, _ = mod.ExportedGlobal("carrel.tainted").(api.MutableGlobal)
	g.putBack = mod.ExportedFunction("carrel.restore")
	g.enterAnew()
	if g.fuel == nil || g.tainted == nil || g.putBack == nil || g.main == nil {
		return errors.New("the module lacks what instrumentation adds, or its entry")
	}
	if g.meta.HasRestored {
		g.restored = mod.ExportedFunction("carrel_restored")
	}
	if m := mod.ExportedMemory("carrel.memory"); m != nil {
		g.memory = m
		g.buffer = bufferOf(m)
	}
	return nil
}

// stackLife is for how many calls a guest's native stack is kept.
const stackLife = 1024

// enterAnew gives the guest's entry a new, small native stack. wazero lets the
// stack of a function grow up to 50 MB, in our heap, and never shrinks it.
func (g *Guest) enterAnew() {
	main := "handle"
	if g.meta.Model == Command {
		main = "_start"
	}
	g.main, g.calls = g.mod.ExportedFunction(main), 0
}

// bufferOf finds the field in wazero's memory that says how large it is now.
// The zero Value says that this wazero has it otherwise.
func bufferOf(m api.Memory) reflect.Value {
	v := reflect.ValueOf(m)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return reflect.Value{}
	}
	f := v.Elem().FieldByName("Buffer")
	if !f.IsValid() || f.Type() != reflect.TypeFor[[]byte]() || !f.CanSet() {
		return reflect.Value{}
	}
	return f
}

// shrink gives a memory that has grown its size in the image. wazero knows only
// growing, so it is told a page less than wanted and then grows by one, which
// also tells the compiled code. It reports false if that cannot be done.
func (g *Guest) shrink() bool {
	if g.memory == nil || uint64(len(wasi.View(g.mod))) == g.region.start {
		return true
	}
	if !g.buffer.IsValid() || g.region.start < wasmPage {
		return false
	}
	g.buffer.SetBytes(g.region.mem[:g.region.start-wasmPage])
	_, ok := g.memory.Grow(1)
	return ok && uint64(len(wasi.View(g.mod))) == g.region.start
}

// undo makes the guest what it was before the call.
func (g *Guest) undo(ctx context.Context) (Reset, error) {
	g.wasi.Wipe()
	if g.calls++; g.calls >= stackLife {
		g.enterAnew()
	}
	tainted := g.tainted.Get() != 0
	if tainted && !g.meta.Imaged {
		return Reinstantiated, g.fresh(ctx)
	}
	if err := g.region.restore(); err != nil {
		return 0, err
	}
	if !tainted && g.shrink() {
		return Restored, g.putBack.CallWithStack(&g.ctx, nil)
	}
	if err := g.instantiate(); err != nil {
		return 0, err
	}
	return Reinstantiated, g.call("carrel.save")
}

// call runs one of the module's functions without parameters and results.
func (g *Guest) call(name string) error {
	f := g.mod.ExportedFunction(name)
	if f == nil {
		return fmt.Errorf("the module does not export %s", name)
	}
	return f.CallWithStack(&g.ctx, nil)
}

// refuel gives a run its fuel.
func (g *Guest) refuel(limit uint64) {
	if limit == 0 || limit > noLimit {
		limit = noLimit
	}
	g.limit, g.spent = limit, 0
	if g.pace == 0 {
		g.pace = firstSlice
	}
	g.paced = time.Time{}
	g.slice = int64(min(limit, g.pace))
	g.fuel.Set(uint64(g.slice))
}

// keepPace makes the slice longer or shorter by how long the last one took;
// the first of a run is not measured.
func (g *Guest) keepPace(now time.Time) {
	took := now.Sub(g.paced)
	switch {
	case g.paced.IsZero():
	case took < sliceTime/2:
		g.pace = min(2*g.pace, maxSlice)
	case took > 2*sliceTime:
		g.pace = max(g.pace/2, minSlice)
	}
	g.paced = now
}

// used is the fuel that the run has taken until now.
func (g *Guest) used() uint64 { return g.spent + uint64(g.slice-int64(g.fuel.Get())) }

// charge takes fuel for a host call. The guest notices at its next check.
func (g *Guest) charge(n uint64) {
	g.fuel.Set(uint64(int64(g.fuel.Get()) - int64(min(n, 1<<40))))
}

// yield is where a guest comes by whenever its slice of fuel is used up.
func (g *Guest) yield() {
	g.spent = g.used()
	g.slice = 0
	g.fuel.Set(0)
	if g.spent > g.limit {
		g.wasi.Stop(wasi.Interrupted, errFuel)
	}
	g.keepPace(time.Now())
	if err := g.check(); err != nil {
		g.wasi.Stop(wasi.Interrupted, err)
	}
	g.slice = int64(min(g.limit-g.spent, g.pace))
	g.fuel.Set(uint64(g.slice))
}

// check asks whether the run is to end.
func (g *Guest) check() error {
	if !g.deadline.IsZero() && !time.Now().Before(g.deadline) {
		return errDeadline
	}
	if g.interrupt != nil {
		if err := g.interrupt(); err != nil {
			return err
		}
	}
	return g.ctx.Err()
}

// broken tells whether an error of a run is a fault of the host's own code,
// after which nothing about the guest can be relied on.
func broken(err error) bool {
	var e runtime.Error
	return errors.As(err, &e)
}
