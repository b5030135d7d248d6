//go:build linux

package process

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/tenant"
	"github.com/carrel-dev/carrel/worker/wire"
)

// childModes are what this test binary does when a spawner of a test starts
// it: the spawner's own work, and a worker that is in the hands of an
// attacker, as a worker is always assumed to be.
func childModes() {
	if len(os.Args) < 2 {
		return
	}
	switch os.Args[1] {
	case "spawner":
		cfg, err := spawner.ParseServerConfig(os.Args[2])
		if err == nil {
			err = spawner.Serve(jail.Socket, cfg)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "probe":
		os.Exit(jail.Probe())
	case "worker":
		hostileWorker()
		os.Exit(0)
	}
}

// hostileWorker does what the event of a call tells it.
func hostileWorker() {
	send := func(b []byte) { unix.Write(jail.Socket, b) }
	send(wire.AppendReady(nil, wire.ReadyBody{Version: wire.Version, Restore: "none"}))
	var in []byte
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(jail.Socket, buf)
		if err != nil || n == 0 {
			return
		}
		in = append(in, buf[:n]...)
		for {
			h, body, rest, need, err := wire.Next(in, wire.MaxToProcess)
			if err != nil || need > 0 {
				break
			}
			in = rest
			switch h.Type {
			case wire.Load:
				send(wire.AppendLoaded(nil, ""))
			case wire.Run:
				var c wire.RunBody
				if wire.ParseRun(body, &c) == nil {
					attack(string(c.Event), h.Handle, send)
				}
			case wire.HostReply: // only who asks for ever goes on
				send(wire.AppendHostCall(nil, h.Handle, 1, []byte("again")))
			}
		}
	}
}

