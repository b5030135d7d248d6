package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/carrel-dev/carrel/fault"
)

// Recovery is what Open found in the folder.
type Recovery struct {
	// Segments and Records are what earlier boots left to be shipped.
	Segments int
	Records  uint64
	// Clean tells that the last boot closed the journal, or that there was none.
	Clean bool
	// TornFile, TornOffset and TornBytes say what was cut off: the part of
	// the newest segment from the first frame that is not whole. It was
	// never durable, so it holds no record that Sync acknowledged.
	TornFile   string
	TornOffset int64
	TornBytes  int64
}

// CorruptError names a place in the journal that is not as it was written and
// that no crash explains.
type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

// Error gives file, offset and reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s at offset %d: %s", e.File, e.Offset, e.Reason)
}

const (
	corruptRemedy = "Restore the journal's folder from a copy, or move it away: records in it that were not shipped are then missing from usage and audit."
	newerRemedy   = "Start the release that wrote it, or a newer one."
)

func corrupt(op, name string, offset int64, reason string) error {
	cause := &CorruptError{File: name, Offset: offset, Reason: reason}
	return fault.Wrap(op, fault.Internal, cause, "the journal is damaged and is not used.").WithRemedy(corruptRemedy)
}

func badHeader(op, name string, bad *headerFault) error {
	if bad.newer {
		return fault.New(op, fault.Unsupported, "the journal file %s cannot be read: %s.", name, bad.reason).WithRemedy(newerRemedy)
	}
	return corrupt(op, name, 0, bad.reason)
}

// examine checks all segments and finishes the newest one.
func (j *Journal) examine() error {
	const op = "journal.Open"
	entries, err := j.disk.List()
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the journal's folder cannot be listed")
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { _, ok := fileNumber(e.name); return !ok })
	slices.SortFunc(entries, func(a, b entry) int {
		if a.name < b.name { // numbers of one width: names sort as numbers do
			return -1
		}
		return 1
	})
	// A killed process may have made or deleted files without having made
	// that durable. It must be before the next file is made, or a power cut
	// could leave a gap.
	if err := j.disk.Sync(); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the journal's folder cannot be made durable")
	}
	j.recovery.Clean = true
	if entries, err = j.dropUnborn(entries); err != nil {
		return err
	}
	for i, e := range entries {
		number, _ := fileNumber(e.name)
		if i > 0 && number != j.segments[i-1].header.number+1 {
			return corrupt(op, e.name, 0, fmt.Sprintf("it follows segment %d: segments between are missing", j.segments[i-1].header.number))
		}
		seg, err := j.check(e, number, i == len(entries)-1)
		if err != nil {
			return err
		}
		j.segments = append(j.segments, seg)
	}
	j.recovery.Segments = len(j.segments)
	return nil
}

// dropUnborn removes the newest file if a crash came before its header was
// durable. No frame is written before that.
func (j *Journal) dropUnborn(entries []entry) ([]entry, error) {
	if len(entries) == 0 {
		return entries, nil
	}
	e := entries[len(entries)-1]
	if e.size > headerBytes {
		return entries, nil
	}
	f, err := j.disk.Open(e.name)
	if err != nil {
		return nil, cannotRead(e.name, err)
	}
	_, bad, err := newSegmentReader(f, e.size, j.cfg.Sealer)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, cannotRead(e.name, err)
	}
	if bad == nil {
		return entries, nil
	}
	if bad.newer {
		return nil, badHeader("journal.Open", e.name, bad)
	}
	if err := j.disk.Remove(e.name); err != nil {
		return nil, cannotRead(e.name, err)
	}
	j.recovery.Clean = false
	return entries[:len(entries)-1], nil
}

func cannotRead(name string, err error) error {
	return fault.Wrap("journal.Open", fault.Unavailable, err, "the journal file %s cannot be recovered", name)
}

// check reads a whole segment. Only the newest may lack its end mark, and
// gets it here, after what was torn is cut off.
func (j *Journal) check(e entry, number uint64, newest bool) (segment, error) {
	const op = "journal.Open"
	f, err := j.disk.Open(e.name)
	if err != nil {
		return segment{}, cannotRead(e.name, err)
	}
	defer f.Close() // nothing that was written is left to Close: finish syncs
	s, bad, err := newSegmentReader(f, e.size, j.cfg.Sealer)
	if err != nil {
		return segment{}, cannotRead(e.name, err)
	}
	if bad == nil {
		bad = j.belongs(&s.header, number)
	}
	if bad != nil {
		return segment{}, badHeader(op, e.name, bad)
	}
	seg := segment{header: s.header}
	for {
		var fr frame
		if fr, err = s.next(); err != nil {
			break
		}
		j.recovery.Records += uint64(fr.count)
	}
	seg.size, seg.next, seg.frames = s.off, s.seq, s.number
	switch d, damaged := isDamage(err); {
	case damaged && newest && d.torn:
		proven, err := s.durableBeyond()
		if err != nil {
			return segment{}, cannotRead(e.name, err)
		}
		if proven {
			return segment{}, corrupt(op, e.name, d.offset, d.reason+", and what follows shows that it was right once")
		}
		j.recovery.TornFile, j.recovery.TornOffset, j.recovery.TornBytes = e.name, d.offset, e.size-d.offset
	case damaged:
		return segment{}, corrupt(op, e.name, d.offset, d.reason)
	case err != io.EOF:
		return segment{}, cannotRead(e.name, err)
	case s.ended && newest:
		j.recovery.Clean = j.recovery.Clean && s.closed
		// A process killed before its last fsync leaves an end that reads
		// well and is not durable yet. It must be before a segment follows.
		if err := f.Sync(); err != nil {
			return segment{}, cannotRead(e.name, err)
		}
		return seg, nil
	case s.ended:
		return seg, nil
	case !newest:
		return segment{}, corrupt(op, e.name, s.off, "its end is missing")
	}
	j.recovery.Clean = false
	if err := j.finish(f, &seg); err != nil {
		return segment{}, cannotRead(e.name, err)
	}
	return seg, nil
}

// belongs checks what a segment's header says against its place.
func (j *Journal) belongs(h *segmentHeader, number uint64) *headerFault {
	switch {
	case h.number != number:
		return &headerFault{reason: fmt.Sprintf("it is segment %d under the name of segment %d", h.number, number)}
	case h.sealed && j.cfg.Sealer == nil:
		return &headerFault{reason: "it is sealed and no key was given"}
	case !h.sealed && j.cfg.Sealer != nil:
		return &headerFault{reason: "it is not sealed, and this journal is"}
	}
	return nil
}

// finish cuts a segment to its whole frames and marks its end.
func (j *Journal) finish(f file, seg *segment) error {
	if err := errors.Join(f.Truncate(seg.size), f.Sync()); err != nil {
		return err
	}
	l := leader{off: seg.size, frame: seg.frames, header: seg.header}
	mark := batch{buf: make([]byte, frameHeaderBytes), first: seg.next}
	out := l.encode(&mark, seg.size, j.cfg.Sealer)
	if _, err := f.WriteAt(out, seg.size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	seg.size += int64(len(out))
	seg.synced = seg.size
	seg.frames++
	return nil
}
