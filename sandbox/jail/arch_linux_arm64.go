package jail

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	hasX32    = false

	archThreadFlags = 0
)

// archCalls are harmless calls that exist on this architecture only.
func archCalls() []rule { return nil }
