package wasi

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// Limits of one call that no configuration changes; they bound the host's own
// memory and work, not the guest's.
const (
	maxDescriptors = 128
	maxIovecs      = 1024
	maxEvents      = 1024
	maxMove        = 16 << 20             // bytes that one read or write moves; more is a short count
	maxRandom      = 1 << 20              // random bytes between two questions whether to stop
	sleepSlice     = 2 * time.Millisecond // how late an interrupt can reach a sleeping guest
)

// Reason says why the host ended a guest's run.
type Reason uint8

// The reasons.
const (
	// Running: the host did not end the run.
	Running Reason = iota
	// Exited: the guest called proc_exit; State.ExitCode has the code.
	Exited
	// OutputTooLarge: the guest wrote more than Call.OutputLimit to standard output.
	OutputTooLarge
	// Interrupted: the interrupt hook returned an error; State.Cause has it.
	Interrupted
)

// Hooks are what the engine lends to a State for its whole life.
type Hooks struct {
	// Charge takes n units of fuel from the guest.
	Charge func(n uint64)
	// Used gives the fuel that the current call has used, in units.
	Used func() uint64
	// Reserve asks for n more bytes for /tmp (n may be negative, giving
	// back); false means that the memory limit is reached.
	Reserve func(n int64) bool
	// Interrupt is asked while a guest sleeps; an error ends the run.
	Interrupt func() error
}

// Call is one run's input.
type Call struct {
	// Stdin is read by the guest from descriptor 0.
	Stdin []byte
	// Args and Env are handed out as they are; Env holds KEY=VALUE.
	Args, Env []string
	// Seed keys the stream of random bytes.
	Seed [32]byte
	// ClockBase is where the clocks start, in nanoseconds since 1970.
	ClockBase uint64
	// Deadline ends a sleep early; zero means none.
	Deadline time.Time
	// OutputLimit and LogLimit are in bytes. Output over its limit ends the
	// run, log lines over theirs are dropped and counted.
	OutputLimit, LogLimit int
	// Virtual makes the clock independent of fuel and sleeps take no time: for
	// initialisation, whose result has to be the same everywhere.
	Virtual bool
}

// State is what one guest has of the host: descriptors, files, output and
// positions. One guest's calls use it one after the other; Begin wipes it.
type State struct {
	// Output and Log are what the guest wrote; valid until the next Begin.
	Output, Log []byte
	// LogDropped counts the bytes that did not fit into Log.
	LogDropped int
	// Reason, ExitCode and Cause say how the host ended the run, if it did.
	Reason   Reason
	ExitCode uint32
	Cause    error

	hooks Hooks
	ctx   context.Context
	call  Call
	mem   []byte // the guest's memory during a host call
	stdin int
	slept uint64
	rand  rand.ChaCha8
	fds   []descriptor
	tmp   tree
	iov   [maxIovecs]iovec
	polls []subscription
}

// NewState gives a State whose first use must be Begin.
func NewState(h Hooks) *State {
	st := &State{hooks: h}
	st.tmp.reserve, st.tmp.work = h.Reserve, h.Charge
	return st
}

// Begin wipes everything of the call before and starts the next one.
func (st *State) Begin(ctx context.Context, c Call) {
	st.Wipe()
	st.ctx, st.call = ctx, c
	st.rand.Seed(c.Seed)
	st.fds = append(st.fds,
		descriptor{kind: kindStdin}, descriptor{kind: kindStdout}, descriptor{kind: kindStderr},
		descriptor{kind: kindDir, preopen: true})
}

// Wipe forgets files, descriptors, positions, input and output. The space of
// Output and Log is kept for the next call.
func (st *State) Wipe() {
	clear(st.fds)
	st.fds = st.fds[:0]
	st.tmp.wipe()
	st.Output, st.Log, st.LogDropped = st.Output[:0], st.Log[:0], 0
	st.Reason, st.ExitCode, st.Cause = Running, 0, nil
	st.stdin, st.slept = 0, 0
	st.call, st.ctx, st.mem = Call{}, nil, nil
	st.rand.Seed([32]byte{})
}

// Random fills b from the call's stream, as random_get does.
func (st *State) Random(b []byte) {
	st.rand.Read(b) // never fails: documented of ChaCha8
}

