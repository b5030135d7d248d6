//go:build linux

package spawner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/sandbox/gvisor"
	"github.com/carrel-dev/carrel/sandbox/gvisor/gvisortest"
	"github.com/carrel-dev/carrel/sandbox/jail"
)

func runBox(args []string) int {
	fmt.Fprintln(os.Stderr, gvisor.Box(args[0]))
	return 1
}

// kernelConfig is a configuration with a runtime and one mount of the host.
func kernelConfig(t testing.TB) Config {
	t.Helper()
	cfg := testConfig(t)
	cfg.Server.Kernel = &KernelConfig{Runtime: gvisor.Runtime{Path: gvisortest.Runtime(t)}, TmpBytes: 8 << 20}
	shown := filepath.Join(t.TempDir(), "shown")
	if err := os.WriteFile(shown, []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 { // a spawner without privileges shows what its user reaches
		if err := os.Chmod(filepath.Dir(shown), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Server.Kernel.Mounts = []gvisor.Mount{{Source: shown, Target: "/opt/shown"}}
	return cfg
}

// sandboxMemory suffices for gVisor's kernel and a test binary.
const sandboxMemory = 256 << 20

// runInside is the process inside a sandbox, which does what it is told. It
// has no jail around it: it is an intruder who has got that far.
func runInside(args []string) int {
	if _, err := unix.Write(gvisor.SocketFD, []byte("r")); err != nil {
		return 1
	}
	order := make([]byte, 1)
	for {
		if n, err := unix.Read(gvisor.SocketFD, order); n == 0 || err != nil {
			return 0
		}
		switch order[0] {
		case 'e':
			_, _ = unix.Write(gvisor.SocketFD, []byte("e"))
		case 'x':
			return 42
		case 's':
			fmt.Fprintln(os.Stderr, "said")
		case 'm':
			eat(1 << 30)
		case 'c': // computes on, for good
			go func() {
				for {
				}
			}()
			_, _ = unix.Write(gvisor.SocketFD, []byte("c"))
		case 'b':
			for {
				_, _, _ = syscall.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
			}
		case 'p':
			b, err := json.Marshal(lookAround())
			if err != nil {
				return 1
			}
			_, _ = unix.Write(gvisor.SocketFD, append(b, '\n'))
		}
	}
}

// surroundings are what an intruder finds inside.
type surroundings struct {
	Files    []string          // everything below / but /proc, /dev and /sys
	FDs      []string          // open descriptors
	Env      []string          //
	UID      int               //
	Caps     string            // effective capabilities
	PIDs     []string          // processes in /proc
	Host     string            //
	Links    []string          // network interfaces
	Loopback string            // an echo over 127.0.0.1, and what went wrong
	Shown    string            // the mount's content
	TmpBytes int               // how much fits into /tmp
	Tries    map[string]string // attempts that have to fail, with their errors
	Kernel   string            // what the kernel says it is
}

func lookAround() surroundings {
	s := surroundings{UID: os.Getuid(), Env: os.Environ(), Tries: map[string]string{}}
	_ = filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		if path == "/proc" || path == "/dev" || path == "/sys" {
			return fs.SkipDir
		}
		s.Files = append(s.Files, path)
		return nil
	})
	for fd := range 64 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			s.FDs = append(s.FDs, fmt.Sprint(fd))
		}
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if caps, ok := strings.CutPrefix(line, "CapEff:"); ok {
			s.Caps = strings.TrimSpace(caps)
		}
	}
	pids, _ := filepath.Glob("/proc/[0-9]*")
	s.PIDs = pids
	s.Host, _ = os.Hostname()
	if all, err := net.Interfaces(); err == nil {
		for _, i := range all {
			s.Links = append(s.Links, i.Name)
		}
	}
	version, _ := os.ReadFile("/proc/version")
	s.Kernel = string(version)
	s.Loopback = overLoopback()
	shown, _ := os.ReadFile("/opt/shown")
	s.Shown = string(shown)
	s.TmpBytes = fill("/tmp/filler")
	for name, try := range attempts() {
		s.Tries[name] = "IT WORKED"
		if err := try(); err != nil {
			s.Tries[name] = err.Error()
		}
	}
	return s
}

func overLoopback() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte("hello"))
			c.Close()
		}
	}()
	c, err := net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	b := make([]byte, 5)
	if _, err := c.Read(b); err != nil {
		return err.Error()
	}
	return string(b)
}

