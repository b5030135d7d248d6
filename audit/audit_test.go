package audit

import (
	"errors"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/tenant"
)

// recorder is a journal that remembers what was asked of it.
type recorder struct {
	records []journal.Record
	synced  uint64
	fail    error
}

func (r *recorder) Append(k journal.Kind, data []byte) uint64 {
	r.records = append(r.records, journal.Record{Kind: k, Data: append([]byte(nil), data...)})
	return uint64(len(r.records))
}
func (r *recorder) Write(uint64) error { return r.fail }
func (r *recorder) Sync(seq uint64) error {
	if r.fail == nil {
		r.synced = seq
	}
	return r.fail
}

type open struct{}

func (open) Generation() uint64                            { return 7 }
func (open) Confirmed() time.Time                          { return time.Now() }
func (open) Status(tenant.AccountID) (tenant.Status, bool) { return tenant.Active, true }

const acme tenant.AccountID = "111111111111"

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func principal() call.Principal {
	return call.Principal{Type: call.TypeUser, ARN: "arn:aws:iam::111111111111:user/admin", Account: acme, AccessKeyID: "AKIAACME"}
}

func newLog() (*Log, *recorder) {
	r := &recorder{}
	return New(r, func() time.Time { return noon }), r
}

func TestAllowedCallReadsBack(t *testing.T) {
	l, r := newLog()
	c := &call.Call{
		RequestID: "id", Attempt: 2, Principal: principal(), Owner: tenant.Identity{Account: acme, EndTenant: "e"}, EndTenant: "blue",
		Target:  &function.Target{Account: acme, FunctionUID: "f", Name: "hello", Version: "3", ARN: function.ARN("us-east-1", acme, "hello", "3")},
		Trigger: call.ViaEvent, Received: noon.Add(-time.Second),
		Chain: []call.Link{{Principal: principal(), RequestID: "outer"}, {Principal: principal(), RequestID: "inner"}},
	}
	g, err := iamtest.Authority(open{}).AuthoriseCall(c)
	if err != nil {
		t.Fatal(err)
	}
	if seq := l.Allowed(g); seq != 1 || r.records[0].Kind != KindCall {
		t.Fatalf("sequence %d, records %v", seq, r.records)
	}
	got, err := DecodeCall(r.records[0].Data)
	want := OpenCall{
		RequestID: "id", Attempt: 2, At: noon, Principal: c.Principal.ARN, AccessKeyID: "AKIAACME", Owner: c.Owner, EndTenant: "blue",
		FunctionUID: "f", Function: "hello", Version: "3", Trigger: call.ViaEvent, Received: c.Received, Generation: 7,
		Parent: "inner", Provider: acme,
	}
	if err != nil || got != want {
		t.Errorf("read back %+v, %v; want %+v", got, err, want)
	}
}

func TestControlActIsOnTheDiskBeforeItIsDone(t *testing.T) {
	l, r := newLog()
	g, err := iamtest.Authority(open{}).Authorise(iam.Request{
		Principal: principal(), Action: "lambda:DeleteFunction", Resource: function.ARN("us-east-1", acme, "f", ""), Owner: tenant.Identity{Account: acme},
	})
	if err != nil {
		t.Fatal(err)
	}
	done, err := l.Decide(t.Context(), g, "id")
	if err != nil || r.synced != 1 || len(r.records) != 1 {
		t.Fatalf("Decide: %v, synced %d, %d records", err, r.synced, len(r.records))
	}
	done(errors.New("the disk is on fire"))
	for i, want := range []string{"allowed", "failed"} {
		e, err := DecodeEntry(r.records[i].Data)
		if err != nil || e.Outcome != want || e.Action != "lambda:DeleteFunction" || e.RequestID != "id" || e.Account != acme {
			t.Errorf("entry %d: %+v, %v", i, e, err)
		}
	}
	r.fail = errors.New("no space")
	if _, err := l.Decide(t.Context(), g, "id"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("with a journal that fails: %v, want unavailable so that the act is not done", err)
	}
}

func TestRefusalSaysWhyWithoutItsCause(t *testing.T) {
	l, r := newLog()
	l.Refuse(t.Context(), iam.Request{Principal: principal(), Action: "lambda:GetFunction"}, "id",
		fault.Wrap("op", fault.Denied, errors.New("internal detail"), "not allowed").WithCode("AccessDeniedException"))
	e, err := DecodeEntry(r.records[0].Data)
	if err != nil || e.Outcome != "refused" || e.Kind != "denied" || e.Code != "AccessDeniedException" || e.Message != "not allowed" {
		t.Errorf("entry %+v, %v", e, err)
	}
}

func FuzzDecodeCall(f *testing.F) {
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		DecodeCall(b)
		DecodeEntry(b)
	})
}
