//go:build linux

package wasm

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// ask makes a call of the Go reactor and gives its answer without the count
// of calls, which has to be 1.
func ask(t *testing.T, g *Guest, event string) string {
	t.Helper()
	r := run(t, g, invocation(event))
	if r.Status != StatusOK {
		t.Fatalf("%s: %v %s %s", event, r.Status, r.ErrorMessage, r.Log)
	}
	rest, ok := strings.CutPrefix(string(r.Output), "1 ")
	if !ok {
		t.Fatalf("%s: the answer %q is not of a first call", event, r.Output)
	}
	return rest
}

func goGuestOn(t *testing.T, way string) *Guest {
	t.Helper()
	e := engines(t)[way]
	if e == nil {
		t.Skipf("the kernel has no %s", way)
	}
	return loadFD(t, e, goReactor(t))
}

func TestGoReactor(t *testing.T) {
	g := goGuestOn(t, "watch")
	if g.meta.Model != Reactor || !g.meta.Imaged {
		t.Fatalf("built as %+v", g.meta)
	}
	for event, want := range map[string]string{
		`{"op":"echo","text":"hello"}`:          "HELLO",
		`{"op":"context"}`:                      `{"tenant":"acme"}`,
		`{"op":"env"}`:                          "STAGE=test", // declared; what differs per call comes by context
		`{"op":"list"}`:                         "",
		`{"op":"tree"}`:                         "hello5 false", // fmt.Sprint puts no space after a string
		`{"op":"leak"}`:                         "4",
		`{"op":"recurse","n":100000}`:           "100000",
		`{"op":"write","n":100000,"text":"f"}`:  "",
		`{"op":"alloc","n":20}`:                 "20",
		`{"op":"log","n":2000,"text":"hello "}`: "",
	} {
		for range 2 {
			if got := ask(t, g, event); got != want {
				t.Errorf("%s: %q, want %q", event, got, want)
			}
		}
	}
}

func TestGoReactorClocks(t *testing.T) {
	g := goGuestOn(t, "watch")
	now, started, _ := strings.Cut(ask(t, g, `{"op":"clock"}`), " ")
	if started != "2020-01-01T00:00:00Z" {
		t.Errorf("the image was made at %s", started)
	}
	at, err := time.Parse(time.RFC3339Nano, now)
	if err != nil || at.Before(testClock) || at.Sub(testClock) > time.Second || at.Nanosecond()%1e6 != 0 {
		t.Errorf("the guest's time is %s (%v), the call's base %s", now, err, testClock)
	}
	if again, _, _ := strings.Cut(ask(t, g, `{"op":"clock"}`), " "); again != now {
		t.Errorf("an equal call saw the time %s and then %s", now, again)
	}
}

func TestGoReactorRandomFollowsTheSeed(t *testing.T) {
	g := goGuestOn(t, "watch")
	seen := map[string]bool{}
	for i := range 1000 {
		inv := invocation(`{"op":"random"}`)
		inv.Seed = [32]byte{byte(i), byte(i >> 8)}
		r := run(t, g, inv)
		if r.Status != StatusOK || seen[string(r.Output)] {
			t.Fatalf("call %d: %v %s was there before", i, r.Status, r.Output)
		}
		seen[string(r.Output)] = true
	}
	if a, b := ask(t, g, `{"op":"random"}`), ask(t, g, `{"op":"random"}`); a != b {
		t.Fatalf("equal seeds gave %s and %s", a, b)
	}
}

