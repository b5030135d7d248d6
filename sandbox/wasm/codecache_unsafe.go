//go:build linux

package wasm

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero"
)

// setFileCache makes store the place where wazero keeps and finds native code.
//
// wazero offers only a folder for that, and a worker has none. The value behind
// wazero.CompilationCache has an unexported field fileCache of an interface
// type whose methods are exported; this sets it. Layout and method set are
// checked here, so that another wazero version fails with an error instead of
// doing something else.
func setFileCache(c wazero.CompilationCache, store *codeStore) error {
	v := reflect.ValueOf(c)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("wazero's compilation cache is a %s, not a pointer to a struct: this wazero version is not supported", v.Kind())
	}
	f := v.Elem().FieldByName("fileCache")
	if !f.IsValid() || f.Kind() != reflect.Interface {
		return fmt.Errorf("wazero's compilation cache has no interface field fileCache: this wazero version is not supported")
	}
	s := reflect.ValueOf(store)
	if !s.Type().Implements(f.Type()) {
		return fmt.Errorf("wazero's file cache wants other methods (%s): this wazero version is not supported", f.Type())
	}
	reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Set(s)
	return nil
}
