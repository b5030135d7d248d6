// Package journal is the node's append-only record log: usage and audit are
// written here before a reply leaves the node, and shipped from here.
//
// Records are gathered in memory and written in batches by whichever caller
// comes first (group commit): Append copies, Write waits for write(2), Sync
// waits for fdatasync(2). Each batch is one frame, sealed where a Sealer is
// given, in segment files below one folder. What Write acknowledged survives
// the death of the process; what Sync acknowledged survives the loss of
// power.
//
// A journal trusts nothing it reads back. At Open every retained frame is
// checked; only bytes that were never fsynced may be missing or torn, and
// those are cut off and reported. Damage anywhere else is refused with file
// and offset. What the package cannot see is the removal of whole frames at
// the very end of the newest segment by somebody who can write to the
// folder: the signed checkpoints of the audit log are there for that.
package journal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/fault"
)

// Bounds of what a caller may hand in.
const (
	// MaxRecordBytes is the largest data of one record.
	MaxRecordBytes = 8 << 20
	// MaxPendingBytes is how much may wait in memory to be written; Append
	// refuses beyond it, so that a stalled disk cannot exhaust the node.
	MaxPendingBytes = 32 << 20
	// MaxNodeBytes is the longest node name.
	MaxNodeBytes = 63
)

// Defaults for the zero values of Config.
const (
	DefaultSyncInterval = 10 * time.Millisecond
	DefaultSegmentBytes = 64 << 20
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotWritten means that the batch of this record was not written,
	// and left nothing behind: the record is not in the journal and never
	// will be. Later records can succeed.
	ErrNotWritten = errors.New("the record was not written")
	// ErrDiskFull comes with ErrNotWritten where space was missing.
	ErrDiskFull = errors.New("no space left for the journal")
	// ErrClosed means that the journal was closed.
	ErrClosed = errors.New("the journal is closed")
	// ErrFailed means that a write or an fsync failed earlier: nothing is
	// accepted any more until the journal is opened anew.
	ErrFailed = errors.New("the journal has failed")
	// ErrRefused means that Append did not take the record.
	ErrRefused = errors.New("the journal did not take the record")
)

// ID names a record for ever: Boot is random at each Open, so no two records
// share an ID even where a crash made the journal forget some.
type ID struct {
	Node string
	Boot string
	Seq  uint64
}

// String gives node/boot/sequence.
func (id ID) String() string {
	return id.Node + "/" + id.Boot + "/" + strconv.FormatUint(id.Seq, 10)
}

// Kind tells the caller's sorts of record apart; the journal does not read it.
type Kind uint8

// Record is one entry. Data is valid until the callback that got it returns.
type Record struct {
	ID   ID
	Kind Kind
	Data []byte
}

// Sync says when written records are made durable.
type Sync int

const (
	// SyncBackground fsyncs SyncInterval after something was written: a
	// power cut can lose that much of what only Write acknowledged.
	SyncBackground Sync = iota
	// SyncAlways fsyncs every batch before Write returns.
	SyncAlways
)

// Sealer encrypts and authenticates frames. It is used from several
// goroutines at once. One key sees a frame for every batch of the node's
// life, tens of thousands a second, so an implementation with random
// 96-bit nonces must derive keys below its key (or use longer nonces):
// such a nonce is good for 2^32 frames only (NIST SP 800-38D, 8.3).
type Sealer interface {
	// Seal appends the sealed plaintext to dst.
	Seal(dst, plaintext, aad []byte) []byte
	// Open appends the plaintext to dst, or fails if anything was changed.
	Open(dst, ciphertext, aad []byte) ([]byte, error)
	// Overhead is how many bytes Seal adds.
	Overhead() int
}

// Config is how a journal is opened. Only Node has no default.
type Config struct {
	// Node names the node in record IDs: letters, digits, dot, dash and
	// underscore, at most MaxNodeBytes.
	Node string
	// Sync says when written records become durable.
	Sync Sync
	// SyncInterval is the delay of SyncBackground, and the longest time
	// that a record nobody waits for stays in memory.
	SyncInterval time.Duration
	// SegmentBytes is the size at which the next segment file is begun. A
	// larger batch makes a larger segment.
	SegmentBytes int64
	// Sealer seals every frame; nil writes them in the clear (tests only).
	Sealer Sealer
	// Reserve is how many bytes of the disk stay free: a batch that would
	// go below fails with ErrDiskFull.
	Reserve uint64
	// Now is the clock for the date in segment headers; nil is time.Now.
	Now func() time.Time
}

