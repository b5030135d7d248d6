//go:build linux

package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/carrel-dev/carrel/config"
	"github.com/carrel-dev/carrel/test/noderun"
)

func onlyAsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can give up root")
	}
}

func TestNodeGivesUpItsPrivileges(t *testing.T) {
	onlyAsRoot(t)
	n := start(t, options(t))
	defer n.Kill()
	// Of every thread: rights belong to threads.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", n.PID()))
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread is gone
		}
		status := strings.ReplaceAll(string(text), "\t", " ")
		for _, want := range []string{
			fmt.Sprintf("Uid: %[1]d %[1]d %[1]d %[1]d\n", config.NodeUserID), fmt.Sprintf("Gid: %[1]d %[1]d %[1]d %[1]d\n", config.NodeUserID),
			"Groups:  \n", "CapPrm: 0000000000000000\n", "CapEff: 0000000000000000\n", "CapAmb: 0000000000000000\n", "NoNewPrivs: 1\n", "Umask: 0077\n",
		} {
			if !strings.Contains(status, want) {
				t.Errorf("%s lacks %q:\n%s", task, want, status)
			}
		}
	}
}

// TestNodeTakesOverWhatRootLeft: a start as root in between does not make the
// data unreadable for the node.
func TestNodeTakesOverWhatRootLeft(t *testing.T) {
	onlyAsRoot(t)
	o := options(t)
	asRoot := o
	asRoot.Args = []string{"--drop-root=false"}
	for _, o := range []noderun.Options{o, asRoot, o} {
		n := start(t, o)
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNodeIsNotGivenFilesOfOthers: whoever took over the node's user cannot
// have the next start as root give it somebody else's file.
func TestNodeIsNotGivenFilesOfOthers(t *testing.T) {
	onlyAsRoot(t)
	o := options(t)
	n := start(t, o)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	shadow := filepath.Join(filepath.Dir(o.Data), "shadow")
	if err := os.WriteFile(shadow, []byte("root:x"), 0o600); err != nil {
		t.Fatal(err)
	}
	owner := func() int {
		info, err := os.Lstat(shadow)
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Sys().(*syscall.Stat_t).Uid)
	}

	linked := filepath.Join(o.Data, "logs", "x")
	if err := os.Symlink(shadow, linked); err != nil {
		t.Fatal(err)
	}
	n = start(t, o) // a symbolic link is harmless
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(linked); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(shadow, linked); err != nil {
		t.Fatal(err)
	}
	if n, err := noderun.Start(t.Context(), o); err == nil {
		n.Kill()
		t.Error("the node started although its folder has another's file")
	} else if !strings.Contains(err.Error(), "hard link") {
		t.Errorf("the node says: %v", err)
	}
	if uid := owner(); uid != 0 {
		t.Errorf("root's file belongs to user %d now", uid)
	}
}
