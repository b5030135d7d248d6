//go:build linux

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/config"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/sandbox/gvisor"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
)

// kernelConfig says how sandboxes of the wall kernel are made; nil if the
// host has no runtime for them. A runtime that was named and is not there is
// an error: whoever names one counts on that wall.
func kernelConfig(cfg config.Config) (*spawner.KernelConfig, error) {
	named := cfg.OCIRuntime
	if named == "" {
		named = cfg.Runsc
	}
	if named != "" {
		path, err := filepath.Abs(named)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return nil, fmt.Errorf("the OCI runtime %s: %w; build runsc with make runsc", named, err)
		}
		return &spawner.KernelConfig{Runtime: gvisor.Runtime{Path: path, OCI: cfg.OCIRuntime != ""}}, nil
	}
	path, err := findRunsc()
	if path == "" || err != nil {
		return nil, err
	}
	return &spawner.KernelConfig{Runtime: gvisor.Runtime{Path: path}}, nil
}

// findRunsc looks beside this binary and in PATH; empty if it is in neither.
func findRunsc() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find own binary: %w", err)
	}
	beside := filepath.Join(filepath.Dir(self), "runsc")
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for runsc: %w", err)
	}
	if found, err := exec.LookPath("runsc"); err == nil {
		return filepath.Abs(found)
	}
	return "", nil
}

// wallKernel tells whether calls can be run behind the wall kernel, and why
// not if not, with the remedy.
func (n *Node) wallKernel() (available bool, reason string) {
	s := n.spawner.Status()
	return s.Kernel, s.KernelReason
}

// minWall is the weakest wall that calls run behind.
func (n *Node) minWall() isolation.Wall {
	if n.cfg.MinWall == isolation.Kernel.String() {
		return isolation.Kernel
	}
	return isolation.DefaultWall
}

// wallOf gives the wall of a call: the weakest that its code and the node take.
func (n *Node) wallOf(c *call.Call) isolation.Wall { return max(c.Target.Wall(), n.minWall()) }
