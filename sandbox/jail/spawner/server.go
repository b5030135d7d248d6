//go:build linux

package spawner

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/sandbox/jail/cgroup"
)

// Serve is the spawner process. It confines itself to what it needs, removes
// what an earlier one left, sees by a probe that the jail can be made, and
// then serves the socket, which must be a connected SOCK_SEQPACKET, until the
// other end closes it. When it returns, everything that it started is dead
// and its cgroups are gone.
//
// An error means that the host lacks something mandatory (the other end has
// been told), or that the other end sent a message which no node sends.
func Serve(socket int, cfg ServerConfig) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	s, err := newServer(socket, cfg)
	if err == nil {
		defer s.shutDown()
		err = s.prove()
	}
	if err != nil {
		sendEvent(socket, event{op: evFatal, text: err.Error()}, nil)
		return err
	}
	return s.serve()
}

// server is the state of a spawner.
type server struct {
	socket   int
	cfg      ServerConfig
	binary   executable
	kernel   *kernel
	identity identities
	groups   *cgroup.Manager
	report   Report
	devNull  int
	jobs     chan job

	// forking is held for reading from before a process is started until it
	// is in the table and announced, and for writing by the reaper: so no
	// process is waited for before it is known, and none ends unannounced.
	forking sync.RWMutex
	// table guards slots; it is never held while waiting. As the reaper holds
	// it, a process id in slots is not yet waited for and may be signalled.
	table   sync.Mutex
	slots   map[uint32]*slot
	changed *sync.Cond // a slot became free
	sending sync.Mutex
}

// slot is one jailed process, or one about to be started.
type slot struct {
	pid    int // 0 before the start
	kind   Kind
	group  *cgroup.Group
	quiet  bool // its end is not announced
	doomed bool // to be killed as soon as it has been started
}

// job is an order to a forker.
type job struct {
	slot uint32
	kind Kind
	lim  Limits
	// deliver takes the node's ends; it is called before the process can be
	// reaped. nil sends them to the node.
	deliver func(pid int, ends [2]int)
	failed  func(error)
}

// forkers is the number of threads that start processes. More than one, since
// a start waits for the exec of the child.
const forkers = 2

// patience is how long the end of killed processes is waited for.
const patience = 5 * time.Second

func newServer(socket int, cfg ServerConfig) (*server, error) {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	kernel := openKernel(cfg.Kernel)
	if err := confineSelf(cfg); err != nil {
		return nil, err
	}
	binary, err := findExecutable()
	if err != nil {
		return nil, err
	}
	devNull, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("spawner: open /dev/null: %w", err)
	}
	groups, err := cgroup.Detect(cgroup.Host{})
	if err != nil {
		return nil, err
	}
	s := &server{
		socket: socket, cfg: cfg, binary: binary, kernel: kernel, groups: groups, devNull: devNull,
		identity: chooseIdentities(cfg), jobs: make(chan job, cfg.Slots), slots: map[uint32]*slot{},
	}
	s.changed = sync.NewCond(&s.table)
	reaped, err := groups.Reap(s.groupPrefix(), patience)
	if err != nil {
		return nil, fmt.Errorf("spawner: remove the cgroups of an earlier node %s: %w", cfg.Node, err)
	}
	s.report.Reaped, s.report.Kernel, s.report.KernelReason = len(reaped), kernel.reason == "", kernel.reason
	for range forkers {
		go s.fork()
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	go s.reap(ended)
	return s, nil
}

// confineSelf gives up what a spawner does not need. Capabilities over its
// children it has anyway, as the owner of their user namespaces.
func confineSelf(cfg ServerConfig) error {
	const (
		capDACOverride = 1 // the kernel makes root groups with mode 0555
		capSetGID      = 6
		capSetUID      = 7
	)
	// Whatever the node was started with and did not know about must not
	// reach a jailed process.
	const first = jail.Socket + 1
	if err := unix.CloseRange(first, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("spawner: close_range (Linux 5.11 or newer is needed): %w", err)
	}
	unix.CloseOnExec(jail.Socket)
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("spawner: %w", err)
	}
	data := cfg.MaxMemoryBytes + addressSlack
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: data, Max: data}); err != nil {
		var now unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_DATA, &now) != nil || now.Max > data {
			return fmt.Errorf("spawner: cap memory: %w", err)
		}
	}
	if err := jail.NoNewPrivileges(); err != nil {
		return fmt.Errorf("spawner: no new privileges: %w. %s", err, jail.Remedy(err, sysctl))
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := jail.KeepCapabilities(capDACOverride, capSetGID, capSetUID); err != nil {
		return fmt.Errorf("spawner: drop capabilities: %w", err)
	}
	return nil
}

