package awsapi

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/carrel-dev/carrel/fault"
)

// Limits bound what is read of a request, in bytes.
type Limits struct {
	// InvokePayload is the most a synchronous call may send (AWS: 6 MB).
	InvokePayload int
	// EventPayload is the most an asynchronous call may send (AWS: 1 MB).
	EventPayload int
	// CodeBody is the most a request with code may have (AWS: 70167211).
	CodeBody int
	// ControlBody is the most any other request may have.
	ControlBody int
	// Buffered is the most that all requests together hold of bodies over
	// 64 KiB each; more are refused until some have ended, because a body has
	// to be held before its signature can be checked.
	Buffered int
}

func (l Limits) orDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.InvokePayload, 6_291_456},
		{&l.EventPayload, 1_048_576},
		{&l.CodeBody, 70_167_211},
		{&l.ControlBody, 1_048_576},
		{&l.Buffered, 512 << 20},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}

// bound is how much of one request is read, and how a larger one is refused.
type bound struct {
	bytes     int
	code      string
	operation string
}

// of gives the bound of an operation. A call that is an event by its header
// is not read further than an event may be long.
func (l Limits) of(rt *route, r *http.Request) bound {
	switch {
	case rt.operation == opInvoke:
		kind := r.Header[headerInvocationType]
		if len(kind) == 0 {
			return l.ofInvoke(typeRequestResponse)
		}
		return l.ofInvoke(kind[0])
	case rt.code:
		return bound{l.CodeBody, "RequestEntityTooLargeException", rt.operation}
	}
	return bound{l.ControlBody, "RequestEntityTooLargeException", rt.operation}
}

func (l Limits) ofInvoke(kind string) bound {
	b := bound{l.InvokePayload, "RequestTooLargeException", "InvokeFunction"}
	if kind == typeEvent {
		b.bytes = l.EventPayload
	}
	return b
}

// smallBody is the size of pooled buffers: most events fit.
const smallBody = 64 << 10

// bodyReader reads bodies into memory that is bounded over all requests.
type bodyReader struct {
	held atomic.Int64
	most int64
	pool sync.Pool
}

func newBodyReader(l Limits) *bodyReader {
	b := &bodyReader{most: int64(l.Buffered)}
	b.pool.New = func() any { return &body{from: b, buffer: make([]byte, smallBody)} }
	return b
}

// body is one request's body; release gives the memory back.
type body struct {
	bytes  []byte
	buffer []byte // of smallBody bytes, pooled
	extra  int64  // reserved beyond the pooled buffer
	from   *bodyReader
}

func (b *body) release() {
	b.bytes = nil
	b.from.held.Add(-b.extra)
	b.extra = 0
	b.from.pool.Put(b)
}

// read gives the whole body.
//
// Errors: fault.TooLarge over the bound, fault.Unavailable if the node holds
// too much already, fault.Invalid if the body breaks off or is encoded.
func (br *bodyReader) read(r *http.Request, limit bound) (*body, error) {
	const op = "awsapi.read"
	if enc := r.Header["Content-Encoding"]; len(enc) > 0 && enc[0] != "" && enc[0] != "identity" {
		return nil, fault.New(op, fault.Invalid, "Content-Encoding %q is not supported.", clip(enc[0])).
			WithCode("UnsupportedMediaTypeException").WithRemedy("Send the body as it is.")
	}
	if r.ContentLength > int64(limit.bytes) {
		return nil, limit.exceeded()
	}
	b := br.pool.Get().(*body)
	if r.ContentLength == 0 {
		return b, nil
	}
	var src io.Reader = r.Body
	if r.ContentLength < 0 {
		// One byte more than allowed tells too much from just enough.
		src = io.LimitReader(src, int64(limit.bytes)+1)
	}
	if err := b.fill(src, int(r.ContentLength)); err != nil {
		b.release()
		return nil, err
	}
	if len(b.bytes) > limit.bytes {
		b.release()
		return nil, limit.exceeded()
	}
	return b, nil
}

// fill reads to the end; size is what the request announced, negative if unknown.
func (b *body) fill(src io.Reader, size int) error {
	into := b.buffer
	if size > smallBody {
		if err := b.reserve(size); err != nil {
			return err
		}
		into = make([]byte, size)
	}
	n := 0
	for n != size { // net/http ends a body at its announced length
		if n == len(into) {
			if err := b.reserve(len(into)); err != nil {
				return err
			}
			into = append(into[:n:n], make([]byte, n)...)
		}
		m, err := src.Read(into[n:])
		n += m
		if err == io.EOF {
			break
		}
		if err != nil {
			return fault.Wrap("awsapi.read", fault.Invalid, err, "The request body could not be read to its end.").
				WithCode("InvalidRequestContentException")
		}
	}
	b.bytes = into[:n]
	return nil
}

func (b *body) reserve(n int) error {
	b.extra += int64(n)
	if b.from.held.Add(int64(n)) > b.from.most {
		return fault.New("awsapi.read", fault.Unavailable,
			"This node holds as many large request bodies as it may.").WithRemedy("Send the request again later.")
	}
	return nil
}

func (l bound) exceeded() error {
	return fault.New("awsapi."+l.operation, fault.TooLarge,
		"Request must be smaller than %d bytes for the %s operation", l.bytes, l.operation).WithCode(l.code)
}
