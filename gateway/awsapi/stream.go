package awsapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
)

// contentEventStream is the framing of a result in pieces: events PayloadChunk
// with its bytes and, last, InvokeComplete, which says how it ended.
const contentEventStream = "application/vnd.amazon.eventstream"

// writePatience is how long a caller may take for what is sent at once. One
// that takes longer has gone away, as far as we are concerned.
const writePatience = 30 * time.Second

// streamed hands a call's result to its caller in pieces. It implements
// call.Stream; the reply begins with the first piece, so that a call which is
// refused before gets a reply of its own.
type streamed struct {
	w       http.ResponseWriter
	connect *http.ResponseController
	call    *call.Call
	encoder *eventstream.Encoder
	begun   bool
}

func newStreamed(w http.ResponseWriter, c *call.Call) *streamed {
	return &streamed{w: w, connect: http.NewResponseController(w), call: c, encoder: eventstream.NewEncoder()}
}

// Begin implements call.Stream. The framing has no place for a content type.
func (s *streamed) Begin(string) {
	if s.begun {
		return
	}
	s.begun = true
	header := s.w.Header()
	header[headerExecutedVersion] = []string{s.call.Target.Version}
	header["Content-Type"] = []string{contentEventStream}
	s.w.WriteHeader(http.StatusOK)
}

// Write implements call.Stream.
func (s *streamed) Write(piece []byte) (int, error) {
	if err := s.send("PayloadChunk", "application/octet-stream", piece); err != nil {
		return 0, err
	}
	return len(piece), nil
}

// send sends one event. A connection without deadlines is one of a test.
func (s *streamed) send(event, contentType string, payload []byte) error {
	var m eventstream.Message
	m.Headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(eventstreamapi.EventMessageType))
	m.Headers.Set(eventstreamapi.EventTypeHeader, eventstream.StringValue(event))
	m.Headers.Set(eventstreamapi.ContentTypeHeader, eventstream.StringValue(contentType))
	m.Payload = payload
	_ = s.connect.SetWriteDeadline(time.Now().Add(writePatience))
	if err := s.encoder.Encode(s.w, m); err != nil {
		return err
	}
	return s.connect.Flush()
}

// complete is the last event of a result in pieces.
type complete struct {
	ErrorCode    string `json:",omitempty"`
	ErrorDetails string `json:",omitempty"`
	LogResult    string `json:",omitempty"`
}

// end answers a call that has ended: what follows the pieces that are sent, or
// the error that it was refused with before there was one.
func (s *streamed) end(o *call.Outcome) error {
	if o.Err != nil && !s.begun {
		return o.Err
	}
	defer s.connect.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection may be gone
	s.Begin("")
	var last complete
	switch {
	case o.Err != nil:
		e := fault.From("awsapi.InvokeWithResponseStream", o.Err)
		_, last.ErrorCode, _ = wire(e)
		last.ErrorDetails = "The result broke off: " + e.Text()
	case o.FunctionFailed():
		var object struct{ ErrorType string }
		if json.Unmarshal(o.Payload, &object) != nil || object.ErrorType == "" {
			object.ErrorType = "Unhandled"
		}
		last.ErrorCode, last.ErrorDetails = object.ErrorType, string(o.Payload)
	case len(o.Payload) > 0:
		if _, err := s.Write(o.Payload); err != nil {
			return nil // a caller that has gone away is not an error of ours
		}
	}
	if s.call.LogTail {
		last.LogResult = base64.StdEncoding.EncodeToString(o.Log)
	}
	payload, _ := json.Marshal(last)                          // a struct of strings always marshals
	_ = s.send("InvokeComplete", "application/json", payload) // nor is it here
	return nil
}
