//go:build linux

package process

import (
	"fmt"
	"time"
)

// trust holds what a worker claims against what the kernel counted for it.
// An escaped worker could report little fuel and short runs to be billed
// less; over many calls the processor time gives it away.
type trust struct {
	fuel     uint64
	duration time.Duration
	cpu      time.Duration
	calls    int
}

const (
	// trustSlack is processor time that needs no explanation: loading a
	// module, page faults of the first calls, collections of the worker.
	trustSlack = 2 * time.Second
	// trustPerCall is the most a call costs besides the guest's own work:
	// frames, restoring memory, instantiating anew.
	trustPerCall = 20 * time.Millisecond
	// trustNanosPerFuel is far more than any instruction takes, page faults
	// included.
	trustNanosPerFuel = 4000
)

// check adds a batch and says what is wrong with the claims so far; empty if
// nothing is.
func (t *trust) check(ended []*slot, spent time.Duration) string {
	for _, s := range ended {
		t.fuel += s.outcome.Usage.Fuel
		t.duration += s.outcome.Usage.Duration
	}
	t.cpu += spent
	t.calls += len(ended)
	unexplained := t.cpu - trustSlack - time.Duration(t.calls)*trustPerCall
	if unexplained <= 0 {
		return ""
	}
	if unexplained > t.duration*2 {
		return fmt.Sprintf("it claims %s of runs but used %s of processor time", t.duration, t.cpu)
	}
	if uint64(unexplained) > t.fuel*trustNanosPerFuel {
		return fmt.Sprintf("it claims %d units of fuel but used %s of processor time", t.fuel, t.cpu)
	}
	return ""
}
