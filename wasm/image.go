package wasm

import "github.com/carrel-dev/carrel/fault"

// PageSize is the number of bytes in a page of memory.
const PageSize = 64 << 10

// ImageInfo is what a host has read from an instance after initialisation,
// beside the bytes of its memory, which travel apart.
type ImageInfo struct {
	// Pages is the size of the memory in pages of 64 KiB; 0 without memory.
	Pages uint32
	// MaxPages, if it is not 0, caps what the memory may become.
	MaxPages uint32
	// Globals holds the value of every mutable global that is a number or a
	// vector, by its index.
	Globals map[uint32]Value
	// Dropped are the data segments whose DroppedExport was not 0.
	Dropped []uint32
	// Tainted is the value of TaintExport.
	Tainted uint32
}

const opImage = "wasm.WithImage"

// WithImage gives the module that a worker loads to begin where the instance
// described by img was: no active data segments (the host fills the memory),
// the memory as large as the image, the globals and their saved copies at the
// image's values, no start function. An error of kind fault.Unsupported means
// that this guest's state cannot be carried to another process, and the guest
// has to be initialised there; fault.Invalid means that img is not one of
// this module.
func (i *Instrumented) WithImage(img ImageInfo) ([]byte, error) {
	if img.Tainted&TaintTable != 0 {
		return nil, fault.New(opImage, fault.Unsupported, "the guest changed a table during its initialisation")
	}
	m := *i.Module
	if m.importCount(ExternFunc) != len(m.Imports) {
		return nil, fault.New(opImage, fault.Unsupported, "the module imports more than functions")
	}
	if err := i.imageGlobals(&m, img.Globals); err != nil {
		return nil, err
	}
	if err := imageMemory(&m, &img); err != nil {
		return nil, err
	}
	if err := imageData(&m, img.Dropped); err != nil {
		return nil, err
	}
	m.Start = nil
	m.Exports = nil
	for _, e := range i.Module.Exports {
		if e.Name != StartExport {
			m.Exports = append(m.Exports, e)
		}
	}
	last := m.lastPlace()
	m.Customs = append([]Custom(nil), m.Customs...)
	for j := range m.Customs {
		m.Customs[j].After = last
	}
	return m.Encode(), nil
}

func (i *Instrumented) imageGlobals(m *Module, values map[uint32]Value) error {
	m.Globals = append([]Global(nil), m.Globals...)
	used := 0
	for _, g := range i.Globals {
		if !g.Portable() {
			return fault.New(opImage, fault.Unsupported, "global %d is a reference that the guest sets", g.Index)
		}
		if g.Type.IsRef() {
			m.Globals[g.Shadow].Init = m.Globals[g.Index].Init
			continue
		}
		v, ok := values[g.Index]
		if !ok || v.Type != g.Type {
			return fault.New(opImage, fault.Invalid, "the image has no %s for global %d", g.Type, g.Index)
		}
		used++
		init := ConstExpr{Op: constOpOf(v.Type), Lo: v.Lo, Hi: v.Hi}
		m.Globals[g.Index].Init, m.Globals[g.Shadow].Init = init, init
	}
	if used != len(values) {
		return fault.New(opImage, fault.Invalid, "the image has %d globals, and the module has %d that can change", len(values), used)
	}
	return nil
}

func imageMemory(m *Module, img *ImageInfo) error {
	s, ok := m.MemoryRange()
	if !ok {
		if img.Pages != 0 {
			return fault.New(opImage, fault.Invalid, "the image has a memory, and the module has none")
		}
		return nil
	}
	if img.MaxPages != 0 && (!s.HasMax || s.Max > img.MaxPages) {
		s.Max, s.HasMax = img.MaxPages, true
	}
	if img.Pages < s.Min || img.Pages > maxPages || s.HasMax && img.Pages > s.Max {
		return fault.New(opImage, fault.Invalid, "the image has %d pages, and the module's memory %d to %d", img.Pages, s.Min, s.Max)
	}
	s.Min = img.Pages
	m.Memories = []Range{s}
	return nil
}

// imageData takes the contents of all data segments away but of passive ones
// that were not dropped. The indexes stay, so that code that names segments
// stays valid; without such code the segments go.
func imageData(m *Module, dropped []uint32) error {
	if m.DataCount == nil {
		m.Data = nil
		return nil
	}
	gone := make(map[uint32]bool, len(dropped))
	for _, d := range dropped {
		if uint64(d) >= uint64(len(m.Data)) {
			return fault.New(opImage, fault.Invalid, "the image dropped the data segment %d, which the module does not have", d)
		}
		gone[d] = true
	}
	used, err := usedData(m)
	if err != nil {
		return err
	}
	data := append([]Data(nil), m.Data[:min(used, len(m.Data))]...)
	for i := range data {
		if data[i].Mode == Active || gone[uint32(i)] {
			data[i] = Data{Mode: Passive}
		}
	}
	count := length(len(data))
	m.Data, m.DataCount = data, &count
	return nil
}

// usedData gives how many data segments there must be for the code: one more
// than the highest index that it names.
func usedData(m *Module) (int, error) {
	used, in := 0, instr{}
	for i := range m.Codes {
		b := body{b: m.Codes[i].Body}
		for b.pos < len(b.b) {
			if err := b.next(&in); err != nil {
				return 0, refusal(opImage, err)
			}
			if in.op == opMemoryInit || in.op == opDataDrop {
				used = max(used, int(in.a)+1)
			}
		}
	}
	return used, nil
}

// Strip gives the same module with every function body replaced by
// unreachable: imports, exports, types and everything that is not code stay.
// It is for loading beside native code that was compiled from the whole module.
func Strip(module []byte) ([]byte, error) {
	m, err := Parse(module)
	if err != nil {
		return nil, err
	}
	empty := []byte{opUnreachable, opEnd}
	for i := range m.Codes {
		m.Codes[i] = Code{Body: empty}
	}
	return m.Encode(), nil
}
