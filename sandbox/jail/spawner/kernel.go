//go:build linux

package spawner

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/gvisor"
)

// kernel is what the spawner holds to make sandboxes of the wall kernel.
type kernel struct {
	runtime int    // the OCI runtime's binary, open
	reason  string // why there are no such sandboxes; empty if there are
	boxes   map[Kind]string
}

// defaultTmp is the size of a native function's /tmp, as on Lambda.
const defaultTmp = 512 << 20

// taskBytes is room for an unpacked package, 262,144,000 bytes at most as on
// Lambda, and the pages that its small files do not fill.
const taskBytes = 320 << 20

// openKernel prepares the making of sandboxes while the spawner still has its
// privileges. What is missing is a reason, not an error: the other walls do
// not need it.
func openKernel(cfg *KernelConfig) *kernel {
	k := &kernel{runtime: -1}
	if cfg == nil {
		k.reason = "this node has no OCI runtime for the wall kernel: build one with make runsc, and start the node with --runsc PATH"
		return k
	}
	if err := k.open(*cfg); err != nil {
		k.reason = fmt.Sprintf("the wall kernel is not available on this node: %v", err)
	}
	return k
}

func (k *kernel) open(cfg KernelConfig) error {
	runtime, err := openRuntime(cfg.Runtime.Path)
	if err != nil {
		return err
	}
	worker, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	mounts := cfg.Mounts
	if cfg.Staged {
		if worker, mounts, err = stage(worker, mounts); err != nil {
			return fmt.Errorf("show files to sandboxes: %w", err)
		}
	}
	if cfg.TmpBytes == 0 {
		cfg.TmpBytes = defaultTmp
	}
	env := []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0,decoratemappings=0", "GOMAXPROCS=1"}
	k.boxes = map[Kind]string{}
	for kind, box := range map[Kind]gvisor.BoxConfig{
		KernelWorker: {Inside: "worker"},
		KernelNative: {Inside: "native", Mounts: mounts, TmpBytes: cfg.TmpBytes, TaskBytes: taskBytes},
	} {
		box.Runtime, box.Worker, box.Env = cfg.Runtime, worker, env
		arg, err := json.Marshal(box)
		if err != nil {
			return err
		}
		k.boxes[kind] = string(arg)
	}
	k.runtime = runtime
	return nil
}

// args are the arguments with which a process of the kind is started.
func (k *kernel) args(kind Kind) []string { return []string{"carrel-worker", "box", k.boxes[kind]} }

// openRuntime opens the runtime's binary, so that processes of users who
// cannot reach its folder can execute it all the same.
func openRuntime(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the OCI runtime %s: %w (build one with make runsc, or name one with --runsc)", path, err)
	}
	var st unix.Stat_t
	const others = 0o5
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || os.Geteuid() == 0 && st.Mode&others != others {
		unix.Close(fd)
		return -1, fmt.Errorf("the OCI runtime %s has to be a file that every user may read and execute (chmod 755)", path)
	}
	// Sandboxes get it as descriptor RuntimeFD; those of the spawner's own
	// start above, so that nothing is in its way.
	const high = 16
	moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, high)
	unix.Close(fd)
	if err != nil {
		return -1, fmt.Errorf("keep the OCI runtime open: %w", err)
	}
	return moved, nil
}

// stageFolder is where, in the spawner's own mount namespace, the files are
// that sandboxes see. Every host has it, and the spawner needs nothing of it.
const stageFolder = "/tmp"

// stage shows the worker's binary and the mounts' sources read-only in a
// folder that every user reaches; it gives their names there.
func stage(worker string, mounts []gvisor.Mount) (string, []gvisor.Mount, error) {
	sources := append([]gvisor.Mount{{Source: worker}}, mounts...)
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, m := range sources {
		fd, err := unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", nil, fmt.Errorf("open %s: %w", m.Source, err)
		}
		fds = append(fds, fd)
	}
	if err := unix.Mount("carrel", stageFolder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,nr_inodes=1024,mode=0755"); err != nil {
		return "", nil, fmt.Errorf("mount tmpfs: %w", err)
	}
	staged := make([]gvisor.Mount, len(sources))
	for i, m := range sources {
		to := filepath.Join(stageFolder, strconv.Itoa(i))
		if err := gvisor.Bind(fds[i], to); err != nil {
			return "", nil, fmt.Errorf("bind %s: %w", m.Source, err)
		}
		staged[i] = gvisor.Mount{Source: to, Target: m.Target}
	}
	return staged[0].Source, staged[1:], nil
}
