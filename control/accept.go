package control

import (
	"context"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
)

// acceptance is an operator's word for one request that what the prover cannot
// decide is to be taken for safe.
type acceptance struct {
	reason, by string
}

type acceptanceKey struct{}

// AcceptUnknown gives a context under which changes are made also where the
// prover cannot decide whether they are safe; never those of which it knows
// that they are not. What is accepted is recorded with the reason, and is not
// asked about again. The grant is for ActionAcceptUnknown on organization.
//
// Errors: fault.Invalid without a reason.
func (s *Service) AcceptUnknown(ctx context.Context, g iam.Grant, reason string) (accepting context.Context, err error) {
	const op = "control.AcceptUnknown"
	if _, err := s.check(ctx, g, ActionAcceptUnknown, s.ours("organization")); err != nil {
		return nil, err
	}
	if err := checkReason(op, reason); err != nil {
		return nil, err
	}
	ctx = iam.WithNote(ctx, iam.Note{Reason: reason})
	done, err := s.cfg.Journal.Decide(ctx, g, requestID(ctx))
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "the decision could not be journaled, so nothing was changed").
			WithCode("ServiceException")
	}
	done(nil)
	return context.WithValue(ctx, acceptanceKey{}, acceptance{reason, g.Request().Principal.ARN}), nil
}

// accepting gives the operator's word for the request, if there is one.
func accepting(ctx context.Context) (acceptance, bool) {
	a, given := ctx.Value(acceptanceKey{}).(acceptance)
	return a, given
}
