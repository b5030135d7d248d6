//go:build linux

package events

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

func fails(context.Context, *call.Call) *call.Outcome {
	return &call.Outcome{Result: call.FunctionError, Payload: []byte(`{"errorType":"Boom","errorMessage":"no stock"}`)}
}

func TestAnEventRunsAsItWasSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := make(chan *call.Call, 1)
	w.invoke = func(_ context.Context, c *call.Call) *call.Outcome { got <- c; return &call.Outcome{} }
	w.open()
	sent := w.call(acme, `{"n":1}`)
	sent.Owner.EndTenant, sent.EndTenant = tenant.NewUID(), "shop-1"
	if err := w.enqueue(sent); err != nil {
		t.Fatal(err)
	}
	c := <-got
	if c.RequestID != sent.RequestID || c.Attempt != 1 || c.Trigger != call.ViaEvent || string(c.Event) != `{"n":1}` ||
		c.Owner != sent.Owner || c.EndTenant != "shop-1" || c.ClientContext != "e30=" || !c.Received.Equal(sent.Received) ||
		!slices.Equal(c.Chain, sent.Chain) || c.Principal != sent.Principal || c.Target != sent.Target {
		t.Errorf("sent %+v, ran %+v", sent, c)
	}
	w.until("the queue is empty", func() bool { return w.queue.Depth(acme) == 0 })
	if n := w.messages(bus.Events); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	if len(w.queue.schedule.lines) != 0 {
		t.Error("the account's line is left in memory")
	}
}

func TestFailuresOfTheFunctionAreRetriedTwiceThenKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.invoke = fails
	w.open()
	id := w.accept(acme, `{}`)
	w.wait(1)
	w.settled()
	item := w.list(acme, Pending)
	if len(item) != 1 || item[0].Attempts != 1 || !item[0].NextTry.Equal(epoch.Add(time.Minute)) || item[0].LastError != "Boom: no stock" || item[0].Function != "orders" {
		t.Fatalf("pending: %+v", item)
	}
	w.advance(59 * time.Second)
	w.settled()
	if n := len(w.attempts(id)); n != 1 {
		t.Fatalf("%d attempts after 59 s", n)
	}
	w.advance(time.Second)
	w.wait(1)
	w.settled()
	w.advance(119 * time.Second)
	w.settled()
	if n := len(w.attempts(id)); n != 2 {
		t.Fatalf("%d attempts a second too early", n)
	}
	w.advance(time.Second)
	w.wait(1)
	w.until("the event is given up", func() bool { return w.queue.Depth(acme) == 0 })
	if a := w.attempts(id); !slices.Equal(a, []int{1, 2, 3}) {
		t.Errorf("attempts %v", a)
	}
	dead := w.list(acme, Dead)
	if len(dead) != 1 || dead[0].RequestID != id || dead[0].Attempts != 3 || dead[0].LastError != "Boom: no stock" || dead[0].Died.IsZero() {
		t.Errorf("dead: %+v", dead)
	}
	if n := w.messages(bus.Events); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

func TestThrottlesAndPlatformErrorsAreTriedUntilTooOld(t *testing.T) {
	t.Parallel()
	for _, result := range []call.Result{call.Throttled, call.PlatformError} {
		t.Run(result.String(), func(t *testing.T) {
			w := newWorld(t)
			w.cfg.EventConfig = func(tenant.AccountID, *function.Target) (int, int) { return 0, 60 }
			w.invoke = func(context.Context, *call.Call) *call.Outcome {
				return &call.Outcome{Result: result, Err: fault.New("test", fault.Unavailable, "no worker")}
			}
			w.open()
			id := w.accept(acme, `{}`)
			for _, delay := range []int{1, 2, 4, 8, 16} {
				w.wait(1)
				w.settled()
				w.advance(time.Duration(delay)*time.Second - time.Millisecond)
				w.settled()
				select {
				case <-w.ran:
					t.Fatalf("tried before %d s", delay)
				default:
				}
				w.advance(time.Millisecond)
			}
			w.wait(1)
			w.settled()
			if dead := w.list(acme, Dead); len(dead) != 0 {
				t.Fatalf("given up after 31 s: %+v", dead)
			}
			w.advance(32 * time.Second)
			w.until("the event is given up", func() bool { return w.queue.Depth(acme) == 0 })
			dead := w.list(acme, Dead)
			if len(dead) != 1 || !strings.Contains(dead[0].LastError, "older than 60 s") || !strings.Contains(dead[0].LastError, "no worker") || dead[0].Attempts != 6 {
				t.Errorf("dead: %+v", dead)
			}
			if a := w.attempts(id); !slices.Equal(a, []int{1, 2, 3, 4, 5, 6}) {
				t.Errorf("attempts %v: each needs its own number", a)
			}
		})
	}
}

