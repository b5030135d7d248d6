//go:build linux

package server

import (
	"context"
	"log/slog"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/function/native"
	"github.com/carrel-dev/carrel/sandbox/gvisor"
)

// askVersion bounds the question to an interpreter what it is.
const askVersion = 10 * time.Second

var versionForm = regexp.MustCompile(`^(?:v|Python )?([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})`)

// findInterpreters finds the host's Node and Python, and what a sandbox has to
// see of the host for them. One that cannot be shown is left out, with a line
// in the log: functions of that language are refused then.
func findInterpreters(log *slog.Logger) (*native.Host, []gvisor.Mount) {
	host := &native.Host{}
	var all [][]gvisor.Mount
	if found, err := exec.LookPath("node"); err == nil {
		if path, err := filepath.EvalSymlinks(found); err == nil {
			host.Node, all = show(log, path, gvisor.Node, all)
		}
	}
	if path := newestPython(); path != "" {
		host.Python, all = show(log, path, gvisor.Python, all)
	}
	mounts := gvisor.Merge(all...)
	for _, m := range mounts {
		if strings.HasPrefix(filepath.Base(m.Target), "ld-linux") {
			host.Loaders = append(host.Loaders, m.Target)
		}
	}
	return host, mounts
}

// show finds what an interpreter is and needs, and adds that to the mounts.
func show(log *slog.Logger, path string, needs func(string) ([]gvisor.Mount, error), all [][]gvisor.Mount) (native.Interpreter, [][]gvisor.Mount) {
	version, err := versionOf(path)
	var mounts []gvisor.Mount
	if err == nil {
		mounts, err = needs(path)
	}
	if err == nil {
		err = gvisor.CheckMounts(gvisor.Merge(append(slices.Clone(all), mounts)...))
	}
	if err != nil {
		log.Warn("an interpreter cannot be shown to sandboxes; its runtimes are not there", "path", path, "error", err)
		return native.Interpreter{}, all
	}
	return native.Interpreter{Path: path, Version: version}, append(all, mounts)
}

func versionOf(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askVersion)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return "", err
	}
	m := versionForm.FindSubmatch(out)
	if m == nil {
		return "", exec.ErrNotFound
	}
	return string(m[1]), nil
}

// newestPython looks where Python's own name has its version in it; empty if
// there is none.
func newestPython() string {
	name := regexp.MustCompile(`^python3\.[0-9]{1,2}$`)
	var best string
	for _, dir := range []string{"/usr/local/bin", "/usr/bin"} {
		found, err := filepath.Glob(dir + "/python3.*")
		if err != nil {
			continue
		}
		for _, f := range found {
			if !name.MatchString(filepath.Base(f)) {
				continue
			}
			// 3.9 is older than 3.11: the shorter name loses.
			a, b := filepath.Base(f), filepath.Base(best)
			if best == "" || len(a) > len(b) || len(a) == len(b) && a > b {
				best = f
			}
		}
	}
	return best
}

// walled says in the host why native code is not run, if it is not.
func (n *Node) walled() {
	available, reason := n.wallKernel()
	switch {
	case available:
	case reason == "":
		n.native.Why = "there is no OCI runtime for the wall kernel"
		fallthrough
	default:
		if n.native.Why == "" {
			n.native.Why = reason
		}
		n.native.Remedy = "Have the operator make the runtime (make runsc) and put it beside carrel; or deploy a WebAssembly module."
	}
	n.native.Why = strings.TrimSuffix(n.native.Why, ".")
}

// runtimes lists what functions may be deployed as, with the versions of the
// host that they run on.
func (n *Node) runtimes() []string {
	list := n.native.Runtimes()
	for i, r := range list {
		switch {
		case strings.HasPrefix(r, "nodejs"):
			list[i] += " (" + n.native.Node.Version + ")"
		case strings.HasPrefix(r, "python"):
			list[i] += " (" + n.native.Python.Version + ")"
		}
	}
	return list
}
