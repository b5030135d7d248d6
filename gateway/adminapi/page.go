package adminapi

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"math/bits"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// PageInput asks for a part of a list.
type PageInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most items of the answer; there may be fewer, also where more follow"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"nextCursor of the answer before; leave out for the first part"`
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T `json:"items" nullable:"false"`
	// NextCursor is empty for the last part.
	NextCursor string `json:"nextCursor,omitempty" doc:"Cursor of the next part; absent for the last one"`
}

// reply is the body of an answer.
type reply[T any] struct{ Body T }

func pageReply[T any](items []T, next string) *reply[Page[T]] {
	if items == nil {
		items = []T{}
	}
	return &reply[Page[T]]{Page[T]{Items: items, NextCursor: next}}
}

// newProcessSealer makes the sealer for cursors where no other is given.
func newProcessSealer() cipher.AEAD {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("adminapi: " + err.Error()) // 32 bytes are a key
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("adminapi: " + err.Error())
	}
	return aead
}

// seal makes the cursor that a caller gets, good for one list only.
func (h *handler) seal(cursor, list string) string {
	if cursor == "" {
		return ""
	}
	var sealed []byte
	if h.Cursors != nil {
		sealed = h.Cursors.Seal(nil, []byte(cursor), []byte(list))
	} else {
		sealed = h.sealer.Seal(nil, nil, []byte(cursor), []byte(list))
	}
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// open reads a cursor that seal made for the same list.
func (h *handler) open(cursor, list string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cursor)
	var plain []byte
	if err == nil {
		if h.Cursors != nil {
			plain, err = h.Cursors.Open(nil, sealed, []byte(list))
		} else {
			plain, err = h.sealer.Open(nil, nil, sealed, []byte(list))
		}
	}
	if err != nil {
		return "", fault.New("adminapi.open", fault.Invalid, "The cursor is not one that this list gave.").
			WithCode(codeValidation).WithRemedy("Give nextCursor of the answer before as it is, or begin without a cursor.")
	}
	return string(plain), nil
}

// cut gives a part of a list that is sorted by key, and the key it ends with
// if more follow.
func cut[T any](all []T, in cutting, key func(T) string) (part []T, last string) {
	for _, item := range all {
		if in.after != "" && key(item) <= in.after {
			continue
		}
		if len(part) == in.limit {
			return part, key(part[len(part)-1])
		}
		part = append(part, item)
	}
	return part, ""
}

type cutting struct {
	after string
	limit int
}

// decimal writes n/unit, where unit divides a power of ten of so many digits,
// exactly and without zeros at the end.
func decimal(n, unit int64, digits int) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	text := strconv.FormatInt(n/unit, 10)
	power := uint64(1)
	for range digits {
		power *= 10
	}
	hi, lo := bits.Mul64(uint64(n%unit), power)
	fraction, _ := bits.Div64(hi, lo, uint64(unit))
	if fraction != 0 {
		tail := strconv.FormatUint(fraction, 10)
		text += "." + strings.TrimRight(strings.Repeat("0", digits-len(tail))+tail, "0")
	}
	return sign + text
}
