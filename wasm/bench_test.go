package wasm_test

import (
	"testing"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
	"github.com/tetratelabs/wazero/api"
)

// programs makes CPU-bound guests: a recursive function, a loop of few
// operations, nested loops over memory, and branching.
func programs() *wasm.Module {
	b := wasmtest.New()
	i32 := wasmtest.Types(wasm.I32)
	b.Memory(2, 2)
	b.Func("fib", i32, i32, func(c *wasmtest.Code) {
		c.LocalGet(0).I32Const(2).Op(wasmtest.I32LtU).IfOf(wasm.I32).LocalGet(0).Else()
		c.LocalGet(0).I32Const(1).Op(wasmtest.I32Sub).Call(0)
		c.LocalGet(0).I32Const(2).Op(wasmtest.I32Sub).Call(0).Op(wasmtest.I32Add).End()
	})
	sumLoop(b, "sum")
	b.Func("matrix", i32, i32, func(c *wasmtest.Code) { matrix(c) })
	b.Func("sieve", i32, i32, func(c *wasmtest.Code) { sieve(c) })
	return b.Module()
}

// matrix multiplies two square matrices of 40 by 40 floats, the argument
// being how many times.
func matrix(c *wasmtest.Code) {
	const n = 40
	i, j, k, acc := c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.F64)
	step := func(v uint32) {
		c.LocalGet(v).I32Const(1).Op(wasmtest.I32Add).LocalTee(v).I32Const(n).Op(wasmtest.I32LtU).BrIf(0).End()
	}
	at := func(row, col uint32) {
		c.LocalGet(row).I32Const(n).Op(wasmtest.I32Mul).LocalGet(col).Op(wasmtest.I32Add).I32Const(3).Op(wasmtest.I32Shl)
	}
	c.Loop()
	c.I32Const(0).LocalSet(i).Loop()
	c.I32Const(0).LocalSet(j).Loop()
	c.F64Const(0).LocalSet(acc).I32Const(0).LocalSet(k).Loop()
	at(i, k)
	c.Mem(wasmtest.F64Load, 0)
	at(k, j)
	c.Mem(wasmtest.F64Load, n*n*8)
	c.Op(wasmtest.F64Mul).LocalGet(acc).Op(wasmtest.F64Add).LocalSet(acc)
	step(k)
	at(i, j)
	c.LocalGet(acc).Mem(wasmtest.F64Store, 2*n*n*8)
	step(j)
	step(i)
	c.LocalGet(0).I32Const(1).Op(wasmtest.I32Sub).LocalTee(0).BrIf(0).End().I32Const(0)
}

// sieve counts primes below 65,536, the argument being how many times.
func sieve(c *wasmtest.Code) {
	const n = 65536
	i, j, found := c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32)
	c.Loop()
	c.I32Const(0).I32Const(0).I32Const(n).MemoryFill().I32Const(0).LocalSet(found).I32Const(2).LocalSet(i)
	c.Loop()
	c.LocalGet(i).Mem(wasmtest.I32Load8U, 0).Op(wasmtest.I32Eqz).If()
	c.LocalGet(found).I32Const(1).Op(wasmtest.I32Add).LocalSet(found)
	c.LocalGet(i).LocalSet(j)
	c.Loop().LocalGet(j).I32Const(1).Mem(wasmtest.I32Store8, 0)
	c.LocalGet(j).LocalGet(i).Op(wasmtest.I32Add).LocalTee(j).I32Const(n).Op(wasmtest.I32LtU).BrIf(0).End()
	c.End()
	c.LocalGet(i).I32Const(1).Op(wasmtest.I32Add).LocalTee(i).I32Const(n).Op(wasmtest.I32LtU).BrIf(0).End()
	c.LocalGet(0).I32Const(1).Op(wasmtest.I32Sub).LocalTee(0).BrIf(0).End().LocalGet(found)
}

// BenchmarkFuel runs the programs without a fuel counter and with one.
func BenchmarkFuel(b *testing.B) {
	for _, p := range []struct {
		name string
		arg  uint64
	}{{"fib", 22}, {"sum", 50_000}, {"matrix", 1}, {"sieve", 1}} {
		for _, o := range []struct {
			name string
			wasm.Options
		}{{"without", wasm.Options{WithoutFuel: true}}, {"with", wasm.Options{}}} {
			b.Run(p.name+"/"+o.name, func(b *testing.B) {
				benchmarkFuel(b, benchmarkGuest(b, programs(), o.Options), p.name, p.arg)
			})
		}
	}
}

func benchmarkGuest(b *testing.B, m *wasm.Module, o wasm.Options) api.Module {
	b.Helper()
	if err := m.Validate(); err != nil {
		b.Fatal(err)
	}
	i, err := wasm.Instrument(m, o)
	if err != nil {
		b.Fatal(err)
	}
	return benchmarkInstance(b, i.Module.Encode())
}

// BenchmarkToolKit takes a Go reactor through each step.
func BenchmarkToolKit(b *testing.B) {
	module := reactor(b)
	m := parse(b, module)
	i, err := wasm.Instrument(m, wasm.Options{})
	if err != nil {
		b.Fatal(err)
	}
	all := func(string, string, wasm.FuncType) bool { return true }
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"parse", func() error { _, err := wasm.Parse(module); return err }},
		{"check", func() error { return wasm.Check(m, wasm.DefaultLimits(), all) }},
		{"validate", m.Validate},
		{"instrument", func() error { _, err := wasm.Instrument(m, wasm.Options{}); return err }},
		{"encode", func() error { i.Module.Encode(); return nil }},
		{"strip", func() error { _, err := wasm.Strip(module); return err }},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.SetBytes(int64(len(module)))
			for b.Loop() {
				if err := step.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
