// Package bundle takes a WebAssembly module out of what a customer uploaded:
// a zip with bootstrap.wasm at its root, or the bare module. The zip of a
// native function's files it checks, by the same rules.
//
// Nothing is ever extracted to a file system; names inside an archive are
// compared and never opened. An archive is read by one strict reader of our
// own: the central directory and the local headers have to tell the same
// story, entries may not overlap, and what only other readers would
// understand differently (a prefix before the archive, zip64, several disks,
// encryption, duplicate names) is refused. So no two tools can see two
// different packages in the same bytes.
package bundle

import (
	"bytes"

	"github.com/carrel-dev/carrel/fault"
)

// ModuleName is the file that has to stand at the root of an archive.
const ModuleName = "bootstrap.wasm"

// Limits bound what Open takes. A zero field means its value in Default.
type Limits struct {
	// Packed is the most bytes of the upload.
	Packed int64
	// Unpacked is the most bytes of all entries together, and of each.
	Unpacked int64
	// Entries is the most entries of an archive, folders counted.
	Entries int
	// Ratio is the most by which an entry of over a MiB may grow.
	Ratio int64
	// exact says that names which differ by case only are two.
	exact bool
}

// Default gives the limits of Lambda for direct uploads (50 MiB packed,
// 262144000 bytes unpacked, AWS's documented quota) and our own for the
// number of entries and the ratio; a compiled program seldom shrinks tenfold.
func Default() Limits {
	return Limits{Packed: 50 << 20, Unpacked: 262_144_000, Entries: 4096, Ratio: 128}
}

func (l Limits) orDefault() Limits {
	d := Default()
	if l.Packed <= 0 {
		l.Packed = d.Packed
	}
	if l.Unpacked <= 0 {
		l.Unpacked = d.Unpacked
	}
	if l.Entries <= 0 {
		l.Entries = d.Entries
	}
	if l.Ratio <= 0 {
		l.Ratio = d.Ratio
	}
	return l
}

const op = "bundle.Open"

var (
	wasmMagic = []byte("\x00asm")
	zipMagic  = []byte("PK")
)

// Open gives the module of an upload. For a bare module that is the upload
// itself, not a copy. What the module holds is not looked at here.
//
// Errors: fault.TooLarge for an upload over Limits.Packed; fault.Invalid with
// code InvalidParameterValueException for anything else that is wrong with it.
func Open(zipOrWasm []byte, limits Limits) ([]byte, error) {
	l := limits.orDefault()
	switch {
	case len(zipOrWasm) == 0:
		return nil, invalid("The uploaded package is empty.")
	case int64(len(zipOrWasm)) > l.Packed:
		return nil, overPacked(zipOrWasm, l)
	case bytes.HasPrefix(zipOrWasm, wasmMagic):
		if int64(len(zipOrWasm)) > l.Unpacked {
			return nil, tooBig(l)
		}
		return zipOrWasm, nil
	case bytes.HasPrefix(zipOrWasm, zipMagic):
		return openArchive(zipOrWasm, l)
	}
	return nil, invalid("The package is neither a zip archive nor a WebAssembly module.")
}

func overPacked(upload []byte, l Limits) error {
	return fault.New(op, fault.TooLarge, "The package of %d bytes is over the limit of %d bytes.", len(upload), l.Packed).
		WithCode("RequestEntityTooLargeException")
}

func invalid(format string, args ...any) error {
	return fault.New(op, fault.Invalid, format, args...).WithCode("InvalidParameterValueException").
		WithRemedy("Upload a .wasm file, or a zip with %s at its root.", ModuleName)
}

// tooBig carries Lambda's own text, which clients look for.
func tooBig(l Limits) error {
	return fault.New(op, fault.Invalid, "Unzipped size must be smaller than %d bytes", l.Unpacked).
		WithCode("InvalidParameterValueException")
}

func broken(format string, args ...any) error {
	return invalid("Could not unzip uploaded file: "+format+".", args...)
}
