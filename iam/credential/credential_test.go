package credential_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/credential"
)

// The keys of the tests. The id and the secret of the first are AWS's own
// example, so that the vectors of its signing suite hold.
var keys = snapshot{
	"AKIDEXAMPLE": {
		ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Account: "111111111111",
		Principal: "arn:aws:iam::111111111111:user/admin", Status: credential.Active,
	},
	"AKIDGLOBEX": {
		ID: "AKIDGLOBEX", Secret: "globex-secret", Account: "222222222222",
		Principal: "arn:aws:iam::222222222222:user/admin", Status: credential.Active,
	},
	"AKIDINACTIVE":  {ID: "AKIDINACTIVE", Secret: "inactive-secret", Status: credential.Inactive},
	"AKIDSUSPENDED": {ID: "AKIDSUSPENDED", Secret: "suspended-secret", Status: credential.Suspended},
	"AKIDNOSTATUS":  {ID: "AKIDNOSTATUS", Secret: "no-status"},
	"AKIDNOSECRET":  {ID: "AKIDNOSECRET", Status: credential.Active},
	"AKIDMISFILED":  {ID: "AKIDGLOBEX", Secret: "misfiled", Status: credential.Active},
}

type snapshot map[string]credential.Key

func (s snapshot) AccessKey(id string) (credential.Key, bool) {
	k, ok := s[id]
	return k, ok
}

var signedAt = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

func newVerifier(now time.Time) *credential.Verifier {
	return credential.New(credential.Config{
		Region: "us-east-1", Services: []string{"lambda", "carrel", "iam", "sts", "s3", "service"},
		Lookup: keys, Now: func() time.Time { return now },
	})
}

func hexSHA256(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// message is a request before it is signed.
type message struct {
	method, url, body, service, region, keyID string
	header                                    http.Header
	payloadHash                               string // of the body if empty
	noContentSHA256                           bool
	secret                                    string // of keyID if empty
}

func (m message) defaults() message {
	if m.method == "" {
		m.method = http.MethodPost
	}
	if m.service == "" {
		m.service = "lambda"
	}
	if m.region == "" {
		m.region = "us-east-1"
	}
	if m.keyID == "" {
		m.keyID = "AKIDEXAMPLE"
	}
	if m.payloadHash == "" {
		m.payloadHash = hexSHA256(m.body)
	}
	return m
}

func (m message) request(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), m.method, m.url, strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range m.header {
		r.Header[name] = append([]string(nil), values...)
	}
	return r
}

func (m message) credentials() aws.Credentials {
	secret := m.secret
	if secret == "" {
		secret = string(keys[m.keyID].Secret)
	}
	return aws.Credentials{AccessKeyID: m.keyID, SecretAccessKey: secret}
}

func (m message) options(o *v4.SignerOptions) { o.DisableURIPathEscaping = m.service == "s3" }

