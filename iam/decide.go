package iam

import (
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

const opAuthorise = "iam.Authorise"

// decide completes a decision that has its request and its call.
func (a *Authority) decide(d *decision) (Grant, error) {
	// Read before anything is looked up, so that a change while we decide
	// makes the grant stale and never the other way round.
	d.generation = a.Snapshot.Generation()
	if !a.fresh() {
		return Grant{}, fault.New(opAuthorise, fault.Unavailable,
			"this node has not been able to confirm its policies for %s and refuses until it can", MaxStale)
	}
	r := &d.request
	if err := a.served(r); err != nil {
		return Grant{}, err
	}
	if d.call != nil && d.call.Owner.Account != r.Owner.Account {
		// It runs in an account that is linked to the function's.
		if err := a.accountServed(r, d.call.Owner.Account); err != nil {
			return Grant{}, err
		}
	}
	if !ownedBy(r.Resource, r.Owner.Account) || !actsForItself(r) {
		return Grant{}, a.denied(r, refusal{})
	}
	e := a.scratch.Get().(*evaluation)
	gatekeeper, err := a.judge(e, r)
	e.release()
	a.scratch.Put(e)
	if err != nil {
		return Grant{}, err
	}
	d.gatekeeper = gatekeeper
	return Grant{d}, nil
}

// served refuses for accounts that are suspended, closing or unknown: the
// owner's, the principal's and that of everyone in the chain.
func (a *Authority) served(r *Request) error {
	if err := a.accountServed(r, r.Owner.Account); err != nil {
		return err
	}
	// Nobody has an account. A caller that is nobody calls functions by their
	// URLs, and asks for nothing else.
	byURL := r.Principal.Type == call.TypeAnonymous && r.Action == InvokeURLAction
	if r.Principal.Account != r.Owner.Account && !byURL {
		if err := a.accountServed(r, r.Principal.Account); err != nil {
			return err
		}
	}
	for i := range r.Chain {
		if r.Chain[i].Principal.Type == call.TypeAnonymous {
			continue // it is asked like the others, and policies let it do nothing
		}
		if err := a.accountServed(r, r.Chain[i].Principal.Account); err != nil {
			return err
		}
	}
	return nil
}

func (a *Authority) accountServed(r *Request, account tenant.AccountID) error {
	status, known := a.Snapshot.Status(account)
	if !known {
		return a.denied(r, refusal{})
	}
	if status != tenant.Active {
		return fault.New(opAuthorise, fault.Suspended, "account %s is %s", account, status).
			WithCode(codeAccessDenied).WithRemedy("Ask the operator of this installation.")
	}
	return nil
}

// ownedBy makes sure that the resource named is one of the owner's: a caller
// that mixes the two up is refused here and not further down. The ARNs of
// some services name no account; who owns those is the caller's to know.
func ownedBy(arn string, account tenant.AccountID) bool {
	rest, ours := strings.CutPrefix(arn, "arn:aws:")
	service, rest, _ := strings.Cut(rest, ":")
	_, rest, _ = strings.Cut(rest, ":") // its region
	owner, _, whole := strings.Cut(rest, ":")
	if !ours || !whole || account == "" {
		return false
	}
	builtIn := service == "iam" && owner == "aws" // a policy that is everybody's to read
	return owner == string(account) || owner == "" && withoutAccount(service) || builtIn
}

// withoutAccount tells whether the ARNs of a service name no account.
func withoutAccount(service string) bool { return service == "s3" }

// actsForItself refuses a session that acts for an end tenant where the
// request is for another one of the same account, whoever in the chain it is.
// Policies cannot say otherwise: the names are the caller's to choose.
func actsForItself(r *Request) bool {
	for i := -1; i < len(r.Chain); i++ {
		p := &r.Principal
		if i >= 0 {
			p = &r.Chain[i].Principal
		}
		id, uid := p.ActsFor(r.Owner.Account)
		if uid != "" && (r.Owner.EndTenant != "" && r.Owner.EndTenant != uid || r.EndTenant != "" && r.EndTenant != id) {
			return false
		}
	}
	return true
}

// evaluation is what one decision needs room for.
type evaluation struct {
	request policy.Request
	layers  policy.Layers
	context policy.Context
	caps    []*policy.Set
	subject *Subject
	object  Object

	// What the context is filled in from, if a policy looks at it.
	by    *Authority
	asked *Request
	who   who
}

// Fill implements policy.Filler.
func (e *evaluation) Fill(c *policy.Context) { e.by.fill(c, e.asked, e.who, e.subject) }

// release forgets everything that was looked up.
func (e *evaluation) release() {
	e.context.Reset()
	clear(e.caps)
	e.request, e.layers, e.caps, e.subject, e.object = policy.Request{}, policy.Layers{}, e.caps[:0], nil, Object{}
	e.by, e.asked, e.who = nil, nil, who{}
}

// judge asks for the principal and then for its callers, the nearest first,
// until all were asked or a gatekeeper speaks for those before it.
func (a *Authority) judge(e *evaluation, r *Request) (gatekeeper string, err error) {
	e.object = a.Directory.Object(r.Owner.Account, r.Resource)
	object := &e.object
	if object.TrustOnly && !strings.HasPrefix(strings.ToLower(r.Action), "sts:") {
		// A trust policy is about who may take on the role, not about who may
		// look at it, change it or pass it on.
		object.Policy, object.TrustOnly = nil, false
	}
	for i := len(r.Chain); i >= 0; i-- {
		p := &r.Principal
		if i < len(r.Chain) {
			p = &r.Chain[i].Principal
		}
		if err := a.prepare(e, r, who{p, object, i}); err != nil {
			return "", err
		}
		if e.subject.Management && p.Account != r.Owner.Account && !looksAfter(r.Action) {
			return "", a.denied(r, refusal{actor: p, operator: true})
		}
		if d := policy.Evaluate(&e.request, &e.layers); d.Verdict != policy.Allowed {
			return "", a.denied(r, refusal{actor: p, link: i < len(r.Chain), decision: d, evaluation: e})
		}
		if i > 0 && e.subject.Gatekeeper && p.Session != nil && p.Account == r.Owner.Account {
			return p.Session.Issuer, nil
		}
	}
	return "", nil
}

// looksAfter tells whether an action is one of those by which operators look
// after tenants. None of them gives what tenants' functions do, hold or print;
// sts: lets an operator take on a role of a tenant that trusts the operators,
// whose session is the tenant's own, ends, and is in the tenant's audit log.
func looksAfter(action string) bool {
	service, _, _ := strings.Cut(action, ":")
	return strings.EqualFold(service, "carrel") || strings.EqualFold(service, "sts")
}

// who is whom a request is evaluated for.
type who struct {
	principal *call.Principal
	object    *Object
	// depth counts the callers before it.
	depth int
}

// prepare fills in the evaluation of a request for one of those who ask.
func (a *Authority) prepare(e *evaluation, r *Request, w who) error {
	subject, found := a.Directory.Subject(w.principal)
	if !found {
		return a.denied(r, refusal{actor: w.principal, gone: true})
	}
	e.subject, e.caps = subject, e.caps[:0]
	e.request = policy.Request{
		Action: r.Action, Resource: r.Resource, ResourceAccount: string(r.Owner.Account),
		Principal: principalOf(w.principal, subject), Context: &e.context,
	}
	e.layers = policy.Layers{
		Identity: subject.Identity, Boundary: subject.Boundary, SCPs: subject.SCPs,
		Resource: w.object.Policy, TrustOnly: w.object.TrustOnly, RCPs: w.object.RCPs,
	}
	if s := w.principal.Session; s != nil {
		if err := a.sessions.apply(a.Directory, s, e); err != nil {
			return a.denied(r, refusal{actor: w.principal, gone: true})
		}
		e.layers.SessionRequired = w.principal.Type == call.TypeFederated
	}
	e.by, e.asked, e.who = a, r, w
	e.context.FillLater(e)
	return nil
}

// principalOf gives the principal in the terms of package policy.
func principalOf(p *call.Principal, s *Subject) policy.Principal {
	q := policy.Principal{Account: string(p.Account), ARN: p.ARN, Management: s.Management}
	switch p.Type {
	case call.TypeUser:
		q.Type = policy.User
	case call.TypeRole:
		q.Type = policy.Role
	case call.TypeFederated:
		q.Type = policy.Federated
	case call.TypeService:
		q.Type = policy.Service
	case call.TypeWebIdentity:
		q.Type, q.Account = policy.WebIdentity, ""
	case call.TypeAnonymous:
		q.Type = policy.Anonymous
	default:
		q.Type = policy.Anonymous
	}
	if p.Session != nil && p.Type != call.TypeUser {
		q.Issuer = p.Session.Issuer
	}
	return q
}
