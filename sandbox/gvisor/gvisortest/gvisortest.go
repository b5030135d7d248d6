// Package gvisortest finds the OCI runtime for tests of the wall kernel.
package gvisortest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Runtime gives the path of runsc: the one that make runsc builds, or the one
// of the host. Without any the test is skipped, and says so where everybody
// sees it: tests of the wall kernel that do not run prove nothing.
func Runtime(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	built := filepath.Join(filepath.Dir(file), "../../../bin/runsc")
	if _, err := os.Stat(built); err == nil {
		return built
	}
	if found, err := exec.LookPath("runsc"); err == nil {
		if found, err = filepath.Abs(found); err == nil {
			return found
		}
	}
	const why = "THE WALL KERNEL IS NOT TESTED: there is no runsc; run make runsc"
	os.Stderr.WriteString(t.Name() + ": " + why + "\n")
	t.Skip(why)
	return ""
}
