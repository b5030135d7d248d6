package control

import (
	"encoding/json"
	"strings"
)

// statementAt finds where a statement of a policy stands in its text. The text
// was parsed, so it is JSON; where it is not as expected after all, both are
// zero.
func statementAt(text string, index int) (start, end Position) {
	d := json.NewDecoder(strings.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return Position{}, Position{}
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return Position{}, Position{}
		}
		if name == "Statement" {
			return inStatements(d, text, index)
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return Position{}, Position{}
		}
	}
	return Position{}, Position{}
}

// inStatements reads the list of statements, or the only one, up to the one
// that is looked for.
func inStatements(d *json.Decoder, text string, index int) (start, end Position) {
	rest := text[d.InputOffset():]
	if i := strings.IndexAny(rest, "[{"); i >= 0 && rest[i] == '[' {
		if _, err := d.Token(); err != nil {
			return Position{}, Position{}
		}
	}
	for n := 0; n <= index && d.More(); n++ {
		var st json.RawMessage
		if d.Decode(&st) != nil {
			break
		}
		if n == index {
			to := int(d.InputOffset())
			return positionOf(text, to-len(st)), positionOf(text, to)
		}
	}
	return Position{}, Position{}
}

func positionOf(text string, offset int) Position {
	before := text[:offset]
	line := strings.Count(before, "\n") + 1
	return Position{Line: line, Column: offset - strings.LastIndexByte(before, '\n')}
}
