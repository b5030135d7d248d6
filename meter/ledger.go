package meter

import (
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/tenant"
)

// Journal is what the ledger needs of the node journal.
type Journal interface {
	Append(journal.Kind, []byte) uint64
	Read(journal.Cursor, func(journal.Record) error) (journal.Cursor, error)
}

// Ledger records usage and keeps the totals.
type Ledger struct {
	journal  Journal
	accounts sync.Map // tenant.AccountID -> *accountTotals
	buffers  sync.Pool
}

// accountTotals is one account's totals; accounts share no lock.
type accountTotals struct {
	mu   sync.Mutex
	rows map[rowKey]*Total
}

type rowKey struct {
	endTenant tenant.UID
	function  tenant.UID
}

// Total is the sum of an account's records for one function and end tenant.
// All quantities are integers, exact at any size that can occur.
type Total struct {
	Account     tenant.AccountID   `json:"accountId"`
	EndTenant   tenant.EndTenantID `json:"endTenant,omitempty"`
	Function    function.Name      `json:"function"`
	FunctionUID tenant.UID         `json:"functionUid"`
	Calls       int64              `json:"calls"`
	Errors      int64              `json:"errors"`
	ColdStarts  int64              `json:"coldStarts"`
	BilledMS    int64              `json:"billedMs"`
	// MBMillis is memory times billed time, in MB·ms; 1,024,000 are one GB-second.
	MBMillis  int64  `json:"mbMs"`
	Fuel      uint64 `json:"fuel"`
	CPUMicros int64  `json:"cpuMicros"`
	// CheckMicros is the node's processor time for checking events, and Rejected
	// how many of them were refused for what the check found. Those are no calls.
	CheckMicros int64 `json:"checkMicros"`
	Rejected    int64 `json:"rejected"`
	BytesIn     int64 `json:"bytesIn"`
	BytesOut    int64 `json:"bytesOut"`
	LogBytes    int64 `json:"logBytes"`
}

// NewLedger makes an empty ledger; Replay fills it from the journal.
func NewLedger(j Journal) *Ledger {
	return &Ledger{journal: j, buffers: sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}}
}

// Record appends the record of a call's outcome to the journal and adds it
// to the totals. It does no I/O: the caller has the journal written up to
// the returned sequence number before anybody learns of the outcome.
func (l *Ledger) Record(c *call.Call, o *call.Outcome) uint64 {
	r := NewRecord(c, o)
	return l.Append(&r)
}

// Append appends a record and adds it to the totals, unless the journal does
// not take it: then it gives 0, and the totals stay what the records say.
func (l *Ledger) Append(r *Record) uint64 {
	buf := l.buffers.Get().(*[]byte)
	*buf = r.Append((*buf)[:0])
	seq := l.journal.Append(KindUsage, *buf)
	l.buffers.Put(buf)
	if seq != 0 {
		l.Add(r)
	}
	return seq
}

// Add adds a record that is on the journal already to the totals.
func (l *Ledger) Add(r *Record) {
	v, found := l.accounts.Load(r.Account)
	if !found {
		v, _ = l.accounts.LoadOrStore(r.Account, &accountTotals{rows: map[rowKey]*Total{}})
	}
	a := v.(*accountTotals)
	a.mu.Lock()
	defer a.mu.Unlock()
	key := rowKey{r.EndTenant, r.FunctionUID}
	t := a.rows[key]
	if t == nil {
		t = &Total{Account: r.Account, EndTenant: r.EndTenantID, FunctionUID: r.FunctionUID}
		a.rows[key] = t
	}
	t.Function = r.Function
	t.add(r)
}

func (t *Total) add(r *Record) {
	t.CheckMicros += r.Usage.Check.Microseconds()
	if r.Result == call.Refused {
		t.Rejected++
		return
	}
	t.Calls++
	if r.Result != call.OK {
		t.Errors++
	}
	if r.Usage.Cold {
		t.ColdStarts++
	}
	t.BilledMS += r.BilledMS()
	t.MBMillis += r.MBMillis()
	t.Fuel += r.Usage.Fuel
	t.CPUMicros += r.Usage.CPU.Microseconds()
	t.BytesIn += r.Usage.BytesIn
	t.BytesOut += r.Usage.BytesOut
	t.LogBytes += r.Usage.LogBytes
}

// Totals gives an account's rows, by function and end tenant.
func (l *Ledger) Totals(account tenant.AccountID) []Total {
	v, found := l.accounts.Load(account)
	if !found {
		return nil
	}
	a := v.(*accountTotals)
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]Total, 0, len(a.rows))
	for _, t := range a.rows {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(x, y Total) int {
		if c := strings.Compare(string(x.Function), string(y.Function)); c != 0 {
			return c
		}
		if c := strings.Compare(string(x.FunctionUID), string(y.FunctionUID)); c != 0 {
			return c
		}
		return strings.Compare(string(x.EndTenant), string(y.EndTenant))
	})
	return out
}

// scanLimit bounds how many records of others one page looks past, so that a
// quiet tenant's page does not read the whole journal in one request.
const scanLimit = 200_000

// Records gives one page of an account's records, oldest first, from a
// cursor that an earlier page returned (the zero Cursor for the first). more
// tells whether there may be another page; a page can be empty and still
// have one.
func (l *Ledger) Records(account tenant.AccountID, from journal.Cursor, limit int) (page []Record, next journal.Cursor, more bool, err error) {
	scanned := 0
	next, err = l.journal.Read(from, func(r journal.Record) error {
		if len(page) == limit || scanned == scanLimit {
			more = true
			return journal.Stop
		}
		scanned++
		if r.Kind != KindUsage {
			return nil
		}
		rec, err := Decode(r.Data)
		if err != nil {
			return err
		}
		if rec.Account == account {
			page = append(page, rec)
		}
		return nil
	})
	return page, next, more, err
}
