package wasm

// Encode gives the module in the binary format. The encoding is canonical but
// for function bodies, which are kept as they are: numbers as short as can
// be, no empty sections. Parsing it gives an equal module.
func (m *Module) Encode() []byte {
	e := &encoder{m: m, out: make([]byte, 0, m.sizeHint())}
	e.out = append(e.out, header...)
	for place := 0; place < sectionCount; place++ {
		for id, p := range sectionPlace {
			if p == place && place > 0 {
				e.section(byte(id))
			}
		}
		for i := range m.Customs {
			if m.Customs[i].After == place {
				e.custom(&m.Customs[i])
			}
		}
	}
	return e.out
}

// sizeHint guesses the encoded length from above in the usual case, so that
// large modules are not copied while they grow.
func (m *Module) sizeHint() int {
	n := 1024 + 16*(len(m.Types)+len(m.Codes)+len(m.Data)+len(m.Globals)) + 48*(len(m.Imports)+len(m.Exports))
	for i := range m.Codes {
		n += len(m.Codes[i].Body) + 3*len(m.Codes[i].Locals)
	}
	for i := range m.Data {
		n += len(m.Data[i].Bytes)
	}
	for i := range m.Elements {
		n += 16 + 4*len(m.Elements[i].Funcs) + 8*len(m.Elements[i].Exprs)
	}
	for i := range m.Customs {
		n += len(m.Customs[i].Data) + len(m.Customs[i].Name) + 16
	}
	return n
}

// sizeOf gives the number of bytes of the module's large parts: bodies, data
// and custom sections, which are taken over from its source.
func (m *Module) sizeOf() int {
	n := len(header)
	for i := range m.Codes {
		n += len(m.Codes[i].Body)
	}
	for i := range m.Data {
		n += len(m.Data[i].Bytes)
	}
	for i := range m.Customs {
		n += len(m.Customs[i].Data)
	}
	return n
}

type encoder struct {
	m   *Module
	out []byte
	buf []byte
}

func (e *encoder) custom(c *Custom) {
	n := length(len(c.Name))
	e.out = appendU32(append(e.out, 0), uint32(sizeU32(n))+n+length(len(c.Data)))
	e.out = append(appendName(e.out, c.Name), c.Data...)
}

// section writes the section with that number, unless it is empty.
func (e *encoder) section(id byte) {
	n := e.items(id)
	if n == 0 {
		return
	}
	b := appendU32(e.buf[:0], length(n))
	switch id {
	case placeStart:
		b = appendU32(b[:0], *e.m.Start)
	case 12:
		b = appendU32(b[:0], *e.m.DataCount)
	default:
		for i := range n {
			b = e.item(b, id, i)
		}
	}
	e.buf = b
	e.out = appendU32(append(e.out, id), length(len(b)))
	e.out = append(e.out, b...)
}

// items gives the number of items in the section with that number.
func (e *encoder) items(id byte) int {
	m := e.m
	switch id {
	case placeStart:
		if m.Start == nil {
			return 0
		}
		return 1
	case 12:
		if m.DataCount == nil {
			return 0
		}
		return 1
	}
	return [...]int{1: len(m.Types), 2: len(m.Imports), 3: len(m.Functions), 4: len(m.Tables), 5: len(m.Memories),
		6: len(m.Globals), 7: len(m.Exports), 9: len(m.Elements), 10: len(m.Codes), 11: len(m.Data)}[id]
}

func (e *encoder) item(b []byte, id byte, i int) []byte {
	m := e.m
	switch id {
	case 1:
		return appendTypes(appendTypes(append(b, 0x60), m.Types[i].Params), m.Types[i].Results)
	case 2:
		return appendImport(b, &m.Imports[i])
	case 3:
		return appendU32(b, m.Functions[i])
	case 4:
		return appendTable(b, m.Tables[i])
	case 5:
		return appendRange(b, m.Memories[i])
	case 6:
		return appendConst(appendGlobalType(b, m.Globals[i].Type), m.Globals[i].Init)
	case 7:
		return appendU32(append(appendName(b, m.Exports[i].Name), byte(m.Exports[i].Kind)), m.Exports[i].Index)
	case 9:
		return appendElement(b, &m.Elements[i])
	case 10:
		return appendCode(b, &m.Codes[i])
	default:
		return appendData(b, &m.Data[i])
	}
}

