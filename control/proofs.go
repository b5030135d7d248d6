package control

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// One change of the authorisation state is judged at a time, so who has the
// prover think long keeps all others waiting. An account may use half of
// that time; what it has not used adds up to five seconds, a thousand ordinary
// changes. A tenant's ordinary change is judged in a few milliseconds, the
// worst policy of the allowed size in some hundred.
const (
	proofsPerSecond = 500 // milliseconds
	proofsAtOnce    = 5_000
)

// proofTime is how much of the prover's time each account has left.
type proofTime struct {
	left sync.Map // tenant.AccountID -> *rate.Limiter, in milliseconds
}

func (p *proofTime) of(account tenant.AccountID) *rate.Limiter {
	l, found := p.left.Load(account)
	if !found {
		l, _ = p.left.LoadOrStore(account, rate.NewLimiter(proofsPerSecond, proofsAtOnce))
	}
	return l.(*rate.Limiter)
}

// spend takes the time that a change was judged for off the accounts that it
// is about. What it took more than there was has to come back before the next.
func (p *proofTime) spend(accounts []string, took time.Duration, now time.Time) {
	if len(accounts) == 0 {
		return
	}
	each := int(took.Milliseconds()) / len(accounts)
	for _, account := range accounts {
		if each > 0 {
			p.of(tenant.AccountID(account)).ReserveN(now, min(each, proofsAtOnce))
		}
	}
}

// check refuses an account whose changes took too much of the prover's time.
//
// Error: fault.Throttled.
func (p *proofTime) check(account tenant.AccountID, now time.Time) error {
	l, found := p.left.Load(account)
	if !found {
		return nil
	}
	owed := -l.(*rate.Limiter).TokensAt(now)
	if owed <= 0 {
		return nil
	}
	e := fault.New("control.begin", fault.Throttled,
		"Rate exceeded: the account's latest changes took long to be proved safe, and others wait for the prover too.").
		WithCode("TooManyRequestsException").WithRemedy("Try again in a moment; smaller policies with fewer wildcards are judged faster.")
	e.Reason, e.RetryAfter = "CallerRateLimitExceeded", time.Duration(owed/proofsPerSecond*float64(time.Second))+time.Second
	return e
}
