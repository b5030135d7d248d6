package wasm

import (
	"errors"
	"fmt"
)

// instr is one decoded instruction.
type instr struct {
	// op numbers prefixed instructions from miscBase and simdBase.
	op uint16
	// a and b are the indexes, or alignment and offset.
	a, b uint32
	// lane is the lane of a vector instruction.
	lane uint8
	// block is a block type: a type index, or one of the negative forms.
	block int64
	// labels are those of br_table.
	labels labelList
	// types is the list of select.
	types []byte
}

// labelList is the targets of a br_table, the default last, still encoded.
type labelList struct {
	b []byte
	n uint32
}

// blockEmpty is the block type without parameters and results.
const blockEmpty = -64

// body walks over the instructions of a function.
type body struct {
	b   []byte
	pos int
}

var errEnd = errors.New("unexpected end of the body")

func (c *body) u32() (uint32, error) {
	if c.pos < len(c.b) && c.b[c.pos] < 0x80 {
		c.pos++
		return uint32(c.b[c.pos-1]), nil
	}
	v, n := uleb32(c.b[c.pos:])
	if n == 0 {
		return 0, fmt.Errorf("malformed unsigned number")
	}
	c.pos += n
	return v, nil
}

func (c *body) skip(n int) error {
	if len(c.b)-c.pos < n {
		return errEnd
	}
	c.pos += n
	return nil
}

func (c *body) zero(n int) error {
	for ; n > 0; n-- {
		if c.pos >= len(c.b) {
			return errEnd
		}
		if c.b[c.pos] != 0 {
			return &proposalError{"multi-memory"}
		}
		c.pos++
	}
	return nil
}

func (c *body) signed(bits uint) (int64, error) {
	v, n := sleb(c.b[c.pos:], bits)
	if n == 0 {
		return 0, fmt.Errorf("malformed signed number")
	}
	c.pos += n
	return v, nil
}

// next decodes the instruction at pos into in and steps over it. Fields of in
// that the instruction does not have keep what they had.
func (c *body) next(in *instr) error {
	if c.pos >= len(c.b) {
		return errEnd
	}
	in.op = uint16(c.b[c.pos])
	c.pos++
	if in.op >= prefixMisc && in.op <= prefixSIMD {
		if err := c.prefixed(in); err != nil {
			return err
		}
	}
	imm := ops[in.op].imm
	if imm == immNone {
		return nil
	}
	return c.immediates(in, imm)
}

func (c *body) prefixed(in *instr) error {
	sub, err := c.u32()
	if err != nil {
		return err
	}
	base, n := uint16(miscBase), uint32(simdBase-miscBase)
	if in.op == prefixSIMD {
		base, n = simdBase, opCount-simdBase
		if sub >= n {
			return &proposalError{"relaxed-simd"}
		}
	}
	if base == miscBase && sub >= 19 && sub <= 22 {
		return &proposalError{"wide-arithmetic"}
	}
	if sub >= n || ops[base+uint16(sub)].imm == immUnknown {
		return fmt.Errorf("unknown instruction %#x %#x", in.op, sub)
	}
	in.op = base + uint16(sub)
	return nil
}

func (c *body) immediates(in *instr, imm immediate) (err error) {
	switch imm {
	case immIndex:
		in.a, err = c.u32()
	case immI32:
		_, err = c.signed(32)
	case immI64:
		_, err = c.signed(64)
	case immMemory, immTwo, immMemLane:
		if in.a, err = c.u32(); err == nil {
			in.b, err = c.u32()
		}
		if err == nil && imm == immMemLane {
			err = c.readLane(in)
		}
	case immBlock:
		start := c.pos
		in.block, err = c.signed(33)
		if err == nil && in.block < 0 && c.pos-start > 1 {
			err = fmt.Errorf("malformed block type")
		}
	case immBits32:
		err = c.skip(4)
	case immBits64:
		err = c.skip(8)
	case immBits128:
		err = c.skip(16)
	case immLane:
		err = c.readLane(in)
	case immZero:
		err = c.zero(1)
	case immTwoZero:
		err = c.zero(2)
	case immIdxZero:
		if in.a, err = c.u32(); err == nil {
			err = c.zero(1)
		}
	case immLabels:
		in.labels, err = c.readLabels()
	case immSelect:
		in.types, err = c.list()
	case immRef:
		if err = c.skip(1); err == nil {
			in.a = uint32(c.b[c.pos-1])
		}
	default:
		err = unknownOpcode(in.op)
	}
	return err
}

func (c *body) readLane(in *instr) error {
	err := c.skip(1)
	if err == nil {
		in.lane = c.b[c.pos-1]
	}
	return err
}

func (c *body) list() ([]byte, error) {
	n, err := c.u32()
	if err != nil {
		return nil, err
	}
	if uint64(n) > uint64(len(c.b)-c.pos) {
		return nil, errEnd
	}
	c.pos += int(n)
	return c.b[c.pos-int(n) : c.pos], nil
}

func (c *body) readLabels() (labelList, error) {
	n, err := c.u32()
	if err != nil {
		return labelList{}, err
	}
	if uint64(n) >= uint64(len(c.b)-c.pos) {
		return labelList{}, errEnd
	}
	start := c.pos
	for i := uint32(0); i <= n; i++ {
		if _, err := c.u32(); err != nil {
			return labelList{}, err
		}
	}
	return labelList{b: c.b[start:c.pos], n: n + 1}, nil
}

// unknownOpcode names the proposal an opcode belongs to, if it does to one.
func unknownOpcode(op uint16) error {
	switch {
	case op >= 0x06 && op <= 0x0a, op == 0x18, op == 0x19, op == 0x1f:
		return &proposalError{"exception-handling"}
	case op == 0x12 || op == 0x13:
		return &proposalError{"tail-call"}
	case op == 0x14 || op == 0x15 || op >= 0xd3 && op <= 0xd6:
		return &proposalError{"typed-function-references"}
	case op >= 0xe0 && op <= 0xe6:
		return &proposalError{"stack-switching"}
	case op == 0xfb:
		return &proposalError{"gc"}
	case op == 0xfe:
		return &proposalError{"threads"}
	}
	return fmt.Errorf("unknown instruction %#x", op)
}
