package control

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/tenant"
)

// The service opens the security tokens of requests.
var _ credential.Sessions = (*Service)(nil)

// Tokens is the ring that this installation's tokens are sealed with.
func (s *Service) Tokens() *token.Ring { return s.tokens }

// SetLive gives the function that tells whether a call is running: sessions
// that were made for one are good as long as it does. Without it they are good
// for nothing. It is set before the service is used.
func (s *Service) SetLive(live func(requestID string) bool) { s.live = live }

// Session opens a security token. It is the Sessions of package credential,
// and takes no lock.
func (s *Service) Session(text string) (credential.Key, bool) {
	key, found := s.opened.get(s, text)
	if !found {
		return credential.Key{}, false
	}
	p := key.Holder
	a, found := s.ix.accounts.get(p.Account)
	if !found || s.sessionRevoked(p) || !s.inTime(p.Session) {
		return credential.Key{}, false
	}
	key.Status = credential.Active
	if a.Status != tenant.Active {
		key.Status = credential.Suspended
	}
	return key, true
}

// inTime tells whether the call that a session was made for still runs.
func (s *Service) inTime(session *call.Session) bool {
	return session.RequestID == "" || s.live != nil && s.live(session.RequestID)
}

// openedSlots is how many tokens are kept as they were opened, of some 2 KB
// each. A client sends the same one with all its requests.
const openedSlots = 1024

// openedTokens holds the latest tokens, one a slot, without a lock. A token
// says the same for ever; whether it is good is asked each time.
type openedTokens struct {
	seed  maphash.Seed
	slots [openedSlots]atomic.Pointer[openedToken]
}

type openedToken struct {
	text string
	key  credential.Key
}

func newOpenedTokens() *openedTokens { return &openedTokens{seed: maphash.MakeSeed()} }

func (o *openedTokens) get(s *Service, text string) (credential.Key, bool) {
	slot := &o.slots[maphash.String(o.seed, text)%openedSlots]
	// The text is ours if it is in the slot: there is nothing to time.
	if t := slot.Load(); t != nil && t.text == text {
		return t.key, true
	}
	c, err := s.tokens.Open(token.Session, text)
	if err != nil && (c == nil || err != token.ErrExpired) {
		return credential.Key{}, false
	}
	p := c.Principal
	key := credential.Key{ID: p.AccessKeyID, Secret: credential.Secret(c.Secret), Account: p.Account, Principal: p.ARN, Holder: &p}
	if err == nil {
		slot.Store(&openedToken{text, key})
	}
	return key, true
}

// revocation ends sessions before their time.
type revocation struct {
	Account tenant.AccountID `json:"account"`
	// What is the id of a session, or of a key whose sessions are meant, or the
	// ARN of the role or user that sessions are of, or "*" for all of the
	// account.
	What string `json:"what"`
	// Before is until when those sessions were made that are meant by an ARN
	// or by "*"; an id means all there are.
	Before time.Time `json:"before"`
	Reason string    `json:"reason,omitempty"`
	// By is the ARN of who did it.
	By string `json:"by"`
	// Until is when the last session that is meant has ended by itself.
	Until time.Time `json:"until"`
}

// revokedName is what a revocation is found by.
type revokedName struct {
	account tenant.AccountID
	what    string
}

// allSessions is what a revocation of all of an account's is found by.
const allSessions = "*"

func (ix *index) installRevocation(before, after any) {
	defer ix.generation.Add(1)
	// One that takes the place of another is there without a gap.
	if after != nil {
		r := after.(*revocation)
		ix.revocations.Add(1)
		ix.revoked.set(revokedName{r.Account, r.What}, r)
	}
	if before != nil {
		if r := before.(*revocation); after == nil {
			ix.revoked.remove(revokedName{r.Account, r.What})
		}
		ix.revocations.Add(-1)
	}
}

// sessionRevoked tells whether a principal's session, or one that it was made
// with, was revoked.
func (s *Service) sessionRevoked(p *call.Principal) bool {
	if s.ix.revocations.Load() == 0 {
		return false
	}
	session := p.Session
	if s.ix.revokes(p.Account, session.ID, session.Issued) || s.ix.revokes(p.Account, session.Issuer, session.Issued) ||
		s.ix.revokes(p.Account, allSessions, session.Issued) {
		return true
	}
	for _, from := range session.From {
		account, id, issuer := splitOrigin(from)
		if s.ix.revokes(account, id, session.Issued) || s.ix.revokes(account, issuer, session.Issued) ||
			s.ix.revokes(account, allSessions, session.Issued) {
			return true
		}
	}
	return false
}

func (ix *index) revokes(account tenant.AccountID, what string, issued time.Time) bool {
	r, found := ix.revoked.get(revokedName{account, what})
	return found && (isSessionID(what) || !issued.After(r.Before))
}
