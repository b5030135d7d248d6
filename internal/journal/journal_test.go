//go:build linux

package journal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/carrel-dev/carrel/fault"
)

// gcmSealer is AES-GCM with a random nonce in front.
type gcmSealer struct{ cipher.AEAD }

func newSealer(t testing.TB, key byte) Sealer {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcmSealer{aead}
}

func (s gcmSealer) Overhead() int { return s.NonceSize() + s.AEAD.Overhead() }

func (s gcmSealer) Seal(dst, plaintext, aad []byte) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, s.NonceSize())...)
	nonce := dst[n:]
	rand.Read(nonce)
	return s.AEAD.Seal(dst, nonce, plaintext, aad)
}

func (s gcmSealer) Open(dst, ciphertext, aad []byte) ([]byte, error) {
	if len(ciphertext) < s.NonceSize() {
		return nil, errors.New("too short")
	}
	return s.AEAD.Open(dst, ciphertext[:s.NonceSize()], ciphertext[s.NonceSize():], aad)
}

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func openDir(t testing.TB, dir string, cfg Config) *Journal {
	t.Helper()
	if cfg.Node == "" {
		cfg.Node = "node-a"
	}
	j, err := Open(openRoot(t, dir), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func closeIt(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

type entryRead struct {
	id   ID
	kind Kind
	data string
}

func readAll(t testing.TB, j *Journal, from Cursor) ([]entryRead, Cursor) {
	t.Helper()
	var out []entryRead
	cur, err := j.Read(from, func(r Record) error {
		out = append(out, entryRead{r.ID, r.Kind, string(r.Data)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, cur
}

func put(t testing.TB, j *Journal, text string) uint64 {
	t.Helper()
	seq := j.Append(7, []byte(text))
	if err := j.Write(seq); err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestRecordsSurviveRestart(t *testing.T) {
	for _, sync := range []Sync{SyncBackground, SyncAlways} {
		for _, sealer := range []Sealer{nil, newSealer(t, 1)} {
			dir := t.TempDir()
			cfg := Config{Sync: sync, Sealer: sealer, SegmentBytes: 4 << 10}
			var want []entryRead
			for boot := range 3 {
				j := openDir(t, dir, cfg)
				if r := j.Recovery(); !r.Clean || r.TornFile != "" || r.Records != uint64(len(want)) {
					t.Fatalf("boot %d: recovery %+v, want %d records and a clean end", boot, r, len(want))
				}
				for i := range 200 {
					text := fmt.Sprintf("boot %d record %d %s", boot, i, strings.Repeat("x", i))
					if i == 50 {
						text = ""
					}
					seq := put(t, j, text)
					if seq != uint64(i+1) {
						t.Fatalf("sequence %d, want %d", seq, i+1)
					}
					want = append(want, entryRead{j.ID(seq), 7, text})
				}
				got, _ := readAll(t, j, Cursor{})
				equalEntries(t, got, want)
				if s := j.Stats(); s.Segments < 3*(boot+1) {
					t.Fatalf("boot %d: %d segments, so none was rolled", boot, s.Segments)
				}
				closeIt(t, j)
			}
		}
	}
}

func equalEntries(t testing.TB, got, want []entryRead) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("record %d is %v, want %v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
}

func TestSealedFilesShowNothing(t *testing.T) {
	const secret = "acme's event with a needle in it"
	for _, sealed := range []bool{true, false} {
		dir := t.TempDir()
		cfg := Config{}
		if sealed {
			cfg.Sealer = newSealer(t, 1)
		}
		j := openDir(t, dir, cfg)
		for range 10 {
			put(t, j, secret)
		}
		closeIt(t, j)
		found := false
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(names) < 2 {
			t.Fatal(names, err)
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(b, []byte("needle"))
		}
		// The unsealed journal is the control: there the search must find it.
		if found == sealed {
			t.Fatalf("sealed %v: plaintext found %v", sealed, found)
		}
	}
}

func TestOnlyOneProcessOpensIt(t *testing.T) {
	dir := t.TempDir()
	j := openDir(t, dir, Config{})
	_, err := Open(openRoot(t, dir), Config{Node: "node-a"})
	if !fault.Is(err, fault.Conflict) {
		t.Fatalf("second open: %v, want a conflict", err)
	}
	closeIt(t, j)
	closeIt(t, openDir(t, dir, Config{}))
}

func TestBoundsAreRefused(t *testing.T) {
	j := openDir(t, t.TempDir(), Config{})
	big := make([]byte, MaxRecordBytes+1)
	if seq := j.Append(1, big); seq != 0 {
		t.Fatalf("a record above the bound got sequence %d", seq)
	}
	if err := j.Write(0); !errors.Is(err, ErrRefused) {
		t.Fatalf("Write(0): %v", err)
	}
	if err := j.Write(99); !fault.Is(err, fault.Invalid) {
		t.Fatalf("Write of a sequence not given out: %v", err)
	}
	seq := j.Append(1, big[:MaxRecordBytes])
	if err := j.Sync(seq); err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, err := j.Read(Cursor{}, func(r Record) error { n += len(r.Data); return nil }); err != nil || n != MaxRecordBytes {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	for _, cfg := range []Config{
		{}, {Node: strings.Repeat("n", MaxNodeBytes+1)}, {Node: "a/b"}, {Node: "n", Sync: 9},
		{Node: "n", SyncInterval: -1}, {Node: "n", SegmentBytes: -1},
	} {
		if _, err := open(newCrashDisk(nil), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("config %+v: %v", cfg, err)
		}
	}
}

func TestAppendIsBoundedWhileTheDiskStalls(t *testing.T) {
	d := newCrashDisk(nil)
	j := mustOpen(t, d, Config{Sync: SyncAlways})
	hold := make(chan struct{})
	d.mu.Lock()
	d.held = hold
	d.mu.Unlock()
	done := make(chan error)
	first := j.Append(1, []byte("stalled"))
	go func() { done <- j.Write(first) }()
	chunk := make([]byte, 4<<20)
	var last uint64
	refused := false
	for range 2 * MaxPendingBytes / len(chunk) {
		if seq := j.Append(1, chunk); seq != 0 {
			last = seq
		} else {
			refused = true
		}
	}
	if !refused {
		t.Fatal("the journal took more than it may hold in memory")
	}
	d.mu.Lock()
	d.held = nil
	d.mu.Unlock()
	close(hold)
	if err := errors.Join(<-done, j.Write(last)); err != nil {
		t.Fatal(err)
	}
	put(t, j, "and it goes on")
	closeIt(t, j)
}

func mustOpen(t testing.TB, d disk, cfg Config) *Journal {
	t.Helper()
	if cfg.Node == "" {
		cfg.Node = "node-a"
	}
	j, err := open(d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func TestManyGoroutines(t *testing.T) {
	const goroutines, each = 32, 200
	d := t.TempDir()
	j := openDir(t, d, Config{SegmentBytes: 16 << 10, Sealer: newSealer(t, 1)})
	var wg sync.WaitGroup
	seqs := make([][]uint64, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				seq := j.Append(Kind(g), fmt.Appendf(nil, "%d-%d", g, i))
				wait := j.Write
				if i%50 == 0 {
					wait = j.Sync
				}
				if err := wait(seq); err != nil {
					t.Error(err)
					return
				}
				seqs[g] = append(seqs[g], seq)
			}
		})
	}
	// A reader follows meanwhile and must see every record once, in order.
	var followed []entryRead
	wg.Go(func() { followed = follow(t, j, goroutines*each) })
	wg.Wait()
	if len(followed) != goroutines*each {
		t.Fatalf("followed %d records, want %d", len(followed), goroutines*each)
	}
	bySeq := map[uint64]entryRead{}
	for i, r := range followed {
		if r.id.Seq != uint64(i+1) {
			t.Fatalf("record %d has sequence %d", i, r.id.Seq)
		}
		bySeq[r.id.Seq] = r
	}
	for g := range seqs {
		for i, seq := range seqs[g] {
			if r := bySeq[seq]; r.kind != Kind(g) || r.data != fmt.Sprintf("%d-%d", g, i) {
				t.Fatalf("sequence %d is %v", seq, r)
			}
		}
	}
	if s := j.Stats(); s.Segments != 1 {
		t.Errorf("%d segments retained after all was shipped", s.Segments)
	}
}

// follow reads n records as they come, as a shipper does: its cursor passes
// through text, and what it has read is deleted.
func follow(t *testing.T, j *Journal, n int) []entryRead {
	var followed []entryRead
	var cur Cursor
	for len(followed) < n {
		if err := j.Wait(t.Context(), cur); err != nil {
			t.Error(err)
			break
		}
		next, err := j.Read(cur, func(r Record) error {
			followed = append(followed, entryRead{r.ID, r.Kind, string(r.Data)})
			return nil
		})
		if err != nil {
			t.Error(err)
			break
		}
		if cur, err = ParseCursor(next.String()); err != nil {
			t.Error(err)
			break
		}
		if err := j.Truncate(cur); err != nil {
			t.Error(err)
			break
		}
	}
	return followed
}

func TestAppendAndWriteDoNotAllocate(t *testing.T) {
	j := openDir(t, t.TempDir(), Config{})
	data := make([]byte, 300)
	if n := testing.AllocsPerRun(1000, func() {
		if err := j.Write(j.Append(1, data)); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations for each Append and Write", n)
	}
}
