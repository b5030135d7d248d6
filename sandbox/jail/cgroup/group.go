//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group is one group, which can be a folder in several hierarchies. Its
// methods may be called by one goroutine at a time.
type Group struct {
	name    string
	manager *Manager
	made    []string
	unified int // descriptor of the folder in the unified hierarchy, or -1
}

// Name gives the name that the group was created under.
func (g *Group) Name() string { return g.name }

// file gives the path of a control file in the hierarchy of its controller,
// and that controller's version.
func (g *Group) file(c Controller, v1, v2 string) (string, int) {
	base, ok := g.manager.base[c]
	if !ok {
		return "", 0
	}
	version := g.manager.versions[c].Number
	name := v1
	if version == 2 {
		name = v2
	}
	return filepath.Join(base, g.name, name), version
}

// SetLimits changes the limits of a group, also of one with processes in it.
func (g *Group) SetLimits(l Limits) error {
	err := errors.Join(g.setMemory(l.MemoryBytes), g.setCPU(l), g.setPIDs(l.PIDs))
	if err != nil {
		return fmt.Errorf("cgroup: limits of %s: %w", g.name, err)
	}
	return nil
}

// setMemory also takes swap away. In version 1 the limit of memory and swap
// together may never be below that of memory, so the order depends on the
// direction; the one that is in the way is tried again.
func (g *Group) setMemory(limit uint64) error {
	file, version := g.file(Memory, "memory.limit_in_bytes", "memory.max")
	switch version {
	case 1:
		text := "-1"
		if limit > 0 {
			text = strconv.FormatUint(limit, 10)
		}
		both := filepath.Join(filepath.Dir(file), "memory.memsw.limit_in_bytes")
		first := optional(write(both, text))
		if err := write(file, text); err != nil {
			return err
		}
		if first != nil {
			return optional(write(both, text))
		}
	case 2:
		swap := optional(write(filepath.Join(filepath.Dir(file), "memory.swap.max"), "0"))
		return errors.Join(swap, write(file, orMax(limit)))
	}
	return nil
}

// Period and scales of the CPU controller: shares of version 1 have 1024
// where weights of version 2 have 100.
const (
	period    = 100_000 // microseconds
	minQuota  = 1_000   // microseconds, the least that the kernel takes
	minShares = 2
	maxShares = 1 << 18
	maxWeight = 10_000
)

func (g *Group) setCPU(l Limits) error {
	weight := uint64(100)
	if l.CPUWeight > 0 {
		weight = min(uint64(l.CPUWeight), maxWeight)
	}
	quota := max(uint64(l.CPUQuota)*period/1000, minQuota)
	file, version := g.file(CPU, "cpu.shares", "cpu.weight")
	dir := filepath.Dir(file)
	switch version {
	case 1:
		shares := min(max(weight*1024/100, minShares), maxShares)
		text := "-1"
		if l.CPUQuota > 0 {
			text = strconv.FormatUint(quota, 10)
		}
		return errors.Join(
			write(file, strconv.FormatUint(shares, 10)),
			write(filepath.Join(dir, "cpu.cfs_period_us"), strconv.Itoa(period)),
			write(filepath.Join(dir, "cpu.cfs_quota_us"), text))
	case 2:
		text := "max"
		if l.CPUQuota > 0 {
			text = strconv.FormatUint(quota, 10)
		}
		return errors.Join(
			write(file, strconv.FormatUint(weight, 10)),
			write(filepath.Join(dir, "cpu.max"), fmt.Sprintf("%s %d", text, period)))
	}
	return nil
}

func (g *Group) setPIDs(limit uint32) error {
	file, version := g.file(PIDs, "pids.max", "pids.max")
	if version == 0 {
		return nil
	}
	return write(file, orMax(uint64(limit)))
}

func orMax(limit uint64) string {
	if limit == 0 {
		return "max"
	}
	return strconv.FormatUint(limit, 10)
}

// optional forgives a control file that this kernel does not have.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (g *Group) openUnified() error {
	for _, c := range controllers {
		if g.manager.versions[c].Number != 2 {
			continue
		}
		fd, err := unix.Open(filepath.Join(g.manager.base[c], g.name), unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cgroup: open %s: %w", g.name, err)
		}
		g.unified = fd
		return nil
	}
	return nil
}

// FD gives a descriptor of the group in the unified hierarchy, into which a
// process can be started (syscall.SysProcAttr.CgroupFD); false if none of its
// controllers is version 2.
func (g *Group) FD() (int, bool) { return g.unified, g.unified >= 0 }

