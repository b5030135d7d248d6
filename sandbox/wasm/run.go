//go:build linux

package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/sandbox/wasm/wasi"
)

// Invocation is one call's input.
type Invocation struct {
	// Event is the guest's standard input.
	Event []byte
	// Env is the environment, KEY=VALUE. A reactor has read the declared one
	// while it was initialised and may not look again.
	Env []string
	// Context is the JSON object that carrel_v1.context gives.
	Context []byte
	// RequestID goes into the messages of errors, as on AWS; may be empty.
	RequestID string
	// Seed keys the random stream; it differs for each call.
	Seed [32]byte
	// ClockBase is where the guest's clocks start; it has to be after 1970.
	ClockBase time.Time
	// Deadline stops the guest; zero for none. Timeout is its length, for the
	// message.
	Deadline time.Time
	Timeout  time.Duration
	// FuelLimit stops the guest; zero for none.
	FuelLimit uint64
	// LogLimit and OutputLimit are in bytes.
	LogLimit, OutputLimit int
	// StreamLimit bounds a result that is given in pieces, in bytes; zero
	// takes none.
	StreamLimit int
	// Interrupt is called about every 0.2 ms of guest work, and every 2 ms of
	// guest sleep. An error stops the guest. May be nil.
	Interrupt func() error
	// Host does what the guest asks for by carrel_v1.call. Nil for nothing.
	Host HostFunc
}

// Status says how a call ended.
type Status uint8

// The ways a call ends.
const (
	// StatusOK: success.
	StatusOK Status = iota
	// StatusFunctionError: the function reported failure (handle gave other
	// than zero, or the result is an error document).
	StatusFunctionError
	// StatusExit: the program ended with a code other than zero.
	StatusExit
	// StatusTrap: the guest did what WebAssembly forbids, such as reading
	// outside of memory, dividing by zero or recursing without end.
	StatusTrap
	// StatusTimeout: the deadline passed.
	StatusTimeout
	// StatusFuel: the fuel limit was reached.
	StatusFuel
	// StatusMemory: the guest ended because memory was refused.
	StatusMemory
	// StatusOutputTooLarge: the result is over its limit.
	StatusOutputTooLarge
	// StatusInterrupted: Interrupt, or the context, ended the call.
	StatusInterrupted
)

var statusNames = [...]string{"ok", "function_error", "exit", "trap", "timeout", "fuel", "memory", "output_too_large", "interrupted"}

// String gives the stable name of a status.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Reset says how the state before the call was brought back.
type Reset uint8

// The ways.
const (
	// Restored: memory and globals were set back.
	Restored Reset = iota
	// Reinstantiated: the instance was replaced.
	Reinstantiated
)

// Result is what a call gives. Its buffers are used again by the next Run
// with the same Result.
type Result struct {
	// Output is what the function wrote, or the error document if it failed.
	Output []byte
	// Log is what it wrote to standard error, LogDropped how many bytes did
	// not fit.
	Log        []byte
	LogDropped int
	// Status says how the call ended; ErrorType and ErrorMessage are AWS's,
	// empty if it ended well. ExitCode is of proc_exit or handle.
	Status                  Status
	ErrorType, ErrorMessage string
	ExitCode                uint32
	// Fuel is what the call used: equal for equal input.
	Fuel uint64
	// MemoryPeak is the most linear memory and /tmp together, in bytes.
	MemoryPeak uint64
	// Reset says how the state was brought back.
	Reset Reset
}

// Run makes one call and brings the guest back to its state before. A
// failure of the function is in the Result; an error means that the guest can
// no longer be used.
func (g *Guest) Run(ctx context.Context, inv *Invocation, res *Result) error {
	g.ctx.Context = ctx
	g.context, g.deadline, g.interrupt, g.host = inv.Context, inv.Deadline, inv.Interrupt, inv.Host
	g.began, g.streamed, g.streamLimit = false, 0, inv.StreamLimit
	g.wasi.Begin(&g.ctx, callOf(inv))
	g.wasi.Output, g.wasi.Log = res.Output[:0], res.Log[:0]
	g.region.begin()
	g.refuel(inv.FuelLimit)
	err := g.enter()
	if broken(err) {
		return fault.Wrap("wasm.Run", fault.Internal, err, "the host failed in a guest's call")
	}
	g.report(err, inv, res)
	if res.Status == StatusTrap {
		g.calls = stackLife
	}
	g.wasi.Output, g.wasi.Log = nil, nil
	g.context, g.interrupt, g.host, g.reply, g.deadline = nil, nil, nil, nil, time.Time{}
	// Bringing the state back must not fail because the caller has gone.
	g.ctx.Context = context.Background()
	overflow := res.Status == StatusTrap && strings.Contains(err.Error(), "stack overflow")
	if res.Reset, err = g.undo(g.ctx.Context); err != nil {
		return fault.Wrap("wasm.Run", fault.Internal, err, "the guest's state cannot be restored")
	}
	if overflow {
		debug.FreeOSMemory() // the native stack was most of 100 MB
	}
	return nil
}

// callOf is the part of an invocation that package wasi deals with.
func callOf(inv *Invocation) wasi.Call {
	return wasi.Call{
		Stdin: inv.Event, Args: arguments, Env: inv.Env, Seed: inv.Seed,
		ClockBase: uint64(inv.ClockBase.UnixNano()), Deadline: inv.Deadline,
		OutputLimit: inv.OutputLimit, LogLimit: inv.LogLimit,
	}
}

