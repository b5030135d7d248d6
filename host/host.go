package host

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Pipeline is what every call goes through.
type Pipeline interface {
	Invoke(context.Context, *call.Call) *call.Outcome
	Enqueue(context.Context, *call.Call) error
}

// Control is what is known of functions, tenants and roles.
type Control interface {
	// Resolve finds what a call runs.
	Resolve(account tenant.AccountID, name function.Name, qualifier string) (*function.Target, error)
	// FindEndTenant gives the internal id of an end tenant; false if no call
	// named it yet.
	FindEndTenant(tenant.AccountID, tenant.EndTenantID) (tenant.UID, bool, error)
	// NewEndTenant makes one known, for the call that a grant allows.
	NewEndTenant(ctx context.Context, g iam.Grant, id tenant.EndTenantID, requestID string) (tenant.UID, error)
	// Authorise decides what is not a call yet; refusals are journaled.
	Authorise(ctx context.Context, r iam.Request, requestID string) (iam.Grant, error)
	// Role finds the role that a function runs with; false if it is gone.
	Role(*function.Target) (Role, bool)
}

// Role is what a session says of its role.
type Role struct {
	// Name is the role's, without its path; ID the public id, UID the internal one.
	Name, ID string
	UID      tenant.UID
	// Template is the internal id of the role that it was derived from; empty if
	// it is none.
	Template tenant.UID
}

// Config is what a Service needs; all of it.
type Config struct {
	Control  Control
	Pipeline Pipeline
	Region   string
	Now      func() time.Time
	// NewRequestID makes the id of a call.
	NewRequestID func() string
}

// Service serves the operations. It implements sandbox/process.Host.
type Service struct{ Config }

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// Serve does an operation for a call that runs and gives the reply.
func (s *Service) Serve(ctx context.Context, c *call.Call, op uint32, request []byte) []byte {
	if op != OpInvoke {
		return refused(fault.New("host.Serve", fault.Unsupported, "This platform has no operation %d.", op))
	}
	in, err := parseInvocation(request)
	if err != nil {
		return refused(fault.Wrap("host.Serve", fault.Invalid, err, "The request has not the layout of a call of a function."))
	}
	return s.invoke(ctx, c, &in)
}

// Refuse gives the reply to a request that is not served.
func (s *Service) Refuse(_ *call.Call, cause error) []byte { return refused(cause) }

func (s *Service) invoke(ctx context.Context, c *call.Call, in *invocation) []byte {
	n, err := s.next(ctx, c, in)
	if err != nil {
		return refused(err)
	}
	if in.later {
		n.Trigger = call.ViaEvent
		if err := s.Pipeline.Enqueue(ctx, n); err != nil {
			return refused(err)
		}
		return reply(replyAccepted, "", nil)
	}
	o := s.Pipeline.Invoke(ctx, n)
	switch {
	case o.Err != nil:
		return refused(o.Err)
	case o.FunctionFailed():
		return reply(replyFailed, n.Target.Version, o.Payload)
	case o.Result != call.OK:
		return refused(fault.New("host.invoke", fault.Internal, "a call ended as %s without an error", o.Result))
	}
	payload := o.Payload
	if len(payload) == 0 {
		payload = []byte("null")
	}
	return reply(replyResult, n.Target.Version, payload)
}

