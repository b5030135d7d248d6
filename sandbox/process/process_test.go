//go:build linux

package process

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/examples/echo"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/sandbox"
	"github.com/carrel-dev/carrel/sandbox/gvisor"
	"github.com/carrel-dev/carrel/sandbox/gvisor/gvisortest"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/tenant"
)

// workerBinary is carrel-worker, and greeter a function in Go, both built
// once for all tests.
var workerBinary, greeter string

func TestMain(m *testing.M) {
	childModes()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "carrel-process-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // workers run as other users
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	workerBinary, greeter = filepath.Join(dir, "carrel-worker"), filepath.Join(dir, "greeter.wasm")
	for _, args := range [][]string{
		{"build", "-o", workerBinary, "../../cmd/carrel-worker"},
		{"build", "-buildmode=c-shared", "-o", greeter, "../../examples/greeter"},
	} {
		c := exec.Command("go", args...)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if strings.Contains(args[1], "buildmode") {
			c.Env = append(c.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		if out, err := c.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %v: %v\n%s", args, err, out)
			return 1
		}
	}
	return m.Run()
}

// harness is a driver with everything around it that is not under test.
type harness struct {
	t         testing.TB
	driver    *Driver
	builder   *Builder
	admission *admit.Controller
	authority *iam.Authority
	records   atomic.Int64
	full      atomic.Bool // the journal takes no records
	written   atomic.Uint64
	mu        sync.Mutex
	artifacts map[function.Digest][]byte
}

type openSnapshot struct{}

func (openSnapshot) Generation() uint64                            { return 1 }
func (openSnapshot) Confirmed() time.Time                          { return time.Now() }
func (openSnapshot) Status(tenant.AccountID) (tenant.Status, bool) { return tenant.Active, true }

func (h *harness) Write(seq uint64) error {
	if seq == 0 && h.full.Load() {
		return errors.New("the disk is full")
	}
	h.written.Store(seq)
	return nil
}

func (h *harness) Record(admit.Ticket, *call.Outcome) uint64 {
	if h.full.Load() {
		return 0
	}
	return uint64(h.records.Add(1))
}

func newHarness(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	return newHarnessOf(t, workerBinary, change)
}

// eachWall runs a test behind each wall there is.
func eachWall(t *testing.T, change func(*Config), test func(*testing.T, *harness)) {
	t.Run("process", func(t *testing.T) { test(t, newHarness(t, change)) })
	t.Run("kernel", func(t *testing.T) {
		test(t, newKernelHarness(t, change))
	})
}

// newKernelHarness is a harness whose calls run behind the wall kernel.
func newKernelHarness(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	runtime := gvisortest.Runtime(t)
	return newHarnessWith(t, workerBinary, &spawner.KernelConfig{Runtime: gvisor.Runtime{Path: runtime}}, func(c *Config) {
		c.WallOf = func(*call.Call) isolation.Wall { return isolation.Kernel }
		if change != nil {
			change(c)
		}
	})
}

func newHarnessOf(t testing.TB, binary string, change func(*Config)) *harness {
	t.Helper()
	return newHarnessWith(t, binary, nil, change)
}

func newHarnessWith(t testing.TB, binary string, kernel *spawner.KernelConfig, change func(*Config)) *harness {
	t.Helper()
	server := spawner.DefaultServerConfig()
	server.Kernel = kernel
	server.Node = "test-" + strings.ToLower(string(tenant.NewUID()[:8]))
	client, err := spawner.Start(spawner.Config{Binary: binary, Server: server})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, artifacts: map[function.Digest][]byte{}}
	h.authority = iamtest.Authority(openSnapshot{})
	h.admission = admit.New(h.authority, func(tenant.AccountID) admit.Plan { return admit.Plans()["unlimited"] }, time.Now)
	cfg := Config{
		Spawner: client, Journal: h, Log: slog.New(slog.DiscardHandler), Now: time.Now, Region: "us-east-1", Blanks: 2,
		Seed: func(id string, n int) (s [32]byte) { copy(s[:], id); return s },
		Artifact: func(_ context.Context, _ tenant.UID, d function.Digest) ([]byte, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.artifacts[d], nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	h.driver = New(cfg)
	h.builder = NewBuilder(h.driver)
	t.Cleanup(func() {
		h.driver.Close()
		client.Close()
	})
	return h
}

// deploy builds a module and gives a target that runs it.
func (h *harness) deploy(account tenant.AccountID, module []byte, limits function.Limits) *function.Target {
	h.t.Helper()
	built := h.build(module, limits)
	uid := tenant.NewUID()
	digest := function.Digest(uid)
	h.mu.Lock()
	h.artifacts[digest] = built.Artifact
	h.mu.Unlock()
	return &function.Target{
		Account: account, AccountSlug: "acme", FunctionUID: uid, Name: "f", Version: "1", Artifact: digest, Model: built.Model,
		Limits: limits, Reserved: -1, ARN: function.ARN("us-east-1", account, "f", "1"),
	}
}

// builtOnce are artefacts that tests share: making one of a Go program takes
// seconds.
var builtOnce sync.Map

func (h *harness) build(module []byte, limits function.Limits) *Built {
	h.t.Helper()
	key := fmt.Sprintf("%x %d", sha256.Sum256(module), limits.MemoryMB)
	if b, found := builtOnce.Load(key); found {
		return b.(*Built)
	}
	built, err := h.builder.Build(context.Background(), Source{Module: module, Limits: limits})
	if err != nil {
		h.t.Fatal(err)
	}
	builtOnce.Store(key, built)
	return built
}

var requests atomic.Int64

func (h *harness) run(target *function.Target, event string) *call.Outcome {
	h.t.Helper()
	return h.stream(target, event, nil)
}

func (h *harness) stream(target *function.Target, event string, to call.Stream) *call.Outcome {
	h.t.Helper()
	account := target.Account
	c := &call.Call{
		RequestID: fmt.Sprintf("00000000-0000-4000-8000-%012d", requests.Add(1)), Attempt: 1,
		Principal: call.Principal{Type: call.TypeUser, ARN: "arn:aws:iam::" + string(account) + ":user/admin", Account: account, AccessKeyID: "AKIA"},
		Owner:     tenant.Identity{Account: account}, Target: target, Trigger: call.ViaInvoke, Event: []byte(event), Received: time.Now(), Stream: to,
	}
	grant, err := h.authority.AuthoriseCall(c)
	if err != nil {
		h.t.Fatal(err)
	}
	ticket, err := h.admission.Admit(context.Background(), grant)
	if err != nil {
		h.t.Fatal(err)
	}
	defer ticket.Release()
	return h.driver.Run(context.Background(), sandbox.Job{Ticket: ticket, Recorder: h})
}

var small = function.Limits{MemoryMB: 128, Timeout: 3 * time.Second}

func readGreeter(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(greeter)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCallsAnswerAndLeaveNothing(t *testing.T) { eachWall(t, nil, testCallsAnswerAndLeaveNothing) }

func testCallsAnswerAndLeaveNothing(t *testing.T, h *harness) {
	echoed := h.deploy("111111111111", echo.Module(), small)
	for _, event := range []string{`{"a":1}`, "", strings.Repeat("x", 100_000)} {
		if o := h.run(echoed, event); o.Result != call.OK || string(o.Payload) != event {
			t.Fatalf("echo of %d bytes: %v %v, %d bytes", len(event), o.Result, o.Err, len(o.Payload))
		}
	}
	greeting := h.deploy("111111111111", readGreeter(t), small)
	for i := range 3 {
		o := h.run(greeting, `{"name":"Ada"}`)
		if want := `{"message":"Hello, Ada!","tenant":"acme","callsIRemember":1}`; o.Result != call.OK || string(o.Payload) != want {
			t.Fatalf("call %d: %v %v %s, want %s", i, o.Result, o.Err, o.Payload, want)
		}
		if cold := i == 0; o.Usage.Cold != cold || o.Usage.Fuel == 0 || (o.Usage.Init > 0) != cold {
			t.Errorf("call %d: usage %+v", i, o.Usage)
		}
	}
	if n := h.records.Load(); n != 6 {
		t.Errorf("%d outcomes were recorded for 6 calls", n)
	}
}

func TestCallWithoutARecordIsNoSuccess(t *testing.T) {
	h := newHarness(t, nil)
	f := h.deploy("111111111111", echo.Module(), small)
	h.full.Store(true)
	if o := h.run(f, "{}"); o.Result != call.PlatformError || o.Payload != nil || !fault.Is(o.Err, fault.Unavailable) {
		t.Errorf("a call whose record the journal did not take: %v %v %s", o.Result, o.Err, o.Payload)
	}
	h.full.Store(false)
	if o := h.run(f, "{}"); o.Result != call.OK {
		t.Errorf("the call after it: %v %v", o.Result, o.Err)
	}
}

func TestCallsAreStoppedAtTheirLimits(t *testing.T) {
	eachWall(t, nil, testCallsAreStoppedAtTheirLimits)
}

func testCallsAreStoppedAtTheirLimits(t *testing.T, h *harness) {
	limits := function.Limits{MemoryMB: 64, Timeout: 300 * time.Millisecond}
	f := h.deploy("111111111111", readGreeter(t), limits)
	h.run(f, `{}`)
	begun := time.Now()
	o := h.run(f, `{"do":"spin"}`)
	if took := time.Since(begun); o.Result != call.TimedOut || !strings.Contains(string(o.Payload), "Task timed out after 0.30 seconds") || took > 2*time.Second {
		t.Errorf("a spinning call: %v %v %s after %s", o.Result, o.Err, o.Payload, took)
	}
	if o := h.run(f, `{"do":"eat"}`); o.Result != call.OutOfMemory && o.Result != call.FunctionError {
		t.Errorf("a call that eats memory: %v %v %s", o.Result, o.Err, o.Payload)
	}
	if o := h.run(f, `{"do":"fail"}`); o.Result != call.FunctionError || !strings.Contains(string(o.Payload), "asked to fail") {
		t.Errorf("a call that fails: %v %v %s", o.Result, o.Err, o.Payload)
	}
	if o := h.run(f, `{"name":"Eve"}`); o.Result != call.OK || !strings.Contains(string(o.Payload), `"callsIRemember":1`) {
		t.Errorf("a call after those: %v %v %s", o.Result, o.Err, o.Payload)
	}
	fueled := *f
	fueled.Limits.Fuel = 2_000_000
	if o := h.run(&fueled, `{"do":"spin"}`); o.Result != call.FunctionError || !strings.Contains(string(o.Payload), "Sandbox.FuelExhausted") {
		t.Errorf("a call out of fuel: %v %v %s", o.Result, o.Err, o.Payload)
	}
}
