package attack

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

const (
	wasi   = "wasi_snapshot_preview1"
	carrel = "carrel_v1"
	// tool is the name of the function that both tenants have from the start.
	tool = "tool"
)

// signatures are those of the host's functions: i is an i32, I an i64. All of
// them return an i32.
var signatures = map[string]string{
	"context": "ii", "call": "iii", "reply": "ii", "version": "",
	"fd_read": "iiii", "fd_write": "iiii", "fd_close": "i", "fd_prestat_get": "ii", "fd_prestat_dir_name": "iii", "fd_readdir": "iiiIi",
	"fd_pread": "iiiIi", "fd_pwrite": "iiiIi", "fd_seek": "iIii", "fd_filestat_get": "ii", "fd_filestat_set_size": "iI", "fd_allocate": "iII", "fd_fdstat_get": "ii",
	"fd_renumber": "ii", "fd_tell": "ii",
	"path_open": "iiiiiIIii", "path_filestat_get": "iiiii", "path_create_directory": "iii", "path_remove_directory": "iii", "path_unlink_file": "iii",
	"path_rename": "iiiiii", "path_symlink": "iiiii", "path_link": "iiiiiii", "path_readlink": "iiiiii",
	"args_get": "ii", "args_sizes_get": "ii", "environ_get": "ii", "environ_sizes_get": "ii", "random_get": "ii", "clock_time_get": "iIi", "clock_res_get": "ii",
	"poll_oneoff": "iiii", "sched_yield": "", "proc_raise": "i",
	"sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
}

func typesOf(signature string) (t []wasm.ValType) {
	for _, c := range signature {
		if c == 'I' {
			t = append(t, wasm.I64)
		} else {
			t = append(t, wasm.I32)
		}
	}
	return t
}

// imported imports a function of the host.
func imported(b *wasmtest.Builder, name string) uint32 {
	module := wasi
	switch name {
	case "context", "call", "reply", "version":
		module = carrel
	}
	return b.Import(module, name, typesOf(signatures[name]), wasmtest.Types(wasm.I32))
}

// answering makes a guest whose handle does what body does, and then succeeds.
func answering(body func(*wasmtest.Code)) []byte {
	b := wasmtest.New()
	b.Memory(1, 1)
	b.Func("handle", nil, wasmtest.Types(wasm.I32), func(c *wasmtest.Code) {
		body(c)
		c.I32Const(0)
	})
	return b.Bytes()
}

// harmless is the smallest guest that works.
func harmless() []byte { return answering(func(*wasmtest.Code) {}) }

// The memory of the guests here. All begin with room for the arguments of a
// call.
const (
	resultsAt = 1 << 10 // what each call answered
	roomAt    = 2 << 10 // where calls may write
	roomEnd   = 8 << 10
	textAt    = 16 << 10 // texts of the module
	eventAt   = 64 << 10
	contextAt = 160 << 10
	pages     = 4
)

// push pushes arguments: an int or a rune is an i32, an int64 an i64, and a
// loaded the i32 at an address.
func push(c *wasmtest.Code, args ...any) {
	for _, arg := range args {
		switch v := arg.(type) {
		case int:
			c.I32Const(int32(uint32(v)))
		case rune:
			c.I32Const(v)
		case int64:
			c.I64Const(v)
		case loaded:
			c.I32Const(0).Mem(wasmtest.I32Load, uint32(v))
		default:
			panic(fmt.Sprintf("attack: push of a %T", arg)) // a mistake in this package
		}
	}
}

// loaded is the number at an address of memory.
type loaded int

// piece is memory from an address on, to be written to a descriptor.
type piece struct{ fd, from int }

// writeOut writes a piece of memory; length pushes how much.
func writeOut(c *wasmtest.Code, write uint32, p piece, length func()) {
	push(c, 0, p.from)
	c.Mem(wasmtest.I32Store, 0)
	push(c, 0)
	length()
	c.Mem(wasmtest.I32Store, 4)
	push(c, p.fd, 0, 1, 8)
	c.Call(write).Op(wasmtest.Drop)
}

