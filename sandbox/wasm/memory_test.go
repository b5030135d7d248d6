//go:build linux

package wasm

import (
	"bytes"
	"testing"

	"github.com/carrel-dev/carrel/internal/testrounds"
	"golang.org/x/sys/unix"
)

// imageFile makes a memory file with the bytes of an image.
func imageFile(t testing.TB, image []byte) int {
	t.Helper()
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Write(fd, image); err != nil {
		t.Fatal(err)
	}
	return fd
}

// watchers gives every way to find written pages that this kernel has.
func watchers(t testing.TB) map[string]*watcher {
	t.Helper()
	all := map[string]*watcher{"compare": nil}
	w, err := openWatcher()
	if err != nil {
		t.Logf("the kernel cannot watch pages, comparison only: %v", err)
		return all
	}
	t.Cleanup(w.close)
	all["watch"] = w
	return all
}

func testImage(n int) []byte {
	image := make([]byte, n)
	for i := range image {
		image[i] = byte(i/pageSize + i)
	}
	return image
}

func testRegion(t testing.TB, w *watcher, image []byte, mapped bool) *region {
	t.Helper()
	r, err := newRegion(8<<20, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close() })
	fd := -1
	if mapped {
		fd = imageFile(t, image)
	}
	if err := r.setImage(image, 4*wasmPage, fd, 0); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRegionBecomesTheImageAgain(t *testing.T) {
	rnd := testrounds.Rand(t)
	for name, w := range watchers(t) {
		for _, mapped := range []bool{false, true} {
			image := testImage(40 * pageSize)
			r := testRegion(t, w, image, mapped)
			want := append(bytes.Clone(image), make([]byte, 4*wasmPage-len(image))...)
			for round := range testrounds.Rounds(t) {
				r.begin()
				if rnd.IntN(3) == 0 && r.Reallocate(uint64(4+rnd.IntN(100))*wasmPage) == nil {
					t.Fatalf("%s: growing within the limit failed", name)
				}
				for range rnd.IntN(50) {
					r.mem[rnd.Uint64N(r.size)] ^= 0x55
				}
				if err := r.restore(); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(r.mem[:r.size], want) {
					t.Fatalf("%s, mapped %v, round %d: memory is not the image", name, mapped, round)
				}
				if !zero(r.mem[r.size:r.usable]) {
					t.Fatalf("%s, mapped %v, round %d: what a call grew into is left behind", name, mapped, round)
				}
			}
		}
	}
}

func TestRegionLooksOnlyAtHotPages(t *testing.T) {
	w := watchers(t)["watch"]
	if w == nil {
		t.Skip("the kernel cannot watch pages")
	}
	for _, mapped := range []bool{false, true} {
		r := testRegion(t, w, testImage(40*pageSize), mapped)
		sum := byte(0)
		for i := 0; i < len(r.image); i += pageSize {
			sum += r.mem[i] // reading makes no page hot
		}
		r.mem[5*pageSize+1]++
		r.mem[33*pageSize+7]++
		for range 3 {
			if err := r.restore(); err != nil {
				t.Fatal(err)
			}
			t.Logf("mapped %v: %d pages hot (%d)", mapped, r.hot, sum)
			if r.hot != 2 {
				t.Fatalf("mapped %v: restore looked at %d pages, want the 2 that were written", mapped, r.hot)
			}
		}
		for range 2*coolFactor + 4 {
			if err := r.restore(); err != nil {
				t.Fatal(err)
			}
		}
		if r.hot != 0 {
			t.Fatalf("mapped %v: %d pages are still hot after many calls that did not touch them", mapped, r.hot)
		}
		r.mem[5*pageSize+1]++
		if err := r.restore(); err != nil || r.hot != 1 || r.mem[5*pageSize+1] != r.image[5*pageSize+1] {
			t.Fatalf("mapped %v: a page was not watched again after cooling (%d hot, %v)", mapped, r.hot, err)
		}
	}
}

func TestRegionLimit(t *testing.T) {
	r := testRegion(t, nil, testImage(pageSize), false)
	r.begin()
	if r.Reallocate(8<<20) == nil || r.denied {
		t.Fatal("growing to the limit was refused")
	}
	if r.reserve(1) || !r.denied {
		t.Fatal("a byte of /tmp above the limit was granted")
	}
	if err := r.restore(); err != nil {
		t.Fatal(err)
	}
	r.begin()
	if !r.reserve(5 << 20) {
		t.Fatal("/tmp below the limit was refused")
	}
	if r.Reallocate(4<<20) != nil || !r.denied {
		t.Fatal("memory and /tmp together were let above the limit")
	}
	if want := uint64(4*wasmPage + 5<<20); r.peak != want {
		t.Fatalf("peak %d, want %d", r.peak, want)
	}
}
