//go:build linux

package jail

import "syscall"

// Identity says as whom a jailed process runs on the host.
type Identity struct {
	// UID and GID are the host's ids behind user and group 0 inside.
	UID, GID int
	// Foreign is set where these are not the starting process's own, which
	// takes CAP_SETUID and CAP_SETGID.
	Foreign bool
}

// SysProcAttr gives the attributes with which a process that will call Enter
// has to be started: six namespaces of its own, one user id mapped, and death
// with the thread that started it. The caller therefore has to stay on a
// locked thread for as long as its children shall live.
func SysProcAttr(id Identity) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: id.UID, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: id.GID, Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
		Setsid:      true,
	}
	if id.Foreign {
		// Without this the process keeps user id 0 of the host, unmapped, and
		// the supplementary groups of its parent.
		attr.Credential = &syscall.Credential{Uid: 0, Gid: 0}
		attr.GidMappingsEnableSetgroups = true
	}
	return attr
}
