package iam

import (
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// Directory gives what is attached to principals and resources. All of it is
// in memory, compiled, and changes as a whole: what it gives is never
// written to.
type Directory interface {
	// Subject gives what is attached to a principal; false if there is none
	// such any more, its key is not active, its role was deleted or made anew,
	// or its session was revoked. A session's own policies are not part of it.
	Subject(*call.Principal) (*Subject, bool)
	// Object gives what is attached to a resource of an account. A resource
	// that does not exist has the account's guardrails all the same.
	Object(owner tenant.AccountID, resource string) Object
	// Managed gives a managed policy that a session was made with; false if
	// there is none of the name.
	Managed(arn string) (*policy.Document, bool)
}

// Subject is what is attached to a principal.
type Subject struct {
	// Identity is every policy of a user, of its groups, or of a role.
	Identity *policy.Set
	// Boundary is its permissions boundary; nil if it has none.
	Boundary *policy.Set
	// SCPs are the guardrails above its account, from the root down.
	SCPs []policy.Level
	// Tags are the user's or role's own.
	Tags []call.Tag
	// Management says that the account is the operators' own.
	Management bool
	// Gatekeeper says that an operator marked the role: what callers may not
	// do does not bind it on resources of its own account.
	Gatekeeper bool
	// OrgPath is the units above the account, as in
	// o-carrel/r-root/ou-emea/: aws:PrincipalOrgPaths.
	OrgPath string
}

// Object is what is attached to a resource.
type Object struct {
	// Policy is the resource's own policy; nil if it has none.
	Policy *policy.Set
	// TrustOnly says that the policy has to allow even what is asked from
	// inside the account: it is the trust policy of a role.
	TrustOnly bool
	// RCPs are the guardrails above the owner's account, from the root down.
	RCPs []policy.Level
	// Tags are the resource's own.
	Tags []call.Tag
	// OrgPath is the units above the owner's account.
	OrgPath string
}

// RequestTags gives the condition keys of a request that sets tags:
// aws:RequestTag/KEY for each, and aws:TagKeys.
func RequestTags(tags []call.Tag) []Key {
	if len(tags) == 0 {
		return nil
	}
	keys := make([]Key, 0, len(tags)+1)
	names := make([]string, 0, len(tags))
	for _, t := range tags {
		keys = append(keys, Key{Name: "aws:requesttag/" + t.Key, Values: []string{t.Value}})
		names = append(names, t.Key)
	}
	return append(keys, TagKeys(names))
}

// TagKeys gives the condition key of a request that names tags without values.
func TagKeys(names []string) Key {
	return Key{Name: "aws:tagkeys", Values: names, Multiple: true}
}

// Key is a condition key that a request brings along, as in
// sts:ExternalId or aws:RequestTag/team.
type Key struct {
	Name string
	// Values holds one value; several, or none, for a key of several values.
	Values []string
	// Multiple says that the key is one of several values, however many there are.
	Multiple bool
}
