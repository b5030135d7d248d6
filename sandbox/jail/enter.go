//go:build linux

package jail

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
)

// Report says what Enter did.
type Report struct {
	// Landlock is the ABI version of landlock in force, 0 if the kernel has none.
	Landlock int `json:"landlock"`
	// Steps are the steps in their order, with what each took.
	Steps []Step `json:"steps"`
}

// Step is one step of Enter.
type Step struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took"`
}

// rootPoint is where the empty root is mounted before it becomes "/": a
// folder that exists on every host, since Enter's caller has just used it.
const rootPoint = "/proc"

// Enter confines the calling process for good. The process must have been
// started with SysProcAttr and with a finite RLIMIT_DATA; whatever it needs
// from the file system must be open. Afterwards only the system calls of the
// profile work, any other kills the process.
//
// An error of kind fault.Unavailable names the step that failed and its
// remedy. The process is then half confined and must exit.
func Enter(p Profile) (Report, error) {
	var report Report
	err := report.take("jail.Enter", []step{
		{"check memory cap", checkMemoryCap},
		{"start the runtime's poller", startPoller},
		{"empty root", enterEmptyRoot},
		{"resource limits", func() error { return setLimits(p.limits) }},
		{"no new privileges", enterNoPrivileges},
		{"landlock", func() (err error) { report.Landlock, err = enterLandlock(); return err }},
		{"lock capabilities", lockCapabilities},
		{"drop capabilities", dropCapabilities},
		{"system call filter", func() error { return loadFilter(assemble(p.enter)) }},
	})
	return report, err
}

// EnterInside confines a process that has been started, without capabilities,
// in a sandbox with a kernel and an empty read-only root of its own: whoever
// takes the process over does not meet all of that kernel's system calls.
func EnterInside(p Profile) (Report, error) {
	var report Report
	err := report.take("jail.EnterInside", []step{
		{"start the runtime's poller", startPoller},
		{"no new privileges", enterNoPrivileges},
		{"system call filter", func() error { return loadFilter(assemble(p.enter)) }},
	})
	return report, err
}

// step is one step into the jail.
type step struct {
	name string
	run  func() error
}

// take takes the steps in their order, and writes them down.
func (r *Report) take(opName string, steps []step) error {
	for _, s := range steps {
		start := time.Now()
		if err := s.run(); err != nil {
			return fault.Wrap(opName, fault.Unavailable, err, "The jail cannot be made: step %q failed (%v).", s.name, err).
				WithRemedy("%s", Remedy(err, hostSetting))
		}
		r.Steps = append(r.Steps, Step{s.name, time.Since(start)})
	}
	return nil
}

// LockDown loads the second filter of the profile. It is called after Enter,
// once the tenant's module is loaded and before its first event.
func LockDown(p Profile) error {
	if err := loadFilter(assemble(p.lockDown)); err != nil {
		return fault.Wrap("jail.LockDown", fault.Unavailable, err, "The second system call filter cannot be loaded (%v).", err)
	}
	return nil
}

var errNoMemoryCap = errors.New("RLIMIT_DATA is unlimited")

// checkMemoryCap refuses to go on without the cap on memory that needs no
// cgroup; the spawner sets it before the process starts.
func checkMemoryCap() error {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &now); err != nil {
		return err
	}
	if now.Cur >= 1<<62 {
		return errNoMemoryCap
	}
	return nil
}

// startPoller has Go's runtime make its epoll and event descriptors now. It
// does so when the first timer is used: by a sleep, or by its own memory
// management at a time of its own choosing, long after the filter has
// forbidden epoll_create1.
func startPoller() error {
	time.AfterFunc(time.Hour, func() {}).Stop()
	return nil
}

