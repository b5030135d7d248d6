package sandbox

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/carrel-dev/carrel/call"
)

// client is a caller who takes pieces.
type client struct {
	kinds []string
	got   bytes.Buffer
	slow  chan struct{} // each Write waits for one
	gone  error
}

func (c *client) Begin(kind string) { c.kinds = append(c.kinds, kind) }

func (c *client) Write(p []byte) (int, error) {
	if c.slow != nil {
		<-c.slow
	}
	if c.gone != nil {
		return 0, c.gone
	}
	return c.got.Write(p)
}

func TestPiecesAreJoinedForACallerThatTakesTheWhole(t *testing.T) {
	for name, test := range map[string]struct {
		pieces  []string
		outcome call.Outcome
		want    string
		result  call.Result
	}{
		"pieces":              {pieces: []string{"a", "bc"}, want: "abc"},
		"pieces and a result": {pieces: []string{"a"}, outcome: call.Outcome{Payload: []byte("b")}, want: "ab"},
		"a failure": {pieces: []string{"a"}, outcome: call.Outcome{Result: call.FunctionError, Payload: []byte("{}")},
			want: "{}", result: call.FunctionError},
		"as much as there may be": {pieces: []string{strings.Repeat("x", call.MaxResult-1)}, outcome: call.Outcome{Payload: []byte("b")},
			want: strings.Repeat("x", call.MaxResult-1) + "b"},
		"more than there may be": {pieces: []string{strings.Repeat("x", call.MaxResult)}, outcome: call.Outcome{Payload: []byte("b")},
			want:   `{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}`,
			result: call.FunctionError},
	} {
		t.Run(name, func(t *testing.T) {
			p, o := NewPieces(&call.Call{}), test.outcome
			if err := p.Begin("text/plain"); err != nil {
				t.Fatal(err)
			}
			for _, piece := range test.pieces {
				if err := p.Put([]byte(piece)); err != nil {
					t.Fatal(err)
				}
			}
			p.Finish(&o)
			if string(o.Payload) != test.want || o.Result != test.result || o.Usage.BytesOut != int64(len(test.want)) || o.ContentType != "text/plain" {
				t.Errorf("%v, %d bytes %.60q, %d metered, %s", o.Result, len(o.Payload), o.Payload, o.Usage.BytesOut, o.ContentType)
			}
		})
	}
}

func TestPiecesReachTheCallerInOrderAndAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &client{}
		p := NewPieces(&call.Call{Stream: c})
		ended, taken := make(chan struct{}), 0
		done := make(chan struct{})
		go func() { defer close(done); p.Deliver(ended, func(n int) { taken += n }) }()
		var want bytes.Buffer
		piece := bytes.Repeat([]byte("0123456789"), 5000)
		for range 100 { // 5 MB through a window of 256 KiB
			if err := p.PutWhenRoom(context.Background(), piece); err != nil {
				t.Fatal(err)
			}
			want.Write(piece)
		}
		o := call.Outcome{Payload: []byte("end")}
		p.Finish(&o)
		close(ended)
		<-done
		if !bytes.Equal(c.got.Bytes(), want.Bytes()) || len(c.kinds) != 1 {
			t.Errorf("%d of %d bytes came, after %d beginnings", c.got.Len(), want.Len(), len(c.kinds))
		}
		if taken > want.Len() || o.Streamed != int64(want.Len()) || o.Usage.BytesOut != int64(want.Len())+3 || string(o.Payload) != "end" {
			t.Errorf("taken %d, streamed %d, metered %d, payload %q", taken, o.Streamed, o.Usage.BytesOut, o.Payload)
		}
	})
}

// TestASlowCallerHoldsUpTheSenderOnly: no more than the window waits, whoever
// sends more is told, and one that can wait does.
func TestASlowCallerHoldsUpTheSenderOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &client{slow: make(chan struct{})}
		p := NewPieces(&call.Call{Stream: c})
		ended := make(chan struct{})
		var taken int
		go p.Deliver(ended, func(n int) { taken += n })
		if err := p.Put(make([]byte, Window)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the caller is at it
		if err := p.Put([]byte{1}); !errors.Is(err, ErrPieces) {
			t.Errorf("a byte over the window: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := p.PutWhenRoom(ctx, []byte{1}); !errors.Is(err, context.Canceled) {
			t.Errorf("a sender whose time is up: %v", err)
		}
		c.slow <- struct{}{}
		synctest.Wait()
		if err := p.Put([]byte{1}); err != nil || taken != Window {
			t.Errorf("after the caller took %d bytes: %v", taken, err)
		}
		close(c.slow)
		close(ended)
	})
}

func TestACallerThatIsGoneStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &client{gone: errors.New("gone")}
		p := NewPieces(&call.Call{Stream: c})
		ended, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); p.Deliver(ended, nil) }()
		for range 8 {
			if err := p.PutWhenRoom(context.Background(), make([]byte, Window)); err != nil {
				t.Fatal(err)
			}
		}
		var o call.Outcome
		p.Finish(&o)
		close(ended)
		<-done
		if o.Usage.BytesOut != 8*Window || c.got.Len() != 0 {
			t.Errorf("%d bytes metered, %d came", o.Usage.BytesOut, c.got.Len())
		}
	})
}

func TestPiecesHaveALimit(t *testing.T) {
	c := &client{}
	p := NewPieces(&call.Call{Stream: c})
	p.total = call.MaxStreamed - 1
	if err := p.Put([]byte("ab")); !errors.Is(err, ErrPieces) {
		t.Errorf("a byte over the limit: %v", err)
	}
	if err := p.PutWhenRoom(context.Background(), []byte("ab")); !errors.Is(err, ErrPieces) {
		t.Errorf("a byte over the limit, with patience: %v", err)
	}
	if err := p.Put([]byte("a")); err != nil {
		t.Errorf("the last byte: %v", err)
	}
	if err := p.Begin(""); !errors.Is(err, ErrPieces) {
		t.Errorf("a beginning after a piece: %v", err)
	}
}
