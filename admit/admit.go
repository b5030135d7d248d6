// Package admit spends quota: every rate and concurrency bound that stands
// between an authorised call and a worker.
//
// The only product of admission is a Ticket, made from a Grant; a zero
// Ticket panics. The holder releases it exactly once when the call has ended.
package admit

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/internal/pause"
	"github.com/carrel-dev/carrel/tenant"
)

// Plan is what a tenant may use.
type Plan struct {
	Name string `json:"name"`
	// Concurrency is the most calls of the account that run at once.
	Concurrency int `json:"concurrency"`
	// Rate is the most calls a second, averaged; Burst how many may come at once.
	Rate  int `json:"rate"`
	Burst int `json:"burst"`
	// MaxWait is how long a call may wait for the bucket or a slot before 429.
	MaxWait time.Duration `json:"maxWait"`
	// Queue is the most asynchronous events of the account that may be pending.
	Queue int `json:"queue"`
	// EndTenants is the most end tenants the account may have.
	EndTenants int `json:"endTenants"`
}

// Plans are the built-in plans by name.
func Plans() map[string]Plan {
	return map[string]Plan{
		"default":   {Name: "default", Concurrency: 100, Rate: 200, Burst: 200, MaxWait: 20 * time.Millisecond, Queue: 5_000, EndTenants: 10_000},
		"small":     {Name: "small", Concurrency: 16, Rate: 100, Burst: 100, MaxWait: 20 * time.Millisecond, Queue: 200, EndTenants: 50},
		"unlimited": {Name: "unlimited", Concurrency: 1 << 20, Rate: 0, MaxWait: time.Second, Queue: 9_900, EndTenants: 1 << 20},
	}
}

// PlanOf gives the plan an account is on at this moment.
type PlanOf func(tenant.AccountID) Plan

// Controller admits calls.
type Controller struct {
	authority *iam.Authority
	planOf    PlanOf
	now       func() time.Time
	accounts  sync.Map // tenant.AccountID -> *account
	throttled atomic.Uint64
	events    EventChecker
}

// EventChecker holds events against the schemas of functions.
type EventChecker interface {
	// Check gives the processor time that it took, and an error if the event is
	// not to reach the function.
	Check(ctx context.Context, payer tenant.AccountID, t *function.Target, event []byte) (time.Duration, error)
}

// CheckEvents has events of functions that have a schema checked before a slot
// is taken for them. It is called before the first Admit. Without it calls of
// such functions are refused.
func (c *Controller) CheckEvents(by EventChecker) { c.events = by }

// Check holds the event of an authorised call against the schema of its
// function, if that has one. Admit does it by itself; a call that is accepted
// for later is checked by this.
//
// Errors: those of the EventChecker.
func (c *Controller) Check(ctx context.Context, g iam.Grant) error {
	cl := g.Call()
	if cl.Target.Schema.Digest == "" {
		return nil
	}
	if c.events == nil {
		return fault.New("admit.Check", fault.Unavailable, "This node checks no events, and the function wants them checked.").WithCode("ServiceException")
	}
	took, err := c.events.Check(ctx, cl.Owner.Account, cl.Target, cl.Event)
	cl.Checked += took
	return err
}

// New makes a Controller.
func New(authority *iam.Authority, planOf PlanOf, now func() time.Time) *Controller {
	return &Controller{authority: authority, planOf: planOf, now: now}
}

// account is the state of one account's bounds. Its lock is held for a few
// instructions and never across a wait; accounts share none.
type account struct {
	mu        sync.Mutex
	running   int
	next      time.Time // theoretical arrival time of the next call (GCRA)
	functions map[tenant.UID]int
	waiting   []*waiter
}

type waiter struct {
	function tenant.UID
	reserved int
	ready    chan struct{}
}

// Ticket is the proof that a call found rate and a slot.
type Ticket struct{ t *ticket }

type ticket struct {
	grant    iam.Grant
	from     *Controller
	account  *account
	function tenant.UID
	released atomic.Bool
}

// Admit spends one call of the account's rate and takes one slot.
//
// Errors: fault.Throttled with Reason and RetryAfter; those of iam if the
// call waited and may no longer run.
func (c *Controller) Admit(ctx context.Context, g iam.Grant) (Ticket, error) {
	cl := g.Call()
	plan := c.planOf(cl.Owner.Account)
	acc := c.account(cl.Owner.Account)
	waited, err := c.pace(ctx, acc, plan)
	if err != nil {
		return Ticket{}, err
	}
	if err := c.Check(ctx, g); err != nil {
		return Ticket{}, err
	}
	slow, err := c.slot(ctx, acc, plan, cl)
	if err != nil {
		return Ticket{}, err
	}
	t := &ticket{grant: g, from: c, account: acc, function: cl.Target.FunctionUID}
	if waited || slow {
		renewed, err := c.authority.Renew(g)
		if err != nil {
			acc.release(t.function, c.planOf(cl.Owner.Account).Concurrency)
			return Ticket{}, err
		}
		t.grant = renewed
	}
	return Ticket{t}, nil
}

func (c *Controller) account(id tenant.AccountID) *account {
	if a, found := c.accounts.Load(id); found {
		return a.(*account)
	}
	a, _ := c.accounts.LoadOrStore(id, &account{functions: map[tenant.UID]int{}})
	return a.(*account)
}

