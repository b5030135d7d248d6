//go:build linux

package native

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/worker/wire"
)

// pieces takes frames to the end of a call. Each piece that came is paid for
// with as much credit, so that the window stays as it was.
func (b *box) pieces(window int) (joined string, e end) {
	b.t.Helper()
	begun := false
	for {
		var head [wire.HeaderSize]byte
		if _, err := io.ReadFull(b.socket, head[:]); err != nil {
			b.t.Fatal(err)
		}
		h, err := wire.ParseHeader(head[:], wire.MaxFromWorker)
		if err != nil || h.Handle != b.next {
			b.t.Fatalf("%+v, %v", h, err)
		}
		body := make([]byte, h.Len)
		if _, err := io.ReadFull(b.socket, body); err != nil {
			b.t.Fatal(err)
		}
		switch h.Type {
		case wire.Begin:
			if _, err := wire.ParseBegin(body); err != nil || begun {
				b.t.Fatalf("a beginning: %v, the second: %t", err, begun)
			}
			begun = true
		case wire.Chunk:
			piece, err := wire.ParseChunk(body)
			if err != nil || len(piece) > window || !begun {
				b.t.Fatalf("a piece of %d bytes with a window of %d: %v", len(piece), window, err)
			}
			joined += string(piece)
			b.socket.Write(wire.AppendCredit(nil, h.Handle, uint32(len(piece))))
		case wire.Done:
			if err := wire.ParseDone(body, &e.DoneBody); err != nil {
				b.t.Fatal(err)
			}
			e.output = string(e.Output)
			return joined, e
		default:
			b.t.Fatalf("a frame of type %d", h.Type)
		}
	}
}

// streaming gives a worker whose function is loaded.
func streaming(t *testing.T, name string) *box {
	t.Helper()
	b := newBox(t)
	b.function(name)
	b.loaded()
	return b
}

func inPieces(limit uint64, window uint32) func(*wire.RunBody) {
	return func(r *wire.RunBody) { r.StreamLimit, r.Window = limit, window }
}

func TestResponsesInPieces(t *testing.T) {
	t.Parallel()
	b := streaming(t, "streams")
	for _, window := range []int{1, 7, 1 << 16} {
		b.run("{}", inPieces(1<<20, uint32(window)))
		if got, e := b.pieces(window); got != "piece piece piece " || e.Status != wire.StatusOK || len(e.Output) != 0 {
			t.Errorf("a window of %d: %q, %v %s", window, got, e.Status, e.output)
		}
	}
	b.run("{}", inPieces(17, 1<<16))
	if got, e := b.pieces(1 << 16); len(got) > 17 || e.Status != wire.StatusFunctionError || !strings.Contains(e.output, "(17 bytes)") {
		t.Errorf("a byte too many: %q, %v %s", got, e.Status, e.output)
	}
}

func TestAResponseThatBreaksOff(t *testing.T) {
	t.Parallel()
	b := streaming(t, "breaksOff")
	b.run("{}", inPieces(1<<20, 1<<16))
	if got, e := b.pieces(1 << 16); got != "half" || e.Status != wire.StatusFunctionError || e.output != `{"errorType":"Late"}` {
		t.Errorf("%q, %v %s", got, e.Status, e.output)
	}
}

// TestNobodyTakesThePieces: a function whose pieces nobody takes runs to its
// time limit, and ends.
func TestNobodyTakesThePieces(t *testing.T) {
	t.Parallel()
	b := streaming(t, "streams")
	b.run("{}", inPieces(1<<20, 0), timeout(300*time.Millisecond))
	if got, e := b.pieces(0); got != "" || e.Status != wire.StatusTimeout {
		t.Errorf("%q, %v %s", got, e.Status, e.output)
	}
	b.gone()
}
