//go:build linux

package native

import (
	"encoding/base64"
	"errors"
	"io"

	"github.com/carrel-dev/carrel/worker/wire"
)

// isStreamed tells whether a response is to be handed on in pieces.
func isStreamed(r *request) bool {
	return r.header.Get("Lambda-Runtime-Function-Response-Mode") == "streaming"
}

// stream hands the response of the running call on to the node in pieces, as
// fast as it takes them, and answers the call at its end.
func (s *supervisor) stream(r *request, t *task) response {
	s.mu.Lock()
	if s.running != t || t.answered || t.streamed {
		s.mu.Unlock()
		return refusal(403, "InvalidStateTransition", "The call was answered already.")
	}
	t.streamed = true
	s.send(wire.AppendBegin(nil, t.handle, contentType(r)))
	s.mu.Unlock()
	failure, err := s.pieces(r, t)
	if errors.Is(err, errCallOver) {
		return refusal(403, "InvalidStateTransition", "The call has ended.")
	}
	if kind := r.trailer.Get("Lambda-Runtime-Function-Error-Type"); kind != "" && failure == nil {
		failure = trailerError(r, kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != t || t.answered {
		return refusal(403, "InvalidStateTransition", "The call has ended.")
	}
	t.answered, t.failed, t.output = true, failure != nil, failure
	return accepted
}

var errCallOver = errors.New("the call is over")

// pieces reads a response to its end. The failure is an error object for the
// caller: what came before it has been sent.
func (s *supervisor) pieces(r *request, t *task) (failure []byte, err error) {
	buf := make([]byte, wire.MaxChunk)
	for left := t.call.StreamLimit; ; {
		n, err := r.body.Read(buf)
		if uint64(n) > left {
			return tooLarge(int(t.call.StreamLimit)), nil
		}
		left -= uint64(n)
		if !s.piece(t, buf[:n]) {
			return nil, errCallOver
		}
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return errorObject("Runtime.TruncatedResponse", "the function's response broke off"), nil
		}
	}
}

// piece sends a piece once the node has room for it; false if the call ended
// before that.
func (s *supervisor) piece(t *task, b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 {
		for s.running == t && t.call.Window == 0 {
			s.changed.Wait()
		}
		if s.running != t {
			return false
		}
		n := min(len(b), int(t.call.Window))
		t.call.Window -= uint32(n)
		s.send(wire.AppendChunk(nil, t.handle, b[:n]))
		b = b[n:]
	}
	return s.running == t
}

// credited lets the running call send more.
func (s *supervisor) credited(handle uint64, body []byte) error {
	n, err := wire.ParseCredit(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.running; t != nil && t.handle == handle {
		t.call.Window += n
		s.changed.Broadcast()
	}
	return nil
}

// contentType gives what the function said of its response, if it can be told.
func contentType(r *request) string {
	kind := r.header.Get("Content-Type")
	if len(kind) > wire.MaxContentType {
		return ""
	}
	for i := range len(kind) {
		if kind[i] < ' ' || kind[i] > '~' {
			return ""
		}
	}
	return kind
}

// trailerError gives the error of a streamed response that broke off: its
// type is in one trailer, its body in base64 in another.
func trailerError(r *request, kind string) []byte {
	body, err := base64.StdEncoding.DecodeString(r.trailer.Get("Lambda-Runtime-Function-Error-Body"))
	if err != nil || len(body) == 0 {
		return errorObject(kind, "the function's response broke off")
	}
	return body
}
