package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/store/memory"
	"github.com/carrel-dev/carrel/store/storetest"
)

func text(e store.Entry) (string, error) {
	if strings.HasPrefix(string(e.Value), "bad") {
		return "", errors.New("cannot be decoded")
	}
	return string(e.Value), nil
}

func load(t testing.TB, r store.Reader, prefix store.Key) *store.Snapshot[string] {
	t.Helper()
	s, err := store.Load(t.Context(), r, prefix, store.Options[string]{Decode: text})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func write(t testing.TB, kv store.KV, key store.Key, value string) store.Revision {
	t.Helper()
	e, err := kv.Get(t.Context(), key)
	if err != nil && !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	r, err := kv.Update(t.Context(), key, []byte(value), e.Revision)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// faulty is a reader between a snapshot and its store that can be made to
// misbehave.
type faulty struct {
	store.Reader
	silent atomic.Bool // watches give nothing
	down   atomic.Bool // nothing answers
	hidden atomic.Pointer[func(store.Entry) (store.Entry, bool)]
}

var errDown = errors.New("down")

func (f *faulty) Head(ctx context.Context, prefix store.Key) (store.Revision, error) {
	if f.down.Load() {
		return 0, errDown
	}
	return f.Reader.Head(ctx, prefix)
}

func (f *faulty) List(ctx context.Context, prefix store.Key, fn func(store.Entry) error) error {
	return f.Reader.List(ctx, prefix, func(e store.Entry) error {
		if change := f.hidden.Load(); change != nil {
			var ok bool
			if e, ok = (*change)(e); !ok {
				return nil
			}
		}
		return fn(e)
	})
}

func (f *faulty) Watch(ctx context.Context, w store.Watching) error {
	each := w.Each
	w.Each = func(e store.Entry) error {
		if f.down.Load() {
			return errDown
		}
		if f.silent.Load() {
			return nil
		}
		return each(e)
	}
	return f.Reader.Watch(ctx, w)
}

// pass lets time pass on the clock of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func wantValue(t testing.TB, s *store.Snapshot[string], key store.Key, want string) {
	t.Helper()
	if got, _, err := s.Get(key); err != nil || got != want {
		t.Errorf("%s is %q, %v; want %q", key, got, err, want)
	}
}

func TestSnapshotFollows(t *testing.T) {
	kv := memory.New()
	a, b, other := storetest.Key(t, "fn", "u1", "a"), storetest.Key(t, "fn", "u1", "b"), storetest.Key(t, "fn", "u10", "a")
	write(t, kv, a, "1")
	write(t, kv, other, "other")
	write(t, kv, storetest.Key(t, "role", "u1"), "not in it")
	s := load(t, kv, storetest.Key(t, "fn"))
	wantValue(t, s, a, "1")
	if s.Len() != 2 {
		t.Errorf("%d keys", s.Len())
	}
	for i := range 50 { // who wrote sees it
		value := fmt.Sprint(i)
		r := write(t, kv, b, value)
		if err := s.Wait(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		wantValue(t, s, b, value)
	}
	_, r, err := s.Get(b)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = kv.Delete(t.Context(), b, r); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, at, err := s.Get(b); !fault.Is(err, fault.NotFound) || at != r {
		t.Errorf("the deleted one: revision %d, %v", at, err)
	}
	if _, _, err := s.Get(storetest.Key(t, "role", "u1")); !fault.Is(err, fault.NotFound) {
		t.Errorf("a key outside: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx, r+1); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for what never comes: %v", err)
	}
}

func TestSnapshotLists(t *testing.T) {
	kv := memory.New()
	for i := range 25 {
		write(t, kv, storetest.Key(t, "fn", "u1", fmt.Sprintf("k%02d", i)), fmt.Sprint(i))
		write(t, kv, storetest.Key(t, "fn", "u10", fmt.Sprintf("k%02d", i)), "other")
	}
	write(t, kv, storetest.Key(t, "plan"), "short")
	s := load(t, kv, store.Key{})
	gone := storetest.Key(t, "fn", "u1", "k03")
	_, r, err := s.Get(gone)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = kv.Delete(t.Context(), gone, r); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var all []string
	var after store.Key
	for more := true; more; {
		var page []store.Item[string]
		page, more = s.List(storetest.Key(t, "fn", "u1"), after, 10)
		for _, it := range page {
			all = append(all, it.Value)
			after = it.Key
		}
	}
	if got := strings.Join(all, " "); got != "0 1 2 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24" {
		t.Errorf("listed %s", got)
	}
	for prefix, want := range map[string]int{"fn": 49, "fn.u10": 25, "fn.u10.k01": 1, "plan": 1, "fn.u": 0, "fn.u2": 0} {
		key, err := store.ParseKey(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if items, more := s.List(key, store.Key{}, 1000); len(items) != want || more {
			t.Errorf("below %s: %d items, more %v", prefix, len(items), more)
		}
	}
	if items, _ := s.List(store.Key{}, store.Key{}, 1000); len(items) != s.Len() || len(items) != 50 {
		t.Errorf("%d items of %d in all", len(items), s.Len())
	}
}

func TestUnreadableIsNotAbsent(t *testing.T) {
	kv := memory.New()
	key := storetest.Key(t, "fn", "u1", "a")
	write(t, kv, key, "bad")
	s := load(t, kv, store.Key{})
	if _, _, err := s.Get(key); !fault.Is(err, fault.Internal) {
		t.Errorf("unreadable: %v", err)
	}
	if items, _ := s.List(store.Key{}, store.Key{}, 10); len(items) != 1 || items[0].Err == nil {
		t.Errorf("listed %+v", items)
	}
	if err := s.Wait(t.Context(), write(t, kv, key, "good")); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, key, "good")
	if err := s.Wait(t.Context(), write(t, kv, key, "bad again")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(key); !fault.Is(err, fault.Internal) {
		t.Errorf("unreadable again: %v", err)
	}
}

func TestConfirmedOnlyWhileTheStoreAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := memory.New()
		write(t, kv, storetest.Key(t, "a"), "1")
		f := &faulty{Reader: kv}
		s := load(t, f, store.Key{})
		defer s.Close()
		for range 10 {
			pass(time.Second)
			if age := time.Since(s.Confirmed()); age > 1100*time.Millisecond {
				t.Fatalf("confirmed %s ago", age)
			}
		}
		f.down.Store(true)
		pass(10 * time.Second)
		if age := time.Since(s.Confirmed()); age < 9*time.Second {
			t.Errorf("confirmed %s ago by a store that is down", age)
		}
		f.down.Store(false)
		pass(3 * time.Second)
		if age := time.Since(s.Confirmed()); age > 2*time.Second {
			t.Errorf("confirmed %s ago by a store that is up again", age)
		}
	})
}

