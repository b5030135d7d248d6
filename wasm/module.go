package wasm

import "slices"

// ValType is the type of a value, as its byte in the binary format.
type ValType byte

// The value types of the core specification 2.0.
const (
	// I32 is a 32-bit integer.
	I32 ValType = 0x7f
	// I64 is a 64-bit integer.
	I64 ValType = 0x7e
	// F32 is a 32-bit float.
	F32 ValType = 0x7d
	// F64 is a 64-bit float.
	F64 ValType = 0x7c
	// V128 is a 128-bit vector.
	V128 ValType = 0x7b
	// FuncRef is a nullable reference to a function.
	FuncRef ValType = 0x70
	// ExternRef is a nullable reference to a thing of the host.
	ExternRef ValType = 0x6f
)

// anyType is the type of a value in code that cannot be reached.
const anyType ValType = 0

// String gives the name of the type in the text format.
func (v ValType) String() string {
	switch v {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	case anyType:
		return "any"
	}
	return "unknown type"
}

// IsRef tells whether the type is a reference, whose values mean nothing
// outside of the instance that made them.
func (v ValType) IsRef() bool { return v == FuncRef || v == ExternRef }

// FuncType is the signature of a function.
type FuncType struct {
	// Params are the types of the parameters, first to last.
	Params []ValType
	// Results are the types of the results, first to last.
	Results []ValType
}

// Equal tells whether both signatures are the same.
func (t FuncType) Equal(o FuncType) bool {
	return slices.Equal(t.Params, o.Params) && slices.Equal(t.Results, o.Results)
}

// String gives the signature as (i32 i64)->(f32).
func (t FuncType) String() string {
	s := "("
	for i, v := range t.Params {
		if i > 0 {
			s += " "
		}
		s += v.String()
	}
	s += ")->("
	for i, v := range t.Results {
		if i > 0 {
			s += " "
		}
		s += v.String()
	}
	return s + ")"
}

// ExternKind is the kind of an import or export, as its byte in the binary format.
type ExternKind byte

// The kinds of imports and exports.
const (
	// ExternFunc is a function.
	ExternFunc ExternKind = 0
	// ExternTable is a table.
	ExternTable ExternKind = 1
	// ExternMemory is a memory.
	ExternMemory ExternKind = 2
	// ExternGlobal is a global variable.
	ExternGlobal ExternKind = 3
)

// String gives the name of the kind in the text format.
func (k ExternKind) String() string {
	if k <= ExternGlobal {
		return [...]string{"func", "table", "memory", "global"}[k]
	}
	return "unknown kind"
}

// Range is how large a memory (in pages of 64 KiB) or a table (in elements)
// is at first and may become.
type Range struct {
	// Min is the size at instantiation.
	Min uint32
	// Max is the greatest size; it means something only if HasMax is set.
	Max uint32
	// HasMax tells whether the module names a greatest size.
	HasMax bool
}

// Table is the type of a table.
type Table struct {
	// Type is FuncRef or ExternRef.
	Type ValType
	// Size is counted in elements.
	Size Range
}

// GlobalType is the type of a global variable.
type GlobalType struct {
	// Type is the type of its value.
	Type ValType
	// Mutable tells whether it can be set after instantiation.
	Mutable bool
}

// Import is something the module wants from outside. Kind says which of the
// last four fields means something.
type Import struct {
	// Module and Name are the two parts of the import's name.
	Module, Name string
	// Kind is what is imported.
	Kind ExternKind
	// Func is the index of the function's type.
	Func uint32
	// Table is the type of the table.
	Table Table
	// Memory is the size of the memory.
	Memory Range
	// Global is the type of the global.
	Global GlobalType
}

// Export is something the module shows.
type Export struct {
	// Name is unique in the module.
	Name string
	// Kind says in which index space Index counts.
	Kind ExternKind
	// Index counts imports first.
	Index uint32
}

// ConstOp says what a constant expression does, as its opcode.
type ConstOp byte

// The constant expressions of the core specification 2.0: one instruction each.
const (
	// ConstI32 is i32.const.
	ConstI32 ConstOp = 0x41
	// ConstI64 is i64.const.
	ConstI64 ConstOp = 0x42
	// ConstF32 is f32.const.
	ConstF32 ConstOp = 0x43
	// ConstF64 is f64.const.
	ConstF64 ConstOp = 0x44
	// ConstV128 is v128.const.
	ConstV128 ConstOp = 0xfd
	// ConstGlobal is global.get of the global Index.
	ConstGlobal ConstOp = 0x23
	// ConstNull is ref.null of the type RefType.
	ConstNull ConstOp = 0xd0
	// ConstFunc is ref.func of the function Index.
	ConstFunc ConstOp = 0xd2
)

// ConstExpr is the expression that gives a global its first value or a
// segment its offset.
type ConstExpr struct {
	// Op says which of the other fields mean something.
	Op ConstOp
	// Index is that of a global or a function.
	Index uint32
	// RefType is the type of a null reference.
	RefType ValType
	// Lo holds the bits of a number, and the lower half of a vector.
	Lo uint64
	// Hi is the upper half of a vector.
	Hi uint64
}

// Value is a constant of a numeric or vector type.
type Value struct {
	// Type is I32, I64, F32, F64 or V128.
	Type ValType
	// Lo holds the bits, unsigned; for a vector the lower half (lanes 0 to 7 of 16).
	Lo uint64
	// Hi is the upper half of a vector.
	Hi uint64
}

