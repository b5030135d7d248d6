package store

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// Bounds of a key.
const (
	maxKey   = 400
	maxPart  = 128
	maxParts = 12
)

// Key names a record: parts joined by dots. A part has only a-z, 0-9, '-' and
// '_', so that no text of a customer can be a wildcard, a separator or a path.
// The zero Key has no parts; as a prefix it is above every key. Keys can be
// compared with ==.
type Key struct{ text string }

// NewKey makes a key of parts that are safe already: constants and ids of our
// own making. For anything else there is Encode, or secret's Hide where the
// text must not show in the store's files.
func NewKey(parts ...string) (Key, error) { return Key{}.Append(parts...) }

// Append gives the key with further parts below it.
func (k Key) Append(parts ...string) (Key, error) {
	const op = "store.NewKey"
	for _, p := range parts {
		if !safe(p) {
			return Key{}, fault.New(op, fault.Invalid, "a part of a store key has %d bytes or others than a-z, 0-9, '-' and '_'.", len(p))
		}
	}
	text := strings.Join(parts, ".")
	if k.text != "" && text != "" {
		text = k.text + "." + text
	} else {
		text = k.text + text
	}
	if len(text) > maxKey || strings.Count(text, ".") >= maxParts {
		return Key{}, fault.New(op, fault.Invalid, "a store key has more than %d bytes or %d parts.", maxKey, maxParts)
	}
	return Key{text}, nil
}

// ParseKey reads what String gave.
func ParseKey(s string) (Key, error) { return NewKey(strings.Split(s, ".")...) }

func safe(part string) bool {
	if part == "" || len(part) > maxPart {
		return false
	}
	for i := range len(part) {
		c := part[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// String gives the parts, joined by dots.
func (k Key) String() string { return k.text }

// IsZero tells whether the key has no parts.
func (k Key) IsZero() bool { return k.text == "" }

// Parts gives the parts.
func (k Key) Parts() []string {
	if k.text == "" {
		return nil
	}
	return strings.Split(k.text, ".")
}

// Below tells whether prefix's parts are the first ones of the key, which
// may have no more than these.
func (k Key) Below(prefix Key) bool {
	rest, ok := strings.CutPrefix(k.text, prefix.text)
	return ok && (rest == "" || prefix.text == "" || rest[0] == '.')
}

// group is the first two parts: by our convention what kind of record it is
// and whose. Snapshots list by it.
func (k Key) group() string {
	if i := strings.IndexByte(k.text, '.'); i >= 0 {
		if j := strings.IndexByte(k.text[i+1:], '.'); j >= 0 {
			return k.text[:i+1+j]
		}
	}
	return k.text
}

var partEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Encode gives a part of a key that stands for any text: equal only for equal
// texts. It does not hide the text.
func Encode(text string) string {
	const longest = 64 // bytes; as base32 103
	if len(text) <= longest {
		return "x-" + partEncoding.EncodeToString([]byte(text))
	}
	sum := sha256.Sum256([]byte(text))
	return "h-" + partEncoding.EncodeToString(sum[:])
}
