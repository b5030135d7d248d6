// Package wasi is the WASI preview 1 host module that guests see: a world of
// one call.
//
// Standard input is the event, standard output the result, standard error the
// log. There are arguments, an environment, clocks, a stream of random bytes
// and one directory, /tmp, kept in memory and forgotten when the call ends.
// There are no sockets, no links and no processes: those functions exist and
// answer ENOTSUP or ENOSYS, so that a program that merely imports them loads.
//
// Everything a guest reads here follows from the [Call] it was started with,
// so that a call with the same input behaves the same and costs the same:
//
//   - The clocks stand still while the guest computes nothing and move in steps
//     of 1 ms: a reading is Call.ClockBase plus the fuel used so far
//     (FuelPerNanosecond) plus the time slept, rounded down to whole
//     milliseconds. All four clocks share this; the two CPU clocks start at
//     zero and leave out sleep. How much fuel a nanosecond of real work takes
//     depends on the program, so the clock is no stopwatch: the rate is set so
//     that it is slow rather than fast, because a timer that fires early breaks
//     programs. A coarse clock is also worth little to a timing attack.
//   - random_get reads a ChaCha8 stream keyed by Call.Seed.
//   - A sleep (poll_oneoff with a clock subscription) really waits, unless
//     Call.Virtual is set, and moves the clock by exactly what was asked for,
//     rounded up to the next millisecond.
//
// Every function costs fuel, a fixed amount (see [Function].Cost) plus one
// unit for each 4 bytes moved, or for each random byte, so that a loop of host calls is bounded and
// shared fairly like any other loop.
//
// A guest's pointer is trusted nowhere: one helper, State.slice, turns an
// address and a length into bytes or into EFAULT, and structures are copied
// in before they are used, so that overlapping arguments cannot change what
// was checked.
//
// The names, numbers and layouts are those of the WASI preview 1
// specification (wasi_snapshot_preview1.witx).
package wasi

// ModuleName is the import module of every function here.
const ModuleName = "wasi_snapshot_preview1"

// FuelPerNanosecond is how many units of fuel move a guest's clock by 1 ns.
// Measured: loops of compiled C take 2 to 6 units a nanosecond, programs
// compiled by Go about 2.
const FuelPerNanosecond = 3

// Errno is the result of a WASI function; zero is success.
type Errno uint32

// The error numbers that this host answers, with the specification's values.
const (
	ESUCCESS     Errno = 0
	EBADF        Errno = 8
	EEXIST       Errno = 20
	EFAULT       Errno = 21
	EFBIG        Errno = 22
	EILSEQ       Errno = 25
	EINVAL       Errno = 28
	EISDIR       Errno = 31
	EMFILE       Errno = 33
	ENAMETOOLONG Errno = 37
	ENOENT       Errno = 44
	ENOSPC       Errno = 51
	ENOSYS       Errno = 52
	ENOTDIR      Errno = 54
	ENOTEMPTY    Errno = 55
	ENOTSOCK     Errno = 57
	ENOTSUP      Errno = 58
	ESPIPE       Errno = 70
	ENOTCAPABLE  Errno = 76
)
