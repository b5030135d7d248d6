//go:build linux

package process

import (
	"fmt"
	"strconv"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/sandbox"
	"github.com/carrel-dev/carrel/worker/wire"
)

// appendRun appends the frame of a call. Nothing in it names a principal;
// what the guest is told of its call it could not use against the node.
func (d *Driver) appendRun(b []byte, s *slot) []byte {
	c := s.job.Ticket.Call()
	most, window := sandbox.StreamLimit(c)
	body := wire.RunBody{
		StreamLimit: uint64(most), Window: uint32(window),
		Seed:        d.cfg.Seed(c.RequestID, c.Attempt),
		ClockBase:   c.Received,
		Timeout:     c.Target.Limits.Timeout,
		FuelLimit:   c.Target.Limits.Fuel,
		RequestID:   c.RequestID,
		LogLimit:    d.cfg.LogLimit,
		OutputLimit: d.cfg.OutputLimit,
		Event:       c.Event,
	}
	var context [1024]byte
	if c.Target.Model == function.Native {
		body.Context = nativeContext(c)
	} else {
		body.Context = appendContext(context[:0], c)
	}
	if c.Target.Model == function.Command {
		body.Env = append(append(make([]string, 0, len(c.Target.Environment)+3), c.Target.Environment...),
			"CARREL_TENANT_ID="+c.TenantID(), "CARREL_REQUEST_ID="+c.RequestID)
	}
	return wire.AppendRun(b, s.handle, &body)
}

// appendContext appends the JSON that carrel_v1.context gives the guest. All
// texts in it come from closed alphabets, but for the client's own context.
func appendContext(b []byte, c *call.Call) []byte {
	b = append(b, `{"awsRequestId":"`...)
	b = append(b, c.RequestID...)
	b = append(b, `","functionName":"`...)
	b = append(b, c.Target.Name...)
	b = append(b, `","functionVersion":"`...)
	b = append(b, c.Target.Version...)
	b = append(b, `","invokedFunctionArn":"`...)
	b = append(b, c.Target.ARN...)
	b = append(b, `","memoryLimitInMB":`...)
	b = strconv.AppendInt(b, int64(c.Target.Limits.MemoryMB), 10)
	b = append(b, `,"tenantId":"`...)
	b = append(b, c.TenantID()...)
	b = append(b, `","deadlineMs":`...)
	b = strconv.AppendInt(b, c.Received.Add(c.Target.Limits.Timeout).UnixMilli(), 10)
	if c.ClientContext != "" {
		b = append(b, `,"clientContext":`...)
		b = strconv.AppendQuoteToASCII(b, c.ClientContext)
	}
	return append(b, '}')
}

// outcome turns a worker's reply into the call's outcome.
func (w *worker) outcome(s *slot, d *wire.DoneBody) error {
	c := s.job.Ticket.Call()
	if len(d.Output) > int(w.group.driver.cfg.OutputLimit) || len(d.Log) > int(w.group.driver.cfg.LogLimit) {
		return fmt.Errorf("%w: a result or log over its limit", errHostile)
	}
	o := &s.outcome
	o.WorkerID = w.id
	elapsed := w.now.Sub(s.sent)
	o.Usage = call.Usage{
		Cold: s.cold, Duration: min(d.Duration, elapsed),
		MaxMemory: min(d.MaxMemory, uint64(c.Target.Limits.MemoryMB)<<20), Fuel: d.Fuel,
		BytesIn: int64(len(c.Event)), LogBytes: int64(len(d.Log)) + int64(min(d.LogDropped, 1<<40)),
	}
	if s.cold {
		o.Usage.Init = w.loaded.Sub(w.begun)
	}
	if w.group.key.native() {
		w.nativeUsage(s, &o.Usage)
	}
	if len(d.Log) > 0 {
		o.Log = append([]byte(nil), d.Log...)
	}
	switch d.Status {
	case wire.StatusOK:
		o.Result, o.Payload = call.OK, append([]byte(nil), d.Output...)
	case wire.StatusFunctionError:
		o.Result, o.Payload = call.FunctionError, append([]byte(nil), d.Output...)
	case wire.StatusTimeout:
		o.Result = call.TimedOut
	case wire.StatusMemory:
		o.Result = call.OutOfMemory
	case wire.StatusFuel:
		o.Result = call.FunctionError
		o.Payload = errorPayload("Sandbox.FuelExhausted", fmt.Sprintf(
			"RequestId: %s Error: the function used its limit of %d units of fuel", c.RequestID, c.Target.Limits.Fuel))
	default:
		return fmt.Errorf("the worker gave up: %.200q", d.Output)
	}
	if o.Payload == nil && o.Result != call.OK {
		o.Payload = failurePayload(c, o.Result)
	}
	o.Usage.BytesOut = int64(len(o.Payload))
	return nil
}

// failurePayload is the error object of a call that the platform stopped, in
// Lambda's form.
func failurePayload(c *call.Call, r call.Result) []byte {
	if r == call.OutOfMemory {
		return errorPayload("Runtime.OutOfMemory", fmt.Sprintf(
			"RequestId: %s Error: the function needs more than its %d MB of memory; raise MemorySize", c.RequestID, c.Target.Limits.MemoryMB))
	}
	return errorPayload("Sandbox.Timedout", fmt.Sprintf(
		"RequestId: %s Error: Task timed out after %.2f seconds", c.RequestID, c.Target.Limits.Timeout.Seconds()))
}

func errorPayload(kind, message string) []byte {
	b := append([]byte(`{"errorType":`), strconv.AppendQuoteToASCII(nil, kind)...)
	b = append(b, `,"errorMessage":`...)
	b = strconv.AppendQuoteToASCII(b, message)
	return append(b, '}')
}
