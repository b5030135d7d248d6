package carrel

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// member gives the value of a member of a JSON object: the text of a string,
// and anything else as it is written; empty if there is none or the object is
// malformed before it. A general parser would make every function larger.
func member(object []byte, name string) string {
	s := scanner{rest: object}
	if !s.take('{') {
		return ""
	}
	for {
		key, ok := s.text()
		if !ok || !s.take(':') {
			return ""
		}
		value, ok := s.value()
		if !ok {
			return ""
		}
		if key == name {
			return value
		}
		if !s.take(',') {
			return ""
		}
	}
}

// scanner takes JSON apart from the front.
type scanner struct{ rest []byte }

// take takes one byte, after white space, if it is the one.
func (s *scanner) take(c byte) bool {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\t' || s.rest[0] == '\n' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// value takes a value. Of objects and arrays it finds the end only.
func (s *scanner) value() (string, bool) {
	if s.take('"') {
		return s.string()
	}
	start := s.rest
	for depth := 0; len(s.rest) > 0; {
		switch c := s.rest[0]; {
		case c == '"':
			s.rest = s.rest[1:]
			if _, ok := s.string(); !ok {
				return "", false
			}
			continue
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}' || c == ']'):
			return strings.TrimRight(string(start[:len(start)-len(s.rest)]), " \t\r\n"), true
		case c == '}' || c == ']':
			depth--
		}
		s.rest = s.rest[1:]
	}
	return "", false
}

func (s *scanner) text() (string, bool) {
	if !s.take('"') {
		return "", false
	}
	return s.string()
}

// string takes the rest of a string, whose quote is taken.
func (s *scanner) string() (string, bool) {
	var out []byte
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			out = append(out, s.rest[:i]...)
			s.rest = s.rest[i+1:]
			return string(out), true
		case c == '\\':
			out = append(out, s.rest[:i]...)
			s.rest = s.rest[i+1:]
			var ok bool
			if out, ok = s.escape(out); !ok {
				return "", false
			}
			i = -1
		}
	}
	return "", false
}

// escape takes what follows a backslash and appends what it means.
func (s *scanner) escape(out []byte) ([]byte, bool) {
	if len(s.rest) == 0 {
		return out, false
	}
	c := s.rest[0]
	s.rest = s.rest[1:]
	switch c {
	case '"', '\\', '/':
		return append(out, c), true
	case 'b':
		return append(out, '\b'), true
	case 'f':
		return append(out, '\f'), true
	case 'n':
		return append(out, '\n'), true
	case 'r':
		return append(out, '\r'), true
	case 't':
		return append(out, '\t'), true
	case 'u':
		r, ok := s.unit()
		if !ok {
			return out, false
		}
		if utf16.IsSurrogate(r) {
			r = s.pair(r)
		}
		return utf8.AppendRune(out, r), true
	}
	return out, false
}

// pair takes the second half of a surrogate pair, if it is there.
func (s *scanner) pair(first rune) rune {
	before := s.rest
	if len(s.rest) >= 2 && s.rest[0] == '\\' && s.rest[1] == 'u' {
		s.rest = s.rest[2:]
		if second, ok := s.unit(); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r
			}
		}
	}
	s.rest = before
	return utf8.RuneError
}

// unit takes four hexadecimal digits.
func (s *scanner) unit() (rune, bool) {
	if len(s.rest) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.rest[:4]), 16, 16)
	s.rest = s.rest[4:]
	return rune(n), err == nil
}