func (c *Config) complete() error {
	const op = "journal.Open"
	if c.Node == "" || len(c.Node) > MaxNodeBytes || !validNode(c.Node) {
		return fault.New(op, fault.Invalid, "node name %q is not 1 to %d letters, digits, dots, dashes or underscores", c.Node, MaxNodeBytes)
	}
	if c.Sync != SyncBackground && c.Sync != SyncAlways {
		return fault.New(op, fault.Invalid, "sync mode %d is unknown", c.Sync)
	}
	if c.SyncInterval < 0 || c.SegmentBytes < 0 {
		return fault.New(op, fault.Invalid, "sync interval and segment size must not be negative")
	}
	if c.Sealer != nil && (c.Sealer.Overhead() < 0 || c.Sealer.Overhead() > maxOverhead) {
		return fault.New(op, fault.Invalid, "the sealer adds %d bytes, more than %d", c.Sealer.Overhead(), maxOverhead)
	}
	if c.SyncInterval == 0 {
		c.SyncInterval = DefaultSyncInterval
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

func validNode(name string) bool {
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '.' && r != '-' && r != '_' {
			return false
		}
	}
	return true
}

// Journal is an open journal. Its methods may be called from any goroutine.
type Journal struct {
	cfg      Config
	disk     disk
	boot     [bootBytes]byte
	bootText string
	recovery Recovery

	// settled is the highest sequence whose batch was decided: written (and
	// in SyncAlways fsynced), or failed. troubled is set, before settled
	// moves, when not all of them succeeded; so Write without a lock reads
	// settled first.
	settled  atomic.Uint64
	troubled atomic.Bool

	mu       sync.Mutex
	pending  batch
	spare    []byte // the buffer that the next batch gets
	next     uint64 // sequence of the next record
	writing  bool   // a caller leads a batch
	flying   uint64 // last sequence of the batch being written
	batches  [2]*sync.Cond
	synced   uint64 // everything up to it is durable
	syncing  bool
	syncDone *sync.Cond
	failed   spans
	failure  error // poison: set once, never cleared
	closed   bool
	armed    bool // the background goroutine has been told that there is work
	grown    chan struct{}
	segments []segment // retained, oldest first; the last one is being written
	refused  uint64

	// handles is held while a file is fsynced or changed for another, so
	// that a file is never closed under an fsync. It is taken before mu.
	handles sync.Mutex
	active  file // changed by the leader, under handles and mu
	lead    leader

	deleting sync.Mutex // held by Truncate, taken before mu

	kick    chan struct{}
	stop    chan struct{}
	stopped chan struct{}
}

// batch is a run of records in memory: buf has room for the frame header and
// then the encoded records.
type batch struct {
	buf   []byte
	first uint64
	count uint32
	side  int // which of the two conditions its waiters wait on
}

func (b *batch) last() uint64 { return b.first + uint64(b.count) - 1 }

// open recovers what is on the disk and begins a new segment.
func open(d disk, cfg Config) (*Journal, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	j := &Journal{
		cfg: cfg, disk: d, next: 1,
		kick: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	rand.Read(j.boot[:]) // never fails: crypto/rand ends the process instead
	j.bootText = hex.EncodeToString(j.boot[:])
	for i := range j.batches {
		j.batches[i] = sync.NewCond(&j.mu)
	}
	j.syncDone = sync.NewCond(&j.mu)
	j.pending = batch{buf: make([]byte, frameHeaderBytes, initialBuffer), first: 1}
	if err := j.examine(); err != nil {
		return nil, err
	}
	number := uint64(1)
	if n := len(j.segments); n > 0 {
		number = j.segments[n-1].header.number + 1
	}
	f, seg, err := j.create(number)
	if err != nil {
		return nil, fault.Wrap("journal.Open", fault.Unavailable, err, "the first segment of this start could not be made")
	}
	j.active, j.segments = f, append(j.segments, seg)
	go j.background()
	return j, nil
}

// ID gives the name of the record with this sequence of this Open.
func (j *Journal) ID(seq uint64) ID {
	return ID{Node: j.cfg.Node, Boot: j.bootText, Seq: seq}
}

// Recovery tells what Open found.
func (j *Journal) Recovery() Recovery { return j.recovery }

// Append puts a copy of the record into the current batch and returns its
// sequence, from 1 in steps of 1. It does no I/O: the record is in the
// journal once Write or Sync says so, and is written in the background where
// nobody asks. It returns 0, for which Write and Sync return the error, if
// the journal has failed or is closed, if data is larger than
// MaxRecordBytes, or if MaxPendingBytes are waiting to be written.
func (j *Journal) Append(kind Kind, data []byte) uint64 {
	j.mu.Lock()
	b := &j.pending
	if j.failure != nil || j.closed || len(data) > MaxRecordBytes ||
		len(b.buf)+recordHeaderBytes+len(data) > frameHeaderBytes+MaxPendingBytes {
		j.refused++
		j.mu.Unlock()
		return 0
	}
	b.buf = appendRecord(b.buf, kind, data)
	b.count++
	seq := j.next
	j.next++
	if !j.armed {
		j.armed = true
		select {
		case j.kick <- struct{}{}:
		default:
		}
	}
	j.mu.Unlock()
	return seq
}

// Write returns when the record with this sequence and all before it are
// decided: nil if the record is in the kernel (with SyncAlways: on the
// disk), ErrNotWritten if its batch found no space, ErrFailed if the
// journal is broken. The caller may find itself writing the batch for everybody.
func (j *Journal) Write(seq uint64) error {
	if seq != 0 && seq <= j.settled.Load() && !j.troubled.Load() {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.writeLocked("journal.Write", seq)
}

func (j *Journal) writeLocked(op string, seq uint64) error {
	if err := j.sequenceError(op, seq); err != nil {
		return err
	}
	j.settleLocked(seq)
	if j.failure != nil {
		return j.failure
	}
	if cause := j.failed.find(seq); cause != nil {
		return fault.Wrap(op, fault.Unavailable, cause, "the record was not written to the journal.").
			WithRemedy("See to it that the disk of the data folder has space and the node has file descriptors.")
	}
	return nil
}

// settleLocked returns when the batch with seq is decided or the journal has
// failed, having written it itself if nobody else does.
func (j *Journal) settleLocked(seq uint64) {
	for j.settled.Load() < seq && j.failure == nil {
		switch {
		case !j.writing:
			j.leadBatch()
		case seq <= j.flying:
			j.batches[1-j.pending.side].Wait()
		default:
			j.batches[j.pending.side].Wait()
		}
	}
}

// syncLocked returns when all that was settled up to seq is durable or the
// journal has failed.
func (j *Journal) syncLocked(seq uint64) {
	for j.synced < seq && j.failure == nil {
		if j.syncing {
			j.syncDone.Wait()
		} else {
			j.syncActive()
		}
	}
}

// flush writes and fsyncs all that was appended. Records that a full disk
// has cost do not count: whoever waited for them was told.
func (j *Journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	last := j.next - 1
	j.settleLocked(last)
	j.syncLocked(last)
	return j.failure
}

// sequenceError explains a sequence that cannot be waited for.
func (j *Journal) sequenceError(op string, seq uint64) error {
	switch {
	case j.failure != nil:
		return j.failure
	case seq == 0 && j.closed:
		return fault.Wrap(op, fault.Unavailable, ErrClosed, "the journal takes no more records")
	case seq == 0:
		return fault.Wrap(op, fault.Unavailable, ErrRefused, "the record was not taken: it has more than %d bytes, or %d bytes were waiting to be written", MaxRecordBytes, MaxPendingBytes)
	case seq >= j.next:
		return fault.New(op, fault.Invalid, "sequence %d was not given out yet", seq)
	}
	return nil
}

// Sync returns when the record with this sequence and all before it are on
// the disk, with the errors of Write. One fsync serves all who wait. After a
// failed fsync the kernel may have dropped the very pages that failed, so it
// is never tried again: the journal has failed.
func (j *Journal) Sync(seq uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.writeLocked("journal.Sync", seq); err != nil {
		return err
	}
	j.syncLocked(seq)
	return j.failure
}

// Err is nil while the journal works, and else why it failed (ErrFailed). A
// node whose journal has failed must stop serving. A full disk is no
// failure.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failure
}

// Stats is what a journal holds and did.
type Stats struct {
	// Segments and Bytes are what is retained on the disk.
	Segments int   `json:"segments"`
	Bytes    int64 `json:"bytes"`
	// Last, Settled and Synced are the highest sequence of this Open that
	// was given out, was written or failed, and is on the disk.
	Last    uint64 `json:"last"`
	Settled uint64 `json:"settled"`
	Synced  uint64 `json:"synced"`
	// Refused counts records that Append did not take, Dropped those that
	// were taken and then lost to a full disk.
	Refused uint64 `json:"refused"`
	Dropped uint64 `json:"dropped"`
}

// Stats gives the present figures.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Stats{
		Segments: len(j.segments), Last: j.next - 1, Settled: j.settled.Load(),
		Synced: j.synced, Refused: j.refused, Dropped: j.failed.total,
	}
	for i := range j.segments {
		s.Bytes += j.segments[i].size
	}
	return s
}

// Close writes what is pending, marks the end, makes all of it durable and
// gives the folder free. Appends are refused from the beginning of Close on.
// It returns the first error; a second Close returns ErrClosed.
func (j *Journal) Close() error {
	const op = "journal.Close"
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return fault.Wrap(op, fault.Unavailable, ErrClosed, "the journal was closed before")
	}
	j.closed = true
	j.mu.Unlock()
	close(j.stop)
	<-j.stopped
	// All is durable before the end mark claims it: after such a mark the
	// next Open can tell any damage from a torn write.
	err := j.flush()
	j.mu.Lock()
	for j.writing || j.syncing {
		if j.writing {
			j.batches[1-j.pending.side].Wait()
		} else {
			j.syncDone.Wait()
		}
	}
	j.wakeReaders()
	j.mu.Unlock()
	j.handles.Lock()
	defer j.handles.Unlock()
	if err == nil {
		err = j.markEnd(countClosed)
	}
	return errors.Join(err, j.active.Close(), j.disk.Close())
}
