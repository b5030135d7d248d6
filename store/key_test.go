package store

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
)

func TestKeysTakeOnlySafeParts(t *testing.T) {
	for _, bad := range [][]string{
		{""}, {"fn", ""}, {"*"}, {"fn", ">"}, {"a.b"}, {"fn", "a.b"}, {"A"}, {"a/b"}, {"..", "etc"}, {"a b"}, {"a\x00"}, {"ä"}, {"fn", "\n"},
		{strings.Repeat("a", maxPart+1)}, strings.Split(strings.Repeat("a.", maxParts)+"a", "."),
		{strings.Repeat("a", 128), strings.Repeat("a", 128), strings.Repeat("a", 128), strings.Repeat("a", 128)},
	} {
		if k, err := NewKey(bad...); !fault.Is(err, fault.Invalid) || !k.IsZero() {
			t.Errorf("NewKey(%q) = %q, %v", bad, k, err)
		}
	}
	k, err := NewKey("fn", "acme-1", "a_b")
	if err != nil || k.String() != "fn.acme-1.a_b" {
		t.Fatalf("%q, %v", k, err)
	}
	if again, err := ParseKey(k.String()); err != nil || again != k {
		t.Errorf("read again as %q, %v", again, err)
	}
	if parts := k.Parts(); len(parts) != 3 || parts[1] != "acme-1" || (Key{}).Parts() != nil {
		t.Errorf("parts %q", parts)
	}
	if _, err := ParseKey(""); err == nil {
		t.Error("nothing was read as a key")
	}
	if more, err := k.Append("x", "y"); err != nil || more.String() != "fn.acme-1.a_b.x.y" {
		t.Errorf("appended to %q, %v", more, err)
	}
	if same, err := k.Append(); err != nil || same != k {
		t.Errorf("nothing appended to %q, %v", same, err)
	}
}

func TestBelow(t *testing.T) {
	key := func(s string) Key {
		if s == "" {
			return Key{}
		}
		k, err := ParseKey(s)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, c := range []struct {
		key, prefix string
		want        bool
	}{
		{"a.b", "a", true}, {"a.b", "a.b", true}, {"a.b", "", true}, {"ab", "a", false}, {"a", "a.b", false}, {"a-b.c", "a", false}, {"b.a", "a", false},
	} {
		if got := key(c.key).Below(key(c.prefix)); got != c.want {
			t.Errorf("%q below %q: %v", c.key, c.prefix, got)
		}
	}
	for text, want := range map[string]string{"a": "a", "a.b": "a.b", "a.b.c": "a.b", "a.b.c.d": "a.b"} {
		if got := key(text).group(); got != want {
			t.Errorf("group of %q is %q", text, got)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("acme", "globex")
	f.Add("a.b", "a*b")
	f.Add("", "x-")
	f.Add(strings.Repeat("a", 64), strings.Repeat("a", 65))
	f.Fuzz(func(t *testing.T, a, b string) {
		if _, err := NewKey("fn", Encode(a)); err != nil {
			t.Errorf("%q: %v", a, err)
		}
		if (a == b) != (Encode(a) == Encode(b)) {
			t.Errorf("%q and %q", a, b)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add("fn.acme.a")
	f.Add("..")
	f.Add("$JS.API.>")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err == nil && (k.String() != s || strings.ContainsAny(s, "*>$/ \\\x00") || strings.Contains(s, "..")) {
			t.Errorf("%q was read as %q", s, k)
		}
	})
}
