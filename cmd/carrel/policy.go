package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/prove"
)

func (a *app) policyCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "policy",
		Short:   "Check and compare policies, and keep the operators'",
		Example: "  carrel policy lint data-access.json\n  carrel policy put data-access data-access.json",
	}, append(a.nodePolicies(), a.policyDiff(), a.policyLint())...)
}

func (a *app) policyDiff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what a new identity policy allows and denies that the old one did not",
		Long: `Compare two identity policies over all requests that there can be, and show an
example of each kind of action that one allows and the other does not. Nothing
is shown if they are equivalent, however they are written. The exit code is 8
if something was not decided.`,
		Example: "  carrel policy diff old.json new.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			before, after, err := pair(args)
			if err != nil {
				return err
			}
			d := prove.Diff(before, after)
			if err := a.difference(&d); err != nil {
				return err
			}
			if len(d.Unknown) > 0 {
				return answer(exitUnknown)
			}
			return nil
		},
	}
}

func (a *app) difference(d *prove.Difference) error {
	if a.output == outputJSON {
		return writeJSON(a.stdout, d)
	}
	var out strings.Builder
	for i := range d.Allowed {
		fmt.Fprintf(&out, "allowed now: %s\n", printable(d.Allowed[i].String()))
	}
	for i := range d.Denied {
		fmt.Fprintf(&out, "denied now:  %s\n", printable(d.Denied[i].String()))
	}
	for _, action := range d.Unknown {
		fmt.Fprintf(&out, "unknown:     %s\n", printable(action))
	}
	_, err := io.WriteString(a.stdout, out.String())
	return flushed(err)
}

// kinds are the kinds of policies as --kind takes them.
var kinds = map[string]policy.Kind{
	"identity": policy.Identity, "resource": policy.Resource, "trust": policy.Trust, "boundary": policy.Boundary,
	"session": policy.Session, "scp": policy.SCP, "rcp": policy.RCP,
}

// lintFinding is one thing that is wrong, or probably not meant.
type lintFinding struct {
	File    string `json:"file"`
	Refused bool   `json:"refused"`
	Code    string `json:"code"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

func (a *app) policyLint() *cobra.Command {
	var kind string
	c := &cobra.Command{
		Use:   "lint FILE…",
		Short: "Check policies for errors and for what is probably not meant",
		Long: `Check policies as the node does when they are put, and warn of pitfalls that one
policy shows by itself. Whether tenants are kept apart is what "carrel prove"
tells. The exit code is 1 if there are warnings, and 2 if a policy is refused.`,
		Example: `  carrel policy lint data-access.json
  carrel policy lint --kind trust trust.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			k, known := kinds[kind]
			if !known {
				return usageError("--kind %q: need identity, resource, trust, boundary, session, scp or rcp", kind)
			}
			return a.lint(k, files)
		},
	}
	c.Flags().StringVar(&kind, "kind", "identity", "identity, resource, trust, boundary, session, scp or rcp")
	return c
}

func (a *app) lint(kind policy.Kind, files []string) error {
	all := []lintFinding{}
	for _, file := range files {
		_, warnings, err := policyFile(kind, file)
		var refused *failure
		switch {
		case errors.As(err, &refused) && refused.ExitCode == exitUsage:
			all = append(all, lintFinding{File: file, Refused: true, Code: refused.Code, Message: strings.TrimPrefix(refused.Message, file+": "), Remedy: refused.Remedy})
		case err != nil:
			return err
		}
		for _, w := range warnings {
			all = append(all, lintFinding{File: file, Code: w.Code, Path: w.Path, Message: w.Message, Remedy: w.Remedy})
		}
	}
	err := a.print(all, func(w io.Writer) {
		for _, f := range all {
			where := f.File + ":"
			if f.Path != "" {
				where += " " + f.Path + ":"
			}
			fmt.Fprintln(w, oneLine(fmt.Sprintf("%s %s: %s %s", where, f.Code, sentence(f.Message), f.Remedy)))
		}
	})
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(all, func(f lintFinding) bool { return f.Refused }):
		return answer(exitUsage)
	case len(all) > 0:
		return answer(exitOther)
	}
	return nil
}
