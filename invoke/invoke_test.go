package invoke

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/audit"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/meter"
	"github.com/carrel-dev/carrel/sandbox"
	"github.com/carrel-dev/carrel/tenant"
)

type world struct{ suspended bool }

func (*world) Generation() uint64   { return 1 }
func (*world) Confirmed() time.Time { return time.Now() }
func (w *world) Status(tenant.AccountID) (tenant.Status, bool) {
	if w.suspended {
		return tenant.Suspended, true
	}
	return tenant.Active, true
}

// driver runs nothing; it answers as it is told, or dies before it answers.
type driver struct {
	ran  int
	dies bool
}

func (d *driver) Run(_ context.Context, job sandbox.Job) *call.Outcome {
	d.ran++
	o := &call.Outcome{Payload: []byte("result"), Usage: call.Usage{Duration: time.Millisecond, Fuel: 5}}
	if d.dies {
		return o // no record, as if the node had been killed
	}
	job.Recorder.Record(job.Ticket, o)
	return o
}

type sink struct{ logs, counts, queued int }

func (s *sink) Append(*call.Call, *call.Outcome)         { s.logs++ }
func (s *sink) Count(*call.Call, *call.Outcome)          { s.counts++ }
func (s *sink) Enqueue(context.Context, iam.Grant) error { s.queued++; return nil }

type fixture struct {
	*Pipeline
	world   *world
	driver  *driver
	sink    *sink
	journal *journal.Journal
	root    *os.Root
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{world: &world{}, driver: &driver{}, sink: &sink{}, root: root}
	f.open(t)
	t.Cleanup(func() { f.journal.Close(); root.Close() })
	return f
}

