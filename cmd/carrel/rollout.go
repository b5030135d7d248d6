package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

type rolloutView struct {
	Qualifier  string    `json:"qualifier,omitempty"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	State      string    `json:"state"`
	Tenants    []string  `json:"tenants,omitempty"`
	Tag        string    `json:"tag,omitempty"`
	TagValue   string    `json:"tagValue,omitempty"`
	Percent    float64   `json:"percent,omitempty"`
	EndTenants int       `json:"endTenants"`
	Moved      int       `json:"moved"`
	By         string    `json:"by"`
	StartedAt  time.Time `json:"startedAt"`
	ChangedAt  time.Time `json:"changedAt"`
}

func (a *app) printRollout(v rolloutView) error {
	return a.print(v, func(w io.Writer) {
		if v.Qualifier != "" {
			row(w, "alias", v.Qualifier)
		}
		row(w, "from", v.From)
		row(w, "to", v.To)
		row(w, "state", v.State)
		row(w, "end tenants on it", fmt.Sprintf("%d of %d", v.Moved, v.EndTenants))
		if len(v.Tenants) > 0 {
			row(w, "first for", strings.Join(v.Tenants, ", "))
		}
		if v.Tag != "" {
			row(w, "first for the tag", strings.TrimSuffix(v.Tag+"="+v.TagValue, "="))
		}
		if v.Percent > 0 {
			row(w, "first for", fmt.Sprintf("%g %%", v.Percent))
		}
		row(w, "begun", v.StartedAt.Format(time.RFC3339))
		row(w, "changed", v.ChangedAt.Format(time.RFC3339))
	})
}

// rolloutRequest names the function, or NAME:ALIAS, that a roll-out is about.
func rolloutRequest(method, name, step string) client.Request {
	name, alias, _ := strings.Cut(name, ":")
	r := client.Request{Method: method, Path: under("/v1/functions", name) + "/rollout" + step}
	if alias != "" {
		r.Query = url.Values{"qualifier": {alias}}
	}
	return r
}

func (a *app) rolloutCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "rollout",
		Aliases: []string{"rollouts"},
		Short:   "Bring a version to end tenants, some of them first",
		Long: `Bring a version of a function that serves end tenants to some of them first, and
then to all or to none. FUNCTION is about calls by the bare name, FUNCTION:ALIAS
about calls by the alias. Calls that name a version get that one.`,
		Example: `  carrel rollout start shop:live --to 7 --percent 5
  carrel rollout status shop:live
  carrel rollout promote shop:live`,
	}, a.rolloutStart(),
		a.rolloutStep("status", http.MethodGet, "", "Show a roll-out and how far it is"),
		a.rolloutStep("promote", http.MethodPost, "/promote", "Bring the version to all end tenants"),
		a.rolloutStep("rollback", http.MethodPost, "/rollback", "Give all end tenants the version from before"),
		a.rolloutPin(), a.rolloutUnpin())
}

func (a *app) rolloutStart() *cobra.Command {
	var to, tag string
	var tenants []string
	var percent float64
	c := &cobra.Command{
		Use:   "start FUNCTION[:ALIAS] [--to VERSION] (--tenants A,B | --tag KEY[=VALUE] | --percent N)",
		Short: "Bring a version to some end tenants first, or change to whom",
		Long: `Bring a version to some end tenants first: those that are named, those whose
linked account has a tag, a share of all, or whoever is one of these. Given again
while it runs, it changes to whom. Who is in a share stays in a larger one.`,
		Example: "  carrel rollout start shop:live --to 7 --tenants blue,red --percent 5",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			key, value, _ := strings.Cut(tag, "=")
			r := rolloutRequest(http.MethodPost, args[0], "")
			r.Body = map[string]any{"to": to, "tenants": tenants, "tag": key, "tagValue": value, "percent": percent}
			var v rolloutView
			if err := a.do(c.Context(), r, &v); err != nil {
				return err
			}
			return a.printRollout(v)
		},
	}
	c.Flags().StringVar(&to, "to", "", "version; the one published last if left out")
	c.Flags().StringSliceVar(&tenants, "tenants", []string{}, "end tenants that get it first")
	c.Flags().StringVar(&tag, "tag", "", "tag of the linked accounts of those that get it first")
	c.Flags().Float64Var(&percent, "percent", 0, "share of all end tenants that gets it first")
	return c
}

func (a *app) rolloutStep(name, method, step, short string) *cobra.Command {
	return &cobra.Command{
		Use:     name + " FUNCTION[:ALIAS]",
		Short:   short,
		Example: "  carrel rollout " + name + " shop:live",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var v rolloutView
			if err := a.do(c.Context(), rolloutRequest(method, args[0], step), &v); err != nil {
				return err
			}
			return a.printRollout(v)
		},
	}
}

func pinPath(name, endTenant string) string {
	return under(under("/v1/functions", name)+"/pins", endTenant)
}

func (a *app) rolloutPin() *cobra.Command {
	return &cobra.Command{
		Use:     "pin FUNCTION END-TENANT VERSION",
		Short:   "Keep an end tenant on a version, whatever is brought out",
		Example: "  carrel rollout pin shop blue 6",
		Args:    cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			r := client.Request{Method: http.MethodPut, Path: pinPath(args[0], args[1]), Body: map[string]string{"version": args[2]}}
			if err := a.do(c.Context(), r, nil); err != nil {
				return err
			}
			a.say("The tenant %s is kept on version %s.", args[1], args[2])
			return nil
		},
	}
}

func (a *app) rolloutUnpin() *cobra.Command {
	return &cobra.Command{
		Use:     "unpin FUNCTION END-TENANT",
		Short:   "End the pin of an end tenant",
		Example: "  carrel rollout unpin shop blue",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.do(c.Context(), client.Request{Method: http.MethodDelete, Path: pinPath(args[0], args[1])}, nil); err != nil {
				return err
			}
			a.say("The tenant %s gets what is brought out.", args[1])
			return nil
		},
	}
}