// arguments is what programs find as their name.
var arguments = []string{"bootstrap"}

// enter runs the guest's code.
func (g *Guest) enter() error {
	if g.restored != nil {
		var seed [32]byte
		g.wasi.Random(seed[:])
		if !putSeed(wasi.View(g.mod), g.meta.Scratch, seed) {
			return errors.New("carrel_scratch gave an address outside of memory")
		}
		g.stack = [2]uint64{uint64(g.meta.Scratch), uint64(len(seed))}
		if err := g.restored.CallWithStack(&g.ctx, g.stack[:]); err != nil {
			return err
		}
	}
	g.stack = [2]uint64{}
	return g.main.CallWithStack(&g.ctx, g.stack[:])
}

// report fills in the result of a run that ended with err.
func (g *Guest) report(err error, inv *Invocation, res *Result) {
	st := g.wasi
	*res = Result{
		Output: st.Output, Log: st.Log, LogDropped: st.LogDropped,
		Fuel: g.used(), MemoryPeak: g.region.peak,
	}
	switch {
	case st.Reason == wasi.Exited:
		res.ExitCode = st.ExitCode
	case err == nil && g.meta.Model == Reactor:
		res.ExitCode = uint32(g.stack[0])
	}
	res.Status = g.status(err)
	if res.Status == StatusOK {
		return
	}
	if res.Status == StatusFunctionError || res.Status == StatusExit {
		if doc, ok := errorDocument(st.Output); ok {
			res.Status = StatusFunctionError
			res.ErrorType, res.ErrorMessage = doc.Type, doc.Message
			return
		}
		if res.Status == StatusExit && g.region.denied {
			res.Status = StatusMemory
		}
	}
	res.describe(err, inv, st)
	res.Output = append(res.Output[:0], document(res.ErrorType, res.ErrorMessage)...)
}

func (g *Guest) status(err error) Status {
	st := g.wasi
	switch st.Reason {
	case wasi.Exited:
		if st.ExitCode != 0 {
			return StatusExit
		}
		return StatusOK
	case wasi.OutputTooLarge:
		return StatusOutputTooLarge
	case wasi.Interrupted:
		switch {
		case errors.Is(st.Cause, errFuel):
			return StatusFuel
		case errors.Is(st.Cause, errDeadline), errors.Is(st.Cause, context.DeadlineExceeded):
			return StatusTimeout
		}
		return StatusInterrupted
	}
	switch {
	case err != nil && g.region.denied:
		return StatusMemory
	case err != nil:
		return StatusTrap
	case g.meta.Model == Reactor && uint32(g.stack[0]) != 0:
		return StatusFunctionError
	}
	return StatusOK
}

// describe makes error type and message in the forms that AWS uses.
func (res *Result) describe(err error, inv *Invocation, st *wasi.State) {
	res.ErrorType = "Runtime.ExitError"
	message := ""
	switch res.Status {
	case StatusTimeout:
		res.ErrorType = "Sandbox.Timedout"
		message = fmt.Sprintf("Task timed out after %.2f seconds", inv.Timeout.Seconds())
	case StatusFuel:
		res.ErrorType = "Sandbox.FuelExceeded"
		message = fmt.Sprintf("Task used up its limit of %d units of fuel", inv.FuelLimit)
	case StatusMemory:
		res.ErrorType = "Runtime.OutOfMemory"
		message = "Runtime exited with error: the function asked for more memory than MemorySize allows"
	case StatusOutputTooLarge:
		res.ErrorType = "Function.ResponseSizeTooLarge"
		limit := inv.OutputLimit
		if errors.Is(st.Cause, errStreamLimit) {
			limit = inv.StreamLimit
		}
		res.ErrorMessage = fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", limit)
		return
	case StatusInterrupted:
		res.ErrorType = "Sandbox.Interrupted"
		message = "Task was stopped"
	case StatusTrap:
		message = "Runtime exited with error: " + firstLine(err)
	default:
		message = fmt.Sprintf("Runtime exited with error: exit status %d", res.ExitCode)
		if line := lastLine(st.Log); line != "" {
			message += ": " + line
		}
	}
	res.ErrorMessage = "Error: " + message
	if inv.RequestID != "" {
		res.ErrorMessage = "RequestId: " + inv.RequestID + " " + res.ErrorMessage
	}
}

// lastLineLimit keeps a long line of log from making a long error message.
const lastLineLimit = 512

func lastLine(log []byte) string {
	log = bytes.TrimRight(log, "\r\n \t")
	log = log[bytes.LastIndexByte(log, '\n')+1:]
	return strings.ToValidUTF8(string(log[:min(len(log), lastLineLimit)]), "\uFFFD")
}

type errorForm struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

// errorDocument tells whether a function's output is an error in AWS's form.
func errorDocument(output []byte) (doc errorForm, ok bool) {
	output = bytes.TrimSpace(output)
	if len(output) == 0 || output[0] != '{' || json.Unmarshal(output, &doc) != nil {
		return doc, false
	}
	return doc, doc.Type != ""
}

// document makes an error in AWS's form.
func document(kind, message string) []byte {
	b, err := json.Marshal(errorForm{kind, message})
	if err != nil {
		return []byte(`{"errorType":"Unknown","errorMessage":""}`)
	}
	return b
}