func (s *server) groupPrefix() string { return "carrel." + s.cfg.Node + "." }

// serve takes messages until the socket closes.
func (s *server) serve() error {
	buf := make([]byte, requestSize+1)
	for {
		n, _, flags, _, err := unix.Recvmsg(s.socket, buf, nil, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECONNRESET) || err == nil && n == 0:
			return nil
		case err != nil:
			return fmt.Errorf("spawner: read: %w", err)
		case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
			return fmt.Errorf("spawner: %w", errMalformed)
		}
		r, err := decodeRequest(buf[:n])
		if err != nil {
			return fmt.Errorf("spawner: %w", err)
		}
		s.handle(r)
	}
}

func (s *server) handle(r request) {
	var err error
	switch r.op {
	case opSpawn:
		if err = s.reserve(r); err == nil {
			s.jobs <- job{slot: r.slot, kind: r.kind, lim: r.limits}
			return
		}
		s.send(event{op: evRefused, slot: r.slot, text: err.Error()}, nil)
	case opKill:
		s.kill(r)
	case opLimits:
		e := event{op: evLimited, slot: r.slot}
		if err = s.setLimits(r); err != nil {
			e.text = err.Error()
		}
		s.send(e, nil)
	case opFreeze, opThaw:
		e := event{op: evFrozen, slot: r.slot}
		if err = s.freeze(r); err != nil {
			e.text = err.Error()
		}
		s.send(e, nil)
	}
}

func (s *server) checkLimits(l Limits) error {
	if l.MemoryBytes != 0 && (l.MemoryBytes < minMemory || l.MemoryBytes > s.cfg.MaxMemoryBytes) {
		return fmt.Errorf("memory limit of %d bytes: want %d to %d", l.MemoryBytes, uint64(minMemory), s.cfg.MaxMemoryBytes)
	}
	if l.CPUWeight > 10_000 {
		return fmt.Errorf("CPU weight %d: want 1 to 10000", l.CPUWeight)
	}
	return nil
}

func (s *server) reserve(r request) error {
	if r.slot >= s.cfg.Slots {
		return fmt.Errorf("slot %d: there are %d", r.slot, s.cfg.Slots)
	}
	if err := s.checkLimits(r.limits); err != nil {
		return err
	}
	if r.kind.Kernel() && s.kernel.reason != "" {
		return errors.New(s.kernel.reason)
	}
	s.table.Lock()
	defer s.table.Unlock()
	if s.slots[r.slot] != nil {
		return fmt.Errorf("slot %d is taken", r.slot)
	}
	s.slots[r.slot] = &slot{}
	return nil
}

// kill ends the process of a slot. One that has ended already is none of the
// node's mistakes: the two messages crossed.
func (s *server) kill(r request) {
	s.table.Lock()
	defer s.table.Unlock()
	if sl := s.slots[r.slot]; sl != nil && sl.pid == int(r.pid) {
		sl.kill()
	}
}

// kill ends a process, or marks one that is being started to be ended then.
// The table has to be locked.
func (sl *slot) kill() {
	sl.doomed = true
	if sl.pid > 0 {
		_ = unix.Kill(sl.pid, unix.SIGKILL) // fails only if it is dead
	}
}

func (s *server) setLimits(r request) error {
	if err := s.checkLimits(r.limits); err != nil {
		return err
	}
	s.table.Lock()
	defer s.table.Unlock()
	sl := s.slots[r.slot]
	if sl == nil || sl.pid != int(r.pid) {
		return errors.New("the process has ended")
	}
	if err := sl.group.SetLimits(r.limits.group()); err != nil {
		return err
	}
	return s.capMemory(sl.pid, sl.kind, r.limits)
}

