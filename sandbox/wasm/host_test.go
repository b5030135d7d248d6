//go:build linux

package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

// relay gives a guest that hands its event to the host and returns the reply.
func relay(t *testing.T, op, times int32) *Guest {
	t.Helper()
	return loadFD(t, engines(t)["compare"], build(t, wasmtest.Relay(op, times, 110)))
}

// said is the answer that a guest of relay got instead of a reply.
func said(t *testing.T, r *Result) int32 {
	t.Helper()
	if r.Status != StatusOK || len(r.Output) != 4 {
		t.Fatalf("%v %s: %d bytes, want an answer of four", r.Status, r.ErrorMessage, len(r.Output))
	}
	return int32(binary.LittleEndian.Uint32(r.Output))
}

func TestHostCallCarriesRequestAndReply(t *testing.T) {
	g := relay(t, int32(OpInvoke), 1)
	for _, event := range []string{"", "{}", strings.Repeat("x", MaxHostRequest)} {
		inv := invocation(event)
		inv.OutputLimit = MaxHostRequest + 10
		inv.Host = func(op Op, request []byte) (HostReply, error) {
			if op != OpInvoke || string(request) != event {
				t.Errorf("operation %d with %d bytes, want %d with %d", op, len(request), OpInvoke, len(event))
			}
			return HostReply{Body: append([]byte("re:"), request...)}, nil
		}
		if r := run(t, g, inv); r.Status != StatusOK || string(r.Output) != "re:"+event {
			t.Errorf("%d bytes: %v %s, %d bytes back", len(event), r.Status, r.ErrorMessage, len(r.Output))
		}
		if g.reply != nil || g.host != nil {
			t.Error("something of the host stayed with the guest after its call")
		}
	}
}

func TestHostCallRefusals(t *testing.T) {
	served := 0
	host := func(Op, []byte) (HostReply, error) { served++; return HostReply{}, nil }
	full := func(Op, []byte) (HostReply, error) { return HostReply{}, ErrHostLimit }
	for name, test := range map[string]struct {
		op    int32
		bytes int
		host  HostFunc
		want  int32
	}{
		"an operation that does not exist": {op: 4, host: host, want: hostUnknownOp},
		"a negative operation":             {op: -1, host: host, want: hostUnknownOp},
		"pieces where none are taken":      {op: 3, host: host, want: hostUnknownOp},
		"no host":                          {op: 1, want: hostUnknownOp},
		"a byte too many":                  {op: 1, bytes: MaxHostRequest + 1, host: host, want: hostTooLarge},
		"once too often":                   {op: 1, host: full, want: hostTooManyCalls},
	} {
		t.Run(name, func(t *testing.T) {
			inv := invocation(strings.Repeat("x", test.bytes))
			inv.Host = test.host
			if got := said(t, run(t, relay(t, test.op, 1), inv)); got != test.want {
				t.Errorf("the guest was told %d, want %d", got, test.want)
			}
		})
	}
	if served != 0 {
		t.Errorf("%d of these requests were served", served)
	}
}

// TestHostCallPointers: whatever a guest gives as address and length, the host
// touches its memory only, or says that it does not lie there.
func TestHostCallPointers(t *testing.T) {
	const size = 2 << 16
	b := wasmtest.New()
	i32 := wasm.I32
	read := b.Import("wasi_snapshot_preview1", "fd_read", wasmtest.Types(i32, i32, i32, i32), wasmtest.Types(i32))
	ask := b.Import("carrel_v1", "call", wasmtest.Types(i32, i32, i32), wasmtest.Types(i32))
	reply := b.Import("carrel_v1", "reply", wasmtest.Types(i32, i32), wasmtest.Types(i32))
	b.Memory(2, 2)
	b.Func("handle", nil, wasmtest.Types(i32), func(c *wasmtest.Code) {
		ptr, n := c.Local(i32), c.Local(i32)
		c.I32Const(0).I32Const(64).Mem(wasmtest.I32Store, 0).I32Const(0).I32Const(8).Mem(wasmtest.I32Store, 4)
		c.I32Const(0).I32Const(0).I32Const(1).I32Const(8).Call(read).Op(wasmtest.Drop)
		c.I32Const(0).Mem(wasmtest.I32Load, 64).LocalSet(ptr).I32Const(0).Mem(wasmtest.I32Load, 68).LocalSet(n)
		// The result is 1 if call refused the place, and 2 more if reply did.
		c.I32Const(1).LocalGet(ptr).LocalGet(n).Call(ask).I32Const(-1).Op(wasmtest.I32Eq)
		c.LocalGet(ptr).LocalGet(n).Call(reply).I32Const(-1).Op(wasmtest.I32Eq).I32Const(1).Op(wasmtest.I32Shl, wasmtest.I32Or)
	})
	g := loadFD(t, engines(t)["compare"], build(t, b.Bytes()))
	for _, place := range [][2]uint32{{0, 0}, {0, size}, {size, 0}, {64, 8}, {1, size}, {size, 1}, {size + 1, 0}, {1 << 31, 1 << 31}, {^uint32(0), 2}, {2, ^uint32(0)}, {^uint32(0), ^uint32(0)}} {
		event := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, place[0]), place[1])
		inv := invocation(string(event))
		served := false
		inv.Host = func(_ Op, request []byte) (HostReply, error) {
			served = true
			return HostReply{Body: bytes.Repeat([]byte{0xaa}, min(len(request), 16))}, nil
		}
		inside := uint64(place[0])+uint64(place[1]) <= size
		want := uint32(0)
		if !inside {
			want = 3
		}
		if r := run(t, g, inv); r.ExitCode != want || served != inside {
			t.Errorf("address %#x, length %#x: code %d, served %t; want %d, %t (%s)", place[0], place[1], r.ExitCode, served, want, inside, r.ErrorMessage)
		}
	}
}

