package native

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
)

// The parts of an ELF file's head that say whether it can run here (System V
// ABI, chapter 4 and 5; elf.h). debug/elf says of itself that it is not made
// for hostile files.
const (
	elfMagic    = "\x7fELF"
	headSize    = 64 // of an ELF64 header
	programSize = 56 // of an ELF64 program header

	class64      = 2
	littleEndian = 1
	typeExec     = 2
	typeDyn      = 3
	machineX86   = 62
	machineARM   = 183
	segmentInt   = 3 // PT_INTERP

	maxSegments = 128
	maxLoader   = 256
)

// HeadSize is how much of a program CheckProgram looks at.
const HeadSize = 64 << 10

// machines are the ELF numbers of the processors that Go, and so this node,
// runs on, and what Lambda calls them.
var machines = map[string]struct {
	number uint16
	name   string
}{"amd64": {machineX86, "x86_64"}, "arm64": {machineARM, "arm64"}}

// CheckProgram tells whether a bootstrap, of which head is the beginning, is
// a program for this processor whose loader, if it needs one, is there.
//
// Error: fault.Invalid, with the reason.
func (h *Host) CheckProgram(head []byte) error { return h.checkProgram(head, runtime.GOARCH) }

func (h *Host) checkProgram(head []byte, arch string) error {
	here := machines[arch]
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		return invalid("bootstrap is a script; a sandbox has no program that runs it.").
			WithRemedy("Upload a program (ELF) as bootstrap, or use a runtime nodejs or python3.")
	case bytes.HasPrefix(head, []byte("\x00asm")):
		return invalid("bootstrap is a WebAssembly module.").WithRemedy("Name it bootstrap.wasm.")
	case !bytes.HasPrefix(head, []byte(elfMagic)) || len(head) < headSize:
		return invalid("bootstrap is no program (ELF).").WithRemedy("Build it for Linux on %s and upload it as bootstrap.", here.name)
	case head[4] != class64 || head[5] != littleEndian:
		return invalid("bootstrap is a program for another processor than this node's, which is %s.", here.name)
	}
	kind, machine := binary.LittleEndian.Uint16(head[16:]), binary.LittleEndian.Uint16(head[18:])
	if machine != here.number {
		return invalid("bootstrap is a program for another processor (ELF machine %d) than this node's, which is %s.", machine, here.name).
			WithRemedy("Build it for %s.", here.name)
	}
	if kind != typeExec && kind != typeDyn {
		return invalid("bootstrap is an ELF file, but no program that can be started.")
	}
	loader, err := loaderOf(head)
	if err != nil {
		return err
	}
	if loader != "" && !h.HasLoader(loader) {
		return invalid("bootstrap is linked dynamically and needs %q, which is not in a sandbox.", loader).
			WithRemedy("Link it statically; with Go: CGO_ENABLED=0 go build.")
	}
	return nil
}

// loaderOf gives the path of the dynamic loader; empty for a static program.
func loaderOf(head []byte) (string, error) {
	offset := binary.LittleEndian.Uint64(head[32:])
	size, count := binary.LittleEndian.Uint16(head[54:]), binary.LittleEndian.Uint16(head[56:])
	if size != programSize || count > maxSegments || offset > uint64(len(head)) || uint64(len(head))-offset < uint64(count)*programSize {
		return "", invalid("bootstrap is an ELF file whose program headers are not at its beginning.")
	}
	for i := range uint64(count) {
		p := head[offset+i*programSize:]
		if binary.LittleEndian.Uint32(p) != segmentInt {
			continue
		}
		at, length := binary.LittleEndian.Uint64(p[8:]), binary.LittleEndian.Uint64(p[32:])
		if length == 0 || length > maxLoader || at > uint64(len(head)) || length > uint64(len(head))-at {
			return "", invalid("bootstrap is an ELF file whose loader's name is not at its beginning.")
		}
		return strings.TrimRight(string(head[at:at+length]), "\x00"), nil
	}
	return "", nil
}
