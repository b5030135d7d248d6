//go:build linux

package spawner

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/sandbox/jail/cgroup"
)

func TestMalformedMessageEndsTheSpawner(t *testing.T) {
	for name, b := range map[string][]byte{
		"short": {version}, "long": make([]byte, requestSize+100), "zero": make([]byte, requestSize),
	} {
		c := startClient(t, testConfig(t))
		p := spawn(t, c, Worker, Limits{})
		if _, err := c.conn.Write(b); err != nil {
			t.Fatal(err)
		}
		awaitGone(t, p.PID)
		<-c.Done()
		if e := p.Wait(); e.Signal != syscall.SIGKILL {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// TestRefusedRequests sends requests of good form that cannot be met; the
// spawner says so and goes on.
func TestRefusedRequests(t *testing.T) {
	cfg := testConfig(t)
	cfg.Server.Slots = 4
	c := startClient(t, cfg)
	for _, l := range []Limits{{MemoryBytes: 1}, {MemoryBytes: cfg.Server.MaxMemoryBytes + 1}, {CPUWeight: 10_001}} {
		if _, err := c.Spawn(context.Background(), Worker, l); !fault.Is(err, fault.Unavailable) {
			t.Errorf("limits %+v: %v", l, err)
		}
	}
	for _, r := range []request{
		{op: opSpawn, kind: Worker, slot: 4},
		{op: opSpawn, kind: Worker, slot: 1<<32 - 1},
		{op: opKill, slot: 2, pid: 1},
		{op: opKill, slot: 9, pid: uint32(os.Getpid())},
		{op: opLimits, slot: 9, pid: 1},
	} {
		if err := c.write(r); err != nil {
			t.Fatal(err)
		}
	}
	p := spawn(t, c, Worker, Limits{})
	if err := c.write(request{op: opSpawn, kind: Worker, slot: p.Slot}); err != nil { // taken
		t.Fatal(err)
	}
	if err := c.write(request{op: opKill, slot: p.Slot, pid: uint32(p.PID) + 1}); err != nil { // another's
		t.Fatal(err)
	}
	tell(t, p, "e")
	if got := hear(p); got != "e" {
		t.Errorf("after refused requests: %q", got)
	}
}

func TestCancelledSpawnLeavesNothing(t *testing.T) {
	cfg := testConfig(t)
	cfg.Server.Slots = 1
	c := startClient(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Spawn(ctx, Worker, Limits{}); err != nil && !fault.Is(err, fault.Timeout) {
		t.Fatal(err)
	}
	for { // the only slot comes back as soon as the process is gone
		p, err := c.Spawn(context.Background(), Worker, Limits{})
		if err == nil {
			_ = p.Close()
			return
		}
		if !fault.Is(err, fault.Throttled) {
			t.Fatal(err)
		}
	}
}

// TestSignalsForTheNodeSpareTheSpawner: a terminal sends ^C to everybody, but
// a node that drains still needs its workers.
func TestSignalsForTheNodeSpareTheSpawner(t *testing.T) {
	c := startClient(t, testConfig(t))
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := c.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	p := spawn(t, c, Worker, Limits{})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	awaitGone(t, p.PID)
}

// TestNothingIsInherited: what the node holds open or has in its environment
// is not to be found in a jailed process (A69).
func TestNothingIsInherited(t *testing.T) {
	t.Setenv("CARREL_TEST_SECRET", "of the node")
	leak, err := unix.FcntlInt(2, unix.F_DUPFD, 60) // without close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	c := startClient(t, testConfig(t))
	p := spawn(t, c, Worker, Limits{})
	tell(t, p, "i")
	line, err := bufio.NewReader(p.Conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	// 4 and 5 are the poller of Go's runtime.
	want := "0 1 2 3 4 5 " + strings.Join(environment(Worker), " ") + " carrel-worker worker\n"
	if line != want {
		t.Errorf("found %q, want %q", line, want)
	}
}

// inventory is what a jailed process can see of what it was started with.
func inventory() string {
	var found []string
	for fd := range 1024 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			found = append(found, fmt.Sprint(fd))
		}
	}
	found = append(found, os.Environ()...)
	return strings.Join(append(found, os.Args...), " ") + "\n"
}

// TestBinaryThatOthersMayNotRead: root's umask does not keep unprivileged
// workers from starting.
func TestBinaryThatOthersMayNotRead(t *testing.T) {
	cfg := testConfig(t)
	b, err := os.ReadFile(cfg.Binary)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Binary = filepath.Join(t.TempDir(), "carrel-worker")
	if err := os.WriteFile(cfg.Binary, b, 0o700); err != nil {
		t.Fatal(err)
	}
	c := startClient(t, cfg)
	p := spawn(t, c, Worker, Limits{})
	tell(t, p, "e")
	if got := hear(p); got != "e" {
		t.Errorf("%q", got)
	}
}

// runDenied is a node on a host where no user namespace can be made.
func runDenied([]string) int {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0o644); err != nil {
		fmt.Println(err)
		return 2
	}
	self, err := os.Executable()
	if err != nil {
		return 2
	}
	cfg := DefaultServerConfig()
	cfg.Node, cfg.BaseUID = "denied", 0
	c, err := Start(Config{Binary: self, Server: cfg})
	if err == nil {
		_ = c.Close()
		return 0
	}
	fmt.Println(fault.KindOf(err), err)
	return 1
}

func TestStartIsRefusedWithRemedy(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "denied")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 || !strings.HasPrefix(string(out), "unavailable ") ||
		!strings.Contains(string(out), "sysctl -w user.max_user_namespaces=15000") {
		t.Errorf("%v, %s", err, out)
	}
}

func TestMissingBinary(t *testing.T) {
	cfg := testConfig(t)
	cfg.Binary = filepath.Join(t.TempDir(), "carrel-worker")
	if _, err := Start(cfg); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "Install carrel-worker") {
		t.Error(err)
	}
	cfg.Server.Node = "../etc"
	if _, err := Start(cfg); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

// TestKilledAtAnyMoment kills spawners while they start and end processes; no
// process and no cgroup may be left (A80).
func TestKilledAtAnyMoment(t *testing.T) {
	random := testrounds.Rand(t)
	cfg := testConfig(t)
	cfg.Server.BaseUID = 310_000 + 100*uint32(random.IntN(1000))
	for range testrounds.Rounds(t) {
		c, err := Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var pids []int
		var mu sync.Mutex
		var group sync.WaitGroup
		enough := make(chan struct{}, 16)
		for range 8 {
			group.Go(func() {
				for {
					p, err := c.Spawn(context.Background(), Worker, Limits{})
					enough <- struct{}{}
					if err != nil {
						return
					}
					mu.Lock()
					pids = append(pids, p.PID)
					mu.Unlock()
					_ = p.Kill()
					p.Wait()
					_ = p.Close()
				}
			})
		}
		for range random.IntN(20) {
			<-enough
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		drained := make(chan struct{})
		go func() {
			group.Wait()
			close(drained)
		}()
		for open := true; open; {
			select {
			case <-enough:
			case <-drained:
				open = false
			}
		}
		for _, pid := range pids {
			awaitGone(t, pid)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if os.Getuid() == 0 {
			noProcessOf(t, cfg.Server)
		}
	}
	startClient(t, cfg) // reaps; its clean-up looks for groups
	if os.Getuid() == 0 {
		m, err := cgroup.Detect(cgroup.Host{})
		if err != nil {
			t.Fatal(err)
		}
		if names, err := m.Leftovers("carrel." + cfg.Server.Node + "."); err != nil || len(names) > 0 {
			t.Errorf("the next spawner left %v, %v", names, err)
		}
	}
}

// noProcessOf waits for the end of every process that runs as a user of the
// spawner's slots.
func noProcessOf(t *testing.T, cfg ServerConfig) {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		var st unix.Stat_t
		if unix.Stat(f+"/status", &st) != nil {
			continue
		}
		b, err := os.ReadFile(f + "/status")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			if len(fields) < 2 || fields[0] != "Uid:" {
				continue
			}
			var uid uint32
			if _, err := fmt.Sscan(fields[1], &uid); err == nil && uid >= cfg.BaseUID && uid < cfg.BaseUID+cfg.Slots {
				var pid int
				if _, err := fmt.Sscan(filepath.Base(f), &pid); err == nil {
					awaitGone(t, pid)
				}
			}
		}
	}
}

func TestIdentities(t *testing.T) {
	cfg := DefaultServerConfig()
	id := identities{base: cfg.BaseUID, unique: true}
	seen := map[int]bool{}
	for slot := range cfg.Slots {
		i := id.of(slot)
		if seen[i.UID] || i.UID != i.GID || !i.Foreign || i.UID < int(cfg.BaseUID) {
			t.Fatalf("slot %d: %+v", slot, i)
		}
		seen[i.UID] = true
	}
	if i := (identities{}).of(3); i.UID == 0 {
		t.Errorf("without users of their own slots run as %+v", i)
	}
	dir := t.TempDir()
	for text, want := range map[string]bool{
		"0 0 4294967295\n":                    true,
		"0 100000 65536\n":                    false,
		"0 1000 1\n1 100000 199999\n":         false,
		"0 1000 1\n200001 300000 512\n":       true,
		"0 1000 1\n200001 300000 511\nrubble": false,
	} {
		file := filepath.Join(dir, "map")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := mapped(file, cfg); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestKindNames(t *testing.T) {
	names := []string{Worker.String(), Compile.String(), KernelWorker.String(), KernelNative.String(), probe.String(), Kind(0).String(), Kind(9).String()}
	if want := []string{"worker", "compile", "kernel-worker", "kernel-native", "probe", "kind(0)", "kind(9)"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	if jail.Worker().Name() != Worker.String() || jail.Compile().Name() != Compile.String() {
		t.Error("profiles and kinds are named apart")
	}
}
