//go:build linux

package spawner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/sandbox/jail/cgroup"
	"github.com/carrel-dev/carrel/sandbox/jail/jailtest"
)

func TestMain(m *testing.M) {
	jailtest.Main(m, map[string]jailtest.Child{
		"spawner": runSpawner,
		"probe":   func([]string) int { return jail.Probe() },
		"worker":  func([]string) int { return obey(jail.Worker()) },
		"compile": func([]string) int { return obey(jail.Compile()) },
		"node":    runNode,
		"denied":  runDenied,
		"cputime": tellCPUTime,
		"box":     runBox,
		"inside":  runInside,
		"group": func([]string) int {
			b, err := os.ReadFile("/proc/self/cgroup")
			fmt.Printf("%s", b)
			return map[bool]int{true: 0, false: 1}[err == nil]
		},
	})
}

func runSpawner(args []string) int {
	cfg, err := ParseServerConfig(args[0])
	if err == nil {
		err = Serve(jail.Socket, cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// obey is a jailed process that does what it is told over its socket, one
// byte an order.
func obey(p jail.Profile) int {
	if _, err := jail.Enter(p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := unix.Write(jail.Socket, []byte("r")); err != nil {
		return 1
	}
	order := make([]byte, 1)
	for {
		if n, err := unix.Read(jail.Socket, order); n == 0 || err != nil {
			return 0 // the node is gone
		}
		switch order[0] {
		case 'e': // echo
			if _, err := unix.Write(jail.Socket, []byte("e")); err != nil {
				return 1
			}
		case 'x':
			return 42
		case 'i':
			if _, err := unix.Write(jail.Socket, []byte(inventory())); err != nil {
				return 1
			}
		case 's': // standard error
			fmt.Fprintln(os.Stderr, "said")
		case 'l':
			if jail.LockDown(p) != nil {
				return 1
			}
		case 'm': // more memory than it may have
			eat(512 << 20)
		case 'f': // a system call that is not allowed
			_, _ = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		case 'c': // compute, for 50 ms more by its own clock
			for start := ownCPU(); ownCPU()-start < 50*time.Millisecond; {
			}
			if _, err := unix.Write(jail.Socket, []byte("c")); err != nil {
				return 1
			}
		}
	}
}

func ownCPU() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func eat(bytes int) {
	debug.SetGCPercent(-1)
	var all [][]byte
	for range bytes >> 20 {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	runtime.KeepAlive(all)
}

func testConfig(t testing.TB) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultServerConfig()
	cfg.Node = fmt.Sprintf("test-%d-%d", os.Getpid(), nodes.next())
	cfg.Slots = 32
	return Config{Binary: self, Server: cfg}
}

// nodes numbers the spawners of a test run.
var nodes counter

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

func startClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		noGroups(t, cfg.Server.Node)
	})
	return c
}

func noGroups(t testing.TB, node string) {
	t.Helper()
	m, err := cgroup.Detect(cgroup.Host{})
	if err != nil {
		t.Fatal(err)
	}
	if names, err := m.Leftovers("carrel." + node + "."); err != nil || len(names) > 0 {
		t.Errorf("cgroups left: %v, %v", names, err)
	}
}

func spawn(t testing.TB, c *Client, k Kind, l Limits) *Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	p, err := c.Spawn(ctx, k, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if got := hear(p); got != "r" {
		t.Fatalf("not ready: %q, %s", got, stderrOf(p))
	}
	return p
}

func hear(p *Process) string {
	b := make([]byte, 1)
	n, err := p.Conn.Read(b)
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

func tell(t testing.TB, p *Process, order string) {
	t.Helper()
	if _, err := p.Conn.Write([]byte(order)); err != nil {
		t.Fatal(err)
	}
}

func stderrOf(p *Process) string {
	line, _ := bufio.NewReader(io.LimitReader(p.Stderr, 2048)).ReadString('\n')
	return line
}

func TestSpawnTalkExit(t *testing.T) {
	c := startClient(t, testConfig(t))
	for _, kind := range []Kind{Worker, Compile} {
		p := spawn(t, c, kind, Limits{MemoryBytes: 256 << 20, CPUQuota: 1000, PIDs: 64})
		tell(t, p, "ele")
		if a, b := hear(p), hear(p); a != "e" || b != "e" {
			t.Errorf("%s echoed %q %q", kind, a, b)
		}
		tell(t, p, "s")
		if got := stderrOf(p); got != "said\n" {
			t.Errorf("%s said %q", kind, got)
		}
		tell(t, p, "x")
		if e := p.Wait(); e.Status != 42 || e.Signal != 0 || e.CPUTime <= 0 || e.MaxRSS == 0 || e.OOMKilled || e.Lost {
			t.Errorf("%s: %+v", kind, e)
		}
	}
}

func TestStatusTellsWhatIsOn(t *testing.T) {
	c := startClient(t, testConfig(t))
	r := c.Status()
	t.Logf("%+v", r)
	if !r.Seccomp || !r.NoNewPrivs || !r.MemoryCap || len(r.Namespaces) != 6 {
		t.Errorf("mandatory: %+v", r)
	}
	if root := os.Getuid() == 0; r.UniqueUID != root || (r.UniqueUIDReason == "") != root {
		t.Errorf("unique user: %+v", r)
	}
	m, err := cgroup.Detect(cgroup.Host{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range m.Versions() {
		if v := r.Cgroup[name]; v.Number != want.Number || v.Number == 0 && v.Reason == "" {
			t.Errorf("%s: %+v, but the test itself sees %+v", name, v, want)
		}
	}
}

func TestForbiddenCallKills(t *testing.T) {
	c := startClient(t, testConfig(t))
	p := spawn(t, c, Worker, Limits{})
	tell(t, p, "f")
	if e := p.Wait(); e.Signal != syscall.SIGSYS {
		t.Errorf("%+v", e)
	}
}

func TestMemoryLimitHoldsWithAndWithoutCgroup(t *testing.T) {
	c := startClient(t, testConfig(t))
	p := spawn(t, c, Worker, Limits{MemoryBytes: 64 << 20})
	tell(t, p, "m")
	e := p.Wait()
	if c.Status().Cgroup[cgroup.Memory].Number > 0 {
		if !e.OOMKilled || e.Signal != syscall.SIGKILL {
			t.Errorf("cgroup: %+v", e)
		}
	} else if e.Status != 2 || !strings.Contains(stderrOf(p), "fatal error: runtime: ") && e.MaxRSS > 400<<20 {
		t.Errorf("rlimit: %+v", e) // Go ends with status 2 when memory is refused
	}
	roomy := spawn(t, c, Worker, Limits{MemoryBytes: 2 << 30})
	tell(t, roomy, "me")
	if got := hear(roomy); got != "e" {
		t.Errorf("with room: %q, %s", got, stderrOf(roomy))
	}
	ctx := context.Background()
	if err := roomy.SetLimits(ctx, Limits{MemoryBytes: 1 << 30}); err != nil {
		t.Error(err)
	}
	if err := roomy.SetLimits(ctx, Limits{MemoryBytes: 3 << 30, CPUQuota: 100, PIDs: 30}); err != nil {
		t.Error(err)
	}
	tell(t, roomy, "e")
	if got := hear(roomy); got != "e" {
		t.Errorf("after changing limits: %q", got)
	}
	for _, l := range []Limits{{MemoryBytes: 1}, {MemoryBytes: 1 << 50}, {CPUWeight: 10_001}} {
		if err := roomy.SetLimits(ctx, l); !fault.Is(err, fault.Unavailable) {
			t.Errorf("limits %+v: %v", l, err)
		}
	}
}

// tellCPUTime is a node that has dropped its privileges.
func tellCPUTime(args []string) int {
	var pid int
	if _, err := fmt.Sscan(args[0], &pid); err != nil {
		return 2
	}
	if used, err := CPUTime(pid); err != nil || used < 50*time.Millisecond {
		fmt.Println(used, err)
		return 1
	}
	return 0
}

func TestCPUTimeOfAnothersProcess(t *testing.T) {
	c := startClient(t, testConfig(t))
	p := spawn(t, c, Worker, Limits{})
	before, err := p.CPUTime()
	if err != nil {
		t.Fatal(err)
	}
	tell(t, p, "c")
	hear(p)
	after, err := p.CPUTime()
	if err != nil || after-before < 50*time.Millisecond || after-before > 200*time.Millisecond {
		t.Errorf("computing for 50 ms cost %v, %v", after-before, err)
	}
	other := exec.Command("/proc/self/exe", "cputime", fmt.Sprint(p.PID))
	if os.Getuid() == 0 {
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: jailtest.PlainUser, Gid: jailtest.PlainUser}}
	}
	if out, err := other.CombinedOutput(); err != nil {
		t.Errorf("measured by user %d: %v, %s", jailtest.PlainUser, err, out)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); e.Signal != syscall.SIGKILL || e.CPUTime < after {
		t.Errorf("%+v after %v", e, after)
	}
}

func TestManyAtOnceThenSlotsAreReused(t *testing.T) {
	cfg := testConfig(t)
	cfg.Server.Slots = 20
	c := startClient(t, cfg)
	for range 2 {
		users := map[int]bool{}
		var mu sync.Mutex
		var group sync.WaitGroup
		var all []*Process
		for range 20 {
			group.Go(func() {
				p := spawn(t, c, Worker, Limits{MemoryBytes: 128 << 20})
				mu.Lock()
				defer mu.Unlock()
				all = append(all, p)
				users[ownerOf(t, p.PID)] = true
			})
		}
		group.Wait()
		if want := map[bool]int{true: 20, false: 1}[c.Status().UniqueUID]; len(users) != want {
			t.Errorf("%d users for 20 processes", len(users))
		}
		if _, err := c.Spawn(context.Background(), Worker, Limits{}); !fault.Is(err, fault.Throttled) {
			t.Errorf("a process without a slot: %v", err)
		}
		for _, p := range all {
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
		}
		for _, p := range all {
			if e := p.Wait(); e.Signal != syscall.SIGKILL || e.OOMKilled {
				t.Errorf("%+v", e)
			}
		}
	}
}

// ownerOf reads the user id that a process has on the host.
func ownerOf(t testing.TB, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
		return -1
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			var uid int
			if _, err := fmt.Sscan(rest, &uid); err == nil {
				return uid
			}
		}
	}
	return -1
}

