//go:build linux

package native

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// extensions are the registered ones. Only internal ones can be there, those
// that are part of the function's process: a sandbox starts no other program.
type extensions struct {
	ids []string
}

// maxExtensions is Lambda's bound.
const maxExtensions = 10

// extensionID makes the id of the nth extension. It is no secret: it tells
// extensions apart, and all of them are the function's.
func extensionID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func (s *supervisor) serveExtension(r *request, rest string) response {
	id := r.header.Get("Lambda-Extension-Identifier")
	switch {
	case rest == "register" && r.method == "POST":
		return s.register(r)
	case rest == "event/next" && r.method == "GET":
		return s.nextEvent(id)
	case (rest == "init/error" || rest == "exit/error") && r.method == "POST":
		return accepted
	}
	return refusal(404, "NotFound", fmt.Sprintf("The Extensions API has no %s %.200q.", r.method, r.path))
}

// register takes an internal extension: one that wants to be told of calls
// is refused, as in Lambda, where internal ones may register for INVOKE only
// together with others; the runtimes' own register for nothing, to have
// SIGTERM sent before the end.
func (s *supervisor) register(r *request) response {
	body, err := readBody(r.body, maxHead)
	if err != nil {
		return refusal(400, "InvalidRequest", err.Error())
	}
	var asked struct {
		Events []string `json:"events"`
	}
	if len(body) > 0 && json.Unmarshal(body, &asked) != nil {
		return refusal(400, "InvalidRequestFormat", "The body is no JSON object with events.")
	}
	if len(asked.Events) > 0 {
		return refusal(403, "Extension.UnsupportedEvents", fmt.Sprintf("Extensions are not sent %s events here.", strings.Join(asked.Events, ", ")))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.extensions.ids) >= maxExtensions {
		return refusal(403, "Extension.TooManyExtensions", fmt.Sprintf("A sandbox has %d extensions at most.", maxExtensions))
	}
	id := extensionID(len(s.extensions.ids) + 1)
	s.extensions.ids = append(s.extensions.ids, id)
	handler := ""
	if s.of != nil {
		handler = s.of.Handler
	}
	answer, err := json.Marshal(map[string]string{"functionName": envValue(s.of, "AWS_LAMBDA_FUNCTION_NAME"),
		"functionVersion": envValue(s.of, "AWS_LAMBDA_FUNCTION_VERSION"), "handler": handler})
	if err != nil {
		return refusal(500, "Internal", err.Error())
	}
	return response{status: 200, header: [][2]string{{"Content-Type", "application/json"}, {"Lambda-Extension-Identifier", id}}, body: answer}
}

// nextEvent waits for the end, which is all that an extension is told.
func (s *supervisor) nextEvent(id string) response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.extensions.ids, id) {
		return refusal(403, "Extension.UnknownExtensionIdentifier", "No extension registered under this identifier.")
	}
	for !s.stopping {
		s.changed.Wait()
	}
	return response{}
}