// sign gives the request as the SDK for Go signs it in its header.
func (m message) sign(t testing.TB) *http.Request {
	t.Helper()
	m = m.defaults()
	r := m.request(t)
	if !m.noContentSHA256 {
		r.Header.Set("X-Amz-Content-Sha256", m.payloadHash)
	}
	err := v4.NewSigner().SignHTTP(context.Background(), m.credentials(), r, m.payloadHash, m.service, m.region, signedAt, m.options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// presign gives the request as the SDK for Go presigns it.
func (m message) presign(t testing.TB) *http.Request {
	t.Helper()
	m = m.defaults()
	r := m.request(t)
	address, signed, err := v4.NewSigner().PresignHTTP(context.Background(), m.credentials(), r, m.payloadHash, m.service, m.region, signedAt, m.options)
	if err != nil {
		t.Fatal(err)
	}
	out, err := http.NewRequestWithContext(t.Context(), m.method, address, strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	out.Header = signed.Clone()
	out.Host = signed.Get("Host") // without the default port, as curl and browsers send it
	out.Header.Del("Host")
	return out
}

// received gives the request as a server reads it from the wire.
func received(t testing.TB, r *http.Request) (*http.Request, []byte) {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	return parse(t, wire.String())
}

func verify(t testing.TB, v *credential.Verifier, r *http.Request) (credential.Identity, error) {
	t.Helper()
	in, body := received(t, r)
	credential.Ingress(in.Header)
	return v.Verify(in, body)
}

func codeOf(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if got := codeOf(err); got != code {
		t.Fatalf("code %q (%v), want %q", got, err, code)
	}
	if code != credential.CodeAccessDenied && !fault.Is(err, fault.Unauthenticated) {
		t.Fatalf("kind %s, want unauthenticated", fault.KindOf(err))
	}
	for id, k := range keys {
		if k.Secret != "" && strings.Contains(err.Error(), string(k.Secret)) {
			t.Fatalf("the error shows the secret of %s: %v", id, err)
		}
	}
}

func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	arnPath  = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A111111111111%3Afunction%3Ahello/invocations"
	arnPlain = "/2015-03-31/functions/arn:aws:lambda:us-east-1:111111111111:function:hello/invocations"
)

var signable = map[string]message{
	"invoke":           {url: "http://127.0.0.1:9600/2015-03-31/functions/hello/invocations", body: `{"a":1}`},
	"arn encoded":      {url: "http://127.0.0.1:9600" + arnPath, body: `{"a":1}`},
	"arn plain":        {url: "http://127.0.0.1:9600" + arnPlain, body: `{"a":1}`},
	"qualifier":        {url: "http://127.0.0.1:9600" + arnPath + "?Qualifier=%24LATEST", body: `{"a":1}`},
	"no path":          {method: "GET", url: "http://localhost:9600"},
	"get":              {method: "GET", url: "http://localhost:9600/2015-03-31/functions/"},
	"default port":     {method: "GET", url: "http://localhost:80/2015-03-31/functions/"},
	"ipv6":             {method: "GET", url: "http://[::1]:9600/2015-03-31/functions/"},
	"no content hash":  {url: "http://localhost/x", body: "b", noContentSHA256: true},
	"unicode path":     {method: "GET", url: "http://localhost/f/%E1%88%B4%C3%A9/日本"},
	"space":            {method: "GET", url: "http://localhost/f/a%20b"},
	"percent":          {method: "GET", url: "http://localhost/f/100%25/a%2520b"},
	"slash encoded":    {method: "GET", url: "http://localhost/f/a%2Fb%2fc"},
	"two slashes":      {method: "GET", url: "http://localhost/f//a"},
	"reserved in path": {method: "GET", url: "http://localhost/f/!$&'()*+,;=:@~-._"},
	"query sorted":     {method: "GET", url: "http://localhost/f?b=2&a=1&B=0&a-b=1&a.b=2"},
	"query duplicates": {method: "GET", url: "http://localhost/f?k=b&k=a&k=&k&k=a%2Fb&k=a-b"},
	"query empty":      {method: "GET", url: "http://localhost/f?k&l=&=m"},
	"query encoded":    {method: "GET", url: "http://localhost/f?a%20b=c%26d%3De&p=1%2B1&q=a+b&u=%E2%82%AC&s=%2A~'()"},
	"date header kept": {method: "GET", url: "http://localhost/f", header: http.Header{"Date": {"Mon, 01 Jan 2001 00:00:00 GMT"}}},
	"headers": {url: "http://localhost/f", body: "b", header: http.Header{
		"Content-Type": {"application/json"}, "X-Amz-Invocation-Type": {"Event"}, "X-Amz-Tenant-Id": {"acme-1"},
		"My-Header": {"  a   b  ", "b,c", ""}, "X-Amz-Client-Context": {"eyJ9"}, "Accept": {"*/*"},
	}},
	"s3 key":          {service: "s3", method: "GET", url: "http://localhost/bucket/a%20b/c%2Bd/%E2%82%AC"},
	"s3 twice":        {service: "s3", method: "GET", url: "http://localhost/bucket/a%2520b"},
	"s3 reserved":     {service: "s3", method: "GET", url: "http://localhost/bucket/a!b$c"},
	"s3 put":          {service: "s3", method: "PUT", url: "http://localhost/bucket/k", body: "data", header: http.Header{"X-Amz-Meta-A": {"1", "2"}}},
	"iam us-east-1":   {service: "iam", url: "http://localhost/", body: "Action=GetUser&Version=2010-05-08", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}},
	"other principal": {keyID: "AKIDGLOBEX", url: "http://localhost/f", body: "b"},
}

func TestSDKHeaderSignatures(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	for name, m := range signable {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := verify(t, v, m.sign(t))
			if err != nil {
				t.Fatal(err)
			}
			m = m.defaults()
			want := keys[m.keyID]
			if got.KeyID != want.ID || got.Account != want.Account || got.Principal != want.Principal ||
				got.Service != m.service || got.Presigned || !got.SignedAt.Equal(signedAt) {
				t.Fatalf("identity %+v", got)
			}
			for h := range m.header {
				if !got.SignedHeaders.Has(h) {
					t.Errorf("SignedHeaders %q lacks %s", got.SignedHeaders, h)
				}
			}
			if got.SignedHeaders.Has("x-absent") || got.SignedHeaders.Has("hos") {
				t.Error("SignedHeaders.Has finds what is not there")
			}
		})
	}
}

func TestSDKPresignedSignatures(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt.Add(9 * time.Minute))
	for name, m := range signable {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m = m.defaults()
			address, rest, found := strings.Cut(m.url, "?")
			m.url = address + "?X-Amz-Expires=600"
			if found {
				m.url += "&" + rest
			}
			if m.service == "s3" {
				m.payloadHash = "UNSIGNED-PAYLOAD"
			}
			got, err := verify(t, v, m.presign(t))
			if err != nil {
				t.Fatal(err)
			}
			if !got.Presigned || got.KeyID != m.keyID {
				t.Fatalf("identity %+v", got)
			}
		})
	}
}
