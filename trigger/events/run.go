package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

// defaultMaxAge is how old an event may become whose function cannot be
// looked up, in seconds: the most that can be configured, as in Lambda.
const defaultMaxAge = 21600

// suspendedPause is how long the events of an account that is not served
// wait before the next is tried.
const suspendedPause = 15 * time.Second

// Bounds of the pause of an account that is over its rate or concurrency.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = time.Second
)

// dispatch starts what is due until the queue closes.
func (q *Queue) dispatch() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for q.life.Err() == nil {
		now := q.cfg.Now()
		q.mu.Lock()
		e := q.schedule.take(now)
		due, timed := q.schedule.due()
		q.mu.Unlock()
		if e != nil {
			q.runs.Go(func() { q.run(e) })
			continue
		}
		wait := time.Hour
		if timed {
			wait = max(due.Sub(now), 0)
		}
		timer.Reset(wait)
		select {
		case <-q.life.Done():
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// verdict is what becomes of an event after a try.
type verdict struct {
	what fate
	// delay is before the next try, for again and later.
	delay time.Duration
	// hold keeps the other events of the account waiting for the delay too.
	hold bool
	// ran says that the attempt took place, or may be recorded as if.
	ran   bool
	cause string
}

type fate uint8

const (
	done  fate = iota // delete it
	again             // the function failed: store the next attempt
	later             // try the same message again
	bury              // make it a dead letter
	lost              // its message is not there
)

func buried(format string, args ...any) verdict {
	return verdict{what: bury, cause: fmt.Sprintf(format, args...)}
}

// run takes an event through one try.
func (q *Queue) run(e *entry) {
	ev, v := q.try(e)
	gone, ok := q.settle(e, &ev, v)
	if !ok {
		return // the queue closes, and the message is as it was
	}
	now := q.cfg.Now()
	q.mu.Lock()
	if v.what == later {
		e.due, e.cause = now.Add(v.delay), v.cause
		if v.ran {
			e.next++ // no two records are of one attempt
		}
		if !v.hold {
			e.tries++
		}
	}
	if v.hold {
		q.schedule.pause(e.account, e.due)
	}
	q.schedule.finish(e, gone, now)
	q.mu.Unlock()
	q.poke()
}

// try runs the event, unless it was run already, and judges.
func (q *Queue) try(e *entry) (event, verdict) {
	ev, err := q.fetch(e)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		q.log.Warn("an event is gone", "request", e.id, "account", e.account, "err", err)
		return ev, verdict{what: lost}
	case errors.Is(err, secret.ErrDestroyed):
		return ev, verdict{what: done}
	case errors.Is(err, secret.ErrAltered):
		q.log.Error("a stored event was tampered with or is damaged", "request", e.id, "account", e.account, "err", err)
		return event{RequestID: e.id, Attempt: e.attempt, Account: e.account, EndTenant: e.endTenant, Received: e.received},
			buried("The stored event is damaged.")
	case err != nil:
		return ev, tryLater(e, err)
	}
	target, err := q.cfg.Resolve(ev.Account, ev.Function, ev.Qualifier)
	if e.ended != nil {
		return ev, q.judge(e, target, &call.Outcome{Result: *e.ended})
	}
	if err != nil {
		return ev, q.unresolved(e, err)
	}
	if target.FunctionUID != ev.FunctionUID {
		return ev, buried("The function was deleted; another one has its name.")
	}
	if _, maxAge := q.cfg.EventConfig(ev.Account, target); q.tooOld(e, maxAge) {
		return ev, expired(e, maxAge)
	}
	p, found := q.sender(&ev)
	if !found {
		return ev, buried("The access key that the event was sent with is not valid any more.")
	}
	return ev, q.judge(e, target, q.cfg.Invoke(q.calls, newCall(&ev, e, target, p)))
}

// sender gives who sent an event, as of now; false if that was by a key that
// is somebody else's or nobody's by now.
func (q *Queue) sender(ev *event) (call.Principal, bool) {
	if ev.Principal.Session != nil {
		return ev.Principal, true
	}
	p, found := q.cfg.Principal(ev.Principal.AccessKeyID)
	p.Origin = ev.Principal.Origin
	return p, found && sameCredential(&p, &ev.Principal)
}

func newCall(ev *event, e *entry, target *function.Target, p call.Principal) *call.Call {
	return &call.Call{
		RequestID: ev.RequestID, Attempt: e.next, Principal: p,
		Owner:     tenant.Identity{Account: ev.Account, EndTenant: ev.EndTenant},
		EndTenant: ev.EndTenantID, Target: target, Trigger: call.ViaEvent, Event: ev.Payload,
		ClientContext: ev.ClientCtx, Received: ev.Received, Chain: ev.Chain,
	}
}

// fetch gets the event from the stream.
func (q *Queue) fetch(e *entry) (event, error) {
	ctx, cancel := context.WithTimeout(q.calls, 10*time.Second)
	defer cancel()
	m, err := q.stream.GetMsg(ctx, e.seq)
	if err != nil {
		return event{}, err
	}
	h, err := parseHead(m.Header.Get(headHeader))
	if owner, other := ownerOf(m.Subject); err != nil || other != nil || owner != e.owner || h.id != e.id {
		return event{}, fmt.Errorf("another message stands in its place: %w", jetstream.ErrMsgNotFound)
	}
	ev, err := q.open(waiting(e.owner, &e.head), &e.head, m.Data)
	if err == nil && ev.Failures != e.failures {
		err = fault.Wrap("events.run", fault.Internal, secret.ErrAltered, "a stored event is not the one that its header names")
	}
	return ev, err
}

func (q *Queue) unresolved(e *entry, err error) verdict {
	if q.tooOld(e, defaultMaxAge) {
		return expired(e, defaultMaxAge)
	}
	if final(err) {
		return buried("%s", fault.From("events", err).Text())
	}
	return tryLater(e, err)
}

func (q *Queue) tooOld(e *entry, maxAgeSeconds int) bool {
	return q.cfg.Now().Sub(e.received) > time.Duration(maxAgeSeconds)*time.Second
}

func expired(e *entry, maxAgeSeconds int) verdict {
	v := buried("The event is older than %d s.", maxAgeSeconds)
	if e.cause != "" {
		v.cause += " Last try: " + e.cause
	}
	return v
}

// final tells whether trying again cannot help.
func final(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Unauthenticated, fault.Denied, fault.NotFound, fault.TooLarge, fault.Unsupported:
		return true
	case fault.Internal, fault.Conflict, fault.Precondition, fault.Throttled, fault.Suspended, fault.Unavailable, fault.Timeout:
	}
	return false
}

