package control

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/function/native"
	"github.com/carrel-dev/carrel/secret"
)

func files(t *testing.T, content map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range content {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNativeFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.config()
	config.Native = &native.Host{Node: native.Interpreter{Path: "/usr/bin/node", Version: "20.20.2"}, Python: native.Interpreter{Path: "/usr/bin/python3", Version: "3.11.7"}}
	s, err := Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	acme := w.operator(s).tenant("acme")
	self, err := os.ReadFile(os.Args[0]) // a program for this processor
	if err != nil {
		t.Fatal(err)
	}
	program := files(t, map[string]string{"bootstrap": string(self[:min(len(self), 1<<20)])})
	script := files(t, map[string]string{"app.js": "exports.handler = 1"})
	for _, c := range []struct {
		name     function.Name
		runtime  function.Runtime
		handler  string
		upload   []byte
		model    function.Model
		problem  string
		artifact []byte
	}{
		{"node", "nodejs20.x", "app.handler", script, function.Native, "", script},
		{"python", "python3.11", "src/app.handler", script, function.Native, "", script},
		{"program", "provided.al2023", "", program, function.Native, "", program},
		{"module", "provided.al2023", "", module("m"), function.Reactor, "", nil},
		{"both", "provided.al2023", "", files(t, map[string]string{"bootstrap": "#!/bin/sh", "bootstrap.wasm": string(module("m"))}), function.Reactor, "", nil},
		{"shell", "provided.al2023", "", files(t, map[string]string{"bootstrap": "#!/bin/sh"}), "", "is a script", nil},
		{"neither", "provided.al2023", "", script, "", "has no bootstrap.wasm", nil},
		{"newer", "nodejs22.x", "app.handler", script, "", "needs a newer Node", nil},
		{"older", "python3.9", "app.handler", script, "", "[wasm, provided.al2023, nodejs20.x, python3.11]", nil},
		{"without", "nodejs20.x", "", script, "", "names no function", nil},
		{"no-zip", "nodejs20.x", "app.handler", module("m"), "", "this is a WebAssembly module", nil},
		{"slip", "nodejs20.x", "app.handler", files(t, map[string]string{"../app.js": "x"}), "", "'..' part", nil},
		{"files", "wasm", "", script, "", "has no bootstrap.wasm", nil},
	} {
		in := acme.input(c.name, "x")
		in.Runtime, in.Handler, in.Package = c.runtime, c.handler, c.upload
		if c.problem != "" {
			_, err := s.CreateFunction(ctx, acme.may(ActionCreateFunction, c.name), in)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.problem)
			}
			continue
		}
		v := acme.active(in)
		if v.Version.Model != c.model {
			t.Errorf("%s: model %q, want %q", c.name, v.Version.Model, c.model)
		}
		if c.artifact == nil {
			continue
		}
		d, _ := s.ix.functions.get(functionName{acme.account, c.name})
		if b, err := w.blobs.Get(ctx, d.AccountUID, secret.Image, v.Version.Artifact); err != nil || !bytes.Equal(b, c.artifact) {
			t.Errorf("%s: the artefact is not the package: %d bytes, %v", c.name, len(b), err)
		}
		target, err := s.Resolve(acme.account, c.name, "", 0)
		if err != nil || target.Runtime != c.runtime || target.Model != function.Native || target.Handler != v.Version.Handler {
			t.Errorf("%s: target %+v, %v", c.name, target, err)
		}
	}
}
