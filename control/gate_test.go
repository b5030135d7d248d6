package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/store"
)

// unitWrite is the write of a unit of that name, new or changed.
func unitWrite(t testing.TB, s *Service, id, name string) write {
	t.Helper()
	k, err := newKey(unitFamily, id)
	if err != nil {
		t.Fatal(err)
	}
	return write{k, s.ix.revision(k), directory.Unit{ID: id, Name: name, Parent: directory.RootUnit}}
}

// unitNames lists what units there are, as a node sees it.
func unitNames(s *Service) string {
	var names []string
	for id, u := range s.ix.org.Load().Units {
		names = append(names, id+"="+u.Record.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// TestChangeIsMadeWhole kills the process at each write of a change of several
// records, before the write and after it: the next start shows all of the
// change or nothing of it.
func TestChangeIsMadeWhole(t *testing.T) {
	t.Parallel()
	const before, after = "ou-a=old ou-b=old", "ou-a=new ou-c=new"
	seen := map[string]int{}
	for n := int64(0); ; n++ {
		acknowledged := 0
		for _, late := range []bool{false, true} {
			w := newWorld(t)
			s := w.open()
			if err := s.commit(ctx, unitWrite(t, s, "ou-a", "old"), unitWrite(t, s, "ou-b", "old")); err != nil {
				t.Fatal(err)
			}
			s.Close()
			alive := w.stores
			m := mortal{left: new(atomic.Int64), after: late}
			m.left.Store(1 << 30)
			for _, kv := range []*store.KV{&w.stores.Tenants, &w.stores.Identities, &w.stores.Functions} {
				*kv = mortal{*kv, m.left, late}
			}
			s = w.open()
			m.left.Store(n)
			deletion := unitWrite(t, s, "ou-b", "")
			deletion.record = nil
			err := s.commit(ctx, unitWrite(t, s, "ou-a", "new"), deletion, unitWrite(t, s, "ou-c", "new"))
			s.Close()
			w.stores = alive
			got := unitNames(w.open())
			seen[got]++
			if err == nil {
				acknowledged++
			}
			if got != after && (got != before || err == nil) {
				t.Errorf("killed at write %d, after it: %v: %v, and then there are %s", n, late, err, got)
			}
		}
		if acknowledged == 2 {
			break
		}
		if n > 20 {
			t.Fatal("the change never ends")
		}
	}
	if seen[before] == 0 || seen[after] < 3 {
		t.Errorf("these were seen: %v", seen)
	}
}

// flaky is a store that fails where fail says so, until it is mended.
type flaky struct {
	store.KV
	fail func(store.Key) error
}

func (f flaky) Update(ctx context.Context, k store.Key, v []byte, last store.Revision) (store.Revision, error) {
	if err := f.fail(k); err != nil {
		return 0, err
	}
	return f.KV.Update(ctx, k, v, last)
}

// TestNextWriterFinishes leaves a change begun on one node and shows that the
// next change of another finishes it first, and that the first node's own
// late writes then do nothing.
func TestNextWriterFinishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	two := w.open()
	sound := w.stores.Identities
	var at, resume = make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.stores.Identities = flaky{sound, func(k store.Key) error {
		if strings.Contains(k.String(), "ou-a") {
			once.Do(func() { close(at); <-resume })
		}
		return nil
	}}
	one := w.open()
	w.stores.Identities = sound

	slow := make(chan error, 1)
	go func() { slow <- one.commit(ctx, unitWrite(t, one, "ou-a", "one"), unitWrite(t, one, "ou-b", "one")) }()
	<-at // the change is made, and none of its records is written
	if err := two.commit(ctx, unitWrite(t, two, "ou-c", "two")); err != nil {
		t.Fatal(err)
	}
	if got := unitNames(two); got != "ou-a=one ou-b=one ou-c=two" {
		t.Fatalf("the next writer left %s", got)
	}
	deletion := unitWrite(t, two, "ou-a", "")
	deletion.record = nil
	if err := two.commit(ctx, deletion); err != nil {
		t.Fatal(err)
	}
	close(resume)
	if err := <-slow; err != nil {
		t.Fatalf("the change was made and its caller is told %v", err)
	}
	if err := one.commit(ctx, unitWrite(t, one, "ou-d", "d")); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Service{one, two} {
		if _, err := s.gate.settle(ctx); err != nil { // what the other did is to be seen
			t.Fatal(err)
		}
		if err := s.commit(ctx, unitWrite(t, s, "ou-e", "x")); err != nil {
			t.Fatal(err)
		}
		if got := unitNames(s); got != "ou-b=one ou-c=two ou-d=d ou-e=x" {
			t.Errorf("in the end there are %s", got)
		}
	}
}

// TestFailingStoreIsFinished shows that a change which a failing store left
// begun is finished without anybody asking.
func TestFailingStoreIsFinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var broken atomic.Bool
	sound := w.stores.Identities
	w.stores.Identities = flaky{sound, func(k store.Key) error {
		if broken.Load() && strings.Contains(k.String(), "ou-b") {
			return fault.New("store", fault.Unavailable, "the disk is full")
		}
		return nil
	}}
	s := w.open()
	broken.Store(true)
	wants(t, s.commit(ctx, unitWrite(t, s, "ou-a", "x"), unitWrite(t, s, "ou-b", "x")), fault.Unavailable, "ServiceException")
	if got := unitNames(s); got != "ou-a=x" {
		t.Fatalf("the control: there are %q", got)
	}
	broken.Store(false)
	deadline, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for unitNames(s) != "ou-a=x ou-b=x" {
		head, err := sound.Head(deadline, store.Key{})
		if err == nil && unitNames(s) != "ou-a=x ou-b=x" {
			err = s.identities.Wait(deadline, head+1)
		}
		if err != nil {
			t.Fatalf("it is never finished: %v", err)
		}
	}
}

func TestChangeHasBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	var many []write
	for i := range maxBatch + 1 {
		many = append(many, unitWrite(t, s, fmt.Sprintf("ou-%d", i), "x"))
	}
	if err := s.commit(ctx, many...); !fault.Is(err, fault.TooLarge) {
		t.Errorf("%d records: %v", len(many), err)
	}
	if err := s.commit(ctx, many[1:]...); err != nil {
		t.Errorf("the twin with %d records: %v", maxBatch, err)
	}
	if err := s.commit(ctx, unitWrite(t, s, "ou-x", strings.Repeat("x", maxBatchBytes))); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a large record: %v", err)
	}
	stale := unitWrite(t, s, "ou-1", "x")
	stale.last--
	wants(t, s.commit(ctx, stale), fault.Conflict, "ResourceConflictException")
	wants(t, s.commit(ctx, write{key: stale.key, record: stale.record}), fault.Conflict, "ResourceConflictException")
	canceled, cancel := context.WithCancelCause(ctx)
	cancel(errors.New("gone"))
	if err := s.commit(canceled, unitWrite(t, s, "ou-y", "x")); err == nil {
		t.Error("a change for a caller who is gone was made")
	}
}
