//go:build linux

package wasm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/sandbox/wasm/wasi"
	"github.com/carrel-dev/carrel/wasm"
)

// generator makes random guests out of everything that changes state.
type generator struct {
	*guest
	*rand.Rand
	pages uint32
	funcs []uint32
	t     uint32
}

const (
	tableSize = 4
	segments  = 2
)

// The globals of a generated guest, by index.
const (
	genI32 = iota
	genI64
	genF32
	genF64
	genV128
	genRef
)

func generate(r *rand.Rand) []byte {
	g := &generator{Rand: r, pages: 1 + r.Uint32N(3)}
	g.guest = newGuestModule(g.pages)
	g.Memories[0].HasMax, g.Memories[0].Max = true, g.pages+6
	g.global(wasm.I32, wasm.ConstI32, 1)
	g.global(wasm.I64, wasm.ConstI64, 2)
	g.global(wasm.F32, wasm.ConstF32, 0)
	g.global(wasm.F64, wasm.ConstF64, 0)
	g.global(wasm.V128, wasm.ConstV128, 3)
	g.global(wasm.FuncRef, wasm.ConstNull, 0)
	i32result := wasm.FuncType{Results: []wasm.ValType{wasm.I32}}
	for i := range int32(3) {
		f := g.fn(i32result, 0, i32(100+i))
		g.export(fmt.Sprintf("f%d", i), f)
		g.funcs = append(g.funcs, f)
	}
	g.t = g.typ(i32result)
	g.Tables = []wasm.Table{{Type: wasm.FuncRef, Size: wasm.Range{Min: tableSize, Max: 20, HasMax: true}}}
	g.Elements = []wasm.Element{
		{Mode: wasm.Active, Type: wasm.FuncRef, Offset: wasm.ConstExpr{Op: wasm.ConstI32}, Funcs: []uint32{g.funcs[0], g.funcs[1]}},
		{Mode: wasm.Passive, Type: wasm.FuncRef, Funcs: g.funcs},
	}
	count := uint32(segments + 1)
	g.DataCount = &count
	for i := range segments {
		g.Data = append(g.Data, wasm.Data{Mode: wasm.Passive, Bytes: []byte(strings.Repeat(string(rune('a'+i)), 20))})
	}
	g.Data = append(g.Data, wasm.Data{Mode: wasm.Active, Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: 3000}, Bytes: []byte("active")})
	if r.IntN(2) == 0 {
		g.initialize(readEvent(40, 0), g.statements(0, 6))
	}
	g.handle(readEvent(36, 1), g.statements(0, 12), g.show())
	return g.Encode()
}

// show answers with the whole table and the globals that have no export.
func (g *generator) show() code {
	c := seq(store(100, seq(globalGet(genRef), code{0xd1})), store(104, code{0xfc, 16, 0}))
	for i := range int32(tableSize) {
		isNull := seq(i32(i), code{0x25, 0, 0xd1})
		c = seq(c, store(uint32(108+4*i), isNull),
			when(eq(isNull, i32(0)), store(uint32(108+4*i), seq(i32(i), callIndirect(g.t, 0)))))
	}
	return seq(c, reply(100, 64))
}

func (g *generator) statements(depth int, n int) (c code) {
	for range 1 + g.IntN(n) {
		c = append(c, g.statement(depth)...)
	}
	return c
}

func (g *generator) address() uint32 { return 200 + g.Uint32N(g.pages*wasmPage-300) }

func (g *generator) value() code {
	switch g.IntN(4) {
	case 0:
		return i32(int32(g.Uint32()))
	case 1:
		return load(g.address())
	case 2:
		return globalGet(genI32)
	}
	return add(g.value(), load(36))
}

func (g *generator) ref() code {
	if g.IntN(3) == 0 {
		return code{0xd0, 0x70}
	}
	return seq(code{0xd2}, u(g.funcs[g.IntN(3)]))
}

func (g *generator) statement(depth int) code {
	if depth < 3 && g.IntN(5) == 0 {
		if g.IntN(2) == 0 {
			return when(eq(load(36), i32(g.Int32N(3))), g.statements(depth+1, 4))
		}
		n := uint32(depth)
		return seq(i32(1+g.Int32N(40)), set(n),
			loop(g.statements(depth+1, 3), get(n), i32(-1), code{0x6a, 0x22}, u(n), code{0x0d}, u(0)))
	}
	if g.IntN(2) == 0 {
		return g.plain()
	}
	return g.rare()
}

