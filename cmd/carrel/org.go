package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

// treeNode is the root, a unit or a tenant in the tree of accounts.
type treeNode struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"`
	Name   string   `json:"name"`
	Parent string   `json:"parent,omitempty"`
	SCPs   []string `json:"scps"`
	RCPs   []string `json:"rcps"`
}

type unitView struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Parent string `json:"parent"`
}

// done is the node's answer to what has nothing to tell.
type done struct {
	Done bool `json:"done"`
}

// change is a change of what tenants may do, which an operator can have made
// where the isolation prover does not know whether it is safe.
type change struct {
	accept string
}

// flag adds the flag for that.
func (ch *change) flag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&ch.accept, "accept-unknown", "", "make the change also where the prover cannot decide whether it is safe, for this `REASON` (operators)")
	return c
}

// send makes the change.
func (ch *change) send(ctx context.Context, a *app, r client.Request, into any) error {
	if ch.accept != "" {
		r.Query = url.Values{"acceptUnknown": {ch.accept}}
	}
	return a.do(ctx, r, into)
}

// make makes a change that has nothing to tell, and says that it is made.
func (ch *change) make(ctx context.Context, a *app, r client.Request, said string) error {
	var d done
	if err := ch.send(ctx, a, r, &d); err != nil {
		return err
	}
	if a.output == outputJSON {
		return writeJSON(a.stdout, d)
	}
	a.say("%s", said)
	return nil
}

// under makes a path of a name that is one segment.
func under(folder, name string) string { return folder + "/" + url.PathEscape(name) }

func (a *app) orgCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "org",
		Short:   "Show and change the tree of units and tenants",
		Example: "  carrel org tree\n  carrel org unit create emea\n  carrel org move acme emea",
	}, a.orgTree(), a.orgMove(), group(&cobra.Command{
		Use:     "unit",
		Short:   "Make and remove organisational units",
		Example: "  carrel org unit create emea",
	}, a.unitCreate(), a.unitDelete(), a.orgMove()))
}

func (a *app) orgTree() *cobra.Command {
	return &cobra.Command{
		Use:   "tree",
		Short: "Show the units and tenants, and what is attached to them",
		Long: `Show the root, the units and the tenants, each under what is above it, with the
service control policies (SCP) and resource control policies (RCP) attached to
it. What is attached above holds below.`,
		Example: "  carrel org tree",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return list(c.Context(), a, client.Request{Path: "/v1/organization"}, tree)
		},
	}
}

// tree writes nodes, each with its depth as an indent.
func tree(w io.Writer, nodes []treeNode) {
	row(w, "NAME", "KIND", "SCPS", "RCPS")
	depth := map[string]int{}
	for _, n := range nodes {
		if n.Parent != "" {
			depth[n.ID] = depth[n.Parent] + 1
		}
		row(w, strings.Repeat("  ", depth[n.ID])+n.Name, n.Kind, policyNames(n.SCPs), policyNames(n.RCPs))
	}
}

// policyNames gives the last parts of ARNs.
func policyNames(arns []string) string {
	names := make([]string, len(arns))
	for i, arn := range arns {
		names[i] = arn[strings.LastIndexByte(arn, '/')+1:]
	}
	return strings.Join(names, ",")
}

func (a *app) orgMove() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:     "move TENANT UNIT",
		Short:   "Put a tenant, with the tenants below it, into a unit or under the root",
		Example: "  carrel org move acme emea\n  carrel org move acme root",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := tenantPath(args[0])
			if err != nil {
				return err
			}
			r := client.Request{Method: http.MethodPut, Path: path + "/unit", Body: map[string]string{"unit": args[1]}}
			return ch.make(c.Context(), a, r, "Tenant "+args[0]+" is in "+args[1]+" now.")
		},
	})
}

func (a *app) unitCreate() *cobra.Command {
	var ch change
	var parent string
	c := ch.flag(&cobra.Command{
		Use:     "create NAME",
		Short:   "Make a unit",
		Example: "  carrel org unit create emea\n  carrel org unit create retail --parent emea",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			body := map[string]string{"name": args[0]}
			if parent != "" {
				body["parent"] = parent
			}
			var u unitView
			if err := ch.send(c.Context(), a, client.Request{Method: http.MethodPost, Path: "/v1/organization/units", Body: body}, &u); err != nil {
				return err
			}
			return a.print(u, func(w io.Writer) { row(w, "unit", u.Name); row(w, "id", u.ID); row(w, "parent", u.Parent) })
		},
	})
	c.Flags().StringVar(&parent, "parent", "", "name or id of the unit above it; the root if left out")
	return c
}

func (a *app) unitDelete() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:     "delete UNIT",
		Short:   "Remove an empty unit, with what is attached to it",
		Example: "  carrel org unit delete emea",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r := client.Request{Method: http.MethodDelete, Path: under("/v1/organization/units", args[0])}
			return ch.make(c.Context(), a, r, "Unit "+args[0]+" is removed.")
		},
	})
}
