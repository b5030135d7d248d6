package policy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tenantKey is the condition key that tenant_id is an alias of.
const (
	tenantKey     = "carrel:tenantid"
	tenantWritten = "carrel:TenantId"
	tenantAlias   = "tenant_id"
)

// problem is what is wrong with a text, before it is known where that stands.
type problem struct{ message, remedy string }

func (p *problem) at(path string) *Error {
	return &Error{Path: path, Message: p.message, Remedy: p.remedy}
}

func problemf(remedy, format string, args ...any) *problem {
	return &problem{message: fmt.Sprintf(format, args...), remedy: remedy}
}

// syntax is what has a meaning in a pattern besides literal text.
type syntax struct{ variables, wildcards bool }

// parsePattern takes text apart. Nothing but the document decides what is a
// wildcard: an escape is literal, and so will be what replaces a variable.
//
// The limits are ours, and bound what matching can take.
func parsePattern(text string, s syntax) (Pattern, *problem) {
	var out builder
	for i := 0; i < len(text); {
		switch {
		case s.variables && strings.HasPrefix(text[i:], "${"):
			token, size, p := parseVariable(text[i:])
			if p != nil {
				return nil, p
			}
			out.add(token)
			i += size
		case s.wildcards && text[i] == '*':
			out.add(Token{Kind: Run})
			i++
		case s.wildcards && text[i] == '?':
			out.add(Token{Kind: One})
			i++
		default:
			_, size := utf8.DecodeRuneInString(text[i:])
			out.add(Token{Kind: Literal, Text: text[i : i+size]})
			i += size
		}
	}
	if n := out.pattern.count(One); n > maxOnes {
		return nil, problemf("Use * instead.", "the pattern has %d question marks; %d are the most.", n, maxOnes)
	}
	if n := out.pattern.count(Variable); n > maxVariables {
		return nil, problemf("Divide it into several conditions.", "the pattern has %d variables; %d are the most.", n, maxVariables)
	}
	return out.pattern, nil
}

// count gives how many tokens of a kind the pattern has.
func (p Pattern) count(kind TokenKind) (n int) {
	for _, t := range p {
		if t.Kind == kind {
			n++
		}
	}
	return n
}

// builder joins neighbouring literals, and neighbouring runs.
type builder struct{ pattern Pattern }

func (b *builder) add(t Token) {
	if n := len(b.pattern); n > 0 {
		last := &b.pattern[n-1]
		if last.Kind == t.Kind && t.Kind == Literal {
			last.Text += t.Text
			return
		}
		if last.Kind == t.Kind && t.Kind == Run {
			return
		}
	}
	if t.Kind == Literal && t.Text == "" {
		return
	}
	b.pattern = append(b.pattern, t)
}

// parseVariable reads ${key}, ${key, 'default'} or one of the escapes ${*},
// ${?} and ${$}, and gives its length.
func parseVariable(text string) (Token, int, *problem) {
	for _, escape := range [...]string{"*", "?", "$"} {
		if strings.HasPrefix(text, "${"+escape+"}") {
			return Token{Kind: Literal, Text: escape}, 4, nil
		}
	}
	end := strings.IndexAny(text, ",}")
	if end < 0 {
		return Token{}, 0, problemf("Close it with }, or write ${$} for a dollar sign before a brace.", "the variable %q is not closed.", text)
	}
	key, p := parseKey(text[2:end])
	if p != nil {
		return Token{}, 0, p
	}
	token := Token{Kind: Variable, Text: key}
	if text[end] == '}' {
		return token, end + 1, nil
	}
	rest := strings.TrimLeft(text[end+1:], " ")
	quoted, opened := strings.CutPrefix(rest, "'")
	value, after, closed := strings.Cut(quoted, "'")
	after, ended := strings.CutPrefix(strings.TrimLeft(after, " "), "}")
	if !opened || !closed || !ended {
		return Token{}, 0, problemf("Write it as ${key, 'default'}.", "the default of the variable %q is malformed.", text[:end])
	}
	token.HasDefault, token.Default = true, value
	return token, len(text) - len(after), nil
}

