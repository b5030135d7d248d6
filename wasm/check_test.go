package wasm_test

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

func parse(t testing.TB, b []byte) *wasm.Module {
	t.Helper()
	m, err := wasm.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// noLimits gives limits that nothing can exceed.
func noLimits() wasm.Limits {
	var l wasm.Limits
	v := reflect.ValueOf(&l).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(math.MaxInt32)
	}
	l.BlocksTimesLocals, l.TotalBlocksTimesLocals = math.MaxInt, math.MaxInt
	return l
}

func TestBombsAreRefused(t *testing.T) {
	t.Parallel()
	for name, b := range wasmtest.Bombs() {
		t.Run(name, func(t *testing.T) {
			m := parse(t, b)
			if err := wasm.Check(m, noLimits(), nil); err != nil {
				t.Fatalf("without limits: %v", err)
			}
			if err := m.Validate(); err != nil {
				t.Fatalf("a bomb must be valid: %v", err)
			}
			err := wasm.Check(m, wasm.DefaultLimits(), nil)
			if !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), "is the limit") {
				t.Errorf("%d bytes: %v", len(b), err)
			}
		})
	}
}

// TestEveryLimitRefuses sets one limit at a time just below what a module
// has, and exactly to it.
func TestEveryLimitRefuses(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	i32 := wasmtest.Types(wasm.I32)
	b.Import("env", "f", nil, nil)
	b.Import("env", "gg", nil, nil)
	b.Memory(2, 3)
	b.Table(wasm.FuncRef, 7)
	b.Table(wasm.ExternRef, 3)
	b.Global(wasmtest.I32Value(1))
	b.Data(0, []byte("data"))
	f := b.Func("a long name", i32, i32, func(c *wasmtest.Code) {
		c.Locals(4, wasm.I64)
		c.Block().Block().LocalGet(0).BrTable(0, 1, 1, 0).End().End()
		c.Block().LocalGet(0).BrTable(0, 0).End().LocalGet(0)
	})
	b.Elements(0, f, f)
	b.Module().Customs = []wasm.Custom{{Name: "note", Data: []byte("12"), After: 12}}
	m := b.Module()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	all := func(string, string, wasm.FuncType) bool { return true }
	exact := wasm.Limits{
		ModuleBytes: 8 + len(m.Codes[0].Body) + 4 + 2, Types: 2, Imports: 2, Functions: 1, Tables: 2, Memories: 1, Globals: 1,
		Exports: 2, Elements: 1, Data: 1, Customs: 1, Params: 1, Results: 1, BodyBytes: len(m.Codes[0].Body), Locals: 4, Blocks: 4, Nesting: 2,
		BlocksTimesLocals: 4 * 5, TotalBlocksTimesLocals: 4 * 5, BranchTable: 3, BranchTargets: 4, InitialPages: 2, MaxPages: 3,
		TableElements: 7, ElementItems: 2, NameBytes: len("a long name"),
	}
	if err := wasm.Check(m, exact, all); err != nil {
		t.Fatalf("exactly at every limit: %v", err)
	}
	v := reflect.TypeOf(exact)
	for i := range v.NumField() {
		less := exact
		field := reflect.ValueOf(&less).Elem().Field(i)
		field.SetInt(field.Int() - 1)
		if err := wasm.Check(m, less, all); !fault.Is(err, fault.TooLarge) {
			t.Errorf("one over %s: %v", v.Field(i).Name, err)
		}
	}
}

