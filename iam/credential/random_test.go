package credential_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/internal/testrounds"
)

// randomMessage draws requests that an HTTP client can send.
var randomMessage = rapid.Custom(func(t *rapid.T) message {
	text := rapid.StringN(0, 12, 24)
	m := message{
		method:  rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE"}).Draw(t, "method"),
		service: rapid.SampledFrom([]string{"lambda", "s3", "carrel"}).Draw(t, "service"),
		keyID:   rapid.SampledFrom([]string{"AKIDEXAMPLE", "AKIDGLOBEX"}).Draw(t, "key"),
		body:    text.Draw(t, "body"),
		header:  http.Header{},
	}
	path := ""
	for _, segment := range rapid.SliceOfN(text, 1, 4).Draw(t, "path") {
		if segment == "." || segment == ".." {
			segment += "x"
		}
		path += "/" + url.PathEscape(segment)
	}
	if rapid.Bool().Draw(t, "query?") {
		q := url.Values{}
		for _, name := range rapid.SliceOfN(text, 0, 4).Draw(t, "names") {
			q[name] = append(q[name], rapid.SliceOfN(text, 1, 3).Draw(t, "values")...)
		}
		path += "?" + q.Encode()
	}
	m.url = "http://" + rapid.SampledFrom([]string{"localhost:9600", "127.0.0.1", "[::1]:9600"}).Draw(t, "host") + path
	value := rapid.StringMatching(`[!-~]( {0,3}[!-~]){0,8}`)
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"Content-Type", "X-Amz-Tenant-Id", "X-Amz-Invocation-Type", "X-Amz-Log-Type", "If-Match", "My-Header",
	}), 0, 4, rapid.ID[string]).Draw(t, "headers") {
		m.header.Set(name, value.Draw(t, name))
	}
	m.noContentSHA256 = rapid.Bool().Draw(t, "no content hash")
	return m
})

// presigned turns a message into one to be presigned for ten minutes.
func (m message) presigned() message {
	m = m.defaults()
	separator := "?"
	if strings.Contains(m.url, "?") {
		separator = "&"
	}
	m.url += separator + "X-Amz-Expires=600"
	if m.service == "s3" {
		m.payloadHash = "UNSIGNED-PAYLOAD"
	}
	return m
}

// TestSDKAgrees signs random requests with the SDK, in the header and in the
// query, verifies them, and then changes single bytes on the wire: what is
// still accepted must mean the same.
func TestSDKAgrees(t *testing.T) {
	t.Parallel()
	random := testrounds.Rand(t)
	v := newVerifier(signedAt)
	refusals, accepted := 0, 0
	for range 10 * testrounds.Rounds(t) {
		seed := int(random.Int32())
		m := randomMessage.Example(seed)
		signed := m.sign(t)
		if random.IntN(3) == 0 {
			signed = m.presigned().presign(t)
		}
		var wire strings.Builder
		if err := signed.Write(&wire); err != nil {
			t.Fatal(err)
		}
		want, err := meaning(v, wire.String())
		if err != nil {
			t.Fatalf("example %d: %v\n%s", seed, err, wire.String())
		}
		for range 40 {
			changed := changeByte(random, wire.String())
			got, err := meaning(v, changed)
			if err != nil {
				refusals++
				continue
			}
			if accepted++; got != want {
				t.Fatalf("example %d: changed and accepted\n%s\n--- was\n%s\n--- is\n%s", seed, changed, want, got)
			}
		}
	}
	t.Logf("%d changed requests refused, %d accepted with the same meaning", refusals, accepted)
	if refusals < accepted {
		t.Errorf("only %d of %d changes were refused: the changes miss the signature", refusals, refusals+accepted)
	}
}

// changeByte replaces, removes or doubles one byte.
func changeByte(random *rand.Rand, wire string) string {
	at := random.IntN(len(wire))
	before, after := wire[:at], wire[at+1:]
	switch random.IntN(4) {
	case 0:
		return before + after
	case 1:
		return before + wire[at:at+1] + wire[at:]
	case 2:
		const telling = "%2FfAa+;&=/?#.,: \t_-\r\n\x00\xff"
		return before + telling[random.IntN(len(telling)):][:1] + after
	}
	return before + string([]byte{wire[at] ^ 1<<random.IntN(8)}) + after
}

