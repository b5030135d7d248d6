//go:build linux

package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/wasm"
)

// spin is a loop without end.
var spin = loop(br(0))

// endings are guests that end in every way there is.
func endings() map[string]struct {
	guest   *guest
	status  Status
	kind    string
	message string
} {
	type ending = struct {
		guest   *guest
		status  Status
		kind    string
		message string
	}
	recursive := newGuestModule(1)
	recursive.fn(wasm.FuncType{}, 0, call(importedFuncs))
	failed := newGuestModule(1)
	failed.Data = []wasm.Data{{Mode: wasm.Active, Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: 600}, Bytes: []byte("one\nthe disk is full\n")}}
	document := newGuestModule(1)
	doc := []byte(`{"errorType":"OrderError","errorMessage":"no such order","stackTrace":[]}`)
	document.Data = []wasm.Data{{Mode: wasm.Active, Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: 600}, Bytes: doc}}
	return map[string]ending{
		"trap":      {newGuestModule(1).handle(unreachable), StatusTrap, "Runtime.ExitError", "RequestId: r-1 Error: Runtime exited with error: wasm error: unreachable"},
		"bounds":    {newGuestModule(1).handle(drop(load(1 << 20))), StatusTrap, "Runtime.ExitError", "RequestId: r-1 Error: Runtime exited with error: wasm error: out of bounds memory access"},
		"recursion": {recursive.handle(call(importedFuncs)), StatusTrap, "Runtime.ExitError", "RequestId: r-1 Error: Runtime exited with error: stack overflow"},
		"exit":      {newGuestModule(1).handle(i32(7), call(fnExit)), StatusExit, "Runtime.ExitError", "RequestId: r-1 Error: Runtime exited with error: exit status 7"},
		"command":   {newGuestModule(1).start(i32(7), call(fnExit)), StatusExit, "Runtime.ExitError", "RequestId: r-1 Error: Runtime exited with error: exit status 7"},
		"exit 0":    {newGuestModule(1).handle(i32(0), call(fnExit)), StatusOK, "", ""},
		"status": {failed.handle(write(2, i32(600), i32(21)), i32(4), code{0x0f}), StatusFunctionError, "Runtime.ExitError",
			"RequestId: r-1 Error: Runtime exited with error: exit status 4: the disk is full"},
		"document": {document.handle(reply(600, int32(len(doc))), i32(1), code{0x0f}), StatusFunctionError, "OrderError", "no such order"},
		"output": {newGuestModule(1).handle(loop(reply(0, 60000), br(0))), StatusOutputTooLarge, "Function.ResponseSizeTooLarge",
			"Response payload size exceeded maximum allowed payload size (1048576 bytes)."},
		"memory": {newGuestModule(1).handle(when(eq(memoryGrow(i32(5000)), i32(-1)), unreachable)), StatusMemory, "Runtime.OutOfMemory",
			"RequestId: r-1 Error: Runtime exited with error: the function asked for more memory than MemorySize allows"},
		"memory, handled": {newGuestModule(1).handle(drop(memoryGrow(i32(5000)))), StatusOK, "", ""},
		"fuel":            {newGuestModule(1).handle(spin), StatusFuel, "Sandbox.FuelExceeded", "RequestId: r-1 Error: Task used up its limit of 50000000 units of fuel"},
	}
}

func TestEndings(t *testing.T) {
	e := engines(t)["compare"]
	for name, c := range endings() {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			g := loadFD(t, e, build(t, c.guest.Encode()))
			for range 3 {
				inv := invocation("")
				inv.FuelLimit = 50_000_000
				r := run(t, g, inv)
				if r.Status != c.status || r.ErrorType != c.kind || r.ErrorMessage != c.message {
					t.Fatalf("got %v %q %q, want %v %q %q", r.Status, r.ErrorType, r.ErrorMessage, c.status, c.kind, c.message)
				}
				var doc errorForm
				if c.status != StatusOK && (json.Unmarshal(r.Output, &doc) != nil || doc.Type != c.kind || doc.Message != c.message) {
					t.Fatalf("the output is not the error document: %s", r.Output)
				}
			}
		})
	}
}

// TestGuestLivesOn shows that after every bad end the next call is like the
// first one ever.
func TestGuestLivesOn(t *testing.T) {
	// The event's first byte says how to end.
	g := newGuestModule(1)
	n := g.global(wasm.I32, wasm.ConstI32, 0)
	recurse := g.fn(wasm.FuncType{}, 0)
	g.Codes[len(g.Codes)-1].Body = seq(call(recurse), end)
	op := func(c byte, body ...code) code { return when(eq(load(600), i32(int32(c))), body...) }
	g.handle(
		readEvent(600, 1),
		add(globalGet(n), i32(1)), globalSet(n),
		store(700, add(load(700), i32(1))), store(704, globalGet(n)),
		op('t', unreachable), op('s', spin), op('r', call(recurse)), op('x', i32(1), call(fnExit)),
		op('g', drop(memoryGrow(i32(10))), unreachable), op('o', loop(reply(0, 60000), br(0))),
		reply(700, 8),
	)
	a := build(t, g.Encode())
	for name, e := range engines(t) {
		g := loadFD(t, e, a)
		want := bytes.Clone(run(t, g, invocation("-")).Output)
		if !bytes.Equal(want, []byte{1, 0, 0, 0, 1, 0, 0, 0}) {
			t.Fatalf("first call: %x", want)
		}
		for _, bad := range []string{"t", "s", "r", "x", "g", "o"} {
			inv := invocation(bad)
			inv.FuelLimit = 10_000_000
			if r := run(t, g, inv); r.Status == StatusOK {
				t.Fatalf("%s: %q ended well", name, bad)
			}
			if r := run(t, g, invocation("-")); r.Status != StatusOK || !bytes.Equal(r.Output, want) {
				t.Fatalf("%s: after %q: %v %x", name, bad, r.Status, r.Output)
			}
		}
	}
}

