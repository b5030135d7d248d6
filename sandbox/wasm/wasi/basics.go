package wasi

import "encoding/binary"

// Identifiers of clocks.
const (
	clockRealtime = iota
	clockMonotonic
	clockProcessCPU
	clockThreadCPU
)

func argsGet(st *State, p []uint64) Errno { return st.putStrings(st.call.Args, p[0], p[1]) }

func argsSizesGet(st *State, p []uint64) Errno { return st.putSizes(st.call.Args, p[0], p[1]) }

func environGet(st *State, p []uint64) Errno { return st.putStrings(st.call.Env, p[0], p[1]) }

func environSizesGet(st *State, p []uint64) Errno { return st.putSizes(st.call.Env, p[0], p[1]) }

func stringsSize(list []string) (n uint64) {
	for _, s := range list {
		n += uint64(len(s)) + 1
	}
	return n
}

func (st *State) putSizes(list []string, count, size uint64) Errno {
	if e := st.putU32(count, uint64(len(list))); e != ESUCCESS {
		return e
	}
	return st.putU32(size, stringsSize(list))
}

// putStrings writes the strings, each ended by a zero byte, and the table of
// their addresses.
func (st *State) putStrings(list []string, table, buf uint64) Errno {
	t, ok := st.slice(table, 4*uint64(len(list)))
	if !ok {
		return EFAULT
	}
	b, ok := st.slice(buf, stringsSize(list))
	if !ok {
		return EFAULT
	}
	st.moved(len(b) + len(t))
	at := uint32(buf)
	for i, s := range list {
		binary.LittleEndian.PutUint32(t[4*i:], at)
		n := copy(b, s)
		b[n] = 0
		b = b[n+1:]
		at += uint32(n) + 1
	}
	return ESUCCESS
}

func clockResGet(st *State, p []uint64) Errno {
	if uint32(p[0]) > clockThreadCPU {
		return EINVAL
	}
	return st.putU64(p[1], millisecond)
}

func clockTimeGet(st *State, p []uint64) Errno {
	t, e := st.clock(uint32(p[0]))
	if e != ESUCCESS {
		return e
	}
	return st.putU64(p[2], t)
}

func (st *State) clock(id uint32) (uint64, Errno) {
	switch id {
	case clockRealtime, clockMonotonic:
		return st.now(), ESUCCESS
	case clockProcessCPU, clockThreadCPU:
		return st.elapsed(), ESUCCESS
	}
	return 0, EINVAL
}

func randomGet(st *State, p []uint64) Errno {
	b, ok := st.slice(p[0], p[1])
	if !ok {
		return EFAULT
	}
	st.hooks.Charge(uint64(len(b)))
	for len(b) > maxRandom {
		st.Random(b[:maxRandom])
		b = b[maxRandom:]
		if err := st.hooks.Interrupt(); err != nil {
			st.Stop(Interrupted, err)
		}
	}
	st.Random(b)
	return ESUCCESS
}

func schedYield(*State, []uint64) Errno { return ESUCCESS }

func procExit(st *State, p []uint64) Errno {
	st.ExitCode = uint32(p[0])
	st.Stop(Exited, nil)
	return ESUCCESS
}

func notSupported(*State, []uint64) Errno { return ENOTSUP }

func notBuilt(*State, []uint64) Errno { return ENOSYS }

func notSocket(st *State, p []uint64) Errno {
	if _, e := st.fd(p[0]); e != ESUCCESS {
		return e
	}
	return ENOTSOCK
}

// Kinds of events, and layout of the two structures of poll_oneoff.
const (
	eventClock       = 0
	eventRead        = 1
	eventWrite       = 2
	subscriptionSize = 48
	eventSize        = 32
	absoluteTime     = 1
)

type subscription struct {
	user    uint64
	kind    byte
	flags   uint16
	id      uint32 // clock or descriptor
	timeout uint64 // nanoseconds from now, once read
	errno   Errno
	ready   bool
	bytes   uint64
}

func pollOneoff(st *State, p []uint64) Errno {
	n := uint64(uint32(p[2]))
	if n == 0 || n > maxEvents {
		return EINVAL
	}
	in, ok := st.slice(p[0], n*subscriptionSize)
	if !ok {
		return EFAULT
	}
	out, ok := st.slice(p[1], n*eventSize)
	if !ok {
		return EFAULT
	}
	if _, ok := st.slice(p[3], 4); !ok {
		return EFAULT
	}
	st.moved(len(in) + len(out))
	wait, clocks, ready := st.subscriptions(in)
	if !ready && clocks {
		st.sleep(wait)
	}
	count := uint64(0)
	for i := range st.polls {
		s := &st.polls[i]
		if s.kind == eventClock && s.errno == ESUCCESS {
			s.ready = s.timeout == 0 || !ready && s.timeout <= wait
		}
		if s.ready || s.errno != ESUCCESS {
			s.put(out[count*eventSize:][:eventSize])
			count++
		}
	}
	return st.putU32(p[3], count)
}

// subscriptions copies the subscriptions in. It gives the shortest wait,
// whether there is a clock among them, and whether one is ready now.
func (st *State) subscriptions(in []byte) (wait uint64, clocks, ready bool) {
	le := binary.LittleEndian
	st.polls = st.polls[:0]
	wait = ^uint64(0)
	for ; len(in) > 0; in = in[subscriptionSize:] {
		s := subscription{user: le.Uint64(in), kind: in[8], id: le.Uint32(in[16:])}
		switch s.kind {
		case eventClock:
			s.timeout, s.flags = le.Uint64(in[24:]), le.Uint16(in[40:])
			now, e := st.clock(s.id)
			if s.errno = e; e == ESUCCESS {
				if s.flags&absoluteTime != 0 {
					s.timeout -= min(now, s.timeout)
				}
				wait, clocks = min(wait, s.timeout), true
			}
		case eventRead, eventWrite:
			_, s.errno = st.fd(uint64(s.id))
			s.ready = s.errno == ESUCCESS
			if s.ready && s.kind == eventRead {
				s.bytes = st.available(s.id)
			}
		default:
			s.errno = EINVAL
		}
		ready = ready || s.ready || s.errno != ESUCCESS || s.kind == eventClock && s.timeout == 0
		st.polls = append(st.polls, s)
	}
	return wait, clocks, ready
}

func (s *subscription) put(b []byte) {
	clear(b)
	binary.LittleEndian.PutUint64(b, s.user)
	binary.LittleEndian.PutUint16(b[8:], uint16(s.errno))
	b[10] = s.kind
	binary.LittleEndian.PutUint64(b[16:], s.bytes)
}
