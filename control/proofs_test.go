package control

import (
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
)

// TestOneAccountDoesNotHoldTheProver: an account that has the prover think
// long waits, others do not, and after a while neither does it.
func TestOneAccountDoesNotHoldTheProver(t *testing.T) {
	t.Parallel()
	var p proofTime
	now := time.Unix(1_800_000_000, 0)
	if err := p.check("111111111111", now); err != nil {
		t.Fatalf("an account that asked for nothing: %v", err)
	}
	for range 100 { // ordinary changes
		p.spend([]string{"111111111111"}, 20*time.Millisecond, now)
		if err := p.check("111111111111", now); err != nil {
			t.Fatalf("an ordinary change: %v", err)
		}
	}
	for range 20 {
		p.spend([]string{"111111111111"}, 400*time.Millisecond, now)
	}
	err := p.check("111111111111", now)
	f := fault.From("", err)
	if !fault.Is(err, fault.Throttled) || f.RetryAfter <= 0 {
		t.Fatalf("an account that took 10 s of the prover: %v", err)
	}
	if err := p.check("222222222222", now); err != nil {
		t.Errorf("another account waits for it: %v", err)
	}
	if err := p.check("111111111111", now.Add(f.RetryAfter)); err != nil {
		t.Errorf("after the time that it was told to wait: %v", err)
	}
	// What is longer than all that can be saved counts as that.
	p.spend([]string{"333333333333"}, time.Hour, now)
	p.spend([]string{"333333333333"}, time.Second, now)
	if err := p.check("333333333333", now.Add(4*time.Second)); err != nil {
		t.Errorf("a single long proof shuts an account out: %v", err)
	}
	p.spend(nil, time.Hour, now) // a change of the operators' is about no account
}
