//go:build linux

package jail

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/jail/jailtest"
)

// attempts is what a child can try. Each gives the error number, 0 for
// success; inventories give what they found.
var attempts = collect()

func collect() map[string]func(before) (syscall.Errno, []string) {
	all := map[string]func(before) (syscall.Errno, []string){
		"nothing":    func(before) (syscall.Errno, []string) { return 0, nil },
		"inventory":  inventory,
		"namespaces": func(b before) (syscall.Errno, []string) { return 0, b.namespaces },
		"exec and look": func(before) (syscall.Errno, []string) {
			return errnoOf(syscall.Exec("/proc/self/exe", []string{"x", "capabilities"}, nil)), nil
		},
	}
	for _, table := range []map[string]func(before) syscall.Errno{attacks(), lateAttacks(), everydayWork(), layerAttacks()} {
		for name, f := range table {
			all[name] = func(b before) (syscall.Errno, []string) { return f(b), nil }
		}
	}
	for name, f := range bombs {
		all["bomb: "+name] = func(before) (syscall.Errno, []string) { f(); return 0, nil }
	}
	return all
}

// call makes a system call without Go's bookkeeping, as an intruder does.
func call(number uintptr, args ...uintptr) func(before) syscall.Errno {
	return func(before) syscall.Errno {
		var a [6]uintptr
		copy(a[:], args)
		_, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		return errno
	}
}

func path(s string) uintptr { return jailtest.Pointer(append([]byte(s), 0)) }

// attacks are what nobody in the jail may do, from Enter on.
func attacks() map[string]func(before) syscall.Errno {
	all := abiAttacks()
	for _, table := range []map[string]func(before) syscall.Errno{fileAttacks(), socketAttacks(), processAttacks(), kernelAttacks()} {
		maps.Copy(all, table)
	}
	return all
}

const page = 4096

// fileAttacks reach for files and mounts.
func fileAttacks() map[string]func(before) syscall.Errno {
	at := ^uintptr(99) // AT_FDCWD
	return map[string]func(before) syscall.Errno{
		"open a file":              call(unix.SYS_OPENAT, at, path("/etc/passwd"), unix.O_RDONLY),
		"create a file":            call(unix.SYS_OPENAT, at, path("/tmp/x"), unix.O_CREAT|unix.O_WRONLY, 0o600),
		"open by handle":           call(unix.SYS_OPEN_BY_HANDLE_AT, at, 0, 0),
		"list the root":            call(unix.SYS_OPENAT, at, path("/"), unix.O_DIRECTORY),
		"make a folder":            call(unix.SYS_MKDIRAT, at, path("/x"), 0o700),
		"inotify":                  call(unix.SYS_INOTIFY_INIT1, 0),
		"memory file":              call(unix.SYS_MEMFD_CREATE, path("x"), 0),
		"secret memory":            call(unix.SYS_MEMFD_SECRET, 0),
		"mount":                    call(unix.SYS_MOUNT, path("x"), path("/"), path("tmpfs"), 0, 0),
		"unmount":                  call(unix.SYS_UMOUNT2, path("/"), unix.MNT_DETACH),
		"pivot root":               call(unix.SYS_PIVOT_ROOT, path("/"), path("/")),
		"change root":              call(unix.SYS_CHROOT, path("/")),
		"duplicate a descriptor":   call(unix.SYS_DUP, Socket),
		"push input to a terminal": call(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0),
		"copy by userfaultfd":      call(unix.SYS_IOCTL, 0, 0xc028aa03, 0),
	}
}

// socketAttacks reach for sockets, and for what else processes talk through.
func socketAttacks() map[string]func(before) syscall.Errno {
	return map[string]func(before) syscall.Errno{
		"inet socket":             call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM),
		"unix socket":             call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM),
		"netlink socket":          call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW),
		"connect":                 call(unix.SYS_CONNECT, Socket, 0, 0),
		"accept":                  call(unix.SYS_ACCEPT4, Socket, 0, 0, 0),
		"read another descriptor": call(unix.SYS_RECVFROM, 4, 0, 0, 0, 0, 0),
		"send elsewhere":          call(unix.SYS_SENDMSG, 4, 0, 0),
		"shared memory":           call(unix.SYS_SHMGET, 0, page, 0o1600),
		"message queue":           call(unix.SYS_MQ_OPEN, path("x"), unix.O_CREAT, 0o600, 0),
		"semaphore":               call(unix.SYS_SEMGET, 0, 1, 0o1600),
		"epoll":                   call(unix.SYS_EPOLL_CREATE1, 0),
		"event descriptor":        call(unix.SYS_EVENTFD2, 0, 0),
		"timer":                   call(unix.SYS_TIMER_CREATE, 0, 0, 0),
		"timer descriptor":        call(unix.SYS_TIMERFD_CREATE, 0, 0),
	}
}

