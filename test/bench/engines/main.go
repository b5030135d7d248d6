// Command engines measures what a decision costs in iam/policy, OPA and
// cedar-go, on the same rules, one after the other in the same rounds, and
// prints ratios. It is a module of its own, so that what only it needs is not
// part of Carrel.
//
// There are n rules, one for each folder of a bucket, and every one lets a
// tenant read and write below its own name. The request is for the last
// folder, so that an engine that looks at rule after rule looks at all. The
// others are given the request already taken apart and are asked in the
// fastest way that they have: OPA a prepared query, with rules that its index
// takes, and input that is parsed; Cedar entities that are made once.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

func main() {
	round := flag.Duration("round", 300*time.Millisecond, "how long each engine is measured in a round")
	rounds := flag.Int("rounds", 5, "number of rounds; the median is shown")
	flag.Parse()
	if err := compare(os.Stdout, *round, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "engines:", err)
		os.Exit(1)
	}
}

// engine decides about one request.
type engine struct {
	name string
	// make gives what decides among n rules: whether a tenant may read a key
	// in the last folder of another one, or of its own.
	make func(n int) (decider, error)
}

// decider tells whether the tenant acme may read what is the owner's.
type decider func(owner string) (bool, error)

var engines = []engine{
	{"carrel", carrelAfterFolder}, {"carrel, tenant first", carrelBeforeFolder}, {"cedar-go v1.9.0", cedarRules}, {"OPA v1.22.2", opaRules},
}

// sizes are the numbers of rules.
var sizes = []int{1, 10, 100, 10_000}

// tenantID is who asks, strangerID who does not.
const tenantID, strangerID = "acme", "acme2"

// result is what one engine took among n rules.
type result struct {
	nanoseconds float64
	allocations float64
}

func compare(out io.Writer, round time.Duration, rounds int) error {
	fmt.Fprintf(out, "Decisions of one core, %d x %s, %s, median of %d rounds\n", runtime.NumCPU(), runtime.GOARCH, runtime.Version(), rounds)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "  RULES\tENGINE\tTIME\tALLOCATIONS\tTIMES CARREL\tGOAL")
	for _, n := range sizes {
		results, err := measure(n, round, rounds)
		if err != nil {
			return err
		}
		for i, r := range results {
			ratio := r.nanoseconds / results[0].nanoseconds
			fmt.Fprintf(w, "  %d\t%s\t%v\t%.3g\t%.3g\t%s\n", n, engines[i].name, time.Duration(r.nanoseconds), r.allocations, ratio, goal(n, i, r, ratio))
		}
	}
	return w.Flush()
}

// goal says whether a number is what it should be.
func goal(n, i int, r result, ratio float64) string {
	says := func(text string, met bool) string {
		if met {
			return text + ": met"
		}
		return text + ": MISSED"
	}
	switch {
	case i < 2 && n == 100:
		return says("<= 1 us, no allocation", r.nanoseconds <= 1000 && r.allocations == 0)
	case i < 2 && n == 10_000:
		return says("<= 5 us, no allocation", r.nanoseconds <= 5000 && r.allocations == 0)
	case i == 2 && n == 100:
		return says(">= 3 x", ratio >= 3)
	case i == 3:
		return says(">= 10 x", ratio >= 10)
	}
	return ""
}

// measure asks all engines in turn, round after round.
func measure(n int, round time.Duration, rounds int) ([]result, error) {
	deciders := make([]decider, len(engines))
	for i, e := range engines {
		d, err := e.make(n)
		if err != nil {
			return nil, fmt.Errorf("%s, %d rules: %w", e.name, n, err)
		}
		for owner, want := range map[string]bool{tenantID: true, strangerID: false} {
			if got, err := d(owner); err != nil || got != want {
				return nil, fmt.Errorf("%s, %d rules: what is %s's is allowed: %v (%v)", e.name, n, owner, got, err)
			}
		}
		deciders[i] = d
	}
	times, results := make([][]float64, len(engines)), make([]result, len(engines))
	for range rounds {
		for i, d := range deciders {
			r, err := ask(d, round)
			if err != nil {
				return nil, fmt.Errorf("%s, %d rules: %w", engines[i].name, n, err)
			}
			times[i] = append(times[i], r.nanoseconds)
			results[i].allocations = r.allocations
		}
	}
	for i := range results {
		slices.Sort(times[i])
		results[i].nanoseconds = times[i][len(times[i])/2]
	}
	return results, nil
}

// ask decides again and again for a while.
func ask(d decider, during time.Duration) (result, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun, asked := time.Now(), 0
	for batch := 1; time.Since(begun) < during; batch = min(2*batch, 1000) {
		for range batch {
			if allowed, err := d(tenantID); err != nil || !allowed {
				return result{}, fmt.Errorf("refused (%v)", err)
			}
		}
		asked += batch
	}
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	return result{float64(took.Nanoseconds()) / float64(asked), float64((after.Mallocs - before.Mallocs) / uint64(asked))}, nil
}
