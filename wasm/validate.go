package wasm

import "fmt"

const (
	// maxPages is 4 GiB in pages of 64 KiB, all that 32 bits can address.
	maxPages = 65536
	// maxTable is the engine's limit of elements in a table at first.
	maxTable = 1 << 27
)

// Validate checks the module against the validation rules of the core
// specification 2.0. Its time is in proportion to the module's length times
// the length of its signatures, which Check bounds: call Check before. An
// error has the kind fault.Invalid or fault.Unsupported and says which
// function and which byte of its body it is about.
func (m *Module) Validate() error {
	c := newContext(m)
	for _, check := range []func() error{
		c.imports, c.functions, c.tablesAndMemories, c.globalInits, c.exports, c.start, c.elements, c.data, c.bodies,
	} {
		if err := check(); err != nil {
			return refusal("wasm.Validate", err)
		}
	}
	return nil
}

// context is what function bodies are checked against.
type context struct {
	m       *Module
	funcs   []uint32
	tables  []Table
	globals []GlobalType
	// importedGlobals is how many globals a constant expression may read.
	importedGlobals int
	memory          bool
	// declared are the functions that a body may make references to.
	declared map[uint32]bool
}

func newContext(m *Module) *context {
	_, memory := m.MemoryRange()
	return &context{
		m: m, funcs: m.funcTypes(), tables: m.tables(), globals: m.globalTypes(), memory: memory,
		importedGlobals: m.importCount(ExternGlobal), declared: map[uint32]bool{},
	}
}

func (c *context) imports() error {
	for i := range c.m.Imports {
		imp := &c.m.Imports[i]
		var err error
		switch imp.Kind {
		case ExternFunc:
			if uint64(imp.Func) >= uint64(len(c.m.Types)) {
				err = fmt.Errorf("there is no type %d", imp.Func)
			}
		case ExternTable:
			err = checkTable(imp.Table)
		case ExternMemory:
			err = checkMemory(imp.Memory)
		}
		if err != nil {
			return fmt.Errorf("import %d: %w", i, err)
		}
	}
	return nil
}

func (c *context) functions() error {
	for i, t := range c.m.Functions {
		if uint64(t) >= uint64(len(c.m.Types)) {
			return fmt.Errorf("function %d: there is no type %d", i+c.m.importCount(ExternFunc), t)
		}
	}
	return nil
}

func checkTable(t Table) error {
	if t.Size.HasMax && t.Size.Max < t.Size.Min {
		return fmt.Errorf("table of at most %d but at least %d elements", t.Size.Max, t.Size.Min)
	}
	if t.Size.Min > maxTable {
		return fmt.Errorf("table of %d elements, more than %d", t.Size.Min, maxTable)
	}
	return nil
}

func checkMemory(s Range) error {
	if s.Min > maxPages || s.HasMax && s.Max > maxPages {
		return fmt.Errorf("memory of more than %d pages", maxPages)
	}
	if s.HasMax && s.Max < s.Min {
		return fmt.Errorf("memory of at most %d but at least %d pages", s.Max, s.Min)
	}
	return nil
}

func (c *context) tablesAndMemories() error {
	for i, t := range c.m.Tables {
		if err := checkTable(t); err != nil {
			return fmt.Errorf("table %d: %w", i, err)
		}
	}
	for _, s := range c.m.Memories {
		if err := checkMemory(s); err != nil {
			return err
		}
	}
	if len(c.m.Memories)+c.m.importCount(ExternMemory) > 1 {
		return &proposalError{"multi-memory"}
	}
	return nil
}

