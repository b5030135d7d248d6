package control

import (
	"context"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/tenant"
)

// ActionRevokeSession is the action of RevokeSession.
const ActionRevokeSession = "carrel:RevokeSession"

// origin is how Session.From names a key or a session: with its account, for
// ids are no secrets, and whoever knows one must not be able to end it; and
// with the user or role that it is of, so that what ends all of its sessions
// also ends those in which it went on as another role.
func origin(account tenant.AccountID, id, issuer string) string {
	return string(account) + "/" + id + " " + issuer
}

// splitOrigin takes apart what origin made. Sessions of before it named the
// issuer have none.
func splitOrigin(s string) (account tenant.AccountID, id, issuer string) {
	of, rest, _ := strings.Cut(s, "/")
	id, issuer, _ = strings.Cut(rest, " ")
	return tenant.AccountID(of), id, issuer
}

// isSessionID tells whether a text is the id of a session, a bearer token or
// an access key: nothing else has 20 capital letters and digits.
func isSessionID(s string) bool {
	return len(s) == 20 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// RevokeSessionInput says which sessions are to end.
type RevokeSessionInput struct {
	// Account is whose sessions they are.
	Account tenant.AccountID
	// What is the id of one, which is its access key id; the id of a key, for
	// all sessions that were made with it; the ARN of a role or user, for all
	// until now that are of it or that it made; or "*", for all of the account
	// until now.
	What   string
	Reason string
}

// SessionResource is the resource of operations on the sessions of an
// account.
func (s *Service) SessionResource(account tenant.AccountID, what string) string {
	return "arn:aws:carrel:" + s.cfg.Region + ":" + string(account) + ":session/" + what
}

// RevokeSession ends sessions, and those that were made with them, on every
// node as soon as it hears of it. The grant is for the account's own
// SessionResource, or for the TenantResource of the operators. What ends is
// over for good, and new sessions may be made: take the permission to make
// them away first.
//
// Errors: fault.Invalid; fault.NotFound for an account that is not there;
// fault.Throttled over maxRevocations, but never for "*".
func (s *Service) RevokeSession(ctx context.Context, g iam.Grant, in RevokeSessionInput) (err error) {
	const op = "control.RevokeSession"
	of, known := s.ix.accounts.get(in.Account)
	resource := s.SessionResource(in.Account, in.What)
	if known && g.Request().Owner.Account != in.Account {
		resource = s.TenantResource(of.Slug)
	}
	a, err := s.begin(ctx, g, ActionRevokeSession, resource)
	if err != nil {
		return err
	}
	defer a.end(&err)
	if !known {
		return fault.New(op, fault.NotFound, "There is no account %s.", printable(string(in.Account))).WithCode("ResourceNotFoundException")
	}
	ofAccount := strings.HasPrefix(in.What, "arn:aws:iam::"+string(in.Account)+":") && len(in.What) <= maxPath
	if in.What != allSessions && !isSessionID(in.What) && !ofAccount {
		return invalid(op, "%s is not the id of a session or key, the ARN of a role or user of the account, or *.", printable(in.What))
	}
	if len(in.Reason) > maxRevokeReason {
		return invalid(op, "The reason has %d characters; at most %d are kept.", len(in.Reason), maxRevokeReason)
	}
	now := s.cfg.Now().UTC()
	k, err := s.hide(revokedFamily, of.UID, in.What)
	if err != nil {
		return err
	}
	s.sweepRevocations(ctx)
	if in.What != allSessions && s.ix.revision(k) == 0 && s.ix.revocationCount(in.Account) >= maxRevocations {
		return fault.New(op, fault.Throttled, "%d revocations of the account are still needed; no more are kept.", maxRevocations).
			WithCode("LimitExceededException").WithRemedy("Revoke all sessions of a role or user at once, or all of the account with *.")
	}
	return s.save(ctx, k, s.ix.revision(k), revocation{
		Account: in.Account, What: in.What, Before: now, Reason: in.Reason, By: g.Request().Principal.ARN,
		Until: now.Add(token.MaxLife + time.Hour),
	})
}

// maxRevocations bounds the revocations of an account that are not over: all
// nodes hold them in memory for a day and a half.
const maxRevocations = 5_000

// maxRevokeReason bounds the reason of a revocation, in bytes.
const maxRevokeReason = 512

// sweepRevocations removes those that mean nobody any more. What fails is
// tried at the next one.
func (s *Service) sweepRevocations(ctx context.Context) {
	now := s.cfg.Now()
	for k, rev := range s.ix.overRevocations(now) {
		if s.remove(ctx, k, rev) != nil {
			return
		}
	}
}