// fill writes until nothing fits, and says how much did.
func fill(name string) (n int) {
	f, err := os.Create(name)
	if err != nil {
		return -1
	}
	defer os.Remove(name)
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for n < 64<<20 {
		m, err := f.Write(chunk)
		n += m
		if err != nil {
			return n
		}
	}
	return n
}

// attempts are what no sandbox may do, with the ids of the attacks.
func attempts() map[string]func() error {
	open := func(name string, flags int) func() error {
		return func() error {
			fd, err := unix.Open(name, flags, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	raw := func(number uintptr, args ...uintptr) func() error {
		return func() error {
			var a [3]uintptr
			copy(a[:], args)
			if _, _, errno := syscall.RawSyscall(number, a[0], a[1], a[2]); errno != 0 {
				return errno
			}
			return nil
		}
	}
	return map[string]func() error{
		"A71 write the root":          open("/x", unix.O_CREAT|unix.O_WRONLY),
		"A71 write the worker":        open(gvisor.WorkerPath, unix.O_WRONLY),
		"A71 write a mount":           open("/opt/shown", unix.O_WRONLY),
		"A71 make a mount writable":   func() error { return unix.Mount("", "/opt/shown", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"A71 mount":                   func() error { return unix.Mount("x", "/tmp", "tmpfs", 0, "") },
		"A71 chroot":                  func() error { return unix.Chroot("/tmp") },
		"A70 the host's passwords":    open("/etc/shadow", unix.O_RDONLY),
		"A70 the host's processes":    open("/proc/1/root/etc/passwd", unix.O_RDONLY),
		"A70 kernel memory":           open("/dev/mem", unix.O_RDONLY),
		"A70 kernel log":              open("/dev/kmsg", unix.O_RDONLY),
		"A78 kvm":                     open("/dev/kvm", unix.O_RDWR),
		"A78 host's socket":           open("/run/docker.sock", unix.O_RDWR),
		"A78 make a device":           func() error { return unix.Mknod("/tmp/mem", unix.S_IFCHR|0o666, 1<<8|1) },
		"A78 root":                    func() error { return unix.Setuid(0) },
		"A46 raw socket":              func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP); return err },
		"A46 packet socket":           func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err },
		"A46 metadata service":        func() error { _, err := net.DialTimeout("tcp", "169.254.169.254:80", time.Second); return err },
		"A46 the world":               func() error { _, err := net.DialTimeout("tcp", "192.0.2.1:443", time.Second); return err },
		"A75 bpf":                     raw(unix.SYS_BPF),
		"A75 io_uring":                raw(unix.SYS_IO_URING_SETUP, 1, 0),
		"A75 userfaultfd":             raw(unix.SYS_USERFAULTFD),
		"A75 perf":                    raw(unix.SYS_PERF_EVENT_OPEN),
		"A75 keyctl":                  raw(unix.SYS_KEYCTL, 0, 0, 0),
		"A75 kexec":                   raw(unix.SYS_KEXEC_LOAD),
		"A75 modules":                 raw(unix.SYS_INIT_MODULE),
		"A75 open by handle":          raw(unix.SYS_OPEN_BY_HANDLE_AT),
		"A76 abstract socket of host": func() error { _, err := net.Dial("unix", "@/carrel/test"); return err },
		"A77 trace the first process": func() error { return unix.PtraceAttach(1) },
	}
}

// TestInsideASandbox looks around in a sandbox as an intruder would, and
// finds what a function needs and nothing else (attacks A46 and A67 to A78).
func TestInsideASandbox(t *testing.T) {
	listener, err := net.Listen("unix", "@/carrel/test") // what A76 would reach
	if err == nil {
		defer listener.Close()
	}
	c := startClient(t, kernelConfig(t))
	p := spawn(t, c, KernelNative, Limits{MemoryBytes: sandboxMemory, PIDs: 512})
	tell(t, p, "p")
	line, err := bufio.NewReader(p.Conn).ReadBytes('\n')
	if err != nil {
		t.Fatal(err, stderrOf(p))
	}
	var s surroundings
	if err := json.Unmarshal(line, &s); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/", "/carrel-worker", "/opt", "/opt/shown", "/tmp", "/var", "/var/task"}; !slices.Equal(s.Files, want) {
		t.Errorf("files: %q, want %q", s.Files, want)
	}
	if len(s.Tries) != len(attempts()) {
		t.Errorf("%d of %d attempts were made", len(s.Tries), len(attempts()))
	}
	for name, got := range s.Tries {
		if got == "IT WORKED" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for what, got := range map[string][2]any{
		"user": {s.UID, 65534}, "capabilities": {s.Caps, "0000000000000000"}, "host name": {s.Host, "carrel"},
		"links": {fmt.Sprint(s.Links), "[lo]"}, "loopback": {s.Loopback, "hello"}, "mount": {s.Shown, "of the host"},
		"processes": {fmt.Sprint(s.PIDs), "[/proc/1]"}, "/tmp": {s.TmpBytes, 8 << 20},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %v, want %v", what, got[0], got[1])
		}
	}
	host, _ := os.ReadFile("/proc/version")
	if s.Kernel == "" || s.Kernel == string(host) {
		t.Errorf("the kernel is the host's: %s", s.Kernel)
	}
	for _, v := range s.Env {
		if name, _, _ := strings.Cut(v, "="); name != "GODEBUG" && name != "GOMAXPROCS" && name != "HOME" && name != "PATH" {
			t.Errorf("environment: %s", v)
		}
	}
	// 4 to 6 are the poller of Go's runtime and its wake-up.
	if len(s.FDs) > 7 {
		t.Errorf("descriptors: %q", s.FDs)
	}
}

func TestSandboxesTalkAndEnd(t *testing.T) {
	c := startClient(t, kernelConfig(t))
	if s := c.Status(); !s.Kernel || s.KernelReason != "" {
		t.Fatalf("status: %+v", s)
	}
	begun := time.Now()
	p := spawn(t, c, KernelWorker, Limits{MemoryBytes: sandboxMemory, PIDs: 512})
	t.Logf("a sandbox in %s", time.Since(begun))
	tell(t, p, "es")
	if got := hear(p); got != "e" {
		t.Errorf("echoed %q", got)
	}
	if got := stderrOf(p); got != "said\n" {
		t.Errorf("said %q", got)
	}
	if used, err := p.CPUTime(); errors.Is(err, ErrNoCPUTime) {
		if c.Status().Cgroup["cpuacct"].Number != 0 {
			t.Error("the processor time is not counted")
		}
	} else if err != nil || used < 10*time.Millisecond {
		t.Errorf("processor time %s, %v", used, err)
	}
	tell(t, p, "x")
	if e := p.Wait(); e.Status != 42 {
		t.Errorf("it exited: %+v", e)
	}
	p = spawn(t, c, KernelWorker, Limits{MemoryBytes: sandboxMemory, PIDs: 512})
	family := family(p.PID)
	if len(family) < 3 {
		t.Errorf("processes of a sandbox: %v", family)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); e.Signal != syscall.SIGKILL {
		t.Errorf("killed: %+v", e)
	}
	for _, pid := range family {
		awaitGone(t, pid)
	}
}

// TestSandboxesHitTheirLimits: a fork bomb (A67) and a memory hog (A86) end
// their own sandbox, and a neighbour notices nothing.
func TestSandboxesHitTheirLimits(t *testing.T) {
	c := startClient(t, kernelConfig(t))
	if c.Status().Cgroup["memory"].Number == 0 || c.Status().Cgroup["pids"].Number == 0 {
		t.Skip("no cgroups for this user")
	}
	neighbour := spawn(t, c, KernelWorker, Limits{MemoryBytes: sandboxMemory, PIDs: 512})
	hog := spawn(t, c, KernelWorker, Limits{MemoryBytes: sandboxMemory, PIDs: 512})
	tell(t, hog, "m")
	if e := hog.Wait(); !e.OOMKilled {
		t.Errorf("a memory hog ended: %+v", e)
	}
	bomb := spawn(t, c, KernelWorker, Limits{MemoryBytes: sandboxMemory, PIDs: 128})
	tell(t, bomb, "b")
	deadline := time.After(5 * time.Second)
	select {
	case <-bomb.Done():
	case <-deadline:
		if n := len(family(bomb.PID)); n > 128 {
			t.Errorf("a fork bomb has %d processes", n)
		}
		_ = bomb.Kill()
		bomb.Wait()
	}
	tell(t, neighbour, "e")
	if got := hear(neighbour); got != "e" {
		t.Errorf("the neighbour: %q", got)
	}
}

func TestWithoutARuntimeThereIsNoWallKernel(t *testing.T) {
	missing := testConfig(t)
	missing.Server.Kernel = &KernelConfig{Runtime: gvisor.Runtime{Path: "/nowhere/runsc"}}
	folder := testConfig(t)
	folder.Server.Kernel = &KernelConfig{Runtime: gvisor.Runtime{Path: "/proc"}}
	for name, cfg := range map[string]Config{"none": testConfig(t), "missing": missing, "a folder": folder} {
		c := startClient(t, cfg)
		if s := c.Status(); s.Kernel || !strings.Contains(s.KernelReason, "runsc") && name != "a folder" {
			t.Errorf("%s: status %+v", name, s)
		}
		if _, err := c.Spawn(context.Background(), KernelWorker, Limits{}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
		spawn(t, c, Worker, Limits{}) // the other wall stands
	}
	bad := testConfig(t)
	bad.Server.Kernel = &KernelConfig{Runtime: gvisor.Runtime{Path: "/bin/true"}, Mounts: []gvisor.Mount{{Source: "/dev", Target: "/dev"}}}
	if _, err := Start(bad); !fault.Is(err, fault.Invalid) {
		t.Errorf("a mount of /dev: %v", err)
	}
	if jail.Socket != gvisor.SocketFD {
		t.Error("the socket has two numbers")
	}
}

// TestFrozenSandboxesDoNothing: one whose kernel is stopped answers nothing,
// goes on where it was, and can be killed. That what computes in it is stopped
// first is its worker's part (worker/native TestNothingRunsBetweenCalls).
func TestFrozenSandboxesDoNothing(t *testing.T) {
	c := startClient(t, kernelConfig(t))
	p := spawn(t, c, KernelNative, Limits{MemoryBytes: sandboxMemory, PIDs: 512})
	tell(t, p, "c")
	if got := hear(p); got != "c" {
		t.Fatalf("%q", got)
	}
	used := func() (all time.Duration) {
		for _, pid := range family(p.PID) {
			if one, err := CPUTime(pid); err == nil {
				all += one
			}
		}
		return all
	}
	awaitMore := func(than time.Duration) bool {
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
			if used() > than+20*time.Millisecond {
				return true
			}
		}
		return false
	}
	if !awaitMore(used()) {
		t.Fatal("it does not compute")
	}
	begun := time.Now()
	if err := p.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	froze := time.Since(begun)
	tell(t, p, "e")
	p.Conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if got := hear(p); got == "e" {
		t.Error("a frozen sandbox answers")
	}
	begun = time.Now()
	if err := p.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	thawed := time.Since(begun)
	p.Conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if got := hear(p); got != "e" {
		t.Errorf("a thawed sandbox: %q", got)
	}
	t.Logf("frozen in %s, thawed in %s, answered in %s", froze, thawed, time.Since(begun))
	if !awaitMore(used()) {
		t.Error("a thawed sandbox does not go on")
	}
	if err := p.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); e.Signal != syscall.SIGKILL {
		t.Errorf("a frozen sandbox that was killed: %+v", e)
	}
	if err := p.Thaw(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("thawing a dead one: %v", err)
	}
	jailed := spawn(t, c, Worker, Limits{})
	if err := jailed.Freeze(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("freezing a jailed worker: %v", err)
	}
}

