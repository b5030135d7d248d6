package events

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/store"
	store_js "github.com/carrel-dev/carrel/store/jetstream"
	"github.com/carrel-dev/carrel/tenant"
)

// headHeader is the header of a message that holds its head.
const headHeader = "Carrel-Event"

// Bounds of what is shipped at once.
const (
	batchEvents = 256
	batchBytes  = 8 << 20
	// lookEvery is how often the journal is looked through although no event
	// was accepted, so that the next event does not have to wait for the
	// records of many calls to be passed.
	lookEvery = time.Second
	// saveEvery is how often the place is noted although nothing was shipped.
	saveEvery = time.Minute
)

// shipper copies events from the journal to the stream.
type shipper struct {
	cursors store.KV
	key     store.Key
	last    store.Revision
	boot    string // of the journal
	at      journal.Cursor
	saved   time.Time
	passed  atomic.Pointer[journal.Cursor]
	news    chan struct{}
}

func (s *shipper) kick() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// openShipper reads how far the journal was shipped.
func (q *Queue) openShipper(ctx context.Context) error {
	const op = "events.Open"
	id := q.cfg.Journal.ID(0)
	s := &q.ship
	s.boot, s.news, s.saved = id.Boot, make(chan struct{}, 1), q.cfg.Now()
	var err error
	if s.cursors, err = store_js.Open(ctx, q.cfg.JetStream, bus.Nodes); err != nil {
		return err
	}
	if s.key, err = store.NewKey("events", store.Encode(id.Node)); err != nil {
		return err
	}
	entry, err := s.cursors.Get(ctx, s.key)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	s.last = entry.Revision
	if s.at, err = journal.ParseCursor(string(entry.Value)); err != nil {
		return fault.Wrap(op, fault.Internal, err, "the place up to which the journal was shipped cannot be read")
	}
	at := s.at
	s.passed.Store(&at)
	return nil
}

// Shipped gives the place in the journal up to which every event is in the
// message store, for whoever truncates the journal.
func (q *Queue) Shipped() journal.Cursor { return *q.ship.passed.Load() }

// shipAll follows the journal until the queue closes.
func (q *Queue) shipAll() {
	timer := time.NewTicker(lookEvery)
	defer timer.Stop()
	for {
		more, err := q.shipBatch()
		if err != nil && q.life.Err() == nil {
			q.log.Error("events cannot be shipped from the journal", "err", err)
		}
		if err == nil && more {
			continue
		}
		select {
		case <-q.life.Done():
			q.saveAtEnd()
			return
		case <-q.ship.news:
		case <-timer.C:
		}
	}
}

// saveAtEnd spares the next start the records that were looked through.
func (q *Queue) saveAtEnd() {
	if q.Shipped() == q.ship.at {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.life), 5*time.Second)
	defer cancel()
	if err := q.save(ctx); err != nil {
		q.log.Warn("the place in the journal was not noted", "err", err)
	}
}

// shipBatch ships what fits into a batch; more tells whether there may be more.
func (q *Queue) shipBatch() (more bool, err error) {
	s := &q.ship
	var batch []arrival
	size := 0
	next, err := q.cfg.Journal.Read(s.at, func(r journal.Record) error {
		if len(batch) == batchEvents || size >= batchBytes {
			more = true
			return journal.Stop
		}
		if r.Kind != KindEvent {
			return nil
		}
		a, err := decodeAccepted(r.Data)
		if err != nil {
			q.log.Error("an event on the journal cannot be read and is left out", "record", r.ID.String(), "err", err)
			return nil
		}
		batch = append(batch, arrival{accepted: a, reserved: r.ID.Boot == s.boot})
		size += len(a.sealed)
		return nil
	})
	switch {
	case fault.Is(err, fault.NotFound), fault.Is(err, fault.Precondition):
		q.log.Error("the journal was replaced or cut; its events are shipped from its start", "err", err)
		s.at = journal.Cursor{}
		return true, nil
	case err != nil:
		return false, err
	}
	if !q.publishAll(batch) {
		return false, nil
	}
	s.at = next
	if len(batch) > 0 || q.cfg.Now().Sub(s.saved) >= saveEvery && next != q.Shipped() {
		if !q.persist(q.life, "note the place in the journal", q.save) {
			return false, nil
		}
	}
	q.arrive(batch)
	return more, nil
}

// save notes the place in the journal. Only one process writes it; after a
// write whose fate is unknown it looks up what is there.
func (q *Queue) save(ctx context.Context) error {
	s := &q.ship
	at := s.at
	rev, err := s.cursors.Update(ctx, s.key, []byte(at.String()), s.last)
	if err != nil {
		if entry, err := s.cursors.Get(ctx, s.key); err == nil || fault.Is(err, fault.NotFound) {
			s.last = entry.Revision
		}
		return err
	}
	s.last, s.saved = rev, q.cfg.Now()
	s.passed.Store(&at)
	return nil
}

