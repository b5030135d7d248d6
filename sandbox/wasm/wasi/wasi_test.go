package wasi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// world is a State with a memory, and fuel and space that are counted.
type world struct {
	*State
	t     testing.TB
	fuel  uint64
	space int64
	stop  error
}

func newWorld(t testing.TB, c Call) *world {
	w := &world{t: t, space: 8 << 20}
	w.State = NewState(Hooks{
		Charge: func(n uint64) { w.fuel += n },
		Used:   func() uint64 { return w.fuel },
		Reserve: func(n int64) bool {
			if n > w.space {
				return false
			}
			w.space -= n
			return true
		},
		Interrupt: func() error { return w.stop },
	})
	if c.OutputLimit == 0 {
		c.OutputLimit, c.LogLimit = 1<<20, 1<<10
	}
	w.Begin(context.Background(), c)
	w.mem = make([]byte, 1<<16)
	return w
}

var byName = func() map[string]Function {
	m := map[string]Function{}
	for _, f := range Functions() {
		m[f.Name] = f
	}
	return m
}()

// call runs a function; ended tells that it ended the guest.
func (w *world) call(name string, args ...uint64) (e Errno, ended bool) {
	w.t.Helper()
	f, ok := byName[name]
	if !ok || len(args) != len(f.Params) {
		w.t.Fatalf("%s with %d arguments", name, len(args))
	}
	defer func() {
		if r := recover(); r != nil {
			var exit *sys.ExitError
			if err, ok := r.(error); !ok || !errors.As(err, &exit) || w.Reason == Running {
				panic(r)
			}
			ended = true
		}
	}()
	w.fuel += f.Cost
	return f.run(w.State, args), false
}

// must is call with an expected answer.
func (w *world) must(want Errno, name string, args ...uint64) {
	w.t.Helper()
	if e, ended := w.call(name, args...); e != want || ended {
		w.t.Fatalf("%s%v: errno %d (ended %v), want %d", name, args, e, ended, want)
	}
}

func (w *world) str(at uint64, s string) (ptr, n uint64) {
	copy(w.mem[at:], s)
	return at, uint64(len(s))
}

// buffer puts an iovec at 8 that names n bytes at ptr.
func (w *world) buffer(ptr, n uint64) (v, count uint64) {
	binary.LittleEndian.PutUint32(w.mem[8:], uint32(ptr))
	binary.LittleEndian.PutUint32(w.mem[12:], uint32(n))
	return 8, 1
}

func (w *world) u32(at uint64) uint32 { return binary.LittleEndian.Uint32(w.mem[at:]) }
func (w *world) u64(at uint64) uint64 { return binary.LittleEndian.Uint64(w.mem[at:]) }

const allAccess = rightRead | rightWrite

// open opens a path below /tmp for reading and writing.
func (w *world) openPath(path string, flags uint64) (fd uint64, e Errno) {
	w.t.Helper()
	p, n := w.str(1000, path)
	e, _ = w.call("path_open", 3, 0, p, n, flags, allAccess, 0, 0, 40)
	return uint64(w.u32(40)), e
}

func (w *world) write(fd uint64, s string) Errno {
	p, n := w.str(2000, s)
	v, c := w.buffer(p, n)
	e, _ := w.call("fd_write", fd, v, c, 44)
	return e
}

func (w *world) read(fd uint64, n uint64) string {
	w.t.Helper()
	v, c := w.buffer(3000, n)
	w.must(ESUCCESS, "fd_read", fd, v, c, 44)
	return string(w.mem[3000:][:w.u32(44)])
}

