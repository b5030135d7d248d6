//go:build linux

package main

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/examples/echo"
	"github.com/carrel-dev/carrel/test/noderun"
)

// flatGoal is for the processor time of a call among many tenants, over that
// among the fewest.
const flatGoal = 1.2

// fullPool is how many blank workers a node keeps, by its default.
const fullPool = 4

// many makes the first calls of ever more tenants' functions, and then spreads
// a steady load over them.
func (b *bench) many() error {
	counts := pick(b, []int{10, 100, 1000}, []int{10, 100})
	most := counts[len(counts)-1]
	s := setting{400, 2}
	// Room for all, so that the cost of having many is seen, not of evicting.
	n, err := b.startNode("many", s, "--max-workers", strconv.Itoa(2*most+100), "--idle-worker", "1h")
	if err != nil {
		return err
	}
	defer n.stop()
	var tenants []noderun.Tenant
	var firsts, steady []*Line
	for _, count := range counts {
		if tenants, err = n.grow(tenants, count); err != nil {
			return err
		}
		// Few calls make a rough mean, so they are made of several functions.
		rounds := max(1, min(5, 100/count))
		l, targets, err := n.firstCallsOf(tenants, rounds)
		if err != nil {
			return err
		}
		firsts = append(firsts, l)
		if l, err = n.steady(targets); err != nil {
			return err
		}
		steady = append(steady, l)
	}
	for _, lines := range [][]*Line{firsts, steady} {
		for i, l := range lines {
			l.Settings = s.String()
			if i > 0 {
				l.against(fmt.Sprintf("%d tenants", counts[0]), lines[0], atMost(flatGoal))
			}
		}
	}
	b.add("many", append(firsts, steady...))
	return nil
}

// grow makes tenants until there are as many as wanted.
func (n *server) grow(tenants []noderun.Tenant, want int) ([]noderun.Tenant, error) {
	have := len(tenants)
	tenants = append(tenants, make([]noderun.Tenant, want-have)...)
	return tenants, inParallel(8, want-have, func(i int) (err error) {
		tenants[have+i], err = n.tenant(fmt.Sprintf("acme-%d", have+i))
		return err
	})
}

// inParallel does something n times, some of them at once, until one fails.
func inParallel(workers, n int, do func(i int) error) error {
	var next atomic.Int64
	var first error
	var once sync.Once
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
				}
			}
		})
	}
	group.Wait()
	return first
}

type firstCall struct{ target target }

// firstCallsOf deploys a function for each tenant and calls it, some rounds
// of that, and gives the targets of the last round too.
func (n *server) firstCallsOf(tenants []noderun.Tenant, rounds int) (*Line, []target, error) {
	l := &Line{Name: fmt.Sprintf("first calls of %d tenants' functions, 4 at once", len(tenants)), Unit: "ms of CPU a call"}
	targets := make([]target, len(tenants))
	for round := range rounds {
		first := make([]firstCall, len(tenants))
		err := inParallel(4, len(tenants), func(i int) error {
			name := fmt.Sprintf("echo-%d-%d", len(tenants), round)
			targets[i] = noderunTenant(tenants[i]).target(name, `{"n":1}`, `{"n":1}`)
			first[i].target = targets[i]
			return n.deploy(tenants[i], name, echo.Module(), 10)
		})
		if err != nil {
			return nil, nil, err
		}
		used, err := n.firstCallCPU(first)
		if err != nil {
			return nil, nil, err
		}
		l.Rounds = append(l.Rounds, used)
	}
	l.Median = median(l.Rounds)
	st, err := n.status()
	l.Note = fmt.Sprintf("the blank worker counted; %d workers alive", st.Workers)
	return l, targets, err
}

// firstCallCPU makes the calls, waits until the pool of blank workers is full
// again, and gives the milliseconds of processor time per call. What the node
// uses without calls in as long a time is taken off.
func (n *server) firstCallCPU(calls []firstCall) (float64, error) {
	if err := n.blanks(fullPool); err != nil {
		return 0, err
	}
	idle, err := n.idleCPU()
	if err != nil {
		return 0, err
	}
	before, err := cpuTime(n.PID())
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	err = inParallel(4, len(calls), func(i int) error {
		t := &calls[i].target
		request, err := t.request(n.address)
		if err != nil {
			return err
		}
		w, err := dial(n.address)
		if err != nil {
			return err
		}
		defer w.conn.Close()
		return w.call(t, request)
	})
	if err != nil {
		return 0, err
	}
	if err := n.blanks(fullPool); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	after, err := cpuTime(n.PID())
	used := float64(after-before)/1e6 - idle*took.Seconds()
	return used / float64(len(calls)), err
}

// idleCPU is the milliseconds of processor time a second without calls.
func (n *server) idleCPU() (float64, error) {
	before, err := cpuTime(n.PID())
	if err != nil {
		return 0, err
	}
	const watched = time.Second
	select {
	case <-time.After(watched):
	case <-n.bench.ctx.Done():
		return 0, n.bench.ctx.Err()
	}
	after, err := cpuTime(n.PID())
	return float64(after-before) / 1e6 / watched.Seconds(), err
}

// steady sends 1,000 calls a second to functions that have workers.
func (n *server) steady(targets []target) (*Line, error) {
	const rate = 1000
	spec := loadSpec{Address: n.address, Targets: targets, Rate: rate, Zipf: 1.1, Measure: pick(n.bench, 5*time.Second, time.Second)}
	l := &Line{Name: fmt.Sprintf("1,000 calls a second over %d tenants (Zipf 1.1)", len(targets)), Unit: "us of CPU a call", Micros: map[string]float64{}}
	var p50, p99 []float64
	for round := range pick(n.bench, 3, 1) {
		spec.Seed = uint64(round)
		idle, err := n.idleCPU()
		if err != nil {
			return nil, err
		}
		before, err := cpuTime(n.PID())
		if err != nil {
			return nil, err
		}
		r, err := n.bench.load("open", spec)
		if err != nil {
			return nil, err
		}
		after, err := cpuTime(n.PID())
		if err != nil {
			return nil, err
		}
		l.Rounds = append(l.Rounds, float64(after-before)/1e3/float64(r.Calls))
		p50, p99 = append(p50, r.P50), append(p99, r.P99)
		l.Errors += r.Errors
		l.Note = fmt.Sprintf("idle before: %.3g ms of CPU a second, in the number too", idle)
		if r.Error != "" {
			l.Note += "; " + r.Error
		}
	}
	l.Median = median(l.Rounds)
	l.Micros["p50"], l.Micros["p99"] = median(p50), median(p99)
	return l, nil
}