// TestA80NothingOfASandboxIsLeft: a spawner that is killed at any moment of a
// sandbox's life leaves no process, mount or file on the host, and the next
// one removes the cgroup.
func TestA80NothingOfASandboxIsLeft(t *testing.T) {
	cfg := kernelConfig(t)
	mounts := func() string {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := mounts()
	for i := range 10 {
		c, err := Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if n := c.Status().Reaped; i > 0 && n > 2 {
			t.Errorf("round %d: %d cgroups of one sandbox were left", i, n)
		}
		// A sandbox takes about 100 ms to be made: it dies in the midst of that,
		// or, every other time, when it is ready.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		p, err := c.Spawn(ctx, KernelNative, Limits{MemoryBytes: sandboxMemory, PIDs: 512})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			p.Conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if got := hear(p); got != "r" {
				t.Fatalf("%q %s", got, stderrOf(p))
			}
		} else {
			p.Conn.SetReadDeadline(time.Now().Add(time.Duration(i) * 10 * time.Millisecond))
			hear(p)
		}
		all := family(p.PID)
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if e := p.Wait(); !e.Lost {
			t.Errorf("round %d: %+v", i, e)
		}
		for _, pid := range all {
			awaitGone(t, pid)
		}
		_ = p.Close()
		_ = c.Close()
		if after := mounts(); after != before {
			t.Fatalf("round %d: mounts are left: %s", i, after)
		}
	}
	c := startClient(t, cfg) // removes the last one's
	p := spawn(t, c, KernelNative, Limits{MemoryBytes: sandboxMemory, PIDs: 512})
	tell(t, p, "e")
	if got := hear(p); got != "e" {
		t.Errorf("after the kills: %q", got)
	}
}
