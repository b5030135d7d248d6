package store

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/fault"
)

// Options says how a snapshot is made and kept.
type Options[V any] struct {
	// Decode makes the value that readers get. An entry that it refuses is
	// kept as unreadable, never as absent.
	Decode func(Entry) (V, error)
	// OnChange is called for each change, one at a time, in order, when readers
	// see it already but before Wait returns for it; before that, in no order,
	// for everything that Load found. It may keep indexes; it must not write
	// to the store and wait, nor call Close.
	OnChange func(Item[V])
	// ConfirmEvery is how often the store is asked whether the snapshot has
	// everything; zero means a second.
	ConfirmEvery time.Duration
	// RereadEvery is how often everything is read anew; zero means a minute.
	RereadEvery time.Duration
	// Log gets what went wrong in the background; nil drops it.
	Log *slog.Logger
}

// Item is a key's state in a snapshot.
type Item[V any] struct {
	Key      Key
	Value    V
	Revision Revision
	// Deleted says that the key was removed; only OnChange sees such items.
	Deleted bool
	// Err says why there is no value, although the store has or had one. Who
	// decides by the value has to refuse.
	Err error
}

const shardCount = 1024

// Snapshot is a part of a store in memory. Reading it takes no lock and waits
// for nothing. A watch keeps it up to date; as a watch may be behind or miss
// something, the store is asked all the time how far it is, and everything is
// read anew now and then.
type Snapshot[V any] struct {
	reader Reader
	prefix Key
	opts   Options[V]

	// A change copies one shard, which is a small part of the whole.
	seed   maphash.Seed
	shards [shardCount]atomic.Pointer[map[Key]*Item[V]]

	listMu sync.RWMutex
	groups map[string]map[Key]struct{} // the keys that have values

	mu        sync.Mutex // held while a change is made
	applied   Revision   // everything up to it is in the snapshot
	wake      chan struct{}
	confirmed atomic.Pointer[time.Time]

	stop      context.CancelFunc
	loops     sync.WaitGroup
	watchMu   sync.Mutex
	stopWatch context.CancelFunc
}

// The causes of an unreadable item that the snapshot itself found.
var (
	errVanished = errors.New("the record vanished from the store without being deleted")
	errRollback = errors.New("the record was put back to an earlier revision")
)

// Load reads everything below prefix and returns a snapshot that follows the
// store until Close. ctx bounds the loading only.
func Load[V any](ctx context.Context, reader Reader, prefix Key, opts Options[V]) (*Snapshot[V], error) {
	const op = "store.Load"
	if opts.Decode == nil {
		return nil, fault.New(op, fault.Invalid, "a snapshot needs a function that decodes.")
	}
	if opts.ConfirmEvery <= 0 {
		opts.ConfirmEvery = time.Second
	}
	if opts.RereadEvery <= 0 {
		opts.RereadEvery = time.Minute
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Snapshot[V]{
		reader: reader, prefix: prefix, opts: opts, seed: maphash.MakeSeed(),
		groups: map[string]map[Key]struct{}{}, wake: make(chan struct{}),
	}
	if err := s.fill(ctx); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.loops.Go(func() { s.follow(background) })
	s.loops.Go(func() { s.tend(background) })
	return s, nil
}

// Close ends the following. What is in the snapshot can still be read.
func (s *Snapshot[V]) Close() {
	s.stop()
	s.loops.Wait()
}

func (s *Snapshot[V]) shard(key Key) *atomic.Pointer[map[Key]*Item[V]] {
	return &s.shards[s.shardNumber(key)]
}

func (s *Snapshot[V]) shardNumber(key Key) uint64 {
	return maphash.String(s.seed, key.text) % shardCount
}

func (s *Snapshot[V]) item(key Key) *Item[V] {
	if m := s.shard(key).Load(); m != nil {
		return (*m)[key]
	}
	return nil
}

// Get gives a key's value and revision. If there is none the error is a
// NotFound; if there is one that cannot be read it is Internal, and the caller
// must not go on as if there were none.
func (s *Snapshot[V]) Get(key Key) (V, Revision, error) {
	const op = "store.Snapshot.Get"
	var none V
	switch it := s.item(key); {
	case it == nil:
		return none, 0, fault.New(op, fault.NotFound, "no record %s.", key)
	case it.Err != nil:
		return none, it.Revision, fault.Wrap(op, fault.Internal, it.Err, "record %s cannot be read.", key)
	case it.Deleted:
		return none, it.Revision, fault.New(op, fault.NotFound, "no record %s.", key)
	default:
		return it.Value, it.Revision, nil
	}
}

// List gives up to limit items below prefix whose keys come after a key, in
// the order of keys, and whether there are more. It is quick for a prefix of
// two parts or more, and looks at every key otherwise.
func (s *Snapshot[V]) List(prefix, after Key, limit int) (items []Item[V], more bool) {
	for _, key := range s.keysBelow(prefix, after) {
		it := s.item(key)
		if it == nil || it.Deleted {
			continue // removed since
		}
		if len(items) >= limit {
			return items, true
		}
		items = append(items, *it)
	}
	return items, false
}

func (s *Snapshot[V]) keysBelow(prefix, after Key) []Key {
	s.listMu.RLock()
	defer s.listMu.RUnlock()
	var keys []Key
	collect := func(group map[Key]struct{}) {
		for key := range group {
			if key.text > after.text && key.Below(prefix) {
				keys = append(keys, key)
			}
		}
	}
	if strings.Contains(prefix.text, ".") {
		collect(s.groups[prefix.group()])
	} else {
		for _, group := range s.groups {
			collect(group)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.text, b.text) })
	return keys
}

