//go:build linux

package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/jail/jailtest"
)

var profiles = []string{"worker", "compile"}

func TestHarmlessWorkLives(t *testing.T) {
	t.Parallel()
	for name := range everydayWork() {
		for _, where := range []stage{free, inside, locked} {
			for _, p := range profiles {
				c := start(t, place{where, p}, name)
				if name == "find written pages" && c.Errno == syscall.ENOSYS {
					t.Skip("this kernel has no asynchronous write protection")
				}
				if !c.state.Success() || !c.Done || c.Errno != 0 {
					t.Errorf("%s, %s, %s: %v, %v, %s", name, where, p, c.state, c.Errno, c.stderr)
				}
			}
		}
	}
}

func TestAttacksDie(t *testing.T) {
	t.Parallel()
	for name := range attacks() {
		for _, at := range []place{{inside, "worker"}, {locked, "worker"}, {locked, "compile"}} {
			expectKilled(t, at, name)
		}
	}
}

func expectKilled(t *testing.T, at place, name string) {
	t.Helper()
	if c := start(t, at, name); !c.Reached || c.Done || !c.killedBy(syscall.SIGSYS) {
		t.Errorf("%s, %v: %v, %+v, %s", name, at, c.state, c.outcome, c.stderr)
	}
}

// TestLockDown shows what the second filter takes away: before it these calls
// come back, with whatever result.
func TestLockDown(t *testing.T) {
	t.Parallel()
	for name := range lateAttacks() {
		for _, p := range profiles {
			if c := start(t, place{inside, p}, name); !c.Done || !c.state.Success() {
				t.Errorf("%s before the lock-down of %s: %v, %s", name, p, c.state, c.stderr)
			}
		}
		expectKilled(t, place{locked, "worker"}, name)
	}
	for _, name := range []string{"map code", "make memory code"} {
		if c := start(t, place{locked, "compile"}, name); !c.Done || c.Errno != 0 {
			t.Errorf("%s in a compile process: %v, %v", name, c.state, c.Errno)
		}
	}
}

// TestControls shows that the attacks work where nothing forbids them, for
// those that do no harm. Without that the tests above could prove nothing.
func TestControls(t *testing.T) {
	t.Parallel()
	working := []string{
		"open a file", "list the root", "inet socket", "unix socket", "netlink socket", "fork", "memory file", "trace me",
		"kill", "set user", "inotify", "epoll", "event descriptor", "duplicate a descriptor", "prctl but for a name",
		"writable code", "map code", "make memory code", "become dumpable", "survive the parent", "raise a limit",
	}
	for _, name := range working {
		if os.Getuid() != 0 && (name == "kill" || name == "set user") {
			continue // not this user's to do outside either
		}
		if c := start(t, place{free, "worker"}, name); !c.Done || c.Errno != 0 {
			t.Errorf("%s does not work without the jail: %v, %v, %s", name, c.state, c.Errno, c.stderr)
		}
	}
	if hasX32 {
		// Whether these kernels have the other ABIs at all is told, not demanded.
		for _, name := range []string{"x32 call", "i386 call", "io_uring", "userfaultfd", "keyctl", "bpf", "perf"} {
			c := start(t, place{free, "worker"}, name)
			t.Logf("%s without the jail: done %v, %v, %v", name, c.Done, c.Errno, c.state)
		}
	}
}

// TestBombs: what is limited by rlimit ends the process, not the host.
func TestBombs(t *testing.T) {
	t.Parallel()
	for name := range bombs {
		c := start(t, place{locked, "worker"}, "bomb: "+name)
		if !c.Reached || c.Done || c.state.ExitCode() != 2 {
			t.Errorf("%s: %v, %.300s", name, c.state, c.stderr)
		}
	}
}

