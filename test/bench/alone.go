//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/examples/echo"
	"github.com/carrel-dev/carrel/sandbox/wasm"
)

const (
	restoreGoal   = 6.0  // us, call and restore of the small guest
	goRestoreGoal = 15.0 // us, restore of an image of 2.6 MB with 40 pages dirtied
)

// aloneSpec is the work of the process that calls guests without a node.
type aloneSpec struct {
	Greeter []byte
	Rounds  int
	Each    time.Duration
}

// aloneResult is microseconds a call, by guest and round.
type aloneResult struct {
	Method string
	Micros map[string][]float64
	Load   map[string]float64
}

// workerSetting is what a worker process runs with.
var workerSetting = setting{400, 1}

func (b *bench) alone() error {
	spec := aloneSpec{Greeter: b.greeter, Rounds: pick(b, 7, 3), Each: pick(b, time.Second, 200*time.Millisecond)}
	var r aloneResult
	if err := b.role("alone", workerSetting, spec, &r); err != nil {
		return err
	}
	var lines []*Line
	for _, g := range guestNames {
		l := &Line{Name: "call and restore, " + g, Unit: "us", Settings: workerSetting.String(), Rounds: r.Micros[g],
			Median: median(r.Micros[g]), Note: fmt.Sprintf("%s; loaded in %.3g ms", r.Method, r.Load[g])}
		if g == guestNames[0] {
			l.want(atMost(restoreGoal))
		}
		lines = append(lines, l)
	}
	ways, err := b.restoreWays()
	if err != nil {
		return err
	}
	b.add("alone", append(lines, ways...))
	return nil
}

var guestNames = []string{"echo, 192 KiB, 1 KB event", "greeter, a Go reactor", "greeter, image after a warm-up call"}

// aloneRole calls each guest again and again, as a worker does.
func aloneRole(in io.Reader, out io.Writer) error {
	var spec aloneSpec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return err
	}
	e, err := wasm.NewEngine()
	if err != nil {
		return err
	}
	defer e.Close()
	r := aloneResult{Method: e.RestoreMethod(), Micros: map[string][]float64{}, Load: map[string]float64{}}
	event := []byte(strings.Repeat("x", eventKB<<10))
	sources := []struct {
		wasm.Source
		event []byte
	}{
		{wasm.Source{Module: echo.Module()}, event},
		{wasm.Source{Module: spec.Greeter}, []byte(greeterEvent)},
		{wasm.Source{Module: spec.Greeter, Warmup: []byte(greeterEvent)}, []byte(greeterEvent)},
	}
	for i, s := range sources {
		s.MemoryLimit = 128 << 20
		if err := r.measure(e, guestNames[i], s.Source, callsFor(s.event, spec)); err != nil {
			return fmt.Errorf("%s: %w", guestNames[i], err)
		}
	}
	return json.NewEncoder(out).Encode(r)
}

// callsFor gives what measures one guest.
func callsFor(event []byte, spec aloneSpec) func(*wasm.Guest) ([]float64, error) {
	return func(g *wasm.Guest) (micros []float64, err error) {
		inv := &wasm.Invocation{
			Event: event, Context: []byte(`{"tenantId":"acme"}`), RequestID: "00000000-0000-4000-8000-000000000000",
			ClockBase: time.Now(), LogLimit: 256 << 10, OutputLimit: 6 << 20, Deadline: time.Now().Add(time.Hour), Timeout: time.Hour,
		}
		res := &wasm.Result{}
		run := func() error {
			if err := g.Run(context.Background(), inv, res); err != nil {
				return err
			}
			if res.Status != wasm.StatusOK {
				return fmt.Errorf("%v: %s", res.Status, res.ErrorMessage)
			}
			return nil
		}
		for range 500 { // pages are found and caches filled
			if err := run(); err != nil {
				return nil, err
			}
		}
		for range spec.Rounds {
			begun, calls := time.Now(), 0
			for time.Since(begun) < spec.Each {
				for range 50 {
					if err := run(); err != nil {
						return nil, err
					}
				}
				calls += 50
			}
			micros = append(micros, float64(time.Since(begun).Nanoseconds())/1000/float64(calls))
		}
		return micros, nil
	}
}

func (r *aloneResult) measure(e *wasm.Engine, name string, s wasm.Source, calls func(*wasm.Guest) ([]float64, error)) error {
	a, err := wasm.Build(context.Background(), s)
	if err != nil {
		return err
	}
	fd, size, err := memoryFile(a)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	begun := time.Now()
	g, err := e.LoadFD(context.Background(), fd, size, wasm.LoadConfig{MemoryLimit: s.MemoryLimit})
	if err != nil {
		return err
	}
	defer g.Close()
	r.Load[name] = float64(time.Since(begun).Microseconds()) / 1000
	r.Micros[name], err = calls(g)
	return err
}

// memoryFile puts an artifact where a worker gets it from.
func memoryFile(a *wasm.Artifact) (fd int, size int64, err error) {
	encoded, err := a.MarshalBinary()
	if err != nil {
		return 0, 0, err
	}
	if fd, err = unix.MemfdCreate("artifact", unix.MFD_CLOEXEC); err != nil {
		return 0, 0, err
	}
	for rest := encoded; len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err != nil {
			return 0, 0, errors.Join(err, unix.Close(fd))
		}
		rest = rest[n:]
	}
	return fd, int64(len(encoded)), nil
}

// restoreLine is a result of the engine's own benchmark, which can reach the
// ways to restore that no engine is built with.
var restoreLine = regexp.MustCompile(`^BenchmarkRestore/([^/]+)/(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

const (
	restoreSmall = "192KiB-2dirty"
	restoreGo    = "2.6MiB-40dirty"
	restoreWay   = "hot-cold"
)

// restoreWays compares ways to bring memory back.
func (b *bench) restoreWays() ([]*Line, error) {
	cmd := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkRestore$", "-count", pick(b, "5", "1"),
		"-benchtime", pick(b, "300ms", "100ms"), "github.com/carrel-dev/carrel/sandbox/wasm")
	tied(cmd)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("the engine's benchmark: %w: %.2000s", err, text)
	}
	type key struct{ shape, way string }
	rounds := map[key][]float64{}
	var order []key
	for line := range bytes.Lines(text) {
		m := restoreLine.FindSubmatch(line)
		if m == nil {
			continue
		}
		ns, err := strconv.ParseFloat(string(m[3]), 64)
		if err != nil {
			return nil, err
		}
		k := key{string(m[1]), string(m[2])}
		if rounds[k] == nil {
			order = append(order, k)
		}
		rounds[k] = append(rounds[k], ns/1000)
	}
	if len(order) == 0 {
		return []*Line{{Name: "restore alone", Note: "this kernel cannot watch pages, so the ways cannot be compared"}}, nil
	}
	chosen := map[string]*Line{}
	var lines []*Line
	for _, shape := range []string{restoreSmall, restoreGo} {
		for _, k := range order {
			if k.shape != shape {
				continue
			}
			l := &Line{Name: fmt.Sprintf("restore alone, %s, %s", k.shape, k.way), Unit: "us", Rounds: rounds[k], Median: median(rounds[k])}
			if k.way == restoreWay {
				chosen[shape] = l
				l.Note = "the way that is used"
				if shape == restoreGo {
					l.want(atMost(goRestoreGoal))
				}
			}
			lines = append(lines, l)
		}
		for _, l := range lines {
			if strings.Contains(l.Name, shape) && l != chosen[shape] {
				l.against("the way that is used", chosen[shape], nil)
			}
		}
	}
	return lines, nil
}
