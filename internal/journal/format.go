package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// The format, all integers little-endian.
//
// Segment header, headerBytes:
//
//	0   magic, 8 bytes
//	8   format version, u16
//	10  flags, u16: bit 0 is set if frames are sealed
//	12  zero, u32
//	16  segment number, u64, as in the file's name
//	24  first sequence that may occur, u64
//	32  time of making, Unix nanoseconds, i64
//	40  boot, 16 bytes
//	56  length of the node name, u8, and the name padded with zeros, 63 bytes
//	120 zero, u32
//	124 CRC-32C of all before, u32
//
// Frame header, frameHeaderBytes, then length bytes of payload:
//
//	0   length of the payload as stored, u32
//	4   records in it, u32; 0 is the end mark, countClosed the end mark of
//	    a journal that was closed
//	8   number of the frame in its segment, from 0, u64
//	16  sequence of the first record, u64
//	24  how much of the segment was durable when this was written, u64
//	32  CRC-32C of the payload, u32
//	36  CRC-32C of the frame header up to here, u32
//
// Both sums start from the sum in the segment header, so a frame is not
// valid in another segment even where nothing is sealed. The associated data
// of a sealed payload are the segment header and the frame header up to the
// sums: a frame opens at its own place only.
//
// A record is kind, u8, length, u32, and data; sequences in a frame follow
// each other. Between frames sequences may jump: the records between were
// lost to a full disk, and whoever waited for them was told.
//
// Every segment but the newest ends with an end mark. A segment's header is
// durable before its first frame is written, and all of a segment, end mark
// included, before the next one is made.
const (
	formatVersion = 1
	flagSealed    = 1

	// countClosed is a count that no frame has: every record takes some of
	// the payload, whose length has 32 bits too.
	countClosed = 1<<32 - 1

	headerBytes       = 128
	headerSumAt       = 124
	bootBytes         = 16
	frameHeaderBytes  = 40
	frameSyncedAt     = 24
	frameSumsAt       = 32
	recordHeaderBytes = 5

	// maxOverhead bounds what a Sealer may add to a frame.
	maxOverhead = 1 << 10
	// initialBuffer is what a new batch buffer holds; keptBuffer is the
	// largest that is kept for another batch.
	initialBuffer = 64 << 10
	keptBuffer    = 1 << 20

	fileSuffix = ".journal"
	fileDigits = 20
)

