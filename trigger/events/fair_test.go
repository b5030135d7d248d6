//go:build linux

package events

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/tenant"
)

// TestOneTenantsFullQueueDelaysNobody lets acme fill its queue with events
// that never end: globex's only event runs all the same.
func TestOneTenantsFullQueueDelaysNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stuck := make(chan struct{})
	defer close(stuck)
	w.invoke = func(ctx context.Context, c *call.Call) *call.Outcome {
		if c.Owner.Account == acme {
			select {
			case <-stuck:
			case <-ctx.Done():
			}
		}
		return &call.Outcome{}
	}
	w.open()
	full := 0
	for ; w.enqueue(w.call(acme, `{}`)) == nil; full++ {
	}
	if full != 1000 {
		t.Errorf("%d events of one tenant were accepted", full)
	}
	w.accept(globex, `{}`)
	w.wait(1)
	if n := w.queue.Depth(acme); n != full {
		t.Errorf("acme has %d events of %d left: the others did not wait", n, full)
	}
	w.until("globex has nothing left", func() bool { return w.queue.Depth(globex) == 0 })
}

// TestNobodyFillsTheJournal has acme enqueue from many goroutines while
// nothing is shipped: it may be ahead by no more than its bound, and others
// are accepted.
func TestNobodyFillsTheJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open()
	w.js.left.Store(-1) // the store does not answer
	const callers = mostUnshipped + 10
	refused := make(chan error, callers)
	for range callers {
		c := w.call(acme, `{}`)
		g, err := w.authority.AuthoriseCall(c)
		if err != nil {
			t.Fatal(err)
		}
		go func() { refused <- w.queue.Enqueue(t.Context(), g) }()
	}
	for range mostUnshipped {
		if err := <-refused; err != nil {
			t.Fatal(err)
		}
	}
	w.accept(globex, `{}`)
	if n := w.queue.Depth(acme); n != mostUnshipped {
		t.Errorf("%d events of acme are on the journal", n)
	}
	w.js.left.Store(0)
	for range callers - mostUnshipped {
		if err := <-refused; err != nil {
			t.Error(err)
		}
	}
	w.wait(callers + 1)
}

// TestAFullSubjectHoldsUpOnlyItsAccount fills acme's part of the stream behind
// the queue's back.
func TestAFullSubjectHoldsUpOnlyItsAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config, err := bus.Events.Config(1)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxMsgsPerSubject = 2
	if _, err := w.bus.JetStream().UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	subject, err := bus.EventSubject(w.target[acme].AccountUID)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.bus.JetStream().Publish(t.Context(), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.open()
	id := w.accept(acme, `{}`)
	w.accept(globex, `{}`)
	w.wait(1)
	w.until("all is done", func() bool { return w.queue.Pending() == 0 })
	if dead := w.list(acme, Dead); len(dead) != 1 || dead[0].RequestID != id || dead[0].LastError == "" {
		t.Errorf("dead: %+v", dead)
	}
	if len(w.attempts(id)) != 0 {
		t.Error("acme's event ran")
	}
}

// TestPoisonHoldsUpNobody lets an event fail while others of the account wait
// behind it.
func TestPoisonHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.PerTenant = 1
	w.invoke = func(_ context.Context, c *call.Call) *call.Outcome {
		if string(c.Event) == `"poison"` {
			return fails(t.Context(), c)
		}
		return &call.Outcome{}
	}
	w.open()
	poison := w.accept(acme, `"poison"`)
	for range 20 {
		w.accept(acme, `{}`)
	}
	w.wait(21)
	w.until("only the poison is left", func() bool { return w.queue.Depth(acme) == 1 })
	if a := w.attempts(poison); !slices.Equal(a, []int{1}) {
		t.Errorf("attempts %v", a)
	}
}

func TestASpentQuotaPausesTheAccountNotEachEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.PerTenant = 1
	w.invoke = func(_ context.Context, c *call.Call) *call.Outcome {
		if c.Owner.Account == globex || w.clock().After(epoch) {
			return &call.Outcome{}
		}
		e := fault.New("test", fault.Throttled, "Rate Exceeded.")
		e.Reason, e.RetryAfter = "CallerRateLimitExceeded", 5*time.Millisecond
		return &call.Outcome{Result: call.Throttled, Err: e}
	}
	w.open()
	w.hold(acme, 0)
	for range 50 {
		w.accept(acme, `{}`)
	}
	w.accept(globex, `{}`)
	w.wait(2)
	w.settled()
	total := 0
	w.mu.Lock()
	for _, attempts := range w.runs {
		total += len(attempts)
	}
	w.mu.Unlock()
	if total != 2 {
		t.Errorf("%d calls were made, not globex's and one of acme's", total)
	}
	w.advance(shortestPause)
	w.until("all ran", func() bool { return w.queue.Pending() == 0 })
}

