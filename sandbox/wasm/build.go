//go:build linux

package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/sandbox/wasm/wasi"
	"github.com/carrel-dev/carrel/wasm"
)

// Source is what a function is built from.
type Source struct {
	// Module is the tenant's module.
	Module []byte
	// Env is the declared environment, KEY=VALUE.
	Env []string
	// MemoryLimit bounds memory and /tmp during initialisation, in bytes.
	MemoryLimit uint64
	// Warmup is an event that a reactor handles once before its image is
	// taken, so that what it sets up lazily is in the image. Nil for none.
	Warmup []byte
	// InitFuel bounds initialisation and warm-up together; zero is
	// DefaultInitFuel.
	InitFuel uint64
}

// DefaultInitFuel bounds initialisation: ten seconds of the guest's clock.
const DefaultInitFuel = 10e9 * wasi.FuelPerNanosecond

// repeatFuel bounds an initialisation that has to be repeated for each
// instance, between calls: about half a second of compiled C.
const repeatFuel = 2_000_000_000

// Output of initialisation goes nowhere; its end is shown if it fails.
const (
	initLogLimit    = 4 << 10
	initOutputLimit = 6 << 20
)

const opBuild = "wasm.Build"

// Build checks, instruments and compiles a module, initialises it if it is a
// reactor, and gives all that workers need. It is meant for a process that
// does nothing else and is jailed: compilation is bounded by that process's
// limits, initialisation by fuel and ctx. An error with a kind of the caller's
// side (Invalid, TooLarge, Denied, Unsupported) has a message for the author.
func Build(ctx context.Context, s Source) (*Artifact, error) {
	m, err := wasm.Parse(s.Module)
	if err != nil {
		return nil, err
	}
	if err := wasm.Check(m, wasm.DefaultLimits(), allowed()); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	model, err := modelOf(m)
	if err != nil {
		return nil, err
	}
	if r, ok := m.MemoryRange(); ok && uint64(r.Min)*wasmPage > s.MemoryLimit {
		return nil, memoryTooSmall(opBuild, uint64(r.Min)*wasmPage, s.MemoryLimit)
	}
	in, err := wasm.Instrument(m, wasm.Options{MoveStart: true})
	if err != nil {
		return nil, err
	}
	e, err := newEngine()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	b := &builder{Source: s, engine: e, in: in, full: in.Module.Encode()}
	return b.build(ctx, model, m)
}

// allowed is the list of functions that a module may import.
func allowed() wasm.Allow {
	type key struct{ module, name string }
	i32 := wasm.I32
	list := map[key]wasm.FuncType{
		{"carrel_v1", "version"}: {Results: []wasm.ValType{i32}},
		{"carrel_v1", "context"}: {Params: []wasm.ValType{i32, i32}, Results: []wasm.ValType{i32}},
		{"carrel_v1", "call"}:    {Params: []wasm.ValType{i32, i32, i32}, Results: []wasm.ValType{i32}},
		{"carrel_v1", "reply"}:   {Params: []wasm.ValType{i32, i32}, Results: []wasm.ValType{i32}},
	}
	types := func(v []api.ValueType) (t []wasm.ValType) {
		for _, x := range v {
			t = append(t, wasm.ValType(x))
		}
		return t
	}
	for _, f := range wasi.Functions() {
		list[key{wasi.ModuleName, f.Name}] = wasm.FuncType{Params: types(f.Params), Results: types(f.Results)}
	}
	return func(module, name string, t wasm.FuncType) bool {
		want, ok := list[key{module, name}]
		return ok && want.Equal(t)
	}
}

// exported tells whether the module exports a function of that name, and
// refuses one of another type.
func exported(m *wasm.Module, name string, t wasm.FuncType) (bool, error) {
	x, ok := m.Export(name, wasm.ExternFunc)
	if !ok {
		return false, nil
	}
	if have, ok := m.FuncType(x.Index); !ok || !have.Equal(t) {
		return false, fault.New(opBuild, fault.Invalid, "the module's export %s has the type %s, and has to be %s.", name, have, t)
	}
	return true, nil
}

// modelOf finds out the shape of a module.
func modelOf(m *wasm.Module) (Model, error) {
	i32 := []wasm.ValType{wasm.I32}
	handle, err := exported(m, "handle", wasm.FuncType{Results: i32})
	if err != nil {
		return "", err
	}
	start, err := exported(m, "_start", wasm.FuncType{})
	if err != nil {
		return "", err
	}
	if _, err := exported(m, "_initialize", wasm.FuncType{}); err != nil {
		return "", err
	}
	switch {
	case handle && start:
		return "", fault.New(opBuild, fault.Invalid, "the module exports both handle and _start.").
			WithRemedy("Export handle and _initialize for a reactor, or _start for a command.")
	case handle:
		return Reactor, nil
	case start:
		return Command, nil
	}
	return "", fault.New(opBuild, fault.Invalid, "the module exports neither handle nor _start.").
		WithRemedy("Build a WASI reactor with a function handle that returns an i32 (Go: -buildmode=c-shared and //go:wasmexport handle), or a WASI command.")
}

