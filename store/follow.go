package store

import (
	"context"
	"errors"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/pause"
)

// Delays before a watch that broke is started again.
const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 2 * time.Second
)

// fill reads everything for the first time. Nobody else has the snapshot yet,
// so whole shards are made before they are shown.
func (s *Snapshot[V]) fill(ctx context.Context) error {
	started := time.Now()
	head, err := s.reader.Head(ctx, s.prefix)
	if err != nil {
		return err
	}
	var shards [shardCount]map[Key]*Item[V]
	err = s.reader.List(ctx, s.prefix, func(e Entry) error {
		it := s.decode(e)
		m := &shards[s.shardNumber(e.Key)]
		if *m == nil {
			*m = map[Key]*Item[V]{}
		}
		if old := (*m)[e.Key]; old == nil || old.Revision < e.Revision {
			(*m)[e.Key] = it
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range shards {
		s.shards[i].Store(&shards[i])
	}
	for i := range shards {
		for _, it := range shards[i] {
			if s.index(it); s.opts.OnChange != nil {
				s.opts.OnChange(*it)
			}
		}
	}
	s.advance(head)
	s.confirmed.Store(&started)
	return nil
}

// follow watches the store, again and again.
func (s *Snapshot[V]) follow(ctx context.Context) {
	delay := firstDelay
	for ctx.Err() == nil {
		watchCtx, stop := context.WithCancel(ctx)
		s.watchMu.Lock()
		s.stopWatch = stop
		s.watchMu.Unlock()
		err := s.reader.Watch(watchCtx, Watching{Prefix: s.prefix, After: s.appliedNow(), Each: func(e Entry) error {
			delay = firstDelay
			s.mu.Lock()
			defer s.mu.Unlock()
			s.apply(e)
			s.advance(e.Revision)
			return nil
		}})
		restarted := watchCtx.Err() != nil
		stop()
		if ctx.Err() != nil || restarted {
			continue
		}
		s.opts.Log.Warn("the watch of the store broke and is started again", "prefix", s.prefix.String(), "error", err)
		if pause.For(ctx, delay) != nil {
			return
		}
		delay = min(2*delay, lastDelay)
	}
}

func (s *Snapshot[V]) appliedNow() Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied
}

func (s *Snapshot[V]) restartWatch() {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	if s.stopWatch != nil {
		s.stopWatch()
	}
}

// tend confirms the snapshot and reads it anew, each at its time.
func (s *Snapshot[V]) tend(ctx context.Context) {
	read := time.Now()
	for pause.For(ctx, s.opts.ConfirmEvery) == nil {
		behind, err := s.confirm(ctx)
		if errors.Is(err, errWentBack) {
			behind, err = true, nil
		}
		if err == nil && (behind || time.Since(read) >= s.opts.RereadEvery) {
			if behind {
				s.opts.Log.Warn("the watch of the store missed something", "prefix", s.prefix.String())
				s.restartWatch()
			}
			if err = s.reread(ctx); err == nil {
				read = time.Now()
			}
		}
		if err != nil && ctx.Err() == nil {
			s.opts.Log.Warn("the snapshot of the store could not be confirmed", "prefix", s.prefix.String(), "error", err)
		}
	}
}

// confirm asks the store how far it is, gives the watch a moment to get
// there, and tells whether it is behind even then.
func (s *Snapshot[V]) confirm(ctx context.Context) (behind bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.opts.ConfirmEvery)
	defer cancel()
	started := time.Now()
	head, err := s.head(ctx)
	if err != nil {
		return false, err
	}
	moment, cancelMoment := context.WithTimeout(ctx, s.opts.ConfirmEvery)
	defer cancelMoment()
	if s.Wait(moment, head) != nil {
		return true, nil
	}
	s.confirmed.Store(&started)
	return false, nil
}

// reread reads everything anew and brings in what the watch missed. A key that
// the store no longer has, or has at an earlier revision, becomes unreadable:
// no write of ours does that.
func (s *Snapshot[V]) reread(ctx context.Context) error {
	started, before := time.Now(), s.appliedNow()
	head, wrong := s.head(ctx)
	if wrong != nil && !errors.Is(wrong, errWentBack) {
		return wrong
	}
	listed := map[Key]Revision{}
	err := s.reader.List(ctx, s.prefix, func(e Entry) error {
		listed[e.Key] = e.Revision
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.compare(e) {
			s.apply(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.shards {
		for key, it := range *s.shards[i].Load() {
			// What came after the list began may rightly be newer than the list.
			if it.Revision > before || it.Err != nil {
				continue
			}
			if revision, there := listed[key]; !there && !it.Deleted {
				s.spoil(it, errVanished)
			} else if there && revision < it.Revision {
				s.spoil(it, errRollback)
			}
		}
	}
	if wrong != nil {
		return wrong
	}
	s.advance(head)
	s.confirmed.Store(&started)
	return nil
}

// errWentBack says that the whole store was lost or put back. A snapshot that
// finds this is not confirmed again: its node stops deciding by it.
var errWentBack = errors.New("the store has an earlier revision than it had")

// head gives the store's revision, which never goes back.
func (s *Snapshot[V]) head(ctx context.Context) (Revision, error) {
	before := s.appliedNow()
	head, err := s.reader.Head(ctx, s.prefix)
	if err == nil && head < before {
		return 0, fault.Wrap("store.Snapshot", fault.Internal, errWentBack, "the store is at revision %d, after %d.", head, before).
			WithRemedy("Stop the node and restore the store from a copy.")
	}
	return head, err
}

// compare looks at an entry whose revision the snapshot has, and tells whether
// that is so. What could not be read may be readable by now, for instance
// because a key was restored. What was readable and is damaged in the store
// now is reported; the snapshot goes on with what it read. s.mu is held.
func (s *Snapshot[V]) compare(e Entry) bool {
	it := s.item(e.Key)
	if it == nil || it.Revision != e.Revision {
		return false
	}
	switch {
	case it.Err != nil && e.Err == nil:
		s.put(s.decode(e))
	case it.Err == nil && e.Err != nil:
		s.opts.Log.Error("a record was damaged in the store since it was read", "key", e.Key.String(), "error", e.Err)
	}
	return true
}

// spoil makes an item unreadable. s.mu is held.
func (s *Snapshot[V]) spoil(it *Item[V], cause error) {
	s.opts.Log.Error("a record cannot be read", "key", it.Key.String(), "revision", uint64(it.Revision), "error", cause)
	s.put(&Item[V]{Key: it.Key, Revision: it.Revision, Err: cause})
}
