package control

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/prove"
)

// The codes of changes that the isolation prover does not let through.
const (
	CodeIsolationViolation = "IsolationViolation"
	CodeIsolationUnknown   = "IsolationUnknown"
)

// sharedKind is what the policies of the management account are judged as: as
// if a role of every tenant had them. One that is an RCP cannot be had by any.
const sharedKind = policy.Identity

// maxAccepted is how many findings operators may have accepted.
const maxAccepted = 1_000

// judge tells whether a change may be made. It gives what has to be recorded
// with it.
//
// What is wrong before the change already, as states from before there was a
// gate can be, does not stand in its way, if after it the policies that are
// wrong let through no more than before.
func (g *gate) judge(ctx context.Context, writes []write) ([]write, error) {
	p, err := g.s.overview.propose(writes)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	defer func() { g.s.proofs.spend(p.change.Accounts, time.Since(began), time.Now()) }()
	r := prove.Report{Result: prove.Proved}
	for _, shared := range p.policies {
		judged := g.s.prover.Universal(prove.Question{Policies: []prove.Policy{shared}, Layouts: g.s.ownLayouts(p.after)})
		r.Findings = append(r.Findings, judged.Findings...)
	}
	judged := g.s.prover.Gate(p.after, p.change)
	if judged.Result != prove.Proved {
		was := g.s.prover.Gate(p.before, p.change)
		r.Findings = append(r.Findings, slices.DeleteFunc(judged.Findings, func(f prove.Finding) bool { return was.Holds(&f) })...)
	}
	r.Findings = p.disguised(r.Findings)
	var undecided []prove.Finding
	for _, f := range r.Findings {
		_, accepted := p.after.Accepted[f.ID]
		switch {
		case f.Result == prove.Violated:
			return nil, violation(r.Findings)
		case f.Result == prove.Unknown && !accepted:
			undecided = append(undecided, f)
		}
	}
	if len(undecided) == 0 {
		return nil, nil
	}
	return g.accept(ctx, undecided)
}

// disguised gives copies of findings without the names of tenants that a
// change is not about.
func (p *proposal) disguised(findings []prove.Finding) []prove.Finding {
	findings = slices.Clone(findings)
	for i := range findings {
		p.disguise(&findings[i])
	}
	return findings
}

// disguise puts the account's number in place of the name of a tenant that a
// change is not about: whoever writes a policy that names a number is not told
// whose it is, nor whether it is anybody's.
func (p *proposal) disguise(f *prove.Finding) {
	f.Message = strings.ReplaceAll(f.Message, ", which is none of this installation's", "")
	for _, a := range p.after.Accounts {
		if a.Slug != f.Tenant || slices.Contains(p.change.Accounts, a.ID) {
			continue
		}
		name := regexp.MustCompile(`(tenant|--with) ` + regexp.QuoteMeta(a.Slug) + `($|[ ,.])`)
		for _, text := range []*string{&f.Message, &f.Remedy} {
			*text = name.ReplaceAllStringFunc(*text, func(found string) string {
				found = strings.Replace(found, a.Slug, a.ID, 1)
				return strings.Replace(found, "tenant ", "account ", 1)
			})
		}
		f.Tenant = a.ID
		if f.Witness != nil {
			w := *f.Witness
			w.Tenant, w.Context = a.ID, maps.Clone(w.Context)
			for _, key := range plainKeys {
				delete(w.Context, key)
			}
			f.Witness = &w
		}
		return
	}
}

// ownLayouts gives the layouts of the operators, which bind every tenant.
func (s *Service) ownLayouts(o *prove.Organization) []prove.Layout {
	return slices.DeleteFunc(slices.Clone(o.Layouts), func(l prove.Layout) bool { return l.Account != string(s.managementAccount()) })
}

// accept gives the records of an operator's word about what was not decided.
func (g *gate) accept(ctx context.Context, undecided []prove.Finding) ([]write, error) {
	word, given := accepting(ctx)
	if !given {
		f := undecided[0]
		return nil, fault.New("control.commit", fault.Denied, "The change is refused, as the isolation prover cannot tell that it is safe: %s (finding %s)%s.", sentence(f.Message), f.ID, others(undecided)).
			WithCode(CodeIsolationUnknown).WithRemedy("%s Or have an operator make the change with --accept-unknown REASON, or take it for safe before: carrel prove accept %s --reason REASON.", f.Remedy, f.ID)
	}
	var ids []string
	for _, f := range undecided {
		ids = append(ids, f.ID)
	}
	return g.s.acceptedRecords(word, ids...)
}

// plainKeys are condition keys that say no more than who asks for what.
var plainKeys = []string{"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:resourceaccount", "carrel:accounttenant"}

// violation is the error for a change after which a tenant would reach what is
// another's, with the request that would be allowed.
func violation(findings []prove.Finding) error {
	i := slices.IndexFunc(findings, func(f prove.Finding) bool { return f.Result == prove.Violated })
	f := findings[i]
	text := sentence(f.Message)
	if w := f.Witness; w != nil {
		text += ". The request that would be allowed: " + w.Action + " on " + w.Resource
		if w.Principal != "" {
			text += " by " + w.Principal
		}
		var given []string
		for _, key := range slices.Sorted(maps.Keys(w.Context)) {
			if !slices.Contains(plainKeys, key) {
				given = append(given, fmt.Sprintf("%s = %q", key, strings.Join(w.Context[key], ",")))
			}
		}
		if len(given) > 0 {
			text += " with " + strings.Join(given, ", ")
		}
	}
	for _, step := range f.Path {
		text += fmt.Sprintf(". The way there: %s becomes %s by %s", step.From, step.To, step.By)
	}
	return fault.New("control.commit", fault.Denied, "The change is refused, as it would let a tenant reach what is another's: %s%s.", text, others(findings)).
		WithCode(CodeIsolationViolation).WithRemedy("%s", f.Remedy)
}

func sentence(s string) string { return strings.TrimSuffix(strings.TrimSpace(s), ".") }

func others(findings []prove.Finding) string {
	if len(findings) < 2 {
		return ""
	}
	return fmt.Sprintf("; there are %d more findings", len(findings)-1)
}
