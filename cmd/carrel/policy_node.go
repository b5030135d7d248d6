package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

// policyView is a policy of the operators.
type policyView struct {
	Name        string    `json:"name"`
	ARN         string    `json:"arn"`
	Description string    `json:"description,omitempty"`
	Version     string    `json:"version"`
	Targets     []string  `json:"targets"`
	Attachments int       `json:"attachments"`
	CreatedAt   time.Time `json:"createdAt"`
	UpdatedAt   time.Time `json:"updatedAt"`
}

// policyText is a policy with its text.
type policyText struct {
	policyView
	Policy   string          `json:"policy"`
	Warnings []policyWarning `json:"warnings,omitempty"`
}

type policyWarning struct {
	Code    string `json:"code"`
	Path    string `json:"path"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// nodePolicies are the subcommands of policy that speak to a node.
func (a *app) nodePolicies() []*cobra.Command {
	return []*cobra.Command{a.policyPut(), a.policyGet(), a.policyList(), a.policyAttach(), a.policyDetach(), a.policyDelete()}
}

func (a *app) policyPut() *cobra.Command {
	var ch change
	var description string
	c := ch.flag(&cobra.Command{
		Use:   "put NAME FILE",
		Short: "Make a policy of the operators, or a new version of it that counts at once",
		Long: `Make a managed policy of the operators' account, which principals of every
tenant can have, and which can be attached as a guardrail; or give it another
text. It is judged as if a role of every tenant had it: a policy by which one
tenant could reach what is another's is refused, with the request that shows it.

FILE is "-" for the standard input.`,
		Example: "  carrel policy put data-access data-access.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := a.readPolicy(args[1])
			if err != nil {
				return err
			}
			body := map[string]string{"policy": text}
			if description != "" {
				body["description"] = description
			}
			var p policyText
			if err := ch.send(c.Context(), a, client.Request{Method: http.MethodPut, Path: under("/v1/policies", args[0]), Body: body}, &p); err != nil {
				return err
			}
			for _, w := range p.Warnings {
				a.say("warning %s at %s: %s", w.Code, w.Path, printable(w.Message))
			}
			return a.printPolicy(p)
		},
	})
	c.Flags().StringVar(&description, "description", "", "what the policy is for")
	return c
}

// readPolicy reads the text of a policy as it is.
func (a *app) readPolicy(name string) (string, error) {
	from := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", other("Input", err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxPolicyFile+1))
	if err != nil {
		return "", other("Input", err)
	}
	if len(text) > maxPolicyFile {
		return "", other("Input", fmt.Errorf("%s is larger than %d bytes; no policy is", name, maxPolicyFile))
	}
	return string(text), nil
}

func (a *app) printPolicy(p policyText) error {
	return a.print(p, func(w io.Writer) {
		row(w, "policy", p.Name)
		row(w, "arn", p.ARN)
		row(w, "version", p.Version)
		row(w, "attached to", strings.Join(p.Targets, ","))
		row(w, "principals", p.Attachments)
	})
}

func (a *app) policyGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get NAME",
		Short:   "Write the text of a policy of the operators",
		Example: "  carrel policy get data-access > data-access.json\n  carrel policy get data-access --output json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var p policyText
			if err := a.do(c.Context(), client.Request{Path: under("/v1/policies", args[0])}, &p); err != nil {
				return err
			}
			if a.output == outputJSON {
				return writeJSON(a.stdout, p)
			}
			_, err := fmt.Fprintln(a.stdout, strings.TrimSuffix(printable(p.Policy), "\n"))
			return flushed(err)
		},
	}
}

func (a *app) policyList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the policies of the operators",
		Example: "  carrel policy list",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return list(c.Context(), a, client.Request{Path: "/v1/policies"}, func(w io.Writer, all []policyView) {
				row(w, "POLICY", "VERSION", "ATTACHED TO", "PRINCIPALS", "UPDATED")
				for _, p := range all {
					row(w, p.Name, p.Version, strings.Join(p.Targets, ","), p.Attachments, p.UpdatedAt.Format(time.RFC3339))
				}
			})
		},
	}
}

func (a *app) policyAttach() *cobra.Command {
	return a.guardrail("attach", "Attach a policy to the root, a unit or a tenant, for all that is below", `Attach a policy as a guardrail. As an SCP it bounds what principals below the
target may do: every level has to allow it, and none may deny it. As an RCP it
bounds what may be done with resources below the target, whoever asks.`)
}

func (a *app) policyDetach() *cobra.Command {
	return a.guardrail("detach", "Detach a policy from the root, a unit or a tenant", `Detach a guardrail. It is refused where one tenant could then reach what is
another's, and where it is the last SCP of the target.`)
}

func (a *app) guardrail(verb, short, long string) *cobra.Command {
	var ch change
	var target, as string
	c := ch.flag(&cobra.Command{
		Use:     verb + " NAME --target TARGET --as scp|rcp",
		Short:   short,
		Long:    long,
		Example: "  carrel policy " + verb + " no-storage --target root --as scp\n  carrel policy " + verb + " perimeter --target tenant/acme --as rcp",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if target == "" || as != "scp" && as != "rcp" {
				return usageError("give --target and --as scp or --as rcp")
			}
			r := client.Request{Method: http.MethodPost, Path: under("/v1/policies", args[0]) + "/" + verb, Body: map[string]string{"target": target, "as": as}}
			said := "Policy " + args[0] + " is attached to " + target + "."
			if verb == "detach" {
				said = "Policy " + args[0] + " is detached from " + target + "."
			}
			return ch.make(c.Context(), a, r, said)
		},
	})
	c.Flags().StringVar(&target, "target", "", "root, a unit, or a tenant; unit/NAME or tenant/NAME where both have the name")
	c.Flags().StringVar(&as, "as", "", "scp or rcp")
	return c
}

func (a *app) policyDelete() *cobra.Command {
	var ch change
	return ch.flag(&cobra.Command{
		Use:     "delete NAME",
		Short:   "Remove a policy of the operators that is attached to nothing",
		Example: "  carrel policy delete data-access",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return ch.make(c.Context(), a, client.Request{Method: http.MethodDelete, Path: under("/v1/policies", args[0])}, "Policy "+args[0]+" is removed.")
		},
	})
}
