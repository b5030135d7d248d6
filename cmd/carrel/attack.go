package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/attack"
	"github.com/carrel-dev/carrel/config"
)

// assault is the command attack with its flags.
type assault struct {
	*app
	only []string
	list bool
}

func (a *app) attackCommand() *cobra.Command {
	s := &assault{app: a}
	c := &cobra.Command{
		Use:   "attack",
		Short: "Attack a running node as a tenant could, and say what stopped it",
		Long: `Attack a running node as a tenant could: through its API and from inside of
functions. Two tenants are made for it, on the smallest plan, and deleted after,
also when it is broken off; their names stay taken, as those of all tenants do. No
attack names anybody else's tenants. The node may be in use.

Each attack has a harmless twin that has to work, so that a node which refuses
everything passes nothing. Attacks that need the host, or something that is not
built, are listed as skipped with the reason.

For operators. The exit code is 1 if an attack was not stopped.`,
		Example: `  carrel attack
  carrel attack --only A07,A24 --output json
  carrel attack --list`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return s.run(c.Context()) },
	}
	c.Flags().StringSliceVar(&s.only, "only", nil, "ids of the attacks to make; all if left out")
	c.Flags().BoolVar(&s.list, "list", false, "list the attacks and make none")
	return c
}

func (s *assault) run(ctx context.Context) error {
	attacks, err := attack.Choose(s.only)
	if err != nil {
		return usageError("%v", err)
	}
	if s.list {
		return s.print(listed(attacks), func(w io.Writer) {
			row(w, "ID", "MADE", "ATTACK")
			for _, a := range attacks {
				row(w, a.ID, map[bool]string{true: "yes", false: a.Elsewhere}[a.Runs()], a.Title)
			}
		})
	}
	from, err := s.target()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := attack.Run(ctx, attack.Config{
		Endpoint: from.Endpoint, Region: from.Region, AccessKeyID: from.AccessKeyID, SecretAccessKey: from.SecretKey,
		SessionToken: from.SessionToken, CACert: from.CACert,
	}, attacks, s.progress)
	for _, left := range report.Leftovers {
		s.say("Not cleaned up: %s", oneLine(left))
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return other("AttackNotMade", err)
	}
	if err := s.show(report); err != nil {
		return err
	}
	if err != nil {
		return &failure{Code: "Interrupted", Message: "The attacks were broken off; the tenants made for them are deleted.", ExitCode: exitOther}
	}
	if report.Count(attack.Fail) > 0 {
		return answer(exitOther)
	}
	return nil
}

// listed is what --list shows of attacks.
func listed(attacks []attack.Attack) []map[string]any {
	list := []map[string]any{}
	for _, a := range attacks {
		list = append(list, map[string]any{"id": a.ID, "title": a.Title, "defence": a.Defence, "made": a.Runs(), "elsewhere": a.Elsewhere})
	}
	return list
}

// progress tells of each attack as it ends, where the output itself does not.
func (s *assault) progress(r attack.Result) {
	if s.output != outputTable && r.Result != attack.Skipped && terminal(s.stderr) {
		s.say("%s %s", r.ID, r.Result)
	}
}

func (s *assault) show(report attack.Report) error {
	return s.print(report, func(w io.Writer) {
		row(w, "ID", "RESULT", "ATTACK", "TRIED", "STOPPED BY")
		for _, r := range report.Results {
			last := r.StoppedBy
			if r.Result != attack.Pass {
				last = r.Evidence
			}
			row(w, r.ID, s.mark(r.Result), r.Title, r.Tried, last)
		}
		fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", report.Count(attack.Pass), report.Count(attack.Fail), report.Count(attack.Skipped))
	})
}

func (s *assault) mark(result string) string {
	if result == attack.Fail {
		return "FAIL"
	}
	return result
}

// target is the node that flags and environment name.
func (a *app) target() (config.Client, error) {
	env := a.env
	if a.endpoint != "" {
		env = func(name string) string {
			if name == "AWS_ENDPOINT_URL_CARREL" {
				return a.endpoint
			}
			return a.env(name)
		}
	}
	from, err := config.ClientFrom(env, a.dataDir)
	if err != nil {
		return from, &failure{Code: "NoNode", Message: sentence(err.Error()), ExitCode: exitConfig}
	}
	a.credentials = from.From
	return from, nil
}
