package wasm_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
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
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module reactor\n\ngo 1.26\n", "main.go": reactorSource} {
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
	plain, _ := runReactor(t, b)
	got, yields := runReactor(t, out)
	if want := `{"Numbers":[1,2,3]}` + "\n"; plain != want || got != want {
		t.Errorf("the plain module says %q, the instrumented one %q", plain, got)
	}
	if yields == 0 {
		t.Error("the instrumented module never yielded")
	}
}

func runReactor(t *testing.T, b []byte) (string, int) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { r.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	yields := 0
	_, err := r.NewHostModuleBuilder(wasm.ReservedModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) {
			yields++
			m.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal).Set(10_000)
		}), nil, nil).Export(wasm.YieldImport).Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var stdout strings.Builder
	m, err := r.InstantiateWithConfig(ctx, b, wazero.NewModuleConfig().WithStartFunctions("_initialize").
		WithStdin(strings.NewReader(`{"Numbers":[3,1,2]}`)).WithStdout(&stdout))
	if err != nil {
		t.Fatal(err)
	}
	if status, err := m.ExportedFunction("handle").Call(ctx); err != nil || status[0] != 0 {
		t.Fatalf("handle: %v, %v", status, err)
	}
	return stdout.String(), yields
}
