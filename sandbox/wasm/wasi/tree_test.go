package wasi

import (
	"fmt"
	"math/rand/v2"
	"path"
	"sort"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/testrounds"
)

// TestPathCorpus tries to leave /tmp by every way a path can be written (A61).
func TestPathCorpus(t *testing.T) {
	fresh := func() *world {
		w := newWorld(t, Call{})
		p, n := w.str(1000, "dir")
		w.must(ESUCCESS, "path_create_directory", 3, p, n)
		if _, e := w.openPath("dir/file", openCreate); e != ESUCCESS {
			t.Fatal(e)
		}
		return w
	}
	for name, want := range map[string]Errno{
		"dir/file": ESUCCESS, "./dir//file": ESUCCESS, "dir/../dir/file": ESUCCESS, "dir/./file": ESUCCESS, "dir": ESUCCESS, "dir/": ESUCCESS,
		"dir/..": ESUCCESS, ".": ESUCCESS, "./": ESUCCESS, "dir/../.": ESUCCESS,
		"": ENOENT, "..": ENOTCAPABLE, "../": ENOTCAPABLE, "../tmp": ENOTCAPABLE, "../tmp/dir": ENOTCAPABLE, "dir/../..": ENOTCAPABLE,
		"dir/../../tmp/dir/file": ENOTCAPABLE, "./..": ENOTCAPABLE, "/": ENOTCAPABLE, "/tmp": ENOTCAPABLE, "/etc/passwd": ENOTCAPABLE, "//dir": ENOTCAPABLE,
		"dir/file/": ENOTDIR, "dir/file/..": ENOTDIR, "dir/file/.": ENOTDIR, "dir/file/x": ENOTDIR,
		"none": ENOENT, "none/..": ENOENT, "none/../dir": ENOENT, "dir/none/../file": ENOENT, "DIR": ENOENT, "dir\\file": ENOENT, "%2e%2e": ENOENT,
		"dir\x00": EINVAL, "\x00": EINVAL, "dir/fi\x00le": EINVAL, "\xff": EILSEQ, "dir/\xc0\xae\xc0\xae": EILSEQ,
		strings.Repeat("a", 256): ENAMETOOLONG, strings.Repeat("a/", 2049): ENAMETOOLONG, "...": ENOENT, "dir/...": ENOENT,
		strings.Repeat("../", 1000): ENOTCAPABLE, "\u2025/\u2025": ENOENT, "\uff0e\uff0e/dir": ENOENT,
	} {
		w := fresh()
		p, n := w.str(1000, name)
		if e, _ := w.call("path_filestat_get", 3, 0, p, n, 8000); e != want {
			t.Errorf("%q: errno %d, want %d", name, e, want)
		}
		// What cannot be found cannot be made by the same name, but for plain new names.
		if e, _ := w.call("path_create_directory", 3, p, n); e == ESUCCESS && (want != ENOENT || strings.Contains(name, "..") && !strings.Contains(name, "...")) {
			t.Errorf("%q: a directory was made", name)
		}
	}
	// A directory that was opened is a fence as well.
	w := fresh()
	p, n := w.str(1000, "dir")
	w.must(ESUCCESS, "path_open", 3, 0, p, n, openDirectory, rightRead, 0, 0, 40)
	fd := uint64(w.u32(40))
	for _, name := range []string{"..", "../dir", "../x", "/dir"} {
		p, n := w.str(1000, name)
		w.must(ENOTCAPABLE, "path_filestat_get", fd, 0, p, n, 8000)
		w.must(ENOTCAPABLE, "path_create_directory", fd, p, n)
		q, m := w.str(1200, "file")
		w.must(ENOTCAPABLE, "path_rename", fd, q, m, fd, p, n)
	}
}

