package urlapi

import (
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/carrel-dev/carrel/call"
)

// contentHTTP is the content type of a result in pieces that begins with a head.
const contentHTTP = "application/vnd.awslambda.http-integration-response"

// writePatience is how long a client may take for what is sent at once.
const writePatience = 30 * time.Second

// answer hands a call's result to the client: as a whole, or in pieces as a
// call.Stream.
type answer struct {
	w       http.ResponseWriter
	connect *http.ResponseController
	head    bool // the client wants no body

	// Of a result in pieces: whether its head is awaited, what came of it so
	// far, and whether anything was sent.
	awaited bool
	front   []byte
	sent    bool
	err     error
}

// Begin implements call.Stream.
func (a *answer) Begin(contentType string) {
	if contentType == contentHTTP {
		a.awaited = true
		return
	}
	if contentType == "" || !isValue(contentType) {
		contentType = "application/octet-stream"
	}
	a.start(&response{status: http.StatusOK, header: http.Header{"Content-Type": {contentType}}})
}

// Write implements call.Stream.
func (a *answer) Write(piece []byte) (int, error) {
	n := len(piece)
	if a.awaited {
		a.front = append(a.front, piece...)
		res, rest, whole, err := cutHead(a.front)
		if err != nil {
			a.err, a.front, a.awaited = err, nil, false
		}
		if a.err != nil || !whole {
			return n, a.err
		}
		a.awaited, a.front = false, nil
		a.start(res)
		piece = rest
	}
	if a.err != nil {
		return 0, a.err
	}
	return n, a.send(piece)
}

// start sends the head of the reply.
func (a *answer) start(res *response) {
	maps.Copy(a.w.Header(), withoutCORS(res.header, a.w.Header()))
	a.patience()
	a.w.WriteHeader(res.status)
	a.sent = true
	_ = a.connect.Flush() // an error shows at the next piece
}

func (a *answer) send(b []byte) error {
	if len(b) == 0 || a.head {
		return nil
	}
	a.patience()
	if _, err := a.w.Write(b); err != nil {
		return err
	}
	return a.connect.Flush()
}

// patience begins the time that the client has; tests' connections have none.
func (a *answer) patience() { _ = a.connect.SetWriteDeadline(time.Now().Add(writePatience)) }

// end answers a call that has ended.
func (a *answer) end(o *call.Outcome) error {
	switch {
	case a.sent && (o.Err != nil || o.Result != call.OK):
		// All that is left to say that the result broke off is to break off
		// the reply: a client must not take it for whole.
		panic(http.ErrAbortHandler)
	case a.sent:
		_ = a.send(o.Payload)
		_ = a.connect.SetWriteDeadline(time.Time{})
		return nil
	case o.Err != nil:
		return o.Err
	case o.Result != call.OK || a.err != nil || a.awaited:
		refuse(a.w, http.StatusBadGateway, "Internal Server Error")
		return nil
	}
	return a.whole(o)
}

// whole answers with a result that came as a whole.
func (a *answer) whole(o *call.Outcome) error {
	var res *response
	var err error
	switch o.ContentType {
	case contentHTTP:
		var found bool
		if res, o.Payload, found, err = cutHead(o.Payload); err == nil && found {
			res.content = o.Payload
		} else if err == nil {
			err = errResponse
		}
	case "":
		if len(o.Payload) == 0 {
			o.Payload = []byte("null")
		}
		res, err = decode(o.Payload)
	default:
		res = &response{status: http.StatusOK, header: http.Header{"Content-Type": {o.ContentType}}, content: o.Payload}
	}
	if err != nil {
		refuse(a.w, http.StatusBadGateway, "Internal Server Error")
		return nil
	}
	header := a.w.Header()
	maps.Copy(header, withoutCORS(res.header, header))
	if res.status != http.StatusNoContent && res.status != http.StatusNotModified {
		header["Content-Length"] = []string{strconv.Itoa(len(res.content))}
	}
	a.patience()
	a.w.WriteHeader(res.status)
	if !a.head && header["Content-Length"] != nil {
		a.w.Write(res.content) // a client that has gone away is not an error of ours
	}
	_ = a.connect.SetWriteDeadline(time.Time{})
	return nil
}