func attack(what string, handle uint64, send func([]byte)) {
	ok := wire.DoneBody{Output: []byte("fine"), Fuel: 10, Duration: time.Millisecond}
	switch what {
	case "harmless":
		send(wire.AppendDone(nil, handle, &ok))
	case "answer twice":
		send(wire.AppendDone(wire.AppendDone(nil, handle, &ok), handle, &ok))
	case "answer a call that is not open":
		send(wire.AppendDone(nil, handle+1, &ok))
	case "garbage":
		send([]byte(strings.Repeat("\xff", 100)))
	case "a frame larger than any":
		send([]byte{0xff, 0xff, 0xff, 0x7f, byte(wire.Done), wire.Version, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	case "another protocol version":
		b := wire.AppendDone(nil, handle, &ok)
		b[5]++
		send(b)
	case "a frame of the node's own":
		send(wire.AppendLoad(nil, wire.LoadBody{}))
	case "load again":
		send(wire.AppendLoaded(nil, ""))
	case "a result over the limit":
		ok.Output = make([]byte, 7<<20)
		send(wire.AppendDone(nil, handle, &ok))
	case "more log than allowed":
		ok.Log = make([]byte, 1<<20)
		send(wire.AppendDone(nil, handle, &ok))
	case "a status that does not exist":
		ok.Status = 99
		send(wire.AppendDone(nil, handle, &ok))
	case "give back for ever":
		send(wire.AppendReturned(nil, handle))
	case "claim more memory than the limit", "claim years":
		ok.MaxMemory, ok.Duration = 1<<60, 1<<62
		send(wire.AppendDone(nil, handle, &ok))
	case "die":
		os.Exit(7)
	case "work without reporting it":
		for used := (unix.Timespec{}); time.Duration(used.Nano()) < trustSlack+500*time.Millisecond; {
			unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used)
		}
		ok.Fuel, ok.Duration = 1, 1
		send(wire.AppendDone(nil, handle, &ok))
	case "ask for ever":
		send(wire.AppendHostCall(nil, handle, 1, []byte("again")))
	case "ask in the name of a call that is not open":
		send(wire.AppendHostCall(nil, handle+1, 1, []byte("stolen")))
	case "ask twice at once":
		send(wire.AppendHostCall(nil, handle, 1, []byte("wait")))
		send(wire.AppendHostCall(nil, handle, 1, []byte("wait")))
	case "ask and answer in one breath":
		send(wire.AppendDone(wire.AppendHostCall(nil, handle, 1, []byte("stolen")), handle, &ok))
	case "ask after the answer":
		send(wire.AppendHostCall(wire.AppendDone(nil, handle, &ok), handle, 1, []byte("stolen")))
	case "ask with a broken body":
		send(wire.Finish(append(wire.Append(nil, wire.HostCall, handle), 1), 0))
	case "reply to itself":
		send(wire.AppendHostReply(nil, handle, 0, nil))
	case "pieces":
		send(wire.AppendDone(wire.AppendChunk(wire.AppendBegin(nil, handle, "a/b"), handle, []byte("very ")), handle, &ok))
	case "pieces of a call that is not open":
		send(wire.AppendChunk(nil, handle+1, []byte("stolen")))
	case "a piece after the answer":
		send(wire.AppendChunk(wire.AppendDone(nil, handle, &ok), handle, []byte("late")))
	case "a piece without bytes":
		send(wire.AppendChunk(nil, handle, nil))
	case "a content type of two lines":
		send(wire.AppendBegin(nil, handle, "a/b\r\nSet-Cookie: c"))
	case "begin twice":
		send(wire.AppendBegin(wire.AppendBegin(nil, handle, ""), handle, ""))
	case "more pieces than there may be":
		for range call.MaxResult/wire.MaxChunk + 1 {
			send(wire.AppendChunk(nil, handle, make([]byte, wire.MaxChunk)))
		}
	case "never answer":
	}
}

func newHostileHarness(t *testing.T) *harness {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return newHarnessOf(t, self, func(c *Config) {
		c.Blanks = 2
		c.Host = hostFunc(func(ctx context.Context, _ *call.Call, request []byte) []byte {
			switch string(request) {
			case "stolen":
				t.Error("a request in nobody's name was served")
			case "wait":
				<-ctx.Done()
			}
			return nil
		})
	})
}

// target gives a function of an account without a build: the hostile worker
// loads nothing.
func (h *harness) target(account tenant.AccountID) *function.Target {
	uid := tenant.NewUID()
	h.mu.Lock()
	h.artifacts[function.Digest(uid)] = []byte("artefact")
	h.mu.Unlock()
	return &function.Target{
		Account: account, AccountSlug: "acme", FunctionUID: uid, Name: "f", Version: "1", Artifact: function.Digest(uid), Model: function.Reactor,
		Limits: function.Limits{MemoryMB: 128, Timeout: 200 * time.Millisecond}, Reserved: -1, ARN: function.ARN("us-east-1", account, "f", "1"),
	}
}

// TestWorkersAreNotBelieved runs each attack beside another tenant's calls:
// the attacker's call fails with an error that says so, or its claims are cut
// to what can be true; the other tenant notices nothing.
func TestWorkersAreNotBelieved(t *testing.T) {
	h := newHostileHarness(t)
	neighbour := h.target("222222222222")
	for what, want := range map[string]call.Result{
		"harmless":                                   call.OK,
		"answer twice":                               call.OK, // the second answer kills the worker
		"answer a call that is not open":             call.PlatformError,
		"garbage":                                    call.PlatformError,
		"a frame larger than any":                    call.PlatformError,
		"another protocol version":                   call.PlatformError,
		"a frame of the node's own":                  call.PlatformError,
		"load again":                                 call.PlatformError,
		"a result over the limit":                    call.PlatformError,
		"more log than allowed":                      call.PlatformError,
		"a status that does not exist":               call.PlatformError,
		"give back for ever":                         call.PlatformError,
		"claim more memory than the limit":           call.OK,
		"claim years":                                call.OK,
		"die":                                        call.PlatformError,
		"ask for ever":                               call.PlatformError,
		"ask in the name of a call that is not open": call.PlatformError,
		"ask twice at once":                          call.PlatformError,
		"ask and answer in one breath":               call.OK,
		"ask after the answer":                       call.OK, // and it dies of it
		"ask with a broken body":                     call.PlatformError,
		"reply to itself":                            call.PlatformError,
		"pieces":                                     call.OK,
		"pieces of a call that is not open":          call.PlatformError,
		"a piece after the answer":                   call.OK, // and it dies of it
		"a piece without bytes":                      call.PlatformError,
		"a content type of two lines":                call.PlatformError,
		"begin twice":                                call.PlatformError,
		"more pieces than there may be":              call.PlatformError,
		"never answer":                               call.TimedOut,
	} {
		t.Run(what, func(t *testing.T) {
			attacker := h.target("111111111111")
			if want != call.TimedOut { // how far an attack gets in a time is not asked
				attacker.Limits.Timeout = 30 * time.Second
			}
			o := h.run(attacker, what)
			if o.Result != want {
				t.Errorf("the attacker's call: %v %v, want %v", o.Result, o.Err, want)
			}
			if o.Result == call.PlatformError && !strings.Contains(o.Err.Error(), "died") {
				t.Errorf("the error does not say what happened: %v", o.Err)
			}
			if o.Usage.MaxMemory > 128<<20 || o.Usage.Duration > time.Minute {
				t.Errorf("an impossible claim was believed: %+v", o.Usage)
			}
			if n := h.run(neighbour, "harmless"); n.Result != call.OK || string(n.Payload) != "fine" {
				t.Errorf("the neighbour's call: %v %v", n.Result, n.Err)
			}
			// The next call may still meet the worker that is being killed.
			next := h.run(attacker, "harmless")
			for range 20 {
				if next.Result == call.OK {
					break
				}
				next = h.run(attacker, "harmless")
			}
			if next.Result != call.OK {
				t.Errorf("the attacker's calls on a new worker: %v %v", next.Result, next.Err)
			}
		})
	}
	if n := h.driver.counts.Alarms.Load(); n < 14 {
		t.Errorf("%d alarms were raised by these attacks", n)
	}
}

func TestWorkThatIsNotReportedIsAnAlarm(t *testing.T) {
	h := newHostileHarness(t)
	f := h.target("111111111111")
	f.Limits.Timeout = 30 * time.Second
	before := h.driver.counts.Alarms.Load()
	h.run(f, "work without reporting it")
	h.run(f, "harmless") // on another worker, once the first one is gone
	if h.driver.counts.Alarms.Load() == before {
		t.Error("a worker used seconds of processor time, reported a nanosecond, and nobody noticed")
	}
}

// TestCallsBehindASlowOneRunElsewhere: one call of a tenant that does not
// end must not hold up the calls that were sent to the same worker.
func TestCallsBehindASlowOneRunElsewhere(t *testing.T) {
	h := newHarness(t, nil)
	f := h.deploy("111111111111", readGreeter(t), function.Limits{MemoryMB: 64, Timeout: 2 * time.Second})
	h.run(f, `{}`)
	var wg sync.WaitGroup
	wg.Go(func() {
		if o := h.run(f, `{"do":"spin"}`); o.Result != call.TimedOut {
			t.Errorf("the spinning call: %v %v", o.Result, o.Err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 200 { // until one was taken back from behind the spinning one
		if ctx.Err() != nil {
			break
		}
		begun := time.Now()
		if o := h.run(f, `{"name":"Ada"}`); o.Result != call.OK {
			t.Fatalf("a call beside it: %v %v", o.Result, o.Err)
		} else if took := time.Since(begun); took > time.Second {
			t.Fatalf("a call beside it took %s", took)
		}
	}
	wg.Wait()
}

func TestOneTenantsWorkerIsNeverAnothers(t *testing.T) {
	h := newHarness(t, nil)
	module := readGreeter(t)
	f := h.deploy("111111111111", module, small)
	g := *f
	g.Account, g.AccountSlug, g.FunctionUID = "222222222222", "globex", tenant.NewUID()
	g.ARN = function.ARN("us-east-1", g.Account, "f", "1")
	seen := map[uint64]string{}
	for range 4 {
		for _, target := range []*function.Target{f, &g} {
			o := h.run(target, `{"name":"x"}`)
			if o.Result != call.OK || !strings.Contains(string(o.Payload), string(target.AccountSlug)) {
				t.Fatalf("%s: %v %v %s", target.AccountSlug, o.Result, o.Err, o.Payload)
			}
			if owner := seen[o.WorkerID]; owner != "" && owner != string(target.Account) {
				t.Fatalf("worker %d ran calls of %s and %s", o.WorkerID, owner, target.Account)
			}
			seen[o.WorkerID] = string(target.Account)
		}
	}
}

func TestIdleWorkersEndAndRoomIsMade(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxWorkers, c.Blanks, c.Idle = 3, 1, 300*time.Millisecond })
	module := readGreeter(t)
	base := h.deploy("111111111111", module, small)
	for range 6 { // more functions than workers: the idle ones make room
		f := *base
		f.FunctionUID = tenant.NewUID()
		if o := h.run(&f, `{}`); o.Result != call.OK {
			t.Fatalf("%v %v", o.Result, o.Err)
		}
	}
	if h.driver.Workers() > 3 {
		t.Errorf("%d workers at a bound of 3", h.driver.Workers())
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if h.driver.Workers() <= 1 {
			return
		}
		<-tick.C
	}
	t.Errorf("%d workers are left long after the last call, want the blank one", h.driver.Workers())
}