// Global is a global variable that the module defines.
type Global struct {
	// Type is its type.
	Type GlobalType
	// Init gives its first value.
	Init ConstExpr
}

// SegmentMode says when the contents of a segment are used.
type SegmentMode byte

// The modes of data and element segments.
const (
	// Active segments are copied at instantiation and then dropped.
	Active SegmentMode = iota
	// Passive segments are copied by memory.init or table.init.
	Passive
	// Declarative element segments only name functions for ref.func.
	Declarative
)

// Element is a segment of references for a table. It holds either Funcs or
// Exprs.
type Element struct {
	// Mode says when it is used.
	Mode SegmentMode
	// Table is the table of an active segment.
	Table uint32
	// Offset is where an active segment goes.
	Offset ConstExpr
	// Type is the type of all its references.
	Type ValType
	// Funcs are function indexes.
	Funcs []uint32
	// Exprs are constant expressions; non-nil in that form, even if empty.
	Exprs []ConstExpr
}

// Data is a segment of bytes for the memory.
type Data struct {
	// Mode is Active or Passive.
	Mode SegmentMode
	// Offset is where an active segment goes.
	Offset ConstExpr
	// Bytes are its contents.
	Bytes []byte
}

// LocalGroup declares Count local variables of one type.
type LocalGroup struct {
	// Count is how many there are.
	Count uint32
	// Type is the type of each.
	Type ValType
}

// Code is the body of a function that the module defines.
type Code struct {
	// Locals are the local variables beside the parameters.
	Locals []LocalGroup
	// Body is the instructions with their final end, as they were found.
	Body []byte
}

// Custom is a section that has no part in what the module does.
type Custom struct {
	// Name is its name, not necessarily unique.
	Name string
	// Data is its contents.
	Data []byte
	// After is the place of the non-empty section it follows, in the order
	// of the format (1 for types to 12 for data); 0 at the beginning.
	After int
}

// Module is a parsed module. Function bodies, data and custom sections share
// memory with the bytes it was parsed from, which must not be changed while
// it is used.
type Module struct {
	// Types are the signatures that functions and blocks name by index.
	Types []FuncType
	// Imports come first in every index space.
	Imports []Import
	// Functions holds the type index of every defined function.
	Functions []uint32
	// Tables are the defined tables.
	Tables []Table
	// Memories are the defined memories, sized in pages of 64 KiB.
	Memories []Range
	// Globals are the defined globals.
	Globals []Global
	// Exports are what the module shows.
	Exports []Export
	// Start is the index of the function to run at instantiation, if any.
	Start *uint32
	// Elements are the segments for tables.
	Elements []Element
	// DataCount is the announced number of data segments, if any. A module
	// whose code names data segments must have it.
	DataCount *uint32
	// Codes are the bodies of the defined functions, in their order.
	Codes []Code
	// Data are the segments for the memory.
	Data []Data
	// Customs are the custom sections in their order.
	Customs []Custom
}

// importCount gives the number of imports of a kind.
func (m *Module) importCount(kind ExternKind) int {
	n := 0
	for i := range m.Imports {
		if m.Imports[i].Kind == kind {
			n++
		}
	}
	return n
}

// MemoryRange gives the size of the module's memory, imported or defined, in
// pages of 64 KiB, and whether it has one.
func (m *Module) MemoryRange() (Range, bool) {
	for i := range m.Imports {
		if m.Imports[i].Kind == ExternMemory {
			return m.Imports[i].Memory, true
		}
	}
	if len(m.Memories) > 0 {
		return m.Memories[0], true
	}
	return Range{}, false
}

// Export gives the export of that name and kind, and whether there is one.
func (m *Module) Export(name string, kind ExternKind) (Export, bool) {
	for _, e := range m.Exports {
		if e.Name == name && e.Kind == kind {
			return e, true
		}
	}
	return Export{}, false
}

// FuncType gives the signature of the function with that index, imports
// first, and whether there is one.
func (m *Module) FuncType(index uint32) (FuncType, bool) {
	types := m.funcTypes()
	if uint64(index) >= uint64(len(types)) || uint64(types[index]) >= uint64(len(m.Types)) {
		return FuncType{}, false
	}
	return m.Types[types[index]], true
}

// funcTypes gives the type index of every function, imports first.
func (m *Module) funcTypes() []uint32 {
	types := make([]uint32, 0, len(m.Imports)+len(m.Functions))
	for i := range m.Imports {
		if m.Imports[i].Kind == ExternFunc {
			types = append(types, m.Imports[i].Func)
		}
	}
	return append(types, m.Functions...)
}

// globalTypes gives the type of every global, imports first.
func (m *Module) globalTypes() []GlobalType {
	types := make([]GlobalType, 0, len(m.Globals))
	for i := range m.Imports {
		if m.Imports[i].Kind == ExternGlobal {
			types = append(types, m.Imports[i].Global)
		}
	}
	for i := range m.Globals {
		types = append(types, m.Globals[i].Type)
	}
	return types
}

// tables gives the type of every table, imports first.
func (m *Module) tables() []Table {
	var tables []Table
	for i := range m.Imports {
		if m.Imports[i].Kind == ExternTable {
			tables = append(tables, m.Imports[i].Table)
		}
	}
	return append(tables, m.Tables...)
}
