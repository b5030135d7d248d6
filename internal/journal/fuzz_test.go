//go:build linux

package journal

import (
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// FuzzSegment gives Open any bytes as the newest segment. With mend the sums
// are made right first, so that what lies behind them is reached.
func FuzzSegment(f *testing.F) {
	for _, cfg := range []Config{
		{Node: "node-a", SyncInterval: quiet},
		{Node: "node-a", SyncInterval: quiet, Sealer: newSealer(f, 1)},
	} {
		whole, _, ends := crashedJournal(f, cfg)
		for _, name := range []string{fileName(1), fileName(2)} {
			data := slices.Clone(whole.files[name].data)
			f.Add(data, false)
			data[16] = 1 // its number: then it is at its place
			f.Add(data, true)
			f.Add(data[:len(data)-5], true)
			f.Add(data[:headerBytes+20], true)
			f.Add(data[:headerBytes], true)
			f.Add(data[:10], false)
		}
		long := slices.Clone(whole.files[fileName(2)].data)
		long[16] = 1
		for i := range 4 {
			long[int(ends[0])+i] = 0xff // the length of the second frame
		}
		f.Add(long, true)
	}
	f.Add([]byte{}, false)
	sealer := newSealer(f, 1)
	f.Fuzz(func(t *testing.T, data []byte, mend bool) {
		if mend {
			data = mendSums(data)
		}
		for _, cfg := range []Config{{Node: "node-b", SyncInterval: quiet}, {Node: "node-b", SyncInterval: quiet, Sealer: sealer}} {
			d := newCrashDisk(rand.New(rand.NewPCG(3, 3)))
			d.put(fileName(1), data)
			before := d.contents()
			j, err := open(d, cfg)
			if err != nil {
				if !maps.Equal(before, d.contents()) {
					t.Fatalf("a refused journal was changed: %v", err)
				}
				continue
			}
			first, _ := readAll(t, j, Cursor{})
			if uint64(len(first)) != j.Recovery().Records {
				t.Fatalf("%d records read, recovery %+v", len(first), j.Recovery())
			}
			for i := range first[:max(len(first), 1)-1] {
				if first[i].id.Seq >= first[i+1].id.Seq {
					t.Fatalf("%v before %v", first[i].id, first[i+1].id)
				}
			}
			closeIt(t, j)
			again := mustOpen(t, d, cfg)
			if !again.Recovery().Clean {
				t.Fatalf("a recovered and closed journal is not clean: %+v", again.Recovery())
			}
			second, _ := readAll(t, again, Cursor{})
			equalEntries(t, second, first)
			closeIt(t, again)
		}
	})
}

// mendSums makes header and frame sums right where lengths allow.
func mendSums(data []byte) []byte {
	out := slices.Clone(data)
	if len(out) < headerBytes {
		return out
	}
	var sh segmentHeader
	sum := crc32.Checksum(out[:headerSumAt], castagnoli)
	for i := range 4 {
		out[headerSumAt+i] = byte(sum >> (8 * i))
	}
	copy(sh.raw[:], out)
	for at := headerBytes; at+frameHeaderBytes <= len(out); {
		var h frameHeader
		h.decode(sh.seed(), out[at:])
		end := at + frameHeaderBytes + int(h.length)
		encodeSums(sh.seed(), out[at:], out[at+frameHeaderBytes:min(end, len(out))])
		at = end
	}
	return out
}
