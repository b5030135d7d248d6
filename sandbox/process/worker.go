//go:build linux

package process

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/worker/wire"
)

// worker is one process that belongs to one group until it dies.
type worker struct {
	id    uint64
	group *group
	proc  *spawner.Process
	conn  *net.UnixConn

	mu       sync.Mutex
	out      []byte // frames not yet written
	spare    []byte
	outSeq   uint64 // journal records that must be written before out is
	flushing bool
	dead     bool
	batches  uint64  // how often out was written
	queue    []*slot // open calls, oldest first: the worker runs them in order
	head     time.Time
	resumed  time.Time // when the call that runs had its last reply of the host

	ice     ice
	open    atomic.Int32
	stalled atomic.Bool
	// retired says that the worker takes no further call.
	retired atomic.Bool
	native  nativeState
	// asking says that the call that runs waits for the host.
	asking atomic.Bool
	// seen says that the watchdog knows of the worker; the rest is its own:
	// when it last looked at the processor time, whether it found the worker
	// to be heavy, and that the kernel is being told.
	seen       atomic.Bool
	changing   atomic.Bool
	heavy      bool
	weighed    time.Time
	weighedCPU time.Duration
	lastUse    atomic.Int64 // unix ns
	begun      time.Time
	loaded     time.Time
	now        time.Time // of the batch of replies that the reader is at

	// The reader's own, used again for each batch.
	ended, returned []*slot
	asked           []asked
	trust           trust
	cpu             time.Duration // the process's processor time at the last reply
	why             atomic.Pointer[string]
}

func newWorker(g *group, b *blank, begun time.Time) *worker {
	w := &worker{id: b.id, group: g, proc: b.proc, conn: b.conn, begun: begun}
	w.lastUse.Store(begun.UnixNano())
	w.cpu, _ = b.proc.CPUTime()
	return w
}

// load sends the artefact's descriptor; calls may follow at once. A function
// that may use more memory than a blank worker gets its limit first.
func (w *worker) load(t *function.Target) error {
	if mb := w.group.key.memoryMB; mb > blankMemoryMB {
		if err := w.raise(); err != nil {
			return err
		}
	}
	if w.group.key.native() {
		return w.loadPackage(t)
	}
	art, err := w.group.driver.artifacts.get(w.group.driver.stopped, w.group.key)
	if err != nil {
		return err
	}
	defer art.release()
	frame := wire.AppendLoad(nil, wire.LoadBody{
		MemoryLimit: uint64(w.group.key.memoryMB) << 20, ArtifactSize: uint64(art.size),
	})
	_, _, err = w.conn.WriteMsgUnix(frame, unix.UnixRights(int(art.file.Fd())), nil)
	return err
}

// send queues calls and writes them out, unless another goroutine is at it
// already. It reports false, and takes nothing, if the worker is dead or does not move.
func (w *worker) send(slots ...*slot) bool {
	now := time.Now()
	w.mu.Lock()
	if w.dead || w.asking.Load() || w.stalled.Load() || !w.begins(slots) {
		w.mu.Unlock()
		return false
	}
	if len(w.queue) == 0 {
		w.head = now
	}
	for _, s := range slots {
		s.sent, s.batch = now, 0
		w.queue = append(w.queue, s)
		w.out = append(w.out, s.frame...)
		w.outSeq = max(w.outSeq, s.job.Decision)
	}
	w.open.Add(int32(len(slots)))
	w.lastUse.Store(now.UnixNano())
	leader := w.lead()
	w.mu.Unlock()
	w.thaw()
	w.watch()
	if leader {
		// Others that are about to send can add theirs to the same write.
		runtime.Gosched()
		w.flush()
	}
	return true
}

// maxBatches is how many writes the worker may have unanswered before
// further calls wait here: it has the next batch at hand while it works on
// one, and what comes meanwhile becomes one write instead of many.
const maxBatches = 2

// lead makes the caller the flusher if there is none and it is time to
// write. The worker is locked.
func (w *worker) lead() bool {
	if w.flushing || w.dead || len(w.out) == 0 {
		return false
	}
	if oldest := w.queue[0].batch; oldest != 0 && w.batches-oldest+1 >= maxBatches {
		return false
	}
	w.flushing = true
	return true
}

// pump writes what waited for the worker to answer.
func (w *worker) pump() {
	w.mu.Lock()
	leader := len(w.queue) > 0 && w.lead()
	w.mu.Unlock()
	if leader {
		w.flush()
	}
}

