package awsapi

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/carrel-dev/carrel/fault"
)

// violations collects what is wrong with the shape of a request, in AWS's
// words, so that one answer names everything.
type violations struct{ list []string }

func (v *violations) add(value, field, constraint string) {
	v.list = append(v.list, "Value "+value+" at '"+field+"' failed to satisfy constraint: "+constraint)
}

// err gives the ValidationException; nil if nothing was wrong.
func (v *violations) err() error {
	if len(v.list) == 0 {
		return nil
	}
	plural := ""
	if len(v.list) > 1 {
		plural = "s"
	}
	return fault.New("awsapi.validate", fault.Invalid, "%d validation error%s detected: %s",
		len(v.list), plural, strings.Join(v.list, "; ")).WithCode("ValidationException")
}

func quoted(s string) string { return "'" + fault.Clip(s) + "'" }

// required demands a member that has to be there.
func (v *violations) required(s *string, field string) string {
	if s == nil {
		v.add("null", field, "Member must not be null")
		return ""
	}
	return *s
}

// length bounds the characters of a text.
func (v *violations) length(s, field string, most int) {
	if utf8.RuneCountInString(s) > most {
		v.add(quoted(s), field, fmt.Sprintf("Member must have length less than or equal to %d", most))
	}
}

// within bounds a number; nil passes.
func (v *violations) within(n *int, field string, least, most int) {
	switch {
	case n == nil:
	case *n < least:
		v.add("'"+strconv.Itoa(*n)+"'", field, fmt.Sprintf("Member must have value greater than or equal to %d", least))
	case *n > most:
		v.add("'"+strconv.Itoa(*n)+"'", field, fmt.Sprintf("Member must have value less than or equal to %d", most))
	}
}

// pattern demands a form; the empty text passes where the member is optional.
func (v *violations) pattern(s, field string, form *regexp.Regexp) {
	if !form.MatchString(s) {
		v.add(quoted(s), field, "Member must satisfy regular expression pattern: "+strings.Trim(form.String(), "^$"))
	}
}

// oneOf demands one of a set of words.
func (v *violations) oneOf(s, field string, words ...string) {
	for _, w := range words {
		if s == w {
			return
		}
	}
	v.add(quoted(s), field, "Member must satisfy enum value set: ["+strings.Join(words, ", ")+"]")
}

// The forms of Lambda's API model, without the partitions other than aws.
var (
	functionForm = regexp.MustCompile(`^(arn:aws:lambda:)?([a-z]{2}(-[a-z]+)+-\d:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?$`)
	nameForm     = regexp.MustCompile(`^(function:)?([a-zA-Z0-9-_]+)$`)
	aliasForm    = regexp.MustCompile(`^((?:[a-zA-Z0-9-_]*[a-zA-Z_-][a-zA-Z0-9-_]*))$`)
	versionForm  = regexp.MustCompile(`^(\$LATEST|[0-9]+)$`)
	roleForm     = regexp.MustCompile(`^arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$`)
	handlerForm  = regexp.MustCompile(`^[^\s]+$`)
)

// Bounds of Lambda's API model.
const (
	mostDescription    = 256
	mostHandler        = 128
	leastMemoryMB      = 128
	mostMemoryMB       = 10_240
	mostTimeoutSeconds = 900
	mostConcurrency    = 1 << 30
	leastEventAge      = 60
	mostEventAge       = 21_600
	mostEventRetries   = 2
)

// unsupported refuses members whose feature is not built: to take and
// ignore one would promise what does not happen.
func unsupported(operation string, o object, names ...string) error {
	for _, name := range names {
		if o.has(name) {
			return fault.New("awsapi."+operation, fault.Unsupported, "%s is not available in Carrel.", name).
				WithRemedy("Leave it out of the request.")
		}
	}
	return nil
}

// onlyValue refuses an option of a nested block that says anything but what
// Carrel does anyway.
func onlyValue(operation string, block object, name, does string) error {
	if s := block.text(name); s != nil && *s != does {
		return fault.New("awsapi."+operation, fault.Unsupported, "%s %s is not available in Carrel.", block.at(name), quoted(*s)).
			WithRemedy("Leave it out, or give %s.", does)
	}
	return nil
}
