//go:build linux

package wasm

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/carrel-dev/carrel/fault"
)

func sampleArtifact() *Artifact {
	image := make([]byte, 3*pageSize+5)
	for i := range image {
		image[i] = byte(i)
	}
	return &Artifact{
		Meta:   Meta{Engine: "e", Model: Reactor, MemoryPages: 2, Imaged: true, InitFuel: 7, InitFuelLimit: 9},
		Module: []byte("module"), Native: Native{[]byte("head"), bytes.Repeat([]byte("native"), 1000), []byte("tail")}, Image: image,
	}
}

func TestArtifactRoundTrip(t *testing.T) {
	a := sampleArtifact()
	b := encoded(t, a)
	got, at, err := decode(b, true)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Meta, a.Meta) || !bytes.Equal(got.Module, a.Module) || !reflect.DeepEqual(got.Native.Code, a.Native.Code) || string(got.Native.Head) != "head" || string(got.Native.Tail) != "tail" || !bytes.Equal(got.Image, a.Image) {
		t.Fatalf("got %+v", got)
	}
	if at.image%pageSize != 0 || !bytes.Equal(b[at.image:][:len(a.Image)], a.Image) {
		t.Fatalf("the image is said to begin at %d", at.image)
	}
	if at.code%pageSize != 0 || !bytes.Equal(b[at.code:][:len(a.Native.Code)], a.Native.Code) {
		t.Fatalf("the code is said to begin at %d", at.code)
	}
	if uint64(cap(got.Image)) != pageUp(uint64(len(got.Image))) {
		t.Fatalf("the image cannot be read up to the end of its page")
	}
}

func TestArtifactWithAnyBitChangedIsRefused(t *testing.T) {
	b := encoded(t, sampleArtifact())
	for i := range b {
		b[i] ^= 1 << (i % 8)
		if _, err := DecodeArtifact(b); !fault.Is(err, fault.Invalid) {
			t.Fatalf("byte %d of %d changed: %v", i, len(b), err)
		}
		b[i] ^= 1 << (i % 8)
	}
	for _, n := range []int{0, 1, pageSize - 1, pageSize, len(b) - pageSize, len(b) - 1} {
		if _, err := DecodeArtifact(b[:n]); !fault.Is(err, fault.Invalid) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := DecodeArtifact(append(b, make([]byte, pageSize)...)); !fault.Is(err, fault.Invalid) {
		t.Fatalf("with a page more: %v", err)
	}
}

func FuzzDecodeArtifact(f *testing.F) {
	a := sampleArtifact()
	for _, a := range []*Artifact{a, {Meta: Meta{Model: Command}}} {
		b, err := a.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:pageSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, all := range []bool{true, false} {
			a, at, err := decode(b, all)
			if err != nil {
				continue
			}
			if int(at.image)+len(a.Image) > len(b) || at.image%pageSize != 0 || int(at.code)+len(a.Native.Code) > len(b) || at.code%pageSize != 0 {
				t.Fatalf("image and code of %d and %d bytes at %+v of %d", len(a.Image), len(a.Native.Code), at, len(b))
			}
			again, err := a.MarshalBinary()
			if err != nil || all && !bytes.Equal(again, b) {
				t.Fatalf("an accepted artifact is not the one encoding of itself (%v)", err)
			}
		}
	})
}

func TestFingerprint(t *testing.T) {
	e, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	other, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if e.Fingerprint() == "" || e.Fingerprint() != other.Fingerprint() {
		t.Fatalf("fingerprints %q and %q of one machine", e.Fingerprint(), other.Fingerprint())
	}
	for _, code := range []string{"", "WAZEVO", "WAZEVO\x05v1.1", "wazevo\x00"} {
		if p, err := fingerprint([]byte(code), [32]byte{}); err == nil {
			t.Errorf("%q has the fingerprint %q", code, p)
		}
	}
	p1, err1 := fingerprint([]byte("WAZEVO\x02v1code"), [32]byte{1})
	p2, err2 := fingerprint([]byte("WAZEVO\x02v2code"), [32]byte{1})
	p3, err3 := fingerprint([]byte("WAZEVO\x02v1code"), [32]byte{2})
	if err1 != nil || err2 != nil || err3 != nil || p1 == p2 || p1 == p3 || p2 == p3 {
		t.Errorf("version and processor do not both count: %q %q %q", p1, p2, p3)
	}
}

// TestCodeCacheLayout fails when wazero's cache can no longer be served from
// memory; TestMemoryShrinks when its memory can no longer shrink.
func TestCodeCacheLayout(t *testing.T) {
	if err := setFileCache(otherCache{}, &codeStore{}); err == nil {
		t.Error("a cache of another make was accepted")
	}
	if err := setFileCache(&otherField{}, &codeStore{}); err == nil {
		t.Error("a cache without the field was accepted")
	}
	if err := setFileCache(&otherMethods{}, &codeStore{}); err == nil {
		t.Error("a cache that wants other methods was accepted")
	}
}

type otherCache struct{}

func (otherCache) Close(context.Context) error { return nil }

type otherField struct{ otherCache }

type otherMethods struct {
	otherCache
	fileCache interface{ Put() }
}

// TestMemoryShrinks is about wazero's memory: if this wazero kept its size in
// another way, every call that grows would cost a new instance.
func TestMemoryShrinks(t *testing.T) {
	g := newGuestModule(2).handle(drop(memoryGrow(i32(3))))
	guest := loadFD(t, engines(t)["compare"], build(t, g.Encode()))
	r := run(t, guest, invocation(""))
	if r.Reset != Restored {
		t.Error("growing memory cost a new instance")
	}
	if r.MemoryPeak != 5*wasmPage {
		t.Errorf("peak %d, want 5 pages", r.MemoryPeak)
	}
	if n := guest.memory.Size(); n != 2*wasmPage {
		t.Errorf("memory has %d bytes after the call", n)
	}
}
