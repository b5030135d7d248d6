// Package awsapi speaks Lambda's REST protocol: paths, shapes, error codes
// and messages are AWS's, so that the AWS CLI, the SDKs and Terraform work
// against Carrel unmodified.
//
// A request goes through the same steps in the same order, whatever it asks:
// find the operation, read the body under that operation's bound, verify the
// signature over what was received, parse, authorise, act. Nothing that the
// caller wrote is believed before the third step, and nothing of an account
// is looked at before the fifth; calls of functions are authorised by the
// pipeline behind Invoker, which audits them.
package awsapi

import (
	"context"
	"log/slog"
	"math/rand/v2"
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
	"github.com/carrel-dev/carrel/tenant"
)

// Service is the service name that requests to this API are signed for.
const Service = "lambda"

// Verifier proves who sent a request; credential.Verifier is one.
type Verifier interface {
	// Verify checks the signature over the request as received and the body.
	//
	// Errors: fault.Unauthenticated with the code that AWS clients know.
	Verify(r *http.Request, body []byte) (credential.Identity, error)
}

// Invoker runs calls: the pipeline of authorise, admit, run, meter, audit.
//
// Call.Event belongs to the caller again when the method returns: an
// implementation that keeps it copies it first. As a second wall the memory
// is used again only after an outcome that the function itself gave.
// Call.Owner is complete, except that a dry run makes no end tenant: it names
// one in Call.EndTenant only.
type Invoker interface {
	// Invoke runs the call and always gives an Outcome.
	Invoke(ctx context.Context, c *call.Call) *call.Outcome
	// Enqueue accepts the call to run later; nil means that it is durable.
	Enqueue(ctx context.Context, c *call.Call) error
}

// Config is what a handler needs.
type Config struct {
	// Region is the node's region, as in ARNs.
	Region   string
	Verifier Verifier
	// Bearers verifies bearer tokens; nil takes none.
	Bearers *credential.BearerVerifier
	// Sessions says whose share of memory a request with a security token may
	// take; nil gives it none.
	Sessions credential.Sessions
	Control  Control
	Invoker  Invoker
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// NewRequestID makes the id of a request; a random UUID if nil.
	NewRequestID func() string
	// Roll gives the random number that picks a version of a weighted alias.
	Roll func() uint64
	// URL gives the address of the function URL of an id; of a host that ends
	// in lambda-url.localhost if nil.
	URL func(id string) string
	// Limits bound what is read; a zero field takes its default.
	Limits Limits
	// Log gets the causes of failures that are ours; discarded if nil.
	Log *slog.Logger
}

// handler is the Lambda API of one node.
type handler struct {
	Config
	routes routeTable
	bodies *body.Reader
}

// New makes the handler of requests to the service lambda.
func New(cfg Config) http.Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewRequestID == nil {
		cfg.NewRequestID = uuid.NewString
	}
	if cfg.Roll == nil {
		cfg.Roll = rand.Uint64
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.URL == nil {
		cfg.URL = func(id string) string { return "http://" + id + ".lambda-url.localhost/" }
	}
	cfg.Limits = cfg.Limits.orDefaults()
	h := &handler{Config: cfg, routes: newRouteTable(lambdaRoutes())}
	h.bodies = body.NewReader(h.Limits.Buffered, h.claimed)
	return h
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := h.NewRequestID()
	w.Header()[headerRequestID] = []string{id}
	var p params
	rt := h.routes.match(r, &p)
	if who, err := h.serve(w, r, id, matched{rt, &p}); err != nil {
		h.fail(w, r, failure{id, who, err})
	}
}

// matched is the operation that a request asks for, with its path's values.
type matched struct {
	*route
	params *params
}

// serve answers one request, or gives the error to answer with; and the
// caller's tenant, once it is proved.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, id string, m matched) (tenant.Slug, error) {
	if !signed(r) {
		return "", fault.New("awsapi", fault.Unauthenticated, "Missing Authentication Token").
			WithCode(credential.CodeMissingAuthentication)
	}
	if m.route == nil {
		return "", fault.New("awsapi", fault.NotFound, "%s %s is no operation of Lambda.", r.Method, fault.Clip(r.URL.EscapedPath())).
			WithCode("UnknownOperationException")
	}
	held, err := h.bodies.Read(r, h.Limits.of(m.route, r))
	if err != nil {
		return "", err
	}
	reuse := true
	defer func() { held.Release(reuse) }()
	principal, err := h.authenticate(w, r, held.Bytes)
	if err != nil {
		return "", err
	}
	if m.operation == opInvoke || m.operation == opInvokeStream {
		in := invocation{stream: m.operation == opInvokeStream, id: id, name: m.params[0], principal: principal, body: held.Bytes}
		reuse = false // nor if this panics
		err := h.invoke(w, r, &in)
		reuse = !in.lent
		return principal.Tenant, err
	}
	if m.act == nil {
		return principal.Tenant, fault.New("awsapi."+m.operation, fault.Unsupported, "The operation %s is not available in Carrel.", m.operation)
	}
	r = r.WithContext(control.WithRequestID(r.Context(), id))
	rq := &request{h: h, r: r, id: id, matched: m, principal: principal, body: held.Bytes}
	return principal.Tenant, rq.answer(w)
}

// authenticate gives the principal whose key signed the request. A signature
// for another service is good there and not here.
func (h *handler) authenticate(w http.ResponseWriter, r *http.Request, body []byte) (call.Principal, error) {
	if h.Bearers != nil && credential.HasBearer(r) {
		return caller.Bearer(w, r, h.Bearers, body)
	}
	identity, err := h.Verifier.Verify(r, body)
	if err != nil {
		return call.Principal{}, err
	}
	if identity.Service != Service {
		return call.Principal{}, fault.New("awsapi", fault.Unauthenticated,
			"Credential should be scoped to correct service: '%s'.", Service).WithCode(credential.CodeSignatureDoesNotMatch)
	}
	principal, known := caller.Of(r, &identity, h.Control)
	if !known {
		return call.Principal{}, unrecognized()
	}
	return principal, nil
}

func unrecognized() error {
	return fault.New("awsapi", fault.Unauthenticated, "The security token included in the request is invalid.").
		WithCode(credential.CodeUnrecognizedClient)
}

// claimed gives the account of the credential that a request names.
func (h *handler) claimed(r *http.Request) (tenant.AccountID, bool) {
	return caller.Claims{Keys: h.Control, Sessions: h.Sessions, Bearers: h.Bearers}.Account(r)
}

// signed tells whether the request claims to be signed at all, so that
// nothing is read for one that does not.
func signed(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || strings.Contains(r.URL.RawQuery, "X-Amz-Signature=")
}
