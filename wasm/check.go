package wasm

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// ReservedPrefix begins the names of all exports that Instrument adds; no
// module may bring one.
const ReservedPrefix = "carrel."

// ReservedModule is the module of the import that Instrument adds; no module
// may import from it.
const ReservedModule = "carrel"

// Limits are the caps on what a module may ask of a compiler and an
// instance. Sizes are bytes, counts are pieces; a module that is exactly at a
// cap is accepted.
type Limits struct {
	// ModuleBytes caps bodies, data and custom sections together; what else
	// a module holds is capped by its count.
	ModuleBytes int
	// Types, Imports, Functions, Tables, Memories, Globals, Exports,
	// Elements, Data and Customs cap the entries of the sections. Functions
	// does not count imports.
	Types, Imports, Functions, Tables, Memories, Globals, Exports, Elements, Data, Customs int
	// Params and Results cap one signature.
	Params, Results int
	// BodyBytes caps the instructions of one function.
	BodyBytes int
	// Locals caps the local variables of one function, without parameters.
	Locals int
	// Blocks caps the blocks of one function, counting the function itself
	// and the branches of an if. The engine's time goes with its square.
	Blocks int
	// Nesting caps how deep blocks stand in blocks in one function.
	Nesting int
	// BlocksTimesLocals caps the product of the number of blocks and of local
	// variables, counting parameters, of one function: what a compiler in
	// static single assignment form may have to make values for.
	BlocksTimesLocals int
	// TotalBlocksTimesLocals caps the sum of that product over all functions.
	TotalBlocksTimesLocals int
	// BranchTable caps the targets of one br_table, without the default.
	BranchTable int
	// BranchTargets caps the targets of all br_table of one function together.
	BranchTargets int
	// InitialPages and MaxPages cap the memory at first and at most, in
	// pages of 64 KiB; a module that names no greatest size is accepted.
	InitialPages, MaxPages int
	// TableElements caps the first size of each table, in elements.
	TableElements int
	// ElementItems caps the items of all element segments together.
	ElementItems int
	// NameBytes caps the name of each import and export.
	NameBytes int
}

// DefaultLimits are caps that known toolchains' programs stay well below, and
// that keep the engine's time bounded. A Go program with net/http of 10 MB has
// bodies of at most 51 KB with 17 local variables, 985 blocks, 549 in one
// another, 1,145 targets of br_table, 11,358 blocks times local variables (1.4
// million in all) and 100,000 data segments. The engine took about a second
// for a function at the cap of blocks or of their product with locals; at
// four times the latter, it took up to 49 s for a module of 300 KB.
func DefaultLimits() Limits {
	return Limits{
		ModuleBytes:            64 << 20,
		Types:                  10_000,
		Imports:                1_000,
		Functions:              100_000,
		Tables:                 16,
		Memories:               1,
		Globals:                10_000,
		Exports:                10_000,
		Elements:               10_000,
		Data:                   200_000,
		Customs:                1_000,
		Params:                 128,
		Results:                32,
		BodyBytes:              512 << 10,
		Locals:                 2_000,
		Blocks:                 8_192,
		Nesting:                4_096,
		BlocksTimesLocals:      1 << 20,
		TotalBlocksTimesLocals: 32 << 20,
		BranchTable:            16_384,
		BranchTargets:          65_536,
		InitialPages:           16_384,
		MaxPages:               65_536,
		TableElements:          1 << 20,
		ElementItems:           1 << 20,
		NameBytes:              1_024,
	}
}

// Allow says whether a module may import that function.
type Allow func(module, name string, t FuncType) bool

// Check refuses a module that is over a limit, that imports what allow does
// not accept or anything but functions, or that uses names reserved for
// Instrument. A nil allow accepts nothing. It needs no validated module and
// its time is in proportion to the module's length. An error has the kind
// fault.TooLarge for a limit, fault.Denied for an import, fault.Invalid or
// fault.Unsupported otherwise, and names the function, the limit and a remedy.
func Check(m *Module, l Limits, allow Allow) error {
	if err := checkCounts(m, &l); err != nil {
		return err
	}
	if err := checkSizes(m, &l); err != nil {
		return err
	}
	if err := checkNames(m, &l, allow); err != nil {
		return err
	}
	return checkBodies(m, &l)
}

const opCheck = "wasm.Check"

func tooLarge(limit string, got, limited int, where string) error {
	return fault.New(opCheck, fault.TooLarge, "the module is too large: %s has %d %s, and %d is the limit.", where, got, limit, limited).
		WithRemedy("Make it smaller, or have the limit raised.")
}

func checkCounts(m *Module, l *Limits) error {
	size := m.sizeOf()
	for _, c := range []struct {
		what       string
		got, limit int
	}{
		{"bytes", size, l.ModuleBytes},
		{"types", len(m.Types), l.Types},
		{"imports", len(m.Imports), l.Imports},
		{"functions", len(m.Functions), l.Functions},
		{"tables", len(m.Tables) + m.importCount(ExternTable), l.Tables},
		{"memories", len(m.Memories) + m.importCount(ExternMemory), l.Memories},
		{"globals", len(m.Globals), l.Globals},
		{"exports", len(m.Exports), l.Exports},
		{"element segments", len(m.Elements), l.Elements},
		{"data segments", len(m.Data), l.Data},
		{"custom sections", len(m.Customs), l.Customs},
	} {
		if c.got > c.limit {
			return tooLarge(c.what, c.got, c.limit, "it")
		}
	}
	return nil
}

