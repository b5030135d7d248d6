package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/prove"
)

// proof is what "carrel prove" is asked.
type proof struct {
	policies, layouts, scps []string
	boundary                string
	implies, endTenants     bool
	tenant                  string
}

func (a *app) proveCommand() *cobra.Command {
	var p proof
	c := &cobra.Command{
		Use:   "prove [--tenant NAME | --policy FILE… | --implies A B]",
		Short: "Prove that no tenant reaches another one's resources",
		Long: `Judge, for all requests that there can be, whether tenants are kept apart.

Without a file, ask the node about what is in force: operators about all of the
installation or one tenant, a tenant about its own account. Proofs list the
shares that they rest on. The rest needs no node.

With --policy, tell whether a tenant could reach what another one owns if the
policies were attached together to a role of every tenant. With --implies, tell
whether there is a request that policy A allows and policy B does not.

The answer is proved, violated, with a request that shows it, or unknown, which
is never to be taken for safe. The exit code is 0 for proved, or where B allows
all that A does; 1 for violated, or where it does not; and 8 for unknown.`,
		Example: `  carrel prove
  carrel prove --tenant acme --output json
  carrel prove --policy data-access.json
  carrel prove --policy data-access.json --layout 'arn:aws:s3:::shared/{tenant}/*'
  carrel prove --implies new.json old.json --output json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case !p.offline() && len(args) == 0:
				return a.proveNode(c.Context(), p.tenant)
			case p.tenant != "":
				return usageError("--tenant asks a node about what is in force; it goes with no other flag")
			case p.implies && len(p.policies) > 0:
				return usageError("give either --policy or --implies")
			case p.implies:
				return a.implies(args)
			case len(p.policies) == 0:
				return usageError("give --policy FILE, or --implies with two files")
			}
			p.policies = append(p.policies, args...)
			return a.universal(&p)
		},
	}
	c.AddCommand(a.proveAccept())
	flags := c.Flags()
	flags.StringVar(&p.tenant, "tenant", "", "judge this tenant only, on the node")
	flags.StringArrayVar(&p.policies, "policy", nil, "file with an identity policy; further ones may follow")
	flags.BoolVar(&p.implies, "implies", false, "compare the two policies that follow")
	flags.StringVar(&p.boundary, "boundary", "", "file with a permissions boundary of the role")
	flags.StringArrayVar(&p.scps, "scp", nil, "file with a service control policy above every tenant: each is a level")
	flags.StringArrayVar(&p.layouts, "layout", nil, "where owners stand in names: an ARN pattern with one {tenant}")
	flags.BoolVar(&p.endTenants, "end-tenants", false, "judge a role of functions that serve end tenants, whose sessions carry their ids")
	return c
}

// maxPolicyFile bounds the files that are read, far above any policy's limit.
const maxPolicyFile = 1 << 20

// policyFile reads a policy. Its size is only bound by what a use of such
// policies can have at most.
func policyFile(kind policy.Kind, name string) (*policy.Document, []policy.Warning, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, other("Input", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicyFile+1))
	if err != nil {
		return nil, nil, other("Input", err)
	}
	if len(text) > maxPolicyFile {
		return nil, nil, other("Input", fmt.Errorf("%s is larger than %d bytes; no policy is", name, maxPolicyFile))
	}
	use := map[policy.Kind]policy.Use{
		policy.Identity: policy.RoleInlineUse, policy.Resource: policy.ResourceUse, policy.Trust: policy.LongTrustUse,
		policy.Boundary: policy.ManagedUse, policy.Session: policy.ManagedUse, policy.SCP: policy.GuardrailUse, policy.RCP: policy.GuardrailUse,
	}[kind]
	d, warnings, err := policy.ParseFor(use, kind, text)
	var refused *policy.Error
	if errors.As(err, &refused) {
		return nil, nil, &failure{Code: "MalformedPolicyDocument", Message: sentence(name + ": " + refused.Path + ": " + refused.Message), Remedy: refused.Remedy, ExitCode: exitUsage}
	}
	return d, warnings, err
}

// policyNamed reads a policy that findings name by its file.
func policyNamed(kind policy.Kind, file string) (prove.Policy, error) {
	d, _, err := policyFile(kind, file)
	return prove.Policy{Name: strings.TrimSuffix(filepath.Base(file), ".json"), Document: d}, err
}

func (p *proof) question() (prove.Question, error) {
	q := prove.Question{EndTenants: p.endTenants}
	for _, file := range p.policies {
		one, err := policyNamed(policy.Identity, file)
		if err != nil {
			return q, err
		}
		q.Policies = append(q.Policies, one)
	}
	if p.boundary != "" {
		b, err := policyNamed(policy.Boundary, p.boundary)
		if err != nil {
			return q, err
		}
		q.Boundary = &b
	}
	for _, file := range p.scps {
		one, err := policyNamed(policy.SCP, file)
		if err != nil {
			return q, err
		}
		q.SCPs = append(q.SCPs, prove.Level{Name: one.Name, Policies: []prove.Policy{one}})
	}
	for _, pattern := range p.layouts {
		l := prove.Layout{Name: pattern, Pattern: pattern}
		if err := l.Check(); err != nil {
			return q, usageError("--layout %q: %v", pattern, err)
		}
		q.Layouts = append(q.Layouts, l)
	}
	return q, nil
}

func (a *app) universal(p *proof) error {
	q, err := p.question()
	if err != nil {
		return err
	}
	r := prove.New().Universal(q)
	if a.output == outputJSON {
		err = writeJSON(a.stdout, r)
	} else {
		err = a.report(&r)
	}
	if err != nil {
		return err
	}
	return verdictCode(r.Result)
}

func verdictCode(r prove.Result) error {
	switch r {
	case prove.Proved:
		return nil
	case prove.Violated:
		return answer(exitOther)
	}
	return answer(exitUnknown)
}

// report writes the outcome of a proof for people.
func (a *app) report(r *prove.Report) error {
	var out strings.Builder
	switch r.Result {
	case prove.Proved:
		fmt.Fprintln(&out, "proved: no tenant can reach another one's resources.")
	case prove.Violated:
		fmt.Fprintln(&out, a.loud(a.stdout, "violated:")+" a tenant can reach another one's resources.")
	case prove.Unknown:
		fmt.Fprintln(&out, a.loud(a.stdout, "unknown:")+" this was not decided, and is not to be taken for safe.")
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		fmt.Fprintf(&out, "\n%s %s\n  %s\n", f.Result, f.Code, printable(f.Message))
		for _, s := range f.Path {
			fmt.Fprintf(&out, "  by: %s from %s to %s\n", s.By, s.From, s.To)
		}
		if w := f.Witness; w != nil {
			fmt.Fprintf(&out, "  witness: tenant %s, %s on %s\n", printable(w.Tenant), w.Action, printable(w.Resource))
		}
		if f.Remedy != "" {
			fmt.Fprintf(&out, "  remedy: %s\n", printable(f.Remedy))
		}
	}
	for i := range r.Warnings {
		w := &r.Warnings[i]
		fmt.Fprintf(&out, "\nwarning %s\n  %s\n  remedy: %s\n", w.Code, printable(w.Message), printable(w.Remedy))
	}
	if len(r.Shares) > 0 {
		fmt.Fprintf(&out, "\nby shares: %s\n", strings.Join(r.Shares, ", "))
	}
	if len(r.Assumptions) > 0 {
		fmt.Fprintln(&out, "\nassumed:")
	}
	for _, text := range r.Assumptions {
		fmt.Fprintf(&out, "- %s\n", text)
	}
	_, err := io.WriteString(a.stdout, out.String())
	return flushed(err)
}

// pair reads two identity policies.
func pair(args []string) (first, second *policy.Document, err error) {
	if len(args) != 2 {
		return nil, nil, usageError("give two files with policies; here are %d", len(args))
	}
	if first, _, err = policyFile(policy.Identity, args[0]); err != nil {
		return nil, nil, err
	}
	second, _, err = policyFile(policy.Identity, args[1])
	return first, second, err
}

func (a *app) implies(args []string) error {
	first, second, err := pair(args)
	if err != nil {
		return err
	}
	i := prove.Implies(first, second)
	if a.output == outputJSON {
		err = writeJSON(a.stdout, i)
	} else {
		text := said(args[0], args[1], i.AllowedByANotByB, i.Witness) + said(args[1], args[0], i.AllowedByBNotByA, i.ReverseWitness)
		_, err = io.WriteString(a.stdout, text)
		err = flushed(err)
	}
	if err != nil {
		return err
	}
	return verdictCode([...]prove.Result{prove.No: prove.Proved, prove.Yes: prove.Violated, prove.Undecided: prove.Unknown}[i.AllowedByANotByB])
}

// said puts into words whether one policy allows what another does not.
func said(more, less string, answer prove.Answer, witness *prove.Request) string {
	switch {
	case answer == prove.No:
		return fmt.Sprintf("%s allows nothing that %s does not.\n", more, less)
	case witness == nil:
		return fmt.Sprintf("unknown: it was not decided whether %s allows anything that %s does not.\n", more, less)
	}
	return fmt.Sprintf("%s allows what %s does not: %s\n", more, less, printable(witness.String()))
}
