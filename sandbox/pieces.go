package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/carrel-dev/carrel/call"
)

// Window is how many bytes of a result in pieces wait at once for a caller
// that takes them slowly. A driver lets a function send no more before some of
// them were taken.
const Window = 256 << 10

// ErrPieces is the error of a sender that sent more than it might, or twice
// what it may send once.
var ErrPieces = errors.New("pieces of a result over their bounds")

// Pieces is the result of one call that its function gives in pieces. Where
// the caller takes it whole they are joined; otherwise they wait here, at most
// Window bytes of them, until Deliver has handed them on.
//
// One goroutine, the sender, uses Begin, Put and Finish; another uses Deliver.
type Pieces struct {
	stream  call.Stream
	limit   int64
	changed chan struct{} // something waits to be delivered
	room    chan struct{} // something was delivered

	mu          sync.Mutex
	begun, told bool
	contentType string
	total       int64
	waiting     []byte
	spare       []byte
	gone        bool // the caller takes no more
}

// NewPieces makes the pieces of a call.
func NewPieces(c *call.Call) *Pieces {
	p := &Pieces{stream: c.Stream, limit: call.MaxResult}
	if p.stream != nil {
		p.limit = call.MaxStreamed
		p.changed, p.room = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	return p
}

// StreamLimit is the most bytes that a function may give in pieces for c, and
// window how many of them before Deliver has asked for more.
func StreamLimit(c *call.Call) (limit int64, window int) {
	if c.Stream != nil {
		return call.MaxStreamed, Window
	}
	return call.MaxResult, call.MaxResult
}

// Begin says that pieces will come, of a content type that fits into a header.
// It is allowed once, before the first piece.
//
// Error: ErrPieces.
func (p *Pieces) Begin(contentType string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun {
		return fmt.Errorf("%w: they began twice", ErrPieces)
	}
	p.begun, p.contentType = true, contentType
	p.tell()
	return nil
}

// Put takes a piece, whose bytes are copied. It does not wait: a sender has to
// know what it may send.
//
// Error: ErrPieces; then nothing is taken.
func (p *Pieces) Put(piece []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if int64(len(piece)) > p.limit-p.total {
		return fmt.Errorf("%w: more than %d bytes", ErrPieces, p.limit)
	}
	if p.stream != nil && len(piece) > Window-len(p.waiting) {
		return fmt.Errorf("%w: %d bytes while %d wait", ErrPieces, len(piece), len(p.waiting))
	}
	p.put(piece)
	return nil
}

// PutWhenRoom is Put for a sender that can be made to wait: it does so until
// the caller has taken enough, or ctx ends.
//
// Errors: ErrPieces, the context's.
func (p *Pieces) PutWhenRoom(ctx context.Context, piece []byte) error {
	for len(piece) > 0 {
		p.mu.Lock()
		n := len(piece)
		if p.stream != nil {
			n = min(n, Window-len(p.waiting))
		}
		if int64(n) > p.limit-p.total {
			p.mu.Unlock()
			return fmt.Errorf("%w: more than %d bytes", ErrPieces, p.limit)
		}
		if n > 0 {
			p.put(piece[:n])
			piece = piece[n:]
		}
		p.mu.Unlock()
		if n > 0 {
			continue
		}
		select {
		case <-p.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (p *Pieces) put(piece []byte) {
	p.begun = true
	p.total += int64(len(piece))
	p.waiting = append(p.waiting, piece...)
	p.tell()
}

// tell wakes Deliver. The pieces are locked.
func (p *Pieces) tell() { wake(p.changed) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // no one is to be woken, or it is woken already
	}
}

// Deliver hands the pieces to the caller's Stream until the call has ended and
// nothing waits any more. Each time taken, if not nil, is told how many bytes
// more may be sent. A caller that has gone away takes all there is at once.
func (p *Pieces) Deliver(ended <-chan struct{}, taken func(n int)) {
	for {
		select {
		case <-p.changed:
			if n := p.deliver(); n > 0 {
				wake(p.room)
				if taken != nil {
					taken(n)
				}
			}
		case <-ended:
			p.deliver()
			return
		}
	}
}

func (p *Pieces) deliver() int {
	p.mu.Lock()
	begin := p.begun && !p.told
	p.told = p.begun
	b, contentType, gone := p.waiting, p.contentType, p.gone
	// What is being written still counts as waiting: len(p.waiting) must say so.
	p.mu.Unlock()
	if begin {
		p.stream.Begin(contentType)
	}
	if len(b) > 0 && !gone {
		_, err := p.stream.Write(b)
		gone = err != nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Pieces that came meanwhile lie behind what was written.
	p.waiting = append(p.spare[:0], p.waiting[len(b):]...)
	p.spare, p.gone = b[:0], gone
	return len(b)
}

// Finish completes the outcome of a call that gave pieces: for a caller that
// takes the result whole they are joined with what the function returned at
// the end, and a failure drops them, as in Lambda.
func (p *Pieces) Finish(o *call.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.ContentType, o.Streamed = p.contentType, p.total
	if p.stream == nil && o.Result == call.OK {
		if len(o.Payload) > call.MaxResult-len(p.waiting) {
			o.Result = call.FunctionError
			o.Payload = []byte(fmt.Sprintf(`{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (%d bytes)."}`, call.MaxResult))
		} else {
			o.Payload = slices.Concat(p.waiting, o.Payload)
		}
	}
	o.Usage.BytesOut = int64(len(o.Payload))
	if p.stream != nil {
		o.Usage.BytesOut += p.total
	}
}
