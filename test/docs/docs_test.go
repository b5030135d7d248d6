package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the checkout, from this folder.
const root = "../.."

// pages gives the text of every Markdown file, by its path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path) // both begin at the root
		found[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("found %d pages only", len(found))
	}
	return found
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	code    = regexp.MustCompile("`[^`\n]*`")
)

// anchor is what a heading can be linked by, as GitHub makes it.
func anchor(heading string) string {
	heading = strings.ToLower(strings.ReplaceAll(heading, "`", ""))
	heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(heading, "")
	return strings.ReplaceAll(heading, " ", "-")
}

func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		found[anchor(m[1])] = true
	}
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	checked := 0
	for name, text := range all {
		text = code.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, place, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			checked++
			to := name
			if target != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
				continue
			}
			if place != "" && !anchors(all[to])[place] {
				t.Errorf("%s links to %s, and there is no such heading", name, m[1])
			}
		}
	}
	if checked < 30 {
		t.Errorf("checked %d links only", checked)
	}
}

// TestPagesAreInAList: a page of docs that nothing links to is not found.
func TestPagesAreInAList(t *testing.T) {
	all := pages(t)
	for name := range all {
		if !strings.HasPrefix(name, "docs/") || name == "docs/README.md" {
			continue
		}
		if !strings.Contains(all["docs/README.md"], "("+strings.TrimPrefix(name, "docs/")+")") {
			t.Errorf("docs/README.md does not link to %s", name)
		}
	}
}

func TestTargetsOfMakeExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):`).FindAllStringSubmatch(string(text), -1) {
		targets[m[1]] = true
	}
	named := 0
	for name, page := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^ {4,})make ([a-z][a-z-]*)").FindAllStringSubmatch(page, -1) {
			named++
			if !targets[m[1]] {
				t.Errorf("%s names make %s, which the Makefile does not have", name, m[1])
			}
		}
	}
	if named == 0 {
		t.Error("no page names a target; the search is wrong")
	}
}

// TestNamedTestsExist: whatever looks like the name of a test in THREATS is
// one in the folder named beside it, and every attack has one.
func TestNamedTestsExist(t *testing.T) {
	declared := map[string]string{} // folder -> its tests
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		folder, _ := filepath.Rel(root, filepath.Dir(path)) // both begin at the root
		declared[filepath.ToSlash(folder)] += string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	threats := pages(t)["THREATS.md"]
	reference := regexp.MustCompile("`([a-z][a-z0-9/]*)`((?: ?`?(?:Test|Fuzz)[A-Za-z0-9]+`?,?)+)")
	one := regexp.MustCompile(`(?:Test|Fuzz)[A-Za-z0-9]+`)
	for line := range strings.Lines(threats) {
		in := 0
		for _, m := range reference.FindAllStringSubmatch(line, -1) {
			for _, name := range one.FindAllString(m[2], -1) {
				in++
				if !strings.Contains(declared[m[1]], "func "+name+"(") {
					t.Errorf("THREATS.md names %s of %s, which does not exist", name, m[1])
				}
			}
		}
		if all := len(one.FindAllString(line, -1)); all != in {
			t.Errorf("THREATS.md names tests without their folder: %s", line)
		}
		if regexp.MustCompile(`^\| A\d+ `).MatchString(line) && in == 0 && !strings.Contains(line, ".txt") {
			t.Errorf("THREATS.md lists an attack without a test: %s", line)
		}
	}
	for _, m := range regexp.MustCompile("`(test/[a-z/-]+\\.txt)`").FindAllStringSubmatch(threats, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Error(err)
		}
	}
}
