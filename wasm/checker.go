package wasm

import (
	"fmt"
	"slices"
)

// frame is a block that is open: what it takes and leaves on the stack.
type frame struct {
	op          uint16
	start, end  []ValType
	height      int
	unreachable bool
}

// checker type-checks function bodies, one after the other, by the algorithm
// in the appendix of the core specification.
type checker struct {
	*context
	body   body
	in     instr
	vals   []ValType
	frames []frame
	locals []ValType
}

// function checks one body. Module.Functions was checked before.
func (c *checker) function(t FuncType, code *Code) error {
	c.locals = append(c.locals[:0], t.Params...)
	for _, g := range code.Locals {
		for n := g.Count; n > 0; n-- {
			c.locals = append(c.locals, g.Type)
		}
	}
	c.vals, c.frames = c.vals[:0], c.frames[:0]
	c.body = body{b: code.Body}
	c.open(opBlock, nil, t.Results)
	for len(c.frames) > 0 {
		if err := c.body.next(&c.in); err != nil {
			return err
		}
		o := &ops[c.in.op]
		var err error
		if o.plain {
			err = c.plain(o)
		} else {
			err = c.special()
		}
		if err != nil {
			return err
		}
	}
	if c.body.pos != len(code.Body) {
		return fmt.Errorf("instructions after the end of the function")
	}
	return nil
}

func (c *checker) push(v ValType) { c.vals = append(c.vals, v) }

func (c *checker) pushAll(v []ValType) { c.vals = append(c.vals, v...) }

func (c *checker) pop() (ValType, error) {
	f := &c.frames[len(c.frames)-1]
	if len(c.vals) == f.height {
		if f.unreachable {
			return anyType, nil
		}
		return 0, fmt.Errorf("there is no value on the stack where one is wanted")
	}
	v := c.vals[len(c.vals)-1]
	c.vals = c.vals[:len(c.vals)-1]
	return v, nil
}

func (c *checker) expect(want ValType) error {
	got, err := c.pop()
	if err != nil {
		return err
	}
	if got != want && got != anyType && want != anyType {
		return fmt.Errorf("%s on the stack where %s is wanted", got, want)
	}
	return nil
}