// plain statements change memory and globals.
func (g *generator) plain() code {
	switch g.IntN(9) {
	case 0, 1:
		return store(g.address(), g.value())
	case 2:
		return seq(g.value(), globalSet(genI32))
	case 3:
		return seq(globalGet(genI64), g.value(), code{0xac, 0x7c}, globalSet(genI64))
	case 4:
		return seq(g.value(), code{0xb2}, globalSet(genF32))
	case 5:
		return seq(g.value(), code{0xb7}, globalSet(genF64))
	case 6:
		return seq(g.value(), code{0xfd, 17}, globalSet(genV128))
	case 7:
		return seq(i32(int32(g.address())), g.value(), i32(g.Int32N(90)), code{0xfc, 11, 0})
	}
	return seq(i32(int32(g.address())), i32(int32(g.address())), i32(g.Int32N(90)), code{0xfc, 10, 0, 0})
}

// rare statements grow, change tables and segments, call the host, or end the call.
func (g *generator) rare() code {
	index := i32(g.Int32N(tableSize))
	switch g.IntN(14) {
	case 0:
		return drop(memoryGrow(i32(g.Int32N(3))))
	case 1:
		return seq(index, g.ref(), code{0x26, 0})
	case 2:
		return seq(g.ref(), globalSet(genRef))
	case 3:
		return drop(seq(g.ref(), i32(g.Int32N(2)), code{0xfc, 15, 0}))
	case 4:
		return seq(index, g.ref(), i32(1), code{0xfc, 17, 0})
	case 5:
		return seq(index, i32(0), i32(1), code{0xfc, 12, 1, 0})
	case 6:
		return when(eq(load(36), i32(2)), code{0xfc, 13, 1})
	case 7:
		return seq(i32(int32(g.address())), i32(0), i32(g.Int32N(20)), code{0xfc, 8, byte(g.IntN(segments)), 0})
	case 8:
		return when(eq(load(36), i32(1)), code{0xfc, 9, byte(g.IntN(segments))})
	case 9:
		return drop(seq(i32(int32(g.address())), i32(g.Int32N(50)), call(fnRandom)))
	case 10:
		return drop(seq(i32(g.Int32N(2)), i64(0), i32(int32(g.address())), call(fnClock)))
	case 11:
		return write(1+g.Int32N(2), i32(int32(g.address())), i32(g.Int32N(64)))
	case 12:
		return when(eq(load(36), i32(g.Int32N(6))), unreachable)
	}
	return when(eq(load(36), i32(g.Int32N(6))), i32(g.Int32N(3)), call(fnExit))
}

// picture is all that can be seen of a guest after a call, before its state
// is brought back.
func picture(t *testing.T, g *Guest, event string) string {
	t.Helper()
	inv := invocation(event)
	g.wasi.Begin(&g.ctx, callOf(inv))
	g.region.begin()
	g.refuel(100_000_000)
	err := g.enter()
	if broken(err) {
		t.Fatal(err)
	}
	s := fmt.Sprintf("%v output %x log %x fuel %d peak %d memory %x", g.status(err), g.wasi.Output, g.wasi.Log, g.used(), g.region.peak, sha256.Sum256(wasi.View(g.mod)))
	for i := range genV128 {
		s += fmt.Sprintf(" %x", g.mod.ExportedGlobal(wasm.GlobalExport(uint32(i))).Get())
	}
	v, err := g.mod.ExportedFunction(wasm.VectorExport(genV128)).Call(&g.ctx)
	if err != nil {
		t.Fatal(err)
	}
	s += fmt.Sprintf(" %x", v)
	if _, err := g.undo(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRestoredIsLikeNew generates guests and compares a guest that has been
// restored again and again with one that is loaded anew for each call.
func TestRestoredIsLikeNew(t *testing.T) {
	rnd := testrounds.Rand(t)
	all := engines(t)
	fresh, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	seen := map[string]int{}
	for round := range 3 * testrounds.Rounds(t) {
		module := generate(rnd)
		a, err := Build(context.Background(), Source{Module: module, MemoryLimit: 8 << 20})
		if err != nil {
			seen["not built"]++ // its initialisation trapped
			continue
		}
		seen[fmt.Sprintf("imaged %v", a.Meta.Imaged)]++
		used := map[string]*Guest{}
		for way, e := range all {
			used[way] = loadFD(t, e, a)
		}
		for range 8 {
			event := string(rune(rnd.IntN(6)))
			fd, size := artifactFile(t, a)
			g, err := fresh.LoadFD(context.Background(), fd, size, LoadConfig{MemoryLimit: testLimit})
			if err != nil {
				t.Fatal(err)
			}
			want := picture(t, g, event)
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			status, _, _ := strings.Cut(want, " ")
			seen[status]++
			for way, g := range used {
				if got := picture(t, g, event); got != want {
					t.Fatalf("round %d, %s, event %d:\nrestored %s\n     new %s", round, way, event[0], got, want)
				}
			}
		}
	}
	t.Logf("seen: %v", seen)
	for _, must := range []string{"ok", "trap", "exit", "imaged true"} {
		if seen[must] == 0 {
			t.Errorf("the generator made nothing of the kind %q", must)
		}
	}
}