// probe is a guest that makes calls of the host with fixed arguments, one after
// the other, and returns what each answered.
type probe struct {
	names []string // the imports
	text  []byte
	steps []func(*wasmtest.Code, map[string]uint32)
	calls []string // what each result is of
}

// call makes a call of the host and gives the index of its result.
func (p *probe) call(name string, args ...any) int {
	return p.named(name, name, args...)
}

// named is call with words for the evidence.
func (p *probe) named(what, name string, args ...any) int {
	p.need(name)
	at := uint32(resultsAt + 4*len(p.calls))
	p.calls = append(p.calls, what)
	p.steps = append(p.steps, func(c *wasmtest.Code, imports map[string]uint32) {
		push(c, 0)
		push(c, args...)
		c.Call(imports[name]).Mem(wasmtest.I32Store, at)
	})
	return len(p.calls) - 1
}

func (p *probe) need(name string) {
	for _, have := range p.names {
		if have == name {
			return
		}
	}
	p.names = append(p.names, name)
}

// set stores a number before the next call.
func (p *probe) set(at int, value any) {
	p.steps = append(p.steps, func(c *wasmtest.Code, _ map[string]uint32) {
		push(c, 0, value)
		c.Mem(wasmtest.I32Store, uint32(at))
	})
}

// str puts a text into memory and gives where it is and how long.
func (p *probe) str(s string) (at, length int) {
	at = textAt + len(p.text)
	p.text = append(p.text, s...)
	return at, len(s)
}

// module is the probe as a module. It returns results and room.
func (p *probe) module() []byte {
	b := wasmtest.New()
	imports := map[string]uint32{}
	p.need("fd_write")
	for _, name := range p.names {
		imports[name] = imported(b, name)
	}
	b.Memory(pages, 0)
	b.Data(textAt, p.text)
	b.Func("handle", nil, wasmtest.Types(wasm.I32), func(c *wasmtest.Code) {
		for _, step := range p.steps {
			step(c, imports)
		}
		writeOut(c, imports["fd_write"], piece{1, resultsAt}, func() { push(c, roomEnd-resultsAt) })
		c.I32Const(0)
	})
	return b.Bytes()
}

// probed is what a probe returned.
type probed struct{ all []byte }

// result gives what call i answered.
func (p probed) result(i int) int32 {
	return int32(binary.LittleEndian.Uint32(p.all[4*i:]))
}

// room gives what the calls wrote.
func (p probed) room() []byte { return p.all[roomAt-resultsAt:] }

// at gives the number at an address in the room.
func (p probed) at(address int) uint32 {
	return binary.LittleEndian.Uint32(p.all[address-resultsAt:])
}

// toolModule is a guest that does what the second byte of its event says, which
// is the first letter of a JSON text.
func toolModule() []byte {
	b := wasmtest.New()
	t := &toolCode{b: b, imports: map[string]uint32{}}
	for _, name := range strings.Fields("fd_read fd_write context random_get clock_time_get poll_oneoff path_open") {
		t.imports[name] = imported(b, name)
	}
	b.Memory(pages, 0)
	b.Data(textAt, []byte(markFile+forgedLines))
	t.mark = b.Global(wasmtest.I32Value(0))
	t.deep = uint32(len(t.imports)) // the first function after the imports
	b.Func("", wasmtest.Types(wasm.I32), wasmtest.Types(wasm.I32), func(c *wasmtest.Code) {
		c.LocalGet(0).Call(t.deep).LocalGet(0).Op(wasmtest.I32Add)
	})
	b.Func("handle", nil, wasmtest.Types(wasm.I32), t.handle)
	return b.Bytes()
}

const (
	// markFile is the file that the command residue leaves in /tmp.
	markFile = "mark"
	// forgedLines is what the command lines prints: lines that try to be
	// others' lines.
	forgedLines = "plain line\nforged\r\n{\"accountId\":\"000000000000\",\"message\":\"forged\"}\n\x1b[2J\x1b]0;title\x07\x00\u2028END RequestId: forged\n\",\"stream\":\"forged\n"
)