func appendTypes(b []byte, types []ValType) []byte {
	b = appendU32(b, length(len(types)))
	for _, t := range types {
		b = append(b, byte(t))
	}
	return b
}

func appendImport(b []byte, i *Import) []byte {
	b = append(appendName(appendName(b, i.Module), i.Name), byte(i.Kind))
	switch i.Kind {
	case ExternTable:
		return appendTable(b, i.Table)
	case ExternMemory:
		return appendRange(b, i.Memory)
	case ExternGlobal:
		return appendGlobalType(b, i.Global)
	default:
		return appendU32(b, i.Func)
	}
}

func appendTable(b []byte, t Table) []byte { return appendRange(append(b, byte(t.Type)), t.Size) }

func appendRange(b []byte, s Range) []byte {
	if s.HasMax {
		return appendU32(appendU32(append(b, 1), s.Min), s.Max)
	}
	return appendU32(append(b, 0), s.Min)
}

func appendGlobalType(b []byte, g GlobalType) []byte {
	if g.Mutable {
		return append(b, byte(g.Type), 1)
	}
	return append(b, byte(g.Type), 0)
}

func appendFixed(b []byte, v uint64, n int) []byte {
	for ; n > 0; n-- {
		b = append(b, byte(v))
		v >>= 8
	}
	return b
}

func appendConst(b []byte, c ConstExpr) []byte {
	b = append(b, byte(c.Op))
	switch c.Op {
	case ConstI32:
		b = appendS64(b, int64(int32(c.Lo)))
	case ConstI64:
		b = appendS64(b, int64(c.Lo))
	case ConstF32:
		b = appendFixed(b, c.Lo, 4)
	case ConstF64:
		b = appendFixed(b, c.Lo, 8)
	case ConstV128:
		b = appendFixed(appendFixed(append(b, simdConst), c.Lo, 8), c.Hi, 8)
	case ConstNull:
		b = append(b, byte(c.RefType))
	default:
		b = appendU32(b, c.Index)
	}
	return append(b, opEnd)
}

func appendElement(b []byte, e *Element) []byte {
	form := byte(0)
	switch {
	case e.Mode == Declarative:
		form = 3
	case e.Mode == Passive:
		form = 1
	case e.Table != 0 || e.Type != FuncRef:
		form = 2
	}
	kind := byte(0)
	if e.Exprs != nil {
		form |= 4
		kind = byte(e.Type)
	}
	b = append(b, form)
	if e.Mode == Active {
		if form&2 != 0 {
			b = appendU32(b, e.Table)
		}
		b = appendConst(b, e.Offset)
	}
	if form&3 != 0 {
		b = append(b, kind)
	}
	if e.Exprs == nil {
		b = appendU32(b, length(len(e.Funcs)))
		for _, f := range e.Funcs {
			b = appendU32(b, f)
		}
		return b
	}
	b = appendU32(b, length(len(e.Exprs)))
	for _, c := range e.Exprs {
		b = appendConst(b, c)
	}
	return b
}

func appendCode(b []byte, c *Code) []byte {
	n := sizeU32(length(len(c.Locals))) + len(c.Body)
	for _, g := range c.Locals {
		n += sizeU32(g.Count) + 1
	}
	b = appendU32(b, length(n))
	b = appendU32(b, length(len(c.Locals)))
	for _, g := range c.Locals {
		b = append(appendU32(b, g.Count), byte(g.Type))
	}
	return append(b, c.Body...)
}

func appendData(b []byte, d *Data) []byte {
	if d.Mode == Passive {
		b = append(b, 1)
	} else {
		b = appendConst(append(b, 0), d.Offset)
	}
	return append(appendU32(b, length(len(d.Bytes))), d.Bytes...)
}
