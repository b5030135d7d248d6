//go:build linux

package jail

import "golang.org/x/sys/unix"

// Socket is the descriptor of the one socket that a jailed process inherits.
const Socket = 3

// Commands of ioctl(2) for restoring memory, from linux/fs.h and
// linux/userfaultfd.h; the encodings are the same on amd64 and arm64.
const (
	pagemapScan      = 0xc0606610
	uffdioRegister   = 0xc020aa00
	uffdioUnregister = 0x8010aa01
	uffdioProtect    = 0xc018aa06
)

// Profile says what one kind of jailed process may still do.
type Profile struct {
	name     string
	limits   []limit
	enter    []rule
	lockDown []rule
}

// Name is the kind, as in a process listing: worker or compile.
func (p Profile) Name() string { return p.name }

type limit struct {
	resource int
	value    uint64
}

// Worker is the profile of a process that runs calls: after Enter it may map
// code that it has read from descriptors sent to it, after LockDown it may
// only compute, restore memory and use its socket.
func Worker() Profile {
	enter := join(hotCalls(), runtimeCalls(), archCalls(), passCalls(), loadCalls(), memoryCalls(noWriteExec))
	serve := join(hotCalls(), runtimeCalls(), archCalls(), memoryCalls(noExec), []rule{nameMapping})
	return Profile{
		name:     "worker",
		limits:   commonLimits(0, unix.RLIM_INFINITY),
		enter:    enter,
		lockDown: serve,
	}
}

// Compile is the profile of the one-shot process that compiles a module and
// makes its image. It reads and writes memory files that its parent sent it,
// and keeps executable mappings, since it runs what it has compiled. Its
// LockDown takes away the receiving of descriptors and further filters.
func Compile() Profile {
	files := plain(unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_LSEEK, unix.SYS_FTRUNCATE)
	enter := join(hotCalls(), runtimeCalls(), archCalls(), passCalls(), loadCalls(), memoryCalls(noWriteExec), files)
	work := join(hotCalls(), runtimeCalls(), archCalls(), memoryCalls(noWriteExec), files, []rule{nameMapping})
	return Profile{
		name:     "compile",
		limits:   commonLimits(compileFileBytes, compileCPUSeconds),
		enter:    enter,
		lockDown: work,
	}
}

const (
	// compileFileBytes bounds what a compile process writes into a memory
	// file: native code of a 64 MiB module with its image stays well below.
	compileFileBytes = 1 << 30
	// compileCPUSeconds ends a compile process that its parent forgot.
	compileCPUSeconds = 120
	// maxDescriptors is what a jailed process may have open: the standard
	// three, its socket, pagemap, userfaultfd and some memory files.
	maxDescriptors = 32
	// maxThreads bounds the threads of a jailed process; Go's runtime with
	// one processor uses four to ten.
	maxThreads = 64
)

// commonLimits are the rlimits that Enter sets, soft and hard. File size 0
// also loses what is written to standard error if that is a file, so the
// spawner gives a pipe. RLIMIT_DATA, the cap on memory, is set from outside.
func commonLimits(fileBytes, cpuSeconds uint64) []limit {
	return []limit{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_CPU, cpuSeconds},
		{unix.RLIMIT_FSIZE, fileBytes},
		{unix.RLIMIT_LOCKS, 0},
		{unix.RLIMIT_MEMLOCK, 0},
		{unix.RLIMIT_MSGQUEUE, 0},
		{unix.RLIMIT_NICE, 0},
		{unix.RLIMIT_NOFILE, maxDescriptors},
		{unix.RLIMIT_NPROC, maxThreads},
		{unix.RLIMIT_RTPRIO, 0},
		{unix.RLIMIT_SIGPENDING, maxThreads},
		{unix.RLIMIT_STACK, 8 << 20},
	}
}

// runtimeCalls is what Go's runtime uses while it runs, starts threads and
// preempts them. epoll_pwait waits for its timers, on the poller that Enter
// has it make; nothing can be added to that one. restart_syscall is made by
// the kernel itself when a sleeping call is interrupted, for instance by the
// freezer.
func runtimeCalls() []rule {
	return join(plain(
		unix.SYS_CLOSE, unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_TGKILL,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_SIGALTSTACK,
		unix.SYS_RESTART_SYSCALL, unix.SYS_CLOCK_GETTIME, unix.SYS_GETRANDOM, unix.SYS_PPOLL, unix.SYS_EPOLL_PWAIT,
		unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	), []rule{{unix.SYS_CLONE, []condition{{arg: 0, wide: true, among: []uint32{goThreadFlags}}}}})
}

// hotCalls are made for every call of a function, so they stand first: the
// kernel remembers which calls are allowed whatever their arguments, but runs
// the filters for those whose arguments matter.
func hotCalls() []rule {
	return join([]rule{
		onSocket(unix.SYS_RECVFROM),
		{unix.SYS_IOCTL, []condition{{arg: 1, among: []uint32{pagemapScan, uffdioProtect, uffdioRegister, uffdioUnregister}}}},
	}, plain(unix.SYS_READ, unix.SYS_WRITE))
}

// passCalls pass descriptors over the socket, until LockDown.
func passCalls() []rule { return []rule{onSocket(unix.SYS_RECVMSG), onSocket(unix.SYS_SENDMSG)} }

// loadCalls are needed only until LockDown: fstat for the size of a received
// file, seccomp and prctl for LockDown itself.
func loadCalls() []rule {
	return join(plain(unix.SYS_FSTAT), []rule{
		{unix.SYS_SECCOMP, []condition{{arg: 0, among: []uint32{unix.SECCOMP_SET_MODE_FILTER}}}},
		nameMapping,
	})
}

// nameMapping is the one prctl that Go's runtime makes when its heap grows
// (unless decoratemappings=0): it gives a mapping a name for /proc/PID/maps.
var nameMapping = rule{unix.SYS_PRCTL, []condition{
	{arg: 0, among: []uint32{unix.PR_SET_VMA}},
	{arg: 1, wide: true, among: []uint32{unix.PR_SET_VMA_ANON_NAME}},
}}

// noExec and noWriteExec are demands on the protection of a mapping, the
// third argument of mmap and mprotect.
var (
	noExec      = condition{arg: 2, mask: unix.PROT_EXEC, among: []uint32{0}}
	noWriteExec = condition{arg: 2, mask: unix.PROT_EXEC | unix.PROT_WRITE, among: []uint32{0, unix.PROT_EXEC, unix.PROT_WRITE}}
)

// memoryCalls also holds madvise to what Go's runtime and the restoring of
// memory use. Above all that leaves out MADV_MERGEABLE: pages that the kernel
// shares between processes tell one what another holds.
func memoryCalls(protection condition) []rule {
	advice := []uint32{
		unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_WILLNEED, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE,
		unix.MADV_COLLAPSE, unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE,
	}
	return join(plain(unix.SYS_MUNMAP), []rule{
		{unix.SYS_MADVISE, []condition{{arg: 2, among: advice}}},
		{unix.SYS_MMAP, []condition{protection}},
		{unix.SYS_MPROTECT, []condition{protection}},
	})
}
