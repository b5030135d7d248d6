//go:build linux

// Package native is what runs beside a native function inside its sandbox: it
// unpacks the package, starts the function's process, and speaks Lambda's
// Runtime API with it on the one side and the worker protocol with the node
// on the other.
//
//	node ── frames, one socket ── this process ── HTTP on 127.0.0.1 ── function
//
// The wall is the sandbox around both. This process is no part of it: a
// function that takes it over can send the node frames as a broken worker
// could, and gains nothing by it. So there is no defence here of one against
// the other, only the manners of Lambda.
//
// One call runs at a time. A call ends when the function asks for the next
// one, as in Lambda, so that what it does after its response counts too. A
// sandbox whose function timed out, crashed or ran out of memory is not used
// again.
package native

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/worker/wire"
)

// Options say where things are. The zero value is how it is in a sandbox.
type Options struct {
	// Socket is the descriptor of the socket to the node (default 3).
	Socket int
	// Listen is where the Runtime API listens (default 127.0.0.1:9001).
	Listen string
	// TaskRoot is where the package goes (default /var/task).
	TaskRoot string
}

func (o *Options) complete() {
	if o.Socket == 0 {
		o.Socket = 3
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:9001"
	}
	if o.TaskRoot == "" {
		o.TaskRoot = "/var/task"
	}
}

// Serve runs the calls of one function until the node closes the socket or
// the function is at its end.
func Serve(o Options) error {
	o.complete()
	// A function runs as the same user; it has no business in this process.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	unix.CloseOnExec(o.Socket)
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("the address of the Runtime API: %w", err)
	}
	defer l.Close()
	s := &supervisor{options: o, address: l.Addr().String(), socket: os.NewFile(uintptr(o.Socket), "node"), over: make(chan struct{})}
	s.changed.L = &s.mu
	go (&listener{l, s.serveAPI}).serve()
	s.send(wire.AppendReady(nil, wire.ReadyBody{Version: wire.Version, Restore: "none"}))
	failed := make(chan error, 1)
	go func() { failed <- s.receive() }()
	select {
	case err = <-failed:
	case <-s.over:
		err = s.sendErr
	}
	s.endFunction()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// supervisor is the state of a sandbox.
type supervisor struct {
	options Options
	address string // of the Runtime API
	socket  *os.File
	over    chan struct{} // closed when no further call can be run
	ended   sync.Once

	sending sync.Mutex
	sendErr error

	mu      sync.Mutex
	changed sync.Cond // a call came, or the state changed
	of      *wire.PackageBody
	process *process
	// initialised says that the initialisation is over: the function asked for
	// its first call, failed, or took too long. failure is how it failed.
	initialised bool
	failure     *failure
	queue       []*task
	running     *task
	// stopping says that the function's process was told to end.
	stopping   bool
	extensions extensions
}

// task is one call.
type task struct {
	handle uint64
	body   []byte
	call   wire.RunBody
	about  about
	begun  time.Time
	timer  *time.Timer
	// taken says that the function has the event, answered that it gave its
	// result, which output and failed are.
	taken, answered, failed bool
	// streamed says that the result comes in pieces.
	streamed bool
	output   []byte
}

// failure is an error in Lambda's form. One that names the request does so in
// its message, which is not known before there is a call.
type failure struct {
	kind, message string
	// body is the whole object as the function gave it; nil if it gave none.
	body []byte
}

// payload gives the error object for a call.
func (f *failure) payload(requestID string) []byte {
	if f.body != nil {
		return f.body
	}
	return errorObject(f.kind, "RequestId: "+requestID+" Error: "+f.message)
}

// send writes frames to the node. After a failure nothing is sent any more.
func (s *supervisor) send(frames []byte) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.sendErr != nil {
		return
	}
	if _, err := s.socket.Write(frames); err != nil {
		s.sendErr = fmt.Errorf("writing to the node: %w", err)
		s.finish()
	}
}

// finish lets Serve return.
func (s *supervisor) finish() { s.ended.Do(func() { close(s.over) }) }

// receive takes frames until the node closes the socket.
func (s *supervisor) receive() error {
	var head [wire.HeaderSize]byte
	for {
		if _, err := io.ReadFull(s.socket, head[:]); err != nil {
			return err
		}
		h, err := wire.ParseHeader(head[:], wire.MaxToProcess)
		if err != nil {
			return err
		}
		body := make([]byte, h.Len)
		if _, err := io.ReadFull(s.socket, body); err != nil {
			return err
		}
		if err := s.frame(h, body); err != nil {
			return err
		}
	}
}

