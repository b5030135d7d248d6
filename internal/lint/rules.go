package lint

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
)

// The budgets of CONTRIBUTING.md.
const (
	maxFunctionLines = 70
	maxFileLines     = 600
	maxParameters    = 4
	maxMethods       = 5
)

var rules = map[string]func(report, *File){
	"import":    checkImports,
	"unsafe":    checkUnsafe,
	"getenv":    checkGetenv,
	"sleep":     checkSleep,
	"init":      checkInit,
	"function":  checkFunctions,
	"file":      checkFile,
	"interface": checkInterfaces,
	"doc":       checkDocs,
	"util":      checkNames,
	"cgo":       checkCgo,
	"pure":      checkPure,
	"foreign":   checkForeign,
	"network":   checkNetwork,
}

func imports(f *File) map[string]*ast.ImportSpec {
	out := map[string]*ast.ImportSpec{}
	for _, spec := range f.AST.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			out[name] = spec
		}
	}
	return out
}

func checkImports(r report, f *File) {
	if f.Test() {
		return
	}
	from := f.Folder()
	for name, spec := range imports(f) {
		to, ours := strings.CutPrefix(name, Module)
		if !ours {
			continue
		}
		if why := refused(from, to); why != "" {
			r.at(spec.Pos(), "%s must not import %s: %s", from, to, why)
		}
	}
}

func checkUnsafe(r report, f *File) {
	if spec := imports(f)["unsafe"]; spec != nil && !strings.HasSuffix(strings.TrimSuffix(f.Path, "_test.go"), "_unsafe.go") &&
		!strings.HasSuffix(f.Path, "_unsafe.go") && !strings.HasSuffix(f.Path, "_unsafe_test.go") {
		r.at(spec.Pos(), "unsafe belongs in files named *_unsafe.go")
	}
}

func checkCgo(r report, f *File) {
	if spec := imports(f)["C"]; spec != nil {
		r.at(spec.Pos(), "cgo is not used here: find a way in Go")
	}
}

func checkGetenv(r report, f *File) {
	if f.Folder() == "config" || f.Test() {
		return
	}
	eachSelector(f, "os", func(sel *ast.SelectorExpr) {
		switch sel.Sel.Name {
		case "Getenv", "LookupEnv", "Environ":
			r.at(sel.Pos(), "only package config reads the environment: take the value from it")
		}
	})
}

func checkSleep(r report, f *File) {
	if !f.Test() {
		return
	}
	eachSelector(f, "time", func(sel *ast.SelectorExpr) {
		if sel.Sel.Name == "Sleep" {
			r.at(sel.Pos(), "a test must not sleep: wait for what it waits for, or use testing/synctest")
		}
	})
}

func checkForeign(r report, f *File) {
	if f.Folder() == "iam/simulate" || f.Test() {
		return
	}
	eachSelector(f, "policy", func(sel *ast.SelectorExpr) {
		if sel.Sel.Name == "ParseForeign" {
			r.at(sel.Pos(), "only a simulation takes foreign policies: use ParseFor, which refuses what is not meant")
		}
	})
}

func eachSelector(f *File, pkg string, do func(*ast.SelectorExpr)) {
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == pkg && id.Obj == nil {
				do(sel)
			}
		}
		return true
	})
}

func checkInit(r report, f *File) {
	for _, d := range f.AST.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			r.at(fn.Pos(), "no init functions: make the value where it is used")
		}
	}
}

func checkFunctions(r report, f *File) {
	for _, d := range f.AST.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := f.Set.Position(fn.End()).Line - f.Set.Position(fn.Pos()).Line + 1
		if lines > maxFunctionLines && !f.Test() {
			r.at(fn.Pos(), "%s has %d lines, over %d: split it by what it does", fn.Name.Name, lines, maxFunctionLines)
		}
		count := 0
		for _, p := range fn.Type.Params.List {
			if _, variadic := p.Type.(*ast.Ellipsis); !variadic {
				count += max(1, len(p.Names))
			}
		}
		if count > maxParameters && !f.Test() {
			r.at(fn.Pos(), "%s takes %d parameters, over %d: give it a struct", fn.Name.Name, count, maxParameters)
		}
	}
}

func checkFile(r report, f *File) {
	if lines := f.Set.File(f.AST.Pos()).LineCount(); lines > maxFileLines && !f.Test() {
		r.at(f.AST.Package, "the file has %d lines, over %d: split it by subject", lines, maxFileLines)
	}
}

func checkInterfaces(r report, f *File) {
	if f.Test() {
		return
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if iface, ok := spec.Type.(*ast.InterfaceType); ok && iface.Methods.NumFields() > maxMethods {
			r.at(spec.Pos(), "interface %s has %d methods, over %d: declare what its user needs", spec.Name.Name, iface.Methods.NumFields(), maxMethods)
		}
		return true
	})
}

func checkDocs(r report, f *File) {
	if f.Test() || f.AST.Name.Name == "main" {
		return
	}
	for _, d := range f.AST.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
				r.at(d.Pos(), "%s is exported and has no comment", d.Name.Name)
			}
		case *ast.GenDecl:
			checkDeclDocs(r, d)
		}
	}
}

func checkDeclDocs(r report, d *ast.GenDecl) {
	if d.Tok == token.IMPORT || d.Doc != nil {
		return
	}
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && s.Comment == nil {
				r.at(s.Pos(), "type %s is exported and has no comment", s.Name.Name)
			}
		case *ast.ValueSpec:
			if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil {
				r.at(s.Pos(), "%s is exported and has no comment", s.Names[0].Name)
			}
		}
	}
}

// exportedReceiver tells whether a function is no method, or one of an
// exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

func checkNames(r report, f *File) {
	for _, part := range strings.Split(f.Folder(), "/") {
		switch part {
		case "util", "utils", "common", "helpers", "misc":
			r.at(f.AST.Package, "a folder named %s says nothing: name it for what it does", part)
		}
	}
}
