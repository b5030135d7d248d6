package carrel

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRequestsAreLaidOutAsTheHostReadsThem(t *testing.T) {
	in := Invocation{Function: "orders", Qualifier: "live", TenantID: "t1", Payload: []byte(`{"a":1}`)}
	b, err := in.request(runLater)
	if want := "\x01\x00\x06\x00\x04\x00\x02\x00orderslivet1" + `{"a":1}`; err != nil || string(b) != want {
		t.Errorf("%q, %v; want %q", b, err, want)
	}
	for name, in := range map[string]Invocation{
		"a name":    {Function: strings.Repeat("x", mostText+1)},
		"a payload": {Function: "f", Payload: make([]byte, requestMax)},
	} {
		if _, err := in.request(waitForResult); err != ErrTooLarge {
			t.Errorf("%s that is too long: %v", name, err)
		}
	}
}

func TestRepliesBecomeResultsAndErrors(t *testing.T) {
	what, version, payload, err := parseReply([]byte("\x01\x00\x02\x0017" + `{"errorType":"Boom","errorMessage":"a \"b\""}`))
	if what != replyFailed || version != "17" || len(payload) == 0 || err != nil {
		t.Fatalf("%d %q %q %v", what, version, payload, err)
	}
	for _, b := range []string{"", "\x00\x00\x00", "\x00\x00\x05\x00abcd"} {
		if _, _, _, err := parseReply([]byte(b)); err == nil {
			t.Errorf("%q was read", b)
		}
	}
	var r *RefusedError
	err = refusal("g", replyRefused, []byte(`{"code":"TooManyRequestsException","message":"slow","reason":"R","retryAfterMs":1500}`))
	if !errors.As(err, &r) || *r != (RefusedError{"g", "TooManyRequestsException", "slow", "R", 1500 * time.Millisecond}) {
		t.Errorf("%+v", err)
	}
	if err := refusal("g", replyAccepted, nil); err != errReply {
		t.Errorf("an answer that does not fit: %v", err)
	}
}

func TestOutsideOfAFunctionThereIsNoHost(t *testing.T) {
	if _, err := Invoke(Invocation{Function: "g"}); err != ErrNoHost {
		t.Error(err)
	}
	if err := Send(Invocation{Function: "g"}); err != ErrNoHost {
		t.Error(err)
	}
}

func TestErrorsKeepTheirType(t *testing.T) {
	if got := typeOf(&FunctionError{}); got != "Function.Error" {
		t.Errorf("an error without a type has the type %q", got)
	}
	for want, err := range map[string]error{
		"Boom":                  fmt.Errorf("while asking: %w", &FunctionError{Type: "Boom"}),
		"AccessDeniedException": &RefusedError{Code: "AccessDeniedException"},
		"Function.Error":        errors.New("x"),
	} {
		if got := typeOf(err); got != want {
			t.Errorf("%v has the type %s, want %s", err, got, want)
		}
	}
}

func TestMembersOfObjects(t *testing.T) {
	const object = ` { "a" : [1,{"b":"}"}] ,"b":{"c":"x\"]"}, "n": -5 , "e":"","u":"\u00e4\ud83d\ude00\ud83dx\/\b\f\n\r\t\\", "last":true}`
	for name, want := range map[string]string{
		"a": `[1,{"b":"}"}]`, "b": `{"c":"x\"]"}`, "n": "-5", "e": "", "u": "ä😀\ufffdx/\b\f\n\r\t\\", "last": "true", "absent": "",
	} {
		if got := member([]byte(object), name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, s := range []string{"", "[]", "{", `{"a`, `{"a"`, `{"a":`, `{"a":"`, `{"a":"\`, `{"a":"\u12"`, `{"a":"\x"}`, `{"a":[1`, `{a:1}`, `{"b":1;"a":2}`} {
		if got := member([]byte(s), "a"); got != "" {
			t.Errorf("%q has the member %q", s, got)
		}
	}
}

// FuzzMember: no bytes do harm, and what encoding/json wrote is read.
func FuzzMember(f *testing.F) {
	f.Add([]byte(`{"a":"b"}`), "x \"\\\u2028\U0001f600\x00")
	f.Add([]byte(`{"a":[{}],"k":1}`), "")
	f.Fuzz(func(t *testing.T, object []byte, s string) {
		if got := member(object, "k"); len(got) > 3*len(object) {
			t.Fatalf("%q has a member of %d bytes", object, len(got))
		}
		if !utf8.ValidString(s) {
			return
		}
		b, err := json.Marshal(map[string]any{"a": map[string]string{s: s}, "k": s, "z": 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := member(b, "k"); got != s {
			t.Fatalf("%s: %q, want %q", b, got, s)
		}
	})
}
