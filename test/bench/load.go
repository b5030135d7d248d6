//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// loadSpec is the work of a generator of load.
type loadSpec struct {
	Address string
	Targets []target
	// Conns is the number of connections of the closed loop.
	Conns int
	// Warm and Measure are how long calls are not counted, then counted.
	Warm, Measure time.Duration
	// Rate is the calls a second of the open loop. Zipf, above 1, is how
	// unequally they fall on targets; 0 takes them in turn.
	Rate int
	Zipf float64
	Seed uint64
}

// loadResult is what it saw.
type loadResult struct {
	Calls            int
	All              int // the uncounted ones before and failed ones too
	Seconds          float64
	Errors           int
	Error            string // the first
	P50, P99, P999   float64
	MaxMicros        float64
	SchedulingMicros float64 // open loop: the 99th percentile of own lateness
}

func (r *loadResult) count(micros []float64) {
	slices.Sort(micros)
	r.Calls = len(micros)
	r.P50, r.P99, r.P999, r.MaxMicros = percentile(micros, 50), percentile(micros, 99), percentile(micros, 99.9), percentile(micros, 100)
}

// socket is a connection of the closed loop with one call under way.
type socket struct {
	fd      int
	sent    time.Time
	in      []byte
	have    int
	whole   int  // length of the reply, once its head is there
	checked bool // the first reply's body was compared
}

// closed is the closed loop: one thread that waits for all connections and
// sends the same bytes again as soon as a reply is complete, so that it takes
// as little as can be of the processor that it shares with what it measures.
type closed struct {
	spec    loadSpec
	request []byte
	signed  time.Time
	poll    int
	socks   []socket
	micros  []float64
	from    time.Time
	result  loadResult
}

func closedLoop(in io.Reader, out io.Writer) error {
	c := &closed{}
	if err := json.NewDecoder(in).Decode(&c.spec); err != nil {
		return err
	}
	if len(c.spec.Targets) != 1 || c.spec.Conns < 1 {
		return errors.New("a closed loop has one target and at least one connection")
	}
	runtime.LockOSThread()
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.loop(); err != nil {
		return err
	}
	c.result.count(c.micros)
	return json.NewEncoder(out).Encode(c.result)
}

func (c *closed) connect() (err error) {
	address, err := netip.ParseAddrPort(c.spec.Address)
	if err != nil {
		return err
	}
	if c.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	c.socks = make([]socket, c.spec.Conns)
	c.micros = make([]float64, 0, 1<<20)
	for i := range c.socks {
		s := &c.socks[i]
		s.in = make([]byte, 64<<10)
		if s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Connect(s.fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}); err != nil {
			return fmt.Errorf("connect to %s: %w", c.spec.Address, err)
		}
		err = errors.Join(unix.SetNonblock(s.fd, true), unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			unix.EpollCtl(c.poll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}))
		if err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a generator waits for any reply.
const patience = 20 * time.Second

func (c *closed) loop() error {
	begun := time.Now()
	c.from = begun.Add(c.spec.Warm)
	end := c.from.Add(c.spec.Measure)
	for i := range c.socks {
		if err := c.send(&c.socks[i], begun); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, len(c.socks))
	for {
		n, err := unix.EpollWait(c.poll, events, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("no reply for %s (%v)", patience, err)
		}
		for _, e := range events[:n] {
			s := &c.socks[e.Fd]
			complete, err := c.receive(s)
			if err != nil {
				return err
			}
			if !complete {
				continue
			}
			now := time.Now()
			if now.After(end) {
				c.result.Seconds = now.Sub(c.from).Seconds()
				return nil
			}
			c.tally(s, now)
			if err := c.send(s, now); err != nil {
				return err
			}
		}
	}
}

func (c *closed) send(s *socket, now time.Time) (err error) {
	if now.Sub(c.signed) > resign {
		if c.request, err = c.spec.Targets[0].request(c.spec.Address); err != nil {
			return err
		}
		c.signed = now
	}
	s.sent, s.have, s.whole = now, 0, 0
	n, err := unix.Write(s.fd, c.request)
	if err == nil && n < len(c.request) {
		err = io.ErrShortWrite // the buffer of a socket holds far more than one request
	}
	return err
}

// receive reads what is there and tells whether the reply is complete.
func (c *closed) receive(s *socket) (bool, error) {
	n, err := unix.Read(s.fd, s.in[s.have:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return false, nil
	}
	if err != nil || n <= 0 {
		return false, fmt.Errorf("the server closed a connection (%v)", err)
	}
	s.have += n
	if s.whole == 0 {
		head := bytes.Index(s.in[:s.have], []byte("\r\n\r\n"))
		if head < 0 {
			return false, nil
		}
		length, err := contentLength(s.in[:head])
		if err != nil {
			return false, err
		}
		if s.whole = head + 4 + length; s.whole > len(s.in) {
			return false, fmt.Errorf("a reply of %d bytes", s.whole)
		}
	}
	return s.have >= s.whole, nil
}

// contentLength finds the length in a reply's head; names come in any case.
func contentLength(head []byte) (int, error) {
	const name = "content-length:"
	for i := 0; i+len(name) < len(head); i++ {
		if head[i] != '\n' || !bytes.EqualFold(head[i+1:i+1+len(name)], []byte(name)) {
			continue
		}
		value, _, _ := bytes.Cut(head[i+1+len(name):], []byte("\r"))
		n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		if err == nil && n < 0 {
			err = fmt.Errorf("a reply of %d bytes", n)
		}
		return n, err
	}
	return 0, fmt.Errorf("a reply without a length: %.300q", head)
}

// tally counts a complete reply. The status is looked at every time, the
// body for the first reply of a connection.
func (c *closed) tally(s *socket, now time.Time) {
	c.result.All++
	reply := s.in[:s.whole]
	var err error
	if !ok(reply) {
		err = fmt.Errorf("answered %.400q", reply)
	} else if !s.checked {
		_, body, _ := bytes.Cut(reply, []byte("\r\n\r\n"))
		err = c.spec.Targets[0].accepts(body)
		s.checked = true
	}
	if err != nil {
		c.result.Errors++
		if c.result.Error == "" {
			c.result.Error = err.Error()
		}
		return
	}
	if now.After(c.from) {
		c.micros = append(c.micros, float64(now.Sub(s.sent).Nanoseconds())/1000)
	}
}

// ok tells whether a reply is a success. A function that failed is answered
// with 200 too, and with a header.
func ok(reply []byte) bool {
	head, _, _ := bytes.Cut(reply, []byte("\r\n\r\n"))
	return bytes.HasPrefix(head, []byte("HTTP/1.1 200")) && !bytes.Contains(head, []byte("X-Amz-Function-Error"))
}