func TestImportsMustBeAllowed(t *testing.T) {
	t.Parallel()
	only := func(module, name string, ft wasm.FuncType) bool {
		return module == "env" && name == "f" && ft.Equal(wasm.FuncType{Params: wasmtest.Types(wasm.I32)})
	}
	all := func(string, string, wasm.FuncType) bool { return true }
	importing := func(module, name string, params ...wasm.ValType) *wasm.Module {
		b := wasmtest.New()
		b.Import(module, name, params, nil)
		return b.Module()
	}
	other := func(imp wasm.Import) *wasm.Module {
		imp.Module, imp.Name = "env", "f"
		return &wasm.Module{Imports: []wasm.Import{imp}}
	}
	for _, c := range []struct {
		name  string
		m     *wasm.Module
		allow wasm.Allow
		ok    bool
	}{
		{"on the list", importing("env", "f", wasm.I32), only, true},
		{"other type", importing("env", "f", wasm.I64), only, false},
		{"other name", importing("env", "g", wasm.I32), only, false},
		{"other module", importing("", "f", wasm.I32), only, false},
		{"no list", importing("env", "f", wasm.I32), nil, false},
		{"reserved module", importing(wasm.ReservedModule, wasm.YieldImport), all, false},
		{"memory", other(wasm.Import{Kind: wasm.ExternMemory}), all, false},
		{"table", other(wasm.Import{Kind: wasm.ExternTable}), all, false},
		{"global", other(wasm.Import{Kind: wasm.ExternGlobal}), all, false},
		{"unknown type", other(wasm.Import{Kind: wasm.ExternFunc, Func: 3}), all, false},
	} {
		err := wasm.Check(c.m, wasm.DefaultLimits(), c.allow)
		if c.ok && err != nil || !c.ok && !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestReservedExportsAreRefused(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{wasm.FuelExport: false, "carrel.x": false, "carrel": true, "carrel_restored": true} {
		b := wasmtest.New()
		b.Func(name, nil, nil, func(*wasmtest.Code) {})
		if err := wasm.Check(b.Module(), wasm.DefaultLimits(), nil); (err == nil) != ok || !ok && !fault.Is(err, fault.Invalid) {
			t.Errorf("Check of an export %q: %v", name, err)
		}
		if _, err := wasm.Instrument(b.Module(), wasm.Options{}); (err == nil) != ok {
			t.Errorf("Instrument of an export %q: %v", name, err)
		}
	}
}

// TestProposalsAreRefused gives one module for each proposal that is not
// accepted; the first module is the harmless twin.
func TestProposalsAreRefused(t *testing.T) {
	t.Parallel()
	head := "\x00asm\x01\x00\x00\x00"
	// A module with one function ()->() and one page of memory.
	body := func(code string) string {
		return head + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
			"\x0a" + string(rune(len(code)+4)) + "\x01" + string(rune(len(code)+2)) + "\x00" + code + "\x0b"
	}
	for _, c := range []struct{ proposal, module string }{
		{"", body("\x01")},
		{"memory64", head + "\x05\x03\x01\x04\x01"},
		{"threads", head + "\x05\x04\x01\x03\x01\x01"},
		{"threads", body("\xfe\x03\x00")},
		{"multi-memory", head + "\x05\x05\x02\x00\x01\x00\x01"},
		{"multi-memory", body("\x41\x00\x28\x42\x00\x00\x1a")},
		{"multi-memory", body("\x3f\x01\x1a")},
		{"custom-page-sizes", head + "\x05\x04\x01\x08\x01\x00"},
		{"tail-call", body("\x12\x00")},
		{"tail-call", body("\x13\x00\x00")},
		{"exception-handling", head + "\x0d\x03\x01\x00\x00"},
		{"exception-handling", body("\x1f\x40\x00\x0b")},
		{"exception-handling", body("\x06\x40\x0b")},
		{"exception-handling", body("\x08\x00")},
		{"exception-handling", head + "\x01\x05\x01\x60\x01\x69\x00"},
		{"gc", head + "\x01\x03\x01\x5f\x00"},
		{"gc", head + "\x01\x04\x01\x4e\x01\x50"},
		{"gc", head + "\x01\x05\x01\x60\x01\x6e\x00"},
		{"gc", body("\xfb\x00\x00")},
		{"typed-function-references", body("\x14\x00")},
		{"typed-function-references", body("\xd5\x00")},
		{"typed-function-references", head + "\x01\x06\x01\x60\x01\x64\x70\x00"},
		{"typed-function-references", head + "\x04\x09\x01\x40\x00\x70\x00\x01\xd0\x70\x0b"},
		{"extended-const", head + "\x06\x09\x01\x7f\x00\x41\x01\x41\x01\x6a\x0b"},
		{"relaxed-simd", body("\xfd\x80\x02")},
		{"wide-arithmetic", body("\xfc\x13")},
		{"stack-switching", body("\xe0\x00")},
		{"component-model", "\x00asm\x0d\x00\x01\x00"},
	} {
		_, err := parseAndValidate([]byte(c.module))
		if c.proposal == "" {
			if err != nil {
				t.Errorf("the harmless twin: %v", err)
			}
			continue
		}
		if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), c.proposal) {
			t.Errorf("%s, %q: %v", c.proposal, c.module, err)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	t.Parallel()
	b := wasmtest.New()
	b.Func("", nil, nil, func(*wasmtest.Code) {})
	b.Func("", nil, nil, func(c *wasmtest.Code) { c.I32Const(1) })
	err := b.Module().Validate()
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "function 1, byte 3 of its body") {
		t.Errorf("%v", err)
	}
	l := wasm.DefaultLimits()
	l.Locals = 3
	b.Func("", nil, nil, func(c *wasmtest.Code) { c.Locals(4, wasm.I32) })
	err = wasm.Check(b.Module(), l, nil)
	if !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), "function 2 has 4 local variables, and 3 is the limit") {
		t.Errorf("%v", err)
	}
}
