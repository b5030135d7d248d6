// Package urlapi serves function URLs: plain HTTP requests to a host of a
// function's own become calls of it, with events and results in Lambda's
// payload format 2.0.
//
// What a request says of its caller is not believed: without a signature the
// caller is nobody, which policies know as the anonymous principal, and with
// one it is whom the signature proves. A URL of the type NONE takes every
// caller for nobody, signed or not. Whoever is refused gets one answer, be it
// that there is no such URL or that it is not for them.
package urlapi

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/gateway/body"
	"github.com/carrel-dev/carrel/gateway/caller"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/tenant"
)

// service is what requests to a URL of the type AWS_IAM are signed for.
const service = "lambda"

// Control is the desired state as URLs need it, which *control.Service is.
type Control interface {
	// URL gives what the id of a URL leads to.
	URL(id string) (*control.URLOwner, bool)
	caller.Keys
	// Resolve gives what a call of a function runs.
	Resolve(account tenant.AccountID, name function.Name, qualifier string, roll uint64) (*function.Target, error)
	EndTenants
}

// EndTenants knows for whom a call can be.
type EndTenants interface {
	// Authorise decides and audits refusals.
	Authorise(ctx context.Context, r iam.Request, requestID string) (iam.Grant, error)
	// FindEndTenant gives the internal id of an end tenant that calls have named.
	FindEndTenant(account tenant.AccountID, id tenant.EndTenantID) (tenant.UID, bool, error)
	// EndTenant is FindEndTenant, and makes it at its first call.
	EndTenant(ctx context.Context, g iam.Grant, id tenant.EndTenantID) (tenant.UID, error)
}

// Verifier proves who signed a request.
type Verifier interface {
	Verify(r *http.Request, body []byte) (credential.Identity, error)
}

// Invoker runs calls.
type Invoker interface {
	Invoke(ctx context.Context, c *call.Call) *call.Outcome
}

// Config is what a Handler needs.
type Config struct {
	// Domain is what hosts end in, after "lambda-url."; "localhost" if empty.
	Domain   string
	Verifier Verifier
	// Sessions says whose share of memory a request with a security token may
	// take; nil gives it none.
	Sessions credential.Sessions
	Control  Control
	Invoker  Invoker
	// Now, NewRequestID, Roll and Log may be nil.
	Now          func() time.Time
	NewRequestID func() string
	Roll         func() uint64
	Log          *slog.Logger
}

// The bounds of what is read and of what is held of it, as for Invoke.
const (
	maxBody  = 6 << 20
	maxEvent = 6 << 20
	maxHeld  = 512 << 20
)

// Handler serves the URLs of a node's functions.
type Handler struct {
	Config
	suffix string
	bodies *body.Reader
}

// New makes a Handler.
func New(cfg Config) *Handler {
	if cfg.Domain == "" {
		cfg.Domain = "localhost"
	}
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
	h := &Handler{Config: cfg, suffix: ".lambda-url." + strings.ToLower(cfg.Domain)}
	h.bodies = body.NewReader(maxHeld, h.claimed)
	return h
}

// Host gives the host of the URL of an id, without a port.
func (h *Handler) Host(id string) string { return id + h.suffix }

// Serves tells whether a request is for a function's host, or for what would
// be one: nothing else of the node answers there.
func (h *Handler) Serves(r *http.Request) bool {
	_, ours := h.label(r)
	return ours
}

// label gives what stands before the domain of URLs. A host is the same with
// a port, a dot at its end, or capital letters.
func (h *Handler) label(r *http.Request) (string, bool) {
	return strings.CutSuffix(hostname(r), h.suffix)
}

