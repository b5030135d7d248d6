package invoke

import (
	"github.com/carrel-dev/carrel/audit"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/meter"
)

// Recovered says what Recover found.
type Recovered struct {
	// Records is how many usage records were counted.
	Records int
	// Lost is how many calls had begun and never ended: the node died in them.
	Lost int
	// Ended is the last recorded attempt of each asynchronous call, by
	// request id, so that none is run again.
	Ended map[string]End
}

// End is how an attempt ended.
type End = struct {
	Attempt int
	Result  call.Result
}

// Recover rebuilds the ledger's totals from the journal and gives every call
// that was allowed but never ended its one outcome, a failure of the
// platform that bills nothing. It runs before the node takes requests.
func Recover(l *meter.Ledger, j meter.Journal) (Recovered, error) {
	type attempt struct {
		id string
		n  int
	}
	open := map[attempt]audit.OpenCall{}
	found := Recovered{Ended: map[string]End{}}
	_, err := j.Read(journal.Cursor{}, func(r journal.Record) error {
		switch r.Kind {
		case audit.KindCall:
			c, err := audit.DecodeCall(r.Data)
			if err != nil {
				return err
			}
			open[attempt{c.RequestID, c.Attempt}] = c
		case meter.KindUsage:
			rec, err := meter.Decode(r.Data)
			if err != nil {
				return err
			}
			delete(open, attempt{rec.RequestID, rec.Attempt})
			l.Add(&rec)
			if rec.Trigger == call.ViaEvent && rec.Result != call.Refused {
				found.Ended[rec.RequestID] = End{rec.Attempt, rec.Result}
			}
			found.Records++
		}
		return nil
	})
	if err != nil {
		return found, err
	}
	for _, c := range open {
		if c.Trigger == call.ViaEvent {
			found.Ended[c.RequestID] = End{c.Attempt, call.PlatformError}
		}
		l.Append(&meter.Record{
			RequestID: c.RequestID, Attempt: c.Attempt, Account: c.Owner.Account,
			EndTenant: c.Owner.EndTenant, EndTenantID: c.EndTenant,
			FunctionUID: c.FunctionUID, Function: c.Function, Version: c.Version, Trigger: c.Trigger,
			Result: call.PlatformError, Received: c.Received, Ended: c.At, Parent: c.Parent,
		})
	}
	found.Lost = len(open)
	return found, nil
}
