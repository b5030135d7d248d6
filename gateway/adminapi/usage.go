package adminapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/meter"
	"github.com/carrel-dev/carrel/tenant"
)

// UsageTotal is the sum of a tenant's records for one function and end
// tenant. Quantities that may need more than 53 bits are strings.
type UsageTotal struct {
	Tenant      tenant.Slug        `json:"tenant"`
	Function    function.Name      `json:"functionName"`
	EndCustomer tenant.EndTenantID `json:"endCustomer,omitempty" doc:"The end tenant, for functions that serve many"`
	Calls       int64              `json:"calls"`
	Errors      int64              `json:"errors" doc:"Calls that did not end with a result"`
	ColdStarts  int64              `json:"coldStarts"`
	BilledMS    int64              `json:"billedMs"`
	GBMillis    string             `json:"gbMs" doc:"Memory times billed time, in MB·ms; 1024000 of them are one GB-second"`
	GBSeconds   string             `json:"gbSeconds" doc:"The same in GB-seconds, exact"`
	Fuel        string             `json:"fuel" doc:"Instructions as metered"`
	CPUMicros   int64              `json:"cpuMicros"`
	BytesIn     int64              `json:"bytesIn"`
	BytesOut    int64              `json:"bytesOut"`
	LogBytes    int64              `json:"logBytes"`
	CheckMicros int64              `json:"checkMicros" doc:"Processor time of the node for checking events against schemas"`
	Rejected    int64              `json:"rejected" doc:"Events that a schema refused; they are not among calls"`
}

// UsageRecord is what one attempt at a call used.
type UsageRecord struct {
	RequestID   string             `json:"requestId"`
	Attempt     int                `json:"attempt" doc:"From 1; only asynchronous calls have more than one"`
	Tenant      tenant.Slug        `json:"tenant"`
	Function    function.Name      `json:"functionName"`
	Version     string             `json:"version"`
	Outcome     string             `json:"outcome" example:"ok"`
	Trigger     string             `json:"trigger" example:"invoke"`
	Parent      string             `json:"parentRequestId,omitempty" doc:"Request that the calling function ran in"`
	ColdStart   bool               `json:"coldStart"`
	InitMS      string             `json:"initMs" doc:"Milliseconds, decimal"`
	DurationMS  string             `json:"durationMs" doc:"Milliseconds, decimal"`
	BilledMS    int64              `json:"billedMs"`
	MemoryMB    int                `json:"memoryMB"`
	MaxMemoryMB int64              `json:"maxMemoryMB"`
	GBMillis    string             `json:"gbMs" doc:"memoryMB times billedMs, in MB·ms"`
	CPUMicros   int64              `json:"cpuMicros"`
	Fuel        uint64             `json:"fuel"`
	BytesIn     int64              `json:"bytesIn"`
	BytesOut    int64              `json:"bytesOut"`
	LogBytes    int64              `json:"logBytes"`
	CheckMicros int64              `json:"checkMicros" doc:"Processor time of the node for checking the event"`
	EndCustomer tenant.EndTenantID `json:"endCustomer,omitempty"`
	Time        time.Time          `json:"time" doc:"When the call was received"`
}

type usageInput struct {
	PageInput
	Tenant string `query:"tenant" maxLength:"64" doc:"Name of the tenant; the caller's own account if left out"`
}

func (h *handler) usage() {
	register(h, operation{id: "GetUsage", method: http.MethodGet, path: "/v1/usage",
		summary: "Sum usage by function and end tenant"}, h.usageTotals)
	register(h, operation{id: "ListUsageRecords", method: http.MethodGet, path: "/v1/usage/records",
		summary: "List the record of every call, oldest first"}, h.usageRecords)
}

