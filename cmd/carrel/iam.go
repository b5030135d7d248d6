package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/iam/simulate"
)

func (a *app) iamCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "iam",
		Short:   "Try policies out, without a node",
		Example: "  carrel iam simulate --batch < cases.jsonl",
	}, a.iamSimulate())
}

func (a *app) iamSimulate() *cobra.Command {
	var batch bool
	c := &cobra.Command{
		Use:   "simulate --batch",
		Short: "Decide requests that are written down with their policies",
		Long: `Reads cases from standard input, a JSON object a line, and writes a result a
line: the decision, the layers that blocked, and the statements that decided.
A policy that is refused gives a result with an error. What a case and a result
hold is in docs/reference/simulate.md.`,
		Example: "  carrel iam simulate --batch < cases.jsonl > results.jsonl",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !batch {
				return usageError("give --batch: cases are read from standard input, a JSON object a line")
			}
			if err := simulate.Batch(a.stdin, a.stdout); err != nil {
				return other("Simulation", err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&batch, "batch", false, "read JSON lines from standard input")
	return c
}
