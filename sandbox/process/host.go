//go:build linux

package process

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
	"github.com/carrel-dev/carrel/worker/wire"
)

// Host serves what functions ask of the platform while they run. Who asks is
// the call, as the node knows it; nothing in a request says so.
type Host interface {
	// Serve does an operation for a call that runs and gives what the guest
	// gets. The context ends when the call does.
	Serve(ctx context.Context, c *call.Call, op uint32, request []byte) []byte
	// Refuse gives the reply to a request that was not served, and why.
	Refuse(c *call.Call, cause error) []byte
}

// asked is one request of a call that runs.
type asked struct {
	worker  *worker
	call    *call.Call
	handle  uint64
	op      uint32
	request []byte // nil where it has no room
	room    bool   // it may wait, and holds waits
	ctx     context.Context
	at      time.Time
}

// ask takes a request off a worker's frames. It is the call that runs that
// asks, which is the oldest one; it has one request open at most.
func (w *worker) ask(handle uint64, body []byte) error {
	op, request, err := wire.ParseHostCall(body)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 || w.queue[0].handle != handle || w.loaded.IsZero() {
		return fmt.Errorf("%w: it asked in the name of a call that does not run", errHostile)
	}
	s := w.queue[0]
	if s.endAsk != nil {
		return fmt.Errorf("%w: it asked again before it had its reply", errHostile)
	}
	if s.asks++; s.asks > wire.MaxHostCalls {
		return fmt.Errorf("%w: it asked %d times in one call", errHostile, s.asks)
	}
	d := w.group.driver
	a := asked{worker: w, call: s.job.Ticket.Call(), handle: handle, op: op, at: w.now}
	if a.room = d.waits.enter(a.call.Owner.Account, held{1, int64(len(request))}, mostWaits(d.cfg.MaxWorkers)); a.room {
		a.request = bytes.Clone(request)
	}
	a.ctx, s.endAsk = context.WithCancel(d.stopped)
	w.asking.Store(true)
	w.asked = append(w.asked, a)
	return nil
}

// serveAsked begins what was asked in a batch of frames, once the rest of the
// batch is dealt with, and takes back the calls behind the one that waits.
func (w *worker) serveAsked() {
	if len(w.asked) == 0 {
		return
	}
	d := w.group.driver
	w.mu.Lock()
	var frames []byte
	if w.asking.Load() && len(w.queue) > 1 {
		frames = takeBack(w.queue[1:])
	}
	w.mu.Unlock()
	if frames != nil {
		w.control(frames)
	}
	for _, a := range w.asked {
		d.running.Add(1) // the reader counts, so Close still waits
		go a.serve(d)
	}
	clear(w.asked)
	w.asked = w.asked[:0]
}

// takeBack asks for calls that did not begin. Their worker is locked.
func takeBack(slots []*slot) (frames []byte) {
	for _, s := range slots {
		if !s.asked.Swap(true) {
			frames = wire.AppendCancel(frames, s.handle, wire.Steal)
		}
	}
	return frames
}

func (a asked) serve(d *Driver) {
	defer d.running.Done()
	var reply []byte
	switch {
	case d.cfg.Host == nil:
		a.worker.kill("it asked for a service, and this node has none")
	case !a.room:
		reply = d.cfg.Host.Refuse(a.call, errTooManyWait())
	case a.ctx.Err() == nil: // otherwise the call ended in the same breath
		reply = d.cfg.Host.Serve(a.ctx, a.call, a.op, a.request)
	}
	if a.room {
		d.waits.leave(a.call.Owner.Account, held{1, int64(len(a.request))})
	}
	a.answer(reply)
}

func errTooManyWait() error {
	e := fault.New("process.Host", fault.Throttled,
		"Rate Exceeded: functions that wait for others hold as many workers, or as much memory, as they may.").
		WithCode("TooManyRequestsException").WithRemedy("Retry, or have the operator raise the node's bound of workers.")
	e.Reason, e.RetryAfter = "ConcurrentHostCallLimitExceeded", time.Second
	return e
}

// answer sends the reply, if the call has not ended.
func (a asked) answer(reply []byte) {
	w := a.worker
	now := time.Now()
	w.mu.Lock()
	if w.dead || len(w.queue) == 0 || w.queue[0].handle != a.handle {
		w.mu.Unlock()
		return
	}
	w.queue[0].ended()
	w.asking.Store(false)
	w.stalled.Store(false)
	w.resumed = now
	w.mu.Unlock()
	w.control(wire.AppendHostReply(nil, a.handle, now.Sub(a.at), reply))
}

// ended gives up what a call asked for: the call has its reply, or has ended.
func (s *slot) ended() {
	if s.endAsk != nil {
		s.endAsk()
		s.endAsk = nil
	}
}

// held is what calls that wait hold: workers, one each, and the bytes of their
// requests.
type held struct {
	calls int
	bytes int64
}

func (h held) plus(o held) held  { return held{h.calls + o.calls, h.bytes + o.bytes} }
func (h held) minus(o held) held { return held{h.calls - o.calls, h.bytes - o.bytes} }

// within tells whether there is no more of either.
func (h held) within(most held) bool { return h.calls <= most.calls && h.bytes <= most.bytes }

// waits counts the calls that wait for what they asked for. Each of them holds
// a worker. If they held all of them, none could be had for the calls that
// they wait for; so they hold three quarters at most, and what runs in the
// rest ends by itself. Of the part that is free an account may take as much
// again as is left: a single one gets half of it, and there is always some for
// another. The same goes for the memory of requests.
type waits struct {
	mu       sync.Mutex
	total    held
	accounts map[tenant.AccountID]held
}

// mostWaitBytes bounds the requests of all calls that wait.
const mostWaitBytes = 512 << 20

func mostWaits(workers int) held { return held{workers * 3 / 4, mostWaitBytes} }

func (w *waits) enter(account tenant.AccountID, n, most held) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.accounts[account].plus(n)
	if !of.within(most.minus(w.total)) {
		return false
	}
	if w.accounts == nil {
		w.accounts = map[tenant.AccountID]held{}
	}
	w.accounts[account], w.total = of, w.total.plus(n)
	return true
}

func (w *waits) leave(account tenant.AccountID, n held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total = w.total.minus(n)
	if w.accounts[account] = w.accounts[account].minus(n); w.accounts[account].calls == 0 {
		delete(w.accounts, account)
	}
}
