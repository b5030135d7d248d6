// Package lint checks the rules of this code base that compilers do not:
// which package may import which, and the habits that CONTRIBUTING.md lists.
//
// It parses the sources itself, so that its test is never answered from a
// cache of an older tree. A finding names what to do instead. A line may be
// excepted by a comment on it, //lint:allow RULE REASON.
package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/carrel-dev/carrel/"

// File is one parsed source file.
type File struct {
	// Path is slash-separated, from the root of the repository.
	Path string
	AST  *ast.File
	Set  *token.FileSet
	// allowed maps a line to the rules its comment excepts.
	allowed map[int][]string
}

// Folder is the package folder of the file.
func (f *File) Folder() string { return path.Dir(f.Path) }

// Test tells whether the file is a test.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Finding is one broken rule.
type Finding struct {
	Where, Rule, Text string
}

// String gives it as one line.
func (f Finding) String() string { return f.Where + ": " + f.Text + " (rule " + f.Rule + ")" }

// Load parses every Go file below root.
func Load(root string) ([]*File, error) {
	var files []*File
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := parse(name, filepath.ToSlash(rel))
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func parse(name, rel string) (*File, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, nil, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	f := &File{Path: rel, AST: tree, Set: set, allowed: map[int][]string{}}
	for _, group := range tree.Comments {
		for _, c := range group.List {
			rest, found := strings.CutPrefix(c.Text, "//lint:allow ")
			if !found {
				continue
			}
			rule, reason, _ := strings.Cut(rest, " ")
			if strings.TrimSpace(reason) != "" {
				line := set.Position(c.Pos()).Line
				f.allowed[line] = append(f.allowed[line], rule)
			}
		}
	}
	return f, nil
}

// excepted tells whether the line of pos, or the one above it, allows a rule.
func (f *File) excepted(pos token.Pos, rule string) bool {
	line := f.Set.Position(pos).Line
	return slices.Contains(f.allowed[line], rule) || slices.Contains(f.allowed[line-1], rule)
}

// report collects findings of one rule in one file.
type report struct {
	file *File
	rule string
	out  *[]Finding
}

func (r report) at(pos token.Pos, format string, args ...any) {
	if r.file.excepted(pos, r.rule) {
		return
	}
	*r.out = append(*r.out, Finding{
		Where: fmt.Sprintf("%s:%d", r.file.Path, r.file.Set.Position(pos).Line),
		Rule:  r.rule, Text: fmt.Sprintf(format, args...),
	})
}

// Check applies all rules.
func Check(files []*File) []Finding {
	var out []Finding
	for _, f := range files {
		for name, rule := range rules {
			rule(report{f, name, &out}, f)
		}
	}
	checkPackageComments(files, &out)
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(a.String(), b.String()) })
	return out
}

func checkPackageComments(files []*File, out *[]Finding) {
	documented, first := map[string]bool{}, map[string]*File{}
	for _, f := range files {
		if f.Test() {
			continue
		}
		key := f.Folder() + " " + f.AST.Name.Name
		if first[key] == nil {
			first[key] = f
		}
		documented[key] = documented[key] || f.AST.Doc != nil
	}
	for key, f := range first {
		if !documented[key] {
			report{f, "package-comment", out}.at(f.AST.Package, "package %s has no comment: say in one sentence what it is for", f.AST.Name.Name)
		}
	}
}