// Len is the number of keys that have values, unreadable ones included.
func (s *Snapshot[V]) Len() int {
	s.listMu.RLock()
	defer s.listMu.RUnlock()
	n := 0
	for _, group := range s.groups {
		n += len(group)
	}
	return n
}

// Wait returns when the snapshot has the write that gave a revision, so that
// who wrote sees what it wrote. The revision has to be one of a key below the
// snapshot's prefix.
func (s *Snapshot[V]) Wait(ctx context.Context, revision Revision) error {
	for {
		s.mu.Lock()
		done, wake := s.applied >= revision, s.wake
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return fault.Wrap("store.Snapshot.Wait", fault.Timeout, context.Cause(ctx), "the snapshot is not at revision %d yet.", revision)
		}
	}
}

// Confirmed is the last moment of which it is known that the snapshot had
// everything the store had. A node that finds this too long ago refuses to
// decide by the snapshot.
func (s *Snapshot[V]) Confirmed() time.Time { return *s.confirmed.Load() }

// apply brings an entry into the snapshot unless it is old. s.mu is held.
func (s *Snapshot[V]) apply(e Entry) {
	if old := s.item(e.Key); old != nil && old.Revision >= e.Revision {
		return
	}
	s.put(s.decode(e))
}

func (s *Snapshot[V]) decode(e Entry) *Item[V] {
	it := &Item[V]{Key: e.Key, Revision: e.Revision, Deleted: e.Deleted, Err: e.Err}
	if it.Err == nil && !it.Deleted {
		it.Value, it.Err = s.opts.Decode(e)
	}
	if it.Err != nil {
		s.opts.Log.Error("a record cannot be read", "key", e.Key.String(), "revision", uint64(e.Revision), "error", it.Err)
	}
	return it
}

// put stores an item. s.mu is held.
func (s *Snapshot[V]) put(it *Item[V]) {
	shard := s.shard(it.Key)
	next := map[Key]*Item[V]{}
	if old := shard.Load(); old != nil {
		next = make(map[Key]*Item[V], len(*old)+1)
		for k, v := range *old {
			next[k] = v
		}
	}
	next[it.Key] = it
	shard.Store(&next)
	s.index(it)
	if s.opts.OnChange != nil {
		s.opts.OnChange(*it)
	}
}

// index brings the lists up to date with an item.
func (s *Snapshot[V]) index(it *Item[V]) {
	s.listMu.Lock()
	defer s.listMu.Unlock()
	name := it.Key.group()
	group := s.groups[name]
	if it.Deleted {
		if delete(group, it.Key); len(group) == 0 {
			delete(s.groups, name)
		}
		return
	}
	if group == nil {
		group = map[Key]struct{}{}
		s.groups[name] = group
	}
	group[it.Key] = struct{}{}
}

// advance notes that everything up to a revision is in the snapshot. s.mu is held.
func (s *Snapshot[V]) advance(to Revision) {
	if to > s.applied {
		s.applied = to
		close(s.wake)
		s.wake = make(chan struct{})
	}
}
