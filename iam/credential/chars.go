package credential

import "net/http"

const upperHex = "0123456789ABCDEF"

// isUnreserved tells whether SigV4 leaves the byte unencoded (RFC 3986, 2.3).
func isUnreserved(b byte) bool {
	return isAlnum(b) || b == '-' || b == '.' || b == '_' || b == '~'
}

func isAlnum(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || isDigit(b)
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// isWord tells whether s is 1 to most letters, digits and underscores.
func isWord(s string, most int) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// isLabel tells whether s can be the name of a region or a service.
func isLabel(s string) bool {
	for i := range len(s) {
		if b := s[i]; !isDigit(b) && b != '-' && (b < 'a' || b > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxScopePart
}

// isLowerToken tells whether s is a header name in lower case (RFC 9110, 5.1).
func isLowerToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for i := range len(s) {
		b := s[i]
		if !isDigit(b) && (b < 'a' || b > 'z') && !contains(marks, b) {
			return false
		}
	}
	return s != ""
}

func contains(set string, b byte) bool {
	for i := range len(set) {
		if set[i] == b {
			return true
		}
	}
	return false
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + ('a' - 'A')
	}
	return b
}

// equalFold compares without ASCII case only: strings.EqualFold would take
// the Kelvin sign for a k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// isAmz tells whether a header name is x-amz-* in any case, or spelled with
// the characters that CGI-like software behind us folds into '-'.
func isAmz(name string) bool {
	const prefix = "x-amz-"
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		b := lower(name[i])
		if b == '_' || b == '.' {
			b = '-'
		}
		if b != prefix[i] {
			return false
		}
	}
	return true
}

// headerValues collects the values of a header under every spelling that the
// map has. net/http makes one spelling of them; other callers may not.
func headerValues(h http.Header, name string) []string {
	values := h[name]
	for key, more := range h {
		if key != name && equalFold(key, name) {
			values = append(values[:len(values):len(values)], more...)
		}
	}
	return values
}

// unhex gives the value of a hexadecimal digit.
func unhex(b byte) (byte, bool) {
	switch {
	case isDigit(b):
		return b - '0', true
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10, true
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}

// appendEncoded appends b as SigV4's UriEncode does.
func appendEncoded(dst []byte, b byte) []byte {
	if isUnreserved(b) {
		return append(dst, b)
	}
	return append(dst, '%', upperHex[b>>4], upperHex[b&15])
}
