package main

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

// cases is how many cases the suite has, at the version in the Makefile.
const cases = 480

// differs lists the cases that do not pass: a line that begins with '#' is
// the reason of the names that follow it. With '~' they differ by no more than
// what the proxy can exchange, and pass when it does.
//
//go:embed differs.txt
var differs string

// group is cases that differ for one reason.
type group struct {
	reason   string
	exchange bool // they pass when what the proxy can exchange is exchanged
	names    []string
}

type list []group

func (l list) reason(name string) string {
	for _, g := range l {
		for _, n := range g.names {
			if n == name {
				return g.reason
			}
		}
	}
	return ""
}

// readList reads a list. A name may be there once.
func readList(text string) (list, error) {
	var l list
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		mark, reason, _ := strings.Cut(line, " ")
		switch {
		case line == "":
		case mark == "#" || mark == "~":
			l = append(l, group{reason: reason, exchange: mark == "~"})
		case len(l) == 0 || l.reason(line) != "":
			return nil, fmt.Errorf("%s has no reason, or two", line)
		default:
			l[len(l)-1].names = append(l[len(l)-1].names, line)
		}
	}
	return l, nil
}

// result is how one case ended.
type result struct {
	name, why string
	passed    bool
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// parse reads what the suite prints: a line for each case that ended.
func parse(out string) (results []result) {
	for line := range strings.Lines(colours.ReplaceAllString(out, "")) {
		verdict, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, why, _ := strings.Cut(strings.TrimSpace(rest), ": ")
		if (verdict == "PASS" || verdict == "FAIL") && name != "" {
			results = append(results, result{name, why, verdict == "PASS"})
		}
	}
	return results
}

// page is the page of the documentation about the suite.
func page(l list) string {
	listed, words := 0, 0
	for _, g := range l {
		listed += len(g.names)
		if g.exchange {
			words += len(g.names)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, cases, cases-listed, cases-listed+words, listed-words)
	for _, g := range l {
		fmt.Fprintf(&b, "\n**%d**: %s\n\n", len(g.names), g.reason)
		for _, name := range g.names {
			b.WriteString("- `" + name + "`\n")
		}
	}
	return b.String()
}

const pageHead = `# How close IAM and STS are to AWS

Versity's S3 gateway has an IAM server of its own and a suite, ` + "`versitygw test iam`" + `,
that knows to the letter how AWS answers. ` + "`make versitygw`" + ` runs version 1.8.0 of it
against a node, as a tenant's administrator.

| | cases |
|---|---|
| in the suite | %d |
| pass | %d |
| pass when the proxy exchanges more than that | %d |
| differ | %d |

The suite has an account number written into it, so that a small proxy exchanges
numbers; it signs again only what was signed properly. It can exchange two things
more: the words of refusals, and trust policies that trust everybody. Which cases
differ is listed below, with the reason. ` + "`make versitygw`" + ` fails if any other does,
and if one of these passes. [What is not IAM](../explanation/what-is-not-iam.md) says
what we did otherwise on purpose. This page is generated from
` + "`test/versitygw/differs.txt`" + `.

## Cases that differ
`
