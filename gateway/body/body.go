// Package body reads the bodies of requests, which have to be held before a
// signature over them can be checked, into memory that is bounded: what is
// large is read only where the account of the credential that the request
// names exists, and into that account's share.
package body

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/tenant"
)

// Small is the size of pooled buffers, in bytes: most requests fit. What a
// request holds beyond it is counted.
const Small = 64 << 10

// Limit is how much of one request is read, and how a larger one is refused.
type Limit struct {
	// Bytes is the most that is taken.
	Bytes int
	// Code is the code of the refusal of more.
	Code string
	// Operation is named in it.
	Operation string
}

// Reader reads bodies into memory that is bounded, for each account and over
// all. It is safe for concurrent use.
type Reader struct {
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

// NewReader makes a Reader that holds at most so many bytes of bodies over
// Small; one account's requests hold half of it at most. claimed gives the
// account whose credential a request names, genuine or not.
func NewReader(most int, claimed func(*http.Request) (tenant.AccountID, bool)) *Reader {
	br := &Reader{all: share{most: int64(most)}, claimed: claimed}
	br.pool.New = func() any { return &Body{from: br, buffer: make([]byte, Small)} }
	return br
}

// Held is how many bytes are held beyond pooled buffers.
func (br *Reader) Held() int64 { return br.all.held.Load() }

// of gives an account's share. There are as many as accounts, as only those
// that exist are asked for.
func (br *Reader) of(account tenant.AccountID) *share {
	if s, found := br.accounts.Load(account); found {
		return s.(*share)
	}
	s, _ := br.accounts.LoadOrStore(account, &share{most: br.all.most / 2})
	return s.(*share)
}

// Body is one request's body. Release gives its memory back.
type Body struct {
	// Bytes are all of it. They are good until Release.
	Bytes []byte

	buffer []byte // of Small bytes, pooled
	extra  int64  // held beyond the pooled buffer
	owner  *share // of extra; nil while there is none
	from   *Reader
}

// Release ends the use of the body. Its buffer serves other requests, of
// other tenants too, unless somebody may still be reading it.
func (b *Body) Release(reuse bool) {
	b.from.all.held.Add(-b.extra)
	if b.owner != nil {
		b.owner.held.Add(-b.extra)
	}
	b.Bytes, b.extra, b.owner = nil, 0, nil
	if reuse {
		b.from.pool.Put(b)
	}
}

// Read gives the whole body.
//
// Errors: fault.TooLarge over the bound, fault.Unavailable if too much is
// held already, fault.Unauthenticated for a large body under an unknown key,
// fault.Invalid if the body breaks off or is encoded.
func (br *Reader) Read(r *http.Request, limit Limit) (*Body, error) {
	const op = "body.Read"
	if enc := r.Header["Content-Encoding"]; len(enc) > 0 && enc[0] != "" && enc[0] != "identity" {
		return nil, fault.New(op, fault.Invalid, "Content-Encoding %q is not supported.", fault.Clip(enc[0])).
			WithCode("UnsupportedMediaTypeException").WithRemedy("Send the body as it is.")
	}
	if r.ContentLength > int64(limit.Bytes) {
		return nil, limit.Exceeded()
	}
	b := br.pool.Get().(*Body)
	if r.ContentLength == 0 {
		return b, nil
	}
	err := b.fill(r, limit)
	if err == nil && len(b.Bytes) > limit.Bytes {
		err = limit.Exceeded()
	}
	if err != nil {
		b.Release(true)
		return nil, err
	}
	return b, nil
}

// fill reads to the end. Memory is taken as bytes arrive and not as they are
// announced: holding it has to cost the sender something.
func (b *Body) fill(r *http.Request, limit Limit) error {
	size := int(r.ContentLength)
	var src io.Reader = r.Body
	if size < 0 {
		// One byte more than allowed tells too much from just enough.
		src = io.LimitReader(src, int64(limit.Bytes)+1)
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
			return fault.Wrap("body.Read", fault.Invalid, err, "The request body could not be read to its end.").
				WithCode("InvalidRequestContentException")
		}
	}
	b.Bytes = into[:n]
	return nil
}

// hold takes memory out of the shares of the claimed account and of all.
func (b *Body) hold(r *http.Request, n int) error {
	if b.owner == nil {
		account, known := b.from.claimed(r)
		if !known {
			return fault.New("body.Read", fault.Unauthenticated, "The security token included in the request is invalid.").
				WithCode(credential.CodeUnrecognizedClient)
		}
		b.owner = b.from.of(account)
	}
	b.extra += int64(n)
	mine, all := b.owner.held.Add(int64(n)), b.from.all.held.Add(int64(n))
	if mine > b.owner.most || all > b.from.all.most {
		return fault.New("body.Read", fault.Unavailable,
			"This node holds as many large request bodies as it may.").WithRemedy("Send the request again later.")
	}
	return nil
}

// Exceeded is the refusal of what is larger.
func (l Limit) Exceeded() error {
	return fault.New("body.Read", fault.TooLarge,
		"Request must be smaller than %d bytes for the %s operation", l.Bytes, l.Operation).WithCode(l.Code)
}
