package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

type usageTotal struct {
	Tenant      string `json:"tenant"`
	Function    string `json:"functionName"`
	EndCustomer string `json:"endCustomer,omitempty"`
	Calls       int64  `json:"calls"`
	Errors      int64  `json:"errors"`
	ColdStarts  int64  `json:"coldStarts"`
	BilledMS    int64  `json:"billedMs"`
	GBMillis    string `json:"gbMs"`
	GBSeconds   string `json:"gbSeconds"`
	Fuel        string `json:"fuel"`
	CPUMicros   int64  `json:"cpuMicros"`
	BytesIn     int64  `json:"bytesIn"`
	BytesOut    int64  `json:"bytesOut"`
	LogBytes    int64  `json:"logBytes"`
	CheckMicros int64  `json:"checkMicros"`
	Rejected    int64  `json:"rejected"`
}

type usageRecord struct {
	Time       time.Time `json:"time"`
	RequestID  string    `json:"requestId"`
	Attempt    int       `json:"attempt"`
	Function   string    `json:"functionName"`
	Version    string    `json:"version"`
	Outcome    string    `json:"outcome"`
	BilledMS   int64     `json:"billedMs"`
	DurationMS string    `json:"durationMs"`
	MaxMemory  int64     `json:"maxMemoryMB"`
	Fuel       uint64    `json:"fuel"`
}

func (a *app) usageCommand() *cobra.Command {
	var name string
	var records bool
	c := &cobra.Command{
		Use:   "usage",
		Short: "Show what was used: sums, or the record of every call",
		Long: `Show what an account used, by function and end tenant, or with --records the
record of every call. The operators name any tenant with --tenant; without it,
the account whose key is used is shown.`,
		Example: `  carrel usage --tenant acme
  carrel usage --tenant acme --records --output json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			query := url.Values{"limit": {"1000"}}
			if name != "" {
				if _, err := tenantPath(name); err != nil {
					return err
				}
				query.Set("tenant", name)
			}
			if records {
				return a.usageRecords(c.Context(), query)
			}
			return list(c.Context(), a, client.Request{Path: "/v1/usage", Query: query}, func(w io.Writer, all []usageTotal) {
				row(w, "TENANT", "FUNCTION", "END TENANT", "CALLS", "ERRORS", "COLD", "BILLED MS", "GB-S", "FUEL", "CPU", "BYTES IN", "BYTES OUT")
				for _, u := range all {
					row(w, u.Tenant, u.Function, u.EndCustomer, u.Calls, u.Errors, u.ColdStarts, u.BilledMS, u.GBSeconds, u.Fuel,
						time.Duration(u.CPUMicros)*time.Microsecond, u.BytesIn, u.BytesOut)
				}
			})
		},
	}
	c.Flags().StringVar(&name, "tenant", "", "name of the tenant")
	c.Flags().BoolVar(&records, "records", false, "list the record of every call")
	return c
}

// usageRecords writes records as they come, since there may be millions.
func (a *app) usageRecords(ctx context.Context, query url.Values) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	r := client.Request{Path: "/v1/usage/records", Query: query}
	if a.output == outputJSON {
		return a.recordsJSON(ctx, c, r)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	row(w, "TIME", "REQUEST", "TRY", "FUNCTION", "VERSION", "OUTCOME", "BILLED MS", "RUN MS", "MAX MB", "FUEL")
	err = client.Pages(ctx, c, r, func(items []usageRecord) error {
		for _, u := range items {
			row(w, u.Time.Format(time.RFC3339Nano), u.RequestID, u.Attempt, u.Function, u.Version, u.Outcome, u.BilledMS, u.DurationMS, u.MaxMemory, u.Fuel)
		}
		return flushed(w.Flush())
	})
	if err != nil {
		return err
	}
	return flushed(w.Flush())
}

// recordsJSON writes one array. It is closed only after the last record, so
// that a list that broke off cannot be taken for a whole one.
func (a *app) recordsJSON(ctx context.Context, c *client.Client, r client.Request) error {
	w := bufio.NewWriter(a.stdout)
	separator := "[\n  "
	err := client.Pages(ctx, c, r, func(items []json.RawMessage) error {
		for _, item := range items {
			var line bytes.Buffer
			if err := json.Compact(&line, item); err != nil {
				return err
			}
			w.WriteString(separator)
			w.Write(line.Bytes())
			separator = ",\n  "
		}
		return flushed(w.Flush())
	})
	if err != nil {
		return err
	}
	end := "\n]\n"
	if separator == "[\n  " {
		end = "[]\n"
	}
	w.WriteString(end)
	return flushed(w.Flush())
}
