//go:build linux

package process

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/worker/wire"
)

// blank is a confined worker that has not seen a tenant's byte.
type blank struct {
	id    uint64
	proc  *spawner.Process
	conn  *net.UnixConn
	ready wire.ReadyBody
}

// pool keeps blank workers ready, so that a cold start does not wait for a
// process to be made and confined.
type pool struct {
	driver *Driver
	kind   spawner.Kind
	ready  chan *blank
	want   chan struct{}
	// waiting is how many starts wait for a blank worker.
	waiting atomic.Int32
}

func newPool(d *Driver, kind spawner.Kind) *pool {
	size := d.cfg.Blanks
	if kind.Kernel() {
		size = d.cfg.KernelBlanks
	}
	return &pool{driver: d, kind: kind, ready: make(chan *blank, size), want: make(chan struct{}, 1)}
}

// poolOf gives the pool of a kind of process; the first who asks starts it.
func (d *Driver) poolOf(kind spawner.Kind) *pool {
	if p, found := d.pools.Load(kind); found {
		return p.(*pool)
	}
	v, found := d.pools.LoadOrStore(kind, newPool(d, kind))
	p := v.(*pool)
	if !found {
		d.running.Add(1)
		go p.fill()
		p.refill()
	}
	return p
}

func (d *Driver) eachPool(do func(*pool)) {
	d.pools.Range(func(_, v any) bool {
		do(v.(*pool))
		return true
	})
}

// take gives a blank worker if one is ready; nil otherwise.
func (p *pool) take() *blank {
	select {
	case b := <-p.ready:
		p.refill()
		return b
	default:
		return nil
	}
}

// wait gives a blank worker as soon as there is one.
func (p *pool) wait(ctx context.Context) (*blank, error) {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	p.refill()
	select {
	case b := <-p.ready:
		p.refill()
		return b, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no worker became free: %w", context.Cause(ctx))
	}
}

// spare says that a worker has become idle: where starts wait because there
// are as many workers as there may be, it can make room.
func (p *pool) spare() {
	if p.waiting.Load() > 0 {
		p.refill()
	}
}

func (p *pool) refill() {
	select {
	case p.want <- struct{}{}:
	default:
	}
}

// fill makes workers until the pool is full, whenever it is asked to.
func (p *pool) fill() {
	d := p.driver
	defer d.running.Done()
	for {
		select {
		case <-d.stopped.Done():
			return
		case <-p.want:
		}
		for len(p.ready) < cap(p.ready) && d.stopped.Err() == nil {
			if int(d.workers.Load()) >= d.cfg.MaxWorkers && !d.evict() {
				break // asked again when a worker ends
			}
			b, err := p.spawn()
			if d.stopped.Err() != nil {
				if b != nil {
					b.discard()
				}
				return
			}
			if err != nil {
				d.cfg.Log.Error("a worker process could not be made", "error", err)
				retryLater(d.stopped, p)
				break
			}
			select {
			case p.ready <- b:
			case <-d.stopped.Done():
				b.discard()
				return
			}
		}
	}
}

func retryLater(ctx context.Context, p *pool) {
	timer := time.AfterFunc(200*time.Millisecond, p.refill)
	context.AfterFunc(ctx, func() { timer.Stop() })
}

// workerOverhead is what a worker process needs besides its guest's memory:
// its own code and heap, the image's pages, and the stack of a guest that
// recurses without end, which the engine grows to 84 MiB and copies once more.
const workerOverhead = 256 << 20

// kernelOverhead is what a kernel of one's own takes besides: gVisor's sentry
// and gofer have some 50 MiB when idle.
const kernelOverhead = 192 << 20

// limitsFor are the limits of a worker that runs a function of so many MiB.
func limitsFor(kind spawner.Kind, memoryMB int) spawner.Limits {
	l := spawner.Limits{MemoryBytes: uint64(memoryMB)<<20 + workerOverhead, PIDs: 32}
	if kind.Kernel() {
		// The threads of the kernel, and one of the host's for each inside.
		l.MemoryBytes, l.PIDs = l.MemoryBytes+kernelOverhead, 512
	}
	return l
}

// blankMemoryMB is what a blank worker is limited for: most functions need no
// more, so that most cold starts change no limit.
const blankMemoryMB = 128

func (p *pool) spawn() (*blank, error) {
	d := p.driver
	ctx, cancel := context.WithTimeout(d.stopped, startTimeout)
	defer cancel()
	proc, err := d.cfg.Spawner.Spawn(ctx, p.kind, limitsFor(p.kind, blankMemoryMB))
	if err != nil {
		return nil, err
	}
	b, err := newBlank(proc, d)
	if err != nil {
		end(proc)
		return nil, err
	}
	d.workers.Add(1)
	if p.kind == spawner.Worker {
		d.restore.Store(&b.ready.Restore)
	}
	return b, nil
}

// newBlank waits for a process to report that it is confined.
func newBlank(proc *spawner.Process, d *Driver) (*blank, error) {
	conn := proc.Conn
	b := &blank{id: d.nextID.Add(1), proc: proc, conn: conn}
	go drainStderr(proc.Stderr, d, b.id)
	body, err := readFrame(conn, wire.Ready, 4096)
	if err != nil {
		return nil, err
	}
	if b.ready, err = wire.ParseReady(body); err != nil {
		return nil, err
	}
	if b.ready.Version != wire.Version {
		return nil, fault.New("process.spawn", fault.Internal, "carrel-worker speaks protocol %d, this node %d",
			b.ready.Version, wire.Version).WithRemedy("Install both binaries of one release.")
	}
	return b, nil
}

func (b *blank) discard() { end(b.proc) }

// end kills a process, waits until nothing is left of it, and lets go of its
// socket.
func end(p *spawner.Process) spawner.Exit {
	p.Kill()
	exit := p.Wait()
	p.Conn.Close()
	return exit
}

// exitText says how a process ended.
func exitText(e spawner.Exit) string {
	switch {
	case e.Lost:
		return "the spawner went away"
	case e.OOMKilled:
		return "it was killed at its memory limit"
	case e.Signal == syscall.SIGSYS:
		return "it was killed for a forbidden system call"
	case e.Signal != 0:
		return "killed by " + e.Signal.String()
	}
	return fmt.Sprintf("exit status %d", e.Status)
}

func (p *pool) close() {
	for {
		select {
		case b := <-p.ready:
			b.discard()
		default:
			return
		}
	}
}

// readFrame reads one frame of a type from a process, in its start-up.
func readFrame(conn *net.UnixConn, want wire.Type, limit int) ([]byte, error) {
	conn.SetReadDeadline(time.Now().Add(startTimeout))
	defer conn.SetReadDeadline(time.Time{})
	var head [wire.HeaderSize]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, fmt.Errorf("the process ended before it was ready: %w", err)
	}
	h, err := wire.ParseHeader(head[:], limit)
	if err != nil {
		return nil, err
	}
	if h.Type != want {
		return nil, fmt.Errorf("%w: frame of type %d, want %d", wire.ErrFrame, h.Type, want)
	}
	body := make([]byte, h.Len)
	_, err = io.ReadFull(conn, body)
	return body, err
}

// drainStderr logs what a process says on its standard error: a few lines,
// since an escaped worker could say much.
func drainStderr(f *os.File, d *Driver, id uint64) {
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, 16<<10))
	for lines.Scan() {
		d.cfg.Log.Warn("a worker wrote to its standard error", "worker", id, "line", lines.Text())
	}
	io.Copy(io.Discard, f)
}
