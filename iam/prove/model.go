package prove

import "github.com/carrel-dev/carrel/iam/policy"

// Policy is one policy document with the name that findings give it: the ARN
// of a managed policy, or the name of an inline one.
type Policy struct {
	Name string
	// Digest identifies the document's text, so that what was proved of it once
	// is not proved again; any hash of the text will do. If it is empty it is
	// made from the document.
	Digest   string
	Document *policy.Document
}

// Organization is the whole authorisation state of an installation, or one
// that is proposed. The prover only reads it. Accounts are pointers so that a
// caller can keep those that did not change and build the rest anew.
type Organization struct {
	// ID is the organisation's id, the value of aws:PrincipalOrgID.
	ID       string
	Accounts []*Account
	Layouts  []Layout
	Shares   []Share
	Links    []Link
	// Accepted are the IDs of findings that were undecided and that an operator
	// accepted, with the reason. A violation cannot be accepted.
	Accepted map[string]string
}

// Account is one account: the management account's, or a tenant's.
type Account struct {
	// ID is the number of 12 digits, Slug the tenant's id.
	ID, Slug string
	// Parent is the parent tenant's account; empty if there is none. A parent
	// has no access to its children's resources.
	Parent string
	// Management says that the account is the operators' own, which is no
	// tenant: what it reaches is not judged, and consent to it is no violation.
	Management bool
	Principals []Principal
	Functions  []Function
	// Resources are the other resources that exist or have a policy: buckets.
	Resources []Resource
	// SCPs and RCPs are the guardrails above the account, from the root down.
	// A level with no SCP in it allows nothing, as in AWS; a level with no RCP
	// allows everything.
	SCPs, RCPs []Level
	Providers  []Provider
}

// PrincipalKind says what a Principal is.
type PrincipalKind uint8

// The kinds of principals.
const (
	User PrincipalKind = iota
	Role
)

// Principal is a user or a role with all that is attached to it.
type Principal struct {
	Kind PrincipalKind
	// ARN is the user's or the role's own, as in arn:aws:iam::1…:role/fn.
	ARN string
	// Policies are the identity policies: managed, inline, and for a user those
	// of its groups.
	Policies []Policy
	// Boundary is the permissions boundary; nil if there is none.
	Boundary *Policy
	// Trust is a role's trust policy; nil for users.
	Trust *Policy
	// Tags are its own tags, without tenant_id, which the platform gives.
	Tags map[string]string
	// Gatekeeper says that an operator marked the role: callers' caps do not
	// bind it on resources of its own account.
	Gatekeeper bool
}

// Function is a deployed function.
type Function struct {
	// ARN is without a qualifier; Role is the ARN of the execution role.
	ARN, Role string
	// PerTenant says that each call is made for an end tenant: the session of
	// the execution role then carries that end tenant's id.
	PerTenant bool
	// Derived is the ARN of the roles that are derived from Role for the end
	// tenants of the function, with EndTenantMark where the end tenant's id
	// stands; empty if there are none. They have Role's policies and are the
	// platform's: nobody can assume, pass or change one.
	Derived string
	// Policy is the resource policy; nil if there is none.
	Policy *Policy
	Tags   map[string]string
}

// EndTenantMark stands in Function.Derived for the id of an end tenant.
const EndTenantMark = "{tenant}"

// Resource is anything else that an account owns: a bucket, a table, a queue.
type Resource struct {
	// ARN is the resource's, as in arn:aws:s3:::orders.
	ARN    string
	Policy *Policy
	Tags   map[string]string
}

// Level is the guardrails attached at one root, unit or account.
type Level struct {
	Name     string
	Policies []Policy
}

// Layout says where in a resource's name its owner stands: an ARN pattern
// with one {tenant}, as in arn:aws:s3:::shared/{tenant}/*.
type Layout struct {
	Name, Pattern string
	// Account declared it, and owns the resources as a whole.
	Account string
}

// Share is the owner's consent that another account may reach a resource.
type Share struct {
	ID string
	// Resource is an ARN; wildcards are allowed after the account.
	Resource string
	// Owner and With are accounts.
	Owner, With string
	Reason      string
}

