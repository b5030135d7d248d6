package wire

import (
	"encoding/binary"
	"time"
)

// LoadBody tells a worker what it will run. The artefact's descriptor comes
// with the frame.
type LoadBody struct {
	// MemoryLimit bounds the guest's memory and /tmp together, in bytes.
	MemoryLimit uint64
	// ArtifactSize is the size of the artefact in its file, in bytes.
	ArtifactSize uint64
}

// AppendLoad appends a Load frame.
func AppendLoad(b []byte, l LoadBody) []byte {
	start := len(b)
	b = Append(b, Load, 0)
	b = binary.LittleEndian.AppendUint64(b, l.MemoryLimit)
	b = binary.LittleEndian.AppendUint64(b, l.ArtifactSize)
	return Finish(b, start)
}

// ParseLoad reads the body of a Load frame.
func ParseLoad(body []byte) (LoadBody, error) {
	r := reader{b: body}
	l := LoadBody{MemoryLimit: r.u64(), ArtifactSize: r.u64()}
	return l, r.done("load")
}

// RunBody is a call as a worker sees it: nothing in it names a principal.
type RunBody struct {
	// Seed is what the guest's randomness is drawn from.
	Seed [32]byte
	// ClockBase is what the guest's clock begins at.
	ClockBase time.Time
	// Timeout bounds the run, from its beginning in the worker.
	Timeout time.Duration
	// FuelLimit bounds the executed instructions; zero is no bound.
	FuelLimit uint64
	// RequestID is for the texts of errors that the guest's caller sees.
	RequestID string
	// LogLimit and OutputLimit bound what the guest may print and return, in bytes.
	LogLimit    uint32
	OutputLimit uint32
	// StreamLimit bounds all pieces of the result together, in bytes; zero
	// takes none. Window is how many bytes of them may be sent at once: each
	// Credit lets as many more be sent as it says.
	StreamLimit uint64
	Window      uint32
	// Env is the environment of this call, for commands.
	Env []string
	// Context is the JSON that carrel_v1.context gives.
	Context []byte
	Event   []byte
}

// AppendRun appends a Run frame.
func AppendRun(b []byte, handle uint64, c *RunBody) []byte {
	start := len(b)
	b = Append(b, Run, handle)
	b = append(b, c.Seed[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.ClockBase.UnixNano()))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Timeout))
	b = binary.LittleEndian.AppendUint64(b, c.FuelLimit)
	b = binary.LittleEndian.AppendUint32(b, c.LogLimit)
	b = binary.LittleEndian.AppendUint32(b, c.OutputLimit)
	b = binary.LittleEndian.AppendUint64(b, c.StreamLimit)
	b = binary.LittleEndian.AppendUint32(b, c.Window)
	b = putString(b, c.RequestID)
	b = putList(b, c.Env)
	b = putBytes(b, c.Context)
	b = putBytes(b, c.Event)
	return Finish(b, start)
}

// ParseRun reads the body of a Run frame into c. Context and Event point
// into body.
func ParseRun(body []byte, c *RunBody) error {
	r := reader{b: body}
	copy(c.Seed[:], r.take(len(c.Seed)))
	c.ClockBase = time.Unix(0, int64(r.u64())).UTC()
	c.Timeout = time.Duration(r.u64())
	c.FuelLimit = r.u64()
	c.LogLimit, c.OutputLimit = r.u32(), r.u32()
	c.StreamLimit, c.Window = r.u64(), r.u32()
	c.RequestID = string(r.bytes())
	c.Env = r.list()
	c.Context = r.bytes()
	c.Event = r.bytes()
	return r.done("run")
}

// CancelReason says why a call is taken back.
type CancelReason uint8

// The reasons of a Cancel.
const (
	// Expired stops a call whose time is up.
	Expired CancelReason = 1
	// Steal takes back a call that was not begun, to run it elsewhere.
	Steal CancelReason = 2
)

// AppendCancel appends a Cancel frame.
func AppendCancel(b []byte, handle uint64, why CancelReason) []byte {
	start := len(b)
	return Finish(append(Append(b, Cancel, handle), byte(why)), start)
}

// ParseCancel reads the body of a Cancel frame.
func ParseCancel(body []byte) (CancelReason, error) {
	r := reader{b: body}
	why := CancelReason(r.u8())
	if why != Expired && why != Steal {
		r.bad = true
	}
	return why, r.done("cancel")
}

// BuildBody asks for an artefact.
type BuildBody struct {
	Module      []byte
	Env         []string
	MemoryLimit uint64
	// Warmup is the event of a declared warm-up call; nil if none is declared.
	Warmup []byte
}

// AppendBuild appends a Build frame.
func AppendBuild(b []byte, s *BuildBody) []byte {
	start := len(b)
	b = Append(b, Build, 0)
	b = binary.LittleEndian.AppendUint64(b, s.MemoryLimit)
	b = putList(b, s.Env)
	if s.Warmup == nil {
		b = append(b, 0)
	} else {
		b = putBytes(append(b, 1), s.Warmup)
	}
	return Finish(putBytes(b, s.Module), start)
}

// ParseBuild reads the body of a Build frame; the module points into it.
func ParseBuild(body []byte) (*BuildBody, error) {
	r := reader{b: body}
	s := &BuildBody{MemoryLimit: r.u64(), Env: r.list()}
	switch r.u8() {
	case 0:
	case 1:
		s.Warmup = r.bytes()
	default:
		r.bad = true
	}
	s.Module = r.bytes()
	return s, r.done("build")
}
