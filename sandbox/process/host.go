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
	request []byte
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
	a := asked{worker: w, call: s.job.Ticket.Call(), handle: handle, op: op, request: bytes.Clone(request), at: w.now}
	a.ctx, s.endAsk = context.WithCancel(w.group.driver.stopped)
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
	if a.ctx.Err() != nil {
		return // the call ended in the same breath
	}
	if d.cfg.Host == nil {
		a.worker.kill("it asked for a service, and this node has none")
		return
	}
	account := a.call.Owner.Account
	if !d.waits.enter(account, mostWaits(d.cfg.MaxWorkers)) {
		a.answer(d.cfg.Host.Refuse(a.call, errTooManyWait()))
		return
	}
	reply := d.cfg.Host.Serve(a.ctx, a.call, a.op, a.request)
	d.waits.leave(account)
	a.answer(reply)
}

func errTooManyWait() error {
	e := fault.New("process.Host", fault.Throttled,
		"Rate Exceeded: as many functions as this node can keep waiting are waiting for others.").
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

// waits counts the calls that wait for what they asked for. Each of them holds
// a worker. If they held all of them, none could be had for the calls that
// they wait for; so they hold three quarters at most, and what runs in the
// rest ends by itself. Of the part that is free an account may take as much
// again as is left: a single one gets half of it, and there is always some for
// another.
type waits struct {
	mu       sync.Mutex
	total    int
	accounts map[tenant.AccountID]int
}

func mostWaits(workers int) int { return workers * 3 / 4 }

func (w *waits) enter(account tenant.AccountID, most int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.accounts[account] >= most-w.total {
		return false
	}
	if w.accounts == nil {
		w.accounts = map[tenant.AccountID]int{}
	}
	w.accounts[account]++
	w.total++
	return true
}

func (w *waits) leave(account tenant.AccountID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total--
	if w.accounts[account]--; w.accounts[account] == 0 {
		delete(w.accounts, account)
	}
}
