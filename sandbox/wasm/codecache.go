//go:build linux

package wasm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"sync"
)

// codeStore stands in for wazero's folder of native code. It serves one piece
// of code whatever the key (the module that is loaded has empty bodies, so its
// key is not that of the module that was compiled), or takes the code of a
// compilation.
type codeStore struct {
	mu    sync.Mutex
	serve []byte   // what Get gives; nil for nothing
	taken []byte   // what the last Add brought
	key   [32]byte // of the last Get or Add
	stale bool     // wazero refused what was served
}

// Get gives the code to be served.
func (s *codeStore) Get(key [sha256.Size]byte) (io.ReadCloser, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
	if s.serve == nil {
		return nil, false, nil
	}
	return io.NopCloser(bytes.NewReader(s.serve)), true, nil
}

// Add takes the code of a fresh compilation.
func (s *codeStore) Add(key [sha256.Size]byte, content io.Reader) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.taken = key, b
	return nil
}

// Delete hears that what was served is from another wazero version. Failing
// here keeps wazero from compiling the empty bodies instead.
func (s *codeStore) Delete([sha256.Size]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
	return errStaleCode
}

var errStaleCode = errors.New("the native code is of another wazero version")

// serving runs f, which loads a module, while code is served; it fails if f
// compiled instead. (A module that is loaded already has its code; see named.)
func (s *codeStore) serving(code []byte, f func() error) error {
	s.mu.Lock()
	s.serve, s.taken, s.stale = code, nil, false
	s.mu.Unlock()
	err := f()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve = nil
	switch {
	case err != nil:
		return err
	case s.stale || s.taken != nil:
		return errStaleCode
	}
	return nil
}

// taking runs f, which compiles, and gives the native code and its key.
func (s *codeStore) taking(f func() error) (code []byte, key [32]byte, err error) {
	s.mu.Lock()
	s.serve, s.taken = nil, nil
	s.mu.Unlock()
	if err := f(); err != nil {
		return nil, key, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	code, key = s.taken, s.key
	s.taken = nil
	if code == nil {
		return nil, key, errors.New("wazero did not hand over native code: it found no compiler for this processor, or its cache works differently")
	}
	return code, key, nil
}

// codeHeader is what wazero begins its native code with: a magic, then the
// length of its version and the version.
const codeMagic = "WAZEVO"

// fingerprint names what native code depends on: wazero's version, stated in
// the code, and the processor's features, which are part of the key.
func fingerprint(code []byte, key [32]byte) (string, error) {
	if len(code) < len(codeMagic)+1 || string(code[:len(codeMagic)]) != codeMagic {
		return "", errors.New("wazero's native code does not begin with " + codeMagic + ": this wazero version is not supported")
	}
	n := int(code[len(codeMagic)])
	if len(code) < len(codeMagic)+1+n {
		return "", errors.New("wazero's native code ends in its header: this wazero version is not supported")
	}
	return string(code[len(codeMagic)+1:][:n]) + "-" + hex.EncodeToString(key[:16]), nil
}

// named adds a custom section with the digest of the native code to a module
// with empty bodies. wazero remembers loaded modules by their bytes, and
// modules that differ in their code alone would be one and the same to it.
func named(module, code []byte) []byte {
	const name = "carrel.code"
	sum := sha256.Sum256(code)
	section := append([]byte{0, byte(1 + len(name) + len(sum)), byte(len(name))}, name...)
	return append(append(slices.Clip(module), section...), sum[:]...)
}