func (s *supervisor) frame(h wire.Header, body []byte) error {
	switch h.Type {
	case wire.LoadPackage:
		p, err := wire.ParsePackage(body)
		if err != nil {
			return err
		}
		return s.load(p)
	case wire.Run:
		t := &task{handle: h.Handle, body: body}
		if err := wire.ParseRun(body, &t.call); err != nil {
			return err
		}
		if err := t.about.parse(t.call.Context); err != nil {
			return fmt.Errorf("%w: context of a call: %w", wire.ErrFrame, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queue = append(s.queue, t)
		s.advance()
		return nil
	case wire.Credit:
		return s.credited(h.Handle, body)
	case wire.Cancel:
		why, err := wire.ParseCancel(body)
		if err != nil {
			return err
		}
		s.cancel(h.Handle, why)
		return nil
	}
	return fmt.Errorf("%w: type %d", wire.ErrFrame, h.Type)
}

// load unpacks the package and starts the function's process. What is wrong
// with the function itself shows in its first call, as in Lambda.
func (s *supervisor) load(p *wire.PackageBody) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of != nil {
		return fmt.Errorf("%w: a second package", wire.ErrFrame)
	}
	s.of = p
	if err := unpack(p.Archive, s.options.TaskRoot); err != nil {
		s.send(wire.AppendLoaded(nil, fmt.Sprintf("the package could not be unpacked: %.500s", err)))
		return err
	}
	p.Archive = nil
	var err error
	if s.process, err = s.start(p); err != nil {
		s.failInit(&failure{kind: "Runtime.InvalidEntrypoint", message: err.Error()})
		return nil
	}
	go s.wait(s.process)
	time.AfterFunc(p.InitTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.initEnds()
	})
	return nil
}

// initEnds tells the node that calls run from now on. The lock is held.
func (s *supervisor) initEnds() {
	if s.initialised {
		return
	}
	s.initialised = true
	if s.process != nil {
		s.process.endCall()
	}
	s.send(wire.AppendLoaded(nil, ""))
	s.advance()
}

// failInit notes how the initialisation failed: the first one counts. The
// next call is answered with it, and then the sandbox ends. The lock is held.
func (s *supervisor) failInit(f *failure) {
	if s.failure == nil {
		s.failure = f
	}
	s.initEnds()
	s.advance()
}

// advance begins the oldest call that waits, if none runs. The lock is held.
func (s *supervisor) advance() {
	if s.running != nil || len(s.queue) == 0 || !s.initialised {
		return
	}
	t := s.queue[0]
	s.queue = s.queue[1:]
	s.running = t
	t.begun = time.Now()
	if s.failure != nil {
		s.done(wire.StatusFunctionError, s.failure.payload(t.call.RequestID), true)
		return
	}
	s.process.signalAll(unix.SIGCONT)
	s.process.beginCall()
	t.timer = time.AfterFunc(t.call.Timeout, func() { s.expire(t) })
	s.changed.Broadcast()
}

// expire ends a call that is over its time, and with it the sandbox. A
// function that gave its result and then did not come to an end has answered
// all the same.
func (s *supervisor) expire(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != t {
		return
	}
	if t.answered {
		s.complete(true)
		return
	}
	s.done(wire.StatusTimeout, nil, true)
}

func (s *supervisor) cancel(handle uint64, why wire.CancelReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.running; t != nil && t.handle == handle {
		if why == wire.Expired {
			s.done(wire.StatusTimeout, nil, true)
		}
		return
	}
	for i, t := range s.queue {
		if t.handle == handle {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.send(wire.AppendReturned(nil, handle))
			return
		}
	}
}

// complete ends the running call with what the function answered. The lock is
// held.
func (s *supervisor) complete(last bool) {
	t := s.running
	status := wire.StatusOK
	if t.failed {
		status = wire.StatusFunctionError
	}
	s.done(status, t.output, last)
}

// done ends the running call; after the last one so does the sandbox. The
// lock is held.
func (s *supervisor) done(status wire.Status, output []byte, last bool) {
	t := s.running
	s.running = nil
	s.changed.Broadcast() // pieces may be waiting
	if t.timer != nil {
		t.timer.Stop()
	}
	d := wire.DoneBody{Status: status, Last: last, Duration: time.Since(t.begun), Output: output}
	if last {
		s.stopping = true
	}
	if s.process != nil {
		if last {
			s.process.kill()
		}
		s.process.endCall()
		d.Log, d.LogDropped = s.process.takeLog(int(t.call.LogLimit))
		d.MaxMemory = s.process.peakMemory()
	}
	if len(d.Output) > int(t.call.OutputLimit) {
		d.Status, d.Output = wire.StatusFunctionError, tooLarge(int(t.call.OutputLimit))
	}
	if last {
		s.send(wire.AppendDone(nil, t.handle, &d))
		s.changed.Broadcast()
		s.finish()
		return
	}
	// Between calls nothing of the function runs, as in Lambda.
	s.process.signalAll(unix.SIGSTOP)
	s.send(wire.AppendDone(nil, t.handle, &d))
	s.advance()
}

// wait deals with the end of the function's process.
func (s *supervisor) wait(p *process) {
	how := p.wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return
	}
	f := &failure{kind: "Runtime.ExitError", message: how}
	if s.running == nil && s.initialised && s.failure == nil {
		// Between two calls: the node starts another sandbox for the next one.
		s.finish()
		return
	}
	if s.running == nil || !s.initialised {
		s.failInit(f)
		return
	}
	t := s.running
	switch {
	case t.answered:
		s.complete(true)
	case p.overMemory():
		s.done(wire.StatusMemory, nil, true)
	case s.failure != nil:
		s.done(wire.StatusFunctionError, s.failure.payload(t.call.RequestID), true)
	default:
		s.done(wire.StatusFunctionError, f.payload(t.call.RequestID), true)
	}
}

// endFunction kills what is left of the function.
func (s *supervisor) endFunction() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	if s.process != nil {
		s.process.kill()
	}
	s.changed.Broadcast()
}
