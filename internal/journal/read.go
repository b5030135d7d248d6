package journal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// Cursor is a place between two records. The zero Cursor is before the
// oldest retained record. A Cursor that Read returned stays good over
// restarts, also when a crash took records back that it had passed.
type Cursor struct {
	// Segment is the number of the file, and Boot the boot that wrote it.
	Segment uint64
	Boot    string
	// Seq is the sequence of the next record.
	Seq uint64
	// Offset is where in the file its frame begins. It saves the search;
	// Read checks it and searches if nothing fits there.
	Offset int64
}

// String gives the text that ParseCursor reads: segment:boot:seq:offset.
func (c Cursor) String() string {
	return fmt.Sprintf("%d:%s:%d:%d", c.Segment, c.Boot, c.Seq, c.Offset)
}

// ParseCursor reads what String gave, and the empty text as the zero Cursor.
func ParseCursor(text string) (Cursor, error) {
	var c Cursor
	if text == "" {
		return c, nil
	}
	bad := fault.New("journal.ParseCursor", fault.Invalid, "%q is not a journal cursor", text)
	parts := strings.Split(text, ":")
	if len(parts) != 4 {
		return c, bad
	}
	var errs [3]error
	c.Segment, errs[0] = strconv.ParseUint(parts[0], 10, 64)
	c.Boot = parts[1]
	c.Seq, errs[1] = strconv.ParseUint(parts[2], 10, 64)
	c.Offset, errs[2] = strconv.ParseInt(parts[3], 10, 64)
	if raw, err := hex.DecodeString(c.Boot); err != nil || len(raw) != bootBytes && c != (Cursor{}) {
		return Cursor{}, bad
	}
	if errors.Join(errs[:]...) != nil || c.Offset < 0 || c.String() != text {
		return Cursor{}, bad
	}
	return c, nil
}

// Stop ends a Read without an error, before the record whose callback
// returned it.
var Stop = errors.New("stop reading")

// Read gives every record from the cursor on to fn, in the order of writing,
// over all retained boots up to what was written when Read began. It returns
// the place after the last record that fn accepted: where fn returns an
// error, before that record. A cursor below what Truncate left gives
// fault.NotFound, one from another journal fault.Precondition, damage a
// *CorruptError.
func (j *Journal) Read(from Cursor, fn func(Record) error) (Cursor, error) {
	const op = "journal.Read"
	segments, err := j.snapshot(op, from)
	if err != nil {
		return from, err
	}
	at := from
	for i := range segments {
		seg := &segments[i]
		if seg.header.number != at.Segment {
			at = Cursor{Segment: seg.header.number, Boot: seg.header.bootText(), Seq: seg.header.first, Offset: headerBytes}
		}
		if at, err = j.readSegment(seg, at, fn); errors.Is(err, Stop) {
			return at, nil
		} else if err != nil {
			return at, err
		}
	}
	return at, nil
}

// snapshot gives the segments from the cursor on, as they are now.
func (j *Journal) snapshot(op string, from Cursor) ([]segment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, fault.Wrap(op, fault.Unavailable, ErrClosed, "the journal cannot be read any more")
	}
	if from == (Cursor{}) {
		return append([]segment(nil), j.segments...), nil
	}
	if from.Segment < j.segments[0].header.number {
		return nil, fault.New(op, fault.NotFound, "the journal begins with segment %d; segment %d was deleted", j.segments[0].header.number, from.Segment)
	}
	seg := j.find(from.Segment)
	if seg == nil || seg.header.bootText() != from.Boot {
		return nil, fault.New(op, fault.Precondition, "the cursor %s does not belong to this journal.", from).
			WithRemedy("If the journal's folder was replaced, begin at its start.")
	}
	return append([]segment(nil), j.segments[from.Segment-j.segments[0].header.number:]...), nil
}

// find gives the retained segment with this number; mu is held.
func (j *Journal) find(number uint64) *segment {
	first := j.segments[0].header.number
	if number < first || number-first >= uint64(len(j.segments)) {
		return nil
	}
	return &j.segments[number-first]
}

