//go:build linux

package process

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/examples/echo"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/tenant"
)

// TestWallsChangeUnderLoad moves a function between the walls while it is
// called: no call fails, and once Rewall has returned none begins behind the
// weaker wall.
func TestWallsChangeUnderLoad(t *testing.T) {
	var wall atomic.Uint32
	wall.Store(uint32(isolation.Process))
	h := newKernelHarness(t, func(c *Config) {
		c.WallOf = func(*call.Call) isolation.Wall { return isolation.Wall(wall.Load()) }
	})
	f := h.deploy("111111111111", echo.Module(), small)
	stop := make(chan struct{})
	progress := make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if o := h.run(f, `{"n":1}`); o.Result != call.OK {
					t.Errorf("a call: %v %v", o.Result, o.Err)
					return
				}
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	more := func(n int) {
		for range n {
			select {
			case <-progress:
			case <-time.After(10 * time.Second):
				t.Fatal("calls do not go on")
			}
		}
	}
	for range 2 {
		more(100)
		wall.Store(uint32(isolation.Kernel))
		if err := h.driver.Rewall(t.Context()); err != nil {
			t.Fatal(err)
		}
		moved := time.Now()
		more(100)
		h.driver.eachWorker(func(g *group, w *worker) {
			if last := time.Unix(0, w.lastUse.Load()); g.key.kind == spawner.Worker && last.After(moved) {
				t.Errorf("a call began behind the weaker wall %s after the change", last.Sub(moved))
			}
		})
		wall.Store(uint32(isolation.Process))
		more(100)
	}
	close(stop)
	callers.Wait()
}

// TestWarmBeforeAChange: with Warm the first call behind a new wall finds a
// worker that is there.
func TestWarmBeforeAChange(t *testing.T) {
	var wall atomic.Uint32
	wall.Store(uint32(isolation.Process))
	h := newKernelHarness(t, func(c *Config) {
		c.WallOf = func(*call.Call) isolation.Wall { return isolation.Wall(wall.Load()) }
	})
	f := h.deploy("111111111111", echo.Module(), small)
	h.run(f, "{}")
	before := h.driver.counts.ColdStarts.Load()
	h.driver.Warm(t.Context(), func(*call.Call) isolation.Wall { return isolation.Process })
	if now := h.driver.counts.ColdStarts.Load(); now != before {
		t.Errorf("a change that is none started %d workers", now-before)
	}
	h.driver.Warm(t.Context(), func(c *call.Call) isolation.Wall {
		if c.Owner.Account != f.Account || c.Target.FunctionUID != f.FunctionUID {
			t.Errorf("asked for the wall of %+v", c)
		}
		return isolation.Kernel
	})
	wall.Store(uint32(isolation.Kernel))
	if o := h.run(f, "{}"); o.Result != call.OK || o.Usage.Cold {
		t.Errorf("the first call behind the new wall: %v %v, cold %v", o.Result, o.Err, o.Usage.Cold)
	}
}

// TestDeadSandboxesAreReplaced: one that is killed fails the call that it
// had, and the next call has a new one.
func TestDeadSandboxesAreReplaced(t *testing.T) {
	h := newKernelHarness(t, nil)
	f := h.deploy("111111111111", readGreeter(t), function.Limits{MemoryMB: 64, Timeout: 5 * time.Second})
	if o := h.run(f, `{}`); o.Result != call.OK {
		t.Fatal(o.Err)
	}
	ended := make(chan *call.Outcome)
	go func() { ended <- h.run(f, `{"do":"spin"}`) }()
	for open := false; !open; {
		h.driver.eachWorker(func(_ *group, w *worker) {
			if open = w.open.Load() > 0; open {
				w.proc.Kill()
			}
		})
	}
	if o := <-ended; o.Result != call.PlatformError || !strings.Contains(fmt.Sprint(o.Err), "died") {
		t.Errorf("a call whose sandbox was killed: %v %v", o.Result, o.Err)
	}
	if o := h.run(f, `{}`); o.Result != call.OK {
		t.Errorf("the call after it: %v %v", o.Result, o.Err)
	}
}

// eachWallBenchmark runs a benchmark behind each wall.
func eachWallBenchmark(b *testing.B, bench func(*testing.B, *harness)) {
	b.Run("process", func(b *testing.B) { bench(b, newHarness(b, nil)) })
	b.Run("kernel", func(b *testing.B) { bench(b, newKernelHarness(b, nil)) })
}

// BenchmarkWarmCall is a call of a small module, one at a time.
func BenchmarkWarmCall(b *testing.B) {
	eachWallBenchmark(b, func(b *testing.B, h *harness) {
		f := h.deploy("111111111111", echo.Module(), small)
		h.run(f, "{}")
		times := make([]time.Duration, 0, b.N)
		for b.Loop() {
			begun := time.Now()
			if o := h.run(f, "{}"); o.Result != call.OK {
				b.Fatal(o.Err)
			}
			times = append(times, time.Since(begun))
		}
		reportQuantiles(b, times)
	})
}

// BenchmarkColdCall is the first call of a function when a blank is ready.
func BenchmarkColdCall(b *testing.B) {
	eachWallBenchmark(b, func(b *testing.B, h *harness) {
		f := h.deploy("111111111111", echo.Module(), small)
		pool := h.driver.poolOf(kindOf(h.driver.cfg.WallOf(nil)))
		times := make([]time.Duration, 0, b.N)
		for b.Loop() {
			b.StopTimer()
			for len(pool.ready) == 0 {
			}
			another := *f
			another.FunctionUID = tenant.NewUID()
			b.StartTimer()
			begun := time.Now()
			if o := h.run(&another, "{}"); o.Result != call.OK {
				b.Fatal(o.Err)
			}
			times = append(times, time.Since(begun))
			b.StopTimer()
			h.driver.eachWorker(func(_ *group, w *worker) { w.retire() })
			b.StartTimer()
		}
		reportQuantiles(b, times)
	})
}

// BenchmarkBlank is the making of a blank, and the memory that it has: its
// proportional share of pages, over all its processes (PSS, proc(5)).
func BenchmarkBlank(b *testing.B) {
	eachWallBenchmark(b, func(b *testing.B, h *harness) {
		kind := kindOf(h.driver.cfg.WallOf(nil))
		times := make([]time.Duration, 0, b.N)
		var alive []*blank
		for b.Loop() {
			begun := time.Now()
			blank, err := h.driver.poolOf(kind).spawn()
			if err != nil {
				b.Fatal(err)
			}
			times = append(times, time.Since(begun))
			alive = append(alive, blank)
		}
		pss := 0
		for _, one := range alive {
			pss += pssOf(one.proc.PID)
		}
		b.ReportMetric(float64(pss)/1024/float64(len(alive)), "PSS-MiB")
		reportQuantiles(b, times)
		for _, one := range alive {
			one.discard()
		}
	})
}

// pssOf gives the proportional share of a process and its descendants in KiB.
func pssOf(pid int) (kib int) {
	if f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid)); err == nil {
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "Pss: %d kB", &n); err == nil {
				kib += n
			}
		}
		f.Close()
	}
	var children []byte
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range threads {
		more, _ := os.ReadFile(t)
		children = append(children, more...)
	}
	for _, field := range strings.Fields(string(children)) {
		var child int
		if _, err := fmt.Sscan(field, &child); err == nil {
			kib += pssOf(child)
		}
	}
	return kib
}

func reportQuantiles(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
}
