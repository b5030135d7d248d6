package prove

import "errors"

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

var errNotWritten = errors.New("the prover is not written yet")
