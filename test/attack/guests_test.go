//go:build linux

package attack

import (
	"archive/zip"
	"bytes"
	"io/fs"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

var (
	none = wasmtest.Types()
	i32  = wasmtest.Types(wasm.I32)
)

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
