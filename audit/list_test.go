package audit

import (
	"context"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/tenant"
)

// Read implements Reader.
func (r *recorder) Read(_ journal.Cursor, each func(journal.Record) error) (journal.Cursor, error) {
	for _, record := range r.records {
		if err := each(record); err != nil {
			return journal.Cursor{}, err
		}
	}
	return journal.Cursor{}, nil
}

// TestTrailShowsGatekeepers lists a call for which a gatekeeper spoke, and not
// the same call by a role that is none, to the account that it was in.
func TestTrailShowsGatekeepers(t *testing.T) {
	t.Parallel()
	role := func(name string) call.Principal {
		p := call.Principal{Type: call.TypeRole, ARN: "arn:aws:sts::111111111111:assumed-role/" + name + "/s", Account: acme}
		p.Session = &call.Session{Issuer: "arn:aws:iam::111111111111:role/" + name, IssuerUID: tenant.UID(name), Issued: noon, Expires: noon.AddDate(50, 0, 0)}
		return p
	}
	d := iamtest.NewDirectory()
	d.Subjects[role("gate").ARN] = &iam.Subject{Identity: iamtest.Set(policy.Identity, iamtest.AllowAll), Gatekeeper: true}
	l, r := newLog()
	for _, name := range []string{"gate", "plain"} {
		g, err := iamtest.With(open{}, d).AuthoriseCall(&call.Call{
			RequestID: name, Principal: role(name), Owner: tenant.Identity{Account: acme}, Received: noon,
			Target: &function.Target{Account: acme, FunctionUID: "f", Name: "hello", Version: "3", ARN: function.ARN("us-east-1", acme, "hello", "3")},
			Chain:  []call.Link{{Principal: principal(), RequestID: "outer", Owner: tenant.Identity{Account: acme}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		l.Allowed(g)
	}
	refused := iam.Request{Principal: principal(), Action: "carrel:X", Resource: "x", Owner: tenant.Identity{Account: acme}}
	l.Refuse(context.Background(), refused, "refused", fault.New("test", fault.Denied, "no"))
	entries := func(account tenant.AccountID) []Entry {
		t.Helper()
		page, _, _, err := NewTrail(r, "us-east-1").Entries(account, journal.Cursor{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	got := entries(acme)
	want := Entry{
		Schema: 1, RequestID: "gate", At: noon, Principal: role("gate").ARN, Account: acme, Action: iam.InvokeAction,
		Resource: function.ARN("us-east-1", acme, "hello", "3"), Outcome: "allowed", Parent: "outer", Gatekeeper: role("gate").Session.Issuer,
	}
	if len(got) != 2 || got[0] != want || got[1].RequestID != "refused" {
		t.Errorf("listed is %+v, want %+v", got, want)
	}
	if got := entries("222222222222"); len(got) != 0 {
		t.Errorf("another account sees %+v", got)
	}
}
