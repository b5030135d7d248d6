package main

import (
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

type linkView struct {
	ID         string    `json:"id"`
	Provider   string    `json:"provider"`
	EndTenant  string    `json:"endTenant"`
	AccountID  string    `json:"accountId"`
	State      string    `json:"state"`
	By         string    `json:"by"`
	CreatedAt  time.Time `json:"createdAt"`
	AcceptedBy string    `json:"acceptedBy,omitempty"`
}

func links(w io.Writer, all []linkView) {
	row(w, "LINK", "PROVIDER", "END TENANT", "ACCOUNT", "STATE", "MADE")
	for _, l := range all {
		row(w, l.ID, l.Provider, l.EndTenant, l.AccountID, l.State, l.CreatedAt.Format(time.RFC3339))
	}
}

func (a *app) linkCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "link",
		Aliases: []string{"links"},
		Short:   "Have functions run in an end tenant's own account",
		Long: `Have one's functions run in a child tenant's account for an end tenant, as the
strategy account does. The provider asks, and the other account accepts: from
then on who deploys code in the provider's account decides what runs as the
roles of the other that trust functions.`,
		Example: "  carrel tenant link create blue --account blue-co",
	}, a.linkCreate(), a.linkList(), a.linkAccept(), a.linkDelete())
}

func (a *app) linkCreate() *cobra.Command {
	var ch change
	var account string
	c := ch.flag(&cobra.Command{
		Use:     "create END-TENANT --account TENANT",
		Short:   "Ask that functions run in a child tenant's account for an end tenant",
		Example: "  carrel tenant link create blue --account blue-co",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if account == "" {
				return usageError("give --account")
			}
			var l linkView
			body := map[string]string{"endTenant": args[0], "account": account}
			if err := ch.send(c.Context(), a, client.Request{Method: http.MethodPost, Path: "/v1/links", Body: body}, &l); err != nil {
				return err
			}
			a.say("Nothing runs there before the account accepts: carrel tenant link accept %s, with its own credentials.", l.ID)
			return a.print(l, func(w io.Writer) { links(w, []linkView{l}) })
		},
	})
	c.Flags().StringVar(&account, "account", "", "name or account of the child tenant")
	return c
}

func (a *app) linkList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the links that the account is a side of; all of them for operators",
		Example: "  carrel tenant link list",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return list(c.Context(), a, client.Request{Path: "/v1/links"}, links)
		},
	}
}

func (a *app) linkAccept() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:     "accept ID",
		Short:   "Consent to a link with one's own account",
		Example: "  carrel tenant link accept link-6ybdnmxvzdkzqlkq",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var l linkView
			if err := ch.send(c.Context(), a, client.Request{Method: http.MethodPost, Path: under("/v1/links", args[0]) + "/accept"}, &l); err != nil {
				return err
			}
			return a.print(l, func(w io.Writer) { links(w, []linkView{l}) })
		},
	})
}

func (a *app) linkDelete() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:     "delete ID",
		Short:   "End a link; what runs finishes",
		Example: "  carrel tenant link delete link-6ybdnmxvzdkzqlkq",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return ch.make(c.Context(), a, client.Request{Method: http.MethodDelete, Path: under("/v1/links", args[0])}, "Link "+args[0]+" is ended.")
		},
	})
}
