//go:build linux

// Package worker is what runs inside a confined process: the loop that runs
// one function version's calls, and the one-shot build of an artefact. It
// holds no key, no credential and no name of a tenant, and talks to the node
// over one socket.
package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/sandbox/wasm"
	"github.com/carrel-dev/carrel/worker/wire"
)

// Socket is the descriptor of the socket to the node.
const Socket = 3

// batchBytes is how many bytes of replies gather before they are written.
const batchBytes = 64 << 10

// keepInput is the size that the buffer of received frames goes back to.
const keepInput = 256 << 10

// keepBody is the largest buffer of an event that is kept for the next one.
const keepBody = 64 << 10

// pollEvery is how often a running call lets the loop look for frames: often
// enough for the node to take back what waits behind it.
const pollEvery = time.Millisecond

// errEOF ends the loop when the node is gone or closed the socket.
var errEOF = errors.New("the node closed the socket")

// errTakenBack stops a call that the node does not want any more.
var errTakenBack = errors.New("taken back by the node")

// Serve confines this process and runs calls until the node closes the
// socket. It returns why it ended; nil if the node ended it.
func Serve() error { return serve(jail.Enter) }

// ServeInside is Serve for a process that has a kernel of its own, which is
// its wall: it gives up by itself what it does not need there either.
func ServeInside() error { return serve(jail.EnterInside) }

func serve(enter func(jail.Profile) (jail.Report, error)) error {
	// The heap is small and the garbage little: the collector hardly ever runs.
	debug.SetGCPercent(400)
	engine, err := wasm.NewEngine()
	if err != nil {
		return err
	}
	report, err := enter(jail.Worker())
	if err != nil {
		return err
	}
	l := &loop{engine: engine, in: make([]byte, 0, 64<<10)}
	l.host = l.ask
	l.out = wire.AppendReady(l.out, wire.ReadyBody{
		Version: wire.Version, Restore: engine.RestoreMethod(), Landlock: uint32(report.Landlock),
	})
	if err := l.flush(); err != nil {
		return err
	}
	err = l.run()
	if errors.Is(err, errEOF) {
		return nil
	}
	return err
}

// loop is the state of a worker. One goroutine runs it: guests, frames and
// replies take turns.
type loop struct {
	engine *wasm.Engine
	guest  *wasm.Guest
	in     []byte // received, not yet parsed
	out    []byte // replies, not yet written
	queue  []*pending
	free   []*pending
	fd     int // the artefact's descriptor, once received
	hasFD  bool

	running  *pending
	revoked  bool
	nextPoll time.Time
	deadline time.Time // of the running call
	asking   asking
	credit   uint32        // bytes that the running call may send in pieces
	host     wasm.HostFunc // ask, bound once
	result   wasm.Result
	done     wire.DoneBody
}

// pending is a call that waits or runs. Its body is a copy: the buffer that
// frames are read into is used again.
type pending struct {
	handle uint64
	body   []byte
	call   wire.RunBody
}

func (l *loop) run() error {
	for {
		for len(l.queue) > 0 {
			if err := l.next(); err != nil {
				return err
			}
			if len(l.out) >= batchBytes {
				if err := l.flush(); err != nil {
					return err
				}
			}
		}
		if err := l.flush(); err != nil {
			return err
		}
		if err := l.receive(0); err != nil {
			return err
		}
	}
}

// receive takes what the node sent and all whole frames in it; flags is 0 to
// wait for something, or MSG_DONTWAIT.
func (l *loop) receive(flags int) error {
	if cap(l.in)-len(l.in) < 4096 {
		l.in = append(make([]byte, 0, 2*cap(l.in)), l.in...)
	}
	room := l.in[len(l.in):cap(l.in)]
	var n int
	var err error
	if l.guest == nil && !l.hasFD {
		n, err = l.receiveWithFD(room)
	} else {
		n, err = retry(func() (int, error) { return receive(room, flags) })
	}
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading from the node: %w", err)
	}
	if n == 0 {
		return errEOF
	}
	l.in = l.in[:len(l.in)+n]
	return l.parse()
}

