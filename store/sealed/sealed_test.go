//go:build linux

package sealed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/secret/secrettest"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/store/jetstream"
	"github.com/carrel-dev/carrel/store/memory"
	"github.com/carrel-dev/carrel/store/storetest"
	"github.com/carrel-dev/carrel/tenant"
)

const childDir = "CARREL_SEALED_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" { //lint:allow getenv the test binary is its own child process
		readDamaged(dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newTenant(t testing.TB, k *secret.Keeper) tenant.UID {
	t.Helper()
	uid := tenant.NewUID()
	if err := k.CreateTenant(uid); err != nil {
		t.Fatal(err)
	}
	return uid
}

func wrap(t testing.TB, kv store.KV, c Config) *Store {
	t.Helper()
	s, err := New(kv, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openJetStream(t testing.TB, dir string) (*jetstream.Store, *bus.Bus) {
	t.Helper()
	b, err := bus.Start(bus.Config{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := jetstream.Open(t.Context(), b.JetStream(), bus.Functions)
	if err != nil {
		t.Fatal(err)
	}
	return s, b
}

func TestConformance(t *testing.T) {
	k := secrettest.Keeper(t)
	owner := newTenant(t, k)
	ownedByOne := func(store.Key) (tenant.UID, error) { return owner, nil }
	t.Run("memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.KV {
			return wrap(t, memory.New(), Config{Sealer: k, Bucket: "b", Owner: ownedByOne})
		})
	})
	t.Run("jetstream", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.KV {
			kv, _ := openJetStream(t, t.TempDir())
			return wrap(t, kv, Config{Sealer: k, Bucket: "b", Owner: ownedByOne})
		})
	})
}

// scene is a sealed store, and the store below it, where an attacker writes.
type scene struct {
	keeper       *secret.Keeper
	raw          *memory.Store
	sealed       *Store
	acme, globex tenant.UID
}

func newScene(t *testing.T) scene {
	t.Helper()
	k, raw := secrettest.Keeper(t), memory.New()
	return scene{k, raw, wrap(t, raw, Config{Sealer: k, Bucket: "fn"}), newTenant(t, k), newTenant(t, k)}
}

// put writes past the sealed store.
func (s scene) put(t *testing.T, key store.Key, value []byte) {
	t.Helper()
	e, err := s.raw.Get(t.Context(), key)
	if err != nil && !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	if _, err := s.raw.Update(t.Context(), key, value, e.Revision); err != nil {
		t.Fatal(err)
	}
}

func (s scene) rawValue(t *testing.T, key store.Key) []byte {
	t.Helper()
	e, err := s.raw.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return e.Value
}

// refused checks that a key cannot be read in any way, for the given cause.
func refused(t *testing.T, s *Store, key store.Key, cause error) {
	t.Helper()
	if e, err := s.Get(t.Context(), key); !errors.Is(err, cause) || e.Value != nil || fault.Is(err, fault.NotFound) {
		t.Errorf("Get %s: %q, %v", key, e.Value, err)
	}
	found := false
	if err := s.List(t.Context(), key, func(e store.Entry) error {
		found = true
		if !errors.Is(e.Err, cause) || e.Value != nil {
			t.Errorf("List %s: %q, %v", key, e.Value, e.Err)
		}
		return nil
	}); err != nil || !found {
		t.Errorf("List %s: found %v, %v", key, found, err)
	}
	stop := errors.New("enough")
	if err := s.Watch(t.Context(), store.Watching{Prefix: key, Each: func(e store.Entry) error {
		if !errors.Is(e.Err, cause) || e.Value != nil {
			t.Errorf("Watch %s: %q, %v", key, e.Value, e.Err)
		}
		return stop
	}}); !errors.Is(err, stop) {
		t.Error(err)
	}
	snapshot, err := store.Load(t.Context(), s, key, store.Options[string]{Decode: func(e store.Entry) (string, error) { return string(e.Value), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	if value, _, err := snapshot.Get(key); !errors.Is(err, cause) || !fault.Is(err, fault.Internal) {
		t.Errorf("the snapshot has %s as %q, %v", key, value, err)
	}
}

func wantValue(t *testing.T, kv store.KV, key store.Key, want string) store.Revision {
	t.Helper()
	e, err := kv.Get(t.Context(), key)
	if err != nil || string(e.Value) != want {
		t.Errorf("%s is %q, %v; want %q", key, e.Value, err, want)
	}
	return e.Revision
}

func create(t *testing.T, kv store.KV, key store.Key, value string) store.Revision {
	t.Helper()
	r, err := kv.Create(t.Context(), key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A09: a sealed value that is copied into another record is refused.
func TestSwappedValuesAreRefused(t *testing.T) {
	s := newScene(t)
	mine := storetest.Key(t, "fn", string(s.acme), "a")
	mine2 := storetest.Key(t, "fn", string(s.acme), "b")
	theirs := storetest.Key(t, "fn", string(s.globex), "a")
	node := storetest.Key(t, "fn", "node", "a")
	for _, key := range []store.Key{mine, mine2, theirs, node} {
		create(t, s.sealed, key, "of "+key.String())
	}
	for _, victim := range []store.Key{mine2, theirs, node} {
		original := s.rawValue(t, victim)
		s.put(t, victim, s.rawValue(t, mine))
		refused(t, s.sealed, victim, secret.ErrAltered)
		refused(t, wrap(t, s.raw, s.sealed.config), victim, secret.ErrAltered)
		if bytes.Equal(original, s.rawValue(t, victim)) {
			t.Error("the attack did nothing")
		}
	}
	wantValue(t, s.sealed, mine, "of "+mine.String())
	other := wrap(t, s.raw, Config{Sealer: s.keeper, Bucket: "role"})
	refused(t, other, mine, secret.ErrAltered)
}

// A10: an earlier value that is written again is refused by who saw a later one.
func TestRolledBackValuesAreRefused(t *testing.T) {
	s := newScene(t)
	key := storetest.Key(t, "fn", string(s.acme), "a")
	r := create(t, s.sealed, key, "allowed")
	old := s.rawValue(t, key)
	if _, err := s.sealed.Update(t.Context(), key, []byte("forbidden"), r); err != nil {
		t.Fatal(err)
	}
	reader := wrap(t, s.raw, s.sealed.config) // has only read what the writer wrote
	wantValue(t, reader, key, "forbidden")
	s.put(t, key, old)
	refused(t, s.sealed, key, ErrRollback)
	refused(t, reader, key, ErrRollback)

	// The control: who never saw the later value cannot know. The harmless
	// twin: a write of the same content by a legitimate writer is fine.
	fresh := wrap(t, s.raw, s.sealed.config)
	r = wantValue(t, fresh, key, "allowed")
	if _, err := fresh.Update(t.Context(), key, []byte("allowed"), r); err != nil {
		t.Fatal(err)
	}
	wantValue(t, reader, key, "allowed")
}

// A deleted record must not come back by its old value.
func TestDeletedRecordsDoNotComeBack(t *testing.T) {
	s := newScene(t)
	key := storetest.Key(t, "fn", string(s.acme), "a")
	r := create(t, s.sealed, key, "revoked later")
	old := s.rawValue(t, key)
	if _, err := s.sealed.Delete(t.Context(), key, r); err != nil {
		t.Fatal(err)
	}
	if _, err := s.sealed.Get(t.Context(), key); !fault.Is(err, fault.NotFound) {
		t.Errorf("the deleted one: %v", err)
	}
	s.put(t, key, old)
	refused(t, s.sealed, key, ErrRollback)
	s.put(t, key, nil)
	refused(t, s.sealed, key, secret.ErrAltered)
}

// A store that was exchanged for an earlier copy is found by who saw more.
func TestAnEarlierCopyOfTheStoreIsFound(t *testing.T) {
	s := newScene(t)
	key := storetest.Key(t, "fn", string(s.acme), "a")
	r := create(t, s.sealed, key, "1")
	copied := s.rawValue(t, key)
	if _, err := s.sealed.Update(t.Context(), key, []byte("2"), r); err != nil {
		t.Fatal(err)
	}
	for name, earlier := range map[string]func(*memory.Store){
		"empty":   func(*memory.Store) {},
		"earlier": func(m *memory.Store) { m.Create(t.Context(), key, copied) },
	} {
		m := memory.New()
		earlier(m)
		exchanged := wrap(t, m, s.sealed.config)
		exchanged.saw(key, s.sealed.last(key))
		if e, err := exchanged.Get(t.Context(), key); !errors.Is(err, ErrRollback) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if _, err := exchanged.Create(t.Context(), key, []byte("3")); !errors.Is(err, ErrRollback) {
			t.Errorf("%s: created anew: %v", name, err)
		}
	}
}

func TestAlteredBytesAreRefused(t *testing.T) {
	s := newScene(t)
	key := storetest.Key(t, "fn", string(s.acme), "a")
	create(t, s.sealed, key, "text")
	sealed := s.rawValue(t, key)
	try := func(name string, value []byte) {
		t.Helper()
		m := memory.New() // the same revision, so that only the bytes differ
		if _, err := m.Create(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		if e, err := wrap(t, m, s.sealed.config).Get(t.Context(), key); err == nil || e.Value != nil || fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %q, %v", name, e.Value, err)
		}
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		try(fmt.Sprint("byte ", i), altered)
		try(fmt.Sprint("cut to ", i), sealed[:i])
	}
	wantValue(t, wrap(t, s.raw, s.sealed.config), key, "text")
}

func FuzzStoredValue(f *testing.F) {
	k := secrettest.Keeper(f)
	owner := newTenant(f, k)
	m := memory.New()
	c := Config{Sealer: k, Bucket: "fn"}
	key := storetest.Key(f, "fn", string(owner), "a")
	if _, err := wrap(f, m, c).Create(f.Context(), key, []byte("text")); err != nil {
		f.Fatal(err)
	}
	e, err := m.Get(f.Context(), key)
	if err != nil {
		f.Fatal(err)
	}
	genuine := e.Value
	f.Add(genuine)
	f.Add(genuine[:headSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) > store.MaxValue {
			return
		}
		m := memory.New()
		if _, err := m.Create(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		if e, err := wrap(t, m, c).Get(t.Context(), key); err == nil && !bytes.Equal(value, genuine) {
			t.Errorf("foreign bytes opened as %q", e.Value)
		}
	})
}

func TestSchemas(t *testing.T) {
	s := newScene(t)
	key := storetest.Key(t, "fn", string(s.acme), "a")
	create(t, s.sealed, key, "old form")
	c := s.sealed.config
	c.Schema = 2
	if _, err := wrap(t, s.raw, c).Get(t.Context(), key); !fault.Is(err, fault.Unsupported) {
		t.Errorf("an older form without a way to upgrade: %v", err)
	}
	c.Upgrade = func(schema uint16, value []byte) ([]byte, error) {
		return fmt.Appendf(nil, "%s, upgraded from %d", value, schema), nil
	}
	upgraded := wrap(t, s.raw, c)
	r := wantValue(t, upgraded, key, "old form, upgraded from 0")
	if _, err := upgraded.Update(t.Context(), key, []byte("new form"), r); err != nil {
		t.Fatal(err)
	}
	wantValue(t, upgraded, key, "new form")
	if _, err := s.sealed.Get(t.Context(), key); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a newer form: %v", err)
	}
}

func TestOwners(t *testing.T) {
	s := newScene(t)
	for _, key := range []store.Key{storetest.Key(t, "fn"), storetest.Key(t, "fn", "acme", "a")} {
		if _, err := s.sealed.Create(t.Context(), key, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", key, err)
		}
	}
	key, twin := storetest.Key(t, "fn", string(s.acme), "a"), storetest.Key(t, "fn", string(s.globex), "a")
	create(t, s.sealed, key, "text")
	create(t, s.sealed, twin, "text")
	if err := s.keeper.DestroyTenant(s.acme); err != nil {
		t.Fatal(err)
	}
	refused(t, s.sealed, key, secret.ErrDestroyed)
	wantValue(t, s.sealed, twin, "text")
}

// Nothing of a value may show in the files, whoever looks at them.
func TestFilesShowNoPlaintext(t *testing.T) {
	const needle = "a-text-of-acme-that-is-nowhere-else"
	k := secrettest.Keeper(t)
	owner := newTenant(t, k)
	search := func(write func(store.KV, store.Key)) bool {
		dir := t.TempDir()
		kv, b := openJetStream(t, dir)
		write(kv, storetest.Key(t, "fn", string(owner), "a"))
		b.Close()
		found := false
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			found = found || bytes.Contains(content, []byte(needle))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if search(func(kv store.KV, key store.Key) {
		create(t, wrap(t, kv, Config{Sealer: k, Bucket: "fn"}), key, needle)
	}) {
		t.Error("the value shows in the files")
	}
	if !search(func(kv store.KV, key store.Key) { create(t, kv, key, needle) }) {
		t.Error("the search finds nothing even without sealing")
	}
}

// A105: whatever byte of the server's files is flipped, a record is what it was
// or it is not given; it is never another one. The server may well fail on
// such files, so each try is a process of its own with little memory.
func TestDamagedFilesNeverGiveWrongValues(t *testing.T) {
	random := testrounds.Rand(t)
	k := secrettest.Keeper(t)
	owner := newTenant(t, k)
	dir := t.TempDir()
	kv, b := openJetStream(t, dir)
	s := wrap(t, kv, Config{Sealer: k, Bucket: "fn"})
	want := map[string][]byte{}
	for i := range 50 {
		key := storetest.Key(t, "fn", string(owner), fmt.Sprint("k", i))
		create(t, s, key, key.String())
		e, err := kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		want[key.String()] = e.Value
	}
	b.Close()
	pristine := t.TempDir()
	if err := os.CopyFS(pristine, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	const msgs = "jetstream/$G/streams/KV_function/msgs"
	files, err := filepath.Glob(filepath.Join(pristine, msgs, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of the bucket: %v", err)
	}
	whole, failed := 0, 0
	for range testrounds.Rounds(t) {
		try := t.TempDir()
		if err := os.CopyFS(try, os.DirFS(pristine)); err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(files[random.IntN(len(files))])
		content, err := os.ReadFile(filepath.Join(pristine, msgs, name))
		if err != nil {
			t.Fatal(err)
		}
		at, bit := random.IntN(len(content)), random.IntN(8)
		content[at] ^= 1 << bit
		if err := os.WriteFile(filepath.Join(try, msgs, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+try)
		out, err := cmd.Output()
		if err != nil {
			failed++
			continue
		}
		given := checkGiven(t, s, out, want)
		if given == len(want) {
			whole++
		} else {
			t.Logf("bit %d of byte %d of %s: %d of %d records are given", bit, at, name, given, len(want))
		}
		os.RemoveAll(try)
	}
	t.Logf("%d tries gave all records, %d failed to start", whole, failed)
}

// checkGiven opens what a child read from damaged files, and gives the number
// of records that opened.
func checkGiven(t *testing.T, s *Store, out []byte, want map[string][]byte) (given int) {
	t.Helper()
	for line := range bytes.Lines(out) {
		var text string
		var e store.Entry
		if _, err := fmt.Sscanf(string(line), "%s %d %x\n", &text, &e.Revision, &e.Value); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		var err error
		if e.Key, err = store.ParseKey(text); err != nil {
			t.Fatal(err)
		}
		opened := s.open(e, link{})
		if opened.Err == nil && (string(opened.Value) != text || !bytes.Equal(e.Value, want[text])) {
			t.Errorf("%s is %q", text, opened.Value)
		}
		if opened.Err == nil {
			given++
		}
	}
	return given
}

// readDamaged prints every record of a store that it can.
func readDamaged(dir string) {
	const memory = 4 << 30
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: memory, Max: memory}); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := bus.Start(bus.Config{StoreDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer b.Close()
	kv, err := jetstream.Open(ctx, b.JetStream(), bus.Functions)
	if err == nil {
		err = kv.List(ctx, store.Key{}, func(e store.Entry) error {
			_, err := fmt.Printf("%s %d %x\n", e.Key, uint64(e.Revision), e.Value)
			return err
		})
	}
	fmt.Fprintln(os.Stderr, err)
}

// BenchmarkLoad20k loads a snapshot of 20,000 sealed records from JetStream.
func BenchmarkLoad20k(b *testing.B) {
	k := secrettest.Keeper(b)
	kv, _ := openJetStream(b, b.TempDir())
	s := wrap(b, kv, Config{Sealer: k, Bucket: "fn"})
	owners := make([]tenant.UID, 100)
	for i := range owners {
		owners[i] = newTenant(b, k)
	}
	value := make([]byte, 256)
	for i := range 20_000 {
		if _, err := s.Update(b.Context(), storetest.Key(b, "fn", string(owners[i%100]), fmt.Sprint("k", i)), value, 0); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		snapshot, err := store.Load(b.Context(), s, store.Key{}, store.Options[int]{Decode: func(e store.Entry) (int, error) { return len(e.Value), nil }})
		if err != nil {
			b.Fatal(err)
		}
		if snapshot.Len() != 20_000 {
			b.Fatalf("%d keys", snapshot.Len())
		}
		snapshot.Close()
	}
}
