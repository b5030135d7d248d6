//go:build linux && !amd64

package jailtest

// Int80 does not exist on this architecture; it answers ENOSYS.
func Int80(uint32) uint32 { return ^uint32(37) }
