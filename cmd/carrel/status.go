package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/client"
)

// statusOrder is what of a node's state is shown first, in this order; what
// a newer node tells beside it follows.
var statusOrder = []string{"version", "node", "region", "endpoint", "ready", "notReady", "uptimeNs", "workers", "blankWorkers", "restore", "journalSync"}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show the state of the node, and what is not safe about it",
		Example: "  carrel status\n  carrel status --output json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var raw json.RawMessage
			if err := a.do(c.Context(), client.Request{Path: "/v1/status"}, &raw); err != nil {
				return err
			}
			var state map[string]any
			if err := json.Unmarshal(raw, &state); err != nil {
				return other("UnexpectedAnswer", fmt.Errorf("the node's answer is not understood: %w", err))
			}
			return a.print(raw, func(w io.Writer) { a.statusTable(w, state) })
		},
	}
}

func (a *app) statusTable(w io.Writer, state map[string]any) {
	if warnings, ok := state["warnings"].([]any); ok {
		for _, text := range warnings {
			fmt.Fprintln(w, a.loud(a.stdout, "WARNING: "+oneLine(fmt.Sprint(text))))
		}
		if len(warnings) > 0 {
			fmt.Fprintln(w)
		}
		delete(state, "warnings")
	}
	for _, name := range statusOrder {
		if v, found := state[name]; found {
			statusRow(w, name, v)
			delete(state, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(state)) {
		statusRow(w, name, state[name])
	}
}

// statusRow writes a value, and the parts of a nested one by their paths.
func statusRow(w io.Writer, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, part := range slices.Sorted(maps.Keys(v)) {
			statusRow(w, name+"."+part, v[part])
		}
	case nil:
	case float64:
		if name == "uptimeNs" {
			row(w, "uptime", time.Duration(v).Round(time.Second))
			return
		}
		row(w, name, json.Number(fmt.Sprintf("%.0f", v)))
	case []any:
		text, _ := json.Marshal(v) // was decoded from JSON
		row(w, name, string(text))
	default:
		row(w, name, v)
	}
}