// TmpBytes is what the files of this call occupy.
func (st *State) TmpBytes() int64 { return st.tmp.bytes }

// stopped is thrown through the guest's frames when the host ends a run; the
// State says why. wazero passes an ExitError through without building a trace.
var stopped = sys.NewExitError(1)

// Stop ends the run from inside a host call. It does not return.
func (st *State) Stop(why Reason, cause error) {
	st.Reason, st.Cause = why, cause
	panic(stopped) // the only way out of a guest's frames; wazero recovers it
}

// now is the guest's wall and monotonic clock in nanoseconds.
func (st *State) now() uint64 {
	return st.call.ClockBase + st.elapsed() + st.slept/millisecond*millisecond
}

const millisecond = uint64(time.Millisecond)

// elapsed is computing time: fuel taken as time, in whole milliseconds.
func (st *State) elapsed() uint64 {
	if st.call.Virtual {
		return 0
	}
	return st.hooks.Used() / FuelPerNanosecond / millisecond * millisecond
}

// Advance moves the guest's clocks forward by what the host took for it, in
// whole milliseconds, rounded up, so that a timer that was waited for has passed.
func (st *State) Advance(d time.Duration) { st.advance(uint64(max(d, 0))) }

func (st *State) advance(d uint64) {
	if st.slept += (min(d, 1<<62) + millisecond - 1) / millisecond * millisecond; st.slept > 1<<62 {
		st.slept = 1 << 62
	}
}

// sleep waits d nanoseconds, or until the run is to end.
func (st *State) sleep(d uint64) {
	st.advance(d)
	if st.call.Virtual {
		return
	}
	end := time.Now().Add(time.Duration(min(d, 1<<62)))
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		if err := st.hooks.Interrupt(); err != nil {
			st.Stop(Interrupted, err)
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		if !st.call.Deadline.IsZero() {
			left = min(left, max(time.Until(st.call.Deadline), 0)+time.Microsecond)
		}
		timer.Reset(min(left, sleepSlice))
		select {
		case <-timer.C:
		case <-st.ctx.Done():
			st.Stop(Interrupted, st.ctx.Err())
		}
	}
}

// Slice is the one door from a guest's address to bytes of its memory: it
// takes address and length as 32-bit numbers, and gives false if they do not
// lie in memory.
func Slice(mem []byte, ptr, n uint64) ([]byte, bool) {
	p, l := uint64(uint32(ptr)), uint64(uint32(n))
	if p+l > uint64(len(mem)) {
		return nil, false
	}
	return mem[p : p+l : p+l], true
}

func (st *State) slice(ptr, n uint64) ([]byte, bool) { return Slice(st.mem, ptr, n) }

func (st *State) putU32(ptr, v uint64) Errno {
	b, ok := st.slice(ptr, 4)
	if !ok {
		return EFAULT
	}
	binary.LittleEndian.PutUint32(b, uint32(v))
	return ESUCCESS
}

func (st *State) putU64(ptr, v uint64) Errno {
	b, ok := st.slice(ptr, 8)
	if !ok {
		return EFAULT
	}
	binary.LittleEndian.PutUint64(b, v)
	return ESUCCESS
}

// moved charges for bytes copied between host and guest.
func (st *State) moved(n int) { st.hooks.Charge(uint64(n) / 4) }

type iovec struct{ ptr, n uint32 }

// iovecs copies a guest's list of buffers in and checks every one of them
// before any is used. Together they are cut to maxMove: nothing interrupts a
// host call, so none may take long.
func (st *State) iovecs(ptr, count uint64) ([]iovec, Errno) {
	n := uint32(count)
	if n > maxIovecs {
		return nil, EINVAL
	}
	raw, ok := st.slice(ptr, uint64(n)*8)
	if !ok {
		return nil, EFAULT
	}
	st.hooks.Charge(uint64(n))
	v := st.iov[:n]
	left := uint32(maxMove)
	for i := range v {
		v[i] = iovec{binary.LittleEndian.Uint32(raw[8*i:]), binary.LittleEndian.Uint32(raw[8*i+4:])}
		if _, ok := st.slice(uint64(v[i].ptr), uint64(v[i].n)); !ok {
			return nil, EFAULT
		}
		v[i].n = min(v[i].n, left)
		left -= v[i].n
	}
	return v, ESUCCESS
}