func TestWhatIsRefusedWhenItRunsIsGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*world){
		"key revoked":      func(w *world) { w.state.revoked[principal(acme).AccessKeyID] = true },
		"function gone":    func(w *world) { w.target[acme] = nil },
		"function another": func(w *world) { o := *w.target[acme]; o.FunctionUID = tenant.NewUID(); w.target[acme] = &o },
		"denied": func(w *world) {
			w.invoke = func(context.Context, *call.Call) *call.Outcome {
				return &call.Outcome{Result: call.Refused, Err: fault.New("test", fault.Denied, "not any more")}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.open()
			q, owner := w.queue, *w.target[acme]
			w.hold(acme, time.Minute)
			id := w.accept(acme, `{}`)
			w.until("shipped", func() bool { return len(w.list(acme, Pending)) == 1 })
			w.state.mu.Lock()
			w.mu.Lock()
			spoil(w)
			w.mu.Unlock()
			w.state.mu.Unlock()
			w.advance(time.Minute)
			w.until("given up", func() bool { return q.Depth(acme) == 0 })
			w.state.mu.Lock()
			w.mu.Lock()
			w.target[acme] = &owner
			w.state.revoked = map[string]bool{}
			w.mu.Unlock()
			w.state.mu.Unlock()
			dead := w.list(acme, Dead)
			if len(dead) != 1 || dead[0].RequestID != id || dead[0].LastError == "" || dead[0].Attempts != 0 {
				t.Errorf("dead: %+v", dead)
			}
		})
	}
}

func TestEventsOfASuspendedAccountWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open()
	w.hold(acme, time.Second)
	ids := []string{w.accept(acme, `{}`), w.accept(acme, `{}`)}
	w.until("shipped", func() bool { return len(w.list(acme, Pending)) == 2 })
	w.state.mu.Lock()
	w.state.suspended[acme] = true
	w.state.mu.Unlock()
	w.advance(time.Second)
	for range 20 {
		w.settled()
		w.advance(suspendedPause)
	}
	w.settled()
	if w.queue.Depth(acme) != 2 || len(w.attempts(ids[0])) != 0 {
		t.Fatalf("depth %d, attempts %v", w.queue.Depth(acme), w.attempts(ids[0]))
	}
	w.state.mu.Lock()
	w.state.suspended[acme] = false
	w.state.mu.Unlock()
	w.advance(suspendedPause)
	w.until("both ran", func() bool { return w.queue.Depth(acme) == 0 })
	for _, id := range ids {
		if a := w.attempts(id); !slices.Equal(a, []int{1}) {
			t.Errorf("%s: attempts %v", id, a)
		}
	}
}

func TestQueueIsBoundedForEachTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plan := w.cfg.PlanOf(acme)
	plan.Queue = 5
	w.cfg.PlanOf = func(tenant.AccountID) admit.Plan { return plan }
	hold := make(chan struct{})
	w.invoke = func(ctx context.Context, c *call.Call) *call.Outcome { <-hold; return &call.Outcome{} }
	w.open()
	for range 5 {
		w.accept(acme, `{}`)
	}
	err := w.enqueue(w.call(acme, `{}`))
	f := fault.From("test", err)
	if !fault.Is(err, fault.Throttled) || f.Code != "TooManyRequestsException" || f.Reason != "QueueLimitExceeded" || f.RetryAfter <= 0 {
		t.Errorf("the sixth: %v", err)
	}
	if w.queue.Depth(acme) != 5 {
		t.Errorf("depth %d", w.queue.Depth(acme))
	}
	w.accept(globex, `{}`)
	close(hold)
	w.wait(6)
	w.until("empty", func() bool { return w.queue.Depth(acme) == 0 })
	w.accept(acme, `{}`)
	big := w.call(acme, strings.Repeat("x", MaxEvent+1))
	if err := w.enqueue(big); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a large event: %v", err)
	}
}

func TestBytesAreBoundedForEachTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.MaxBytes = 10_000
	hold := make(chan struct{})
	w.invoke = func(context.Context, *call.Call) *call.Outcome { <-hold; return &call.Outcome{} }
	w.open()
	payload := strings.Repeat("x", 4000)
	w.accept(acme, payload)
	w.accept(acme, payload)
	if err := w.enqueue(w.call(acme, payload)); !fault.Is(err, fault.Throttled) {
		t.Errorf("the third: %v", err)
	}
	w.accept(globex, payload)
	close(hold)
	w.until("empty", func() bool { return w.queue.Pending() == 0 })
	w.accept(acme, payload)
}

func TestPlaintextOfAnEventIsNotInTheFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.invoke = fails
	w.open()
	const payload = "credit-card-4242"
	w.accept(acme, payload)
	w.wait(1)
	w.settled()
	w.accept(globex, payload)
	w.wait(1)
	w.settled()
	w.advance(time.Minute)
	w.wait(2)
	w.settled()
	w.advance(2 * time.Minute)
	w.until("given up", func() bool { return w.queue.Pending() == 0 })
	if got := len(w.list(acme, Dead)); got != 1 {
		t.Fatalf("%d dead letters", got)
	}
	sawID := false
	err := filepath.WalkDir(w.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		for _, text := range []string{payload, "orders", "no stock", principal(acme).AccessKeyID} {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s holds %q", name, text)
			}
		}
		sawID = sawID || bytes.Contains(content, []byte("111111111111-000001"))
		return err
	})
	if err != nil || !sawID {
		t.Errorf("the search finds nothing at all: %v", err)
	}
}

func TestListNeedsItsOwnGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open()
	w.hold(acme, time.Hour)
	w.accept(acme, `{}`)
	w.until("shipped", func() bool { return len(w.list(acme, Pending)) == 1 })
	if items := w.list(globex, Pending); len(items) != 0 {
		t.Errorf("globex sees %+v", items)
	}
	g, err := w.authority.AuthoriseCall(w.call(acme, `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.queue.List(t.Context(), g, Query{Owner: w.target[acme].AccountUID, State: Pending}); !fault.Is(err, fault.Denied) {
		t.Errorf("with a grant to invoke: %v", err)
	}
}

func TestListRefusesBadQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open()
	for account, resource := range map[tenant.AccountID]string{
		acme:   "arn:aws:carrel:us-east-1:" + string(acme) + ":tenant/*",
		globex: "arn:aws:lambda:us-east-1:" + string(globex) + ":event/*",
	} {
		g, err := w.authority.Authorise(iam.Request{
			Principal: principal(account), Action: ListAction, Resource: resource, Owner: tenant.Identity{Account: account},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.queue.List(t.Context(), g, Query{Owner: w.target[account].AccountUID, State: Dead}); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", resource, err)
		}
	}
	g, err := w.authority.Authorise(iam.Request{
		Principal: principal(acme), Action: ListAction, Owner: tenant.Identity{Account: acme},
		Resource: "arn:aws:carrel:us-east-1:" + string(acme) + ":event/*",
	})
	if err != nil {
		t.Fatal(err)
	}
	owner := w.target[acme].AccountUID
	for _, in := range []Query{
		{Owner: owner, State: "running"}, {Owner: owner, State: Dead, Cursor: "x"}, {Owner: owner, State: Dead, Cursor: "0"},
		{Owner: owner, State: Pending, Cursor: "1"}, {Owner: owner, State: Pending, Cursor: "x/y"}, {Owner: "*", State: Dead},
	} {
		if _, _, err := w.queue.List(t.Context(), g, in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", in, err)
		}
	}
}

// TestListOfAnotherOwnerShowsNothing gives List the internal id of another
// account than the grant's.
func TestListOfAnotherOwnerShowsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.EventConfig = func(tenant.AccountID, *function.Target) (int, int) { return 0, 60 }
	w.invoke = fails
	w.open()
	w.accept(acme, `{}`)
	w.until("given up", func() bool { return w.queue.Depth(acme) == 0 })
	if dead := w.list(acme, Dead); len(dead) != 1 {
		t.Fatalf("acme's own: %+v", dead)
	}
	w.target[globex] = w.target[acme] // its owner's id is acme's now
	if dead := w.list(globex, Dead); len(dead) != 0 {
		t.Errorf("globex sees %+v", dead)
	}
}