func TestEveryFunctionOfPreview1IsThere(t *testing.T) {
	want := strings.Fields(`args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get
		fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get
		fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_get fd_prestat_dir_name fd_pwrite fd_read fd_readdir
		fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times path_link
		path_open path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise
		sched_yield random_get sock_accept sock_recv sock_send sock_shutdown`)
	if len(byName) != len(want) || len(Functions()) != len(want) {
		t.Errorf("%d functions, want %d", len(byName), len(want))
	}
	for _, name := range want {
		if _, ok := byName[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestEventResultAndLog(t *testing.T) {
	w := newWorld(t, Call{Stdin: []byte("event")})
	if got := w.read(0, 3) + "|" + w.read(0, 10) + "|" + w.read(0, 10); got != "eve|nt|" {
		t.Errorf("read %q", got)
	}
	if e := w.write(1, "result"); e != ESUCCESS || string(w.Output) != "result" {
		t.Errorf("errno %d, output %q", e, w.Output)
	}
	if e := w.write(2, "log"); e != ESUCCESS || string(w.Log) != "log" {
		t.Errorf("errno %d, log %q", e, w.Log)
	}
	if e := w.write(0, "x"); e != EBADF {
		t.Errorf("writing to the event: errno %d", e)
	}
	for _, fd := range []uint64{1, 2} {
		v, c := w.buffer(3000, 1)
		w.must(EBADF, "fd_read", fd, v, c, 44)
		w.must(ESPIPE, "fd_seek", fd, 0, 0, 48)
	}
}

func TestOutputOverItsLimitEndsTheRun(t *testing.T) {
	w := newWorld(t, Call{OutputLimit: 10, LogLimit: 4})
	v, c := w.buffer(0, 10)
	w.must(ESUCCESS, "fd_write", 1, v, c, 44)
	w.must(ESUCCESS, "fd_write", 2, v, c, 44)
	if len(w.Output) != 10 || len(w.Log) != 4 || w.LogDropped != 6 {
		t.Fatalf("%d bytes of output, %d of log, %d dropped", len(w.Output), len(w.Log), w.LogDropped)
	}
	v, c = w.buffer(0, 1)
	if _, ended := w.call("fd_write", 1, v, c, 44); !ended || w.Reason != OutputTooLarge {
		t.Fatalf("one byte more: ended %v, reason %d", ended, w.Reason)
	}
}

func TestArgumentsAndEnvironment(t *testing.T) {
	w := newWorld(t, Call{Args: []string{"bootstrap", ""}, Env: []string{"A=1", "LONG=" + strings.Repeat("x", 300)}})
	w.must(ESUCCESS, "args_sizes_get", 0, 4)
	if w.u32(0) != 2 || w.u32(4) != 11 {
		t.Errorf("%d arguments of %d bytes", w.u32(0), w.u32(4))
	}
	w.must(ESUCCESS, "args_get", 0, 100)
	if w.u32(0) != 100 || w.u32(4) != 110 || string(w.mem[100:111]) != "bootstrap\x00\x00" {
		t.Errorf("arguments at %d and %d: %q", w.u32(0), w.u32(4), w.mem[100:111])
	}
	w.must(ESUCCESS, "environ_sizes_get", 0, 4)
	if w.u32(0) != 2 || w.u32(4) != 4+306 {
		t.Errorf("%d variables of %d bytes", w.u32(0), w.u32(4))
	}
	w.must(ESUCCESS, "environ_get", 0, 100)
	if string(w.mem[100:104]) != "A=1\x00" || w.u32(4) != 104 {
		t.Errorf("%q", w.mem[100:104])
	}
	w.must(EFAULT, "environ_get", 0, uint64(len(w.mem)-100))
}

func TestClocksStepWithFuelAndSleep(t *testing.T) {
	const base = 1_800_000_000_000_000_000
	w := newWorld(t, Call{ClockBase: base})
	at := func(id uint64) uint64 {
		t.Helper()
		w.must(ESUCCESS, "clock_time_get", id, 0, 0)
		return w.u64(0)
	}
	if at(0) != base || at(1) != base || at(2) != 0 || at(3) != 0 {
		t.Errorf("the clocks begin at %d, %d, %d, %d", at(0), at(1), at(2), at(3))
	}
	w.fuel = (millisecond - 1000) * FuelPerNanosecond
	if at(0) != base {
		t.Error("the clock moved within a millisecond")
	}
	w.fuel = 2*millisecond*FuelPerNanosecond + 1
	if at(0) != base+2*millisecond || at(2) != 2*millisecond {
		t.Errorf("after 2 ms of fuel: %d and %d", at(0)-base, at(2))
	}
	begin := time.Now()
	w.sleepFor(t, 0, 3*millisecond+1, 0)
	if real := time.Since(begin); real < 3*time.Millisecond {
		t.Errorf("a sleep of 3 ms took %v", real)
	}
	if at(1) != base+6*millisecond || at(3) != 2*millisecond {
		t.Errorf("after 2 ms of fuel and 3.000001 of sleep: %d and %d", at(1)-base, at(3))
	}
	w.sleepFor(t, 1, base+9*millisecond, absoluteTime)
	if at(1) != base+9*millisecond {
		t.Errorf("after sleeping to 9 ms: %d", at(1)-base)
	}
	w.must(EINVAL, "clock_time_get", 4, 0, 0)
	w.must(EFAULT, "clock_time_get", 0, 0, uint64(len(w.mem)-7))
	w.must(ESUCCESS, "clock_res_get", 0, 0)
	if w.u64(0) != millisecond {
		t.Errorf("resolution %d", w.u64(0))
	}
}

// sleepFor is poll_oneoff with one clock.
func (w *world) sleepFor(t *testing.T, clock uint32, timeout uint64, flags uint16) {
	t.Helper()
	clear(w.mem[:subscriptionSize])
	le := binary.LittleEndian
	le.PutUint64(w.mem, 77)
	le.PutUint32(w.mem[16:], clock)
	le.PutUint64(w.mem[24:], timeout)
	le.PutUint16(w.mem[40:], flags)
	w.must(ESUCCESS, "poll_oneoff", 0, 100, 1, 200)
	if w.u32(200) != 1 || w.u64(100) != 77 || w.u32(108) != 0 {
		t.Fatalf("%d events, the first with %d, errno and type %x", w.u32(200), w.u64(100), w.u32(108))
	}
}

func TestPollTellsWhatIsReady(t *testing.T) {
	w := newWorld(t, Call{Stdin: []byte("12345")})
	le := binary.LittleEndian
	sub := func(i int, kind byte, id uint32, timeout uint64) {
		s := w.mem[i*subscriptionSize:][:subscriptionSize]
		clear(s)
		s[0], s[8] = byte(i), kind
		le.PutUint32(s[16:], id)
		le.PutUint64(s[24:], timeout)
	}
	sub(0, eventClock, 0, 60*uint64(time.Second))
	sub(1, eventRead, 0, 0)
	sub(2, eventWrite, 1, 0)
	sub(3, eventRead, 99, 0)
	sub(4, 7, 0, 0)
	w.must(ESUCCESS, "poll_oneoff", 0, 1000, 5, 2000)
	if w.u32(2000) != 4 {
		t.Fatalf("%d events", w.u32(2000))
	}
	want := []struct {
		user, errno byte
		bytes       uint64
	}{{1, 0, 5}, {2, 0, 0}, {3, byte(EBADF), 0}, {4, byte(EINVAL), 0}}
	for i, x := range want {
		e := w.mem[1000+i*eventSize:][:eventSize]
		if e[0] != x.user || e[8] != x.errno || le.Uint64(e[16:]) != x.bytes {
			t.Errorf("event %d: %x", i, e)
		}
	}
	w.must(EINVAL, "poll_oneoff", 0, 1000, 0, 2000)
	w.must(EINVAL, "poll_oneoff", 0, 1000, maxEvents+1, 2000)
}

func TestSleepIsInterrupted(t *testing.T) {
	w := newWorld(t, Call{})
	w.stop = errors.New("enough")
	binary.LittleEndian.PutUint64(w.mem[24:], uint64(time.Hour))
	if _, ended := w.call("poll_oneoff", 0, 100, 1, 200); !ended || w.Reason != Interrupted || !errors.Is(w.Cause, w.stop) {
		t.Fatalf("ended %v, reason %d, cause %v", ended, w.Reason, w.Cause)
	}
}

func TestVirtualSleepTakesNoTime(t *testing.T) {
	w := newWorld(t, Call{Virtual: true, ClockBase: 5 * millisecond})
	w.stop = errors.New("it was asked")
	w.fuel = 1 << 40
	w.sleepFor(t, 0, uint64(time.Hour), 0)
	if now := w.now(); now != 5*millisecond+uint64(time.Hour) {
		t.Errorf("the clock shows %d", now)
	}
}

func TestRandomFollowsTheSeed(t *testing.T) {
	bytesOf := func(seed byte, n uint64) []byte {
		w := newWorld(t, Call{Seed: [32]byte{seed}})
		w.must(ESUCCESS, "random_get", 0, n)
		return bytes.Clone(w.mem[:n])
	}
	if !bytes.Equal(bytesOf(1, 100), bytesOf(1, 100)) || bytes.Equal(bytesOf(1, 100), bytesOf(2, 100)) {
		t.Error("equal seeds have to give equal bytes and others others")
	}
	w := newWorld(t, Call{Seed: [32]byte{1}})
	w.must(ESUCCESS, "random_get", 0, 50)
	w.must(ESUCCESS, "random_get", 100, 50)
	if bytes.Equal(w.mem[:50], w.mem[100:150]) {
		t.Error("the stream stands still")
	}
}

func TestExitEndsTheRun(t *testing.T) {
	w := newWorld(t, Call{})
	if _, ended := w.call("proc_exit", 42); !ended || w.Reason != Exited || w.ExitCode != 42 {
		t.Fatalf("ended %v, reason %d, code %d", ended, w.Reason, w.ExitCode)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	w := newWorld(t, Call{})
	p, n := w.str(1000, "a")
	w.must(ENOTSUP, "path_symlink", p, n, 3, p, n)
	w.must(ENOTSUP, "path_link", 3, 0, p, n, 3, p, n)
	w.must(ENOSYS, "proc_raise", 9)
	w.must(ENOTSOCK, "sock_send", 1, 0, 0, 0, 0)
	w.must(EBADF, "sock_recv", 9, 0, 0, 0, 0, 0)
	w.must(ENOTSOCK, "sock_accept", 3, 0, 0)
	w.must(ENOTSOCK, "sock_shutdown", 0, 0)
}

func TestBeginWipesEverything(t *testing.T) {
	w := newWorld(t, Call{Stdin: []byte("one"), Env: []string{"A=1"}})
	w.read(0, 2)
	w.write(1, "out")
	w.write(2, "log")
	fd, e := w.openPath("f", openCreate)
	if e != ESUCCESS || w.write(fd, "text") != ESUCCESS {
		t.Fatal(e)
	}
	space := w.space
	w.Begin(context.Background(), Call{Stdin: []byte("two"), OutputLimit: 10, LogLimit: 10})
	w.mem = make([]byte, 1<<16)
	if w.space <= space || w.space != 8<<20 || w.TmpBytes() != 0 {
		t.Errorf("%d bytes of space, %d used", w.space, w.TmpBytes())
	}
	if len(w.Output) != 0 || len(w.Log) != 0 || w.read(0, 10) != "two" {
		t.Error("streams were kept")
	}
	w.must(EBADF, "fd_close", fd)
	if _, e := w.openPath("f", 0); e != ENOENT {
		t.Errorf("a file was kept: errno %d", e)
	}
	w.must(ESUCCESS, "environ_sizes_get", 0, 4)
	if w.u32(0) != 0 {
		t.Error("the environment was kept")
	}
}

// TestBadPointers tries every function with addresses and lengths around the
// ends of memory and of the number range (A59).
func TestBadPointers(t *testing.T) {
	const size = 1 << 16
	bad := []uint64{0, 1, 7, size - 8, size - 1, size, size + 1, 1<<31 - 1, 1 << 31, 1<<32 - 8, 1<<32 - 1, 1<<64 - 1}
	for _, f := range Functions() {
		w := newWorld(t, Call{Stdin: []byte("event"), Env: []string{"A=1"}, Virtual: true})
		for i := range f.Params {
			for _, b := range bad {
				for _, c := range bad {
					args := make([]uint64, len(f.Params))
					for j := range args {
						args[j] = 3
					}
					args[i], args[(i+1)%len(args)] = b, c
					w.call(f.Name, args...) // must not panic
					if len(w.mem) != size {
						t.Fatal("memory changed its size")
					}
				}
			}
		}
	}
}

func FuzzCalls(f *testing.F) {
	for i := range Functions() {
		f.Add(bytes.Repeat([]byte{byte(i), 3, 0, 0, 8, 1, 0, 0, 40, 0, 0, 0}, 8))
	}
	all := Functions()
	f.Fuzz(func(t *testing.T, script []byte) {
		w := newWorld(t, Call{Stdin: []byte("event"), Env: []string{"A=1"}, Virtual: true})
		w.mem = make([]byte, 4096)
		for i := range w.mem {
			w.mem[i] = byte(i % 251)
		}
		next := func() (v uint64) {
			n := min(len(script), 2)
			for _, b := range script[:n] {
				v = v<<8 | uint64(b)
			}
			script = script[n:]
			if v > 0xf000 { // the far ends, too
				v = v<<48 | v
			}
			return v
		}
		for len(script) > 0 {
			fn := all[next()%uint64(len(all))]
			args := make([]uint64, len(fn.Params))
			for i := range args {
				args[i] = next()
			}
			before := bytes.Clone(w.Output)
			if _, ended := w.call(fn.Name, args...); ended {
				return
			}
			if !bytes.HasPrefix(w.Output, before) || len(w.Output) > 1<<20 || len(w.Log) > 1<<10 || w.space < 0 || len(w.fds) > maxDescriptors {
				t.Fatalf("%s%v broke a bound", fn.Name, args)
			}
		}
		w.Wipe()
		if w.space != 8<<20 {
			t.Fatalf("%d bytes of space were not given back", 8<<20-w.space)
		}
	})
}

// TestOverlappingBuffers reads over the very list that says where to read to.
func TestOverlappingBuffers(t *testing.T) {
	w := newWorld(t, Call{Stdin: bytes.Repeat([]byte{0xff}, 64)})
	binary.LittleEndian.PutUint32(w.mem[8:], 8)
	binary.LittleEndian.PutUint32(w.mem[12:], 16)
	binary.LittleEndian.PutUint32(w.mem[16:], 100)
	binary.LittleEndian.PutUint32(w.mem[20:], 4)
	w.must(ESUCCESS, "fd_read", 0, 8, 2, 44)
	if w.u32(44) != 20 || w.u32(100) != 0xffffffff {
		t.Fatalf("%d bytes, %x", w.u32(44), w.u32(100))
	}
	if !slices.Equal(w.mem[8:24], bytes.Repeat([]byte{0xff}, 16)) {
		t.Fatal("the first buffer was not filled")
	}
}

// TestLongWorkIsBounded is about calls that ask the host for much at once:
// they are cut short, interrupted, or have their price.
func TestLongWorkIsBounded(t *testing.T) {
	w := newWorld(t, Call{OutputLimit: 1 << 30, LogLimit: 1 << 10})
	w.mem = make([]byte, 64<<20)
	v, c := w.buffer(0, 64<<20)
	w.must(ESUCCESS, "fd_write", 1, v, c, 44)
	if n := w.u32(44); n != maxMove {
		t.Errorf("%d bytes were written at once", n)
	}
	before := w.fuel
	w.must(ESUCCESS, "random_get", 0, 8<<20)
	if cost := w.fuel - before; cost < 8<<20 {
		t.Errorf("8 MiB of random bytes cost %d", cost)
	}
	w.stop = errors.New("enough")
	if _, ended := w.call("random_get", 0, 8<<20); !ended || !errors.Is(w.Cause, w.stop) {
		t.Error("a long random_get was not interrupted")
	}
	w = newWorld(t, Call{})
	w.space = 1 << 30
	fd, e := w.openPath("f", openCreate)
	if e != ESUCCESS {
		t.Fatal(e)
	}
	before = w.fuel
	w.must(ESUCCESS, "fd_filestat_set_size", fd, maxFileSize)
	w.must(ESUCCESS, "fd_filestat_set_size", fd, 0)
	if cost := w.fuel - before; cost < 2*stepFuel*maxFileSize/chunkSize {
		t.Errorf("a file of 4 GiB, made and undone, cost %d", cost)
	}
}
