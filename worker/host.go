//go:build linux

package worker

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/wasm"
	"github.com/carrel-dev/carrel/worker/wire"
)

// The guest and the node are told of the same bound: this does not compile
// where one is above the other.
const _ = uint(wasm.MaxHostRequest-wire.MaxHostRequest) + uint(wire.MaxHostRequest-wasm.MaxHostRequest) +
	uint(wasm.MaxContentType-wire.MaxContentType) + uint(wire.MaxContentType-wasm.MaxContentType)

// asking is what the running call has asked the node for.
type asking struct {
	count int  // since the call began
	open  bool // no reply yet
	reply wasm.HostReply
}

// ask sends a request of the running guest to the node and waits for the
// reply. The call's time goes on, and frames are taken: the calls behind this
// one are given back meanwhile, and a wish to stop is heard.
func (l *loop) ask(op wasm.Op, request []byte) (wasm.HostReply, error) {
	switch op {
	case wasm.OpBegin:
		l.out = wire.AppendBegin(l.out, l.running.handle, string(request))
		return wasm.HostReply{}, l.flush()
	case wasm.OpPiece:
		return l.stream(request)
	}
	if l.asking.count++; l.asking.count > wire.MaxHostCalls {
		return wasm.HostReply{}, wasm.ErrHostLimit
	}
	l.out = wire.AppendHostCall(l.out, l.running.handle, uint32(op), request)
	l.asking.open = true
	defer func() { l.asking.open, l.asking.reply = false, wasm.HostReply{} }()
	for l.asking.open {
		if err := l.await(); err != nil {
			return wasm.HostReply{}, err
		}
	}
	return l.asking.reply, nil
}

// await waits for frames of the node, to the running call's deadline.
func (l *loop) await() error {
	if err := l.flush(); err != nil {
		return err
	}
	left := time.Until(l.deadline)
	if left <= 0 {
		return context.DeadlineExceeded
	}
	if err := waitSocket(left); err != nil {
		return err
	}
	if err := l.receive(unix.MSG_DONTWAIT); err != nil {
		return err
	}
	if l.revoked {
		return errTakenBack
	}
	return nil
}

// stream sends a piece of the running call's result, as far as the node takes
// it, and waits for it to take more.
func (l *loop) stream(piece []byte) (wasm.HostReply, error) {
	var took time.Duration
	for len(piece) > 0 {
		if l.credit == 0 {
			begun := time.Now()
			for l.credit == 0 {
				if err := l.await(); err != nil {
					return wasm.HostReply{}, err
				}
			}
			took += time.Since(begun)
		}
		n := min(len(piece), wire.MaxChunk, int(l.credit))
		l.out = wire.AppendChunk(l.out, l.running.handle, piece[:n])
		l.credit -= uint32(n)
		piece = piece[n:]
		if len(l.out) >= batchBytes {
			if err := l.flush(); err != nil {
				return wasm.HostReply{}, err
			}
		}
	}
	return wasm.HostReply{Took: took}, l.flush()
}

// credited lets the running call send more. What comes for a call that has
// ended is of no use any more.
func (l *loop) credited(handle uint64, body []byte) error {
	n, err := wire.ParseCredit(body)
	if err == nil && l.running != nil && l.running.handle == handle {
		l.credit += n
	}
	return err
}

// replied takes the node's reply. One that comes after its call has given up
// waiting is of no use any more.
func (l *loop) replied(handle uint64, body []byte) error {
	took, reply, err := wire.ParseHostReply(body)
	if err != nil {
		return err
	}
	if l.running != nil && l.running.handle == handle && l.asking.open {
		l.asking.open = false
		l.asking.reply = wasm.HostReply{Body: append([]byte(nil), reply...), Took: took}
	}
	return nil
}

// waitSocket waits until the node has sent something, for so long at most;
// for the first two milliseconds as receiveSoon does.
func waitSocket(most time.Duration) error {
	if readySoon(min(patience, most)) || most <= patience {
		return nil
	}
	later := unix.NsecToTimespec(int64(most - patience))
	ready := []unix.PollFd{{Fd: Socket, Events: unix.POLLIN}}
	_, err := retry(func() (int, error) { return unix.Ppoll(ready, &later, nil) })
	return err
}
