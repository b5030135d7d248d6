package audit

import (
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/tenant"
)

// Reader is what a Trail needs of the node journal.
type Reader interface {
	Read(from journal.Cursor, each func(journal.Record) error) (next journal.Cursor, err error)
}

// Trail reads back what was recorded.
type Trail struct {
	journal Reader
	region  string
}

// NewTrail makes a Trail over a journal. The region is the installation's, for
// the ARNs of functions.
func NewTrail(j Reader, region string) *Trail { return &Trail{j, region} }

// scanLimit bounds how many records one page looks past, so that a quiet
// tenant's page does not read the whole journal in one request.
const scanLimit = 200_000

// Entries gives one page of the refusals and control acts of an account,
// those of others that concern it among them, and of the calls of its functions
// for which a gatekeeper spoke in the place of callers, oldest first, from a
// cursor that an earlier page returned (the zero Cursor for the first). Other
// calls are not listed: a meter tells of them. more tells whether there may be
// another page; a page can be empty and still have one.
func (t *Trail) Entries(account tenant.AccountID, from journal.Cursor, limit int) (page []Entry, next journal.Cursor, more bool, err error) {
	scanned := 0
	next, err = t.journal.Read(from, func(r journal.Record) error {
		if len(page) == limit || scanned == scanLimit {
			more = true
			return journal.Stop
		}
		scanned++
		e, listed, err := t.entry(&r)
		if err == nil && listed && (e.Account == account || e.Concerns == account) {
			page = append(page, e)
		}
		return err
	})
	return page, next, more, err
}

// entry reads a record; false for one that is not listed.
func (t *Trail) entry(r *journal.Record) (Entry, bool, error) {
	switch r.Kind {
	case KindRefusal, KindAct, KindActed:
		e, err := DecodeEntry(r.Data)
		return e, true, err
	case KindCall:
		c, err := DecodeCall(r.Data)
		action := iam.InvokeAction
		if err == nil && c.Trigger == call.ViaURL {
			action = iam.InvokeURLAction
		}
		if err != nil || c.Gatekeeper == "" {
			return Entry{}, false, err
		}
		return Entry{
			Schema: entrySchema, RequestID: c.RequestID, At: c.At, Principal: c.Principal, AccessKey: c.AccessKeyID,
			Account: c.Owner.Account, EndTenant: c.Owner.EndTenant, Action: action,
			Resource: function.ARN(t.region, c.Provider, c.Function, c.Version), Outcome: "allowed",
			Parent: c.Parent, Gatekeeper: c.Gatekeeper,
		}, true, nil
	}
	return Entry{}, false, nil
}
