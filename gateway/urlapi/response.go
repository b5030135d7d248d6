package urlapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// response is what a function answers a request with.
type response struct {
	status  int
	header  http.Header
	content []byte
}

// errResponse is the error of a result that is no response.
var errResponse = errors.New("the function's result is not a response of payload format 2.0")

// The bounds of what a function may say beside its body.
const (
	maxHead    = 32 << 10
	maxHeaders = 100
)

// head is the part of a response that says how, as functions write it.
type head struct {
	Status  *int           `json:"statusCode"`
	Headers map[string]any `json:"headers"`
	Cookies []string       `json:"cookies"`
}

// decode reads a result in payload format 2.0: an object with a statusCode, or
// anything else, which then is the body.
//
// Error: errResponse.
func decode(payload []byte) (*response, error) {
	var p struct {
		head
		Body   json.RawMessage `json:"body"`
		Base64 bool            `json:"isBase64Encoded"`
	}
	if !structured(payload) {
		return &response{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, content: payload}, nil
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", errResponse, err)
	}
	res, err := p.head.response()
	if err != nil {
		return nil, err
	}
	var text string
	if len(p.Body) > 0 && !bytes.Equal(p.Body, []byte("null")) {
		if json.Unmarshal(p.Body, &text) != nil {
			return nil, fmt.Errorf("%w: the body is no string", errResponse)
		}
	}
	res.content = []byte(text)
	if p.Base64 {
		if res.content, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, fmt.Errorf("%w: the body is not base64", errResponse)
		}
	}
	if res.header.Get("Content-Type") == "" {
		res.header.Set("Content-Type", "application/json")
	}
	return res, nil
}

// structured tells whether a result is an object with a statusCode.
func structured(payload []byte) bool {
	payload = bytes.TrimLeft(payload, " \t\r\n")
	if len(payload) == 0 || payload[0] != '{' {
		return false
	}
	var p struct {
		Status json.RawMessage `json:"statusCode"`
	}
	return json.Unmarshal(payload, &p) == nil && len(p.Status) > 0
}

// response checks a head: what a client or a proxy could take for something
// else than a header of this one response is refused.
func (p *head) response() (*response, error) {
	res := &response{status: http.StatusOK, header: http.Header{}}
	if p.Status != nil {
		res.status = *p.Status
	}
	if res.status < 200 || res.status > 599 {
		return nil, fmt.Errorf("%w: the status %d", errResponse, res.status)
	}
	if len(p.Headers)+len(p.Cookies) > maxHeaders {
		return nil, fmt.Errorf("%w: more than %d headers", errResponse, maxHeaders)
	}
	size := 0
	for name, v := range p.Headers {
		text, ok := scalar(v)
		if !ok || !isToken(name) || !isValue(text) {
			return nil, fmt.Errorf("%w: the header %.40q", errResponse, name)
		}
		size += len(name) + len(text)
		if name = http.CanonicalHeaderKey(name); !reserved(name) {
			res.header[name] = append(res.header[name], text)
		}
	}
	for _, c := range p.Cookies {
		if !isValue(c) {
			return nil, fmt.Errorf("%w: a cookie", errResponse)
		}
		size += len(c)
		res.header.Add("Set-Cookie", c)
	}
	if size > maxHead {
		return nil, fmt.Errorf("%w: headers of %d bytes, at most %d", errResponse, size, maxHead)
	}
	return res, nil
}

// scalar gives a header's value: a string, a number or a boolean.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// reserved tells whether a header belongs to the connection or is Carrel's own.
func reserved(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Content-Length", "Date", "Server", "X-Amzn-Requestid", "Alt-Svc":
		return true
	}
	return strings.HasPrefix(name, "Trailer:")
}

// isToken tells whether s is a header's name (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// isValue tells whether s can be a header's value.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// headEnd ends the head of a result in pieces.
var headEnd = make([]byte, 8)

// cutHead takes the head off the front of what came of a result in pieces. It
// is false while the head has not come whole.
//
// Error: errResponse.
func cutHead(b []byte) (res *response, rest []byte, whole bool, err error) {
	i := bytes.Index(b, headEnd)
	if i < 0 && len(b) <= maxHead+len(headEnd) {
		return nil, b, false, nil
	}
	if i < 0 || i > maxHead {
		return nil, nil, false, fmt.Errorf("%w: a head of more than %d bytes", errResponse, maxHead)
	}
	var p head
	if err := json.Unmarshal(b[:i], &p); err != nil {
		return nil, nil, false, fmt.Errorf("%w: %w", errResponse, err)
	}
	if res, err = p.response(); err != nil {
		return nil, nil, false, err
	}
	if res.header.Get("Content-Type") == "" {
		res.header.Set("Content-Type", "application/octet-stream")
	}
	return res, b[i+len(headEnd):], true, nil
}
