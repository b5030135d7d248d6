// Package store keeps durable records under validated keys, and serves them
// from memory.
//
// KV is what a store does; store/memory and store/jetstream do it, and
// store/storetest shows that both do it alike. store/sealed puts encryption
// around either. Snapshot holds a part of a store in memory, so that a
// request never waits for the store.
package store

import (
	"context"
)

// Revision numbers the writes of a store: a later write of any key has a
// higher one. Zero stands for "never written".
type Revision uint64

// Entry is a key's state at a revision.
type Entry struct {
	Key      Key
	Value    []byte
	Revision Revision
	// Deleted says that this revision removed the key. It is kept, so that who
	// watches sees it, and whoever makes the key anew does so knowingly.
	Deleted bool
	// Err says why there is no value although the key has one, for instance
	// because it was tampered with. Set by decorators, in entries that List and
	// Watch give; whoever gets it must not take the key for absent.
	Err error
}

// Reader reads a store. All methods read what the leader has, never what a
// replica happens to know.
type Reader interface {
	// Get gives the key's entry. If the key has none, or was deleted, the
	// error is a NotFound, and the entry holds the revision of the deletion.
	Get(ctx context.Context, key Key) (Entry, error)
	// Head gives the highest revision of all keys below prefix, deletions
	// included; zero if there is none. The zero Key is above all.
	Head(ctx context.Context, prefix Key) (Revision, error)
	// List calls fn for every key below prefix, deleted ones included, in the
	// order of their revisions, until fn gives an error, which it returns. It
	// reflects every write that was acknowledged before it was called.
	List(ctx context.Context, prefix Key, fn func(Entry) error) error
	// Watch is List for the keys that changed after a revision, and goes on
	// with every later change, until ctx ends or fn gives an error, which it
	// returns. Of several writes of one key in short order it may leave out all
	// but the last.
	Watch(ctx context.Context, w Watching) error
}

// Watching says what to watch.
type Watching struct {
	// Prefix is above the keys to watch; the zero Key is above all.
	Prefix Key
	// After leaves out what has no higher revision.
	After Revision
	// Each is called for each change, one at a time, in order.
	Each func(Entry) error
}

// Writer changes a store. Each write names the state it is based on, and is
// refused if that is not the current one. When a write fails for any other
// reason, such as the end of ctx, it may have happened nevertheless.
type Writer interface {
	// Create writes a key that has no value. If it has one, the error is a
	// Conflict.
	Create(ctx context.Context, key Key, value []byte) (Revision, error)
	// Update writes a key whose last revision, deletions included, is the
	// given one; zero means that the key was never written. Otherwise the
	// error is a Precondition.
	Update(ctx context.Context, key Key, value []byte, last Revision) (Revision, error)
	// Delete removes a key whose last revision is the given one, and gives the
	// revision of the deletion. Otherwise the error is a Precondition.
	Delete(ctx context.Context, key Key, last Revision) (Revision, error)
}

// KV is a store of values under keys.
type KV interface {
	Reader
	Writer
}

// MaxValue bounds a value, in bytes. What is larger belongs in store/blob.
const MaxValue = 1 << 20