// open opens the journal and puts a pipeline on it.
func (f *fixture) open(t testing.TB) {
	t.Helper()
	j, err := journal.Open(f.root, journal.Config{Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	authority := iamtest.Authority(f.world)
	f.journal = j
	f.Pipeline = &Pipeline{
		Place:     func(*call.Call) error { return nil },
		Authority: authority, Sandbox: f.driver, Audit: audit.New(j, time.Now), Ledger: meter.NewLedger(j), Logs: f.sink, Counter: f.sink, Queue: f.sink, Now: time.Now,
		Admission: admit.New(authority, func(tenant.AccountID) admit.Plan { return admit.Plan{Concurrency: 1} }, time.Now),
	}
}

const acme tenant.AccountID = "111111111111"

func newCall(id string) *call.Call {
	return &call.Call{
		RequestID: id, Attempt: 1, Principal: call.Principal{Type: call.TypeUser, Account: acme}, Owner: tenant.Identity{Account: acme},
		Target:  &function.Target{FunctionUID: "f", Name: "hello", Version: "1", Reserved: -1, ARN: function.ARN("us-east-1", acme, "hello", "1")},
		Trigger: call.ViaInvoke, Received: time.Now(),
	}
}

func (f *fixture) kinds(t *testing.T) map[journal.Kind]int {
	t.Helper()
	if err := f.journal.Sync(f.journal.Append(200, nil)); err != nil {
		t.Fatal(err)
	}
	found := map[journal.Kind]int{}
	if _, err := f.journal.Read(journal.Cursor{}, func(r journal.Record) error { found[r.Kind]++; return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEachCallHasOneOutcomeAndItsRecords(t *testing.T) {
	f := newFixture(t)
	if o := f.Invoke(t.Context(), newCall("a")); o.Result != call.OK || string(o.Payload) != "result" {
		t.Errorf("a call: %+v", o)
	}
	stranger := newCall("b")
	stranger.Principal.Account = "222222222222"
	if o := f.Invoke(t.Context(), stranger); o.Result != call.Refused || !fault.Is(o.Err, fault.Denied) {
		t.Errorf("a stranger's call: %+v", o)
	}
	none := newCall("c")
	none.Target.Reserved = 0
	if o := f.Invoke(t.Context(), none); o.Result != call.Throttled {
		t.Errorf("a call without a slot: %+v", o)
	}
	dry := newCall("d")
	dry.DryRun = true
	if o := f.Invoke(t.Context(), dry); o.Result != call.OK || o.Payload != nil {
		t.Errorf("a dry run: %+v", o)
	}
	f.world.suspended = true
	if o := f.Invoke(t.Context(), newCall("e")); o.Result != call.Refused || !fault.Is(o.Err, fault.Suspended) {
		t.Errorf("a suspended tenant's call: %+v", o)
	}
	if f.driver.ran != 1 {
		t.Errorf("%d calls ran, want 1", f.driver.ran)
	}
	kinds := f.kinds(t)
	if kinds[audit.KindCall] != 1 || kinds[meter.KindUsage] != 1 || kinds[audit.KindRefusal] != 3 {
		t.Errorf("records by kind: %v, want one decision, one usage, three refusals", kinds)
	}
	if f.Admission.Running(acme) != 0 {
		t.Error("a slot was not given back")
	}
}

// TestNothingRunsThatTheJournalDidNotTake: a refused record leaves no trace
// in the totals either.
func TestNothingRunsThatTheJournalDidNotTake(t *testing.T) {
	f := newFixture(t)
	if err := f.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if o := f.Invoke(t.Context(), newCall("a")); o.Result != call.PlatformError || !fault.Is(o.Err, fault.Unavailable) {
		t.Errorf("a call without a decision on the journal: %+v", o)
	}
	if f.driver.ran != 0 || f.Admission.Running(acme) != 0 {
		t.Errorf("%d calls ran and %d slots are held, want none", f.driver.ran, f.Admission.Running(acme))
	}
	f.Ledger.Record(newCall("b"), &call.Outcome{})
	if rows := f.Ledger.Totals(acme); len(rows) != 0 {
		t.Errorf("totals %+v of a record that is not on the journal", rows)
	}
}

func TestEnqueueAuthorisesFirst(t *testing.T) {
	f := newFixture(t)
	if err := f.Enqueue(t.Context(), newCall("a")); err != nil || f.sink.queued != 1 {
		t.Errorf("an event: %v, %d queued", err, f.sink.queued)
	}
	stranger := newCall("b")
	stranger.Principal.Account = "222222222222"
	if err := f.Enqueue(t.Context(), stranger); !fault.Is(err, fault.Denied) || f.sink.queued != 1 {
		t.Errorf("a stranger's event: %v, %d queued", err, f.sink.queued)
	}
}

func TestRecoverEndsWhatTheNodeDiedIn(t *testing.T) {
	f := newFixture(t)
	f.Invoke(t.Context(), newCall("a"))
	f.driver.dies = true
	f.Invoke(t.Context(), newCall("b"))
	f.kinds(t)
	for round := range 3 {
		if err := f.journal.Close(); err != nil {
			t.Fatal(err)
		}
		f.open(t)
		found, err := Recover(f.Ledger, f.journal)
		if err != nil {
			t.Fatal(err)
		}
		f.kinds(t)
		if want := map[int]int{0: 1}[round]; found.Lost != want {
			t.Errorf("restart %d: %d calls were lost, want %d", round, found.Lost, want)
		}
		rows := f.Ledger.Totals(acme)
		if len(rows) != 1 || rows[0].Calls != 2 || rows[0].Errors != 1 || rows[0].BilledMS != 1 || rows[0].Fuel != 5 {
			t.Errorf("restart %d: totals %+v, want two calls, one failed, 1 ms billed", round, rows)
		}
	}
}

// TestChainsEnd: a chain does not come back to a function, and is not longer
// than MaxChain even where that is allowed.
func TestChainsEnd(t *testing.T) {
	f := newFixture(t)
	chained := func(functions ...string) *call.Call {
		c := newCall("a")
		for _, name := range functions {
			c.Chain = append(c.Chain, call.Link{Principal: c.Principal, RequestID: "r-" + name, Function: function.ARN("us-east-1", acme, function.Name(name), "")})
		}
		return c
	}
	eight := []string{"1", "2", "3", "4", "5", "6", "7", "8"}
	for _, test := range []struct {
		chain     []string
		recursive bool
		refused   bool
	}{
		{chain: []string{"other"}},
		{chain: []string{"hello"}, refused: true},
		{chain: []string{"other", "hello", "third"}, refused: true},
		{chain: []string{"hell"}},
		{chain: []string{"other", "hello", "third"}, recursive: true},
		{chain: eight},
		{chain: append(eight, "9"), refused: true},
		{chain: append(eight, "9"), recursive: true, refused: true},
	} {
		ran, queued := f.driver.ran, f.sink.queued
		c := chained(test.chain...)
		c.Target.Recursive = test.recursive
		o := f.Invoke(t.Context(), c)
		err := f.Enqueue(t.Context(), c)
		for _, err := range []error{o.Err, err} {
			e := fault.From("test", err)
			if (e != nil) != test.refused || e != nil && (e.Code != "RecursiveInvocationException" || e.Reason != "RecursiveInvocation") {
				t.Errorf("the chain %v, loops allowed %t: %v", test.chain, test.recursive, err)
			}
		}
		if moved := f.driver.ran-ran == 1 && f.sink.queued-queued == 1; moved == test.refused {
			t.Errorf("the chain %v: ran %d, queued %d", test.chain, f.driver.ran-ran, f.sink.queued-queued)
		}
	}
	if kinds := f.kinds(t); kinds[audit.KindRefusal] != 8 {
		t.Errorf("%d refusals are recorded, want 8", kinds[audit.KindRefusal])
	}
}
