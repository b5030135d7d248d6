package control

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store"
)

// gate is where every change of the authorisation state passes, one after the
// other, over all nodes.
//
// One record holds the number of changes there were and the last of them in
// full. To make a change, a node first finishes the last one, as the node
// that began it may have died; judges the state as it would be; and then
// replaces this record by the one with the next number and its own change,
// if no other node did so meanwhile. From that moment on the change is made:
// its records are written by this node, or by whoever comes next. So every
// state was judged as it is, and two changes that are safe alone and not
// together cannot both be made.
type gate struct {
	s *Service
	// mu is held while a change is judged and made: a node judges one at a time.
	mu sync.Mutex
	// settled is the number of the last change that this node saw finished.
	settled uint64
	// started says that settled means something.
	started bool
	// stuck has something in it while a change is begun and not finished.
	stuck chan struct{}
}

// generationRecord is the number of the last change of the authorisation
// state, and what it writes.
type generationRecord struct {
	Number uint64         `json:"number"`
	Batch  []pendingWrite `json:"batch,omitempty"`
}

// generationNumber is what readers keep of a generationRecord.
type generationNumber struct {
	Number uint64 `json:"number"`
}

// pendingWrite is one record of a change. The value is sealed for the
// record's owner, as it will be in its own place.
type pendingWrite struct {
	Key string `json:"key"`
	// Last is the key's revision before the change, deletions included.
	Last store.Revision `json:"last"`
	// Value is empty for a deletion.
	Value []byte `json:"value,omitempty"`
}

// generation is the record as it is in the store.
type generation struct {
	generationRecord
	rev store.Revision
}

// maxLost is how often a change is judged anew because another node's came first.
const maxLost = 16

func newGate(s *Service) *gate { return &gate{s: s, stuck: make(chan struct{}, 1)} }

func generationKey() store.Key {
	k, err := newKey(generationFamily)
	if err != nil {
		panic("control: " + err.Error()) // a constant
	}
	return k
}

// commit judges a change and makes it. Errors as of Service.commit.
func (g *gate) commit(ctx context.Context, writes []write) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range maxLost {
		now, err := g.settle(ctx)
		if err != nil {
			return err
		}
		if err := g.current(writes); err != nil {
			return err
		}
		accepted, err := g.judge(ctx, writes)
		if err != nil {
			return err
		}
		next, err := g.next(ctx, now, append(accepted, writes...))
		if err != nil {
			return err
		}
		rev, err := g.advance(ctx, now, next)
		if fault.Is(err, fault.Precondition) || fault.Is(err, fault.Conflict) {
			continue // another node was first: what it did has to be judged with this
		}
		if err != nil {
			return written(err)
		}
		// The change is made from here on, whatever becomes of the caller.
		next.rev = rev
		return g.finish(context.WithoutCancel(ctx), next, true)
	}
	return fault.New("control.commit", fault.Conflict, "Other changes came first %d times.", maxLost).
		WithCode("ResourceConflictException").WithRemedy("Try again.")
}

// settle gives the last change, when all of it is written and this node's
// readers see it.
func (g *gate) settle(ctx context.Context) (generation, error) {
	now, err := g.read(ctx)
	if err != nil || g.started && now.Number == g.settled {
		return now, err
	}
	if err := g.finish(ctx, now, false); err != nil {
		return now, err
	}
	// Earlier changes of other nodes are in the stores, and may not be here yet.
	for _, part := range []struct {
		kv       store.KV
		snapshot *store.Snapshot[any]
	}{
		{g.s.cfg.Stores.Tenants, g.s.tenants}, {g.s.cfg.Stores.Identities, g.s.identities}, {g.s.cfg.Stores.Functions, g.s.functions},
	} {
		head, err := part.kv.Head(ctx, store.Key{})
		if err == nil {
			err = part.snapshot.Wait(ctx, head)
		}
		if err != nil {
			return now, written(err)
		}
	}
	return now, nil
}

func (g *gate) read(ctx context.Context) (generation, error) {
	e, err := g.s.cfg.Stores.Identities.Get(ctx, generationKey())
	if fault.Is(err, fault.NotFound) {
		return generation{rev: e.Revision}, nil
	}
	if err != nil {
		return generation{}, written(err)
	}
	now := generation{rev: e.Revision}
	return now, decode(e.Value, &now.generationRecord)
}

// current refuses writes that are based on what is not so any more, or that do
// not go together with what is.
func (g *gate) current(writes []write) error {
	for _, w := range writes {
		if g.s.ix.revision(w.key) != w.last {
			return written(fault.New("control.commit", fault.Precondition, "a record changed meanwhile"))
		}
	}
	return g.s.coherent(writes)
}

