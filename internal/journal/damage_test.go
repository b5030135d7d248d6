//go:build linux

package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
)

// quiet keeps the background from acting during a test of exact bytes.
const quiet = time.Hour

// crashedJournal gives a folder with a finished segment 1 and a segment 2
// that was synced up to the third of its four frames when the process died,
// the records in it, and where in segment 2 each frame ends.
func crashedJournal(t testing.TB, cfg Config) (d *crashDisk, want []entryRead, ends []int64) {
	t.Helper()
	d = newCrashDisk(rand.New(rand.NewPCG(1, 1)))
	add := func(j *Journal, text string) uint64 {
		seq := put(t, j, text)
		want = append(want, entryRead{j.ID(seq), 7, text})
		return seq
	}
	j := mustOpen(t, d, cfg)
	for i := range 3 {
		add(j, fmt.Sprintf("first boot, record %d", i))
	}
	closeIt(t, j)
	j = mustOpen(t, d, cfg)
	for i := range 4 {
		seq := add(j, fmt.Sprintf("second boot, record %d", i))
		if i < 3 {
			if err := j.Sync(seq); err != nil {
				t.Fatal(err)
			}
		}
		ends = append(ends, j.lead.off)
	}
	return d.clone(rand.New(rand.NewPCG(2, 2))), want, ends
}

func damageConfigs(t *testing.T) map[string]Config {
	return map[string]Config{
		"plain":  {Node: "node-a", SyncInterval: quiet},
		"sealed": {Node: "node-a", SyncInterval: quiet, Sealer: newSealer(t, 1)},
	}
}

func TestTornTailAtEveryByte(t *testing.T) {
	for name, cfg := range damageConfigs(t) {
		t.Run(name, func(t *testing.T) {
			whole, want, ends := crashedJournal(t, cfg)
			newest := whole.files[fileName(2)].data
			for cut := range len(newest) + 1 {
				d := whole.clone(nil)
				d.put(fileName(2), newest[:cut])
				kept := 3
				for _, end := range ends {
					if int64(cut) >= end {
						kept++
					}
				}
				j := mustOpen(t, d, cfg)
				got, _ := readAll(t, j, Cursor{})
				equalEntries(t, got, want[:kept])
				torn := cut > headerBytes && !slices.Contains(ends, int64(cut))
				if r := j.Recovery(); r.Clean || (r.TornFile != "") != torn || r.TornOffset+r.TornBytes != torn64(torn, cut) {
					t.Fatalf("cut at %d of %v: recovery %+v", cut, ends, r)
				}
				after := put(t, j, "after")
				closeIt(t, j)
				again := mustOpen(t, d, cfg)
				if !again.Recovery().Clean {
					t.Fatalf("cut at %d: a closed journal is not clean: %+v", cut, again.Recovery())
				}
				got, _ = readAll(t, again, Cursor{})
				equalEntries(t, got, append(slices.Clone(want[:kept]), entryRead{j.ID(after), 7, "after"}))
				closeIt(t, again)
			}
		})
	}
}

func torn64(torn bool, cut int) int64 {
	if torn {
		return int64(cut)
	}
	return 0
}

// flipEach opens the journal with every single bit-flipped byte of a file,
// and gives what became of each.
func flipEach(t *testing.T, whole *crashDisk, name string, check func(at int, d *crashDisk)) {
	t.Helper()
	data := whole.files[name].data
	for at := range data {
		d := whole.clone(nil)
		d.files[name].data[at] ^= 1 << (at % 8)
		check(at, d)
	}
}

func wantCorrupt(t *testing.T, d *crashDisk, cfg Config, name string, at int) {
	t.Helper()
	before := d.contents()
	j, err := open(d, cfg)
	if err == nil {
		j.Close()
		t.Fatalf("a changed byte at %d of %s was not noticed: %+v", at, name, j.Recovery())
	}
	var c *CorruptError
	if errors.As(err, &c) {
		if c.File != name || c.Offset > int64(at) {
			t.Fatalf("byte %d of %s was changed, and the error says %v", at, name, err)
		}
	} else if !fault.Is(err, fault.Unsupported) { // the flip made the version newer
		t.Fatalf("byte %d: %v", at, err)
	}
	if !maps.Equal(before, d.contents()) {
		t.Fatalf("byte %d: the refused journal was changed", at)
	}
}

