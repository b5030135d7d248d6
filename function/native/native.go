// Package native says which native functions a node runs: which runtimes of
// Lambda's names, on which interpreters, and which programs.
package native

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
)

// Language is what a native runtime runs: the name under which the worker
// knows it.
type Language string

// The languages. A program is a bootstrap of the package's own.
const (
	Node    Language = "nodejs"
	Python  Language = "python"
	Program Language = ""
)

// BootstrapName is the program at the root of a package of provided.al2023.
const BootstrapName = "bootstrap"

// The oldest runtimes: those that Lambda still gives new functions.
const (
	oldestNode   = 20
	oldestPython = 11
)

// Interpreter is a program of the host that sandboxes see.
type Interpreter struct {
	// Path is where it is, inside too.
	Path string
	// Version is what it says of itself, as 20.20.2.
	Version string
}

// Host is what a node has for native functions. It does not change while the
// node runs.
type Host struct {
	// Why says why native code is not run on this node at all, and Remedy what
	// to do about it; empty if it is.
	Why, Remedy string
	// Node and Python are zero where the host has none.
	Node, Python Interpreter
	// Loaders are the dynamic loaders that sandboxes have.
	Loaders []string
}

var (
	nodeForm   = regexp.MustCompile(`^nodejs([1-9][0-9]?)\.x$`)
	pythonForm = regexp.MustCompile(`^python3\.([1-9][0-9]?)$`)
)

// LanguageOf gives the language of a runtime's name; false if it is none that
// any node runs natively. A package of provided.al2023 may be a WebAssembly
// module as well.
func LanguageOf(r function.Runtime) (Language, bool) {
	if r == function.ProvidedAL23 {
		return Program, true
	}
	l, _, found := parse(r)
	return l, found
}

// parse gives the language and the number that matters: Node's major version,
// or Python's minor one.
func parse(r function.Runtime) (Language, int, bool) {
	if m := nodeForm.FindStringSubmatch(string(r)); m != nil {
		n, err := strconv.Atoi(m[1])
		// Lambda has the even versions, which are those with long support.
		return Node, n, err == nil && n >= oldestNode && n%2 == 0
	}
	if m := pythonForm.FindStringSubmatch(string(r)); m != nil {
		n, err := strconv.Atoi(m[1])
		return Python, n, err == nil && n >= oldestPython
	}
	return "", 0, false
}

const op = "native.Check"

func invalid(format string, args ...any) *fault.Error {
	return fault.New(op, fault.Invalid, format, args...).WithCode("InvalidParameterValueException")
}

// Check tells whether this node runs a runtime natively.
//
// Error: fault.Invalid with what is missing and what to do.
func (h *Host) Check(r function.Runtime) error {
	language, number, found := parse(r)
	switch {
	case r == function.ProvidedAL23:
		found = true
	case !found:
		return h.unknown(r)
	}
	if h == nil || h.Why != "" {
		why, remedy := "this node has no wall for it", "Have the operator set up the wall kernel, or deploy a WebAssembly module."
		if h != nil {
			why, remedy = h.Why, h.Remedy
		}
		return invalid("Native code (runtime %s) is not run on this node: %s.", r, why).WithRemedy("%s", remedy)
	}
	switch language {
	case Node:
		return enough(r, "Node", h.Node, major(h.Node.Version) >= number)
	case Python:
		return enough(r, "Python", h.Python, minor(h.Python.Version) >= number)
	}
	return nil
}

// unknown is the error of a name that is no runtime here, with those that are.
func (h *Host) unknown(r function.Runtime) error {
	return invalid("Value %.100q at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [%s] or be a valid ARN.",
		string(r), strings.Join(h.Runtimes(), ", "))
}

func enough(r function.Runtime, name string, has Interpreter, newEnough bool) error {
	if has.Path == "" {
		return invalid("The runtime %s needs %s, and this node's host has none.", r, name).
			WithRemedy("Have the operator install it, and start the node again.")
	}
	if !newEnough {
		return invalid("The runtime %s needs a newer %s than this node's host has, which is %s.", r, name, has.Version).
			WithRemedy("Deploy it under a runtime of that version or an older one, or have the operator install a newer %s.", name)
	}
	return nil
}

// Runtimes lists the names that functions may be deployed under here.
func (h *Host) Runtimes() []string {
	list := []string{string(function.Wasm), string(function.ProvidedAL23)}
	if h == nil || h.Why != "" {
		return list
	}
	for n := oldestNode; n <= major(h.Node.Version); n += 2 {
		list = append(list, fmt.Sprintf("nodejs%d.x", n))
	}
	for n := oldestPython; n <= minor(h.Python.Version); n++ {
		list = append(list, fmt.Sprintf("python3.%d", n))
	}
	return list
}

// InterpreterOf gives the program that runs a language; zero for Program.
func (h *Host) InterpreterOf(l Language) Interpreter {
	switch l {
	case Node:
		return h.Node
	case Python:
		return h.Python
	}
	return Interpreter{}
}

// HasLoader tells whether sandboxes have a dynamic loader at this path.
func (h *Host) HasLoader(path string) bool { return slices.Contains(h.Loaders, path) }

func major(version string) int { return part(version, 0) }

// minor is the second number of a Python of version 3; of no other there is one.
func minor(version string) int {
	if major(version) != 3 {
		return 0
	}
	return part(version, 1)
}

func part(version string, n int) int {
	parts := strings.Split(version, ".")
	if n >= len(parts) {
		return 0
	}
	v, err := strconv.Atoi(parts[n])
	if err != nil || v < 0 {
		return 0
	}
	return v
}
