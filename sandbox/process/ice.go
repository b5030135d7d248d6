//go:build linux

package process

import (
	"context"
	"sync"
	"time"
)

// freezeAfter is how long a native sandbox without a call runs on before it
// is frozen: thawing takes some 2 ms, which calls that follow each other do
// not pay.
const freezeAfter = 100 * time.Millisecond

// ice is whether a worker is frozen. As in Lambda, a function gets no
// processor time between its calls: what it left running goes on with the
// next one.
type ice struct {
	mu     sync.Mutex
	timer  *time.Timer
	frozen bool
}

// rests is called when a worker has no call any more.
func (w *worker) rests() {
	if !w.group.key.native() {
		return
	}
	w.ice.mu.Lock()
	defer w.ice.mu.Unlock()
	if w.ice.timer == nil {
		w.ice.timer = time.AfterFunc(freezeAfter, w.freeze)
		return
	}
	w.ice.timer.Reset(freezeAfter)
}

// freeze freezes a worker that has no call. A call that comes meanwhile is
// counted as open before it looks whether it has to thaw.
func (w *worker) freeze() {
	w.ice.mu.Lock()
	defer w.ice.mu.Unlock()
	d := w.group.driver
	if w.open.Load() > 0 || w.ice.frozen || d.stopped.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(d.stopped, startTimeout)
	defer cancel()
	select {
	case <-w.proc.Done():
	default:
		// One that cannot be frozen runs on, which the log tells.
		if err := w.proc.Freeze(ctx); err == nil {
			w.ice.frozen = true
		} else if d.stopped.Err() == nil {
			d.cfg.Log.Debug("a sandbox could not be frozen", "worker", w.id, "error", err)
		}
	}
}

// thaw lets a worker run that has a call again, before it gets the call.
func (w *worker) thaw() {
	if !w.group.key.native() {
		return
	}
	w.ice.mu.Lock()
	defer w.ice.mu.Unlock()
	if !w.ice.frozen {
		return
	}
	ctx, cancel := context.WithTimeout(w.group.driver.stopped, startTimeout)
	defer cancel()
	if err := w.proc.Thaw(ctx); err != nil {
		w.kill("it could not be thawed: " + err.Error())
		return
	}
	w.ice.frozen = false
}
