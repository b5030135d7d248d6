package urlapi

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestResultsBecomeResponses(t *testing.T) {
	for result, want := range map[string]struct {
		status  int
		content string
		header  string
	}{
		`"Hello"`:                        {200, `"Hello"`, "application/json"},
		`{"a":1}`:                        {200, `{"a":1}`, "application/json"},
		`null`:                           {200, `null`, "application/json"},
		`no JSON`:                        {200, `no JSON`, "application/json"},
		`{"statusCode":201}`:             {201, ``, "application/json"},
		`{"statusCode":200,"body":null}`: {200, ``, "application/json"},
		`{"statusCode":200,"headers":{"content-type":"text/html"},"body":"<p>"}`: {200, `<p>`, "text/html"},
		`{"statusCode":200,"body":"aGk=","isBase64Encoded":true}`:                {200, `hi`, "application/json"},
	} {
		res, err := decode([]byte(result))
		if err != nil || res.status != want.status || string(res.content) != want.content || res.header.Get("Content-Type") != want.header {
			t.Errorf("%s: %+v, %v", result, res, err)
		}
	}
}

// TestResponsesThatAreRefused: what could be taken for more than one response,
// or for one of another kind, reaches no client.
func TestResponsesThatAreRefused(t *testing.T) {
	for _, result := range []string{
		`{"statusCode":"200"}`, `{"statusCode":100}`, `{"statusCode":101}`, `{"statusCode":600}`, `{"statusCode":-1}`, `{"statusCode":1e9}`,
		`{"statusCode":200,"body":{}}`, `{"statusCode":200,"body":"x","isBase64Encoded":true}`,
		`{"statusCode":200,"headers":{"a b":"c"}}`, `{"statusCode":200,"headers":{"":"c"}}`, `{"statusCode":200,"headers":{"a:":"c"}}`,
		`{"statusCode":200,"headers":{"a":"b\r\nSet-Cookie: c"}}`, `{"statusCode":200,"headers":{"a\r\nb":"c"}}`, `{"statusCode":200,"headers":{"a":["b"]}}`,
		`{"statusCode":200,"headers":{"a":"\u0000"}}`, `{"statusCode":200,"cookies":["a=b\nc"]}`, `{"statusCode":200,"cookies":"a"}`,
		`{"statusCode":200,"headers":{"a":"` + strings.Repeat("x", maxHead+1) + `"}}`,
		`{"statusCode":200,"cookies":[` + strings.Repeat(`"a",`, maxHeaders) + `"a"]}`,
	} {
		if res, err := decode([]byte(result)); !errors.Is(err, errResponse) {
			t.Errorf("%.80s: %+v, %v", result, res, err)
		}
	}
}

func TestHeadersOfTheConnectionAreNotAFunctions(t *testing.T) {
	res, err := decode([]byte(`{"statusCode":200,"headers":{"Transfer-Encoding":"chunked","content-length":"1","connection":"x","UPGRADE":"h2c",
		"trailer":"X","Trailer:X":"y","server":"s","x-amzn-requestid":"1","X-Mine":"1"}}`))
	if err == nil {
		t.Fatalf("a name with a colon was taken: %+v", res.header)
	}
	res, err = decode([]byte(`{"statusCode":200,"headers":{"Transfer-Encoding":"chunked","content-length":"1","connection":"x","UPGRADE":"h2c",
		"trailer":"X","server":"s","x-amzn-requestid":"1","X-Mine":"1"}}`))
	if err != nil || len(res.header) != 2 || res.header.Get("X-Mine") != "1" {
		t.Errorf("%v %v", res, err)
	}
}

func TestHeadsOfResultsInPieces(t *testing.T) {
	const nul = "\x00\x00\x00\x00\x00\x00\x00\x00"
	res, rest, whole, err := cutHead([]byte(`{"statusCode":404,"headers":{"a":"b"},"cookies":["c=d"]}` + nul + "body" + nul))
	if err != nil || !whole || res.status != 404 || res.header.Get("Set-Cookie") != "c=d" || string(rest) != "body"+nul {
		t.Errorf("%+v %q %t %v", res, rest, whole, err)
	}
	if res, _, whole, err := cutHead([]byte(`{}` + nul)); err != nil || !whole || res.status != 200 || res.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("an empty head: %+v %t %v", res, whole, err)
	}
	for _, part := range []string{"", "{", `{"statusCode":200}`, `{"statusCode":200}` + nul[1:], strings.Repeat("x", maxHead)} {
		if _, _, whole, err := cutHead([]byte(part)); whole || err != nil {
			t.Errorf("%.40q is a part of a head: %t, %v", part, whole, err)
		}
	}
	for _, bad := range []string{nul, "[]" + nul, `{"statusCode":1}` + nul, strings.Repeat("x", maxHead+9), `{"a":"` + strings.Repeat("x", maxHead) + `"}` + nul} {
		if _, _, whole, err := cutHead([]byte(bad)); whole || !errors.Is(err, errResponse) {
			t.Errorf("%.40q: %t, %v", bad, whole, err)
		}
	}
}

// sound tells what is wrong with a response; empty if it can be sent.
func sound(res *response) string {
	if res.status < 200 || res.status > 599 {
		return "status"
	}
	for name, values := range res.header {
		if !isToken(name) || name != http.CanonicalHeaderKey(name) || reserved(name) {
			return "header " + name
		}
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				return "value of " + name
			}
		}
	}
	return ""
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(`{"statusCode":200,"headers":{"a":"b","n":1,"t":true},"cookies":["c=d"],"body":"aGk=","isBase64Encoded":true}`))
	f.Add([]byte(`"text"`))
	f.Add([]byte(`{"statusCode":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := decode(b)
		if err != nil {
			return
		}
		if wrong := sound(res); wrong != "" {
			t.Fatalf("%q gives a bad %s", b, wrong)
		}
		if len(res.content) > len(b) {
			t.Fatalf("%d bytes have a body of %d", len(b), len(res.content))
		}
	})
}

// FuzzHead: a head is the same, whatever pieces it comes in.
func FuzzHead(f *testing.F) {
	f.Add([]byte("{\"statusCode\":200,\"headers\":{\"a\":\"b\"}}\x00\x00\x00\x00\x00\x00\x00\x00rest"), 3)
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 1)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		res, rest, whole, err := cutHead(b)
		if err != nil || !whole {
			return
		}
		if wrong := sound(res); wrong != "" {
			t.Fatalf("%q gives a bad %s", b, wrong)
		}
		if !bytes.HasSuffix(b, rest) || len(b)-len(rest) < 8 {
			t.Fatalf("%q leaves %q", b, rest)
		}
		if at < 0 || at >= len(b)-len(rest) {
			return
		}
		if _, _, early, err := cutHead(b[:at]); early || err != nil {
			t.Fatalf("%q is whole at %d: %v", b, at, err)
		}
	})
}
