package wasm

import "errors"

func asProposal(err error) (*proposalError, bool) {
	var p *proposalError
	ok := errors.As(err, &p)
	return p, ok
}

// parseConst parses a constant expression. The core specification 2.0 has no
// operators in them, so a valid one is a single instruction and its end.
func parseConst(r *reader) ConstExpr {
	c := ConstExpr{Op: ConstOp(r.byte())}
	switch c.Op {
	case ConstI32:
		c.Lo = uint64(uint32(r.signed(32)))
	case ConstI64:
		c.Lo = uint64(r.signed(64))
	case ConstF32:
		c.Lo = r.fixed(4)
	case ConstF64:
		c.Lo = r.fixed(8)
	case ConstV128:
		if sub := r.u32(); r.err == nil && sub != simdConst {
			r.fail("vector instruction %#x in a constant expression", sub)
		}
		c.Lo, c.Hi = r.fixed(8), r.fixed(8)
	case ConstGlobal, ConstFunc:
		c.Index = r.u32()
	case ConstNull:
		c.RefType = r.refType()
	default:
		r.fail("%#x does not begin a constant expression", byte(c.Op))
	}
	switch end := r.byte(); end {
	case opEnd:
	case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e, 0x41, 0x42, 0x23:
		r.refuse("extended-const")
	default:
		r.fail("a constant expression must be one instruction and end, found %#x", end)
	}
	return c
}

func parseData(r *reader) Data {
	d := Data{}
	switch form := r.u32(); form {
	case 0:
		d.Offset = parseConst(r)
	case 1:
		d.Mode = Passive
	case 2:
		if memory := r.u32(); memory != 0 {
			r.refuse("multi-memory")
		}
		d.Offset = parseConst(r)
	default:
		r.fail("%d is not a form of data segment", form)
	}
	d.Bytes = r.bytes(r.u32())
	return d
}

// parseElement parses an element segment. Bits of the form: 1 not active,
// 2 explicit table or declarative, 4 expressions instead of indexes.
func parseElement(r *reader) Element {
	e := Element{Type: FuncRef}
	form := r.u32()
	if form > 7 {
		r.fail("%d is not a form of element segment", form)
	}
	switch {
	case form&1 == 0:
		if form&2 != 0 {
			e.Table = r.u32()
		}
		e.Offset = parseConst(r)
	case form&2 != 0:
		e.Mode = Declarative
	default:
		e.Mode = Passive
	}
	exprs := form&4 != 0
	if form&3 != 0 {
		if exprs {
			e.Type = r.refType()
		} else if kind := r.byte(); kind != 0 {
			r.fail("%#x is not a kind of element", kind)
		}
	}
	if !exprs {
		e.Funcs = vector(r, 1, (*reader).u32)
		return e
	}
	if e.Exprs = vector(r, 3, parseConst); e.Exprs == nil {
		e.Exprs = []ConstExpr{}
	}
	return e
}
