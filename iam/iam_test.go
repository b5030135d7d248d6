package iam

import (
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// world is a snapshot that a test changes.
type world struct {
	generation uint64
	confirmed  time.Time
	status     map[tenant.AccountID]tenant.Status
	keys       map[string]bool
}

func (w *world) Generation() uint64   { return w.generation }
func (w *world) Confirmed() time.Time { return w.confirmed }
func (w *world) Status(a tenant.AccountID) (tenant.Status, bool) {
	s, found := w.status[a]
	return s, found
}
func (w *world) KeyActive(k string) bool { return w.keys[k] }

const (
	acme   tenant.AccountID = "111111111111"
	globex tenant.AccountID = "222222222222"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newWorld() (*world, *Authority, *time.Time) {
	now := noon
	w := &world{
		confirmed: noon, keys: map[string]bool{"AKIAACME": true, "AKIAGLOBEX": true},
		status: map[tenant.AccountID]tenant.Status{acme: tenant.Active, globex: tenant.Active},
	}
	return w, New(w, func() time.Time { return now }), &now
}

func admin(a tenant.AccountID, key string) call.Principal {
	return call.Principal{ARN: "arn:aws:iam::" + string(a) + ":user/admin", Account: a, Admin: true, AccessKeyID: key}
}

func arnOf(a tenant.AccountID) string { return function.ARN("us-east-1", a, "f", "") }

func own() Request {
	return Request{Principal: admin(acme, "AKIAACME"), Action: "lambda:GetFunction", Resource: arnOf(acme), Owner: tenant.Identity{Account: acme}}
}

func TestOnlyTheOwnersAdminIsAllowed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*world, *Request)
		want   fault.Kind
	}{
		"another account's resource":       {func(_ *world, r *Request) { r.Resource, r.Owner.Account = arnOf(globex), globex }, fault.Denied},
		"another account as owner only":    {func(_ *world, r *Request) { r.Owner.Account = globex }, fault.Denied},
		"another account in the ARN only":  {func(_ *world, r *Request) { r.Resource = arnOf(globex) }, fault.Denied},
		"a malformed ARN":                  {func(_ *world, r *Request) { r.Resource = "f" }, fault.Denied},
		"no admin":                         {func(_ *world, r *Request) { r.Principal.Admin = false }, fault.Denied},
		"a revoked key":                    {func(w *world, _ *Request) { w.keys["AKIAACME"] = false }, fault.Denied},
		"a suspended caller":               {func(w *world, _ *Request) { w.status[acme] = tenant.Suspended }, fault.Suspended},
		"a closing caller":                 {func(w *world, _ *Request) { w.status[acme] = tenant.Closing }, fault.Suspended},
		"an account that does not exist":   {func(w *world, _ *Request) { delete(w.status, acme) }, fault.Denied},
		"a snapshot that nobody confirmed": {func(w *world, _ *Request) { w.confirmed = noon.Add(-MaxStale - 1) }, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, _ := newWorld()
			r := own()
			if _, err := a.Authorise(r); err != nil {
				t.Fatalf("the harmless request was refused: %v", err)
			}
			tt.change(w, &r)
			if _, err := a.Authorise(r); !fault.Is(err, tt.want) {
				t.Errorf("error %v, want kind %v", err, tt.want)
			}
		})
	}
}

func TestGrantIsForExactlyWhatWasAsked(t *testing.T) {
	_, a, _ := newWorld()
	g, err := a.Authorise(own())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Check("lambda:GetFunction", arnOf(acme)); err != nil {
		t.Error(err)
	}
	for _, other := range [][2]string{{"lambda:DeleteFunction", arnOf(acme)}, {"lambda:GetFunction", arnOf(acme) + ":1"}, {"", ""}} {
		if err := g.Check(other[0], other[1]); !fault.Is(err, fault.Denied) {
			t.Errorf("Check(%q, %q) = %v, want denied", other[0], other[1], err)
		}
	}
}

func TestZeroGrantPanics(t *testing.T) {
	for name, use := range map[string]func(Grant){
		"Check": func(g Grant) { g.Check("a", "b") }, "Call": func(g Grant) { g.Call() },
		"Request": func(g Grant) { g.Request() }, "Generation": func(g Grant) { g.Generation() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a zero Grant did not panic", name)
				}
			}()
			use(Grant{})
		}()
	}
}

func TestRenewDecidesAgainWhenAnythingMoved(t *testing.T) {
	w, a, now := newWorld()
	g, err := a.Authorise(own())
	if err != nil {
		t.Fatal(err)
	}
	w.status[acme] = tenant.Suspended
	if _, err := a.Renew(g); err != nil {
		t.Errorf("nothing moved the generation, yet: %v", err)
	}
	w.generation++
	if _, err := a.Renew(g); !fault.Is(err, fault.Suspended) {
		t.Errorf("a grant from before the suspension was renewed: %v", err)
	}
	w.status[acme] = tenant.Active
	*now = noon.Add(MaxStale + 1)
	if _, err := a.Renew(g); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a grant was renewed from a stale snapshot: %v", err)
	}
}
