//go:build linux

package attack

import (
	"archive/zip"
	"bytes"
	"io/fs"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

const wasi = "wasi_snapshot_preview1"

var (
	none = wasmtest.Types()
	i32  = wasmtest.Types(wasm.I32)
)

func i32s(n int) []wasm.ValType {
	out := make([]wasm.ValType, n)
	for i := range out {
		out[i] = wasm.I32
	}
	return out
}

// entry is one entry of an archive.
type entry struct {
	name    string
	content []byte
	mode    fs.FileMode
}

// zipped makes an archive of entries as they are, however odd.
func zipped(entries ...entry) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(e.content)
		}
		if err != nil {
			panic(err) // nothing is written but memory
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// forever is a loop that never ends.
func forever(c *wasmtest.Code) { c.Loop().Br(0).End() }

// answering makes a guest whose handle returns 0 and replies nothing, after
// what body does; other parts are added by more.
func answering(body func(*wasmtest.Code)) []byte {
	b := wasmtest.New()
	b.Memory(1, 1)
	b.Func("handle", none, i32, func(c *wasmtest.Code) {
		body(c)
		c.I32Const(0)
	})
	return b.Bytes()
}

// harmless is the smallest guest that works.
func harmless() []byte { return answering(func(*wasmtest.Code) {}) }

// starting makes a guest that spins in its start section, or in _initialize.
func spinningEarly(section bool) []byte {
	b := wasmtest.New()
	b.Memory(1, 1)
	name := "_initialize"
	if section {
		name = ""
	}
	f := b.Func(name, none, none, forever)
	if section {
		b.Start(f)
	}
	b.Func("handle", none, i32, func(c *wasmtest.Code) { c.I32Const(0) })
	return b.Bytes()
}

// spinningOnHost makes a guest that calls the host for ever.
func spinningOnHost() []byte {
	b := wasmtest.New()
	f := b.Import(wasi, "sched_yield", none, i32)
	b.Memory(1, 1)
	b.Func("handle", none, i32, func(c *wasmtest.Code) {
		c.Loop().Call(f).Op(wasmtest.Drop).Br(0).End().I32Const(0)
	})
	return b.Bytes()
}

// replying makes a guest whose work leaves a number, which is its reply in
// eight hexadecimal digits, quoted.
func replying(prepare func(*wasmtest.Builder), work func(*wasmtest.Code)) []byte {
	b := wasmtest.New()
	write := b.Import(wasi, "fd_write", i32s(4), i32)
	if prepare != nil {
		prepare(b)
	}
	b.Func("handle", none, i32, func(c *wasmtest.Code) {
		v, i, d := c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32)
		work(c)
		c.LocalSet(v)
		c.I32Const(100).I32Const('"').Mem(wasmtest.I32Store8, 0)
		c.I32Const(109).I32Const('"').Mem(wasmtest.I32Store8, 0)
		c.I32Const(8).LocalSet(i).Loop()
		c.LocalGet(v).I32Const(15).Op(wasmtest.I32And).LocalSet(d)
		c.I32Const(100).LocalGet(i).Op(wasmtest.I32Add)
		c.LocalGet(d).I32Const(48).Op(wasmtest.I32Add)
		c.LocalGet(d).I32Const(9).Op(wasmtest.I32GtU).I32Const(39).Op(wasmtest.I32Mul, wasmtest.I32Add)
		c.Mem(wasmtest.I32Store8, 0)
		c.LocalGet(v).I32Const(4).Op(wasmtest.I32ShrU).LocalSet(v)
		c.LocalGet(i).I32Const(1).Op(wasmtest.I32Sub).LocalTee(i).BrIf(0).End()
		c.I32Const(0).I32Const(100).Mem(wasmtest.I32Store, 0)
		c.I32Const(4).I32Const(10).Mem(wasmtest.I32Store, 0)
		c.I32Const(1).I32Const(0).I32Const(1).I32Const(8).Call(write)
	})
	return b.Bytes()
}
