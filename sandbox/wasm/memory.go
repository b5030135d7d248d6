//go:build linux

package wasm

import (
	"bytes"
	"errors"
	"os"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// guardSize is kept unreadable before and behind a guest's memory. Compiled
// code checks bounds itself; this catches what would slip past that.
const guardSize = 64 << 10

// coolFactor: once restores have compared this many idle pages for every page
// that is watched as hot, all are made cold again.
const coolFactor = 64

// region is one guest's linear memory: reserved up to its limit, usable up to
// what the guest has grown to, and able to become the image again.
type region struct {
	all    []byte // with guards
	mem    []byte // without
	image  []byte // pristine bytes, whole system pages; behind them zeros
	fixed  int    // bytes of mem that are mapped from the image file
	size   uint64 // now, as the guest sees it
	start  uint64 // of the image, as the guest sees it
	usable uint64 // readable and writable: never shrinks between coolings
	peak   uint64 // most seen in this call, files in /tmp included
	limit  uint64
	tmp    int64 // bytes of /tmp, counted against limit
	denied bool  // a request in this call was refused

	watch *watcher // nil: compare every page
	hot   uint64   // pages looked at in the last restore
	idle  uint64   // pages looked at in vain since the last cooling
}

// newRegion reserves memory for a guest.
func newRegion(limit uint64, w *watcher) (*region, error) {
	limit = min(limit, maxPages*wasmPage-wasmPage) &^ (wasmPage - 1)
	all, err := unix.Mmap(-1, 0, int(limit+2*guardSize), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, os.NewSyscallError("mmap to reserve memory", err)
	}
	// A huge page would make one byte dirty 512 pages. Kernels without huge
	// pages refuse the advice, and need none.
	if err := unix.Madvise(all, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL {
		return nil, errors.Join(os.NewSyscallError("madvise", err), unix.Munmap(all))
	}
	r := &region{all: all, mem: all[guardSize : guardSize+limit : guardSize+limit], limit: limit}
	if w != nil {
		own := *w // the same descriptors, but buffers of its own
		r.watch = &own
	}
	return r, nil
}

// setImage makes an image the pristine state. image has to stay as it is for
// the region's life. If fd is not negative the image's bytes are mapped from
// there instead of being copied.
func (r *region) setImage(image []byte, size uint64, fd int, offset int64) error {
	r.image = image[:pageUp(uint64(len(image)))]
	r.start = size
	if fd >= 0 && len(image) > 0 {
		r.fixed = len(r.image)
		if err := mapOver(r.mem[:r.fixed], fd, offset, unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return err
		}
	}
	if r.Reallocate(size) == nil {
		return os.ErrInvalid
	}
	if fd < 0 {
		copy(r.mem, r.image)
	}
	return r.beginWatch()
}

// blank makes all of memory zeros without an image, for a new instance that
// brings its own data.
func (r *region) blank() {
	r.image, r.start, r.idle = nil, 0, 0
	r.putBack(0, pageUp(r.usable))
	r.size = 0
}

// adopt makes the present content the pristine state, as a copy.
func (r *region) adopt() error {
	image := make([]byte, pageUp(r.size))
	copy(image, r.mem[:r.size])
	r.image, r.start = image, r.size
	return r.beginWatch()
}

func (r *region) beginWatch() error {
	if r.watch == nil || len(r.mem) == 0 {
		return nil
	}
	if err := r.watch.watch(r.mem); err != nil {
		return err
	}
	return r.watch.protect(r.mem[:len(r.image)])
}

// Allocate gives the region itself to the instance that is being made.
func (r *region) Allocate(_, _ uint64) experimental.LinearMemory { return r }

// Reallocate sets the size; nil says that the limit does not allow it.
func (r *region) Reallocate(size uint64) []byte {
	if size+uint64(r.tmp) > r.limit {
		r.denied = true
		return nil
	}
	if size > r.usable {
		if err := r.commit(size); err != nil {
			r.denied = true
			return nil
		}
	}
	r.size = size
	r.peak = max(r.peak, size+uint64(r.tmp))
	return r.mem[:size:size]
}

func (r *region) commit(size uint64) error {
	from := max(r.usable, uint64(r.fixed))
	if size > from {
		if err := unix.Mprotect(r.mem[from:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return err
		}
	}
	r.usable = size
	return nil
}

// Free is wazero's word that an instance is gone; the region stays for the next.
func (r *region) Free() {}

// reserve counts bytes of /tmp against the limit.
func (r *region) reserve(n int64) bool {
	if n > 0 && r.size+uint64(r.tmp+n) > r.limit {
		r.denied = true
		return false
	}
	r.tmp += n
	r.peak = max(r.peak, r.size+uint64(r.tmp))
	return true
}

// begin starts a call's accounts.
func (r *region) begin() { r.denied, r.peak = false, r.size }

// restore makes memory the image again.
func (r *region) restore() error {
	r.hot = 0
	dirty := uint64(0)
	put := func(from, to uint64) {
		r.hot += (to - from) / pageSize
		dirty += r.putBack(from, to)
	}
	if r.watch == nil {
		put(0, pageUp(r.usable))
	} else if err := r.watch.written(r.mem[:pageUp(r.usable)], put); err != nil {
		return err
	}
	r.size = r.start
	if r.idle += r.hot - dirty; r.idle > coolFactor*(r.hot+1) {
		return r.cool()
	}
	return nil
}

// putBack compares pages with the image and copies those that differ.
func (r *region) putBack(from, to uint64) (dirty uint64) {
	for ; from < to; from += pageSize {
		want := zeros[:]
		if from < uint64(len(r.image)) {
			want = r.image[from : from+pageSize]
		}
		if page := r.mem[from : from+pageSize]; !bytes.Equal(page, want) {
			copy(page, want)
			dirty++
		}
	}
	return dirty
}

// cool gives grown memory back to the kernel and watches every page anew, so
// that one unusual call does not make all later restores slow.
func (r *region) cool() error {
	r.idle = 0
	end := pageUp(max(r.start, uint64(len(r.image))))
	if r.usable > end {
		tail := r.mem[end:r.usable]
		if err := unix.Madvise(tail, unix.MADV_DONTNEED); err != nil {
			return err
		}
		if err := unix.Mprotect(tail, unix.PROT_NONE); err != nil {
			return err
		}
		r.usable = end
	}
	if r.watch == nil {
		return nil
	}
	return r.watch.protect(r.mem[:end])
}

func (r *region) close() error { return unix.Munmap(r.all) }