func TestStatusOfJailedProcess(t *testing.T) {
	c := startClient(t, testConfig(t))
	p := spawn(t, c, Worker, Limits{})
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.PID))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
			"CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(b), want+"\n") {
				t.Errorf("%s lacks %q", task, want)
			}
		}
	}
}

// awaitGone waits until a process has ended, by its pidfd.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 5000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			t.Errorf("process %d outlived its parent (%v)", pid, err)
		}
		return
	}
}

func TestNothingOutlivesTheSpawner(t *testing.T) {
	cfg := testConfig(t)
	c := startClient(t, cfg)
	var all []*Process
	for range 5 {
		all = append(all, spawn(t, c, Worker, Limits{}))
	}
	pending := make(chan error, 1)
	go func() {
		_, err := c.Spawn(context.Background(), Worker, Limits{})
		pending <- err
	}()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		awaitGone(t, p.PID)
		if e := p.Wait(); !e.Lost {
			t.Errorf("%+v", e)
		}
	}
	<-c.Done()
	<-pending // whether it was quick enough does not matter, but it must come back
	if _, err := c.Spawn(context.Background(), Worker, Limits{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("spawn after the end: %v", err)
	}
	again := startClient(t, cfg)
	if r := again.Status(); r.Cgroup[cgroup.Memory].Number > 0 && r.Reaped < 5 {
		t.Errorf("reaped %d groups", r.Reaped)
	}
}

