package wasm_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// wazeroDir finds the sources of the engine, whose test data this package is
// proved against.
var wazeroDir = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	return strings.TrimSpace(string(out)), err
})

func wazeroSources(t testing.TB) string {
	t.Helper()
	dir, err := wazeroDir()
	if err != nil || dir == "" {
		t.Fatalf("where is wazero's source: %q, %v", dir, err)
	}
	return dir
}

// corpus lists every .wasm file in the engine's test data.
func corpus(t testing.TB) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(wazeroSources(t), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".wasm") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 7900 {
		t.Fatalf("only %d modules found; the engine's test data has some 7,970", len(files))
	}
	return files
}

func shorten(t testing.TB, path string) string {
	short, err := filepath.Rel(wazeroSources(t), path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(filepath.ToSlash(short), "internal/integration_test/")
}

func parseAndValidate(b []byte) (*wasm.Module, error) {
	m, err := wasm.Parse(b)
	if err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// TestCorpusAgrees compares our verdict with the engine's on each module, and
// encodes and parses again what is accepted.
func TestCorpusAgrees(t *testing.T) {
	files := corpus(t)
	work := make(chan string)
	var wg sync.WaitGroup
	var mu sync.Mutex
	accepted, differ := 0, map[string]int{}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			r := wazero.NewRuntimeWithConfig(context.Background(),
				wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
			defer r.Close(context.Background())
			for path := range work {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Error(err)
					continue
				}
				m, ours := parseAndValidate(b)
				compiled, theirs := r.CompileModule(context.Background(), b)
				if theirs == nil {
					compiled.Close(context.Background())
				}
				name := shorten(t, path)
				mu.Lock()
				if ours == nil {
					accepted++
				}
				if (ours == nil) != (theirs == nil) {
					why := intended(ours, theirs)
					differ[why]++
					if why == "" {
						t.Errorf("%s: we say %v, the engine says %v", name, ours, theirs)
					}
				}
				mu.Unlock()
				if ours == nil {
					checkRoundTrip(t, name, m)
				}
			}
		})
	}
	for _, f := range files {
		work <- f
	}
	close(work)
	wg.Wait()
	t.Logf("%d modules, %d accepted, intended differences: %v", len(files), accepted, differ)
	if accepted < 2800 {
		t.Errorf("only %d modules were accepted by both; the rest of the proofs would be hollow", accepted)
	}
}

// intended gives the reason why our verdict differs from the engine's, or
// nothing if it should not:
//   - The engine decodes typed function references whichever features are on.
//     We refuse every later proposal by name.
//   - The engine takes offsets and globals that read a mutable global, which
//     the core specification forbids (section 3.4, constant expressions).
//   - The engine refuses imports from a module without a name, which the
//     specification allows. Check refuses them by the allow-list.
func intended(ours, theirs error) string {
	switch {
	case fault.Is(ours, fault.Unsupported):
		return "later proposal"
	case ours != nil && strings.Contains(ours.Error(), "reads the mutable global"):
		return "mutable global in a constant expression"
	case ours == nil && strings.Contains(theirs.Error(), "empty module name"):
		return "empty module name"
	}
	return ""
}

func checkRoundTrip(t *testing.T, name string, m *wasm.Module) {
	b := m.Encode()
	again, err := wasm.Parse(b)
	if err != nil {
		t.Errorf("%s: encoded again: %v", name, err)
		return
	}
	if !reflect.DeepEqual(m, again) {
		t.Errorf("%s: parsing the encoding gives another module", name)
	}
	if string(again.Encode()) != string(b) {
		t.Errorf("%s: encoding twice differs", name)
	}
}
