// Package echo is a function written by hand, byte by byte: a reactor with
// 192 KiB of memory that returns its event. It shows how little a function
// needs, and serves as the small guest of the benchmarks.
package echo

// Module gives the WebAssembly module. In the text format it reads:
//
//	(module
//	  (import "wasi_snapshot_preview1" "fd_read"  (func $read  (param i32 i32 i32 i32) (result i32)))
//	  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
//	  (memory (export "memory") 3 3)
//	  (func (export "handle") (result i32) (local $total i32) (local $n i32)
//	    loop                                   ;; read until the event ends
//	      (i32.store (i32.const 0) (i32.add (i32.const 1024) (local.get $total)))
//	      (i32.store (i32.const 4) (i32.sub (i32.const 195584) (local.get $total)))
//	      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
//	      (local.set $total (i32.add (local.tee $n (i32.load (i32.const 8))) (local.get $total)))
//	      (br_if 0 (local.get $n))
//	    end
//	    (i32.store (i32.const 0) (i32.const 1024))
//	    (i32.store (i32.const 4) (local.get $total))
//	    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
//	    i32.const 0))
func Module() []byte {
	m := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	m = section(m, 1, []byte{
		2,
		0x60, 0, 1, i32,
		0x60, 4, i32, i32, i32, i32, 1, i32,
	})
	imports := []byte{2}
	for _, name := range []string{"fd_read", "fd_write"} {
		imports = text(imports, "wasi_snapshot_preview1")
		imports = append(text(imports, name), 0, 1)
	}
	m = section(m, 2, imports)
	m = section(m, 3, []byte{1, 0})
	m = section(m, 5, []byte{1, 1, 3, 3})
	exports := append(text([]byte{2}, "memory"), 2, 0)
	m = section(m, 7, append(text(exports, "handle"), 0, 2))
	body := []byte{
		1, 2, i32, // two locals
		0x03, 0x40, // loop
		constant, 0, constant, 0x80, 8, get, 0, 0x6a, store, 2, 0,
		constant, 4, constant, 0x80, 0xf8, 0x0b, get, 0, 0x6b, store, 2, 0,
		constant, 0, constant, 0, constant, 1, constant, 8, call, 0, drop,
		constant, 8, 0x28, 2, 0, 0x22, 1, get, 0, 0x6a, 0x21, 0,
		get, 1, 0x0d, 0,
		end,
		constant, 0, constant, 0x80, 8, store, 2, 0,
		constant, 4, get, 0, store, 2, 0,
		constant, 1, constant, 0, constant, 1, constant, 8, call, 1, drop,
		constant, 0,
		end,
	}
	return section(m, 10, append([]byte{1, byte(len(body))}, body...))
}

const (
	i32      = 0x7f
	constant = 0x41
	get      = 0x20
	store    = 0x36
	call     = 0x10
	drop     = 0x1a
	end      = 0x0b
)

// section appends a section; all of ours are shorter than 128 bytes, so
// their lengths take one byte.
func section(m []byte, id byte, content []byte) []byte {
	return append(append(m, id, byte(len(content))), content...)
}

func text(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }
