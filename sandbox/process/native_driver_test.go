//go:build linux

package process

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/function/native"
	"github.com/carrel-dev/carrel/sandbox/gvisor"
	"github.com/carrel-dev/carrel/sandbox/gvisor/gvisortest"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/tenant"
)

func newNodeHarness(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	runtime := gvisortest.Runtime(t)
	const node = "/usr/bin/node"
	if _, err := os.Stat(node); err != nil {
		t.Skip("this host has no node")
	}
	mounts, err := gvisor.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	return newHarnessWith(t, workerBinary, &spawner.KernelConfig{Runtime: gvisor.Runtime{Path: runtime}, Mounts: mounts}, func(c *Config) {
		c.Native = &native.Host{Node: native.Interpreter{Path: node, Version: "20.0.0"}}
		if change != nil {
			change(c)
		}
	})
}

// deployNode gives a target that runs a handler in a file of JavaScript.
func (h *harness) deployNode(account tenant.AccountID, code string, limits function.Limits) *function.Target {
	h.t.Helper()
	uid := tenant.NewUID()
	digest := function.Digest(uid)
	h.mu.Lock()
	h.artifacts[digest] = archive(h.t.(*testing.T), "app.js", code)
	h.mu.Unlock()
	return &function.Target{
		Account: account, AccountSlug: "acme", FunctionUID: uid, Name: "f", Version: "1", Artifact: digest, Model: function.Native,
		Runtime: "nodejs20.x", Handler: "app.handler", Environment: []string{"_HANDLER=app.handler"}, Limits: limits, Reserved: -1,
		ARN: "arn:aws:lambda:local:" + string(account) + ":function:f:1",
	}
}

var nodeLimits = function.Limits{MemoryMB: 256, Timeout: 10 * time.Second}

func TestNativeCallsEndInLambdasShapes(t *testing.T) {
	h := newNodeHarness(t, nil)
	for _, c := range []struct {
		name, code, want string
		result           call.Result
		limits           function.Limits
	}{
		{"value", `exports.handler = async (e) => ({ got: e })`, `{"got":{"a":1}}`, call.OK, nodeLimits},
		{"throws", `exports.handler = async () => { throw new Error('boom') }`, `"errorMessage":"boom"`, call.FunctionError, nodeLimits},
		{"exits", `exports.handler = async () => process.exit(3)`, `"errorType":"Runtime.ExitError"`, call.FunctionError, nodeLimits},
		{"loops", `exports.handler = async () => { for (;;); }`, `Task timed out after 1.00 seconds`, call.TimedOut, function.Limits{MemoryMB: 256, Timeout: time.Second}},
		{"sleeps", `exports.handler = () => new Promise(() => setInterval(() => {}, 1000))`, `Task timed out after 1.00 seconds`, call.TimedOut, function.Limits{MemoryMB: 256, Timeout: time.Second}},
		{"hogs memory", `const all = []; exports.handler = async () => { for (;;) all.push(Buffer.alloc(16 << 20, 1)) }`, `"errorType":"Runtime.OutOfMemory"`, call.OutOfMemory, nodeLimits},
		{"kills its worker", `exports.handler = async () => { process.kill(1, 'SIGKILL'); for (;;); }`, `signal: killed`, call.FunctionError, nodeLimits},
		{"no network", `exports.handler = () => new Promise((r) => require('net').connect(80, '192.0.2.1').on('error', (e) => r(e.code)))`, `UNREACH`, call.OK, nodeLimits},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := h.run(h.deployNode("111111111111", c.code, c.limits), `{"a":1}`)
			if o.Result != c.result || !strings.Contains(string(o.Payload), c.want) {
				t.Errorf("%s: %s (%v); want %s with %s", o.Result, o.Payload, o.Err, c.result, c.want)
			}
		})
	}
}

func TestNativeSandboxesRunOneCallAtATime(t *testing.T) {
	h := newNodeHarness(t, nil)
	f := h.deployNode("111111111111", `let calls = 0
exports.handler = async () => { const n = ++calls; await new Promise((r) => setTimeout(r, 300)); return n === calls }`, nodeLimits)
	var wg sync.WaitGroup
	workers := sync.Map{}
	for range 3 {
		wg.Go(func() {
			o := h.run(f, "{}")
			if o.Result != call.OK || string(o.Payload) != "true" {
				t.Errorf("%s: %s (%v)", o.Result, o.Payload, o.Err)
			}
			workers.Store(o.WorkerID, true)
		})
	}
	wg.Wait()
	// A warm one is used again, by its owner only.
	o := h.run(f, "{}")
	if _, used := workers.Load(o.WorkerID); !used || o.Usage.Cold {
		t.Errorf("a call after them ran on a new sandbox %d", o.WorkerID)
	}
	g := *f
	g.Account, g.ARN = "222222222222", "arn:aws:lambda:local:222222222222:function:f:1"
	if o := h.run(&g, "{}"); !o.Usage.Cold {
		t.Error("another account's call ran in a sandbox that was used")
	}
}

