//go:build linux

// Package process is the sandbox driver for the walls "process" and "kernel":
// each tenant's function version runs in jailed worker processes of its own,
// which are never given to anybody else. Behind the wall kernel such a process
// also has a kernel of its own (package gvisor); to the driver that is another
// kind of process from the same spawner.
//
// # Life of a call
//
// Run finds the group of the call's owner and version, picks one of its
// workers and appends a frame to that worker's buffer. Whoever finds the
// buffer idle becomes its flusher: it writes the journal out up to the last
// decision in the buffer, then the buffer in one write. The worker's reader
// takes replies in batches, measures the processor time the batch took,
// records all outcomes, writes the journal out once, and only then wakes the
// callers. A worker that sits on one call for too long has the calls behind
// it taken back and run elsewhere; one that will not stop is killed.
//
// What comes from a worker is hostile: it names calls by random handles, and
// anything that does not fit kills it. Fuel and durations are claims, held
// against the processor time that the kernel counted.
package process

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	crand "crypto/rand"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/function/native"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/sandbox"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/tenant"
)

// Journal is what the driver needs of the node journal: to have records
// written before it acts on them.
type Journal interface {
	Write(seq uint64) error
}

// LoadArtifact gives an artefact's plain bytes.
type LoadArtifact func(ctx context.Context, account tenant.UID, digest function.Digest) ([]byte, error)

// Spawner makes confined processes.
type Spawner interface {
	Spawn(context.Context, spawner.Kind, spawner.Limits) (*spawner.Process, error)
}

// Config is what a Driver needs. All fields without a default are required.
type Config struct {
	Spawner  Spawner
	Journal  Journal
	Artifact LoadArtifact
	// Seed draws the randomness of a call from its request id.
	Seed func(requestID string, attempt int) [32]byte
	Log  *slog.Logger
	Now  func() time.Time
	// Host serves what functions ask of the platform; nil if they may not.
	Host Host
	// Region is AWS_REGION in a command's environment.
	Region string
	// WallOf says what has to stand between a call and others when it begins;
	// nil is the wall process for all. It is asked each time that a call is
	// about to be given to a worker, so that a stronger wall holds at once.
	WallOf func(*call.Call) isolation.Wall
	// Blanks is how many confined workers wait ready (default 4).
	Blanks int
	// KernelBlanks is how many sandboxes of each kind with a kernel of their
	// own wait ready, once one was asked for (default 1).
	KernelBlanks int
	// Native is what the host has for native functions; nil if nothing.
	Native *native.Host
	// Fresh has each call of a native function run in a sandbox of its own.
	Fresh bool
	// MaxWorkers bounds the worker processes of the node (default 1000).
	MaxWorkers int
	// Idle is how long a worker without calls is kept (default 10 minutes).
	Idle time.Duration
	// Stall is how long a worker may sit on one call before the calls behind
	// it are run elsewhere (default 3 ms).
	Stall time.Duration
	// Grace is how long after its limit a call may still end by itself before
	// its worker is killed (default 40 ms).
	Grace time.Duration
	// CacheBytes bounds the artefacts kept in memory (default 512 MiB).
	CacheBytes int64
	// LogLimit bounds what one call may print, in bytes (default 256 KiB).
	LogLimit uint32
	// OutputLimit bounds a result, in bytes (default 6,291,556, as in Lambda).
	OutputLimit uint32
}

func (c *Config) complete() {
	if c.WallOf == nil {
		c.WallOf = func(*call.Call) isolation.Wall { return isolation.Process }
	}
	orDefault(&c.Blanks, 4)
	orDefault(&c.KernelBlanks, 1)
	orDefault(&c.MaxWorkers, 1000)
	orDefault(&c.Idle, 10*time.Minute)
	orDefault(&c.Stall, 3*time.Millisecond)
	orDefault(&c.Grace, 40*time.Millisecond)
	orDefault(&c.CacheBytes, 512<<20)
	orDefault(&c.LogLimit, 256<<10)
	orDefault(&c.OutputLimit, call.MaxResult)
}

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Driver runs jobs in worker processes. It implements sandbox.Driver.
type Driver struct {
	cfg       Config
	pools     sync.Map // spawner.Kind -> *pool
	artifacts *artifacts
	groups    sync.Map // groupKey -> *group
	watched   watched
	workers   atomic.Int64
	nextID    atomic.Uint64
	restore   atomic.Pointer[string]
	handles   handles
	stop      context.CancelFunc
	stopped   context.Context
	running   sync.WaitGroup
	counts    Counts
	waits     waits
	slots     sync.Pool // of *slot
}