// restoredOf tells whether a reactor wants fresh bytes for each call.
func restoredOf(m *wasm.Module) (bool, error) {
	i32 := wasm.I32
	restored, err := exported(m, "carrel_restored", wasm.FuncType{Params: []wasm.ValType{i32, i32}})
	if err != nil || !restored {
		return false, err
	}
	scratch, err := exported(m, "carrel_scratch", wasm.FuncType{Results: []wasm.ValType{i32}})
	if err == nil && !scratch {
		err = fault.New(opBuild, fault.Invalid, "the module exports carrel_restored and not carrel_scratch.").
			WithRemedy("Export carrel_scratch, which returns the address of 64 bytes for the host to use.")
	}
	return scratch, err
}

// builder is one build.
type builder struct {
	Source
	engine *Engine
	in     *wasm.Instrumented
	full   []byte // the instrumented module
}

func (b *builder) build(ctx context.Context, model Model, m *wasm.Module) (*Artifact, error) {
	restored, err := restoredOf(m)
	if err != nil {
		return nil, err
	}
	compiled, native, err := b.compile(ctx, b.full)
	if err != nil {
		return nil, err
	}
	meta := Meta{
		Engine: b.engine.print, Model: model, HasRestored: restored && model == Reactor,
		Env: b.Env, Warmup: b.Warmup, InitFuelLimit: b.InitFuel,
	}
	if meta.InitFuelLimit == 0 {
		meta.InitFuelLimit = DefaultInitFuel
	}
	g, err := newGuest(b.engine, meta, &shared{module: compiled}, b.MemoryLimit)
	if err != nil {
		return nil, fault.Wrap(opBuild, fault.Internal, err, "the function cannot be initialised")
	}
	defer g.Close()
	if err := g.instantiate(); err != nil {
		return nil, fault.Wrap(opBuild, fault.Invalid, err, "the module cannot be instantiated: %s.", firstLine(err))
	}
	if err := g.initialise(ctx); err != nil {
		return nil, err
	}
	return b.artifact(g, native)
}

func (b *builder) compile(ctx context.Context, module []byte) (c wazero.CompiledModule, native []byte, err error) {
	native, _, err = b.engine.codes.taking(func() (err error) {
		c, err = b.engine.runtime.CompileModule(ctx, module)
		return err
	})
	if err != nil {
		return nil, nil, fault.Wrap(opBuild, fault.Invalid, err, "the module cannot be compiled: %s.", firstLine(err))
	}
	return c, native, nil
}

// artifact takes the image of an initialised guest. A guest whose state
// cannot be carried to another process gets none.
func (b *builder) artifact(g *Guest, native []byte) (*Artifact, error) {
	code, err := split(native)
	if err != nil {
		return nil, fault.Wrap(opBuild, fault.Internal, err, "the compiled module cannot be kept")
	}
	a := &Artifact{Meta: g.meta, Native: code}
	mem := wasi.View(g.mod)
	a.Meta.MemoryPages = uint32(len(mem) / wasmPage)
	info, err := b.imageInfo(g)
	if err != nil {
		return nil, err
	}
	module, err := b.in.WithImage(info)
	switch {
	case err == nil:
		a.Meta.Imaged, a.Meta.Env, a.Meta.Warmup = true, nil, nil
		a.Image = slices.Clone(trimZeros(mem))
	case fault.Is(err, fault.Unsupported):
		if g.meta.InitFuel > repeatFuel {
			return nil, fault.Wrap(opBuild, fault.Invalid, err, "the module's state after its initialisation cannot be kept (%s), and to repeat it takes %d units of fuel; the limit is %d.",
				firstLine(err), g.meta.InitFuel, uint64(repeatFuel))
		}
		a.Meta.InitFuelLimit = repeatFuel
		module = b.full
	default:
		return nil, err
	}
	stripped, err := wasm.Strip(module)
	a.Module = named(stripped, native)
	return a, err
}

