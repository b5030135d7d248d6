//go:build linux

package process

import (
	"container/list"
	"context"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// artifacts keeps the artefacts in use in sealed memory files, so that the
// workers of one version share their pages and a cold start reads no disk.
// An artefact is found by account and digest: two accounts with the same
// module have two.
type artifacts struct {
	load  LoadArtifact
	limit int64

	mu    sync.Mutex
	held  map[artifactKey]*artifact
	order *list.List // of *artifact, least recently used first
	bytes int64
}

type artifactKey struct {
	account tenant.UID
	digest  function.Digest
}

// artifact is one memory file. It is closed when it was put out of the cache
// and nobody is about to pass it on.
type artifact struct {
	key   artifactKey
	file  *os.File
	size  int64
	err   error
	ready chan struct{}
	place *list.Element
	users int
	gone  bool
	of    *artifacts
}

func newArtifacts(load LoadArtifact, limit int64) *artifacts {
	return &artifacts{load: load, limit: limit, held: map[artifactKey]*artifact{}, order: list.New()}
}

// get gives an artefact, loading it once however many ask. The caller
// releases it.
func (a *artifacts) get(ctx context.Context, k groupKey) (*artifact, error) {
	key := artifactKey{k.account, k.artifact}
	a.mu.Lock()
	art, found := a.held[key]
	if !found {
		art = &artifact{key: key, ready: make(chan struct{}), of: a}
		a.held[key] = art
		art.place = a.order.PushBack(art)
	} else {
		a.order.MoveToBack(art.place)
	}
	art.users++
	a.mu.Unlock()
	if !found {
		a.fill(ctx, art)
	}
	<-art.ready
	if art.err != nil {
		art.release()
		return nil, art.err
	}
	return art, nil
}

// put keeps an artefact that was just built, so that its first call need not
// read it back from the disk. It is a matter of speed only: a failure, or one
// that is there already, changes nothing.
func (a *artifacts) put(key artifactKey, content []byte) {
	a.mu.Lock()
	if a.held[key] != nil {
		a.mu.Unlock()
		return
	}
	art := &artifact{key: key, ready: make(chan struct{}), of: a}
	a.held[key] = art
	art.place = a.order.PushBack(art)
	a.mu.Unlock()
	a.keep(art, content, nil)
}

func (a *artifacts) fill(ctx context.Context, art *artifact) {
	content, err := a.load(ctx, art.key.account, art.key.digest)
	a.keep(art, content, err)
}

// keep puts what was loaded into the cache, or takes the entry out again.
func (a *artifacts) keep(art *artifact, content []byte, err error) {
	defer close(art.ready)
	if err == nil {
		art.file, err = sealedMemory(content)
		art.size = int64(len(content))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		art.err = err
		a.dropLocked(art)
		return
	}
	a.bytes += art.size
	for e := a.order.Front(); e != nil && a.bytes > a.limit; {
		next := e.Next()
		if old := e.Value.(*artifact); old.users == 0 {
			a.dropLocked(old)
		}
		e = next
	}
}

func (a *artifacts) dropLocked(art *artifact) {
	if art.gone {
		return
	}
	art.gone = true
	delete(a.held, art.key)
	a.order.Remove(art.place)
	a.bytes -= art.size
	if art.users == 0 && art.file != nil {
		art.file.Close()
	}
}

func (art *artifact) release() {
	a := art.of
	a.mu.Lock()
	defer a.mu.Unlock()
	if art.users--; art.users == 0 && art.gone && art.file != nil {
		art.file.Close()
	}
}

func (a *artifacts) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, art := range a.held {
		a.dropLocked(art)
	}
}

// sealedMemory puts content into a memory file that nobody can change any
// more: workers map it, and one that is escaped must not reach another.
func sealedMemory(content []byte) (*os.File, error) {
	const op = "process.sealedMemory"
	fd, err := unix.MemfdCreate("carrel-artifact", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "no memory file could be made")
	}
	f := os.NewFile(uintptr(fd), "carrel-artifact")
	if _, err = f.Write(content); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS,
			unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, fault.Wrap(op, fault.Unavailable, err, "a memory file could not be filled and sealed")
	}
	return f, nil
}
