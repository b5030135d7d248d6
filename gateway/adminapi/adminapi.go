// Package adminapi serves the /v1 API: tenants, plans, usage, logs, events
// and the state of the node, for operators and, each for its own account,
// for tenants.
//
// A request goes through the same steps in the same order, whatever it asks:
// read the body within the bound, verify the signature over what was
// received, find the operation, parse, authorise, act. The document at
// /v1/openapi.json is made from the same declarations that parse requests;
// it is the only answer that needs no signature, because it is the same
// everywhere.
package adminapi

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/gateway/caller"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/meter"
	"github.com/carrel-dev/carrel/observe/logs"
	"github.com/carrel-dev/carrel/tenant"
)

// Service is the service name that requests to this API are signed for.
const Service = "carrel"

// MaxBody is the most bytes of a request's body.
const MaxBody = 1 << 20

// Verifier proves who sent a request; credential.Verifier is one.
type Verifier interface {
	// Verify checks the signature over the request as received and the body.
	//
	// Errors: fault.Unauthenticated, fault.Suspended.
	Verify(r *http.Request, body []byte) (credential.Identity, error)
}

// Control is the desired state as this API needs it, which *control.Service
// is. Every method but those of Directory takes a Grant and refuses one that
// is not for its own action and resource.
type Control interface {
	Directory
	TenantLife
	Functions
	Governance
	Authentication
}

// TenantLife is all that becomes of a tenant.
type TenantLife interface {
	Tenants
	TenantStates
}

// Directory answers from memory.
type Directory interface {
	// Authorise decides and audits refusals.
	Authorise(ctx context.Context, r iam.Request, requestID string) (iam.Grant, error)
	// Principal gives whose key it is.
	Principal(accessKeyID string) (call.Principal, bool)
	// Account gives an account's tenant; false if there is none.
	Account(tenant.AccountID) (tenant.Tenant, bool)
	// Management is the operators' own account.
	Management() tenant.AccountID
	// TenantResource is the resource of operations on one tenant.
	TenantResource(tenant.Slug) string
}

// Tenants makes and finds tenants, and makes the roles of their people. All
// else about roles is asked for by the protocol of IAM.
type Tenants interface {
	CreateTenant(context.Context, iam.Grant, control.CreateTenantInput) (control.Credentials, error)
	GetTenant(context.Context, iam.Grant, tenant.Slug) (tenant.Tenant, error)
	ListTenants(context.Context, iam.Grant, control.PageInput) (control.Page[tenant.Tenant], error)
	SetPlan(ctx context.Context, g iam.Grant, slug tenant.Slug, plan string) (tenant.Tenant, error)
	CreateDefaultRoles(context.Context, iam.Grant) ([]directory.Role, error)
}

// TenantStates says whether a tenant is served.
type TenantStates interface {
	SuspendTenant(context.Context, iam.Grant, tenant.Slug) (tenant.Tenant, error)
	ResumeTenant(context.Context, iam.Grant, tenant.Slug) (tenant.Tenant, error)
	DeleteTenant(context.Context, iam.Grant, tenant.Slug) (tenant.Tenant, error)
}