var (
	magic      = [8]byte{'C', 'R', 'L', 'J', 'R', 'N', 'L', '\n'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func fileName(number uint64) string {
	return fmt.Sprintf("%0*d%s", fileDigits, number, fileSuffix)
}

// fileNumber reads a segment's number from its file name.
func fileNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, fileSuffix)
	if !ok || len(digits) != fileDigits {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil && number > 0 && fileName(number) == name
}

type segmentHeader struct {
	number  uint64
	first   uint64
	created int64
	boot    [bootBytes]byte
	node    string
	sealed  bool
	raw     [headerBytes]byte // as encoded, for associated data
}

// seed is what the sums of the segment's frames start from.
func (h *segmentHeader) seed() uint32 { return binary.LittleEndian.Uint32(h.raw[headerSumAt:]) }

func (h *segmentHeader) bootText() string { return hex.EncodeToString(h.boot[:]) }

func (h *segmentHeader) encode() {
	le := binary.LittleEndian
	b := h.raw[:]
	clear(b)
	copy(b, magic[:])
	le.PutUint16(b[8:], formatVersion)
	if h.sealed {
		le.PutUint16(b[10:], flagSealed)
	}
	le.PutUint64(b[16:], h.number)
	le.PutUint64(b[24:], h.first)
	le.PutUint64(b[32:], uint64(h.created))
	copy(b[40:], h.boot[:])
	b[56] = byte(len(h.node))
	copy(b[57:120], h.node)
	le.PutUint32(b[headerSumAt:], crc32.Checksum(b[:headerSumAt], castagnoli))
}

// headerFault says what is wrong with a header. newer means that the version
// is above ours, which is said before the sum is looked at because a newer
// version may keep it elsewhere.
type headerFault struct {
	reason string
	newer  bool
}

func (h *segmentHeader) decode(b []byte) *headerFault {
	le := binary.LittleEndian
	if len(b) < headerBytes || !bytes.Equal(b[:8], magic[:]) {
		return &headerFault{reason: "this is not the beginning of a journal segment"}
	}
	if v := le.Uint16(b[8:]); v > formatVersion {
		return &headerFault{reason: fmt.Sprintf("its format version %d is newer than %d, the newest known here", v, formatVersion), newer: true}
	}
	if le.Uint32(b[headerSumAt:]) != crc32.Checksum(b[:headerSumAt], castagnoli) {
		return &headerFault{reason: "the checksum of the segment header is wrong"}
	}
	copy(h.raw[:], b)
	h.sealed = le.Uint16(b[10:])&flagSealed != 0
	h.number = le.Uint64(b[16:])
	h.first = le.Uint64(b[24:])
	h.created = int64(le.Uint64(b[32:]))
	copy(h.boot[:], b[40:])
	h.node = ""
	if n := int(b[56]); n <= MaxNodeBytes {
		h.node = string(b[57 : 57+n])
	}
	again := *h
	again.encode()
	// Whatever a valid header cannot say (version 0, unknown flags, bytes
	// in the padding) does not encode to the same bytes.
	if again.raw != h.raw || !validNode(h.node) || h.node == "" {
		return &headerFault{reason: "the segment header has values that no version wrote"}
	}
	return nil
}

type frameHeader struct {
	length uint32
	count  uint32
	number uint64
	first  uint64
	synced uint64
	sum    uint32
}

// records is how many records the frame holds; none makes it an end mark.
func (h *frameHeader) records() uint32 {
	if h.count == countClosed {
		return 0
	}
	return h.count
}

// encodeOpen writes the fields that the associated data cover.
func (h *frameHeader) encodeOpen(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], h.length)
	le.PutUint32(b[4:], h.count)
	le.PutUint64(b[8:], h.number)
	le.PutUint64(b[16:], h.first)
	le.PutUint64(b[24:], h.synced)
}

// encodeSums completes an encoded header for its payload.
func encodeSums(seed uint32, b, payload []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[frameSumsAt:], crc32.Update(seed, castagnoli, payload))
	le.PutUint32(b[frameSumsAt+4:], crc32.Update(seed, castagnoli, b[:frameSumsAt+4]))
}

// decode reports whether b holds a frame header of the segment with this seed.
func (h *frameHeader) decode(seed uint32, b []byte) bool {
	le := binary.LittleEndian
	h.length = le.Uint32(b[0:])
	h.count = le.Uint32(b[4:])
	h.number = le.Uint64(b[8:])
	h.first = le.Uint64(b[16:])
	h.synced = le.Uint64(b[24:])
	h.sum = le.Uint32(b[frameSumsAt:])
	return le.Uint32(b[frameSumsAt+4:]) == crc32.Update(seed, castagnoli, b[:frameSumsAt+4])
}

func appendRecord(buf []byte, kind Kind, data []byte) []byte {
	n := uint32(len(data))
	buf = append(buf, byte(kind), byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return append(buf, data...)
}

// cutRecord takes the first record off an encoded run.
func cutRecord(b []byte) (kind Kind, data, rest []byte, ok bool) {
	if len(b) < recordHeaderBytes {
		return 0, nil, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(b[1:]))
	if n > MaxRecordBytes || n > uint64(len(b)-recordHeaderBytes) {
		return 0, nil, nil, false
	}
	end := recordHeaderBytes + int(n)
	return Kind(b[0]), b[recordHeaderBytes:end:end], b[end:], true
}