// Counts are the driver's counters since its start.
type Counts struct {
	ColdStarts atomic.Uint64
	Crashes    atomic.Uint64
	Kills      atomic.Uint64
	Stolen     atomic.Uint64
	Alarms     atomic.Uint64
	Evicted    atomic.Uint64
}

// groupKey is who a worker belongs to: one owner, one function version at
// one revision. Nothing shorter may share a process.
type groupKey struct {
	owner    tenant.Identity
	account  tenant.UID
	function tenant.UID
	version  string
	artifact function.Digest
	memoryMB int
	// revision tells apart what a native function's process is started with.
	revision string
	// kind is what its workers are made of: the wall.
	kind spawner.Kind
}

// New makes a Driver and begins to fill its pool of blank workers.
func New(cfg Config) *Driver {
	cfg.complete()
	ctx, cancel := context.WithCancel(context.Background())
	d := &Driver{cfg: cfg, slots: sync.Pool{New: func() any { return &slot{done: make(chan struct{}, 1)} }}, watched: watched{wake: make(chan struct{}, 1)}, stop: cancel, stopped: ctx}
	d.handles.seed()
	d.artifacts = newArtifacts(cfg.Artifact, cfg.CacheBytes)
	d.poolOf(spawner.Worker)
	d.running.Add(2)
	go d.watch()
	go d.reap()
	return d
}

// Prepare keeps a new artefact at hand for its first call.
func (d *Driver) Prepare(account tenant.UID, digest function.Digest, content []byte) {
	d.artifacts.put(artifactKey{account, digest}, content)
}

// Close kills every worker and waits until they are gone. Calls that still
// run end as failures of the platform.
func (d *Driver) Close() {
	d.stop()
	d.eachPool((*pool).close)
	d.eachWorker(func(_ *group, w *worker) { w.kill("the node stops") })
	d.running.Wait()
	d.artifacts.close()
}

// Counters gives the counters.
func (d *Driver) Counters() *Counts { return &d.counts }

// RestoreMethod says how workers undo a call, as the newest blank one
// reported; empty before there was one.
func (d *Driver) RestoreMethod() string {
	if r := d.restore.Load(); r != nil {
		return *r
	}
	return ""
}

// Workers gives the number of worker processes, blank ones included.
func (d *Driver) Workers() int { return int(d.workers.Load()) }

// BlanksReady gives the number of confined workers that wait for a function.
func (d *Driver) BlanksReady() int { return len(d.poolOf(spawner.Worker).ready) }

// KernelBlanksReady gives the number of sandboxes with a kernel of their own
// that wait for a function.
func (d *Driver) KernelBlanksReady() (n int) {
	d.eachPool(func(p *pool) {
		if p.kind.Kernel() {
			n += len(p.ready)
		}
	})
	return n
}

// PrepareKernel begins to keep sandboxes of a kernel kind ready, before the
// first call asks for one.
func (d *Driver) PrepareKernel(kind spawner.Kind) {
	if kind.Kernel() {
		d.poolOf(kind)
	}
}

// Run implements sandbox.Driver.
func (d *Driver) Run(ctx context.Context, job sandbox.Job) *call.Outcome {
	c := job.Ticket.Call()
	s := d.slot(job)
	defer d.slots.Put(s)
	if c.Stream != nil {
		s.pieces = sandbox.NewPieces(c)
	}
	d.dispatch(s)
	if c.Stream != nil {
		s.pieces.Deliver(s.done, s.credit)
	} else {
		<-s.done
	}
	s.pieces = nil
	outcome := s.outcome
	return &outcome
}

// keepFrame is the largest frame whose buffer is kept for a later call.
const keepFrame = 64 << 10

// slot gives a call its slot. Once the caller is woken nobody else holds it,
// so it serves the next call then.
func (d *Driver) slot(job sandbox.Job) *slot {
	s := d.slots.Get().(*slot)
	s.job, s.handle, s.cold, s.batch, s.outcome = job, d.handles.next(), false, 0, call.Outcome{}
	s.asked.Store(false)
	s.asks = 0
	s.from.Store(nil)
	if cap(s.frame) > keepFrame {
		s.frame = nil
	}
	s.frame = d.appendRun(s.frame[:0], s)
	return s
}

