// Package prove decides whether any tenant can reach what another one owns.
//
// It looks at policies, not at requests: an answer holds for every request
// that can ever be made. An answer is proved, violated, with a request that
// the evaluator confirms, or unknown, which is never to be taken for safe.
// The package is pure: no clock, no I/O, and it imports only iam/policy.
package prove

import "errors"

// Prover judges authorisation states and remembers what it proved, by the
// digests of the statements. It is safe for concurrent use.
type Prover struct{}

// New makes a Prover.
func New() *Prover { return &Prover{} }

// Organization judges a whole state.
func (p *Prover) Organization(o *Organization) Report { return p.Gate(o, Change{All: true}) }

// Gate judges a proposed state where it differs from one that was judged. A
// write is refused unless Result is Proved.
func (p *Prover) Gate(o *Organization, c Change) Report {
	return Report{Result: Unknown, Findings: []Finding{{Result: Unknown, Code: "NOT_WRITTEN", Message: errNotWritten.Error(), Statement: -1}}}
}

// Tenant judges one account, named by number or slug.
func (p *Prover) Tenant(o *Organization, account string) Report {
	return p.Gate(o, Change{Accounts: []string{account}})
}

// Question is a set of policies that are judged as if they were attached
// together to a role of every tenant.
type Question struct {
	Policies []Policy
	// Boundary bounds them; nil if there is none.
	Boundary *Policy
	// SCPs are the guardrails above every tenant, from the root down.
	SCPs []Level
	// Layouts say where owners stand in names.
	Layouts []Layout
	// EndTenants judges the policies of an execution role whose sessions carry
	// the ids of end tenants, and not those of tenants.
	EndTenants bool
}

// Universal judges policies for all tenants there are and can be.
func (p *Prover) Universal(q Question) Report { return p.Gate(nil, Change{}) }

var errNotWritten = errors.New("the prover is not written yet")
