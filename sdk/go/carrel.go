// Package carrel is for writing functions in Go.
//
// A function is a program built as a WASI reactor:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o bootstrap.wasm .
//
// It gives its handler in an init function, because main does not run:
//
//	func init() { carrel.Handle(handle) }
//	func main() {}
//
//	func handle(c *carrel.Context, event []byte) ([]byte, error) { … }
//
// Package initialisation runs once, when the function is deployed; each call
// then starts from exactly the state it left, whatever earlier calls did. So
// variables cannot carry anything from one call to the next, and what is
// made in init costs nothing at a call. The clock stands at a fixed time
// while it runs, and randomness drawn then is equal in every call: draw it in
// the handler, from crypto/rand or Rand.
//
// A handler calls other functions with Invoke and Send. It holds no
// credentials: the platform knows which call asks. It gives its result in
// pieces with NewStream.
package carrel

import (
	"errors"
	"strconv"
)

// Handler is what a function does with an event. What it returns is the
// result of the call; an error makes the call fail with its text.
type Handler func(c *Context, event []byte) ([]byte, error)

var handler Handler

// Handle sets the function's handler. It is called once, from an init function.
func Handle(h Handler) { handler = h }

// Typed lets an error choose the errorType that callers see. One that is
// wrapped counts too.
type Typed interface{ ErrorType() string }

func typeOf(err error) string {
	if t := Typed(nil); errors.As(err, &t) && t.ErrorType() != "" {
		return t.ErrorType()
	}
	return "Function.Error"
}

type constError string

func (e constError) Error() string { return string(e) }

// Context says which call this is. It is valid until the handler returns.
type Context struct{ raw []byte }

// JSON gives the context as the platform sent it: an object with
// awsRequestId, functionName, functionVersion, invokedFunctionArn,
// memoryLimitInMB, tenantId, deadlineMs and, where the caller sent one,
// clientContext.
func (c *Context) JSON() []byte { return c.raw }

// RequestID is the id of the call, the same as in logs and records.
func (c *Context) RequestID() string { return c.text("awsRequestId") }

// TenantID is the end tenant the call is for, or else the account's name.
func (c *Context) TenantID() string { return c.text("tenantId") }

// FunctionName is the name of the function.
func (c *Context) FunctionName() string { return c.text("functionName") }

// FunctionVersion is the version that runs.
func (c *Context) FunctionVersion() string { return c.text("functionVersion") }

// FunctionARN is the name under which the function was called.
func (c *Context) FunctionARN() string { return c.text("invokedFunctionArn") }

// ClientContext is what the caller sent as X-Amz-Client-Context: base64.
func (c *Context) ClientContext() string { return c.text("clientContext") }

// MemoryLimitMB is the memory limit in MiB.
func (c *Context) MemoryLimitMB() int { return int(c.number("memoryLimitInMB")) }

// DeadlineMS is when the call is stopped, in milliseconds since 1970.
func (c *Context) DeadlineMS() int64 { return c.number("deadlineMs") }

// text reads a member whose value has no escapes. The platform's own
// encoding is that simple, and a general parser would cost more than most
// handlers do.
func (c *Context) text(name string) string {
	v := c.member(name)
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	for i := 1; i < len(v); i++ {
		if v[i] == '"' {
			return string(v[1:i])
		}
	}
	return ""
}

func (c *Context) number(name string) int64 {
	v := c.member(name)
	end := 0
	for end < len(v) && v[end] >= '0' && v[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(string(v[:end]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// member gives what follows a member's name and colon.
func (c *Context) member(name string) []byte {
	for i := 0; i+len(name)+3 <= len(c.raw); i++ {
		if c.raw[i] == '"' && string(c.raw[i+1:i+1+len(name)]) == name &&
			c.raw[i+1+len(name)] == '"' && c.raw[i+2+len(name)] == ':' {
			return c.raw[i+3+len(name):]
		}
	}
	return nil
}
