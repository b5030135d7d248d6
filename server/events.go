//go:build linux

package server

import (
	"context"

	"github.com/carrel-dev/carrel/gateway/adminapi"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/trigger/events"
)

// eventLists is the asynchronous queue in the terms of the admin API.
type eventLists struct{ of *events.Queue }

// List implements adminapi.Events.
func (l eventLists) List(ctx context.Context, g iam.Grant, q adminapi.EventQuery) ([]adminapi.Event, string, error) {
	items, next, err := l.of.List(ctx, g, events.Query{Owner: q.Owner, State: events.State(q.State), Cursor: q.Cursor, Limit: q.Limit})
	if err != nil {
		return nil, "", err
	}
	out := make([]adminapi.Event, len(items))
	for i, e := range items {
		out[i] = adminapi.Event{
			RequestID: e.RequestID, Function: e.Function, Qualifier: e.Qualifier, EndTenant: e.EndTenant,
			State: adminapi.EventState(e.State), Attempts: e.Attempts, Received: e.Received, NextTry: e.NextTry,
			Died: e.Died, LastError: e.LastError,
		}
	}
	return out, next, nil
}

// closeEvents waits for the asynchronous calls that run, as long as the drain
// timeout allows. A call heeds nothing but its own limit, so the workers are
// killed then: the attempts end as failures of the platform, and the events
// are tried again after the next start.
func (n *Node) closeEvents() error {
	stop := context.AfterFunc(n.drain, n.closeDriver)
	defer stop()
	return n.events.Close(n.drain)
}
