//go:build linux

// Package cgroup bounds memory, CPU and number of processes of a group by
// writing the kernel's control files, version 1 and version 2, decided for
// each controller on its own: hosts exist that have some on each.
//
// A controller that is not mounted, or whose folder may not be written, is
// absent; Manager.Versions says so and why, and the caller decides whether it
// can do without. What is there must work: a limit that cannot be written is
// an error, never left out.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits are what a group may use. Zero is no limit of that sort.
type Limits struct {
	// MemoryBytes bounds memory; swap is not used.
	MemoryBytes uint64
	// CPUQuota bounds CPU time in thousandths of one CPU (500 is half of one).
	CPUQuota uint32
	// CPUWeight is the share when CPUs are contended, 1 to 10000; 0 is 100.
	CPUWeight uint32
	// PIDs bounds processes and threads.
	PIDs uint32
}

// Controller is the name of a controller that the package uses.
type Controller string

// The controllers.
const (
	Memory  Controller = "memory"
	CPU     Controller = "cpu"
	CPUAcct Controller = "cpuacct" // version 2 has it in cpu
	PIDs    Controller = "pids"
)

var controllers = []Controller{Memory, CPU, CPUAcct, PIDs}

// Version says which version a controller is used by, and why not if not.
type Version struct {
	// Number is 1 or 2, 0 if the controller is absent.
	Number int `json:"version"`
	// Reason says why a controller is absent.
	Reason string `json:"reason,omitempty"`
}

// Manager makes groups below the group that the calling process is in.
type Manager struct {
	versions map[Controller]Version
	base     map[Controller]string // folder below which groups are made
	host     Host
}

// Host says where to look; the zero value is this host.
type Host struct {
	// Root is put before every path, so that a test can lay out a host of
	// its own. Empty is "/".
	Root string
	// make and remove create and remove one group's folder; a test fills it
	// with control files, as the kernel does. nil is the system call.
	make, remove func(dir string) error
}

// Detect finds the controllers of a host and which of them can be used.
func Detect(h Host) (*Manager, error) {
	if h.make == nil {
		h.make = func(dir string) error { return unix.Mkdir(dir, 0o755) }
		h.remove = unix.Rmdir
	}
	mounts, err := h.read("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroup: find mounts: %w", err)
	}
	own, err := h.read("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cgroup: find own group: %w", err)
	}
	m := &Manager{versions: map[Controller]Version{}, base: map[Controller]string{}, host: h}
	for _, c := range controllers {
		m.versions[c] = Version{Reason: "the controller is not mounted"}
	}
	paths := parseOwn(own)
	for _, mount := range parseMounts(mounts) {
		dir, ok := mount.folder(paths)
		if !ok {
			continue
		}
		dir = filepath.Join("/", h.Root, dir)
		if mount.unified {
			m.adoptUnified(dir)
			continue
		}
		for _, c := range mount.controllers {
			m.adopt(c, dir, 1)
		}
	}
	return m, nil
}

func (h Host) read(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/", h.Root, path))
	return string(b), err
}

func (m *Manager) adopt(c Controller, dir string, version int) {
	if _, known := m.versions[c]; !known || m.versions[c].Number != 0 {
		return
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		m.versions[c] = Version{Reason: fmt.Sprintf("no permission to make groups in %s (%v)", dir, err)}
		return
	}
	m.versions[c], m.base[c] = Version{Number: version}, dir
}

// adoptUnified takes the controllers of version 2 that groups below dir get.
// CPUAcct has no name of its own there.
func (m *Manager) adoptUnified(dir string) {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	available := strings.Fields(string(have))
	wanted := m.missing(available)
	if len(wanted) == 0 {
		return
	}
	if err := enable(dir, wanted, m.host.make); err != nil {
		for _, c := range wanted {
			m.versions[c] = Version{Reason: fmt.Sprintf("version 2 cannot be used below %s (%v): give the node a delegated group of its own (systemd: Delegate=yes)", dir, err)}
		}
		return
	}
	for _, c := range wanted {
		m.adopt(c, dir, 2)
	}
	if m.versions[CPU].Number == 2 {
		m.adopt(CPUAcct, dir, 2)
	}
}

