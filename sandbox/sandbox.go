// Package sandbox runs admitted calls. What stands between two tenants'
// executions is a driver's matter: package process runs each tenant's
// function version in jailed worker processes of its own.
package sandbox

import (
	"context"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/call"
)

// Job is one admitted call on its way into a sandbox.
type Job struct {
	Ticket admit.Ticket
	// Decision is the journal's sequence number of the record that the call
	// was allowed. A driver lets the call begin only once it is written.
	Decision uint64
	// Recorder puts the outcome on the journal.
	Recorder Recorder
}

// Recorder records what became of a call. A driver calls it exactly once for
// a job, and answers the caller only when the sequence number it returned is
// written.
type Recorder interface {
	Record(admit.Ticket, *call.Outcome) (seq uint64)
}

// Driver runs jobs behind one kind of wall. Run returns when the call has
// ended and is recorded. A caller that goes away does not stop its call: it
// was admitted, runs to its end and is billed, as in Lambda.
type Driver interface {
	Run(context.Context, Job) *call.Outcome
}
