//go:build linux

package spawner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/jail"
)

// identities says as whom the slots run.
type identities struct {
	base   uint32
	unique bool
	reason string
}

// chooseIdentities gives each slot a host user of its own where that can be.
func chooseIdentities(cfg ServerConfig) identities {
	id := identities{base: cfg.BaseUID}
	switch {
	case os.Geteuid() != 0:
		id.reason = "the node was not started as root"
	case cfg.BaseUID == 0:
		id.reason = "switched off by the configuration"
	case !mapped("/proc/self/uid_map", cfg) || !mapped("/proc/self/gid_map", cfg):
		id.reason = fmt.Sprintf("the user namespace of the node does not hold the ids %d to %d", cfg.BaseUID, cfg.BaseUID+cfg.Slots-1)
	default:
		id.unique = true
	}
	return id
}

// of gives the identity of a slot. Root that cannot give every slot its own
// still does not run them as root of the host.
func (i identities) of(slot uint32) jail.Identity {
	const nobody = 65534
	switch {
	case i.unique:
		return jail.Identity{UID: int(i.base + slot), GID: int(i.base + slot), Foreign: true}
	case os.Geteuid() == 0:
		return jail.Identity{UID: nobody, GID: nobody, Foreign: true}
	}
	return jail.Identity{UID: os.Geteuid(), GID: os.Getegid()}
}

// mapped tells whether an id map (user_namespaces(7): inside, outside, count
// in each line) holds all ids of the slots.
func mapped(file string, cfg ServerConfig) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	first, end := uint64(cfg.BaseUID), uint64(cfg.BaseUID)+uint64(cfg.Slots)
	for line := range strings.Lines(string(b)) {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && first >= inside && end <= inside+count {
			return true
		}
	}
	return false
}

// executable is the worker binary as the spawner starts it.
type executable struct {
	path string
	file *os.File // keeps path valid; nil if it needs nothing
}

// findExecutable gives the spawner's own binary by a name that works for
// users who cannot reach its folder. A binary that others may not read and
// execute at all is copied to a sealed memory file that they may.
func findExecutable() (executable, error) {
	const self = "/proc/self/exe"
	const others = 0o5
	var st unix.Stat_t
	if err := unix.Stat(self, &st); err != nil {
		return executable{}, fmt.Errorf("spawner: find own binary: %w", err)
	}
	if os.Geteuid() != 0 || st.Mode&others == others {
		return executable{path: self}, nil
	}
	return copyExecutable(self)
}

func copyExecutable(self string) (executable, error) {
	in, err := os.Open(self)
	if err != nil {
		return executable{}, fmt.Errorf("spawner: open own binary: %w", err)
	}
	defer in.Close()
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("carrel-worker", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("carrel-worker", flags)
	}
	if err != nil {
		return executable{}, fmt.Errorf("spawner: copy own binary (or make it readable for all: chmod 755): %w", err)
	}
	out := os.NewFile(uintptr(fd), "carrel-worker")
	defer out.Close() // the kernel does not start what is open for writing
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(0o555)
	}
	if err == nil {
		_, err = unix.FcntlInt(out.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return executable{}, fmt.Errorf("spawner: copy own binary: %w", err)
	}
	sealed, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", out.Fd()))
	if err != nil {
		return executable{}, fmt.Errorf("spawner: copy own binary: %w", err)
	}
	return executable{path: fmt.Sprintf("/proc/self/fd/%d", sealed.Fd()), file: sealed}, nil
}