func TestFreshSandboxes(t *testing.T) {
	h := newNodeHarness(t, func(c *Config) { c.Fresh = true })
	f := h.deployNode("111111111111", `let calls = 0; exports.handler = async () => ++calls`, nodeLimits)
	for range 3 {
		if o := h.run(f, "{}"); string(o.Payload) != "1" || !o.Usage.Cold {
			t.Errorf("%s: %s, cold %v (%v)", o.Result, o.Payload, o.Usage.Cold, o.Err)
		}
	}
}

func TestNativeBombsEndAlone(t *testing.T) {
	h := newNodeHarness(t, nil)
	victim := h.deployNode("222222222222", `exports.handler = async () => 'well'`, nodeLimits)
	limits := function.Limits{MemoryMB: 256, Timeout: 3 * time.Second}
	if o := h.run(victim, "{}"); o.Result != call.OK {
		t.Fatal(o.Err)
	}
	for name, code := range map[string]string{
		"forks": `const { spawn } = require('child_process')
			if (process.env.BOMB) { for (;;) spawn(process.execPath, ['-e', process.env.BOMB], { stdio: 'ignore' }).on('error', () => {}) }
			exports.handler = () => new Promise(() => { process.env.BOMB = "const { spawn } = require('child_process'); for (;;) spawn(process.execPath, ['-e', process.env.BOMB], { stdio: 'ignore' }).on('error', () => {})"
				setInterval(() => spawn(process.execPath, ['-e', process.env.BOMB], { stdio: 'ignore' }).on('error', () => {}), 1) })`,
		"fills the disk": `const fs = require('fs'); exports.handler = async () => { const fd = fs.openSync('/tmp/x', 'w'); const b = Buffer.alloc(8 << 20, 1); for (;;) fs.writeSync(fd, b) }`,
	} {
		t.Run(name, func(t *testing.T) {
			bomb := h.deployNode("111111111111", code, limits)
			ended := make(chan *call.Outcome)
			go func() { ended <- h.run(bomb, "{}") }()
			for {
				select {
				case o := <-ended:
					if o.Result == call.OK || o.Result == call.PlatformError {
						t.Errorf("%s: %s (%v)", o.Result, o.Payload, o.Err)
					}
					t.Logf("%s: %s", o.Result, o.Payload)
					return
				default:
					if o := h.run(victim, "{}"); o.Result != call.OK {
						t.Fatalf("the victim: %s: %s (%v)", o.Result, o.Payload, o.Err)
					}
				}
			}
		})
	}
}

// TestNativeFunctionsRestBetweenCalls: what a function left running uses no
// processor time until the next call, and then goes on.
func TestNativeFunctionsRestBetweenCalls(t *testing.T) {
	h := newNodeHarness(t, nil)
	f := h.deployNode("111111111111", `let ticks = 0
setInterval(() => { ticks++; for (const end = Date.now() + 5; Date.now() < end;); }, 6)
exports.handler = async () => { const n = ticks; await new Promise((r) => setTimeout(r, 50)); return n }`, nodeLimits)
	if o := h.run(f, "{}"); o.Result != call.OK {
		t.Fatal(o.Err, string(o.Payload))
	}
	var w *worker
	h.driver.eachWorker(func(_ *group, one *worker) { w = one })
	frozen := func() bool {
		w.ice.mu.Lock()
		defer w.ice.mu.Unlock()
		return w.ice.frozen
	}
	for deadline := time.Now().Add(10 * time.Second); !frozen(); {
		if time.Now().After(deadline) {
			t.Fatal("it is not frozen")
		}
		<-time.After(5 * time.Millisecond)
	}
	before, err := w.proc.CPUTime()
	if err != nil {
		t.Skip(err)
	}
	<-time.After(200 * time.Millisecond)
	if after, _ := w.proc.CPUTime(); after-before > 20*time.Millisecond {
		t.Errorf("it used %s while it was frozen", after-before)
	}
	begun := time.Now()
	o := h.run(f, "{}")
	if o.Result != call.OK || o.Usage.Cold {
		t.Errorf("a call of it, frozen: %v %v %s", o.Result, o.Err, o.Payload)
	}
	t.Logf("a call of 50 ms after a freeze took %s", time.Since(begun))
	// Calls race with the freezing.
	for i := range 20 {
		<-time.After(freezeAfter + time.Duration(i-10)*time.Millisecond)
		if o := h.run(f, "{}"); o.Result != call.OK {
			t.Fatalf("call %d: %v %v %s", i, o.Result, o.Err, o.Payload)
		}
	}
}

// TestNativeTimes prints how long calls take; it holds them to nothing, since
// the machine may be busy.
func TestNativeTimes(t *testing.T) {
	h := newNodeHarness(t, nil)
	h.driver.PrepareKernel(spawner.KernelNative)
	f := h.deployNode("111111111111", `exports.handler = async (e) => e`, nodeLimits)
	begun := time.Now()
	h.run(f, "1")
	cold := time.Since(begun)
	var warm []time.Duration
	for range 50 {
		begun := time.Now()
		if o := h.run(f, "1"); o.Result != call.OK {
			t.Fatal(o.Err)
		}
		warm = append(warm, time.Since(begun))
	}
	slices.Sort(warm)
	t.Logf("cold %s, warm p50 %s", cold, warm[len(warm)/2])
}
