//go:build linux

package wasm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"

	"github.com/carrel-dev/carrel/fault"
)

// Model is the shape of a module.
type Model string

// The two shapes; the package comment says what each exports.
const (
	Reactor Model = "reactor"
	Command Model = "command"
)

// Meta says what an artifact is and what it was made for.
type Meta struct {
	// Engine is the fingerprint of the engine that the native code is for:
	// wazero's version and the processor's features.
	Engine string `json:"engine"`
	// Model is the shape of the module.
	Model Model `json:"model"`
	// MemoryPages is the size of memory in the image, in pages of 64 KiB.
	MemoryPages uint32 `json:"memoryPages"`
	// Imaged: the state after initialisation is in Image and in the module's
	// globals. If not (initialisation changed tables, say), each new instance
	// is initialised again, with Env and Warmup.
	Imaged bool     `json:"imaged"`
	Env    []string `json:"env,omitempty"`
	Warmup []byte   `json:"warmup,omitempty"`
	// Scratch is the address that carrel_scratch gave; only with HasRestored.
	Scratch     uint32 `json:"scratch,omitempty"`
	HasRestored bool   `json:"hasRestored,omitempty"`
	// InitFuel is what initialisation cost.
	InitFuel uint64 `json:"initFuel"`
	// InitFuelLimit bounds initialisation where it has to be done again.
	InitFuelLimit uint64 `json:"initFuelLimit"`
}

// Artifact is a built function: everything that a worker needs to run it.
type Artifact struct {
	Meta Meta
	// Module is the module as it is loaded: instrumented, with empty bodies,
	// and without data segments if there is an image.
	Module []byte
	// Native is its compiled code.
	Native Native
	// Image is memory after initialisation, without the zeros at its end.
	Image []byte
}

// Native is compiled code in wazero's own format, in three pieces, because the
// one in the middle can be mapped instead of being copied.
type Native struct {
	// Head is what comes before the machine code, Tail what comes after it.
	Head, Code, Tail []byte
}

// Layout of an encoded artifact: one page of header, then the six parts, each
// beginning on a page, filled up with zeros. So code and image can be mapped
// from the file, and there is one encoding only of each artifact.
const (
	artifactMagic   = "CARRELWA"
	artifactVersion = 1
	pageSize        = 4096
	partCount       = 6
	partSize        = 8 + sha256.Size
	partsAt         = 16
	partCode        = 3
	partImage       = 5
)

// Caps on the parts; over them an artifact is refused. They are far above what
// a module within the module limits makes.
const (
	maxMeta   = 8 << 20
	maxModule = 256 << 20
	maxNative = 1 << 30
	maxImage  = 4 << 30
)

var partCaps = [partCount]uint64{maxMeta, maxModule, maxNative, maxNative, maxNative, maxImage}

// MarshalBinary encodes the artifact.
func (a *Artifact) MarshalBinary() ([]byte, error) {
	meta, err := json.Marshal(a.Meta)
	if err != nil {
		return nil, fault.Wrap("wasm.MarshalBinary", fault.Internal, err, "the artifact's description cannot be encoded")
	}
	parts := [partCount][]byte{meta, a.Module, a.Native.Head, a.Native.Code, a.Native.Tail, a.Image}
	size := uint64(pageSize)
	for i, p := range parts {
		if uint64(len(p)) > partCaps[i] {
			return nil, fault.New("wasm.MarshalBinary", fault.TooLarge, "part %d of the artifact has %d bytes, more than %d", i, len(p), partCaps[i])
		}
		size += pageUp(uint64(len(p)))
	}
	b := make([]byte, size)
	copy(b, artifactMagic)
	binary.LittleEndian.PutUint32(b[8:], artifactVersion)
	binary.LittleEndian.PutUint32(b[12:], partCount)
	at := uint64(pageSize)
	for i, p := range parts {
		h := b[partsAt+i*partSize:]
		binary.LittleEndian.PutUint64(h, uint64(len(p)))
		sum := sha256.Sum256(p)
		copy(h[8:], sum[:])
		copy(b[at:], p)
		at += pageUp(uint64(len(p)))
	}
	return b, nil
}

// DecodeArtifact decodes an artifact and checks the digest of every part. The
// parts of the result are slices of b.
func DecodeArtifact(b []byte) (*Artifact, error) {
	a, _, err := decode(b, true)
	return a, err
}

// places says where in an encoded artifact the parts begin that can be mapped.
type places struct{ code, image int64 }

// decode gives the artifact and where its parts are. Without all it leaves
// out the digests of machine code and image: they are the large parts, and a
// worker's artifact comes from a node that has authenticated it.
func decode(b []byte, all bool) (*Artifact, places, error) {
	bad := func(format string, args ...any) (*Artifact, places, error) {
		return nil, places{}, fault.New("wasm.DecodeArtifact", fault.Invalid, "this is not a usable artifact: "+format, args...).
			WithRemedy("Build it again.")
	}
	if len(b) < pageSize || string(b[:len(artifactMagic)]) != artifactMagic {
		return bad("it does not begin as one")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != artifactVersion {
		return bad("it has format %d, this engine reads %d", v, artifactVersion)
	}
	if binary.LittleEndian.Uint32(b[12:]) != partCount || !zero(b[partsAt+partCount*partSize:pageSize]) {
		return bad("its header is not in order")
	}
	var parts [partCount][]byte
	var starts [partCount]int64
	at := uint64(pageSize)
	for i := range parts {
		h := b[partsAt+i*partSize:]
		n := binary.LittleEndian.Uint64(h)
		if n > partCaps[i] || pageUp(n) > uint64(len(b))-at {
			return bad("part %d of %d bytes does not fit", i, n)
		}
		p := b[at : at+n : at+pageUp(n)]
		if (all || i != partCode && i != partImage) && sha256.Sum256(p) != [sha256.Size]byte(h[8:8+sha256.Size]) {
			return bad("the digest of part %d is wrong", i)
		}
		if !zero(p[n:pageUp(n)]) {
			return bad("part %d is not filled up with zeros", i)
		}
		starts[i] = int64(at)
		parts[i] = p
		at += pageUp(n)
	}
	if at != uint64(len(b)) {
		return bad("%d bytes follow it", uint64(len(b))-at)
	}
	a := &Artifact{Module: parts[1], Native: Native{Head: parts[2], Code: parts[partCode], Tail: parts[4]}, Image: parts[partImage]}
	if err := a.Meta.decode(parts[0]); err != nil {
		return bad("its description is wrong: %v", err)
	}
	if uint64(len(a.Image)) > uint64(a.Meta.MemoryPages)*wasmPage || a.Meta.MemoryPages > maxPages {
		return bad("its image of %d bytes does not fit into %d pages", len(a.Image), a.Meta.MemoryPages)
	}
	return a, places{code: starts[partCode], image: starts[partImage]}, nil
}

const (
	wasmPage = 64 << 10
	maxPages = 65536
)

func (m *Meta) decode(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return err
	}
	again, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		return fault.New("wasm.DecodeArtifact", fault.Invalid, "it is not in its canonical form")
	}
	if m.Model != Reactor && m.Model != Command {
		return fault.New("wasm.DecodeArtifact", fault.Invalid, "model %q is unknown", m.Model)
	}
	return nil
}

func pageUp(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

var zeros [pageSize]byte

// zero tells whether b holds zeros only.
func zero(b []byte) bool {
	for len(b) > pageSize {
		if !bytes.Equal(b[:pageSize], zeros[:]) {
			return false
		}
		b = b[pageSize:]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
