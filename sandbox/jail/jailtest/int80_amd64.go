//go:build linux

package jailtest

// Int80 makes a system call without arguments through the 32-bit gate, as an
// i386 program does, and gives what the kernel left in the result register.
func Int80(number uint32) uint32
