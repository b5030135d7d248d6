//go:build !linux

package schema

import "time"

var started = time.Now()

// threadTime is the time of the clock on the wall, where no other is to be had:
// nodes run on Linux only.
func threadTime() time.Duration { return time.Since(started) }
