//go:build linux

package wasm

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/wasm"
)

func TestBuildRefuses(t *testing.T) {
	okay := func() *guest { return newGuestModule(1).handle() }
	foreign := okay()
	foreign.Imports[0].Module = "env"
	yield := okay()
	yield.Imports[0] = wasm.Import{Module: "carrel", Name: "yield", Kind: wasm.ExternFunc, Func: yield.typ(wasm.FuncType{})}
	reserved := okay()
	reserved.export("carrel.fuel", importedFuncs)
	wrongType := okay()
	wrongType.Imports[0].Func = wrongType.typ(wasm.FuncType{})
	memory := newGuestModule(2000).handle()
	table := newGuestModule(1)
	exportsBoth := newGuestModule(1).handle().start()
	handleType := newGuestModule(1)
	handleType.export("handle", handleType.fn(wasm.FuncType{}, 0))
	restored := okay()
	restored.export("carrel_restored", restored.fn(wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32}}, 0))
	badScratch := newGuestModule(1)
	badScratch.handle()
	badScratch.export("carrel_restored", badScratch.fn(wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32}}, 0))
	badScratch.export("carrel_scratch", badScratch.fn(wasm.FuncType{Results: []wasm.ValType{wasm.I32}}, 0, i32(65530)))
	startLoop := okay()
	f := startLoop.fn(wasm.FuncType{}, 0, spin)
	startLoop.Start = &f
	for name, c := range map[string]struct {
		g    *guest
		kind fault.Kind
		part string
	}{
		"foreign import":       {foreign, fault.Denied, "env"},
		"import of yield":      {yield, fault.Denied, "yield"},
		"reserved export":      {reserved, fault.Invalid, "carrel."},
		"import of other type": {wrongType, fault.Denied, "fd_write"},
		"no entry":             {table, fault.Invalid, "neither handle nor _start"},
		"two entries":          {exportsBoth, fault.Invalid, "both handle and _start"},
		"handle of other type": {handleType, fault.Invalid, "()->(i32)"},
		"too much memory":      {memory, fault.Invalid, "limit is 64 MiB"},
		"no scratch":           {restored, fault.Invalid, "carrel_scratch"},
		"scratch outside":      {badScratch, fault.Invalid, "carrel_scratch gave"},
		"trap in initialize":   {okay().initialize(unreachable), fault.Invalid, "_initialize"},
		"exit in initialize":   {okay().initialize(i32(3), call(fnExit)), fault.Invalid, "exited with status 3"},
		"loop in initialize":   {okay().initialize(spin), fault.Invalid, "units of fuel"},
		"loop in start":        {startLoop, fault.Invalid, "carrel.start"},
		"memory in initialize": {okay().initialize(when(eq(memoryGrow(i32(5000)), i32(-1)), unreachable)), fault.Invalid, "64 MiB"},
	} {
		_, err := Build(context.Background(), Source{Module: c.g.Encode(), MemoryLimit: testLimit, InitFuel: 10_000_000})
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v, want kind %v naming %q", name, err, c.kind, c.part)
		}
	}
	if _, err := Build(context.Background(), Source{Module: []byte("no module"), MemoryLimit: testLimit}); !fault.Is(err, fault.Invalid) {
		t.Errorf("bytes that are no module: %v", err)
	}
	if _, err := Build(context.Background(), Source{Module: okay().Encode(), MemoryLimit: testLimit}); err != nil {
		t.Errorf("the harmless twin: %v", err)
	}
}

func TestBuildIsStoppedByItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := Build(ctx, Source{Module: newGuestModule(1).handle().initialize(spin).Encode(), MemoryLimit: testLimit})
	if !fault.Is(err, fault.Timeout) {
		t.Fatalf("got %v", err)
	}
}

// TestInitialisationIsInTheImage shows what start and _initialize did, and
// that the host's answers then are the fixed ones.
func TestInitialisationIsInTheImage(t *testing.T) {
	g := newGuestModule(1)
	n := g.global(wasm.I64, wasm.ConstI64, 0)
	start := g.fn(wasm.FuncType{}, 0, store(500, i32(11)))
	g.Start = &start
	g.initialize(
		store(504, add(load(500), i32(1))),
		i64(-3), globalSet(n),
		drop(seq(i32(0), i64(0), i32(512), call(fnClock))),
		drop(seq(i32(520), i32(8), call(fnRandom))),
		store(528, seq(i32(600), i32(100), call(fnContext))),
		readEvent(700, 10), store(532, load(24)),
		drop(memoryGrow(i32(2))),
	)
	g.handle(store64(536, globalGet(n)), store(544, memorySize), reply(500, 48))
	a := build(t, g.Encode())
	if !a.Meta.Imaged || a.Meta.MemoryPages != 3 {
		t.Fatalf("%+v", a.Meta)
	}
	for way, e := range engines(t) {
		guest := loadFD(t, e, a)
		for range 2 {
			out := run(t, guest, invocation("event")).Output
			if len(out) != 48 || out[0] != 11 || out[4] != 12 {
				t.Fatalf("%s: %x", way, out)
			}
			if want := uint64(imageTime.UnixNano()); le64(out[12:]) != want {
				t.Errorf("%s: the clock stood at %d, want %d", way, le64(out[12:]), want)
			}
			if zero(out[20:28]) {
				t.Errorf("%s: no random bytes", way)
			}
			if out[28] != 2 || out[32] != 0 {
				t.Errorf("%s: context of %d bytes and event of %d, want {} and none", way, out[28], out[32])
			}
			if int64(le64(out[36:])) != -3 || out[44] != 3 {
				t.Errorf("%s: global %d, %d pages", way, int64(le64(out[36:])), out[44])
			}
		}
	}
	b := build(t, g.Encode())
	if !bytes.Equal(a.Image, b.Image) || !bytes.Equal(a.Module, b.Module) || !bytes.Equal(a.Native.Code, b.Native.Code) {
		t.Error("two builds of the same module differ")
	}
}

