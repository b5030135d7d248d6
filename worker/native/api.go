//go:build linux

package native

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/worker/wire"
)

// The Runtime API of 2018-06-01 and the Extensions API of 2020-01-01, as AWS
// documents them and as clients read them.
const (
	runtimeAPI   = "/2018-06-01/runtime/"
	extensionAPI = "/2020-01-01/extension/"
)

// about is what the function is told of a call besides its event. The node
// sends it as the context of the call.
type about struct {
	// ARN is the function as the caller named it.
	ARN string `json:"arn"`
	// TenantID is the end tenant of a function that is run for one.
	TenantID string `json:"tenantId,omitempty"`
	// ClientContext is what the caller sent, in plain JSON.
	ClientContext string `json:"clientContext,omitempty"`
	TraceID       string `json:"traceId,omitempty"`
}

func (a *about) parse(b []byte) error { return json.Unmarshal(b, a) }

func (s *supervisor) serveAPI(r *request) response {
	switch rest, found := strings.CutPrefix(r.path, runtimeAPI); {
	case found && rest == "invocation/next" && r.method == "GET":
		return s.next()
	case found && rest == "init/error" && r.method == "POST":
		return s.initError(r)
	case found && rest == "restore/next":
		return refusal(403, "InvalidStateTransition", "This sandbox was not restored from a snapshot.")
	case found && r.method == "POST":
		return s.result(r, strings.TrimPrefix(rest, "invocation/"))
	}
	if rest, found := strings.CutPrefix(r.path, extensionAPI); found {
		return s.serveExtension(r, rest)
	}
	return refusal(404, "NotFound", fmt.Sprintf("The Runtime API has no %s %.200q.", r.method, r.path))
}

func (s *supervisor) result(r *request, rest string) response {
	id, what, _ := strings.Cut(rest, "/")
	switch what {
	case "response":
		return s.answer(r, id, false)
	case "error":
		return s.answer(r, id, true)
	}
	return refusal(404, "NotFound", fmt.Sprintf("The Runtime API has no %s %.200q.", r.method, r.path))
}

// next ends the call that runs, if it was answered, and gives the next one.
func (s *supervisor) next() response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.running; t != nil && t.answered {
		s.complete(false)
	}
	s.initEnds()
	for s.running == nil || s.running.taken {
		if s.stopping {
			return response{}
		}
		s.changed.Wait()
	}
	t := s.running
	t.taken = true
	return response{status: 200, header: t.header(), body: t.call.Event, sent: func(err error) {
		if err == nil {
			return
		}
		// Nobody read it; whoever asks next gets it.
		s.mu.Lock()
		defer s.mu.Unlock()
		t.taken = false
		s.changed.Broadcast()
	}}
}

func (t *task) header() [][2]string {
	h := [][2]string{
		{"Content-Type", "application/json"},
		{"Lambda-Runtime-Aws-Request-Id", t.call.RequestID},
		{"Lambda-Runtime-Deadline-Ms", strconv.FormatInt(t.begun.Add(t.call.Timeout).UnixMilli(), 10)},
		{"Lambda-Runtime-Invoked-Function-Arn", t.about.ARN},
	}
	for _, o := range [][2]string{
		{"Lambda-Runtime-Trace-Id", t.about.TraceID},
		{"Lambda-Runtime-Client-Context", t.about.ClientContext},
		{"Lambda-Runtime-Aws-Tenant-Id", t.about.TenantID},
	} {
		if o[1] != "" {
			h = append(h, o)
		}
	}
	return h
}

// answer takes the result of a call, or its error.
func (s *supervisor) answer(r *request, id string, failed bool) response {
	s.mu.Lock()
	t := s.running
	known := t != nil && t.call.RequestID == id && t.taken
	again := known && t.answered
	limit := maxBody
	if known {
		limit = int(t.call.OutputLimit)
	}
	s.mu.Unlock()
	switch {
	case !known:
		return refusal(400, "InvalidRequestID", "Invalid request ID")
	case again:
		return refusal(403, "InvalidStateTransition", "The call was answered already.")
	}
	if !failed && isStreamed(r) && t.call.StreamLimit > 0 {
		return s.stream(r, t)
	}
	body, err := readBody(r.body, limit)
	large := errors.Is(err, errBodyTooLarge)
	switch {
	case large:
		body, failed = tooLarge(limit), true
	case err != nil:
		return refusal(400, "InvalidRequest", fmt.Sprintf("The body could not be read: %v", err))
	case failed:
		body = errorBody(r, body)
	}
	if kind := r.trailer.Get("Lambda-Runtime-Function-Error-Type"); kind != "" && !failed {
		body, failed = trailerError(r, kind), true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != t || t.answered || t.streamed && !failed {
		return refusal(403, "InvalidStateTransition", "The call has ended.")
	}
	t.answered, t.failed, t.output = true, failed, body
	if large {
		return refusal(413, "RequestEntityTooLarge", fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", limit))
	}
	return accepted
}

var accepted = response{status: 202, header: [][2]string{{"Content-Type", "application/json"}}, body: []byte(`{"status":"OK"}`)}

// initError takes the report of a failed initialisation.
func (s *supervisor) initError(r *request) response {
	body, err := readBody(r.body, maxBody)
	if err != nil {
		return refusal(400, "InvalidRequest", err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.initialised && (s.running == nil || s.running.taken) {
		return refusal(403, "InvalidStateTransition", "The initialisation is over.")
	}
	f := &failure{body: errorBody(r, body)}
	if s.initialised { // it took long, and a call has begun meanwhile
		s.failure = f
		s.done(wire.StatusFunctionError, f.body, true)
		return accepted
	}
	s.failInit(f)
	return accepted
}

// errorBody gives the error object that a function reported. One that is no
// JSON object is put into one, as the caller expects it.
func errorBody(r *request, body []byte) []byte {
	kind := r.header.Get("Lambda-Runtime-Function-Error-Type")
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) == nil && object != nil {
		if _, found := object["errorType"]; !found && kind != "" {
			object["errorType"], _ = json.Marshal(kind)
			if b, err := json.Marshal(object); err == nil {
				return b
			}
		}
		return body
	}
	if kind == "" {
		kind = "Unhandled"
	}
	return errorObject(kind, string(body))
}

func errorObject(kind, message string) []byte {
	b, err := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{kind, message})
	if err != nil {
		return []byte(`{"errorType":"Unhandled"}`) // never: two strings
	}
	return b
}

func tooLarge(limit int) []byte {
	return errorObject("Function.ResponseSizeTooLarge", fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", limit))
}

func refusal(status int, kind, message string) response {
	return response{status: status, header: [][2]string{{"Content-Type", "application/json"}}, body: errorObject(kind, message)}
}