// next makes the record of a change.
func (g *gate) next(ctx context.Context, now generation, writes []write) (generation, error) {
	next := generation{generationRecord: generationRecord{Number: now.Number + 1}}
	size := 0
	for _, w := range writes {
		if w.last != 0 && !w.decides() {
			// Its revision may change before it is written, and it would be lost.
			return next, fault.New("control.commit", fault.Internal, "a change rewrites a record that is written outside of the gate too")
		}
		p := pendingWrite{Key: w.key.String(), Last: w.last}
		if w.last == 0 {
			// The key may have been in use before: its deletion has a revision.
			kv, _ := g.s.storeOf(w.key)
			e, err := kv.Get(ctx, w.key)
			if err == nil {
				return next, written(fault.New("control.commit", fault.Conflict, "the record is there already"))
			}
			if !fault.Is(err, fault.NotFound) {
				return next, written(err)
			}
			p.Last = e.Revision
		}
		if w.record != nil {
			value, err := encode(w.record)
			if err != nil {
				return next, err
			}
			if p.Value, err = g.s.cfg.Keys.Seal(labelOf(w.key, next.Number), value); err != nil {
				return next, fault.Wrap("control.commit", fault.Internal, err, "a record cannot be sealed")
			}
		}
		if size += len(p.Value); size > maxBatchBytes {
			return next, fault.New("control.commit", fault.TooLarge, "The change has more than %d bytes.", maxBatchBytes)
		}
		next.Batch = append(next.Batch, p)
	}
	return next, nil
}

// labelOf binds a record in a change to its owner, its place and the change.
func labelOf(k store.Key, number uint64) secret.Label {
	return secret.Label{Owner: Owner(k), Kind: secret.Record, ID: "generation/" + strconv.FormatUint(number, 10) + "/" + k.String()}
}

// advance replaces the last change by the next one, if it is still the last.
func (g *gate) advance(ctx context.Context, now, next generation) (store.Revision, error) {
	value, err := encode(next.generationRecord)
	if err != nil {
		return 0, err
	}
	return g.s.cfg.Stores.Identities.Update(ctx, generationKey(), value, now.rev)
}

// finish writes what is not written yet of a change, and returns when this
// node's readers see it. If it fails it is tried again until it does not.
func (g *gate) finish(ctx context.Context, at generation, own bool) error {
	for _, p := range at.Batch {
		if err := g.apply(ctx, at.Number, p, own); err != nil {
			if !fault.Is(err, fault.Conflict) {
				g.started = false
				select {
				case g.stuck <- struct{}{}:
				default:
				}
			}
			return err
		}
	}
	g.settled, g.started = at.Number, true
	return nil
}

// apply writes one record of a change, if nobody did yet.
func (g *gate) apply(ctx context.Context, number uint64, p pendingWrite, own bool) error {
	k, err := store.ParseKey(p.Key)
	if err != nil {
		return fault.Wrap("control.commit", fault.Internal, err, "the record of the last change is not in the expected form")
	}
	kv, snapshot := g.s.storeOf(k)
	var value []byte
	var rev store.Revision
	if len(p.Value) == 0 {
		rev, err = kv.Delete(ctx, k, p.Last)
	} else {
		if !g.s.cfg.Keys.HasTenant(Owner(k)) && Owner(k) != secret.Node {
			return nil // the account was destroyed, and its records with it
		}
		if value, err = g.s.cfg.Keys.Open(labelOf(k, number), p.Value); err != nil {
			return fault.Wrap("control.commit", fault.Internal, err, "the record of the last change cannot be opened")
		}
		rev, err = kv.Update(ctx, k, value, p.Last)
	}
	if fault.Is(err, fault.Precondition) {
		// Somebody wrote it for us. Only the records of functions and access keys
		// are written outside of the gate too; a change has one of a function
		// alone, and none of a key that was there before: see next.
		e, err := kv.Get(ctx, k)
		if err != nil && !fault.Is(err, fault.NotFound) && e.Err == nil { // a damaged record was written too
			return written(err)
		}
		if familyOf(k) == functionFamily && own && !bytes.Equal(e.Value, value) {
			return written(fault.New("control.commit", fault.Precondition, "the function changed meanwhile"))
		}
		rev = e.Revision
	} else if err != nil {
		return written(err)
	}
	return written(snapshot.Wait(ctx, rev))
}

// rollForward finishes in the background what a failing store left begun.
func (g *gate) rollForward() {
	for {
		select {
		case <-g.s.ctx.Done():
			return
		case <-g.stuck:
		}
		for wait(g.s.ctx, time.Second) {
			g.mu.Lock()
			_, err := g.settle(g.s.ctx)
			g.mu.Unlock()
			if err == nil {
				break
			}
			if g.s.cfg.Log != nil {
				g.s.cfg.Log.Warn("a change of the authorisation state is not finished", "error", err)
			}
		}
	}
}
