//go:build linux

package process

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/function/native"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/worker/wire"
)

// A native function runs in a sandbox of its own kind, one call at a time:
// calls that come together have as many sandboxes. Its worker is in the hands
// of the function, so nothing that it claims counts for the bill: the node's
// own clock does.

const (
	// initTimeout is Lambda's bound for an initialisation; what it takes beyond
	// that is part of the first call.
	initTimeout = 10 * time.Second
	// nativeGrace is how long after its limit a call may take to be ended inside,
	// with what it printed; the sandbox is killed then.
	nativeGrace = 500 * time.Millisecond
	// A sandbox is not used for more calls, or longer, than this.
	maxNativeCalls = 10_000
	maxNativeAge   = 2 * time.Hour
)

// nativeState is what a worker of a native function has besides.
type nativeState struct {
	calls   int // begun
	initial time.Time
}

func (k groupKey) native() bool { return k.kind == spawner.KernelNative }

// pickNative chooses a sandbox that has no call, and else has one started for
// each call that waits. The group is locked.
func (g *group) pickNative() (*worker, bool) {
	for _, w := range g.workers {
		if w.open.Load() == 0 && !w.retired.Load() {
			return w, false
		}
	}
	return nil, g.starting <= len(g.waiting)
}

// takeWaiting gives the calls that a new or free worker takes: all for one
// that queues, one for a native function. The group is locked.
func (g *group) takeWaiting() []*slot {
	taken := g.waiting
	if g.key.native() && len(taken) > 1 {
		taken = taken[:1:1]
	}
	g.waiting = slices.Clone(g.waiting[len(taken):])
	return taken
}

// handOn gives a free sandbox a call that waits for one to be started.
func (g *group) handOn() {
	g.mu.Lock()
	taken := g.takeWaiting()
	g.mu.Unlock()
	g.redispatch(taken)
}

// begins notes that a call begins, and tells whether it may: a sandbox runs
// one at a time. The worker is locked.
func (w *worker) begins(slots []*slot) bool {
	if !w.group.key.native() {
		return true
	}
	if len(w.queue) > 0 || len(slots) != 1 || w.retired.Load() {
		return false
	}
	slots[0].cold = w.native.calls == 0
	w.native.calls++
	return true
}

// retireNative takes a sandbox out of use after its last call.
func (w *worker) retireNative(last bool) {
	d := w.group.driver
	if last || d.cfg.Fresh || w.native.calls >= maxNativeCalls || w.now.Sub(w.begun) > maxNativeAge {
		w.retired.Store(true)
	}
}

// loadPackage sends a native function's files, and how its process is started.
func (w *worker) loadPackage(t *function.Target) error {
	d := w.group.driver
	language, known := native.LanguageOf(t.Runtime)
	if !known || d.cfg.Native == nil {
		return fault.New("process.load", fault.Unavailable, "this node runs no function of runtime %s", t.Runtime)
	}
	art, err := d.artifacts.get(d.stopped, w.group.key)
	if err != nil {
		return err
	}
	defer art.release()
	archive, err := io.ReadAll(io.NewSectionReader(art.file, 0, art.size))
	if err != nil {
		return err
	}
	w.native.initial = time.Now()
	_, err = w.conn.Write(wire.AppendPackage(nil, &wire.PackageBody{
		Language: string(language), Interpreter: d.cfg.Native.InterpreterOf(language).Path, Handler: t.Handler,
		Env: nativeEnvironment(t), MemoryLimit: uint64(t.Limits.MemoryMB) << 20, InitTimeout: initTimeout,
		LogLimit: d.cfg.LogLimit, Archive: archive,
	}))
	return err
}

// nativeEnvironment is what Lambda sets besides what a target has. There are
// no credentials in it: a sandbox reaches nobody who would take them.
func nativeEnvironment(t *function.Target) []string {
	return append(slices.Clone(t.Environment),
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/"+string(t.Name),
		"AWS_LAMBDA_LOG_STREAM_NAME="+time.Now().UTC().Format("2006/01/02")+"/["+t.Version+"]"+t.Revision)
}

// nativeContext is what the Runtime API tells of a call besides its event.
func nativeContext(c *call.Call) []byte {
	about := struct {
		ARN           string `json:"arn"`
		TenantID      string `json:"tenantId,omitempty"`
		ClientContext string `json:"clientContext,omitempty"`
		TraceID       string `json:"traceId,omitempty"`
	}{c.Target.Resource(), string(c.EndTenant), "", traceID(c)}
	// It becomes a header: what would end one is not in JSON that parses, but
	// for line breaks between its parts.
	if json.Valid([]byte(c.ClientContext)) {
		about.ClientContext = strings.Map(func(r rune) rune {
			if r < ' ' {
				return ' '
			}
			return r
		}, c.ClientContext)
	}
	b, err := json.Marshal(about)
	if err != nil {
		return []byte("{}") // never: four strings
	}
	return b
}

// traceID makes a trace's name in X-Ray's form, of the time and the request,
// which nothing samples.
func traceID(c *call.Call) string {
	hex := strings.ReplaceAll(c.RequestID, "-", "")
	if len(hex) < 24 {
		return ""
	}
	return fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", uint32(c.Received.Unix()), hex[:24], hex[len(hex)-16:])
}

// nativeUsage measures a call by the node's own clock. What came in one batch
// with the word that the function is loaded has no time of its own there: of
// such a call the claim counts.
func (w *worker) nativeUsage(s *slot, u *call.Usage) {
	from := s.sent
	if w.loaded.After(from) {
		from = w.loaded
	}
	u.Duration, u.Fuel = max(u.Duration, w.now.Sub(from)), 0
	if s.cold {
		u.Init = max(w.loaded.Sub(w.native.initial), 0)
	}
}

// endNative ends a call whose sandbox is gone: its function is to blame, as
// for a process that ends.
func (d *Driver) endNative(s *slot, now time.Time) {
	s.outcome.Result = call.FunctionError
	s.outcome.Usage.Duration = now.Sub(s.sent)
	s.outcome.Payload = errorPayload("Runtime.ExitError",
		"RequestId: "+s.job.Ticket.Call().RequestID+" Error: Runtime exited with error: signal: killed")
	d.finish([]*slot{s})
}

// raise gives a native sandbox the memory of its function.
func (w *worker) raise() error {
	ctx, cancel := context.WithTimeout(w.group.driver.stopped, startTimeout)
	defer cancel()
	return w.proc.SetLimits(ctx, limitsFor(w.group.key.kind, w.group.key.memoryMB))
}
