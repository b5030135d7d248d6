//go:build linux

package spawner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Kind is the kind of a jailed process.
type Kind uint8

// The kinds. The zero value is none, so that a forgotten one is refused.
const (
	// Worker runs the calls of one tenant's function version.
	Worker Kind = iota + 1
	// Compile compiles one module, makes its image and ends.
	Compile
	// KernelWorker is a Worker with a kernel of its own (wall kernel).
	KernelWorker
	// KernelNative is the host of a native function, with a kernel of its own.
	KernelNative
	// probe enters the jail, tells what is on, and ends; only the spawner
	// itself starts it.
	probe
	kinds
)

// Kernel tells whether processes of the kind have a kernel of their own.
func (k Kind) Kernel() bool { return k == KernelWorker || k == KernelNative }

// String gives the name of the kind, which is also the subcommand of the
// worker binary for those that are jailed.
func (k Kind) String() string {
	if k == 0 || k >= kinds {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return [...]string{"worker", "compile", "kernel-worker", "kernel-native", "probe"}[k-1]
}

// Limits are what one jailed process may use.
type Limits struct {
	// MemoryBytes bounds memory, in the cgroup if there is one and in any case
	// as RLIMIT_DATA with room for the address space that Go reserves. 0 is
	// the spawner's maximum.
	MemoryBytes uint64
	// CPUQuota is in thousandths of one CPU; 0 is no quota. Needs a cgroup.
	CPUQuota uint32
	// CPUWeight is the share under contention, 1 to 10000; 0 is 100. Needs a cgroup.
	CPUWeight uint32
	// PIDs bounds threads and processes; 0 leaves it to the jail's rlimit.
	// Needs a cgroup.
	PIDs uint32
}

// Exit says how a jailed process ended and what it used.
type Exit struct {
	// Status is the exit code, -1 if a signal ended the process.
	Status int
	// Signal is the signal that ended the process, 0 if it exited. SIGSYS
	// means that it made a system call which its filter does not allow.
	Signal syscall.Signal
	// CPUTime is user and system time of the process and its threads.
	CPUTime time.Duration
	// MaxRSS is the largest resident set in bytes.
	MaxRSS uint64
	// OOMKilled tells that the memory limit of its cgroup killed the process.
	OOMKilled bool
	// Lost tells that the spawner went away; the process is dead and the rest
	// of Exit is not known.
	Lost bool
}

type op uint8

const (
	opSpawn op = iota + 1
	opKill
	opLimits
	opFreeze
	opThaw
	ops
)

// request is what the node sends.
type request struct {
	op     op
	kind   Kind
	slot   uint32
	pid    uint32 // whom all but opSpawn mean, should the slot be taken anew
	limits Limits
}

const (
	requestSize = 40
	version     = 1
)

var errMalformed = errors.New("malformed message")

func (r request) encode() []byte {
	b := make([]byte, requestSize)
	b[0], b[1], b[2] = version, byte(r.op), byte(r.kind)
	binary.LittleEndian.PutUint32(b[4:], r.slot)
	binary.LittleEndian.PutUint32(b[8:], r.limits.CPUQuota)
	binary.LittleEndian.PutUint32(b[12:], r.limits.CPUWeight)
	binary.LittleEndian.PutUint32(b[16:], r.limits.PIDs)
	binary.LittleEndian.PutUint32(b[20:], r.pid)
	binary.LittleEndian.PutUint64(b[24:], r.limits.MemoryBytes)
	return b
}

// decodeRequest takes exactly what encode makes: every byte without a meaning
// has to be zero, and fields that an operation does not use too.
func decodeRequest(b []byte) (request, error) {
	if len(b) != requestSize || b[0] != version {
		return request{}, errMalformed
	}
	r := request{
		op:   op(b[1]),
		kind: Kind(b[2]),
		slot: binary.LittleEndian.Uint32(b[4:]),
		pid:  binary.LittleEndian.Uint32(b[20:]),
		limits: Limits{
			CPUQuota:    binary.LittleEndian.Uint32(b[8:]),
			CPUWeight:   binary.LittleEndian.Uint32(b[12:]),
			PIDs:        binary.LittleEndian.Uint32(b[16:]),
			MemoryBytes: binary.LittleEndian.Uint64(b[24:]),
		},
	}
	switch r.op {
	case opSpawn:
		if r.kind == 0 || r.kind >= probe || r.pid != 0 {
			return request{}, errMalformed
		}
	case opKill, opLimits, opFreeze, opThaw:
		if r.kind != 0 || r.pid == 0 || r.op != opLimits && r.limits != (Limits{}) {
			return request{}, errMalformed
		}
	default:
		return request{}, errMalformed
	}
	if string(r.encode()) != string(b) {
		return request{}, errMalformed
	}
	return r, nil
}

type eventOp uint8

const (
	evReady   eventOp = iota + 1 // text: Report as JSON
	evFatal                      // text: why there is no spawner
	evSpawned                    // with two descriptors
	evRefused                    // text: why there is no process in the slot
	evLimited                    // text: why the limits are not set, or empty
	evExited                     // the slot is free again
	evFrozen                     // text: why the process is not frozen or thawed, or empty
	eventOps
)

// event is what the spawner sends.
type event struct {
	op   eventOp
	slot uint32
	pid  uint32
	exit Exit
	text string
}

const (
	eventSize = 2048
	eventHead = 48
	eventText = eventSize - eventHead
)

func (e event) encode() []byte {
	b := make([]byte, eventSize)
	b[0], b[1] = version, byte(e.op)
	if e.exit.OOMKilled {
		b[2] = 1
	}
	text := e.text[:min(len(e.text), eventText)]
	binary.LittleEndian.PutUint32(b[4:], e.slot)
	binary.LittleEndian.PutUint32(b[8:], e.pid)
	binary.LittleEndian.PutUint32(b[12:], uint32(int32(e.exit.Status)))
	binary.LittleEndian.PutUint32(b[16:], uint32(e.exit.Signal))
	binary.LittleEndian.PutUint64(b[24:], uint64(e.exit.CPUTime))
	binary.LittleEndian.PutUint64(b[32:], e.exit.MaxRSS)
	binary.LittleEndian.PutUint16(b[40:], uint16(len(text)))
	copy(b[eventHead:], text)
	return b
}

func decodeEvent(b []byte) (event, error) {
	if len(b) != eventSize || b[0] != version || b[1] == 0 || b[1] >= byte(eventOps) || b[2] > 1 {
		return event{}, errMalformed
	}
	length := int(binary.LittleEndian.Uint16(b[40:]))
	if length > eventText {
		return event{}, errMalformed
	}
	e := event{
		op:   eventOp(b[1]),
		slot: binary.LittleEndian.Uint32(b[4:]),
		pid:  binary.LittleEndian.Uint32(b[8:]),
		exit: Exit{
			Status:    int(int32(binary.LittleEndian.Uint32(b[12:]))),
			Signal:    syscall.Signal(int32(binary.LittleEndian.Uint32(b[16:]))),
			CPUTime:   time.Duration(binary.LittleEndian.Uint64(b[24:])),
			MaxRSS:    binary.LittleEndian.Uint64(b[32:]),
			OOMKilled: b[2] == 1,
		},
		text: string(b[eventHead : eventHead+length]),
	}
	if string(e.encode()) != string(b) {
		return event{}, errMalformed
	}
	return e, nil
}