func TestFlippedBitIsReported(t *testing.T) {
	for name, cfg := range damageConfigs(t) {
		t.Run(name, func(t *testing.T) {
			whole, want, ends := crashedJournal(t, cfg)
			flipEach(t, whole, fileName(1), func(at int, d *crashDisk) {
				wantCorrupt(t, d, cfg, fileName(1), at)
			})
			flipEach(t, whole, fileName(2), func(at int, d *crashDisk) {
				if int64(at) < ends[2] {
					wantCorrupt(t, d, cfg, fileName(2), at)
					return
				}
				// What was never synced may be torn: the frame goes, and is
				// reported, and no other record does.
				j := mustOpen(t, d, cfg)
				got, _ := readAll(t, j, Cursor{})
				equalEntries(t, got, want[:6])
				if r := j.Recovery(); r.TornFile != fileName(2) || r.TornOffset != ends[2] {
					t.Fatalf("byte %d: recovery %+v", at, r)
				}
				closeIt(t, j)
			})
			// After an orderly end nothing is left that could be torn, but
			// for the end mark itself.
			j := mustOpen(t, whole, cfg)
			put(t, j, "last")
			end := j.lead.off
			closeIt(t, j)
			flipEach(t, whole, fileName(3), func(at int, d *crashDisk) {
				if int64(at) < end {
					wantCorrupt(t, d, cfg, fileName(3), at)
				}
			})
		})
	}
}

func TestMovedPartsAreRefused(t *testing.T) {
	sealed := damageConfigs(t)["sealed"]
	whole, _, _ := crashedJournal(t, sealed)
	one, two := whole.files[fileName(1)].data, whole.files[fileName(2)].data
	sizes := frameSizes(t, two)
	swapped := slices.Concat(two[:headerBytes], two[headerBytes+sizes[0]:headerBytes+sizes[0]+sizes[1]], two[headerBytes:headerBytes+sizes[0]], two[headerBytes+sizes[0]+sizes[1]:])
	for _, test := range []struct {
		name   string
		change func(d *crashDisk)
		reason string
	}{
		{"harmless twin", func(d *crashDisk) {}, ""},
		{"frames swapped", func(d *crashDisk) { d.put(fileName(2), swapped) }, "frame 1 stands where frame 0 belongs"},
		{"frames swapped and renumbered", func(d *crashDisk) { d.put(fileName(2), renumber(t, swapped)) }, "does not open under this key"},
		{"segment under another name", func(d *crashDisk) { d.put(fileName(2), one) }, "under the name of"},
		{"segment deleted between", func(d *crashDisk) {
			closeIt(t, mustOpen(t, d, sealed))
			delete(d.files, fileName(2))
		}, "segments between are missing"},
		{"older segment cut at a frame", func(d *crashDisk) {
			d.put(fileName(1), one[:headerBytes+frameSizes(t, one)[0]])
		}, "its end is missing"},
		{"bytes after the end", func(d *crashDisk) { d.put(fileName(1), append(slices.Clone(one), 0)) }, "follow the end mark"},
		{"segment emptied", func(d *crashDisk) { d.put(fileName(1), nil) }, "not the beginning"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := whole.clone(nil)
			test.change(d)
			j, err := open(d, sealed)
			if test.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				closeIt(t, j)
				return
			}
			var c *CorruptError
			if !errors.As(err, &c) || !strings.Contains(c.Reason, test.reason) {
				t.Fatalf("%v, want the reason %q", err, test.reason)
			}
		})
	}
}

// frameSizes gives the sizes of the frames in a segment.
func frameSizes(t testing.TB, data []byte) []int {
	t.Helper()
	var h segmentHeader
	if bad := h.decode(data); bad != nil {
		t.Fatal(bad.reason)
	}
	var sizes []int
	for at := headerBytes; at < len(data); {
		var f frameHeader
		if !f.decode(h.seed(), data[at:]) {
			t.Fatal("no frame at", at)
		}
		sizes = append(sizes, frameHeaderBytes+int(f.length))
		at += sizes[len(sizes)-1]
	}
	return sizes
}

