// Package meter turns outcomes into usage: one record for each call and
// attempt on the node journal, and running totals by tenant and function
// that are rebuilt from those records and never from metrics.
package meter

import (
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/internal/fields"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/tenant"
)

// KindUsage is the kind of a usage record on the journal.
const KindUsage journal.Kind = 16

// schema is that of records; 1 had no Parent, 2 no Usage.Check.
const schema = 3

// Record is what one attempt at a call used. All quantities are integers.
type Record struct {
	RequestID   string
	Attempt     int
	Account     tenant.AccountID
	EndTenant   tenant.UID
	EndTenantID tenant.EndTenantID
	FunctionUID tenant.UID
	Function    function.Name
	Version     string
	Trigger     call.Trigger
	Result      call.Result
	Received    time.Time
	Ended       time.Time
	Usage       call.Usage
	MemoryMB    int
	WorkerID    uint64
	// Parent is the request that the caller, a function, ran in; empty if it
	// is none.
	Parent string
}

// NewRecord makes the record of a call and its outcome.
func NewRecord(c *call.Call, o *call.Outcome) Record {
	return Record{
		RequestID: c.RequestID, Attempt: c.Attempt,
		Account: c.Owner.Account, EndTenant: c.Owner.EndTenant, EndTenantID: c.EndTenant,
		FunctionUID: c.Target.FunctionUID, Function: c.Target.Name, Version: c.Target.Version,
		Trigger: c.Trigger, Result: o.Result, Received: c.Received, Ended: o.Ended,
		Usage: o.Usage, MemoryMB: c.Target.Limits.MemoryMB, WorkerID: o.WorkerID,
		Parent: call.Parent(c.Chain),
	}
}

// Billed tells whether the attempt is charged: what the platform failed at
// or refused is not.
func (r *Record) Billed() bool {
	switch r.Result {
	case call.OK, call.FunctionError, call.TimedOut, call.OutOfMemory:
		return true
	}
	return false
}

// BilledMS is the duration that is charged, in whole milliseconds.
func (r *Record) BilledMS() int64 {
	if !r.Billed() {
		return 0
	}
	return r.Usage.BilledMS()
}

// MBMillis is memory times billed duration, in MB·ms: 1,024,000 of them are
// one GB-second. It is kept undivided so that sums stay exact.
func (r *Record) MBMillis() int64 { return r.BilledMS() * int64(r.MemoryMB) }

// Append appends the record's encoding to b.
func (r *Record) Append(b []byte) []byte {
	b = fields.Uint(b, schema)
	b = fields.Text(b, r.RequestID)
	b = fields.Uint(b, uint64(r.Attempt))
	b = fields.Text(b, r.Account)
	b = fields.Text(b, r.EndTenant)
	b = fields.Text(b, r.EndTenantID)
	b = fields.Text(b, r.FunctionUID)
	b = fields.Text(b, r.Function)
	b = fields.Text(b, r.Version)
	b = fields.Text(b, r.Trigger)
	b = fields.Uint(b, uint64(r.Result))
	b = fields.Int(b, r.Received.UnixNano())
	b = fields.Int(b, r.Ended.UnixNano())
	cold := uint64(0)
	if r.Usage.Cold {
		cold = 1
	}
	b = fields.Uint(b, cold)
	b = fields.Int(b, int64(r.Usage.Init))
	b = fields.Int(b, int64(r.Usage.Duration))
	b = fields.Uint(b, r.Usage.MaxMemory)
	b = fields.Uint(b, r.Usage.Fuel)
	b = fields.Int(b, int64(r.Usage.CPU))
	b = fields.Int(b, r.Usage.BytesIn)
	b = fields.Int(b, r.Usage.BytesOut)
	b = fields.Int(b, r.Usage.LogBytes)
	b = fields.Int(b, int64(r.MemoryMB))
	b = fields.Uint(b, r.WorkerID)
	b = fields.Text(b, r.Parent)
	return fields.Int(b, int64(r.Usage.Check))
}

// Decode reads a record of KindUsage.
func Decode(b []byte) (Record, error) {
	r, version, err := fields.Read(b, schema)
	if err != nil {
		return Record{}, err
	}
	v := Record{
		RequestID: r.Text(), Attempt: int(r.Uint()),
		Account: tenant.AccountID(r.Text()), EndTenant: tenant.UID(r.Text()), EndTenantID: tenant.EndTenantID(r.Text()),
		FunctionUID: tenant.UID(r.Text()), Function: function.Name(r.Text()), Version: r.Text(),
		Trigger: call.Trigger(r.Text()), Result: call.Result(r.Uint()),
		Received: time.Unix(0, r.Int()).UTC(), Ended: time.Unix(0, r.Int()).UTC(),
	}
	v.Usage.Cold = r.Uint() == 1
	v.Usage.Init, v.Usage.Duration = time.Duration(r.Int()), time.Duration(r.Int())
	v.Usage.MaxMemory, v.Usage.Fuel = r.Uint(), r.Uint()
	v.Usage.CPU = time.Duration(r.Int())
	v.Usage.BytesIn, v.Usage.BytesOut, v.Usage.LogBytes = r.Int(), r.Int(), r.Int()
	v.MemoryMB = int(r.Int())
	v.WorkerID = r.Uint()
	if version >= 2 {
		v.Parent = r.Text()
	}
	if version >= 3 {
		v.Usage.Check = time.Duration(r.Int())
	}
	if !v.Result.Valid() || v.Usage.Init < 0 || v.Usage.Duration < 0 || v.Usage.Check < 0 {
		r.Fail()
	}
	return v, r.Done()
}