// arrival is an event that the shipper took off the journal.
type arrival struct {
	accepted
	reserved bool // Enqueue of this process counted it
	known    bool // it is in the stream, or done, already
	seq      uint64
}

// publishAll puts a batch into the stream, all at once; false when the queue
// closes before all are there.
func (q *Queue) publishAll(batch []arrival) bool {
	for i := range batch {
		batch[i].known = q.knows(&batch[i])
	}
	return len(batch) == 0 || q.persist(q.life, "ship events", func(ctx context.Context) error { return q.publish(ctx, batch) })
}

// publish publishes what of a batch is not in the stream yet.
func (q *Queue) publish(ctx context.Context, batch []arrival) error {
	futures := make([]jetstream.PubAckFuture, len(batch))
	var failed error
	for i := range batch {
		a := &batch[i]
		if a.known || a.seq != 0 {
			continue
		}
		m, err := message(a.owner, &a.head, a.sealed)
		if err == nil {
			futures[i], err = q.cfg.JetStream.PublishMsgAsync(m)
		}
		failed = errors.Join(failed, err)
	}
	for i, f := range futures {
		if f == nil {
			continue
		}
		select {
		case ack := <-f.Ok():
			batch[i].seq = ack.Sequence
		case err := <-f.Err():
			if full(err) {
				err = q.buryArrival(ctx, &batch[i])
			}
			failed = errors.Join(failed, err)
		case <-ctx.Done():
			return errors.Join(failed, ctx.Err())
		}
	}
	return failed
}

// full tells whether the stream refused a message because its account's
// subject holds as many as it may.
func full(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && strings.Contains(api.Description, "maximum messages per subject")
}

// buryArrival makes a dead letter of an event that the stream has no room
// for. Enqueue's bound is below the stream's, so somebody else wrote there;
// the events of other accounts must not wait for that to end.
func (q *Queue) buryArrival(ctx context.Context, a *arrival) error {
	e := q.newEntry(a.owner, a.head, place{})
	ev, err := q.open(waiting(a.owner, &a.head), &a.head, a.sealed)
	if err == nil {
		err = q.buryIt(ctx, e, ev, buried("The account's stream of events is full."))
	}
	a.known = err == nil
	return err
}

// knows tells whether an event was shipped before a crash that took back the
// note of it: it is in the stream still, or it is done.
func (q *Queue) knows(a *arrival) bool {
	if _, ok, result := q.cfg.Ended(a.head.id); ok && result == call.OK {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.schedule.lines[a.head.account]
	return l != nil && l.entries[a.head.id] != nil
}

// arrive hands shipped events to the schedule.
func (q *Queue) arrive(batch []arrival) {
	now := q.cfg.Now()
	q.mu.Lock()
	for i := range batch {
		a := &batch[i]
		if !a.known {
			q.schedule.add(q.newEntry(a.owner, a.head, place{a.seq, len(a.sealed)}), now)
		}
		if a.reserved {
			q.schedule.release(a.head.account, len(a.sealed))
		}
	}
	if len(batch) > 0 {
		close(q.progress)
		q.progress = make(chan struct{})
	}
	q.mu.Unlock()
	q.poke()
}

// place is where a message is in the stream, and the size of its body.
type place struct {
	seq  uint64
	size int
}

// newEntry makes the entry of a message, with what is known of attempts that
// ran before the node died.
func (q *Queue) newEntry(owner tenant.UID, h head, p place) *entry {
	e := &entry{head: h, owner: owner, seq: p.seq, size: p.size, next: h.attempt}
	attempt, ok, result := q.cfg.Ended(h.id)
	if !ok || attempt < h.attempt {
		return e
	}
	switch result {
	case call.OK, call.FunctionError, call.TimedOut, call.OutOfMemory:
		e.next, e.ended = attempt, &result
	default:
		e.next, e.tries = attempt+1, 1
		e.due = q.cfg.Now().Add(firstBackOff)
		e.cause = "the node stopped during an attempt"
	}
	return e
}

// message makes the message of an event that waits. Its id names event and
// attempt, so that one that is published twice is stored once.
func message(owner tenant.UID, h *head, sealed []byte) (*nats.Msg, error) {
	subject, err := bus.EventSubject(owner)
	if err != nil {
		return nil, err
	}
	return stored(subject, h, sealed), nil
}

func stored(subject string, h *head, sealed []byte) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Header.Set(headHeader, h.String())
	m.Header.Set(jetstream.MsgIDHeader, messageID(h))
	m.Data = sealed
	return m
}
