package host

import (
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/carrel-dev/carrel/fault"
)

// OpInvoke is the operation that calls a function.
const OpInvoke = 1

// The ways to call, in a request's first byte.
const (
	waitForResult = 0
	runLater      = 1
)

// What came of it, in a reply's first byte.
const (
	replyResult   = 0
	replyFailed   = 1
	replyAccepted = 2
	replyRefused  = 3
)

// Bounds of payloads, as Lambda's.
const (
	maxPayload = 6_291_456
	maxEvent   = 1_048_576
)

const requestHead = 8

// invocation is a request to call a function.
type invocation struct {
	later     bool
	name      string
	qualifier string
	endTenant string
	payload   []byte
}

var errRequest = errors.New("host: malformed request")

// parseInvocation reads a request. The payload points into it.
func parseInvocation(b []byte) (invocation, error) {
	if len(b) < requestHead || b[0] > runLater || b[1] != 0 {
		return invocation{}, errRequest
	}
	in := invocation{later: b[0] == runLater}
	rest := b[requestHead:]
	for i, to := range []*string{&in.name, &in.qualifier, &in.endTenant} {
		n := int(binary.LittleEndian.Uint16(b[2+2*i:]))
		if n > len(rest) {
			return invocation{}, errRequest
		}
		*to, rest = string(rest[:n]), rest[n:]
	}
	in.payload = rest
	return in, nil
}

// reply makes a reply.
func reply(what byte, version string, payload []byte) []byte {
	b := make([]byte, 0, 4+len(version)+len(payload))
	b = append(b, what, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(version)))
	return append(append(b, version...), payload...)
}

// refusal is what a guest is told of a call that was not made.
type refusal struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Reason       string `json:"reason,omitempty"`
	RetryAfterMS int64  `json:"retryAfterMs,omitempty"`
}

// codes are those of errors that name none, as Lambda's.
var codes = map[fault.Kind]string{
	fault.Internal: "ServiceException", fault.Invalid: "InvalidParameterValueException", fault.Unauthenticated: "AccessDeniedException",
	fault.Denied: "AccessDeniedException", fault.NotFound: "ResourceNotFoundException", fault.Conflict: "ResourceConflictException",
	fault.Precondition: "PreconditionFailedException", fault.TooLarge: "RequestTooLargeException", fault.Throttled: "TooManyRequestsException",
	fault.Suspended: "AccessDeniedException", fault.Unsupported: "InvalidParameterValueException",
	fault.Unavailable: "ServiceUnavailableException", fault.Timeout: "ServiceException",
}

// refused makes the reply to a call that was not made, or did not end.
func refused(err error) []byte {
	f := fault.From("host", err)
	r := refusal{Code: f.Code, Message: f.Text(), Reason: f.Reason, RetryAfterMS: f.RetryAfter.Milliseconds()}
	if r.Code == "" {
		r.Code = codes[f.Kind]
	}
	text, err := json.Marshal(r)
	if err != nil {
		text = []byte(`{"code":"ServiceException","message":""}`)
	}
	return reply(replyRefused, "", text)
}
