package control

import (
	"context"
	"regexp"

	"github.com/carrel-dev/carrel/control/directory"
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

// findingForm is the form of findings' ids.
var findingForm = regexp.MustCompile(`^[0-9a-f]{16}$`)

// AcceptFinding takes something that the prover could not decide for safe
// before the change is made that it was found at, as a tenant's change cannot
// bring an operator's word with it. The id is the one in the refusal, and
// means these policies only. The grant is for ActionAcceptUnknown on
// organization.
//
// Errors: fault.Invalid; fault.Throttled over maxAccepted.
func (s *Service) AcceptFinding(ctx context.Context, g iam.Grant, id, reason string) (err error) {
	const op = "control.AcceptFinding"
	a, err := s.begin(iam.WithNote(ctx, iam.Note{Reason: reason}), g, ActionAcceptUnknown, s.ours("organization"))
	if err != nil {
		return err
	}
	defer a.end(&err)
	if err := checkReason(op, reason); err != nil {
		return err
	}
	if !findingForm.MatchString(id) {
		return invalid(op, "%q is no id of a finding: it has 16 digits, as the refusal shows it.", printable(id))
	}
	w, err := s.acceptedRecords(acceptance{reason, g.Request().Principal.ARN}, id)
	if err != nil {
		return err
	}
	return s.commit(ctx, w...)
}

// acceptedRecords gives the writes that record an operator's word; none for
// what is accepted already.
func (s *Service) acceptedRecords(word acceptance, findings ...string) ([]write, error) {
	known := s.ix.org.Load().Accepted
	var writes []write
	for _, id := range findings {
		if _, accepted := known[id]; accepted {
			continue
		}
		k, err := s.hide(acceptedFamily, "", id)
		if err != nil {
			return nil, err
		}
		writes = append(writes, write{key: k, record: directory.Accepted{Finding: id, Reason: word.reason, By: word.by, CreatedAt: s.cfg.Now().UTC()}})
	}
	if n := len(known) + len(writes); n > maxAccepted {
		return nil, fault.New("control.accept", fault.Throttled, "Operators may have accepted %d findings; this would be %d.", maxAccepted, n).
			WithCode("LimitExceededException").WithRemedy("Write the policies so that they can be decided.")
	}
	return writes, nil
}
