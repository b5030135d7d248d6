package wasm

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// reader takes the binary format apart. It keeps the first error and returns
// zeros after it, so that callers check once for each item; every count is
// compared with the bytes that remain before anything is made of it.
type reader struct {
	b   []byte
	pos int
	end int
	err error
}

// proposalError refuses a feature that is not in the core specification 2.0.
type proposalError struct{ proposal string }

func (e *proposalError) Error() string {
	return "it uses the proposal " + e.proposal + ", which is not accepted"
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("offset %d: %w", r.pos, fmt.Errorf(format, args...))
	}
	r.pos = r.end
}

func (r *reader) refuse(proposal string) { r.fail("%w", &proposalError{proposal}) }

func (r *reader) left() int { return r.end - r.pos }

func (r *reader) byte() byte {
	if r.pos >= r.end {
		r.fail("unexpected end")
		return 0
	}
	b := r.b[r.pos]
	r.pos++
	return b
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(r.left()) {
		r.fail("%d bytes wanted, %d left", n, r.left())
		return nil
	}
	b := r.b[r.pos : r.pos+int(n) : r.pos+int(n)]
	r.pos += int(n)
	return b
}

func (r *reader) u32() uint32 {
	v, n := uleb32(r.b[r.pos:r.end])
	if n == 0 {
		r.fail("malformed unsigned number")
		return 0
	}
	r.pos += n
	return v
}

func (r *reader) signed(bits uint) int64 {
	v, n := sleb(r.b[r.pos:r.end], bits)
	if n == 0 {
		r.fail("malformed signed number")
		return 0
	}
	r.pos += n
	return v
}

func (r *reader) fixed(n uint32) uint64 {
	var v uint64
	for i, b := range r.bytes(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// count reads how many items follow, each of at least size bytes.
func (r *reader) count(size int) int {
	n := r.u32()
	if uint64(n)*uint64(size) > uint64(r.left()) {
		r.fail("%d items announced, but only %d bytes left", n, r.left())
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	b := r.bytes(r.u32())
	if !utf8.Valid(b) {
		r.fail("name is not UTF-8")
		return ""
	}
	return string(b)
}

func (r *reader) valType() ValType {
	v := ValType(r.byte())
	switch v {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef:
		return v
	}
	if r.err != nil {
		return 0
	}
	if p := typeProposal(byte(v)); p != "" {
		r.refuse(p)
	} else {
		r.fail("%#x is not a value type", byte(v))
	}
	return 0
}

func (r *reader) refType() ValType {
	v := r.valType()
	if r.err == nil && !v.IsRef() {
		r.fail("%s is not a reference type", v)
	}
	return v
}

// typeProposal names the proposal that a type byte belongs to.
func typeProposal(b byte) string {
	switch b {
	case 0x69, 0x74:
		return "exception-handling"
	case 0x63, 0x64:
		return "typed-function-references"
	case 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73, 0x77, 0x78, 0x5e, 0x5f, 0x4d, 0x4e, 0x4f, 0x50:
		return "gc"
	}
	return ""
}

// uleb32 reads an unsigned number of 32 bits; n is 0 if it is malformed.
func uleb32(b []byte) (v uint32, n int) {
	for i := 0; i < 5 && i < len(b); i++ {
		c := b[i]
		if i == 4 && c > 0x0f {
			return 0, 0
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// sleb reads a signed number of 32, 33 or 64 bits; n is 0 if it is malformed.
func sleb(b []byte, bits uint) (v int64, n int) {
	var shift uint
	for i := 0; i < len(b); i++ {
		c := b[i]
		v |= int64(c&0x7f) << shift
		if shift += 7; shift >= bits {
			// The bits beyond the number's must all equal its sign.
			rest := int8(c<<1) >> (7 - (shift - bits))
			if c >= 0x80 || rest != 0 && rest != -1 {
				return 0, 0
			}
			if shift < 64 {
				v = v << (64 - shift) >> (64 - shift)
			}
			return v, i + 1
		}
		if c < 0x80 {
			return v << (64 - shift) >> (64 - shift), i + 1
		}
	}
	return 0, 0
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for v < -64 || v > 63 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

func appendName(b []byte, s string) []byte { return append(appendU32(b, length(len(s))), s...) }

func sizeU32(v uint32) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

// length makes a length into what the format counts in 32 bits. Modules come
// from Parse, which refuses more, or are made by trusted code.
func length(n int) uint32 {
	if uint64(n) > math.MaxUint32 {
		panic("wasm: more than 2^32 items")
	}
	return uint32(n)
}