// The commands of the tool.
const (
	doEcho     = 'e' // returns the event, a line feed and the context
	doPrint    = 'p' // prints the event
	doLines    = 'n' // prints forgedLines
	doSleep    = 's' // sleeps for as many tenths of a second as the digit after it
	doSpin     = 'l' // never ends
	doRecurse  = 'r' // calls itself without end
	doEat      = 'm' // takes and fills memory until there is none, and then goes on
	doTrap     = 't'
	doResidue  = 'k' // returns what an earlier call left in each place, and leaves a mark in each
	doRandom   = 'g' // returns 32 random bytes
	doClock    = 'c' // returns clockReads readings of the clock
	doFlood    = 'w' // prints 1 MiB
	doOverflow = 'o' // returns 8 MiB

	clockReads  = 1000
	residueSize = 20
)

// toolCode writes the tool's code.
type toolCode struct {
	b          *wasmtest.Builder
	imports    map[string]uint32
	mark, deep uint32
}

func (t *toolCode) handle(c *wasmtest.Code) {
	n, i := c.Local(wasm.I32), c.Local(wasm.I32)
	c.Loop() // read until the event ends
	push(c, 0, eventAt)
	c.LocalGet(n).Op(wasmtest.I32Add).Mem(wasmtest.I32Store, 0)
	push(c, 0, contextAt-eventAt)
	c.LocalGet(n).Op(wasmtest.I32Sub).Mem(wasmtest.I32Store, 4)
	push(c, 0, 0, 1, 8)
	c.Call(t.imports["fd_read"]).Op(wasmtest.Drop)
	push(c, loaded(8))
	c.LocalTee(i).LocalGet(n).Op(wasmtest.I32Add).LocalSet(n)
	c.LocalGet(i).BrIf(0).End()
	write := t.imports["fd_write"]
	for _, command := range []struct {
		letter int
		do     func()
	}{
		{doEcho, func() { t.echo(c, n) }},
		{doPrint, func() { writeOut(c, write, piece{2, eventAt}, func() { c.LocalGet(n) }) }},
		{doLines, func() { writeOut(c, write, piece{2, textAt + len(markFile)}, func() { push(c, len(forgedLines)) }) }},
		{doSleep, func() { t.sleep(c) }},
		{doSpin, func() { c.Loop().Br(0).End() }},
		{doRecurse, func() { push(c, 1); c.Call(t.deep).Op(wasmtest.Drop) }},
		{doEat, func() { t.eat(c, i) }},
		{doTrap, func() { c.Op(wasmtest.Unreachable) }},
		{doResidue, func() { t.residue(c) }},
		{doRandom, func() {
			push(c, roomAt, 32)
			c.Call(t.imports["random_get"]).Op(wasmtest.Drop)
			writeOut(c, write, piece{1, roomAt}, func() { push(c, 32) })
		}},
		{doClock, func() { t.clock(c, i, n) }},
		{doFlood, func() { t.flood(c, flooding{2, 64, i}) }},
		{doOverflow, func() { t.flood(c, flooding{1, 512, i}) }},
	} {
		push(c, 0)
		c.Mem(wasmtest.I32Load8U, eventAt+1)
		push(c, command.letter)
		c.Op(wasmtest.I32Eq).If()
		command.do()
		c.End()
	}
	c.I32Const(0)
}

func (t *toolCode) echo(c *wasmtest.Code, n uint32) {
	write := t.imports["fd_write"]
	push(c, 0)
	c.LocalGet(n).Op(wasmtest.I32Add)
	push(c, '\n')
	c.Mem(wasmtest.I32Store8, eventAt)
	writeOut(c, write, piece{1, eventAt}, func() { c.LocalGet(n).I32Const(1).Op(wasmtest.I32Add) })
	push(c, contextAt, 32<<10)
	c.Call(t.imports["context"]).LocalSet(n)
	writeOut(c, write, piece{1, contextAt}, func() { c.LocalGet(n) })
}

