//go:build linux

package wasm

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkCall is a call with everything around it: input, output, fuel and
// bringing the state back.
func BenchmarkCall(b *testing.B) {
	guests := map[string]func() (*Artifact, string){
		"small": func() (*Artifact, string) { return build(b, smallGuest()), "" },
		"go":    func() (*Artifact, string) { return goReactor(b), `{"op":"echo","text":"hello"}` },
		"go-warm": func() (*Artifact, string) {
			event := `{"op":"echo","text":"hello"}`
			a, err := Build(context.Background(), Source{Module: goGuest(b, "reactor"), MemoryLimit: testLimit, Warmup: []byte(event)})
			if err != nil {
				b.Fatal(err)
			}
			return a, event
		},
	}
	for guest, artifact := range guests {
		a, event := artifact()
		for name, e := range engines(b) {
			b.Run(guest+"/"+name, func(b *testing.B) {
				g := loadFD(b, e, a)
				inv, res := invocation(event), &Result{}
				b.ReportAllocs()
				for b.Loop() {
					if err := g.Run(context.Background(), inv, res); err != nil || res.Status != StatusOK {
						b.Fatal(err, res.Status, res.ErrorMessage)
					}
				}
				b.ReportMetric(float64(g.region.hot), "pages/op")
			})
		}
	}
}

// BenchmarkCold is what a blank worker does when it is given a function, and
// the function's first call. Dropping the guest is not counted.
func BenchmarkCold(b *testing.B) {
	guests := map[string]func() (*Artifact, string){
		"small": func() (*Artifact, string) { return build(b, smallGuest()), "" },
		"go":    func() (*Artifact, string) { return goReactor(b), `{"op":"echo","text":"hello"}` },
	}
	for guest, artifact := range guests {
		a, event := artifact()
		b.Run(guest, func(b *testing.B) {
			fd, size := artifactFile(b, a)
			var load, first time.Duration
			for range b.N {
				e, err := NewEngine() // blank: made before the function is known
				if err != nil {
					b.Fatal(err)
				}
				t0 := time.Now()
				g, err := e.LoadFD(context.Background(), fd, size, LoadConfig{MemoryLimit: testLimit})
				if err != nil {
					b.Fatal(err)
				}
				t1 := time.Now()
				run(b, g, invocation(event))
				load, first = load+t1.Sub(t0), first+time.Since(t1)
				g.Close()
				e.Close()
			}
			b.ReportMetric(float64(load.Microseconds())/float64(b.N), "load-us/op")
			b.ReportMetric(float64(first.Microseconds())/float64(b.N), "first-us/op")
		})
	}
}

// BenchmarkEngine is what a blank worker costs in this package.
func BenchmarkEngine(b *testing.B) {
	for b.Loop() {
		e, err := NewEngine()
		if err != nil {
			b.Fatal(err)
		}
		e.Close()
	}
}

// BenchmarkRestore compares five ways to bring memory back after a call that
// wrote to some pages, with the image mapped from a file. The time includes
// the call's own writes, because the ways differ in the page faults they make
// the next call take.
func BenchmarkRestore(b *testing.B) {
	shapes := []struct {
		name         string
		pages, dirty int
	}{{"192KiB-2dirty", 48, 2}, {"2.6MiB-40dirty", 656, 40}}
	for _, s := range shapes {
		for name, way := range restoreWays {
			b.Run(s.name+"/"+name, func(b *testing.B) { benchRestore(b, way, s.pages, s.dirty) })
		}
	}
}

// restoreWays are ways to make a region the image again.
var restoreWays = map[string]func(*region) error{
	"madvise": func(r *region) error { return unix.Madvise(r.mem[:r.fixed], unix.MADV_DONTNEED) },
	"copy": func(r *region) error {
		copy(r.mem, r.image)
		return nil
	},
	"compare": func(r *region) error {
		r.putBack(0, uint64(len(r.image)))
		return nil
	},
	"protect-scan": func(r *region) error {
		if err := r.watch.written(r.mem[:len(r.image)], func(from, to uint64) { r.putBack(from, to) }); err != nil {
			return err
		}
		return r.watch.protect(r.mem[:len(r.image)])
	},
	"hot-cold": (*region).restore,
	"hot-cold-copy": func(r *region) error {
		return r.watch.written(r.mem[:len(r.image)], func(from, to uint64) { copy(r.mem[from:to], r.image[from:to]) })
	},
}

func benchRestore(b *testing.B, way func(*region) error, pages, dirty int) {
	w := watchers(b)["watch"]
	if w == nil {
		b.Skip("the kernel cannot watch pages")
	}
	r, err := newRegion(8<<20, w)
	if err != nil {
		b.Fatal(err)
	}
	defer r.close()
	image := testImage(pages * pageSize)
	fd := imageFile(b, image)
	if err := r.setImage(image, (uint64(len(image))+wasmPage-1)&^(wasmPage-1), fd, 0); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for i := range dirty {
			r.mem[(i*pages/dirty)*pageSize+i]++
		}
		if err := way(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReset compares the ways back: restoring, after growing memory, and
// a new instance, after a change of the table.
func BenchmarkReset(b *testing.B) {
	module := jailedGuest().Encode()
	e := engines(b)["watch"]
	if e == nil {
		b.Skip("the kernel cannot watch pages")
	}
	g := loadFD(b, e, build(b, module))
	for name, event := range map[string]string{"restore": "-", "grown": "g", "trap": "x", "new-instance": "t"} {
		b.Run(name, func(b *testing.B) {
			inv, res := invocation(event), &Result{}
			for b.Loop() {
				if err := g.Run(context.Background(), inv, res); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
