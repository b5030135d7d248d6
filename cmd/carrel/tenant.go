package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

// tenantView is a tenant as the node shows it.
type tenantView struct {
	TenantID  string            `json:"tenantId"`
	AccountID string            `json:"accountId"`
	Plan      string            `json:"plan"`
	Status    string            `json:"status"`
	Parent    string            `json:"parent,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
	CreatedAt time.Time         `json:"createdAt"`
}

// newTenant is what the node answers to the making of a tenant. The order of
// the fields is that of the output.
type newTenant struct {
	TenantID        string `json:"tenantId"`
	AccountID       string `json:"accountId"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	EndpointURL     string `json:"endpointUrl"`
	Region          string `json:"region"`
	UserARN         string `json:"userArn"`
	RoleARN         string `json:"roleArn"`
}

func (a *app) tenantCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "tenant",
		Aliases: []string{"tenants"},
		Short:   "Make and manage tenants",
		Example: "  carrel tenant create acme\n  carrel tenant list",
	}, a.tenantCreate(), a.tenantList(), a.tenantShow(), a.tenantDelete(), a.tenantRoles(), a.linkCommand(),
		a.tenantState("suspend", "Refuse a tenant's calls and requests; its data stays"),
		a.tenantState("resume", "Serve a suspended tenant again"))
}

func (a *app) tenantCreate() *cobra.Command {
	var plan, parent string
	var tags map[string]string
	var roles bool
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a tenant with an account, a user admin, its access key and a role for functions",
		Long: `Make a tenant: an account, its user admin with an access key, and a role "fn"
that functions can be given, which allows nothing. The secret of the key is
shown this once. Names are never given out again.

The roles tenant-admin, tenant-developer and tenant-billing-reader, which people
of the tenant can take on, are made with it.

The output can be evaluated by a shell.`,
		Example: `  carrel tenant create acme
  carrel tenant create acme --plan unlimited --output json
  eval "$(carrel tenant create acme)"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := tenantPath(args[0]); err != nil {
				return err
			}
			body := map[string]any{"tenantId": args[0], "defaultRoles": roles}
			if plan != "" {
				body["plan"] = plan
			}
			if parent != "" {
				body["parent"] = parent
			}
			if len(tags) > 0 {
				body["tags"] = tags
			}
			var made newTenant
			if err := a.do(c.Context(), client.Request{Method: http.MethodPost, Path: "/v1/tenants", Body: body}, &made); err != nil {
				return err
			}
			if a.output == outputJSON {
				return writeJSON(a.stdout, made)
			}
			a.say("Tenant %s has account %s. Its secret key is shown this once: keep it.", made.TenantID, made.AccountID)
			a.say("For the shell of the tenant's admin:\n")
			for _, v := range [][2]string{
				{"AWS_ACCESS_KEY_ID", made.AccessKeyID}, {"AWS_SECRET_ACCESS_KEY", made.SecretAccessKey},
				{"AWS_REGION", made.Region}, {"AWS_DEFAULT_REGION", made.Region}, {"AWS_ENDPOINT_URL", made.EndpointURL},
			} {
				if _, err := fmt.Fprintf(a.stdout, "export %s=%s\n", v[0], shellQuote(v[1])); err != nil {
					return flushed(err)
				}
			}
			a.say("\nThen, for example:\n  aws lambda create-function --function-name hello --runtime provided.al2023 --handler bootstrap \\\n    --role %s --zip-file fileb://hello.zip", made.RoleARN)
			return nil
		},
	}
	c.Flags().StringVar(&plan, "plan", "", "name of the plan (see carrel plan list)")
	c.Flags().StringVar(&parent, "parent", "", "name of the tenant above it")
	c.Flags().StringToStringVar(&tags, "tag", nil, "tag, as KEY=VALUE; may be repeated")
	c.Flags().BoolVar(&roles, "default-roles", true, "make the roles for people; false for a tenant that only programs use")
	return c
}

// defaultRole is a role for people as the node shows it.
type defaultRole struct {
	Name        string `json:"name"`
	ARN         string `json:"arn"`
	PolicyARN   string `json:"policyArn"`
	Description string `json:"description"`
}

// tenantRoles makes what tenants lack that were made without roles.
func (a *app) tenantRoles() *cobra.Command {
	return &cobra.Command{
		Use:   "default-roles",
		Short: "Make the default roles of the own account that are not there",
		Long: `Make the roles for people in the account of the credentials that are used:
tenant-admin, tenant-developer and tenant-billing-reader, or operator and auditor
in the management account. Those that are there stay as they are. Who may assume
roles by its own policies can take them on.`,
		Example: "  carrel tenant default-roles",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			made := struct {
				Roles []defaultRole `json:"roles"`
			}{[]defaultRole{}}
			if err := a.do(c.Context(), client.Request{Method: http.MethodPost, Path: "/v1/default-roles"}, &made); err != nil {
				return err
			}
			if len(made.Roles) == 0 {
				a.say("All default roles are there.")
			}
			return a.print(made.Roles, func(w io.Writer) {
				row(w, "ROLE", "POLICY")
				for _, r := range made.Roles {
					row(w, r.ARN, r.PolicyARN)
				}
			})
		},
	}
}

func (a *app) tenantList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the tenants",
		Example: "  carrel tenant list\n  carrel tenant list --output json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return list(c.Context(), a, client.Request{Path: "/v1/tenants"}, func(w io.Writer, all []tenantView) {
				row(w, "TENANT", "ACCOUNT", "PLAN", "STATUS", "CREATED")
				for _, t := range all {
					row(w, t.TenantID, t.AccountID, t.Plan, t.Status, t.CreatedAt.Format(time.RFC3339))
				}
			})
		},
	}
}

func (a *app) tenantShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a tenant",
		Example: "  carrel tenant show acme",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := tenantPath(args[0])
			if err != nil {
				return err
			}
			var t tenantView
			if err := a.do(c.Context(), client.Request{Path: path}, &t); err != nil {
				return err
			}
			return a.printTenant(t)
		},
	}
}

func (a *app) tenantState(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Example: "  carrel tenant " + verb + " acme",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := tenantPath(args[0])
			if err != nil {
				return err
			}
			var t tenantView
			if err := a.do(c.Context(), client.Request{Method: http.MethodPost, Path: path + "/" + verb}, &t); err != nil {
				return err
			}
			return a.printTenant(t)
		},
	}
}

func (a *app) tenantDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Refuse a tenant for good; its data stays until destruction is built",
		Long: `Refuse a tenant's calls and requests for good. Its name is never given out
again.

The tenant's data and its key stay on the disk: destroying them is not built.`,
		Example: "  carrel tenant delete acme\n  carrel tenant delete acme --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := tenantPath(args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := a.confirm(args[0]); err != nil {
					return err
				}
			}
			var t tenantView
			if err := a.do(c.Context(), client.Request{Method: http.MethodDelete, Path: path}, &t); err != nil {
				return err
			}
			a.say("Tenant %s is refused from now on. Its data stays on the disk: destroying it is not built.", t.TenantID)
			return a.printTenant(t)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// confirm has the name typed once more.