func (m *Manager) missing(available []string) []Controller {
	var wanted []Controller
	for _, name := range available {
		c := Controller(name)
		if v, known := m.versions[c]; known && v.Number == 0 && c != CPUAcct {
			wanted = append(wanted, c)
		}
	}
	return wanted
}

// maxMovable is how many processes may sit in the node's own group and still
// be moved into a leaf of it: the node and its spawner. More means that the
// group is shared with something else, which is not ours to move.
const maxMovable = 2

// leaf is the group that the processes of the delegated group move to: in
// version 2 a group with processes cannot give controllers to its children.
const leaf = "carrel-node"

// enable lets the groups below dir have the controllers.
func enable(dir string, wanted []Controller, create func(string) error) error {
	control := filepath.Join(dir, "cgroup.subtree_control")
	have, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	on := " " + strings.Join(strings.Fields(string(have)), " ") + " "
	var order []string
	for _, c := range wanted {
		if !strings.Contains(on, " "+string(c)+" ") {
			order = append(order, "+"+string(c))
		}
	}
	if len(order) == 0 {
		return nil
	}
	text := strings.Join(order, " ")
	err = write(control, text)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	if err := emptyInto(dir, create); err != nil {
		return err
	}
	return write(control, text)
}

func emptyInto(dir string, create func(string) error) error {
	pids, err := processes(dir)
	if err != nil {
		return err
	}
	if len(pids) > maxMovable {
		return fmt.Errorf("the group holds %d processes", len(pids))
	}
	to := filepath.Join(dir, leaf)
	if err := create(to); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, pid := range pids {
		if err := write(filepath.Join(to, "cgroup.procs"), fmt.Sprint(pid)); err != nil {
			return err
		}
	}
	return nil
}

// Versions gives the version of each controller.
func (m *Manager) Versions() map[Controller]Version {
	all := make(map[Controller]Version, len(m.versions))
	for c, v := range m.versions {
		all[c] = v
	}
	return all
}

// Present tells whether any controller can be used.
func (m *Manager) Present() bool { return len(m.base) > 0 }

// dirs are the distinct folders below which a group is made.
func (m *Manager) dirs() []string {
	var all []string
	seen := map[string]bool{}
	for _, c := range controllers {
		if dir, ok := m.base[c]; ok && !seen[dir] {
			seen[dir] = true
			all = append(all, dir)
		}
	}
	return all
}

// Create makes a group with limits in every hierarchy that is present. On an
// error nothing of it is left.
func (m *Manager) Create(name string, l Limits) (*Group, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return nil, fmt.Errorf("cgroup: %q is not a name for a group", name)
	}
	g := &Group{name: name, manager: m, unified: -1}
	for _, dir := range m.dirs() {
		if err := m.host.make(filepath.Join(dir, name)); err != nil {
			return nil, errors.Join(fmt.Errorf("cgroup: create %s: %w", name, err), g.Remove())
		}
		g.made = append(g.made, filepath.Join(dir, name))
	}
	if err := g.SetLimits(l); err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	if err := g.openUnified(); err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	return g, nil
}

// Reap kills what is left in groups whose name starts with prefix and removes
// them; it gives their names. A group that does not become empty within the
// time given is an error.
func (m *Manager) Reap(prefix string, patience time.Duration) ([]string, error) {
	names, err := m.Leftovers(prefix)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, name := range names {
		g := &Group{name: name, manager: m, unified: -1}
		for _, dir := range m.dirs() {
			g.made = append(g.made, filepath.Join(dir, name))
		}
		if err := g.Kill(); err != nil {
			failed = append(failed, err)
		}
		failed = append(failed, g.RemoveWithin(patience))
	}
	return names, errors.Join(failed...)
}

// Leftovers lists the groups whose name starts with prefix.
func (m *Manager) Leftovers(prefix string) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	for _, dir := range m.dirs() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("cgroup: list groups: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() && strings.HasPrefix(e.Name(), prefix) && !seen[e.Name()] {
				seen[e.Name()] = true
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}
