//go:build linux

package jail

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (linux/seccomp.h), which is what a filter
// sees: number, architecture, instruction pointer, six arguments of 64 bits.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// x32Bit marks a system call of the x32 ABI, which shares its audit
// architecture with amd64 (asm/unistd.h, __X32_SYSCALL_BIT).
const x32Bit = 0x40000000

// goThreadFlags are the flags with which Go's runtime starts a thread
// (runtime/os_linux.go, cloneFlags, and runtime.clone of the architecture).
// With others clone makes a process, or a thread in other namespaces.
const goThreadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD | archThreadFlags

// condition is a demand on one argument. Arguments that the kernel itself
// reads as 32 bits are compared by their low half only; wide ones by both.
type condition struct {
	arg   int
	wide  bool
	mask  uint32 // 0 compares the whole value
	among []uint32
}

// rule allows one system call, if every condition holds.
type rule struct {
	number uintptr
	when   []condition
}

func plain(numbers ...uintptr) []rule {
	rules := make([]rule, len(numbers))
	for i, n := range numbers {
		rules[i] = rule{number: n}
	}
	return rules
}

func join(sets ...[]rule) []rule {
	var all []rule
	for _, s := range sets {
		all = append(all, s...)
	}
	return all
}

// onSocket holds a call to the one descriptor that a jailed process inherits.
func onSocket(number uintptr) rule {
	return rule{number, []condition{{arg: 0, among: []uint32{Socket}}}}
}

// assemble makes the program that allows exactly the rules and kills the
// process for everything else. Each rule is a block that ends in a return, so
// a block never relies on what another left in the accumulator.
func assemble(rules []rule) []bpf.Instruction {
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		kill,
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	if hasX32 {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32Bit, SkipFalse: 1}, kill)
	}
	for _, r := range rules {
		block := assembleRule(r)
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(r.number), SkipFalse: uint8(len(block))})
		prog = append(prog, block...)
	}
	return append(prog, kill)
}

var (
	kill  = bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}
	allow = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
)

func assembleRule(r rule) []bpf.Instruction {
	var block []bpf.Instruction
	for _, c := range r.when {
		if c.wide {
			block = append(block,
				bpf.LoadAbsolute{Off: argOffset(c.arg) + 4, Size: 4},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
				kill)
		}
		block = append(block, bpf.LoadAbsolute{Off: argOffset(c.arg), Size: 4})
		if c.mask != 0 {
			block = append(block, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask})
		}
		for i, v := range c.among {
			block = append(block, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(c.among) - i)})
		}
		block = append(block, kill)
	}
	return append(block, allow)
}

// argOffset gives where the low half of an argument is; both architectures
// that the package is built for are little-endian.
func argOffset(arg int) uint32 { return uint32(offArgs + 8*arg) }