// pace applies the rate by GCRA: one timestamp says when the next call is
// due; a call may come early by the burst, or wait until it is due.
func (c *Controller) pace(ctx context.Context, a *account, p Plan) (waited bool, err error) {
	if p.Rate <= 0 {
		return false, nil
	}
	interval := time.Second / time.Duration(p.Rate)
	tolerance := interval * time.Duration(max(p.Burst-1, 0))
	now := c.now()
	a.mu.Lock()
	due := a.next
	if due.Before(now) {
		due = now
	}
	wait := due.Sub(now) - tolerance
	if wait > p.MaxWait {
		a.mu.Unlock()
		return false, c.refuse("CallerRateLimitExceeded", wait,
			"Rate Exceeded: the plan %q of account allows %d calls a second.", p.Name, p.Rate)
	}
	a.next = due.Add(interval)
	a.mu.Unlock()
	if wait <= 0 {
		return false, nil
	}
	return true, sleep(ctx, wait)
}

// slot takes one of the account's and the function's concurrent calls.
func (c *Controller) slot(ctx context.Context, a *account, p Plan, cl *call.Call) (waited bool, err error) {
	reserved := cl.Target.Reserved
	a.mu.Lock()
	if a.fits(cl.Target.FunctionUID, reserved, p.Concurrency) {
		a.take(cl.Target.FunctionUID)
		a.mu.Unlock()
		return false, nil
	}
	if p.MaxWait <= 0 || reserved == 0 || len(a.waiting) >= p.Concurrency {
		a.mu.Unlock()
		return false, c.refuseSlot(p, reserved)
	}
	w := &waiter{function: cl.Target.FunctionUID, reserved: reserved, ready: make(chan struct{})}
	a.waiting = append(a.waiting, w)
	a.mu.Unlock()

	timer := time.NewTimer(p.MaxWait)
	defer timer.Stop()
	select {
	case <-w.ready:
		return true, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	if a.forget(w) {
		if ctx.Err() != nil {
			return true, fault.Wrap("admit.Admit", fault.Timeout, ctx.Err(), "the caller went away while the call waited for a slot")
		}
		return true, c.refuseSlot(p, reserved)
	}
	return true, nil // the slot came while we gave up: it is ours
}

func (a *account) fits(fn tenant.UID, reserved, limit int) bool {
	return a.running < limit && (reserved < 0 || a.functions[fn] < reserved)
}

func (a *account) take(fn tenant.UID) {
	a.running++
	a.functions[fn]++
}

// forget takes a waiter out of the queue; false if it was served meanwhile.
func (a *account) forget(w *waiter) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, other := range a.waiting {
		if other == w {
			a.waiting = append(a.waiting[:i], a.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// release gives a slot back and hands it to the first waiter that fits.
func (a *account) release(fn tenant.UID, limit int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	if a.functions[fn]--; a.functions[fn] == 0 {
		delete(a.functions, fn)
	}
	for i, w := range a.waiting {
		if a.fits(w.function, w.reserved, limit) {
			a.take(w.function)
			a.waiting = append(a.waiting[:i], a.waiting[i+1:]...)
			close(w.ready)
			return
		}
	}
}

func (c *Controller) refuseSlot(p Plan, reserved int) error {
	if reserved >= 0 {
		return c.refuse("ReservedFunctionConcurrentInvocationLimitExceeded", time.Second,
			"Rate Exceeded: the function's reserved concurrency of %d is in use.", reserved)
	}
	return c.refuse("ConcurrentInvocationLimitExceeded", time.Second,
		"Rate Exceeded: the plan %q allows %d concurrent calls.", p.Name, p.Concurrency)
}

func (c *Controller) refuse(reason string, after time.Duration, format string, args ...any) error {
	c.throttled.Add(1)
	e := fault.New("admit.Admit", fault.Throttled, format, args...).WithCode("TooManyRequestsException").
		WithRemedy("Retry after the time given, or ask the operator for a larger plan.")
	e.Reason, e.RetryAfter = reason, max(after, time.Millisecond)
	return e
}

// Throttled counts the calls refused since the start.
func (c *Controller) Throttled() uint64 { return c.throttled.Load() }

// Running gives the number of calls of an account that run now.
func (c *Controller) Running(id tenant.AccountID) int {
	a := c.account(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running
}

func (t Ticket) must() *ticket {
	if t.t == nil {
		panic("admit: a zero Ticket was used: the call was not admitted")
	}
	return t.t
}

// Call gives the admitted call.
func (t Ticket) Call() *call.Call { return t.must().grant.Call() }

// Grant gives the grant the ticket was made from.
func (t Ticket) Grant() iam.Grant { return t.must().grant }

// Release gives the slot back. More than one release counts once.
func (t Ticket) Release() {
	k := t.must()
	if k.released.CompareAndSwap(false, true) {
		k.account.release(k.function, k.from.planOf(k.grant.Call().Owner.Account).Concurrency)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if err := pause.For(ctx, d); err != nil {
		return fault.Wrap("admit.Admit", fault.Timeout, err, "the caller went away while the call waited for its rate")
	}
	return nil
}

// RetryAfterSeconds gives the value of a Retry-After header: whole seconds,
// at least one.
func RetryAfterSeconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}
