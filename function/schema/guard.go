package schema

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// Bounds of what one account may use.
const (
	// accountBytes is the most memory of an account's compiled schemas, and
	// nodeBytes that of all.
	accountBytes = 16 << 20
	nodeBytes    = 256 << 20
	// share is the part of a processor that an account's checks may take in the
	// long run, and burst what they may take at once.
	share = 4 // a quarter
	burst = time.Second
	// large is the length of an event from which on an account's events are
	// checked one at a time; patience is how long one waits for its turn.
	large    = 32 << 10
	patience = time.Second
	// perStep is what a step is held to take until it is known, so that checks
	// that begin at once do not all find the account out of debt.
	perStep = 50 * time.Nanosecond
)

// Load gives the text of a schema, as it is kept sealed for its owner.
type Load func(ctx context.Context, owner tenant.UID, digest function.Digest) ([]byte, error)

// Guard checks the events of calls. It keeps compiled schemas, of each account
// so many, and bounds the processor time that an account's checks take.
type Guard struct {
	load Load
	now  func() time.Time

	mu       sync.Mutex
	compiled map[key]*entry
	bytes    int64
	clock    uint64
	accounts map[tenant.AccountID]*account
}

type key struct {
	owner  tenant.UID
	digest function.Digest
}

// entry is a schema that is compiled, or is being.
type entry struct {
	once   sync.Once
	schema *Schema
	err    error
	size   int64
	used   uint64
}

type account struct {
	// next is when the checks so far are paid for.
	next time.Time
	turn chan struct{}
}

// NewGuard makes a Guard.
func NewGuard(load Load, now func() time.Time) *Guard {
	return &Guard{load: load, now: now, compiled: map[key]*entry{}, accounts: map[tenant.AccountID]*account{}}
}

// Check holds an event against the schema of the version that is called, on
// behalf of an account, and gives the processor time that it took.
//
// Errors: those of Schema.Check; fault.Throttled if the account's checks took
// too much time lately; fault.Unavailable if the schema cannot be read, since
// an event that was not checked is not let through.
func (g *Guard) Check(ctx context.Context, payer tenant.AccountID, t *function.Target, event []byte) (time.Duration, error) {
	a := g.account(payer)
	if len(event) >= large {
		if err := a.wait(ctx); err != nil {
			return 0, err
		}
		defer func() { <-a.turn }()
	}
	expected, took := time.Duration(stepsFor(len(event)))*perStep, time.Duration(0)
	if err := g.enter(a, expected); err != nil {
		return 0, err
	}
	defer func() { g.pay(a, took-expected) }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	s, err := g.schema(ctx, key{t.Schema.Owner, t.Schema.Digest})
	if err == nil {
		err = s.Check(event)
	}
	took = threadTime() - before
	return took, err
}

func (g *Guard) account(payer tenant.AccountID) *account {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.accounts[payer]
	if a == nil {
		a = &account{turn: make(chan struct{}, 1), next: g.now()}
		g.accounts[payer] = a
	}
	return a
}

// enter refuses an account that is in debt, and charges another what its check
// may be expected to take.
func (g *Guard) enter(a *account, expected time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if a.next.Before(now) {
		a.next = now
	}
	if wait := a.next.Sub(now) - burst*share; wait > 0 {
		return throttled(wait, "the checks of the account's events took more than %s of a processor at once, or a quarter of it lately", burst)
	}
	a.next = a.next.Add(expected * share)
	return nil
}

// pay charges what a check took more than was expected, or gives back.
func (g *Guard) pay(a *account, more time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a.next = a.next.Add(more * share)
}

func (a *account) wait(ctx context.Context) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Wrap("schema.Check", fault.Timeout, ctx.Err(), "the caller went away while its event waited to be checked")
	case <-timer.C:
		return throttled(patience, "another large event of the account is being checked")
	}
}

func throttled(after time.Duration, format string, args ...any) error {
	e := fault.New("schema.Check", fault.Throttled, "Rate Exceeded: "+format+".", args...).WithCode("TooManyRequestsException").
		WithRemedy("Retry after the time given, send smaller events, or give the function a simpler schema.")
	e.Reason, e.RetryAfter = "CallerRateLimitExceeded", after
	return e
}

// schema gives a compiled schema. Those who ask at once for one that is not
// there wait for the first of them.
func (g *Guard) schema(ctx context.Context, k key) (*Schema, error) {
	g.mu.Lock()
	e := g.compiled[k]
	if e == nil {
		e = &entry{}
		g.compiled[k] = e
	}
	g.clock++
	e.used = g.clock
	g.mu.Unlock()
	e.once.Do(func() { g.compile(ctx, k, e) })
	return e.schema, e.err
}

func (g *Guard) compile(ctx context.Context, k key, e *entry) {
	text, err := g.load(context.WithoutCancel(ctx), k.owner, k.digest)
	if err == nil {
		e.schema, err = Compile(text)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		e.err = fault.Wrap("schema.Check", fault.Unavailable, err, "The function's schema cannot be read, so its events cannot be checked.").
			WithCode("ServiceException").WithRemedy("Try again; if it goes on, put the schema again, or tell the operator.")
		delete(g.compiled, k) // the next call tries again
		return
	}
	e.size = e.schema.Size()
	g.bytes += e.size
	g.evict(k, accountBytes, func(other key) bool { return other.owner == k.owner })
	if g.bytes > nodeBytes {
		g.evict(k, nodeBytes, func(key) bool { return true })
	}
}

// evict drops what was used longest ago until those that count are within a
// bound; the one that is kept stays in any case.
func (g *Guard) evict(keep key, bound int64, counts func(key) bool) {
	for {
		var sum int64
		var oldest *key
		for k, e := range g.compiled {
			if e.size == 0 || !counts(k) {
				continue
			}
			sum += e.size
			if k != keep && (oldest == nil || e.used < g.compiled[*oldest].used) {
				oldest = &k
			}
		}
		if sum <= bound || oldest == nil {
			return
		}
		g.bytes -= g.compiled[*oldest].size
		delete(g.compiled, *oldest)
	}
}
