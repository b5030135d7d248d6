//go:build linux

package wasm

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// goGuest builds a Go program in testdata for wasip1, once for all tests.
func goGuest(t testing.TB, name string) []byte {
	t.Helper()
	b, err := goGuests[name]()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var goGuests = map[string]func() ([]byte, error){
	"reactor": sync.OnceValues(func() ([]byte, error) { return compileGo("reactor", "-buildmode=c-shared") }),
	"command": sync.OnceValues(func() ([]byte, error) { return compileGo("command", "-buildmode=exe") }),
}

func compileGo(name, mode string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, name+".wasm")
	c := exec.Command("go", "build", mode, "-ldflags=-s -w", "-o", out, "./testdata/"+name)
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// goArtifact is the built Go reactor, shared by tests because compiling it
// takes seconds.
var goArtifact = sync.OnceValue(func() func(testing.TB) *Artifact {
	var once sync.Once
	var a *Artifact
	return func(t testing.TB) *Artifact {
		once.Do(func() { a = build(t, goGuest(t, "reactor")) })
		if a == nil {
			t.Fatal("the Go reactor could not be built")
		}
		return a
	}
})

func goReactor(t testing.TB) *Artifact { return goArtifact()(t) }
