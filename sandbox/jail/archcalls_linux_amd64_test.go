package jail

import "golang.org/x/sys/unix"

var wantArch = []uint32{unix.SYS_POLL}
