//go:build linux

package process

import (
	"context"
	"slices"
	"sync"
	"time"
)

// watched are the workers that have had calls since the watchdog last looked.
// It looks at these only, so that idle workers cost it nothing.
type watched struct {
	mu   sync.Mutex
	add  []*worker
	wake chan struct{}
}

// watch asks the watchdog to look after a worker until it has no calls.
func (w *worker) watch() {
	if w.seen.Load() || !w.seen.CompareAndSwap(false, true) {
		return
	}
	list := &w.group.driver.watched
	list.mu.Lock()
	list.add = append(list.add, w)
	list.mu.Unlock()
	select {
	case list.wake <- struct{}{}:
	default:
	}
}

// watch looks at busy workers every few milliseconds while any call is open,
// and sleeps otherwise.
func (d *Driver) watch() {
	defer d.running.Done()
	tick := time.NewTicker(d.cfg.Stall)
	defer tick.Stop()
	var busy []*worker
	for {
		if len(busy) == 0 {
			tick.Stop()
			select {
			case <-d.watched.wake:
			case <-d.stopped.Done():
				return
			}
			tick.Reset(d.cfg.Stall)
		}
		select {
		case <-tick.C:
		case <-d.stopped.Done():
			return
		}
		d.watched.mu.Lock()
		busy = append(busy, d.watched.add...)
		clear(d.watched.add)
		d.watched.add = d.watched.add[:0]
		d.watched.mu.Unlock()
		now := time.Now()
		busy = slices.DeleteFunc(busy, func(w *worker) bool {
			if w.open.Load() > 0 {
				w.inspect(now, d)
				w.weigh(now)
				return false
			}
			w.seen.Store(false)
			// A call may have come between the two lines above.
			return w.open.Load() == 0 || !w.seen.CompareAndSwap(false, true)
		})
	}
}

// heavyWindow is over what time a worker's use of the processor is looked at.
const heavyWindow = 20 * time.Millisecond

// heavyWeight is the share of a contended processor that a worker has which
// computes most of the time; those that are mostly idle have 100. An idle
// processor it has whole all the same.
const heavyWeight = 10

// weigh finds out whether a worker computes most of the time, and has the
// kernel favour those that do not.
func (w *worker) weigh(now time.Time) {
	window := now.Sub(w.weighed)
	if window < heavyWindow {
		return
	}
	cpu, err := w.proc.CPUTime()
	if err != nil {
		return
	}
	used := cpu - w.weighedCPU
	w.weighed, w.weighedCPU = now, cpu
	if window < 10*heavyWindow {
		w.burden(used > window*2/5)
	}
}

// burden sets the worker's weight. Only the watchdog calls it.
func (w *worker) burden(heavy bool) {
	if w.heavy == heavy || w.changing.Load() {
		return
	}
	w.heavy = heavy
	limits := limitsFor(w.group.key.kind, max(w.group.key.memoryMB, blankMemoryMB))
	if heavy {
		limits.CPUWeight = heavyWeight
	}
	w.changing.Store(true)
	go func() {
		defer w.changing.Store(false)
		ctx, cancel := context.WithTimeout(w.group.driver.stopped, startTimeout)
		defer cancel()
		// Without cgroups there is no weight; the worker may also be gone.
		_ = w.proc.SetLimits(ctx, limits)
	}()
}

// inspect deals with a worker whose oldest call takes long: the calls behind
// it go elsewhere, the call is told to stop at its limit, and a worker that
// does not obey is killed.
func (w *worker) inspect(now time.Time, d *Driver) {
	w.mu.Lock()
	if len(w.queue) == 0 || w.dead {
		w.mu.Unlock()
		return
	}
	oldest := w.queue[0]
	age := now.Sub(w.head)
	moved := w.head
	if w.resumed.After(moved) {
		moved = w.resumed
	}
	var frames []byte
	// One that waits for the host is not slow, and holds nobody up: what was
	// behind it was taken back at once.
	if now.Sub(moved) > d.cfg.Stall && !w.asking.Load() && !w.stalled.Swap(true) {
		frames = takeBack(w.queue[1:])
		d.counts.Stolen.Add(uint64(len(w.queue) - 1))
	}
	limit := oldest.job.Ticket.Call().Target.Limits.Timeout
	if w.loading(oldest) {
		limit += startTimeout // its time begins when the module is loaded
	}
	grace := d.cfg.Grace
	if w.group.key.native() {
		grace = max(grace, nativeGrace)
		if w.loading(oldest) {
			grace += initTimeout
		}
	}
	w.mu.Unlock()
	if frames != nil {
		w.control(frames)
	}
	if age > limit+grace {
		d.counts.Kills.Add(1)
		w.kill("a call did not end at its limit")
	}
}

func (w *worker) loading(s *slot) bool { return s.cold && s.sent.Equal(w.head) }

// reap ends workers that had no call for long, and forgets empty groups.
func (d *Driver) reap() {
	defer d.running.Done()
	tick := time.NewTicker(max(d.cfg.Idle/10, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-d.stopped.Done():
			return
		case <-tick.C:
		}
		d.groups.Range(func(_, v any) bool {
			v.(*group).forget()
			return true
		})
		limit := time.Now().Add(-d.cfg.Idle).UnixNano()
		d.eachWorker(func(_ *group, w *worker) {
			if w.open.Load() == 0 && w.lastUse.Load() < limit {
				w.retire()
			}
		})
	}
}

// retire kills a worker if no call is open on it.
func (w *worker) retire() bool {
	w.mu.Lock()
	idle := len(w.queue) == 0 && !w.dead
	if idle {
		w.dead = true
	}
	w.mu.Unlock()
	if idle {
		w.kill("it was idle")
	}
	return idle
}

// evict makes room for one more worker: the one that was idle longest goes.
func (d *Driver) evict() bool {
	var oldest *worker
	d.eachWorker(func(_ *group, w *worker) {
		if w.open.Load() == 0 && (oldest == nil || w.lastUse.Load() < oldest.lastUse.Load()) {
			oldest = w
		}
	})
	if oldest == nil || !oldest.retire() {
		return false
	}
	d.counts.Evicted.Add(1)
	return true
}
