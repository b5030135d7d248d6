package carrel

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
)

// room is what events are read into; it is grown for larger ones.
var room = make([]byte, 0, 4096)

var contextRoom [2048]byte

//go:wasmimport carrel_v1 context
func hostContext(ptr *byte, n uint32) uint32

//go:wasmimport carrel_v1 call
func carrelCall(op uint32, ptr *byte, n uint32) int32

//go:wasmimport carrel_v1 reply
func carrelReply(ptr *byte, n uint32) uint32

//go:wasmexport handle
func handle() int32 {
	event, err := readEvent()
	if err != nil {
		return fail("Runtime.EventUnreadable", err)
	}
	if handler == nil {
		return fail("Runtime.NoHandler", errNoHandler)
	}
	c := &Context{raw: readContext()}
	os.Setenv("CARREL_TENANT_ID", c.TenantID())
	os.Setenv("CARREL_REQUEST_ID", c.RequestID())
	result, err := handler(c, event)
	if err != nil {
		return fail(typeOf(err), err)
	}
	if err := writeAll(result); err != nil {
		return fail("Runtime.ResultUnwritable", err)
	}
	return 0
}

const errNoHandler = constError("no handler was set: call carrel.Handle in an init function")

// readEvent reads standard input to its end, without the runtime's poller.
func readEvent() ([]byte, error) {
	b := room[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, make([]byte, cap(b))...)[:len(b)]
		}
		n, err := syscall.Read(0, b[len(b):cap(b)])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return b, nil
		}
		b = b[:len(b)+n]
	}
}

func readContext() []byte {
	n := hostContext(&contextRoom[0], uint32(len(contextRoom)))
	if n <= uint32(len(contextRoom)) {
		return contextRoom[:n]
	}
	b := make([]byte, n)
	if hostContext(&b[0], n) != n {
		return nil
	}
	return b
}

// hostCall has the host do an operation. The request is not empty.
func hostCall(op uint32, request []byte) ([]byte, error) {
	n := carrelCall(op, &request[0], uint32(len(request)))
	if n <= 0 {
		return nil, HostError(n)
	}
	b := make([]byte, n)
	if carrelReply(&b[0], uint32(n)) != uint32(n) {
		return nil, errReply
	}
	return b, nil
}

// nothing is what an empty request points to.
var nothing [1]byte

// tell has the host do an operation that has no reply.
func tell(op uint32, request []byte) error {
	at := &nothing[0]
	if len(request) > 0 {
		at = &request[0]
	}
	if n := carrelCall(op, at, uint32(len(request))); n != 0 {
		return HostError(n)
	}
	return nil
}

func writeAll(b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Write(1, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// fail writes the error as the object Lambda's callers know.
func fail(kind string, err error) int32 {
	b := append([]byte(`{"errorType":`), strconv.AppendQuoteToASCII(nil, kind)...)
	b = append(b, `,"errorMessage":`...)
	b = append(quoteJSON(b, err.Error()), '}')
	if writeAll(b) != nil {
		return 2
	}
	return 1
}

// quoteJSON appends a JSON string: strconv's quoting knows escapes that JSON
// does not.
func quoteJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// Rand is a source of randomness for everything but keys, seeded anew for
// each call. The functions of math/rand are not: their state is part of what
// every call starts from.
var Rand = rand.New(generator)

var generator = rand.NewChaCha8([32]byte{})

//go:wasmexport carrel_restored
func restored(_, n uint32) {
	if n == 32 {
		generator.Seed([32]byte(scratch[:32]))
	}
}
