package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/internal/client"
)

// offline tells whether anything is asked that needs no node.
func (p *proof) offline() bool {
	return p.implies || p.endTenants || p.boundary != "" || len(p.policies)+len(p.layouts)+len(p.scps) > 0
}

// proveNode has the node judge what is in force.
func (a *app) proveNode(ctx context.Context, tenant string) error {
	r := client.Request{Path: "/v1/prove"}
	if tenant != "" {
		r.Query = url.Values{"tenant": {tenant}}
	}
	var report prove.Report
	err := a.do(ctx, r, &report)
	if err != nil {
		return err
	}
	if a.output == outputJSON {
		err = writeJSON(a.stdout, report)
	} else {
		err = a.report(&report)
	}
	if err != nil {
		return err
	}
	return verdictCode(report.Result)
}

func (a *app) proveAccept() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "accept FINDING --reason REASON",
		Short: "Take something that the prover could not decide for safe",
		Long: `Take a finding of the result unknown for safe, so that the change is let through
that was refused because of it. FINDING is the id in the refusal. It is about
exactly the policies that were judged, and no others. For operators.`,
		Example: "  carrel prove accept 0f3a9c5e7b1d2468 --reason 'teams are set by hand'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return usageError("give --reason")
			}
			r := client.Request{Method: http.MethodPut, Path: under("/v1/findings", args[0]), Body: map[string]string{"reason": reason}}
			return (&change{}).make(c.Context(), a, r, "Finding "+args[0]+" is accepted.")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; kept with the finding and in the audit log")
	return c
}