func checkSizes(m *Module, l *Limits) error {
	for i := range m.Types {
		where := fmt.Sprintf("type %d", i)
		if n := len(m.Types[i].Params); n > l.Params {
			return tooLarge("parameters", n, l.Params, where)
		}
		if n := len(m.Types[i].Results); n > l.Results {
			return tooLarge("results", n, l.Results, where)
		}
	}
	for i, t := range m.tables() {
		if uint64(t.Size.Min) > uint64(l.TableElements) {
			return tooLarge("elements at first", int(t.Size.Min), l.TableElements, fmt.Sprintf("table %d", i))
		}
	}
	items := 0
	for i := range m.Elements {
		items += len(m.Elements[i].Funcs) + len(m.Elements[i].Exprs)
	}
	if items > l.ElementItems {
		return tooLarge("items in element segments", items, l.ElementItems, "it")
	}
	if s, ok := m.MemoryRange(); ok {
		if uint64(s.Min) > uint64(l.InitialPages) {
			return tooLarge("pages of 64 KiB at first", int(s.Min), l.InitialPages, "its memory")
		}
		if s.HasMax && uint64(s.Max) > uint64(l.MaxPages) {
			return tooLarge("pages of 64 KiB at most", int(s.Max), l.MaxPages, "its memory")
		}
	}
	return nil
}

func checkNames(m *Module, l *Limits, allow Allow) error {
	for i := range m.Imports {
		imp := &m.Imports[i]
		if n := max(len(imp.Module), len(imp.Name)); n > l.NameBytes {
			return tooLarge("bytes in its name", n, l.NameBytes, fmt.Sprintf("import %d", i))
		}
		if err := checkImport(m, imp, allow); err != nil {
			return err
		}
	}
	for i := range m.Exports {
		e := &m.Exports[i]
		if len(e.Name) > l.NameBytes {
			return tooLarge("bytes in its name", len(e.Name), l.NameBytes, fmt.Sprintf("export %d", i))
		}
		if strings.HasPrefix(e.Name, ReservedPrefix) {
			return fault.New(opCheck, fault.Invalid, "the module exports %q; names that begin with %q are reserved.", e.Name, ReservedPrefix).
				WithRemedy("Rename the export.")
		}
	}
	return nil
}

func checkImport(m *Module, imp *Import, allow Allow) error {
	deny := func(why string) error {
		return fault.New(opCheck, fault.Denied, "the module imports the %s %q of %q, %s.", imp.Kind, imp.Name, imp.Module, why).
			WithRemedy("Build it for wasip1, without imports of other systems.")
	}
	if imp.Kind != ExternFunc {
		return deny("and only functions can be imported")
	}
	if imp.Module == ReservedModule {
		return deny("which is reserved")
	}
	if uint64(imp.Func) >= uint64(len(m.Types)) {
		return deny("whose type does not exist")
	}
	if t := m.Types[imp.Func]; allow == nil || !allow(imp.Module, imp.Name, t) {
		return deny(fmt.Sprintf("which is not provided with the type %s", t))
	}
	return nil
}

func checkBodies(m *Module, l *Limits) error {
	imported := m.importCount(ExternFunc)
	total := 0
	for i := range m.Codes {
		c := &m.Codes[i]
		where := fmt.Sprintf("function %d", i+imported)
		if len(c.Body) > l.BodyBytes {
			return tooLarge("bytes of instructions", len(c.Body), l.BodyBytes, where)
		}
		locals := 0
		for _, g := range c.Locals {
			locals += int(g.Count) // Parse caps the sum
		}
		if locals > l.Locals {
			return tooLarge("local variables", locals, l.Locals, where)
		}
		if t := m.Functions[i]; uint64(t) < uint64(len(m.Types)) {
			locals += len(m.Types[t].Params)
		}
		s := scan{b: body{b: c.Body}}
		if err := s.run(l, where); err != nil {
			return err
		}
		if s.blocks > l.Blocks {
			return tooLarge("blocks", s.blocks, l.Blocks, where)
		}
		product := s.blocks * max(locals, 1)
		if product > l.BlocksTimesLocals {
			return tooLarge("blocks times local variables", product, l.BlocksTimesLocals, where)
		}
		total += product
	}
	if total > l.TotalBlocksTimesLocals {
		return tooLarge("blocks times local variables in all its functions", total, l.TotalBlocksTimesLocals, "it")
	}
	return nil
}

// scan walks over one body for what Check counts.
type scan struct {
	b       body
	in      instr
	blocks  int
	targets int
}

func (s *scan) run(l *Limits, where string) error {
	depth := 1
	s.blocks = 1
	for depth > 0 {
		if err := s.b.next(&s.in); err != nil {
			return refusal(opCheck, fmt.Errorf("%s, byte %d of its body: %w", where, s.b.pos, err))
		}
		switch s.in.op {
		case opBlock, opLoop, opIf:
			s.blocks++
			depth++
			if depth-1 > l.Nesting {
				return tooLarge("blocks in one another", depth-1, l.Nesting, where)
			}
		case opElse:
			s.blocks++
		case opEnd:
			depth--
		case opBrTable:
			n := int(s.in.labels.n) - 1
			s.targets += n
			if n > l.BranchTable {
				return tooLarge("targets of one br_table", n, l.BranchTable, where)
			}
			if s.targets > l.BranchTargets {
				return tooLarge("targets of br_table", s.targets, l.BranchTargets, where)
			}
		}
	}
	return nil
}
