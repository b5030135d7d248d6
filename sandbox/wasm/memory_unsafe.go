//go:build linux

package wasm

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of linux/userfaultfd.h and linux/fs.h that x/sys does not have.
const (
	uffdUserModeOnly   = 1
	uffdAPI            = 0xaa
	uffdFeatureWP      = 1 << 0
	uffdFeatureWPAsync = 1 << 15
	uffdioAPI          = 0xc018aa3f
	uffdioRegister     = 0xc020aa00
	uffdioWriteProtect = 0xc018aa06
	uffdRegisterWP     = 1 << 1
	uffdWriteProtectWP = 1 << 0
	pagemapScan        = 0xc0606610
	scanCheckWPAsync   = 1 << 1
	pageIsWritten      = 1 << 1
	pageIsPresent      = 1 << 3
	scanRanges         = 512
)

// watcher finds written pages with the kernel's help.
type watcher struct {
	uffd    int
	pagemap int
	vec     [scanRanges]pageRange
	arg     scanArg
}

// pageRange is struct page_region.
type pageRange struct{ start, end, categories uint64 }

// scanArg is struct pm_scan_arg.
type scanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages uint64
	inverted, mask, anyOf, returned                         uint64
}

// openWatcher opens what watching needs. It has to happen before a jail's
// lock-down: /proc is gone afterwards and userfaultfd is forbidden. The user
// mode restriction is what an unprivileged process may have.
func openWatcher() (*watcher, error) {
	pagemap, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open pagemap", err)
	}
	fd, _, e := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK|uffdUserModeOnly, 0, 0)
	if e != 0 {
		unix.Close(pagemap)
		return nil, os.NewSyscallError("userfaultfd", e)
	}
	w := &watcher{uffd: int(fd), pagemap: pagemap}
	api := [3]uint64{uffdAPI, uffdFeatureWP | uffdFeatureWPAsync, 0}
	if err := ioctl(w.uffd, uffdioAPI, unsafe.Pointer(&api)); err != nil {
		w.close()
		return nil, os.NewSyscallError("UFFDIO_API with asynchronous write protection", err)
	}
	return w, nil
}

func (w *watcher) close() {
	unix.Close(w.uffd)
	unix.Close(w.pagemap)
}

// watch begins to watch a mapping.
func (w *watcher) watch(b []byte) error {
	arg := [4]uint64{address(b), uint64(len(b)), uffdRegisterWP, 0}
	return os.NewSyscallError("UFFDIO_REGISTER", ioctl(w.uffd, uffdioRegister, unsafe.Pointer(&arg)))
}

// protect forgets which pages of a watched mapping were written.
func (w *watcher) protect(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	arg := [3]uint64{address(b), uint64(len(b)), uffdWriteProtectWP}
	return os.NewSyscallError("UFFDIO_WRITEPROTECT", ioctl(w.uffd, uffdioWriteProtect, unsafe.Pointer(&arg)))
}

// written calls f with each range of b, as offsets, that was written since
// protect.
func (w *watcher) written(b []byte, f func(from, to uint64)) error {
	base := address(b)
	end := base + uint64(len(b))
	for at := base; at < end; {
		w.arg = scanArg{
			size: uint64(unsafe.Sizeof(w.arg)), flags: scanCheckWPAsync, start: at, end: end,
			vec: uint64(uintptr(unsafe.Pointer(&w.vec))), vecLen: scanRanges,
			// Asking for present pages too keeps pages without any content out.
			mask: pageIsWritten | pageIsPresent, returned: pageIsWritten | pageIsPresent,
		}
		n, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(w.pagemap), pagemapScan, uintptr(unsafe.Pointer(&w.arg)))
		if e != 0 {
			return os.NewSyscallError("PAGEMAP_SCAN", e)
		}
		for _, r := range w.vec[:n] {
			f(r.start-base, r.end-base)
		}
		if w.arg.walkEnd <= at {
			break
		}
		at = w.arg.walkEnd
	}
	runtime.KeepAlive(b)
	return nil
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// mapOver maps the file's bytes at an offset over b, private. All pages of b
// have to be of a mapping of our own and of nothing else.
func mapOver(b []byte, fd int, offset int64, prot int) error {
	_, err := unix.MmapPtr(fd, offset, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), prot, unix.MAP_PRIVATE|unix.MAP_FIXED)
	return os.NewSyscallError("mmap of the artifact", err)
}

// onPage tells whether b begins on a page.
func onPage(b []byte) bool { return address(b)%pageSize == 0 }
