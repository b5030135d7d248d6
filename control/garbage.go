package control

import (
	"context"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

const (
	// garbageAge is how long a blob is kept that no record names any more: a
	// call that was resolved before may still have to load it. Calls run for
	// at most 15 minutes, asynchronous ones are resolved anew when they run.
	garbageAge   = 20 * time.Minute
	garbageEvery = time.Minute
)

// garbage is the blobs that are to be deleted. It is only in memory: what a
// crash makes it forget is reaped at the next start.
type garbage struct {
	mu    sync.Mutex
	blobs []discarded
}

type discarded struct {
	blobRef
	account tenant.AccountID
	at      time.Time
}

// discard marks the blobs of a function as it was before a change. Those that
// are named by then stay.
func (s *Service) discard(before *deployed) {
	for ref := range before.blobs() {
		s.discardBlob(before.Account, ref)
	}
}

func (s *Service) discardBlob(account tenant.AccountID, ref blobRef) {
	if s.ix.named(ref) {
		return
	}
	s.garbage.mu.Lock()
	defer s.garbage.mu.Unlock()
	s.garbage.blobs = append(s.garbage.blobs, discarded{ref, account, s.cfg.Now()})
}

// collect deletes what was discarded, until the service is closed.
func (s *Service) collect() {
	for wait(s.ctx, garbageEvery) {
		s.deleteDiscarded(s.ctx, s.cfg.Now().Add(-garbageAge))
	}
}

func (s *Service) deleteDiscarded(ctx context.Context, until time.Time) {
	s.garbage.mu.Lock()
	var ripe, kept []discarded
	for _, d := range s.garbage.blobs {
		if d.at.After(until) {
			kept = append(kept, d)
		} else {
			ripe = append(ripe, d)
		}
	}
	s.garbage.blobs = kept
	s.garbage.mu.Unlock()
	for _, d := range ripe {
		s.deleteBlob(ctx, d)
	}
}

// deleteBlob deletes under the account's lock, so that no act stores the same
// content at the same time.
func (s *Service) deleteBlob(ctx context.Context, d discarded) {
	defer s.lock(d.account)()
	if !s.ix.named(d.blobRef) {
		_ = s.cfg.Blobs.Delete(ctx, d.owner, d.kind, d.digest) // reaped at the next start if it fails
	}
}

// NamedBlob is a blob that a record names.
type NamedBlob struct {
	Owner  tenant.UID
	Kind   secret.Kind
	Digest function.Digest
}

// NamedBlobs lists all blobs that records name, so that the store of blobs
// can remove the others, which a crash left.
//
// Errors: fault.Unavailable while a record cannot be read, as what that one
// names is not known.
func (s *Service) NamedBlobs() ([]NamedBlob, error) {
	s.ix.mu.RLock()
	defer s.ix.mu.RUnlock()
	if n := len(s.ix.damaged); n > 0 {
		return nil, fault.New("control.NamedBlobs", fault.Unavailable, "%d records cannot be read, so it is not known which blobs are needed", n)
	}
	list := make([]NamedBlob, 0, len(s.ix.blobs))
	for ref := range s.ix.blobs {
		list = append(list, NamedBlob{ref.owner, ref.kind, ref.digest})
	}
	return list, nil
}

// Damaged counts the records that cannot be read. What they stood for is
// refused until they are put right.
func (s *Service) Damaged() int {
	s.ix.mu.RLock()
	defer s.ix.mu.RUnlock()
	return len(s.ix.damaged)
}
