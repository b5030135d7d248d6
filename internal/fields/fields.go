// Package fields encodes records as a sequence of variable-length fields,
// and reads them back from bytes that may be damaged. A record begins with
// its schema version; fields are only ever added at the end.
package fields

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is the error of bytes that are not such a record.
var ErrMalformed = errors.New("fields: malformed record")

// Uint appends an unsigned number.
func Uint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// Int appends a signed number.
func Int(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// Text appends a text with its length.
func Text[T ~string | ~[]byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// Reader takes fields off a record. After the first failure every field is
// zero, and Done says so.
type Reader struct {
	rest []byte
	bad  bool
}

// Read begins with a record of a schema version that is at most newest.
func Read(b []byte, newest uint64) (*Reader, uint64, error) {
	r := &Reader{rest: b}
	v := r.Uint()
	if r.bad || v == 0 {
		return nil, 0, ErrMalformed
	}
	if v > newest {
		return nil, v, fmt.Errorf("fields: record of schema %d, this release reads up to %d: use a newer release", v, newest)
	}
	return r, v, nil
}

// Uint takes an unsigned number.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Int takes a signed number.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.rest)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Bytes takes a text; it points into the record.
func (r *Reader) Bytes() []byte {
	n := r.Uint()
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}

// Text takes a text as a string.
func (r *Reader) Text() string { return string(r.Bytes()) }

// Fail marks the record as malformed, for a field whose value is impossible.
func (r *Reader) Fail() { r.bad = true }

// Done reports a field that was missing, impossible or cut.
func (r *Reader) Done() error {
	if r.bad {
		return ErrMalformed
	}
	return nil
}