// processAttacks reach for other processes, identities and namespaces.
func processAttacks() map[string]func(before) syscall.Errno {
	return map[string]func(before) syscall.Errno{
		"fork":                    forkByClone,
		"clone3":                  call(unix.SYS_CLONE3, 0, 0),
		"thread in a user ns":     call(unix.SYS_CLONE, goThreadFlags|unix.CLONE_NEWUSER),
		"clone with a high flag":  call(unix.SYS_CLONE, 1<<32|goThreadFlags),
		"exec":                    call(unix.SYS_EXECVE, path("/proc/self/exe"), 0, 0),
		"exec a descriptor":       call(unix.SYS_EXECVEAT, 0, path(""), 0, 0, unix.AT_EMPTY_PATH),
		"trace me":                call(unix.SYS_PTRACE, unix.PTRACE_TRACEME),
		"read another's memory":   call(unix.SYS_PROCESS_VM_READV, 1, 0, 0, 0, 0, 0),
		"write another's memory":  call(unix.SYS_PROCESS_VM_WRITEV, 1, 0, 0, 0, 0, 0),
		"advise another's memory": call(unix.SYS_PROCESS_MADVISE, 1, 0, 0, 0, 0),
		"unshare":                 call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
		"enter a namespace":       call(unix.SYS_SETNS, Socket, 0),
		"kill":                    call(unix.SYS_KILL, 1, 0),
		"kill everybody":          call(unix.SYS_KILL, ^uintptr(0), 0),
		"pidfd":                   call(unix.SYS_PIDFD_OPEN, 1, 0),
		"signal by pidfd":         call(unix.SYS_PIDFD_SEND_SIGNAL, 0, 9, 0, 0),
		"take a descriptor":       call(unix.SYS_PIDFD_GETFD, 0, 0, 0),
		"set user":                call(unix.SYS_SETUID, 0),
		"set group":               call(unix.SYS_SETGID, 0),
		"set groups":              call(unix.SYS_SETGROUPS, 0, 0),
		"set capabilities":        call(unix.SYS_CAPSET, 0, 0),
		"raise a limit":           call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_DATA, 0, 0),
		"become dumpable":         call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1),
		"survive the parent":      call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0),
		"strict filter":           call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_STRICT, 0, 0),
		"prctl but for a name":    call(unix.SYS_PRCTL, unix.PR_GET_DUMPABLE),
		"another kind of label":   call(unix.SYS_PRCTL, unix.PR_SET_VMA, 1),
	}
}

// kernelAttacks reach for rarely used parts of the kernel, and for code.
func kernelAttacks() map[string]func(before) syscall.Errno {
	return map[string]func(before) syscall.Errno{
		"io_uring":               call(unix.SYS_IO_URING_SETUP, 1, 0),
		"bpf":                    call(unix.SYS_BPF, 0, 0, 0),
		"userfaultfd":            call(unix.SYS_USERFAULTFD, 1),
		"keyctl":                 call(unix.SYS_KEYCTL, 0, 0, 0),
		"add a key":              call(unix.SYS_ADD_KEY, 0, 0, 0, 0, 0),
		"perf":                   call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0),
		"personality":            call(unix.SYS_PERSONALITY, 0xffffffff),
		"kernel log":             call(unix.SYS_SYSLOG, 10, 0, 0),
		"load a module":          call(unix.SYS_FINIT_MODULE, 0, 0, 0),
		"reboot":                 call(unix.SYS_REBOOT, 0, 0, 0, 0),
		"set the clock":          call(unix.SYS_CLOCK_SETTIME, 0, 0),
		"share equal pages":      call(unix.SYS_MADVISE, 0, 0, unix.MADV_MERGEABLE),
		"poison a page":          call(unix.SYS_MADVISE, 0, 0, unix.MADV_HWPOISON),
		"writable code":          call(unix.SYS_MMAP, 0, page, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE, ^uintptr(0), 0),
		"code by protection key": call(unix.SYS_PKEY_MPROTECT, 0, page, unix.PROT_EXEC, 0),
		"move a mapping":         call(unix.SYS_MREMAP, 0, 0, 0, 0),
		"no such call":           call(9999),
		"negative call":          call(^uintptr(0)),
	}
}

