//go:build linux

package jailtest

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

var kept [][]byte

// Pointer gives the address of bytes for a raw system call; they are kept for
// as long as the process lives.
func Pointer(b []byte) uintptr {
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// Constants of linux/userfaultfd.h and linux/fs.h.
const (
	uffdAPI           = 0xaa
	uffdioAPI         = 0xc018aa3f
	uffdioRegister    = 0xc020aa00
	uffdioUnregister  = 0x8010aa01
	uffdioProtect     = 0xc018aa06
	pagemapScan       = 0xc0606610
	featureUnpopulate = 1 << 13 // UFFD_FEATURE_WP_UNPOPULATED
	featureAsync      = 1 << 15 // UFFD_FEATURE_WP_ASYNC
	modeProtect       = 1 << 1  // UFFDIO_REGISTER_MODE_WP
	doProtect         = 1 << 0  // UFFDIO_WRITEPROTECT_MODE_WP
	pageIsWritten     = 1 << 1  // PAGE_IS_WRITTEN
	scanProtects      = 1 << 0  // PM_SCAN_WP_MATCHING
	scanChecks        = 1 << 1  // PM_SCAN_CHECK_WPASYNC
	userModeOnly      = 1
)

// OpenUserfault opens a userfaultfd as a worker does: for faults of user mode
// only, with asynchronous write protection. False if the kernel has none.
func OpenUserfault() (int, bool) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|userModeOnly, 0, 0)
	if errno != 0 {
		return -1, false
	}
	api := struct{ api, features, ioctls uint64 }{api: uffdAPI, features: featureAsync | featureUnpopulate}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uffdioAPI, uintptr(unsafe.Pointer(&api))); errno != 0 {
		unix.Close(int(fd))
		return -1, false
	}
	return int(fd), true
}

// FindWritten write-protects fresh memory, writes to one page of it and asks
// the kernel which was written, as a worker does between two calls.
func FindWritten(uffd, pagemap int) error {
	const pages, written = 16, 5
	page := os.Getpagesize()
	b, err := unix.Mmap(-1, 0, pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	start := uint64(uintptr(unsafe.Pointer(&b[0])))
	length := uint64(len(b))
	register := struct{ start, length, mode, ioctls uint64 }{start, length, modeProtect, 0}
	if err := ioctl(uffd, uffdioRegister, unsafe.Pointer(&register)); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	protect := struct{ start, length, mode uint64 }{start, length, doProtect}
	if err := ioctl(uffd, uffdioProtect, unsafe.Pointer(&protect)); err != nil {
		return fmt.Errorf("protect: %w", err)
	}
	b[written*page] = 1
	regions := make([]struct{ start, end, categories uint64 }, 4)
	scan := struct {
		size, flags, start, end, walkEnd, vec, vecLen, max uint64
		inverted, mask, anyof, result                      uint64
	}{
		size: 96, flags: scanProtects | scanChecks, start: start, end: start + length,
		vec: uint64(uintptr(unsafe.Pointer(&regions[0]))), vecLen: 4, mask: pageIsWritten, result: pageIsWritten,
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pagemap), pagemapScan, uintptr(unsafe.Pointer(&scan)))
	runtime.KeepAlive(regions)
	if errno != 0 {
		return fmt.Errorf("scan: %w", errno)
	}
	if want := start + written*uint64(page); n != 1 || regions[0].start != want || regions[0].end != want+uint64(page) {
		return fmt.Errorf("scan found %d regions, %+v", n, regions[0])
	}
	unregister := struct{ start, length uint64 }{start, length}
	if err := ioctl(uffd, uffdioUnregister, unsafe.Pointer(&unregister)); err != nil {
		return fmt.Errorf("unregister: %w", err)
	}
	return unix.Munmap(b)
}

func ioctl(fd int, command uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), command, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
