package admit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/tenant"
)

type open struct{ generation atomic.Uint64 }

func (o *open) Generation() uint64                          { return o.generation.Load() }
func (*open) Confirmed() time.Time                          { return time.Now() }
func (*open) Status(tenant.AccountID) (tenant.Status, bool) { return tenant.Active, true }

type fixture struct {
	t     *testing.T
	world *open
	auth  *iam.Authority
	ctl   *Controller
}

func newFixture(t *testing.T, p Plan) *fixture {
	f := &fixture{t: t, world: &open{}}
	directory := iamtest.NewDirectory()
	directory.Gone = func(*call.Principal) bool { return f.world.generation.Load() >= 100 }
	f.auth = iamtest.With(f.world, directory)
	f.ctl = New(f.auth, func(tenant.AccountID) Plan { return p }, time.Now)
	return f
}

func (f *fixture) grant(account tenant.AccountID, reserved int) iam.Grant {
	f.t.Helper()
	g, err := f.auth.AuthoriseCall(&call.Call{
		Principal: call.Principal{Type: call.TypeUser, Account: account}, Owner: tenant.Identity{Account: account},
		Target: &function.Target{FunctionUID: tenant.UID("f" + account), Reserved: reserved, ARN: function.ARN("us-east-1", account, "f", "1")},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return g
}

const acme, globex = tenant.AccountID("111111111111"), tenant.AccountID("222222222222")

func reason(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Plan{Concurrency: 1000, Rate: 100, Burst: 10})
		begun, admitted, refused := time.Now(), 0, 0
		for time.Since(begun) < 2*time.Second {
			ticket, err := f.ctl.Admit(t.Context(), f.grant(acme, -1))
			switch {
			case err == nil:
				admitted++
				ticket.Release()
			case reason(err) == "CallerRateLimitExceeded":
				refused++
			default:
				t.Fatal(err)
			}
			<-time.After(time.Millisecond)
		}
		if admitted < 205 || admitted > 212 || refused == 0 {
			t.Errorf("%d calls in 2 s at 100/s and a burst of 10 (%d refused), want 209 or 210", admitted, refused)
		}
	})
}

func TestRateWaitsALittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Plan{Concurrency: 10, Rate: 100, Burst: 1, MaxWait: 15 * time.Millisecond})
		begun := time.Now()
		for range 2 {
			if _, err := f.ctl.Admit(t.Context(), f.grant(acme, -1)); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(begun); waited != 10*time.Millisecond {
			t.Errorf("the second call waited %s, want 10ms", waited)
		}
		var wg sync.WaitGroup
		var refused atomic.Int32
		for range 5 {
			wg.Go(func() {
				if _, err := f.ctl.Admit(t.Context(), f.grant(acme, -1)); err != nil {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if n := refused.Load(); n != 4 {
			t.Errorf("%d of 5 calls at once were refused, want 4: only one is due within 15 ms", n)
		}
	})
}

// TestConcurrencyIsNeverExceeded sends 1,000 parallel calls at a limit of 7.
func TestConcurrencyIsNeverExceeded(t *testing.T) {
	f := newFixture(t, Plan{Concurrency: 7, MaxWait: time.Minute})
	var now, most atomic.Int64
	var wg sync.WaitGroup
	served := atomic.Int64{}
	for range 1000 {
		wg.Go(func() {
			ticket, err := f.ctl.Admit(t.Context(), f.grant(acme, -1))
			if err != nil {
				return
			}
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			served.Add(1)
			now.Add(-1)
			ticket.Release()
		})
	}
	wg.Wait()
	if most.Load() > 7 || served.Load() == 0 || f.ctl.Running(acme) != 0 {
		t.Errorf("%d ran at once at a limit of 7, %d in all, %d run still", most.Load(), served.Load(), f.ctl.Running(acme))
	}
}

func TestSlotsAreHandedOverAndGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Plan{Concurrency: 1, MaxWait: 50 * time.Millisecond})
		first, err := f.ctl.Admit(t.Context(), f.grant(acme, -1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ctl.Admit(t.Context(), f.grant(acme, -1)); reason(err) != "ConcurrentInvocationLimitExceeded" {
			t.Errorf("a second call: %v", err)
		}
		if other, err := f.ctl.Admit(t.Context(), f.grant(globex, -1)); err != nil {
			t.Errorf("another account was held up: %v", err)
		} else {
			other.Release()
		}
		got := make(chan error, 1)
		go func() {
			second, err := f.ctl.Admit(t.Context(), f.grant(acme, -1))
			if err == nil {
				second.Release()
			}
			got <- err
		}()
		synctest.Wait()
		first.Release()
		first.Release() // counts once
		if err := <-got; err != nil {
			t.Errorf("the waiting call was not served: %v", err)
		}
		if n := f.ctl.Running(acme); n != 0 {
			t.Errorf("%d calls run after all ended", n)
		}
	})
}

func TestWaitingCallIsDecidedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Plan{Concurrency: 1, MaxWait: time.Second})
		first, err := f.ctl.Admit(t.Context(), f.grant(acme, -1))
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := f.ctl.Admit(t.Context(), f.grant(acme, -1))
			got <- err
		}()
		synctest.Wait()
		f.world.generation.Store(100) // the key is revoked while the call waits
		first.Release()
		if err := <-got; !fault.Is(err, fault.Denied) {
			t.Errorf("a call whose key was revoked while it waited: %v", err)
		}
		if n := f.ctl.Running(acme); n != 0 {
			t.Errorf("the refused call keeps %d slots", n)
		}
	})
}

func TestReservedConcurrency(t *testing.T) {
	f := newFixture(t, Plan{Concurrency: 10})
	one, err := f.ctl.Admit(t.Context(), f.grant(acme, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ctl.Admit(t.Context(), f.grant(acme, 1)); reason(err) != "ReservedFunctionConcurrentInvocationLimitExceeded" {
		t.Errorf("over the reserved concurrency: %v", err)
	}
	one.Release()
	if _, err := f.ctl.Admit(t.Context(), f.grant(acme, 0)); reason(err) != "ReservedFunctionConcurrentInvocationLimitExceeded" {
		t.Errorf("a function with none reserved: %v", err)
	}
}

func TestCallerThatGoesAwayLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Plan{Concurrency: 1, MaxWait: time.Hour})
		first, err := f.ctl.Admit(t.Context(), f.grant(acme, -1))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() {
			_, err := f.ctl.Admit(ctx, f.grant(acme, -1))
			got <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-got; !fault.Is(err, fault.Timeout) {
			t.Errorf("error %v, want timeout", err)
		}
		first.Release()
		if n := f.ctl.Running(acme); n != 0 {
			t.Errorf("%d slots are held", n)
		}
	})
}

func TestZeroTicketPanics(t *testing.T) {
	for name, use := range map[string]func(Ticket){
		"Call": func(k Ticket) { k.Call() }, "Grant": func(k Ticket) { k.Grant() }, "Release": func(k Ticket) { k.Release() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a zero Ticket did not panic", name)
				}
			}()
			use(Ticket{})
		}()
	}
}

func TestRetryAfterIsAtLeastASecond(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2"} {
		if got := RetryAfterSeconds(d); got != want {
			t.Errorf("RetryAfterSeconds(%s) = %s, want %s", d, got, want)
		}
	}
}
