package policy

import "slices"

// The longest action and resource, in bytes, that are decided about; longer
// ones are refused. No ARN of AWS is longer than 2,048 characters.
const (
	maxAction   = 256
	maxResource = 4096
)

// query is a request made ready for matching.
type query struct {
	*Request
	parts [6]string
	isARN bool
}

func newQuery(r *Request) query {
	q := query{Request: r}
	q.parts, q.isARN = arnParts(r.Resource)
	return q
}

// matches tells whether a statement is about the request, its principals left
// aside.
func (s *statement) matches(q *query) bool {
	return s.matchesAction(q) != s.notAction && s.matchesResource(q) && s.holds(q)
}

func (s *statement) matchesAction(q *query) bool {
	for i := range s.actions {
		if s.actions[i].match(q.Action, q.Context) {
			return true
		}
	}
	return false
}

func (s *statement) matchesResource(q *query) bool {
	if s.resources == nil {
		return true
	}
	for i := range s.resources {
		if r := &s.resources[i]; r.all || q.isARN && r.match(&q.parts, q.Context) {
			return !s.notResource
		}
	}
	return s.notResource
}

func (s *statement) holds(q *query) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(q.Context, s.effect) {
			return false
		}
	}
	return true
}

// naming is in which ways the statements that allow name the principal, one
// bit each. What the ways are worth differs: see grants.
type naming uint8

const (
	// byAnyone is "*".
	byAnyone naming = 1 << iota
	// byAccount is the principal's account, which delegates to it.
	byAccount
	// byUser is the ARN of a user, or the host of a service, or a provider.
	byUser
	// byRole is the ARN of a session's role.
	byRole
	// bySession is the ARN of a role session or of a federated user.
	bySession
	// byFederator is the ARN of the user who federated.
	byFederator
)

// named tells in which ways a list names the principal; none is zero.
func (l *principalList) named(p *Principal) (n naming) {
	if l.any {
		n |= byAnyone
	}
	switch p.Type {
	case Anonymous:
		return n
	case Service:
		if slices.Contains(l.hosts, p.ARN) {
			n |= byUser
		}
		return n
	case WebIdentity:
		if slices.Contains(l.identities, p.ARN) {
			n |= byUser
		}
		return n
	}
	if slices.Contains(l.accounts, p.Account) {
		n |= byAccount
	}
	if p.ARN != "" && p.ARN != p.Issuer && slices.Contains(l.arns, p.ARN) {
		if p.Type == User {
			n |= byUser
		} else {
			n |= bySession
		}
	}
	if p.Issuer != "" && slices.Contains(l.arns, p.Issuer) {
		if p.Type == Role {
			n |= byRole
		} else {
			n |= byFederator
		}
	}
	return n
}

// exempts tells whether a NotPrincipal leaves the principal out: everything
// that names it has to be listed, its account too (IAM User Guide, "NotPrincipal").
func (l *principalList) exempts(p *Principal) bool {
	n := l.named(p)
	all := byAccount
	switch p.Type {
	case Anonymous:
		all = byAnyone
	case Service, WebIdentity, User:
		all = byUser
		if p.Type == User {
			all |= byAccount
		}
	case Role:
		all |= byRole
		if p.ARN != p.Issuer { // a session, not the role as such
			all |= bySession
		}
	case Federated:
		all |= bySession
	case Root:
	}
	return n&byAnyone != 0 || n&all == all
}

// finding is what one set of statements says to a request.
type finding struct {
	denied, allowed bool
	// named is of the statements that allow; of resource policies only.
	named naming
}

// scan looks for what a set of statements says. bounded tells that the
// principal has a permissions boundary. note, if there is one, is told every
// statement that matches, in the order in which they were written.
func (set *Set) scan(q *query, bounded bool, note func(*statement)) (f finding) {
	if set == nil {
		return f
	}
	for _, part := range set.parts {
		said := part.scan(q, bounded, note)
		f = finding{f.denied || said.denied, f.allowed || said.allowed, f.named | said.named}
		if f.denied && note == nil {
			return f
		}
	}
	var matched []int32
	set.candidates(q, func(list []int32) bool {
		for _, n := range list {
			s := &set.statements[n]
			if s.effect == Allow && f.allowed && s.principals == nil && note == nil {
				continue // another one says nothing new
			}
			named, applies := s.about(q, bounded)
			if !applies || !s.matches(q) {
				continue
			}
			if note != nil {
				matched = append(matched, n)
			}
			if s.effect == Deny {
				f.denied = true
				if note == nil {
					return false
				}
				continue
			}
			f.allowed = true
			f.named |= named
		}
		return true
	})
	// The index finds a statement once for each of its patterns.
	slices.Sort(matched)
	for _, n := range slices.Compact(matched) {
		note(&set.statements[n])
	}
	return f
}

