package wasm

import (
	"bytes"

	"github.com/carrel-dev/carrel/fault"
)

// MaxLocals is the greatest number of local variables of one function that
// Parse accepts: the limit of the WebAssembly JavaScript interface, "Limits".
// Four bytes can declare 2^32 of them, which an engine would make room for.
const MaxLocals = 50_000

var header = []byte{0, 'a', 's', 'm', 1, 0, 0, 0}

// The places of the sections in a module, which are not their numbers: the
// data count (12) stands before the code (10) that needs it.
const (
	placeStart   = 8
	placeCode    = 11
	sectionCount = 13
)

var sectionPlace = [sectionCount]int{0, 1, 2, 3, 4, 5, 6, 7, placeStart, 9, placeCode, 12, 10}

// Parse takes a module apart. It is strict, never panics, and allocates no
// more than in proportion to the length of b. It does not look into function
// bodies: Validate does. An error has the kind fault.Invalid, or
// fault.Unsupported for a proposal that is not accepted. The module shares
// memory with b.
func Parse(b []byte) (*Module, error) {
	m := &Module{}
	r := &reader{b: b, end: len(b)}
	m.parse(r)
	if r.err != nil {
		return nil, refusal("wasm.Parse", r.err)
	}
	return m, nil
}

// refusal gives the reason why a module is refused its kind and a remedy.
func refusal(op string, err error) error {
	if _, ok := asProposal(err); ok {
		return fault.New(op, fault.Unsupported, "the module is not accepted: %v.", err).
			WithRemedy("Compile it for WebAssembly 2.0 without that feature.")
	}
	return fault.New(op, fault.Invalid, "the module is not valid WebAssembly: %v.", err).
		WithRemedy("Check that the file was built for wasm32 and was not damaged.")
}

func (m *Module) parse(r *reader) {
	if got := r.bytes(length(len(header))); !bytes.Equal(got, header) {
		if len(got) > 6 && bytes.Equal(got[:4], header[:4]) && got[6] == 1 {
			r.refuse("component-model")
		}
		r.fail("it does not begin with the header of a version 1 core module")
		return
	}
	var last, lastFull int
	for r.err == nil && r.left() > 0 {
		id := r.byte()
		size := r.u32()
		start := r.pos
		body := &reader{b: r.b, pos: start, end: start}
		if r.bytes(size); r.err != nil {
			return
		}
		body.end = r.pos
		if id == 0 {
			m.Customs = append(m.Customs, Custom{Name: body.name(), After: lastFull, Data: body.b[body.pos:body.end:body.end]})
			r.err = body.err
			continue
		}
		if id >= sectionCount {
			if id == sectionCount {
				r.refuse("exception-handling")
			}
			r.fail("unknown section %d", id)
			return
		}
		place := sectionPlace[id]
		if place <= last {
			r.fail("section %d comes twice or out of order", id)
			return
		}
		last = place
		if m.parseSection(id, body) {
			lastFull = place
		}
		if body.err == nil && body.left() > 0 {
			body.fail("section %d is longer than its contents", id)
		}
		r.err = body.err
	}
	m.parseEnd(r)
}

// parseEnd checks what two sections say about each other.
func (m *Module) parseEnd(r *reader) {
	if len(m.Functions) != len(m.Codes) {
		r.fail("%d functions declared, but %d bodies", len(m.Functions), len(m.Codes))
	}
	if m.DataCount != nil && uint64(*m.DataCount) != uint64(len(m.Data)) {
		r.fail("%d data segments announced, but there are %d", *m.DataCount, len(m.Data))
	}
}

// parseSection parses the contents of a section that is not custom and tells
// whether it holds anything.
func (m *Module) parseSection(id byte, r *reader) bool {
	switch id {
	case 1:
		m.Types = vector(r, 2, parseFuncType)
		return len(m.Types) > 0
	case 2:
		m.Imports = vector(r, 4, parseImport)
		return len(m.Imports) > 0
	case 3:
		m.Functions = vector(r, 1, (*reader).u32)
		return len(m.Functions) > 0
	case 4:
		m.Tables = vector(r, 3, parseTable)
		return len(m.Tables) > 0
	case 5:
		m.Memories = vector(r, 2, parseMemory)
		return len(m.Memories) > 0
	case 6:
		m.Globals = vector(r, 4, parseGlobal)
		return len(m.Globals) > 0
	case 7:
		m.Exports = vector(r, 3, parseExport)
		return len(m.Exports) > 0
	case placeStart:
		index := r.u32()
		m.Start = &index
	case 9:
		m.Elements = vector(r, 3, parseElement)
		return len(m.Elements) > 0
	case 10:
		m.Codes = vector(r, 3, parseCode)
		return len(m.Codes) > 0
	case 11:
		m.Data = vector(r, 2, parseData)
		return len(m.Data) > 0
	case 12:
		n := r.u32()
		m.DataCount = &n
	}
	return true
}

