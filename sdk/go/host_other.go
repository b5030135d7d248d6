//go:build !wasip1

package carrel

// hostCall is for programs that are no function: there is no host.
func hostCall(uint32, []byte) ([]byte, error) { return nil, ErrNoHost }

func tell(uint32, []byte) error { return ErrNoHost }