// TestHostCallsFuelAndClock: what the host replies is input, and how long it
// took moves the guest's clocks and takes no fuel.
func TestHostCallsFuelAndClock(t *testing.T) {
	g := relay(t, 1, 3)
	var fuel uint64
	for i, took := range []time.Duration{0, time.Microsecond, time.Hour} {
		inv := invocation("abcd")
		inv.Host = func(Op, []byte) (HostReply, error) { return HostReply{Body: []byte("reply"), Took: took}, nil }
		r := run(t, g, inv)
		if r.Status != StatusOK || r.Fuel < 3*costHostCall {
			t.Fatalf("%v %s, %d units of fuel", r.Status, r.ErrorMessage, r.Fuel)
		}
		if i > 0 && r.Fuel != fuel {
			t.Errorf("a host that took %s made the call cost %d units of fuel, otherwise %d", took, r.Fuel, fuel)
		}
		fuel = r.Fuel
	}
	clock := loadFD(t, engines(t)["compare"], build(t, clockGuest()))
	for took, want := range map[time.Duration]uint64{0: 0, 1: 1e6, time.Millisecond: 1e6, 1500 * time.Microsecond: 2e6} {
		inv := invocation("")
		inv.Host = func(Op, []byte) (HostReply, error) { return HostReply{Took: took}, nil }
		r := run(t, clock, inv)
		if got := binary.LittleEndian.Uint64(r.Output); r.Status != StatusOK || got != want {
			t.Errorf("after a host call of %s the clock was %d ns on, want %d (%v %s)", took, got, want, r.Status, r.ErrorMessage)
		}
	}
}

// clockGuest returns by how much the clock moved over one host call.
func clockGuest() []byte {
	b := wasmtest.New()
	i32, i64 := wasm.I32, wasm.I64
	write := b.Import("wasi_snapshot_preview1", "fd_write", wasmtest.Types(i32, i32, i32, i32), wasmtest.Types(i32))
	now := b.Import("wasi_snapshot_preview1", "clock_time_get", wasmtest.Types(i32, i64, i32), wasmtest.Types(i32))
	ask := b.Import("carrel_v1", "call", wasmtest.Types(i32, i32, i32), wasmtest.Types(i32))
	b.Memory(1, 1)
	b.Func("handle", nil, wasmtest.Types(i32), func(c *wasmtest.Code) {
		c.I32Const(1).I64Const(0).I32Const(64).Call(now).Op(wasmtest.Drop)
		c.I32Const(1).I32Const(0).I32Const(0).Call(ask).Op(wasmtest.Drop)
		c.I32Const(1).I64Const(0).I32Const(72).Call(now).Op(wasmtest.Drop)
		c.I32Const(0).I32Const(0).Mem(wasmtest.I64Load, 72).I32Const(0).Mem(wasmtest.I64Load, 64).Op(wasmtest.I64Sub).Mem(wasmtest.I64Store, 80)
		c.I32Const(0).I32Const(80).Mem(wasmtest.I32Store, 0).I32Const(0).I32Const(8).Mem(wasmtest.I32Store, 4)
		c.I32Const(1).I32Const(0).I32Const(1).I32Const(16).Call(write)
	})
	return b.Bytes()
}

