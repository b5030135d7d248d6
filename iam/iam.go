// Package iam decides who may do what.
//
// The only product of a decision is a Grant, and only this package can make
// one: its fields are unexported and a zero Grant panics when it is used. A
// call runs, and a store gives up tenants' data, only against a Grant for
// exactly that action and resource.
//
// A decision is made by the policies of package policy, and by rules that no
// policy can change:
//
//   - A call carries the chain of its callers. Every one of them has to be
//     allowed what the last one asks, each by its own policies. A role that
//     an operator marked as gatekeeper ends this for resources of its own
//     account: who called it is not asked.
//   - A session that acts for an end tenant acts for no other.
//   - The operators' principals look after tenants, and reach nothing of what
//     these hold, whomever a tenant lets in.
//   - An account that is not served is neither asked for nor answered.
//   - A snapshot that nobody confirmed for MaxStale decides nothing.
//
// A session's end is checked where the credential is presented, not here: a
// call that was accepted in time may wait. What is looked up at every
// decision is whether user, role and key still exist, and what they may do.
package iam

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// InvokeAction is the action that a call of a function is decided under.
const InvokeAction = "lambda:InvokeFunction"

// InvokeURLAction is that of a call by a function's URL, and KeyURLAuthType
// the condition key that says how the URL knows its callers.
const (
	InvokeURLAction = "lambda:InvokeFunctionUrl"
	KeyURLAuthType  = "lambda:FunctionUrlAuthType"
)

// Snapshot is what a decision is made against.
type Snapshot interface {
	// Generation counts the changes of credentials, policies and tenants'
	// states; a Grant is good for the generation it was decided at.
	Generation() uint64
	// Confirmed is when the snapshot was last known to be current.
	Confirmed() time.Time
	// Status gives the state of an account; false if there is none.
	Status(tenant.AccountID) (tenant.Status, bool)
}

// MaxStale is how long decisions are made from a snapshot that nobody
// confirmed: a revocation takes effect within it, or the node refuses.
const MaxStale = 5 * time.Second

// Config is what an Authority decides by. All fields but Explained and MinWall
// are needed.
type Config struct {
	Snapshot  Snapshot
	Directory Directory
	// Region is the installation's: aws:RequestedRegion.
	Region string
	// Now is the clock.
	Now func() time.Time
	// Explained makes the encoded message that a refused control operation
	// carries for its caller; nil for none.
	Explained func(Request, policy.Explanation) string
	// MinWall is the weakest wall that calls run behind; process if it is none.
	MinWall isolation.Wall
}

// Authority decides. It is safe for concurrent use.
type Authority struct {
	Config
	sessions sessionSets
	scratch  sync.Pool
	clock    atomic.Pointer[clockText]
}

// New makes an Authority. It panics if something is missing: one that cannot
// refuse must not start.
func New(cfg Config) *Authority {
	if cfg.Snapshot == nil || cfg.Directory == nil || cfg.Now == nil {
		panic("iam: Config needs Snapshot, Directory and Now")
	}
	a := &Authority{Config: cfg}
	a.scratch.New = func() any { return new(evaluation) }
	return a
}

// Request is one question: may the principal do the action on the resource,
// which belongs to the owner?
type Request struct {
	Principal call.Principal
	Action    string
	// Resource is the ARN of what is acted on.
	Resource string
	Owner    tenant.Identity
	// EndTenant is the end tenant that the request names, if it names one:
	// carrel:TenantId is it, then.
	EndTenant tenant.EndTenantID
	// Keys are condition keys that only the operation knows. Those that follow
	// from the other fields cannot be given here.
	Keys []Key
	// Chain is who called before the principal, oldest first.
	Chain []call.Link
	// strategy and wall are those of the call that is asked for, if it is one.
	strategy isolation.Strategy
	wall     isolation.Wall
}

// Grant is the proof of one positive decision.
type Grant struct{ d *decision }

type decision struct {
	request    Request
	call       *call.Call
	generation uint64
	gatekeeper string
}

// Authorise decides a data or control operation.
//
// Errors: fault.Denied if it may not, fault.Suspended if an account involved
// is not served, fault.Unavailable if the node cannot know.
func (a *Authority) Authorise(r Request) (Grant, error) {
	return a.decide(&decision{request: r})
}

// AuthoriseCall decides a call of a function; errors as of Authorise.
func (a *Authority) AuthoriseCall(c *call.Call) (Grant, error) {
	return a.decide(&decision{call: c, request: CallRequest(c)})
}

// CallRequest is the question that a call asks.
func CallRequest(c *call.Call) Request {
	r := Request{
		Principal: c.Principal,
		Action:    InvokeAction,
		Resource:  c.Target.Resource(),
		Owner:     c.Asked(),
		EndTenant: c.EndTenant,
		Chain:     c.Chain,
		strategy:  c.Target.Strategy(),
		wall:      c.Target.Wall(),
	}
	if c.URLAuth != "" {
		r.Action, r.Keys = InvokeURLAction, []Key{{Name: KeyURLAuthType, Values: []string{string(c.URLAuth)}}}
	}
	return r
}

// Renew gives the grant back if nothing moved since it was decided, and
// decides again otherwise. A stage that made a call wait uses it.
func (a *Authority) Renew(g Grant) (Grant, error) {
	d := g.must()
	if d.generation == a.Snapshot.Generation() && a.fresh() {
		return g, nil
	}
	return a.decide(&decision{request: d.request, call: d.call})
}

func (a *Authority) fresh() bool { return a.Now().Sub(a.Snapshot.Confirmed()) <= MaxStale }

func (g Grant) must() *decision {
	if g.d == nil {
		panic("iam: a zero Grant was used: the operation was not authorised")
	}
	return g.d
}

// Check tells whether the grant is for exactly this action and resource.
// Stores call it before they touch anything; the error is fault.Denied.
func (g Grant) Check(action, resource string) error {
	d := g.must()
	if d.request.Action != action || d.request.Resource != resource {
		return fault.New("iam.Grant.Check", fault.Denied,
			"a grant for %s on %s was used for %s on %s", d.request.Action, d.request.Resource, action, resource)
	}
	return nil
}

// Call gives the call the grant is for; nil for other operations.
func (g Grant) Call() *call.Call { return g.must().call }

// Request gives what was asked and allowed.
func (g Grant) Request() Request { return g.must().request }

// Gatekeeper is the ARN of the role whose mark ended the chain, so that those
// who called it were not asked; empty if all were.
func (g Grant) Gatekeeper() string { return g.must().gatekeeper }

// Generation is the state of policies and credentials it was decided at.
func (g Grant) Generation() uint64 { return g.must().generation }