func (c *checker) expectAll(want []ValType) error {
	for i := len(want) - 1; i >= 0; i-- {
		if err := c.expect(want[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) open(op uint16, start, end []ValType) {
	c.frames = append(c.frames, frame{op: op, start: start, end: end, height: len(c.vals)})
	c.pushAll(start)
}

func (c *checker) close() (frame, error) {
	f := c.frames[len(c.frames)-1]
	if err := c.expectAll(f.end); err != nil {
		return f, err
	}
	if len(c.vals) != f.height {
		return f, fmt.Errorf("%d values are left on the stack at the end of a block", len(c.vals)-f.height)
	}
	c.frames = c.frames[:len(c.frames)-1]
	return f, nil
}

func (c *checker) unreachable() {
	f := &c.frames[len(c.frames)-1]
	c.vals = c.vals[:f.height]
	f.unreachable = true
}

// label gives the types that a branch out of n blocks takes along.
func (c *checker) label(n uint32) ([]ValType, error) {
	if uint64(n) >= uint64(len(c.frames)) {
		return nil, fmt.Errorf("there is no block %d levels out", n)
	}
	f := &c.frames[len(c.frames)-1-int(n)]
	if f.op == opLoop {
		return f.start, nil
	}
	return f.end, nil
}

// plain checks an instruction by the types in the table.
func (c *checker) plain(o *opInfo) error {
	switch o.imm {
	case immMemory, immMemLane:
		if c.in.a >= 32 {
			return &proposalError{"multi-memory"}
		}
		if c.in.a > uint32(o.align) {
			return fmt.Errorf("alignment 2^%d is greater than that of the access", c.in.a)
		}
		fallthrough
	case immZero, immTwoZero:
		if !c.memory {
			return fmt.Errorf("there is no memory")
		}
	case immBits128:
		if c.in.op == simdBase+simdShuffle {
			for _, lane := range c.body.b[c.body.pos-16 : c.body.pos] {
				if lane >= 32 {
					return fmt.Errorf("there is no lane %d", lane)
				}
			}
		}
	}
	if o.lanes > 0 && c.in.lane >= o.lanes {
		return fmt.Errorf("there is no lane %d", c.in.lane)
	}
	for i := int(o.ins) - 1; i >= 0; i-- {
		if err := c.expect(o.in[i]); err != nil {
			return err
		}
	}
	if o.outs > 0 {
		c.push(o.out)
	}
	return nil
}

func (c *checker) special() error {
	switch c.in.op {
	case opUnreachable:
		c.unreachable()
		return nil
	case 0x01: // nop
		return nil
	case opBlock, opLoop, opIf, opElse, opEnd, opBr, opBrIf, opBrTable, opReturn:
		return c.control()
	case opCall, opCallIndirect:
		return c.call()
	case opDrop:
		_, err := c.pop()
		return err
	case opSelect:
		return c.choose()
	case opSelectTyped:
		return c.chooseTyped()
	case opLocalGet, opLocalSet, opLocalTee, opGlobalGet, opGlobalSet:
		return c.variable()
	case opRefNull, opRefIsNull, opRefFunc:
		return c.reference()
	case opMemoryInit, opDataDrop:
		return c.segment()
	default:
		return c.table()
	}
}

var singleTypes = [256][]ValType{
	I32: {I32}, I64: {I64}, F32: {F32}, F64: {F64}, V128: {V128}, FuncRef: {FuncRef}, ExternRef: {ExternRef},
}

// blockType gives what a block takes and leaves.
func (c *checker) blockType() (start, end []ValType, err error) {
	b := c.in.block
	switch {
	case b == blockEmpty:
	case b >= 0:
		if b >= int64(len(c.m.Types)) {
			return nil, nil, fmt.Errorf("there is no type %d", b)
		}
		start, end = c.m.Types[b].Params, c.m.Types[b].Results
	default:
		if b >= -64 {
			end = singleTypes[byte(b&0x7f)]
		}
		if end == nil {
			if p := typeProposal(byte(b & 0x7f)); p != "" {
				return nil, nil, &proposalError{p}
			}
			return nil, nil, fmt.Errorf("%d is not a block type", b)
		}
	}
	return start, end, nil
}

func (c *checker) control() error {
	switch c.in.op {
	case opIf:
		if err := c.expect(I32); err != nil {
			return err
		}
		fallthrough
	case opBlock, opLoop:
		start, end, err := c.blockType()
		if err != nil {
			return err
		}
		if err := c.expectAll(start); err != nil {
			return err
		}
		c.open(c.in.op, start, end)
		return nil
	case opElse, opEnd:
		return c.finish()
	case opReturn:
		if err := c.expectAll(c.frames[0].end); err != nil {
			return err
		}
	case opBrTable:
		return c.branchTable()
	default:
		types, err := c.label(c.in.a)
		if err != nil {
			return err
		}
		if c.in.op == opBrIf {
			if err := c.expect(I32); err != nil {
				return err
			}
			if err := c.expectAll(types); err != nil {
				return err
			}
			c.pushAll(types)
			return nil
		}
		if err := c.expectAll(types); err != nil {
			return err
		}
	}
	c.unreachable()
	return nil
}

// finish checks else and end.
func (c *checker) finish() error {
	f, err := c.close()
	if err != nil {
		return err
	}
	if c.in.op == opElse {
		if f.op != opIf {
			return fmt.Errorf("else without if")
		}
		c.open(opElse, f.start, f.end)
		return nil
	}
	if f.op == opIf && !slices.Equal(f.start, f.end) {
		return fmt.Errorf("an if without else must leave what it takes")
	}
	c.pushAll(f.end)
	return nil
}

func (c *checker) branchTable() error {
	if err := c.expect(I32); err != nil {
		return err
	}
	list := body{b: c.in.labels.b}
	var arity int
	var last uint32
	for i := uint32(0); i < c.in.labels.n; i++ {
		n, err := list.u32()
		if err != nil {
			return err
		}
		if i > 0 && n == last {
			continue
		}
		types, err := c.label(n)
		if err != nil {
			return err
		}
		if i > 0 && len(types) != arity {
			return fmt.Errorf("the targets of br_table take different numbers of values")
		}
		arity, last = len(types), n
		if err := c.peekAll(types); err != nil {
			return err
		}
	}
	types, err := c.label(last)
	if err != nil {
		return err
	}
	if err := c.expectAll(types); err != nil {
		return err
	}
	c.unreachable()
	return nil
}

// peekAll checks the top of the stack without changing it.
func (c *checker) peekAll(want []ValType) error {
	f := &c.frames[len(c.frames)-1]
	for i := range want {
		at := len(c.vals) - len(want) + i
		switch {
		case at >= f.height:
			if got := c.vals[at]; got != want[i] && got != anyType {
				return fmt.Errorf("%s on the stack where %s is wanted", got, want[i])
			}
		case !f.unreachable:
			return fmt.Errorf("there is no value on the stack where one is wanted")
		}
	}
	return nil
}

func (c *checker) call() error {
	var t FuncType
	if c.in.op == opCall {
		if uint64(c.in.a) >= uint64(len(c.funcs)) {
			return fmt.Errorf("there is no function %d", c.in.a)
		}
		t = c.m.Types[c.funcs[c.in.a]]
	} else {
		if uint64(c.in.a) >= uint64(len(c.m.Types)) {
			return fmt.Errorf("there is no type %d", c.in.a)
		}
		if err := c.tableOf(c.in.b, FuncRef); err != nil {
			return err
		}
		if err := c.expect(I32); err != nil {
			return err
		}
		t = c.m.Types[c.in.a]
	}
	if err := c.expectAll(t.Params); err != nil {
		return err
	}
	c.pushAll(t.Results)
	return nil
}

func (c *checker) choose() error {
	if err := c.expect(I32); err != nil {
		return err
	}
	a, err := c.pop()
	if err != nil {
		return err
	}
	b, err := c.pop()
	if err != nil {
		return err
	}
	if a.IsRef() || b.IsRef() {
		return fmt.Errorf("select without a type cannot choose references")
	}
	if a != b && a != anyType && b != anyType {
		return fmt.Errorf("select between %s and %s", a, b)
	}
	if a == anyType {
		a = b
	}
	c.push(a)
	return nil
}
