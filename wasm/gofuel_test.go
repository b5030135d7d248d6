package wasm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// workSource are CPU-bound programs as Go compiles them: each function one
// dispatch loop over a br_table.
const workSource = `package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
)

func main() {}

var sink int

func fibonacci(n int) int {
	if n < 2 {
		return n
	}
	return fibonacci(n-1) + fibonacci(n-2)
}

//go:wasmexport fib
func fib() { sink = fibonacci(22) }

//go:wasmexport spin
func spin() {
	for n := 0; n < 200_000; n++ {
		sink = n
	}
}

//go:wasmexport json
func encode() {
	type item struct {
		Name  string
		Price float64
		Tags  []string
	}
	list := []item{}
	for i := range 40 {
		list = append(list, item{fmt.Sprint("item ", i), float64(i) / 7, []string{"a", "b<>"}})
	}
	for range 4 {
		b, err := json.Marshal(list)
		if err != nil || json.Unmarshal(b, &list) != nil {
			panic("json")
		}
		sink += len(b)
	}
}

//go:wasmexport sort
func order() {
	list := make([]int, 10_000)
	x := uint32(1)
	for i := range list {
		x = x*1664525 + 1013904223
		list[i] = int(x >> 8)
	}
	sort.Ints(list)
	sink = list[77]
}

//go:wasmexport sha256
func hash() {
	data := bytes.Repeat([]byte("carrel"), 10_000)
	for range 3 {
		sum := sha256.Sum256(data)
		sink += int(sum[0])
	}
}

//go:wasmexport matrix
func matrix() {
	const n = 60
	var a, b, c [n][n]float64
	for i := range n {
		for j := range n {
			a[i][j], b[i][j] = float64(i+j), float64(i-j)
		}
	}
	for i := range n {
		for j := range n {
			for k := range n {
				c[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	sink = int(c[7][8])
}

//go:wasmexport words
func words() {
	count := map[string]int{}
	for i := range 3000 {
		for _, w := range strings.Fields(fmt.Sprintf("the %d fox %d jumps", i%100, i%7)) {
			count[w]++
		}
	}
	sink = len(count)
}

var pattern = regexp.MustCompile("([a-z]+)@([a-z]+)[.]com")

//go:wasmexport regexp
func match() {
	text := strings.Repeat("some words and ada@example.com more ", 50)
	sink = len(pattern.FindAllString(text, -1))
}
`

// works are the exports of workSource.
var works = []string{"fib", "spin", "json", "sort", "sha256", "matrix", "words", "regexp"}

// BenchmarkGoFuel runs the programs without a fuel counter and with one, and
// says how long a unit lasts.
func BenchmarkGoFuel(b *testing.B) {
	module := compileGo(b, workSource)
	for _, o := range []struct {
		name string
		wasm.Options
	}{{"without", wasm.Options{WithoutFuel: true}}, {"with", wasm.Options{}}} {
		m := parse(b, module)
		i, err := wasm.Instrument(m, o.Options)
		if err != nil {
			b.Fatal(err)
		}
		out := i.Module.Encode()
		begin := time.Now()
		g := benchmarkInstance(b, out)
		b.Logf("%s: %d bytes of %d, compiled in %v", o.name, len(out), len(module), time.Since(begin))
		if _, err := g.ExportedFunction("_initialize").Call(context.Background()); err != nil {
			b.Fatal(err)
		}
		for _, w := range works {
			b.Run(w+"/"+o.name, func(b *testing.B) { benchmarkFuel(b, g, w) })
		}
	}
}

// benchmarkFuel calls a function and reports the time for a unit of fuel.
func benchmarkFuel(b *testing.B, g api.Module, name string, args ...uint64) {
	b.Helper()
	f, stack := g.ExportedFunction(name), make([]uint64, 1)
	fuel, ok := g.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal)
	used := int64(0)
	for b.Loop() {
		copy(stack, args)
		if ok {
			fuel.Set(benchmarkSlice)
		}
		if err := f.CallWithStack(context.Background(), stack); err != nil {
			b.Fatal(err)
		}
		if ok {
			used += benchmarkSlice - int64(fuel.Get())
		}
	}
	if ok {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(used), "ns/unit")
		b.ReportMetric(float64(used)/float64(b.N), "units/op")
	}
}

// benchmarkSlice is more than a benchmark's call uses up.
const benchmarkSlice = 1 << 50

func benchmarkInstance(b *testing.B, module []byte) api.Module {
	b.Helper()
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	b.Cleanup(func() { r.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	_, err := r.NewHostModuleBuilder(wasm.ReservedModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) {
			m.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal).Set(benchmarkSlice)
		}), nil, nil).Export(wasm.YieldImport).Instantiate(ctx)
	if err != nil {
		b.Fatal(err)
	}
	config := wazero.NewModuleConfig().WithStartFunctions().WithStdin(strings.NewReader(""))
	guest, err := r.InstantiateWithConfig(ctx, module, config)
	if err != nil {
		b.Fatal(err)
	}
	return guest
}