// TestScheduleAgainstItsPromises plays random histories: nothing is lost or
// given out twice, the bounds hold, and nobody waits beside a free slot that
// is within its share.
func TestScheduleAgainstItsPromises(t *testing.T) {
	t.Parallel()
	random := testrounds.Rand(t)
	for range testrounds.Rounds(t) {
		slots := 8 + random.IntN(60)
		s := newSchedule(slots, 1+random.IntN(20))
		now, serial := epoch, 0
		var running []*entry
		waiting := map[string]bool{}
		for range 2000 {
			switch random.IntN(5) {
			case 0, 1:
				serial++
				account := tenant.AccountID(fmt.Sprintf("%012d", 1+random.IntN(slots-4)))
				e := &entry{head: head{id: fmt.Sprint(serial), account: account, due: now.Add(time.Duration(random.IntN(5)-1) * time.Second)}, size: 10}
				s.add(e, now)
				waiting[e.id] = true
			case 2:
				now = now.Add(time.Second)
			case 3:
				if e := s.take(now); e != nil {
					if !waiting[e.id] || e.due.After(now) {
						t.Fatalf("event %s was given out twice or too early", e.id)
					}
					delete(waiting, e.id)
					running = append(running, e)
				} else {
					checkIdle(t, s)
				}
			case 4:
				if len(running) == 0 {
					continue
				}
				i := random.IntN(len(running))
				e := running[i]
				running = slices.Delete(running, i, i+1)
				gone := random.IntN(3) > 0
				if !gone {
					e.due = now.Add(time.Second)
					waiting[e.id] = true
				}
				if random.IntN(10) == 0 {
					s.pause(e.account, now.Add(time.Second))
				}
				s.finish(e, gone, now)
			}
			if s.running != len(running) || s.running > slots || s.total != len(running)+len(waiting) {
				t.Fatalf("%d run and %d are there, not %d and %d", s.running, s.total, len(running), len(running)+len(waiting))
			}
		}
		for len(running) > 0 || len(waiting) > 0 {
			now = now.Add(time.Second)
			for e := s.take(now); e != nil; e = s.take(now) {
				delete(waiting, e.id)
				running = append(running, e)
			}
			for _, e := range running {
				s.finish(e, true, now)
			}
			running = nil
		}
		s.take(now.Add(time.Hour))
		if len(s.lines) != 0 || s.total != 0 {
			t.Fatalf("%d lines and %d events are left", len(s.lines), s.total)
		}
	}
}

// checkIdle demands a reason for that nothing was given out.
func checkIdle(t *testing.T, s *schedule) {
	t.Helper()
	for _, l := range s.lines {
		if s.running < s.slots && l.ready.len() > 0 && !l.paused && l.running < s.share() {
			t.Fatalf("account %s has %d ready events and %d running, %d of %d slots are taken, and got none",
				l.account, l.ready.len(), l.running, s.running, s.slots)
		}
	}
}

// TestEventsThatWereMovedDoNotRun swaps the sealed events of two accounts in
// the stream, as somebody who can write the store's files could.
func TestEventsThatWereMovedDoNotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open()
	w.hold(acme, time.Hour)
	w.hold(globex, time.Hour)
	mine := w.accept(acme, `"of acme"`)
	kept := w.accept(acme, `"kept"`)
	w.until("shipped", func() bool { return len(w.list(acme, Pending)) == 2 })
	entries := w.queue.snapshot(acme)
	w.close(w.queue)
	// The event of acme again, under globex's subject and head.
	m, err := w.queue.stream.GetMsg(t.Context(), entries[0].seq)
	if err != nil {
		t.Fatal(err)
	}
	h := entries[0].head
	h.account, h.id = globex, "moved"
	moved, err := message(w.target[globex].AccountUID, &h, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	// And with an earlier failure count, to have it run for ever.
	if err := w.queue.stream.DeleteMsg(t.Context(), entries[0].seq); err != nil {
		t.Fatal(err)
	}
	again := entries[0].head
	again.attempt = 7
	forged, err := message(entries[0].owner, &again, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*nats.Msg{moved, forged} {
		if _, err := w.bus.JetStream().PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	w.open()
	w.until("all is done", func() bool { return w.queue.Pending() == 0 })
	if a := w.attempts(kept); !slices.Equal(a, []int{1}) {
		t.Errorf("the event that was left alone: attempts %v", a)
	}
	if len(w.attempts(mine)) != 0 || len(w.attempts("moved")) != 0 {
		t.Error("an event ran that was moved or forged")
	}
	for _, account := range []tenant.AccountID{acme, globex} {
		if dead := w.list(account, Dead); len(dead) != 1 || dead[0].LastError != "The stored event is damaged." {
			t.Errorf("%s: dead %+v", account, dead)
		}
	}
}

// TestTheStoreIsLost begins with an empty message store: what is on the
// journal is shipped again, and what ended is not run again.
func TestTheStoreIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open()
	finished := w.accept(acme, `{}`)
	w.wait(1)
	w.until("done", func() bool { return w.queue.Pending() == 0 })
	w.hold(acme, time.Hour)
	waits := w.accept(acme, `{}`)
	w.until("shipped", func() bool { return len(w.list(acme, Pending)) == 1 })
	w.close(w.queue)
	for _, s := range []bus.Stream{bus.Events, bus.DeadLetters} {
		if err := w.bus.JetStream().DeleteStream(t.Context(), string(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.bus.JetStream().DeleteStream(t.Context(), bus.Nodes.StreamName()); err != nil {
		t.Fatal(err)
	}
	if err := w.bus.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.ended[finished] = end{1, call.OK}
	if err := w.journal.Close(); err != nil {
		t.Fatal(err)
	}
	w.openJournal()
	w.open()
	w.wait(1)
	w.until("all is done", func() bool { return w.queue.Pending() == 0 && w.unshipped() == 0 })
	if a := w.attempts(finished); len(a) != 1 {
		t.Errorf("the finished event ran again: %v", a)
	}
	if a := w.attempts(waits); len(a) != 1 {
		t.Errorf("the event that waited: attempts %v", a)
	}
}
