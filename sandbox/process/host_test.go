//go:build linux

package process

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

// hostFunc is a Host whose refusals are the fault's text.
type hostFunc func(ctx context.Context, c *call.Call, request []byte) []byte

func (f hostFunc) Serve(ctx context.Context, c *call.Call, _ uint32, request []byte) []byte {
	return f(ctx, c, request)
}

func (f hostFunc) Refuse(_ *call.Call, cause error) []byte {
	return []byte("refused: " + fault.From("test", cause).Reason)
}

var relay = wasmtest.Relay(1, 1, 3)

func TestFunctionsAskTheHost(t *testing.T) {
	var served sync.Map
	h := newHarness(t, func(c *Config) {
		c.Host = hostFunc(func(_ context.Context, c *call.Call, request []byte) []byte {
			served.Store(c.RequestID, c)
			return append([]byte(c.RequestID+" "), request...)
		})
	})
	f := h.deploy("111111111111", relay, small)
	for range 3 {
		o := h.run(f, "event")
		id, request, _ := strings.Cut(string(o.Payload), " ")
		c, found := served.Load(id)
		if o.Result != call.OK || request != "event" || !found || c.(*call.Call).Target.FunctionUID != f.FunctionUID {
			t.Fatalf("%v %v %q, asked by a call of %+v", o.Result, o.Err, o.Payload, c)
		}
	}
	if got := h.run(h.deploy("111111111111", wasmtest.Relay(1, 1100, 3), small), "event"); got.Result != call.OK || string(got.Payload) != "\xfc\xff\xff\xff" {
		t.Errorf("a function that asks 1,100 times: %v %v %q, want to be told -4", got.Result, got.Err, got.Payload)
	}
	if n := h.driver.counts.Alarms.Load(); n != 0 {
		t.Errorf("%d alarms of honest workers", n)
	}
}

// TestNobodyWaitsBehindOneThatAsks: a call that waits for the host holds up no
// other, is not slow for it, and ends at its limit.
func TestNobodyWaitsBehindOneThatAsks(t *testing.T) {
	ended := make(chan error, 1)
	began := make(chan struct{}, 1)
	h := newHarness(t, func(c *Config) {
		c.Host = hostFunc(func(ctx context.Context, _ *call.Call, request []byte) []byte {
			if string(request) == "wait" {
				began <- struct{}{}
				<-ctx.Done()
				ended <- ctx.Err()
			}
			return []byte("late")
		})
	})
	f := h.deploy("111111111111", relay, function.Limits{MemoryMB: 64, Timeout: time.Second})
	first := h.run(f, "quick")
	var wg sync.WaitGroup
	wg.Go(func() {
		o := h.run(f, "wait")
		if o.Result != call.TimedOut || o.WorkerID != first.WorkerID || o.Usage.Duration < 900*time.Millisecond {
			t.Errorf("the call that waits: %v %v after %s", o.Result, o.Err, o.Usage.Duration)
		}
	})
	<-began
	for i := range 50 {
		begun := time.Now()
		if o := h.run(f, "quick"); o.Result != call.OK || string(o.Payload) != "late" {
			t.Fatalf("call %d beside it: %v %v %q", i, o.Result, o.Err, o.Payload)
		} else if took := time.Since(begun); took > 500*time.Millisecond {
			t.Errorf("call %d beside it took %s", i, took)
		}
	}
	wg.Wait()
	if err := <-ended; err == nil {
		t.Error("what it waited for was not told that the call had ended")
	}
	if n := h.driver.counts.Stolen.Load() + h.driver.counts.Kills.Load() + h.driver.counts.Crashes.Load(); n != 0 {
		t.Errorf("a call that waits was counted as slow, or its worker died of it (%d)", n)
	}
	// Its reply came after its end; the worker is as good as before.
	for range 100 {
		if o := h.run(f, "quick"); o.Result != call.OK {
			t.Fatalf("after it: %v %v", o.Result, o.Err)
		} else if o.WorkerID == first.WorkerID {
			return
		}
	}
	t.Error("the worker that waited got no call any more")
}

// TestChainsEndWhereWorkersDo: a function that calls itself for ever runs into
// the node's bound of workers, is told, and nothing hangs.
func TestChainsEndWhereWorkersDo(t *testing.T) {
	for _, workers := range []int{1, 2, 6} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			var h *harness
			var depth atomic.Int32
			h = newHarness(t, func(c *Config) {
				c.MaxWorkers, c.Blanks = workers, 1
				c.Host = hostFunc(func(_ context.Context, c *call.Call, _ []byte) []byte {
					depth.Add(1)
					o := h.run(c.Target, "again")
					if o.Err != nil {
						return []byte(o.Err.Error())
					}
					return o.Payload
				})
			})
			f := h.deploy("111111111111", relay, function.Limits{MemoryMB: 64, Timeout: 8 * time.Second})
			begun := time.Now()
			o := h.run(f, "again")
			if o.Result != call.OK || string(o.Payload) != "refused: ConcurrentHostCallLimitExceeded" {
				t.Errorf("%v %v %q", o.Result, o.Err, o.Payload)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if n := int(depth.Load()); n > mostWaits(workers).calls {
				t.Errorf("%d calls waited at once, of %d workers", n, workers)
			}
		})
	}
}

func TestAnAccountLeavesRoomToWait(t *testing.T) {
	const acme tenant.AccountID = "111111111111"
	one := held{1, 1000}
	for most := range 40 {
		for name, limit := range map[string]held{"workers": {most, 1 << 40}, "memory": {1 << 20, int64(most) * 1000}} {
			var w waits
			greedy := 0
			for w.enter(acme, one, limit) {
				greedy++
			}
			if greedy != (most+1)/2 {
				t.Errorf("%s: one account waits %d times of %d", name, greedy, most)
			}
			others := 0
			for n := range 100 {
				if w.enter(tenant.AccountID(fmt.Sprint(n)), one, limit) {
					others++
				}
			}
			if !w.total.within(limit) || w.total.calls != greedy+others || most > 1 && others == 0 {
				t.Errorf("%s: %d of one and %d of others wait, of %d", name, greedy, others, most)
			}
			for range greedy {
				w.leave(acme, one)
			}
			for account := range w.accounts {
				w.leave(account, one)
			}
			if w.total != (held{}) || len(w.accounts) != 0 {
				t.Errorf("%s: when all have left, %+v is counted in %d accounts", name, w.total, len(w.accounts))
			}
		}
	}
}
