//go:build linux

package spawner

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime gives the CPU time that a living process has used, all threads,
// without any privilege over it: the kernel has a clock for every process
// (clock_getcpuclockid(3); the id is the complement of the pid, shifted by
// three, with the scheduler's clock, 2, in the low bits).
func CPUTime(pid int) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("spawner: CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
