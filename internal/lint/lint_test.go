package lint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTheTreeKeepsTheRules(t *testing.T) {
	files, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d files were found: the rules were not checked", len(files))
	}
	for _, f := range Check(files) {
		t.Error(f)
	}
}

// TestEachRuleFinds shows that every rule can fail, and that an exception
// with a reason is taken.
func TestEachRuleFinds(t *testing.T) {
	long := "package p\n\nfunc long() {\n" + strings.Repeat("\t_ = 1\n", maxFunctionLines) + "}\n"
	for name, tt := range map[string]struct {
		file, source, rule string
	}{
		"import":          {"tenant/a.go", "// Package tenant is.\npackage tenant\n\nimport _ \"" + Module + "iam\"\n", "import"},
		"worker":          {"worker/a.go", "// Package worker is.\npackage worker\n\nimport _ \"" + Module + "secret\"\n", "import"},
		"unsafe":          {"call/a.go", "// Package call is.\npackage call\n\nimport _ \"unsafe\"\n", "unsafe"},
		"cgo":             {"call/a.go", "// Package call is.\npackage call\n\nimport \"C\"\n", "cgo"},
		"getenv":          {"call/a.go", "// Package call is.\npackage call\n\nimport \"os\"\n\nvar _ = os.Getenv(\"X\")\n", "getenv"},
		"sleep":           {"call/a_test.go", "package call\n\nimport \"time\"\n\nvar _ = time.Sleep\n", "sleep"},
		"pure, clock":     {"iam/policy/a.go", "// Package policy is.\npackage policy\n\nimport _ \"time\"\n", "pure"},
		"pure, ours":      {"iam/policy/a.go", "// Package policy is.\npackage policy\n\nimport _ \"" + Module + "fault\"\n", "pure"},
		"pure, goroutine": {"iam/policy/a.go", "// Package policy is.\npackage policy\n\nfunc f() { go f() }\n", "pure"},
		"foreign":         {"control/a.go", "// Package control is.\npackage control\n\nimport \"" + Module + "iam/policy\"\n\nvar _ = policy.ParseForeign\n", "foreign"},
		"network, client": {"control/a.go", "// Package control is.\npackage control\n\nimport \"net/http\"\n\nvar _ http.Client\n", "network"},
		"network, dial":   {"control/a.go", "// Package control is.\npackage control\n\nimport n \"net\"\n\nvar _ = n.Dial\n", "network"},
		"network, dot":    {"control/a.go", "// Package control is.\npackage control\n\nimport . \"net\"\n\nvar _ = Dial\n", "network"},
		"init":            {"call/a.go", "// Package call is.\npackage call\n\nfunc init() {}\n", "init"},
		"long function":   {"call/a.go", "// Package p is.\n" + long, "function"},
		"parameters":      {"call/a.go", "// Package call is.\npackage call\n\nfunc f(a, b, c, d, e int) {}\n", "function"},
		"long file":       {"call/a.go", "// Package call is.\npackage call\n" + strings.Repeat("\n", maxFileLines), "file"},
		"interface":       {"call/a.go", "// Package call is.\npackage call\n\ntype i interface {\n\tA()\n\tB()\n\tC()\n\tD()\n\tE()\n\tF()\n}\n", "interface"},
		"doc":             {"call/a.go", "// Package call is.\npackage call\n\nfunc F() {}\n", "doc"},
		"util":            {"internal/util/a.go", "// Package util is.\npackage util\n", "util"},
		"package comment": {"call/a.go", "package call\n", "package-comment"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := check(t, tt.file, tt.source); !slices.Contains(got, tt.rule) {
				t.Errorf("found %v, want %s", got, tt.rule)
			}
		})
	}
	if got := check(t, "iam/policy/a.go", "// Package policy is.\npackage policy\n\nimport _ \"strings\"\n"); len(got) != 0 {
		t.Errorf("what only computes may not import package strings: %v", got)
	}
	allowed := "// Package call is.\npackage call\n\n//lint:allow init the reason\nfunc init() {}\n"
	if got := check(t, "call/a.go", allowed); len(got) != 0 {
		t.Errorf("an excepted line was found: %v", got)
	}
	if got := check(t, "call/a.go", strings.Replace(allowed, " the reason", "", 1)); len(got) == 0 {
		t.Error("an exception without a reason was taken")
	}
}

func check(t *testing.T, name, source string) (found []string) {
	t.Helper()
	root := t.TempDir()
	full := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Check(files) {
		found = append(found, f.Rule)
	}
	return found
}
