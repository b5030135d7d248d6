package main

import (
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

type eventView struct {
	RequestID string    `json:"requestId"`
	Function  string    `json:"functionName"`
	Qualifier string    `json:"qualifier,omitempty"`
	EndTenant string    `json:"endTenant,omitempty"`
	State     string    `json:"state"`
	Attempts  int       `json:"attempts"`
	Received  time.Time `json:"received"`
	NextTry   time.Time `json:"nextTry,omitzero"`
	LastError string    `json:"lastError,omitempty"`
}

func (a *app) eventsCommand() *cobra.Command {
	state := "dead"
	c := &cobra.Command{
		Use:   "events",
		Short: "List asynchronous calls that wait or were given up",
		Long: `List the asynchronous calls of one's own account: those that were given up
after their last attempt (--state dead), or those that wait (--state pending).`,
		Example: "  carrel events\n  carrel events --state pending --output json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if state != "dead" && state != "pending" {
				return usageError("--state %q: need dead or pending", state)
			}
			return list(c.Context(), a, client.Request{Path: "/v1/events", Query: url.Values{"state": {state}}}, func(w io.Writer, all []eventView) {
				row(w, "RECEIVED", "REQUEST", "FUNCTION", "END TENANT", "STATE", "TRIES", "NEXT TRY", "LAST ERROR")
				for _, e := range all {
					name, next := e.Function, ""
					if e.Qualifier != "" {
						name += ":" + e.Qualifier
					}
					if !e.NextTry.IsZero() {
						next = e.NextTry.Format(time.RFC3339)
					}
					row(w, e.Received.Format(time.RFC3339), e.RequestID, name, e.EndTenant, e.State, e.Attempts, next, e.LastError)
				}
			})
		},
	}
	c.Flags().StringVar(&state, "state", state, "which calls: dead or pending")
	return c
}
