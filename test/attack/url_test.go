package attack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/examples/echo"
)

// publicURL deploys a function that returns its event, with a URL for everybody.
func (w *world) publicURL(t *testing.T, name string) *url.URL {
	t.Helper()
	w.deploy(t, w.acme, deployed{name: name, code: echo.Module()})
	c := w.node.Lambda(w.acme)
	made, err := c.CreateFunctionUrlConfig(t.Context(), &lambda.CreateFunctionUrlConfigInput{FunctionName: &name, AuthType: types.FunctionUrlAuthTypeNone})
	if err == nil {
		_, err = c.AddPermission(t.Context(), &lambda.AddPermissionInput{FunctionName: &name, StatementId: aws.String("public"),
			Action: aws.String("lambda:InvokeFunctionUrl"), Principal: aws.String("*"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone})
	}
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(*made.FunctionUrl)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// told is what of an event the node vouches for.
type told struct {
	Headers map[string]string `json:"headers"`
	Context struct {
		AccountID    string `json:"accountId"`
		DomainPrefix string `json:"domainPrefix"`
		HTTP         struct {
			SourceIP string `json:"sourceIp"`
			Method   string `json:"method"`
		} `json:"http"`
		Authorizer any `json:"authorizer"`
	} `json:"requestContext"`
}

// TestA24SmuggledHeadersAtURLs: whatever lines a request to a public URL has,
// there is one answer, and what the node says of the request stays true.
func TestA24SmuggledHeadersAtURLs(t *testing.T) {
	t.Parallel()
	w := &shared
	at := w.publicURL(t, "a24-url")
	id, _, _ := strings.Cut(at.Host, ".")
	check := func(what, out string) {
		t.Helper()
		all := statuses(out)
		if len(all) != 1 && !(len(all) == 2 && all[1] == "400") {
			t.Errorf("%s: %d answers: %s", what, len(all), out)
			return
		}
		if all[0] != "200" {
			if all[0] < "400" || all[0] > "499" && all[0] != "501" {
				t.Errorf("%s: %s", what, out)
			}
			return
		}
		_, body, _ := strings.Cut(out, "\r\n\r\n")
		body, _, _ = strings.Cut(body, "HTTP/1.1 ")
		var e told
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Errorf("%s: the answer is no event: %s", what, out)
			return
		}
		if _, there := e.Headers["x-amz-tenant-id"]; there || e.Context.AccountID != "anonymous" || e.Context.Authorizer != nil || e.Context.DomainPrefix != id ||
			e.Context.HTTP.SourceIP != "127.0.0.1" || e.Context.HTTP.Method != "GET" || e.Headers["x-forwarded-for"] != "127.0.0.1" {
			t.Errorf("%s arrived: %s", what, body)
		}
	}
	raw := func(line string) string {
		return w.exchange(t, []byte(fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n", at.Host, line)))
	}
	if twin := raw(""); len(statuses(twin)) != 1 || statuses(twin)[0] != "200" {
		t.Fatalf("an ordinary request: %s", twin)
	}
	for _, line := range []string{
		"X-Amz-Tenant-Id: v", "x-amz-tenant-id : v", "X-A: b\nX-Amz-Tenant-Id: v", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-Ip: 10.0.0.1",
		"X-Http-Method-Override: DELETE", "Connection: host", "Connection: x-forwarded-for", "Host: localhost", "Content-Length: 0\r\nContent-Length: 5", "Content-Length: +1",
		"Transfer-Encoding: chunked\r\nContent-Length: 3", "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Upgrade: h2c", "Te: trailers", "Trailer: X-Amz-Tenant-Id",
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00", "X-Amz-Security-Token: t", "Expect: v",
	} {
		check(fmt.Sprintf("%q", line), raw(line+"\r\n"))
	}
}

// TestA24HostsOfURLs: a function's host has nothing of the node's API, and what
// is signed for one host is not good at the other.
func TestA24HostsOfURLs(t *testing.T) {
	t.Parallel()
	w := &shared
	at := w.publicURL(t, "a24-host")
	sent := func(r *http.Request, host string) answer { r.Host = host; return send(t, r) }
	path := fmt.Sprintf(invocations, "a24-host")
	// The harmless twin: the same request, where it was signed for.
	m := message{method: "POST", path: path, body: `{"n":1}`}
	if got := send(t, w.signed(t, w.acme, m)); got.status != 200 || got.body != `{"n":1}` {
		t.Fatalf("an ordinary call: %d %s", got.status, got.body)
	}
	if got := sent(w.signed(t, w.acme, m), at.Host); got.status != 200 || !strings.Contains(got.body, `"rawPath":"`+path+`"`) {
		t.Errorf("the API's path at a function's host: %d %s", got.status, got.body)
	}
	for _, host := range []string{"localhost", "x.localhost", "lambda-url.localhost", at.Host + ".example.com", "x" + at.Host[1:] + "x"} {
		if got := sent(w.signed(t, w.acme, m), host); got.status == 200 {
			t.Errorf("what was signed for another host than %q: %s", host, got.body)
		}
	}
	for _, host := range []string{strings.Repeat("a", 32) + ".lambda-url.localhost", "x." + at.Host, ".lambda-url.localhost"} {
		for _, path := range []string{"/", "/healthz", "/v1/tenants", path} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", w.node.Endpoint+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := sent(r, host); got.status != 403 || !strings.Contains(got.body, "Forbidden") {
				t.Errorf("%s at %s: %d %s", path, host, got.status, got.body)
			}
		}
	}
}