// flush writes out what is queued, the journal first. One goroutine at a
// time is here.
func (w *worker) flush() {
	for {
		w.mu.Lock()
		if len(w.out) == 0 || w.dead {
			w.flushing = false
			w.mu.Unlock()
			return
		}
		frames, seq := w.out, w.outSeq
		w.out = w.spare[:0]
		w.batches++
		for i := len(w.queue) - 1; i >= 0 && w.queue[i].batch == 0; i-- {
			w.queue[i].batch = w.batches
		}
		w.mu.Unlock()
		if err := w.group.driver.cfg.Journal.Write(seq); err != nil {
			w.kill("the journal could not be written: " + err.Error())
			continue
		}
		if _, err := w.conn.Write(frames); err != nil {
			w.kill("its socket failed: " + err.Error())
			continue
		}
		if cap(frames) <= 1<<20 {
			w.spare = frames
		} else {
			w.spare = nil
		}
	}
}

// control sends frames that belong to no call.
func (w *worker) control(frames []byte) {
	w.mu.Lock()
	w.out = append(w.out, frames...)
	leader := !w.flushing && !w.dead
	if leader {
		w.flushing = true
	}
	w.mu.Unlock()
	if leader {
		w.flush()
	}
}

// kill ends the process; its reader cleans up. The first reason is kept.
func (w *worker) kill(why string) {
	w.retired.Store(true)
	if w.why.CompareAndSwap(nil, &why) {
		w.proc.Kill()
	}
}

// errHostile is the error of a reply that no honest worker sends.
var errHostile = errors.New("the worker broke the protocol")

// read takes replies until the worker is gone.
func (w *worker) read() {
	defer w.group.driver.running.Done()
	err := w.readReplies()
	w.bury(err)
}

func (w *worker) readReplies() error {
	buf := make([]byte, 0, 64<<10)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, cap(buf))
		}
		n, err := w.conn.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return err
		}
		buf = buf[:len(buf)+n]
		rest, need, err := w.batch(buf)
		if err != nil {
			w.group.driver.counts.Alarms.Add(1)
			w.kill(err.Error())
			return err
		}
		if w.retired.Load() && w.open.Load() == 0 {
			w.kill("its last call has ended")
			return io.EOF
		}
		buf = buf[:copy(buf[:cap(buf)], rest)]
		if need > cap(buf) {
			buf = slices.Grow(buf, need-len(buf))
		} else if cap(buf) > 4<<20 && need == 0 {
			buf = append(make([]byte, 0, 64<<10), buf...)
		}
	}
}

// batch handles all whole frames in b, up to the first one that breaks the
// protocol: what was answered before it counts.
func (w *worker) batch(b []byte) (rest []byte, need int, err error) {
	ended, returned := w.ended[:0], w.returned[:0]
	w.now = time.Now()
	for err == nil {
		var h wire.Header
		var body []byte
		if h, body, b, need, err = wire.Next(b, wire.MaxFromWorker); err != nil || need != 0 {
			break
		}
		var s *slot
		s, err = w.frame(h, body)
		switch {
		case s == nil || err != nil:
		case h.Type == wire.Returned:
			returned = append(returned, s)
		default:
			ended = append(ended, s)
		}
	}
	if len(ended) > 0 {
		w.settle(ended)
		w.group.driver.record(ended)
		w.pump()
		wake(ended)
		clear(ended)
		if w.group.key.native() && w.open.Load() == 0 && !w.retired.Load() {
			w.group.handOn()
		}
		if w.open.Load() == 0 {
			w.rests()
			w.group.driver.poolOf(w.group.key.kind).spare()
		}
	} else if len(returned) > 0 {
		w.pump()
	}
	if len(returned) > 0 {
		w.group.redispatch(returned)
		clear(returned)
	}
	w.ended, w.returned = ended, returned
	w.serveAsked()
	return b, need, err
}

// frame handles one frame; the slot is one that ended or was given back.
func (w *worker) frame(h wire.Header, body []byte) (*slot, error) {
	switch h.Type {
	case wire.Loaded:
		failure, err := wire.ParseLoaded(body)
		if err != nil {
			return nil, err
		}
		if failure != "" {
			return nil, fmt.Errorf("the function could not be loaded: %.500q", failure)
		}
		if !w.loaded.IsZero() {
			return nil, errHostile
		}
		w.loaded = time.Now()
		w.mu.Lock()
		w.head = w.loaded
		w.mu.Unlock()
		return nil, nil
	case wire.Done:
		var d wire.DoneBody
		if err := wire.ParseDone(body, &d); err != nil {
			return nil, err
		}
		s := w.find(h.Handle)
		if s == nil || w.loaded.IsZero() {
			return nil, fmt.Errorf("%w: it answered a call that is not open", errHostile)
		}
		// Until its answer is known to be good the call stays open, so that
		// it ends with the worker otherwise.
		if err := w.outcome(s, &d); err != nil {
			return nil, err
		}
		if w.group.key.native() {
			w.retireNative(d.Last)
		}
		w.unqueue(s)
		w.stalled.Store(false)
		if s.asks > 0 {
			w.asking.Store(false) // it may have ended without waiting for its reply
		}
		return s, nil
	case wire.HostCall:
		return nil, w.ask(h.Handle, body)
	case wire.Begin, wire.Chunk:
		return nil, w.piece(h, body)
	case wire.Returned:
		if len(body) != 0 {
			return nil, errHostile
		}
		s := w.find(h.Handle)
		if s == nil || !s.asked.Load() {
			return nil, fmt.Errorf("%w: it gave back a call that nobody asked for", errHostile)
		}
		w.unqueue(s)
		s.asked.Store(false)
		return s, nil
	}
	return nil, fmt.Errorf("%w: frame of type %d", errHostile, h.Type)
}

