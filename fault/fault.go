// Package fault holds the one error type that crosses packages with meaning.
//
// An Error names the operation that failed, a kind from a closed list, and
// the cause. Doors to the outside (the AWS API, the admin API, the command
// line) map the kind to their own status in one table each; nothing between
// looks at error texts.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of failure an Error is. The list is closed: every
// door maps every kind.
type Kind uint8

// The kinds, from the caller's mistakes to ours.
const (
	// Internal is a failure of the platform itself; its cause is logged, not shown.
	Internal Kind = iota
	// Invalid is input that does not have the demanded form or range.
	Invalid
	// Unauthenticated means that no valid proof of identity was given.
	Unauthenticated
	// Denied means that the caller is known and may not do this.
	Denied
	// NotFound means that the named thing does not exist, or not for this caller.
	NotFound
	// Conflict means that the thing exists already or is being changed.
	Conflict
	// Precondition means that a revision given by the caller is not the current one.
	Precondition
	// TooLarge means that a payload or a package is over its limit.
	TooLarge
	// Throttled means that a rate, concurrency or quota bound was reached.
	Throttled
	// Suspended means that the tenant exists and is not served at present.
	Suspended
	// Unsupported means that the operation or option is not built.
	Unsupported
	// Unavailable means that a part the request needs is not ready; a retry may help.
	Unavailable
	// Timeout means that a deadline passed first.
	Timeout
	kinds
)

var kindNames = [kinds]string{
	"internal", "invalid", "unauthenticated", "denied", "not_found", "conflict", "precondition",
	"too_large", "throttled", "suspended", "unsupported", "unavailable", "timeout",
}

// String gives the stable name of the kind, as in logs and JSON output.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Kinds lists every kind, so that a test can show that a table maps them all.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is a failure with meaning.
type Error struct {
	// Op is the operation that failed, as package.Function.
	Op string
	// Kind says what sort of failure it is.
	Kind Kind
	// Code is the stable name that clients match on, such as
	// ResourceNotFoundException; empty leaves the choice to the door.
	Code string
	// Message says what failed and why, for the person who asked. It never
	// holds a secret or another tenant's data.
	Message string
	// Remedy says what to do about it; may be empty.
	Remedy string
	// Reason is the machine-readable reason of a throttle, as in AWS.
	Reason string
	// RetryAfter is how long to wait before a retry can succeed; zero if unknown.
	RetryAfter time.Duration
	// Err is the cause, for logs only.
	Err error
}

// Error gives the operation, the message, the remedy and the cause.
func (e *Error) Error() string {
	s := e.Op + ": " + e.Text()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Text gives message and remedy, without operation and cause: what an
// outsider may read.
func (e *Error) Text() string {
	s := e.Message
	if s == "" {
		s = e.Kind.String()
	}
	if e.Remedy != "" {
		s += " " + e.Remedy
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an Error of a kind with a formatted message. A %w verb makes its
// operand the cause, and then the message is shown without it only if the
// caller separates the two; prefer Wrap for causes.
func New(op string, kind Kind, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error of a kind around a cause.
func Wrap(op string, kind Kind, cause error, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Message: fmt.Sprintf(format, args...), Err: cause}
}

// WithCode sets the code and returns the error, for use in a return statement.
func (e *Error) WithCode(code string) *Error { e.Code = code; return e }

// WithRemedy sets what to do about it.
func (e *Error) WithRemedy(format string, args ...any) *Error {
	e.Remedy = fmt.Sprintf(format, args...)
	return e
}

// KindOf gives the kind of the first Error in err's chain; Internal if there
// is none, because an error that nobody gave a meaning is our mistake.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is tells whether err carries the kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

// From gives err as an Error, wrapping a foreign one as Internal.
func From(op string, err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Op: op, Kind: Internal, Message: "internal error", Err: err}
}

// RetrySeconds is RetryAfter in whole seconds, as the header Retry-After has
// it. It rounds up, because a client that comes back too early is only refused
// again.
func (e *Error) RetrySeconds() int64 {
	return max(1, int64((e.RetryAfter+time.Second-1)/time.Second))
}

// Clip bounds what a message repeats of a request, in bytes.
func Clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