// abiAttacks make calls in the other ABIs of the architecture.
func abiAttacks() map[string]func(before) syscall.Errno {
	if runtime.GOARCH != "amd64" {
		return map[string]func(before) syscall.Errno{}
	}
	return map[string]func(before) syscall.Errno{
		"x32 call": call(x32Bit | unix.SYS_GETPID),
		"i386 call": func(before) syscall.Errno {
			const getpid = 20
			if r := int32(jailtest.Int80(getpid)); r < 0 {
				return syscall.Errno(-r)
			}
			return 0
		},
	}
}

// lateAttacks are what LockDown takes away.
func lateAttacks() map[string]func(before) syscall.Errno {
	return map[string]func(before) syscall.Errno{
		"map code":             call(unix.SYS_MMAP, 0, page, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE, ^uintptr(0), 0),
		"make memory code":     protectAsCode,
		"receive a descriptor": call(unix.SYS_RECVMSG, Socket, 0, unix.MSG_DONTWAIT),
		"send a descriptor":    call(unix.SYS_SENDMSG, Socket, 0, 0),
		"load another filter":  call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0),
		"look at a descriptor": call(unix.SYS_FSTAT, Socket, jailtest.Pointer(make([]byte, 256))),
	}
}

// forkByClone is what fork is on every architecture.
func forkByClone(before) syscall.Errno {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return errno
}

func protectAsCode(before) syscall.Errno {
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err.(syscall.Errno)
	}
	if err := unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return err.(syscall.Errno)
	}
	return 0
}

// everydayWork is what a worker does after LockDown; all of it has to work.
func everydayWork() map[string]func(before) syscall.Errno {
	return map[string]func(before) syscall.Errno{
		"allocate and collect": func(before) syscall.Errno {
			var keep [64][]byte
			for i := range 4096 {
				keep[i%64] = make([]byte, 64<<10)
			}
			runtime.GC()
			runtime.KeepAlive(&keep)
			return 0
		},
		"recover from a fault": func(before) (result syscall.Errno) {
			defer func() {
				if recover() == nil {
					result = syscall.EINVAL
				}
			}()
			var p *before
			return syscall.Errno(p.pid)
		},
		"preempt a spinner": preemptSpinner,
		"many threads":      manyThreads,
		"sleep": func(before) syscall.Errno {
			time.Sleep(3 * time.Millisecond) //lint:allow sleep sleeping in the jail is what is tested
			return 0
		},
		"map and give back":   mapAndGiveBack,
		"poll the socket":     pollSocket,
		"find written pages":  findWrittenPages,
		"draw random bytes":   drawRandom,
		"read the CPU clock":  func(before) syscall.Errno { return readCPUClock() },
		"write without event": func(before) syscall.Errno { _, err := unix.Write(2, []byte("x")); return errnoOf(err) },
		"read without waiting": func(before) syscall.Errno {
			_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, Socket, jailtest.Pointer(make([]byte, 1)), 1, unix.MSG_DONTWAIT, 0, 0)
			if errno == syscall.EAGAIN {
				errno = 0
			}
			return errno
		},
	}
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EINVAL
}

func preemptSpinner(before) syscall.Errno {
	stop := make(chan struct{})
	go func() {
		for range 3 {
			runtime.GC()
		}
		close(stop)
	}()
	for n := 0; ; n++ {
		if n%1_000_000 == 0 {
			select {
			case <-stop:
				return 0
			default:
			}
		}
	}
}

func manyThreads(before) syscall.Errno {
	const threads = 16
	done := make(chan int)
	for range threads {
		go func() {
			runtime.LockOSThread()       // never unlocked: the thread ends too
			time.Sleep(time.Millisecond) //lint:allow sleep the threads have to be there at the same time
			done <- 1
		}()
	}
	for range threads {
		<-done
	}
	return 0
}

