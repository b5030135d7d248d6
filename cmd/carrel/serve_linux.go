package main

import (
	"context"
	"log/slog"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/config"
	"github.com/carrel-dev/carrel/server"
)

// node runs a node until a signal or its own failure ends it; ready is called
// once it takes requests.
func (a *app) node(c *cobra.Command, cfg config.Config, log *slog.Logger, ready func(node)) error {
	if err := cfg.Validate(); err != nil {
		return &failure{Code: "BadConfiguration", Message: sentence(err.Error()), ExitCode: exitConfig}
	}
	stopped, release := signal.NotifyContext(c.Context(), stopSignals()...)
	defer release()
	// A signal ends a start that is under way, but not what the started node
	// keeps of its context: it drains first.
	starting, cancel := context.WithCancel(context.WithoutCancel(c.Context()))
	defer cancel()
	attached := context.AfterFunc(stopped, cancel)
	n, err := server.Start(starting, cfg, log)
	attached()
	if err != nil {
		return other("StartFailed", err)
	}
	ready(n)
	failed := n.Wait(stopped)
	release() // the next signal ends the process at once
	log.Info("stopping", "drainTimeout", cfg.DrainTimeout.String())
	if err := n.Close(context.WithoutCancel(c.Context())); err != nil {
		log.Error("the node did not stop in good order", "error", err)
		failed = firstError(failed, err)
	}
	if failed != nil {
		return other("NodeFailed", failed)
	}
	return nil
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
