//go:build linux

package native

import _ "embed" // the bootstraps

// The bootstraps of the languages, given to the interpreter on its command
// line: nothing of ours has to lie in the sandbox's files.
//
//go:embed bootstrap.js
var nodeBootstrap string

//go:embed bootstrap.py
var pythonBootstrap string