func mapAndGiveBack(before) syscall.Errno {
	b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err == nil {
		err = unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE)
	}
	if err == nil {
		b[0] = 1
		err = unix.Madvise(b, unix.MADV_DONTNEED)
	}
	if err == nil {
		err = unix.Munmap(b)
	}
	return errnoOf(err)
}

func pollSocket(before) syscall.Errno {
	p := []unix.PollFd{{Fd: Socket, Events: unix.POLLOUT}}
	_, err := unix.Ppoll(p, &unix.Timespec{Nsec: 1}, nil)
	return errnoOf(err)
}

func findWrittenPages(b before) syscall.Errno {
	if b.uffd < 0 {
		return syscall.ENOSYS
	}
	if err := jailtest.FindWritten(b.uffd, b.pagemap); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return syscall.EINVAL
	}
	return 0
}

// reach connects to the port that the test has told.
func reach(kind int) syscall.Errno {
	s, err := unix.Socket(unix.AF_INET, kind, 0)
	if err != nil {
		return errnoOf(err)
	}
	var port int
	if _, err := fmt.Sscan(os.Getenv("PORT"), &port); err != nil { //lint:allow getenv how the test tells its child
		return syscall.EINVAL
	}
	return errnoOf(unix.Connect(s, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
}

func drawRandom(before) syscall.Errno {
	_, err := unix.Getrandom(make([]byte, 32), 0)
	return errnoOf(err)
}

func readCPUClock() syscall.Errno {
	var t unix.Timespec
	return errnoOf(unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t))
}

// bombs exhaust something that has a limit; Go's runtime ends then.
var bombs = map[string]func(){
	"memory": func() {
		var keep [][]byte
		for {
			keep = append(keep, make([]byte, 1<<30))
		}
	},
	"threads": func() {
		for range 2000 {
			go func() {
				runtime.LockOSThread()
				select {}
			}()
			runtime.Gosched()
		}
		select {}
	},
}

// inventory lists the descriptors, environment, arguments and users that a
// jailed process can see.
func inventory(before) (syscall.Errno, []string) {
	var found []string
	for fd := range 1024 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			found = append(found, fmt.Sprintf("descriptor %d", fd))
		}
	}
	for _, e := range os.Environ() {
		found = append(found, "environment "+e)
	}
	return 0, found
}

// layerAttacks are tried without the filters, to see that the other layers
// hold alone. The argument of each is in the environment of the child.
func layerAttacks() map[string]func(before) syscall.Errno {
	return map[string]func(before) syscall.Errno{
		"layer: read a file of the host": func(before) syscall.Errno {
			_, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
			return errnoOf(err)
		},
		"layer: see processes": func(before) syscall.Errno {
			_, err := unix.Open("/proc/self/status", unix.O_RDONLY, 0)
			return errnoOf(err)
		},
		"layer: write to the root": func(before) syscall.Errno {
			_, err := unix.Open("/x", unix.O_CREAT|unix.O_WRONLY, 0o600)
			return errnoOf(err)
		},
		"layer: climb out": func(before) syscall.Errno {
			_, err := unix.Open("/../../etc/passwd", unix.O_RDONLY, 0)
			return errnoOf(err)
		},
		"layer: reach the host's network": func(before) syscall.Errno {
			return reach(unix.SOCK_STREAM)
		},
		// Landlock knows TCP only: this one is the network namespace's alone.
		"layer: reach it by datagram": func(before) syscall.Errno { return reach(unix.SOCK_DGRAM) },
		"layer: signal the host": func(before) syscall.Errno {
			var pid int
			if _, err := fmt.Sscan(os.Getenv("PID"), &pid); err != nil { //lint:allow getenv how the test tells its child
				return syscall.EINVAL
			}
			return errnoOf(unix.Kill(pid, 0))
		},
		"layer: mount": func(before) syscall.Errno {
			return errnoOf(unix.Mount("x", "/", "tmpfs", 0, ""))
		},
		"layer: change the host's name": func(before) syscall.Errno {
			return errnoOf(unix.Sethostname([]byte("x")))
		},
		"layer: attach to the first process": func(before) syscall.Errno {
			return errnoOf(unix.PtraceAttach(1))
		},
	}
}
