//go:build linux

package journal

import (
	"errors"
	"testing"

	"github.com/carrel-dev/carrel/fault"
)

func TestCursorsStopAndGoOn(t *testing.T) {
	j := mustOpen(t, newCrashDisk(nil), Config{SegmentBytes: 300, SyncInterval: quiet})
	for i := range 100 {
		seq := j.Append(Kind(i), []byte("a record"))
		if i%7 == 0 || i == 99 { // so that frames hold several records
			if err := j.Write(seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Every record by a Read of its own.
	var cur Cursor
	for want := uint64(1); want <= 100; want++ {
		n := 0
		var err error
		cur, err = j.Read(cur, func(r Record) error {
			if n++; n > 1 {
				return Stop
			}
			if r.ID != j.ID(want) {
				t.Fatalf("record %v, want sequence %d", r.ID, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	mine := errors.New("mine")
	got, err := j.Read(Cursor{}, func(r Record) error {
		if r.ID.Seq == 50 {
			return mine
		}
		return nil
	})
	if !errors.Is(err, mine) || got.Seq != 50 {
		t.Fatalf("a Read that its callback ended is at %v with %v", got, err)
	}
	if err := j.Truncate(got); err != nil {
		t.Fatal(err)
	}
	rest, _ := readAll(t, j, got)
	if len(rest) != 51 || rest[0].id.Seq != 50 {
		t.Fatalf("after Truncate %d records are left", len(rest))
	}
	all, _ := readAll(t, j, Cursor{})
	if first := all[0].id.Seq; first > 50 || first < 30 {
		t.Fatalf("after Truncate the oldest record is %d", first)
	}
	closeIt(t, j)
}

func TestForeignCursorsAreRefused(t *testing.T) {
	cfg := Config{SegmentBytes: 200, SyncInterval: quiet}
	j := mustOpen(t, newCrashDisk(nil), cfg)
	other := mustOpen(t, newCrashDisk(nil), cfg)
	for range 20 {
		put(t, j, "a record")
		put(t, other, "a record")
	}
	_, end := readAll(t, other, Cursor{})
	start, err := j.Read(Cursor{}, func(Record) error { return Stop })
	if err != nil {
		t.Fatal(err)
	}
	_, mine := readAll(t, j, Cursor{})
	if err := j.Truncate(mine); err != nil {
		t.Fatal(err)
	}
	beyond := mine
	beyond.Segment++
	for _, test := range []struct {
		name string
		at   Cursor
		kind fault.Kind
	}{
		{"another journal's", end, fault.Precondition},
		{"beyond the end", beyond, fault.Precondition},
		{"deleted", start, fault.NotFound},
	} {
		if _, err := j.Read(test.at, nil); !fault.Is(err, test.kind) {
			t.Errorf("Read at a cursor %s: %v", test.name, err)
		}
		if err := j.Truncate(test.at); !fault.Is(err, test.kind) {
			t.Errorf("Truncate at a cursor %s: %v", test.name, err)
		}
	}
	// A wrong offset is no more than a slower search.
	put(t, j, "the last")
	for offset := range int64(400) {
		at := mine
		at.Offset = offset
		got, _ := readAll(t, j, at)
		if len(got) != 1 || got[0].data != "the last" {
			t.Fatalf("offset %d: %v", offset, got)
		}
	}
	closeIt(t, j)
	closeIt(t, other)
}

func TestOffsetOfALaterFrameSkipsNothing(t *testing.T) {
	j := mustOpen(t, newCrashDisk(nil), Config{SyncInterval: quiet})
	var ends []int64
	for range 5 {
		put(t, j, "a record")
		ends = append(ends, j.lead.off)
	}
	for _, offset := range ends {
		at := Cursor{Segment: 1, Boot: j.bootText, Seq: 2, Offset: offset}
		if got, _ := readAll(t, j, at); len(got) != 4 || got[0].id.Seq != 2 {
			t.Fatalf("offset %d of %v gives %v", offset, ends, got)
		}
	}
	closeIt(t, j)
}

func TestDamageUnderAnOpenJournalIsReported(t *testing.T) {
	d := newCrashDisk(nil)
	j := mustOpen(t, d, Config{SyncInterval: quiet})
	put(t, j, "one")
	put(t, j, "two")
	d.files[fileName(1)].data[headerBytes+frameHeaderBytes+6] ^= 1
	n := 0
	cur, err := j.Read(Cursor{}, func(Record) error { n++; return nil })
	var c *CorruptError
	if !errors.As(err, &c) || c.Offset != headerBytes || n != 0 || cur.Seq != 1 {
		t.Fatalf("%d records, cursor %v, %v", n, cur, err)
	}
	closeIt(t, j)
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add("0::0:0")
	f.Add("3:000102030405060708090a0b0c0d0e0f:18446744073709551615:9223372036854775807")
	f.Add("1:000102030405060708090a0b0c0d0e0f:1:-1")
	f.Add("+1:00:1:1")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || c != (Cursor{}) {
				t.Fatalf("%v with %v", c, err)
			}
			return
		}
		if text != "" && c.String() != text {
			t.Fatalf("%q became %q", text, c)
		}
		d := newCrashDisk(nil)
		j := mustOpen(t, d, Config{SyncInterval: quiet})
		put(t, j, "one")
		c.Boot, c.Segment = j.bootText, 1 // else it is refused at once
		got, _ := readAll(t, j, c)
		if want := c.Seq <= 1; (len(got) == 1) != want {
			t.Fatalf("cursor %v gives %v", c, got)
		}
		closeIt(t, j)
	})
}