// A watch that misses changes is found out, and until then the snapshot is
// not confirmed.
func TestMissedChangesAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := memory.New()
		key := storetest.Key(t, "a")
		write(t, kv, key, "1")
		f := &faulty{Reader: kv}
		s := load(t, f, store.Key{})
		defer s.Close()
		f.silent.Store(true)
		pass(100 * time.Millisecond)
		r := write(t, kv, key, "2")
		written := time.Now()
		synctest.Wait()
		wantValue(t, s, key, "1")
		if err := s.Wait(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		wantValue(t, s, key, "2")
		if took := time.Since(written); took > 3*time.Second {
			t.Errorf("found after %s", took)
		}
		synctest.Wait()
		if !s.Confirmed().After(written) {
			t.Error("not confirmed after reading anew")
		}
	})
}

func TestConfirmedIsHeldBackWhileBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := memory.New()
		key := storetest.Key(t, "a")
		write(t, kv, key, "1")
		f := &faulty{Reader: kv}
		s := load(t, f, store.Key{})
		defer s.Close()
		broken := func(e store.Entry) (store.Entry, bool) { return e, e.Revision == 1 }
		f.hidden.Store(&broken)
		f.silent.Store(true)
		write(t, kv, key, "2")
		written := time.Now()
		pass(900 * time.Millisecond)
		if s.Confirmed().After(written) {
			t.Error("confirmed although the watch is behind")
		}
	})
}

// What no write of ours does must not look like a deletion, nor like an
// earlier state: it is unreadable.
func TestVanishedAndRolledBackRecordsAreUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := memory.New()
		lost, old, fine, gone := storetest.Key(t, "lost"), storetest.Key(t, "old"), storetest.Key(t, "fine"), storetest.Key(t, "gone")
		write(t, kv, lost, "1")
		first := write(t, kv, old, "1")
		write(t, kv, old, "2")
		if _, err := kv.Delete(t.Context(), gone, write(t, kv, gone, "1")); err != nil {
			t.Fatal(err)
		}
		write(t, kv, fine, "1")
		f := &faulty{Reader: kv}
		s := load(t, f, store.Key{})
		defer s.Close()
		damage := func(e store.Entry) (store.Entry, bool) {
			if e.Key == old {
				e.Revision, e.Value = first, []byte("1")
			}
			return e, e.Key != lost && e.Key != gone
		}
		f.hidden.Store(&damage)
		wantValue(t, s, lost, "1")
		pass(62 * time.Second)
		for _, key := range []store.Key{lost, old} {
			if _, _, err := s.Get(key); !fault.Is(err, fault.Internal) {
				t.Errorf("%s: %v", key, err)
			}
		}
		wantValue(t, s, fine, "1")
		if _, _, err := s.Get(gone); !fault.Is(err, fault.NotFound) {
			t.Errorf("a deleted one whose mark is gone: %v", err)
		}
		f.hidden.Store(nil) // restored
		pass(62 * time.Second)
		wantValue(t, s, lost, "1")
		wantValue(t, s, old, "2")
	})
}

// swap is a reader whose store can be exchanged for another one.
type swap struct{ atomic.Pointer[memory.Store] }