// parseKey checks a condition key and gives it in lower case.
func parseKey(key string) (string, *problem) {
	if strings.EqualFold(key, tenantAlias) {
		return tenantKey, nil
	}
	prefix, name, found := strings.Cut(key, ":")
	if !found || prefix == "" || name == "" {
		return "", problemf("Write a prefix, a colon and a name, as in aws:username or carrel:TenantId; only tenant_id stands without a prefix.", "%q is not a condition key.", key)
	}
	if len(key) > maxKey {
		return "", problemf("Shorten it.", "the condition key has %d bytes; %d are the most.", len(key), maxKey)
	}
	for i, r := range key {
		// The prefix of an identity provider's keys is its host and path.
		if i < len(prefix) && !isWord(r) && r != '.' && r != '/' || i > len(prefix) && !isTagChar(r) {
			return "", problemf("Use letters, digits, spaces and _ . : / = + - @ only.", "the condition key %q holds the character %q.", key, r)
		}
	}
	return lower(key), nil
}

// maxKey is the length of a condition key in bytes: a tag key has at most 128
// characters.
const maxKey = 600

// lower puts ASCII letters in lower case and leaves others alone, so that no
// letter of another script becomes equal to an ASCII one.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// isTagChar tells what a tag key may hold, by the rules of IAM's tags.
func isTagChar(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == ' ' || strings.ContainsRune("_.:/=+-@", r)
}

// split cuts a pattern at the colons of its literals, into at most n pieces.
func (p Pattern) split(n int) []Pattern {
	pieces := []builder{{}}
	for _, t := range p {
		for t.Kind == Literal && len(pieces) < n {
			before, after, found := strings.Cut(t.Text, ":")
			if !found {
				break
			}
			pieces[len(pieces)-1].add(Token{Kind: Literal, Text: before})
			pieces = append(pieces, builder{})
			t.Text = after
		}
		pieces[len(pieces)-1].add(t)
	}
	out := make([]Pattern, len(pieces))
	for i, b := range pieces {
		out[i] = b.pattern
	}
	return out
}

// literal gives the text of a pattern without wildcards and variables.
func (p Pattern) literal() (string, bool) {
	if len(p) == 0 {
		return "", true
	}
	return p[0].Text, len(p) == 1 && p[0].Kind == Literal
}

func (p Pattern) has(kind TokenKind) bool { return p.count(kind) > 0 }

// parseARN reads a resource pattern. Refused are short ARNs, variables before
// the fifth colon and wildcards for the service, as by AWS.
func parseARN(text string, s syntax) (ARNPattern, *problem) {
	if text == "*" {
		return ARNPattern{All: true}, nil
	}
	whole, p := parsePattern(text, s)
	if p != nil {
		return ARNPattern{}, p
	}
	parts := whole.split(6)
	if first, plain := parts[0].literal(); !plain || first != "arn" || len(parts) < 6 || len(parts[5]) == 0 {
		return ARNPattern{}, problemf("Write all six parts, as in arn:aws:s3:::bucket/key or arn:aws:lambda:*:123456789012:function:*; or * alone.", "%q is not an ARN.", text)
	}
	for i := 1; i < 5; i++ {
		if parts[i].has(Variable) {
			return ARNPattern{}, problemf("Move it behind the fifth colon, or compare the key in a condition.", "%q holds a variable before the fifth colon.", text)
		}
		for _, t := range parts[i] {
			if t.Kind == Literal && strings.IndexFunc(t.Text, func(r rune) bool { return !isWord(r) }) >= 0 {
				return ARNPattern{}, problemf("Use letters, digits, -, * and ? there.", "part %d of the ARN %q holds other characters.", i+1, text)
			}
		}
	}
	if service, plain := parts[2].literal(); !plain || service == "" || len(parts[1]) == 0 {
		return ARNPattern{}, problemf("Name the partition and the service, as in arn:aws:s3:::*.", "the ARN %q leaves open which service it is of.", text)
	}
	var out ARNPattern
	copy(out.Parts[:], parts)
	return out, nil
}
