// Package directory is the authorisation state in memory: users, groups,
// roles, managed policies, the tree of accounts, and what is attached to what.
//
// The state of an account is a value that never changes; a change makes a new
// one. So a change that is only proposed can be looked at as if it were made,
// which is how the isolation prover judges it, and readers take no lock.
package directory

import (
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/tenant"
)

// Attached is what a user, group or role has in policies.
type Attached struct {
	// Managed are the ARNs of managed policies, in the order of attachment.
	Managed []string `json:"managed,omitempty"`
	// Inline maps a policy's name to its text.
	Inline map[string]string `json:"inline,omitempty"`
	// Boundary is the ARN of the managed policy that is the boundary; empty if
	// there is none. Groups have none.
	Boundary string `json:"boundary,omitempty"`
}

// User is a user of an account.
type User struct {
	Account tenant.AccountID `json:"account"`
	Name    string           `json:"name"`
	Path    string           `json:"path"` // as in /, /division/
	ARN     string           `json:"arn"`
	UID     tenant.UID       `json:"uid"` // internal, never used again
	ID      string           `json:"id"`  // public, as in AIDA…, never used again
	Tags    []call.Tag       `json:"tags,omitempty"`
	// Groups are the ids (AGPA…) of the groups that the user is in, so that a
	// group can be given another name by one write.
	Groups []string `json:"groups,omitempty"`
	Attached
	CreatedAt time.Time `json:"createdAt"`
}

// Group is a group of users.
type Group struct {
	Account tenant.AccountID `json:"account"`
	Name    string           `json:"name"`
	Path    string           `json:"path"`
	ARN     string           `json:"arn"`
	UID     tenant.UID       `json:"uid"`
	ID      string           `json:"id"` // AGPA…
	Attached
	CreatedAt time.Time `json:"createdAt"`
}

// Role is a role of an account.
type Role struct {
	Account     tenant.AccountID `json:"account"`
	Name        string           `json:"name"`
	Path        string           `json:"path"`
	ARN         string           `json:"arn"`
	UID         tenant.UID       `json:"uid"`
	ID          string           `json:"id"` // AROA…
	Description string           `json:"description,omitempty"`
	// Trust is the trust policy as it was given. Users and roles that it names
	// are kept in TrustIDs by their internal ids too, so that one that is made
	// anew under an old name is not trusted.
	Trust      string                `json:"trust"`
	TrustIDs   map[string]tenant.UID `json:"trustIds,omitempty"`
	Tags       []call.Tag            `json:"tags,omitempty"`
	MaxSession int                   `json:"maxSession"` // seconds
	// Gatekeeper is the operator's mark and its reason; empty if not marked.
	Gatekeeper string `json:"gatekeeper,omitempty"`
	Attached
	CreatedAt time.Time `json:"createdAt"`
}

// Policy is a managed policy. Those of the management account may be attached
// in every account, and as guardrails.
type Policy struct {
	Account     tenant.AccountID `json:"account"`
	Name        string           `json:"name"`
	Path        string           `json:"path"`
	ARN         string           `json:"arn"`
	ID          string           `json:"id"` // ANPA…
	Description string           `json:"description,omitempty"`
	Tags        []call.Tag       `json:"tags,omitempty"`
	// Versions are at most five, the oldest first; Default names one of them.
	Versions  []PolicyVersion `json:"versions"`
	Default   string          `json:"default"`
	Next      int             `json:"next"` // number of the next version
	CreatedAt time.Time       `json:"createdAt"`
	UpdatedAt time.Time       `json:"updatedAt"`
}

// PolicyVersion is a version of a managed policy.
type PolicyVersion struct {
	ID        string    `json:"id"` // v1, v2, …
	Text      string    `json:"text"`
	CreatedAt time.Time `json:"createdAt"`
}

// AccessKey is a long-lived key of a user.
type AccessKey struct {
	ID      string           `json:"id"`
	Secret  string           `json:"secret"`
	Account tenant.AccountID `json:"account"`
	// User is the user's name when the key was made; UserUID says whose it is.
	User      string     `json:"user"`
	UserUID   tenant.UID `json:"userUid"`
	Inactive  bool       `json:"inactive,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
}

// Provider is an OIDC identity provider that roles of an account may trust.
type Provider struct {
	Account     tenant.AccountID `json:"account"`
	ARN         string           `json:"arn"`
	URL         string           `json:"url"` // the issuer, with https://
	ClientIDs   []string         `json:"clientIds"`
	Thumbprints []string         `json:"thumbprints,omitempty"`
	// ClaimTags maps claims of a token to the session tags that they may set;
	// a claim that is not listed sets none.
	ClaimTags map[string]string `json:"claimTags,omitempty"`
	Tags      []call.Tag        `json:"tags,omitempty"`
	CreatedAt time.Time         `json:"createdAt"`
}

// Unit is an organisational unit. The root has the id RootUnit and no parent.
type Unit struct {
	ID        string    `json:"id"` // ou-…
	Name      string    `json:"name"`
	Parent    string    `json:"parent,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
}

// RootUnit is the id of the root of the tree.
const RootUnit = "r-root"

// Guardrails are the policies attached to one target: RootUnit, a unit's id
// or an account's number. A target without a record has FullAWSAccess as its
// only SCP and no RCP.
type Guardrails struct {
	Target string   `json:"target"`
	SCPs   []string `json:"scps"` // ARNs of managed policies of the management account
	RCPs   []string `json:"rcps,omitempty"`
}

// Placement says in which unit an account is. One without a record is under
// its parent tenant's account, or else the root.
type Placement struct {
	Account tenant.AccountID `json:"account"`
	Unit    string           `json:"unit"`
}

// Layout declares where in a resource's name the owner's tenant stands.
type Layout struct {
	Name string `json:"name"`
	// Pattern is an ARN with one {tenant}.
	Pattern   string           `json:"pattern"`
	Account   tenant.AccountID `json:"account"` // who declared it
	Version   int              `json:"version"`
	CreatedAt time.Time        `json:"createdAt"`
}

// Share is the owner's consent that another tenant may reach a resource.
type Share struct {
	ID       string           `json:"id"`
	Resource string           `json:"resource"` // an ARN, wildcards allowed after the account
	Owner    tenant.AccountID `json:"owner"`
	With     tenant.AccountID `json:"with"`
	Reason   string           `json:"reason"`
	// By is the ARN of who made it.
	By        string    `json:"by"`
	CreatedAt time.Time `json:"createdAt"`
}
