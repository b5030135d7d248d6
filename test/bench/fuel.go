//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

// fuelGoal is for the geometric mean over computing.
const fuelGoal = 1.12

// computing is the named set of guests that do nothing but compute: calls, the
// worst loop there is for a counter, and a hash as programs have them.
var computing = []struct {
	name     string
	argument uint64
	code     func(*wasmtest.Code)
}{
	{"fib", 27, func(c *wasmtest.Code) { // recursive
		c.LocalGet(0).I32Const(2).Op(wasmtest.I32LtU).IfOf(wasm.I32).LocalGet(0).Else()
		c.LocalGet(0).I32Const(1).Op(wasmtest.I32Sub).Call(0)
		c.LocalGet(0).I32Const(2).Op(wasmtest.I32Sub).Call(0).Op(wasmtest.I32Add).End()
	}},
	{"loop", 5_000_000, func(c *wasmtest.Code) { // five operations a turn
		sum := c.Local(wasm.I32)
		c.Loop()
		c.LocalGet(sum).LocalGet(0).Op(wasmtest.I32Add).LocalSet(sum)
		c.LocalGet(0).I32Const(1).Op(wasmtest.I32Sub).LocalTee(0).BrIf(0)
		c.End().LocalGet(sum)
	}},
	{"hash", 40, func(c *wasmtest.Code) { // FNV-1a over 64 KiB
		const size = 64 << 10
		i, h := c.Local(wasm.I32), c.Local(wasm.I32)
		c.I32Const(-2128831035).LocalSet(h)
		c.Loop().I32Const(0).LocalSet(i)
		c.Loop()
		c.LocalGet(h).LocalGet(i).Mem(wasmtest.I32Load8U, 0).Op(wasmtest.I32Xor).I32Const(16777619).Op(wasmtest.I32Mul).LocalSet(h)
		c.LocalGet(i).LocalGet(h).Mem(wasmtest.I32Store8, 0)
		c.LocalGet(i).I32Const(1).Op(wasmtest.I32Add).LocalTee(i).I32Const(size).Op(wasmtest.I32LtU).BrIf(0).End()
		c.LocalGet(0).I32Const(1).Op(wasmtest.I32Sub).LocalTee(0).BrIf(0).End()
		c.LocalGet(h)
	}},
}

type fuelSpec struct{ Rounds int }

// fuelResult is milliseconds without and with the counter, by guest and round.
type fuelResult map[string]*[2][]float64

func (b *bench) fuel() error {
	var r fuelResult
	if err := b.role("fuel", workerSetting, fuelSpec{pick(b, 15, 5)}, &r); err != nil {
		return err
	}
	var lines []*Line
	product := 1.0
	for _, g := range computing {
		times := r[g.name]
		l := &Line{Name: g.name + ", with fuel", Unit: "ms", Settings: workerSetting.String(), Rounds: times[1], Median: median(times[1])}
		without := &Line{Name: g.name + ", without", Unit: "ms", Settings: workerSetting.String(), Rounds: times[0], Median: median(times[0])}
		l.against("without", without, nil)
		product *= l.Median / without.Median
		lines = append(lines, without, l)
	}
	mean := math.Pow(product, 1/float64(len(computing)))
	l := &Line{Name: "geometric mean of the three", Unit: "x without", Median: mean}
	l.want(atMost(fuelGoal))
	b.add("fuel", append(lines, l))
	return nil
}

// fuelRole runs each guest in turn without and with the counter.
func fuelRole(in io.Reader, out io.Writer) error {
	var spec fuelSpec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return err
	}
	result := fuelResult{}
	for _, g := range computing {
		b := wasmtest.New()
		b.Memory(1, 1)
		b.Func("run", wasmtest.Types(wasm.I32), wasmtest.Types(wasm.I32), g.code)
		result[g.name] = new([2][]float64)
		var guests [2]api.Function
		for i, o := range []wasm.Options{{WithoutFuel: true}, {}} {
			f, stop, err := computingGuest(b.Module(), o)
			if err != nil {
				return fmt.Errorf("%s: %w", g.name, err)
			}
			defer stop()
			guests[i] = f
		}
		for round := range spec.Rounds + 1 {
			var got [2]uint64
			for i, f := range guests {
				stack := []uint64{g.argument}
				begun := time.Now()
				if err := f.CallWithStack(context.Background(), stack); err != nil {
					return fmt.Errorf("%s: %w", g.name, err)
				}
				if round > 0 { // the first one finds cold caches
					result[g.name][i] = append(result[g.name][i], float64(time.Since(begun).Nanoseconds())/1e6)
				}
				got[i] = stack[0]
			}
			if got[0] != got[1] {
				return fmt.Errorf("%s gave %d without the counter and %d with it", g.name, got[0], got[1])
			}
		}
	}
	return json.NewEncoder(out).Encode(result)
}

// computingGuest compiles a module, instrumented as told.
func computingGuest(m *wasm.Module, o wasm.Options) (f api.Function, stop func(), err error) {
	ctx := context.Background()
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	i, err := wasm.Instrument(m, o)
	if err != nil {
		return nil, nil, err
	}
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
	stop = func() { r.Close(ctx) }
	refuel := api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) {
		m.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal).Set(fuelSlice)
	})
	if _, err = r.NewHostModuleBuilder(wasm.ReservedModule).NewFunctionBuilder().
		WithGoModuleFunction(refuel, nil, nil).Export(wasm.YieldImport).Instantiate(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	guest, err := r.InstantiateWithConfig(ctx, i.Module.Encode(), wazero.NewModuleConfig())
	if err != nil {
		stop()
		return nil, nil, err
	}
	return guest.ExportedFunction("run"), stop, nil
}

// fuelSlice makes a guest come by about as often as the engine's do.
const fuelSlice = 400_000
