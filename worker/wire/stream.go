package wire

import "encoding/binary"

// MaxChunk is the most bytes of one piece, MaxContentType of a content type.
const (
	MaxChunk       = 64 << 10
	MaxContentType = 255
)

// AppendBegin appends a Begin frame.
func AppendBegin(b []byte, handle uint64, contentType string) []byte {
	start := len(b)
	return Finish(append(Append(b, Begin, handle), contentType...), start)
}

// ParseBegin reads the body of a Begin frame: a content type of printable
// ASCII, which goes into a header.
func ParseBegin(body []byte) (contentType string, err error) {
	r := reader{b: body}
	text := r.take(len(body))
	for _, c := range text {
		r.bad = r.bad || c < ' ' || c > '~'
	}
	if len(text) > MaxContentType {
		r.bad = true
	}
	return string(text), r.done("begin")
}

// AppendChunk appends a Chunk frame.
func AppendChunk(b []byte, handle uint64, piece []byte) []byte {
	start := len(b)
	return Finish(append(Append(b, Chunk, handle), piece...), start)
}

// ParseChunk reads the body of a Chunk frame; the piece is the body. One
// without bytes would cost us something and its sender nothing.
func ParseChunk(body []byte) (piece []byte, err error) {
	r := reader{b: body}
	piece = r.take(len(body))
	if len(piece) == 0 || len(piece) > MaxChunk {
		r.bad = true
	}
	return piece, r.done("chunk")
}

// AppendCredit appends a Credit frame.
func AppendCredit(b []byte, handle uint64, n uint32) []byte {
	start := len(b)
	return Finish(binary.LittleEndian.AppendUint32(Append(b, Credit, handle), n), start)
}

// ParseCredit reads the body of a Credit frame.
func ParseCredit(body []byte) (n uint32, err error) {
	r := reader{b: body}
	n = r.u32()
	return n, r.done("credit")
}
