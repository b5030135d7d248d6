package main

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function/schema"
	"github.com/carrel-dev/carrel/internal/client"
)

// eventSchema is the JSON Schema of a version's events.
type eventSchema struct {
	Function string `json:"functionName"`
	Version  string `json:"version"`
	SHA256   string `json:"sha256"`
	Schema   string `json:"schema"`
}

func (a *app) functionCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "function",
		Aliases: []string{"functions"},
		Short:   "Say what is not of Lambda about a function",
		Example: "  carrel function schema set hello event.schema.json",
	}, group(&cobra.Command{
		Use:   "schema",
		Short: "Have a function's events checked",
		Long: `Have the events of a function checked against a JSON Schema of draft 2020-12
before they reach it. Events that do not match are refused with 400, and the
function does not run.

Without a schema a function takes any event.`,
		Example: "  carrel function schema check event.schema.json event.json\n  carrel function schema set hello event.schema.json",
	}, a.schemaSet(), a.schemaShow(), a.schemaRemove(), a.schemaCheck()))
}

func schemaPath(name string) (string, error) {
	path, err := client.FunctionPath(name)
	if err != nil {
		return "", usageError("%v", err)
	}
	return path + "/schema", nil
}

func (a *app) schemaSet() *cobra.Command {
	return &cobra.Command{
		Use:   "set FUNCTION FILE",
		Short: "Check the events of a function's $LATEST, at once",
		Long: `Give a function's $LATEST a JSON Schema for its events, in force at once. It
becomes part of the versions that are published from then on; those that are
published already keep theirs.

FILE is "-" for the standard input.`,
		Example: "  carrel function schema set hello event.schema.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := schemaPath(args[0])
			if err != nil {
				return err
			}
			text, err := a.readBounded(args[1], schema.MaxBytes)
			if err != nil {
				return err
			}
			var s eventSchema
			if err := a.do(c.Context(), client.Request{Method: http.MethodPut, Path: path, Body: map[string]string{"schema": string(text)}}, &s); err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) {
				row(w, "FUNCTION", "VERSION", "SHA256")
				row(w, s.Function, s.Version, s.SHA256)
			})
		},
	}
}

func (a *app) schemaShow() *cobra.Command {
	var qualifier string
	c := &cobra.Command{
		Use:     "show FUNCTION",
		Short:   "Show the schema of a version's events, as it was set",
		Example: "  carrel function schema show hello --qualifier live",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := schemaPath(args[0])
			if err != nil {
				return err
			}
			query := url.Values{}
			if qualifier != "" {
				query.Set("qualifier", qualifier)
			}
			var s eventSchema
			if err := a.do(c.Context(), client.Request{Path: path, Query: query}, &s); err != nil {
				return err
			}
			if a.output == outputJSON {
				return writeJSON(a.stdout, s)
			}
			_, err = io.WriteString(a.stdout, printable(strings.TrimRight(s.Schema, "\n"))+"\n")
			return flushed(err)
		},
	}
	c.Flags().StringVar(&qualifier, "qualifier", "", "version or alias; $LATEST without it")
	return c
}

func (a *app) schemaRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove FUNCTION",
		Short:   "Have a function's $LATEST take any event again",
		Example: "  carrel function schema remove hello",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := schemaPath(args[0])
			if err != nil {
				return err
			}
			if err := a.do(c.Context(), client.Request{Method: http.MethodDelete, Path: path}, nil); err != nil {
				return err
			}
			a.say("%s takes any event.", args[0])
			return nil
		},
	}
}

// checked is one event that was held against a schema.
type checked struct {
	Event    string `json:"event"`
	Valid    bool   `json:"valid"`
	Path     string `json:"path,omitempty"`
	Expected string `json:"expected,omitempty"`
	Keyword  string `json:"keyword,omitempty"`
	Schema   string `json:"schema,omitempty"`
	Message  string `json:"message,omitempty"`
}

func (a *app) schemaCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check SCHEMA [EVENT…]",
		Short: "Check a schema, and events against it, without a node",
		Long: `Check that a node would take a schema, and hold events in files against it as
the node does. The exit code is 2 if the schema would be refused, and 1 if an
event does not match.`,
		Example: "  carrel function schema check event.schema.json event.json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := a.readBounded(args[0], schema.MaxBytes)
			if err != nil {
				return err
			}
			s, err := schema.Compile(text)
			if err != nil {
				f := fault.From("carrel", err)
				return &failure{Code: f.Code, Message: args[0] + ": " + f.Message, ExitCode: exitUsage}
			}
			return a.checkEvents(s, args[1:])
		},
	}
}

// mostEvent is the longest event that is read from a file: Lambda's bound.
const mostEvent = 6_291_456

func (a *app) checkEvents(s *schema.Schema, files []string) error {
	all := []checked{}
	bad := false
	for _, file := range files {
		event, err := a.readBounded(file, mostEvent)
		if err != nil {
			return err
		}
		one := checked{Event: file, Valid: true}
		if err := s.Check(event); err != nil {
			one.Valid, one.Message, bad = false, fault.From("carrel", err).Message, true
			var m *schema.Mismatch
			if errors.As(err, &m) {
				one.Path, one.Expected, one.Keyword, one.Schema, one.Message = m.Path, m.Expected, m.Keyword, m.At, m.Error()
			}
		}
		all = append(all, one)
	}
	err := a.print(all, func(w io.Writer) {
		for _, c := range all {
			said := "matches"
			if !c.Valid {
				said = sentence(c.Message)
			}
			row(w, c.Event+":", said)
		}
	})
	if err == nil && bad {
		return answer(exitOther)
	}
	return err
}

// readBounded reads a file, or the standard input for "-".
func (a *app) readBounded(name string, most int64) ([]byte, error) {
	from := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, other("Input", err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	switch {
	case err != nil:
		return nil, other("Input", err)
	case int64(len(text)) > most:
		return nil, usageError("%s is longer than %d bytes", name, most)
	}
	return text, nil
}
