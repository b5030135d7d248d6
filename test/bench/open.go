//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// openLoop sends calls at fixed times, whether earlier ones have been
// answered or not, and counts from the intended time: a server that stalls
// for a second must show a hundred slow calls, not one.
func openLoop(in io.Reader, out io.Writer) error {
	var spec loadSpec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return err
	}
	if len(spec.Targets) == 0 || spec.Rate < 1 {
		return errors.New("an open loop has targets and a rate")
	}
	// Clients have machines of their own; here one shares the processors with
	// whoever computes, so it goes first where it may.
	_, _, _ = syscall.AllThreadsSyscall(syscall.SYS_SETPRIORITY, syscall.PRIO_PROCESS, 0, ^uintptr(14))
	o := &open{spec: spec, requests: make([]signed, len(spec.Targets))}
	o.run()
	o.result.count(o.micros)
	slices.Sort(o.late)
	o.result.SchedulingMicros = percentile(o.late, 99)
	return json.NewEncoder(out).Encode(o.result)
}

type signed struct {
	at    time.Time
	bytes []byte
}

type open struct {
	spec     loadSpec
	requests []signed

	mu     sync.Mutex
	idle   []*wire
	micros []float64
	late   []float64
	result loadResult
}

// maxOpen bounds the calls under way; more mean that the server has stopped.
const maxOpen = 2000

func (o *open) run() {
	rng := rand.New(rand.NewPCG(o.spec.Seed, 1))
	var zipf *rand.Zipf
	if o.spec.Zipf > 1 {
		zipf = rand.NewZipf(rng, o.spec.Zipf, 1, uint64(len(o.spec.Targets)-1))
	}
	slots := make(chan struct{}, maxOpen)
	var calls sync.WaitGroup
	begun := time.Now()
	from := begun.Add(o.spec.Warm)
	end := from.Add(o.spec.Measure)
	interval := time.Second / time.Duration(o.spec.Rate)
	for n := 0; ; n++ {
		at := begun.Add(time.Duration(n) * interval)
		if at.After(end) {
			break
		}
		time.Sleep(time.Until(at))
		which := n % len(o.spec.Targets)
		if zipf != nil {
			which = int(zipf.Uint64())
		}
		request, err := o.request(which)
		counted := at.After(from)
		if err != nil {
			o.note(err)
			continue
		}
		if counted {
			o.mu.Lock()
			o.late = append(o.late, float64(time.Since(at).Nanoseconds())/1000)
			o.mu.Unlock()
		}
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			err := o.call(&o.spec.Targets[which], request)
			took := time.Since(at)
			if err != nil {
				o.note(err)
			} else if counted {
				o.mu.Lock()
				o.micros = append(o.micros, float64(took.Nanoseconds())/1000)
				o.mu.Unlock()
			}
		})
	}
	calls.Wait()
	o.result.Seconds = o.spec.Measure.Seconds()
}

func (o *open) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.result.Errors++
	if o.result.Error == "" {
		o.result.Error = err.Error()
	}
}

func (o *open) request(which int) ([]byte, error) {
	s := &o.requests[which]
	if now := time.Now(); now.Sub(s.at) > resign {
		b, err := o.spec.Targets[which].request(o.spec.Address)
		if err != nil {
			return nil, err
		}
		*s = signed{now, b}
	}
	return s.bytes, nil
}

func (o *open) call(t *target, request []byte) error {
	o.mu.Lock()
	var w *wire
	if n := len(o.idle); n > 0 {
		w, o.idle = o.idle[n-1], o.idle[:n-1]
	}
	o.mu.Unlock()
	var err error
	if w == nil {
		if w, err = dial(o.spec.Address); err != nil {
			return err
		}
	}
	if err := w.call(t, request); err != nil {
		w.conn.Close()
		return err
	}
	o.mu.Lock()
	o.idle = append(o.idle, w)
	o.mu.Unlock()
	return nil
}

// wire is a connection for one call at a time.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(address string) (*wire, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return &wire{conn, bufio.NewReader(conn)}, nil
}

// call makes one call and compares its reply with what the target expects.
func (w *wire) call(t *target, request []byte) error {
	w.conn.SetDeadline(time.Now().Add(patience))
	if _, err := w.conn.Write(request); err != nil {
		return err
	}
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("reading a reply of %s: %w", t.Function, err)
		}
		head = append(head, line...)
	}
	length, err := contentLength(head)
	if err != nil {
		return err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(w.in, body); err != nil {
		return err
	}
	if !ok(head) {
		return fmt.Errorf("%s answered %.300q %.300q", t.Function, head, body)
	}
	return t.accepts(body)
}
