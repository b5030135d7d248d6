//go:build linux

package journal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkAppendWrite measures a record of 300 bytes, acknowledged, with
// several callers at once; ns/op is the time between two acknowledgements.
func BenchmarkAppendWrite(b *testing.B) {
	data := make([]byte, 300)
	for _, mode := range []struct {
		name string
		sync Sync
	}{{"background", SyncBackground}, {"always", SyncAlways}} {
		for _, sealed := range []bool{false, true} {
			for _, callers := range []int{1, 8, 32, 128} {
				b.Run(fmt.Sprintf("%s/sealed=%v/callers=%d", mode.name, sealed, callers), func(b *testing.B) {
					cfg := Config{Sync: mode.sync}
					if sealed {
						cfg.Sealer = newSealer(b, 1)
					}
					j := openDir(b, b.TempDir(), cfg)
					b.SetBytes(int64(len(data)))
					b.ReportAllocs()
					var done atomic.Int64
					var wg sync.WaitGroup
					b.ResetTimer()
					for range callers {
						wg.Go(func() {
							for done.Add(1) <= int64(b.N) {
								if err := j.Write(j.Append(1, data)); err != nil {
									b.Error(err)
									return
								}
							}
						})
					}
					wg.Wait()
					b.StopTimer()
					j.mu.Lock()
					var frames uint64
					for i := range j.segments {
						frames += j.segments[i].frames
					}
					j.mu.Unlock()
					b.ReportMetric(float64(b.N)/float64(max(frames, 1)), "records/frame")
					closeIt(b, j)
				})
			}
		}
	}
}

// BenchmarkSync measures control acts: each waits for an fsync.
func BenchmarkSync(b *testing.B) {
	data := make([]byte, 300)
	j := openDir(b, b.TempDir(), Config{})
	for b.Loop() {
		if err := j.Sync(j.Append(1, data)); err != nil {
			b.Fatal(err)
		}
	}
	closeIt(b, j)
}

// BenchmarkAppend measures the copy into the batch alone.
func BenchmarkAppend(b *testing.B) {
	data := make([]byte, 300)
	j := openDir(b, b.TempDir(), Config{})
	for i := 0; b.Loop(); i++ {
		seq := j.Append(1, data)
		if i%1000 == 999 {
			b.StopTimer()
			if err := j.Write(seq); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
	closeIt(b, j)
}

// BenchmarkOpen measures recovery: reading, checking and unsealing 64 MiB.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	cfg := Config{Sealer: newSealer(b, 1)}
	j := openDir(b, dir, cfg)
	data := make([]byte, 300)
	var bytes int64
	for bytes < 64<<20 {
		if err := j.Write(j.Append(1, data)); err != nil {
			b.Fatal(err)
		}
		bytes += int64(len(data))
	}
	closeIt(b, j)
	b.SetBytes(bytes)
	for b.Loop() {
		closeIt(b, openDir(b, dir, cfg))
	}
}
