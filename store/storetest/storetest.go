// Package storetest is the suite that every store.KV has to pass.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/store"
)

// deadline bounds what waits for something in the suite.
const deadline = 20 * time.Second

// Run runs the suite. open gives an empty store for each test.
func Run(t *testing.T, open func(t *testing.T) store.KV) {
	for name, test := range map[string]func(*testing.T, store.KV){
		"values come back":                   testValues,
		"missing keys":                       testMissing,
		"create twice":                       testCreateTwice,
		"updates compare":                    testUpdate,
		"deletes compare":                    testDelete,
		"create after delete":                testCreateAfterDelete,
		"keys are not prefixes of others":    testNeighbours,
		"list":                               testList,
		"head":                               testHead,
		"watch gives what is and what comes": testWatch,
		"watch goes on after a revision":     testWatchAfter,
		"watch under many writers":           testWatchManyWriters,
		"parallel increments are exact":      testIncrements,
		"ended contexts":                     testEnded,
		"bad input":                          testBadInput,
		"random histories":                   testHistories,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// Key makes a key for a test.
func Key(t testing.TB, parts ...string) store.Key {
	t.Helper()
	k, err := store.NewKey(parts...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func create(t testing.TB, kv store.KV, key store.Key, value string) store.Revision {
	t.Helper()
	r, err := kv.Create(t.Context(), key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("got %v, not an error of kind %s", err, kind)
	}
}

func testValues(t *testing.T, kv store.KV) {
	for name, value := range map[string][]byte{"empty": {}, "text": []byte("acme"), "zero": {0}, "large": bytes.Repeat([]byte{7}, store.MaxValue-4096)} {
		key := Key(t, "v", name)
		r, err := kv.Create(t.Context(), key, value)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e, err := kv.Get(t.Context(), key)
		if err != nil || !bytes.Equal(e.Value, value) || e.Revision != r || e.Key != key || e.Deleted {
			t.Errorf("%s: %d bytes, revision %d (written as %d), %v", name, len(e.Value), e.Revision, r, err)
		}
	}
	buffer := []byte("before")
	key := Key(t, "v", "copied")
	r := create(t, kv, key, string(buffer))
	if _, err := kv.Update(t.Context(), key, buffer, r); err != nil {
		t.Fatal(err)
	}
	copy(buffer, "after!")
	e, err := kv.Get(t.Context(), key)
	if err != nil || string(e.Value) != "before" {
		t.Errorf("the store kept the writer's buffer: %q, %v", e.Value, err)
	}
}

func testMissing(t *testing.T, kv store.KV) {
	key := Key(t, "fn", "none")
	e, err := kv.Get(t.Context(), key)
	wantKind(t, err, fault.NotFound)
	if e.Revision != 0 || e.Deleted {
		t.Errorf("what never was has %+v", e)
	}
	_, err = kv.Update(t.Context(), key, nil, 1)
	wantKind(t, err, fault.Precondition)
	_, err = kv.Delete(t.Context(), key, 1)
	wantKind(t, err, fault.Precondition)
	_, err = kv.Delete(t.Context(), key, 0)
	wantKind(t, err, fault.Precondition)
}

func testCreateTwice(t *testing.T, kv store.KV) {
	key := Key(t, "fn", "a")
	r := create(t, kv, key, "first")
	_, err := kv.Create(t.Context(), key, []byte("second"))
	wantKind(t, err, fault.Conflict)
	_, err = kv.Update(t.Context(), key, []byte("second"), 0)
	wantKind(t, err, fault.Precondition)
	if e, err := kv.Get(t.Context(), key); err != nil || string(e.Value) != "first" || e.Revision != r {
		t.Errorf("%q at %d, %v", e.Value, e.Revision, err)
	}
}

func testUpdate(t *testing.T, kv store.KV) {
	key, other := Key(t, "fn", "a"), Key(t, "fn", "b")
	first := create(t, kv, key, "1")
	create(t, kv, other, "another key's write must not matter")
	second, err := kv.Update(t.Context(), key, []byte("2"), first)
	if err != nil || second <= first {
		t.Fatalf("revision %d after %d, %v", second, first, err)
	}
	for _, wrong := range []store.Revision{0, first, second + 1, 1 << 62} {
		_, err := kv.Update(t.Context(), key, []byte("3"), wrong)
		wantKind(t, err, fault.Precondition)
	}
	if e, err := kv.Get(t.Context(), key); err != nil || string(e.Value) != "2" || e.Revision != second {
		t.Errorf("%q at %d, %v", e.Value, e.Revision, err)
	}
	if _, err := kv.Update(t.Context(), Key(t, "fn", "c"), []byte("new"), 0); err != nil {
		t.Errorf("update of what never was, so named: %v", err)
	}
}

func testDelete(t *testing.T, kv store.KV) {
	key := Key(t, "fn", "a")
	r := create(t, kv, key, "1")
	_, err := kv.Delete(t.Context(), key, r+1)
	wantKind(t, err, fault.Precondition)
	gone, err := kv.Delete(t.Context(), key, r)
	if err != nil || gone <= r {
		t.Fatalf("deleted at %d after %d, %v", gone, r, err)
	}
	e, err := kv.Get(t.Context(), key)
	wantKind(t, err, fault.NotFound)
	if !e.Deleted || e.Revision != gone || e.Value != nil {
		t.Errorf("the deleted one is %+v", e)
	}
	_, err = kv.Delete(t.Context(), key, r)
	wantKind(t, err, fault.Precondition)
}

func testCreateAfterDelete(t *testing.T, kv store.KV) {
	key := Key(t, "fn", "a")
	r := create(t, kv, key, "1")
	gone, err := kv.Delete(t.Context(), key, r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = kv.Update(t.Context(), key, []byte("2"), r)
	wantKind(t, err, fault.Precondition)
	again := create(t, kv, key, "2")
	if again <= gone {
		t.Errorf("created at %d, deleted at %d", again, gone)
	}
	_, err = kv.Create(t.Context(), key, []byte("3"))
	wantKind(t, err, fault.Conflict)
	if gone, err = kv.Delete(t.Context(), key, again); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(t.Context(), key, []byte("3"), gone); err != nil {
		t.Errorf("update of the deletion: %v", err)
	}
}

// The keys of one tenant must not turn up among another's whose id begins
// alike, nor below a key that is no prefix of them.
func testNeighbours(t *testing.T, kv store.KV) {
	for _, parts := range [][]string{{"fn", "acme"}, {"fn", "acme", "a"}, {"fn", "acme2", "a"}, {"fn", "acme-eu", "a"}, {"fn2", "acme"}, {"f", "n"}} {
		create(t, kv, Key(t, parts...), "x")
	}
	got := strings.Join(keys(t, kv, Key(t, "fn", "acme")), " ")
	if got != "fn.acme fn.acme.a" {
		t.Errorf("below fn.acme: %s", got)
	}
	if got := strings.Join(keys(t, kv, Key(t, "fn")), " "); got != "fn.acme fn.acme.a fn.acme2.a fn.acme-eu.a" {
		t.Errorf("below fn: %s", got)
	}
	if n := len(keys(t, kv, store.Key{})); n != 6 {
		t.Errorf("%d keys in all", n)
	}
}

func keys(t *testing.T, kv store.KV, prefix store.Key) []string {
	t.Helper()
	var all []string
	if err := kv.List(t.Context(), prefix, func(e store.Entry) error {
		all = append(all, e.Key.String())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func testList(t *testing.T, kv store.KV) {
	if n := len(keys(t, kv, store.Key{})); n != 0 {
		t.Errorf("an empty store has %d keys", n)
	}
	const n = 300
	revisions := map[store.Key]store.Revision{}
	for i := range n {
		key := Key(t, "fn", fmt.Sprint("k", i))
		revisions[key] = create(t, kv, key, fmt.Sprint(i))
	}
	gone := Key(t, "fn", "k7")
	r, err := kv.Delete(t.Context(), gone, revisions[gone])
	if err != nil {
		t.Fatal(err)
	}
	revisions[gone] = r
	var last store.Revision
	if err := kv.List(t.Context(), Key(t, "fn"), func(e store.Entry) error {
		if e.Revision <= last || e.Revision != revisions[e.Key] || e.Deleted != (e.Key == gone) || e.Err != nil {
			t.Errorf("%s: revision %d after %d, written as %d, deleted %v, %v", e.Key, e.Revision, last, revisions[e.Key], e.Deleted, e.Err)
		}
		if want := strings.TrimPrefix(e.Key.String(), "fn.k"); !e.Deleted && string(e.Value) != want {
			t.Errorf("%s: %q", e.Key, e.Value)
		}
		last = e.Revision
		delete(revisions, e.Key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(revisions) > 0 {
		t.Errorf("%d keys are missing", len(revisions))
	}
	stop, calls := errors.New("enough"), 0
	if err := kv.List(t.Context(), store.Key{}, func(store.Entry) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("after an error of the caller: %v, %d calls", err, calls)
	}
}

func testHead(t *testing.T, kv store.KV) {
	head := func(prefix store.Key) store.Revision {
		t.Helper()
		r, err := kv.Head(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := head(store.Key{}); r != 0 {
		t.Errorf("an empty store is at %d", r)
	}
	a := create(t, kv, Key(t, "fn", "a"), "1")
	b := create(t, kv, Key(t, "role", "b"), "1")
	if head(store.Key{}) != b || head(Key(t, "fn")) != a || head(Key(t, "fn", "a")) != a || head(Key(t, "user")) != 0 || head(Key(t, "f")) != 0 {
		t.Error("a head is wrong")
	}
	gone, err := kv.Delete(t.Context(), Key(t, "fn", "a"), a)
	if err != nil {
		t.Fatal(err)
	}
	if head(Key(t, "fn")) != gone || head(store.Key{}) != gone {
		t.Error("a deletion does not count as the head")
	}
}

// watch collects what a watch gives, until it is stopped.
func watch(t *testing.T, kv store.KV, w store.Watching) <-chan store.Entry {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	entries := make(chan store.Entry, 10_000)
	done := make(chan error, 1)
	w.Each = func(e store.Entry) error { entries <- e; return nil }
	go func() { done <- kv.Watch(ctx, w) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the watch ended with %v", err)
			}
		case <-time.After(deadline):
			t.Error("the watch did not end")
		}
	})
	return entries
}

func next(t *testing.T, entries <-chan store.Entry) store.Entry {
	t.Helper()
	select {
	case e := <-entries:
		return e
	case <-time.After(deadline):
		t.Fatal("the watch gave nothing")
		return store.Entry{}
	}
}

func testWatch(t *testing.T, kv store.KV) {
	a, b := Key(t, "fn", "a"), Key(t, "fn", "b")
	ra := create(t, kv, a, "1")
	create(t, kv, Key(t, "role", "x"), "not watched")
	entries := watch(t, kv, store.Watching{Prefix: Key(t, "fn")})
	if e := next(t, entries); e.Key != a || string(e.Value) != "1" || e.Revision != ra {
		t.Errorf("what was there: %+v", e)
	}
	rb := create(t, kv, b, "2")
	if e := next(t, entries); e.Key != b || string(e.Value) != "2" || e.Revision != rb {
		t.Errorf("what came: %+v", e)
	}
	gone, err := kv.Delete(t.Context(), a, ra)
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, entries); e.Key != a || !e.Deleted || e.Revision != gone {
		t.Errorf("what went: %+v", e)
	}
	stop := errors.New("enough")
	if err := kv.Watch(t.Context(), store.Watching{Each: func(store.Entry) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("after an error of the caller: %v", err)
	}
}

func testWatchAfter(t *testing.T, kv store.KV) {
	create(t, kv, Key(t, "fn", "a"), "1")
	r := create(t, kv, Key(t, "fn", "b"), "2")
	c := create(t, kv, Key(t, "fn", "c"), "3")
	entries := watch(t, kv, store.Watching{After: r})
	if e := next(t, entries); e.Revision != c {
		t.Errorf("first %+v", e)
	}
	future := watch(t, kv, store.Watching{After: c})
	d := create(t, kv, Key(t, "fn", "d"), "4")
	if e := next(t, future); e.Revision != d {
		t.Errorf("first of the second watch %+v", e)
	}
}

// Whatever the order of writes, a watch ends up with the last value of every
// key, and never goes back.
func testWatchManyWriters(t *testing.T, kv store.KV) {
	const writers, writes = 8, 40
	entries := watch(t, kv, store.Watching{Prefix: Key(t, "fn")})
	want := make([]store.Revision, writers)
	var wg sync.WaitGroup
	for w := range writers {
		key := Key(t, "fn", fmt.Sprint("w", w))
		wg.Go(func() {
			for i := range writes {
				r, err := kv.Update(t.Context(), key, fmt.Append(nil, i), want[w])
				if err != nil {
					t.Error(err)
					return
				}
				want[w] = r
			}
		})
	}
	wg.Wait()
	missing := map[string]store.Revision{}
	for w, r := range want {
		missing[fmt.Sprint("fn.w", w)] = r
	}
	for last := store.Revision(0); len(missing) > 0; {
		e := next(t, entries)
		if e.Revision <= last {
			t.Fatalf("revision %d came after %d", e.Revision, last)
		}
		last = e.Revision
		if missing[e.Key.String()] == e.Revision {
			delete(missing, e.Key.String())
		}
	}
}

func testIncrements(t *testing.T, kv store.KV) {
	const writers, each = 20, 10
	key := Key(t, "counter")
	create(t, kv, key, "0")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				e, err := kv.Get(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				fmt.Sscan(string(e.Value), &n)
				_, err = kv.Update(t.Context(), key, fmt.Append(nil, n+1), e.Revision)
				if err == nil {
					done++
				} else if !fault.Is(err, fault.Precondition) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if e, err := kv.Get(t.Context(), key); err != nil || string(e.Value) != fmt.Sprint(writers*each) {
		t.Errorf("%d increments gave %s, %v", writers*each, e.Value, err)
	}
}

func testEnded(t *testing.T, kv store.KV) {
	key := Key(t, "fn", "a")
	r := create(t, kv, key, "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	none := func(store.Entry) error { return nil }
	_, get := kv.Get(ctx, key)
	_, head := kv.Head(ctx, key)
	_, made := kv.Create(ctx, Key(t, "fn", "b"), nil)
	_, updated := kv.Update(ctx, key, nil, r)
	_, deleted := kv.Delete(ctx, key, r)
	for name, err := range map[string]error{
		"Get": get, "Head": head, "Create": made, "Update": updated, "Delete": deleted,
		"List":  kv.List(ctx, store.Key{}, none),
		"Watch": kv.Watch(ctx, store.Watching{Each: none}),
	} {
		if !errors.Is(err, context.Canceled) || !fault.Is(err, fault.Timeout) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e, err := kv.Get(t.Context(), key); err != nil || e.Revision != r {
		t.Errorf("afterwards the key is at %d, %v", e.Revision, err)
	}
}

func testBadInput(t *testing.T, kv store.KV) {
	_, get := kv.Get(t.Context(), store.Key{})
	_, made := kv.Create(t.Context(), store.Key{}, nil)
	_, updated := kv.Update(t.Context(), store.Key{}, nil, 0)
	_, deleted := kv.Delete(t.Context(), store.Key{}, 1)
	for _, err := range []error{get, made, updated, deleted} {
		wantKind(t, err, fault.Invalid)
	}
	_, err := kv.Create(t.Context(), Key(t, "fn", "big"), make([]byte, store.MaxValue+1))
	wantKind(t, err, fault.TooLarge)
}

// testHistories runs random writes, right and wrong ones, against a map.
func testHistories(t *testing.T, kv store.KV) {
	random := testrounds.Rand(t)
	model := map[store.Key]store.Entry{}
	keys := []store.Key{Key(t, "a"), Key(t, "a", "b"), Key(t, "b"), Key(t, "a-b", "c")}
	for step := range 10 * testrounds.Rounds(t) {
		key := keys[random.IntN(len(keys))]
		old := model[key]
		last := old.Revision
		if random.IntN(4) == 0 {
			last += store.Revision(random.IntN(3)) - 1
		}
		value := fmt.Append(nil, step)
		var r store.Revision
		var err error
		wantErr := last != old.Revision
		next := store.Entry{Key: key, Value: value}
		switch random.IntN(3) {
		case 0:
			r, err = kv.Create(t.Context(), key, value)
			wantErr = old.Revision > 0 && !old.Deleted
		case 1:
			r, err = kv.Update(t.Context(), key, value, last)
		case 2:
			r, err = kv.Delete(t.Context(), key, last)
			wantErr = wantErr || last == 0
			next = store.Entry{Key: key, Deleted: true}
		}
		if (err != nil) != wantErr || err == nil && r <= old.Revision {
			t.Fatalf("step %d on %s at %d (named %d): revision %d, %v", step, key, old.Revision, last, r, err)
		}
		if err == nil {
			next.Revision = r
			model[key] = next
		}
		got, err := kv.Get(t.Context(), key)
		if want := model[key]; got.Revision != want.Revision || got.Deleted != want.Deleted || (err == nil) != (want.Revision > 0 && !want.Deleted) || err == nil && !bytes.Equal(got.Value, want.Value) {
			t.Fatalf("step %d: %s is %+v, %v; the model has %+v", step, key, got, err, want)
		}
	}
}
