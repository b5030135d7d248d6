package wasmtest

import (
	"encoding/binary"
	"math"

	"github.com/carrel-dev/carrel/wasm"
)

// Op is an instruction without immediates, by its opcode.
type Op byte

// Instructions without immediates that tests use.
const (
	Unreachable Op = 0x00
	Nop         Op = 0x01
	Return      Op = 0x0f
	Drop        Op = 0x1a
	Select      Op = 0x1b
	I32Eqz      Op = 0x45
	I32Eq       Op = 0x46
	I32Ne       Op = 0x47
	I32LtS      Op = 0x48
	I32LtU      Op = 0x49
	I32GtS      Op = 0x4a
	I32GtU      Op = 0x4b
	I32LeU      Op = 0x4d
	I32GeU      Op = 0x4f
	I64Eqz      Op = 0x50
	I64Eq       Op = 0x51
	I64LtU      Op = 0x54
	I32Add      Op = 0x6a
	I32Sub      Op = 0x6b
	I32Mul      Op = 0x6c
	I32DivU     Op = 0x6e
	I32RemU     Op = 0x70
	I32And      Op = 0x71
	I32Or       Op = 0x72
	I32Xor      Op = 0x73
	I32Shl      Op = 0x74
	I32ShrU     Op = 0x76
	I64Add      Op = 0x7c
	I64Sub      Op = 0x7d
	I64Mul      Op = 0x7e
	I64Xor      Op = 0x85
	F64Add      Op = 0xa0
	F64Mul      Op = 0xa2
	I32WrapI64  Op = 0xa7
	I64ExtendU  Op = 0xad
	RefIsNull   Op = 0xd1
)

// Access is a load or a store, by its opcode.
type Access byte

// Loads and stores that tests use.
const (
	I32Load   Access = 0x28
	I64Load   Access = 0x29
	F64Load   Access = 0x2b
	I32Load8U Access = 0x2d
	I32Store  Access = 0x36
	I64Store  Access = 0x37
	F64Store  Access = 0x39
	I32Store8 Access = 0x3a
)

// Code writes the body of a function. Every method appends one instruction
// and gives the Code back.
type Code struct {
	b      []byte
	params uint32
	locals []wasm.LocalGroup
}

// Local declares a local variable and gives its index.
func (c *Code) Local(t wasm.ValType) uint32 { return c.Locals(1, t) }

// Locals declares n local variables of a type and gives the index of the first.
func (c *Code) Locals(n uint32, t wasm.ValType) uint32 {
	index := c.params
	for _, g := range c.locals {
		index += g.Count
	}
	c.locals = append(c.locals, wasm.LocalGroup{Count: n, Type: t})
	return index
}

// Raw appends bytes as they are.
func (c *Code) Raw(b ...byte) *Code { c.b = append(c.b, b...); return c }

// Op appends instructions without immediates.
func (c *Code) Op(ops ...Op) *Code {
	for _, o := range ops {
		c.b = append(c.b, byte(o))
	}
	return c
}

func (c *Code) with(op byte, immediates ...uint32) *Code {
	c.b = append(c.b, op)
	for _, i := range immediates {
		c.b = binary.AppendUvarint(c.b, uint64(i))
	}
	return c
}

func (c *Code) signed(op byte, v int64) *Code {
	c.b = append(c.b, op)
	for v < -64 || v > 63 {
		c.b = append(c.b, byte(v)|0x80)
		v >>= 7
	}
	c.b = append(c.b, byte(v)&0x7f)
	return c
}

const empty = 0x40

// Block opens a block without values.
func (c *Code) Block() *Code { return c.Raw(0x02, empty) }

// Loop opens a loop without values.
func (c *Code) Loop() *Code { return c.Raw(0x03, empty) }

// If opens an if without values.
func (c *Code) If() *Code { return c.Raw(0x04, empty) }

// IfOf opens an if that leaves a value.
func (c *Code) IfOf(t wasm.ValType) *Code { return c.Raw(0x04, byte(t)) }

// Else begins the other branch of an if.
func (c *Code) Else() *Code { return c.Raw(0x05) }

// End closes a block.
func (c *Code) End() *Code { return c.Raw(0x0b) }

// Br branches out of so many blocks.
func (c *Code) Br(label uint32) *Code { return c.with(0x0c, label) }

// BrIf branches if the value on the stack is not 0.
func (c *Code) BrIf(label uint32) *Code { return c.with(0x0d, label) }

