// Package audit records who was allowed or refused what, on the node
// journal: the decision before the act, so that no act is without a record,
// and what became of a control act after it.
package audit

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/internal/fields"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/tenant"
)

// The kinds of records that this package puts on the journal.
const (
	// KindCall is the decision to run a call, written before it runs.
	KindCall journal.Kind = 1
	// KindRefusal is a request that was refused, call or operation.
	KindRefusal journal.Kind = 2
	// KindAct is the decision to do a control act, fsynced before the act.
	KindAct journal.Kind = 3
	// KindActed is what became of a control act.
	KindActed journal.Kind = 4
)

// schema is that of records of KindCall; 1 had no Parent and no Gatekeeper, 2
// no Provider and no Role.
const schema = 3

// entrySchema is that of entries.
const entrySchema = 1

// Journal is what the log needs of the node journal.
type Journal interface {
	Append(journal.Kind, []byte) uint64
	Write(seq uint64) error
	Sync(seq uint64) error
}

// Log writes audit records.
type Log struct {
	journal  Journal
	now      func() time.Time
	refusals sync.Map // tenant.AccountID of the principal -> *refusals
}

// New makes a Log on a journal.
func New(j Journal, now func() time.Time) *Log { return &Log{journal: j, now: now} }

// Allowed records that a call was admitted and is about to run. The record
// is appended only: whoever sends the call to a worker writes the journal
// out first, for many calls at once.
func (l *Log) Allowed(g iam.Grant) uint64 {
	c := g.Call()
	var buf [512]byte
	b := fields.Uint(buf[:0], schema)
	b = fields.Text(b, c.RequestID)
	b = fields.Uint(b, uint64(c.Attempt))
	b = fields.Int(b, l.now().UnixNano())
	b = fields.Text(b, c.Principal.ARN)
	b = fields.Text(b, c.Principal.AccessKeyID)
	b = fields.Text(b, c.Owner.Account)
	b = fields.Text(b, c.Owner.EndTenant)
	b = fields.Text(b, c.EndTenant)
	b = fields.Text(b, c.Target.FunctionUID)
	b = fields.Text(b, c.Target.Name)
	b = fields.Text(b, c.Target.Version)
	b = fields.Text(b, c.Trigger)
	b = fields.Int(b, c.Received.UnixNano())
	b = fields.Uint(b, g.Generation())
	b = fields.Text(b, call.Parent(c.Chain))
	b = fields.Text(b, g.Gatekeeper())
	b = fields.Text(b, c.Target.Provider())
	b = fields.Text(b, c.Target.Role)
	return l.journal.Append(KindCall, b)
}

// OpenCall is a decision to run a call, as read back from the journal.
type OpenCall struct {
	RequestID   string
	Attempt     int
	At          time.Time
	Principal   string
	AccessKeyID string
	Owner       tenant.Identity
	EndTenant   tenant.EndTenantID
	FunctionUID tenant.UID
	Function    function.Name
	Version     string
	Trigger     call.Trigger
	Received    time.Time
	Generation  uint64
	// Parent is the request that the caller, a function, ran in; empty if it
	// is none. Requests joined by it are a chain of calls.
	Parent string
	// Gatekeeper is the role for which the callers before it were not asked.
	Gatekeeper string
	// Provider is the account of the function. It is the owner's, unless the call
	// runs in an account that is linked to it.
	Provider tenant.AccountID
	// Role is the ARN of the role that it runs as.
	Role string
}

// DecodeCall reads a record of KindCall.
func DecodeCall(b []byte) (OpenCall, error) {
	r, version, err := fields.Read(b, schema)
	if err != nil {
		return OpenCall{}, err
	}
	c := OpenCall{
		RequestID: r.Text(), Attempt: int(r.Uint()), At: time.Unix(0, r.Int()).UTC(),
		Principal: r.Text(), AccessKeyID: r.Text(),
		Owner:     tenant.Identity{Account: tenant.AccountID(r.Text()), EndTenant: tenant.UID(r.Text())},
		EndTenant: tenant.EndTenantID(r.Text()), FunctionUID: tenant.UID(r.Text()), Function: function.Name(r.Text()),
		Version: r.Text(), Trigger: call.Trigger(r.Text()), Received: time.Unix(0, r.Int()).UTC(), Generation: r.Uint(),
	}
	if version >= 2 {
		c.Parent, c.Gatekeeper = r.Text(), r.Text()
	}
	if c.Provider = c.Owner.Account; version >= 3 {
		c.Provider, c.Role = tenant.AccountID(r.Text()), r.Text()
	}
	return c, r.Done()
}

