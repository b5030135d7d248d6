//go:build linux

package attack

import (
	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

var (
	none = wasmtest.Types()
	i32  = wasmtest.Types(wasm.I32)
)

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
