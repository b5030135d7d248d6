package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
)

// print writes v as JSON with --output json, else what table writes.
func (a *app) print(v any, table func(io.Writer)) error {
	if a.output == outputJSON {
		return writeJSON(a.stdout, v)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	table(w)
	return flushed(w.Flush())
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return flushed(e.Encode(v))
}

// flushed gives a failed write of the output a meaning of its own.
func flushed(err error) error {
	if err != nil {
		return other("Output", fmt.Errorf("the output cannot be written: %w", err))
	}
	return nil
}

// row writes one line of a table.
func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		text := oneLine(fmt.Sprint(c))
		if text == "" {
			text = "-"
		}
		fmt.Fprint(w, text)
	}
	fmt.Fprintln(w)
}

// oneLine takes out what would break the table, or steer a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// printable takes out what could steer a terminal, and keeps lines and tabs.
// A function's output is not the operator's: it may not move the cursor or
// set the title.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// say writes to people, beside the data.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// loud marks text that must not be missed: in red on a terminal that shows
// colours, unless NO_COLOR says not to.
func (a *app) loud(w io.Writer, text string) string {
	if terminal(w) && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" {
		return "\x1b[1;31m" + text + "\x1b[0m"
	}
	return text
}

func terminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// shellQuote makes a word for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-+=/.:,@%", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
