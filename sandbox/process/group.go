//go:build linux

package process

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
)

// group is the workers of one owner's function version.
type group struct {
	driver *Driver
	key    groupKey

	mu       sync.Mutex
	workers  []*worker
	waiting  []*slot // until the worker that is being started takes them
	starting int
	runs     *function.Target // by the last call that waited
	like     *call.Call       // whose that call was and of what, for Warm
	gone     bool             // nobody finds this group any more; there may be a new one
}

// startTimeout bounds how long a call waits for a worker to be made.
const startTimeout = 10 * time.Second

// deepQueue is how many calls one worker may have open before another one is
// used, where processors are left for it.
const deepQueue = 48

// dispatch hands a call to one of the group's workers, starting one if need be.
func (g *group) dispatch(s *slot) {
	g.mu.Lock()
	if g.gone {
		g.mu.Unlock()
		g.driver.dispatch(s)
		return
	}
	w, start := g.pick()
	if w == nil {
		g.waiting = append(g.waiting, s)
	}
	if start {
		g.starting++
		// The one that made us start pays the cold start, the others wait with it.
		if w == nil {
			s.cold = true
		}
	}
	g.mu.Unlock()
	if start {
		g.start()
	}
	if w != nil && !w.send(s) {
		g.driver.dispatch(s) // the worker died or stopped moving between pick and send
	}
}

// pick chooses the worker with the fewest open calls among those that move;
// start tells whether another worker should be started. The group is locked.
func (g *group) pick() (best *worker, start bool) {
	if g.key.native() {
		return g.pickNative()
	}
	moving := 0
	for _, w := range g.workers {
		if w.stalled.Load() || w.asking.Load() {
			continue
		}
		moving++
		if best == nil || w.open.Load() < best.open.Load() {
			best = w
		}
	}
	if best == nil {
		// While one starts, further calls wait for it; as many start at once as
		// calls wait, because each of them may be long.
		return nil, g.starting == 0
	}
	if best.open.Load() >= deepQueue && moving+g.starting < hotWorkers() {
		return best, true
	}
	return best, false
}

// start brings up a worker for the group: at once if a blank one is ready.
func (g *group) start() {
	pool := g.driver.poolOf(g.key.kind)
	if p := pool.take(); p != nil {
		g.bind(p, time.Now())
		return
	}
	begun := time.Now()
	g.driver.running.Add(1)
	go func() {
		defer g.driver.running.Done()
		ctx, cancel := context.WithTimeout(g.driver.stopped, startTimeout)
		defer cancel()
		p, err := pool.wait(ctx)
		if err != nil {
			g.abandon(err)
			return
		}
		g.bind(p, begun)
	}()
}

// bind makes a blank worker the group's, for good, and sends it what waits.
func (g *group) bind(p *blank, begun time.Time) {
	g.driver.counts.ColdStarts.Add(1)
	w := newWorker(g, p, begun)
	if err := w.load(g.target()); err != nil {
		w.kill("no artefact")
		g.abandon(err)
		return
	}
	g.mu.Lock()
	g.starting--
	g.workers = append(g.workers, w)
	waiting := g.takeWaiting()
	g.mu.Unlock()
	g.driver.running.Add(1)
	go w.read()
	// The wall may have become another one while they waited.
	moved := slices.DeleteFunc(slices.Clone(waiting), g.holds)
	waiting = slices.DeleteFunc(waiting, func(s *slot) bool { return !g.holds(s) })
	if len(waiting) > 0 && !w.send(waiting...) {
		moved = append(moved, waiting...)
	}
	g.redispatch(moved)
}

// target gives what the group's workers run; nil if no call waits for it.
func (g *group) target() *function.Target {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		return g.runs
	}
	c := g.waiting[0].job.Ticket.Call()
	g.runs, g.like = c.Target, &call.Call{Owner: c.Owner, EndTenant: c.EndTenant, Target: c.Target}
	return g.runs
}

// abandon ends the calls that waited for a worker which could not be had.
func (g *group) abandon(cause error) {
	g.mu.Lock()
	g.starting--
	var waiting []*slot
	if g.starting == 0 {
		waiting, g.waiting = g.waiting, nil
	} else if g.key.native() {
		waiting = g.takeWaiting()
	}
	g.mu.Unlock()
	g.driver.fail(fault.Wrap("process.start", fault.Unavailable, cause, "no worker could be started for the function").
		WithRemedy("Retry; the operator finds the cause in the node's log and carrel status."), waiting...)
}

// drop takes a worker that is gone out of the group.
func (g *group) drop(w *worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.workers, w); i >= 0 {
		g.workers = slices.Delete(g.workers, i, i+1)
	}
}

// forget takes the group out of the driver if it has nothing to do, so that
// functions that are not called any more leave nothing behind.
func (g *group) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gone && len(g.workers) == 0 && len(g.waiting) == 0 && g.starting == 0 {
		g.gone = true
		g.driver.groups.Delete(g.key)
	}
}

func (g *group) list() []*worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.workers)
}

// redispatch runs calls elsewhere that a worker gave back unbegun.
func (g *group) redispatch(slots []*slot) {
	for _, s := range slots {
		g.driver.dispatch(s)
	}
}
