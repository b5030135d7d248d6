//go:build linux

package wasm

import (
	"context"
	"errors"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/carrel-dev/carrel/sandbox/wasm/wasi"
)

// Op is an operation of carrel_v1.call.
type Op uint32

// The operations.
const (
	// OpInvoke calls a function. Package host says how request and reply look.
	OpInvoke Op = 1
	// OpBegin says that the result comes in pieces. The request is its content
	// type, which may be empty.
	OpBegin Op = 2
	// OpPiece sends the request as a piece of the result.
	OpPiece Op = 3
)

// MaxHostRequest is the most bytes of a request: a call's 6 MiB payload with
// the names in front of it.
const MaxHostRequest = 6<<20 + 4<<10

// MaxContentType is the most bytes of a content type: printable ASCII.
const MaxContentType = 255

// What carrel_v1.call gives instead of a length.
const (
	hostBadAddress   = -1
	hostUnknownOp    = -2
	hostTooLarge     = -3
	hostTooManyCalls = -4
	hostOutOfOrder   = -5
)

// ErrHostLimit is the error of a HostFunc that was asked more often than one
// call may ask. The guest is told and goes on.
var ErrHostLimit = errors.New("the call has asked the host as often as it may")

// errStreamLimit ends a run whose pieces are over their limit.
var errStreamLimit = errors.New("the pieces of the result are over their limit")

// errImageHost ends an initialisation that asks the host for something.
var errImageHost = errors.New("it used carrel_v1.call, and what an image depends on must be the same everywhere")

// HostFunc does one operation of carrel_v1.call and returns when it has ended.
// The request is the guest's memory: it is good until the function returns. An
// error ends the run, as one of Invocation.Interrupt does.
type HostFunc func(op Op, request []byte) (HostReply, error)

// HostReply is what an operation gave.
type HostReply struct {
	// Body is what the guest gets; it may not be changed any more.
	Body []byte
	// Took is how long the operation took. The guest's clocks go forward by
	// it, in whole milliseconds, rounded up.
	Took time.Duration
}

// costHostCall is the fuel that carrel_v1.call takes, apart from copying, and
// costContext what carrel_v1.context and carrel_v1.reply do.
const (
	costHostCall = 5000
	costContext  = 500
)

// hostCall is carrel_v1.call.
func hostCall(ctx context.Context, mod api.Module, s []uint64) {
	g := guestOf(ctx)
	g.charge(costHostCall)
	g.reply = nil
	if g.imaging {
		g.wasi.Stop(wasi.Interrupted, errImageHost)
	}
	s[0] = uint64(uint32(g.ask(Op(uint32(s[0])), wasi.View(mod), s)))
}

// ask does the operation and gives what the guest is told of it.
func (g *Guest) ask(op Op, mem []byte, s []uint64) int32 {
	request, ok := wasi.Slice(mem, s[1], s[2])
	switch {
	case !ok:
		return hostBadAddress
	case !g.knows(op):
		return hostUnknownOp
	case len(request) > MaxHostRequest:
		return hostTooLarge
	}
	if op != OpInvoke {
		if refusal := g.pieces(op, request); refusal != 0 {
			return refusal
		}
	}
	g.charge(uint64(len(request)) / 4)
	reply, err := g.host(op, request)
	if errors.Is(err, ErrHostLimit) {
		return hostTooManyCalls
	}
	if err != nil {
		g.wasi.Stop(wasi.Interrupted, err)
	}
	g.reply = reply.Body
	g.wasi.Advance(reply.Took)
	g.paced = time.Time{} // the time spent waiting is not the slice's
	return int32(len(g.reply))
}

func (g *Guest) knows(op Op) bool {
	if op == OpBegin || op == OpPiece {
		return g.host != nil && g.streamLimit > 0
	}
	return g.host != nil && op == OpInvoke
}

// pieces holds what a guest streams to its rules: it begins once, before the
// first piece, with what fits into a header, and all pieces have one limit.
func (g *Guest) pieces(op Op, request []byte) (refusal int32) {
	if op == OpBegin {
		if g.began || !validContentType(request) {
			return hostOutOfOrder
		}
		g.began = true
		return 0
	}
	if len(request) > g.streamLimit-g.streamed {
		g.wasi.Stop(wasi.OutputTooLarge, errStreamLimit)
	}
	g.began = true
	g.streamed += len(request)
	return 0
}

// validContentType tells whether text fits into a header.
func validContentType(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(text) <= MaxContentType
}

// hostReply is carrel_v1.reply.
func hostReply(ctx context.Context, mod api.Module, s []uint64) {
	g := guestOf(ctx)
	s[0] = g.put(wasi.View(mod), s, g.reply)
}

// putContext is carrel_v1.context.
func putContext(ctx context.Context, mod api.Module, s []uint64) {
	g := guestOf(ctx)
	s[0] = g.put(wasi.View(mod), s, g.context)
}

// put copies bytes to where a guest wants them, if they fit, and gives their
// length; all ones if the place is not in memory.
func (g *Guest) put(mem []byte, s []uint64, b []byte) uint64 {
	g.charge(costContext)
	room, ok := wasi.Slice(mem, s[0], s[1])
	if !ok {
		return uint64(^uint32(0))
	}
	if len(room) >= len(b) {
		g.charge(uint64(len(b)) / 4)
		copy(room, b)
	}
	return uint64(uint32(len(b)))
}