// judge says what becomes of an event after an attempt. target is nil if the
// function is gone meanwhile.
func (q *Queue) judge(e *entry, target *function.Target, o *call.Outcome) verdict {
	switch o.Result {
	case call.OK:
		return verdict{what: done}
	case call.FunctionError, call.TimedOut, call.OutOfMemory:
		cause := failureText(o)
		retries := 0
		if target != nil {
			retries, _ = q.cfg.EventConfig(e.account, target)
		}
		if e.failures >= retries {
			return verdict{what: bury, ran: true, cause: cause}
		}
		return verdict{what: again, ran: true, delay: q.cfg.RetryDelay << e.failures, cause: cause}
	case call.Refused:
		if fault.Is(o.Err, fault.Suspended) {
			return verdict{what: later, delay: suspendedPause, hold: true, cause: fault.From("events", o.Err).Text()}
		}
		if final(o.Err) {
			return buried("%s", fault.From("events", o.Err).Text())
		}
		return tryLater(e, o.Err)
	case call.Throttled:
		v := throttled(e, o.Err)
		v.ran = true
		return v
	default:
		v := tryLater(e, o.Err)
		v.ran = true
		return v
	}
}

// throttled keeps a whole account waiting where the account's quota is spent,
// so that not every event of it has to find that out by itself.
func throttled(e *entry, err error) verdict {
	f := fault.From("events", err)
	if f == nil || f.Reason != "CallerRateLimitExceeded" && f.Reason != "ConcurrentInvocationLimitExceeded" {
		return tryLater(e, err)
	}
	return verdict{what: later, delay: min(max(f.RetryAfter, shortestPause), longestPause), hold: true, cause: f.Text()}
}