// TestRecursionGivesItsStackBack is about the native stack, which is ours.
func TestRecursionGivesItsStackBack(t *testing.T) {
	g := loadFD(t, engines(t)["compare"], build(t, endings()["recursion"].guest.Encode()))
	for range 3 {
		if r := run(t, g, invocation("")); r.Status != StatusTrap {
			t.Fatal(r.Status)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > 64<<20 {
		t.Errorf("%d MiB of heap are in use after a deep recursion", m.HeapInuse>>20)
	}
}

func TestSpinningGuestIsStopped(t *testing.T) {
	g := loadFD(t, engines(t)["compare"], build(t, newGuestModule(1).handle(spin).Encode()))
	enough := errors.New("enough")
	asked := 0
	inv := invocation("")
	inv.Interrupt = func() error {
		if asked++; asked == 10 {
			return enough
		}
		return nil
	}
	r := run(t, g, inv)
	if r.Status != StatusInterrupted || asked != 10 {
		t.Fatalf("%v after %d questions, want %v after 10", r.Status, asked, StatusInterrupted)
	}
	if r.Fuel < 9*minSlice || r.Fuel > 11*maxSlice {
		t.Fatalf("%d units of fuel between 10 questions of %d to %d", r.Fuel, minSlice, maxSlice)
	}

	inv = invocation("")
	inv.Timeout = 30 * time.Millisecond
	inv.Deadline = time.Now().Add(inv.Timeout)
	r = run(t, g, inv)
	if late := time.Since(inv.Deadline); r.Status != StatusTimeout || late > 50*time.Millisecond {
		t.Fatalf("%v, %v after the deadline", r.Status, late)
	}
	if want := "RequestId: r-1 Error: Task timed out after 0.03 seconds"; r.ErrorType != "Sandbox.Timedout" || r.ErrorMessage != want {
		t.Fatalf("got %q %q", r.ErrorType, r.ErrorMessage)
	}

	ctx, cancel := context.WithCancel(context.Background())
	inv = invocation("")
	inv.Interrupt = func() error { cancel(); return nil }
	res := &Result{}
	if err := g.Run(ctx, inv, res); err != nil || res.Status != StatusInterrupted {
		t.Fatalf("a cancelled call: %v %v", err, res.Status)
	}
}

func TestFuelLimitIsExact(t *testing.T) {
	a := build(t, smallGuest())
	e := engines(t)["compare"]
	g := loadFD(t, e, a)
	used := run(t, g, invocation("")).Fuel
	for limit, want := range map[uint64]Status{used: StatusOK, used + 1: StatusOK, 1: StatusOK} {
		inv := invocation("")
		inv.FuelLimit = limit
		// A guest without a loop is asked at its entry only, where all is still there.
		if r := run(t, g, inv); limit >= used && (r.Status != want || r.Fuel != used) {
			t.Errorf("limit %d of %d: %v, %d used", limit, used, r.Status, r.Fuel)
		}
	}
	g = loadFD(t, e, build(t, newGuestModule(1).handle(spin).Encode()))
	var first uint64
	for i, limit := range []uint64{1_000_000, 1_000_000, 1_000_000} {
		inv := invocation("")
		inv.FuelLimit = limit
		r := run(t, g, inv)
		if r.Status != StatusFuel || r.Fuel <= limit || r.Fuel > limit+100 {
			t.Fatalf("limit %d: %v after %d", limit, r.Status, r.Fuel)
		}
		if i > 0 && r.Fuel != first {
			t.Fatalf("stopped at %d and then at %d", first, r.Fuel)
		}
		first = r.Fuel
	}
}

// TestHostCallsCostFuel shows that a guest that does nothing but call the host
// is stopped like any other.
func TestHostCallsCostFuel(t *testing.T) {
	inv := invocation("")
	inv.FuelLimit = 100_000_000
	calls := 0
	g := newGuestModule(4)
	g.handle(loop(drop(seq(i32(1024), i32(200000), call(fnRandom))), br(0)))
	guest := loadFD(t, engines(t)["compare"], build(t, g.Encode()))
	inv.Interrupt = func() error { calls++; return nil }
	r := run(t, guest, inv)
	if r.Status != StatusFuel || r.Fuel > inv.FuelLimit+300_000 {
		t.Fatalf("%v after %d", r.Status, r.Fuel)
	}
	// 200,000 random bytes are 200,000 units, so these are 500 calls, at most
	// 20 of them from one question to the next.
	if calls < 100_000_000/(maxSlice+200_000)-1 {
		t.Fatalf("asked %d times in %d units of fuel", calls, r.Fuel)
	}
}

func TestLogIsLimited(t *testing.T) {
	g := loadFD(t, engines(t)["compare"], build(t, newGuestModule(1).handle(write(2, i32(0), i32(3000)), write(2, i32(0), i32(3000))).Encode()))
	r := run(t, g, invocation(""))
	if r.Status != StatusOK || len(r.Log) != 4096 || r.LogDropped != 6000-4096 {
		t.Fatalf("%v, %d bytes of log and %d dropped", r.Status, len(r.Log), r.LogDropped)
	}
	if r := run(t, g, invocation("")); len(r.Log) != 4096 || r.LogDropped != 6000-4096 {
		t.Fatalf("second call: %d bytes of log and %d dropped", len(r.Log), r.LogDropped)
	}
}