func TestHostErrorEndsTheRun(t *testing.T) {
	g := relay(t, 1, 1)
	for cause, want := range map[error]Status{context.DeadlineExceeded: StatusTimeout, errors.New("taken back"): StatusInterrupted} {
		inv := invocation("")
		inv.Host = func(Op, []byte) (HostReply, error) { return HostReply{}, cause }
		if r := run(t, g, inv); r.Status != want {
			t.Errorf("%v ended the call as %v, want %v", cause, r.Status, want)
		}
	}
	inv := invocation("x")
	inv.Host = func(Op, []byte) (HostReply, error) { return HostReply{Body: []byte("well")}, nil }
	if r := run(t, g, inv); string(r.Output) != "well" {
		t.Errorf("the call after it: %v %q", r.Status, r.Output)
	}
}

// TestNoImageAsksTheHost: an image that depends on a reply would not be the
// same everywhere.
func TestNoImageAsksTheHost(t *testing.T) {
	module := func(asks string) []byte {
		b := wasmtest.New()
		ask := b.Import("carrel_v1", "call", wasmtest.Types(wasm.I32, wasm.I32, wasm.I32), wasmtest.Types(wasm.I32))
		b.Memory(1, 1)
		for _, name := range []string{"_initialize", "handle"} {
			results := wasmtest.Types()
			if name == "handle" {
				results = wasmtest.Types(wasm.I32)
			}
			b.Func(name, nil, results, func(c *wasmtest.Code) {
				if name == asks {
					c.I32Const(1).I32Const(0).I32Const(0).Call(ask).Op(wasmtest.Drop)
				}
				if name == "handle" {
					c.I32Const(0)
				}
			})
		}
		return b.Bytes()
	}
	if _, err := Build(t.Context(), Source{Module: module("handle"), MemoryLimit: testLimit}); err != nil {
		t.Errorf("a module that asks in its calls: %v", err)
	}
	for name, s := range map[string]Source{
		"initialisation": {Module: module("_initialize")},
		"warm-up":        {Module: module("handle"), Warmup: []byte("{}")},
	} {
		s.MemoryLimit = testLimit
		if _, err := Build(t.Context(), s); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "carrel_v1.call") {
			t.Errorf("a module that asks in its %s: %v", name, err)
		}
	}
}

// TestResultsInPieces: pieces reach the host as they are made, within their
// limit, and begin once.
func TestResultsInPieces(t *testing.T) {
	for name, test := range map[string]struct {
		op    Op
		times int32
		event string
		limit int
		host  int // how often the host is asked
		want  Status
		said  int32
	}{
		"pieces":                      {op: OpPiece, times: 3, event: "abcd", limit: 12, host: 3},
		"a byte too many":             {op: OpPiece, times: 3, event: "abcd", limit: 11, host: 2, want: StatusOutputTooLarge},
		"begin":                       {op: OpBegin, times: 1, event: "text/plain", limit: 1, host: 1},
		"begin without a type":        {op: OpBegin, times: 1, limit: 1, host: 1},
		"begin twice":                 {op: OpBegin, times: 2, event: "text/plain", limit: 1, host: 1, said: hostOutOfOrder},
		"begin with a line":           {op: OpBegin, times: 1, event: "a\nb", limit: 1, said: hostOutOfOrder},
		"begin with too long a type":  {op: OpBegin, times: 1, event: strings.Repeat("x", MaxContentType+1), limit: 1, said: hostOutOfOrder},
		"begin with the longest type": {op: OpBegin, times: 1, event: strings.Repeat("x", MaxContentType), limit: 1, host: 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := relay(t, int32(test.op), test.times)
			for range 2 { // the second run finds nothing of the first
				asked := 0
				inv := invocation(test.event)
				inv.StreamLimit = test.limit
				inv.Host = func(op Op, b []byte) (HostReply, error) {
					if asked++; op != test.op || string(b) != test.event {
						t.Errorf("operation %d with %q", op, b)
					}
					return HostReply{}, nil
				}
				r := run(t, g, inv)
				if r.Status != test.want || asked != test.host {
					t.Fatalf("%v %s, %d pieces; want %v, %d", r.Status, r.ErrorMessage, asked, test.want, test.host)
				}
				switch {
				case test.said != 0 && said(t, r) != test.said:
					t.Errorf("the guest was told %d, want %d", said(t, r), test.said)
				case test.want == StatusOK && test.said == 0 && len(r.Output) != 0:
					t.Errorf("the guest was told %d", said(t, r))
				case test.want == StatusOutputTooLarge && !strings.Contains(r.ErrorMessage, "(11 bytes)"):
					t.Errorf("the message is %q", r.ErrorMessage)
				}
			}
		})
	}
}
