// Package events runs asynchronous calls: Lambda's invocation type Event.
//
// # The life of an event
//
// Enqueue seals the event and puts it on the node's journal; the caller is
// answered then. The shipper follows the journal, copies events in batches
// into the message store, notes how far it came, and only then hands them to
// the schedule, so that none is run before its place in the journal is
// passed: after a crash it either lies in the stream untouched, or is not
// shipped again. The schedule lets accounts take turns. A run fetches the
// payload, resolves the function again, looks the caller up again, and goes
// through the same pipeline as every call, which decides again about the
// caller and its chain. A session whose time is over may have its events run:
// it was good when they were accepted. One that was revoked, and one whose
// user or role is gone, may not.
//
// A call that succeeded is deleted. One whose function failed is stored anew
// with its next attempt and only then deleted, so that attempts are counted
// over restarts. One that could not run for want of quota, or by a failure of
// the platform, stays where it is and is tried again with growing delay. What
// failed too often, is too old, or is refused becomes a dead letter: sealed
// like the event, the newest thousand of each account.
//
// Each event runs at least once; an attempt whose end is on the journal is
// not run again, so that none is billed twice.
//
// If the message store is corrupted: events may be lost or run again; an
// event that was altered or moved to another account does not open and
// becomes a dead letter without payload.
package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

// Journal is what the queue needs of the node journal.
type Journal interface {
	Append(journal.Kind, []byte) uint64
	Write(seq uint64) error
	ID(seq uint64) journal.ID
	Read(journal.Cursor, func(journal.Record) error) (journal.Cursor, error)
}

// Config says what a Queue works with. All fields up to Now are required.
type Config struct {
	Journal   Journal
	JetStream jetstream.JetStream
	Keys      *secret.Keeper
	// Invoke takes a call through the pipeline.
	Invoke func(context.Context, *call.Call) *call.Outcome
	// Resolve finds what a call runs now; errors as of control.Resolve.
	Resolve func(account tenant.AccountID, name function.Name, qualifier string) (*function.Target, error)
	// EventConfig gives how often a target's failed calls are run again, and
	// how old an event may become.
	EventConfig func(account tenant.AccountID, t *function.Target) (retries, maxAgeSeconds int)
	PlanOf      admit.PlanOf
	// Principal gives who a long-lived access key stands for; false if it is
	// gone. Sessions are not asked for: the decision looks them up.
	Principal func(accessKeyID string) (call.Principal, bool)
	// Ended gives the last attempt at an event that was recorded before this
	// start; false if there is none.
	Ended func(requestID string) (attempt int, ok bool, result call.Result)
	// Now is the clock of ages and delays.
	Now func() time.Time

	// Log gets what goes wrong in the background; nil drops it.
	Log *slog.Logger
	// Slots is the most calls at once, 256 if zero; PerTenant of one account,
	// 16 if zero.
	Slots, PerTenant int
	// RetryDelay is the wait before the second attempt, doubled before each
	// further one; a minute if zero, as in Lambda.
	RetryDelay time.Duration
	// MaxBytes is the most bytes of events of one account that may wait, sealed;
	// 256 MiB if zero.
	MaxBytes int64
	// MaxPending is the most events of all accounts that may wait, which
	// bounds the node's memory; 500,000 if zero.
	MaxPending int
}

// MaxEvent is the most bytes of an asynchronous call's event, as in Lambda.
const MaxEvent = 1 << 20

// Queue keeps asynchronous calls and runs them. It implements invoke.Queue.
type Queue struct {
	cfg    Config
	stream jetstream.Stream // the events that wait
	graves jetstream.Stream // the dead letters
	log    *slog.Logger
	ship   shipper

	mu       sync.Mutex
	schedule *schedule
	closed   bool
	progress chan struct{} // closed and replaced when events were shipped

	wake chan struct{} // tells the dispatcher that the schedule changed

	life   context.Context // ends when the queue begins to close
	end    context.CancelFunc
	calls  context.Context // ends when calls that run are given up
	abort  context.CancelFunc
	loops  sync.WaitGroup
	runs   sync.WaitGroup
	halted chan struct{} // closed when the loops have ended
}

