//go:build linux

package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/sandbox/wasm/wasi"
)

// Engine compiles and loads modules. A process has one; it is made before the
// process is locked down, because what it opens and maps may not be allowed
// afterwards.
type Engine struct {
	runtime wazero.Runtime
	codes   *codeStore
	print   string
	watch   *watcher
	why     error // why there is no watcher

	mu sync.Mutex // one module is compiled or loaded at a time
}

// NewEngine makes an engine: the runtime, the host modules, and the
// descriptors for finding written pages, where the kernel has that.
func NewEngine() (*Engine, error) {
	e, err := newEngine()
	if err != nil {
		return nil, err
	}
	e.watch, e.why = openWatcher()
	return e, nil
}

// newEngine makes an engine that restores by comparison.
func newEngine() (*Engine, error) {
	if n := os.Getpagesize(); n != pageSize {
		return nil, fault.New("wasm.NewEngine", fault.Unsupported, "this kernel's pages have %d bytes, and artifacts are laid out for %d", n, pageSize)
	}
	ctx := context.Background()
	cache := wazero.NewCompilationCache()
	e := &Engine{codes: &codeStore{}}
	if err := setFileCache(cache, e.codes); err != nil {
		return nil, fault.Wrap("wasm.NewEngine", fault.Internal, err, "the engine cannot be used without a folder")
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).WithCompilationCache(cache).WithDebugInfoEnabled(false))
	if err := e.prepare(ctx); err != nil {
		e.runtime.Close(ctx)
		return nil, fault.Wrap("wasm.NewEngine", fault.Internal, err, "the engine does not start")
	}
	return e, nil
}

// probe is the smallest module that has code: one function that returns.
var probe = []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x04\x01\x02\x00\x0b")

func (e *Engine) prepare(ctx context.Context) error {
	var m wazero.CompiledModule
	code, key, err := e.codes.taking(func() (err error) {
		m, err = e.runtime.CompileModule(ctx, probe)
		return err
	})
	if err != nil {
		return err
	}
	if e.print, err = fingerprint(code, key); err != nil {
		return err
	}
	if err := m.Close(ctx); err != nil {
		return err
	}
	if err := wasi.Instantiate(ctx, e.runtime, func(ctx context.Context) *wasi.State { return guestOf(ctx).wasi }); err != nil {
		return err
	}
	return instantiateHost(ctx, e.runtime)
}

// Fingerprint names what native code is bound to: wazero's version and the
// processor's features. An artifact of another one is refused.
func (e *Engine) Fingerprint() string { return e.print }

// RestoreMethod says how written pages are found: watched by the kernel, or
// by comparing every page, with the reason.
func (e *Engine) RestoreMethod() string {
	if e.watch != nil {
		return "watch: asynchronous write protection and PAGEMAP_SCAN"
	}
	if e.why == nil {
		return "compare"
	}
	return "compare: " + e.why.Error()
}

// Close ends the engine and all of its guests.
func (e *Engine) Close() error {
	if e.watch != nil {
		e.watch.close()
	}
	return e.runtime.Close(context.Background())
}

// LoadConfig is what a worker decides about a guest.
type LoadConfig struct {
	// MemoryLimit bounds linear memory and /tmp together, in bytes.
	MemoryLimit uint64
}

// Load makes a guest from an encoded artifact. The bytes are used for as long
// as the guest lives and must not change.
func (e *Engine) Load(ctx context.Context, artifact []byte, c LoadConfig) (*Guest, error) {
	a, _, err := decode(artifact, true)
	if err != nil {
		return nil, err
	}
	return e.load(ctx, loading{Artifact: a, fd: -1}, c)
}

// LoadFD makes a guest from a file (a sealed memory file) that holds an
// encoded artifact of a size, by mapping it. The descriptor can be closed
// afterwards. The digests of machine code and image are not checked again, and
// the code is run from the file's own pages: the file must come from who has
// authenticated it, and be sealed against writing before anybody else has it.
func (e *Engine) LoadFD(ctx context.Context, fd int, size int64, c LoadConfig) (*Guest, error) {
	if size < pageSize || size > maxMeta+maxModule+maxNative+maxImage {
		return nil, fault.New("wasm.LoadFD", fault.Invalid, "%d bytes are no artifact", size)
	}
	// Reading a mapping behind the end of its file would end the process.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size < size {
		return nil, fault.Wrap("wasm.LoadFD", fault.Invalid, err, "the artifact's file has %d bytes, %d were announced", st.Size, size)
	}
	b, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fault.Wrap("wasm.LoadFD", fault.Internal, err, "the artifact cannot be mapped")
	}
	a, at, err := decode(b, false)
	if err != nil {
		unix.Munmap(b)
		return nil, err
	}
	g, err := e.load(ctx, loading{Artifact: a, fd: fd, at: at}, c)
	if err != nil {
		unix.Munmap(b)
		return nil, err
	}
	g.shared.mapped = b
	return g, nil
}

// loading is an artifact with where it can be mapped from; fd is -1 if it
// cannot.
type loading struct {
	*Artifact
	fd int
	at places
}