// meaning verifies a request on the wire and says what a handler makes of
// it: nothing here knows the canonical forms.
func meaning(v *credential.Verifier, wire string) (string, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	credential.Ingress(r.Header)
	who, err := v.Verify(r, body)
	if err != nil {
		return "", err
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", fmt.Errorf("verified a query that net/url refuses: %w", err)
	}
	for _, values := range q {
		slices.Sort(values) // the order of equal names is not under the signature
	}
	segments := strings.Split(r.URL.EscapedPath(), "/")
	for i := range segments {
		segments[i], err = url.PathUnescape(segments[i])
		if err != nil {
			return "", err
		}
	}
	var headers []string
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		if who.SignedHeaders.Has(name) && lower != "content-length" || strings.HasPrefix(lower, "x-amz-") {
			headers = append(headers, lower+": "+strings.Join(strings.Fields(strings.Join(values, ",")), " "))
		}
	}
	slices.Sort(headers)
	if who.Presigned && who.Service == "s3" {
		body = nil // is not under the signature
	}
	return fmt.Sprintf("%s %q %q host %q query %v headers %q body %q service %s at %s presigned %t",
		who.Principal, r.Method, segments, r.Host, q, headers, body, who.Service, who.SignedAt, who.Presigned), nil
}

func FuzzAuthorizationHeader(f *testing.F) {
	v := newVerifier(signedAt)
	m := message{url: "http://localhost/f", body: "b"}
	signed := m.sign(f)
	good := signed.Header.Get("Authorization")
	f.Add(good)
	f.Add(strings.ReplaceAll(good, ", ", ","))
	f.Add("AWS4-HMAC-SHA256 Credential=a/20150830/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=" + strings.Repeat("0", 64))
	f.Add("AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;, Signature==")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		r := signed.Clone(t.Context())
		r.Header["Authorization"] = []string{value}
		who, err := v.Verify(r, []byte("b"))
		if err != nil {
			if codeOf(err) == "" || len(err.Error()) > 1000 {
				t.Fatalf("an error without a code, or too long: %v", err)
			}
			return
		}
		canonical := strings.NewReplacer(" ", "", ",", "").Replace
		parts, want := strings.SplitAfter(canonical(value), ""), strings.SplitAfter(canonical(good), "")
		slices.Sort(parts) // Credential, SignedHeaders and Signature may stand in any order
		slices.Sort(want)
		if !slices.Equal(parts, want) || who.KeyID != "AKIDEXAMPLE" {
			t.Fatalf("%q is accepted", value)
		}
	})
}

func FuzzCanonicalQuery(f *testing.F) {
	v := newVerifier(signedAt)
	for _, q := range []string{"", "a=b", "b=2&a=1&a=0", "k&l=&=m", "a+b=c%20d%2Be", "%zz", "a;b", "&&", "=", "%e2%82%ac=*", "a=%", "X-Amz-Date=1"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if strings.ContainsAny(raw, "#\x7f \r\n") || strings.IndexFunc(raw, func(r rune) bool { return r < ' ' }) >= 0 || len(raw) > 4096 {
			return // not a query that a request line can have
		}
		q, wellFormed := url.ParseQuery(raw)
		names := 0
		for name, values := range q {
			names += len(values)
			if strings.HasPrefix(name, "X-Amz-") {
				return // a presigned request, or an attempt at one
			}
		}
		m := message{method: "GET", url: "http://localhost/f?" + q.Encode()}
		r := m.sign(t) // the SDK signs what net/url makes of it
		r.URL.RawQuery = raw
		_, err := v.Verify(r, nil)
		if accepted := err == nil; accepted != (wellFormed == nil && names <= 512) {
			t.Fatalf("%q: net/url says %v, Verify says %v", raw, wellFormed, err)
		}
	})
}
