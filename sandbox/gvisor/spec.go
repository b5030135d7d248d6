package gvisor

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Mount is a file or folder of the host that sandboxes see, read-only.
type Mount struct {
	// Source is the path on the host.
	Source string `json:"source"`
	// Target is the path inside, absolute and clean.
	Target string `json:"target"`
}

// Sandbox is what a bundle is made from.
type Sandbox struct {
	// Args are the program inside and its arguments.
	Args []string
	// Env is its whole environment.
	Env []string
	// TmpBytes is the size of /tmp; 0 is none.
	TmpBytes uint64
	// TaskBytes is the size of TaskRoot, where a function's package is
	// unpacked; 0 is none.
	TaskBytes uint64
	// Files bounds open descriptors (default 1024).
	Files uint64
}

// Names inside a sandbox.
const (
	// WorkerPath is where carrel-worker is.
	WorkerPath = "/carrel-worker"
	// TaskRoot is where a native function's package is, as on Lambda.
	TaskRoot = "/var/task"
	// SocketFD is the descriptor of the socket to the node.
	SocketFD = 3
	// nobody is who the process inside is; the ids exist inside only.
	nobody = 65534
)

// ociVersion is the version of the runtime specification that bundles follow.
const ociVersion = "1.0.2"

// The parts of the OCI runtime specification (config.md and config-linux.md
// of version 1.0.2) that are used.
type (
	ociSpec struct {
		Version  string     `json:"ociVersion"`
		Process  ociProcess `json:"process"`
		Root     ociRoot    `json:"root"`
		Hostname string     `json:"hostname"`
		Mounts   []ociMount `json:"mounts"`
		Linux    ociLinux   `json:"linux"`
	}
	ociProcess struct {
		Terminal        bool            `json:"terminal"`
		User            ociUser         `json:"user"`
		Args            []string        `json:"args"`
		Env             []string        `json:"env"`
		Cwd             string          `json:"cwd"`
		Capabilities    ociCapabilities `json:"capabilities"`
		Rlimits         []ociRlimit     `json:"rlimits"`
		NoNewPrivileges bool            `json:"noNewPrivileges"`
	}
	ociUser struct {
		UID uint32 `json:"uid"`
		GID uint32 `json:"gid"`
	}
	ociCapabilities struct {
		Bounding    []string `json:"bounding"`
		Effective   []string `json:"effective"`
		Inheritable []string `json:"inheritable"`
		Permitted   []string `json:"permitted"`
		Ambient     []string `json:"ambient"`
	}
	ociRlimit struct {
		Type string `json:"type"`
		Hard uint64 `json:"hard"`
		Soft uint64 `json:"soft"`
	}
	ociRoot struct {
		Path     string `json:"path"`
		Readonly bool   `json:"readonly"`
	}
	ociMount struct {
		Destination string   `json:"destination"`
		Type        string   `json:"type"`
		Source      string   `json:"source"`
		Options     []string `json:"options"`
	}
	ociLinux struct {
		Namespaces []ociNamespace `json:"namespaces"`
	}
	ociNamespace struct {
		Type string `json:"type"`
	}
)

// Spec gives the config.json of a sandbox. The root is read-only and holds
// what box put there; nothing of the host is named, since box has bound what
// is needed below the root already.
func Spec(s Sandbox) ([]byte, error) {
	if len(s.Args) == 0 || !path.IsAbs(s.Args[0]) {
		return nil, fmt.Errorf("gvisor: a sandbox needs a program with an absolute path")
	}
	files := s.Files
	if files == 0 {
		files = 1024
	}
	spec := ociSpec{
		Version: ociVersion,
		Process: ociProcess{
			User: ociUser{UID: nobody, GID: nobody},
			Args: s.Args, Env: emptyNotNull(s.Env), Cwd: "/",
			Capabilities: ociCapabilities{
				Bounding: []string{}, Effective: []string{}, Inheritable: []string{}, Permitted: []string{}, Ambient: []string{},
			},
			Rlimits: []ociRlimit{
				{Type: "RLIMIT_NOFILE", Hard: files, Soft: files},
				{Type: "RLIMIT_CORE"},
			},
			NoNewPrivileges: true,
		},
		Root: ociRoot{Path: "rootfs", Readonly: true},
		// A host name of the host would tell tenants where they are.
		Hostname: "carrel",
		Mounts:   []ociMount{{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec"}}},
		Linux: ociLinux{Namespaces: []ociNamespace{
			{Type: "pid"}, {Type: "network"}, {Type: "ipc"}, {Type: "uts"}, {Type: "mount"},
		}},
	}
	// Files there may be executed: programs unpack helpers into /tmp, as they
	// may on Lambda, and the kernel that they meet then is their own.
	for target, size := range map[string]uint64{"/tmp": s.TmpBytes, TaskRoot: s.TaskBytes} {
		if size > 0 {
			options := []string{"nosuid", "nodev", "mode=1777", "size=" + strconv.FormatUint(size, 10)}
			spec.Mounts = append(spec.Mounts, ociMount{Destination: target, Type: "tmpfs", Source: "tmpfs", Options: options})
		}
	}
	slices.SortFunc(spec.Mounts, func(a, b ociMount) int { return strings.Compare(a.Destination, b.Destination) })
	return json.MarshalIndent(spec, "", "  ")
}

func emptyNotNull(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// CheckMounts refuses mounts that would weaken a sandbox: whatever lies in
// /dev, /proc or /sys, sockets of services in /run and /var/run, the whole
// root, or a target that is not a clean absolute path or is taken.
func CheckMounts(mounts []Mount) error {
	taken := map[string]bool{WorkerPath: true, TaskRoot: true, "/proc": true, "/tmp": true, "/dev": true, "/sys": true}
	for _, m := range mounts {
		for _, p := range []string{m.Source, m.Target} {
			if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
				return fmt.Errorf("gvisor: mount of %q at %q: want clean absolute paths below the root", m.Source, m.Target)
			}
			for _, banned := range []string{"/dev", "/proc", "/sys", "/run", "/var/run"} {
				if p == banned || strings.HasPrefix(p, banned+"/") {
					return fmt.Errorf("gvisor: mount of %q at %q: nothing of %s may be seen inside", m.Source, m.Target, banned)
				}
			}
		}
		if taken[m.Target] {
			return fmt.Errorf("gvisor: two mounts at %q", m.Target)
		}
		taken[m.Target] = true
	}
	return nil
}
