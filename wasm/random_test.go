package wasm_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
	"github.com/tetratelabs/wazero"
)

// deed is a call of a function of a random module.
type deed struct {
	name string
	args []uint64
}

func deeds(r *rand.Rand, m *wasm.Module, n int) []deed {
	var list []deed
	for range n {
		f := r.IntN(len(m.Functions) - 1) // the last is "null"
		d := deed{name: fmt.Sprintf("f%d", f)}
		t, _ := m.FuncType(uint32(f))
		for range t.Params {
			d.args = append(d.args, uint64(r.Uint32()>>r.Uint32N(32)))
		}
		list = append(list, d)
	}
	return list
}

// do calls and gives all that can be seen of it. Traps are seen by their
// first line: the rest names function indexes.
func (g *guest) do(list []deed) (seen []string) {
	g.t.Helper()
	for _, d := range list {
		out, err := g.call(d.name, d.args...)
		trap := []byte(fmt.Sprint(err))
		if i := bytes.IndexByte(trap, '\n'); i >= 0 {
			trap = trap[:i]
		}
		seen = append(seen, fmt.Sprintf("%s%v: %x %s", d.name, d.args, out, trap))
	}
	return seen
}

// look gives the state of a random module: memory, globals, nulls of the table.
func (g *guest) look() (memory []byte, rest []uint64) {
	b, _ := g.m.ExportedMemory("memory").Read(0, g.m.ExportedMemory("memory").Size())
	memory = append(memory, b...)
	for i := range 4 {
		rest = append(rest, g.m.ExportedGlobal(fmt.Sprintf("g%d", i)).Get())
	}
	for i := range uint64(8) {
		rest = append(rest, g.must("null", i)[0])
	}
	return memory, rest
}

func sameState(t *testing.T, what string, a, b *guest) {
	t.Helper()
	am, ar := a.look()
	bm, br := b.look()
	if !bytes.Equal(am, bm) || !slices.Equal(ar, br) {
		t.Errorf("%s: the states differ: %d and %d bytes of memory, %v, %v", what, len(am), len(bm), ar, br)
	}
}

func sameSeen(t *testing.T, what string, a, b []string) {
	t.Helper()
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("%s: %s, and then %s", what, a[i], b[i])
		}
	}
}

// TestRandomModules compares generated modules as they are, instrumented,
// restored and carried: all see the same, and fuel is equal.
func TestRandomModules(t *testing.T) {
	t.Parallel()
	rnd := testrounds.Rand(t)
	restored, images, traps, yields := 0, 0, 0, 0
	for range 10 * testrounds.Rounds(t) {
		seed := rnd.Uint64()
		r := rand.New(rand.NewPCG(seed, 1))
		m := wasmtest.Random(r)
		if err := wasm.Check(m, wasm.DefaultLimits(), nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		what := fmt.Sprintf("seed %d", seed)
		list := deeds(r, m, 6)
		g := run(t, m, wasm.Options{})
		plain := start(t, g.i, m.Encode())
		bare := run(t, m, wasm.Options{WithoutFuel: true})
		seen := plain.do(list)
		sameSeen(t, what+", without fuel", seen, bare.do(list))
		sameState(t, what+", without fuel", plain, bare)

		pristine := g.memory()
		g.must(wasm.SaveExport)
		g.refuel()
		done := g.do(list)
		used := g.used()
		sameSeen(t, what+", instrumented", seen, done)
		sameState(t, what+", instrumented", plain, g)
		if used > 1<<34 { // bulk operations that trap can cost 2^29
			t.Fatalf("%s: %d fuel; random modules must end soon", what, used)
		}
		nervous := start(t, g.i, g.i.Module.Encode())
		nervous.slice = r.Int64N(20)
		nervous.refuel()
		done = nervous.do(list)
		if with := nervous.used(); with != used {
			t.Errorf("%s: the calls cost %d, and %d in slices of %d", what, used, with, nervous.slice)
		}
		sameSeen(t, what+", in slices", seen, done)
		sameState(t, what+", in slices", plain, nervous)
		yields += nervous.yields
		for _, s := range seen {
			if !bytes.HasSuffix([]byte(s), []byte("<nil>")) {
				traps++
			}
		}
		if img := g.image(); img.Tainted&wasm.TaintTable == 0 {
			n := g.carried(img)
			sameState(t, what+", carried", g, n)
			sameSeen(t, what+", carried", plain.do(list), n.do(list))
			sameState(t, what+", carried and run", plain, n)
			images++
		}
		if g.global(wasm.TaintExport).Get() != 0 || len(pristine) != len(g.memory()) {
			continue
		}
		restored++
		g.must(wasm.RestoreExport)
		g.m.ExportedMemory("memory").Write(0, pristine)
		fresh := run(t, m, wasm.Options{})
		sameState(t, what+", restored", fresh, g)
		g.refuel()
		done = g.do(list)
		if again := g.used(); again != used {
			t.Errorf("%s: the same calls cost %d, and %d after restoring", what, used, again)
		}
		sameSeen(t, what+", restored", seen, done)
	}
	t.Logf("%d restored, %d images, %d calls trapped, %d yields", restored, images, traps, yields)
	if restored == 0 || images == 0 || traps == 0 || yields == 0 {
		t.Error("random modules are too tame or too wild to show anything")
	}
}

// FuzzRandomModules lets the fuzzer choose the seed.
func FuzzRandomModules(f *testing.F) {
	f.Add(uint64(1))
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	f.Cleanup(func() { r.Close(ctx) })
	f.Fuzz(func(t *testing.T, seed uint64) {
		m := wasmtest.Random(rand.New(rand.NewPCG(seed, 1)))
		i := instrument(t, m, wasm.Options{})
		c, err := r.CompileModule(ctx, i.Module.Encode())
		if err != nil {
			t.Fatal(err)
		}
		c.Close(ctx)
	})
}
