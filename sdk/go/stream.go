package carrel

// The operations of carrel_v1.call that give a result in pieces.
const (
	opBegin = 2
	opPiece = 3
)

// Stream gives the result of a call in pieces. A caller that takes pieces gets
// each as it is written; any other gets all of them joined, to the size that a
// result may have. What the handler returns is the last piece, so one that has
// written everything returns nil.
//
// There is one for a call: what several write goes to the same place.
type Stream struct{}

// ContentHTTP is the content type of a result in pieces that begins with
// status and headers, for function URLs: WriteHead writes them.
const ContentHTTP = "application/vnd.awslambda.http-integration-response"

// NewStream begins a result in pieces of a content type, which may be empty
// for bytes of any kind. A handler calls it once, before it writes.
//
// Errors: *HostError, ErrNoHost on a platform that does not know pieces.
func NewStream(contentType string) (*Stream, error) {
	if err := tell(opBegin, []byte(contentType)); err != nil {
		return nil, err
	}
	return &Stream{}, nil
}

// Write sends a piece and returns when the platform has it. It waits while the
// caller is slow; that counts as this call's time and takes no fuel, and the
// clock goes forward by it. One write is one piece, so it is as well not to
// make them small: each costs what a call of the host costs. More than 200 MiB
// in all, or 6,291,556 bytes for a caller that takes no pieces, end the call.
//
// Error: *HostError.
func (s *Stream) Write(p []byte) (int, error) {
	const most = 1 << 20
	for n := 0; n < len(p); {
		end := min(len(p), n+most)
		if err := tell(opPiece, p[n:end]); err != nil {
			return n, err
		}
		n = end
	}
	return len(p), nil
}

// WriteHead writes what a result of type ContentHTTP begins with. The object
// has statusCode, headers (an object of strings) and cookies (an array of
// strings), all of which may be left out; eight zero bytes end it.
//
// Error: *HostError.
func (s *Stream) WriteHead(object []byte) error {
	_, err := s.Write(append(append(make([]byte, 0, len(object)+8), object...), 0, 0, 0, 0, 0, 0, 0, 0))
	return err
}
