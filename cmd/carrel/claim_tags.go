package main

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

// claimTagsView is a provider with the tags that its tokens' claims set.
type claimTagsView struct {
	Provider string            `json:"provider"`
	Claims   map[string]string `json:"claims"`
}

func (a *app) claimTagsCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "claim-tags",
		Short: "Say which claims of identity providers' tokens set session tags",
		Example: `  carrel claim-tags list
  carrel claim-tags put arn:aws:iam::123456789012:oidc-provider/idp.example team=team`,
	}, a.claimTagsPut(), a.claimTagsList())
}

func (a *app) claimTagsPut() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:   "put PROVIDER [CLAIM=TAG ...]",
		Short: "List the claims of a provider that set session tags, in place of those before",
		Long: `Say for a provider, named by its ARN, which claims of its tokens set which session
tags. It takes the place of what was said before; without a claim, none sets a tag.
No claim sets tenant_id. The trust policy of a role has to allow sts:TagSession, too.`,
		Example: `  carrel claim-tags put arn:aws:iam::123456789012:oidc-provider/idp.example team=team https://idp.example/level=level
  carrel claim-tags put arn:aws:iam::123456789012:oidc-provider/idp.example`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			claims := map[string]string{}
			for _, arg := range args[1:] {
				// A claim may be a URL with = in it; a tag's key seldom has one.
				at := strings.LastIndexByte(arg, '=')
				if at <= 0 || at == len(arg)-1 {
					return usageError("%q is not CLAIM=TAG", arg)
				}
				if _, twice := claims[arg[:at]]; twice {
					return usageError("the claim %q is given twice", arg[:at])
				}
				claims[arg[:at]] = arg[at+1:]
			}
			r := client.Request{Method: http.MethodPut, Path: "/v1/claim-tags", Body: claimTagsView{args[0], claims}}
			return ch.make(c.Context(), a, r, "The claims of "+args[0]+" that set session tags are those now.")
		},
	})
}

func (a *app) claimTagsList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the account's providers with the claims that set session tags",
		Example: "  carrel claim-tags list",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return list(c.Context(), a, client.Request{Path: "/v1/claim-tags"}, func(w io.Writer, all []claimTagsView) {
				row(w, "PROVIDER", "CLAIM", "TAG")
				for _, p := range all {
					if len(p.Claims) == 0 {
						row(w, p.Provider, "", "")
					}
					for _, claim := range slices.Sorted(maps.Keys(p.Claims)) {
						row(w, p.Provider, claim, p.Claims[claim])
					}
				}
			})
		},
	}
}
