//go:build linux

package process

import (
	"time"

	"github.com/carrel-dev/carrel/worker/wire"
)

// watch looks at busy workers every few milliseconds while any call is open,
// and sleeps otherwise.
func (d *Driver) watch() {
	defer d.running.Done()
	tick := time.NewTicker(d.cfg.Stall)
	defer tick.Stop()
	for {
		if d.busy.Load() == 0 {
			tick.Stop()
			select {
			case <-d.wake:
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
		now := time.Now()
		d.eachWorker(func(g *group, w *worker) {
			if w.open.Load() > 0 {
				w.inspect(now, g.driver)
			}
		})
	}
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
	var frames []byte
	if age > d.cfg.Stall && len(w.queue) > 1 && !w.stalled.Swap(true) {
		for _, s := range w.queue[1:] {
			s.asked.Store(true)
			frames = wire.AppendCancel(frames, s.handle, wire.Steal)
		}
	} else if age > d.cfg.Stall {
		w.stalled.Store(true)
	}
	limit := oldest.job.Ticket.Call().Target.Limits.Timeout
	if w.loading(oldest) {
		limit += startTimeout // its time begins when the module is loaded
	}
	w.mu.Unlock()
	if frames != nil {
		w.control(frames)
	}
	if age > limit+d.cfg.Grace {
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