// find gives the open call of a handle; nil if there is none.
func (w *worker) find(handle uint64) *slot {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.queue {
		if s.handle == handle {
			return s
		}
	}
	return nil
}

// unqueue takes an open call out of the queue; almost always it is the first.
func (w *worker) unqueue(s *slot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, s)
	if i == 0 {
		w.queue[0] = nil
		w.queue = w.queue[1:]
		w.head = w.now
	} else {
		w.queue = slices.Delete(w.queue, i, i+1)
	}
	w.open.Add(-1)
}

// settle shares the processor time since the last batch among its calls, by
// their fuel, and holds the worker's claims against it.
func (w *worker) settle(ended []*slot) {
	now, err := w.proc.CPUTime()
	if err != nil {
		return
	}
	spent := max(now-w.cpu, 0)
	w.cpu = now
	var fuel uint64
	for _, s := range ended {
		fuel += s.outcome.Usage.Fuel + 1
	}
	left := spent
	for i, s := range ended {
		share := left
		if i < len(ended)-1 {
			share = time.Duration(float64(spent) * float64(s.outcome.Usage.Fuel+1) / float64(fuel))
			share = min(share, left)
		}
		s.outcome.Usage.CPU = share
		left -= share
	}
	if w.group.key.native() {
		return // nothing of its claims is believed
	}
	if alarm := w.trust.check(ended, spent); alarm != "" {
		w.group.driver.counts.Alarms.Add(1)
		w.kill(alarm)
	}
}

// bury ends the calls of a worker that is gone, each saying so.
func (w *worker) bury(cause error) {
	d := w.group.driver
	w.conn.Close()
	w.kill("its socket was closed")
	exit := w.proc.Wait()
	w.mu.Lock()
	w.dead = true
	lost := w.queue
	w.queue, w.out = nil, nil
	w.mu.Unlock()
	w.group.drop(w)
	d.workers.Add(-1)
	d.eachPool((*pool).refill)
	if len(lost) == 0 {
		return
	}
	why := *w.why.Load()
	if errors.Is(cause, io.EOF) || errors.Is(cause, unix.ECONNRESET) {
		why = exitText(exit)
	}
	d.counts.Crashes.Add(1)
	d.cfg.Log.Warn("a worker died with open calls", "worker", w.id, "account", w.group.key.owner.Account,
		"endTenant", w.group.key.owner.EndTenant, "function", w.group.key.function, "calls", len(lost), "reason", why)
	w.group.lost(lost, exit, why)
}

// lost gives the calls of a dead worker their ends: the oldest one may have
// been over its time or memory, the rest were in its company.
func (g *group) lost(lost []*slot, exit spawner.Exit, why string) {
	now := time.Now()
	oldest := lost[0]
	c := oldest.job.Ticket.Call()
	switch {
	case exit.OOMKilled:
		g.driver.endKilled(oldest, call.OutOfMemory, now)
		lost = lost[1:]
	case now.Sub(oldest.sent) > c.Target.Limits.Timeout:
		g.driver.endKilled(oldest, call.TimedOut, now)
		lost = lost[1:]
	}
	if g.key.native() && len(lost) > 0 && !exit.Lost && g.driver.stopped.Err() == nil {
		g.driver.endNative(lost[0], now)
		lost = lost[1:]
	}
	g.driver.fail(fault.New("process.Run", fault.Internal, "the worker process that ran this call died (%s)", why).
		WithRemedy("Retry the call; it may have run in part."), lost...)
}

// endKilled ends a call whose process was killed for what the call did.
func (d *Driver) endKilled(s *slot, r call.Result, now time.Time) {
	s.outcome.Result = r
	s.outcome.Usage.Duration = now.Sub(s.sent)
	s.outcome.Payload = failurePayload(s.job.Ticket.Call(), r)
	d.finish([]*slot{s})
}
