package awsapi

import (
	"net/http"

	"github.com/carrel-dev/carrel/gateway/body"
)

// Limits bound what is read of a request, in bytes.
type Limits struct {
	// InvokePayload is the most a synchronous call may send (AWS: 6 MB).
	InvokePayload int
	// EventPayload is the most an asynchronous call may send (AWS: 1 MB).
	EventPayload int
	// CodeBody is the most a request with code may have (AWS: 70167211).
	CodeBody int
	// ControlBody is the most any other request may have.
	ControlBody int
	// Buffered is the most that all requests together hold of bodies over
	// 64 KiB each, because a body has to be held before its signature can be
	// checked; one account's requests hold half of it at most.
	Buffered int
}

func (l Limits) orDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.InvokePayload, 6_291_456},
		{&l.EventPayload, 1_048_576},
		{&l.CodeBody, 70_167_211},
		{&l.ControlBody, 1_048_576},
		{&l.Buffered, 1 << 30},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}

// of gives the bound of an operation. A call that is an event by its header
// is not read further than an event may be long.
func (l Limits) of(rt *route, r *http.Request) body.Limit {
	switch {
	case rt.operation == opInvoke, rt.operation == opInvokeStream:
		kind := r.Header[headerInvocationType]
		if len(kind) == 0 {
			return l.ofInvoke(typeRequestResponse)
		}
		return l.ofInvoke(kind[0])
	case rt.code:
		return body.Limit{Bytes: l.CodeBody, Code: "RequestEntityTooLargeException", Operation: rt.operation}
	}
	return body.Limit{Bytes: l.ControlBody, Code: "RequestEntityTooLargeException", Operation: rt.operation}
}

func (l Limits) ofInvoke(kind string) body.Limit {
	b := body.Limit{Bytes: l.InvokePayload, Code: "RequestTooLargeException", Operation: "InvokeFunction"}
	if kind == typeEvent {
		b.Bytes = l.EventPayload
	}
	return b
}