// enterEmptyRoot makes an empty read-only file system the root and lets go of
// the old one. One page and two inodes are what an empty tmpfs needs.
func enterEmptyRoot() error {
	const locked = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	calls := []struct {
		name string
		run  func() error
	}{
		{"make mounts private", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount tmpfs", func() error {
			return unix.Mount("carrel", rootPoint, "tmpfs", locked, "size=4k,nr_inodes=2,mode=0555")
		}},
		{"chdir", func() error { return unix.Chdir(rootPoint) }},
		{"pivot_root", func() error { return unix.PivotRoot(".", ".") }},
		{"detach old root", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"chdir to root", func() error { return unix.Chdir("/") }},
		{"remount read-only", func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY|locked, "") }},
	}
	for _, c := range calls {
		if err := c.run(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func setLimits(limits []limit) error {
	for _, l := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return err
		}
		value := min(l.value, now.Max)
		if err := unix.Prlimit(0, l.resource, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil {
			return fmt.Errorf("rlimit %d: %w", l.resource, err)
		}
	}
	return nil
}

// NoNewPrivileges keeps every thread of the process, and what it starts, from
// gaining privileges by executing a file.
func NoNewPrivileges() error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// enterNoPrivileges also makes the process not dumpable, a property of its
// address space: no core, no ptrace and no reading of its memory through
// /proc by another process of the same user.
func enterNoPrivileges() error {
	if err := NoNewPrivileges(); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// Rights that landlock can take away, by the ABI version that brought them
// (linux/landlock.h).
const (
	landlockFS1      = 1<<13 - 1
	landlockRefer    = 1 << 13 // ABI 2
	landlockTruncate = 1 << 14 // ABI 3
	landlockNetwork  = 1<<2 - 1
	landlockDevice   = 1 << 15 // ABI 5
	landlockAbstract = 1 << 0  // ABI 6, scope
)

// enterLandlock refuses every right on files and TCP ports that this kernel
// knows; without rules nothing is excepted. The scope for signals is left
// out: each thread gets a domain of its own, and kernels before 6.15 then
// refuse the signals that Go's runtime sends between threads.
func enterLandlock() (int, error) {
	abi := landlockABI()
	if abi == 0 {
		return 0, nil
	}
	attr := landlockAttr{fs: landlockFS1}
	if abi >= 2 {
		attr.fs |= landlockRefer
	}
	if abi >= 3 {
		attr.fs |= landlockTruncate
	}
	if abi >= 4 {
		attr.net = landlockNetwork
	}
	if abi >= 5 {
		attr.fs |= landlockDevice
	}
	if abi >= 6 {
		attr.scoped = landlockAbstract
	}
	fd, err := landlockRuleset(attr)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0); errno != 0 {
		return 0, errno
	}
	return abi, nil
}

// securebits (linux/securebits.h): a user id of 0 gives no capability at
// exec or setuid, none is kept or made ambient, and none of that can be
// changed back.
const lockedSecurebits = 1<<0 | 1<<1 | // NOROOT
	1<<2 | 1<<3 | // NO_SETUID_FIXUP
	1<<5 | // KEEP_CAPS locked off
	1<<6 | 1<<7 // NO_CAP_AMBIENT_RAISE

// lockCapabilities closes the ways on which a capability could come back
// after they are dropped. It stands in for emptying the bounding set, which
// takes 41 calls on every thread (1 to 2 ms, a fifth of a start) and would
// only matter for an execve that gives capabilities: no_new_privs and NOROOT
// each forbid that, and the filter has no execve.
func lockCapabilities() error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, lockedSecurebits, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// Remedy says what an operator can do about a namespace or a step of the
// jail that the host denied. setting gives the value of a sysctl by its path
// below /proc/sys, "" if there is none.
func Remedy(err error, setting func(string) string) string {
	switch {
	case errors.Is(err, errNoMemoryCap):
		return "Start the process through the spawner, or set RLIMIT_DATA (ulimit -d) first."
	case errors.Is(err, unix.ENOTSUP):
		return "The binary was built with cgo, where Go cannot reach every thread: build it with CGO_ENABLED=0."
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS):
		for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts"} {
			name := "user/max_" + kind + "_namespaces"
			if v := setting(name); v != "" && (v == "0" || len(v) < 4) {
				return fmt.Sprintf("The limit on %s namespaces is %s: run `sysctl -w %s=15000`.", kind, v, strings.ReplaceAll(name, "/", "."))
			}
		}
		return "The limit on namespaces is reached: run `sysctl -w user.max_user_namespaces=15000` (and the same for mnt, pid, net, ipc, uts)."
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		if setting("kernel/unprivileged_userns_clone") == "0" {
			return "User namespaces are off for ordinary users: run `sysctl -w kernel.unprivileged_userns_clone=1`, or start the node as root."
		}
		if setting("kernel/apparmor_restrict_unprivileged_userns") == "1" {
			return "AppArmor denies user namespaces to ordinary users: run `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or give carrel-worker a profile with `userns,`."
		}
		return "Something denies namespaces or mounts, most often a container's own system call filter: run the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined` (Kubernetes: seccompProfile Unconfined), or run the node outside of it."
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
		return "The kernel is too old or built without a needed part: Linux 5.11 or newer with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_IPC_NS, CONFIG_UTS_NS and CONFIG_SECCOMP_FILTER."
	}
	return "Run `carrel-worker probe` as the node's user to see the failing step, and see the reference on sandboxes."
}

func hostSetting(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