// BrTable branches by the value on the stack; the last label is the default.
func (c *Code) BrTable(labels ...uint32) *Code {
	c.with(0x0e, uint32(len(labels)-1))
	for _, l := range labels {
		c.b = binary.AppendUvarint(c.b, uint64(l))
	}
	return c
}

// Call calls a function.
func (c *Code) Call(function uint32) *Code { return c.with(0x10, function) }

// CallIndirect calls a function of a table.
func (c *Code) CallIndirect(typeIndex, table uint32) *Code { return c.with(0x11, typeIndex, table) }

// LocalGet pushes a local variable.
func (c *Code) LocalGet(local uint32) *Code { return c.with(0x20, local) }

// LocalSet pops into a local variable.
func (c *Code) LocalSet(local uint32) *Code { return c.with(0x21, local) }

// LocalTee copies into a local variable.
func (c *Code) LocalTee(local uint32) *Code { return c.with(0x22, local) }

// GlobalGet pushes a global.
func (c *Code) GlobalGet(global uint32) *Code { return c.with(0x23, global) }

// GlobalSet pops into a global.
func (c *Code) GlobalSet(global uint32) *Code { return c.with(0x24, global) }

// I32Const pushes a number.
func (c *Code) I32Const(v int32) *Code { return c.signed(0x41, int64(v)) }

// I64Const pushes a number.
func (c *Code) I64Const(v int64) *Code { return c.signed(0x42, v) }

// F64Const pushes a number.
func (c *Code) F64Const(v float64) *Code {
	c.b = binary.LittleEndian.AppendUint64(append(c.b, 0x44), math.Float64bits(v))
	return c
}

// V128Const pushes a vector.
func (c *Code) V128Const(lo, hi uint64) *Code {
	c.b = binary.LittleEndian.AppendUint64(append(c.b, 0xfd, 0x0c), lo)
	c.b = binary.LittleEndian.AppendUint64(c.b, hi)
	return c
}

// Mem loads or stores at a constant offset from the address on the stack,
// with an alignment of 1.
func (c *Code) Mem(a Access, offset uint32) *Code { return c.with(byte(a), 0, offset) }

// MemorySize pushes the number of pages.
func (c *Code) MemorySize() *Code { return c.Raw(0x3f, 0) }

// MemoryGrow grows by the pages on the stack.
func (c *Code) MemoryGrow() *Code { return c.Raw(0x40, 0) }

// MemoryInit copies from a data segment: address, offset, length.
func (c *Code) MemoryInit(data uint32) *Code { return c.Raw(0xfc).with(8, data).Raw(0) }

// DataDrop drops a data segment.
func (c *Code) DataDrop(data uint32) *Code { return c.Raw(0xfc).with(9, data) }

// MemoryCopy copies: to, from, length.
func (c *Code) MemoryCopy() *Code { return c.Raw(0xfc, 10, 0, 0) }

// MemoryFill fills: address, byte, length.
func (c *Code) MemoryFill() *Code { return c.Raw(0xfc, 11, 0) }

// TableGet pushes an element.
func (c *Code) TableGet(table uint32) *Code { return c.with(0x25, table) }

// TableSet sets an element: index, reference.
func (c *Code) TableSet(table uint32) *Code { return c.with(0x26, table) }

// TableInit copies from an element segment: to, from, length.
func (c *Code) TableInit(table, elements uint32) *Code { return c.Raw(0xfc).with(12, elements, table) }

// ElemDrop drops an element segment.
func (c *Code) ElemDrop(elements uint32) *Code { return c.Raw(0xfc).with(13, elements) }

// TableCopy copies: to, from, length.
func (c *Code) TableCopy(to, from uint32) *Code { return c.Raw(0xfc).with(14, to, from) }

// TableGrow grows: reference, elements.
func (c *Code) TableGrow(table uint32) *Code { return c.Raw(0xfc).with(15, table) }

// TableSize pushes the number of elements.
func (c *Code) TableSize(table uint32) *Code { return c.Raw(0xfc).with(16, table) }

// TableFill fills: index, reference, length.
func (c *Code) TableFill(table uint32) *Code { return c.Raw(0xfc).with(17, table) }

// RefNull pushes a null reference.
func (c *Code) RefNull(t wasm.ValType) *Code { return c.Raw(0xd0, byte(t)) }

// RefFunc pushes a reference to a function.
func (c *Code) RefFunc(function uint32) *Code { return c.with(0xd2, function) }
