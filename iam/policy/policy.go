// Package policy is the AWS policy language: it parses, checks, compiles and
// evaluates policies. It is pure: no clock, no I/O, no goroutine, and nothing
// outside the standard library.
package policy

// Request is one question: may the principal do the action on the resource?
type Request struct {
	// Action is as in s3:GetObject; case does not matter.
	Action string
	// Resource is the ARN of what is acted on.
	Resource string
	// ResourceAccount is the account that owns the resource; empty if unknown.
	ResourceAccount string
	Principal       Principal
	// Context holds the condition keys. Keys that follow from the fields above
	// (aws:PrincipalArn, aws:PrincipalAccount, aws:ResourceAccount, …) are in
	// it too: who asks fills them in.
	Context *Context
}

// PrincipalType says what sort of principal asks.
type PrincipalType uint8

// The types of principals.
const (
	// Anonymous is a caller without credentials.
	Anonymous PrincipalType = iota
	// Root is the root of an account.
	Root
	// User is a user with a long-lived or a session key (GetSessionToken).
	User
	// Role is a session of a role.
	Role
	// Federated is a session made by GetFederationToken.
	Federated
	// Service is a service of the platform, named by its host.
	Service
	// WebIdentity is who an identity provider vouches for, before a role is
	// assumed: its ARN is the provider's.
	WebIdentity
)

// Principal is who asks.
type Principal struct {
	Type    PrincipalType
	Account string
	// ARN is the user's, the role session's (arn:aws:sts::…:assumed-role/R/S),
	// the federated user's, the root's, or a service's host.
	ARN string
	// Issuer is the ARN of the role of a session, or of the user who federated.
	Issuer string
	// Management says that SCPs do not bind the principal: it is of the
	// management account.
	Management bool
}

// Layers are the policies that a request is decided by. Each is compiled; a
// nil Set holds no statement.
type Layers struct {
	// Identity is all policies attached to the principal, groups included.
	Identity *Set
	// Resource is the policy of the resource; nil if it has none.
	Resource *Set
	// TrustOnly says that the resource is one that must allow explicitly even
	// inside its account: a role that is to be assumed.
	TrustOnly bool
	// Boundary is the permissions boundary; nil if there is none. Several
	// policies in one Set: any may allow.
	Boundary *Set
	// Session is the session's policies; nil if it was made with none.
	Session *Set
	// SessionRequired is set for federated users: without a session policy
	// they may do nothing.
	SessionRequired bool
	// SCPs are the levels above the principal's account, RCPs those above the
	// resource's account, from the root down; every level must allow.
	SCPs, RCPs []Level
	// Caps bound the chain of calls: every one must allow, whatever else does.
	Caps []*Set
}

// Level is the guardrails attached at one root, unit or account.
type Level struct {
	// Name identifies the level in explanations.
	Name string
	Set  *Set
}

// Verdict is the outcome of a decision. The zero Verdict refuses.
type Verdict uint8

// The verdicts.
const (
	ImplicitlyDenied Verdict = iota
	ExplicitlyDenied
	Allowed
)

// Layer names a layer in explanations.
type Layer uint8

// The layers.
const (
	LayerIdentity Layer = iota
	LayerResource
	LayerBoundary
	LayerSession
	LayerSCP
	LayerRCP
	LayerCap
)

// Decision is the outcome with what decided. It is a value; making one
// allocates nothing.
type Decision struct {
	Verdict Verdict
	// Blocked has bit 1<<layer set for each layer that denied or did not allow.
	Blocked uint8
}

// Evaluate decides. It takes time linear in the size of the request and of
// the statements that may match, and allocates nothing.
func Evaluate(r *Request, l *Layers) Decision {
	q := newQuery(r)
	return decide(&q, l, nil)
}

// Reference names a statement of a policy in an explanation.
type Reference struct {
	Layer Layer
	// Policy is the name under which the document was compiled.
	Policy string
	// Level is the guardrail's level or the number of the cap; else empty.
	Level string
	// Index counts the document's statements from 0; SID is its Sid.
	Index  int
	SID    string
	Effect Effect
}

// Explanation says why a decision is what it is, for people.
type Explanation struct {
	Decision
	// Statements are those that decided: the Denies that matched, or else the
	// Allows that matched.
	Statements []Reference
	// Missing are the layers that allowed nothing, in words: the layer and
	// what it would have had to allow.
	Missing []string
}

// Explain decides as Evaluate does and says why.
func Explain(r *Request, l *Layers) Explanation {
	q := newQuery(r)
	e := Explanation{}
	e.Decision = decide(&q, l, &e)
	e.finish(&q)
	return e
}

// Warning is a pitfall found in a policy that is valid.
type Warning struct {
	// Code is stable, as in PREFIX_WITHOUT_DELIMITER.
	Code string
	// Path is where, as in $.Statement[0].Resource[1].
	Path    string
	Message string
	Remedy  string
}

// Error is why a policy is refused.
type Error struct {
	Path    string
	Message string
	Remedy  string
}

// Error gives path, message and remedy.
func (e *Error) Error() string { return e.Path + ": " + e.Message + " " + e.Remedy }
