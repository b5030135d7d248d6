package queryapi

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/tenant"
)

// statuses are the codes that clients of IAM and STS know, with the status
// that each has. A code that is not here keeps its name and takes the status
// of its kind.
var statuses = map[string]int{
	"AccessDenied":                         403,
	"ConcurrentModification":               409,
	"DeleteConflict":                       409,
	"EntityAlreadyExists":                  409,
	"EntityTemporarilyUnmodifiable":        409,
	"ExpiredToken":                         403,
	"ExpiredTokenException":                400,
	"IDPCommunicationError":                400,
	"IDPRejectedClaim":                     403,
	"IncompleteSignature":                  400,
	"InternalFailure":                      500,
	"InvalidAction":                        400,
	"InvalidAuthorizationMessageException": 400,
	"InvalidClientTokenId":                 403,
	"InvalidIdentityToken":                 400,
	"InvalidInput":                         400,
	"LimitExceeded":                        409,
	"MalformedInput":                       400,
	"MalformedPolicyDocument":              400,
	"MissingAction":                        400,
	"MissingParameter":                     400,
	"MissingAuthenticationToken":           403,
	"NoSuchEntity":                         404,
	"OpenIdIdpCommunicationError":          400,
	"PackedPolicyTooLarge":                 400,
	"PolicyEvaluation":                     500,
	"PolicyNotAttachable":                  400,
	"RequestEntityTooLarge":                413,
	"RequestTimeTooSkewed":                 403,
	"ServiceFailure":                       500,
	"ServiceUnavailable":                   503,
	"SignatureDoesNotMatch":                403,
	"Throttling":                           400,
	"UnmodifiableEntity":                   400,
	"ValidationError":                      400,
}

// renamed are codes of the platform that IAM and STS call otherwise than
// Lambda does.
var renamed = map[string]string{
	"AccessDeniedException":              "AccessDenied",
	"InvalidParameterValueException":     "ValidationError",
	"RequestEntityTooLargeException":     "RequestEntityTooLarge",
	"ResourceConflictException":          "EntityTemporarilyUnmodifiable",
	"InvalidRequestContentException":     "MalformedInput",
	"UnsupportedMediaTypeException":      "MalformedInput",
	"ResourceNotFoundException":          "NoSuchEntity",
	"ServiceException":                   "ServiceFailure",
	"ServiceUnavailableException":        "ServiceUnavailable",
	"TooManyRequestsException":           "Throttling",
	credential.CodeIncompleteSignature:   "IncompleteSignature",
	credential.CodeMissingAuthentication: "MissingAuthenticationToken",
	credential.CodeUnrecognizedClient:    "InvalidClientTokenId",
}

// byKind is the one table from the platform's kinds of failure to the codes
// of IAM and STS, for errors that carry no code of their own.
var byKind = map[fault.Kind]struct {
	status int
	code   string
}{
	fault.Internal:        {500, "ServiceFailure"},
	fault.Invalid:         {400, "ValidationError"},
	fault.Unauthenticated: {403, "InvalidClientTokenId"},
	fault.Denied:          {403, "AccessDenied"},
	fault.NotFound:        {404, "NoSuchEntity"},
	fault.Conflict:        {409, "EntityAlreadyExists"},
	fault.Precondition:    {409, "EntityTemporarilyUnmodifiable"},
	fault.TooLarge:        {413, "RequestEntityTooLarge"},
	fault.Throttled:       {400, "Throttling"},
	fault.Suspended:       {403, "AccessDenied"},
	fault.Unsupported:     {400, "InvalidAction"},
	fault.Unavailable:     {503, "ServiceUnavailable"},
	fault.Timeout:         {504, "ServiceFailure"},
}

// wire gives status and code of an error.
func wire(e *fault.Error) (status int, code string) {
	kind := byKind[e.Kind]
	status, code = kind.status, kind.code
	if e.Code == "" {
		return status, code
	}
	code = e.Code
	if name, other := renamed[code]; other {
		code = name
	}
	if known, found := statuses[code]; found {
		status = known
	}
	return status, code
}

// authenticationCode renames what only has another name where the signature
// itself is refused: STS has an ExpiredTokenException for web identity tokens
// and ExpiredToken for its own. An unknown key and a missing signature are answered in AWS's
// words, which scripts look for.
func authenticationCode(err error) error {
	e := *fault.From("queryapi", err)
	switch e.Code {
	case credential.CodeExpiredToken:
		e.Code = "ExpiredToken"
	case credential.CodeUnrecognizedClient:
		e.Message, e.Remedy = "The security token included in the request is invalid.", ""
	case credential.CodeMissingAuthentication:
		e.Message, e.Remedy = "Request is missing Authentication Token", ""
	}
	return &e
}

// failure is a request that is answered with an error.
type failure struct {
	id     string
	tenant tenant.Slug // empty while nobody is proved
	err    error
}

// fail answers with an error. The cause of a failure of ours goes to the log
// under the request id and never to the caller.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, f failure) {
	e := fault.From("queryapi", f.err)
	status, code := wire(e)
	party, text := "Sender", e.Text()
	if status >= http.StatusInternalServerError {
		party = "Receiver"
		level := slog.LevelError
		if r.Context().Err() != nil {
			level = slog.LevelInfo // the caller went away; nothing here is broken
		}
		h.Log.LogAttrs(r.Context(), level, "request failed", slog.String("service", h.api.service),
			slog.String("tenant", string(f.tenant)), slog.String("requestId", f.id), slog.String("code", code), slog.String("error", e.Error()))
	}
	if e.Kind == fault.Internal {
		text = "The service failed to handle the request. Report the request id " + f.id + " to the operator."
	}
	if e.RetryAfter > 0 {
		w.Header()["Retry-After"] = []string{strconv.FormatInt(e.RetrySeconds(), 10)}
	}
	writeXML(w, status, h.api.errorReply(f.id, party, code, text))
}

var contentXML = []string{"text/xml"}

func writeXML(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = contentXML
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) // a caller that has gone away is not an error of ours
}
