package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// EventState says where an asynchronous call is.
type EventState string

// The states of asynchronous calls that can be listed.
const (
	// EventPending is a call that waits for its first or next attempt.
	EventPending EventState = "pending"
	// EventDead is a call that was given up.
	EventDead EventState = "dead"
)

// Event is an asynchronous call; never its payload.
type Event struct {
	RequestID string             `json:"requestId"`
	Function  function.Name      `json:"functionName"`
	Qualifier string             `json:"qualifier,omitempty"`
	EndTenant tenant.EndTenantID `json:"endTenant,omitempty"`
	State     EventState         `json:"state" enum:"pending,dead"`
	Attempts  int                `json:"attempts" doc:"Attempts that were made"`
	Received  time.Time          `json:"received"`
	// NextTry is zero for a call that was given up.
	NextTry time.Time `json:"nextTry,omitzero" doc:"When it is tried next; absent if it was given up"`
	// Died is zero for a call that waits.
	Died      time.Time `json:"died,omitzero" doc:"When it was given up"`
	LastError string    `json:"lastError,omitempty" doc:"How the last attempt ended"`
}

// EventsAction is the action that listing events is decided under; the
// resource is EventsResource of the account.
const EventsAction = actionListEvents

// EventsResource is the resource of listing an account's events.
func EventsResource(region string, account tenant.AccountID) string {
	return "arn:aws:carrel:" + region + ":" + string(account) + ":event/*"
}

// EventQuery asks for a part of an account's events.
type EventQuery struct {
	// Owner is the internal id of the account of the grant.
	Owner tenant.UID
	State EventState
	// Cursor is empty for the first part, else what the part before gave.
	Cursor string
	Limit  int
}

// Events lists asynchronous calls of the account that owns the grant, which
// is for EventsAction on EventsResource. next is empty for the last part.
type Events interface {
	List(ctx context.Context, g iam.Grant, q EventQuery) (items []Event, next string, err error)
}

type eventsInput struct {
	PageInput
	State EventState `query:"state" enum:"pending,dead" default:"dead" doc:"Calls that wait, or those that were given up"`
}

func (h *handler) events() {
	register(h, operation{id: "ListEvents", method: http.MethodGet, path: "/v1/events",
		summary: "List asynchronous calls that wait or were given up"}, h.listEvents)
}

func (h *handler) listEvents(ctx context.Context, in *eventsInput) (*reply[Page[Event]], error) {
	account := sessionOf(ctx).principal.Account
	g, err := h.decide(ctx, question{EventsAction, EventsResource(h.Region, account), account})
	if err != nil {
		return nil, err
	}
	list := "events/" + string(in.State) + "/" + string(account)
	cursor, err := h.open(in.Cursor, list)
	if err != nil {
		return nil, err
	}
	owner, known := h.Control.Account(account)
	if !known {
		return nil, fault.New("adminapi.events", fault.NotFound, "The account %s is gone.", account)
	}
	items, next, err := h.Events.List(ctx, g, EventQuery{Owner: owner.UID, State: in.State, Cursor: cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return pageReply(items, h.seal(next, list)), nil
}
