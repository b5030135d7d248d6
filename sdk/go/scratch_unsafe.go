//go:build wasip1

package carrel

import "unsafe"

// scratch is where the host puts 32 fresh random bytes before each call.
var scratch [64]byte

//go:wasmexport carrel_scratch
func scratchAddress() uint32 { return uint32(uintptr(unsafe.Pointer(&scratch))) }