// Attach moves a whole process into the group, in every hierarchy. With
// version 1 this waits for other CPUs: 13 ms was seen for three hierarchies.
func (g *Group) Attach(pid int) error { return g.eachFile("cgroup.procs", strconv.Itoa(pid)) }

// EnterThread moves the calling thread into the group, in the hierarchies of
// version 1, so that a process which it starts is in the group from the first
// instruction. The kernel takes no global lock for that, so it is some hundred
// times as quick as Attach. The goroutine must be locked to its thread, and
// must call Manager.LeaveThread.
func (g *Group) EnterThread() error {
	for _, dir := range g.manager.dirs() {
		if g.manager.unifiedDir(dir) {
			continue
		}
		if err := write(filepath.Join(dir, g.name, "tasks"), "0"); err != nil {
			return fmt.Errorf("cgroup: enter %s: %w", g.name, err)
		}
	}
	return nil
}

// LeaveThread moves the calling thread back to the group that the manager
// was made in.
func (m *Manager) LeaveThread() error {
	var failed []error
	for _, dir := range m.dirs() {
		if !m.unifiedDir(dir) {
			failed = append(failed, write(filepath.Join(dir, "tasks"), "0"))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("cgroup: leave: %w", err)
	}
	return nil
}

func (m *Manager) unifiedDir(dir string) bool {
	for c, base := range m.base {
		if base == dir {
			return m.versions[c].Number == 2
		}
	}
	return false
}

func (g *Group) eachFile(name, text string) error {
	for _, dir := range g.made {
		if err := write(filepath.Join(dir, name), text); err != nil {
			return fmt.Errorf("cgroup: %s of %s: %w", name, g.name, err)
		}
	}
	return nil
}

// ErrAbsent is the error for what a controller that is absent would tell.
var ErrAbsent = errors.New("cgroup: the controller is absent")

// CPUTime gives the CPU time that the group has used.
func (g *Group) CPUTime() (time.Duration, error) {
	file := g.CPUTimeFile()
	if file == "" {
		return 0, ErrAbsent
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return ParseCPUTime(b)
}

// CPUTimeFile gives the file that ParseCPUTime reads, which every user may
// read; empty if the controller is absent.
func (g *Group) CPUTimeFile() string {
	file, _ := g.file(CPUAcct, "cpuacct.usage", "cpu.stat")
	return file
}

// ParseCPUTime reads the CPU time off the content of a file that CPUTimeFile
// names: a number of nanoseconds (version 1), or a line usage_usec among
// others (version 2).
func ParseCPUTime(content []byte) (time.Duration, error) {
	text := string(content)
	for line := range strings.Lines(text) {
		if us, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(us), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return time.Duration(ns), err
}

// OOMKills counts the processes of the group that were killed because the
// group reached its memory limit.
func (g *Group) OOMKills() (uint64, error) {
	file, version := g.file(Memory, "memory.oom_control", "memory.events")
	if version == 0 {
		return 0, ErrAbsent
	}
	return field(file, "oom_kill")
}

// field reads one value of a file of "name value" lines.
func field(file, name string) (uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == name {
			return strconv.ParseUint(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no field %s", file, name)
}

// Processes lists the processes of the group.
func (g *Group) Processes() ([]int, error) {
	var all []int
	seen := map[int]bool{}
	for _, dir := range g.made {
		pids, err := processes(dir)
		if err != nil {
			return nil, err
		}
		for _, pid := range pids {
			if !seen[pid] {
				seen[pid] = true
				all = append(all, pid)
			}
		}
	}
	return all, nil
}

func processes(dir string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, optional(err)
	}
	var pids []int
	for line := range strings.Lines(string(b)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Kill sends SIGKILL to every process of the group.
func (g *Group) Kill() error {
	pids, err := g.Processes()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if pid <= 1 || pid == os.Getpid() {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cgroup: kill %d of %s: %w", pid, g.name, err)
		}
	}
	return nil
}

// Remove removes an empty group. It is no error if it is gone already.
func (g *Group) Remove() error {
	if g.unified >= 0 {
		unix.Close(g.unified)
		g.unified = -1
	}
	var failed []error
	for _, dir := range g.made {
		if err := g.manager.host.remove(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			failed = append(failed, fmt.Errorf("cgroup: remove %s: %w", dir, err))
		}
	}
	return errors.Join(failed...)
}

// RemoveWithin is Remove for a group whose last process is on its way out:
// it tries again for as long as patience allows.
func (g *Group) RemoveWithin(patience time.Duration) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		err := g.Remove()
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

// write writes a control file, which exists already.
func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
