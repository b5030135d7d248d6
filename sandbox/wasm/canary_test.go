//go:build linux

package wasm

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/wasm"
)

// canaryGuest spreads its event wherever a guest can: memory at both ends,
// grown memory, a global, a file in /tmp; then it ends as the first byte says.
func canaryGuest() *guest {
	g := newGuestModule(2)
	n := g.global(wasm.I64, wasm.ConstI64, 0)
	deep := g.fn(wasm.FuncType{}, 0)
	g.Codes[len(g.Codes)-1].Body = seq(call(deep), end)
	g.Data = []wasm.Data{{Mode: wasm.Active, Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: 580}, Bytes: []byte("file")}}
	op := func(c byte, body ...code) code {
		return when(eq(seq(i32(0), code{0x2d, 0}, u(600)), i32(int32(c))), body...)
	}
	copyTo := func(at int32) code { return seq(i32(at), i32(600), i32(32), code{0xfc, 10, 0, 0}) }
	return g.handle(
		readEvent(600, 32), copyTo(2<<16-32), drop(memoryGrow(i32(3))), copyTo(4<<16), copyTo(5<<16-32),
		seq(i32(0), code{0x29, 3}, u(608)), globalSet(n),
		drop(seq(i32(3), i32(0), i32(580), i32(4), i32(1), i64(1<<6), i64(0), i32(0), i32(504), call(fnOpen))),
		store(16, i32(600)), store(20, i32(32)), drop(seq(load(504), i32(16), i32(1), i32(24), call(fnWrite))),
		op('x', unreachable), op('e', i32(9), call(fnExit)), op('s', spin), op('o', loop(reply(0, 60000), br(0))), op('r', call(deep)),
		reply(600, 32),
	)
}

// TestCanaryNeverComesBack writes a different text in each call, ends the call
// in every way, and then looks for any of the texts wherever a guest could
// find them (A62).
func TestCanaryNeverComesBack(t *testing.T) {
	a := build(t, canaryGuest().Encode())
	rounds := 50 * testrounds.Rounds(t)
	for way, e := range engines(t) {
		g := loadFD(t, e, a)
		res := &Result{}
		for i := range rounds {
			end := "-xeso"[i%5]
			if i%200 == 199 {
				end = 'r' // a deep recursion takes a while
			}
			canary := fmt.Sprintf("%c-CANARY-%023d", end, i)
			inv := invocation(canary)
			inv.FuelLimit = 200_000
			if end == 'r' {
				inv.FuelLimit = 0
			}
			if err := g.Run(t.Context(), inv, res); err != nil {
				t.Fatal(err)
			}
			if want := []byte("CANARY"); end == '-' && !bytes.Contains(res.Output, want) {
				t.Fatalf("%s: call %d does not answer with its event: %v %q", way, i, res.Status, res.Output)
			} else if bytes.Contains(g.region.mem[:g.region.usable], want) {
				t.Fatalf("%s: after call %d (%q, %v) its text is in memory", way, i, end, res.Status)
			}
			if v := g.mod.ExportedGlobal(wasm.GlobalExport(0)).Get(); v != 0 {
				t.Fatalf("%s: after call %d the global is %x", way, i, v)
			}
			if g.wasi.TmpBytes() != 0 || g.region.tmp != 0 {
				t.Fatalf("%s: after call %d /tmp holds %d bytes", way, i, g.wasi.TmpBytes())
			}
		}
	}
}
