// Package queryapi speaks the AWS Query protocol for IAM (2010-05-08) and STS
// (2011-06-15): forms in, XML out. Names, shapes, error codes and messages
// are AWS's, so that the AWS CLI, the SDKs and Terraform work against Carrel
// unmodified.
//
// A request goes through the same steps in the same order, whatever it asks:
// read the body under its bound, verify the signature over what was received,
// find the operation and parse its parameters, authorise, act. Operations are
// authorised under AWS's actions on AWS's resources, with AWS's condition
// keys. The one operation that needs no signature is
// AssumeRoleWithWebIdentity, whose token is the credential.
//
// # Where this differs from AWS
//
// A parameter that an operation does not have is refused, and so is one that
// is there twice: AWS ignores the one and takes some of the other.
package queryapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/gateway/body"
	"github.com/carrel-dev/carrel/gateway/caller"
	"github.com/carrel-dev/carrel/iam/credential"
)

// The service names that requests to the two APIs are signed for.
const (
	ServiceIAM = "iam"
	ServiceSTS = "sts"
)

// headerRequestID is in the form that net/http's map has it in.
const headerRequestID = "X-Amzn-Requestid"

// The bounds of a body, in bytes.
const (
	mostBody     = 1 << 20
	mostUnsigned = body.Small // of a request that nobody signed
	mostHeld     = 64 << 20   // of all larger bodies together
)

// Verifier proves who sent a request; credential.Verifier is one.
type Verifier interface {
	// Verify checks the signature over the request as received and the body.
	//
	// Errors: fault.Unauthenticated with the code that AWS clients know.
	Verify(r *http.Request, body []byte) (credential.Identity, error)
}

// Config is what a handler needs.
type Config struct {
	// Region is the node's region.
	Region string
	// Verifier accepts signatures for the handler's service only.
	Verifier Verifier
	Control  *control.Service
	// Sessions says whose share of memory a request with a security token may
	// take; nil says nobody's.
	Sessions credential.Sessions
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// NewRequestID makes the id of a request; a random UUID if nil.
	NewRequestID func() string
	// Log gets the causes of failures that are ours; discarded if nil.
	Log *slog.Logger
}

// api is one of the two services.
type api struct {
	service, version, namespace string
	operations                  map[string]*operation
}

// handler is one service on one node.
type handler struct {
	Config
	api    *api
	bodies *body.Reader
}

// NewIAM makes the handler of requests to the service iam.
func NewIAM(cfg Config) http.Handler { return newHandler(cfg, iamAPI()) }

// NewSTS makes the handler of requests to the service sts.
func NewSTS(cfg Config) http.Handler { return newHandler(cfg, stsAPI()) }

func newHandler(cfg Config, a *api) *handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewRequestID == nil {
		cfg.NewRequestID = uuid.NewString
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	claims := caller.Claims{Keys: cfg.Control, Sessions: cfg.Sessions}
	return &handler{Config: cfg, api: a, bodies: body.NewReader(mostHeld, claims.Account)}
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := h.NewRequestID()
	w.Header()[headerRequestID] = []string{id}
	rq := &request{h: h, r: r, id: id, ctx: control.WithRequestID(r.Context(), id)}
	if err := rq.serve(w); err != nil {
		h.fail(w, r, failure{id, rq.principal.Tenant, err})
	}
}

// request is one operation on its way.
type request struct {
	h         *handler
	r         *http.Request
	ctx       context.Context
	id        string
	principal call.Principal
	operation *operation
}

func (rq *request) serve(w http.ResponseWriter) error {
	held, err := rq.h.read(rq.r)
	if err != nil {
		return err
	}
	var sent []byte
	if held != nil {
		sent = held.Bytes
		defer held.Release(true) // the form is a copy
	}
	isSigned := signed(rq.r)
	if isSigned {
		if rq.principal, err = rq.h.authenticate(rq.r, sent); err != nil {
			return authenticationCode(err)
		}
	} else {
		rq.principal = call.Principal{Type: call.TypeAnonymous, Origin: caller.Origin(rq.r)}
	}
	form, err := parseForm(rq.r.URL.RawQuery, string(sent))
	if err != nil {
		return err
	}
	if err := rq.find(form); err != nil {
		return err
	}
	if !isSigned && !rq.operation.unsigned {
		return fault.New("queryapi", fault.Unauthenticated, "Request is missing Authentication Token").
			WithCode(credential.CodeMissingAuthentication)
	}
	output, err := rq.operation.serve(rq, form)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, rq.h.api.reply(rq.operation.name, rq.id, output))
	return nil
}

// find takes the operation and the version of the API out of the form.
func (rq *request) find(form *node) error {
	text := func(name string) string {
		if n := form.take(name); n != nil && n.value != nil {
			return *n.value
		}
		return ""
	}
	a := rq.h.api
	action, version := text("Action"), text("Version")
	if action == "" {
		return fault.New("queryapi", fault.Invalid, "The request has no parameter Action.").WithCode("MissingAction")
	}
	op := a.operations[action]
	if op == nil || version != "" && version != a.version {
		return fault.New("queryapi", fault.Unsupported, "Could not find operation %s for version %s", fault.Clip(action), fault.Clip(version)).
			WithCode("InvalidAction")
	}
	if op.serve == nil {
		return fault.New("queryapi."+action, fault.Unsupported, "The operation %s is not available in Carrel.", action).
			WithCode("InvalidAction")
	}
	rq.operation = op
	return nil
}

// authenticate gives the principal whose key signed the request. A signature
// for another service is good there and not here.
func (h *handler) authenticate(r *http.Request, body []byte) (call.Principal, error) {
	identity, err := h.Verifier.Verify(r, body)
	if err != nil {
		return call.Principal{}, err
	}
	if identity.Service != h.api.service {
		return call.Principal{}, fault.New("queryapi", fault.Unauthenticated,
			"Credential should be scoped to correct service: '%s'.", h.api.service).WithCode(credential.CodeSignatureDoesNotMatch)
	}
	principal, known := caller.Of(r, &identity, h.Control)
	if !known {
		return call.Principal{}, fault.New("queryapi", fault.Unauthenticated, "The security token included in the request is invalid.").
			WithCode(credential.CodeUnrecognizedClient)
	}
	if identity.Holder == nil {
		h.Control.KeyUsed(identity.KeyID, h.api.service, h.Now())
	}
	return principal, nil
}

// signed tells whether the request claims to be signed at all.
func signed(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || strings.Contains(r.URL.RawQuery, "X-Amz-Signature=")
}

// read gives the body; nil for a request that has none.
func (h *handler) read(r *http.Request) (*body.Body, error) {
	const op = "queryapi.read"
	switch r.Method {
	case http.MethodPost:
	case http.MethodGet:
		return nil, nil // a body is refused by its hash
	default:
		return nil, fault.New(op, fault.Invalid, "The method %s is not one of GET and POST.", fault.Clip(r.Method)).WithCode("MalformedInput")
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return nil, fault.New(op, fault.Invalid, "The Content-Type of the request is not application/x-www-form-urlencoded.").WithCode("MalformedInput")
	}
	most := mostBody
	if !signed(r) {
		most = mostUnsigned
	}
	limit := body.Limit{Bytes: most, Operation: "requested"}
	held, err := h.bodies.Read(r, limit)
	if !signed(r) && fault.Is(err, fault.Unauthenticated) {
		return nil, limit.Exceeded() // a body of unknown length, of nobody
	}
	return held, err
}