// Entry is a refusal or a control act, as JSON on the journal.
type Entry struct {
	Schema    int              `json:"schema"`
	RequestID string           `json:"requestId"`
	At        time.Time        `json:"at"`
	Principal string           `json:"principal,omitempty"`
	AccessKey string           `json:"accessKeyId,omitempty"`
	Account   tenant.AccountID `json:"accountId,omitempty"`
	EndTenant tenant.UID       `json:"endTenant,omitempty"`
	Action    string           `json:"action"`
	Resource  string           `json:"resource"`
	Outcome   string           `json:"outcome"`
	Kind      string           `json:"kind,omitempty"`
	Code      string           `json:"code,omitempty"`
	Message   string           `json:"message,omitempty"`
	// Parent is the request that the caller, a function, ran in.
	Parent string `json:"parent,omitempty"`
	// Gatekeeper is the role for which the callers before it were not asked.
	Gatekeeper string `json:"gatekeeper,omitempty"`
	// Reason is why an act was done that needs a reason.
	Reason string `json:"reason,omitempty"`
	// Concerns is the account that an act of another one concerns.
	Concerns tenant.AccountID `json:"concerns,omitempty"`
	// Count is how many refusals the entry stands for; 0 for one.
	Count int64 `json:"count,omitempty"`
}

func (l *Log) newEntry(r iam.Request, requestID, outcome string, err error) Entry {
	e := Entry{
		Schema: entrySchema, RequestID: requestID, At: l.now().UTC(),
		Principal: r.Principal.ARN, AccessKey: r.Principal.AccessKeyID,
		Account: r.Owner.Account, EndTenant: r.Owner.EndTenant,
		Action: r.Action, Resource: r.Resource, Outcome: outcome,
		Parent: call.Parent(r.Chain),
	}
	if err != nil {
		f := fault.From("audit", err)
		e.Kind, e.Code, e.Message = f.Kind.String(), f.Code, f.Text()
		if f.Kind == fault.Denied {
			e.Message = f.Message // the remedy may be an encoded message, which is for the caller
		}
	}
	return e
}

func encode(e Entry) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic("audit: an entry of strings cannot be encoded: " + err.Error())
	}
	return b
}

// Decide records that a control act is about to be done and returns once
// the record is on the disk. The function it returns records the result.
//
// Errors: fault.Unavailable if the record cannot be made durable; the act
// must not be done then.
func (l *Log) Decide(ctx context.Context, g iam.Grant, requestID string) (done func(error), err error) {
	r, note := g.Request(), iam.NoteOf(ctx)
	allowed := l.newEntry(r, requestID, "allowed", nil)
	allowed.Gatekeeper, allowed.Reason, allowed.Concerns = g.Gatekeeper(), note.Reason, note.Concerns
	seq := l.journal.Append(KindAct, encode(allowed))
	if err := l.journal.Sync(seq); err != nil {
		return nil, fault.Wrap("audit.Decide", fault.Unavailable, err,
			"the audit journal cannot be written, so the request was not carried out").
			WithRemedy("Ask the operator to look at the node's disk; see carrel status.")
	}
	return func(err error) {
		outcome := "done"
		if err != nil {
			outcome = "failed"
		}
		acted := l.newEntry(r, requestID, outcome, err)
		acted.Reason, acted.Concerns = note.Reason, note.Concerns
		l.journal.Append(KindActed, encode(acted))
	}, nil
}

// DecodeEntry reads a record of KindRefusal, KindAct or KindActed.
func DecodeEntry(b []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return Entry{}, fields.ErrMalformed
	}
	return e, nil
}
