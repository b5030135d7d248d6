//go:build linux

package spawner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/sandbox/jail/cgroup"
)

// Config says how the node starts its spawner.
type Config struct {
	// Binary is the path of carrel-worker.
	Binary string
	// Server is what the spawner is told.
	Server ServerConfig
	// Log takes what the spawner itself has to say; nil is standard error.
	Log *os.File
}

// startPatience is how long a spawner may take until it is ready.
const startPatience = 20 * time.Second

// Client is the node's side of a spawner. Its methods may be called by
// several goroutines at once.
type Client struct {
	conn    *net.UnixConn
	cmd     *exec.Cmd
	report  Report
	stopped chan struct{} // closed when the socket has ended and every Process is done
	ended   chan struct{} // closed when the spawner process has been waited for

	mu      sync.Mutex
	free    []uint32 // oldest first, so that a user id rests before its next use
	slots   map[uint32]*tenure
	closing bool
}

// tenure is what the client knows of a slot that is in use.
type tenure struct {
	kind    Kind
	spawned chan spawned // takes one
	process *Process     // nil until spawned
	limited chan string  // set while SetLimits waits
	frozen  chan string  // set while Freeze or Thaw waits
}

type spawned struct {
	process *Process
	err     error
}

// Start starts a spawner and waits until it is ready to spawn. Where the host
// lacks something mandatory the error is of kind fault.Unavailable and says
// what to do about it.
func Start(cfg Config) (*Client, error) {
	const opName = "spawner.Start"
	if err := cfg.Server.Validate(); err != nil {
		return nil, fault.Wrap(opName, fault.Invalid, err, "The spawner's configuration is not valid.")
	}
	conn, theirs, err := seqpacketPair()
	if err != nil {
		return nil, fault.Wrap(opName, fault.Unavailable, err, "The socket to the spawner cannot be made.")
	}
	defer theirs.Close()
	cmd, err := cfg.start(theirs)
	if err != nil {
		conn.Close()
		return nil, fault.Wrap(opName, fault.Unavailable, err, "The spawner %s cannot be started.", cfg.Binary).
			WithRemedy("Install carrel-worker beside carrel, executable for the node's user.")
	}
	c := &Client{
		conn: conn, cmd: cmd, slots: map[uint32]*tenure{}, free: make([]uint32, cfg.Server.Slots),
		stopped: make(chan struct{}), ended: make(chan struct{}),
	}
	for i := range c.free {
		c.free[i] = uint32(i)
	}
	go func() {
		_ = cmd.Wait() // its exit code says nothing that the socket did not
		close(c.ended)
	}()
	if err := c.awaitReady(); err != nil {
		conn.Close()
		<-c.ended
		return nil, err
	}
	go c.read()
	return c, nil
}

// start starts the spawner's process. If it makes sandboxes of the wall
// kernel and may, it gets a mount namespace of its own, where it can show its
// children files that their users do not reach by name.
func (cfg Config) start(socket *os.File) (*exec.Cmd, error) {
	try := func(staged bool) (*exec.Cmd, error) {
		server, attr := cfg.Server, &syscall.SysProcAttr{Setsid: true}
		if server.Kernel != nil {
			kernel := *server.Kernel
			kernel.Staged = staged
			server.Kernel = &kernel
		}
		if staged {
			attr.Unshareflags = syscall.CLONE_NEWNS
		}
		arg, err := json.Marshal(server)
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(cfg.Binary, "spawner", string(arg))
		cmd.Env = []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0", "GOMAXPROCS=2"}
		cmd.ExtraFiles = []*os.File{socket}
		cmd.Stderr = cfg.Log
		if cfg.Log == nil {
			cmd.Stderr = os.Stderr
		}
		cmd.SysProcAttr = attr
		return cmd, cmd.Start()
	}
	if cfg.Server.Kernel != nil && os.Geteuid() == 0 {
		if cmd, err := try(true); !errors.Is(err, syscall.EPERM) {
			return cmd, err
		}
	}
	return try(false)
}

func seqpacketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	conn, err := unixConn(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return conn, os.NewFile(uintptr(fds[1]), "spawner"), nil
}

// unixConn takes over a descriptor of a unix socket.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "unix socket")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("not a unix socket")
	}
	return u, nil
}

func (c *Client) awaitReady() error {
	const opName = "spawner.Start"
	if err := c.conn.SetReadDeadline(time.Now().Add(startPatience)); err != nil {
		return fault.Wrap(opName, fault.Internal, err, "set deadline")
	}
	e, _, err := c.receive()
	switch {
	case err != nil:
		return fault.Wrap(opName, fault.Unavailable, err, "The spawner ended before it was ready; its log says why.")
	case e.op == evFatal:
		return fault.New(opName, fault.Unavailable, "Functions cannot be isolated on this host: %s", e.text)
	case e.op != evReady:
		return fault.New(opName, fault.Internal, "the spawner began with event %d", e.op)
	}
	if err := json.Unmarshal([]byte(e.text), &c.report); err != nil {
		return fault.Wrap(opName, fault.Internal, err, "decode the spawner's report")
	}
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		return fault.Wrap(opName, fault.Internal, err, "clear deadline")
	}
	return nil
}

