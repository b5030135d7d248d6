//go:build linux

package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/test/noderun"
)

// The markers stand on the line before a fenced block:
//
//	<!-- run -->         its commands are run, all of a page in one shell
//	<!-- shows -->       the output of the run block before it; ... is anything
//	<!-- file: NAME -->  its text is put into a file first
var block = regexp.MustCompile("(?m)^<!-- (run|shows|file: (\\S+)) -->\n```[a-z]*\n((?s:.*?))^```$")

// account is the number that the pages use; the shell puts the one in its
// place that the command making the tenant printed.
const account = "123456789012"

// snippet is one marked block of a page.
type snippet struct{ kind, file, text string }

func snippets(t *testing.T, page string) []snippet {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var found []snippet
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		kind, _, _ := strings.Cut(m[1], ":")
		found = append(found, snippet{kind, m[2], m[3]})
	}
	if marked := strings.Count(string(text), "\n<!-- "); marked != len(found) {
		t.Fatalf("%s has %d markers and %d marked blocks", page, marked, len(found))
	}
	return found
}

// TestSnippetsDoWhatThePagesSay runs the pages' commands against a real node.
func TestSnippetsDoWhatThePagesSay(t *testing.T) {
	needTools(t)
	bin, err := noderun.BuildBinaries()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(bin) })
	for _, page := range []string{"README.md", "docs/tutorial/first-function.md", "docs/tutorial/tenants-apart.md", "docs/how-to/tokens-and-sessions.md"} {
		t.Run(page, func(t *testing.T) { runPage(t, bin, snippets(t, page)) })
	}
}

// needTools skips where a partner of the pages is not installed.
func needTools(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"bash", "zip", "base64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	out, err := exec.Command("aws", "--version").CombinedOutput()
	m := regexp.MustCompile(`aws-cli/(\d+)\.(\d+)`).FindStringSubmatch(string(out))
	if err != nil || m == nil {
		t.Skipf("the AWS command line is not installed: %v", err)
	}
	// These versions read AWS_ENDPOINT_URL, as the pages say.
	minor, _ := strconv.Atoi(m[2])
	if m[1] == "1" && minor < 29 || m[1] == "2" && minor < 13 {
		t.Skipf("the AWS command line is %s.%s, older than the pages demand", m[1], m[2])
	}
}

func runPage(t *testing.T, bin string, page []snippet) {
	work := workFolder(t)
	node, err := noderun.Start(t.Context(), noderun.Options{Bin: bin, Data: filepath.Join(work, ".carrel")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Kill)
	out := t.TempDir()
	script, outputs := assemble(t, page, work, out)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	shell.Dir, shell.Env = work, environment(bin)
	said, err := shell.CombinedOutput()
	if err != nil {
		all, _ := exec.Command("tail", "-n", "+1", out+"/0", out+"/1", out+"/2", out+"/3", out+"/4", out+"/5").CombinedOutput()
		t.Fatalf("%v\n%s\n%s", err, said, all)
	}
	for i, want := range outputs {
		got, err := os.ReadFile(filepath.Join(out, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		if want != "" && !matches(want, string(got)) {
			t.Errorf("the page shows\n%s\nand the commands printed\n%s", want, got)
		}
	}
}

// workFolder is a folder like a checkout, in which a node that dropped root
// can reach its data: what the pages build from is linked, what they make stays
// in it.
func workFolder(t *testing.T) string {
	t.Helper()
	work := filepath.Join(t.TempDir(), "carrel")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := work; strings.HasPrefix(dir, os.TempDir()+string(filepath.Separator)); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	from, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "examples", "sdk"} {
		if err := os.Symlink(filepath.Join(from, name), filepath.Join(work, name)); err != nil {
			t.Fatal(err)
		}
	}
	return work
}

// assemble makes one script of a page's blocks, each writing to a file of its
// own, and gives what each is to show.
func assemble(t *testing.T, page []snippet, work, out string) (string, []string) {
	t.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, "account() { cat %s/* | sed -n 's/.*has account \\([0-9]*\\)\\..*/\\1/p' | head -n 1; }\n", out)
	var outputs []string
	for _, s := range page {
		switch s.kind {
		case "run":
			fmt.Fprintf(&script, "{\n%s} > %s/%d 2>&1\n", strings.ReplaceAll(s.text, account, `"$(account)"`), out, len(outputs))
			outputs = append(outputs, "")
		case "shows":
			outputs[len(outputs)-1] = s.text
		case "file":
			path := filepath.Join(work, s.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(s.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(outputs) == 0 {
		t.Fatal("the page has no commands")
	}
	return script.String(), outputs
}

// environment has the binaries in its path and nothing of the AWS settings
// of whoever runs the tests.
func environment(bin string) []string {
	env := []string{"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "PATH=") {
			env = append(env, v)
		}
	}
	return append(env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// matches tells whether what was printed is what a page shows. Blanks of any
// width are equal, since columns move with what stands in them.
func matches(want, got string) bool {
	form := regexp.QuoteMeta(strings.Join(strings.Fields(want), " "))
	form = strings.ReplaceAll(form, `\.\.\.`, `.*?`)
	return regexp.MustCompile("^" + form + "$").MatchString(strings.Join(strings.Fields(got), " "))
}

// TestMatches shows what the comparison takes and refuses.
func TestMatches(t *testing.T) {
	const want = "A  B\nx ... ok\n"
	if !matches(want, "A B\nx   17   ok\n") {
		t.Error("what is shown was not found")
	}
	for _, got := range []string{"A B\nx 17 failed\n", "A B\nx 17 ok\nmore\n", "A C\nx 17 ok\n", ""} {
		if matches(want, got) {
			t.Errorf("%q was taken for %q", got, want)
		}
	}
}
