package adminapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carrel-dev/carrel/fault"
)

// headerRequestID carries the request's id in every answer.
const headerRequestID = "X-Amzn-Requestid"

const codeValidation = "ValidationException"

// byKind is the one table from the platform's kinds of failure to this API's
// status, and to the code of an error that carries none. The codes are AWS's
// where AWS has one.
var byKind = map[fault.Kind]struct {
	status int
	code   string
}{
	fault.Internal:        {http.StatusInternalServerError, "ServiceException"},
	fault.Invalid:         {http.StatusBadRequest, codeValidation},
	fault.Unauthenticated: {http.StatusForbidden, "UnrecognizedClientException"},
	fault.Denied:          {http.StatusForbidden, "AccessDeniedException"},
	fault.NotFound:        {http.StatusNotFound, "ResourceNotFoundException"},
	fault.Conflict:        {http.StatusConflict, "ConflictException"},
	fault.Precondition:    {http.StatusPreconditionFailed, "PreconditionFailedException"},
	fault.TooLarge:        {http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"},
	fault.Throttled:       {http.StatusTooManyRequests, "TooManyRequestsException"},
	fault.Suspended:       {http.StatusForbidden, "AccessDeniedException"},
	fault.Unsupported:     {http.StatusNotImplemented, "UnsupportedOperationException"},
	fault.Unavailable:     {http.StatusServiceUnavailable, "ServiceUnavailableException"},
	fault.Timeout:         {http.StatusGatewayTimeout, "ServiceException"},
}

// Error is the body of every answer that is not a success.
type Error struct {
	Detail Problem `json:"error"`

	status     int
	retryAfter time.Duration
}

// Problem says what failed, why, and what to do.
type Problem struct {
	Code      string `json:"code" doc:"Stable name to match on" example:"ResourceNotFoundException"`
	Kind      string `json:"kind" doc:"Sort of failure, from a closed list" example:"not_found"`
	Message   string `json:"message" doc:"What failed, and why"`
	Remedy    string `json:"remedy,omitempty" doc:"What to do about it"`
	RequestID string `json:"requestId" doc:"The same id as in the logs and the audit log"`
}

// Error gives message and remedy.
func (e *Error) Error() string { return e.Detail.Message + " " + e.Detail.Remedy }

// GetStatus gives the HTTP status.
func (e *Error) GetStatus() int { return e.status }

// GetHeaders gives the headers that go with the error.
func (e *Error) GetHeaders() http.Header {
	header := http.Header{}
	if e.status == http.StatusTooManyRequests || e.retryAfter > 0 {
		f := fault.Error{RetryAfter: e.retryAfter}
		header.Set("Retry-After", strconv.FormatInt(f.RetrySeconds(), 10))
	}
	return header
}

// failure makes the body of an error. The cause of a failure of ours goes to
// the log under the request id and never to the caller.
func (h *handler) failure(ctx context.Context, id string, err error) *Error {
	f := fault.From("adminapi", err)
	kind := byKind[f.Kind]
	e := &Error{status: kind.status, retryAfter: f.RetryAfter, Detail: Problem{
		Code: kind.code, Kind: f.Kind.String(), Message: f.Message, Remedy: f.Remedy, RequestID: id,
	}}
	if f.Code != "" {
		e.Detail.Code = f.Code
	}
	if kind.status >= http.StatusInternalServerError {
		h.Log.LogAttrs(ctx, slog.LevelError, "request failed",
			slog.String("requestId", id), slog.String("code", e.Detail.Code), slog.String("error", f.Error()))
	}
	if f.Kind == fault.Internal {
		e.Detail.Message = "The node failed to handle the request."
		e.Detail.Remedy = "Report the request id to the operator: the cause is in the node's log under it."
	}
	return e
}

// fail answers a request that reached no operation.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, id string, err error) {
	e := h.failure(r.Context(), id, err)
	header := w.Header()
	for name, values := range e.GetHeaders() {
		header[name] = values
	}
	header.Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	json.NewEncoder(w).Encode(e) // a caller that has gone away is no error of ours
}

// validationError gives the parser's own errors this API's form. The values
// it found are left out: they may be secrets in the wrong place.
func validationError(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	ctx.SetHeader("Content-Type", "application/json")
	message := m.Detail
	var parts []string
	for _, d := range m.Errors {
		parts = append(parts, strings.TrimPrefix(d.Location+": "+d.Message, ": "))
	}
	if len(parts) > 0 {
		message += ": " + fault.Clip(strings.Join(parts, "; "))
	}
	return &Error{Detail: Problem{
		Code: codeValidation, Kind: fault.Invalid.String(), Message: message,
		Remedy:    "Compare the request with " + documentPath + ".",
		RequestID: sessionOf(ctx.Context()).id,
	}}, nil
}
