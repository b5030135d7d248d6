package journal

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/carrel-dev/carrel/fault"
)

// leader is what only the goroutine that leads a batch touches.
type leader struct {
	off    int64  // where the next frame goes
	frame  uint64 // its number
	sealed []byte
	aad    [headerBytes + frameSumsAt]byte
	header segmentHeader // of the active segment

	budget  uint64 // bytes that may be written before the free space is asked for again
	checked time.Time
}

const (
	// spaceStep and spaceAge bound how long an answer about free space is
	// believed.
	spaceStep = 4 << 20
	spaceAge  = time.Second
)

// leadBatch writes the pending batch. It is called with mu held while nobody
// writes and something is pending; it gives mu up meanwhile.
func (j *Journal) leadBatch() {
	j.writing = true
	if j.cfg.Sync == SyncAlways {
		// Those whom the last fsync has just woken are about to append
		// again. Letting them in first doubled what one fsync carries.
		j.mu.Unlock()
		runtime.Gosched()
		j.mu.Lock()
	}
	b := j.pending
	j.flying = b.last()
	buf := j.spare
	if buf == nil {
		buf = make([]byte, frameHeaderBytes, initialBuffer)
	}
	j.spare = nil
	j.pending = batch{buf: buf, first: j.next, side: 1 - b.side}
	synced := j.segments[len(j.segments)-1].synced
	j.mu.Unlock()
	err := j.commit(&b, synced)
	j.mu.Lock()
	j.settle(&b, err)
}

// settle tells everybody how the batch went, and wakes one of those whose
// records wait in the next batch to lead it.
func (j *Journal) settle(b *batch, err error) {
	switch {
	case err == nil:
		seg := &j.segments[len(j.segments)-1]
		seg.size, seg.next, seg.frames = j.lead.off, b.last()+1, j.lead.frame
		if j.cfg.Sync == SyncAlways {
			seg.synced, j.synced = seg.size, b.last()
			j.syncDone.Broadcast()
		}
		j.wakeReaders()
	case errors.Is(err, ErrNotWritten):
		j.failed.add(b.first, b.last(), err)
		j.troubled.Store(true)
	default:
		j.fail(err)
	}
	if j.failure == nil {
		j.settled.Store(b.last())
	}
	j.writing = false
	if cap(b.buf) <= keptBuffer {
		j.spare = b.buf[:frameHeaderBytes]
	}
	j.batches[b.side].Broadcast()
	j.batches[j.pending.side].Signal()
}

// fail poisons the journal: what is on the disk is no longer known.
func (j *Journal) fail(err error) {
	if j.failure == nil {
		j.failure = fault.Wrap("journal", fault.Unavailable, fmt.Errorf("%w: %w", ErrFailed, err), "the node's journal has failed and takes no more records.").
			WithRemedy("Look after the disk and start the node again.")
	}
	j.troubled.Store(true)
	for _, c := range j.batches {
		c.Broadcast()
	}
	j.syncDone.Broadcast()
	j.wakeReaders()
}

