//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/carrel-dev/carrel/examples/echo"
	"github.com/carrel-dev/carrel/test/noderun"
)

// neighbourGoal is for the victim's 99th percentile, over that alone.
const neighbourGoal = 1.3

const (
	victimRate = 100
	spinFor    = 2 // seconds, the limit that a spinning call runs into
)

// neighbour measures a victim on one node, alone and then beside two functions
// of another tenant that do all they can, in turn.
func (b *bench) neighbour() error {
	s := setting{400, 2}
	n, err := b.startNode("neighbour", s)
	if err != nil {
		return err
	}
	defer n.stop()
	victim, err := n.tenant("acme")
	if err != nil {
		return err
	}
	hostile, err := n.tenant("globex")
	if err != nil {
		return err
	}
	if err := errors.Join(n.deploy(victim, "echo", echo.Module(), 3), n.deploy(hostile, "spin", b.greeter, spinFor), n.deploy(hostile, "eat", b.greeter, spinFor)); err != nil {
		return err
	}
	spec := loadSpec{
		Address: n.address, Targets: []target{noderunTenant(victim).target("echo", `{"n":1}`, `{"n":1}`)}, Rate: victimRate,
		Warm: time.Second, Measure: pick(b, 60*time.Second, 5*time.Second),
	}
	alone := &Line{Name: "victim alone: p99", Unit: "ms", Settings: s.String()}
	beside := &Line{Name: "victim beside a spinner and a memory hog: p99", Unit: "ms", Settings: s.String()}
	p50, late := map[*Line][]float64{}, map[*Line][]float64{}
	var spins, eats int
	for range 3 {
		for _, l := range []*Line{alone, beside} {
			stop := func() (int, int, error) { return 0, 0, nil }
			if l == beside {
				stop = n.attack(hostile)
			}
			r, err := b.load("open", spec)
			spun, ate, attackErr := stop()
			if err := errors.Join(err, attackErr); err != nil {
				return err
			}
			spins, eats = spins+spun, eats+ate
			l.Rounds = append(l.Rounds, r.P99/1000)
			p50[l], late[l] = append(p50[l], r.P50), append(late[l], r.SchedulingMicros)
			l.Errors += r.Errors
			if r.Error != "" {
				l.Note = r.Error
			}
			if l.Micros == nil {
				l.Micros = map[string]float64{}
			}
			l.Micros["max"] = max(l.Micros["max"], r.MaxMicros)
		}
	}
	for _, l := range []*Line{alone, beside} {
		l.Median = median(l.Rounds)
		l.Micros["p50"], l.Micros["p99"] = median(p50[l]), 1000*l.Median
		note := fmt.Sprintf("of it the generator's own lateness, p99: %.2g ms", median(late[l])/1000)
		l.Note = strings.TrimPrefix(l.Note+"; "+note, "; ")
	}
	beside.against("alone", alone, atMost(neighbourGoal))
	beside.Note += fmt.Sprintf("; meanwhile %d calls spun until %d s and %d ate until 128 MB", spins, spinFor, eats)
	b.add("neighbour", []*Line{alone, beside})
	return nil
}

// attack lets one call spin and one eat memory at all times, until stop is
// called, which waits for the last of them and says how many there were.
func (n *server) attack(t noderun.Tenant) (stop func() (spins, eats int, err error)) {
	ctx, cancel := context.WithCancel(n.bench.ctx)
	var group sync.WaitGroup
	var counts [2]int
	var errs [2]error
	for i, do := range []string{"spin", "eat"} {
		group.Go(func() {
			c := n.lambda(t)
			for ctx.Err() == nil {
				// A call under way runs to its limit: dropping the connection
				// would not end it.
				out, err := c.Invoke(n.bench.ctx, &lambda.InvokeInput{FunctionName: aws.String(do), Payload: []byte(`{"do":"` + do + `"}`)})
				if err == nil && out.FunctionError == nil {
					err = fmt.Errorf("a call that should %s for ever ended well", do)
				}
				if err != nil {
					errs[i] = err
					return
				}
				counts[i]++
			}
		})
	}
	return func() (int, int, error) {
		cancel()
		group.Wait()
		return counts[0], counts[1], errors.Join(errs[:]...)
	}
}
