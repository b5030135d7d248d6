package main

import (
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

type layoutView struct {
	Name      string    `json:"name"`
	Pattern   string    `json:"pattern"`
	AccountID string    `json:"accountId"`
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
}

type shareView struct {
	ID        string    `json:"id"`
	Resource  string    `json:"resource"`
	Owner     string    `json:"owner"`
	With      string    `json:"with"`
	Reason    string    `json:"reason"`
	By        string    `json:"by"`
	CreatedAt time.Time `json:"createdAt"`
}

func (a *app) layoutCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "layout",
		Aliases: []string{"layouts"},
		Short:   "Say where in resources' names their owner stands",
		Example: "  carrel layout put orders 'arn:aws:s3:::orders/{tenant}/*'",
	}, a.layoutPut(), a.layoutList(), a.layoutDelete())
}

func (a *app) layoutPut() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:   "put NAME PATTERN",
		Short: "Declare a layout, or declare it anew",
		Long: `Declare where in the names of resources that tenants share the owner's id
stands: PATTERN is an ARN with one {tenant}. Isolation is proved against it.`,
		Example: "  carrel layout put orders 'arn:aws:s3:::orders/{tenant}/*'",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			var l layoutView
			r := client.Request{Method: http.MethodPut, Path: under("/v1/layouts", args[0]), Body: map[string]string{"pattern": args[1]}}
			if err := ch.send(c.Context(), a, r, &l); err != nil {
				return err
			}
			return a.print(l, func(w io.Writer) { layouts(w, []layoutView{l}) })
		},
	})
}

func layouts(w io.Writer, all []layoutView) {
	row(w, "LAYOUT", "PATTERN", "ACCOUNT", "VERSION", "DECLARED")
	for _, l := range all {
		row(w, l.Name, l.Pattern, l.AccountID, l.Version, l.CreatedAt.Format(time.RFC3339))
	}
}

func (a *app) layoutList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the account's layouts and the operators'",
		Example: "  carrel layout list",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return list(c.Context(), a, client.Request{Path: "/v1/layouts"}, layouts)
		},
	}
}

func (a *app) layoutDelete() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:     "delete NAME",
		Short:   "Remove a layout of the account",
		Example: "  carrel layout delete orders",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return ch.make(c.Context(), a, client.Request{Method: http.MethodDelete, Path: under("/v1/layouts", args[0])}, "Layout "+args[0]+" is removed.")
		},
	})
}

func (a *app) shareCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "share",
		Aliases: []string{"shares"},
		Short:   "Consent that another tenant reaches a resource of one's own",
		Example: "  carrel share create --resource arn:aws:lambda:us-east-1:111122223333:function:price --with globex --reason 'price list'",
	}, a.shareCreate(), a.shareList(), a.shareDelete())
}

func (a *app) shareCreate() *cobra.Command {
	var ch change
	var resource, with, reason string
	c := ch.flag(&cobra.Command{
		Use:   "create --resource ARN --with TENANT --reason REASON",
		Short: "Share a resource with a tenant",
		Long: `Consent that another tenant may reach a resource. Only the account that owns it
can. A share allows nothing by itself: it is what policies are judged with, so
it is made first, and the policy that lets the other tenant in after it.`,
		Example: "  carrel share create --resource arn:aws:lambda:us-east-1:111122223333:function:price --with globex --reason 'price list'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if resource == "" || with == "" || reason == "" {
				return usageError("give --resource, --with and --reason")
			}
			var s shareView
			body := map[string]string{"resource": resource, "with": with, "reason": reason}
			if err := ch.send(c.Context(), a, client.Request{Method: http.MethodPost, Path: "/v1/shares", Body: body}, &s); err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) { shares(w, []shareView{s}) })
		},
	})
	c.Flags().StringVar(&resource, "resource", "", "ARN of what the account owns; wildcards are allowed after the account")
	c.Flags().StringVar(&with, "with", "", "name or account of the tenant")
	c.Flags().StringVar(&reason, "reason", "", "why; shown with the share and in the audit log")
	return c
}

func shares(w io.Writer, all []shareView) {
	row(w, "SHARE", "RESOURCE", "OWNER", "WITH", "REASON", "MADE")
	for _, s := range all {
		row(w, s.ID, s.Resource, s.Owner, s.With, s.Reason, s.CreatedAt.Format(time.RFC3339))
	}
}

func (a *app) shareList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the shares by the account and with it; all of them for operators",
		Example: "  carrel share list",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return list(c.Context(), a, client.Request{Path: "/v1/shares"}, shares)
		},
	}
}

func (a *app) shareDelete() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:     "delete ID",
		Short:   "End a share that no policy needs any more",
		Example: "  carrel share delete share-6ybdnmxvzdkzqlkq",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return ch.make(c.Context(), a, client.Request{Method: http.MethodDelete, Path: under("/v1/shares", args[0])}, "Share "+args[0]+" is ended.")
		},
	})
}