// notWritten is the error for a batch that left nothing behind.
func notWritten(err error) error {
	if isFull(err) && !errors.Is(err, ErrDiskFull) {
		err = fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return fmt.Errorf("%w: %w", ErrNotWritten, err)
}

// commit puts the batch into the active segment, or into the next one if it
// does not fit. Its errors are ErrNotWritten, after which all is as before,
// or poison.
func (j *Journal) commit(b *batch, synced int64) error {
	l := &j.lead
	size := int64(len(b.buf))
	if j.cfg.Sealer != nil {
		size += int64(j.cfg.Sealer.Overhead())
	}
	if err := j.space(uint64(size)); err != nil {
		return err
	}
	if l.frame > 0 && l.off+size > j.cfg.SegmentBytes {
		if err := j.roll(); err != nil {
			return err
		}
		synced = headerBytes
	}
	if err := j.writeFrame(b, synced); err != nil {
		return err
	}
	if j.cfg.Sync == SyncAlways {
		if err := j.active.Sync(); err != nil {
			return fmt.Errorf("fsync of %s: %w", fileName(l.header.number), err)
		}
	}
	return nil
}

// space keeps the reserve: it asks how much is free, but not for every batch.
func (j *Journal) space(size uint64) error {
	if j.cfg.Reserve == 0 {
		return nil
	}
	l := &j.lead
	now := j.cfg.Now()
	if age := now.Sub(l.checked); l.budget < size || age < 0 || age > spaceAge {
		free, err := j.disk.Free()
		if err != nil {
			return fmt.Errorf("asking for the free space: %w", err)
		}
		if free < j.cfg.Reserve || free-j.cfg.Reserve < size {
			l.budget = 0
			return notWritten(fmt.Errorf("%w: %d bytes are free, %d are reserved", ErrDiskFull, free, j.cfg.Reserve))
		}
		l.budget, l.checked = min(free-j.cfg.Reserve, max(spaceStep, size)), now
	}
	l.budget -= size
	return nil
}

// writeFrame writes the batch with one write call. Where the disk is full it
// cuts off the part that was written.
func (j *Journal) writeFrame(b *batch, synced int64) error {
	l := &j.lead
	out := l.encode(b, synced, j.cfg.Sealer)
	if _, err := j.active.WriteAt(out, l.off); err != nil {
		err = fmt.Errorf("write to %s: %w", fileName(l.header.number), err)
		if !isFull(err) {
			return err
		}
		if terr := j.active.Truncate(l.off); terr != nil {
			return fmt.Errorf("%w; and the part that was written could not be cut off: %w", err, terr)
		}
		return notWritten(err)
	}
	l.off += int64(len(out))
	l.frame++
	return nil
}

// encode makes the frame of a batch, in place where nothing is sealed. An
// empty batch with count 0 or countClosed makes an end mark.
func (l *leader) encode(b *batch, synced int64, sealer Sealer) []byte {
	payload := len(b.buf) - frameHeaderBytes
	h := frameHeader{count: b.count, number: l.frame, first: b.first, synced: uint64(synced)}
	out := b.buf
	if sealer == nil {
		h.length = uint32(payload)
		h.encodeOpen(out)
	} else {
		h.length = uint32(payload + sealer.Overhead())
		if cap(l.sealed) < frameHeaderBytes+int(h.length) {
			l.sealed = make([]byte, 0, frameHeaderBytes+int(h.length)+initialBuffer)
		}
		out = l.sealed[:frameHeaderBytes]
		h.encodeOpen(out)
		copy(l.aad[:], l.header.raw[:])
		copy(l.aad[headerBytes:], out[:frameSumsAt])
		out = sealer.Seal(out, b.buf[frameHeaderBytes:], l.aad[:])
		if cap(out) > keptBuffer {
			l.sealed = nil
		}
	}
	encodeSums(l.header.seed(), out, out[frameHeaderBytes:])
	return out
}

// markEnd writes the end mark into the active segment and makes the segment
// durable. Its count tells which mark it is. The caller leads, and holds
// handles. Readers are not shown it: it may be taken back.
func (j *Journal) markEnd(count uint32) error {
	j.mu.Lock()
	seg := &j.segments[len(j.segments)-1]
	mark := batch{buf: make([]byte, frameHeaderBytes), first: seg.next, count: count}
	synced := seg.synced
	j.mu.Unlock()
	if err := j.writeFrame(&mark, synced); err != nil {
		return err
	}
	if err := j.active.Sync(); err != nil {
		return fmt.Errorf("fsync of %s: %w", fileName(j.lead.header.number), err)
	}
	return nil
}

// roll finishes the active segment and begins the next one. If the next one
// cannot be made the end mark is taken back, durably, because frames after
// an end mark would be damage.
func (j *Journal) roll() error {
	j.handles.Lock()
	defer j.handles.Unlock()
	l := &j.lead
	off, frame := l.off, l.frame
	if err := j.markEnd(0); err != nil {
		return err
	}
	end := segment{size: l.off, synced: l.off, frames: l.frame}
	f, seg, err := j.create(l.header.number + 1)
	if errors.Is(err, ErrNotWritten) {
		l.off, l.frame = off, frame
		if uerr := errors.Join(j.active.Truncate(off), j.active.Sync()); uerr != nil {
			return fmt.Errorf("taking back the end mark of %s: %w", fileName(l.header.number), uerr)
		}
	}
	if err != nil {
		return err
	}
	old := j.active
	j.mu.Lock()
	done := &j.segments[len(j.segments)-1]
	done.size, done.synced, done.frames = end.size, end.synced, end.frames
	j.active = f
	j.segments = append(j.segments, seg)
	j.synced = max(j.synced, j.settled.Load())
	j.syncDone.Broadcast()
	j.mu.Unlock()
	if err := old.Close(); err != nil {
		return fmt.Errorf("closing a finished segment: %w", err)
	}
	return nil
}

// create makes a segment file with a durable header and prepares the leader
// for it. It returns ErrNotWritten if nothing was left behind.
func (j *Journal) create(number uint64) (file, segment, error) {
	name := fileName(number)
	f, err := j.disk.Create(name)
	if err != nil {
		return nil, segment{}, notWritten(fmt.Errorf("making %s: %w", name, err))
	}
	h := segmentHeader{
		number: number, first: j.settled.Load() + 1, created: j.cfg.Now().UnixNano(),
		boot: j.boot, node: j.cfg.Node, sealed: j.cfg.Sealer != nil,
	}
	h.encode()
	if _, err := f.WriteAt(h.raw[:], 0); err != nil {
		undo := errors.Join(f.Close(), j.disk.Remove(name))
		err = fmt.Errorf("write to %s: %w", name, err)
		if undo == nil && isFull(err) {
			return nil, segment{}, notWritten(err)
		}
		return nil, segment{}, errors.Join(err, undo)
	}
	if err := errors.Join(f.Sync(), j.disk.Sync()); err != nil {
		return nil, segment{}, errors.Join(fmt.Errorf("fsync of %s: %w", name, err), f.Close())
	}
	j.lead.header, j.lead.off, j.lead.frame = h, headerBytes, 0
	return f, segment{header: h, size: headerBytes, next: h.first, synced: headerBytes}, nil
}

// syncActive fsyncs what is settled. It is called with mu held while nobody
// syncs, and gives mu up meanwhile.
func (j *Journal) syncActive() {
	j.syncing = true
	j.mu.Unlock()
	j.handles.Lock()
	j.mu.Lock()
	target, at := j.settled.Load(), len(j.segments)-1
	size, number := j.segments[at].size, j.segments[at].header.number
	j.mu.Unlock()
	err := j.active.Sync()
	j.handles.Unlock()
	j.mu.Lock()
	j.syncing = false
	if err != nil {
		j.fail(fmt.Errorf("fsync of %s: %w", fileName(number), err))
		return
	}
	j.synced = max(j.synced, target)
	if seg := j.find(number); seg != nil {
		seg.synced = max(seg.synced, size)
	}
	j.syncDone.Broadcast()
}

// background writes what nobody waits for and fsyncs what nobody asked to be
// durable, SyncInterval after the first append since the last time.
func (j *Journal) background() {
	defer close(j.stopped)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-j.kick:
		}
		timer.Reset(j.cfg.SyncInterval)
		select {
		case <-j.stop:
			return
		case <-timer.C:
		}
		j.mu.Lock()
		j.armed = false
		j.mu.Unlock()
		if j.flush() != nil {
			return // the journal has failed: every caller is told
		}
	}
}

// spans remembers which sequences were not written. It is bounded: the
// oldest ranges are joined, and what lies between them counts as failed too,
// long after anybody asks.
type spans struct {
	list  []span
	total uint64
}

type span struct {
	first, last uint64
	err         error
}

const maxSpans = 256

// add adds a range above all others.
func (s *spans) add(first, last uint64, err error) {
	s.total += last - first + 1
	if n := len(s.list); n > 0 && s.list[n-1].last+1 == first {
		s.list[n-1].last, s.list[n-1].err = last, err
		return
	}
	s.list = append(s.list, span{first, last, err})
	if len(s.list) > maxSpans {
		s.list[1].first = s.list[0].first
		s.list = append(s.list[:0], s.list[1:]...)
	}
}

// find gives why the sequence was not written, or nil.
func (s *spans) find(seq uint64) error {
	for i := len(s.list) - 1; i >= 0 && s.list[i].last >= seq; i-- {
		if s.list[i].first <= seq {
			return s.list[i].err
		}
	}
	return nil
}
