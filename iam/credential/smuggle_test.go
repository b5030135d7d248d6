package credential_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/iam/credential"
)

// echo answers with what a handler behind Guard and Verify sees: who called,
// and every header.
func echo(v *credential.Verifier) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
			return
		}
		who, err := v.Verify(r, body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "caller=%s\nremote=%s\n", who.Principal, strings.Split(r.RemoteAddr, ":")[0])
		for name, values := range r.Header {
			for _, value := range values {
				fmt.Fprintf(w, "%s=%s\n", strings.ToLower(strings.ReplaceAll(name, "_", "-")), value)
			}
		}
	})
}

// exchange sends bytes to a server and gives the status of every reply that
// comes back, and all their text.
func exchange(t *testing.T, addr, wire string) ([]int, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, wire); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var statuses []int
	var text strings.Builder
	in := bufio.NewReader(conn)
	for {
		reply, err := http.ReadResponse(in, nil)
		if err != nil {
			return statuses, text.String()
		}
		statuses = append(statuses, reply.StatusCode)
		text.Write(readAll(t, reply.Body))
	}
}

// signedLines gives a signed invoke as it stands on the wire: request line
// and headers without the empty line, and the body.
func signedLines(t *testing.T, addr string) (head, body string) {
	t.Helper()
	r := message{url: "http://" + addr + "/2015-03-31/functions/hello/invocations", body: `{"a":1}`,
		header: http.Header{"X-Amz-Tenant-Id": {"acme-1"}, "X-Amz-Invocation-Type": {"RequestResponse"}}}.sign(t)
	var wire strings.Builder
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	head, body, _ = strings.Cut(wire.String(), "\r\n\r\n")
	return head, body
}

// clean and refused are what may come of a smuggling attempt: the handler
// sees the signed request without the addition, or nothing at all.
const clean, refused = true, false