// TestLayersHoldAlone tries attacks with everything on but the filter.
func TestLayersHoldAlone(t *testing.T) {
	t.Parallel()
	env := aHost(t)
	for name := range layerAttacks() {
		c := start(t, place{layers, "worker"}, name, env...)
		if !c.Done || c.Errno == 0 || c.Errno == syscall.EINVAL {
			t.Errorf("%s: %v, %v, %s", name, c.state, c.Errno, c.stderr)
		}
	}
	for _, name := range []string{
		"layer: read a file of the host", "layer: see processes", "layer: climb out",
		"layer: reach the host's network", "layer: reach it by datagram", "layer: signal the host",
	} {
		if c := start(t, place{free, "worker"}, name, env...); !c.Done || c.Errno != 0 {
			t.Errorf("%s does not work without the jail: %v, %v", name, c.state, c.Errno)
		}
	}
}

// aHost is what layerAttacks aim at: a listening port and a process.
func aHost(t *testing.T) []string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return []string{
		fmt.Sprintf("PORT=%d", listener.Addr().(*net.TCPAddr).Port),
		fmt.Sprintf("PID=%d", os.Getpid()),
	}
}

// TestLandlockHoldsAlone tries what landlock guards without any namespace.
func TestLandlockHoldsAlone(t *testing.T) {
	t.Parallel()
	env := aHost(t)
	for name, abi := range map[string]int{
		"layer: read a file of the host": 1, "layer: write to the root": 1, "layer: reach the host's network": 4,
	} {
		c := start(t, place{fenced, "worker"}, name, env...)
		if c.Report.Landlock < abi {
			t.Logf("%s: this kernel's landlock has ABI %d, not %d", name, c.Report.Landlock, abi)
			continue
		}
		if !c.Done || c.Errno != syscall.EACCES {
			t.Errorf("%s: %v, %v", name, c.state, c.Errno)
		}
	}
}

// TestOrder pins the steps and their order; doc.go says why it is this one.
func TestOrder(t *testing.T) {
	t.Parallel()
	var got []string
	for _, s := range start(t, place{inside, "worker"}, "nothing").Report.Steps {
		got = append(got, s.Name)
	}
	want := []string{
		"check memory cap", "start the runtime's poller", "empty root", "resource limits", "no new privileges",
		"landlock", "lock capabilities", "drop capabilities", "system call filter",
	}
	if !slices.Equal(got, want) {
		t.Errorf("steps: %q", got)
	}
}

func TestNamespacesAreOwn(t *testing.T) {
	t.Parallel()
	ours, err := namespaces()
	if err != nil {
		t.Fatal(err)
	}
	theirs := start(t, place{inside, "worker"}, "namespaces").Found
	if len(theirs) != len(ours) {
		t.Fatalf("found %q", theirs)
	}
	for i := range ours {
		if ours[i] == theirs[i] {
			t.Errorf("%s is the host's", ours[i])
		}
	}
}

// TestInventory lists what a jailed process starts with (A69): the standard
// three, its socket, and what the child itself and its runtime opened; nothing
// of the parent.
func TestInventory(t *testing.T) {
	secret, err := unix.FcntlInt(2, unix.F_DUPFD, 40)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(secret)
	defer unix.Close(secret)
	want := []string{
		"descriptor 0", "descriptor 1", "descriptor 2", "descriptor 3", // standard, Socket
		"descriptor 4", "descriptor 5", "descriptor 6", "descriptor 7", // pagemap, userfaultfd, epoll, its event
		"environment GOMAXPROCS=1", "environment GODEBUG=containermaxprocs=0,updatemaxprocs=0",
	}
	if fd, ok := jailtest.OpenUserfault(); ok {
		unix.Close(fd)
	} else {
		want = slices.Delete(want, 7, 8)
	}
	if c := start(t, place{inside, "worker"}, "inventory"); !slices.Equal(c.Found, want) {
		t.Errorf("found %q", c.Found)
	}
}

// TestFailedStepIsNamed: without a part that is mandatory there is no jail,
// and the error says which step, and what to do.
func TestFailedStepIsNamed(t *testing.T) {
	t.Parallel()
	c := start(t, place{nearly, "worker"}, "nothing")
	for _, want := range []string{`step "empty root" failed`, "operation not permitted", "seccomp=unconfined"} {
		if c.Reached || !strings.Contains(c.Error, want) {
			t.Errorf("%v, %q lacks %q", c.state, c.Error, want)
		}
	}
}

