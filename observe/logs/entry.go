// Package logs keeps what functions print: one entry for each call, sealed
// under the tenant's key, found by function.
//
// Entries gather in memory for a moment and go to the disk in blocks, all
// functions' blocks of a moment in one write. A killed node loses at most the
// last moment of logs; usage and audit do not depend on them.
package logs

import (
	"fmt"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/internal/fields"
	"github.com/carrel-dev/carrel/tenant"
)

// Entry is the log of one call.
type Entry struct {
	RequestID string             `json:"requestId"`
	Tenant    string             `json:"tenantId"`
	EndTenant tenant.EndTenantID `json:"endTenant,omitempty"`
	Version   string             `json:"version"`
	Received  time.Time          `json:"received"`
	Result    string             `json:"result"`
	Usage     call.Usage         `json:"usage"`
	MemoryMB  int                `json:"memoryMB"`
	// Text is what the function printed, up to the limit for one call.
	Text string `json:"text"`
}

const schema = 1

func newEntry(c *call.Call, o *call.Outcome) Entry {
	return Entry{
		RequestID: c.RequestID, Tenant: c.TenantID(), EndTenant: c.EndTenant, Version: c.Target.Version,
		Received: c.Received, Result: o.Result.String(), Usage: o.Usage, MemoryMB: c.Target.Limits.MemoryMB,
		Text: string(o.Log),
	}
}

func (e *Entry) append(b []byte) []byte {
	b = fields.Uint(b, schema)
	b = fields.Text(b, e.RequestID)
	b = fields.Text(b, e.Tenant)
	b = fields.Text(b, e.EndTenant)
	b = fields.Text(b, e.Version)
	b = fields.Int(b, e.Received.UnixNano())
	b = fields.Text(b, e.Result)
	cold := uint64(0)
	if e.Usage.Cold {
		cold = 1
	}
	b = fields.Uint(b, cold)
	b = fields.Int(b, int64(e.Usage.Init))
	b = fields.Int(b, int64(e.Usage.Duration))
	b = fields.Uint(b, e.Usage.MaxMemory)
	b = fields.Uint(b, e.Usage.Fuel)
	b = fields.Int(b, int64(e.MemoryMB))
	return fields.Text(b, e.Text)
}

// decodeBlock reads the entries of a block.
func decodeBlock(b []byte) ([]Entry, error) {
	outer, _, err := fields.Read(b, schema)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for n := outer.Uint(); n > 0 && outer.Done() == nil; n-- {
		r, _, err := fields.Read(outer.Bytes(), schema)
		if err != nil {
			return nil, err
		}
		e := Entry{
			RequestID: r.Text(), Tenant: r.Text(), EndTenant: tenant.EndTenantID(r.Text()), Version: r.Text(),
			Received: time.Unix(0, r.Int()).UTC(), Result: r.Text(),
		}
		e.Usage.Cold = r.Uint() == 1
		e.Usage.Init, e.Usage.Duration = time.Duration(r.Int()), time.Duration(r.Int())
		e.Usage.MaxMemory, e.Usage.Fuel = r.Uint(), r.Uint()
		e.MemoryMB = int(r.Int())
		e.Text = r.Text()
		if err := r.Done(); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, outer.Done()
}

// Format gives the entry as Lambda's log stream shows a call: START, what
// the function printed, END, REPORT.
func (e *Entry) Format() string {
	var b strings.Builder
	fmt.Fprintf(&b, "START RequestId: %s Version: %s", e.RequestID, e.Version)
	if e.EndTenant != "" {
		fmt.Fprintf(&b, " TenantId: %s", e.EndTenant)
	}
	b.WriteByte('\n')
	b.WriteString(e.Text)
	if e.Text != "" && !strings.HasSuffix(e.Text, "\n") {
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "END RequestId: %s\n", e.RequestID)
	b.WriteString(e.report())
	return b.String()
}

func (e *Entry) report() string {
	s := fmt.Sprintf("REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB",
		e.RequestID, ms(e.Usage.Duration), e.Usage.BilledMS(), e.MemoryMB, (e.Usage.MaxMemory+1<<20-1)>>20)
	if e.Usage.Cold {
		s += fmt.Sprintf("\tInit Duration: %.2f ms", ms(e.Usage.Init))
	}
	return s + "\n"
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Tail gives the end of a call's log in Lambda's form, at most n bytes.
func Tail(c *call.Call, o *call.Outcome, n int) []byte {
	e := newEntry(c, o)
	s := e.Format()
	return []byte(s[max(0, len(s)-n):])
}
