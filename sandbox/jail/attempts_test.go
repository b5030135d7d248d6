//go:build linux

package jail

import (
	"syscall"
)

var attempts = map[string]func(before) (syscall.Errno, []string){
	"nothing": func(before) (syscall.Errno, []string) { return 0, nil },
}
