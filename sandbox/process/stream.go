//go:build linux

package process

import (
	"fmt"

	"github.com/carrel-dev/carrel/sandbox"
	"github.com/carrel-dev/carrel/worker/wire"
)

// piece takes a piece of a result, or that there will be some, off a worker's
// frames. Only the call that runs can give any: the oldest one.
func (w *worker) piece(h wire.Header, body []byte) error {
	w.mu.Lock()
	runs := len(w.queue) > 0 && w.queue[0].handle == h.Handle && !w.loaded.IsZero()
	var s *slot
	if runs {
		s = w.queue[0]
	}
	w.mu.Unlock()
	if !runs {
		return fmt.Errorf("%w: a piece of the result of a call that does not run", errHostile)
	}
	if s.pieces == nil {
		s.pieces = sandbox.NewPieces(s.job.Ticket.Call())
	}
	s.from.Store(w)
	if h.Type == wire.Begin {
		contentType, err := wire.ParseBegin(body)
		if err != nil {
			return err
		}
		return s.pieces.Begin(contentType)
	}
	piece, err := wire.ParseChunk(body)
	if err != nil {
		return err
	}
	return s.pieces.Put(piece)
}

// credit lets the call's worker send so many more bytes. It runs beside the
// reader, which must not wait for a caller.
func (s *slot) credit(n int) {
	w := s.from.Load()
	w.mu.Lock()
	runs := !w.dead && len(w.queue) > 0 && w.queue[0].handle == s.handle
	w.mu.Unlock()
	if runs {
		w.control(wire.AppendCredit(nil, s.handle, uint32(n)))
	}
}