// imageInfo reads the globals of an initialised guest.
func (b *builder) imageInfo(g *Guest) (wasm.ImageInfo, error) {
	info := wasm.ImageInfo{
		Pages: uint32(len(wasi.View(g.mod)) / wasmPage), Globals: map[uint32]wasm.Value{}, Tainted: uint32(g.tainted.Get()),
	}
	for _, s := range b.in.Globals {
		if s.Type.IsRef() {
			continue
		}
		v := wasm.Value{Type: s.Type}
		if s.Type == wasm.V128 {
			halves, err := g.mod.ExportedFunction(wasm.VectorExport(s.Index)).Call(&g.ctx)
			if err != nil {
				return info, fault.Wrap(opBuild, fault.Internal, err, "a global cannot be read")
			}
			v.Lo, v.Hi = halves[0], halves[1]
		} else {
			v.Lo = g.mod.ExportedGlobal(wasm.GlobalExport(s.Index)).Get()
		}
		if s.Type == wasm.I32 || s.Type == wasm.F32 {
			v.Lo = uint64(uint32(v.Lo))
		}
		info.Globals[s.Index] = v
	}
	for _, d := range b.in.Droppable {
		if g.mod.ExportedGlobal(wasm.DroppedExport(d)).Get() != 0 {
			info.Dropped = append(info.Dropped, d)
		}
	}
	return info, nil
}

// trimZeros gives b without the zeros at its end.
func trimZeros(b []byte) []byte {
	for len(b) > pageSize && zero(b[len(b)-pageSize:]) {
		b = b[:len(b)-pageSize]
	}
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return b[:n]
}

// imageTime is when images are made, as the guest sees it.
var imageTime = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// emptyContext is what carrel_v1.context gives while an image is made.
var emptyContext = []byte("{}")

// initialise runs what comes before the first call: the start function, and
// for reactors _initialize, the warm-up and carrel_scratch. The host's
// answers are the fixed ones of the package comment.
func (g *Guest) initialise(ctx context.Context) error {
	g.ctx.Context = ctx
	g.context, g.deadline, g.interrupt = emptyContext, time.Time{}, nil
	g.imaging = true
	g.region.begin()
	defer func() {
		g.wasi.Wipe()
		g.context, g.imaging = nil, false
		g.ctx.Context = context.Background()
	}()
	g.beginInit(nil)
	g.refuel(g.meta.InitFuelLimit)
	for _, name := range []string{wasm.StartExport, "_initialize"} {
		if name == "_initialize" && g.meta.Model == Command || g.mod.ExportedFunction(name) == nil {
			continue
		}
		if err := g.call(name); err != nil {
			return g.initFailed(name, err)
		}
	}
	if g.meta.Model == Reactor && g.meta.Warmup != nil {
		if err := g.warmUp(); err != nil {
			return err
		}
	}
	if g.meta.HasRestored {
		r, err := g.mod.ExportedFunction("carrel_scratch").Call(&g.ctx)
		if err != nil {
			return g.initFailed("carrel_scratch", err)
		}
		g.meta.Scratch = uint32(r[0])
		if uint64(g.meta.Scratch)+scratchSize > uint64(len(wasi.View(g.mod))) {
			return fault.New(opBuild, fault.Invalid, "carrel_scratch gave %#x, and there are no %d bytes of memory.", g.meta.Scratch, scratchSize)
		}
	}
	g.meta.InitFuel = g.used()
	return nil
}

func (g *Guest) beginInit(event []byte) {
	g.wasi.Begin(&g.ctx, wasi.Call{
		Stdin: event, Args: arguments, Env: g.meta.Env, ClockBase: uint64(imageTime.UnixNano()), Virtual: true,
		OutputLimit: initOutputLimit, LogLimit: initLogLimit,
	})
}

func (g *Guest) warmUp() error {
	g.beginInit(g.meta.Warmup)
	g.stack = [2]uint64{}
	if err := g.main.CallWithStack(&g.ctx, g.stack[:]); err != nil {
		return g.initFailed("the warm-up call", err)
	}
	if uint32(g.stack[0]) != 0 {
		return fault.New(opBuild, fault.Invalid, "the warm-up call failed with status %d: %s.", uint32(g.stack[0]), lastLine(g.wasi.Log)).
			WithRemedy("Declare a warm-up event that the function handles, or none.")
	}
	return nil
}

// initFailed says for the author why initialisation did not end well.
func (g *Guest) initFailed(what string, err error) error {
	why, kind := firstLine(err), fault.Invalid
	switch st := g.wasi; {
	case broken(err):
		return fault.Wrap(opBuild, fault.Internal, err, "the host failed during initialisation")
	case st.Reason == wasi.Exited:
		why = fmt.Sprintf("it exited with status %d", st.ExitCode)
	case errors.Is(st.Cause, errFuel):
		why = fmt.Sprintf("it used more than %d units of fuel", g.meta.InitFuelLimit)
	case errors.Is(st.Cause, errImageHost):
		why = st.Cause.Error()
	case st.Reason == wasi.Interrupted:
		why, kind = "it was stopped: "+st.Cause.Error(), fault.Timeout
	case g.region.denied:
		why = fmt.Sprintf("it asked for more than %d MiB of memory", g.region.limit>>20)
	}
	if line := lastLine(g.wasi.Log); line != "" {
		why += ": " + line
	}
	return fault.Wrap(opBuild, kind, err, "the initialisation of the module failed in %s: %s.", what, strings.TrimSuffix(why, "."))
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
