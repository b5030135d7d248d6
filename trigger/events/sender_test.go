//go:build linux

package events

import (
	"context"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/iam/policy"
)

// The callers that events are sent by. All of acme.
var (
	byKey = func() (call.Principal, []call.Link) {
		p := principal(acme)
		p.Origin = call.Origin{IP: netip.MustParseAddr("192.0.2.7"), TLS: true, UserAgent: "curl"}
		return p, nil
	}
	bySession = func() (call.Principal, []call.Link) {
		return call.Principal{
			Type: call.TypeRole, ARN: "arn:aws:sts::" + string(acme) + ":assumed-role/app/ada", Account: acme, Tenant: "acme", UserID: "AROA:ada", AccessKeyID: "ASIA1",
			Session: &call.Session{
				ID: "ASIA1", Issuer: "arn:aws:iam::" + string(acme) + ":role/app", IssuerUID: "role-uid", Name: "ada",
				Tags: []call.Tag{{Key: "team", Value: "blue"}}, Issued: epoch.Add(-time.Hour), Expires: epoch.Add(time.Minute), Policies: []string{iamtest.AllowAll},
			},
		}, nil
	}
	byFunction = func() (call.Principal, []call.Link) {
		user, _ := byKey()
		p, _ := bySession()
		p.AccessKeyID, p.Session.Policies = "", nil
		p.Session.ID, p.Session.RequestID, p.Session.FunctionVersion = "r1", "r1", function.ARN("us-east-1", acme, "first", "3")
		return p, []call.Link{{Principal: user, RequestID: "r1", Function: function.ARN("us-east-1", acme, "first", "")}}
	}
	senders = map[string]func() (call.Principal, []call.Link){"a key": byKey, "a session": bySession, "a function": byFunction}
)

// TestEventsRunAsWhoSentThem: principal, session, origin and chain are those
// of the request, also after its session's time.
func TestEventsRunAsWhoSentThem(t *testing.T) {
	t.Parallel()
	for name, by := range senders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			got := make(chan *call.Call, 1)
			w.invoke = func(_ context.Context, c *call.Call) *call.Outcome { got <- c; return &call.Outcome{} }
			w.open()
			w.hold(acme, time.Hour)
			c := w.call(acme, `{}`)
			c.Principal, c.Chain = by()
			if err := w.enqueue(c); err != nil {
				t.Fatal(err)
			}
			w.until("shipped", func() bool { return len(w.list(acme, Pending)) == 1 })
			w.advance(time.Hour)
			select {
			case ran := <-got:
				want, chain := by()
				if !reflect.DeepEqual(ran.Principal, want) || !reflect.DeepEqual(ran.Chain, chain) {
					t.Errorf("it ran as %+v after %+v, want %+v after %+v", ran.Principal, ran.Chain, want, chain)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("it did not run: %+v", w.list(acme, Dead))
			}
		})
	}
}

// TestEventsOfCallersThatLostTheirRights: what was taken away since an event
// was accepted is gone when it runs, whoever of its chain had it.
func TestEventsOfCallersThatLostTheirRights(t *testing.T) {
	t.Parallel()
	revoke := func(what string) func(w *world) {
		return func(w *world) {
			w.state.mu.Lock()
			defer w.state.mu.Unlock()
			w.state.revoked[what] = true
		}
	}
	nothing := &iam.Subject{Identity: iamtest.Set(policy.Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`)}
	strip := func(arn string) func(w *world) {
		return func(w *world) { w.directory.Subjects[arn] = nothing }
	}
	role, admin := "arn:aws:sts::"+string(acme)+":assumed-role/app/ada", principal(acme).ARN
	for name, test := range map[string]struct {
		by    func() (call.Principal, []call.Link)
		spoil func(w *world)
		cause string
	}{
		"a key that was deleted":                    {byKey, revoke(principal(acme).AccessKeyID), "access key"},
		"a user without the right":                  {byKey, strip(admin), "not authorized"},
		"a session that was revoked":                {bySession, revoke("ASIA1"), "not authorized"},
		"a session whose role was deleted":          {bySession, revoke("role-uid"), "not authorized"},
		"a session without the right":               {bySession, strip(role), "not authorized"},
		"a function whose role was deleted":         {byFunction, revoke("role-uid"), "not authorized"},
		"a function without the right":              {byFunction, strip(role), "not authorized"},
		"a function whose caller's key was deleted": {byFunction, revoke(principal(acme).AccessKeyID), "not authorized"},
		"a function whose caller lost the right":    {byFunction, strip(admin), "not authorized"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.open()
			w.hold(acme, time.Minute)
			c := w.call(acme, `{}`)
			c.Principal, c.Chain = test.by()
			if err := w.enqueue(c); err != nil {
				t.Fatal(err)
			}
			w.until("shipped", func() bool { return len(w.list(acme, Pending)) == 1 })
			test.spoil(w)
			w.advance(time.Minute)
			w.until("given up", func() bool { return w.queue.Depth(acme) == 0 })
			if a := w.attempts(c.RequestID); len(a) != 0 {
				t.Errorf("it ran: attempts %v", a)
			}
			// So that the dead letter can be listed by the same admin.
			w.directory.Subjects = map[string]*iam.Subject{}
			w.state.mu.Lock()
			clear(w.state.revoked)
			w.state.mu.Unlock()
			if dead := w.list(acme, Dead); len(dead) != 1 || !strings.Contains(dead[0].LastError, test.cause) {
				t.Errorf("dead letters: %+v, want the cause %q", dead, test.cause)
			}
		})
	}
}
