package admit

import (
	"context"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// checker refuses every event and counts.
type checker struct {
	asked   int
	running int
	ctl     *Controller
}

func (c *checker) Check(_ context.Context, payer tenant.AccountID, _ *function.Target, _ []byte) (time.Duration, error) {
	c.asked++
	c.running = c.ctl.Running(payer)
	return time.Millisecond, fault.New("test", fault.Invalid, "not this one")
}

// TestEventsAreCheckedBetweenRateAndSlot: a call over the rate is not checked,
// one that is refused takes no slot, and what the check took stands in the call.
func TestEventsAreCheckedBetweenRateAndSlot(t *testing.T) {
	f := newFixture(t, Plan{Concurrency: 1, Rate: 1, Burst: 2})
	g := f.grant(acme, -1)
	g.Call().Target.Schema.Digest = "d"
	if _, err := f.ctl.Admit(t.Context(), g); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a checker: %v, want it refused", err)
	}
	c := &checker{ctl: f.ctl}
	f.ctl.CheckEvents(c)
	if _, err := f.ctl.Admit(t.Context(), g); !fault.Is(err, fault.Invalid) || c.asked != 1 || c.running != 0 || f.ctl.Running(acme) != 0 {
		t.Errorf("%v after %d checks, with %d slots taken", err, c.asked, c.running)
	}
	if g.Call().Checked != time.Millisecond {
		t.Errorf("%s are charged", g.Call().Checked)
	}
	if _, err := f.ctl.Admit(t.Context(), g); reason(err) != "CallerRateLimitExceeded" || c.asked != 1 {
		t.Errorf("over the rate: %v after %d checks", err, c.asked)
	}
	// The twin: a function without a schema is not asked about.
	other := f.grant(globex, -1)
	if _, err := f.ctl.Admit(t.Context(), other); err != nil || c.asked != 1 {
		t.Errorf("without a schema: %v after %d checks", err, c.asked)
	}
}

// BenchmarkCheckWithoutSchema is what a call pays whose function has none.
func BenchmarkCheckWithoutSchema(b *testing.B) {
	t := &testing.T{}
	f := newFixture(t, Plan{Concurrency: 1})
	g := f.grant(acme, -1)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.ctl.Check(b.Context(), g); err != nil {
			b.Fatal(err)
		}
	}
}
