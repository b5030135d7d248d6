// Package jail takes away from a carrel process, before it reads a byte of a
// tenant, everything that its work does not need.
//
// The process is started by sandbox/jail/spawner in user, mount, pid, network,
// ipc and uts namespaces of its own (see SysProcAttr). Then
//
//	Open     its own part: what has to be opened while /proc is still there
//	         (userfaultfd, /proc/self/pagemap) and a WebAssembly runtime
//	Enter    empty read-only root, rlimits, no_new_privs, not dumpable,
//	         landlock, no capabilities, first system call filter
//	load     a tenant's module; executable mappings are still possible
//	LockDown second filter: no executable mapping, no new descriptor, no
//	         change of the process's own security state, for good
//	serve    a tenant's events
//
// The order inside Enter is the one that works: landlock before the mounts
// makes mounting fail, /proc is out of reach after pivot_root, capabilities
// are needed by both. Capabilities, no_new_privs and landlock belong to a
// thread and Go has several from the start, so these calls are made on all.
//
// Both filters kill the process (SECCOMP_RET_KILL_PROCESS): a system call
// that is not on the list means that somebody else's code is running.
//
// A step that fails is an error that names the step and what to do about it;
// nothing is silently left out. Landlock alone is optional, since an empty
// root leaves nothing for it to guard: Report says whether it is on.
package jail
