// Package wasmtest builds WebAssembly modules by hand, for tests that need a
// guest without a compiler: small ones that do one thing, and hostile ones
// that a checker must refuse.
//
//	b := wasmtest.New()
//	b.Memory(1, 4)
//	b.Func("handle", nil, []wasm.ValType{wasm.I32}, func(c *wasmtest.Code) {
//		c.I32Const(42)
//	})
//	module := b.Bytes()
//
// Misuse panics: it is a mistake in the test.
package wasmtest

import (
	"math"

	"github.com/carrel-dev/carrel/wasm"
)

// Types makes a list of value types.
func Types(t ...wasm.ValType) []wasm.ValType { return t }

// Builder collects the parts of a module.
type Builder struct {
	m wasm.Module
	// Imported counts the functions imported so far.
	imported uint32
}

// New begins an empty module.
func New() *Builder { return &Builder{} }

// Type gives the index of a signature, adding it if it is new.
func (b *Builder) Type(params, results []wasm.ValType) uint32 {
	t := wasm.FuncType{Params: params, Results: results}
	for i := range b.m.Types {
		if b.m.Types[i].Equal(t) {
			return uint32(i)
		}
	}
	b.m.Types = append(b.m.Types, t)
	return uint32(len(b.m.Types) - 1)
}

// Import imports a function and gives its index. All imports come before the
// first Func.
func (b *Builder) Import(module, name string, params, results []wasm.ValType) uint32 {
	if len(b.m.Functions) > 0 {
		panic("wasmtest: Import after Func")
	}
	b.m.Imports = append(b.m.Imports, wasm.Import{Module: module, Name: name, Func: b.Type(params, results)})
	b.imported++
	return b.imported - 1
}

// Memory defines the memory, sized in pages of 64 KiB, and exports it as
// "memory". A greatest size below the first means none.
func (b *Builder) Memory(first, most uint32) {
	b.m.Memories = append(b.m.Memories, wasm.Range{Min: first, Max: max(most, first) * flag(most >= first), HasMax: most >= first})
	b.Export("memory", wasm.ExternMemory, 0)
}

func flag(on bool) uint32 {
	if on {
		return 1
	}
	return 0
}

// Table defines a table with a first size in elements and no greatest one,
// and gives its index.
func (b *Builder) Table(t wasm.ValType, first uint32) uint32 {
	b.m.Tables = append(b.m.Tables, wasm.Table{Type: t, Size: wasm.Range{Min: first}})
	return uint32(len(b.m.Tables) - 1)
}

// Global defines a mutable global with a first value and gives its index.
// Use RawGlobal for immutable ones and for references.
func (b *Builder) Global(v wasm.Value) uint32 {
	op := map[wasm.ValType]wasm.ConstOp{
		wasm.I32: wasm.ConstI32, wasm.I64: wasm.ConstI64, wasm.F32: wasm.ConstF32, wasm.F64: wasm.ConstF64, wasm.V128: wasm.ConstV128,
	}[v.Type]
	return b.RawGlobal(wasm.Global{
		Type: wasm.GlobalType{Type: v.Type, Mutable: true}, Init: wasm.ConstExpr{Op: op, Lo: v.Lo, Hi: v.Hi},
	})
}

// RawGlobal defines a global and gives its index.
func (b *Builder) RawGlobal(g wasm.Global) uint32 {
	b.m.Globals = append(b.m.Globals, g)
	return uint32(len(b.m.Globals) - 1)
}

// Export exports something under a name.
func (b *Builder) Export(name string, kind wasm.ExternKind, index uint32) {
	b.m.Exports = append(b.m.Exports, wasm.Export{Name: name, Kind: kind, Index: index})
}

// Start makes the function with that index the start function.
func (b *Builder) Start(index uint32) { b.m.Start = &index }

// Data adds an active data segment.
func (b *Builder) Data(offset uint32, bytes []byte) uint32 {
	return b.data(wasm.Data{Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: uint64(offset)}, Bytes: bytes})
}

// PassiveData adds a data segment for memory.init.
func (b *Builder) PassiveData(bytes []byte) uint32 {
	return b.data(wasm.Data{Mode: wasm.Passive, Bytes: bytes})
}

func (b *Builder) data(d wasm.Data) uint32 {
	b.m.Data = append(b.m.Data, d)
	n := uint32(len(b.m.Data))
	b.m.DataCount = &n
	return n - 1
}

// Elements adds an active segment of functions for table 0.
func (b *Builder) Elements(offset uint32, funcs ...uint32) uint32 {
	b.m.Elements = append(b.m.Elements, wasm.Element{
		Type: wasm.FuncRef, Funcs: funcs, Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: uint64(offset)},
	})
	return uint32(len(b.m.Elements) - 1)
}

// PassiveElements adds a segment of functions for table.init and ref.func.
func (b *Builder) PassiveElements(funcs ...uint32) uint32 {
	b.m.Elements = append(b.m.Elements, wasm.Element{Mode: wasm.Passive, Type: wasm.FuncRef, Funcs: funcs})
	return uint32(len(b.m.Elements) - 1)
}

// Func defines a function, exports it if it has a name, and gives its index.
// The final end is added.
func (b *Builder) Func(name string, params, results []wasm.ValType, build func(*Code)) uint32 {
	c := &Code{params: uint32(len(params))}
	build(c)
	c.End()
	b.m.Functions = append(b.m.Functions, b.Type(params, results))
	b.m.Codes = append(b.m.Codes, wasm.Code{Locals: c.locals, Body: c.b})
	index := b.imported + uint32(len(b.m.Functions)) - 1
	if name != "" {
		b.Export(name, wasm.ExternFunc, index)
	}
	return index
}

// Module gives the module built so far. It is not a copy.
func (b *Builder) Module() *wasm.Module { return &b.m }

// Bytes encodes the module built so far.
func (b *Builder) Bytes() []byte { return b.m.Encode() }

// I32Value makes the first value of an i32 global.
func I32Value(v int32) wasm.Value { return wasm.Value{Type: wasm.I32, Lo: uint64(uint32(v))} }

// I64Value makes the first value of an i64 global.
func I64Value(v int64) wasm.Value { return wasm.Value{Type: wasm.I64, Lo: uint64(v)} }

// F32Value makes the first value of an f32 global.
func F32Value(v float32) wasm.Value {
	return wasm.Value{Type: wasm.F32, Lo: uint64(math.Float32bits(v))}
}

// F64Value makes the first value of an f64 global.
func F64Value(v float64) wasm.Value { return wasm.Value{Type: wasm.F64, Lo: math.Float64bits(v)} }

// V128Value makes the first value of a v128 global from its halves.
func V128Value(lo, hi uint64) wasm.Value { return wasm.Value{Type: wasm.V128, Lo: lo, Hi: hi} }
