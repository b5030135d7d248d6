package main

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

type planView struct {
	Name        string `json:"name"`
	Concurrency int    `json:"concurrency"`
	Rate        int    `json:"rate"`
	Burst       int    `json:"burst"`
	MaxWaitMS   int64  `json:"maxWaitMs"`
	Queue       int    `json:"queue"`
	EndTenants  int    `json:"endTenants"`
}

func (a *app) planCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "plan",
		Aliases: []string{"plans"},
		Short:   "List plans, and put tenants on them",
		Example: "  carrel plan list\n  carrel plan set acme unlimited",
	}, a.planList(), a.planSet())
}

func (a *app) planList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the plans",
		Example: "  carrel plan list",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return list(c.Context(), a, client.Request{Path: "/v1/plans"}, func(w io.Writer, all []planView) {
				row(w, "PLAN", "CONCURRENT", "CALLS/S", "BURST", "MAX WAIT", "QUEUED EVENTS", "END TENANTS")
				for _, p := range all {
					row(w, p.Name, p.Concurrency, bound(p.Rate), bound(p.Burst), time.Duration(p.MaxWaitMS)*time.Millisecond, p.Queue, p.EndTenants)
				}
			})
		},
	}
}

// bound shows a limit; zero is none.
func bound(n int) string {
	if n == 0 {
		return "no limit"
	}
	return strconv.Itoa(n)
}

func (a *app) planSet() *cobra.Command {
	return &cobra.Command{
		Use:     "set TENANT PLAN",
		Short:   "Put a tenant on a plan, from its next call on",
		Example: "  carrel plan set acme unlimited",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := tenantPath(args[0])
			if err != nil {
				return err
			}
			var t tenantView
			r := client.Request{Method: http.MethodPut, Path: path + "/plan", Body: map[string]string{"plan": args[1]}}
			if err := a.do(c.Context(), r, &t); err != nil {
				return err
			}
			return a.printTenant(t)
		},
	}
}