func (e *Engine) load(ctx context.Context, a loading, c LoadConfig) (*Guest, error) {
	if a.Meta.Engine != e.print {
		return nil, fault.New("wasm.Load", fault.Precondition, "the artifact was compiled for engine %s, this is %s", a.Meta.Engine, e.print).
			WithRemedy("Build it again on this kind of machine.")
	}
	if need := uint64(a.Meta.MemoryPages) * wasmPage; need > c.MemoryLimit {
		return nil, memoryTooSmall("wasm.Load", need, c.MemoryLimit)
	}
	compiled, err := e.compiled(ctx, a)
	if err != nil {
		return nil, fault.Wrap("wasm.Load", fault.Internal, err, "the artifact's code cannot be loaded")
	}
	return e.guest(ctx, a, &shared{module: compiled}, c)
}

// compiled gives the module of an artifact with the artifact's native code.
func (e *Engine) compiled(ctx context.Context, a loading) (m wazero.CompiledModule, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	err = e.codes.serving(serve(a.Native, a.fd, a.at.code), func() (err error) {
		m, err = e.runtime.CompileModule(ctx, a.Module)
		return err
	})
	if err != nil && m != nil {
		m.Close(ctx)
	}
	return m, err
}

// guest makes an instance of a compiled artifact.
func (e *Engine) guest(ctx context.Context, a loading, s *shared, c LoadConfig) (*Guest, error) {
	g, err := newGuest(e, a.Meta, s, c.MemoryLimit)
	if err != nil {
		return nil, fault.Wrap("wasm.Load", fault.Internal, err, "there is no memory for the function")
	}
	g.loaded = a.Artifact
	if err := g.first(ctx, a); err != nil {
		g.Close()
		return nil, fault.Wrap("wasm.Load", fault.Internal, err, "the function cannot be made ready")
	}
	return g, nil
}

// Another makes a second guest of the same artifact, so that two calls can
// overlap. Its image is copied, not mapped. It can outlive g.
func (g *Guest) Another(ctx context.Context) (*Guest, error) {
	return g.engine.guest(ctx, loading{Artifact: g.loaded, fd: -1}, g.shared, LoadConfig{MemoryLimit: g.region.limit})
}

// shared is what all guests of an artifact have in common; the last one frees it.
type shared struct {
	module wazero.CompiledModule
	mapped []byte // the artifact's file, if it was mapped here
	users  atomic.Int32
}

func (s *shared) free() error {
	if s.users.Add(-1) > 0 {
		return nil
	}
	err := s.module.Close(context.Background())
	if s.mapped != nil {
		err = errors.Join(err, unix.Munmap(s.mapped))
	}
	return err
}

func memoryTooSmall(op string, need, limit uint64) *fault.Error {
	return fault.New(op, fault.Invalid, "the module starts with %d MiB of memory and its limit is %d MiB.", (need+1<<20-1)>>20, limit>>20).
		WithRemedy("Raise MemorySize or build the module with less initial memory.")
}

// runContext is the context that guest code runs under. wazero hands it to
// host functions as it is, which is how they find their guest.
type runContext struct {
	context.Context
	g *Guest
}

type guestKey struct{}

// Value gives the guest, and nothing of the outer context: no host function
// looks there, and wazero asks at every call.
func (c *runContext) Value(key any) any {
	if key == (guestKey{}) {
		return c.g
	}
	return nil
}

func guestOf(ctx context.Context) *Guest {
	if c, ok := ctx.(*runContext); ok {
		return c.g
	}
	g, _ := ctx.Value(guestKey{}).(*Guest)
	return g
}

// Version is the version of the carrel_v1 host interface.
const Version = 1

// instantiateHost adds the modules carrel, for instrumented code, and
// carrel_v1, for guests.
func instantiateHost(ctx context.Context, r wazero.Runtime) error {
	i32 := []api.ValueType{api.ValueTypeI32}
	_, err := r.NewHostModuleBuilder("carrel").
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(ctx context.Context, _ []uint64) { guestOf(ctx).yield() }), nil, nil).
		Export("yield").Instantiate(ctx)
	if err != nil {
		return err
	}
	_, err = r.NewHostModuleBuilder("carrel_v1").
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, s []uint64) { s[0] = Version }), nil, i32).
		Export("version").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(putContext), append(i32, i32...), i32).
		Export("context").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostCall), append(i32, i32[0], i32[0]), i32).
		Export("call").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostReply), append(i32, i32...), i32).
		Export("reply").Instantiate(ctx)
	return err
}

// putSeed writes 32 bytes into a guest's scratch space.
func putSeed(mem []byte, at uint32, seed [32]byte) bool {
	if uint64(at)+scratchSize > uint64(len(mem)) {
		return false
	}
	for i := 0; i < len(seed); i += 8 {
		binary.LittleEndian.PutUint64(mem[int(at)+i:], binary.LittleEndian.Uint64(seed[i:]))
	}
	return true
}

// scratchSize is how many bytes carrel_scratch promises.
const scratchSize = 64