// hostname gives a request's host in small letters, without the port and a dot
// at its end. What stands for a port and is none belongs to the name.
func hostname(r *http.Request) string {
	host := r.Host
	if name, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// owner gives what a request's host leads to.
func (h *Handler) owner(r *http.Request) (*control.URLOwner, bool) {
	id, _ := h.label(r)
	if !control.IsURLID(id) {
		return nil, false
	}
	return h.Control.URL(id)
}

// claimed says whose share of memory a body may take: where anybody may call,
// the function's owner's.
func (h *Handler) claimed(r *http.Request) (tenant.AccountID, bool) {
	u, found := h.owner(r)
	switch {
	case !found:
		return "", false
	case u.Auth == function.URLAuthNone:
		return u.Account, true
	}
	return caller.Claims{Keys: h.Control, Sessions: h.Sessions}.Account(r)
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := h.NewRequestID()
	w.Header()["X-Amzn-Requestid"] = []string{id}
	u, found := h.owner(r)
	if !found {
		forbid(w)
		return
	}
	if preflight(w, r, u.CORS) {
		return
	}
	allowOrigin(w.Header(), r, u.CORS)
	v := &visit{URLOwner: u, id: id}
	if err := h.serve(w, r, v); err != nil {
		h.fail(w, r, v, err)
	}
}

// visit is one request to a function's URL.
type visit struct {
	*control.URLOwner
	id        string
	principal call.Principal
	body      []byte
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, v *visit) error {
	held, err := h.bodies.Read(r, body.Limit{Bytes: maxBody, Code: "RequestTooLargeException", Operation: "InvokeFunctionUrl"})
	if err != nil {
		return err
	}
	// The event is made from the body before the call begins, so nobody reads
	// the body after that.
	v.body = held.Bytes
	c, err := h.call(r, v)
	held.Release(err == nil)
	if err != nil {
		return err
	}
	out := &answer{w: w, connect: http.NewResponseController(w), head: r.Method == http.MethodHead}
	if v.Mode == function.ResponseStream {
		c.Stream = out
	}
	return out.end(h.Invoker.Invoke(r.Context(), c))
}

// call makes the call that a request asks for.
func (h *Handler) call(r *http.Request, v *visit) (*call.Call, error) {
	if err := h.authenticate(r, v); err != nil {
		return nil, err
	}
	target, err := h.Control.Resolve(v.Account, v.Name, v.Qualifier, h.Roll())
	if err != nil {
		return nil, err
	}
	c := &call.Call{
		RequestID: v.id, Attempt: 1, Principal: v.principal, Owner: tenant.Identity{Account: v.Account},
		Target: target, Trigger: call.ViaURL, URLAuth: v.Auth, Received: h.Now(),
	}
	if err := h.endTenant(r, c); err != nil {
		return nil, err
	}
	c.Event, err = event(r, v, c.Received)
	if err == nil && len(c.Event) > maxEvent {
		err = body.Limit{Bytes: maxEvent, Code: "RequestTooLargeException", Operation: "InvokeFunctionUrl"}.Exceeded()
	}
	return c, err
}

// authenticate finds out who calls.
func (h *Handler) authenticate(r *http.Request, v *visit) error {
	if v.Auth != function.URLAuthIAM {
		v.principal = call.Principal{Type: call.TypeAnonymous, Origin: caller.Origin(r)}
		return nil
	}
	identity, err := h.Verifier.Verify(r, v.body)
	if err != nil {
		return err
	}
	known := false
	if v.principal, known = caller.Of(r, &identity, h.Control); !known || identity.Service != service {
		return fault.New("urlapi", fault.Unauthenticated, "The security token included in the request is invalid.")
	}
	return nil
}

// headerTenantID names the end tenant that a signed request is for.
const headerTenantID = "X-Amz-Tenant-Id"

// endTenant finds out for whom the call is. Only a signed request can say so.
func (h *Handler) endTenant(r *http.Request, c *call.Call) error {
	named := r.Header[headerTenantID]
	perTenant := c.Target.Tenancy == function.PerTenant
	switch {
	case c.URLAuth != function.URLAuthIAM && perTenant:
		return fault.New("urlapi", fault.Denied, "A function with end tenants has no public URL.")
	case c.URLAuth != function.URLAuthIAM:
		return nil // the header is not looked at, and not passed on
	case perTenant && len(named) > 1:
		named = nil // which of them is meant is not guessed
	}
	err := c.Target.CheckTenancy("urlapi", len(named) > 0)
	if err != nil || !perTenant {
		return err
	}
	if c.EndTenant, err = tenant.ParseEndTenantID(named[0]); err != nil {
		return fault.New("urlapi", fault.Invalid, "%v", err)
	}
	uid, known, err := h.Control.FindEndTenant(c.Owner.Account, c.EndTenant)
	if err == nil && !known {
		var g iam.Grant
		if g, err = h.Control.Authorise(r.Context(), iam.CallRequest(c), c.RequestID); err == nil {
			uid, err = h.Control.EndTenant(control.WithRequestID(r.Context(), c.RequestID), g, c.EndTenant)
		}
	}
	c.Owner.EndTenant = uid
	return err
}

// forbid is the one answer to whoever may not.
func forbid(w http.ResponseWriter) { refuse(w, http.StatusForbidden, "Forbidden") }

// refuse answers with Lambda's error body for URLs.
func refuse(w http.ResponseWriter, status int, message string) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write([]byte(`{"Message":"` + message + `"}`)) // the texts are ours and have no quotes
}

// statuses are the answers to failures that are not of the function.
var statuses = map[fault.Kind]struct {
	status int
	text   string
}{
	fault.Unauthenticated: {http.StatusForbidden, "Forbidden"},
	fault.Denied:          {http.StatusForbidden, "Forbidden"},
	fault.NotFound:        {http.StatusForbidden, "Forbidden"},
	fault.Suspended:       {http.StatusForbidden, "Forbidden"},
	fault.Invalid:         {http.StatusBadRequest, "Bad Request"},
	fault.TooLarge:        {http.StatusRequestEntityTooLarge, "Request Entity Too Large"},
	fault.Throttled:       {http.StatusTooManyRequests, "Rate Exceeded"},
	fault.Conflict:        {http.StatusServiceUnavailable, "Service Unavailable"},
	fault.Unavailable:     {http.StatusServiceUnavailable, "Service Unavailable"},
	fault.Timeout:         {http.StatusGatewayTimeout, "Gateway Timeout"},
}

// fail answers a request that was not served. Why goes to the log, under the
// request's id and the function's account, where it is ours.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, v *visit, cause error) {
	e := fault.From("urlapi", cause)
	s, known := statuses[e.Kind]
	if !known {
		s.status, s.text = http.StatusInternalServerError, "Internal Server Error"
	}
	if s.status >= http.StatusInternalServerError {
		h.Log.LogAttrs(r.Context(), slog.LevelError, "request to a function's URL failed",
			slog.String("account", string(v.Account)), slog.String("requestId", v.id), slog.String("error", e.Error()))
	}
	if e.Kind == fault.Throttled {
		w.Header().Set("Retry-After", strconv.FormatInt(e.RetrySeconds(), 10))
	}
	refuse(w, s.status, s.text)
}