// next makes the call that a call asks for.
func (s *Service) next(ctx context.Context, c *call.Call, in *invocation) (*call.Call, error) {
	if err := checkPayload(in); err != nil {
		return nil, err
	}
	ref, err := s.reference(in)
	if err != nil {
		return nil, err
	}
	p, there := s.session(c)
	n := &call.Call{
		RequestID: s.NewRequestID(), Attempt: 1, Principal: p, Trigger: call.ViaFunction, Event: in.payload, Received: s.Now(),
		Chain: append(slices.Clone(c.Chain), call.Link{
			Principal: c.Principal, RequestID: c.RequestID, Function: c.Target.FunctionARN(), Owner: c.Owner,
		}),
	}
	if n.Owner.Account = ref.Account; ref.Account == "" {
		// In whichever account it runs, a name alone means what it means to the
		// code's author.
		n.Owner.Account = c.Target.Provider()
	}
	if !there {
		return nil, s.withoutRole(ctx, n, function.ARN(s.Region, n.Owner.Account, ref.Name, ref.Qualifier))
	}
	if n.Owner.Account != c.Target.Account {
		// Decided before anything of that account is looked at, also for the
		// end tenant that is named: a caller without a right there cannot learn
		// what exists.
		asked := *n
		if in.endTenant != "" {
			if asked.EndTenant, err = tenant.ParseEndTenantID(in.endTenant); err != nil {
				return nil, fault.New("host.invoke", fault.Invalid, "%v", err)
			}
		}
		if _, err := s.authorise(ctx, &asked, function.ARN(s.Region, n.Owner.Account, ref.Name, ref.Qualifier)); err != nil {
			return nil, err
		}
	}
	if n.Target, err = s.Control.Resolve(n.Owner.Account, ref.Name, ref.Qualifier); err != nil {
		return nil, err
	}
	return n, s.endTenant(ctx, n, tenant.EndTenantID(in.endTenant))
}

func checkPayload(in *invocation) error {
	most := maxPayload
	if in.later {
		most = maxEvent
	}
	switch {
	case len(in.payload) > most:
		return fault.New("host.invoke", fault.TooLarge, "%d byte payload is too large (limit %d bytes)", len(in.payload), most).
			WithCode("RequestTooLargeException")
	case len(in.payload) == 0:
		in.payload = []byte("{}")
	case !json.Valid(in.payload):
		return fault.New("host.invoke", fault.Invalid, "Could not parse request body into json").WithCode("InvalidRequestContentException")
	}
	return nil
}

// reference reads which function is meant. A qualifier may stand in the name
// or beside it, as in Lambda, but not two different ones.
func (s *Service) reference(in *invocation) (function.Reference, error) {
	const op = "host.invoke"
	ref, err := function.ParseReference(in.name)
	if err == nil && in.qualifier != "" {
		err = function.CheckQualifier(in.qualifier)
	}
	switch {
	case err != nil:
		return ref, fault.New(op, fault.Invalid, "%v", err)
	case ref.Region != "" && ref.Region != s.Region:
		return ref, fault.New(op, fault.NotFound, "Functions from '%s' are not reachable in this region ('%s')", ref.Region, s.Region)
	case in.qualifier != "" && ref.Qualifier != "" && in.qualifier != ref.Qualifier:
		return ref, fault.New(op, fault.Invalid, "The derived qualifier from the function name does not match the specified qualifier.")
	case ref.Qualifier == "":
		ref.Qualifier = in.qualifier
	}
	return ref, nil
}

// session makes the principal that a function is when it calls on: its
// execution role, for this call only. False says that the role is gone: the
// principal is then what it would be, which is nobody.
func (s *Service) session(c *call.Call) (call.Principal, bool) {
	t := c.Target
	role, there := s.Control.Role(t)
	if owner, err := function.ParseRoleARN(t.Role); err != nil || owner != t.Account || !there {
		there, role = false, Role{Name: t.Role[strings.LastIndexByte(t.Role, '/')+1:], ID: "gone"}
	}
	// A session is as old as its call. The request of an event may be hours
	// older than the run, and what was revoked since must not hit the run.
	issued := c.Received
	if c.Trigger == call.ViaEvent {
		issued = s.Now()
	}
	return call.Principal{
		Type: call.TypeRole, Account: t.Account, Tenant: t.AccountSlug,
		ARN:    "arn:aws:sts::" + string(t.Account) + ":assumed-role/" + role.Name + "/" + string(t.Name),
		UserID: role.ID + ":" + string(t.Name),
		Session: &call.Session{
			ID: c.RequestID, Issuer: t.Role, IssuerUID: role.UID, Template: role.Template, Name: string(t.Name),
			Issued: issued, Expires: issued.Add(t.Limits.Timeout),
			EndTenant: c.EndTenant, EndTenantUID: c.Asked().EndTenant, EndTenantOf: elsewhere(t),
			RequestID: c.RequestID, FunctionVersion: t.ARN,
		},
	}, there
}