func le64(b []byte) (v uint64) {
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// TestInitialisationThatCannotBeCarried is of a guest that changes a table
// while it is initialised: each instance is initialised again.
func TestInitialisationThatCannotBeCarried(t *testing.T) {
	g := newGuestModule(1)
	i32result := wasm.FuncType{Results: []wasm.ValType{wasm.I32}}
	f1, f2 := g.fn(i32result, 0, i32(1)), g.fn(i32result, 0, i32(2))
	g.Tables = []wasm.Table{{Type: wasm.FuncRef, Size: wasm.Range{Min: 1}}}
	g.Elements = []wasm.Element{{Mode: wasm.Active, Type: wasm.FuncRef, Offset: wasm.ConstExpr{Op: wasm.ConstI32}, Funcs: []uint32{f1}}}
	g.export("f2", f2)
	g.Data = []wasm.Data{{Mode: wasm.Active, Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: 508}, Bytes: []byte{5}}}
	g.initialize(i32(0), seq(code{0xd2}, u(f2)), code{0x26, 0}, store(504, i32(9)), drop(memoryGrow(i32(1))))
	g.handle(
		readEvent(600, 1),
		store(500, seq(i32(0), callIndirect(g.typ(i32result), 0))),
		store(504, add(load(504), i32(1))), store(508, add(load(508), i32(1))), store(512, memorySize),
		when(eq(load(600), i32('t')), i32(0), seq(code{0xd2}, u(f1)), code{0x26, 0}),
		reply(500, 16),
	)
	a := build(t, g.Encode())
	if a.Meta.Imaged {
		t.Fatal("an image was made of it")
	}
	want := []byte{2, 0, 0, 0, 10, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0}
	for way, e := range engines(t) {
		guest := loadFD(t, e, a)
		for i, event := range []string{"-", "-", "t", "-", "t", "t", "-"} {
			r := run(t, guest, invocation(event))
			if !bytes.Equal(r.Output, want) {
				t.Fatalf("%s: call %d: %v %x", way, i, r.Status, r.Output)
			}
			if (r.Reset == Reinstantiated) != (event == "t") {
				t.Errorf("%s: call %d: reset %d", way, i, r.Reset)
			}
		}
	}
}

// TestLongInitialisationIsNotRepeated is about the same guest with much to do:
// between calls nothing interrupts an initialisation.
func TestLongInitialisationIsNotRepeated(t *testing.T) {
	slow := func(change code) []byte {
		g := newGuestModule(1)
		f := g.fn(wasm.FuncType{}, 0)
		g.export("f", f)
		g.Tables = []wasm.Table{{Type: wasm.FuncRef, Size: wasm.Range{Min: 1}}}
		// Looking for files has a high price for what it takes, so this is quick to test.
		look := drop(seq(i32(3), i32(0), i32(600), i32(4), i32(0), i64(0), i64(0), i32(0), i32(504), call(fnOpen)))
		g.initialize(i32(1_100_000), set(0), loop(look, get(0), i32(-1), code{0x6a, 0x22, 0}, code{0x0d}, u(0)), change)
		return g.handle().Encode()
	}
	tableSet := seq(i32(0), code{0xd0, 0x70, 0x26, 0})
	_, err := Build(context.Background(), Source{Module: slow(tableSet), MemoryLimit: testLimit})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "to repeat it") {
		t.Errorf("a long initialisation that cannot be kept: %v", err)
	}
	if _, err := Build(context.Background(), Source{Module: slow(nil), MemoryLimit: testLimit}); err != nil {
		t.Errorf("the harmless twin: %v", err)
	}
}

func TestWarmUpIsInTheImage(t *testing.T) {
	g := newGuestModule(1)
	g.handle(readEvent(504, 8), store(500, add(load(500), i32(1))), reply(500, 4),
		when(eq(load(504), i32('!')), i32(5), code{0x0f}))
	s := Source{Module: g.Encode(), MemoryLimit: testLimit, Warmup: []byte("warm")}
	a, err := Build(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	guest := loadFD(t, engines(t)["compare"], a)
	if r := run(t, guest, invocation("")); r.Status != StatusOK || r.Output[0] != 2 {
		t.Fatalf("%v %x: the warm-up call is not in the image", r.Status, r.Output)
	}
	s.Warmup = []byte("!")
	if _, err := Build(context.Background(), s); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "status 5") {
		t.Fatalf("a warm-up that fails: %v", err)
	}
}