func (c *Config) complete() error {
	if c.Journal == nil || c.JetStream == nil || c.Keys == nil || c.Invoke == nil || c.Resolve == nil ||
		c.EventConfig == nil || c.PlanOf == nil || c.Principal == nil || c.Ended == nil || c.Now == nil {
		return fault.New("events.Open", fault.Invalid, "a part of the configuration is missing")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.Slots, 256)
	orDefault(&c.PerTenant, 16)
	orDefault(&c.RetryDelay, time.Minute)
	orDefault(&c.MaxBytes, 256<<20)
	orDefault(&c.MaxPending, 500_000)
	return nil
}

func orDefault[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Open finds the events that wait, those that the journal has and the stream
// has not included, and begins to run them. The streams must be there
// (bus.Ensure makes them), and the node's recovery done, for Ended to answer.
// There is one Queue for each opening of the journal.
func Open(ctx context.Context, cfg Config) (*Queue, error) {
	const op = "events.Open"
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	q := &Queue{
		cfg: cfg, log: cfg.Log, wake: make(chan struct{}, 1), halted: make(chan struct{}),
		progress: make(chan struct{}), schedule: newSchedule(cfg.Slots, cfg.PerTenant),
	}
	var err error
	if q.stream, err = cfg.JetStream.Stream(ctx, string(bus.Events)); err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "cannot open the stream of events")
	}
	if q.graves, err = cfg.JetStream.Stream(ctx, string(bus.DeadLetters)); err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "cannot open the stream of dead letters")
	}
	if err := q.openShipper(ctx); err != nil {
		return nil, err
	}
	if err := q.rebuild(ctx); err != nil {
		return nil, err
	}
	q.life, q.end = context.WithCancel(context.WithoutCancel(ctx))
	q.calls, q.abort = context.WithCancel(context.WithoutCancel(ctx))
	q.loops.Go(q.shipAll)
	q.loops.Go(q.dispatch)
	go func() {
		q.loops.Wait()
		q.runs.Wait()
		close(q.halted)
	}()
	return q, nil
}

// Close takes no more events and starts no more calls. It waits for those
// that run until ctx ends, and then gives them up: they are run again after
// the next Open. It returns when nothing of the queue runs any more.
//
// Errors: ctx's, if calls were given up.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.end()
	var err error
	select {
	case <-q.halted:
	case <-ctx.Done():
		err = fmt.Errorf("asynchronous calls were given up and will run again: %w", ctx.Err())
	}
	q.abort()
	<-q.halted
	return err
}

// Enqueue accepts the call of a grant, to be run later. It returns once the
// event is on the journal.
//
// Errors: fault.Throttled with Reason and RetryAfter where the account has as
// many events waiting as it may, fault.TooLarge, fault.Unavailable.
func (q *Queue) Enqueue(ctx context.Context, g iam.Grant) error {
	const op = "events.Enqueue"
	c := g.Call()
	if c == nil {
		return fault.New(op, fault.Internal, "the grant is for no call")
	}
	if err := g.Check(iam.InvokeAction, c.Target.Resource()); err != nil {
		return err
	}
	if len(c.Event) > MaxEvent {
		return fault.New(op, fault.TooLarge, "%d byte payload is too large for the Event invocation type (limit %d bytes)", len(c.Event), MaxEvent).
			WithCode("RequestTooLargeException")
	}
	if len(c.Chain) > call.MaxChain {
		return fault.New(op, fault.Invalid, "a chain of %d calls is longer than %d", len(c.Chain), call.MaxChain)
	}
	e := newEvent(c)
	a := accepted{owner: c.Target.AccountUID, head: e.head(c.Received)}
	plain := e.append(make([]byte, 0, len(e.Payload)+1024))
	size := len(plain) + secret.Overhead
	if err := q.reserve(ctx, e.Account, size); err != nil {
		return err
	}
	sealed, err := q.cfg.Keys.Seal(waiting(a.owner, &a.head), plain)
	if err == nil {
		a.sealed = sealed
		err = q.cfg.Journal.Write(q.cfg.Journal.Append(KindEvent, a.append(make([]byte, 0, size+256))))
	}
	if err != nil {
		if errors.Is(err, journal.ErrFailed) {
			return err // it may be there nevertheless, and keeps its room
		}
		q.mu.Lock()
		q.schedule.release(e.Account, size)
		q.mu.Unlock()
		return err
	}
	q.ship.kick()
	return nil
}

