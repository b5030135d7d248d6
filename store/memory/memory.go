// Package memory is a store.KV that keeps everything in memory, for tests and
// for trying things out. It ends with the process.
package memory

import (
	"bytes"
	"context"
	"sort"
	"sync"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/store"
)

// Store is a store.KV in memory. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	last    store.Revision
	entries map[store.Key]store.Entry
	log     []change      // by revision; what was overwritten since is skipped
	changed chan struct{} // closed at the next write
}

type change struct {
	revision store.Revision
	key      store.Key
}

// New makes an empty store.
func New() *Store {
	return &Store{entries: map[store.Key]store.Entry{}, changed: make(chan struct{})}
}

// Get gives the key's entry.
func (s *Store) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	const op = "memory.Get"
	if err := usable(ctx, op, key); err != nil {
		return store.Entry{Key: key}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok || e.Deleted {
		return store.Entry{Key: key, Revision: e.Revision, Deleted: e.Deleted}, fault.New(op, fault.NotFound, "no record %s.", key)
	}
	e.Value = bytes.Clone(e.Value)
	return e, nil
}

// Head gives the highest revision below prefix.
func (s *Store) Head(ctx context.Context, prefix store.Key) (store.Revision, error) {
	if err := ended(ctx, "memory.Head"); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.log) - 1; i >= 0; i-- {
		if s.log[i].key.Below(prefix) {
			return s.log[i].revision, nil
		}
	}
	return 0, nil
}

// List calls fn for every key below prefix.
func (s *Store) List(ctx context.Context, prefix store.Key, fn func(store.Entry) error) error {
	entries, _, _ := s.since(prefix, 0)
	for _, e := range entries {
		if err := ended(ctx, "memory.List"); err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return ended(ctx, "memory.List")
}

// Watch calls w.Each for every change.
func (s *Store) Watch(ctx context.Context, w store.Watching) error {
	after := w.After
	for {
		entries, last, changed := s.since(w.Prefix, after)
		after = max(after, last)
		for _, e := range entries {
			if err := ended(ctx, "memory.Watch"); err != nil {
				return err
			}
			if err := w.Each(e); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ended(ctx, "memory.Watch")
		}
	}
}

// since gives the entries below prefix with a revision higher than after, the
// revision up to which that is complete, and what is closed at the next write.
func (s *Store) since(prefix store.Key, after store.Revision) ([]store.Entry, store.Revision, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := sort.Search(len(s.log), func(i int) bool { return s.log[i].revision > after })
	var entries []store.Entry
	for _, c := range s.log[from:] {
		if e := s.entries[c.key]; e.Revision == c.revision && c.key.Below(prefix) {
			e.Value = bytes.Clone(e.Value)
			entries = append(entries, e)
		}
	}
	return entries, s.last, s.changed
}

// Create writes a key that has no value.
func (s *Store) Create(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	const op = "memory.Create"
	if err := usable(ctx, op, key); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[key]; ok && !e.Deleted {
		return 0, fault.New(op, fault.Conflict, "record %s exists already.", key)
	}
	return s.write(op, store.Entry{Key: key, Value: value})
}

// Update writes a key whose last revision is the given one.
func (s *Store) Update(ctx context.Context, key store.Key, value []byte, last store.Revision) (store.Revision, error) {
	const op = "memory.Update"
	if err := usable(ctx, op, key); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key].Revision != last {
		return 0, fault.New(op, fault.Precondition, "record %s is not at revision %d.", key, last)
	}
	return s.write(op, store.Entry{Key: key, Value: value})
}

// Delete removes a key whose last revision is the given one.
func (s *Store) Delete(ctx context.Context, key store.Key, last store.Revision) (store.Revision, error) {
	const op = "memory.Delete"
	if err := usable(ctx, op, key); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[key]; !ok || e.Revision != last {
		return 0, fault.New(op, fault.Precondition, "record %s is not at revision %d.", key, last)
	}
	return s.write(op, store.Entry{Key: key, Deleted: true})
}

func (s *Store) write(op string, e store.Entry) (store.Revision, error) {
	if len(e.Value) > store.MaxValue {
		return 0, fault.New(op, fault.TooLarge, "record %s has %d bytes; %d are allowed.", e.Key, len(e.Value), store.MaxValue)
	}
	s.last++
	e.Revision, e.Value = s.last, bytes.Clone(e.Value)
	s.entries[e.Key] = e
	s.log = append(s.log, change{e.Revision, e.Key})
	if len(s.log) > 2*len(s.entries)+64 {
		s.compact()
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return e.Revision, nil
}

// compact drops what was overwritten.
func (s *Store) compact() {
	kept := s.log[:0]
	for _, c := range s.log {
		if s.entries[c.key].Revision == c.revision {
			kept = append(kept, c)
		}
	}
	s.log = kept
}

func usable(ctx context.Context, op string, key store.Key) error {
	if key.IsZero() {
		return fault.New(op, fault.Invalid, "the key of a record is empty.")
	}
	return ended(ctx, op)
}

func ended(ctx context.Context, op string) error {
	if ctx.Err() == nil {
		return nil
	}
	return fault.Wrap(op, fault.Timeout, context.Cause(ctx), "the time for it was over.")
}
