package wasm

import "fmt"

func (c *checker) chooseTyped() error {
	if len(c.in.types) != 1 || singleTypes[c.in.types[0]] == nil {
		return fmt.Errorf("select must name one value type")
	}
	t := ValType(c.in.types[0])
	for _, want := range []ValType{I32, t, t} {
		if err := c.expect(want); err != nil {
			return err
		}
	}
	c.push(t)
	return nil
}

func (c *checker) variable() error {
	if c.in.op >= opGlobalGet {
		if uint64(c.in.a) >= uint64(len(c.globals)) {
			return fmt.Errorf("there is no global %d", c.in.a)
		}
		g := c.globals[c.in.a]
		if c.in.op == opGlobalGet {
			c.push(g.Type)
			return nil
		}
		if !g.Mutable {
			return fmt.Errorf("global %d is not mutable", c.in.a)
		}
		return c.expect(g.Type)
	}
	if uint64(c.in.a) >= uint64(len(c.locals)) {
		return fmt.Errorf("there is no local %d", c.in.a)
	}
	t := c.locals[c.in.a]
	if c.in.op != opLocalGet {
		if err := c.expect(t); err != nil {
			return err
		}
	}
	if c.in.op != opLocalSet {
		c.push(t)
	}
	return nil
}

func (c *checker) reference() error {
	switch c.in.op {
	case opRefNull:
		t := ValType(c.in.a)
		if !t.IsRef() {
			return fmt.Errorf("%#x is not a reference type", c.in.a)
		}
		c.push(t)
	case opRefFunc:
		if uint64(c.in.a) >= uint64(len(c.funcs)) {
			return fmt.Errorf("there is no function %d", c.in.a)
		}
		if !c.declared[c.in.a] {
			return fmt.Errorf("function %d is used as a reference without a declaration", c.in.a)
		}
		c.push(FuncRef)
	default:
		t, err := c.pop()
		if err != nil {
			return err
		}
		if t != anyType && !t.IsRef() {
			return fmt.Errorf("%s on the stack where a reference is wanted", t)
		}
		c.push(I32)
	}
	return nil
}

// segment checks memory.init and data.drop.
func (c *checker) segment() error {
	if c.m.DataCount == nil {
		return fmt.Errorf("the module does not announce its number of data segments")
	}
	if c.in.a >= *c.m.DataCount {
		return fmt.Errorf("there is no data segment %d", c.in.a)
	}
	if c.in.op == opDataDrop {
		return nil
	}
	if !c.memory {
		return fmt.Errorf("there is no memory")
	}
	return c.expectAll(threeI32)
}

var threeI32 = []ValType{I32, I32, I32}

// tableOf checks that there is a table of that type; anyType for any.
func (c *checker) tableOf(index uint32, want ValType) error {
	if uint64(index) >= uint64(len(c.tables)) {
		return fmt.Errorf("there is no table %d", index)
	}
	if t := c.tables[index].Type; want != anyType && t != want {
		return fmt.Errorf("table %d holds %s, not %s", index, t, want)
	}
	return nil
}

// table checks the instructions on tables and element segments.
func (c *checker) table() error {
	if c.in.op == opElemDrop || c.in.op == opTableInit {
		if uint64(c.in.a) >= uint64(len(c.m.Elements)) {
			return fmt.Errorf("there is no element segment %d", c.in.a)
		}
		if c.in.op == opElemDrop {
			return nil
		}
		if err := c.tableOf(c.in.b, c.m.Elements[c.in.a].Type); err != nil {
			return err
		}
		return c.expectAll(threeI32)
	}
	if err := c.tableOf(c.in.a, anyType); err != nil {
		return err
	}
	t := c.tables[c.in.a].Type
	switch c.in.op {
	case opTableGet:
		err := c.expect(I32)
		c.push(t)
		return err
	case opTableSet:
		return c.expectAll([]ValType{I32, t})
	case opTableSize:
		c.push(I32)
		return nil
	case opTableGrow:
		err := c.expectAll([]ValType{t, I32})
		c.push(I32)
		return err
	case opTableFill:
		return c.expectAll([]ValType{I32, t, I32})
	default: // table.copy
		if err := c.tableOf(c.in.b, t); err != nil {
			return err
		}
		return c.expectAll(threeI32)
	}
}
