//go:build linux

package script

import (
	"archive/zip"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// runsc gives gVisor's runtime as make runsc builds it, or the host's.
func runsc() (string, bool) {
	if built, err := filepath.Abs("../../bin/runsc"); err == nil {
		if _, err := os.Stat(built); err == nil {
			return built, true
		}
	}
	found, err := exec.LookPath("runsc")
	return found, err == nil
}

// cmdPackage makes a zip of files: package OUT.zip FILE…; NAME=FILE puts a
// file under another name.
func cmdPackage(ts *testscript.TestScript, _ bool, args []string) {
	out, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer out.Close()
	w := zip.NewWriter(out)
	for _, name := range args[1:] {
		b, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		ts.Check(err)
		_, err = f.Write(b)
		ts.Check(err)
	}
	ts.Check(w.Close())
}

// cmdAWSGo builds an unmodified function of aws-lambda-go as bootstrap; the
// script is skipped, and says so, where its module cannot be had.
func cmdAWSGo(ts *testscript.TestScript, _ bool, _ []string) {
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-trimpath", "-o", ts.MkAbs("bootstrap"), ".")
	cmd.Dir = "../awsgo"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		os.Stderr.WriteString("aws-lambda-go IS NOT TESTED: " + string(out))
		ts.Fatalf("aws-lambda-go cannot be built: %s", out)
	}
}
