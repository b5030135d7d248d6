package control

import (
	"strconv"
	"testing"

	"github.com/carrel-dev/carrel/fault"
)

func (j *journal) refusals(action string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, a := range j.refused {
		if a == action {
			n++
		}
	}
	return n
}

// TestRefusalsOfSessionsAreJournaled: what no policy could allow is refused
// before any is asked, and is in the audit log all the same.
func TestRefusalsOfSessionsAreJournaled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	globex := w.operator(s).tenant("globex")
	role := acme.free("app")
	globex.shares(roleARN(globex.account, "open"), "acme")
	abroad := globex.makeRole("open", trusting("arn:aws:iam::"+string(acme.account)+":root", "")).ARN
	plain := acme.assumed(AssumeRoleInput{RoleARN: role, SourceIdentity: "ann"})
	called := plain
	session := *plain.me.Session
	session.EndTenant, session.EndTenantUID, session.RequestID = "e1", "uid", "r1"
	called.me.Session = &session
	token := func(o who) error {
		_, err := s.CreateToken(ctx, o.on(ActionCreateToken, s.TokenResource(o.account)), CreateTokenInput{Audience: AudienceLambda, Scope: allowAll})
		return err
	}
	for name, tt := range map[string]struct {
		action string
		do     func() error
		fine   bool
	}{
		"an end tenant's session abroad": {ActionAssumeRole, func() error { _, err := called.assume(AssumeRoleInput{RoleARN: abroad}); return err }, false},
		"the twin at home":               {ActionAssumeRole, func() error { _, err := called.assume(AssumeRoleInput{RoleARN: role}); return err }, true},
		"another source identity": {ActionAssumeRole, func() error {
			_, err := plain.assume(AssumeRoleInput{RoleARN: role, SourceIdentity: "bob"})
			return err
		}, false},
		"a session token for a session": {ActionGetSessionToken, func() error { _, err := plain.sessionToken(0); return err }, false},
		"the twin for a user":           {ActionGetSessionToken, func() error { _, err := acme.sessionToken(0); return err }, true},
		"a bearer token for a call":     {ActionCreateToken, func() error { return token(called) }, false},
		"the twin for a session":        {ActionCreateToken, func() error { return token(plain) }, true},
	} {
		before := w.journal.refusals(tt.action)
		err := tt.do()
		if after := w.journal.refusals(tt.action); tt.fine && (err != nil || after != before) || !tt.fine && (!fault.Is(err, fault.Denied) || after != before+1) {
			t.Errorf("%s: %v, and %d refusals in the journal", name, err, after-before)
		}
	}
}

func TestRevocationsOfAnAccountAreBounded(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	globex := as(t, s, s.FirstAdmin().AccessKeyID).tenant("globex")
	acme.must(acme.revoke("ASIAXXXXXXXXXXXXXXXX"))
	for i := range maxRevocations - 1 { // as if it had
		s.ix.revoked.set(revokedName{acme.account, strconv.Itoa(i)}, &revocation{})
	}
	wants(t, acme.revoke("ASIAYYYYYYYYYYYYYYYY"), fault.Throttled, "LimitExceededException")
	acme.must(acme.revoke("ASIAXXXXXXXXXXXXXXXX")) // the same one again
	acme.must(acme.revoke("*"))
	globex.must(globex.revoke("ASIAYYYYYYYYYYYYYYYY"))
}
