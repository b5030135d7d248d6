//go:build linux

package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
)

// BoxConfig is the argument of `carrel-worker box`.
type BoxConfig struct {
	// Runtime is the OCI runtime. Its Path is not used: the binary is
	// descriptor RuntimeFD.
	Runtime Runtime `json:"runtime"`
	// Inside is the mode of the process inside: `carrel-worker inside MODE`.
	Inside string `json:"inside"`
	// Worker is the path of carrel-worker for this process.
	Worker string `json:"worker"`
	// Mounts are shown inside besides it.
	Mounts []Mount `json:"mounts,omitempty"`
	// TmpBytes and TaskBytes are the sizes of /tmp and TaskRoot inside; 0 is
	// none.
	TmpBytes  uint64 `json:"tmpBytes,omitempty"`
	TaskBytes uint64 `json:"taskBytes,omitempty"`
	// Env is the environment inside.
	Env []string `json:"env,omitempty"`
}

// RuntimeFD is the descriptor with which box gets the runtime's binary.
const RuntimeFD = 4

// Box is the process between the spawner and an OCI runtime: it prepares the
// root, and then becomes the runtime. It returns only an error.
func Box(arg string) error {
	var c BoxConfig
	if err := json.Unmarshal([]byte(arg), &c); err != nil {
		return fmt.Errorf("box: configuration: %w", err)
	}
	for _, s := range []struct {
		name string
		run  func() error
	}{
		{"keep descriptors", func() error { return keepDescriptors() }},
		{"root", c.enterRoot},
		{"bundle", c.writeBundle},
	} {
		if err := s.run(); err != nil {
			return fault.Wrap("gvisor.Box", fault.Unavailable, err, "The sandbox's root cannot be made: step %q failed (%v).", s.name, err)
		}
	}
	// The death signal that the spawner asked for belongs to the first thread,
	// and the thread that executes takes its place, with its own.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fault.Wrap("gvisor.Box", fault.Unavailable, err, "The sandbox cannot be made to end with the spawner (%v).", err)
	}
	args := append([]string{"runsc"}, c.Runtime.Args()...)
	err := syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", RuntimeFD), args, []string{"PATH=/", "XDG_RUNTIME_DIR=" + stateFolder})
	return fault.Wrap("gvisor.Box", fault.Unavailable, err, "The OCI runtime cannot be started (%v).", err).
		WithRemedy("Make it with make runsc, and let every user read and execute it (chmod 755).")
}

// keepDescriptors lets the socket pass on to the runtime, and nothing else.
func keepDescriptors() error {
	if err := unix.CloseRange(RuntimeFD, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	_, err := unix.FcntlInt(SocketFD, unix.F_SETFD, 0)
	return err
}

// base is the folder that becomes the root: one that every host has, since
// nothing of it is needed afterwards.
const base = "/tmp"

// enterRoot makes the new root on a small file system in memory: a folder for
// the bundle, one for the runtime's state, /proc, and /dev/null.
func (c *BoxConfig) enterRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	mounts := append([]Mount{{Source: c.Worker, Target: WorkerPath}}, c.Mounts...)
	sources, err := openSources(mounts)
	if err != nil {
		return err
	}
	null, err := unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/null: %w", err)
	}
	if err := unix.Mount("carrel", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=4m,nr_inodes=4096,mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	rootfs := filepath.Join(base, bundleFolder, "rootfs")
	for _, dir := range []string{filepath.Join(rootfs, "proc"), filepath.Join(rootfs, "tmp"), filepath.Join(rootfs, TaskRoot), filepath.Join(rootfs, "dev"),
		filepath.Join(rootfs, "sys"), filepath.Join(base, stateFolder), filepath.Join(base, "proc"), filepath.Join(base, "dev"), filepath.Join(base, "tmp")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(base, stateFolder), 0o700); err != nil {
		return err
	}
	for i, m := range mounts {
		if err := Bind(sources[i], filepath.Join(rootfs, m.Target)); err != nil {
			return fmt.Errorf("bind %s: %w", m.Source, err)
		}
	}
	if err := place(null, filepath.Join(base, "dev/null")); err != nil {
		return fmt.Errorf("bind /dev/null: %w", err)
	}
	if err := unix.Mount("proc", filepath.Join(base, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return pivot(base)
}

func openSources(mounts []Mount) ([]int, error) {
	var all []int
	for _, m := range mounts {
		fd, err := unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", m.Source, err)
		}
		all = append(all, fd)
	}
	return all, nil
}

// Bind shows the file or folder that fd is at target, read-only, which it
// makes. It needs a mount namespace of the caller's own.
func Bind(fd int, target string) error {
	if err := place(fd, target); err != nil {
		return err
	}
	have, err := mountFlags(target)
	if err != nil {
		return err
	}
	return unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|have, "")
}

func place(fd int, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = os.MkdirAll(target, 0o755)
	} else if err = unix.Mknod(target, unix.S_IFREG|0o444, 0); errors.Is(err, unix.EEXIST) {
		err = nil
	}
	if err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), target, "", unix.MS_BIND, "")
}

// mountFlags gives the flags that a mount has: a mount made outside of a user
// namespace may not lose any inside of it. The numbers of statfs(2) and
// mount(2) are the same but for relatime's.
func mountFlags(path string) (uintptr, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	const same = unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC | unix.ST_NOATIME | unix.ST_NODIRATIME
	flags := uintptr(st.Flags) & same
	if st.Flags&unix.ST_RELATIME != 0 {
		flags |= unix.MS_RELATIME
	}
	return flags, nil
}

// pivot makes dir the root and lets go of the old one.
func pivot(dir string) error {
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"chdir", func() error { return unix.Chdir(dir) }},
		{"pivot_root", func() error { return unix.PivotRoot(".", ".") }},
		{"detach old root", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"chdir to root", func() error { return unix.Chdir("/") }},
	} {
		if err := c.run(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (c *BoxConfig) writeBundle() error {
	spec, err := Spec(Sandbox{Args: []string{WorkerPath, "inside", c.Inside}, Env: c.Env, TmpBytes: c.TmpBytes, TaskBytes: c.TaskBytes})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundleFolder, "config.json"), spec, 0o400)
}