func TestRenameAndRemoveRules(t *testing.T) {
	w := newWorld(t, Call{})
	mk := func(name string) { p, n := w.str(1000, name); w.must(ESUCCESS, "path_create_directory", 3, p, n) }
	touch := func(name string) {
		t.Helper()
		if _, e := w.openPath(name, openCreate); e != ESUCCESS {
			t.Fatalf("%s: %d", name, e)
		}
	}
	rename := func(from, to string, want Errno) {
		t.Helper()
		p, n := w.str(1000, from)
		q, m := w.str(1200, to)
		w.must(want, "path_rename", 3, p, n, 3, q, m)
	}
	mk("a")
	mk("a/b")
	mk("empty")
	touch("f")
	touch("a/g")
	rename("a", "a/b/c", EINVAL)
	rename("a", "a", ESUCCESS)
	rename("f", "a", EISDIR)
	rename("a", "f", ENOTDIR)
	rename("empty", "a", ENOTEMPTY)
	rename("none", "x", ENOENT)
	rename("f", "none/x", ENOENT)
	rename("f", "new/", ENOTDIR)
	rename(".", "x", EINVAL)
	rename("a", ".", EINVAL)
	rename("a", "empty", ESUCCESS)
	rename("f", "empty/g", ESUCCESS)
	for name, want := range map[string]Errno{"empty": EISDIR, "empty/none": ENOENT, "empty/g/": ENOTDIR} {
		p, n := w.str(1000, name)
		w.must(want, "path_unlink_file", 3, p, n)
	}
	for name, want := range map[string]Errno{"empty": ENOTEMPTY, "empty/g": ENOTDIR, ".": EINVAL, "empty/b/..": ENOTEMPTY, "empty/b": ESUCCESS} {
		if name == "empty/b" {
			continue // map order: last, below
		}
		p, n := w.str(1000, name)
		w.must(want, "path_remove_directory", 3, p, n)
	}
	p, n := w.str(1000, "empty/b")
	w.must(ESUCCESS, "path_remove_directory", 3, p, n)
}

func TestFileAccess(t *testing.T) {
	w := newWorld(t, Call{ClockBase: 5 * millisecond})
	fd, e := w.openPath("f", openCreate|openExclusive)
	if e != ESUCCESS {
		t.Fatal(e)
	}
	if _, e := w.openPath("f", openCreate|openExclusive); e != EEXIST {
		t.Errorf("made twice: %d", e)
	}
	if e := w.write(fd, "hello world"); e != ESUCCESS {
		t.Fatal(e)
	}
	w.must(ESUCCESS, "fd_seek", fd, ^uint64(4), whenceCurrent, 48) // 5 back
	if got := w.read(fd, 100); got != "world" {
		t.Errorf("read %q", got)
	}
	w.must(ESUCCESS, "fd_seek", fd, 10000, whenceSet, 48)
	if e := w.write(fd, "far"); e != ESUCCESS {
		t.Fatal(e)
	}
	v, c := w.buffer(3000, 8)
	w.must(ESUCCESS, "fd_pread", fd, v, c, 9997, 44)
	if got := string(w.mem[3000:][:w.u32(44)]); got != "\x00\x00\x00far" {
		t.Errorf("read %q at the end", got)
	}
	w.must(ESUCCESS, "fd_filestat_set_size", fd, 5)
	w.must(ESUCCESS, "fd_filestat_set_size", fd, 12)
	v, c = w.buffer(3000, 100)
	w.must(ESUCCESS, "fd_pread", fd, v, c, 0, 44)
	if got := string(w.mem[3000:][:w.u32(44)]); got != "hello\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("what was cut off came back: %q", got)
	}
	w.must(ESUCCESS, "fd_filestat_get", fd, 8000)
	if w.u64(8000+32) != 12 || w.mem[8000+16] != typeRegular || w.u64(8000+48) != 5*millisecond {
		t.Errorf("size %d, type %d, modified %d", w.u64(8000+32), w.mem[8000+16], w.u64(8000+48))
	}
	w.must(EINVAL, "fd_seek", fd, ^uint64(0), whenceSet, 48)
	w.must(EFBIG, "fd_filestat_set_size", fd, 1<<63)
	w.must(EFBIG, "fd_pwrite", fd, v, c, 1<<63, 44)

	p, n := w.str(1000, "f")
	w.must(ESUCCESS, "path_open", 3, 0, p, n, 0, rightRead, 0, 0, 40)
	ro := uint64(w.u32(40))
	if e := w.write(ro, "x"); e != EBADF {
		t.Errorf("writing to what was opened for reading: %d", e)
	}
	w.must(EBADF, "fd_filestat_set_size", ro, 0)
	w.must(ENOTCAPABLE, "fd_fdstat_set_rights", ro, allAccess, 0)
	w.must(ESUCCESS, "path_open", 3, 0, p, n, 0, rightWrite, 0, flagAppend, 40)
	if e := w.write(uint64(w.u32(40)), "!"); e != ESUCCESS {
		t.Error(e)
	}
	if got := w.read(ro, 100); got != "hello\x00\x00\x00\x00\x00\x00\x00!" {
		t.Errorf("after appending: %q", got)
	}
	// A file that was unlinked lives until it is closed.
	p, n = w.str(1000, "f")
	used := w.TmpBytes()
	w.must(ESUCCESS, "path_unlink_file", 3, p, n)
	w.must(ESUCCESS, "fd_seek", ro, 0, whenceSet, 48)
	if got := w.read(ro, 5); got != "hello" {
		t.Errorf("after unlinking: %q", got)
	}
	for i := range w.fds[4:] {
		w.call("fd_close", uint64(4+i))
	}
	if w.TmpBytes() >= used || w.TmpBytes() != 0 {
		t.Errorf("%d bytes are still used", w.TmpBytes())
	}
}

