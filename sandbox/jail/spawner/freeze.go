//go:build linux

package spawner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
)

// A sandbox is frozen by stopping the processes of its kernel, not by the freezer
// of cgroups: that one is not there for ordinary users, and processes that it
// froze (version 1) do not die of SIGKILL. Stopped ones do, so that nothing
// can keep a frozen sandbox alive.

// freeze stops or continues the processes of a sandbox.
func (s *server) freeze(r request) error {
	s.table.Lock()
	defer s.table.Unlock()
	sl := s.slots[r.slot]
	if sl == nil || sl.pid != int(r.pid) {
		return errors.New("the process has ended")
	}
	if !sl.kind.Kernel() {
		return errors.New("only a sandbox with a kernel of its own can be frozen")
	}
	if r.op == opThaw {
		_, err := sl.signal(unix.SIGCONT, nil)
		return err
	}
	// Its kernel could start a process while the others are being stopped; it
	// is among those that are found first, so few rounds suffice.
	const rounds = 8
	stopped := map[int]bool{}
	for range rounds {
		fresh, err := sl.signal(unix.SIGSTOP, stopped)
		if err != nil {
			return err
		}
		if fresh == 0 {
			return nil
		}
	}
	_, err := sl.signal(unix.SIGCONT, nil)
	return errors.Join(errors.New("its processes could not all be stopped"), err)
}

// signal sends a signal to the processes of a sandbox that are not in done,
// and says how many those were. The table is locked, so that none of them has
// been waited for.
func (sl *slot) signal(sig syscall.Signal, done map[int]bool) (int, error) {
	all, err := sl.group.Processes()
	if err != nil || len(all) == 0 {
		all = family(sl.pid) // without cgroups, from the tree of processes
	}
	sent := 0
	for _, pid := range all {
		if done[pid] || pid <= 1 || sig == unix.SIGSTOP && !sl.kernels(pid) {
			continue
		}
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return sent, fmt.Errorf("signal process %d: %w", pid, err)
		}
		sent++
		if done != nil {
			done[pid] = true
		}
	}
	return sent, nil
}

// kernels tells whether a process is the runtime or one that it started: the
// sandbox's kernel and its gofer. Those below run the guest's code for the
// kernel, which loses its guest if somebody else stops them: seen as threads
// that die of SIGSEGV and SIGKILL after a thaw.
func (sl *slot) kernels(pid int) bool {
	if pid == sl.pid {
		return true
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The fields behind the name, which is in parentheses (proc_pid_stat(5)).
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return len(fields) > 1 && fields[1] == fmt.Sprint(sl.pid)
}

// family gives a process and all that descend from it (proc_pid_task(5),
// children).
func family(pid int) []int {
	all := []int{pid}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return all
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(b)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				all = append(all, family(child)...)
			}
		}
	}
	return all
}

// Freeze stops a sandbox of the wall kernel: it uses no processor time until
// Thaw. Killing it works all the same.
//
// Errors: fault.Conflict if the process has ended, or is being frozen or
// thawed; fault.Unavailable if it could not be stopped, and then it runs.
func (p *Process) Freeze(ctx context.Context) error { return p.frozen(ctx, opFreeze) }

// Thaw lets a frozen sandbox go on; one that is not frozen stays as it is.
// Errors are those of Freeze.
func (p *Process) Thaw(ctx context.Context) error { return p.frozen(ctx, opThaw) }

func (p *Process) frozen(ctx context.Context, o op) error {
	const opName = "spawner.Freeze"
	answer := make(chan string, 1)
	c := p.client
	c.mu.Lock()
	t := c.slots[p.Slot]
	if t == nil || t.process != p || t.frozen != nil {
		c.mu.Unlock()
		return fault.New(opName, fault.Conflict, "The process has ended, or is being frozen or thawed.")
	}
	t.frozen = answer
	c.mu.Unlock()
	if err := c.write(request{op: o, slot: p.Slot, pid: uint32(p.PID)}); err != nil {
		return fault.Wrap(opName, fault.Unavailable, err, "The spawner cannot be reached.")
	}
	select {
	case text := <-answer:
		if text != "" {
			return fault.New(opName, fault.Unavailable, "The process was not frozen or thawed: %s", text)
		}
		return nil
	case <-p.done:
		return fault.New(opName, fault.Conflict, "The process has ended.")
	case <-ctx.Done():
		return fault.Wrap(opName, fault.Timeout, ctx.Err(), "The process was not frozen or thawed in time.")
	}
}
