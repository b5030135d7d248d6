//go:build linux

package jail

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// wantAlways and wantSome are the system calls that each filter lets through,
// whatever their arguments and for some arguments. Everything else, in every
// ABI, kills. This list is written by hand, apart from the rules: a change of
// a rule has to be made here too, and be seen in a review.
var (
	wantRuntime = []uint32{
		unix.SYS_CLOSE, unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_TGKILL, unix.SYS_GETPID,
		unix.SYS_GETTID, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
		unix.SYS_CLOCK_GETTIME, unix.SYS_GETRANDOM, unix.SYS_PPOLL, unix.SYS_EPOLL_PWAIT, unix.SYS_EXIT,
		unix.SYS_EXIT_GROUP, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_MUNMAP,
	}
	wantFiles  = []uint32{unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_LSEEK, unix.SYS_FTRUNCATE}
	wantServe  = []uint32{unix.SYS_CLONE, unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_IOCTL, unix.SYS_PRCTL, unix.SYS_RECVFROM}
	wantLoad   = []uint32{unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_SECCOMP}
	wantAlways = map[string][]uint32{
		"worker enter":      slices.Concat(wantRuntime, []uint32{unix.SYS_FSTAT}, wantArch),
		"worker lock-down":  slices.Concat(wantRuntime, wantArch),
		"compile enter":     slices.Concat(wantRuntime, []uint32{unix.SYS_FSTAT}, wantFiles, wantArch),
		"compile lock-down": slices.Concat(wantRuntime, wantFiles, wantArch),
	}
	wantSome = map[string][]uint32{
		"worker enter":      slices.Concat(wantServe, wantLoad),
		"worker lock-down":  wantServe,
		"compile enter":     slices.Concat(wantServe, wantLoad),
		"compile lock-down": wantServe,
	}
)

func programs() map[string][]bpf.Instruction {
	return map[string][]bpf.Instruction{
		"worker enter":      assemble(Worker().enter),
		"worker lock-down":  assemble(Worker().lockDown),
		"compile enter":     assemble(Compile().enter),
		"compile lock-down": assemble(Compile().lockDown),
	}
}

// sample holds arguments that the conditions tell apart.
var sample = func() [][6]uint64 {
	values := []uint64{
		0, 1, 2, 3, 4, 5, 6, 7, 1 << 32, 3 | 1<<32, 4 | 1<<32, goThreadFlags, goThreadFlags | 1<<32, goThreadFlags | unix.CLONE_NEWUSER,
		uint64(unix.SIGCHLD), unix.PR_SET_VMA, unix.PR_SET_DUMPABLE, pagemapScan, uffdioRegister, uffdioUnregister, uffdioProtect,
		unix.MADV_FREE, unix.MADV_WILLNEED, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_COLLAPSE,
		unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE, unix.MADV_MERGEABLE, unix.MADV_HWPOISON,
		0xc018aa3f, 0xc028aa03, unix.TIOCSTI, ^uint64(0),
	}
	var all [][6]uint64
	for _, v := range values {
		// one argument at a time, and the pairs that prctl tells apart
		all = append(all, [6]uint64{v}, [6]uint64{v, 1}, [6]uint64{v, 1 << 32}, [6]uint64{0, v}, [6]uint64{0, 0, v})
	}
	return all
}()

// packet lays out struct seccomp_data for an interpreter that reads words as
// big-endian; the kernel's are in the order of the machine.
func packet(arch, number uint32, args [6]uint64) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b[offNumber:], number)
	binary.BigEndian.PutUint32(b[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(b[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(b[offArgs+8*i+4:], uint32(a>>32))
	}
	return b
}

// TestStaticProbe evaluates the filters for every number from 0 to 600 in
// three ABIs.
func TestStaticProbe(t *testing.T) {
	for name, prog := range programs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vm, err := bpf.NewVM(prog)
			if err != nil {
				t.Fatal(err)
			}
			var always, some []uint32
			for number := range uint32(601) {
				switch allowed := probe(t, vm, auditArch, number); allowed {
				case 0:
				case len(sample):
					always = append(always, number)
				default:
					some = append(some, number)
				}
				for abi, n := range otherABIs(t, vm, number) {
					if n != 0 {
						t.Errorf("%s: number %d gets through", abi, number)
					}
				}
			}
			compare(t, "always", always, wantAlways[name])
			compare(t, "some", some, wantSome[name])
		})
	}
}

func otherABIs(t *testing.T, vm *bpf.VM, number uint32) map[string]int {
	result := map[string]int{"i386": probe(t, vm, unix.AUDIT_ARCH_I386, number), "arm": probe(t, vm, unix.AUDIT_ARCH_ARM, number)}
	if hasX32 {
		result["x32"] = probe(t, vm, auditArch, number|x32Bit)
	}
	return result
}

// probe counts the samples with which a number is allowed.
func probe(t *testing.T, vm *bpf.VM, arch, number uint32) int {
	t.Helper()
	allowed := 0
	for _, args := range sample {
		verdict, err := vm.Run(packet(arch, number, args))
		if err != nil {
			t.Fatal(err)
		}
		switch uint32(verdict) {
		case unix.SECCOMP_RET_ALLOW:
			allowed++
		case unix.SECCOMP_RET_KILL_PROCESS:
		default:
			t.Fatalf("verdict %#x for %d", verdict, number)
		}
	}
	return allowed
}

