package wasm

import (
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// The names that Instrument gives to what it adds.
const (
	// YieldImport is the function ()->() of ReservedModule that is called
	// when carrel.fuel has become negative.
	YieldImport = "yield"
	// FuelExport is the mutable i64 global that counts down; 0 at first.
	FuelExport = "carrel.fuel"
	// TaintExport is the mutable i32 global that collects Taint bits.
	TaintExport = "carrel.tainted"
	// MemoryExport is the memory, whatever else it is exported as.
	MemoryExport = "carrel.memory"
	// SaveExport is the function ()->() that copies all mutable globals aside.
	SaveExport = "carrel.save"
	// RestoreExport is the function ()->() that copies them back.
	RestoreExport = "carrel.restore"
	// StartExport is the start function, if Options.MoveStart is set and there is one.
	StartExport = "carrel.start"
)

// GlobalExport names the export of the mutable global of type i32, i64, f32
// or f64 with that index in the original module.
func GlobalExport(index uint32) string {
	return ReservedPrefix + "global." + strconv.FormatUint(uint64(index), 10)
}

// VectorExport names the function ()->(i64 i64) that gives the lower and the
// upper half of the mutable v128 global with that index.
func VectorExport(index uint32) string {
	return ReservedPrefix + "v128." + strconv.FormatUint(uint64(index), 10)
}

// DroppedExport names the mutable i32 global that becomes 1 when the data
// segment with that index is dropped.
func DroppedExport(index uint32) string {
	return ReservedPrefix + "dropped." + strconv.FormatUint(uint64(index), 10)
}

// Taint bits say that code ran that restoring memory and globals does not undo.
const (
	// TaintTable is set before table.set, table.grow, table.fill,
	// table.copy, table.init and elem.drop.
	TaintTable = 1
	// TaintData is set before data.drop.
	TaintData = 2
)

// Options say how Instrument changes a module.
type Options struct {
	// WithoutFuel leaves the fuel counter and the import of yield out.
	WithoutFuel bool
	// MoveStart makes the start function an export, so that the host can set
	// fuel before it calls it.
	MoveStart bool
	// KeepNames keeps the names of functions, for stack traces.
	KeepNames bool
	// KeepProducers keeps the section that names the toolchain.
	KeepProducers bool
	// MaxPages, if it is not 0, caps what the memory may become, in pages.
	MaxPages uint32
}

// SavedGlobal is a mutable global of the guest.
type SavedGlobal struct {
	// Index is that in the original module, and in the instrumented one.
	Index uint32
	// Type is the type of its value.
	Type ValType
	// Shadow is the index of the global that carrel.save copies it to.
	Shadow uint32
	// Written tells whether any code sets it.
	Written bool
}

// Portable tells whether the value of the global can be carried to another
// process: a number, a vector, or a reference that never changes.
func (g SavedGlobal) Portable() bool { return !g.Type.IsRef() || !g.Written }

// Instrumented is a module with what Instrument added, and where that is.
type Instrumented struct {
	// Module is the instrumented module.
	Module *Module
	// Globals are the guest's mutable globals in the order of their indexes.
	Globals []SavedGlobal
	// Droppable are the data segments that some code drops; each has a
	// global DroppedExport.
	Droppable []uint32
	// Fuel tells whether there is a fuel counter.
	Fuel bool
}

// Portable tells whether an image of the guest after initialisation can be
// carried to another process, as far as its globals go.
func (i *Instrumented) Portable() bool {
	for _, g := range i.Globals {
		if !g.Portable() {
			return false
		}
	}
	return true
}

// Instrument gives a copy of the module with a fuel counter (see the
// package's documentation) and with what the host needs to bring an instance
// back to an earlier state. The module must have passed Validate; it is not
// changed, and shares memory with the copy. Custom sections are dropped
// unless an option keeps them. Functions that the module defines move up by
// one in their index space if there is a fuel counter; all other indexes stay.
func Instrument(m *Module, o Options) (*Instrumented, error) {
	for _, e := range m.Exports {
		if strings.HasPrefix(e.Name, ReservedPrefix) {
			return nil, fault.New("wasm.Instrument", fault.Invalid, "the module exports %q; names that begin with %q are reserved.", e.Name, ReservedPrefix)
		}
	}
	out := *m
	b := &instrumenter{Instrumented: &Instrumented{Module: &out, Fuel: !o.WithoutFuel}, source: m, options: o}
	if err := b.limitMemory(); err != nil {
		return nil, err
	}
	b.out().Types = append([]FuncType(nil), m.Types...)
	b.out().Exports = append([]Export(nil), m.Exports...)
	b.out().Globals = append([]Global(nil), m.Globals...)
	b.addImport()
	b.shiftIndexes()
	b.addState()
	if err := b.rewriteBodies(); err != nil {
		return nil, err
	}
	b.addShadows()
	b.addMemoryAndStart()
	b.keepCustoms()
	return b.Instrumented, nil
}

// instrumenter builds an instrumented copy of source.
type instrumenter struct {
	*Instrumented
	source  *Module
	options Options
	// imported is the number of imported functions in the source.
	imported uint32
	// shift is how far defined functions move: 1 with fuel.
	shift uint32
	// fuel and taint are indexes of globals; dropped too, by data segment.
	fuel, taint uint32
	dropped     map[uint32]uint32
	// written are the globals that some code sets.
	written map[uint32]bool
}

func (b *instrumenter) out() *Module { return b.Module }

func (b *instrumenter) limitMemory() error {
	limit := b.options.MaxPages
	s, ok := b.source.MemoryRange()
	if limit == 0 || !ok {
		return nil
	}
	if s.Min > limit {
		return fault.New("wasm.Instrument", fault.TooLarge, "the module's memory has %d pages of 64 KiB at first, and %d is the limit.", s.Min, limit).
			WithRemedy("Give the function more memory.")
	}
	if len(b.source.Memories) > 0 && (!s.HasMax || s.Max > limit) {
		b.out().Memories = []Range{{Min: s.Min, Max: limit, HasMax: true}}
	}
	return nil
}

// typeIndex finds or adds a signature.
func (b *instrumenter) typeIndex(t FuncType) uint32 {
	for i := range b.out().Types {
		if b.out().Types[i].Equal(t) {
			return uint32(i)
		}
	}
	b.out().Types = append(b.out().Types, t)
	return length(len(b.out().Types) - 1)
}

func (b *instrumenter) addImport() {
	b.imported = length(b.source.importCount(ExternFunc))
	if !b.Fuel {
		return
	}
	b.shift = 1
	imports := append([]Import(nil), b.source.Imports...)
	b.out().Imports = append(imports, Import{Module: ReservedModule, Name: YieldImport, Kind: ExternFunc, Func: b.typeIndex(FuncType{})})
}

// moved gives the new index of a function.
func (b *instrumenter) moved(f uint32) uint32 {
	if f < b.imported {
		return f
	}
	return f + b.shift
}

func (b *instrumenter) movedConst(c ConstExpr) ConstExpr {
	if c.Op == ConstFunc {
		c.Index = b.moved(c.Index)
	}
	return c
}

// shiftIndexes rewrites the function indexes outside of bodies.
func (b *instrumenter) shiftIndexes() {
	for i := range b.out().Exports {
		if e := &b.out().Exports[i]; e.Kind == ExternFunc {
			e.Index = b.moved(e.Index)
		}
	}
	for i := range b.out().Globals {
		b.out().Globals[i].Init = b.movedConst(b.out().Globals[i].Init)
	}
	if b.source.Start != nil {
		start := b.moved(*b.source.Start)
		b.out().Start = &start
	}
	b.out().Elements = append([]Element(nil), b.source.Elements...)
	for i := range b.out().Elements {
		e := &b.out().Elements[i]
		e.Funcs = append([]uint32(nil), e.Funcs...)
		for j := range e.Funcs {
			e.Funcs[j] = b.moved(e.Funcs[j])
		}
		if e.Exprs == nil {
			continue
		}
		e.Exprs = append([]ConstExpr{}, e.Exprs...)
		for j := range e.Exprs {
			e.Exprs[j] = b.movedConst(e.Exprs[j])
		}
	}
}

// addGlobal adds a mutable global that begins as zero or null and gives its index.
func (b *instrumenter) addGlobal(t ValType) uint32 {
	init := ConstExpr{Op: constOpOf(t)}
	if init.Op == ConstNull {
		init.RefType = t
	}
	b.out().Globals = append(b.out().Globals, Global{Type: GlobalType{Type: t, Mutable: true}, Init: init})
	return length(b.out().importCount(ExternGlobal) + len(b.out().Globals) - 1)
}

func constOpOf(t ValType) ConstOp {
	switch t {
	case I32:
		return ConstI32
	case I64:
		return ConstI64
	case F32:
		return ConstF32
	case F64:
		return ConstF64
	case V128:
		return ConstV128
	}
	return ConstNull
}

func (b *instrumenter) export(name string, kind ExternKind, index uint32) {
	b.out().Exports = append(b.out().Exports, Export{Name: name, Kind: kind, Index: index})
}

// addState adds the globals that the rewritten bodies use.
func (b *instrumenter) addState() {
	if b.Fuel {
		b.fuel = b.addGlobal(I64)
		b.export(FuelExport, ExternGlobal, b.fuel)
	}
	b.taint = b.addGlobal(I32)
	b.export(TaintExport, ExternGlobal, b.taint)
	b.dropped = map[uint32]uint32{}
	b.written = map[uint32]bool{}
}

// droppedGlobal gives the global that tells whether a data segment was dropped.
func (b *instrumenter) droppedGlobal(segment uint32) uint32 {
	g, ok := b.dropped[segment]
	if !ok {
		g = b.addGlobal(I32)
		b.dropped[segment] = g
		b.Droppable = append(b.Droppable, segment)
		b.export(DroppedExport(segment), ExternGlobal, g)
	}
	return g
}

func (b *instrumenter) addMemoryAndStart() {
	if _, ok := b.source.MemoryRange(); ok {
		b.export(MemoryExport, ExternMemory, 0)
	}
	if b.options.MoveStart && b.out().Start != nil {
		b.export(StartExport, ExternFunc, *b.out().Start)
		b.out().Start = nil
	}
}

// addFunc adds a function without parameters and locals and exports it.
func (b *instrumenter) addFunc(name string, typeIndex uint32, body []byte) {
	m := b.out()
	m.Functions = append(m.Functions, typeIndex)
	m.Codes = append(m.Codes, Code{Body: append(body, opEnd)})
	b.export(name, ExternFunc, length(m.importCount(ExternFunc)+len(m.Functions)-1))
}

// addShadows adds the copies of the guest's mutable globals and the functions
// that move values between the two.
func (b *instrumenter) addShadows() {
	m := b.out()
	m.Functions = append([]uint32(nil), m.Functions...)
	var save, restore []byte
	types := b.source.globalTypes()
	// A module can have very many types and globals: look for a type once.
	nothing, pair := b.typeIndex(FuncType{}), uint32(0)
	if slices.Contains(types, GlobalType{Type: V128, Mutable: true}) {
		pair = b.typeIndex(FuncType{Results: []ValType{I64, I64}})
	}
	for i, t := range types {
		if !t.Mutable {
			continue
		}
		g := SavedGlobal{Index: uint32(i), Type: t.Type, Shadow: b.addGlobal(t.Type), Written: b.written[uint32(i)]}
		b.Globals = append(b.Globals, g)
		save = appendU32(append(appendU32(append(save, opGlobalGet), g.Index), opGlobalSet), g.Shadow)
		restore = appendU32(append(appendU32(append(restore, opGlobalGet), g.Shadow), opGlobalSet), g.Index)
		switch {
		case t.Type == V128:
			b.addFunc(VectorExport(g.Index), pair, halves(g.Index))
		case !t.Type.IsRef():
			b.export(GlobalExport(g.Index), ExternGlobal, g.Index)
		}
	}
	b.addFunc(SaveExport, nothing, save)
	b.addFunc(RestoreExport, nothing, restore)
}

// halves gives the instructions that push both halves of a vector global.
func halves(global uint32) []byte {
	const extractI64 = 0x1d
	var code []byte
	for lane := range byte(2) {
		code = appendU32(append(code, opGlobalGet), global)
		code = append(code, prefixSIMD, extractI64, lane)
	}
	return code
}