// Link is the consent of an account that functions of another one, the
// provider, run in it as its roles: the provider's authors then reach what these
// reach, and that is no violation.
type Link struct {
	ID                string
	Provider, Account string
}

// Provider is an OIDC identity provider that roles of the account may trust.
type Provider struct {
	ARN string
	// ClaimTags maps claims of a token to the session tags that they set.
	ClaimTags map[string]string
}

// Change says what of an Organization differs from the state that was judged
// before: only that is judged again.
type Change struct {
	// Accounts are the numbers of the accounts of which anything changed:
	// principals, policies attached, functions, resources, tags, providers,
	// guardrails above them, or that are new.
	Accounts []string
	// All says that something changed that holds for every account: a layout, a
	// share, a guardrail at the root, a managed policy attached in many accounts.
	// What was proved of the same statements before is still not proved again.
	All bool
}

// Result is the outcome of a proof.
type Result string

// The results. Unknown is never to be taken for safe.
const (
	Proved   Result = "proved"
	Violated Result = "violated"
	Unknown  Result = "unknown"
)

// Report is the outcome of judging an organisation, or a part of it.
type Report struct {
	Result Result `json:"result"`
	// Findings are the violations and what was not decided, violations first.
	// Those that were accepted are marked, and do not count for Result.
	Findings []Finding `json:"findings,omitempty"`
	// Warnings are pitfalls that break nothing today.
	Warnings []Finding `json:"warnings,omitempty"`
	// Shares are the ids of the shares and links that the result rests on.
	Shares []string `json:"shares,omitempty"`
	// Assumptions are what the result takes for granted, in words.
	Assumptions []string `json:"assumptions,omitempty"`
	// Judged counts the accounts or policy sets looked at, Cached those of them
	// whose answer was known already.
	Judged int `json:"judged"`
	Cached int `json:"cached"`
}

// Finding is one violation, one undecided question, or one warning.
type Finding struct {
	// ID is the same as long as tenant, policy, statement and code are, and of
	// what is unknown as long as all is that was judged: who accepts it accepts
	// these policies, and no others in which it is unknown as well.
	ID string `json:"id"`
	// Result is Violated or Unknown; empty for a warning.
	Result Result `json:"result,omitempty"`
	// Code names the pitfall, as in PREFIX_WITHOUT_DELIMITER.
	Code string `json:"code"`
	// Tenant is the slug of the tenant that reaches too far, or <any>.
	Tenant string `json:"tenant,omitempty"`
	// Message is a sentence for people, Remedy what to do.
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
	// Policy and Statement say which statement allows it; Statement counts from
	// 0 and is -1 if no single one does.
	Policy    string `json:"policy,omitempty"`
	Statement int    `json:"statement"`
	SID       string `json:"sid,omitempty"`
	// Path is how the tenant comes to the principal that asks, step by step.
	Path []Step `json:"path,omitempty"`
	// Witness is a request that is allowed and should not be; the evaluator
	// confirmed it. Nil for what is not a violation.
	Witness *Witness `json:"witness,omitempty"`
	// Accepted is the reason for which an operator accepted an unknown.
	Accepted string `json:"accepted,omitempty"`
	// basis is a digest of what was judged, of what is unknown.
	basis string
	// grounds is what a violation was found in; nil where the message says it all.
	grounds *basis
}

// Step is one change of role on the way to a violation.
type Step struct {
	// From and To are ARNs of principals.
	From string `json:"from"`
	To   string `json:"to"`
	// By is the action that makes the step possible, as in sts:AssumeRole.
	By string `json:"by"`
}

// Witness is a concrete request.
type Witness struct {
	// Tenant asks, and Owner is whose resource it is.
	Tenant    string              `json:"tenant,omitempty"`
	Owner     string              `json:"owner,omitempty"`
	Principal string              `json:"principal,omitempty"`
	Action    string              `json:"action"`
	Resource  string              `json:"resource"`
	Context   map[string][]string `json:"context,omitempty"`
}