func TestTmpIsBounded(t *testing.T) {
	w := newWorld(t, Call{})
	w.space = 100_000
	fd, e := w.openPath("f", openCreate)
	if e != ESUCCESS {
		t.Fatal(e)
	}
	wrote := 0
	for range 100 {
		v, c := w.buffer(4000, 10_000)
		if e, _ := w.call("fd_write", fd, v, c, 44); e != ESUCCESS {
			if e != ENOSPC {
				t.Errorf("errno %d", e)
			}
			break
		}
		wrote += int(w.u32(44))
	}
	if wrote < 80_000 || wrote > 100_000 || w.space < 0 {
		t.Errorf("%d bytes were written into 100,000", wrote)
	}
	w.must(ENOSPC, "fd_filestat_set_size", fd, 1<<32)
	w = newWorld(t, Call{})
	for i := 0; ; i++ {
		_, e := w.openPath(fmt.Sprintf("f%d", i), openCreate)
		if e == EMFILE {
			if i+4 != maxDescriptors {
				t.Errorf("%d descriptors", i+4)
			}
			break
		} else if e != ESUCCESS {
			t.Fatal(e)
		}
	}
	w = newWorld(t, Call{})
	made := 0
	for ; made < 2*maxEntries; made++ {
		p, n := w.str(1000, fmt.Sprintf("d%d", made))
		if e, _ := w.call("path_create_directory", 3, p, n); e != ESUCCESS {
			break
		}
	}
	if made != maxEntries {
		t.Errorf("%d entries", made)
	}
	w = newWorld(t, Call{})
	deep := "d"
	for ; len(deep) < 4*maxDepth; deep += "/d" {
		p, n := w.str(1000, deep)
		if e, _ := w.call("path_create_directory", 3, p, n); e != ESUCCESS {
			break
		}
	}
	if d := strings.Count(deep, "/") + 1; d != maxDepth {
		t.Errorf("directories %d deep, want up to %d", d, maxDepth)
	}
}

// names lists /tmp by fd_readdir with a small buffer, as the C library does.
func (w *world) names(bufferSize uint64) (list []string) {
	cookie := uint64(0)
	for {
		w.must(ESUCCESS, "fd_readdir", 3, 9000, bufferSize, cookie, 44)
		used := uint64(w.u32(44))
		for at := uint64(9000); ; {
			left := 9000 + used - at
			if left < direntSize || left < direntSize+uint64(w.u32(at+16)) {
				break
			}
			n := uint64(w.u32(at + 16))
			cookie = w.u64(at)
			list = append(list, string(w.mem[at+direntSize:][:n]))
			at += direntSize + n
		}
		if used < bufferSize {
			return list
		}
	}
}

// model is what /tmp has to be like: a map of files and a set of directories.
type model struct {
	*world
	*rand.Rand
	files map[string]string
	dirs  map[string]bool
}

func (m *model) name() string {
	n := string(rune('a' + m.IntN(4)))
	if m.IntN(2) == 0 {
		n += "/" + string(rune('a'+m.IntN(4)))
	}
	return n
}