// account authorises reading usage and gives whose. Operators name a tenant;
// everybody may read their own.
func (h *handler) account(ctx context.Context, name string) (tenant.Tenant, error) {
	p := sessionOf(ctx).principal
	if name == "" || tenant.Slug(name) == p.Tenant {
		if _, err := h.onAccount(ctx, actionGetUsage, p.Account, "usage"); err != nil {
			return tenant.Tenant{}, err
		}
		t, known := h.Control.Account(p.Account)
		if !known {
			return t, fault.New("adminapi.account", fault.NotFound, "The account %s is gone.", p.Account)
		}
		return t, nil
	}
	slug, err := parseSlug(name)
	if err != nil {
		return tenant.Tenant{}, err
	}
	if _, err := h.onTenant(ctx, actionGetUsage, slug); err != nil {
		return tenant.Tenant{}, err
	}
	g, err := h.onTenant(ctx, control.ActionGetTenant, slug)
	if err != nil {
		return tenant.Tenant{}, err
	}
	return h.Control.GetTenant(ctx, g, slug)
}

func (h *handler) usageTotals(ctx context.Context, in *usageInput) (*reply[Page[UsageTotal]], error) {
	t, err := h.account(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	list := "usage/" + string(t.Account)
	after, err := h.open(in.Cursor, list)
	if err != nil {
		return nil, err
	}
	part, last := cut(h.Ledger.Totals(t.Account), cutting{after, in.Limit}, func(row meter.Total) string {
		return string(row.Function) + "\x00" + string(row.FunctionUID) + "\x00" + string(row.EndTenant)
	})
	items := make([]UsageTotal, 0, len(part))
	for _, row := range part {
		items = append(items, UsageTotal{
			Tenant: t.Slug, Function: row.Function, EndCustomer: row.EndTenant,
			Calls: row.Calls, Errors: row.Errors, ColdStarts: row.ColdStarts, BilledMS: row.BilledMS,
			GBMillis: strconv.FormatInt(row.MBMillis, 10), GBSeconds: gbSeconds(row.MBMillis),
			Fuel: strconv.FormatUint(row.Fuel, 10), CPUMicros: row.CPUMicros,
			BytesIn: row.BytesIn, BytesOut: row.BytesOut, LogBytes: row.LogBytes, CheckMicros: row.CheckMicros, Rejected: row.Rejected,
		})
	}
	return pageReply(items, h.seal(last, list)), nil
}

// gbSeconds writes MB·ms as GB-seconds, exactly: 1 GB is 1024 MB as for Lambda.
func gbSeconds(mbMillis int64) string { return decimal(mbMillis, 1_024_000, 13) }

func (h *handler) usageRecords(ctx context.Context, in *usageInput) (*reply[Page[UsageRecord]], error) {
	t, err := h.account(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	list := "records/" + string(t.Account)
	text, err := h.open(in.Cursor, list)
	if err != nil {
		return nil, err
	}
	from, err := journal.ParseCursor(text)
	if err != nil {
		return nil, err
	}
	page, next, more, err := h.Ledger.Records(t.Account, from, in.Limit)
	if err != nil {
		return nil, err
	}
	items := make([]UsageRecord, 0, len(page))
	for i := range page {
		items = append(items, showRecord(t.Slug, &page[i]))
	}
	if !more {
		return pageReply(items, ""), nil
	}
	return pageReply(items, h.seal(next.String(), list)), nil
}

func showRecord(slug tenant.Slug, r *meter.Record) UsageRecord {
	return UsageRecord{
		RequestID: r.RequestID, Attempt: r.Attempt, Tenant: slug, Function: r.Function, Version: r.Version,
		Outcome: r.Result.String(), Trigger: string(r.Trigger), Parent: r.Parent, ColdStart: r.Usage.Cold,
		InitMS: decimalMS(r.Usage.Init), DurationMS: decimalMS(r.Usage.Duration), BilledMS: r.BilledMS(),
		MemoryMB: r.MemoryMB, MaxMemoryMB: megabytes(r.Usage.MaxMemory), GBMillis: strconv.FormatInt(r.MBMillis(), 10),
		CPUMicros: r.Usage.CPU.Microseconds(), Fuel: r.Usage.Fuel, BytesIn: r.Usage.BytesIn, BytesOut: r.Usage.BytesOut,
		LogBytes: r.Usage.LogBytes, CheckMicros: r.Usage.Check.Microseconds(), EndCustomer: r.EndTenantID, Time: r.Received,
	}
}

// megabytes rounds up, as Lambda's Max Memory Used.
func megabytes(bytes uint64) int64 { return int64((bytes + 1<<20 - 1) >> 20) }
