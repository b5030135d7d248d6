//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/sandbox/jail/jailtest"
)

func TestMain(m *testing.M) {
	jailtest.Main(m, map[string]jailtest.Child{"eat": eat, "fork": forkMany, "wait": waitForEnd})
}

// eat uses more memory than its group allows.
func eat([]string) int {
	var all [][]byte
	for range 64 {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	runtime.KeepAlive(all)
	return 0
}

// forkMany starts as many processes as it can, up to 40, and exits with
// their number.
func forkMany([]string) int {
	var started []*exec.Cmd
	defer func() {
		for _, c := range started {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}()
	for range 40 {
		c := exec.Command("/proc/self/exe", "wait")
		if c.Start() != nil {
			break
		}
		started = append(started, c)
	}
	return len(started)
}

func waitForEnd([]string) int {
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

func realHost(t *testing.T) *Manager {
	t.Helper()
	m, err := Detect(Host{})
	if err != nil {
		t.Fatal(err)
	}
	if !m.Present() {
		t.Skipf("this host gives user %d no controllers: %v", os.Getuid(), m.Versions())
	}
	return m
}

// inGroup runs a child of the test binary in a group from its first
// instruction.
func inGroup(t *testing.T, g *Group, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if fd, ok := g.FD(); ok {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.EnterThread(); err != nil {
		t.Fatal(err)
	}
	err := cmd.Start()
	if left := g.manager.LeaveThread(); left != nil {
		t.Fatal(left)
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func newGroup(t *testing.T, m *Manager, l Limits) *Group {
	t.Helper()
	g, err := m.Create(fmt.Sprintf("carrel-test-%d-%s", os.Getpid(), t.Name()), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.RemoveWithin(5 * time.Second); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestMemoryLimitKills(t *testing.T) {
	m := realHost(t)
	if m.Versions()[Memory].Number == 0 {
		t.Skip("no memory controller")
	}
	for _, c := range []struct {
		limit uint64
		kills uint64
	}{{64 << 20, 1}, {1 << 30, 0}} {
		t.Run(fmt.Sprint(c.limit>>20), func(t *testing.T) {
			g, err := m.Create(fmt.Sprintf("carrel-test-%d-mem", os.Getpid()), Limits{MemoryBytes: c.limit, PIDs: 64})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := g.RemoveWithin(5 * time.Second); err != nil {
					t.Error(err)
				}
			}()
			err = inGroup(t, g, "eat").Wait()
			kills, readErr := g.OOMKills()
			if readErr != nil || kills != c.kills || (err != nil) != (c.kills > 0) {
				t.Errorf("child: %v, kills %d, %v; want %d", err, kills, readErr, c.kills)
			}
		})
	}
}

func TestPIDsLimitStopsForking(t *testing.T) {
	m := realHost(t)
	if m.Versions()[PIDs].Number == 0 {
		t.Skip("no pids controller")
	}
	g := newGroup(t, m, Limits{PIDs: 24})
	err := inGroup(t, g, "fork").Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() >= 24 || exit.ExitCode() < 1 {
		t.Errorf("limited: %v", err)
	}
	if err := g.SetLimits(Limits{PIDs: 1000}); err != nil {
		t.Fatal(err)
	}
	err = inGroup(t, g, "fork").Wait()
	if !errors.As(err, &exit) || exit.ExitCode() != 40 {
		t.Errorf("with room: %v", err)
	}
}

func TestCPUTimeIsCounted(t *testing.T) {
	m := realHost(t)
	g := newGroup(t, m, Limits{CPUQuota: 500, CPUWeight: 50})
	if err := inGroup(t, g, "eat").Wait(); err != nil {
		t.Fatal(err)
	}
	used, err := g.CPUTime()
	if err != nil || used <= 0 {
		t.Errorf("used %v, %v", used, err)
	}
}

func TestReapKillsAndRemoves(t *testing.T) {
	m := realHost(t)
	prefix := fmt.Sprintf("carrel-reap-%d-", os.Getpid())
	g, err := m.Create(prefix+"1", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Attach(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	names, err := m.Reap(prefix, 5*time.Second)
	if err != nil || !slices.Equal(names, []string{prefix + "1"}) {
		t.Fatalf("reaped %v, %v", names, err)
	}
	if err := <-ended; err == nil {
		t.Error("the process in the group ended well")
	}
	if names, err := m.Leftovers(prefix); err != nil || len(names) != 0 {
		t.Errorf("left: %v, %v", names, err)
	}
}

// fakeHost lays out a host in a folder. files are the control files that
// appear in every group that is made.
func fakeHost(t *testing.T, mountinfo, own string, files ...string) Host {
	t.Helper()
	root := t.TempDir()
	put(t, root, "proc/self/mountinfo", mountinfo)
	put(t, root, "proc/self/cgroup", own)
	return Host{
		Root: root,
		make: func(dir string) error {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			for _, f := range files {
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
					return err
				}
			}
			return nil
		},
		remove: os.RemoveAll,
	}
}

func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want {
		t.Errorf("%s holds %q, %v; want %q", filepath.Base(path), b, err, want)
	}
}

const unifiedMount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"

func TestUnifiedHostWithDelegation(t *testing.T) {
	h := fakeHost(t, unifiedMount, "0::/system.slice/carrel.service\n",
		"memory.max", "memory.swap.max", "cpu.weight", "cpu.max", "pids.max", "cgroup.procs", "memory.events", "cpu.stat")
	own := "sys/fs/cgroup/system.slice/carrel.service/"
	put(t, h.Root, own+"cgroup.controllers", "cpuset cpu io memory pids\n")
	put(t, h.Root, own+"cgroup.subtree_control", "cpu\n")
	m, err := Detect(h)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(h.Root, own, "cgroup.subtree_control"), "+memory +pids")
	for _, c := range controllers {
		if v := m.Versions()[c]; v.Number != 2 {
			t.Errorf("%s: %+v", c, v)
		}
	}
	g, err := m.Create("carrel.n1.7", Limits{MemoryBytes: 1 << 20, CPUQuota: 250, CPUWeight: 200, PIDs: 9})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := g.FD(); !ok {
		t.Error("no descriptor to start a process in")
	}
	dir := filepath.Join(h.Root, own, "carrel.n1.7")
	wantFile(t, filepath.Join(dir, "memory.max"), "1048576")
	wantFile(t, filepath.Join(dir, "memory.swap.max"), "0")
	wantFile(t, filepath.Join(dir, "cpu.max"), "25000 100000")
	wantFile(t, filepath.Join(dir, "cpu.weight"), "200")
	wantFile(t, filepath.Join(dir, "pids.max"), "9")
	if err := g.SetLimits(Limits{}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(dir, "memory.max"), "max")
	wantFile(t, filepath.Join(dir, "cpu.max"), "max 100000")
	wantFile(t, filepath.Join(dir, "cpu.weight"), "100")
	put(t, dir, "cpu.stat", "usage_usec 1500\nuser_usec 1\n")
	put(t, dir, "memory.events", "low 0\noom 1\noom_kill 3\n")
	if d, err := g.CPUTime(); err != nil || d != 1500*time.Microsecond {
		t.Errorf("CPU time %v, %v", d, err)
	}
	if n, err := g.OOMKills(); err != nil || n != 3 {
		t.Errorf("OOM kills %d, %v", n, err)
	}
	if names, err := m.Leftovers("carrel.n1."); err != nil || !slices.Equal(names, []string{"carrel.n1.7"}) {
		t.Errorf("leftovers %v, %v", names, err)
	}
	if _, err := m.Reap("carrel.n1.", time.Second); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

const mixedMounts = `31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 23 0:29 /docker/abc /sys/fs/cgroup/mem\040ory rw shared:4 - cgroup cgroup rw,memory
`

func TestMixedHostDecidesForEachController(t *testing.T) {
	h := fakeHost(t, mixedMounts, "3:memory:/docker/abc/inner\n2:cpu,cpuacct:/\n0::/\n",
		"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "memory.limit_in_bytes", "pids.max", "cpuacct.usage", "memory.oom_control")
	put(t, h.Root, "sys/fs/cgroup/unified/cgroup.controllers", "pids hugetlb\n")
	put(t, h.Root, "sys/fs/cgroup/unified/cgroup.subtree_control", "pids\n")
	for _, dir := range []string{"cpu,cpuacct", "mem ory/inner"} {
		if err := os.MkdirAll(filepath.Join(h.Root, "sys/fs/cgroup", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Detect(h)
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range map[Controller]int{Memory: 1, CPU: 1, CPUAcct: 1, PIDs: 2} {
		if v := m.Versions()[c]; v.Number != want {
			t.Errorf("%s: %+v, want %d", c, v, want)
		}
	}
	g, err := m.Create("g", Limits{MemoryBytes: 4096, CPUQuota: 1, CPUWeight: 1, PIDs: 3})
	if err != nil {
		t.Fatal(err)
	}
	at := func(path string) string { return filepath.Join(h.Root, "sys/fs/cgroup", path) }
	wantFile(t, at("mem ory/inner/g/memory.limit_in_bytes"), "4096")
	wantFile(t, at("cpu,cpuacct/g/cpu.cfs_quota_us"), "1000")
	wantFile(t, at("cpu,cpuacct/g/cpu.shares"), "10")
	wantFile(t, at("unified/g/pids.max"), "3")
	put(t, at("cpu,cpuacct/g"), "cpuacct.usage", "12345\n")
	if d, err := g.CPUTime(); err != nil || d != 12345 {
		t.Errorf("CPU time %v, %v", d, err)
	}
}

func TestAbsentIsReportedNotHidden(t *testing.T) {
	t.Run("nothing mounted", func(t *testing.T) {
		m, err := Detect(fakeHost(t, "1 1 0:1 / / rw - ext4 /dev/sda rw\n", "0::/\n"))
		if err != nil || m.Present() {
			t.Fatalf("%v, %v", m, err)
		}
		for _, c := range controllers {
			if v := m.Versions()[c]; v.Number != 0 || v.Reason == "" {
				t.Errorf("%s: %+v", c, v)
			}
		}
		g, err := m.Create("g", Limits{MemoryBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.CPUTime(); !errors.Is(err, ErrAbsent) {
			t.Errorf("CPU time: %v", err)
		}
	})
	t.Run("not delegated", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("root may write everywhere; runs again as an ordinary user")
		}
		h := fakeHost(t, unifiedMount, "0::/\n")
		put(t, h.Root, "sys/fs/cgroup/cgroup.controllers", "memory\n")
		put(t, h.Root, "sys/fs/cgroup/cgroup.subtree_control", "memory\n")
		folder := filepath.Join(h.Root, "sys/fs/cgroup")
		if err := os.Chmod(folder, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(folder, 0o755) })
		m, err := Detect(h)
		if err != nil {
			t.Fatal(err)
		}
		if v := m.Versions()[Memory]; v.Number != 0 || !strings.Contains(v.Reason, "permission") {
			t.Errorf("%+v", v)
		}
	})
	t.Run("a control file is missing", func(t *testing.T) {
		h := fakeHost(t, unifiedMount, "0::/\n", "memory.max")
		put(t, h.Root, "sys/fs/cgroup/cgroup.controllers", "memory pids\n")
		put(t, h.Root, "sys/fs/cgroup/cgroup.subtree_control", "memory pids\n")
		m, err := Detect(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Create("g", Limits{PIDs: 1}); err == nil {
			t.Error("a group without its limit was made")
		}
		if names, _ := m.Leftovers("g"); len(names) != 0 {
			t.Errorf("left after the failure: %v", names)
		}
	})
}

func TestSharedGroupIsNotEmptied(t *testing.T) {
	h := fakeHost(t, unifiedMount, "0::/\n", "cgroup.procs")
	put(t, h.Root, "own/cgroup.procs", "10\n11\n12\n")
	own := filepath.Join(h.Root, "own")
	if err := emptyInto(own, h.make); err == nil {
		t.Error("three processes were moved")
	}
	put(t, h.Root, "own/cgroup.procs", "10\n")
	if err := emptyInto(own, h.make); err != nil {
		t.Error(err)
	}
	wantFile(t, filepath.Join(own, leaf, "cgroup.procs"), "10")
}

func TestNamesOfGroups(t *testing.T) {
	m := &Manager{host: Host{make: func(string) error { return nil }}}
	for _, name := range []string{"", "..", ".", "a/b", "../x", "a\x00"} {
		if _, err := m.Create(name, Limits{}); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func FuzzMounts(f *testing.F) {
	f.Add(mixedMounts, "3:memory:/docker/abc/inner\n0::/\n")
	f.Add(unifiedMount, "0::/../x\n")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		paths := parseOwn(own)
		for _, m := range parseMounts(mounts) {
			if dir, ok := m.folder(paths); ok && strings.HasPrefix(m.point, "/") && !within(dir, m.point) {
				t.Errorf("%q is not below %q", dir, m.point)
			}
		}
	})
}

func within(dir, point string) bool {
	rel, err := filepath.Rel(point, dir)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func BenchmarkAttach(b *testing.B) {
	m, err := Detect(Host{})
	if err != nil || !m.Present() {
		b.Skip("no controllers")
	}
	g, err := m.Create(fmt.Sprintf("carrel-bench-%d", os.Getpid()), Limits{MemoryBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Remove()
	b.Run("thread in and out", func(b *testing.B) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for b.Loop() {
			if err := errors.Join(g.EnterThread(), m.LeaveThread()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("create and remove", func(b *testing.B) {
		for b.Loop() {
			g, err := m.Create(fmt.Sprintf("carrel-bench2-%d", os.Getpid()), Limits{MemoryBytes: 1 << 30, CPUQuota: 100, PIDs: 10})
			if err == nil {
				err = g.Remove()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