func (a *app) confirm(name string) error {
	fmt.Fprintf(a.stderr, "Tenant %s will be refused for good, and its name never given out again; its data stays.\nType the name to go on: ", name)
	line, err := bufio.NewReader(io.LimitReader(a.stdin, 1024)).ReadString('\n')
	if strings.TrimSpace(line) == name {
		return nil
	}
	if err != nil && line == "" {
		a.say("")
	}
	return &failure{Code: "NotConfirmed", Message: "Nothing was done: the name was not typed.", Remedy: "Give --yes to go on without being asked.", ExitCode: exitUsage}
}

func (a *app) printTenant(t tenantView) error {
	return a.print(t, func(w io.Writer) {
		row(w, "tenant", t.TenantID)
		row(w, "account", t.AccountID)
		row(w, "plan", t.Plan)
		row(w, "status", t.Status)
		if t.Parent != "" {
			row(w, "parent", t.Parent)
		}
		if len(t.Tags) > 0 {
			tags, _ := json.Marshal(t.Tags) // strings always marshal
			row(w, "tags", string(tags))
		}
		row(w, "created", t.CreatedAt.Format(time.RFC3339))
	})
}

// tenantPath gives the path of a tenant; what can be no name is a mistake in use.
func tenantPath(name string) (string, error) {
	path, err := client.TenantPath(name)
	if err != nil {
		return "", usageError("%v", err)
	}
	return path, nil
}
