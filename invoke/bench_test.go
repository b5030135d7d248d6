package invoke

import (
	"testing"

	"github.com/carrel-dev/carrel/call"
)

// BenchmarkInvoke is what the pipeline itself costs a call: its driver runs
// nothing.
func BenchmarkInvoke(b *testing.B) {
	f := newFixture(b)
	c := newCall("a")
	b.ReportAllocs()
	for b.Loop() {
		if o := f.Invoke(b.Context(), c); o.Result != call.OK {
			b.Fatal(o.Err)
		}
	}
}
