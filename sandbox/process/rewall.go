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
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
)

// keyOf gives whose workers may run a call now.
func (d *Driver) keyOf(c *call.Call) groupKey {
	key := groupKey{
		owner: c.Owner, account: c.Target.CodeOwner(), function: c.Target.FunctionUID, version: c.Target.Version,
		artifact: c.Target.Artifact, memoryMB: c.Target.Limits.MemoryMB, kind: kindOf(d.cfg.WallOf(c)),
	}
	if c.Target.Model == function.Native {
		// Its environment is not part of its artefact.
		key.kind, key.revision = spawner.KernelNative, c.Target.Revision
	}
	return key
}

// kindOf gives the processes that a wall is made of. The wall instance gets
// those of process: more than was asked for.
func kindOf(w isolation.Wall) spawner.Kind {
	if w >= isolation.Kernel {
		return spawner.KernelWorker
	}
	return spawner.Worker
}

// dispatch hands a call to a worker behind the wall that holds now.
func (d *Driver) dispatch(s *slot) { d.groupOf(d.keyOf(s.job.Ticket.Call())).dispatch(s) }

// holds tells whether a call still belongs to the group.
func (g *group) holds(s *slot) bool { return g.driver.keyOf(s.job.Ticket.Call()) == g.key }

// Rewall makes walls that have become stronger hold for calls that workers
// have in hand and did not begin: they are taken back and given to workers
// behind the walls that hold now. When it returns nil, each call that begins
// does so behind its wall; those that ran meanwhile may end where they are.
func (d *Driver) Rewall(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	waits := map[*worker][]uint64{}
	d.eachWorker(func(g *group, w *worker) {
		if handles := w.giveBack(); len(handles) > 0 {
			waits[w] = handles
		}
	})
	for len(waits) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.Wrap("process.Rewall", fault.Timeout, ctx.Err(), "Some workers did not give back in time the calls that they had not begun.")
		}
		for w, handles := range waits {
			if waits[w] = slices.DeleteFunc(handles, func(h uint64) bool { return !w.waits(h) }); len(waits[w]) == 0 {
				delete(waits, w)
			}
		}
	}
	return nil
}

// giveBack asks for the calls that do not belong to the worker's group any
// more, but for the one that runs, and gives their handles.
func (w *worker) giveBack() (handles []uint64) {
	w.mu.Lock()
	var moved []*slot
	for i, s := range w.queue {
		if i > 0 && !w.group.holds(s) {
			moved = append(moved, s)
			handles = append(handles, s.handle)
		}
	}
	frames := takeBack(moved)
	w.mu.Unlock()
	if frames != nil {
		w.control(frames)
	}
	return handles
}

// waits tells whether a call is open on the worker behind another one.
func (w *worker) waits(handle uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.IndexFunc(w.queue, func(s *slot) bool { return s.handle == handle }) > 0
}

// maxWarm bounds how many workers one Warm makes: the busiest change is not
// to fill the node with processes that may never be called.
const maxWarm = 64

// Warm makes a worker behind its new wall for everyone that has workers behind
// another one, before calls have to wait for it. The walls are those that of
// gives for calls of which owner, end tenant and target are known. It returns
// when the workers are there or can be had no more, or ctx ends.
func (d *Driver) Warm(ctx context.Context, of func(*call.Call) isolation.Wall) {
	var warming sync.WaitGroup
	left := maxWarm
	d.groups.Range(func(_, v any) bool {
		g := v.(*group)
		g.mu.Lock()
		like, used := g.like, len(g.workers) > 0
		g.mu.Unlock()
		if like == nil || !used || g.key.native() {
			return true
		}
		key := g.key
		if key.kind = kindOf(of(like)); key.kind == g.key.kind {
			return true
		}
		left--
		warming.Go(func() { d.groupOf(key).warm(ctx, like) })
		return left > 0
	})
	warming.Wait()
}

// warm starts a worker of the group if it has none, and waits for it.
func (g *group) warm(ctx context.Context, like *call.Call) {
	g.mu.Lock()
	start := !g.gone && len(g.workers) == 0 && g.starting == 0
	if start {
		g.starting++
		g.runs, g.like = like.Target, like
	}
	g.mu.Unlock()
	if start {
		g.start()
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		g.mu.Lock()
		over := g.starting == 0
		g.mu.Unlock()
		if over {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
