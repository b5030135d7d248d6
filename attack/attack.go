// Package attack attacks a running node as a tenant can: through its API, and
// from inside of functions. It is what carrel attack runs, and what the tests of
// test/attack run.
//
// An [Attack] has the id of its line in the catalogue, which never changes. It
// makes tries that the node has to stop, and beside them at least one harmless
// twin, a thing of the same form that the node has to do. So a node that refuses
// everything, or does not answer, passes nothing.
//
// What is attacked are two tenants that are made for it and thrown away after, on
// the smallest plan. No try names a tenant of anybody else, and each is bounded in
// number, size and time, so that a node in use may be attacked.
package attack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// The results of an attack.
const (
	// Pass says that every try was stopped and the twin worked.
	Pass = "pass"
	// Fail says that a try was not stopped, the twin did not work, or the attack
	// could not be made.
	Fail = "fail"
	// Skipped says that the attack was not made; Evidence says why.
	Skipped = "skipped"
)

const (
	// longest is how long one attack may take.
	longest = time.Minute
	// together is how many attacks run at once.
	together = 3
	// Patience is how long all attacks may take, clean-up not counted.
	Patience = 10 * time.Minute
)

// Attack is one line of the catalogue.
type Attack struct {
	// ID is the stable name, such as A07.
	ID string
	// Title says what is attempted.
	Title string
	// Defence says what has to stop it.
	Defence string
	// Elsewhere says why this package does not make it: which test does, or what
	// is not built. Empty if it does.
	Elsewhere string

	run func(context.Context, *try) error
	// alone is for what uses up its tenant's quota or measures time.
	alone bool
}

// Runs tells whether this package makes the attack.
func (a Attack) Runs() bool { return a.run != nil }

// Result is what came of an attack.
type Result struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Result string `json:"result"`
	// Tried says what was done, and how often.
	Tried string `json:"tried"`
	// StoppedBy names the defence; empty unless the result is Pass.
	StoppedBy string `json:"stoppedBy"`
	// Evidence is what the node answered, or why it was skipped.
	Evidence string `json:"evidence"`
	// Milliseconds is how long it took.
	Milliseconds int64 `json:"milliseconds"`
}

// Report is what came of all attacks, in the order of the catalogue.
type Report struct {
	Results []Result `json:"results"`
	// Leftovers says what could not be cleaned up.
	Leftovers []string `json:"leftovers,omitempty"`
}

// Count gives the number of attacks with a result.
func (r Report) Count(result string) (n int) {
	for _, one := range r.Results {
		if one.Result == result {
			n++
		}
	}
	return n
}

// Choose gives the attacks of the catalogue with these ids; all if there are
// none. It fails for an id that is not there.
func Choose(ids []string) ([]Attack, error) {
	all := Catalogue()
	if len(ids) == 0 {
		return all, nil
	}
	var chosen []Attack
	for _, id := range ids {
		i := slices.IndexFunc(all, func(a Attack) bool { return strings.EqualFold(a.ID, strings.TrimSpace(id)) })
		if i < 0 {
			return nil, fmt.Errorf("there is no attack %q; carrel attack --list shows them", id)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// Run makes attacks on a node, calls done after each (never twice at once; it may
// be nil), and cleans up whatever happens. The error is that of making the
// tenants, or of ctx; the report is good as far as it goes.
func Run(ctx context.Context, cfg Config, attacks []Attack, done func(Result)) (report Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	results := make([]Result, len(attacks))
	if slices.ContainsFunc(attacks, Attack.Runs) {
		r, err := Open(ctx, cfg)
		if r != nil {
			defer func() { report.Leftovers = r.Close(ctx) }()
		}
		if err != nil {
			return report, err
		}
		r.all(ctx, attacks, func(i int, result Result) {
			results[i] = result
			if done != nil {
				done(result)
			}
		})
	} else {
		for i, a := range attacks {
			results[i] = a.skipped()
		}
	}
	for _, result := range results {
		if result.ID != "" {
			report.Results = append(report.Results, result)
		}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return report, fmt.Errorf("the attacks took over %s", Patience)
	}
	return report, ctx.Err()
}

// all makes attacks: first those that may run beside each other, then the others.
func (r *Range) all(ctx context.Context, attacks []Attack, done func(int, Result)) {
	var mu sync.Mutex
	one := func(i int) {
		if ctx.Err() != nil {
			return
		}
		result := r.Make(ctx, attacks[i])
		if ctx.Err() != nil {
			return // it was broken off
		}
		mu.Lock()
		defer mu.Unlock()
		done(i, result)
	}
	var busy sync.WaitGroup
	queue := make(chan int)
	for range together {
		busy.Go(func() {
			for i := range queue {
				one(i)
			}
		})
	}
	for i, a := range attacks {
		if !a.alone {
			queue <- i
		}
	}
	close(queue)
	busy.Wait()
	for i, a := range attacks {
		if a.alone {
			one(i)
		}
	}
}

// skipped is the result of an attack that is not made here.
func (a Attack) skipped() Result {
	return Result{ID: a.ID, Title: a.Title, Result: Skipped, Evidence: a.Elsewhere}
}

// Make makes one attack.
func (r *Range) Make(ctx context.Context, a Attack) Result {
	if !a.Runs() {
		return a.skipped()
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	t := &try{Range: r, id: strings.ToLower(a.ID), answers: map[string]int{}}
	began := time.Now()
	err := a.run(ctx, t)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("it took over %s: %w", longest, err)
	}
	t.cleanUp(ctx)
	result := t.result(err)
	result.ID, result.Title, result.Milliseconds = a.ID, a.Title, time.Since(began).Milliseconds()
	if result.Result == Pass {
		result.StoppedBy = a.Defence
	}
	return result
}
