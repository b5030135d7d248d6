package strictjson

import (
	"fmt"
	"strings"
)

// mostPath is the longest path that is shown, in bytes.
const mostPath = 256

// Path gives where a value stands, as in $.orders[3]["unit price"]. It is cut
// where it would be long.
func (d *Doc) Path(at int32) string {
	var b strings.Builder
	b.WriteByte('$')
	for in := int32(0); in != at && b.Len() < mostPath; {
		n := 0
		c := in + 1
		for d.Values[c].End <= at {
			c = d.Values[c].End
			n++
		}
		if d.Values[in].Kind == Object {
			writeName(&b, d.Values[c].Name)
		} else {
			fmt.Fprintf(&b, "[%d]", n)
		}
		in = c
	}
	return b.String()
}

func writeName(b *strings.Builder, name string) {
	if plain(name) {
		b.WriteByte('.')
		b.WriteString(name)
		return
	}
	fmt.Fprintf(b, "[%q]", clip(name))
}

func plain(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// clip cuts a stranger's text for messages.
func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}

// Member finds a member of an object by its name.
func (d *Doc) Member(object int32, name string) (at int32, found bool) {
	v := &d.Values[object]
	if v.Kind != Object {
		return 0, false
	}
	for c := object + 1; c < v.End; c = d.Values[c].End {
		if d.Values[c].Name == name {
			return c, true
		}
	}
	return 0, false
}

// Nearest gives the one of the names that was probably meant by a misspelt
// one, and false if none is near: within two changes of a letter, or one for
// short names, or equal but for case.
func Nearest(misspelt string, names []string) (string, bool) {
	best, least := "", 3
	if len(misspelt) <= 4 {
		least = 2
	}
	if len(misspelt) > 64 {
		return "", false
	}
	for _, name := range names {
		if strings.EqualFold(name, misspelt) {
			return name, true
		}
		if n := distance(strings.ToLower(misspelt), strings.ToLower(name), least); n < least {
			best, least = name, n
		}
	}
	return best, best != ""
}

// distance is how many letters have to be changed, added, taken away or
// swapped with their neighbour; most if it is that many or more.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], most)
}
