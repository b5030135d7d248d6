package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
)

// module is the least WebAssembly module, with some content after it.
var module = append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Repeat([]byte("content "), 64)...)

type file struct {
	name    string
	content []byte
	edit    func(*zip.FileHeader)
}

func archive(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		if f.edit != nil {
			f.edit(h)
		}
		fw, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fw.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// central gives the place of the n-th entry of the central directory.
func central(t testing.TB, b []byte, n int) []byte {
	t.Helper()
	at := 0
	for range n + 1 {
		i := bytes.Index(b[at:], []byte("PK\x01\x02"))
		if i < 0 {
			t.Fatal("no such entry")
		}
		at += i + 4
	}
	return b[at-4:]
}

func local(t testing.TB, b []byte, n int) []byte {
	t.Helper()
	return b[binary.LittleEndian.Uint32(central(t, b, n)[42:]):]
}

func end(b []byte) []byte { return b[bytes.LastIndex(b, []byte("PK\x05\x06")):] }

func mode(m fs.FileMode) func(*zip.FileHeader) { return func(h *zip.FileHeader) { h.SetMode(m) } }

func TestOpen(t *testing.T) {
	stored := func(h *zip.FileHeader) { h.Method = zip.Store }
	for name, upload := range map[string][]byte{
		"bare":         module,
		"deflated":     archive(t, file{ModuleName, module, nil}),
		"stored":       archive(t, file{ModuleName, module, stored}),
		"with others":  archive(t, file{"README", []byte("x"), nil}, file{"lib/", nil, nil}, file{"lib/a.txt", []byte("y"), nil}, file{ModuleName, module, mode(0o755)}),
		"empty others": archive(t, file{"empty", nil, nil}, file{ModuleName, module, nil}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Open(upload, Limits{})
			if err != nil || !bytes.Equal(got, module) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestAttacks is the corpus of A47 to A49: every archive is refused with a
// text that says why, and its twin, which differs only in that, is taken.
func TestAttacks(t *testing.T) {
	good := file{ModuleName, module, nil}
	beside := func(name string) []byte { return archive(t, good, file{name, []byte("x"), nil}) }
	patched := func(edit func(b []byte)) []byte {
		b := archive(t, good, file{"other", bytes.Repeat([]byte("z"), 100), nil})
		edit(b)
		return b
	}
	twin := archive(t, good, file{"other", bytes.Repeat([]byte("z"), 100), nil})
	plain := beside("plain.txt")
	for _, c := range []struct {
		name   string
		upload []byte
		twin   []byte
		want   string
	}{
		{"slip", beside("../etc/passwd"), plain, "'..' part"},
		{"slip inside", beside("a/../../b"), beside("a/b"), "'..' part"},
		{"slip at the end", beside("a/.."), beside("a/b"), "'..' part"},
		{"dot", beside("./x"), beside("x"), "'.'"},
		{"empty part", beside("a//b"), beside("a/b"), "empty"},
		{"absolute", beside("/etc/passwd"), beside("etc/passwd"), "absolute"},
		{"drive", beside("C:/x"), beside("C/x"), "colon"},
		{"stream", beside("x:y"), beside("x-y"), "colon"},
		{"backslash", beside(`..\x`), beside("x"), "backslash"},
		{"share", beside(`\\host\x`), beside("host/x"), "backslash"},
		{"nul", beside("a\x00b"), beside("ab"), "control character"},
		{"newline", beside("a\nb"), beside("ab"), "control character"},
		{"not utf-8", beside("a\xffb"), beside("ab"), "UTF-8"},
		{"long name", beside(strings.Repeat("n", 513)), beside(strings.Repeat("n", 512)), "longer than 512"},
		{"symlink", archive(t, good, file{"l", []byte("/etc"), mode(fs.ModeSymlink | 0o777)}), plain, "link, device"},
		{"module is a symlink", archive(t, file{ModuleName, module, mode(fs.ModeSymlink | 0o777)}), twin, "link, device"},
		{"device", archive(t, good, file{"d", nil, mode(fs.ModeDevice | 0o666)}), plain, "link, device"},
		{"fifo", archive(t, good, file{"d", nil, mode(fs.ModeNamedPipe | 0o666)}), plain, "link, device"},
		{"socket", archive(t, good, file{"d", nil, mode(fs.ModeSocket | 0o666)}), plain, "link, device"},
		{"setuid", archive(t, good, file{"s", nil, mode(fs.ModeSetuid | 0o755)}), archive(t, good, file{"s", nil, mode(0o755)}), "setuid"},
		{"setgid", archive(t, good, file{"s", nil, mode(fs.ModeSetgid | 0o755)}), plain, "setuid"},
		{"folder as file", archive(t, good, file{"d/", nil, func(h *zip.FileHeader) { h.ExternalAttrs = 0x8000 << 16 }}), archive(t, good, file{"d/", nil, nil}), "file by one"},
		{"module is a folder", archive(t, file{ModuleName + "/", nil, nil}), twin, "folder of the module"},
		{"module is also a folder", beside(ModuleName + "/x"), plain, "folder of the module"},
		{"twice", archive(t, good, good), twin, "more than once"},
		{"twice by case", beside("BOOTSTRAP.wasm"), plain, "more than once"},
		{"file and folder", archive(t, good, file{"d", nil, nil}, file{"d/", nil, nil}), plain, "more than once"},
		{"in a folder", archive(t, file{"bin/" + ModuleName, module, nil}), twin, "has to be at the root"},
		{"no module", archive(t, file{"bootstrap", module, nil}), twin, "has no bootstrap.wasm"},
		{"no entries", archive(t), twin, "has no bootstrap.wasm"},
		{"not a module", archive(t, file{ModuleName, []byte("#!/bin/sh"), nil}), twin, "not a WebAssembly module"},
		{"nested archive", archive(t, file{ModuleName, twin, nil}), twin, "not a WebAssembly module"},
		{"encrypted", patched(func(b []byte) { central(t, b, 0)[8] |= 1; local(t, b, 0)[6] |= 1 }), twin, "encrypted"},
		{"strong encryption", patched(func(b []byte) { central(t, b, 0)[8] |= 1 << 6 }), twin, "encrypted"},
		{"method", patched(func(b []byte) { central(t, b, 0)[10] = 12; local(t, b, 0)[8] = 12 }), twin, "method 12"},
		{"local name differs", patched(func(b []byte) { local(t, b, 0)[localSize] = 'X' }), twin, "two ways"},
		{"local method differs", patched(func(b []byte) { local(t, b, 0)[8] = 0 }), twin, "two ways"},
		{"local size differs", patched(func(b []byte) { local(t, b, 0)[18] = 7 }), twin, "two ways"},
		{"overlap", patched(func(b []byte) { copy(central(t, b, 1)[42:46], central(t, b, 0)[42:46]) }), twin, "two ways"},
		{"overlap inside", overlapping(t), twin, "overlaps"},
		{"outside", patched(func(b []byte) { binary.LittleEndian.PutUint32(central(t, b, 0)[42:], 1<<30) }), twin, "outside"},
		{"packed size over the end", patched(func(b []byte) { binary.LittleEndian.PutUint32(central(t, b, 1)[20:], 1<<20) }), twin, "outside"},
		{"zip64 sizes", patched(func(b []byte) { binary.LittleEndian.PutUint32(central(t, b, 0)[24:], 0xffffffff) }), twin, "zip64"},
		{"zip64 count", patched(func(b []byte) { copy(end(b)[8:12], "\xff\xff\xff\xff") }), twin, "zip64"},
		{"several disks", patched(func(b []byte) { end(b)[4] = 1 }), twin, "several"},
		{"count too small", patched(func(b []byte) { end(b)[8], end(b)[10] = 1, 1 }), twin, "more entries"},
		{"count too large", patched(func(b []byte) { end(b)[8], end(b)[10] = 3, 3 }), twin, "cut short"},
		{"prefix", append([]byte("PK  "), twin...), twin, "directory is not where"},
		{"suffix", append(bytes.Clone(twin), 'x'), twin, "no end record"},
		{"cut", twin[:len(twin)-1], twin, "no end record"},
		{"declared too small", patched(func(b []byte) { binary.LittleEndian.PutUint32(central(t, b, 0)[24:], 8) }), twin, "damaged or not of the declared size"},
		{"checksum", patched(func(b []byte) { central(t, b, 0)[16]++ }), twin, "checksum"},
		{"not a zip", []byte("MZ..."), twin, "neither a zip"},
		{"empty", nil, module, "empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Open(c.twin, Limits{}); err != nil {
				t.Fatalf("the harmless twin was refused: %v", err)
			}
			got, err := Open(c.upload, Limits{})
			refused(t, got, err, c.want)
		})
	}
}

func refused(t *testing.T, got []byte, err error, want string) {
	t.Helper()
	var f *fault.Error
	if got != nil || !errors.As(err, &f) {
		t.Fatalf("taken: %d bytes, %v", len(got), err)
	}
	if f.Kind != fault.Invalid && f.Kind != fault.TooLarge || f.Code == "" || !strings.Contains(f.Text(), want) {
		t.Fatalf("refused with %v %q: want %q in it", f.Kind, f.Text(), want)
	}
}

// overlapping makes an archive whose second entry lies inside the stored
// content of the first: the trick of bombs that use the same bytes many times.
func overlapping(t testing.TB) []byte {
	raw := func(name string, content []byte, at int) (header, record []byte) {
		var h, r [64]byte
		binary.LittleEndian.PutUint32(h[:], localMagic)
		binary.LittleEndian.PutUint32(r[:], centralMagic)
		for base, b := range map[int][]byte{14: h[:], 16: r[:]} {
			binary.LittleEndian.PutUint32(b[base:], crc32.ChecksumIEEE(content))
			binary.LittleEndian.PutUint32(b[base+4:], uint32(len(content)))
			binary.LittleEndian.PutUint32(b[base+8:], uint32(len(content)))
			binary.LittleEndian.PutUint16(b[base+12:], uint16(len(name)))
		}
		binary.LittleEndian.PutUint32(r[42:], uint32(at))
		return append(append(h[:localSize:localSize], name...), content...), append(r[:centralSize:centralSize], name...)
	}
	inner, second := raw("inner", []byte("inside"), localSize+len(ModuleName)+len(module))
	whole, first := raw(ModuleName, append(bytes.Clone(module), inner...), 0)
	b := append(append(bytes.Clone(whole), first...), second...)
	e := make([]byte, endSize)
	binary.LittleEndian.PutUint32(e, endMagic)
	e[8], e[10] = 2, 2
	binary.LittleEndian.PutUint32(e[12:], uint32(len(first)+len(second)))
	binary.LittleEndian.PutUint32(e[16:], uint32(len(whole)))
	b = append(b, e...)
	if _, err := zip.NewReader(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatalf("the control does not hold: the usual reader refuses it too: %v", err)
	}
	return b
}

func TestBombs(t *testing.T) {
	zeroes := append(bytes.Clone(module), make([]byte, 4<<20)...)
	t.Run("ratio", func(t *testing.T) {
		bomb := archive(t, file{ModuleName, zeroes, nil})
		got, err := Open(bomb, Limits{})
		refused(t, got, err, "grows more than 128-fold")
		if got, err := Open(bomb, Limits{Ratio: 2000}); err != nil || len(got) != len(zeroes) {
			t.Fatalf("the control does not hold: %v", err)
		}
	})
	t.Run("size", func(t *testing.T) {
		b := archive(t, file{ModuleName, module, nil}, file{"a", make([]byte, 600), nil}, file{"b", make([]byte, 600), nil})
		total := int64(len(module) + 1200)
		got, err := Open(b, Limits{Unpacked: total})
		refused(t, got, err, fmt.Sprintf("Unzipped size must be smaller than %d bytes", total))
		if _, err := Open(b, Limits{Unpacked: total + 1}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("aws text", func(t *testing.T) {
		b := archive(t, file{ModuleName, module, nil})
		binary.LittleEndian.PutUint32(central(t, b, 0)[24:], 262_144_000)
		_, err := Open(b, Limits{Ratio: 1 << 40})
		if got := fault.From("", err).Text(); got != "Unzipped size must be smaller than 262144000 bytes" {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("entries", func(t *testing.T) {
		files := []file{{ModuleName, module, nil}}
		for i := range 9 {
			files = append(files, file{fmt.Sprint(i), nil, nil})
		}
		b := archive(t, files...)
		if _, err := Open(b, Limits{Entries: 10}); err != nil {
			t.Fatal(err)
		}
		got, err := Open(b, Limits{Entries: 9})
		refused(t, got, err, "has 10 entries; at most 9")
	})
	t.Run("packed", func(t *testing.T) {
		if _, err := Open(module, Limits{Packed: int64(len(module))}); err != nil {
			t.Fatal(err)
		}
		got, err := Open(module, Limits{Packed: int64(len(module)) - 1})
		refused(t, got, err, "over the limit")
	})
}

// TestDeclaredSizeTakesNoMemory shows that an archive which declares a large
// module and holds a small one is refused without room being made for it.
func TestDeclaredSizeTakesNoMemory(t *testing.T) {
	b := archive(t, file{ModuleName, module, nil})
	binary.LittleEndian.PutUint32(central(t, b, 0)[24:], 200<<20)
	result := testing.Benchmark(func(bench *testing.B) {
		for range bench.N {
			if _, err := Open(b, Limits{Ratio: 1 << 40}); err == nil {
				bench.Fatal("taken")
			}
		}
	})
	if n := result.AllocedBytesPerOp(); n > 1<<20 {
		t.Fatalf("%d bytes were allocated", n)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(module)
	f.Add(archive(f, file{ModuleName, module, nil}, file{"a/b", []byte("x"), nil}))
	f.Add(overlapping(f))
	f.Fuzz(func(t *testing.T, upload []byte) {
		limits := Limits{Unpacked: 1 << 20, Packed: 1 << 20, Entries: 16}
		got, err := Open(upload, limits)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("kind %v: %v", k, err)
			}
			return
		}
		if !bytes.HasPrefix(got, wasmMagic) || len(got) > 1<<20 {
			t.Fatalf("took %d bytes that are no module", len(got))
		}
		if bytes.HasPrefix(upload, wasmMagic) {
			return
		}
		// Whatever we take, the usual reader takes, and sees the same module.
		r, err := zip.NewReader(bytes.NewReader(upload), int64(len(upload)))
		if err != nil {
			t.Fatalf("the usual reader refuses what was taken: %v", err)
		}
		other, err := fs.ReadFile(r, ModuleName)
		if err != nil || !bytes.Equal(other, got) {
			t.Fatalf("the usual reader sees another module: %v", err)
		}
	})
}
