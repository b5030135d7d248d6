// Command carrel runs a Carrel node, and speaks to one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/config"
	"github.com/carrel-dev/carrel/internal/client"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the program without the process: it gives the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: config.Getenv}
	return a.run(context.Background(), args)
}

// app is what the subcommands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            config.Environment

	// output, dataDir and endpoint are the flags of all commands.
	output, dataDir, endpoint string
	// credentials is where those of the last request came from.
	credentials string
}

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var code answer
	if errors.As(err, &code) {
		return int(code)
	}
	f := failureOf(err)
	if f.ExitCode == exitAuth && f.Remedy == "" && a.credentials != "" {
		f.Remedy = "The credentials came from " + a.credentials + "."
	}
	if a.output == outputJSON || askedForJSON(args) {
		body, _ := json.Marshal(map[string]failure{"error": f}) // strings and a number always marshal
		fmt.Fprintln(a.stderr, string(body))
	} else {
		fmt.Fprintln(a.stderr, f)
	}
	return f.ExitCode
}

// askedForJSON finds --output json where parsing stopped before it.
func askedForJSON(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return arg == "--output=json" || arg == "-o=json" || arg == "-ojson" }) ||
		strings.Contains(" "+strings.Join(args, " ")+" ", " --output json ") || strings.Contains(" "+strings.Join(args, " ")+" ", " -o json ")
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "carrel",
		Short: "Run tenants' functions, each in its own room",
		Long: `Carrel runs functions of many tenants behind the protocols of AWS Lambda.

Start a node with "carrel up", make tenants with "carrel tenant create", and
deploy and call functions with the AWS CLI or an AWS SDK.

Commands that speak to a node take its endpoint and credentials from
AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION; if
these are not set, from operator.env in the folder of --data.

Exit codes: 0 success, 2 usage, 3 configuration, 4 refused or not signed in,
5 not found, 6 over a quota, 7 the node failed or does not answer, 8 not decided
by a proof, 1 other, or a proof's answer is no.`,
		Example: `  carrel up
  carrel tenant create acme
  carrel usage --tenant acme`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          groupRun,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != outputTable && a.output != outputJSON {
				return usageError("--output %q: need table or json", a.output)
			}
			return nil
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", outputTable, "form of the output: table or json")
	flags.StringVar(&a.dataDir, "data", config.Default().DataDir, "folder of the node's data")
	flags.StringVar(&a.endpoint, "endpoint", "", "URL of the node, before AWS_ENDPOINT_URL")
	root.AddCommand(a.serveCommand(), a.upCommand(), a.tenantCommand(), a.planCommand(), a.usageCommand(),
		a.functionCommand(), a.logsCommand(), a.eventsCommand(), a.iamCommand(), a.orgCommand(), a.policyCommand(), a.layoutCommand(), a.shareCommand(), a.rolloutCommand(),
		a.gatekeeperCommand(), a.breakGlassCommand(), a.auditCommand(), a.attackCommand(), a.proveCommand(), a.tokenCommand(), a.claimTagsCommand(), a.sessionCommand(), a.statusCommand(), a.versionCommand())
	return root
}

// group makes a command that only holds others: without one of them it
// shows help, and a misspelt one is an error that names the likely one.
func group(c *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	c.Args, c.RunE = cobra.ArbitraryArgs, groupRun
	c.AddCommand(subcommands...)
	return c
}

func groupRun(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	remedy := fmt.Sprintf("Run %q for the list.", c.CommandPath()+" --help")
	if c.SuggestionsMinimumDistance <= 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		remedy = fmt.Sprintf("Did you mean %q?", c.CommandPath()+" "+near[0])
	}
	return &failure{Code: "UnknownCommand", Message: fmt.Sprintf("There is no command %q.", c.CommandPath()+" "+args[0]), Remedy: remedy, ExitCode: exitUsage}
}

// client gives the client for the node that flags and environment name.
func (a *app) client() (*client.Client, error) {
	from, err := a.target()
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{
		Endpoint: from.Endpoint, Region: from.Region, AccessKeyID: from.AccessKeyID, SecretAccessKey: from.SecretKey,
		SessionToken: from.SessionToken, CACert: from.CACert, UserAgent: "carrel/" + version,
	})
	if err != nil {
		return nil, &failure{Code: "BadEndpoint", Message: sentence(err.Error()), ExitCode: exitConfig}
	}
	return c, nil
}

// do sends one request.
func (a *app) do(ctx context.Context, r client.Request, into any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return c.Do(ctx, r, into)
}

// list prints a whole list: the items as the node gave them with --output
// json, else a table of them.
func list[T any](ctx context.Context, a *app, r client.Request, table func(io.Writer, []T)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	raw := []json.RawMessage{}
	err = client.Pages(ctx, c, r, func(items []json.RawMessage) error {
		raw = append(raw, items...)
		return nil
	})
	if err != nil {
		return err
	}
	all := make([]T, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &all[i]); err != nil {
			return other("UnexpectedAnswer", fmt.Errorf("the node's answer is not understood: %w", err))
		}
	}
	return a.print(raw, func(w io.Writer) { table(w, all) })
}

func isCanceled(err error) bool { return errors.Is(err, context.Canceled) }