// about tells whether the statement is about the principal, and how it names it.
func (s *statement) about(q *query, bounded bool) (naming, bool) {
	switch {
	case s.principals == nil:
		return 0, true
	case !s.notPrincipal:
		n := s.principals.named(&q.Principal)
		return n, n != 0
	case s.effect == Allow:
		return 0, false // AWS supports no Allow with NotPrincipal any more
	}
	// With a boundary attached it denies whoever is listed (ibid.).
	return 0, bounded || !s.principals.exempts(&q.Principal)
}

// decide is Evaluate; with an explanation it also looks at everything and
// notes the statements that matched.
func decide(q *query, l *Layers, e *Explanation) Decision {
	if q.Action == "" || q.Resource == "" || len(q.Action) > maxAction || len(q.Resource) > maxResource {
		return Decision{}
	}
	d := decision{q: q, l: l, e: e}
	identity := d.scan(LayerIdentity, "", l.Identity)
	resource := d.scan(LayerResource, "", l.Resource)
	boundary := d.scan(LayerBoundary, "", l.Boundary)
	session := d.scan(LayerSession, "", l.Session)
	d.identity = identity.allowed || q.Principal.Type == Root
	d.boundary = l.Boundary == nil || boundary.allowed
	d.session = l.Session != nil && session.allowed || l.Session == nil && !l.SessionRequired
	d.guardrails()
	for i, limit := range l.Caps {
		if !d.scan(LayerCap, capName(i, e), limit).allowed {
			d.missing |= 1 << LayerCap
		}
	}
	d.missing |= d.grants(resource.named, resource.allowed)
	switch {
	case d.denied != 0:
		return Decision{ExplicitlyDenied, d.denied | d.missing}
	case d.missing != 0:
		return Decision{ImplicitlyDenied, d.missing}
	}
	return Decision{Verdict: Allowed}
}

// decision is one decision on its way.
type decision struct {
	q *query
	l *Layers
	e *Explanation
	// denied and missing are layers as bits.
	denied, missing             uint8
	identity, boundary, session bool
}

func (d *decision) scan(layer Layer, level string, set *Set) finding {
	var note func(*statement)
	if d.e != nil {
		note = func(s *statement) { d.e.note(layer, level, s) }
	}
	f := set.scan(d.q, d.l.Boundary != nil, note)
	if f.denied {
		d.denied |= 1 << layer
	}
	return f
}

// guardrails looks at the levels above the two accounts. At each level of the
// SCPs something has to allow; RCPs only deny, as what allows everything is
// attached to every level of them.
func (d *decision) guardrails() {
	switch d.q.Principal.Type {
	case Root, User, Role, Federated:
		if d.q.Principal.Management {
			break
		}
		for i := range d.l.SCPs {
			if !d.scan(LayerSCP, d.l.SCPs[i].Name, d.l.SCPs[i].Set).allowed {
				d.missing |= 1 << LayerSCP
			}
		}
	case Anonymous, Service, WebIdentity: // they belong to no account
	}
	for i := range d.l.RCPs {
		d.scan(LayerRCP, d.l.RCPs[i].Name, d.l.RCPs[i].Set)
	}
}

// grants puts identity side and resource side together and gives the layers
// that would have had to allow. What a resource policy of the same account is
// worth depends on whom it names: IAM User Guide, "Policies and permissions",
// "Session policies" and "Permissions boundaries".
func (d *decision) grants(named naming, allowed bool) uint8 {
	var own uint8 // what the identity side lacks
	if !d.identity {
		own |= 1 << LayerIdentity
	}
	var bounds uint8
	if !d.boundary {
		bounds |= 1 << LayerBoundary
	}
	if !d.session {
		bounds |= 1 << LayerSession
	}
	p := &d.q.Principal
	if p.Type == Anonymous || p.Type == Service || p.Type == WebIdentity {
		if allowed && (!d.l.TrustOnly || named&byUser != 0) {
			return 0
		}
		return 1 << LayerResource
	}
	if p.Account == "" || p.Account != d.q.ResourceAccount {
		if !allowed {
			own |= 1 << LayerResource
		}
		return own | bounds
	}
	direct := named &^ byAccount
	if d.l.TrustOnly {
		direct &^= byAnyone // it names nobody
		if !allowed {
			return own | bounds | 1<<LayerResource
		}
	}
	switch {
	case direct&(byAnyone|byUser|bySession) != 0:
		return 0
	case direct != 0: // a role, or the user who federated
		return bounds
	}
	return own | bounds
}