// Status says which parts of the jail are in force.
func (c *Client) Status() Report { return c.report }

// Done is closed when the spawner is gone, by Close or by itself; every
// process that it had started is dead then.
func (c *Client) Done() <-chan struct{} { return c.stopped }

// Close ends the spawner and with it all processes, and waits for that. It
// may be called again, and after the spawner has gone by itself.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	err := c.conn.Close()
	<-c.stopped
	<-c.ended
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Spawn starts a blank jailed process. It is fault.Throttled if every slot is
// taken and fault.Unavailable if the process cannot be made. When ctx ends
// first, a process that comes into being all the same is killed.
func (c *Client) Spawn(ctx context.Context, kind Kind, l Limits) (*Process, error) {
	const opName = "spawner.Spawn"
	t := &tenure{kind: kind, spawned: make(chan spawned, 1)}
	slot, err := c.take(t)
	if err != nil {
		return nil, err
	}
	if err := c.write(request{op: opSpawn, kind: kind, slot: slot, limits: l}); err != nil {
		return nil, fault.Wrap(opName, fault.Unavailable, err, "The spawner cannot be reached.")
	}
	select {
	case s := <-t.spawned:
		return s.process, s.err
	case <-ctx.Done():
		go func() {
			if s := <-t.spawned; s.process != nil {
				_ = s.process.Kill()
				_ = s.process.Close()
			}
		}()
		return nil, fault.Wrap(opName, fault.Timeout, ctx.Err(), "No process was made in time.")
	}
}

func (c *Client) take(t *tenure) (uint32, error) {
	const opName = "spawner.Spawn"
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slots == nil || c.closing {
		return 0, fault.New(opName, fault.Unavailable, "The spawner is gone.")
	}
	if len(c.free) == 0 {
		return 0, fault.New(opName, fault.Throttled, "All %d process slots are taken.", len(c.slots)).
			WithRemedy("Raise the node's number of process slots, or end idle workers.")
	}
	slot := c.free[0]
	c.free = c.free[1:]
	c.slots[slot] = t
	return slot, nil
}

func (c *Client) write(r request) error {
	_, err := c.conn.Write(r.encode())
	return err
}

// receive takes one event and the descriptors that came with it.
func (c *Client) receive() (event, []int, error) {
	buf := make([]byte, eventSize+1)
	oob := make([]byte, unix.CmsgSpace(2*4))
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return event{}, nil, err
	}
	fds := descriptors(oob[:oobn])
	e, err := decodeEvent(buf[:n])
	if err == nil && (flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || (len(fds) == 2) != (e.op == evSpawned)) {
		err = errMalformed
	}
	if err != nil {
		closeAll(fds)
		return event{}, nil, err
	}
	return e, fds, nil
}

func descriptors(oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var all []int
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// read takes events until the socket ends, which is the end of everything.
func (c *Client) read() {
	defer c.lose()
	for {
		e, fds, err := c.receive()
		if err != nil {
			return
		}
		c.mu.Lock()
		t := c.slots[e.slot]
		c.mu.Unlock()
		if t == nil {
			closeAll(fds)
			continue
		}
		switch e.op {
		case evSpawned:
			c.begin(t, e, fds)
		case evRefused:
			c.release(e.slot)
			t.spawned <- spawned{err: fault.New("spawner.Spawn", fault.Unavailable, "The process was refused: %s", e.text)}
		case evLimited:
			c.mu.Lock()
			waiting := t.limited
			t.limited = nil
			c.mu.Unlock()
			if waiting != nil {
				waiting <- e.text
			}
		case evFrozen:
			c.mu.Lock()
			waiting := t.frozen
			t.frozen = nil
			c.mu.Unlock()
			if waiting != nil {
				waiting <- e.text
			}
		case evExited:
			c.release(e.slot)
			if t.process != nil {
				t.process.end(e.exit)
			}
		}
	}
}

// begin makes a Process of a spawned event. Only the reading goroutine sets
// and reads tenure.process.
func (c *Client) begin(t *tenure, e event, fds []int) {
	conn, err := unixConn(fds[0])
	if err == nil {
		err = unix.SetNonblock(fds[1], true) // so that reading it holds no thread
	}
	stderr := os.NewFile(uintptr(fds[1]), "standard error of a jailed process")
	p := &Process{Slot: e.slot, PID: int(e.pid), Conn: conn, Stderr: stderr, client: c, done: make(chan struct{})}
	if t.kind.Kernel() {
		p.group = true
		if e.text != "" {
			p.usage, _ = os.Open(e.text) // without it CPUTime says so
		}
	}
	t.process = p
	if err != nil {
		stderr.Close()
		if conn != nil {
			conn.Close()
		}
		_ = p.Kill()
		t.spawned <- spawned{err: fault.Wrap("spawner.Spawn", fault.Internal, err, "take over the socket")}
		return
	}
	t.spawned <- spawned{process: p}
}

func (c *Client) release(slot uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.slots, slot)
	c.free = append(c.free, slot)
}

