package wire

import (
	"encoding/binary"
	"time"
)

// PackageBody tells a native worker what it will run: the function's files
// and how its process is started. It takes the place of LoadBody.
type PackageBody struct {
	// Language is "nodejs", "python", or empty for a bootstrap of the package.
	Language string
	// Interpreter is the path of node or python inside the sandbox.
	Interpreter string
	// Handler names the function's entry, as in Lambda.
	Handler string
	// Env is the whole environment of the function's process, as KEY=VALUE.
	Env []string
	// MemoryLimit bounds the memory of the function's processes, in bytes.
	MemoryLimit uint64
	// InitTimeout bounds the initialisation; what it takes beyond that counts
	// as part of the first call, as in Lambda.
	InitTimeout time.Duration
	// LogLimit bounds what the initialisation may print, in bytes.
	LogLimit uint32
	// Archive is the package: a zip that was checked when it was deployed.
	Archive []byte
}

// AppendPackage appends a LoadPackage frame.
func AppendPackage(b []byte, p *PackageBody) []byte {
	start := len(b)
	b = Append(b, LoadPackage, 0)
	b = putString(b, p.Language)
	b = putString(b, p.Interpreter)
	b = putString(b, p.Handler)
	b = putList(b, p.Env)
	b = binary.LittleEndian.AppendUint64(b, p.MemoryLimit)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.InitTimeout))
	b = binary.LittleEndian.AppendUint32(b, p.LogLimit)
	return Finish(putBytes(b, p.Archive), start)
}

// ParsePackage reads the body of a LoadPackage frame; the archive points into it.
func ParsePackage(body []byte) (*PackageBody, error) {
	r := reader{b: body}
	p := &PackageBody{Language: string(r.bytes()), Interpreter: string(r.bytes()), Handler: string(r.bytes()), Env: r.list()}
	p.MemoryLimit, p.InitTimeout, p.LogLimit = r.u64(), time.Duration(r.u64()), r.u32()
	p.Archive = r.bytes()
	return p, r.done("package")
}
