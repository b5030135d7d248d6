package events

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

// ListAction is the action that listing events is decided under. The resource
// is event/* of service carrel in the account.
const ListAction = "carrel:ListEvents"

// State says where an event is.
type State string

// The states that can be listed.
const (
	Pending State = "pending" // waits for an attempt, or runs
	Dead    State = "dead"    // was given up
)

// mostListed is the most items of one page.
const mostListed = 100

// Query asks for a part of an account's events.
type Query struct {
	// Owner is the internal id of the account of the grant.
	Owner tenant.UID
	State State
	// Cursor is empty for the first part, else what the part before gave.
	Cursor string
	// Limit is the most items wanted; 1 to 100, and 100 for anything else.
	Limit int
}

// Item is an event without its payload.
type Item struct {
	RequestID string
	Function  function.Name
	Qualifier string
	EndTenant tenant.EndTenantID
	State     State
	// Attempts counts those that were made.
	Attempts int
	Received time.Time
	// NextTry is zero for a dead letter; Died is zero for anything else.
	NextTry time.Time
	Died    time.Time
	// LastError is how the last attempt ended, as its account may read it.
	LastError string
}

// List gives a part of an account's events, the oldest first; next is empty
// for the last part. A part can be empty and still have a next.
//
// Errors: fault.Denied for a grant that is not for it, fault.Invalid for the
// query, fault.Unavailable.
func (q *Queue) List(ctx context.Context, g iam.Grant, in Query) (items []Item, next string, err error) {
	const op = "events.List"
	r := g.Request()
	if err := g.Check(ListAction, r.Resource); err != nil {
		return nil, "", err
	}
	service, rest, _ := strings.Cut(strings.TrimPrefix(r.Resource, "arn:aws:"), ":")
	if service != "carrel" || !strings.HasSuffix(rest, ":"+string(r.Owner.Account)+":event/*") {
		return nil, "", fault.New(op, fault.Denied, "a grant for %s was used for the events of account %s", r.Resource, r.Owner.Account)
	}
	if in.Limit < 1 || in.Limit > mostListed {
		in.Limit = mostListed
	}
	switch in.State {
	case Pending:
		return q.listPending(ctx, r.Owner.Account, in)
	case Dead:
		return q.listDead(ctx, r.Owner.Account, in)
	}
	return nil, "", fault.New(op, fault.Invalid, "%q is no state of an event", in.State).WithRemedy("Ask for pending or dead.")
}

func badCursor() error { return fault.New("events.List", fault.Invalid, "the cursor is malformed") }

// position orders events that wait, whatever attempt they are at.
func position(e *entry) string { return strconv.FormatInt(e.received.UnixNano(), 10) + "/" + e.id }

func (q *Queue) listPending(ctx context.Context, account tenant.AccountID, in Query) (items []Item, next string, err error) {
	after, id, found := strings.Cut(in.Cursor, "/")
	since, err := strconv.ParseInt(after, 10, 64)
	if in.Cursor != "" && (err != nil || !found) {
		return nil, "", badCursor()
	}
	for _, e := range q.snapshot(account) {
		if n := e.received.UnixNano(); in.Cursor != "" && (n < since || n == since && e.id <= id) {
			continue
		}
		if len(items) == in.Limit {
			return items, next, nil
		}
		next = position(&e)
		ev, err := q.fetch(&e)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // it ran meanwhile
		}
		if err != nil && !errors.Is(err, secret.ErrAltered) {
			return nil, "", fault.Wrap("events.List", fault.Unavailable, err, "an event cannot be read")
		}
		item := ev.item(Pending)
		item.RequestID, item.Received, item.Attempts, item.NextTry = e.id, e.received, e.next-1, e.due
		if e.cause != "" {
			item.LastError = e.cause
		}
		items = append(items, item)
		if ctx.Err() != nil {
			return nil, "", fault.Wrap("events.List", fault.Timeout, ctx.Err(), "the caller went away")
		}
	}
	return items, "", nil
}

// snapshot copies the entries of an account, the oldest first.
func (q *Queue) snapshot(account tenant.AccountID) []entry {
	q.mu.Lock()
	var all []entry
	if l := q.schedule.lines[account]; l != nil {
		all = make([]entry, 0, len(l.entries))
		for _, e := range l.entries {
			all = append(all, *e)
		}
	}
	q.mu.Unlock()
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(a.received.Compare(b.received), strings.Compare(a.id, b.id))
	})
	return all
}

func (e *event) item(state State) Item {
	return Item{
		RequestID: e.RequestID, Function: e.Function, Qualifier: e.Qualifier, EndTenant: e.EndTenantID,
		State: state, Attempts: e.Attempt - 1, Received: e.Received, Died: e.Died, LastError: e.Cause,
	}
}

// listDead reads the account's subject; the cursor is the place after the
// last message.
func (q *Queue) listDead(ctx context.Context, account tenant.AccountID, in Query) (items []Item, next string, err error) {
	seq := uint64(1)
	if in.Cursor != "" {
		if seq, err = strconv.ParseUint(in.Cursor, 10, 64); err != nil || seq == 0 {
			return nil, "", badCursor()
		}
	}
	subject, err := bus.DeadLetterSubject(in.Owner)
	if err != nil {
		return nil, "", fault.Wrap("events.List", fault.Invalid, err, "the owner is malformed")
	}
	for range in.Limit {
		m, err := q.graves.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return items, "", nil
		}
		if err != nil {
			return nil, "", fault.Wrap("events.List", fault.Unavailable, err, "the dead letters cannot be read")
		}
		seq = m.Sequence + 1
		h, err := parseHead(m.Header.Get(headHeader))
		if err != nil || h.account != account {
			q.log.Error("a message among the dead letters is none of ours", "subject", m.Subject, "err", err)
			continue
		}
		ev, err := q.open(dead(in.Owner, &h), &h, m.Data)
		if err != nil {
			q.log.Error("a dead letter cannot be opened", "request", h.id, "err", err)
			ev = event{RequestID: h.id, Attempt: h.attempt, Received: h.received, Died: h.due, Cause: "The stored event cannot be opened."}
		}
		items = append(items, ev.item(Dead))
	}
	return items, strconv.FormatUint(seq, 10), nil
}
