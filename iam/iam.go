// Package iam decides who may do what.
//
// The only product of a decision is a Grant, and only this package can make
// one: its fields are unexported and a zero Grant panics when it is used. A
// call runs, and a store gives up tenants' data, only against a Grant for
// exactly that action and resource.
//
// The rule at present: the user admin of an account may do everything on the
// resources of its own account and nothing elsewhere.
package iam

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// InvokeAction is the action that a call of a function is decided under.
const InvokeAction = "lambda:InvokeFunction"

// Snapshot is what a decision is made against.
type Snapshot interface {
	// Generation counts the changes of credentials, policies and tenants'
	// states; a Grant is good for the generation it was decided at.
	Generation() uint64
	// Confirmed is when the snapshot was last known to be current.
	Confirmed() time.Time
	// Status gives the state of an account; false if there is none.
	Status(tenant.AccountID) (tenant.Status, bool)
	// KeyActive tells whether an access key exists and is active.
	KeyActive(accessKeyID string) bool
}

// MaxStale is how long decisions are made from a snapshot that nobody
// confirmed: a revocation takes effect within it, or the node refuses.
const MaxStale = 5 * time.Second

// Authority decides.
type Authority struct {
	snapshot Snapshot
	now      func() time.Time
	decided  atomic.Uint64
}

// New makes an Authority over a snapshot. The clock is for staleness only.
func New(s Snapshot, now func() time.Time) *Authority {
	return &Authority{snapshot: s, now: now}
}

// Request is one question: may the principal do the action on the resource,
// which belongs to the owner?
type Request struct {
	Principal call.Principal
	Action    string
	// Resource is the ARN of what is acted on.
	Resource string
	Owner    tenant.Identity
}

// Grant is the proof of one positive decision.
type Grant struct{ d *decision }

type decision struct {
	request    Request
	call       *call.Call
	generation uint64
	at         time.Time
}

// Authorise decides a data or control operation.
//
// Errors: fault.Denied if it may not, fault.Suspended if an account involved
// is not served, fault.Unavailable if the node cannot know.
func (a *Authority) Authorise(r Request) (Grant, error) {
	return a.decide(r, nil)
}

// AuthoriseCall decides a call of a function; errors as of Authorise.
func (a *Authority) AuthoriseCall(c *call.Call) (Grant, error) {
	return a.decide(Request{
		Principal: c.Principal,
		Action:    InvokeAction,
		Resource:  c.Target.ARN,
		Owner:     c.Owner,
	}, c)
}

// Renew gives the grant back if nothing moved since it was decided, and
// decides again otherwise. A stage that made a call wait uses it.
func (a *Authority) Renew(g Grant) (Grant, error) {
	d := g.must()
	if d.generation == a.snapshot.Generation() && a.fresh() {
		return g, nil
	}
	return a.decide(d.request, d.call)
}

func (a *Authority) fresh() bool { return a.now().Sub(a.snapshot.Confirmed()) <= MaxStale }

func (a *Authority) decide(r Request, c *call.Call) (Grant, error) {
	const op = "iam.Authorise"
	// Read before anything is looked up, so that a change while we decide
	// makes the grant stale and never the other way round.
	generation := a.snapshot.Generation()
	if !a.fresh() {
		return Grant{}, fault.New(op, fault.Unavailable,
			"this node has not been able to confirm its policies for %s and refuses until it can", MaxStale)
	}
	if err := a.served(op, r); err != nil {
		return Grant{}, err
	}
	if !r.Principal.Admin || r.Principal.Account != r.Owner.Account || !a.snapshot.KeyActive(r.Principal.AccessKeyID) {
		return Grant{}, denied(op, r)
	}
	if err := resourceOf(r.Resource, r.Owner.Account); err != nil {
		return Grant{}, denied(op, r)
	}
	a.decided.Add(1)
	return Grant{&decision{request: r, call: c, generation: generation, at: a.now()}}, nil
}

// served refuses for accounts that are suspended, closing or unknown.
func (a *Authority) served(op string, r Request) error {
	for _, account := range []tenant.AccountID{r.Principal.Account, r.Owner.Account} {
		status, known := a.snapshot.Status(account)
		if !known {
			return denied(op, r)
		}
		if status != tenant.Active {
			return fault.New(op, fault.Suspended, "account %s is %s", account, status).
				WithCode("AccessDeniedException").WithRemedy("Ask the operator of this installation.")
		}
	}
	return nil
}

func denied(op string, r Request) error {
	return fault.New(op, fault.Denied,
		"User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		r.Principal.ARN, r.Action, r.Resource, r.Action).WithCode("AccessDeniedException")
}

// resourceOf makes sure that the resource named is one of the owner's: a
// caller that mixes the two up is refused here and not further down.
func resourceOf(arn string, account tenant.AccountID) error {
	parts := strings.SplitN(arn, ":", 6)
	builtin := len(parts) == 6 && parts[2] == "iam" && parts[4] == "aws" // a policy that is everybody's to read
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[4] != string(account) && !builtin {
		return fault.New("iam.Authorise", fault.Denied, "resource %q is not of account %s", arn, account)
	}
	return nil
}

// Decided counts the grants made since the start.
func (a *Authority) Decided() uint64 { return a.decided.Load() }

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

// Generation is the state of policies and credentials it was decided at.
func (g Grant) Generation() uint64 { return g.must().generation }