func (s *swap) Get(ctx context.Context, k store.Key) (store.Entry, error) {
	return s.Load().Get(ctx, k)
}
func (s *swap) Head(ctx context.Context, k store.Key) (store.Revision, error) {
	return s.Load().Head(ctx, k)
}
func (s *swap) List(ctx context.Context, k store.Key, fn func(store.Entry) error) error {
	return s.Load().List(ctx, k, fn)
}
func (s *swap) Watch(ctx context.Context, w store.Watching) error { return s.Load().Watch(ctx, w) }

func TestAStoreThatWentBackConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := memory.New()
		key := storetest.Key(t, "a")
		write(t, full, key, "1")
		var r swap
		r.Store(full)
		s := load(t, &r, store.Key{})
		defer s.Close()
		r.Store(memory.New())
		pass(20 * time.Second)
		if age := time.Since(s.Confirmed()); age < 19*time.Second {
			t.Errorf("an emptied store confirmed the snapshot %s ago", age)
		}
		if _, _, err := s.Get(key); !fault.Is(err, fault.Internal) {
			t.Errorf("the lost record: %v", err)
		}
	})
}

// writeAndRead writes keys at random, from several sides, and reads them at the
// same time. No reader may see a key go back.
func writeAndRead(t *testing.T, kv store.KV, s *store.Snapshot[string], keys []store.Key) {
	random := testrounds.Rand(t)
	var writers, readers sync.WaitGroup
	for range 4 {
		picks := make([]int, 20*testrounds.Rounds(t))
		for i := range picks {
			picks[i] = random.IntN(3 * len(keys))
		}
		writers.Go(func() {
			for i, pick := range picks {
				key := keys[pick%len(keys)]
				e, _ := kv.Get(t.Context(), key)
				if pick >= 2*len(keys) {
					kv.Delete(t.Context(), key, e.Revision) // may lose to another writer, as intended
				} else {
					kv.Update(t.Context(), key, fmt.Append(nil, i), e.Revision)
				}
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			seen := map[store.Key]store.Revision{}
			for {
				for _, key := range keys {
					_, r, _ := s.Get(key)
					if r < seen[key] {
						t.Errorf("%s went from revision %d back to %d", key, seen[key], r)
						return
					}
					seen[key] = r
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
}

// Random writes by several writers; readers never see a key go back, and in
// the end the snapshot is what the store is.
func TestSnapshotEndsUpAsTheStore(t *testing.T) {
	kv := memory.New()
	indexed := map[store.Key]string{}
	s, err := store.Load(t.Context(), kv, store.Key{}, store.Options[string]{
		Decode: text,
		OnChange: func(it store.Item[string]) { // called by one at a time: no lock
			if indexed[it.Key] = it.Value; it.Deleted {
				delete(indexed, it.Key)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var keys []store.Key
	for i := range 20 {
		keys = append(keys, storetest.Key(t, "fn", "u", fmt.Sprint("k", i)))
	}
	writeAndRead(t, kv, s, keys)
	head, err := kv.Head(t.Context(), store.Key{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	s.Close()
	live := 0
	for _, key := range keys {
		e, wantErr := kv.Get(t.Context(), key)
		got, r, err := s.Get(key)
		if got != string(e.Value) || r != e.Revision || (err == nil) != (wantErr == nil) || indexed[key] != got {
			t.Errorf("%s is %q at %d, %v, indexed as %q; the store has %q at %d", key, got, r, err, indexed[key], e.Value, e.Revision)
		}
		if wantErr == nil {
			live++
		}
	}
	if s.Len() != live || len(indexed) != live {
		t.Errorf("%d keys, %d indexed, %d live", s.Len(), len(indexed), live)
	}
}

func TestLoadRefusesWhatItCannotRead(t *testing.T) {
	kv := memory.New()
	f := &faulty{Reader: kv}
	f.down.Store(true)
	if _, err := store.Load(t.Context(), f, store.Key{}, store.Options[string]{Decode: text}); !errors.Is(err, errDown) {
		t.Errorf("a store that is down: %v", err)
	}
	if _, err := store.Load(t.Context(), kv, store.Key{}, store.Options[string]{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no decoder: %v", err)
	}
}

func filled(b testing.TB, n int) (*memory.Store, []store.Key) {
	kv := memory.New()
	var keys []store.Key
	for i := range n {
		key := storetest.Key(b, "fn", fmt.Sprint("u", i/10), fmt.Sprint("k", i))
		write(b, kv, key, "some value")
		keys = append(keys, key)
	}
	return kv, keys
}

func BenchmarkSnapshotLoad(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		kv, _ := filled(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				s, err := store.Load(b.Context(), kv, store.Key{}, store.Options[string]{Decode: text})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

func BenchmarkSnapshotGet(b *testing.B) {
	kv, keys := filled(b, 100_000)
	s := load(b, kv, store.Key{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(keys)
		if _, _, err := s.Get(keys[i]); err != nil {
			b.Fatal(err)
		}
	}
}

// The cost of a write must not follow the number of keys.
func BenchmarkSnapshotWrite(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		kv, keys := filled(b, n)
		s := load(b, kv, store.Key{})
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				i = (i + 7919) % len(keys)
				if err := s.Wait(b.Context(), write(b, kv, keys[i], "other value")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