// additions are header lines that an attacker puts into a signed request.
var additions = map[string]struct {
	lines string
	seen  bool
}{
	"tenant":                         {"X-Tenant-Id: evil", clean},
	"tenant lower":                   {"x-tenant-id: evil", clean},
	"tenant underscores":             {"X_Tenant_Id: evil", clean},
	"tenant mixed":                   {"X-Tenant_Id: evil", clean},
	"tenant dots":                    {"X.Tenant.Id: evil", clean},
	"account":                        {"X-Account-Id: evil", clean},
	"ours":                           {"X-Carrel-Principal: evil", clean},
	"forwarded":                      {"Forwarded: for=evil", clean},
	"forwarded for":                  {"X-Forwarded-For: evil", clean},
	"forwarded twice":                {"X-Forwarded-For: evil\r\nx-forwarded-for: evil", clean},
	"forwarded underscore":           {"X_FORWARDED_FOR: evil", clean},
	"forwarded host":                 {"X-Forwarded-Host: evil", clean},
	"forwarded proto":                {"X-Forwarded-Proto: evil", clean},
	"forwarded user":                 {"X-Forwarded-User: evil", clean},
	"real ip":                        {"X-Real-IP: evil", clean},
	"true client ip":                 {"True-Client-IP: evil", clean},
	"original url":                   {"X-Original-URL: evil", clean},
	"rewrite url":                    {"X-Rewrite-URL: evil", clean},
	"method":                         {"X-HTTP-Method-Override: evil", clean},
	"remote user":                    {"X-Remote-User: evil", clean},
	"remote user underscore":         {"REMOTE_USER: evil", clean},
	"httpoxy":                        {"Proxy: evil", clean},
	"client certificate":             {"Client-Cert: evil", clean},
	"envoy":                          {"X-Envoy-External-Address: evil", clean},
	"request id":                     {"x-amzn-RequestId: evil", clean},
	"connection lists the addition":  {"Connection: X-Evil\r\nX-Evil: evil", clean},
	"connection lists several":       {"Connection: keep-alive,  x-evil ,\r\nX-Evil: evil", clean},
	"connection twice":               {"Connection: keep-alive\r\nConnection: X-Evil\r\nX-Evil: evil", clean},
	"connection lists an amz header": {"Connection: X-Amz-Log-Type\r\nX-Amz-Log-Type: evil", clean},
	"amz underscores":                {"X_Amz_Tenant_Id: evil", clean},
	"amz mixed":                      {"X-Amz_Tenant-Id: evil", clean},
	"upgrade":                        {"Connection: Upgrade\r\nUpgrade: evil", clean},
	"h2c":                            {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: evil", clean},
	"te":                             {"TE: evil", clean},
	"bare newline":                   {"X-Note: a\nX-Tenant-Id: evil", clean},

	"amz unsigned":                      {"X-Amz-Log-Type: evil", refused},
	"amz unsigned odd case":             {"x-aMz-lOg-tYpE: evil", refused},
	"amz client context":                {"X-Amz-Client-Context: evil", refused},
	"amz doubled":                       {"X-Amz-Tenant-Id: evil", refused},
	"amz doubled lower":                 {"x-amz-tenant-id: evil", refused},
	"amz doubled with the same":         {"X-Amz-Tenant-Id: acme-1", refused},
	"amz doubled empty":                 {"X-Amz-Tenant-Id:", refused},
	"amz space before colon":            {"X-Amz-Tenant-Id : evil", refused},
	"amz tab before colon":              {"X-Amz-Tenant-Id\t: evil", refused},
	"space before colon":                {"X-Tenant-Id : evil", refused},
	"leading space continues":           {" X-Tenant-Id: evil", refused},
	"bare return":                       {"X-Note: a\rX-Tenant-Id: evil", refused},
	"nul":                               {"X-Note: a\x00evil", refused},
	"nul in name":                       {"X-Tenant\x00Id: evil", refused},
	"no colon":                          {"X-Tenant-Id evil", refused},
	"empty name":                        {": evil", refused},
	"unicode name":                      {"X-Amz-Tenant-İd: evil", refused},
	"security token":                    {"X-Amz-Security-Token: evil", refused},
	"date":                              {"X-Amz-Date: 20150830T123601Z", refused},
	"payload hash":                      {"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD", refused},
	"authorization":                     {"Authorization: Bearer evil", refused},
	"authorization lower":               {"authorization: Bearer evil", refused},
	"content type":                      {"Content-Type: text/evil", refused},
	"host":                              {"Host: evil", refused},
	"connection lists tenant":           {"Connection: X-Amz-Tenant-Id", refused},
	"connection lists tenant lower":     {"Connection: close, x-amz-tenant-id", refused},
	"connection lists date":             {"Connection: x-amz-date", refused},
	"connection lists authorization":    {"Connection: authorization", refused},
	"length differs":                    {"Content-Length: 3", refused},
	"length plus":                       {"Content-Length: +7", refused},
	"length list":                       {"Content-Length: 7, 7", refused},
	"length hex":                        {"Content-Length: 0x7", refused},
	"chunked too":                       {"Transfer-Encoding: chunked", refused},
	"chunked odd case":                  {"Transfer-Encoding: ChUnKeD", refused},
	"chunked twice":                     {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", refused},
	"chunked list":                      {"Transfer-Encoding: identity, chunked", refused},
	"chunked x":                         {"Transfer-Encoding: xchunked", refused},
	"chunked space":                     {"Transfer-Encoding : chunked", refused},
	"chunked tab":                       {"Transfer-Encoding:\tchunked", refused},
	"chunked folded":                    {"Transfer-Encoding:\r\n chunked", refused},
	"chunked vertical tab":              {"Transfer-Encoding: \x0bchunked", refused},
	"content type in two spellings":     {"Content-Type: application/x-www-form-urlencoded\r\ncontent-type: text/evil", refused},
	"fold onto a header that is signed": {"X-Amz-Invocation-Type: RequestResponse\r\n evil", refused},
}

// TestSmuggledHeaders is A24 over raw TCP against net/http.
func TestSmuggledHeaders(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(credential.Guard(echo(newVerifier(signedAt))))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	head, body := signedLines(t, addr)

	statuses, text := exchange(t, addr, head+"\r\n\r\n"+body) // the harmless twin
	if !slices.Equal(statuses, []int{200}) || !strings.Contains(text, "x-amz-tenant-id=acme-1\n") || !strings.Contains(text, "caller=arn:aws:iam::111111111111:user/admin\n") {
		t.Fatalf("the request as signed: %v\n%s", statuses, text)
	}
	for name, a := range additions {
		for place, wire := range map[string]string{
			"last":  head + "\r\n" + a.lines + "\r\n\r\n" + body,
			"first": strings.Replace(head, "\r\n", "\r\n"+a.lines+"\r\n", 1) + "\r\n\r\n" + body,
		} {
			statuses, text := exchange(t, addr, wire)
			accepted := slices.Contains(statuses, 200)
			if accepted != a.seen {
				t.Errorf("%s, %s: %v\n%s", name, place, statuses, text)
			}
			if accepted && (len(statuses) != 1 || strings.Contains(text, "evil") || !strings.Contains(text, "x-amz-tenant-id=acme-1\n")) {
				t.Errorf("%s, %s: smuggled\n%s", name, place, text)
			}
		}
	}
}

// TestSmuggledRequests changes the request line and the framing.
func TestSmuggledRequests(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(credential.Guard(echo(newVerifier(signedAt))))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	head, body := signedLines(t, addr)
	line, headers, _ := strings.Cut(head, "\r\n")
	path := strings.Fields(line)[1]
	const hidden = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"
	for name, wire := range map[string]string{
		"absolute form":                   "POST http://" + addr + path + " HTTP/1.1\r\n" + headers + "\r\n\r\n" + body,
		"absolute form, other host":       "POST http://evil" + path + " HTTP/1.1\r\n" + headers + "\r\n\r\n" + body,
		"authority in the path":           "POST //evil" + path + " HTTP/1.1\r\n" + headers + "\r\n\r\n" + body,
		"connect":                         "CONNECT " + addr + " HTTP/1.1\r\n" + headers + "\r\n\r\n" + body,
		"asterisk":                        "OPTIONS * HTTP/1.1\r\n" + headers + "\r\n\r\n" + body,
		"method in lower case":            strings.Replace(head, "POST", "post", 1) + "\r\n\r\n" + body,
		"two spaces":                      strings.Replace(head, "POST ", "POST  ", 1) + "\r\n\r\n" + body,
		"http/0.9":                        "POST " + path + "\r\n" + headers + "\r\n\r\n" + body,
		"http/1.0 with no host":           "POST " + path + " HTTP/1.0\r\n" + strings.Replace(headers, "Host: "+addr+"\r\n", "", 1) + "\r\n\r\n" + body,
		"host with a space":               strings.Replace(head, "Host: ", "Host: evil ", 1) + "\r\n\r\n" + body,
		"fragment":                        strings.Replace(head, path, path+"%23x", 1) + "\r\n\r\n" + body,
		"dot segments":                    strings.Replace(head, path, "/x/.."+path, 1) + "\r\n\r\n" + body,
		"backslash":                       strings.Replace(head, path, `\`+path, 1) + "\r\n\r\n" + body,
		"body cut":                        head + "\r\n\r\n" + body[:3],
		"body other":                      head + "\r\n\r\n" + strings.Replace(body, "1", "2", 1),
		"chunked with length, right body": head + "\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + body + "\r\n0\r\n\r\n",
		"chunked with length, hidden":     head + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
	} {
		statuses, text := exchange(t, addr, wire)
		if strings.Contains(text, "caller=") { // net/http itself says 200 to OPTIONS *
			t.Errorf("%s: %v\n%s", name, statuses, text)
		}
	}
	// What follows the body is a request of its own, without the identity of
	// the first.
	statuses, text := exchange(t, addr, head+"\r\n\r\n"+body+hidden)
	if !slices.Equal(statuses, []int{200, 403}) || !strings.Contains(text, "not signed") {
		t.Errorf("pipelined: %v\n%s", statuses, text)
	}
}

// TestSmugglingControl shows that the attacks work where Guard is missing.
func TestSmugglingControl(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(echo(newVerifier(signedAt)))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	head, body := signedLines(t, addr)
	for _, line := range []string{"X-Tenant-Id: evil", "X_Tenant_Id: evil", "X-Forwarded-For: evil", "Connection: X-Evil\r\nX-Evil: evil"} {
		statuses, text := exchange(t, addr, head+"\r\n"+line+"\r\n\r\n"+body)
		if !slices.Equal(statuses, []int{200}) || !strings.Contains(text, "=evil\n") {
			t.Errorf("%s: %v\n%s", line, statuses, text)
		}
	}
}

func TestIngressKeeps(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Authorization", "Content-Type", "Content-Length", "Content-Encoding", "Cookie", "Date", "Expect", "If-Match", "Range",
		"User-Agent", "Traceparent", "X-Amz-Date", "X-Amz-Tenant-Id", "X-Amz-Content-Sha256", "X-Amz-Target", "X-Amzn-Trace-Id", "Amz-Sdk-Request", "X-Note",
	} {
		h.Set(name, "v")
	}
	before := len(h)
	credential.Ingress(h)
	if len(h) != before {
		t.Fatalf("kept %v", h)
	}
	h["host"], h["x-Forwarded-for"], h[""] = []string{"evil"}, []string{"evil"}, nil
	credential.Ingress(h)
	delete(h, "")
	if len(h) != before {
		t.Fatalf("kept %v", h)
	}
}

// TestLambdaClient invokes through the SDK's own client, with all that its
// middleware adds.
func TestLambdaClient(t *testing.T) {
	t.Parallel()
	v := credential.New(credential.Config{Region: "us-east-1", Services: []string{"lambda"}, Lookup: keys})
	server := httptest.NewServer(credential.Guard(echo(v)))
	t.Cleanup(server.Close)
	client := func(secret string) *lambda.Client {
		return lambda.New(lambda.Options{
			Region: "us-east-1", BaseEndpoint: aws.String(server.URL), RetryMaxAttempts: 1,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKIDGLOBEX", SecretAccessKey: secret}, nil
			}),
		})
	}
	for _, name := range []string{"hello", "arn:aws:lambda:us-east-1:222222222222:function:hello", "hello:live"} {
		in := &lambda.InvokeInput{
			FunctionName: aws.String(name), Payload: []byte(`{"a":1}`), Qualifier: aws.String("$LATEST"), TenantId: aws.String("acme-1"),
			InvocationType: types.InvocationTypeRequestResponse, LogType: types.LogTypeTail,
		}
		out, err := client(string(keys["AKIDGLOBEX"].Secret)).Invoke(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(out.Payload); !strings.Contains(text, "caller=arn:aws:iam::222222222222:user/admin\n") || !strings.Contains(text, "x-amz-tenant-id=acme-1\n") {
			t.Errorf("%s: %s", name, text)
		}
		if _, err := client("wrong").Invoke(t.Context(), in); err == nil {
			t.Errorf("%s: a wrong secret is accepted", name)
		}
	}
}

// TestCurl signs with the curl that is installed.
func TestCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	help, err := exec.CommandContext(ctx, curl, "--help", "all").Output()
	if err != nil || !strings.Contains(string(help), "--aws-sigv4") {
		t.Skip("this curl has no --aws-sigv4")
	}
	v := credential.New(credential.Config{Region: "us-east-1", Services: []string{"lambda", "carrel", "s3"}, Lookup: keys})
	server := httptest.NewServer(credential.Guard(echo(v)))
	t.Cleanup(server.Close)
	run := func(service, secret string, args ...string) string {
		args = append([]string{"-s", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:" + service, "-u", "AKIDEXAMPLE:" + secret}, args...)
		out, err := exec.CommandContext(ctx, curl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	secret := string(keys["AKIDEXAMPLE"].Secret)
	for name, out := range map[string]string{
		"get":    run("lambda", secret, server.URL+"/2015-03-31/functions/"),
		"query":  run("lambda", secret, server.URL+"/2015-03-31/functions/?Marker=a%20b&MaxItems=5"),
		"invoke": run("lambda", secret, "-d", `{"a":1}`, server.URL+arnPath),
		"plain":  run("lambda", secret, "-d", `{"a":1}`, server.URL+arnPlain),
		"tenant": run("lambda", secret, "-H", "X-Amz-Tenant-Id: acme-1", "-H", "Content-Type: application/json", "-d", "{}", server.URL+arnPath),
		"v1":     run("carrel", secret, "-X", "DELETE", server.URL+"/v1/tenants/acme"),
		"s3":     run("s3", secret, "-X", "PUT", "-H", "Content-Type: text/plain", "-d", "data", server.URL+"/bucket/a%20b"),
	} {
		if !strings.Contains(out, "caller=arn:aws:iam::111111111111:user/admin\n") {
			t.Errorf("%s: %s", name, out)
		}
	}
	if out := run("lambda", "wrong", server.URL+"/2015-03-31/functions/"); strings.Contains(out, "caller=") || !strings.Contains(out, "signature") {
		t.Errorf("a wrong secret: %s", out)
	}
}