// Bounds of how far an account may be ahead of the shipper. The journal has one
// order for all, so what one account has in it delays the others' next event.
const (
	mostUnshipped = 64
	longestWait   = 5 * time.Second
)

// reserve takes room for an event, or refuses. It makes the caller wait while
// the account is ahead of the shipper.
func (q *Queue) reserve(ctx context.Context, account tenant.AccountID, size int) error {
	const op = "events.Enqueue"
	limit := min(q.cfg.PlanOf(account).Queue, mostWaiting(q.cfg.PerTenant))
	late := time.NewTimer(longestWait)
	defer late.Stop()
	for {
		progress, err := q.tryReserve(account, size, limit)
		if err != nil || progress == nil {
			return err
		}
		select {
		case <-progress:
		case <-q.life.Done():
		case <-late.C:
			return refused("QueueRateLimitExceeded", "%d asynchronous events of the account are being stored.", mostUnshipped)
		case <-ctx.Done():
			return fault.Wrap(op, fault.Timeout, ctx.Err(), "the caller went away while the event waited to be stored")
		}
	}
}

// tryReserve gives what to wait for before the next try; nil if the room was taken.
func (q *Queue) tryReserve(account tenant.AccountID, size, limit int) (<-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, fault.New("events.Enqueue", fault.Unavailable, "this node is stopping").WithRemedy("Try again.")
	}
	var l line
	if known := q.schedule.lines[account]; known != nil {
		l = *known
	}
	switch {
	case l.depth() >= limit:
		return nil, refused("QueueLimitExceeded", "%d asynchronous events are waiting, as many as the account may have.", l.depth())
	case l.bytes+int64(size) > q.cfg.MaxBytes:
		return nil, refused("QueueSizeLimitExceeded", "the asynchronous events that wait hold %d bytes of %d.", l.bytes, q.cfg.MaxBytes)
	case q.schedule.total >= q.cfg.MaxPending:
		return nil, refused("NodeQueueLimitExceeded", "this node takes no more asynchronous events at present.")
	case l.reserved >= mostUnshipped:
		return q.progress, nil
	}
	q.schedule.reserve(account, size)
	return nil, nil
}

func refused(reason, format string, args ...any) error {
	e := fault.New("events.Enqueue", fault.Throttled, "Rate Exceeded: "+format, args...).WithCode("TooManyRequestsException").
		WithRemedy("Retry after the time given, or call synchronously.")
	e.Reason, e.RetryAfter = reason, time.Second
	return e
}

// mostWaiting is how many events of an account may wait: as many as the
// stream takes, but for those that are stored twice for a moment because
// their next attempt is there before the last is deleted.
func mostWaiting(perTenant int) int { return bus.MaxEventsPerTenant - 2*perTenant }

// Depth gives how many events of an account wait or run.
func (q *Queue) Depth(account tenant.AccountID) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.schedule.lines[account]; l != nil {
		return l.depth()
	}
	return 0
}

// Pending gives how many events of all accounts wait or run.
func (q *Queue) Pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.schedule.total
}

// poke has the dispatcher look at the schedule.
func (q *Queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Bounds of the delays between tries of what the function is not to blame
// for, as Lambda's: 1 s, doubled, up to 5 minutes.
const (
	firstBackOff = time.Second
	mostBackOff  = 5 * time.Minute
)

func backOff(tries int) time.Duration {
	if tries > 8 {
		return mostBackOff
	}
	return min(firstBackOff<<max(tries-1, 0), mostBackOff)
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// persist does something until it succeeds, with growing delay; false when
// ctx ended first.
func (q *Queue) persist(ctx context.Context, what string, do func(context.Context) error) bool {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := do(limited)
		cancel()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		q.log.Error("the queue of asynchronous calls is held up", "doing", what, "err", err, "again_in", delay)
		if !pause(ctx, delay) {
			return false
		}
	}
}
