package awsapi

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// validJSON answers as json.Valid does, several times as fast on what calls
// carry: text is passed over eight bytes at a time. It is the largest cost
// of an Invoke in this package.
func validJSON(b []byte) bool {
	end := valueAt(b, spaceAt(b, 0), 0)
	if end == tooDeep {
		return json.Valid(b) // which needs no stack
	}
	return end != malformed && spaceAt(b, end) == len(b)
}

// What the functions below give instead of the end of what they read.
const (
	malformed = -1
	tooDeep   = -2
)

// deepest is how deeply values nest before json.Valid takes over.
const deepest = 64

// spaceAt passes over white space.
func spaceAt(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// valueAt reads the value that begins at i.
func valueAt(b []byte, i, depth int) int {
	if i >= len(b) {
		return malformed
	}
	switch b[i] {
	case '"':
		return stringAt(b, i)
	case '{', '[':
		if depth == deepest {
			return tooDeep
		}
		return containerAt(b, i, depth+1)
	case 't':
		return wordAt(b, i, "true")
	case 'f':
		return wordAt(b, i, "false")
	case 'n':
		return wordAt(b, i, "null")
	}
	return numberAt(b, i)
}

func wordAt(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return malformed
	}
	return i + len(word)
}

// containerAt reads the object or array that begins at i.
func containerAt(b []byte, i, depth int) int {
	isObject, end := b[i] == '{', byte(']')
	if isObject {
		end = '}'
	}
	if i = spaceAt(b, i+1); i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		if isObject {
			if i = nameAt(b, i); i < 0 {
				return i
			}
		}
		if i = valueAt(b, spaceAt(b, i), depth); i < 0 {
			return i
		}
		i = spaceAt(b, i)
		if i == len(b) || b[i] != ',' && b[i] != end {
			return malformed
		}
		if b[i] == end {
			return i + 1
		}
		i++
	}
}

// nameAt reads a member's name and its colon.
func nameAt(b []byte, i int) int {
	i = spaceAt(b, i)
	if i == len(b) || b[i] != '"' {
		return malformed
	}
	if i = stringAt(b, i); i < 0 {
		return i
	}
	if i = spaceAt(b, i); i == len(b) || b[i] != ':' {
		return malformed
	}
	return i + 1
}

// stringAt reads the string that begins at i.
func stringAt(b []byte, i int) int {
	for i++; ; {
		if i = plainAt(b, i); i == len(b) {
			return malformed
		}
		switch {
		case b[i] == '"':
			return i + 1
		case b[i] != '\\' || i+1 == len(b):
			return malformed // a control character, or nothing after a backslash
		}
		switch b[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if len(b)-i < 6 || !hex4(b[i+2:i+6]) {
				return malformed
			}
			i += 6
		default:
			return malformed
		}
	}
}

// plainAt gives the place of the next quote, backslash or control character.
func plainAt(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b)-i >= 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^('"'*ones), w^('\\'*ones)
		// In each term the lowest byte that is marked is right; those above
		// it may be marked by its borrow.
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-' '*ones)&^w) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
		i += 8
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		i++
	}
	return i
}

func hex4(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// numberAt reads the number that begins at i.
func numberAt(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	from := i
	if i = digitsAt(b, i); i == from || b[from] == '0' && i > from+1 {
		return malformed
	}
	if i < len(b) && b[i] == '.' {
		from = i + 1
		if i = digitsAt(b, from); i == from {
			return malformed
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from = i
		if i = digitsAt(b, from); i == from {
			return malformed
		}
	}
	return i
}

func digitsAt(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}
