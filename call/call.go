// Package call holds the two values that travel through the pipeline: the
// Call on its way in and the Outcome on its way out. There is exactly one
// Outcome for a Call, whatever happens to it.
package call

import (
	"time"

	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// Trigger is the door a call came through.
type Trigger string

// The doors.
const (
	ViaInvoke Trigger = "invoke"
	ViaEvent  Trigger = "event"
	ViaURL    Trigger = "url"
	// ViaFunction is a function that calls on and waits.
	ViaFunction Trigger = "function"
)

// Call is one invocation.
type Call struct {
	// RequestID is a UUID: the same in the reply, logs, record and audit.
	RequestID string
	// Attempt counts from 1; only asynchronous calls have more than one.
	Attempt   int
	Principal Principal
	// Owner is who the call belongs to and is charged to: the account of the
	// function and the end tenant named by the caller, or the account that is
	// linked for that end tenant.
	Owner tenant.Identity
	// EndTenant is the end tenant's name; empty if none.
	EndTenant tenant.EndTenantID
	Target    *function.Target
	Trigger   Trigger
	// URLAuth says how the URL knows its callers that the call came by; empty
	// for all other calls.
	URLAuth function.URLAuth
	Event   []byte
	// ClientContext is the X-Amz-Client-Context header as received.
	ClientContext string
	// LogTail asks for the end of the call's log in the Outcome.
	LogTail bool
	// DryRun asks for the decision only.
	DryRun bool
	// Stream takes the result in pieces; nil for one that is taken whole.
	Stream Stream
	// Checked is the processor time that checking the event took so far.
	Checked time.Duration
	// Received is when the request arrived: the base of the guest's clock.
	Received time.Time
	// Chain is the callers before Principal, oldest first: the call is allowed
	// nothing that one of them is not.
	Chain []Link
}

// Stream takes the result of a call in pieces, as the function makes them. One
// goroutine at a time uses it, and none once the call has its Outcome.
type Stream interface {
	// Begin says that pieces will come, and of which content type; empty if
	// the function did not say. It is called once before the first Write, and
	// not at all if the function gives its result whole.
	Begin(contentType string)
	// Write takes a piece, which is the caller's again when it returns. While
	// it waits the function waits too, to its time limit. An error says that
	// nobody takes the rest: the call goes on, and its further pieces are
	// counted and dropped.
	Write(piece []byte) (int, error)
}

// The most bytes of a result, as in Lambda: of one that is taken whole, and of
// one that is taken in pieces.
const (
	MaxResult   = 6_291_556
	MaxStreamed = 200 << 20
)

// Asked is whose function was asked for, and for which end tenant. It differs
// from Owner where the call runs in an account that is linked to the function's:
// who may call is decided by the function's account, and all else is the other's.
func (c *Call) Asked() tenant.Identity {
	if in := c.Target.Instance; in != nil {
		return tenant.Identity{Account: in.Provider, EndTenant: in.EndTenantUID}
	}
	return c.Owner
}

// TenantID is the name the guest and the logs see: the end tenant if there
// is one, else the account's slug.
func (c *Call) TenantID() string {
	if c.EndTenant != "" {
		return string(c.EndTenant)
	}
	return string(c.Target.AccountSlug)
}

// Result says how a call ended.
type Result uint8

// The ends a call can come to.
const (
	// OK is a call whose function returned a value.
	OK Result = iota
	// FunctionError is a call whose function failed by itself.
	FunctionError
	// TimedOut is a call stopped at its time limit.
	TimedOut
	// OutOfMemory is a call that ended for want of memory.
	OutOfMemory
	// Refused is a call that was not authorised or not well formed.
	Refused
	// Throttled is a call that found no quota, rate or slot.
	Throttled
	// PlatformError is a call that failed through no fault of the function.
	PlatformError
	results
)

var resultNames = [results]string{"ok", "function_error", "timeout", "oom", "refused", "throttled", "platform_error"}

// String gives the name used in records.
func (r Result) String() string {
	if r < results {
		return resultNames[r]
	}
	return "unknown"
}

// Valid tells whether r is one of the ends above, for decoders.
func (r Result) Valid() bool { return r < results }

// Usage is what a call used. Integers only: nothing is lost in rounding.
type Usage struct {
	Cold bool
	// Init is the time a cold start took before the event was handed over.
	Init time.Duration
	// Duration is the run of the function.
	Duration time.Duration
	// MaxMemory is the most memory the guest held, in bytes.
	MaxMemory uint64
	// Fuel counts executed instructions as the instrumented module does.
	Fuel uint64
	// CPU is the processor time of the worker as the node measured it.
	CPU time.Duration
	// Check is the processor time of the node for checking the event against
	// the function's schema.
	Check    time.Duration
	BytesIn  int64
	BytesOut int64
	LogBytes int64
}

// BilledMS is the run rounded up to whole milliseconds, as Lambda bills it,
// the initialisation included.
func (u Usage) BilledMS() int64 {
	d := u.Duration + u.Init
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// Outcome is what became of a call.
type Outcome struct {
	Result Result
	// Payload is what the caller gets: the function's result, or the error
	// object if Result is a failure of the function. To a caller who took
	// pieces it is the last one, or how the stream ended.
	Payload []byte
	// ContentType is what the function said of a result that it gave in
	// pieces; empty for others. Streamed is how many bytes of them there were.
	ContentType string
	Streamed    int64
	// Log is the end of the call's log, at most 4 KiB, if it was asked for.
	Log []byte
	// Err is set for Refused, Throttled and PlatformError.
	Err   error
	Usage Usage
	// WorkerID names the process that ran the call.
	WorkerID uint64
	Ended    time.Time
}

// FunctionFailed tells whether the reply carries X-Amz-Function-Error.
func (o *Outcome) FunctionFailed() bool {
	return o.Result == FunctionError || o.Result == TimedOut || o.Result == OutOfMemory
}
