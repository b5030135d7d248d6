package jail

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	hasX32    = true

	archThreadFlags = unix.CLONE_SETTLS // added by runtime.clone
)

// archCalls are harmless calls that exist on this architecture only.
func archCalls() []rule { return plain(unix.SYS_POLL) }