// TestCapabilitiesStayLost shows that locked securebits keep user 0 of the
// namespace from getting capabilities by exec, which is what the bounding set
// would otherwise have to be emptied for.
func TestCapabilitiesStayLost(t *testing.T) {
	t.Parallel()
	for where, none := range map[stage]bool{bereft: false, closed: true} {
		c := start(t, place{where, "worker"}, "exec and look")
		if !c.Done || len(c.Found) != 1 || (c.Found[0] == "0 0") != none {
			t.Errorf("%s: %v, %+v, %s", where, c.state, c.outcome, c.stderr)
		}
	}
}

func TestEnterRefusesWithoutMemoryCap(t *testing.T) {
	err := fmt.Errorf("step: %w", errNoMemoryCap)
	if got := Remedy(err, func(string) string { return "" }); !strings.Contains(got, "RLIMIT_DATA") {
		t.Error(got)
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &now); err != nil {
		t.Fatal(err)
	}
	if now.Max < 1<<62 {
		t.Skip("the test itself runs under a hard RLIMIT_DATA")
	}
	open := now
	open.Cur = open.Max
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &open); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_DATA, &now) }()
	if err := checkMemoryCap(); !errors.Is(err, errNoMemoryCap) {
		t.Errorf("without a cap: %v", err)
	}
}

// TestRemedies: each way in which a host denies the jail has its own advice.
func TestRemedies(t *testing.T) {
	for _, c := range []struct {
		err      error
		settings map[string]string
		want     string
	}{
		{unix.ENOSPC, map[string]string{"user/max_user_namespaces": "0"}, "sysctl -w user.max_user_namespaces=15000"},
		{unix.ENOSPC, map[string]string{"user/max_user_namespaces": "96365", "user/max_net_namespaces": "0"}, "sysctl -w user.max_net_namespaces=15000"},
		{unix.ENOSPC, nil, "user.max_user_namespaces"},
		{unix.EPERM, map[string]string{"kernel/unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone=1"},
		{unix.EACCES, map[string]string{"kernel/apparmor_restrict_unprivileged_userns": "1"}, "kernel.apparmor_restrict_unprivileged_userns=0"},
		{unix.EPERM, nil, "seccomp=unconfined"},
		{unix.EINVAL, nil, "CONFIG_USER_NS"},
		{unix.ENOTSUP, nil, "CGO_ENABLED=0"},
		{unix.EIO, nil, "carrel-worker probe"},
	} {
		err := fmt.Errorf("clone: %w", c.err)
		if got := Remedy(err, func(name string) string { return c.settings[name] }); !strings.Contains(got, c.want) {
			t.Errorf("%v with %v: %q lacks %q", c.err, slices.Collect(maps.Keys(c.settings)), got, c.want)
		}
	}
}

// BenchmarkEnter starts a process in the jail and prints the median of each
// step of Enter, as the process itself measured it.
func BenchmarkEnter(b *testing.B) {
	took := map[string][]time.Duration{}
	for b.Loop() {
		ours, theirs, err := pair()
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command("/proc/self/exe", "attempt", string(locked), "worker", "nothing")
		cmd.Env = []string{"GOMAXPROCS=1"}
		cmd.ExtraFiles = []*os.File{theirs}
		cmd.SysProcAttr = SysProcAttr(testIdentity())
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		theirs.Close()
		var o outcome
		if err := json.NewDecoder(ours).Decode(&o); err != nil || o.Error != "" {
			b.Fatal(err, o.Error)
		}
		_ = cmd.Wait()
		ours.Close()
		for _, s := range o.Report.Steps {
			took[s.Name] = append(took[s.Name], s.Took)
		}
	}
	for name, all := range took {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1000, strings.ReplaceAll(name, " ", "-")+"-us")
	}
}
