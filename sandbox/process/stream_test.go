//go:build linux

package process

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/sandbox"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

// streamTo is a caller who takes pieces.
type streamTo struct {
	begun int
	got   bytes.Buffer
	hold  chan struct{} // each Write waits until it is closed
	first chan struct{} // closed at the first Write
	gone  bool
	once  sync.Once
}

func newStream() *streamTo {
	s := &streamTo{hold: make(chan struct{}), first: make(chan struct{})}
	close(s.hold)
	return s
}

func (s *streamTo) Begin(string) { s.begun++ }

func (s *streamTo) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.first) })
	<-s.hold
	if s.gone {
		return 0, errors.New("gone")
	}
	return s.got.Write(p)
}

func streamer(times int32) []byte { return wasmtest.Relay(3, times, 110) }

func TestFunctionsGiveTheirResultInPieces(t *testing.T) {
	h := newHarness(t, nil)
	f := h.deploy("111111111111", streamer(20), function.Limits{MemoryMB: 64, Timeout: 10 * time.Second})
	for _, size := range []int{1, 1000, 200_000, 1 << 20} {
		event := strings.Repeat("x", size)
		s := newStream()
		o := h.stream(f, event, s)
		if want := int64(20 * size); o.Result != call.OK || int64(s.got.Len()) != want || o.Streamed != want || o.Usage.BytesOut != want || s.begun != 1 {
			t.Errorf("20 pieces of %d bytes: %v %v, %d came, %d metered, %d beginnings", size, o.Result, o.Err, s.got.Len(), o.Usage.BytesOut, s.begun)
		}
	}
	if o := h.run(f, "abc"); o.Result != call.OK || string(o.Payload) != strings.Repeat("abc", 20) || o.Usage.BytesOut != 60 {
		t.Errorf("for a caller that takes the whole: %v %v %q", o.Result, o.Err, o.Payload)
	}
	if o := h.run(f, strings.Repeat("x", 400_000)); o.Result != call.FunctionError || !strings.Contains(string(o.Payload), "Function.ResponseSizeTooLarge") {
		t.Errorf("8 MB for a caller that takes the whole: %v %v %.100q", o.Result, o.Err, o.Payload)
	}
	g, s := h.deploy("111111111111", readGreeter(t), small), newStream()
	const head = `{"statusCode":201,"headers":{"content-type":"text/plain"},"cookies":["a=b"]}` + "\x00\x00\x00\x00\x00\x00\x00\x00"
	if o := h.stream(g, `{"name":"Ada","do":"stream"}`, s); o.Result != call.OK || s.got.String() != head+"Hello, Ada!" ||
		o.ContentType != "application/vnd.awslambda.http-integration-response" {
		t.Errorf("a function in Go: %v %v %s %q", o.Result, o.Err, o.ContentType, s.got.String())
	}
	gone := newStream()
	gone.gone = true
	if o := h.stream(f, strings.Repeat("x", 100_000), gone); o.Result != call.OK || o.Usage.BytesOut != 2_000_000 {
		t.Errorf("for a caller that is gone: %v %v, %d metered", o.Result, o.Err, o.Usage.BytesOut)
	}
	if n := h.driver.counts.Alarms.Load() + h.driver.counts.Crashes.Load(); n != 0 {
		t.Errorf("%d alarms and crashes of honest workers", n)
	}
}

// TestASlowCallerHoldsUpNobodyElse: the function that streams to it waits, to
// its time limit; others of the same tenant run, and no more than the window is kept.
func TestASlowCallerHoldsUpNobodyElse(t *testing.T) {
	h := newHarness(t, nil)
	f := h.deploy("111111111111", streamer(20), function.Limits{MemoryMB: 64, Timeout: time.Second})
	slow := newStream()
	slow.hold = make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		o := h.stream(f, strings.Repeat("x", 100_000), slow)
		if o.Result != call.TimedOut || o.Streamed > sandbox.Window {
			t.Errorf("the call with a slow caller: %v %v, %d bytes in pieces", o.Result, o.Err, o.Streamed)
		}
	})
	<-slow.first
	for i := range 30 {
		begun := time.Now()
		if o := h.run(f, "quick"); o.Result != call.OK {
			t.Fatalf("call %d beside it: %v %v %q", i, o.Result, o.Err, o.Payload)
		} else if took := time.Since(begun); took > 500*time.Millisecond {
			t.Errorf("call %d beside it took %s", i, took)
		}
	}
	time.AfterFunc(1200*time.Millisecond, func() { close(slow.hold) })
	wg.Wait()
	if n := h.driver.counts.Alarms.Load() + h.driver.counts.Crashes.Load() + h.driver.counts.Kills.Load(); n != 0 {
		t.Errorf("a worker whose caller is slow was taken for a bad one (%d)", n)
	}
}

// TestAWorkerCannotSendMoreThanIsTaken: one that sends without credit is
// stopped, and nothing beyond the window was kept for it.
func TestAWorkerCannotSendMoreThanIsTaken(t *testing.T) {
	h := newHostileHarness(t)
	f := h.target("111111111111")
	f.Limits.Timeout = 20 * time.Second
	s := newStream()
	s.hold = make(chan struct{})
	time.AfterFunc(5*time.Second, func() { close(s.hold) })
	o := h.stream(f, "more pieces than there may be", s)
	if o.Result != call.PlatformError || o.Streamed > sandbox.Window || s.got.Len() > sandbox.Window {
		t.Errorf("%v %v, %d bytes taken", o.Result, o.Err, o.Streamed)
	}
	if h.driver.counts.Alarms.Load() == 0 {
		t.Error("nobody noticed")
	}
}
