//go:build linux

package spawner

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkSpawn measures from the order to the reply, to the worker's first
// byte, and to the end after a kill.
func BenchmarkSpawn(b *testing.B) {
	c := startClient(b, testConfig(b))
	for _, l := range []Limits{{}, {MemoryBytes: 256 << 20, CPUQuota: 1000, PIDs: 64}} {
		b.Run(fmt.Sprintf("limits=%v", l != Limits{}), func(b *testing.B) {
			var reply, ready, end []time.Duration
			for b.Loop() {
				start := time.Now()
				p, err := c.Spawn(context.Background(), Worker, l)
				if err != nil {
					b.Fatal(err)
				}
				reply = append(reply, time.Since(start))
				if hear(p) != "r" {
					b.Fatal(stderrOf(p))
				}
				ready = append(ready, time.Since(start))
				start = time.Now()
				_ = p.Kill()
				p.Wait()
				end = append(end, time.Since(start))
				_ = p.Close()
			}
			for name, all := range map[string][]time.Duration{"reply": reply, "ready": ready, "kill": end} {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds()), name+"-p50-us")
				b.ReportMetric(float64(all[len(all)*95/100].Microseconds()), name+"-p95-us")
			}
		})
	}
}

// BenchmarkSpawnInParallel measures how many processes can be started and
// ended in a second.
func BenchmarkSpawnInParallel(b *testing.B) {
	c := startClient(b, testConfig(b))
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p, err := c.Spawn(context.Background(), Worker, Limits{MemoryBytes: 256 << 20, PIDs: 64})
			if err != nil || hear(p) != "r" {
				b.Error(err)
				return
			}
			_ = p.Kill()
			p.Wait()
			_ = p.Close()
		}
	})
}
