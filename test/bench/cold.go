//go:build linux

package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/carrel-dev/carrel/examples/echo"
)

const (
	coldGoal   = 1.0  // ms, a module under 100 KB
	coldGoGoal = 20.0 // ms, a Go reactor
)

// cold makes the first call of functions that were deployed before.
func (b *bench) cold() error {
	s := setting{400, 2}
	n, err := b.startNode("cold", s)
	if err != nil {
		return err
	}
	defer n.stop()
	small, err := n.firstCalls(coldGuest{"echo", echo.Module(), `{"n":1}`, `{"n":1}`, pick(b, 60, 12)})
	if err != nil {
		return err
	}
	inGo, err := n.firstCalls(coldGuest{"greeter", b.greeter, greeterEvent, greeterReply, pick(b, 20, 6)})
	if err != nil {
		return err
	}
	small[0].want(atMost(coldGoal))
	inGo[0].want(atMost(coldGoGoal))
	spawn, err := n.spawnCost(pick(b, 30, 8))
	if err != nil {
		return err
	}
	lines := append(append(small, inGo...), spawn)
	for _, l := range lines {
		l.Settings = s.String()
	}
	b.add("cold", lines)
	return nil
}

type coldGuest struct {
	name         string
	code         []byte
	event, reply string
	functions    int
}

// firstCalls deploys functions of one tenant and calls each once.
func (n *server) firstCalls(g coldGuest) ([]*Line, error) {
	made, err := n.tenant("acme-" + g.name)
	if err != nil {
		return nil, err
	}
	names := make([]string, g.functions)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", g.name, i)
	}
	if err := inParallel(4, len(names), func(i int) error { return n.deploy(made, names[i], g.code, 10) }); err != nil {
		return nil, err
	}
	w, err := dial(n.address)
	if err != nil {
		return nil, err
	}
	defer w.conn.Close()
	var whole []float64
	for _, name := range names {
		if err := n.blanks(2); err != nil {
			return nil, err
		}
		t := noderunTenant(made).target(name, g.event, g.reply)
		t.Prefix = true
		request, err := t.request(n.address)
		if err != nil {
			return nil, err
		}
		begun := time.Now()
		if err := w.call(&t, request); err != nil {
			return nil, err
		}
		whole = append(whole, float64(time.Since(begun).Nanoseconds())/1e6)
	}
	inits, err := n.inits(made.TenantID, g.functions)
	if err != nil {
		return nil, err
	}
	return []*Line{
		distribution(g.name+": init duration in the usage record", inits),
		distribution(g.name+": the whole first call over HTTP", whole),
	}, nil
}

// distribution is a line of milliseconds with percentiles.
func distribution(name string, ms []float64) *Line {
	sorted := slices.Sorted(slices.Values(ms))
	return &Line{Name: name, Unit: "ms", Rounds: ms, Median: median(ms), Micros: map[string]float64{
		"p50": 1000 * percentile(sorted, 50), "p95": 1000 * percentile(sorted, 95), "p99": 1000 * percentile(sorted, 99), "max": 1000 * percentile(sorted, 100),
	}, Note: fmt.Sprintf("%d functions", len(ms))}
}

// inits are the durations of the cold starts in a tenant's records.
func (n *server) inits(tenant string, want int) (ms []float64, err error) {
	all, err := n.records(tenant)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if !r.ColdStart {
			continue
		}
		v, err := strconv.ParseFloat(r.InitMS, 64)
		if err != nil {
			return nil, fmt.Errorf("initMs %q of a record: %w", r.InitMS, err)
		}
		ms = append(ms, v)
	}
	if len(ms) != want {
		return nil, fmt.Errorf("%d of %d first calls of %s were cold starts by the records", len(ms), want, tenant)
	}
	return ms, nil
}

// spawnCost is what a blank worker costs: functions take one each, and the
// processor time until the pool is full again is shared among them. Their own
// first calls are in it.
func (n *server) spawnCost(functions int) (*Line, error) {
	made, err := n.tenant("acme-spawn")
	if err != nil {
		return nil, err
	}
	if err := inParallel(4, functions, func(i int) error { return n.deploy(made, fmt.Sprintf("f-%d", i), echo.Module(), 10) }); err != nil {
		return nil, err
	}
	first := make([]firstCall, functions)
	for i := range first {
		first[i] = firstCall{noderunTenant(made).target(fmt.Sprintf("f-%d", i), "{}", "{}")}
	}
	used, err := n.firstCallCPU(first)
	if err != nil {
		return nil, err
	}
	return &Line{
		Name: "processor time of a first call and the blank worker that replaces its own", Unit: "ms", Median: used,
		Rounds: []float64{used}, Note: fmt.Sprintf("mean of %d, all processes of the node", functions),
	}, nil
}