// maxItems is the greatest length of a list that Parse accepts: the greatest
// of those in the WebAssembly JavaScript interface, "Limits", that matter here.
const maxItems = 1_000_000

// vector parses a counted list of items of at least size bytes each. Room is
// made for items as they are found, because one can take 40 times its bytes.
func vector[T any](r *reader, size int, item func(*reader) T) []T {
	n := r.count(size)
	if n > maxItems {
		r.fail("a list of %d items, more than %d", n, maxItems)
		return nil
	}
	if n == 0 {
		return nil
	}
	list := make([]T, 0, min(n, 4096))
	for ; n > 0 && r.err == nil; n-- {
		list = append(list, item(r))
	}
	return list
}

func parseFuncType(r *reader) FuncType {
	if form := r.byte(); r.err == nil && form != 0x60 {
		if p := typeProposal(form); p != "" {
			r.refuse(p)
		}
		r.fail("%#x does not begin a function type", form)
	}
	return FuncType{Params: vector(r, 1, (*reader).valType), Results: vector(r, 1, (*reader).valType)}
}

func parseImport(r *reader) Import {
	i := Import{Module: r.name(), Name: r.name(), Kind: ExternKind(r.byte())}
	switch i.Kind {
	case ExternFunc:
		i.Func = r.u32()
	case ExternTable:
		i.Table = parseTable(r)
	case ExternMemory:
		i.Memory = parseMemory(r)
	case ExternGlobal:
		i.Global = parseGlobalType(r)
	case 4:
		r.refuse("exception-handling")
	default:
		r.fail("%#x is not a kind of import", byte(i.Kind))
	}
	return i
}

func parseTable(r *reader) Table {
	if r.left() > 0 && r.b[r.pos] == 0x40 {
		r.refuse("typed-function-references")
	}
	return Table{Type: r.refType(), Size: parseRange(r)}
}

func parseMemory(r *reader) Range { return parseRange(r) }

func parseRange(r *reader) Range {
	flags := r.byte()
	switch {
	case r.err != nil:
	case flags > 0x0f:
		r.fail("%#x is not a form of limits", flags)
	case flags&8 != 0:
		r.refuse("custom-page-sizes")
	case flags&4 != 0:
		r.refuse("memory64")
	case flags&2 != 0:
		r.refuse("threads")
	}
	s := Range{Min: r.u32(), HasMax: flags&1 != 0}
	if s.HasMax {
		s.Max = r.u32()
	}
	return s
}

func parseGlobalType(r *reader) GlobalType {
	g := GlobalType{Type: r.valType()}
	switch b := r.byte(); b {
	case 0:
	case 1:
		g.Mutable = true
	default:
		r.fail("%#x is not a mutability", b)
	}
	return g
}

func parseGlobal(r *reader) Global {
	return Global{Type: parseGlobalType(r), Init: parseConst(r)}
}

func parseExport(r *reader) Export {
	e := Export{Name: r.name(), Kind: ExternKind(r.byte()), Index: r.u32()}
	if e.Kind == 4 {
		r.refuse("exception-handling")
	} else if e.Kind > ExternGlobal {
		r.fail("%#x is not a kind of export", byte(e.Kind))
	}
	return e
}

func parseCode(r *reader) Code {
	size := r.u32()
	body := &reader{b: r.b, pos: r.pos, end: r.pos}
	if r.bytes(size); r.err != nil {
		return Code{}
	}
	body.end = r.pos
	c := Code{Locals: vector(body, 2, func(r *reader) LocalGroup {
		return LocalGroup{Count: r.u32(), Type: r.valType()}
	})}
	var sum uint64
	for _, g := range c.Locals {
		sum += uint64(g.Count)
	}
	if sum > MaxLocals {
		body.fail("%d local variables in one function, more than %d", sum, MaxLocals)
	}
	c.Body = body.bytes(uint32(body.left()))
	if body.err == nil && (len(c.Body) == 0 || c.Body[len(c.Body)-1] != opEnd) {
		body.fail("function body does not end with end")
	}
	r.err = body.err
	return c
}
