//go:build linux

package wasm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// codeStore stands in for wazero's folder of native code. It serves one piece
// of code whatever the key (the module that is loaded has empty bodies, so its
// key is not that of the module that was compiled), or takes the code of a
// compilation.
type codeStore struct {
	mu    sync.Mutex
	serve *served  // what Get gives; nil for nothing
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
	return s.serve, true, nil
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

// served is native code that is being read. wazero reads the machine code in
// one piece, to pages that it has just mapped; those are then replaced by a
// mapping of the artifact's file. That saves copying and, for a large module,
// thousands of page faults, and workers share the pages. The file is read-only
// here as there; wazero itself makes the pages executable after it has checked
// their sum.
type served struct {
	rest   [3][]byte
	fd     int   // of the artifact; -1 if it cannot be mapped
	codeAt int64 // in the file
	code   int   // length of the machine code
}

func serve(n Native, fd int, codeAt int64) *served {
	return &served{rest: [3][]byte{n.Head, n.Code, n.Tail}, fd: fd, codeAt: codeAt, code: len(n.Code)}
}

// Read gives the pieces one after the other.
func (s *served) Read(p []byte) (int, error) {
	for i := range s.rest {
		if len(s.rest[i]) == 0 {
			continue
		}
		if i == 1 && s.fd >= 0 && len(p) == s.code && len(s.rest[1]) == s.code && onPage(p) && mapOver(p, s.fd, s.codeAt, unix.PROT_READ) == nil {
			s.rest[1] = nil
			return len(p), nil
		}
		n := copy(p, s.rest[i])
		s.rest[i] = s.rest[i][n:]
		return n, nil
	}
	return 0, io.EOF
}

// Close does nothing: the bytes are the artifact's.
func (s *served) Close() error { return nil }

// split takes wazero's native code apart: magic, version, the number of
// functions and the offset of each, then the length of the machine code and
// the machine code, then the rest.
func split(b []byte) (Native, error) {
	bad := errors.New("wazero's native code has another form: this wazero version is not supported")
	if len(b) < len(codeMagic)+1 || string(b[:len(codeMagic)]) != codeMagic {
		return Native{}, bad
	}
	at := uint64(len(codeMagic)+1) + uint64(b[len(codeMagic)])
	if at+4 > uint64(len(b)) {
		return Native{}, bad
	}
	at += 4 + 8*uint64(binary.LittleEndian.Uint32(b[at:]))
	if at+8 > uint64(len(b)) {
		return Native{}, bad
	}
	n := binary.LittleEndian.Uint64(b[at:])
	if at += 8; n > uint64(len(b))-at {
		return Native{}, bad
	}
	return Native{Head: b[:at], Code: b[at : at+n], Tail: b[at+n:]}, nil
}

var errStaleCode = errors.New("the native code is of another wazero version")

// serving runs f, which loads a module, while code is served; it fails if f
// compiled instead. (A module that is loaded already has its code; see named.)
func (s *codeStore) serving(code *served, f func() error) error {
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
