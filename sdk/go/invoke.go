package carrel

import (
	"encoding/binary"
	"strconv"
	"time"
)

// Invocation says which function is to be called, and with what.
type Invocation struct {
	// Function is its name, its ARN, or any other of the forms that Lambda's
	// FunctionName takes. A function of another account needs its ARN.
	Function string
	// Qualifier is a version or an alias; empty for $LATEST, or for what the
	// name says.
	Qualifier string
	// TenantID is the end tenant that the call is for, where the function
	// serves many. A call that is for one already needs none, and can name no
	// other.
	TenantID string
	// Payload is JSON, of at most 6,291,456 bytes, or 1,048,576 for Send; nil
	// is {}.
	Payload []byte
}

// Result is what a function returned.
type Result struct {
	Payload []byte
	// Version is the version that ran.
	Version string
}

// Invoke calls a function and waits until it has ended.
//
// The caller is this function's execution role, in the name of whoever called
// this function: the role and everyone before it in the chain of calls have to
// be allowed lambda:InvokeFunction. Waiting counts as this call's time and
// takes no fuel, and the clock goes forward by it.
//
// Errors: *FunctionError if the function failed, *RefusedError if it was not
// called or its result is not known, *HostError if the request did not get
// as far.
func Invoke(in Invocation) (*Result, error) {
	what, version, payload, err := ask(in, waitForResult)
	switch {
	case err != nil:
		return nil, err
	case what == replyResult:
		return &Result{Payload: payload, Version: version}, nil
	case what == replyFailed:
		e := &FunctionError{Function: in.Function, Version: version, Payload: payload}
		e.Type, e.Message = member(payload, "errorType"), member(payload, "errorMessage")
		return nil, e
	}
	return nil, refusal(in.Function, what, payload)
}

// Send has a function called later, as Lambda's invocation type Event, and
// returns once the event is accepted. It is run as Invoke would, with retries;
// what it returns goes nowhere.
//
// Errors: *RefusedError, *HostError.
func Send(in Invocation) error {
	what, _, payload, err := ask(in, runLater)
	if err != nil || what == replyAccepted {
		return err
	}
	return refusal(in.Function, what, payload)
}

// FunctionError is the failure of a function that was called.
type FunctionError struct {
	// Function is what it was called by, Version the one that ran.
	Function, Version string
	// Type and Message are errorType and errorMessage of the error object.
	Type, Message string
	// Payload is the whole error object.
	Payload []byte
}

// Error implements error.
func (e *FunctionError) Error() string { return e.Function + " failed: " + e.Type + ": " + e.Message }

// ErrorType implements Typed: a function that returns the error fails as the
// one that it called.
func (e *FunctionError) ErrorType() string { return e.Type }

// RefusedError is a call that was not made, or whose result is not known.
type RefusedError struct {
	Function string
	// Code is that of Lambda's Invoke: AccessDeniedException,
	// ResourceNotFoundException, TooManyRequestsException,
	// RecursiveInvocationException, …
	Code    string
	Message string
	// Reason says more for some codes, as in ConcurrentHostCallLimitExceeded.
	Reason string
	// RetryAfter is when to try again; zero where the platform does not say.
	RetryAfter time.Duration
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Function + ": " + e.Code + ": " + e.Message }

// ErrorType implements Typed.
func (e *RefusedError) ErrorType() string { return e.Code }

// HostError is what carrel_v1.call gives for a request that it does not take.
type HostError int32

// The errors of the host.
const (
	// ErrNoHost is a host that does not know the operation, and any program
	// that does not run as a function of Carrel.
	ErrNoHost HostError = -2
	// ErrTooLarge is a request that is larger than any payload may be.
	ErrTooLarge HostError = -3
	// ErrTooManyCalls is a call that asked as often as one may, 1,000 times.
	ErrTooManyCalls HostError = -4
	// ErrOutOfOrder is a Stream that began after a piece, or twice, or with a
	// content type that is none.
	ErrOutOfOrder HostError = -5
)

// Error implements error.
func (e HostError) Error() string {
	switch e {
	case ErrNoHost:
		return "carrel: the host does not call functions"
	case ErrTooLarge:
		return "carrel: the request is too large"
	case ErrTooManyCalls:
		return "carrel: the call has asked the host as often as it may"
	case ErrOutOfOrder:
		return "carrel: a result in pieces begins once, before the first piece, with a content type of 255 printable characters at most"
	}
	return "carrel: the host did not take the request (" + strconv.Itoa(int(e)) + ")"
}

// The layout of requests and replies is in the comment of package host.
const (
	opInvoke      = 1
	waitForResult = 0
	runLater      = 1

	replyResult   = 0
	replyFailed   = 1
	replyAccepted = 2
	replyRefused  = 3

	replyHead  = 4
	mostText   = 1<<16 - 1
	requestMax = 6<<20 + 4<<10
)

// ask has the host call a function and takes its reply apart.
func ask(in Invocation, mode byte) (what byte, version string, payload []byte, err error) {
	request, err := in.request(mode)
	if err != nil {
		return 0, "", nil, err
	}
	b, err := hostCall(opInvoke, request)
	if err != nil {
		return 0, "", nil, err
	}
	return parseReply(b)
}

func (in *Invocation) request(mode byte) ([]byte, error) {
	size := len(in.Payload)
	for _, s := range []string{in.Function, in.Qualifier, in.TenantID} {
		if size += len(s); len(s) > mostText {
			return nil, ErrTooLarge
		}
	}
	if size > requestMax {
		return nil, ErrTooLarge
	}
	b := append(make([]byte, 0, 8+size), mode, 0)
	for _, s := range []string{in.Function, in.Qualifier, in.TenantID} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	}
	b = append(append(append(b, in.Function...), in.Qualifier...), in.TenantID...)
	return append(b, in.Payload...), nil
}

const errReply = constError("carrel: the host's reply is malformed")

func parseReply(b []byte) (what byte, version string, payload []byte, err error) {
	if len(b) < replyHead {
		return 0, "", nil, errReply
	}
	end := replyHead + int(binary.LittleEndian.Uint16(b[2:]))
	if end > len(b) {
		return 0, "", nil, errReply
	}
	return b[0], string(b[replyHead:end]), b[end:], nil
}

// refusal reads the object that says why a call was not made.
func refusal(function string, what byte, b []byte) error {
	if what != replyRefused {
		return errReply
	}
	e := &RefusedError{Function: function, Code: member(b, "code"), Message: member(b, "message"), Reason: member(b, "reason")}
	if ms, err := strconv.ParseInt(member(b, "retryAfterMs"), 10, 64); err == nil && ms > 0 {
		e.RetryAfter = time.Duration(ms) * time.Millisecond
	}
	return e
}
