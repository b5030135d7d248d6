package awsapi

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
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
	// 64 KiB each, because a body has to be held before its signature can be
	// checked; one account's requests hold half of it at most.
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
		{&l.Buffered, 1 << 30},
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

// bodyReader reads bodies into memory that is bounded, for each account and
// over all.
type bodyReader struct {
	all      share
	accounts sync.Map // tenant.AccountID -> *share
	pool     sync.Pool
	// claimed gives the account whose key a request says it is signed with.
	claimed func(*http.Request) (tenant.AccountID, bool)
}

// share is an amount of memory of which so much is held.
type share struct {
	held atomic.Int64
	most int64
}

func newBodyReader(l Limits, claimed func(*http.Request) (tenant.AccountID, bool)) *bodyReader {
	br := &bodyReader{all: share{most: int64(l.Buffered)}, claimed: claimed}
	br.pool.New = func() any { return &body{from: br, buffer: make([]byte, smallBody)} }
	return br
}

// of gives an account's share. There are as many as accounts, as only those
// that exist are asked for.
func (br *bodyReader) of(account tenant.AccountID) *share {
	if s, found := br.accounts.Load(account); found {
		return s.(*share)
	}
	s, _ := br.accounts.LoadOrStore(account, &share{most: br.all.most / 2})
	return s.(*share)
}

// body is one request's body; release gives the memory back.
type body struct {
	bytes  []byte
	buffer []byte // of smallBody bytes, pooled
	extra  int64  // held beyond the pooled buffer
	owner  *share // of extra; nil while there is none
	from   *bodyReader
}

// release ends the use of the body. Its buffer serves other requests, of
// other tenants too, unless somebody may still be reading it.
func (b *body) release(reuse bool) {
	b.from.all.held.Add(-b.extra)
	if b.owner != nil {
		b.owner.held.Add(-b.extra)
	}
	b.bytes, b.extra, b.owner = nil, 0, nil
	if reuse {
		b.from.pool.Put(b)
	}
}

// read gives the whole body.
//
// Errors: fault.TooLarge over the bound, fault.Unavailable if too much is
// held already, fault.Unauthenticated for a large body under an unknown key,
// fault.Invalid if the body breaks off or is encoded.
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
	err := b.fill(r, limit)
	if err == nil && len(b.bytes) > limit.bytes {
		err = limit.exceeded()
	}
	if err != nil {
		b.release(true)
		return nil, err
	}
	return b, nil
}

// fill reads to the end. Memory is taken as bytes arrive and not as they are
// announced: holding it has to cost the sender something.
func (b *body) fill(r *http.Request, limit bound) error {
	size := int(r.ContentLength)
	var src io.Reader = r.Body
	if size < 0 {
		// One byte more than allowed tells too much from just enough.
		src = io.LimitReader(src, int64(limit.bytes)+1)
	}
	into, n := b.buffer, 0
	for n != size { // net/http ends a body at its announced length
		if n == len(into) {
			larger := 4 * len(into)
			if size > 0 {
				larger = min(larger, size)
			}
			if err := b.hold(r, larger-int(b.extra)); err != nil {
				return err
			}
			grown := make([]byte, larger)
			copy(grown, into)
			into = grown
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

// hold takes memory out of the shares of the claimed account and of all.
func (b *body) hold(r *http.Request, n int) error {
	if b.owner == nil {
		account, known := b.from.claimed(r)
		if !known {
			return unrecognized()
		}
		b.owner = b.from.of(account)
	}
	b.extra += int64(n)
	mine, all := b.owner.held.Add(int64(n)), b.from.all.held.Add(int64(n))
	if mine > b.owner.most || all > b.from.all.most {
		return fault.New("awsapi.read", fault.Unavailable,
			"This node holds as many large request bodies as it may.").WithRemedy("Send the request again later.")
	}
	return nil
}

func (l bound) exceeded() error {
	return fault.New("awsapi."+l.operation, fault.TooLarge,
		"Request must be smaller than %d bytes for the %s operation", l.bytes, l.operation).WithCode(l.code)
}
