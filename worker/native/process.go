//go:build linux

package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/worker/wire"
)

// sampleEvery is how often the memory of the function's processes is looked
// at while a call runs.
const sampleEvery = 50 * time.Millisecond

// process is the function's process and those that it starts.
type process struct {
	pid    int
	limit  uint64 // of memory, in bytes
	output logPipe
	ended  chan struct{}

	busy   atomic.Bool // a call runs, or the initialisation
	looks  atomic.Bool // sample runs
	peak   atomic.Uint64
	over   atomic.Bool
	killed atomic.Bool
}

// command gives what is started, and with which arguments.
func (s *supervisor) command(p *wire.PackageBody) ([]string, error) {
	switch p.Language {
	case "nodejs":
		return []string{p.Interpreter, "--max-old-space-size=" + strconv.FormatUint(oldSpace(p.MemoryLimit), 10), "-e", nodeBootstrap}, nil
	case "python":
		return []string{p.Interpreter, "-B", "-c", pythonBootstrap}, nil
	case "":
		return []string{filepath.Join(s.options.TaskRoot, "bootstrap")}, nil
	}
	return nil, fmt.Errorf("this worker has no bootstrap for %q", p.Language)
}

// oldSpace is what V8's old generation may have, in MiB: what the function's
// memory leaves after the interpreter's own. V8 collects when it comes near,
// where it would grow until the kernel ends it.
func oldSpace(limit uint64) uint64 {
	mb := limit >> 20
	if mb <= 192 {
		return max(mb/2, 32)
	}
	return mb - 96
}

// environment is the function's: what the node sent, and what only this
// sandbox knows. What the author declared wins over the defaults, as in Lambda.
func (s *supervisor) environment(p *wire.PackageBody) []string {
	root := s.options.TaskRoot
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin", "LANG=en_US.UTF-8", "TZ=:UTC",
		"LD_LIBRARY_PATH=" + root + ":" + root + "/lib",
	}
	env = append(env, p.Env...)
	env = append(env, "AWS_LAMBDA_RUNTIME_API="+s.address, "LAMBDA_TASK_ROOT="+root, "LAMBDA_RUNTIME_DIR=/var/runtime")
	// The last one of a name counts; programs differ in which one they take.
	last := map[string]int{}
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		last[name] = i
	}
	kept := make([]string, 0, len(env))
	for i, e := range env {
		if name, _, _ := strings.Cut(e, "="); last[name] == i {
			kept = append(kept, e)
		}
	}
	return kept
}

// start starts the function's process in a session of its own.
func (s *supervisor) start(b *wire.PackageBody) (*process, error) {
	args, err := s.command(b)
	if err != nil {
		return nil, err
	}
	p := &process{limit: b.MemoryLimit, ended: make(chan struct{})}
	writer, err := p.output.open(int(b.LogLimit))
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		// A sandbox need not have one: an empty pipe is as good.
		if null, err = emptyPipe(); err != nil {
			return nil, err
		}
	}
	defer null.Close()
	p.pid, err = syscall.ForkExec(args[0], args, &syscall.ProcAttr{
		Dir: s.options.TaskRoot, Env: s.environment(b),
		Files: []uintptr{null.Fd(), writer.Fd(), writer.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("fork/exec %s: %w", args[0], err)
	}
	go p.output.read()
	p.beginCall()
	return p, nil
}

func emptyPipe() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return r, w.Close()
}

// wait reaps until the function's process has ended, and says how it did, in
// Lambda's words.
func (p *process) wait() string {
	defer close(p.ended)
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "Runtime exited without providing a reason"
		case pid != p.pid: // one that lost its parent
		case status.Signaled():
			return "Runtime exited with error: signal: " + status.Signal().String()
		case status.ExitStatus() != 0:
			return fmt.Sprintf("Runtime exited with error: exit status %d", status.ExitStatus())
		default:
			return "Runtime exited without providing a reason"
		}
	}
}

// kill ends all processes of the function, and waits for the one that was
// started to be gone.
func (p *process) kill() {
	if p.killed.Swap(true) {
		return
	}
	p.signalAll(unix.SIGKILL)
	select {
	case <-p.ended:
	case <-time.After(time.Second):
	}
}

