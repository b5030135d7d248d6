package wasm_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// seeds gives hand-made modules and a sample of the engine's.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	refs, _ := stateful(true)
	list := [][]byte{refs.Encode(), segmented().Encode(), []byte("\x00asm\x01\x00\x00\x00"), nil}
	loop := wasmtest.New()
	loop.Import("env", "f", nil, nil)
	loop.Memory(1, 0)
	sumLoop(loop, "sum")
	list = append(list, loop.Bytes())
	for i := range uint64(10) {
		list = append(list, wasmtest.Random(rand.New(rand.NewPCG(i, 1))).Encode())
	}
	files, err := filepath.Glob(filepath.Join(wazeroSources(t), "internal/integration_test/spectest/v2/testdata/*.0.wasm"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d seeds: %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < 16<<10 {
			list = append(list, b)
		}
	}
	return list
}

// FuzzParse looks for panics, and for memory out of proportion to the input.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x01\x05\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := wasm.Parse(b)
		runtime.ReadMemStats(&after)
		// Other goroutines of the fuzzer allocate too, hence the margin.
		if used := after.TotalAlloc - before.TotalAlloc; used > 64*uint64(len(b))+8<<20 {
			t.Errorf("%d bytes allocated for a module of %d", used, len(b))
		}
		if err != nil {
			return
		}
		if wasm.Check(m, wasm.DefaultLimits(), func(string, string, wasm.FuncType) bool { return true }) == nil {
			_ = m.Validate()
		}
	})
}

// FuzzRoundTrip checks that what parses is encoded to what parses equal.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wasm.Parse(b)
		if err != nil {
			return
		}
		again, err := wasm.Parse(m.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m, again) {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}

// FuzzInstrument checks that the engine takes what we take, and that what
// Instrument, WithImage and Strip make of a valid module is valid for both.
func FuzzInstrument(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, byte(0))
		f.Add(s, byte(15))
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	f.Cleanup(func() { r.Close(ctx) })
	valid := func(t *testing.T, what string, b []byte) {
		t.Helper()
		if _, err := parseAndValidate(b); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		c, err := r.CompileModule(ctx, b)
		if err != nil {
			t.Fatalf("%s: the engine: %v", what, err)
		}
		c.Close(ctx)
	}
	f.Fuzz(func(t *testing.T, b []byte, flags byte) {
		m, err := wasm.Parse(b)
		if err != nil || wasm.Check(m, wasm.DefaultLimits(), func(module, _ string, _ wasm.FuncType) bool { return module != "" }) != nil || m.Validate() != nil {
			return
		}
		m.Customs = nil // the engine refuses malformed names, which do not make a module invalid
		valid(t, "the module itself", m.Encode())
		i, err := wasm.Instrument(m, wasm.Options{
			WithoutFuel: flags&1 != 0, MoveStart: flags&2 != 0, KeepNames: flags&4 != 0, KeepProducers: flags&8 != 0,
		})
		if err != nil {
			t.Fatal(err)
		}
		out := i.Module.Encode()
		valid(t, "instrumented", out)
		stripped, err := wasm.Strip(out)
		if err != nil {
			t.Fatal(err)
		}
		valid(t, "stripped", stripped)
		img := wasm.ImageInfo{Globals: map[uint32]wasm.Value{}}
		if s, ok := i.Module.MemoryRange(); ok {
			img.Pages = s.Min
		}
		for _, g := range i.Globals {
			if !g.Type.IsRef() {
				img.Globals[g.Index] = wasm.Value{Type: g.Type, Lo: 1, Hi: 2}
			}
		}
		image, err := i.WithImage(img)
		if (err == nil) != i.Portable() {
			t.Fatalf("portable %v, but %v", i.Portable(), err)
		}
		if err == nil {
			valid(t, "the image", image)
		}
	})
}

func TestNamesMoveWithTheirFunctions(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	b.Import("env", "imported", nil, nil)
	b.Func("f", nil, nil, func(c *wasmtest.Code) { c.Op(wasmtest.Unreachable) })
	m := b.Module()
	names := "\x00\x02\x01m" + "\x01\x15\x02\x00\x08imported\x01\x08guilty!!" + "\x02\x01\x00"
	m.Customs = []wasm.Custom{{Name: "name", Data: []byte(names), After: 11}, {Name: "producers", Data: []byte{0}, After: 11}, {Name: "junk", After: 0}}
	i := instrument(t, m, wasm.Options{KeepNames: true, KeepProducers: true})
	again := parse(t, i.Module.Encode())
	if len(again.Customs) != 2 || !strings.Contains(string(again.Customs[0].Data), "\x02\x08guilty!!") {
		t.Errorf("custom sections %v", again.Customs)
	}
	if !reflect.DeepEqual(again, i.Module) {
		t.Error("the round trip of the instrumented module")
	}
	if i := instrument(t, m, wasm.Options{}); len(i.Module.Customs) != 0 {
		t.Errorf("custom sections were kept: %v", i.Module.Customs)
	}
	for _, bad := range []string{"\x01", "\x01\x02\x02\x00", "\x01\x03\x01\x00\x09"} {
		m.Customs[0].Data = []byte(bad)
		if i := instrument(t, m, wasm.Options{KeepNames: true}); len(i.Module.Customs) != 0 {
			t.Errorf("malformed names %q were kept", bad)
		}
	}
}
