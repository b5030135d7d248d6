package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// segment is what is known about a file that has been checked or written.
type segment struct {
	header segmentHeader
	size   int64  // bytes of header and complete frames
	next   uint64 // one above the last sequence in it
	frames uint64
	synced int64 // how much of it is durable
}

// damage is a place where a segment is not as it was written.
type damage struct {
	offset int64
	reason string
	// torn means that an interrupted write can look like this: bytes are
	// missing or do not match their sums. A frame whose sums are right and
	// whose content is not was never torn.
	torn bool
}

func (d *damage) Error() string { return fmt.Sprintf("offset %d: %s", d.offset, d.reason) }

// windowBytes is how much a segmentReader reads at once.
const windowBytes = 256 << 10

// segmentReader goes through the frames of one segment. It believes nothing:
// every length is checked against what is there before memory is taken.
type segmentReader struct {
	src    io.ReaderAt
	size   int64 // how much of src may be read
	sealer Sealer
	header segmentHeader

	off    int64  // of the next frame
	number uint64 // it must have
	seq    uint64 // it must not be below
	ended  bool   // an end mark was read
	closed bool   // and it is that of an orderly Close

	window   []byte
	windowAt int64
	plain    []byte
	aad      [headerBytes + frameSumsAt]byte
}

// frame is a checked frame; records is valid until the next call of next.
type frame struct {
	first   uint64
	count   uint32
	records []byte
}

// newSegmentReader reads the header. A *headerFault comes back beside an
// error of the disk so that the caller can tell the two apart.
func newSegmentReader(src io.ReaderAt, size int64, sealer Sealer) (*segmentReader, *headerFault, error) {
	s := &segmentReader{src: src, size: size, sealer: sealer, off: headerBytes}
	n := min(size, headerBytes)
	raw, err := s.bytes(0, n)
	if err != nil {
		return nil, nil, err
	}
	if bad := s.header.decode(raw); bad != nil {
		return nil, bad, nil
	}
	s.seq = s.header.first
	copy(s.aad[:], s.header.raw[:])
	return s, nil, nil
}

// bytes gives n bytes at off, which the caller knows to lie below size.
func (s *segmentReader) bytes(off, n int64) ([]byte, error) {
	if off < s.windowAt || off+n > s.windowAt+int64(len(s.window)) {
		want := min(max(n, windowBytes), s.size-off)
		if int64(cap(s.window)) < want {
			s.window = make([]byte, want)
		}
		s.window, s.windowAt = s.window[:want], off
		got, err := s.src.ReadAt(s.window, off)
		if got < len(s.window) {
			s.window = s.window[:0]
			return nil, fmt.Errorf("reading %d bytes at offset %d: %w", want, off, err)
		}
	}
	at := off - s.windowAt
	return s.window[at : at+n : at+n], nil
}

func (s *segmentReader) damaged(torn bool, format string, args ...any) *damage {
	return &damage{offset: s.off, reason: fmt.Sprintf(format, args...), torn: torn}
}

// next gives the next frame, io.EOF at the end of the segment (ended tells
// whether there was an end mark), a *damage, or an error of the disk.
func (s *segmentReader) next() (frame, error) {
	left := s.size - s.off
	switch {
	case left == 0:
		return frame{}, io.EOF
	case s.ended:
		return frame{}, s.damaged(false, "%d bytes follow the end mark", left)
	case left < frameHeaderBytes:
		return frame{}, s.damaged(true, "a frame header is cut short")
	}
	raw, err := s.bytes(s.off, frameHeaderBytes)
	if err != nil {
		return frame{}, err
	}
	var h frameHeader
	if !h.decode(s.header.seed(), raw) {
		return frame{}, s.damaged(true, "the checksum of a frame header is wrong")
	}
	copy(s.aad[headerBytes:], raw[:frameSumsAt])
	if bad := s.checkHeader(&h); bad != nil {
		return frame{}, bad
	}
	if int64(h.length) > left-frameHeaderBytes {
		return frame{}, s.damaged(true, "a frame of %d bytes is cut short", h.length)
	}
	payload, err := s.bytes(s.off+frameHeaderBytes, int64(h.length))
	if err != nil {
		return frame{}, err
	}
	if crc32.Update(s.header.seed(), castagnoli, payload) != h.sum {
		return frame{}, s.damaged(true, "the checksum of a frame is wrong")
	}
	return s.accept(&h, payload)
}

// checkHeader checks what a header with a right sum says.
func (s *segmentReader) checkHeader(h *frameHeader) *damage {
	switch {
	case h.records() == 0 && h.length > maxOverhead:
		return s.damaged(false, "an end mark claims %d bytes", h.length)
	case h.number != s.number:
		return s.damaged(false, "frame %d stands where frame %d belongs", h.number, s.number)
	case h.first < s.seq || h.first+uint64(h.records()) < h.first:
		return s.damaged(false, "sequence %d follows %d", h.first, s.seq)
	case h.length > MaxPendingBytes+maxOverhead:
		return s.damaged(false, "a frame claims %d bytes", h.length)
	case h.synced > uint64(s.off):
		return s.damaged(false, "a frame claims that %d bytes were durable before it", h.synced)
	}
	return nil
}

// accept opens the payload of a frame whose sums are right and moves on.
func (s *segmentReader) accept(h *frameHeader, payload []byte) (frame, error) {
	records := payload
	if s.header.sealed {
		var err error
		if s.plain, err = s.sealer.Open(s.plain[:0], payload, s.aad[:]); err != nil {
			return frame{}, s.damaged(false, "a frame does not open under this key: the key is another one, or the frame was changed")
		}
		records = s.plain
	}
	rest := records
	for range h.records() {
		var ok bool
		if _, _, rest, ok = cutRecord(rest); !ok {
			return frame{}, s.damaged(false, "a frame does not hold the %d records it claims", h.records())
		}
	}
	if len(rest) > 0 {
		return frame{}, s.damaged(false, "%d bytes follow the last record of a frame", len(rest))
	}
	s.off += frameHeaderBytes + int64(h.length)
	s.number++
	s.seq = h.first + uint64(h.records())
	s.ended, s.closed = h.records() == 0, h.count == countClosed
	return frame{first: h.first, count: h.records(), records: records}, nil
}

// durableBeyond looks behind damage for a frame header of this segment that
// was written when the damaged place was durable already. Such a place was
// not torn by a crash: it was whole once.
func (s *segmentReader) durableBeyond() (bool, error) {
	bad := s.off
	for p := bad + 1; p+frameHeaderBytes <= s.size; p++ {
		raw, err := s.bytes(p, frameHeaderBytes)
		if err != nil {
			return false, err
		}
		// The cheap test first: this runs at every byte.
		synced := binary.LittleEndian.Uint64(raw[frameSyncedAt:])
		if synced <= uint64(bad) || synced > uint64(p) {
			continue
		}
		var h frameHeader
		if h.decode(s.header.seed(), raw) {
			return true, nil
		}
	}
	return false, nil
}

// isDamage gives err as damage.
func isDamage(err error) (*damage, bool) {
	var d *damage
	ok := errors.As(err, &d)
	return d, ok
}
