// Package wire is the protocol between the node and a confined process: a
// worker that runs calls, or the one-shot process that builds an artefact.
//
// A frame is a fixed header and a body. The node treats what comes from a
// process as hostile: a frame never names a principal, tenant, function or
// cost that is believed; it names a call by the random handle under which
// the node opened it, and every length is checked before it is used.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the version of the protocol. A process that reports another is
// refused: node and worker come from one build.
const Version = 3

// HeaderSize is the size of a frame's header: length of the body (4 bytes),
// type (1), version (1), reserved (2), handle (8); little endian.
const HeaderSize = 16

// Type says what a frame is.
type Type uint8

// Frames from the node to a process.
const (
	// Load hands a worker its module; the artefact's file descriptor travels beside it.
	Load Type = 1 + iota
	// Run opens a call.
	Run
	// Cancel takes a call back: one that waits is answered by Returned, the
	// running one is stopped.
	Cancel
	// Build asks the compile process for an artefact.
	Build
	// HostReply answers a HostCall.
	HostReply
	// LoadPackage hands a native worker the files of its function.
	LoadPackage
	// Credit lets the call that runs send so many more bytes in pieces.
	Credit
)

// Frames from a process to the node.
const (
	// Ready says that the process is confined and waits.
	Ready Type = 64 + iota
	// Loaded says that the module is loaded and the second lock-down is in force.
	Loaded
	// Done ends a call.
	Done
	// Returned gives back a call that was not begun.
	Returned
	// Built carries the artefact, or the error, of a Build.
	Built
	// HostCall asks the node for something in the name of a call that runs. A
	// call has one open at most.
	HostCall
	// Begin says that the result of the call that runs comes in pieces, and of
	// which content type. There is one at most, before the first Chunk, which
	// needs none.
	Begin
	// Chunk is a piece of the result of the call that runs.
	Chunk
)

// The bounds of frame bodies, by direction.
const (
	// MaxToProcess bounds a frame from the node: a 6 MB event with its
	// context, or a module of a package.
	MaxToProcess = 300 << 20
	// MaxFromWorker bounds a reply: a 6 MB result and 1 MB of log.
	MaxFromWorker = 8 << 20
	// MaxFromBuilder bounds an artefact.
	MaxFromBuilder = 512 << 20
)

// ErrFrame is the error of a frame that breaks the protocol; the process
// that sent it is not to be trusted any further.
var ErrFrame = errors.New("wire: malformed frame")

// Header is a frame's header.
type Header struct {
	Len    uint32
	Type   Type
	Handle uint64
}

// Append begins a frame at the end of b; Finish sets its length.
func Append(b []byte, t Type, handle uint64) []byte {
	var h [HeaderSize]byte
	h[4], h[5] = byte(t), Version
	binary.LittleEndian.PutUint64(h[8:], handle)
	return append(b, h[:]...)
}

// Finish sets the length of the frame that begins at start in b.
func Finish(b []byte, start int) []byte {
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-HeaderSize))
	return b
}

// ParseHeader reads a header and checks version and bound.
func ParseHeader(b []byte, limit int) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, io.ErrUnexpectedEOF
	}
	h := Header{
		Len:    binary.LittleEndian.Uint32(b),
		Type:   Type(b[4]),
		Handle: binary.LittleEndian.Uint64(b[8:]),
	}
	if b[5] != Version || b[6] != 0 || b[7] != 0 {
		return Header{}, fmt.Errorf("%w: protocol version %d, want %d", ErrFrame, b[5], Version)
	}
	if int64(h.Len) > int64(limit) {
		return Header{}, fmt.Errorf("%w: body of %d bytes, at most %d", ErrFrame, h.Len, limit)
	}
	return h, nil
}

// Next cuts the first whole frame off b. With less than a whole frame, need
// says how many bytes the frame has in all (or HeaderSize while that is not
// known), and body is nil.
func Next(b []byte, limit int) (h Header, body, rest []byte, need int, err error) {
	if len(b) < HeaderSize {
		return Header{}, nil, b, HeaderSize, nil
	}
	if h, err = ParseHeader(b, limit); err != nil {
		return Header{}, nil, nil, 0, err
	}
	total := HeaderSize + int(h.Len)
	if len(b) < total {
		return h, nil, b, total, nil
	}
	return h, b[HeaderSize:total:total], b[total:], 0, nil
}

// reader takes fields off a body; after the first failure all fields are zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// bytes reads a length and that many bytes.
func (r *reader) bytes() []byte { return r.take(int(r.u32())) }

// list reads a count and that many strings; the count is bounded by the
// bytes that are there, so that it cannot make us allocate.
func (r *reader) list() []string {
	n := int(r.u32())
	if n > len(r.b)/4 {
		r.bad = true
		return nil
	}
	out := make([]string, 0, n)
	for range n {
		out = append(out, string(r.bytes()))
	}
	return out
}

func (r *reader) done(what string) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("%w: %s", ErrFrame, what)
	}
	return nil
}

func putBytes(b, v []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

func putString(b []byte, v string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

func putList(b []byte, v []string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
	for _, s := range v {
		b = putString(b, s)
	}
	return b
}
