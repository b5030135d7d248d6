//go:build linux

package jail

import (
	"encoding/json"

	"golang.org/x/sys/unix"
)

// Probed is what Probe tells over its socket.
type Probed struct {
	// Report is what Enter gave.
	Report Report `json:"report"`
	// Error is why the jail cannot be made on this host, with the remedy; empty if it can.
	Error string `json:"error,omitempty"`
}

// Probe goes through the whole jail of a worker, both filters, and writes
// what it found to its socket, as JSON. It is all that `carrel-worker probe`
// does; the result is its exit code.
func Probe() int {
	var p Probed
	report, err := Enter(Worker())
	if err == nil {
		err = LockDown(Worker())
	}
	p.Report = report
	if err != nil {
		p.Error = err.Error()
	}
	b, err := json.Marshal(p)
	if err != nil {
		return 1
	}
	if _, err := unix.Write(Socket, b); err != nil {
		return 1
	}
	return 0
}
