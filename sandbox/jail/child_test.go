//go:build linux

package jail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/jail/jailtest"
)

// stage is how far a child goes before it makes its attempt.
type stage string

const (
	free   stage = "free"   // no namespaces, no filter: the control
	fenced stage = "fenced" // landlock alone, no namespaces
	layers stage = "layers" // after Enter, but for the filter
	bereft stage = "bereft" // namespaces, and capabilities dropped but not locked
	closed stage = "closed" // namespaces, and capabilities locked and dropped
	inside stage = "inside" // after Enter
	nearly stage = "nearly" // Enter where there is no mount namespace to enter
	locked stage = "locked" // after Enter and LockDown
)

func TestMain(m *testing.M) {
	// Children inherit the cap that Enter demands.
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &now); err != nil {
		panic(err)
	}
	now.Cur = min(now.Max, testMemoryCap)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &now); err != nil {
		panic(err)
	}
	// What this run was started with is not to be found in a jail by accident.
	if err := unix.CloseRange(Socket+1, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		panic(err)
	}
	jailtest.Main(m, map[string]jailtest.Child{"attempt": runAttempt, "capabilities": tellCapabilities})
}

const testMemoryCap = 8 << 30

func testProfile(name string) Profile {
	if name == Compile().Name() {
		return Compile()
	}
	return Worker()
}

// outcome is what a child tells about itself over its socket.
type outcome struct {
	Report  Report
	Error   string // of Enter or LockDown
	Reached bool   // the attempt was about to be made
	Done    bool   // the attempt came back
	Errno   syscall.Errno
	Found   []string // what an inventory attempt found
}

// runAttempt is the child: Enter and LockDown as far as the stage says, then
// the attempt. It reports over its socket, once before and once after.
func runAttempt(args []string) int {
	where, profile, name := stage(args[0]), testProfile(args[1]), args[2]
	env, err := openBefore()
	if err != nil {
		return tell(outcome{Error: err.Error()})
	}
	var o outcome
	switch where {
	case inside, locked, nearly:
		if o.Report, err = Enter(profile); err != nil {
			return tell(outcome{Error: err.Error()})
		}
	case fenced:
		err = NoNewPrivileges()
		if err == nil {
			o.Report.Landlock, err = enterLandlock()
		}
	case layers:
		err = enterLayers(profile)
	case bereft:
		err = dropCapabilities()
	case closed:
		err = errors.Join(lockCapabilities(), dropCapabilities())
	}
	if err != nil {
		return tell(outcome{Error: err.Error()})
	}
	if where == locked {
		if err := LockDown(profile); err != nil {
			return tell(outcome{Error: err.Error()})
		}
	}
	o.Reached = true
	tell(o)
	o.Errno, o.Found = attempts[name](env)
	o.Done = true
	return tell(o)
}

// enterLayers is Enter without its last step.
func enterLayers(p Profile) error {
	if err := enterEmptyRoot(); err != nil {
		return err
	}
	if err := errors.Join(setLimits(p.limits), enterNoPrivileges()); err != nil {
		return err
	}
	if _, err := enterLandlock(); err != nil {
		return err
	}
	return errors.Join(lockCapabilities(), dropCapabilities())
}

func tell(o outcome) int {
	b, err := json.Marshal(o)
	if err != nil {
		return 1
	}
	if _, err := unix.Write(Socket, append(b, '\n')); err != nil {
		return 1
	}
	return 0
}

// tellCapabilities is what a child turns into by exec.
func tellCapabilities([]string) int {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 1
	}
	return tell(outcome{Done: true, Found: []string{fmt.Sprintf("%x %x", data[0].Permitted, data[0].Effective)}})
}

// before is what a worker opens before Enter.
type before struct {
	pagemap, uffd int
	pid           int
	namespaces    []string
}

// namespaces lists the namespaces that the calling process is in.
func namespaces() ([]string, error) {
	var all []string
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts"} {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return nil, err
		}
		all = append(all, link)
	}
	return all, nil
}

func openBefore() (before, error) {
	pagemap, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return before{}, fmt.Errorf("pagemap: %w", err)
	}
	own, err := namespaces()
	if err != nil {
		return before{}, err
	}
	uffd, _ := jailtest.OpenUserfault()
	return before{pagemap: pagemap, uffd: uffd, pid: os.Getpid(), namespaces: own}, nil
}

// place is where an attempt is made.
type place struct {
	where   stage
	profile string
}

// child runs one attempt and gives what it told and how it ended.
type child struct {
	outcome
	state  *os.ProcessState
	stderr string
}

func (c child) killedBy(s syscall.Signal) bool {
	ws := c.state.Sys().(syscall.WaitStatus)
	return ws.Signaled() && ws.Signal() == s
}

func start(t *testing.T, at place, name string, env ...string) child {
	t.Helper()
	ours, theirs := socketPair(t)
	defer ours.Close()
	cmd := exec.Command("/proc/self/exe", "attempt", string(at.where), at.profile, name)
	cmd.Env = append([]string{"GOMAXPROCS=1", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}, env...)
	cmd.ExtraFiles = []*os.File{theirs}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if at.where != free && at.where != fenced {
		cmd.SysProcAttr = SysProcAttr(testIdentity())
	}
	if at.where == nearly {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID
	}
	// The death signal comes when the starting thread ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatalf("start: %v. %s", err, Remedy(err, hostSetting))
	}
	theirs.Close()
	var c child
	decoder := json.NewDecoder(ours)
	for decoder.Decode(&c.outcome) == nil {
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	c.state, c.stderr = cmd.ProcessState, stderr.String()
	if c.Error != "" && at.where != nearly {
		t.Fatalf("the child could not get ready: %s", c.Error)
	}
	return c
}

// testIdentity is a host id that nobody else uses, or one's own.
func testIdentity() Identity {
	if os.Getuid() == 0 {
		return Identity{UID: 299999, GID: 299999, Foreign: true}
	}
	return Identity{UID: os.Getuid(), GID: os.Getgid()}
}

func socketPair(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func pair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs"), nil
}