// Functions finds functions.
type Functions interface {
	EventSchemas
	Rollouts
	Pins
	GetFunction(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (control.FunctionView, error)
	GetInstance(ctx context.Context, g iam.Grant, name string) (control.InstanceView, error)
}

// Ledger gives usage; meter.Ledger is one. It takes no Grant: this package
// decides before it asks.
type Ledger interface {
	Totals(tenant.AccountID) []meter.Total
	Records(account tenant.AccountID, from journal.Cursor, limit int) ([]meter.Record, journal.Cursor, bool, error)
}

// Logs gives what functions printed; logs.Store is one.
type Logs interface {
	Read(iam.Grant, logs.Query) (logs.Page, error)
	News(account, fn tenant.UID) <-chan struct{}
}

// Sealer seals the cursors that callers hold for us, so that what they say
// of the whole node stays here; secret.NodeSealer is one.
type Sealer interface {
	Seal(dst, plaintext, aad []byte) []byte
	Open(dst, sealed, aad []byte) ([]byte, error)
}

// Config is what a handler needs.
type Config struct {
	// Region is the node's region, as in ARNs.
	Region   string
	Verifier Verifier
	// Bearers verifies bearer tokens; nil takes none.
	Bearers *credential.BearerVerifier
	Control Control
	Ledger  Ledger
	Logs    Logs
	Events  Events
	Audit   Audit
	// Status gives what GET /v1/status answers, as a value for JSON.
	Status func() any
	// Cursors seals cursors. If nil they are good until the process ends.
	Cursors Sealer
	// NewRequestID makes the id of a request; a random UUID if nil.
	NewRequestID func() string
	// Log gets the causes of failures that are ours; discarded if nil.
	Log *slog.Logger
}

// handler is the /v1 API of one node.
type handler struct {
	Config
	mux      *http.ServeMux
	api      huma.API
	document []byte
	polls    *pollers
	sealer   cipher.AEAD
}

// New makes the handler of requests to the service carrel. It panics where
// two operations claim one path: that is a mistake in this package.
func New(cfg Config) http.Handler { return newHandler(cfg) }

func newHandler(cfg Config) *handler {
	if cfg.NewRequestID == nil {
		cfg.NewRequestID = uuid.NewString
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &handler{Config: cfg, mux: http.NewServeMux(), polls: newPollers(), sealer: newProcessSealer()}
	h.api = newAPI(h.mux)
	h.tenants()
	h.roles()
	h.usage()
	h.logs()
	h.eventSchemas()
	h.events()
	h.organization()
	h.policies()
	h.shares()
	h.links()
	h.rollouts()
	h.tokens()
	h.isolation()
	h.auditLog()
	h.status()
	h.document = describe(h.api)
	return h
}

// session is what is known of a request once it is verified.
type session struct {
	id        string
	principal call.Principal
	body      []byte
}

type sessionKey struct{}

func sessionOf(ctx context.Context) session {
	s, _ := ctx.Value(sessionKey{}).(session)
	return s
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := h.NewRequestID()
	header := w.Header()
	header.Set(headerRequestID, id)
	header.Set("Cache-Control", "no-store") // answers hold secrets and change
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodGet && r.URL.Path == documentPath {
		header.Set("Content-Type", "application/json")
		w.Write(h.document)
		return
	}
	r, err := h.admit(w, r, id)
	if err != nil {
		h.fail(w, r, id, err)
		return
	}
	// The wrapper keeps the parser from moving the connection's read
	// deadline: the body is here already, and a later deadline would end the
	// request under way.
	h.mux.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
}

// admit reads and verifies a request and gives it with its session.
func (h *handler) admit(w http.ResponseWriter, r *http.Request, id string) (*http.Request, error) {
	const op = "adminapi"
	if len(r.Header["Authorization"]) == 0 && !strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") {
		return r, fault.New(op, fault.Unauthenticated, "The request is not signed.").
			WithCode(credential.CodeMissingAuthentication).
			WithRemedy("Sign it with AWS Signature Version 4 for the service %q, as the command carrel does.", Service)
	}
	body, err := readBody(w, r)
	if err != nil {
		return r, err
	}
	principal, err := h.authenticate(w, r, body)
	if err != nil {
		return r, err
	}
	r = r.WithContext(context.WithValue(control.WithRequestID(r.Context(), id), sessionKey{}, session{id, principal, body}))
	if _, pattern := h.mux.Handler(r); pattern == "" || path.Clean(r.URL.Path) != r.URL.Path {
		return r, fault.New(op, fault.NotFound, "%s %s is no operation of this API.", r.Method, fault.Clip(r.URL.EscapedPath())).
			WithCode("UnknownOperationException").WithRemedy("GET %s lists the operations.", documentPath)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r, nil
}

// authenticate gives the principal whose credential a request has.
func (h *handler) authenticate(w http.ResponseWriter, r *http.Request, body []byte) (call.Principal, error) {
	const op = "adminapi"
	if h.Bearers != nil && credential.HasBearer(r) {
		return caller.Bearer(w, r, h.Bearers, body)
	}
	identity, err := h.Verifier.Verify(r, body)
	if err != nil {
		return call.Principal{}, err
	}
	if identity.Service != Service || identity.Presigned {
		return call.Principal{}, fault.New(op, fault.Unauthenticated, "The signature is not one for this API.").
			WithCode(credential.CodeSignatureDoesNotMatch).
			WithRemedy("Sign for the service %q in the Authorization header; presigned URLs are not taken here.", Service)
	}
	principal, known := caller.Of(r, &identity, h.Control)
	if !known {
		return call.Principal{}, fault.New(op, fault.Unauthenticated, "The access key is not known here.").
			WithCode(credential.CodeUnrecognizedClient)
	}
	return principal, nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, fault.New("adminapi.readBody", fault.TooLarge, "The body is over %d bytes.", MaxBody)
	case err != nil:
		return nil, fault.Wrap("adminapi.readBody", fault.Invalid, err, "The body could not be read.")
	}
	return body, nil
}

// question is what a handler wants to be decided.
type question struct {
	action   string
	resource string
	owner    tenant.AccountID
}

func (h *handler) decide(ctx context.Context, q question) (iam.Grant, error) {
	s := sessionOf(ctx)
	return h.Control.Authorise(ctx, iam.Request{
		Principal: s.principal, Action: q.action, Resource: q.resource, Owner: tenant.Identity{Account: q.owner},
	}, s.id)
}

// onTenant decides an operation of the operators on a tenant.
func (h *handler) onTenant(ctx context.Context, action string, slug tenant.Slug) (iam.Grant, error) {
	return h.decide(ctx, question{action, h.Control.TenantResource(slug), h.Control.Management()})
}

// onAccount decides an operation on something of an account, such as usage.
func (h *handler) onAccount(ctx context.Context, action string, account tenant.AccountID, what string) (iam.Grant, error) {
	return h.decide(ctx, question{action, "arn:aws:carrel:" + h.Region + ":" + string(account) + ":" + what, account})
}

func parseSlug(s string) (tenant.Slug, error) {
	slug, err := tenant.ParseSlug(s)
	if err != nil {
		return "", fault.New("adminapi", fault.Invalid, "%v.", err).WithCode(codeValidation)
	}
	return slug, nil
}

// decimalMS writes a duration as milliseconds without loss, as in 12.304.
func decimalMS(d time.Duration) string { return decimal(int64(d), int64(time.Millisecond), 6) }
