package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/carrel-dev/carrel/internal/client"
	"github.com/carrel-dev/carrel/internal/strictjson"
)

// The exit codes, which scripts rely on.
const (
	exitOK       = 0
	exitOther    = 1
	exitUsage    = 2
	exitConfig   = 3
	exitAuth     = 4
	exitNotFound = 5
	exitQuota    = 6
	exitRemote   = 7
	exitUnknown  = 8
)

// answer is the exit code of a command whose output says it all.
type answer int

func (a answer) Error() string { return fmt.Sprintf("exit code %d", int(a)) }

// failure is an error as it is shown: what failed and why, what to do, and
// where to find it in the node's log.
type failure struct {
	Code      string `json:"code"`
	Kind      string `json:"kind,omitempty"`
	Message   string `json:"message"`
	Remedy    string `json:"remedy,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	ExitCode  int    `json:"exitCode"`
}

// Error gives the line that is shown without --output json.
func (f failure) Error() string {
	text := "error " + f.Code + ": " + f.Message
	if f.Remedy != "" {
		text += " " + f.Remedy
	}
	if f.RequestID != "" {
		text += " (request id " + f.RequestID + ")"
	}
	return text
}

func usageError(format string, args ...any) error {
	return &failure{Code: "Usage", Message: sentence(fmt.Sprintf(format, args...)), ExitCode: exitUsage}
}

// flagError is a usage error that names the flag that was probably meant.
func flagError(c *cobra.Command, err error) error {
	f := &failure{Code: "Usage", Message: sentence(err.Error()), Remedy: "Run the command with --help for its use.", ExitCode: exitUsage}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		c.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
		if near, found := strictjson.Nearest(unknown.GetSpecifiedName(), names); found {
			f.Remedy = fmt.Sprintf("Did you mean --%s?", near)
		}
	}
	return f
}

// exitOf maps the kinds of the node's errors to exit codes.
var exitOf = map[string]int{
	"invalid":         exitUsage,
	"unauthenticated": exitAuth,
	"denied":          exitAuth,
	"suspended":       exitAuth,
	"not_found":       exitNotFound,
	"throttled":       exitQuota,
	"internal":        exitRemote,
	"unavailable":     exitRemote,
	"timeout":         exitRemote,
	"conflict":        exitOther,
	"precondition":    exitOther,
	"too_large":       exitOther,
	"unsupported":     exitOther,
}

// failureOf gives any error as a failure. One of no known type came from
// parsing the command line.
func failureOf(err error) failure {
	var own *failure
	var told *client.Error
	var unreachable *client.UnreachableError
	switch {
	case errors.As(err, &own):
		return *own
	case errors.As(err, &told):
		exit, known := exitOf[told.Kind]
		if !known {
			exit = exitRemote
		}
		return failure{Code: told.Code, Kind: told.Kind, Message: sentence(told.Message), Remedy: told.Remedy, RequestID: told.RequestID, ExitCode: exit}
	case errors.As(err, &unreachable):
		return failure{Code: "Unreachable", Kind: "unavailable", Message: sentence(unreachable.Error()),
			Remedy: "Check that the node runs and that the endpoint is right (--endpoint, AWS_ENDPOINT_URL, or operator.env of --data).", ExitCode: exitRemote}
	case isCanceled(err):
		return failure{Code: "Interrupted", Message: "The command was interrupted.", ExitCode: exitOther}
	}
	return failure{Code: "Usage", Message: sentence(err.Error()), Remedy: `Run the command with --help for its use.`, ExitCode: exitUsage}
}

// other is a failure of this machine, not of the node or the command line.
func other(code string, err error) error {
	return &failure{Code: code, Message: sentence(err.Error()), ExitCode: exitOther}
}

// sentence ends a message with a full stop, so that a remedy can follow.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}