// elsewhere gives the account whose end tenant a call is for where it runs in
// another one.
func elsewhere(t *function.Target) tenant.AccountID {
	if provider := t.Provider(); provider != t.Account {
		return provider
	}
	return ""
}

// withoutRole refuses a call of a function whose execution role is gone. What
// is asked for is decided all the same, as what is nobody, so that the refusal
// is recorded like any other.
func (s *Service) withoutRole(ctx context.Context, n *call.Call, resource string) error {
	if _, err := s.authorise(ctx, n, resource); err != nil && !fault.Is(err, fault.Denied) {
		return err
	}
	return fault.New("host.invoke", fault.Denied, "The function's execution role %s does not exist any more.", n.Principal.Session.Issuer).
		WithRemedy("Give the function a role that exists. One that was made anew under an old name has to be given again.")
}

// endTenant finds out for whom the call is.
func (s *Service) endTenant(ctx context.Context, n *call.Call, named tenant.EndTenantID) error {
	const op = "host.invoke"
	bound := boundTo(n)
	switch {
	case n.Target.Tenancy != function.PerTenant:
		return n.Target.CheckTenancy(op, named != "")
	case bound != nil && named != "" && named != bound.EndTenant:
		// It is refused for this reason, and asked for so that this is recorded.
		n.EndTenant = named
		if _, err := s.authorise(ctx, n, n.Target.Resource()); err != nil && !fault.Is(err, fault.Denied) {
			return err
		}
		return fault.New(op, fault.Denied, "This call is for the tenant %s, and what follows from it can be for no other.", bound.EndTenant)
	case bound != nil:
		n.EndTenant, n.Owner.EndTenant = bound.EndTenant, bound.EndTenantUID
		return nil
	case named == "":
		return n.Target.CheckTenancy(op, false)
	}
	id, err := tenant.ParseEndTenantID(string(named))
	if err != nil {
		return fault.New(op, fault.Invalid, "%v", err)
	}
	n.EndTenant = id
	uid, known, err := s.Control.FindEndTenant(n.Owner.Account, id)
	if err == nil && !known {
		var g iam.Grant
		if g, err = s.authorise(ctx, n, n.Target.Resource()); err == nil {
			uid, err = s.Control.NewEndTenant(ctx, g, id, n.RequestID)
		}
	}
	n.Owner.EndTenant = uid
	return err
}

// boundTo gives the session in a call's chain that acts for an end tenant of
// the account that is called; nil if none does.
func boundTo(n *call.Call) *call.Session {
	of := func(p *call.Principal) *call.Session {
		if _, uid := p.ActsFor(n.Owner.Account); uid != "" {
			return p.Session
		}
		return nil
	}
	if s := of(&n.Principal); s != nil {
		return s
	}
	for i := len(n.Chain) - 1; i >= 0; i-- {
		if s := of(&n.Chain[i].Principal); s != nil {
			return s
		}
	}
	return nil
}

// authorise decides about a call that cannot be made yet. For another account
// the answer is the same, whatever is there.
func (s *Service) authorise(ctx context.Context, n *call.Call, resource string) (iam.Grant, error) {
	g, err := s.Control.Authorise(ctx, iam.Request{
		Principal: n.Principal, Action: iam.InvokeAction, Resource: resource,
		Owner: tenant.Identity{Account: n.Owner.Account}, EndTenant: n.EndTenant, Chain: n.Chain,
	}, n.RequestID)
	if err == nil || n.Owner.Account == n.Principal.Account || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Internal) {
		return g, err
	}
	return g, fault.New("host.invoke", fault.Denied,
		"User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action",
		n.Principal.ARN, iam.InvokeAction, resource, iam.InvokeAction).WithCode("AccessDeniedException")
}
