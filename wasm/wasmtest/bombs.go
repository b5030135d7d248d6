package wasmtest

import "github.com/carrel-dev/carrel/wasm"

// Bombs gives hostile modules by name: each is valid, smaller than a few
// megabytes, and asks a compiler or an instance for far more than its size.
func Bombs() map[string][]byte {
	return map[string][]byte{
		"deep nesting":          deep(60_000, 1),
		"nesting times locals":  deep(4_000, 4_000),
		"blocks times locals":   wide(30_000, 4_000),
		"blocks in many bodies": spread(1_000, 25),
		"many blocks":           wide(30_000, 1),
		"one huge body":         huge(4 << 20),
		"huge br_table":         branches(1, 1_000_000),
		"many br_tables":        branches(200, 16_000),
		"many locals":           locals(wasm.MaxLocals),
		"long signature":        signature(1_000),
		"huge table":            tables(1, 1<<27),
		"many tables":           tables(1_000, 1),
		"large memory":          memory(65_536),
		"many globals":          globals(200_000),
		"many exports":          exports(200_000),
		"many types":            types(200_000),
		"many functions":        functions(900_000),
		"many data segments":    segments(900_000),
		"many element segments": elements(100_000),
		"many element items":    items(1_500_000),
	}
}

func deep(blocks int, locals uint32) []byte {
	b := New()
	b.Func("", nil, nil, func(c *Code) {
		c.Locals(locals, wasm.I64)
		for range blocks {
			c.Block()
		}
		for range blocks {
			c.End()
		}
	})
	return b.Bytes()
}

// wide makes blocks that each change a variable, so that a compiler has to
// join the values of all variables after each.
func wide(blocks int, locals uint32) []byte {
	b := New()
	b.Func("", Types(wasm.I32), nil, func(c *Code) { c.branches(blocks, locals) })
	return b.Bytes()
}

func (c *Code) branches(blocks int, locals uint32) {
	first := c.Locals(locals, wasm.I64)
	for i := range blocks {
		c.LocalGet(0).If().I64Const(1).LocalSet(first + uint32(i)%locals).End()
	}
}

func spread(funcs, blocks int) []byte {
	b := New()
	for range funcs {
		b.Func("", Types(wasm.I32), nil, func(c *Code) { c.branches(blocks, 1_900) })
	}
	return b.Bytes()
}

func huge(bytes int) []byte {
	b := New()
	b.Func("", nil, nil, func(c *Code) {
		for len(c.b) < bytes {
			c.I32Const(1).Op(Drop)
		}
	})
	return b.Bytes()
}

func branches(tables, targets int) []byte {
	b := New()
	b.Func("", Types(wasm.I32), nil, func(c *Code) {
		for range tables {
			c.Block().LocalGet(0).BrTable(make([]uint32, targets+1)...).End()
		}
	})
	return b.Bytes()
}

func locals(n uint32) []byte {
	b := New()
	b.Func("", nil, nil, func(c *Code) { c.Locals(n, wasm.V128) })
	return b.Bytes()
}

func signature(params int) []byte {
	b := New()
	t := make([]wasm.ValType, params)
	for i := range t {
		t[i] = wasm.I64
	}
	b.Func("", t, nil, func(*Code) {})
	return b.Bytes()
}

func tables(n int, size uint32) []byte {
	b := New()
	for range n {
		b.Table(wasm.FuncRef, size)
	}
	return b.Bytes()
}

func memory(pages uint32) []byte {
	b := New()
	b.Memory(pages, pages)
	return b.Bytes()
}

func globals(n int) []byte {
	b := New()
	for range n {
		b.Global(I32Value(0))
	}
	return b.Bytes()
}

func exports(n int) []byte {
	b := New()
	f := b.Func("", nil, nil, func(*Code) {})
	for i := range n {
		b.Export(string(rune('a'+i%26))+string(rune(0x4e00+i/26)), wasm.ExternFunc, f)
	}
	return b.Bytes()
}

func types(n int) []byte {
	b := New()
	b.m.Types = make([]wasm.FuncType, n)
	return b.Bytes()
}

func functions(n int) []byte {
	b := New()
	b.Func("", nil, nil, func(*Code) {})
	for range n - 1 {
		b.m.Functions = append(b.m.Functions, b.m.Functions[0])
		b.m.Codes = append(b.m.Codes, b.m.Codes[0])
	}
	return b.Bytes()
}

func segments(n int) []byte {
	b := New()
	b.Memory(1, 1)
	for range n {
		b.Data(0, nil)
	}
	return b.Bytes()
}

func elements(n int) []byte {
	b := New()
	b.Table(wasm.FuncRef, 1)
	for range n {
		b.Elements(0)
	}
	return b.Bytes()
}

// items stays below the longest list that Parse takes by using two segments.
func items(n int) []byte {
	b := New()
	f := b.Func("", nil, nil, func(*Code) {})
	list := make([]uint32, n/2)
	for i := range list {
		list[i] = f
	}
	b.PassiveElements(list...)
	b.PassiveElements(list...)
	return b.Bytes()
}
