//go:build !linux

package main

import (
	"log/slog"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/config"
)

// node refuses: the sandbox is made of what only Linux has.
func (a *app) node(*cobra.Command, config.Config, *slog.Logger, func(node)) error {
	return &failure{Code: "UnsupportedPlatform", Message: "A node needs Linux; this is " + runtime.GOOS + ".",
		Remedy: "Run it on Linux, and use the other commands from here with --endpoint.", ExitCode: exitOther}
}
