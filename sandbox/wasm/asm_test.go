//go:build linux

package wasm

import (
	"encoding/binary"
	"math"

	"github.com/carrel-dev/carrel/sandbox/wasm/wasi"
	"github.com/carrel-dev/carrel/wasm"
)

// code is a piece of a function body, put together from opcodes.
type code []byte

func seq(parts ...code) (c code) {
	for _, p := range parts {
		c = append(c, p...)
	}
	return c
}

func u(n uint32) code { return binary.AppendUvarint(nil, uint64(n)) }

func signed(n int64) (c code) {
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(c, b)
		}
		c = append(c, b|0x80)
	}
}

func i32(n int32) code   { return seq(code{0x41}, signed(int64(n))) }
func i64(n int64) code   { return seq(code{0x42}, signed(n)) }
func f32(v float32) code { return binary.LittleEndian.AppendUint32(code{0x43}, math.Float32bits(v)) }
func f64(v float64) code { return binary.LittleEndian.AppendUint64(code{0x44}, math.Float64bits(v)) }

func call(f uint32) code              { return seq(code{0x10}, u(f)) }
func get(local uint32) code           { return seq(code{0x20}, u(local)) }
func set(local uint32) code           { return seq(code{0x21}, u(local)) }
func globalGet(g uint32) code         { return seq(code{0x23}, u(g)) }
func globalSet(g uint32) code         { return seq(code{0x24}, u(g)) }
func load(at uint32) code             { return seq(i32(0), code{0x28, 2}, u(at)) }
func store(at uint32, v code) code    { return seq(i32(0), v, code{0x36, 2}, u(at)) }
func store64(at uint32, v code) code  { return seq(i32(0), v, code{0x37, 3}, u(at)) }
func loop(body ...code) code          { return seq(code{0x03, 0x40}, seq(body...), code{0x0b}) }
func when(cond code, b ...code) code  { return seq(cond, code{0x04, 0x40}, seq(b...), code{0x0b}) }
func br(label uint32) code            { return seq(code{0x0c}, u(label)) }
func add(a, b code) code              { return seq(a, b, code{0x6a}) }
func drop(c code) code                { return seq(c, code{0x1a}) }
func eq(a, b code) code               { return seq(a, b, code{0x46}) }
func memoryGrow(pages code) code      { return seq(pages, code{0x40, 0}) }
func callIndirect(typ, t uint32) code { return seq(code{0x11}, u(typ), u(t)) }

var (
	unreachable = code{0x00}
	end         = code{0x0b}
	memorySize  = code{0x3f, 0x00}
)

// guest is a module under construction.
type guest struct{ wasm.Module }

const importedFuncs = 8 // what every test guest imports

// The functions that test guests import, by index.
const (
	fnWrite = iota
	fnRead
	fnExit
	fnClock
	fnRandom
	fnPoll
	fnContext
	fnOpen
)

// newGuestModule gives a module of a memory size that imports what tests use.
func newGuestModule(pages uint32) *guest {
	g := &guest{}
	imports := []string{"fd_write", "fd_read", "proc_exit", "clock_time_get", "random_get", "poll_oneoff", "context", "path_open"}
	for _, name := range imports {
		module, t := wasi.ModuleName, wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32}, Results: []wasm.ValType{wasm.I32}}
		for _, f := range wasi.Functions() {
			if f.Name == name {
				t = wasm.FuncType{}
				for _, p := range f.Params {
					t.Params = append(t.Params, wasm.ValType(p))
				}
				for _, p := range f.Results {
					t.Results = append(t.Results, wasm.ValType(p))
				}
			}
		}
		if name == "context" {
			module = "carrel_v1"
		}
		g.Imports = append(g.Imports, wasm.Import{Module: module, Name: name, Kind: wasm.ExternFunc, Func: g.typ(t)})
	}
	if pages > 0 {
		g.Memories = []wasm.Range{{Min: pages}}
		g.Exports = append(g.Exports, wasm.Export{Name: "memory", Kind: wasm.ExternMemory})
	}
	return g
}

func (g *guest) typ(t wasm.FuncType) uint32 {
	for i, x := range g.Types {
		if x.Equal(t) {
			return uint32(i)
		}
	}
	g.Types = append(g.Types, t)
	return uint32(len(g.Types) - 1)
}

// fn adds a function and gives its index. locals are i32.
func (g *guest) fn(t wasm.FuncType, locals uint32, body ...code) uint32 {
	g.Functions = append(g.Functions, g.typ(t))
	c := wasm.Code{Body: seq(seq(body...), end)}
	if locals > 0 {
		c.Locals = []wasm.LocalGroup{{Count: locals, Type: wasm.I32}}
	}
	g.Codes = append(g.Codes, c)
	return uint32(importedFuncs + len(g.Functions) - 1)
}

func (g *guest) export(name string, f uint32) *guest {
	g.Exports = append(g.Exports, wasm.Export{Name: name, Kind: wasm.ExternFunc, Index: f})
	return g
}

// handle adds the reactor's entry with 4 i32 locals; it returns 0 unless the
// body returns something else.
func (g *guest) handle(body ...code) *guest {
	return g.export("handle", g.fn(wasm.FuncType{Results: []wasm.ValType{wasm.I32}}, 4, seq(body...), i32(0)))
}

func (g *guest) start(body ...code) *guest {
	return g.export("_start", g.fn(wasm.FuncType{}, 4, body...))
}

func (g *guest) initialize(body ...code) *guest {
	return g.export("_initialize", g.fn(wasm.FuncType{}, 4, body...))
}

func (g *guest) global(t wasm.ValType, op wasm.ConstOp, lo uint64) uint32 {
	init := wasm.ConstExpr{Op: op, Lo: lo}
	if op == wasm.ConstNull {
		init.RefType = t
	}
	g.Globals = append(g.Globals, wasm.Global{Type: wasm.GlobalType{Type: t, Mutable: true}, Init: init})
	return uint32(len(g.Globals) - 1)
}

// write is fd_write of n bytes at an address; it uses the bytes 16 to 31.
func write(fd int32, at, n code) code {
	return seq(store(16, at), store(20, n), drop(seq(i32(fd), i32(16), i32(1), i32(24), call(fnWrite))))
}

// reply writes n bytes at an address to standard output.
func reply(at, n int32) code { return write(1, i32(at), i32(n)) }

// readEvent reads up to n bytes of the event to an address; the count is at 24.
func readEvent(at, n int32) code {
	return seq(store(16, i32(at)), store(20, i32(n)), drop(seq(i32(0), i32(16), i32(1), i32(24), call(fnRead))))
}

// smallGuest is like a compiled C program of 192 KiB: it counts its calls in
// memory, on two pages, and in a global, and answers with the three counts.
func smallGuest() []byte {
	g := newGuestModule(3)
	n := g.global(wasm.I32, wasm.ConstI32, 0)
	g.Data = []wasm.Data{{Mode: wasm.Active, Offset: wasm.ConstExpr{Op: wasm.ConstI32, Lo: 70000}, Bytes: make([]byte, 50000)}}
	for i := range g.Data[0].Bytes {
		g.Data[0].Bytes[i] = byte(i*7 + 1)
	}
	g.handle(
		store(1024, add(load(1024), i32(1))),
		store(131072, add(load(131072), i32(1))),
		add(globalGet(n), i32(1)), globalSet(n),
		store(1028, load(131072)),
		store(1032, globalGet(n)),
		reply(1024, 12),
	)
	return g.Encode()
}