// signalAll reaches every process of the sandbox where this one is its first.
func (p *process) signalAll(sig unix.Signal) {
	if os.Getpid() == 1 {
		_ = unix.Kill(-1, sig)
		return
	}
	_ = unix.Kill(-p.pid, sig)
}

// beginCall has the memory looked at until endCall.
func (p *process) beginCall() {
	p.busy.Store(true)
	if p.looks.CompareAndSwap(false, true) {
		go p.sample()
	}
}

func (p *process) endCall() { p.busy.Store(false) }

func (p *process) sample() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for range tick.C {
		if p.busy.Load() && !p.killed.Load() {
			p.weigh(p.pids())
			continue
		}
		p.looks.Store(false)
		// A call may have begun between the two lines above.
		if !p.busy.Load() || p.killed.Load() || !p.looks.CompareAndSwap(false, true) {
			return
		}
	}
}

// weigh notes what processes hold, and ends one that alone holds more than
// the function may. Together they are bounded by the sandbox: pages that
// processes share would be counted for each of them here.
func (p *process) weigh(pids []int) {
	var total uint64
	for _, pid := range pids {
		rss := residentBytes(pid)
		total += rss
		if p.limit > 0 && rss > p.limit {
			p.over.Store(true)
			p.signalAll(unix.SIGKILL)
		}
	}
	for {
		old := p.peak.Load()
		if total <= old || p.peak.CompareAndSwap(old, total) {
			return
		}
	}
}

// overMemory tells whether a process was ended for its memory.
func (p *process) overMemory() bool { return p.over.Load() }

func (p *process) peakMemory() uint64 {
	p.weigh([]int{p.pid})
	return p.peak.Load()
}

// pids are the processes of the function: all in the sandbox but this one.
func (p *process) pids() []int {
	if os.Getpid() != 1 {
		return []int{p.pid}
	}
	f, err := os.Open("/proc")
	if err != nil {
		return []int{p.pid}
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return []int{p.pid}
	}
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != 1 {
			all = append(all, pid)
		}
	}
	slices.Sort(all)
	return all
}

// residentBytes reads /proc/PID/statm (proc(5)); zero if the process is gone.
func residentBytes(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 63)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// envValue finds a variable in what the node sent.
func envValue(b *wire.PackageBody, name string) string {
	if b == nil {
		return ""
	}
	for _, e := range b.Env {
		if value, found := strings.CutPrefix(e, name+"="); found {
			return value
		}
	}
	return ""
}

// takeLog gives what the function printed since it was taken last, at most
// limit bytes of it, and how many more there were.
func (p *process) takeLog(limit int) (text []byte, dropped uint64) {
	return p.output.take(limit)
}

// logPipe is the standard output and error of the function, one pipe, so
// that the order of lines is theirs.
type logPipe struct {
	fd    int
	limit int

	mu      sync.Mutex
	text    []byte
	dropped uint64
	chunk   []byte
	eof     bool
}

// open makes the pipe and gives the end for the function.
func (l *logPipe) open(limit int) (*os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	l.fd, l.limit, l.chunk = fds[0], limit, make([]byte, 32<<10)
	return os.NewFile(uintptr(fds[1]), "log"), nil
}

// read takes what the function prints as it comes, so that it never waits for
// room.
func (l *logPipe) read() {
	for {
		ready := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		l.mu.Lock()
		l.drain()
		eof := l.eof
		l.mu.Unlock()
		if eof {
			return
		}
	}
}

// drain reads all there is. The pipe is locked.
func (l *logPipe) drain() {
	for !l.eof {
		n, err := unix.Read(l.fd, l.chunk)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return
		}
		if err != nil || n == 0 {
			l.eof = true
			unix.Close(l.fd)
			return
		}
		kept := min(n, l.limit-len(l.text))
		l.text = append(l.text, l.chunk[:kept]...)
		l.dropped += uint64(n - kept)
	}
}

// take gives all that was printed before it was called.
func (l *logPipe) take(limit int) ([]byte, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drain()
	text, dropped := l.text, l.dropped
	l.text, l.dropped = nil, 0
	if len(text) > limit {
		dropped += uint64(len(text) - limit)
		text = text[:limit]
	}
	return text, dropped
}
