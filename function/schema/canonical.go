package schema

import (
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/internal/strictjson"
)

// isOneOf tells whether const and enum allow the value.
func (c *check) isOneOf(r *rule, at int32) bool {
	form, ok := c.canonical(at)
	if !ok {
		return false
	}
	_, found := r.only[string(form)]
	return found
}

// canonical gives the form that is the same for equal values; false when the
// steps are used up. It is good until the next is asked for.
func (c *check) canonical(at int32) ([]byte, bool) {
	v := &c.doc.Values[at]
	if !c.spend(1 + 3*int64(v.End-at)) {
		return nil, false
	}
	c.buf = canonical(c.buf[:0], c.doc, at)
	return c.buf, c.spend(int64(len(c.buf)) / 16)
}

// canonical appends the form that is the same for equal values: numbers by
// their value, and objects sorted by name.
func canonical(b []byte, doc *strictjson.Doc, at int32) []byte {
	v := &doc.Values[at]
	switch v.Kind {
	case strictjson.Null, strictjson.False, strictjson.True:
		return append(b, "nft"[v.Kind])
	case strictjson.Number:
		return append(canonicalNumber(append(b, '#'), v.Text), ';')
	case strictjson.String:
		return canonicalText(b, v.Text)
	case strictjson.List:
		b = append(b, '[')
		for m := at + 1; m < v.End; m = doc.Values[m].End {
			b = canonical(b, doc, m)
		}
		return append(b, ']')
	}
	members := make([]int32, 0, v.Count)
	for m := at + 1; m < v.End; m = doc.Values[m].End {
		members = append(members, m)
	}
	slices.SortFunc(members, func(x, y int32) int { return strings.Compare(doc.Values[x].Name, doc.Values[y].Name) })
	b = append(b, '{')
	for _, m := range members {
		b = canonical(canonicalText(b, doc.Values[m].Name), doc, m)
	}
	return append(b, '}')
}

func canonicalText(b []byte, s string) []byte {
	b = strconv.AppendInt(append(b, '"'), int64(len(s)), 10)
	return append(append(b, ':'), s...)
}

// canonicalNumber appends a number as digits without zeros around them and a
// power of ten.
func canonicalNumber(b []byte, text string) []byte {
	mantissa, power, _ := strings.Cut(strings.ToLower(text), "e")
	exponent, _ := strconv.Atoi(power) // bounded when it was read; 0 if there is none
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	digits, fraction, _ := strings.Cut(mantissa, ".")
	exponent -= len(fraction)
	digits = strings.TrimLeft(digits+fraction, "0")
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return append(b, '0')
	}
	if negative {
		b = append(b, '-')
	}
	return strconv.AppendInt(append(append(b, short...), 'e'), int64(exponent+len(digits)-len(short)), 10)
}

// isWhole tells whether a number has no fraction.
func isWhole(text string) bool {
	if !strings.ContainsAny(text, ".eE") {
		return true
	}
	var buf [256]byte
	_, power, found := strings.Cut(string(canonicalNumber(buf[:0], text)), "e")
	return !found || power[0] != '-'
}
