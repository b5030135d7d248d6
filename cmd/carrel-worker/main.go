//go:build linux

// Command carrel-worker is what the node starts: the spawner, and the
// confined processes that the spawner makes. It is not for people.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/carrel-dev/carrel/sandbox/gvisor"
	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/worker"
	"github.com/carrel-dev/carrel/worker/native"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(stderr, "carrel-worker is started by carrel; run carrel serve")
		return 2
	}
	var err error
	switch args[0] {
	case "spawner":
		err = spawn(args[1:])
	case "probe":
		return jail.Probe()
	case "worker":
		err = worker.Serve()
	case "box":
		err = box(args[1:])
	case "inside":
		err = inside(args[1:])
	case "compile":
		err = worker.Compile()
	default:
		err = fmt.Errorf("unknown mode %q: the binaries carrel and carrel-worker are of different releases", args[0])
	}
	if err != nil {
		fmt.Fprintln(stderr, "carrel-worker:", err)
		return 1
	}
	return 0
}

func spawn(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("the spawner takes its configuration and nothing else")
	}
	cfg, err := spawner.ParseServerConfig(args[0])
	if err != nil {
		return err
	}
	return spawner.Serve(jail.Socket, cfg)
}

func box(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("box takes its configuration and nothing else")
	}
	return gvisor.Box(args[0])
}

// inside is what runs with a kernel of its own.
func inside(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("inside takes a mode and nothing else")
	}
	switch args[0] {
	case "worker":
		return worker.ServeInside()
	case "native":
		return native.Serve(native.Options{})
	}
	return fmt.Errorf("unknown mode %q inside a sandbox", args[0])
}
