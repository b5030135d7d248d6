package native

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
)

func host() *Host {
	return &Host{Node: Interpreter{"/usr/bin/node", "20.20.2"}, Python: Interpreter{"/usr/bin/python3", "3.12.1"}, Loaders: []string{"/lib/ld.so"}}
}

func TestRuntimes(t *testing.T) {
	t.Parallel()
	walled := &Host{Why: "it has no runsc", Remedy: "Run make runsc."}
	for _, c := range []struct {
		host    *Host
		runtime function.Runtime
		want    string // part of the error; empty if it runs
	}{
		{host(), "nodejs20.x", ""}, {host(), "python3.11", ""}, {host(), "python3.12", ""}, {host(), "provided.al2023", ""},
		{host(), "nodejs22.x", "needs a newer Node than this node's host has, which is 20.20.2"},
		{host(), "python3.13", "needs a newer Python"},
		{host(), "nodejs18.x", "enum value set: [wasm, provided.al2023, nodejs20.x, python3.11, python3.12]"},
		{host(), "nodejs21.x", "enum value set"}, {host(), "nodejs20", "enum value set"}, {host(), "nodejs020.x", "enum value set"},
		{host(), "python3.10", "enum value set"}, {host(), "python2.7", "enum value set"}, {host(), "java21", "enum value set"},
		{host(), "", "enum value set"}, {host(), "provided.al2", "enum value set"}, {host(), "nodejs20.x\n", "enum value set"},
		{walled, "nodejs20.x", "it has no runsc"}, {walled, "provided.al2023", "it has no runsc"}, {walled, "ruby3.3", "[wasm, provided.al2023]"},
		{nil, "nodejs20.x", "no wall"}, {nil, "x", "[wasm, provided.al2023]"},
		{&Host{}, "nodejs20.x", "this node's host has none"}, {&Host{}, "python3.11", "this node's host has none"},
	} {
		err := c.host.Check(c.runtime)
		if c.want == "" && err == nil {
			continue
		}
		if c.want == "" || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.runtime, err, c.want)
		}
	}
}

// program makes the head of an ELF file.
func program(edit func(head []byte), loader string) []byte {
	b := make([]byte, headSize+programSize, 512)
	copy(b, elfMagic)
	b[4], b[5], b[6] = class64, littleEndian, 1
	binary.LittleEndian.PutUint16(b[16:], typeExec)
	binary.LittleEndian.PutUint16(b[18:], machineX86)
	binary.LittleEndian.PutUint64(b[32:], headSize)
	binary.LittleEndian.PutUint16(b[54:], programSize)
	binary.LittleEndian.PutUint16(b[56:], 1)
	binary.LittleEndian.PutUint32(b[headSize:], 1)
	if loader != "" {
		p := b[headSize:]
		binary.LittleEndian.PutUint32(p, segmentInt)
		binary.LittleEndian.PutUint64(p[8:], headSize+programSize)
		binary.LittleEndian.PutUint64(p[32:], uint64(len(loader)+1))
		b = append(append(b, loader...), 0)
	}
	if edit != nil {
		edit(b)
	}
	return b
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		head []byte
		want string
	}{
		{"static", program(nil, ""), ""},
		{"position independent", program(func(b []byte) { b[16] = typeDyn }, ""), ""},
		{"with a loader that is there", program(nil, "/lib/ld.so"), ""},
		{"with another loader", program(nil, "/lib64/ld-linux-x86-64.so.2"), `needs "/lib64/ld-linux-x86-64.so.2", which is not in a sandbox`},
		{"for another processor", program(func(b []byte) { b[18] = machineARM }, ""), "another processor (ELF machine 183) than this node's, which is x86_64"},
		{"32 bits", program(func(b []byte) { b[4] = 1 }, ""), "another processor"},
		{"an object file", program(func(b []byte) { b[16] = 1 }, ""), "no program that can be started"},
		{"a core dump", program(func(b []byte) { b[16] = 4 }, ""), "no program that can be started"},
		{"headers elsewhere", program(func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 1<<40) }, ""), "not at its beginning"},
		{"headers overflow", program(func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 1<<64-8) }, ""), "not at its beginning"},
		{"loader elsewhere", program(func(b []byte) { binary.LittleEndian.PutUint64(b[headSize+8:], 1<<64-2) }, "/lib/ld.so"), "loader's name is not at its beginning"},
		{"cut short", program(nil, "")[:63], "no program (ELF)"},
		{"empty", nil, "no program (ELF)"},
		{"script", []byte("#!/bin/sh\n"), "is a script"},
		{"module", []byte("\x00asm\x01\x00\x00\x00"), "WebAssembly module"},
	} {
		err := host().checkProgram(c.head, "amd64")
		if c.want == "" && err == nil {
			continue
		}
		if c.want == "" || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// A program that Go's linker made is one, and read as debug/elf reads it.
func TestRealPrograms(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("ELF is Linux's")
	}
	for _, path := range []string{os.Args[0], look("python3"), look("node")} {
		f, err := elf.Open(path)
		if err != nil {
			continue // a script, or not installed
		}
		loader := ""
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				b := make([]byte, p.Filesz-1)
				if _, err := p.ReadAt(b, 0); err != nil {
					t.Fatal(err)
				}
				loader = string(b)
			}
		}
		f.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := loaderOf(b[:min(len(b), HeadSize)]); err != nil || got != loader {
			t.Errorf("%s: loader %q, %v; debug/elf says %q", path, got, err, loader)
		}
		if err := (&Host{Loaders: []string{loader}}).CheckProgram(b[:min(len(b), HeadSize)]); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func look(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	path, _ = filepath.EvalSymlinks(path)
	return path
}

func FuzzCheckProgram(f *testing.F) {
	f.Add(program(nil, ""))
	f.Add(program(nil, "/lib/ld.so"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := host().checkProgram(b, "amd64"); err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("%v is not the author's error", err)
		}
	})
}