// runNode is a node that starts three processes, says which, and waits.
func runNode(args []string) int {
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	cfg := DefaultServerConfig()
	cfg.Node, cfg.Slots = args[0], 8
	c, err := Start(Config{Binary: self, Server: cfg})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(c.cmd.Process.Pid)
	for range 3 {
		p, err := c.Spawn(context.Background(), Worker, Limits{})
		if err != nil || hear(p) != "r" {
			return 1
		}
		fmt.Println(p.PID)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

func TestNothingOutlivesTheNode(t *testing.T) {
	name := testConfig(t).Server.Node
	cmd := exec.Command("/proc/self/exe", "node", name)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	lines := bufio.NewScanner(stdout)
	for len(pids) < 4 && lines.Scan() {
		var pid int
		if _, err := fmt.Sscan(lines.Text(), &pid); err != nil {
			t.Fatal(lines.Text())
		}
		pids = append(pids, pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if len(pids) != 4 {
		t.Fatalf("only %v", pids)
	}
	for _, pid := range pids {
		awaitGone(t, pid)
	}
	noGroups(t, name)
}

// TestStartInUnifiedGroup: clone with a group of version 2 goes together with
// the namespaces. Hosts differ in which controllers are there; the group
// itself can be had wherever the hierarchy is mounted.
func TestStartInUnifiedGroup(t *testing.T) {
	const hierarchy = "/sys/fs/cgroup"
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	var folder string
	for _, mount := range []string{hierarchy, hierarchy + "/unified"} {
		if _, err := os.Stat(mount + "/cgroup.controllers"); err == nil {
			folder = fmt.Sprintf("%s/carrel-test-%d", mount, os.Getpid())
		}
	}
	if folder == "" {
		t.Skip("no unified hierarchy is mounted")
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	defer unix.Rmdir(folder)
	group, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	cmd := exec.Command("/proc/self/exe", "group")
	cmd.SysProcAttr = jail.SysProcAttr(jail.Identity{UID: 299998, GID: 299998, Foreign: true})
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), filepath.Base(folder)+"\n") {
		t.Errorf("%v, %s", err, out)
	}
}
