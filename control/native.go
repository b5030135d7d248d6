package control

import (
	"bytes"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/function/bundle"
	"github.com/carrel-dev/carrel/function/native"
)

// code is what an upload holds: a WebAssembly module, or the files of a
// native function.
type code struct {
	module []byte
	files  *bundle.Archive
}

// open finds out what an upload is under a runtime, and checks it. What runs
// natively needs a node that has the wall, the interpreter or the processor
// for it.
//
// Errors: fault.Invalid and fault.TooLarge, for the author.
func (s *Service) open(runtime function.Runtime, upload []byte) (code, error) {
	language, known := native.LanguageOf(runtime)
	if !known {
		module, err := bundle.Open(upload, bundle.Limits{})
		return code{module: module}, err
	}
	if language == native.Program {
		return s.openProgram(runtime, upload)
	}
	if bytes.HasPrefix(upload, []byte("\x00asm")) {
		return code{}, fault.New("control.open", fault.Invalid, "The runtime %s takes a zip of the function's files; this is a WebAssembly module.", runtime).
			WithCode("InvalidParameterValueException").WithRemedy("Deploy it with the runtime %s.", function.Wasm)
	}
	files, err := bundle.OpenArchive(upload, bundle.Limits{})
	if err != nil {
		return code{}, err
	}
	return code{files: files}, s.cfg.Native.Check(runtime)
}

// openProgram takes a bootstrap.wasm, or else a bootstrap.
func (s *Service) openProgram(runtime function.Runtime, upload []byte) (code, error) {
	module, failure := bundle.Open(upload, bundle.Limits{})
	if failure == nil {
		return code{module: module}, nil
	}
	files, err := bundle.OpenArchive(upload, bundle.Limits{})
	if err != nil || files.Has(bundle.ModuleName) || !files.Has(native.BootstrapName) {
		return code{}, failure
	}
	if err := s.cfg.Native.Check(runtime); err != nil {
		return code{}, err
	}
	head, err := files.Head(native.BootstrapName, native.HeadSize)
	if err != nil {
		return code{}, err
	}
	return code{files: files}, s.cfg.Native.CheckProgram(head)
}

// checkRuntime refuses a name that is no runtime here.
func (s *Service) checkRuntime(r function.Runtime) error {
	if r == function.Wasm || r == function.ProvidedAL23 {
		return nil
	}
	return s.cfg.Native.Check(r)
}

// checkHandler holds a handler of an interpreted runtime to Lambda's form:
// a module and the name of what it exports.
func checkHandler(op string, v *function.Version) error {
	language, _ := native.LanguageOf(v.Runtime)
	if language == native.Program {
		return nil
	}
	if at := bytes.LastIndexByte([]byte(v.Handler), '.'); at <= 0 || at == len(v.Handler)-1 {
		return fault.New(op, fault.Invalid, "Handler %s names no function of a module.", printable(v.Handler)).
			WithCode("InvalidParameterValueException").WithRemedy("Give the file without its ending and the name it exports, as index.handler.")
	}
	return nil
}