func (m *model) hasChildren(dir string) bool {
	return len(m.children(dir)) > 0
}

func (m *model) children(dir string) (names []string) {
	for f := range m.files {
		if path.Dir(f) == dir {
			names = append(names, f)
		}
	}
	for d := range m.dirs {
		if d != "." && path.Dir(d) == dir {
			names = append(names, d)
		}
	}
	return names
}

// agree makes a call that has to succeed or fail as the model says.
func (m *model) agree(ok bool, name string, args ...uint64) {
	m.t.Helper()
	if e, _ := m.call(name, args...); (e == ESUCCESS) != ok {
		m.t.Fatalf("%s: errno %d, and the model says %v", name, e, ok)
	}
}

// step makes one random change to both.
func (m *model) step() {
	n := m.name()
	_, isFile := m.files[n]
	free := !isFile && !m.dirs[n] && m.dirs[path.Dir(n)]
	p, l := m.str(1000, n)
	switch m.IntN(5) {
	case 0:
		m.agree(free, "path_create_directory", 3, p, l)
		if free {
			m.dirs[n] = true
		}
	case 1:
		m.create(n, free || isFile)
	case 2:
		m.agree(isFile, "path_unlink_file", 3, p, l)
		delete(m.files, n)
	case 3:
		ok := m.dirs[n] && !m.hasChildren(n)
		m.agree(ok, "path_remove_directory", 3, p, l)
		if ok {
			delete(m.dirs, n)
		}
	case 4:
		m.rename(n, m.name())
	}
}

func (m *model) create(n string, ok bool) {
	fd, e := m.openPath(n, openCreate|openTruncate)
	if (e == ESUCCESS) != ok {
		m.t.Fatalf("create %s: %d", n, e)
	}
	if !ok {
		return
	}
	text := strings.Repeat(n, m.IntN(3000))
	if e := m.write(fd, text); e != ESUCCESS {
		m.t.Fatal(e)
	}
	m.files[n] = text
	m.must(ESUCCESS, "fd_close", fd)
}

func (m *model) rename(from, to string) {
	_, fromFile := m.files[from]
	_, toFile := m.files[to]
	ok := m.dirs[path.Dir(to)]
	switch {
	case fromFile:
		ok = ok && !m.dirs[to]
	case m.dirs[from]:
		ok = from == to || ok && !toFile && !strings.HasPrefix(to, from+"/") && !m.hasChildren(to)
	default:
		ok = false
	}
	p, l := m.str(1000, from)
	q, k := m.str(1200, to)
	m.agree(ok, "path_rename", 3, p, l, 3, q, k)
	switch {
	case !ok || from == to:
	case fromFile:
		m.files[to] = m.files[from]
		delete(m.files, from)
	default:
		moveDir(m.files, m.dirs, from, to)
	}
}

// TestTreeAgainstModel makes random changes and compares with the model.
func TestTreeAgainstModel(t *testing.T) {
	rnd := testrounds.Rand(t)
	for range testrounds.Rounds(t) {
		m := &model{newWorld(t, Call{}), rnd, map[string]string{}, map[string]bool{".": true}}
		for range 200 {
			m.step()
		}
		for f, want := range m.files {
			fd, e := m.openPath(f, 0)
			if e != ESUCCESS {
				t.Fatalf("%s is gone: %d", f, e)
			}
			if got := m.read(fd, 20000); got != want {
				t.Fatalf("%s has %d bytes, want %d", f, len(got), len(want))
			}
		}
		want := append(m.children("."), ".", "..")
		got := m.names(60)
		sort.Strings(got)
		sort.Strings(want)
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Fatalf("listing %v, want %v", got, want)
		}
	}
}

func moveDir(files map[string]string, dirs map[string]bool, from, to string) {
	for f, text := range files {
		if rest, ok := strings.CutPrefix(f, from+"/"); ok {
			delete(files, f)
			files[to+"/"+rest] = text
		}
	}
	for d := range dirs {
		if rest, ok := strings.CutPrefix(d, from+"/"); ok {
			delete(dirs, d)
			dirs[to+"/"+rest] = true
		}
	}
	delete(dirs, from)
	dirs[to] = true
}