// readSegment gives the records of one segment from the cursor on.
func (j *Journal) readSegment(seg *segment, at Cursor, fn func(Record) error) (Cursor, error) {
	const op = "journal.Read"
	if at.Seq >= seg.next {
		at.Offset = seg.size
		return at, nil
	}
	name := fileName(seg.header.number)
	f, err := j.disk.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return at, fault.Wrap(op, fault.NotFound, err, "the journal file %s is gone: its records were shipped and deleted meanwhile", name)
	}
	if err != nil {
		return at, fault.Wrap(op, fault.Unavailable, err, "the journal file %s cannot be opened", name)
	}
	defer f.Close() // only read
	s, bad, err := newSegmentReader(f, seg.size, j.cfg.Sealer)
	if err != nil {
		return at, fault.Wrap(op, fault.Unavailable, err, "the journal file %s cannot be read", name)
	}
	if bad == nil && s.header.raw != seg.header.raw {
		bad = &headerFault{reason: "its header changed since the journal was opened"}
	}
	if bad != nil {
		return at, badHeader(op, name, bad)
	}
	s.seek(at)
	for {
		offset := s.off
		fr, err := s.next()
		if err == io.EOF {
			at.Offset, at.Seq = s.off, max(at.Seq, s.seq)
			return at, nil
		}
		if d, ok := isDamage(err); ok {
			return at, corrupt(op, name, d.offset, d.reason)
		}
		if err != nil {
			return at, fault.Wrap(op, fault.Unavailable, err, "the journal file %s cannot be read", name)
		}
		at.Offset = offset
		if err := deliver(fr, &seg.header, &at, fn); err != nil {
			return at, err
		}
		at.Offset = s.off
	}
}

// deliver gives fn the records of a frame that the cursor has not passed.
func deliver(fr frame, h *segmentHeader, at *Cursor, fn func(Record) error) error {
	rest := fr.records
	for i := range uint64(fr.count) {
		var r Record
		r.Kind, r.Data, rest, _ = cutRecord(rest) // checked by the reader
		r.ID = ID{Node: h.node, Boot: at.Boot, Seq: fr.first + i}
		if r.ID.Seq < at.Seq {
			continue
		}
		if err := fn(r); err != nil {
			at.Seq = r.ID.Seq
			return err
		}
		at.Seq = r.ID.Seq + 1
	}
	return nil
}

// seek goes to the frame that the cursor names if a frame begins there that
// reaches it, and stays at the first frame otherwise.
func (s *segmentReader) seek(at Cursor) {
	if at.Offset <= headerBytes || at.Offset > s.size-frameHeaderBytes {
		return
	}
	raw, err := s.bytes(at.Offset, frameHeaderBytes)
	var h frameHeader
	if err != nil || !h.decode(s.header.seed(), raw) || h.first > at.Seq {
		return
	}
	s.off, s.number, s.seq = at.Offset, h.number, h.first
}

// Wait returns when there is something to read at the cursor, which Read
// returned; with an error when the journal was closed, when it has failed and
// all was read, or when the context ended (then with the context's).
func (j *Journal) Wait(ctx context.Context, after Cursor) error {
	for {
		j.mu.Lock()
		newest := &j.segments[len(j.segments)-1]
		closed, failure := j.closed, j.failure
		ready := after.Segment < newest.header.number || after.Seq < newest.next
		if !ready && !closed && failure == nil && j.grown == nil {
			j.grown = make(chan struct{})
		}
		grown := j.grown
		j.mu.Unlock()
		switch {
		case closed:
			return fault.Wrap("journal.Wait", fault.Unavailable, ErrClosed, "nothing more will be written")
		case ready:
			return nil
		case failure != nil:
			return failure
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wakeReaders wakes all who Wait; mu is held.
func (j *Journal) wakeReaders() {
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
}

// Truncate deletes the segments whose every record lies before the cursor.
// The caller has made what it read durable elsewhere, and the cursor too. The
// segment being written always stays.
func (j *Journal) Truncate(before Cursor) error {
	const op = "journal.Truncate"
	j.deleting.Lock()
	defer j.deleting.Unlock()
	if _, err := j.snapshot(op, before); err != nil {
		return err
	}
	for {
		j.mu.Lock()
		oldest := j.segments[0].header.number
		if oldest >= before.Segment || len(j.segments) == 1 {
			j.mu.Unlock()
			return nil
		}
		j.mu.Unlock()
		// One after the other, each made durable, so that no crash leaves a
		// gap, which the next Open would have to call damage.
		if err := j.disk.Remove(fileName(oldest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.Wrap(op, fault.Unavailable, err, "a shipped journal segment cannot be deleted")
		}
		j.mu.Lock()
		j.segments = append([]segment(nil), j.segments[1:]...)
		j.mu.Unlock()
	}
}