func (l Limits) group() cgroup.Limits {
	return cgroup.Limits{MemoryBytes: l.MemoryBytes, CPUQuota: l.CPUQuota, CPUWeight: l.CPUWeight, PIDs: l.PIDs}
}

// addressSlack is what a Go process maps beyond what it uses: its heap comes
// in arenas of 64 MiB, which count for RLIMIT_DATA when mapped, not when used.
const addressSlack = 256 << 20

// capMemory sets the soft limit, which the jail's filter keeps the process
// from raising; the hard one stays at the spawner's maximum, so that an
// unprivileged spawner can set a larger one later. A sandbox of the wall
// kernel keeps the spawner's own: its memory is its kernel's to hand out.
func (s *server) capMemory(pid int, kind Kind, l Limits) error {
	if kind.Kernel() {
		return nil
	}
	limit := s.cfg.MaxMemoryBytes
	if l.MemoryBytes != 0 {
		limit = l.MemoryBytes
	}
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, nil, &now); err != nil {
		return fmt.Errorf("cap memory: %w", err)
	}
	now.Cur = min(limit+addressSlack, now.Max)
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &now, nil); err != nil {
		return fmt.Errorf("cap memory: %w", err)
	}
	return nil
}

// reap waits for ended processes whenever the kernel tells of any.
func (s *server) reap(ended <-chan os.Signal) {
	for range ended {
		s.forking.Lock()
		for s.reapOne() {
		}
		s.forking.Unlock()
	}
}

func (s *server) reapOne() bool {
	s.table.Lock()
	defer s.table.Unlock()
	var status unix.WaitStatus
	var used unix.Rusage
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, &used)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	for number, sl := range s.slots {
		if sl.pid == pid {
			sl.pid = 0
			sl.doomed = true
			go s.finish(number, sl, exitOf(status, used))
			break
		}
	}
	return true
}

func exitOf(status unix.WaitStatus, used unix.Rusage) Exit {
	e := Exit{
		Status:  status.ExitStatus(),
		CPUTime: time.Duration(used.Utime.Nano() + used.Stime.Nano()),
		MaxRSS:  uint64(used.Maxrss) << 10,
	}
	if status.Signaled() {
		e.Signal = status.Signal()
	}
	return e
}

// finish frees the slot of a process that was waited for, after what is left
// of it is removed: then a new process cannot meet anything of the old one.
func (s *server) finish(number uint32, sl *slot, e Exit) {
	if sl.group != nil {
		if kills, err := sl.group.OOMKills(); err == nil && kills > 0 {
			e.OOMKilled = true
		}
		if used, err := sl.group.CPUTime(); err == nil {
			e.CPUTime = used
		}
		if err := sl.group.RemoveWithin(patience); err != nil {
			// The next process of this slot is refused while the group is there.
			fmt.Fprintf(os.Stderr, "spawner: slot %d: %v\n", number, err)
		}
	}
	s.table.Lock()
	delete(s.slots, number)
	s.changed.Broadcast()
	s.table.Unlock()
	if !sl.quiet {
		s.send(event{op: evExited, slot: number, exit: e}, nil)
	}
}

// shutDown kills everything and waits until it is gone, or patience ends.
func (s *server) shutDown() {
	late := time.AfterFunc(patience, func() {
		s.table.Lock()
		defer s.table.Unlock()
		s.slots = nil
		s.changed.Broadcast()
	})
	defer late.Stop()
	s.table.Lock()
	for _, sl := range s.slots {
		sl.kill()
	}
	for len(s.slots) > 0 {
		s.changed.Wait()
	}
	s.table.Unlock()
}

// send gives an event to the node. If the node is gone, so is the reason for
// the event, and serve is about to see it.
func (s *server) send(e event, fds []int) {
	s.sending.Lock()
	defer s.sending.Unlock()
	sendEvent(s.socket, e, fds)
}

func sendEvent(socket int, e event, fds []int) {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(socket, e.encode(), rights, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
