//go:build linux

package wasm

import (
	"bytes"
	"testing"

	"github.com/carrel-dev/carrel/sandbox/wasm/wasi"
	"github.com/carrel-dev/carrel/wasm"
)

// hostStateGuests each answer with something that the host keeps for a call.
func hostStateGuests() map[string]*guest {
	path := []wasm.Data{{Mode: wasm.Active, Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: 600}, Bytes: []byte("file")}}
	// open opens the file below /tmp, with flags, for writing; errno to 500, descriptor to 504.
	open := func(flags int32) code {
		return store(500, seq(i32(3), i32(0), i32(600), i32(4), i32(flags), i64(1<<6), i64(0), i32(0), i32(504), call(fnOpen)))
	}
	const createNew = 1 | 4
	all := map[string]*guest{
		"files":           newGuestModule(1).handle(open(createNew), reply(500, 4)),
		"descriptors":     newGuestModule(1).handle(open(1), reply(500, 8)),
		"event position":  newGuestModule(1).handle(readEvent(700, 10), store(500, load(24)), reply(500, 4)),
		"clock":           newGuestModule(1).handle(sleep(5), drop(seq(i32(1), i64(0), i32(500), call(fnClock))), reply(500, 8)),
		"random position": newGuestModule(1).handle(drop(seq(i32(500), i32(16), call(fnRandom))), reply(500, 16)),
		"output":          newGuestModule(1).handle(reply(500, 4)),
	}
	all["files"].Data, all["descriptors"].Data = path, path
	return all
}

// sleep is poll_oneoff for some milliseconds.
func sleep(ms int64) code {
	return seq(store64(824, i64(ms*1e6)), drop(seq(i32(800), i32(900), i32(1), i32(960), call(fnPoll))))
}

// TestNoHostStateSurvives is about what the host keeps for a guest; the
// control makes two calls in one life of that state.
func TestNoHostStateSurvives(t *testing.T) {
	e := engines(t)["compare"]
	for name, m := range hostStateGuests() {
		g := loadFD(t, e, build(t, m.Encode()))
		first, second, _ := survives(t, g, false)
		if !bytes.Equal(first, second) {
			t.Errorf("%s: the second call sees the first: %x, then %x", name, first, second)
		}
		g.wasi.Begin(&g.ctx, callOf(invocation("x")))
		g.refuel(0)
		if err := g.enter(); err != nil {
			t.Fatal(err)
		}
		control := bytes.Clone(g.wasi.Output)
		if err := g.enter(); err != nil {
			t.Fatal(err)
		}
		again, want := g.wasi.Output[len(control):], control
		if name == "output" {
			again, want = g.wasi.Output, control // it holds both replies
		}
		if bytes.Equal(again, want) {
			t.Errorf("%s: control: the guest does not notice that the host's state was kept: %x", name, again)
		}
		if _, err := g.undo(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEnvironmentIsOfTheCall is the environment's turn: it is the one thing
// of these that is given anew by the caller.
func TestEnvironmentIsOfTheCall(t *testing.T) {
	g := loadFD(t, engines(t)["compare"], build(t, goGuest(t, "command")))
	for _, want := range []string{"TENANT=acme", "TENANT=globex", ""} {
		inv := invocation("")
		inv.Env = nil
		if want != "" {
			inv.Env = []string{want}
		}
		if r := run(t, g, inv); string(r.Output) != "bootstrap|"+want+"|" {
			t.Errorf("%q, want %q", r.Output, want)
		}
	}
}

// TestContextPointers is the turn of our own import in A59; the others are
// tested in package wasi.
func TestContextPointers(t *testing.T) {
	g := loadFD(t, engines(t)["compare"], build(t, newGuestModule(1).handle().Encode()))
	g.ctx.Context = t.Context()
	g.context = []byte(`{"tenant":"acme"}`)
	g.refuel(0)
	n := uint64(len(g.context))
	const size = wasmPage
	for _, c := range []struct{ ptr, n, want uint64 }{
		{0, 0, n}, {0, n - 1, n}, {0, n, n}, {size - n, n, n}, {size, 0, n}, {1<<40 + 0, n, n},
		{size - n + 1, n, 1<<32 - 1}, {size + 1, 0, 1<<32 - 1}, {1<<32 - 1, 1, 1<<32 - 1}, {1, 1<<32 - 1, 1<<32 - 1}, {1<<32 - 1, 1<<32 - 1, 1<<32 - 1},
	} {
		clear(wasi.View(g.mod))
		stack := []uint64{c.ptr, c.n}
		putContext(&g.ctx, g.mod, stack)
		if stack[0] != c.want {
			t.Errorf("context(%#x, %d) = %d, want %d", c.ptr, c.n, stack[0], c.want)
		}
		written := !zero(wasi.View(g.mod))
		if wants := c.want == n && c.n >= n; written != wants {
			t.Errorf("context(%#x, %d): written %v", c.ptr, c.n, written)
		}
	}
}

func TestVersionImport(t *testing.T) {
	g := newGuestModule(1)
	g.Imports[fnClock] = wasm.Import{Module: "carrel_v1", Name: "version", Kind: wasm.ExternFunc, Func: g.typ(wasm.FuncType{Results: []wasm.ValType{wasm.I32}})}
	g.handle(store(500, call(fnClock)), reply(500, 4))
	if r := run(t, loadFD(t, engines(t)["compare"], build(t, g.Encode())), invocation("")); r.Output[0] != Version {
		t.Errorf("version %x", r.Output)
	}
}
