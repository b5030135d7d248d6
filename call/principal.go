package call

import (
	"net/netip"
	"time"

	"github.com/carrel-dev/carrel/tenant"
)

// PrincipalType says what sort of principal asks.
type PrincipalType string

// The types of principals. The zero type is nobody and is allowed nothing.
const (
	// TypeUser is a user, by a long-lived key or one of GetSessionToken.
	TypeUser PrincipalType = "User"
	// TypeRole is a session of a role.
	TypeRole PrincipalType = "AssumedRole"
	// TypeFederated is a session of GetFederationToken.
	TypeFederated PrincipalType = "FederatedUser"
	// TypeService is a part of the platform that acts in its own name.
	TypeService PrincipalType = "Service"
	// TypeWebIdentity is who an identity provider vouches for, as long as it
	// asks for a session of a role: its ARN is the provider's, and it belongs to
	// no tenant. No session is of this type.
	TypeWebIdentity PrincipalType = "WebIdentityUser"
	// TypeAnonymous is a caller without credentials.
	TypeAnonymous PrincipalType = "Anonymous"
)

// Principal is who asks, as proved by a credential. What it may do is looked
// up at each decision and is never part of it.
type Principal struct {
	Type PrincipalType `json:"type,omitempty"`
	// ARN names the user, role session, federated user or service.
	ARN string `json:"arn"`
	// Account is the account the principal belongs to.
	Account tenant.AccountID `json:"account"`
	// Tenant is that account's slug.
	Tenant tenant.Slug `json:"tenant,omitempty"`
	// UserID is the aws:userid: a user's unique id, or a role's with the
	// session's name.
	UserID string `json:"userId,omitempty"`
	// AccessKeyID is the credential that was used.
	AccessKeyID string `json:"accessKeyId,omitempty"`
	// Session is what temporary credentials say; nil for a long-lived key.
	Session *Session `json:"session,omitempty"`
	Origin  Origin   `json:"origin,omitzero"`
}

// Origin is how a request reached the node.
type Origin struct {
	// IP is the caller's address; invalid if it came over no network.
	IP netip.Addr `json:"ip,omitzero"`
	// TLS tells whether the connection was encrypted.
	TLS       bool   `json:"tls,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
}

// Session is what a sealed token of temporary credentials says. It never
// changes once it is made.
type Session struct {
	// ID is random: lists of revoked sessions name it.
	ID string `json:"id"`
	// Issuer is the ARN of the role that was assumed, or of the user whose key
	// asked for the session. IssuerUID is its internal id: a role that was
	// deleted and made anew under its name is another one.
	Issuer    string     `json:"issuer"`
	IssuerUID tenant.UID `json:"issuerUid"`
	// Name is the role session's or federated user's name.
	Name string `json:"name,omitempty"`
	// Tags are session tags; never one named tenant_id, which the platform gives.
	Tags []Tag `json:"tags,omitempty"`
	// Transitive are the keys of tags that sessions made from this one inherit.
	Transitive     []string  `json:"transitive,omitempty"`
	SourceIdentity string    `json:"sourceIdentity,omitempty"`
	Issued         time.Time `json:"issued"`
	Expires        time.Time `json:"expires"`
	// Policies are session policies as they were given, and Managed the ARNs
	// of managed ones. With neither the session is not bounded by any, unless
	// it is a federated user's, which then may do nothing.
	Policies []string `json:"policies,omitempty"`
	Managed  []string `json:"managed,omitempty"`
	// Caps are policies of which every one must allow, whatever else does.
	Caps []string `json:"caps,omitempty"`
	// EndTenant is whom an execution role's session acts for, EndTenantUID its
	// internal id in the principal's account; empty for all others.
	EndTenant    tenant.EndTenantID `json:"endTenant,omitempty"`
	EndTenantUID tenant.UID         `json:"endTenantUid,omitempty"`
	// EndTenantOf is the account whose end tenant EndTenant is; empty if it is the
	// principal's. It is the provider's, where its function runs in an account that
	// is linked to it.
	EndTenantOf tenant.AccountID `json:"endTenantOf,omitempty"`
	// Template is the internal id of the role that Issuer was derived from, and
	// whose policies the session has; empty if it was not derived.
	Template tenant.UID `json:"template,omitempty"`
	// RequestID is the call that the session was made for and ends with, and
	// FunctionVersion the ARN of what runs; empty for all others.
	RequestID       string `json:"requestId,omitempty"`
	FunctionVersion string `json:"functionVersion,omitempty"`
	// Provider is the identity provider that vouched, as ARN or host.
	Provider string `json:"provider,omitempty"`
	// Chained tells that a role session asked for this one.
	Chained bool `json:"chained,omitempty"`
	// From are the ids of the key and of the sessions that this one was made
	// with, the oldest first, and whose they are: when one of them ends by
	// revocation, so does it.
	From []string `json:"from,omitempty"`
}

// ActsFor gives the end tenant of an account that a principal's session acts
// for; empty if it acts for none of it.
func (p *Principal) ActsFor(account tenant.AccountID) (tenant.EndTenantID, tenant.UID) {
	s := p.Session
	if s == nil || s.EndTenantUID == "" {
		return "", ""
	}
	of := s.EndTenantOf
	if of == "" {
		of = p.Account
	}
	if of != account {
		return "", ""
	}
	return s.EndTenant, s.EndTenantUID
}

// Tag is a key and its value. Keys that differ only by case are the same.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Link is one call in the chain that led to another: who made it, and which
// function it ran, which then called on.
type Link struct {
	Principal Principal `json:"principal"`
	// RequestID is the call's.
	RequestID string `json:"requestId"`
	// Function is the ARN, without a qualifier, of what ran in it.
	Function string `json:"function,omitempty"`
	// Owner is whose call it was.
	Owner tenant.Identity `json:"owner,omitzero"`
}

// Parent gives the request that the last function of a chain ran in, and
// calls in; empty for an empty chain.
func Parent(chain []Link) string {
	if len(chain) == 0 {
		return ""
	}
	return chain[len(chain)-1].RequestID
}

// MaxChain is the most links of a chain; a call that would make it longer is
// refused with the reason RecursiveInvocation.
const MaxChain = 8
