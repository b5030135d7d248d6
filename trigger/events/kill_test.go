//go:build linux

package events

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/tenant"
)

// ledger is what the pipeline of a node that is killed again and again puts
// on its journal. The world's mu guards it.
type ledger struct {
	*world
	random *rand.Rand
	killed bool
	safe   bool           // no attempt kills the node any more
	begun  map[string]int // attempts that began and have no record yet
	sums   map[string]*sums
}

// sums are the records of one event.
type sums struct {
	last, ok, failures int
	ended              bool // its last record ended it for good
}

// run is the pipeline: it records how each attempt ended, unless the node is
// dead by then.
func (l *ledger) run(ctx context.Context, c *call.Call) *call.Outcome {
	l.mu.Lock()
	if l.killed {
		l.mu.Unlock()
		<-ctx.Done()
		return &call.Outcome{Result: call.PlatformError, Err: ctx.Err()}
	}
	defer l.mu.Unlock()
	l.begun[c.RequestID] = c.Attempt
	if !l.safe && l.random.IntN(20) == 0 { // it dies before it is recorded
		l.killed = true
		l.js.left.Store(-1)
		return &call.Outcome{Result: call.PlatformError}
	}
	result := []call.Result{call.OK, call.OK, call.OK, call.FunctionError, call.TimedOut, call.PlatformError, call.Throttled}[l.random.IntN(7)]
	l.record(c.RequestID, c.Attempt, result)
	return &call.Outcome{Result: result, Err: errKilled}
}

func (l *ledger) record(id string, attempt int, result call.Result) {
	delete(l.begun, id)
	s := l.sums[id]
	if s == nil {
		s = &sums{}
		l.sums[id] = s
	}
	if attempt <= s.last {
		l.t.Errorf("%s: attempt %d is recorded after attempt %d", id, attempt, s.last)
	}
	if s.ended {
		l.t.Errorf("%s: attempt %d ran although the event had ended", id, attempt)
	}
	s.last = attempt
	switch result {
	case call.OK:
		s.ok++
		s.ended = true
	case call.FunctionError, call.TimedOut:
		s.failures++
		s.ended = s.failures == 3
	}
	l.ended[id] = end{attempt, result}
}

// restart is a new process on the same disk.
func (l *ledger) restart(alsoBus bool) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.queue.Close(ctx) // it is dead: the error is the point
	if err := l.journal.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.openJournal()
	if alsoBus {
		l.bus.Close()
		var err error
		if l.bus, err = bus.Start(bus.Config{StoreDir: filepath.Join(l.dir, "bus")}); err != nil {
			l.t.Fatal(err)
		}
	}
	l.mu.Lock()
	for id, attempt := range l.begun {
		l.record(id, attempt, call.PlatformError) // as invoke.Recover does
	}
	l.killed = false
	l.mu.Unlock()
	l.open()
}

// TestKilledAgainAndAgain kills the node at random writes and in random calls:
// no accepted event may be lost, and none may run after its end was recorded.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	random := testrounds.Rand(t)
	l := &ledger{world: w, random: random, begun: map[string]int{}, sums: map[string]*sums{}}
	w.invoke = l.run
	w.cfg.EventConfig = func(tenant.AccountID, *function.Target) (int, int) { return 2, 1 << 30 }
	w.cfg.PerTenant = 4
	w.open()
	var accepted []string
	dice := rand.New(rand.NewPCG(random.Uint64(), 1)) // of this goroutine: the other is under mu
	for range testrounds.Rounds(t) {
		w.js.left.Store(int64(1 + dice.IntN(60)))
		for range dice.IntN(12) {
			c := w.call([]tenant.AccountID{acme, globex}[dice.IntN(2)], `{}`)
			if err := w.enqueue(c); err != nil && !fault.Is(err, fault.Throttled) {
				t.Fatal(err)
			}
			accepted = append(accepted, c.RequestID)
		}
		for range dice.IntN(4) {
			w.advance(10 * time.Minute)
			w.until("idle or dead", func() bool { return w.js.left.Load() < 0 || l.idle() })
		}
		w.mu.Lock()
		l.killed = true
		w.mu.Unlock()
		w.js.left.Store(-1)
		l.restart(dice.IntN(4) == 0)
	}
	w.mu.Lock()
	l.safe = true
	w.mu.Unlock()
	w.until("all is done", func() bool {
		w.advance(10 * time.Minute)
		return w.queue.Pending() == 0 && w.unshipped() == 0
	})
	l.check(accepted)
	if n := w.messages(bus.Events); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

func (l *ledger) idle() bool {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	s := l.queue.schedule
	return s.running == 0 && len(s.ring) == 0
}

// check compares the ledger with what was accepted and what was given up.
func (l *ledger) check(accepted []string) {
	l.t.Helper()
	dead := map[string]int{}
	for _, account := range []tenant.AccountID{acme, globex} {
		for _, item := range l.list(account, Dead) {
			dead[item.RequestID]++
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	succeeded := 0
	for _, id := range accepted {
		s := l.sums[id]
		switch {
		case s == nil:
			l.t.Errorf("%s never ran", id)
		case s.ok == 1 && dead[id] == 0:
			succeeded++
		case s.failures != 3 || dead[id] != 1:
			l.t.Errorf("%s: %+v, and %d dead letters", id, *s, dead[id])
		}
	}
	l.t.Logf("%d events, %d succeeded, %d given up", len(accepted), succeeded, len(dead))
}
