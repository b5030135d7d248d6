package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

func (a *app) gatekeeperCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "gatekeeper",
		Short:   "Mark roles whose callers do not bound what they do",
		Example: "  carrel gatekeeper mark acme reports --reason 'reads all orders, gives sums'",
	}, a.gatekeeperMark(), a.gatekeeperUnmark())
}

// gatekeeperPath is the path of a role's mark.
func gatekeeperPath(slug, role string) (string, error) {
	path, err := tenantPath(slug)
	return under(path+"/gatekeepers", role), err
}

func (a *app) gatekeeperMark() *cobra.Command {
	var ch change
	var reason string
	c := ch.flag(&cobra.Command{
		Use:   "mark TENANT ROLE --reason REASON",
		Short: "Mark a role as a gatekeeper",
		Long: `Mark a role. A function with this role does with resources of its own account
what the role may, and not only what its callers may too; its code has to check
what they ask for. The prover counts it as a way that callers can go.`,
		Example: "  carrel gatekeeper mark acme reports --reason 'reads all orders, gives sums'",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := gatekeeperPath(args[0], args[1])
			if err != nil {
				return err
			}
			if reason == "" {
				return usageError("give --reason")
			}
			r := client.Request{Method: http.MethodPut, Path: path, Body: map[string]string{"reason": reason}}
			return ch.make(c.Context(), a, r, "Role "+args[1]+" of "+args[0]+" is a gatekeeper now.")
		},
	})
	c.Flags().StringVar(&reason, "reason", "", "why; shown with the role and in the tenant's audit log")
	return c
}

func (a *app) gatekeeperUnmark() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:     "unmark TENANT ROLE",
		Short:   "End the mark of a role",
		Example: "  carrel gatekeeper unmark acme reports",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := gatekeeperPath(args[0], args[1])
			if err != nil {
				return err
			}
			return ch.make(c.Context(), a, client.Request{Method: http.MethodDelete, Path: path}, "Role "+args[1]+" of "+args[0]+" is no gatekeeper.")
		},
	})
}

// sessionView is temporary credentials.
type sessionView struct {
	AccessKeyID     string    `json:"accessKeyId"`
	SecretAccessKey string    `json:"secretAccessKey"`
	SessionToken    string    `json:"sessionToken"`
	Expires         time.Time `json:"expires"`
	ARN             string    `json:"arn"`
}

func (a *app) breakGlassCommand() *cobra.Command {
	var role, reason string
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "break-glass TENANT --role ROLE --reason REASON",
		Short: "Take on a role of a tenant for a while, which the tenant sees",
		Long: `Get credentials of a session of a tenant's role, as an operator. Operators hold
no rights on what tenants hold; this is the way around that, for emergencies.
The session ends by itself. The tenant finds it in its audit log, with the
reason, and what is done with it.

The output can be evaluated by a shell.`,
		Example: `  carrel break-glass acme --role fn --reason 'ticket 4711' --ttl 15m
  eval "$(carrel break-glass acme --role fn --reason 'ticket 4711')"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := tenantPath(args[0])
			if err != nil {
				return err
			}
			if role == "" || reason == "" {
				return usageError("give --role and --reason")
			}
			if ttl%time.Second != 0 || ttl < time.Minute || ttl > time.Hour {
				return usageError("--ttl %s: need whole seconds, one minute to one hour", ttl)
			}
			var s sessionView
			body := map[string]any{"role": role, "reason": reason, "seconds": int(ttl / time.Second)}
			if err := a.do(c.Context(), client.Request{Method: http.MethodPost, Path: path + "/break-glass", Body: body}, &s); err != nil {
				return err
			}
			if a.output == outputJSON {
				return writeJSON(a.stdout, s)
			}
			a.say("Until %s you are %s. The tenant sees it.", s.Expires.Format(time.RFC3339), s.ARN)
			for _, v := range [][2]string{
				{"AWS_ACCESS_KEY_ID", s.AccessKeyID}, {"AWS_SECRET_ACCESS_KEY", s.SecretAccessKey}, {"AWS_SESSION_TOKEN", s.SessionToken},
			} {
				if _, err := fmt.Fprintf(a.stdout, "export %s=%s\n", v[0], shellQuote(v[1])); err != nil {
					return flushed(err)
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&role, "role", "", "name of the tenant's role")
	c.Flags().StringVar(&reason, "reason", "", "why; shown to the tenant")
	c.Flags().DurationVar(&ttl, "ttl", 15*time.Minute, "how long the session lasts, up to 1h")
	return c
}

// auditView is an entry of an account's audit log.
type auditView struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId"`
	Principal string    `json:"principal"`
	Action    string    `json:"action"`
	Resource  string    `json:"resource"`
	Outcome   string    `json:"outcome"`
	Code      string    `json:"code"`
	Reason    string    `json:"reason"`
}

func (a *app) auditCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "audit",
		Short:   "Show what was decided about an account",
		Example: "  carrel audit list",
	}, a.auditList())
}

func (a *app) auditList() *cobra.Command {
	var of string
	c := &cobra.Command{
		Use:   "list",
		Short: "List refusals and changes of an account, and the operators' that concern it",
		Long: `List refusals and control acts of an account, the oldest first: an act is there
as allowed before it and as done or failed after it. What operators do that
concerns the account is there too, as a break-glass session.`,
		Example: "  carrel audit list\n  carrel audit list --tenant acme --output json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r := client.Request{Path: "/v1/audit"}
			if of != "" {
				r.Query = url.Values{"tenant": {of}}
			}
			return list(c.Context(), a, r, func(w io.Writer, all []auditView) {
				row(w, "TIME", "WHO", "ACTION", "RESOURCE", "OUTCOME", "CODE", "REASON")
				for _, e := range all {
					row(w, e.Time.Format(time.RFC3339), e.Principal, e.Action, e.Resource, e.Outcome, e.Code, e.Reason)
				}
			})
		},
	}
	c.Flags().StringVar(&of, "tenant", "", "name of the tenant (operators)")
	return c
}