// renumber makes all that nothing secret protects fit again, as somebody who
// can write to the folder would.
func renumber(t testing.TB, data []byte) []byte {
	t.Helper()
	var sh segmentHeader
	if bad := sh.decode(data); bad != nil {
		t.Fatal(bad.reason)
	}
	out := slices.Clone(data)
	at, number, seq := headerBytes, uint64(0), sh.first
	for _, size := range frameSizes(t, data) {
		var h frameHeader
		f := out[at : at+size]
		h.decode(sh.seed(), f)
		h.number, h.first, h.synced = number, seq, headerBytes
		h.encodeOpen(f)
		encodeSums(sh.seed(), f, f[frameHeaderBytes:])
		at, number, seq = at+size, number+1, seq+uint64(h.records())
	}
	return out
}

func TestAnotherKeyChangesNothing(t *testing.T) {
	cfg := damageConfigs(t)["sealed"]
	whole, _, _ := crashedJournal(t, cfg)
	torn := whole.clone(nil)
	f := torn.files[fileName(2)]
	f.data = f.data[:len(f.data)-3]
	for _, sealer := range []Sealer{newSealer(t, 2), nil} {
		for _, d := range []*crashDisk{whole, torn} {
			before := d.contents()
			other := cfg
			other.Sealer = sealer
			if _, err := open(d, other); err == nil {
				t.Fatalf("the journal opens with sealer %v", sealer)
			}
			if !maps.Equal(before, d.contents()) {
				t.Fatal("a journal that does not open under this key was changed")
			}
		}
	}
	// An unsealed segment slipped into a sealed journal is no way in.
	plain, _, _ := crashedJournal(t, damageConfigs(t)["plain"])
	if _, err := open(plain, cfg); err == nil || !strings.Contains(err.Error(), "not sealed") {
		t.Fatalf("an unsealed journal with a key: %v", err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	cfg := damageConfigs(t)["plain"]
	for _, full := range []bool{true, false} {
		d, _, _ := crashedJournal(t, cfg)
		f := d.files[fileName(2)]
		if !full {
			f.data = f.data[:headerBytes]
		}
		f.data[8] = formatVersion + 1
		before := d.contents()
		if _, err := open(d, cfg); !fault.Is(err, fault.Unsupported) {
			t.Fatalf("whole %v: %v", full, err)
		}
		if !maps.Equal(before, d.contents()) {
			t.Fatal("a journal of a newer release was changed")
		}
	}
}

// TestHeaderOfAnotherSegmentDoesNotProveDurability: what follows a torn frame
// counts as proof only if this segment wrote it.
func TestHeaderOfAnotherSegmentDoesNotProveDurability(t *testing.T) {
	cfg := damageConfigs(t)["plain"]
	whole, want, ends := crashedJournal(t, cfg)
	forge := func(seed uint32) *crashDisk {
		d := whole.clone(nil)
		f := d.files[fileName(2)]
		f.data = f.data[:ends[3]]
		f.data[ends[2]+frameHeaderBytes] ^= 1 // the last frame is torn
		h := frameHeader{number: 4, first: 5, synced: uint64(ends[3])}
		b := make([]byte, frameHeaderBytes)
		h.encodeOpen(b)
		encodeSums(seed, b, nil)
		f.data = append(f.data, b...)
		return d
	}
	var own segmentHeader
	if bad := own.decode(whole.files[fileName(2)].data); bad != nil {
		t.Fatal(bad.reason)
	}
	if _, err := open(forge(own.seed()), cfg); err == nil {
		t.Fatal("a frame of this segment says that the damaged one was durable, and it is cut off")
	}
	j := mustOpen(t, forge(crc32.Checksum([]byte("another"), castagnoli)), cfg)
	got, _ := readAll(t, j, Cursor{})
	equalEntries(t, got, want[:6])
	closeIt(t, j)
}
