//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/examples/echo"
)

// settings are those the node and bare net/http are compared under.
var settings = []setting{{400, 1}, {400, 2}}

// connections are how many calls are under way at once.
var connections = []int{1, 8, 32, 128}

const (
	warmGoal    = 0.5 // of bare net/http, at 32 connections
	workerdGoal = 4.0 // times workerd, at 32 connections
	goalConns   = 32
	eventKB     = 1
	// A build must not lose more than this against the one before it.
	beforeGoal   = 0.95
	nameBefore   = "before"
	greeterEvent = `{"name":"Ada"}`
	greeterReply = `{"message":"Hello, Ada!"`
)

// contender is one server in one setting.
type contender struct {
	name    string
	setting setting
	address string
	pid     int
	target  target
	conns   []int
	sums    map[int]*sample
}

// sample is what the rounds at one number of connections gave.
type sample struct {
	rates, p50, p99, cpu []float64
	max                  float64
	errors               int
	first                string
}

// warm compares calls over HTTP: all servers run, one at a time has load, and
// rounds are interleaved, so that a slow minute of the machine meets all.
func (b *bench) warm() (err error) {
	var all []*contender
	var stops []func()
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	event := `{"text":"` + strings.Repeat("x", eventKB<<10-11) + `"}`
	for _, s := range settings {
		for _, sync := range []string{"write", "always"} {
			n, err := b.startNode(fmt.Sprintf("warm-%s-%d", sync, s.procs), s, "--journal-sync", sync)
			if err != nil {
				return err
			}
			stops = append(stops, n.stop)
			small, err := n.small("carrel "+sync, s, event)
			if err != nil {
				return err
			}
			inGo, err := n.inGo("carrel "+sync+", Go guest", s)
			if err != nil {
				return err
			}
			all = append(all, small, inGo)
		}
		if b.opts.before != "" {
			n, err := b.startBuild(b.opts.before, fmt.Sprintf("before-%d", s.procs), s, "--journal-sync", "write")
			if err != nil {
				return err
			}
			stops = append(stops, n.stop)
			// An earlier build need not serve what today's SDK asks for.
			small, err := n.small(nameBefore, s, event)
			if err != nil {
				return err
			}
			all = append(all, small)
		}
		bare, err := b.startBare(s)
		if err != nil {
			return err
		}
		stops = append(stops, bare.stop)
		all = append(all, bare.contender(s, all[0].target))
	}
	missing := ""
	other, err := b.startWorkerd()
	switch {
	case errors.Is(err, errNoPeer):
		missing = err.Error()
	case err != nil:
		return err
	default:
		stops = append(stops, other.stop)
		all = append(all, other.contender(setting{}, all[0].target))
	}
	if err := b.interleave(all); err != nil {
		return err
	}
	b.compareWarm(all, missing)
	return nil
}

// contender takes part with the bytes that another gets.
func (p *peer) contender(s setting, t target) *contender {
	return &contender{name: p.name, setting: s, address: p.address, pid: p.pid, target: t, conns: connections}
}

// small deploys the small guest on a node.
func (n *server) small(name string, s setting, event string) (*contender, error) {
	made, err := n.tenant("acme")
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, setting: s, address: n.address, pid: n.PID(), conns: connections, target: noderunTenant(made).target("echo", event, event)}
	return c, n.deploy(made, "echo", echo.Module(), 10)
}

// inGo deploys the guest in Go on a node.
func (n *server) inGo(name string, s setting) (*contender, error) {
	made, err := n.tenant("globex")
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, setting: s, address: n.address, pid: n.PID(), conns: []int{goalConns}, target: noderunTenant(made).target("greeter", greeterEvent, greeterReply)}
	c.target.Prefix = true
	return c, n.deploy(made, "greeter", n.bench.greeter, 10)
}

func (b *bench) interleave(all []*contender) error {
	rounds := pick(b, 3, 1)
	for round := range rounds {
		for _, conns := range connections {
			for i := range all {
				// Each round begins with another server.
				c := all[(i+round)%len(all)]
				if err := b.measureWarm(c, conns); err != nil {
					return fmt.Errorf("%s at %d connections: %w", c.name, conns, err)
				}
			}
		}
	}
	return nil
}

func (b *bench) measureWarm(c *contender, conns int) error {
	if !slices.Contains(c.conns, conns) {
		return nil
	}
	before, err := cpuTime(c.pid)
	if err != nil {
		return err
	}
	r, err := b.load("load", loadSpec{
		Address: c.address, Targets: []target{c.target}, Conns: conns,
		Warm: pick(b, time.Second, 300*time.Millisecond), Measure: pick(b, 3*time.Second, 700*time.Millisecond),
	})
	if err != nil {
		return err
	}
	after, err := cpuTime(c.pid)
	if err != nil {
		return err
	}
	if c.sums == nil {
		c.sums = map[int]*sample{}
	}
	s := c.sums[conns]
	if s == nil {
		s = &sample{}
		c.sums[conns] = s
	}
	s.rates = append(s.rates, float64(r.Calls)/r.Seconds)
	s.p50, s.p99 = append(s.p50, r.P50), append(s.p99, r.P99)
	s.cpu = append(s.cpu, float64((after-before).Nanoseconds())/1000/float64(max(r.All, 1)))
	s.max = max(s.max, r.MaxMicros)
	s.errors += r.Errors
	if s.first == "" {
		s.first = r.Error
	}
	return nil
}

// line is the contender's row at a number of connections.
func (c *contender) line(conns int) *Line {
	s := c.sums[conns]
	if s == nil {
		return nil
	}
	return &Line{
		Name: fmt.Sprintf("%d connections, %s", conns, c.name), Unit: "calls/s", Settings: c.setting.String(),
		Rounds: s.rates, Median: median(s.rates), Errors: s.errors, Note: s.first,
		Micros: map[string]float64{"p50": median(s.p50), "p99": median(s.p99), "max": s.max, "CPU a call": median(s.cpu)},
	}
}

// compareWarm sets each line of the node beside bare net/http of its setting
// and beside workerd, which has no such setting.
func (b *bench) compareWarm(all []*contender, missing string) {
	var lines []*Line
	for _, conns := range connections {
		bare := map[setting]*Line{}
		before := map[setting]*Line{}
		var peer *Line
		var rows []*Line
		for _, c := range all {
			l := c.line(conns)
			if l == nil {
				continue
			}
			rows = append(rows, l)
			if c.setting == (setting{}) {
				peer = l
			} else if c.name == nameBefore {
				before[c.setting] = l
			} else if !strings.HasPrefix(c.name, "carrel") {
				bare[c.setting] = l
			}
		}
		for i, c := range participants(all, conns) {
			if !strings.HasPrefix(c.name, "carrel") {
				continue
			}
			var toBare, toPeer *Goal
			if conns == goalConns && c.name == "carrel write" {
				toBare, toPeer = atLeast(warmGoal), atLeast(workerdGoal)
			}
			rows[i].against("bare", bare[c.setting], toBare)
			rows[i].against("workerd", peer, toPeer)
			if c.name == "carrel write" {
				rows[i].against(nameBefore, before[c.setting], atLeast(beforeGoal))
			}
		}
		lines = append(lines, rows...)
	}
	if missing != "" {
		lines = append(lines, &Line{Name: "workerd", Note: missing})
	}
	b.add("warm", lines)
}

// participants are those that were measured at a number of connections, in
// the order of their lines.
func participants(all []*contender, conns int) (some []*contender) {
	for _, c := range all {
		if c.sums[conns] != nil {
			some = append(some, c)
		}
	}
	return some
}
