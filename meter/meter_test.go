package meter

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/tenant"
)

// memory is a journal in memory.
type memory struct {
	records []journal.Record
}

func (m *memory) Append(k journal.Kind, data []byte) uint64 {
	m.records = append(m.records, journal.Record{ID: journal.ID{Seq: uint64(len(m.records) + 1)}, Kind: k, Data: append([]byte(nil), data...)})
	return uint64(len(m.records))
}

func (m *memory) Read(from journal.Cursor, fn func(journal.Record) error) (journal.Cursor, error) {
	for i := int(from.Seq); i < len(m.records); i++ {
		if err := fn(m.records[i]); err == journal.Stop {
			return from, nil
		} else if err != nil {
			return from, err
		}
		from.Seq = uint64(i + 1)
	}
	return from, nil
}

func sample() Record {
	return Record{
		RequestID: "00000000-0000-4000-8000-000000000001", Attempt: 2, Account: "111111111111", EndTenant: "e", EndTenantID: "blue",
		FunctionUID: "f", Function: "hello", Version: "7", Trigger: call.ViaEvent, Result: call.TimedOut,
		Received: time.Unix(1, 2).UTC(), Ended: time.Unix(3, 4).UTC(), MemoryMB: 128, WorkerID: 9, Parent: "r0",
		Usage: call.Usage{Cold: true, Init: 1, Duration: 1_000_001, MaxMemory: 3, Fuel: math.MaxUint64, CPU: 5, BytesIn: 6, BytesOut: 7, LogBytes: 8},
	}
}

func TestRecordRoundTrips(t *testing.T) {
	want := sample()
	got, err := Decode(want.Append(nil))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, %v; want %+v", got, err, want)
	}
}

// TestOlderRecordsAreRead: schema 1 ended before Parent, which schema 3 has a
// check after.
func TestOlderRecordsAreRead(t *testing.T) {
	want := sample()
	want.Parent = ""
	b := want.Append(nil)
	b = b[:len(b)-2]
	b[0] = 1
	if got, err := Decode(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, %v; want %+v", got, err, want)
	}
	if _, err := Decode(append([]byte{2}, b[1:]...)); err == nil {
		t.Error("a record of schema 2 without its last field was read")
	}
}

func TestWhatIsBilled(t *testing.T) {
	for result, billed := range map[call.Result]int64{
		call.OK: 2, call.FunctionError: 2, call.TimedOut: 2, call.OutOfMemory: 2,
		call.Refused: 0, call.Throttled: 0, call.PlatformError: 0,
	} {
		r := sample() // runs 1.000002 ms, so 2 ms are billed
		r.Result = result
		if r.BilledMS() != billed || r.MBMillis() != billed*128 {
			t.Errorf("%v: billed %d ms and %d MB·ms, want %d and %d", result, r.BilledMS(), r.MBMillis(), billed, billed*128)
		}
	}
}

func TestTotalsAreTheSumOfTheRecords(t *testing.T) {
	rng := testrounds.Rand(t)
	j := &memory{}
	l := NewLedger(j)
	accounts := []tenant.AccountID{"111111111111", "222222222222"}
	want := map[tenant.AccountID]map[tenant.UID]Total{}
	for range 50 * testrounds.Rounds(t) {
		r := sample()
		r.Account = accounts[rng.IntN(2)]
		r.FunctionUID = tenant.UID([]string{"f", "g"}[rng.IntN(2)])
		r.EndTenant, r.EndTenantID = "", ""
		r.Usage.Fuel, r.Usage.Duration = rng.Uint64N(1000), time.Duration(rng.Int64N(1e9))
		l.Append(&r)
		if want[r.Account] == nil {
			want[r.Account] = map[tenant.UID]Total{}
		}
		sum := want[r.Account][r.FunctionUID]
		sum.Calls, sum.Fuel, sum.MBMillis = sum.Calls+1, sum.Fuel+r.Usage.Fuel, sum.MBMillis+r.MBMillis()
		want[r.Account][r.FunctionUID] = sum
	}
	// A second ledger that is filled from the journal shows the same.
	replayed := NewLedger(j)
	if _, err := j.Read(journal.Cursor{}, func(rec journal.Record) error {
		r, err := Decode(rec.Data)
		if err == nil {
			replayed.Add(&r)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, account := range accounts {
		rows := l.Totals(account)
		if !reflect.DeepEqual(rows, replayed.Totals(account)) {
			t.Errorf("account %s: the replayed totals differ", account)
		}
		if len(rows) != len(want[account]) {
			t.Errorf("account %s has %d rows, want %d", account, len(rows), len(want[account]))
		}
		for _, row := range rows {
			if w := want[account][row.FunctionUID]; row.Calls != w.Calls || row.Fuel != w.Fuel || row.MBMillis != w.MBMillis {
				t.Errorf("account %s: row %+v, want calls %d, fuel %d, MB·ms %d", account, row, w.Calls, w.Fuel, w.MBMillis)
			}
		}
	}
}

func TestRecordsPageThroughOneAccountOnly(t *testing.T) {
	j := &memory{}
	l := NewLedger(j)
	for i := range 30 {
		r := sample()
		r.Account = []tenant.AccountID{"111111111111", "222222222222"}[i%2]
		l.Append(&r)
		j.Append(1, []byte("another kind"))
	}
	var got int
	at, more := journal.Cursor{}, true
	for pages := 0; more; pages++ {
		var page []Record
		var err error
		if page, at, more, err = l.Records("111111111111", at, 4); err != nil || len(page) > 4 || pages > 10 {
			t.Fatalf("page %d has %d records, error %v", pages, len(page), err)
		}
		for _, r := range page {
			if r.Account != "111111111111" {
				t.Fatal("another account's record was listed")
			}
		}
		got += len(page)
	}
	if got != 15 {
		t.Errorf("%d records were listed, want 15", got)
	}
}

func FuzzDecode(f *testing.F) {
	r := sample()
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(r.Append(nil))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v reads back as %+v, %v", r, again, err)
		}
	})
}