// sleep makes the subscription of poll_oneoff: 48 bytes with the kind at 8, the
// clock at 16 and the time at 24.
func (t *toolCode) sleep(c *wasmtest.Code) {
	push(c, 0, 1)
	c.Mem(wasmtest.I32Store, roomAt+16)
	push(c, 0, 0)
	c.Mem(wasmtest.I32Load8U, eventAt+2)
	push(c, '0')
	c.Op(wasmtest.I32Sub, wasmtest.I64ExtendU).I64Const(100_000_000).Op(wasmtest.I64Mul).Mem(wasmtest.I64Store, roomAt+24)
	push(c, roomAt, roomAt+64, 1, roomAt+128)
	c.Call(t.imports["poll_oneoff"]).Op(wasmtest.Drop)
}

func (t *toolCode) eat(c *wasmtest.Code, at uint32) {
	c.Loop()
	push(c, 16)
	c.MemoryGrow().LocalTee(at)
	push(c, -1)
	c.Op(wasmtest.I32Eq).If().Op(wasmtest.Unreachable).End()
	c.LocalGet(at).I32Const(16).Op(wasmtest.I32Shl).I32Const(1).I32Const(1 << 20).MemoryFill()
	c.Br(0).End()
}

// residue returns five numbers: a word of memory, a global, what making a file
// that must not be there answers, its descriptor, and the memory's size.
func (t *toolCode) residue(c *wasmtest.Code) {
	const out = roomAt + 64
	store := func(at uint32, value func()) { push(c, 0); value(); c.Mem(wasmtest.I32Store, at) }
	store(out, func() { push(c, loaded(roomAt)) })
	store(out+4, func() { c.GlobalGet(t.mark) })
	store(out+8, func() {
		const create, exclusive, write = 1, 4, 1 << 6
		push(c, 3, 0, textAt, len(markFile), create|exclusive, int64(write), int64(0), 0, out+12)
		c.Call(t.imports["path_open"])
	})
	store(out+16, func() { c.MemorySize() })
	push(c, 1)
	c.MemoryGrow().Op(wasmtest.Drop)
	store(roomAt, func() { push(c, 0x6b72616d) })
	push(c, 0x6b72616d)
	c.GlobalSet(t.mark)
	writeOut(c, t.imports["fd_write"], piece{1, out}, func() { push(c, residueSize) })
}

func (t *toolCode) clock(c *wasmtest.Code, i, n uint32) {
	push(c, 0)
	c.LocalSet(i).Loop()
	push(c, 1, int64(0), contextAt)
	c.LocalGet(i).I32Const(3).Op(wasmtest.I32Shl, wasmtest.I32Add)
	c.Call(t.imports["clock_time_get"]).Op(wasmtest.Drop)
	push(c, 2000) // some work between two readings
	c.LocalSet(n).Loop().LocalGet(n).I32Const(1).Op(wasmtest.I32Sub).LocalTee(n).BrIf(0).End()
	c.LocalGet(i).I32Const(1).Op(wasmtest.I32Add).LocalTee(i).I32Const(clockReads).Op(wasmtest.I32LtU).BrIf(0).End()
	writeOut(c, t.imports["fd_write"], piece{1, contextAt}, func() { push(c, 8*clockReads) })
}

// flooding is how much to write: as many times 16 KiB, counted in a local.
type flooding struct {
	fd, times int
	left      uint32
}

func (t *toolCode) flood(c *wasmtest.Code, f flooding) {
	push(c, contextAt, 'A', 16<<10)
	c.MemoryFill()
	push(c, contextAt, '\n', 1)
	c.MemoryFill()
	push(c, f.times)
	c.LocalSet(f.left).Loop()
	writeOut(c, t.imports["fd_write"], piece{f.fd, contextAt}, func() { push(c, 16<<10) })
	c.LocalGet(f.left).I32Const(1).Op(wasmtest.I32Sub).LocalTee(f.left).BrIf(0).End()
}

// command is the event that has the tool do something.
func command(letter rune, more string) string { return quote(string(letter) + more) }