// receive receives from the node's socket; flags as of loop.receive.
func receive(room []byte, flags int) (int, error) {
	if flags == unix.MSG_DONTWAIT {
		return receiveNow(room)
	}
	n, err := receiveSoon(room)
	if err != unix.EAGAIN {
		return n, err
	}
	n, _, err = unix.Recvfrom(Socket, room, flags)
	return n, err
}

// receiveWithFD reads the first bytes, which come with the artefact's
// descriptor. Afterwards recvmsg is forbidden.
func (l *loop) receiveWithFD(room []byte) (int, error) {
	control := make([]byte, unix.CmsgSpace(4))
	var n, cn int
	_, err := retry(func() (int, error) {
		var err error
		n, cn, _, _, err = unix.Recvmsg(Socket, room, control, unix.MSG_CMSG_CLOEXEC)
		return n, err
	})
	if err != nil || cn == 0 {
		return n, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil || len(messages) != 1 {
		return n, fmt.Errorf("a control message of the node is malformed: %v", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return n, fmt.Errorf("the node sent %d descriptors, want one: %v", len(fds), err)
	}
	l.fd, l.hasFD = fds[0], true
	return n, nil
}

func retry(do func() (int, error)) (int, error) {
	for {
		n, err := do()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// parse takes the whole frames off the buffer.
func (l *loop) parse() error {
	b := l.in
	for {
		h, body, rest, need, err := wire.Next(b, wire.MaxToProcess)
		if err != nil {
			return err
		}
		if need > 0 {
			if need > cap(l.in) {
				b = append(make([]byte, 0, need), b...)
				l.in = b
				return nil
			}
			break
		}
		if err := l.frame(h, body); err != nil {
			return err
		}
		b = rest
	}
	if cap(l.in) > keepInput && len(b) < keepInput/2 {
		l.in = append(make([]byte, 0, keepInput), b...)
		return nil
	}
	l.in = l.in[:copy(l.in[:cap(l.in)], b)]
	return nil
}

func (l *loop) frame(h wire.Header, body []byte) error {
	switch h.Type {
	case wire.Load:
		return l.load(body)
	case wire.Run:
		p := l.pending()
		p.handle = h.Handle
		p.body = append(p.body[:0], body...)
		if err := wire.ParseRun(p.body, &p.call); err != nil {
			return err
		}
		l.queue = append(l.queue, p)
		return nil
	case wire.Cancel:
		why, err := wire.ParseCancel(body)
		if err != nil {
			return err
		}
		l.cancel(h.Handle, why)
		return nil
	case wire.HostReply:
		return l.replied(h.Handle, body)
	case wire.Credit:
		return l.credited(h.Handle, body)
	}
	return fmt.Errorf("%w: type %d", wire.ErrFrame, h.Type)
}

func (l *loop) pending() *pending {
	if n := len(l.free); n > 0 {
		p := l.free[n-1]
		l.free = l.free[:n-1]
		return p
	}
	return new(pending)
}

// cancel gives back a call that waits, or stops the one that runs. A call
// that began while the node's wish to have it elsewhere was on its way stays:
// it has run in part, and stopping it would look like its own failure.
func (l *loop) cancel(handle uint64, why wire.CancelReason) {
	if l.running != nil && l.running.handle == handle {
		l.revoked = why == wire.Expired
		return
	}
	for i, p := range l.queue {
		if p.handle == handle {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			l.out = wire.AppendReturned(l.out, handle)
			return
		}
	}
}

// load makes the guest and then gives up what only loading needed.
func (l *loop) load(body []byte) error {
	v, err := wire.ParseLoad(body)
	if err != nil {
		return err
	}
	if l.guest != nil || !l.hasFD {
		return fmt.Errorf("%w: a second module, or one without its file", wire.ErrFrame)
	}
	guest, err := l.engine.LoadFD(context.Background(), l.fd, int64(v.ArtifactSize), wasm.LoadConfig{MemoryLimit: v.MemoryLimit})
	unix.Close(l.fd)
	if err == nil {
		l.guest = guest
		err = jail.LockDown(jail.Worker())
	}
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	l.out = wire.AppendLoaded(l.out, failure)
	if err != nil {
		return errors.Join(err, l.flush())
	}
	return nil
}

// next runs the oldest call that waits.
func (l *loop) next() error {
	p := l.queue[0]
	l.queue = l.queue[:copy(l.queue, l.queue[1:])]
	if l.guest == nil {
		return fmt.Errorf("%w: a call before a module", wire.ErrFrame)
	}
	c := &p.call
	begun := time.Now()
	l.running, l.revoked, l.nextPoll = p, false, begun.Add(pollEvery)
	l.deadline, l.asking, l.credit = begun.Add(c.Timeout), asking{}, c.Window
	inv := wasm.Invocation{
		Event: c.Event, Env: c.Env, Context: c.Context, RequestID: c.RequestID, Seed: c.Seed, ClockBase: c.ClockBase,
		Deadline: l.deadline, Timeout: c.Timeout, FuelLimit: c.FuelLimit,
		LogLimit: int(c.LogLimit), OutputLimit: int(c.OutputLimit), StreamLimit: int(c.StreamLimit), Interrupt: l.interrupt, Host: l.host,
	}
	err := l.guest.Run(context.Background(), &inv, &l.result)
	l.running = nil
	if err != nil {
		return l.broken(p.handle, err)
	}
	l.reply(p.handle, time.Since(begun))
	if cap(p.body) > keepBody {
		*p = pending{} // many large events in turn would fill this process's memory
	}
	l.free = append(l.free, p)
	return nil
}

// broken tells the node that the guest cannot be used any more, and why. The
// calls that ended before are answered with it.
func (l *loop) broken(handle uint64, cause error) error {
	l.done = wire.DoneBody{Status: wire.StatusBroken, Output: []byte(fmt.Sprintf("%.500s", cause))}
	l.out = wire.AppendDone(l.out, handle, &l.done)
	return errors.Join(cause, l.flush())
}

// interrupt runs inside a call, every few hundred microseconds of it.
func (l *loop) interrupt() error {
	now := time.Now()
	if now.Before(l.nextPoll) {
		return nil
	}
	l.nextPoll = now.Add(pollEvery)
	// Replies must not wait for a call that came after theirs.
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.receive(unix.MSG_DONTWAIT); err != nil {
		return err
	}
	if l.revoked {
		return errTakenBack
	}
	return l.flush()
}

// statuses says how the engine's ends are told to the node.
var statuses = map[wasm.Status]wire.Status{
	wasm.StatusOK:             wire.StatusOK,
	wasm.StatusFunctionError:  wire.StatusFunctionError,
	wasm.StatusExit:           wire.StatusFunctionError,
	wasm.StatusTrap:           wire.StatusFunctionError,
	wasm.StatusOutputTooLarge: wire.StatusFunctionError,
	wasm.StatusTimeout:        wire.StatusTimeout,
	wasm.StatusInterrupted:    wire.StatusTimeout,
	wasm.StatusFuel:           wire.StatusFuel,
	wasm.StatusMemory:         wire.StatusMemory,
}

func (l *loop) reply(handle uint64, took time.Duration) {
	r := &l.result
	status, known := statuses[r.Status]
	if !known {
		status = wire.StatusBroken
	}
	l.done = wire.DoneBody{
		Status: status, Fresh: r.Reset == wasm.Reinstantiated, Fuel: r.Fuel, MaxMemory: r.MemoryPeak,
		Duration: took, LogDropped: uint64(r.LogDropped), Output: r.Output, Log: r.Log,
	}
	l.out = wire.AppendDone(l.out, handle, &l.done)
}

// flush writes the replies out.
func (l *loop) flush() error {
	for b := l.out; len(b) > 0; {
		n, err := retry(func() (int, error) { return unix.Write(Socket, b) })
		if err != nil {
			return fmt.Errorf("writing to the node: %w", err)
		}
		b = b[n:]
	}
	if cap(l.out) > 1<<20 {
		l.out = nil
	}
	l.out = l.out[:0]
	return nil
}