// lose ends every process and every waiting Spawn: without its spawner none
// is alive, or will be.
func (c *Client) lose() {
	c.conn.Close()
	<-c.ended
	c.mu.Lock()
	slots := c.slots
	c.slots, c.free = nil, nil
	c.mu.Unlock()
	for _, t := range slots {
		if t.process != nil {
			t.process.end(Exit{Status: -1, Signal: syscall.SIGKILL, Lost: true})
			continue
		}
		t.spawned <- spawned{err: fault.New("spawner.Spawn", fault.Unavailable, "The spawner is gone.")}
	}
	close(c.stopped)
}

// Process is a jailed process.
type Process struct {
	// Slot is the process's number while it lives.
	Slot uint32
	// PID is its id on the host, for CPUTime.
	PID int
	// Conn is the node's end of the socket that the process has as jail.Socket.
	Conn *net.UnixConn
	// Stderr is where the process's standard error can be read.
	Stderr *os.File

	client *Client
	group  bool     // its processor time is that of a group of processes
	usage  *os.File // where that is, nil if nowhere
	done   chan struct{}
	exit   Exit
}

// Kill ends the process; Wait tells when it has. It is no error if it has
// ended already.
func (p *Process) Kill() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.client.write(request{op: opKill, slot: p.Slot, pid: uint32(p.PID)}); err != nil {
		return fault.Wrap("spawner.Kill", fault.Unavailable, err, "The spawner cannot be reached.")
	}
	return nil
}

// SetLimits changes the limits of the process, for instance when a blank
// worker is given to a function. One change at a time.
func (p *Process) SetLimits(ctx context.Context, l Limits) error {
	const opName = "spawner.SetLimits"
	answer := make(chan string, 1)
	c := p.client
	c.mu.Lock()
	t := c.slots[p.Slot]
	if t == nil || t.process != p || t.limited != nil {
		c.mu.Unlock()
		return fault.New(opName, fault.Conflict, "The process has ended, or its limits are being changed.")
	}
	t.limited = answer
	c.mu.Unlock()
	if err := c.write(request{op: opLimits, slot: p.Slot, pid: uint32(p.PID), limits: l}); err != nil {
		return fault.Wrap(opName, fault.Unavailable, err, "The spawner cannot be reached.")
	}
	select {
	case text := <-answer:
		if text != "" {
			return fault.New(opName, fault.Unavailable, "The limits were not set: %s", text)
		}
		return nil
	case <-p.done:
		return fault.New(opName, fault.Conflict, "The process has ended.")
	case <-ctx.Done():
		return fault.Wrap(opName, fault.Timeout, ctx.Err(), "The limits were not set in time.")
	}
}

// Done is closed when the process has ended and nothing is left of it.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the process has ended and says how.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Close gives up the socket and the pipe; a worker ends when its socket
// closes. It does not kill: use Kill for a process that is not trusted to end.
func (p *Process) Close() error { return errors.Join(p.Conn.Close(), p.Stderr.Close()) }

// ErrNoCPUTime is the error of CPUTime for a process of the wall kernel on a
// host without a cgroup that counts.
var ErrNoCPUTime = errors.New("spawner: the processor time of the process is not counted on this host")

// CPUTime gives the CPU time that the process has used, as the kernel counts
// it.
func (p *Process) CPUTime() (time.Duration, error) {
	select {
	case <-p.done:
		return p.exit.CPUTime, nil
	default:
	}
	if !p.group {
		return CPUTime(p.PID)
	}
	if p.usage == nil {
		return 0, ErrNoCPUTime
	}
	var room [1024]byte
	n, err := p.usage.ReadAt(room[:], 0)
	if err != nil && err != io.EOF {
		return 0, fmt.Errorf("spawner: %w", err)
	}
	return cgroup.ParseCPUTime(room[:n])
}

func (p *Process) end(e Exit) {
	p.exit = e
	close(p.done)
	if p.usage != nil {
		p.usage.Close()
	}
}

// String names the process for logs.
func (p *Process) String() string { return fmt.Sprintf("process %d in slot %d", p.PID, p.Slot) }