func compare(t *testing.T, what string, got, want []uint32) {
	t.Helper()
	want = slices.Compact(slices.Sorted(slices.Values(want)))
	if !slices.Equal(got, want) {
		t.Errorf("allowed for %s arguments: %v, want %v", what, got, want)
	}
}

// TestConditions states for each conditional call which arguments pass.
func TestConditions(t *testing.T) {
	for _, c := range []struct {
		program string
		number  uint32
		args    [6]uint64
		allowed bool
	}{
		{"worker lock-down", unix.SYS_CLONE, [6]uint64{goThreadFlags}, true},
		{"worker lock-down", unix.SYS_CLONE, [6]uint64{goThreadFlags | 1<<32}, false},
		{"worker lock-down", unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}, false},
		{"worker lock-down", unix.SYS_MMAP, [6]uint64{0, page, unix.PROT_READ | unix.PROT_WRITE}, true},
		{"worker lock-down", unix.SYS_MMAP, [6]uint64{0, page, unix.PROT_EXEC}, false},
		{"worker enter", unix.SYS_MMAP, [6]uint64{0, page, unix.PROT_READ | unix.PROT_EXEC}, true},
		{"worker enter", unix.SYS_MMAP, [6]uint64{0, page, unix.PROT_WRITE | unix.PROT_EXEC}, false},
		{"worker enter", unix.SYS_MPROTECT, [6]uint64{0, page, unix.PROT_WRITE | unix.PROT_EXEC | unix.PROT_READ}, false},
		{"compile lock-down", unix.SYS_MPROTECT, [6]uint64{0, page, unix.PROT_EXEC | unix.PROT_READ}, true},
		{"worker lock-down", unix.SYS_MADVISE, [6]uint64{0, page, unix.MADV_DONTNEED}, true},
		{"worker lock-down", unix.SYS_MADVISE, [6]uint64{0, page, unix.MADV_MERGEABLE}, false},
		{"worker lock-down", unix.SYS_IOCTL, [6]uint64{5, pagemapScan}, true},
		{"worker lock-down", unix.SYS_IOCTL, [6]uint64{5, unix.TIOCSTI}, false},
		{"worker lock-down", unix.SYS_IOCTL, [6]uint64{5, unix.TIOCSTI | 1<<32}, false},
		{"worker enter", unix.SYS_RECVMSG, [6]uint64{Socket}, true},
		{"worker enter", unix.SYS_RECVMSG, [6]uint64{Socket + 1}, false},
		{"worker lock-down", unix.SYS_RECVMSG, [6]uint64{Socket}, false},
		{"worker lock-down", unix.SYS_PRCTL, [6]uint64{unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME}, true},
		{"worker lock-down", unix.SYS_PRCTL, [6]uint64{unix.PR_SET_VMA, 1 << 32}, false},
		{"worker lock-down", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_FILTER}, false},
		{"worker enter", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_FILTER}, true},
		{"worker enter", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_STRICT}, false},
	} {
		vm, err := bpf.NewVM(programs()[c.program])
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := vm.Run(packet(auditArch, c.number, c.args))
		if err != nil || (uint32(verdict) == unix.SECCOMP_RET_ALLOW) != c.allowed {
			t.Errorf("%s: call %d with %#x: %#x, %v; want allowed %v", c.program, c.number, c.args, verdict, err, c.allowed)
		}
	}
}

// TestEveryInstructionIsReached runs the filters in an interpreter of our own
// that notes where it was: no dead instruction, no jump that lands wrong; and
// it agrees with the other interpreter.
func TestEveryInstructionIsReached(t *testing.T) {
	for name, prog := range programs() {
		vm, err := bpf.NewVM(prog)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int]bool{}
		for _, arch := range []uint32{auditArch, unix.AUDIT_ARCH_I386} {
			for _, number := range append(slices.Collect(maps.Keys(numbers(name))), 600, x32Bit, ^uint32(0)) {
				for _, args := range sample {
					p := packet(arch, number, args)
					want, err := vm.Run(p)
					if got := interpret(t, prog, p, seen); err != nil || got != uint32(want) {
						t.Fatalf("%s: call %d with %#x: %#x and %#x, %v", name, number, args, got, want, err)
					}
				}
			}
		}
		var missed []string
		for i, in := range prog {
			if !seen[i] {
				missed = append(missed, fmt.Sprintf("%d %v", i, in))
			}
		}
		if len(missed) > 0 {
			t.Errorf("%s: never reached: %s", name, strings.Join(missed, "; "))
		}
	}
}

func numbers(program string) map[uint32]bool {
	all := map[uint32]bool{}
	for _, n := range slices.Concat(wantAlways[program], wantSome[program]) {
		all[n] = true
	}
	return all
}

func interpret(t *testing.T, prog []bpf.Instruction, data []byte, seen map[int]bool) uint32 {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(prog); pc++ {
		seen[pc] = true
		switch in := prog[pc].(type) {
		case bpf.LoadAbsolute:
			a = binary.BigEndian.Uint32(data[in.Off:])
		case bpf.ALUOpConstant:
			a &= in.Val
		case bpf.JumpIf:
			holds := a == in.Val
			if in.Cond == bpf.JumpGreaterOrEqual {
				holds = a >= in.Val
			}
			if holds {
				pc += int(in.SkipTrue)
			} else {
				pc += int(in.SkipFalse)
			}
		case bpf.RetConstant:
			return in.Val
		default:
			t.Fatalf("instruction %d: %v", pc, in)
		}
	}
	t.Fatal("the program ran past its end")
	return 0
}