func tryLater(e *entry, err error) verdict {
	v := verdict{what: later, delay: backOff(e.tries + 1)}
	if f := fault.From("events", err); f != nil {
		v.cause = f.Text()
	}
	return v
}

// failureText gives a failure of the function in one line, as it said it.
func failureText(o *call.Outcome) string {
	var said struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(o.Payload, &said) != nil || said.Type == "" && said.Message == "" {
		return o.Result.String()
	}
	text := said.Type + ": " + said.Message
	if len(text) > maxCause {
		text = text[:maxCause]
	}
	return text
}

// settle makes a verdict durable. gone tells whether the event has left the
// queue; ok is false if the queue closed before it was done.
func (q *Queue) settle(e *entry, ev *event, v verdict) (gone, ok bool) {
	switch v.what {
	case later:
		return false, true
	case lost:
		return true, true
	case again:
		return false, q.persist(q.calls, "store the next attempt", func(ctx context.Context) error { return q.storeAgain(ctx, e, *ev, v) })
	case bury:
		if !q.persist(q.calls, "store a dead letter", func(ctx context.Context) error { return q.buryIt(ctx, e, *ev, v) }) {
			return false, false
		}
	case done:
	}
	return true, q.persist(q.calls, "delete an event", func(ctx context.Context) error { return q.drop(ctx, e.seq) })
}

// storeAgain stores the next attempt, and then deletes the last.
func (q *Queue) storeAgain(ctx context.Context, e *entry, ev event, v verdict) error {
	ev.Attempt, ev.Failures, ev.Cause = e.next+1, e.failures+1, v.cause
	h := ev.head(q.cfg.Now().Add(v.delay))
	sealed, err := q.cfg.Keys.Seal(waiting(e.owner, &h), ev.append(make([]byte, 0, len(ev.Payload)+1024)))
	if err != nil {
		return err
	}
	m, err := message(e.owner, &h, sealed)
	if err != nil {
		return err
	}
	ack, err := q.cfg.JetStream.PublishMsg(ctx, m)
	if err != nil {
		return err
	}
	if err := q.drop(ctx, e.seq); err != nil {
		return err
	}
	q.mu.Lock()
	q.schedule.line(e.account).bytes += int64(len(sealed) - e.size)
	e.head, e.seq, e.size, e.next, e.tries, e.ended, e.cause = h, ack.Sequence, len(sealed), h.attempt, 0, nil, v.cause
	q.mu.Unlock()
	return nil
}

// buryIt stores a dead letter. One that is stored twice after a crash is
// there once, if that is within the stream's window for duplicates.
func (q *Queue) buryIt(ctx context.Context, e *entry, ev event, v verdict) error {
	ev.Attempt, ev.Cause, ev.Died = e.next, v.cause, q.cfg.Now()
	if v.ran {
		ev.Attempt++
	}
	h := ev.head(ev.Died)
	sealed, err := q.cfg.Keys.Seal(dead(e.owner, &h), ev.append(make([]byte, 0, len(ev.Payload)+1024)))
	if errors.Is(err, secret.ErrDestroyed) {
		return nil
	}
	if err != nil {
		return err
	}
	subject, err := bus.DeadLetterSubject(e.owner)
	if err != nil {
		return err
	}
	m := stored(subject, &h, sealed)
	m.Header.Set(jetstream.MsgIDHeader, h.id)
	_, err = q.cfg.JetStream.PublishMsg(ctx, m)
	return err
}

// drop deletes a message; one that is gone already is no error.
func (q *Queue) drop(ctx context.Context, seq uint64) error {
	err := q.stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	if _, look := q.stream.GetMsg(ctx, seq); errors.Is(look, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}
