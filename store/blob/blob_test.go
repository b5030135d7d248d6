//go:build linux

package blob

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

const childDir = "CARREL_BLOB_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" { //lint:allow getenv the test binary is its own child process
		putOnFullDisk(dir)
	}
	os.Exit(m.Run())
}

type scene struct {
	dir          string // of the blobs
	store        *Store
	keeper       *secret.Keeper
	acme, globex tenant.UID
}

func newScene(t testing.TB) scene {
	t.Helper()
	s, err := makeScene(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func makeScene(dir string) (scene, error) {
	s := scene{dir: filepath.Join(dir, "blobs"), acme: tenant.NewUID(), globex: tenant.NewUID()}
	keysDir := filepath.Join(dir, "keys")
	if err := errors.Join(os.Mkdir(s.dir, 0o700), os.Mkdir(keysDir, 0o700)); err != nil {
		return s, err
	}
	keys, err := os.OpenRoot(keysDir)
	if err != nil {
		return s, err
	}
	root, err := secret.CreateRootKey(filepath.Join(dir, "root.key"))
	if err != nil {
		return s, err
	}
	if s.keeper, err = secret.Open(secret.Config{Root: root, Keys: keys}); err != nil {
		return s, err
	}
	if err := errors.Join(s.keeper.CreateTenant(s.acme), s.keeper.CreateTenant(s.globex)); err != nil {
		return s, err
	}
	s.store, err = s.open()
	return s, err
}

func (s scene) open() (*Store, error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	return Open(root, s.keeper)
}

func (s scene) put(t testing.TB, owner tenant.UID, content string) Ref {
	t.Helper()
	d, err := s.store.Put(t.Context(), owner, secret.Code, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return Ref{owner, secret.Code, d}
}

func (s scene) path(t testing.TB, ref Ref) string {
	t.Helper()
	_, file, err := s.store.place(ref)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(s.dir, file)
}

// files gives the paths of all files below a folder, with their contents.
func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantContent(t testing.TB, s *Store, ref Ref, want string) {
	t.Helper()
	if got, err := s.Get(t.Context(), ref); err != nil || string(got) != want {
		t.Errorf("%d bytes, %v; want %d bytes", len(got), err, len(want))
	}
}

func TestPutGetDelete(t *testing.T) {
	s := newScene(t)
	for _, n := range []int{0, 1, 1000, 256 << 10, 1<<20 + 7} {
		content := strings.Repeat("c", n)
		ref := s.put(t, s.acme, content)
		if again := s.put(t, s.acme, content); again != ref {
			t.Errorf("%d bytes stored twice: %v and %v", n, ref, again)
		}
		wantContent(t, s.store, ref, content)
		reopened, err := s.open()
		if err != nil {
			t.Fatal(err)
		}
		wantContent(t, reopened, ref, content)
		if err := s.store.Delete(t.Context(), ref); err != nil {
			t.Error(err)
		}
		if _, err := s.store.Get(t.Context(), ref); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted: %v", err)
		}
		if err := s.store.Delete(t.Context(), ref); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted twice: %v", err)
		}
	}
	if left := files(t, s.dir); len(left) > 0 {
		t.Errorf("%d files are left", len(left))
	}
}

// A11: whether another tenant has the same content cannot be told, and
// neither file opens for the other.
func TestTenantsShareNothing(t *testing.T) {
	const content = "the same package, to the last byte"
	s := newScene(t)
	mine, theirs := s.put(t, s.acme, content), s.put(t, s.globex, content)
	if mine.Digest != theirs.Digest {
		t.Fatal("the digests differ")
	}
	if filepath.Base(s.path(t, mine)) == filepath.Base(s.path(t, theirs)) {
		t.Error("the names are the same")
	}
	for path, b := range files(t, s.dir) {
		if strings.Contains(path, mine.Digest.String()) || bytes.Contains(b, []byte("package")) || bytes.Contains(b, mine.Digest[:]) {
			t.Errorf("%s tells about its content", path)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
	if err := s.store.Delete(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	wantContent(t, s.store, theirs, content)
	if _, err := s.store.Get(t.Context(), mine); !fault.Is(err, fault.NotFound) {
		t.Errorf("the deleted one: %v", err)
	}
	if _, err := s.store.Get(t.Context(), Ref{s.globex, secret.Image, theirs.Digest}); !fault.Is(err, fault.NotFound) {
		t.Errorf("as another kind: %v", err)
	}
}

// A50, A09: a file that was exchanged or altered is refused each time it is read.
func TestExchangedAndAlteredFilesAreRefused(t *testing.T) {
	s := newScene(t)
	content := strings.Repeat("0123456789abcdef", 40<<10) // three segments
	ref, other, foreign := s.put(t, s.acme, content), s.put(t, s.acme, "other content"), s.put(t, s.globex, content)
	image, err := s.store.Put(t.Context(), s.acme, secret.Image, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	path := s.path(t, ref)
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.store.Get(t.Context(), ref); !errors.Is(err, secret.ErrAltered) || got != nil || fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for name, from := range map[string]Ref{"another blob": other, "another tenant's": foreign, "another kind's": {s.acme, secret.Image, image}} {
		b, err := os.ReadFile(s.path(t, from))
		if err != nil {
			t.Fatal(err)
		}
		try(name, b)
	}
	n := len(original)
	for _, i := range []int{0, 1, 2, 33, 34, 40, 41, 42, n / 3, n / 2, n - 17, n - 16, n - 1} {
		altered := bytes.Clone(original)
		altered[i] ^= 1
		try(fmt.Sprint("byte ", i), altered)
		try(fmt.Sprint("cut to ", i), original[:i])
	}
	try("longer", append(bytes.Clone(original), 0))
	s.put(t, s.acme, content) // storing it again repairs it
	wantContent(t, s.store, ref, content)
}

func TestFailedPutsLeaveNothing(t *testing.T) {
	s := newScene(t)
	s.store.most = 1 << 20 // writing 300 MB would take its time
	broken := errors.New("the client went away")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, put := range map[string]func() error{
		"a broken source": func() error {
			_, err := s.store.Put(t.Context(), s.acme, secret.Code, io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(broken)))
			return err
		},
		"an ended context": func() error {
			_, err := s.store.Put(ended, s.acme, secret.Code, strings.NewReader("content"))
			return err
		},
		"no such tenant": func() error {
			_, err := s.store.Put(t.Context(), tenant.NewUID(), secret.Code, strings.NewReader("content"))
			return err
		},
		"a path as tenant": func() error {
			_, err := s.store.Put(t.Context(), "../../etc", secret.Code, strings.NewReader("content"))
			return err
		},
		"a path as kind": func() error {
			_, err := s.store.Put(t.Context(), s.acme, "../..", strings.NewReader("content"))
			return err
		},
		"too large": func() error {
			_, err := s.store.Put(t.Context(), s.acme, secret.Code, io.LimitReader(zeroes{}, 1<<20+1))
			return err
		},
	} {
		err := put()
		if err == nil {
			t.Errorf("%s: stored", name)
		}
		if name == "too large" && !fault.Is(err, fault.TooLarge) || name == "an ended context" && !fault.Is(err, fault.Timeout) {
			t.Errorf("%s: %v", name, err)
		}
		if left := files(t, s.dir); len(left) > 0 {
			t.Fatalf("%s: %d files are left", name, len(left))
		}
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTheLargestBlobIsStored(t *testing.T) {
	s := newScene(t)
	if s.store.most != MaxSize {
		t.Errorf("%d bytes are allowed, not %d", s.store.most, MaxSize)
	}
	s.store.most = 1 << 20
	d, err := s.store.Put(t.Context(), s.acme, secret.Code, io.LimitReader(zeroes{}, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, s.store, Ref{s.acme, secret.Code, d}, string(make([]byte, 1<<20)))
}

func TestFullDiskLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if left := files(t, filepath.Join(dir, "blobs")); len(left) != 1 {
		t.Errorf("%d files are there, not the one that fit", len(left))
	}
}

// putOnFullDisk stores something that fits and something that does not: the
// kernel refuses to write a file further than a limit, as on a full disk.
func putOnFullDisk(dir string) {
	s, err := makeScene(dir)
	if err != nil {
		panic(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		panic(err)
	}
	put := func(n int64) error {
		_, err := s.store.Put(context.Background(), s.acme, secret.Code, io.LimitReader(zeroes{}, n))
		return err
	}
	if err := put(100 << 10); err != nil {
		panic(err)
	}
	if err := put(3 << 20); !fault.Is(err, fault.Unavailable) {
		panic(fmt.Sprintf("a full disk gave %v", err))
	}
	os.Exit(0)
}

func TestOpenRemovesTheUnfinished(t *testing.T) {
	s := newScene(t)
	ref := s.put(t, s.acme, "content")
	if err := os.WriteFile(filepath.Join(s.dir, incoming, "half"), []byte("half of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	if left := files(t, s.dir); len(left) != 1 {
		t.Errorf("%d files are there", len(left))
	}
	wantContent(t, again, ref, "content")
}

func TestReap(t *testing.T) {
	s := newScene(t)
	kept, unknown, fresh, again := s.put(t, s.acme, "kept"), s.put(t, s.acme, "unknown"), s.put(t, s.globex, "fresh"), s.put(t, s.globex, "again")
	destroyed := tenant.NewUID()
	if err := s.keeper.CreateTenant(destroyed); err != nil {
		t.Fatal(err)
	}
	noise := s.put(t, destroyed, "noise")
	old := time.Now().Add(-time.Hour)
	for _, ref := range []Ref{kept, unknown, again, noise} {
		if err := os.Chtimes(s.path(t, ref), old, old); err != nil {
			t.Fatal(err)
		}
	}
	s.put(t, s.globex, "again") // stored again: its record may be on the way
	noisePath := s.path(t, noise)
	if err := s.keeper.DestroyTenant(destroyed); err != nil {
		t.Fatal(err)
	}
	noTenant := []Ref{{Owner: tenant.NewUID(), Kind: secret.Code}}
	if n, err := s.store.Reap(t.Context(), slices.Values(noTenant), time.Minute); err == nil || n != 0 {
		t.Errorf("with a reference that cannot be resolved %d were removed, %v", n, err)
	}
	n, err := s.store.Reap(t.Context(), slices.Values([]Ref{kept, noise}), time.Minute)
	if err != nil || n != 2 {
		t.Errorf("%d were removed, %v", n, err)
	}
	wantContent(t, s.store, kept, "kept")
	wantContent(t, s.store, fresh, "fresh")
	wantContent(t, s.store, again, "again")
	if _, err := s.store.Get(t.Context(), unknown); !fault.Is(err, fault.NotFound) {
		t.Errorf("the unknown one: %v", err)
	}
	if _, err := os.Stat(noisePath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the destroyed tenant's: %v", err)
	}
}

// Storing the same content while it is reaped must not lose it.
func TestPutWhileReaping(t *testing.T) {
	s := newScene(t)
	ref := s.put(t, s.acme, "content")
	stop, reaped := make(chan struct{}), sync.WaitGroup{}
	reaped.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.store.Reap(t.Context(), slices.Values([]Ref(nil)), time.Hour); err != nil {
				t.Error(err)
				return
			}
		}
	})
	old := time.Now().Add(-2 * time.Hour)
	for range 100 {
		os.Chtimes(s.path(t, ref), old, old) // may be gone already, as intended
		s.put(t, s.acme, "content")
		wantContent(t, s.store, ref, "content")
	}
	close(stop)
	reaped.Wait()
}

// A name below the folder that leads outside must not be followed.
func TestLinksOutsideAreNotFollowed(t *testing.T) {
	s := newScene(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(s.dir, string(s.acme))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Put(t.Context(), s.acme, secret.Code, strings.NewReader("content")); err == nil {
		t.Error("stored through a link")
	}
	if left := files(t, outside); len(left) > 0 {
		t.Errorf("%d files are outside", len(left))
	}
	wantContent(t, s.store, s.put(t, s.globex, "content"), "content")
}

func FuzzParseDigest(f *testing.F) {
	f.Add(Digest{1}.String())
	f.Add(strings.Repeat("A", 64))
	f.Add("../../etc/passwd")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDigest(text)
		if err != nil {
			return
		}
		if d.String() != text {
			t.Errorf("%q was read as %s", text, d)
		}
		j, err := json.Marshal(d)
		var again Digest
		if err != nil || json.Unmarshal(j, &again) != nil || again != d {
			t.Errorf("%s came back as %s, %v", j, again, err)
		}
	})
}

func BenchmarkPut1M(b *testing.B) {
	s := newScene(b)
	content := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := s.store.Put(b.Context(), s.acme, secret.Code, bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet1M(b *testing.B) {
	s := newScene(b)
	ref := s.put(b, s.acme, strings.Repeat("x", 1<<20))
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := s.store.Get(b.Context(), ref); err != nil {
			b.Fatal(err)
		}
	}
}