// constant checks a constant expression and notes the functions it names.
func (c *context) constant(e ConstExpr, want ValType) error {
	var got ValType
	switch e.Op {
	case ConstI32:
		got = I32
	case ConstI64:
		got = I64
	case ConstF32:
		got = F32
	case ConstF64:
		got = F64
	case ConstV128:
		got = V128
	case ConstNull:
		got = e.RefType
	case ConstFunc:
		if uint64(e.Index) >= uint64(len(c.funcs)) {
			return fmt.Errorf("there is no function %d", e.Index)
		}
		c.declared[e.Index] = true
		got = FuncRef
	case ConstGlobal:
		if uint64(e.Index) >= uint64(c.importedGlobals) {
			return fmt.Errorf("a constant expression reads global %d, which is not imported", e.Index)
		}
		if c.globals[e.Index].Mutable {
			return fmt.Errorf("a constant expression reads the mutable global %d", e.Index)
		}
		got = c.globals[e.Index].Type
	}
	if got != want {
		return fmt.Errorf("a constant expression gives %s where %s is wanted", got, want)
	}
	return nil
}

func (c *context) globalInits() error {
	for i := range c.m.Globals {
		g := &c.m.Globals[i]
		if err := c.constant(g.Init, g.Type.Type); err != nil {
			return fmt.Errorf("global %d: %w", i+c.importedGlobals, err)
		}
	}
	return nil
}

func (c *context) exports() error {
	seen := make(map[string]bool, len(c.m.Exports))
	for _, e := range c.m.Exports {
		if seen[e.Name] {
			return fmt.Errorf("there are two exports %q", e.Name)
		}
		seen[e.Name] = true
		n := 0
		switch e.Kind {
		case ExternFunc:
			n = len(c.funcs)
			c.declared[e.Index] = true
		case ExternTable:
			n = len(c.tables)
		case ExternMemory:
			if c.memory {
				n = 1
			}
		case ExternGlobal:
			n = len(c.globals)
		}
		if uint64(e.Index) >= uint64(n) {
			return fmt.Errorf("export %q: there is no %s %d", e.Name, e.Kind, e.Index)
		}
	}
	return nil
}

func (c *context) start() error {
	if c.m.Start == nil {
		return nil
	}
	if uint64(*c.m.Start) >= uint64(len(c.funcs)) {
		return fmt.Errorf("start: there is no function %d", *c.m.Start)
	}
	if t := c.m.Types[c.funcs[*c.m.Start]]; len(t.Params)+len(t.Results) > 0 {
		return fmt.Errorf("start: function %d has the type %s, not ()->()", *c.m.Start, t)
	}
	return nil
}

func (c *context) elements() error {
	for i := range c.m.Elements {
		if err := c.element(&c.m.Elements[i]); err != nil {
			return fmt.Errorf("element segment %d: %w", i, err)
		}
	}
	return nil
}

func (c *context) element(e *Element) error {
	if e.Mode == Active {
		if uint64(e.Table) >= uint64(len(c.tables)) {
			return fmt.Errorf("there is no table %d", e.Table)
		}
		if t := c.tables[e.Table].Type; t != e.Type {
			return fmt.Errorf("%s for a table of %s", e.Type, t)
		}
		if err := c.constant(e.Offset, I32); err != nil {
			return err
		}
	}
	for _, f := range e.Funcs {
		if uint64(f) >= uint64(len(c.funcs)) {
			return fmt.Errorf("there is no function %d", f)
		}
		c.declared[f] = true
	}
	for _, x := range e.Exprs {
		if err := c.constant(x, e.Type); err != nil {
			return err
		}
	}
	return nil
}

func (c *context) data() error {
	for i := range c.m.Data {
		d := &c.m.Data[i]
		if d.Mode != Active {
			continue
		}
		if !c.memory {
			return fmt.Errorf("data segment %d: there is no memory", i)
		}
		if err := c.constant(d.Offset, I32); err != nil {
			return fmt.Errorf("data segment %d: %w", i, err)
		}
	}
	return nil
}

func (c *context) bodies() error {
	f := &checker{context: c}
	imported := len(c.funcs) - len(c.m.Codes)
	for i := range c.m.Codes {
		if err := f.function(c.m.Types[c.m.Functions[i]], &c.m.Codes[i]); err != nil {
			return fmt.Errorf("function %d, byte %d of its body: %w", i+imported, f.body.pos, err)
		}
	}
	return nil
}
