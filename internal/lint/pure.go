package lint

import (
	"go/ast"
	"slices"
)

// pure says for packages that only compute what they may import: nothing of
// ours, no clock, no file, no network, no chance.
var pure = map[string][]string{
	"iam/policy": {
		"bytes", "cmp", "encoding/base64", "encoding/json", "errors", "fmt", "maps", "math/big", "net/netip", "slices", "strconv",
		"strings", "unicode", "unicode/utf16", "unicode/utf8",
	},
	"isolation": {"fmt", "slices", "strings"},
}

func checkPure(r report, f *File) {
	allowed, found := pure[f.Folder()]
	if !found || f.Test() {
		return
	}
	for name, spec := range imports(f) {
		if !slices.Contains(allowed, name) {
			r.at(spec.Pos(), "%s only computes, and its table in package lint does not list %s: have the caller pass in what you need", f.Folder(), name)
		}
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if statement, ok := n.(*ast.GoStmt); ok {
			r.at(statement.Pos(), "%s only computes: start no goroutine", f.Folder())
		}
		return true
	})
}
