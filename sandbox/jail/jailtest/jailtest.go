//go:build linux

// Package jailtest helps the tests of the jail: it runs a test binary both as
// root and as an ordinary user, and lets it stand in for carrel-worker.
package jailtest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// PlainUser is the user that the tests are run as a second time when they
// were started by root: nobody.
const PlainUser = 65534

// Child is what a test binary does instead of testing when its first argument
// names it; the result is the exit code.
type Child func(args []string) int

// Main runs the tests, as TestMain should. If the first argument names a
// child, that runs instead. Started as root, all tests are run again as
// PlainUser from a copy of the binary which that user can read.
func Main(m *testing.M, children map[string]Child) {
	if withCgo {
		fmt.Println("these tests need CGO_ENABLED=0: with cgo Go cannot reach every thread of the process")
		os.Exit(1)
	}
	if len(os.Args) > 1 {
		if child, ok := children[os.Args[1]]; ok {
			os.Exit(child(os.Args[2:]))
		}
	}
	code := m.Run()
	if code == 0 && os.Getuid() == 0 && !fuzzing() {
		code = again()
	}
	os.Exit(code)
}

func fuzzing() bool {
	for _, a := range os.Args {
		if strings.HasPrefix(a, "-test.fuzz") || strings.HasPrefix(a, "-test.list") || strings.HasPrefix(a, "-test.bench=") {
			return true
		}
	}
	return false
}

func again() int {
	dir, err := os.MkdirTemp("", "jailtest")
	if err == nil {
		defer os.RemoveAll(dir)
		err = runAs(dir)
	}
	if err != nil {
		fmt.Printf("as user %d: %v\n", PlainUser, err)
		return 1
	}
	return 0
}

func runAs(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(work, 0o777); err != nil {
		return err
	}
	binary := filepath.Join(dir, "test")
	if err := copyFile(binary, "/proc/self/exe"); err != nil {
		return err
	}
	cmd := exec.Command(binary, keep(os.Args[1:])...)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "TMPDIR="+work, "HOME="+work) //lint:allow getenv the second run gets what the first has
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: PlainUser, Gid: PlainUser}}
	fmt.Printf("again as user %d\n", PlainUser)
	return cmd.Run()
}

// keep leaves out the flags that write files where only root may.
func keep(args []string) []string {
	var kept []string
	for _, a := range args {
		if strings.HasPrefix(a, "-test.v") || strings.HasPrefix(a, "-test.run") || strings.HasPrefix(a, "-test.short") ||
			strings.HasPrefix(a, "-test.count") || strings.HasPrefix(a, "-test.timeout") || strings.HasPrefix(a, "-test.skip") {
			kept = append(kept, a)
		}
	}
	return kept
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
