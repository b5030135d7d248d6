//go:build linux

package worker

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is how long a worker waits for frames without telling Go's
// scheduler. Under load the next frames come within microseconds, and telling
// it costs several wake-ups of its monitor for each batch; an idle worker
// goes on to wait as any program does, and costs nothing.
const patience = 2 * time.Millisecond

// receiveSoon receives from the node's socket if something comes soon;
// EAGAIN if nothing did. The process has one goroutine, so nothing else
// stands still meanwhile.
func receiveSoon(room []byte) (int, error) {
	n, err := receiveNow(room)
	if err != unix.EAGAIN {
		return n, err
	}
	if !readySoon(patience) {
		return 0, unix.EAGAIN
	}
	return receiveNow(room)
}

// readySoon tells whether the node sends something within so long.
func readySoon(most time.Duration) bool {
	wait := unix.NsecToTimespec(int64(most))
	ready := unix.PollFd{Fd: Socket, Events: unix.POLLIN}
	_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&ready)), 1, uintptr(unsafe.Pointer(&wait)), 0, 0, 0)
	return errno == 0 && ready.Revents != 0
}

// receiveNow receives what is there; EAGAIN if nothing is.
func receiveNow(room []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, Socket, uintptr(unsafe.Pointer(unsafe.SliceData(room))), uintptr(len(room)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
