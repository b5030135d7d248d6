package fields

import (
	"math"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	b := Uint(nil, 1)
	b = Uint(b, math.MaxUint64)
	b = Int(b, math.MinInt64)
	b = Text(b, "acme")
	b = Text(b, []byte{0})
	r, version, err := Read(b, 1)
	if err != nil || version != 1 {
		t.Fatalf("Read: version %d, error %v", version, err)
	}
	if r.Uint() != math.MaxUint64 || r.Int() != math.MinInt64 || r.Text() != "acme" || len(r.Bytes()) != 1 || r.Done() != nil {
		t.Error("the fields read are not those written")
	}
	if r.Uint(); r.Done() == nil {
		t.Error("a field past the end was read without an error")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	if _, _, err := Read(Uint(nil, 3), 2); err == nil {
		t.Error("a record of schema 3 was read by a reader of 2")
	}
}

func FuzzReader(f *testing.F) {
	f.Add(Text(Int(Uint(Uint(nil, 1), 7), -7), "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := Read(b, 9)
		if err != nil {
			return
		}
		r.Uint()
		r.Int()
		if got := r.Bytes(); len(got) > len(b) {
			t.Fatal("a field is longer than its record")
		}
	})
}
