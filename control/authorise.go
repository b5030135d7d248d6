package control

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Authorise decides a control operation; refusals are journaled. Errors as of
// iam.Authority.Authorise.
func (s *Service) Authorise(ctx context.Context, r iam.Request, requestID string) (iam.Grant, error) {
	g, err := s.authority.Authorise(r)
	if err != nil {
		s.cfg.Journal.Refuse(ctx, r, requestID, err)
	}
	return g, err
}

// check makes sure that the grant is for this and still good. A zero grant
// panics.
func (s *Service) check(ctx context.Context, g iam.Grant, action, resource string) (iam.Grant, error) {
	renewed := iam.Grant{}
	err := g.Check(action, resource)
	if err == nil {
		renewed, err = s.authority.Renew(g)
	}
	if err != nil {
		s.cfg.Journal.Refuse(ctx, g.Request(), requestID(ctx), err)
	}
	return renewed, err
}

// act is one change in progress.
type act struct {
	account tenant.AccountID
	done    func(error)
	unlock  func()
}

// begin checks the grant, journals the decision and takes the lock of the
// account that is changed. The caller defers end.
func (s *Service) begin(ctx context.Context, g iam.Grant, action, resource string) (*act, error) {
	g, err := s.check(ctx, g, action, resource)
	if err != nil {
		return nil, err
	}
	if s.ctx.Err() != nil {
		return nil, fault.Wrap("control.begin", fault.Unavailable, errClosed, "this node is shutting down").WithCode("ServiceException")
	}
	if err := s.pace(g.Request().Owner.Account); err != nil {
		s.cfg.Journal.Refuse(ctx, g.Request(), requestID(ctx), err)
		return nil, err
	}
	done, err := s.cfg.Journal.Decide(ctx, g, requestID(ctx))
	if err != nil {
		return nil, fault.Wrap("control.begin", fault.Unavailable, err, "the decision could not be journaled, so nothing was changed").
			WithCode("ServiceException")
	}
	account := g.Request().Owner.Account
	return &act{account: account, done: done, unlock: s.lock(account)}, nil
}

// DefaultActsPerSecond is how many changes an account may make a second; ten
// seconds' worth may come at once. Each change is a few synced writes, of
// which the store does some 2,000 a second for all tenants together, so one
// that changes something in a loop must not use them up. Lambda allows 15.
const DefaultActsPerSecond = 20

// pace spends one of the account's changes.
func (s *Service) pace(account tenant.AccountID) error {
	if account == s.management {
		return nil
	}
	l, found := s.rates.Load(account)
	if !found {
		l, _ = s.rates.LoadOrStore(account, rate.NewLimiter(rate.Limit(s.cfg.ActsPerSecond), 10*s.cfg.ActsPerSecond))
	}
	if l.(*rate.Limiter).Allow() {
		return s.proofs.check(account, time.Now())
	}
	e := fault.New("control.begin", fault.Throttled, "Rate exceeded: an account may make %d changes a second.", s.cfg.ActsPerSecond).
		WithCode("TooManyRequestsException")
	e.Reason, e.RetryAfter = "CallerRateLimitExceeded", time.Second
	return e
}

// end tells the outcome; use as defer a.end(&err).
func (a *act) end(err *error) {
	a.unlock()
	a.done(*err)
}

// change is begin for a change of a function that exists.
func (s *Service) change(ctx context.Context, g iam.Grant, action string, name function.Name) (*act, *deployed, error) {
	a, err := s.begin(ctx, g, action, s.FunctionResource(g.Request().Owner.Account, name))
	if err != nil {
		return nil, nil, err
	}
	d, found := s.ix.functions.get(functionName{a.account, name})
	if !found {
		err := s.noFunction(a.account, name)
		a.end(&err)
		return nil, nil, err
	}
	return a, d, nil
}

// read checks a grant for reading a function and gives it.
func (s *Service) read(ctx context.Context, g iam.Grant, action string, name function.Name) (*deployed, error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, action, s.FunctionResource(account, name)); err != nil {
		return nil, err
	}
	d, found := s.ix.functions.get(functionName{account, name})
	if !found {
		return nil, s.noFunction(account, name)
	}
	return d, nil
}

func (s *Service) noFunction(account tenant.AccountID, name function.Name) error {
	return functionNotFound(s.FunctionResource(account, name))
}