func (d *Driver) groupOf(key groupKey) *group {
	if g, found := d.groups.Load(key); found {
		return g.(*group)
	}
	g, _ := d.groups.LoadOrStore(key, &group{driver: d, key: key})
	return g.(*group)
}

// slot is one call on its way through a worker.
type slot struct {
	job     sandbox.Job
	handle  uint64
	done    chan struct{}
	outcome call.Outcome
	sent    time.Time
	// frame is the call as the worker gets it, and batch the write it went
	// out with; zero while it waits for that.
	frame []byte
	batch uint64
	// cold says that this call made the worker start.
	cold bool
	// asked says that the worker was asked to give the call back.
	asked atomic.Bool
	// asks is how often the call asked the host for something, and endAsk ends
	// what it waits for; nil if it does not. The worker's lock guards them.
	asks   int
	endAsk context.CancelFunc
	// pieces are of a result that is given in pieces, and from is the worker
	// that gives them; nil while there are none.
	pieces *sandbox.Pieces
	from   atomic.Pointer[worker]
}

// finish records the outcome of calls and wakes their callers once the
// records are written.
func (d *Driver) finish(slots []*slot) {
	d.record(slots)
	wake(slots)
}

// wake lets the callers have their recorded outcomes. It is the only way a
// slot ends.
func wake(slots []*slot) {
	for _, s := range slots {
		s.ended()
		s.done <- struct{}{}
	}
}

// record puts the outcomes of calls on the journal and has it written.
func (d *Driver) record(slots []*slot) {
	var last uint64
	now := d.cfg.Now()
	for _, s := range slots {
		s.outcome.Ended = now
		if s.pieces != nil {
			s.pieces.Finish(&s.outcome)
		}
		seq := s.job.Recorder.Record(s.job.Ticket, &s.outcome)
		if seq == 0 {
			// The journal took the others' records, perhaps, but not this one.
			s.unrecorded(d.cfg.Journal.Write(0))
		}
		last = max(last, seq)
	}
	if last == 0 {
		return
	}
	if err := d.cfg.Journal.Write(last); err != nil {
		for _, s := range slots {
			s.unrecorded(err)
		}
	}
}

// unrecorded makes the outcome of a call that ran a failure: what is not on
// the journal must not be answered as done.
func (s *slot) unrecorded(cause error) {
	s.outcome.Result, s.outcome.Payload = call.PlatformError, nil
	s.outcome.Err = fault.Wrap("process.Run", fault.Unavailable, cause,
		"the call ran, but its record could not be written to the node's journal")
}

// fail ends calls that no function is to blame for.
func (d *Driver) fail(err error, slots ...*slot) {
	if len(slots) == 0 {
		return
	}
	for _, s := range slots {
		s.outcome.Result = call.PlatformError
		s.outcome.Err = err
	}
	d.finish(slots)
}

func (d *Driver) eachWorker(do func(*group, *worker)) {
	d.groups.Range(func(_, v any) bool {
		g := v.(*group)
		for _, w := range g.list() {
			do(g, w)
		}
		return true
	})
}

// handles makes the random names of open calls. A worker that guesses one
// can only answer for its own tenant's calls: a handle is looked up in the
// worker's own queue.
type handles struct {
	shards [8]struct {
		sync.Mutex
		rng *rand.ChaCha8
		_   [40]byte // keeps shards on cache lines of their own
	}
	turn atomic.Uint32
}

func (h *handles) seed() {
	for i := range h.shards {
		var seed [32]byte
		crand.Read(seed[:]) // never fails
		h.shards[i].rng = rand.NewChaCha8(seed)
	}
}

func (h *handles) next() uint64 {
	s := &h.shards[h.turn.Add(1)%uint32(len(h.shards))]
	s.Lock()
	defer s.Unlock()
	return s.rng.Uint64()
}

// hotWorkers is how many workers of one version may be busy with short calls
// at once: more than half the processors only adds switches between them.
func hotWorkers() int { return max(1, runtime.GOMAXPROCS(0)/2) }
