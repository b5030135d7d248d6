//go:build linux

package spawner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/sandbox/jail/cgroup"
)

// fork starts processes for as long as the spawner lives. Its thread is what
// the death signal of the children is tied to, so it must never end.
func (s *server) fork() {
	runtime.LockOSThread()
	for j := range s.jobs {
		if err := s.forkOne(j); err != nil {
			s.table.Lock()
			delete(s.slots, j.slot)
			s.changed.Broadcast()
			s.table.Unlock()
			if j.failed != nil {
				j.failed(err)
				continue
			}
			s.send(event{op: evRefused, slot: j.slot, text: err.Error()}, nil)
		}
	}
}

// forkOne starts one process. On an error nothing of it is left.
func (s *server) forkOne(j job) error {
	group, err := s.groups.Create(s.groupPrefix()+strconv.FormatUint(uint64(j.slot), 10), j.lim.group())
	if err != nil {
		return err
	}
	c, err := newChannel()
	if err != nil {
		return errors.Join(err, group.Remove())
	}
	defer c.close()

	s.forking.RLock()
	defer s.forking.RUnlock()
	pid, err := s.start(j, group, c)
	if err != nil {
		return errors.Join(err, group.Remove())
	}
	capErr := s.capMemory(pid, j.kind, j.lim)
	s.table.Lock()
	sl := s.slots[j.slot]
	if sl != nil {
		sl.pid, sl.kind, sl.group, sl.quiet = pid, j.kind, group, j.deliver != nil
	}
	if sl == nil || sl.doomed || capErr != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	s.table.Unlock()
	if j.deliver != nil {
		j.deliver(pid, c.node)
		c.node = [2]int{-1, -1}
		return nil
	}
	e := event{op: evSpawned, slot: j.slot, pid: uint32(pid)}
	if j.kind.Kernel() {
		// Its processor time is that of many processes.
		e.text = group.CPUTimeFile()
	}
	s.send(e, c.node[:])
	return nil
}

// start makes the process in its cgroup: with version 2 the kernel puts it
// there, with version 1 this thread goes there for the moment.
func (s *server) start(j job, group *cgroup.Group, c *channel) (int, error) {
	id := s.identity.of(j.slot)
	attr := jail.SysProcAttr(id)
	if fd, ok := group.FD(); ok {
		attr.UseCgroupFD, attr.CgroupFD = true, fd
	}
	if err := group.EnterThread(); err != nil {
		return 0, errors.Join(err, s.groups.LeaveThread())
	}
	args := []string{"carrel-worker", j.kind.String()}
	files := []uintptr{uintptr(s.devNull), uintptr(s.devNull), uintptr(c.stderr), uintptr(c.child)}
	if j.kind.Kernel() {
		args, files = s.kernel.args(j.kind), append(files, uintptr(s.kernel.runtime))
	}
	pid, err := syscall.ForkExec(s.binary.path, args, &syscall.ProcAttr{Env: environment(j.kind), Files: files, Sys: attr})
	if left := s.groups.LeaveThread(); left != nil && err == nil {
		// This thread may not stay in a tenant's group.
		_ = unix.Kill(pid, unix.SIGKILL)
		var status unix.WaitStatus
		_, _ = unix.Wait4(pid, &status, 0, nil)
		return 0, left
	}
	if err != nil {
		return 0, fmt.Errorf("a process in namespaces of its own cannot be started (%w). %s", err, jail.Remedy(err, sysctl))
	}
	return pid, nil
}

// environment is all that a jailed process gets. Naming its mappings would be
// a system call for nothing; following the CPU quota of its cgroup would keep
// that cgroup's files open.
func environment(k Kind) []string {
	procs := 1
	if k == Compile {
		procs = 2
	}
	return []string{
		"GODEBUG=containermaxprocs=0,updatemaxprocs=0,decoratemappings=0",
		"GOMAXPROCS=" + strconv.Itoa(procs),
	}
}

func sysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// channel is what connects a jailed process with the node: a socket and a
// pipe for standard error.
type channel struct {
	node   [2]int // socket, read end of the pipe
	child  int
	stderr int
}

func newChannel() (*channel, error) {
	socket, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		unix.Close(socket[0])
		unix.Close(socket[1])
		return nil, fmt.Errorf("pipe: %w", err)
	}
	return &channel{node: [2]int{socket[0], pipe[0]}, child: socket[1], stderr: pipe[1]}, nil
}

func (c *channel) close() {
	for _, fd := range []int{c.node[0], c.node[1], c.child, c.stderr} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// prove starts the probe in slot 0 and takes its report as that of the host.
func (s *server) prove() error {
	type result struct {
		ends [2]int
		err  error
	}
	results := make(chan result, 1)
	s.table.Lock()
	s.slots[0] = &slot{}
	s.table.Unlock()
	s.jobs <- job{
		kind:    probe,
		deliver: func(_ int, ends [2]int) { results <- result{ends: ends} },
		failed:  func(err error) { results <- result{err: err} },
	}
	r := <-results
	if r.err != nil {
		return r.err
	}
	told := os.NewFile(uintptr(r.ends[0]), "probe")
	said := os.NewFile(uintptr(r.ends[1]), "probe's standard error")
	defer told.Close()
	defer said.Close()
	b, err := io.ReadAll(io.LimitReader(told, 1<<16))
	var p jail.Probed
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		why, _ := io.ReadAll(io.LimitReader(said, 1024))
		return fmt.Errorf("the probe in the jail ended early: %s", why)
	}
	s.awaitFree(0)
	if p.Error != "" {
		return errors.New(p.Error)
	}
	return s.announce(p.Report)
}

func (s *server) awaitFree(number uint32) {
	s.table.Lock()
	defer s.table.Unlock()
	for s.slots[number] != nil {
		s.changed.Wait()
	}
}

func (s *server) announce(p jail.Report) error {
	s.report.Namespaces = []string{"user", "mnt", "pid", "net", "ipc", "uts"}
	s.report.Seccomp, s.report.NoNewPrivs, s.report.MemoryCap = true, true, true
	s.report.UniqueUID, s.report.UniqueUIDReason = s.identity.unique, s.identity.reason
	s.report.Landlock = p.Landlock
	s.report.Cgroup = s.groups.Versions()
	b, err := json.Marshal(s.report)
	if err != nil {
		return err
	}
	s.send(event{op: evReady, text: string(b)}, nil)
	return nil
}
