package bundle

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
)

func TestOpenArchive(t *testing.T) {
	t.Parallel()
	b := archive(t, file{"app.js", []byte("exports.handler = 1"), nil}, file{"lib/", nil, nil}, file{"lib/A.js", []byte("x"), nil},
		file{"lib/a.js", []byte("y"), nil}, file{"bootstrap", bytes.Repeat([]byte("z"), 100), mode(0o755)})
	a, err := OpenArchive(b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(); err != nil {
		t.Error(err)
	}
	if head, err := a.Head("bootstrap", 5); err != nil || string(head) != "zzzzz" {
		t.Errorf("head %q, %v", head, err)
	}
	if head, err := a.Head("nothing", 5); err != nil || head != nil || a.Has("nothing") || a.Has("lib") || !a.Has("lib/a.js") {
		t.Errorf("head of nothing: %q, %v", head, err)
	}
	// The harmless twin is above: the same attacks are refused here as by Open.
	for name, c := range map[string]struct {
		upload []byte
		want   string
	}{
		"slip":              {archive(t, file{"../app.js", []byte("x"), nil}), "'..' part"},
		"absolute":          {archive(t, file{"/etc/passwd", []byte("x"), nil}), "absolute"},
		"link":              {archive(t, file{"app.js", []byte("/etc/passwd"), mode(fs.ModeSymlink | 0o777)}), "link, device"},
		"setuid":            {archive(t, file{"app.js", []byte("x"), mode(fs.ModeSetuid | 0o755)}), "setuid"},
		"twice":             {archive(t, file{"a", []byte("x"), nil}, file{"a", []byte("y"), nil}), "more than once"},
		"file and folder":   {archive(t, file{"a", []byte("x"), nil}, file{"a/b", []byte("y"), nil}), "a file and a folder"},
		"file and folder/":  {archive(t, file{"a", []byte("x"), nil}, file{"a/", nil, nil}), "more than once"},
		"bomb":              {archive(t, file{"a", make([]byte, 64<<20), nil}), "grows more than"},
		"empty":             {nil, "empty"},
		"no zip":            {[]byte("#!/bin/sh"), "no zip"},
		"a module":          {module, "no zip"},
		"cut short":         {b[:len(b)-10], "no end record"},
		"something before":  {append([]byte("PK"), b...), "directory is not where"},
		"something behind":  {append(bytes.Clone(b), 'x'), "no end record"},
		"over the unpacked": {archive(t, file{"a", bytes.Repeat([]byte("abcdefgh"), 1000), nil}), "Unzipped size must be smaller"},
	} {
		limits := Limits{}
		if name == "over the unpacked" {
			limits.Unpacked = 8000
		}
		_, err := OpenArchive(c.upload, limits)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), ".wasm") {
			t.Errorf("%s: the remedy is for modules: %v", name, err)
		}
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	b := archive(t, file{"a", bytes.Repeat([]byte("content "), 100), nil})
	a, err := OpenArchive(b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	e := a.find("a")
	for i := e.data; i < e.data+e.packed; i++ {
		broken := bytes.Clone(b)
		broken[i] ^= 0x55
		a, err := OpenArchive(broken, Limits{})
		if err == nil {
			err = a.Verify()
		}
		if !fault.Is(err, fault.Invalid) {
			t.Fatalf("byte %d: got %v", i, err)
		}
	}
}
