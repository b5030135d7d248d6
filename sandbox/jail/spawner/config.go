//go:build linux

package spawner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"regexp"

	"github.com/carrel-dev/carrel/sandbox/gvisor"
	"github.com/carrel-dev/carrel/sandbox/jail/cgroup"
)

// ServerConfig is what a spawner is told when it is started; it cannot be
// changed afterwards.
type ServerConfig struct {
	// Node names the node, in cgroups. Two nodes that run on one host at the
	// same time need different names.
	Node string `json:"node"`
	// Slots is how many jailed processes there can be at a time.
	Slots uint32 `json:"slots"`
	// BaseUID is the host user id of slot 0, as group id too; slot n has
	// BaseUID+n. Only used by root. 0 gives no process a user of its own.
	BaseUID uint32 `json:"baseUid"`
	// MaxMemoryBytes is the largest memory limit of a slot, and what a slot
	// without limit gets.
	MaxMemoryBytes uint64 `json:"maxMemoryBytes"`
	// Kernel says how sandboxes of the wall kernel are made; nil makes none.
	Kernel *KernelConfig `json:"kernel,omitempty"`
}

// KernelConfig says how sandboxes of the wall kernel are made.
type KernelConfig struct {
	// Runtime is the OCI runtime.
	Runtime gvisor.Runtime `json:"runtime"`
	// Mounts are what native functions see of the host, read-only: their
	// language's runtime.
	Mounts []gvisor.Mount `json:"mounts,omitempty"`
	// TmpBytes is the size of a native function's /tmp (default 512 MiB).
	TmpBytes uint64 `json:"tmpBytes,omitempty"`
	// Staged is set by Start: the spawner has a mount namespace of its own.
	Staged bool `json:"staged,omitempty"`
}

// DefaultServerConfig gives the configuration of a node whose name still has
// to be set.
func DefaultServerConfig() ServerConfig {
	return ServerConfig{Slots: 512, BaseUID: 200001, MaxMemoryBytes: 10 << 30}
}

const (
	maxSlots  = 1 << 16
	minMemory = 16 << 20
	maxMemory = 1 << 40
	maxMounts = 256
	maxUID    = 1<<32 - 2 // the last id means "none"
)

var nodeName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// Validate refuses a configuration that cannot work, saying why.
func (c ServerConfig) Validate() error {
	switch {
	case !nodeName.MatchString(c.Node):
		return fmt.Errorf("spawner: node %q: want 1 to 64 of a-z, 0-9 and -, not starting with -", c.Node)
	case c.Slots == 0 || c.Slots > maxSlots:
		return fmt.Errorf("spawner: %d slots: want 1 to %d", c.Slots, maxSlots)
	case uint64(c.BaseUID)+uint64(c.Slots) >= maxUID:
		return fmt.Errorf("spawner: user ids from %d do not suffice for %d slots", c.BaseUID, c.Slots)
	case c.MaxMemoryBytes < minMemory || c.MaxMemoryBytes > maxMemory:
		return fmt.Errorf("spawner: largest memory limit of %d bytes: want %d to %d", c.MaxMemoryBytes, uint64(minMemory), uint64(maxMemory))
	}
	if c.Kernel != nil {
		return c.Kernel.validate()
	}
	return nil
}

func (k *KernelConfig) validate() error {
	if !filepath.IsAbs(k.Runtime.Path) {
		return fmt.Errorf("spawner: OCI runtime %q: want an absolute path", k.Runtime.Path)
	}
	if k.TmpBytes > maxMemory || len(k.Mounts) > maxMounts {
		return fmt.Errorf("spawner: /tmp of %d bytes and %d mounts: want at most %d and %d", k.TmpBytes, len(k.Mounts), uint64(maxMemory), maxMounts)
	}
	return gvisor.CheckMounts(k.Mounts)
}

// ParseServerConfig reads the argument of `carrel-worker spawner`.
func ParseServerConfig(arg string) (ServerConfig, error) {
	var c ServerConfig
	d := json.NewDecoder(bytes.NewReader([]byte(arg)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("spawner: configuration: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return c, fmt.Errorf("spawner: configuration: more than one value")
	}
	return c, c.Validate()
}

// Report says which parts of the jail are in force on this host, as seen by a
// process that went through all of it. The mandatory ones are always on:
// without them there is no spawner.
type Report struct {
	// Namespaces and the two filters are mandatory.
	Namespaces []string `json:"namespaces"`
	Seccomp    bool     `json:"seccomp"`
	NoNewPrivs bool     `json:"noNewPrivs"`
	// MemoryCap says that RLIMIT_DATA bounds each process.
	MemoryCap bool `json:"memoryCap"`
	// UniqueUID says that each slot has a host user of its own.
	UniqueUID bool `json:"uniqueUid"`
	// UniqueUIDReason says why not.
	UniqueUIDReason string `json:"uniqueUidReason,omitempty"`
	// Landlock is the ABI version in force, 0 for none.
	Landlock int `json:"landlock"`
	// Cgroup says for each controller which version bounds the processes.
	Cgroup map[cgroup.Controller]cgroup.Version `json:"cgroup"`
	// Reaped counts cgroups that an earlier spawner left and that were removed.
	Reaped int `json:"reaped"`
	// Kernel says that sandboxes of the wall kernel can be asked for.
	Kernel bool `json:"kernel"`
	// KernelReason says why not, and what to do.
	KernelReason string `json:"kernelReason,omitempty"`
}
