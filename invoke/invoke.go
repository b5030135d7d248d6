// Package invoke is the pipeline that every call takes, whatever door it
// came through: authorise, admit, run, record.
package invoke

import (
	"context"
	"slices"
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/audit"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/meter"
	"github.com/carrel-dev/carrel/observe/logs"
	"github.com/carrel-dev/carrel/sandbox"
)

// Queue takes asynchronous calls.
type Queue interface {
	// Enqueue returns once the event would survive the death of the node.
	Enqueue(context.Context, iam.Grant) error
}

// Logs keeps what functions print.
type Logs interface {
	// Append takes a call's log; it does not wait for the disk.
	Append(*call.Call, *call.Outcome)
}

// Counter counts outcomes for the operator's metrics.
type Counter interface {
	Count(*call.Call, *call.Outcome)
}

// Pipeline is the one flow. All fields are required.
type Pipeline struct {
	Authority *iam.Authority
	Admission *admit.Controller
	Sandbox   sandbox.Driver
	Audit     *audit.Log
	Ledger    *meter.Ledger
	Logs      Logs
	Counter   Counter
	Queue     Queue
	// Place finds the instance that serves a call's end tenant, and makes the call
	// one of it. An error says why there is none; the call then stays as it is.
	Place func(*call.Call) error
	Now   func() time.Time
}

// tailBytes is how much of a call's log X-Amz-Log-Result carries, as in Lambda.
const tailBytes = 4 << 10

// Invoke takes a call to its outcome. It never returns nil.
func (p *Pipeline) Invoke(ctx context.Context, c *call.Call) *call.Outcome {
	if err := checkChain(c); err != nil {
		return p.refuse(ctx, c, err)
	}
	unplaced := p.Place(c)
	grant, err := p.Authority.AuthoriseCall(c)
	if err == nil {
		err = unplaced // which is told to those only who may call
	}
	if err != nil {
		return p.refuse(ctx, c, err)
	}
	if c.DryRun {
		return &call.Outcome{Ended: p.Now()}
	}
	ticket, err := p.Admission.Admit(ctx, grant)
	if err != nil {
		return p.refuse(ctx, c, err)
	}
	defer ticket.Release()

	decision := p.Audit.Allowed(ticket.Grant())
	if decision == 0 {
		// Other calls' decisions may be on the journal, so whoever waits for
		// the latest of many would not notice that this one is missing.
		return p.unrecorded(c)
	}
	return p.Sandbox.Run(ctx, sandbox.Job{Ticket: ticket, Decision: decision, Recorder: p})
}

// Enqueue authorises a call now, checks its event, and has it run later; both
// is done again then. Errors: those of iam and of the queue's bound.
func (p *Pipeline) Enqueue(ctx context.Context, c *call.Call) error {
	err := checkChain(c)
	if err == nil {
		var grant iam.Grant
		if grant, err = p.Authority.AuthoriseCall(c); err == nil {
			if err = p.Admission.Check(ctx, grant); err == nil {
				err = p.Queue.Enqueue(ctx, grant)
			}
		}
	}
	if err != nil {
		p.refuse(ctx, c, err)
	}
	return err
}

// checkChain refuses a call whose chain is too long or comes back to a
// function that is in it, unless that function's owner allowed loops. The
// length bounds those too.
//
// Error: fault.Invalid with Lambda's code and reason for recursion.
func checkChain(c *call.Call) error {
	if len(c.Chain) == 0 {
		return nil
	}
	again := false
	if !c.Target.Recursive {
		arn := c.Target.FunctionARN()
		again = slices.ContainsFunc(c.Chain, func(l call.Link) bool { return l.Function == arn })
	}
	if !again && len(c.Chain) <= call.MaxChain {
		return nil
	}
	e := fault.New("invoke.Invoke", fault.Invalid,
		"Lambda has detected your function being invoked in a recursive loop and stopped your function's invocation.").
		WithCode("RecursiveInvocationException").
		WithRemedy("A chain has %d calls at most before the last; a function is in it once, unless its RecursiveLoop is Allow.", call.MaxChain)
	e.Reason = "RecursiveInvocation"
	return e
}

// Record implements sandbox.Recorder: usage onto the journal, the log into
// the log store, a count into the metrics.
func (p *Pipeline) Record(t admit.Ticket, o *call.Outcome) uint64 {
	c := t.Call()
	o.Usage.Check = c.Checked
	seq := p.Ledger.Record(c, o)
	p.Logs.Append(c, o)
	p.Counter.Count(c, o)
	if c.LogTail {
		o.Log = logs.Tail(c, o, tailBytes)
	} else {
		o.Log = nil
	}
	return seq
}

// unrecorded is the outcome of a call that was not run, because the journal
// did not take the decision to run it.
func (p *Pipeline) unrecorded(c *call.Call) *call.Outcome {
	o := &call.Outcome{Result: call.PlatformError, Ended: p.Now(), Err: fault.New("invoke.Invoke", fault.Unavailable,
		"the node's journal takes no records at present, so the call was not run").WithRemedy("Try again later.")}
	p.Counter.Count(c, o)
	return o
}

func (p *Pipeline) refuse(ctx context.Context, c *call.Call, err error) *call.Outcome {
	o := &call.Outcome{Result: call.Refused, Err: err, Ended: p.Now()}
	if fault.Is(err, fault.Throttled) {
		o.Result = call.Throttled
	}
	if c.Checked > 0 && o.Result == call.Refused {
		// What it took to find that the event is not to be run is used too.
		o.Usage.Check, o.Usage.BytesIn = c.Checked, int64(len(c.Event))
		p.Ledger.Record(c, o)
	}
	p.Audit.Refuse(ctx, iam.CallRequest(c), c.RequestID, err)
	p.Counter.Count(c, o)
	return o
}
