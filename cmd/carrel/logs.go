package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

type logEntry struct {
	RequestID   string    `json:"requestId"`
	TenantID    string    `json:"tenantId"`
	Version     string    `json:"version"`
	Time        time.Time `json:"time"`
	Outcome     string    `json:"outcome"`
	DurationMS  string    `json:"durationMs"`
	BilledMS    int64     `json:"billedMs"`
	MaxMemoryMB int64     `json:"maxMemoryMB"`
	ColdStart   bool      `json:"coldStart"`
	Text        string    `json:"text"`
}

type logPage struct {
	Entries []json.RawMessage `json:"entries"`
	Next    uint64            `json:"next"`
	More    bool              `json:"more"`
}

// followWait is how long the node holds a request for new entries.
const followWait = 20 * time.Second

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	since := time.Hour
	c := &cobra.Command{
		Use:   "logs FUNCTION",
		Short: "Show what a function printed, and wait for more",
		Long: `Show what a function of one's own account printed, call by call, oldest first.
FUNCTION@TENANT is the function that is derived for an end tenant under the
strategies function and account, in the account that it runs in.
With --output json each entry is one line of JSON.`,
		Example: `  carrel logs hello
  carrel logs hello -f
  carrel logs hello --since 24h --output json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := client.LogsPath(args[0])
			if err != nil {
				return usageError("%v", err)
			}
			if since <= 0 {
				return usageError("--since %s: need a time back from now, such as 10m or 24h", since)
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
			defer stop()
			err = a.logs(ctx, path, logOptions{follow: follow, since: time.Now().Add(-since)})
			if isCanceled(err) && follow {
				return nil // how following ends
			}
			return err
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	c.Flags().DurationVar(&since, "since", since, "how far back to begin")
	return c
}

type logOptions struct {
	follow bool
	since  time.Time
}

func (a *app) logs(ctx context.Context, path string, o logOptions) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	r := client.Request{Path: path, Query: url.Values{
		"limit": {"1000"}, "since": {o.since.UTC().Format(time.RFC3339)},
	}}
	shown := 0
	for {
		var page logPage
		if err := c.Do(ctx, r, &page); err != nil {
			return err
		}
		for _, e := range page.Entries {
			if err := a.printEntry(e); err != nil {
				return err
			}
		}
		shown += len(page.Entries)
		r.Query.Set("from", strconv.FormatUint(page.Next, 10))
		switch {
		case page.More:
		case o.follow:
			r.Wait = followWait
			r.Query.Set("wait", strconv.Itoa(int(followWait/time.Second)))
		default:
			if shown == 0 {
				a.say("No calls were logged since %s; --since looks further back, and -f waits.", o.since.Format(time.RFC3339))
			}
			return nil
		}
	}
}

func (a *app) printEntry(raw json.RawMessage) error {
	if a.output == outputJSON {
		_, err := fmt.Fprintln(a.stdout, string(raw))
		return flushed(err)
	}
	var e logEntry
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	cold := ""
	if e.ColdStart {
		cold = " cold"
	}
	text := printable(e.Text)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s tenant=%s version=%s %s run=%sms billed=%dms max=%dMB%s\n%s",
		e.Time.Format("2006-01-02T15:04:05.000Z07:00"), oneLine(e.RequestID), oneLine(e.TenantID), oneLine(e.Version), oneLine(e.Outcome),
		oneLine(e.DurationMS), e.BilledMS, e.MaxMemoryMB, cold, text)
	return flushed(err)
}