func TestRestoredHookGetsFreshBytes(t *testing.T) {
	g := newGuestModule(1)
	g.export("carrel_scratch", g.fn(wasm.FuncType{Results: []wasm.ValType{wasm.I32}}, 0, i32(4096)))
	g.export("carrel_restored", g.fn(wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32}}, 0,
		store64(500, seq(get(0), code{0x29, 3, 0})), store(508, get(1))))
	g.handle(reply(500, 12))
	guest := loadFD(t, engines(t)["compare"], build(t, g.Encode()))
	seen := map[string]bool{}
	for i := range 100 {
		inv := invocation("")
		inv.Seed = [32]byte{byte(i)}
		r := run(t, guest, inv)
		if r.Status != StatusOK || r.Output[8] != 32 || seen[string(r.Output)] {
			t.Fatalf("%v %x", r.Status, r.Output)
		}
		seen[string(r.Output)] = true
	}
}

func TestLoadFDRefusesWhatIsNotThere(t *testing.T) {
	fd, size := artifactFile(t, build(t, smallGuest()))
	e := engines(t)["compare"]
	for _, n := range []int64{0, pageSize - 1, size + 1, size + pageSize, 1 << 62} {
		if _, err := e.LoadFD(context.Background(), fd, n, LoadConfig{MemoryLimit: testLimit}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d bytes of %d: %v", n, size, err)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	e := engines(t)["compare"]
	a := build(t, smallGuest())
	ctx := context.Background()
	load := func(change func(*Artifact)) error {
		b := *a
		change(&b)
		g, err := e.Load(ctx, encoded(t, &b), LoadConfig{MemoryLimit: testLimit})
		if err == nil {
			return g.Close()
		}
		return err
	}
	if err := load(func(*Artifact) {}); err != nil {
		t.Fatalf("the harmless twin: %v", err)
	}
	if err := load(func(a *Artifact) { a.Meta.Engine = "v0.0.1-" + a.Meta.Engine }); !fault.Is(err, fault.Precondition) {
		t.Errorf("another engine: %v", err)
	}
	// wazero's own version check must not end in compiling the empty bodies.
	other := bytes.Clone(a.Native.Head)
	other[len(codeMagic)+1] ^= 1
	if err := load(func(a *Artifact) { a.Native.Head = other }); err == nil {
		t.Error("code of another wazero version was loaded")
	}
	broken := bytes.Clone(a.Native.Code)
	broken[len(broken)/2] ^= 1
	if err := load(func(a *Artifact) { a.Native.Code = broken }); err == nil {
		t.Error("code that was changed was loaded")
	}
	if err := load(func(a *Artifact) { a.Native = Native{} }); err == nil {
		t.Error("an artifact without code was loaded")
	}
	if _, err := e.Load(ctx, encoded(t, a), LoadConfig{MemoryLimit: wasmPage}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a memory limit below the image: %v", err)
	}
}

func TestAnotherInstanceOfAnArtifact(t *testing.T) {
	for way, e := range engines(t) {
		a := build(t, smallGuest())
		one := loadFD(t, e, a)
		two, err := one.Another(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer two.Close()
		want := run(t, one, invocation("")).Output
		runRaw(t, one) // what one instance does, the other one does not see
		if got := run(t, two, invocation("")).Output; !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", way, got, want)
		}
	}
}

// TestModulesThatDifferInTheirBodies are alike once the bodies are gone, and
// still have to run their own code.
func TestModulesThatDifferInTheirBodies(t *testing.T) {
	e := engines(t)["compare"]
	for i := range int32(3) {
		g := newGuestModule(1).handle(store(500, i32(i)), reply(500, 4))
		if r := run(t, loadFD(t, e, build(t, g.Encode())), invocation("")); r.Output[0] != byte(i) {
			t.Errorf("guest %d answers %x", i, r.Output)
		}
	}
}

// FuzzBuild builds whatever comes: it has to end with an artifact that loads
// or with an error that says whose mistake it was.
func FuzzBuild(f *testing.F) {
	f.Add(smallGuest())
	f.Add(jailedGuest().Encode())
	f.Add(canaryGuest().Encode())
	for i := range uint64(8) {
		f.Add(generate(rand.New(rand.NewPCG(i, 1))))
	}
	e, err := newEngine()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		a, err := Build(context.Background(), Source{Module: module, MemoryLimit: 8 << 20, InitFuel: 1_000_000})
		if err != nil {
			if k := fault.KindOf(err); k == fault.Internal {
				t.Fatalf("our mistake: %v", err)
			}
			return
		}
		g, err := e.Load(context.Background(), encoded(t, a), LoadConfig{MemoryLimit: 8 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		inv := invocation("x")
		inv.FuelLimit = 1_000_000
		if err := g.Run(context.Background(), inv, &Result{}); err != nil {
			t.Fatal(err)
		}
	})
}