func TestGoReactorFailures(t *testing.T) {
	g := goGuestOn(t, "watch")
	for event, want := range map[string]struct {
		status Status
		kind   string
		part   string
	}{
		`no json`:                                {StatusFunctionError, "BadEvent", "invalid character"},
		`{"op":"nothing"}`:                       {StatusFunctionError, "OpError", "unknown"},
		`{"op":"panic","text":"it"}`:             {StatusTrap, "Runtime.ExitError", "unreachable"},
		`{"op":"exit","n":9}`:                    {StatusExit, "Runtime.ExitError", "exit status 9"},
		`{"op":"alloc","n":100}`:                 {StatusMemory, "Runtime.OutOfMemory", "MemorySize"},
		`{"op":"recurse","n":100000000}`:         {StatusMemory, "Runtime.OutOfMemory", "MemorySize"},
		`{"op":"open","text":"/etc/passwd"}`:     {StatusFunctionError, "OpError", ""},
		`{"op":"write","n":40000000,"text":"f"}`: {StatusFunctionError, "OpError", ""},
		`{"op":"print","n":2000000,"text":"x"}`:  {StatusOutputTooLarge, "Function.ResponseSizeTooLarge", "1048576"},
	} {
		r := run(t, g, invocation(event))
		if r.Status != want.status || r.ErrorType != want.kind || !strings.Contains(r.ErrorMessage, want.part) {
			t.Errorf("%s: %v %s %s, want %+v; log %s", event, r.Status, r.ErrorType, r.ErrorMessage, want, firstLine(fmt.Errorf("%s", r.Log)))
		}
		if got := ask(t, g, `{"op":"echo","text":"ok"}`); got != "OK" {
			t.Errorf("after %s: %s", event, got)
		}
	}
}

func TestGoReactorSleepMovesItsClock(t *testing.T) {
	g := goGuestOn(t, "watch")
	begin := time.Now()
	slept, err := time.ParseDuration(ask(t, g, `{"op":"sleep","n":30}`))
	if real := time.Since(begin); err != nil || slept < 30*time.Millisecond || slept > 40*time.Millisecond || real < 30*time.Millisecond {
		t.Fatalf("a sleep of 30 ms took %v on the guest's clock, %v on ours (%v)", slept, real, err)
	}
}

func TestGoReactorSleepEndsAtTheDeadline(t *testing.T) {
	g := goGuestOn(t, "watch")
	inv := invocation(`{"op":"sleep","n":60000}`)
	inv.Timeout = 20 * time.Millisecond
	inv.Deadline = time.Now().Add(inv.Timeout)
	r := run(t, g, inv)
	if late := time.Since(inv.Deadline); r.Status != StatusTimeout || late > 100*time.Millisecond {
		t.Fatalf("%v, %v after the deadline", r.Status, late)
	}
	if got := ask(t, g, `{"op":"echo","text":"ok"}`); got != "OK" {
		t.Fatal(got)
	}
}

func TestGoReactorFuelIsEqual(t *testing.T) {
	events := []string{`{"op":"echo","text":"hello"}`, `{"op":"tree"}`, `{"op":"alloc","n":30}`, `{"op":"random"}`, `bad`}
	used := map[string]uint64{}
	for way, e := range engines(t) {
		g := loadFD(t, e, goReactor(t))
		for range 3 {
			for _, event := range events {
				r := run(t, g, invocation(event))
				if want, ok := used[event]; ok && want != r.Fuel {
					t.Errorf("%s: %s used %d units and then %d", way, event, want, r.Fuel)
				}
				used[event] = r.Fuel
			}
		}
	}
}

func TestGoCommand(t *testing.T) {
	a := build(t, goGuest(t, "command"))
	if a.Meta.Model != Command || !a.Meta.Imaged {
		t.Fatalf("built as %+v", a.Meta)
	}
	g := loadFD(t, engines(t)["compare"], a)
	for range 3 {
		r := run(t, g, invocation("the event"))
		if r.Status != StatusOK || string(r.Output) != "bootstrap|A=1,B=2|the event" {
			t.Fatalf("%v %s %s", r.Status, r.Output, r.ErrorMessage)
		}
		r = run(t, g, invocation("fail"))
		if want := "RequestId: r-1 Error: Runtime exited with error: exit status 3: no luck today"; r.Status != StatusExit || r.ErrorMessage != want {
			t.Fatalf("%v %s", r.Status, r.ErrorMessage)
		}
	}
}
