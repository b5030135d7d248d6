package audit

import (
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/tenant"
)

// Reader is what a Trail needs of the node journal.
type Reader interface {
	Read(from journal.Cursor, each func(journal.Record) error) (next journal.Cursor, err error)
}

// Trail reads back what was recorded.
type Trail struct{ journal Reader }

// NewTrail makes a Trail over a journal.
func NewTrail(j Reader) *Trail { return &Trail{j} }

// scanLimit bounds how many records one page looks past, so that a quiet
// tenant's page does not read the whole journal in one request.
const scanLimit = 200_000

// Entries gives one page of the refusals and control acts of an account,
// those of others that concern it among them, oldest first, from a cursor
// that an earlier page returned (the zero Cursor for the first). more tells
// whether there may be another page; a page can be empty and still have one.
func (t *Trail) Entries(account tenant.AccountID, from journal.Cursor, limit int) (page []Entry, next journal.Cursor, more bool, err error) {
	scanned := 0
	next, err = t.journal.Read(from, func(r journal.Record) error {
		if len(page) == limit || scanned == scanLimit {
			more = true
			return journal.Stop
		}
		scanned++
		switch r.Kind {
		case KindRefusal, KindAct, KindActed:
		default:
			return nil
		}
		e, err := DecodeEntry(r.Data)
		if err != nil {
			return err
		}
		if e.Account == account || e.Concerns == account {
			page = append(page, e)
		}
		return nil
	})
	return page, next, more, err
}
