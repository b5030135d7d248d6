package wire

import (
	"encoding/binary"
	"time"
)

// ReadyBody is what a confined process reports of itself. The node shows it
// and believes only the version.
type ReadyBody struct {
	Version uint32
	// Restore names the way the worker undoes a call.
	Restore string
	// Landlock is the landlock ABI in force; 0 if none.
	Landlock uint32
}

// AppendReady appends a Ready frame.
func AppendReady(b []byte, v ReadyBody) []byte {
	start := len(b)
	b = Append(b, Ready, 0)
	b = binary.LittleEndian.AppendUint32(b, v.Version)
	b = putString(b, v.Restore)
	b = binary.LittleEndian.AppendUint32(b, v.Landlock)
	return Finish(b, start)
}

// ParseReady reads the body of a Ready frame.
func ParseReady(body []byte) (ReadyBody, error) {
	r := reader{b: body}
	v := ReadyBody{Version: r.u32(), Restore: string(r.bytes()), Landlock: r.u32()}
	return v, r.done("ready")
}

// AppendLoaded appends a Loaded frame; an empty text means success.
func AppendLoaded(b []byte, failure string) []byte {
	start := len(b)
	return Finish(putString(Append(b, Loaded, 0), failure), start)
}

// ParseLoaded reads the body of a Loaded frame.
func ParseLoaded(body []byte) (failure string, err error) {
	r := reader{b: body}
	failure = string(r.bytes())
	return failure, r.done("loaded")
}

// Status says how a call ended in the worker.
type Status uint8

// The ends of a call in a worker.
const (
	// StatusOK is a value returned.
	StatusOK Status = iota
	// StatusFunctionError is a failure of the function itself.
	StatusFunctionError
	// StatusTimeout is a run stopped at its time limit.
	StatusTimeout
	// StatusMemory is a run that ended for want of memory.
	StatusMemory
	// StatusFuel is a run stopped at its fuel limit.
	StatusFuel
	// StatusBroken is a failure of the worker; it wants to be replaced.
	StatusBroken
	statuses
)

// DoneBody ends a call. All of it is the worker's claim.
type DoneBody struct {
	Status Status
	// Fresh says that the instance was made anew afterwards, not restored.
	Fresh bool
	// Last says that the worker ends now: it runs no further call.
	Last      bool
	Fuel      uint64
	MaxMemory uint64
	Duration  time.Duration
	// LogDropped is how many bytes of log were over the limit.
	LogDropped uint64
	// Output is the result, or the error object if Status is not StatusOK.
	Output []byte
	Log    []byte
}

// What a Done frame says of the worker, in one byte.
const (
	flagFresh = 1 << iota
	flagLast
)

// AppendDone appends a Done frame.
func AppendDone(b []byte, handle uint64, d *DoneBody) []byte {
	start := len(b)
	b = Append(b, Done, handle)
	var flags byte
	if d.Fresh {
		flags |= flagFresh
	}
	if d.Last {
		flags |= flagLast
	}
	b = append(b, byte(d.Status), flags)
	b = binary.LittleEndian.AppendUint64(b, d.Fuel)
	b = binary.LittleEndian.AppendUint64(b, d.MaxMemory)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.Duration))
	b = binary.LittleEndian.AppendUint64(b, d.LogDropped)
	b = putBytes(b, d.Output)
	b = putBytes(b, d.Log)
	return Finish(b, start)
}

// ParseDone reads the body of a Done frame into d. Output and Log point into
// body.
func ParseDone(body []byte, d *DoneBody) error {
	r := reader{b: body}
	status, flags := r.u8(), r.u8()
	if status >= uint8(statuses) || flags > flagFresh|flagLast {
		r.bad = true
	}
	d.Status, d.Fresh, d.Last = Status(status), flags&flagFresh != 0, flags&flagLast != 0
	d.Fuel, d.MaxMemory = r.u64(), r.u64()
	d.Duration = time.Duration(r.u64())
	if d.Duration < 0 {
		r.bad = true
	}
	d.LogDropped = r.u64()
	d.Output = r.bytes()
	d.Log = r.bytes()
	return r.done("done")
}

// AppendReturned appends a Returned frame.
func AppendReturned(b []byte, handle uint64) []byte {
	start := len(b)
	return Finish(Append(b, Returned, handle), start)
}

// BuiltBody is the result of a Build.
type BuiltBody struct {
	// Failure is why there is no artefact: text for the function's StateReason.
	Failure string
	// Model is the execution model that was found.
	Model    string
	Warnings []string
	Artifact []byte
}

// AppendBuilt appends a Built frame.
func AppendBuilt(b []byte, v *BuiltBody) []byte {
	start := len(b)
	b = Append(b, Built, 0)
	b = putString(b, v.Failure)
	b = putString(b, v.Model)
	b = putList(b, v.Warnings)
	return Finish(putBytes(b, v.Artifact), start)
}

// ParseBuilt reads the body of a Built frame; the artefact points into it.
func ParseBuilt(body []byte) (*BuiltBody, error) {
	r := reader{b: body}
	v := &BuiltBody{Failure: string(r.bytes()), Model: string(r.bytes()), Warnings: r.list()}
	v.Artifact = r.bytes()
	return v, r.done("built")
}
