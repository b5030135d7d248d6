package awsapi

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// Headers of replies, in the form that net/http's map has them in.
const (
	headerRequestID = "X-Amzn-Requestid"
	headerErrorType = "X-Amzn-Errortype"
)

// exception is how one AWS error code looks on the wire.
type exception struct {
	status int
	// lower says that the member is named message and not Message; AWS's
	// model differs by exception (the SDK's response snapshots show which).
	lower bool
}

// exceptions are the codes that clients of Lambda know. A code that is not
// here keeps its name and takes the status of its kind.
var exceptions = map[string]exception{
	"AccessDeniedException":               {403, false},
	"ExpiredTokenException":               {403, true},
	"IncompleteSignatureException":        {403, true},
	"InvalidParameterValueException":      {400, true},
	"InvalidRequestContentException":      {400, true},
	"InvalidSignatureException":           {403, true},
	"InvalidZipFileException":             {502, false},
	"MissingAuthenticationTokenException": {403, true},
	"PolicyLengthExceededException":       {400, true},
	"PreconditionFailedException":         {412, true},
	"RequestEntityTooLargeException":      {413, true},
	"RequestTimeTooSkewed":                {403, true},
	"RequestTooLargeException":            {413, true},
	"ResourceConflictException":           {409, true},
	"ResourceNotFoundException":           {404, false},
	"ResourceNotReadyException":           {502, true},
	"CodeStorageExceededException":        {400, true},
	"SerializationException":              {400, false},
	"ServiceException":                    {500, false},
	"ServiceUnavailableException":         {503, false},
	"SignatureDoesNotMatch":               {403, true},
	"TooManyRequestsException":            {429, true},
	"UnknownOperationException":           {404, true},
	"UnrecognizedClientException":         {403, true},
	"UnsupportedMediaTypeException":       {415, true},
	"ValidationException":                 {400, true},
}

// byKind is the one table from the platform's kinds of failure to Lambda's
// codes, for errors that carry no code of their own.
var byKind = map[fault.Kind]struct {
	status int
	code   string
}{
	fault.Internal:        {500, "ServiceException"},
	fault.Invalid:         {400, "InvalidParameterValueException"},
	fault.Unauthenticated: {403, "UnrecognizedClientException"},
	fault.Denied:          {403, "AccessDeniedException"},
	fault.NotFound:        {404, "ResourceNotFoundException"},
	fault.Conflict:        {409, "ResourceConflictException"},
	fault.Precondition:    {412, "PreconditionFailedException"},
	fault.TooLarge:        {413, "RequestEntityTooLargeException"},
	fault.Throttled:       {429, "TooManyRequestsException"},
	fault.Suspended:       {403, "AccessDeniedException"},
	fault.Unsupported:     {400, "InvalidParameterValueException"},
	fault.Unavailable:     {503, "ServiceUnavailableException"},
	fault.Timeout:         {504, "ServiceException"},
}

// wire gives status, code and form of an error.
func wire(e *fault.Error) (status int, code string, lower bool) {
	kind := byKind[e.Kind]
	status, code = kind.status, kind.code
	if e.Code != "" {
		code = e.Code
		if x, known := exceptions[code]; known {
			return x.status, code, x.lower
		}
	}
	return status, code, exceptions[code].lower
}

// errorBody is the JSON of an error. Exactly one of the two messages is set.
type errorBody struct {
	Message      string `json:"Message,omitempty"`
	LowerMessage string `json:"message,omitempty"`
	Reason       string `json:"Reason,omitempty"`
	Type         string `json:"Type"`
}

// failure is a request that is answered with an error.
type failure struct {
	id     string
	tenant tenant.Slug // empty while nobody is proved
	err    error
}

// fail answers with an error. The cause of a failure of ours goes to the
// log under the request id and never to the caller.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, f failure) {
	e := fault.From("awsapi", f.err)
	status, code, lower := wire(e)
	body := errorBody{Type: "User", Reason: e.Reason}
	text := e.Text()
	if status >= http.StatusInternalServerError {
		body.Type = "Service"
		level := slog.LevelError
		if r.Context().Err() != nil {
			level = slog.LevelInfo // the caller went away; nothing here is broken
		}
		h.Log.LogAttrs(r.Context(), level, "request failed",
			slog.String("tenant", string(f.tenant)), slog.String("requestId", f.id), slog.String("code", code), slog.String("error", e.Error()))
	}
	if e.Kind == fault.Internal {
		text = "The service failed to handle the request. Report the request id " + f.id + " to the operator."
	}
	if lower {
		body.LowerMessage = text
	} else {
		body.Message = text
	}
	header := w.Header()
	header[headerErrorType] = []string{code}
	if status == http.StatusTooManyRequests || e.RetryAfter > 0 {
		header["Retry-After"] = []string{strconv.FormatInt(e.RetrySeconds(), 10)}
	}
	reply, _ := json.Marshal(body) // a struct of strings always marshals
	writeJSON(w, status, reply)
}

var contentJSON = []string{"application/json"}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = contentJSON
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) // a caller that has gone away is not an error of ours
}
