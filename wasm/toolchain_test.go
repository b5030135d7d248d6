package wasm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

const reactorSource = `package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
)

func main() {}

//go:wasmexport handle
func handle() int32 {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	var event struct{ Numbers []int }
	if err := json.Unmarshal(in, &event); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	sort.Ints(event.Numbers)
	json.NewEncoder(os.Stdout).Encode(event)
	return 0
}
`

// reactor compiles a Go reactor, the largest kind of module that is usual.
func reactor(t testing.TB) []byte {
	t.Helper()
	return compileGo(t, reactorSource)
}

// compileGo makes a reactor of a program.
func compileGo(t testing.TB, source string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module reactor\n\ngo 1.26\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", "reactor.wasm", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "reactor.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoReactor runs a real program, instrumented and not.
func TestGoReactor(t *testing.T) {
	t.Parallel()
	b := reactor(t)
	begin := time.Now()
	m := parse(t, b)
	parsed := time.Now()
	wasi := func(module, _ string, _ wasm.FuncType) bool { return module == wasi_snapshot_preview1.ModuleName }
	if err := wasm.Check(m, wasm.DefaultLimits(), wasi); err != nil {
		t.Fatal(err)
	}
	checked := time.Now()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	validated := time.Now()
	i, err := wasm.Instrument(m, wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	instrumented := time.Now()
	out := i.Module.Encode()
	encoded := time.Now()
	t.Logf("%d bytes, %d functions, %d data segments; parse %v, check %v, validate %v, instrument %v, encode %v to %d bytes",
		len(b), len(m.Functions), len(m.Data), parsed.Sub(begin), checked.Sub(parsed), validated.Sub(checked),
		instrumented.Sub(validated), encoded.Sub(instrumented), len(out))
	if took := encoded.Sub(begin); took > 2*time.Second {
		t.Errorf("all of it took %v", took)
	}
	want := `{"Numbers":[1,2,3]}` + "\n"
	if got := startReactor(t, i, b, true).handle(); got != want {
		t.Errorf("the plain module says %q", got)
	}
	g := startReactor(t, i, out, true)
	if pristine := g.memory(); !g.i.Portable() || len(pristine) == 0 {
		t.Fatal("the state of a Go reactor must be portable")
	}
	img := g.image()
	small, err := i.WithImage(img)
	if err != nil {
		t.Fatal(err)
	}
	n := startReactor(t, i, small, false)
	pristine := g.memory()
	t.Logf("image of %d pages; the module that begins with it has %d bytes", img.Pages, len(small))
	for _, g := range []*reactorGuest{g, n} {
		g.must(wasm.SaveExport)
		for round := range 3 {
			g.restore(pristine)
			if got := g.handle(); got != want {
				t.Errorf("the instrumented module says %q in round %d", got, round)
			}
		}
		if g.yields < 10 || g.global(wasm.TaintExport).Get() != 0 {
			t.Errorf("%d yields, taint %d", g.yields, g.global(wasm.TaintExport).Get())
		}
	}
}

// reactorGuest is an instance of the Go reactor.
type reactorGuest struct {
	*guest
	in  *strings.Reader
	out *strings.Builder
}

func startReactor(t *testing.T, i *wasm.Instrumented, b []byte, initialize bool) *reactorGuest {
	t.Helper()
	g := &reactorGuest{guest: &guest{t: t, i: i, slice: 10_000}, in: strings.NewReader(""), out: &strings.Builder{}}
	mc := wazero.NewModuleConfig().WithStdin(g.in).WithStdout(g.out).WithStartFunctions()
	if initialize {
		mc = mc.WithStartFunctions("_initialize")
	}
	g.instantiate(b, wazero.NewRuntimeConfigInterpreter(), mc)
	return g
}

func (g *reactorGuest) restore(memory []byte) {
	g.t.Helper()
	g.must(wasm.RestoreExport)
	if !g.m.ExportedMemory(wasm.MemoryExport).Write(0, memory) {
		g.t.Fatal("the memory shrank")
	}
}

// handle gives the guest an event and gives its answer.
func (g *reactorGuest) handle() string {
	g.t.Helper()
	g.in.Reset(`{"Numbers":[3,1,2]}`)
	g.out.Reset()
	if status := g.must("handle")[0]; status != 0 {
		g.t.Fatalf("handle gives %d", status)
	}
	return g.out.String()
}
