package awsapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"crypto/sha256"
	"encoding/hex"

	"github.com/carrel-dev/carrel/fault"
)

// answer is a reply as a test looks at it.
type answer struct {
	status int
	header http.Header
	body   string
}

// send signs a request as acme and sends it.
func (b *bench) send(t testing.TB, method, path string, body []byte, header ...string) answer {
	t.Helper()
	return b.sendAs(t, Service, b.request(t, method, path, body, header...), body)
}

func (b *bench) request(t testing.TB, method, path string, body []byte, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.server.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func (b *bench) sendAs(t testing.TB, service string, r *http.Request, body []byte) answer {
	t.Helper()
	b.sign(t, service, r, body)
	return do(t, r)
}

func (b *bench) sign(t testing.TB, service string, r *http.Request, body []byte) {
	t.Helper()
	sum := sha256.Sum256(body)
	err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: b.acme.AccessKeyID, SecretAccessKey: b.acme.SecretAccessKey}, r,
		hex.EncodeToString(sum[:]), service, region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
}

func do(t testing.TB, r *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(got)}
}

func TestEveryKindIsMapped(t *testing.T) {
	t.Parallel()
	for _, kind := range fault.Kinds() {
		m, found := byKind[kind]
		if !found {
			t.Errorf("the kind %s has no status", kind)
			continue
		}
		x, known := exceptions[m.code]
		if !known {
			t.Errorf("%s gives %s, which no client knows", kind, m.code)
		}
		if x.status != m.status && m.code != "AccessDeniedException" && kind != fault.Timeout {
			t.Errorf("%s gives %s with %d in one table and %d in the other", kind, m.code, m.status, x.status)
		}
	}
	if len(byKind) != len(fault.Kinds()) {
		t.Errorf("%d kinds are mapped, there are %d", len(byKind), len(fault.Kinds()))
	}
}

// TestErrorBodies compares status and the name of the message member with
// what the SDK recorded of AWS.
func TestErrorBodies(t *testing.T) {
	t.Parallel()
	folder := strings.Replace(snapshots(t), "request_snapshot", "response_snapshot", 1)
	compared := 0
	for code, x := range exceptions {
		snap, err := readSnapshot(folder + "/" + code + ".error.snap")
		if err != nil {
			continue // common to all services: the SDK has no shape for it
		}
		compared++
		if snap.status != x.status {
			t.Errorf("%s: status %d, AWS has %d", code, x.status, snap.status)
		}
		if lower := strings.Contains(snap.body, `"message"`); lower != x.lower {
			t.Errorf("%s: lower-case message is %t, AWS has %t", code, x.lower, lower)
		}
	}
	if compared < 10 {
		t.Errorf("only %d exceptions were compared", compared)
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	h := New(Config{Region: region, Invoker: &fakeInvoker{}, Log: slog.New(slog.NewJSONHandler(&logged, nil))}).(*handler)
	throttled := fault.New("x", fault.Throttled, "Rate Exceeded.")
	throttled.Reason, throttled.RetryAfter = "CallerRateLimitExceeded", time.Millisecond
	for _, tc := range []struct {
		err     error
		status  int
		code    string
		body    string
		retryIn string
	}{
		{fault.New("x", fault.NotFound, "Function not found: f").WithRemedy("Create it."), 404, "ResourceNotFoundException", `{"Message":"Function not found: f Create it.","Type":"User"}`, ""},
		{throttled, 429, "TooManyRequestsException", `{"message":"Rate Exceeded.","Reason":"CallerRateLimitExceeded","Type":"User"}`, "1"},
		{errors.New("disk on fire"), 500, "ServiceException", `{"Message":"The service failed to handle the request. Report the request id the-id to the operator.","Type":"Service"}`, ""},
		{fault.Wrap("x", fault.Internal, errors.New("disk on fire"), "path /secret"), 500, "ServiceException", `{"Message":"The service failed to handle the request. Report the request id the-id to the operator.","Type":"Service"}`, ""},
		{fault.New("x", fault.Invalid, "no").WithCode("SomethingNewException"), 400, "SomethingNewException", `{"Message":"no","Type":"User"}`, ""},
		{fault.New("x", fault.Timeout, "late"), 504, "ServiceException", `{"Message":"late","Type":"Service"}`, ""},
	} {
		w := httptest.NewRecorder()
		h.fail(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), failure{"the-id", "acme", tc.err})
		if w.Code != tc.status || w.Header().Get(headerErrorType) != tc.code || w.Body.String() != tc.body || w.Header().Get("Retry-After") != tc.retryIn {
			t.Errorf("%v: %d %s %s, Retry-After %q", tc.err, w.Code, w.Header().Get(headerErrorType), w.Body, w.Header().Get("Retry-After"))
		}
	}
	if !strings.Contains(logged.String(), "disk on fire") || !strings.Contains(logged.String(), `"tenant":"acme","requestId":"the-id"`) {
		t.Errorf("the cause is not in the log: %s", &logged)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	const path = "/2015-03-31/functions/hello"
	unsigned := do(t, b.request(t, "GET", path, nil))
	if unsigned.status != 403 || unsigned.body != `{"message":"Missing Authentication Token","Type":"User"}` ||
		unsigned.header.Get(headerErrorType) != "MissingAuthenticationTokenException" {
		t.Errorf("unsigned: %+v", unsigned)
	}
	for _, tc := range []struct {
		what string
		got  answer
		code string
	}{
		{"another service", b.sendAs(t, "iam", b.request(t, "GET", path, nil), nil), "SignatureDoesNotMatch"},
		{"another body", b.sendAs(t, Service, b.request(t, "POST", path+"/invocations", []byte("{}")), []byte("[]")), "SignatureDoesNotMatch"},
		{"the twin", b.send(t, "POST", path+"/invocations", []byte("{}")), ""},
	} {
		if tc.got.header.Get(headerErrorType) != tc.code {
			t.Errorf("%s: %+v, want %s", tc.what, tc.got, tc.code)
		}
		if !uuidForm.MatchString(tc.got.header.Get("x-amzn-RequestId")) {
			t.Errorf("%s: request id %q", tc.what, tc.got.header.Get("x-amzn-RequestId"))
		}
	}
	if id := unsigned.header.Get("x-amzn-RequestId"); !uuidForm.MatchString(id) {
		t.Errorf("unsigned: request id %q", id)
	}
}

// TestUnsignedOptions shows that nothing can be added to a signed call on its
// way: no tenant, no kind, in no spelling.
func TestUnsignedOptions(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	for _, header := range []string{"X-Amz-Tenant-Id", "x-amz-tenant-id", "X_Amz_Tenant_Id", "X-Amz-Invocation-Type", "X-Amz-Client-Context"} {
		r := b.request(t, "POST", "/2015-03-31/functions/many/invocations", []byte("{}"), headerTenantID, "blue")
		b.sign(t, Service, r, []byte("{}"))
		r.Header[header] = append(r.Header[header], "red")
		if got := do(t, r); got.status != http.StatusForbidden {
			t.Errorf("with %s added: %+v", header, got)
		}
	}
	equal(t, "calls that ran", len(b.invoker.calls), 0)
	r := b.request(t, "POST", "/2015-03-31/functions/many/invocations", []byte("{}"), headerTenantID, "blue")
	if got := b.sendAs(t, Service, r, []byte("{}")); got.status != http.StatusOK {
		t.Errorf("the twin: %+v", got)
	}
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// TestShapes sends what has the wrong shape and reads AWS's words for it.
func TestShapes(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	const functionsPath, one = "/2015-03-31/functions", "/2015-03-31/functions/hello"
	create := func(more string) string {
		return `{"FunctionName":"new","Role":"` + b.acme.RoleARN + `","Runtime":"wasm","Code":{"ZipFile":"AGFzbQ=="}` + more + `}`
	}
	for _, tc := range []struct{ method, path, body, code, message string }{
		{"POST", functionsPath, `{`, "InvalidRequestContentException", "Could not parse request body into json"},
		{"POST", functionsPath, `[]`, "SerializationException", "START_ARRAY can not be converted to an Object"},
		{"POST", functionsPath, `{"FunctionName":7}`, "SerializationException", "NUMBER_VALUE can not be converted to a String at 'functionName'"},
		{"POST", functionsPath, `{"FunctionName":"a","FunctionName":"b"}`, "SerializationException", `more than once`},
		{"POST", functionsPath, `{"FunctionName":"a","Function\u004eame":"b"}`, "SerializationException", `more than once`},
		{"POST", functionsPath, `{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "SerializationException", "more than 32 levels"},
		{"POST", functionsPath, `{}`, "ValidationException", "3 validation errors detected: Value null at 'functionName' failed to satisfy constraint: Member must not be null; Value null at 'role'"},
		{"POST", functionsPath, create(`,"MemorySize":"128"`), "SerializationException", "STRING_VALUE can not be converted to an Integer at 'memorySize'"},
		{"POST", functionsPath, create(`,"Publish":1`), "SerializationException", "Boolean at 'publish'"},
		{"POST", functionsPath, create(`,"Timeout":0`), "ValidationException", "Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"POST", functionsPath, create(`,"Tags":{"a":1}`), "SerializationException", "at 'tags.a'"},
		{"POST", functionsPath, create(`,"TenancyConfig":{"TenantIsolationMode":"X"}`), "ValidationException", "enum value set: [PER_TENANT]"},
		{"POST", functionsPath, create(`,"Layers":["x"]`), "InvalidParameterValueException", "Layers is not available"},
		{"POST", functionsPath, create(`,"EphemeralStorage":{"Size":1024}`), "InvalidParameterValueException", "EphemeralStorage of 1024 MB"},
		{"POST", functionsPath, create(`,"SnapStart":{"ApplyOn":"PublishedVersions"}`), "InvalidParameterValueException", "snapStart.applyOn"},
		{"POST", functionsPath, create(`,"VpcConfig":{"SubnetIds":["subnet-1"]}`), "InvalidParameterValueException", "SubnetIds is not available"},
		{"POST", functionsPath, create(`,"Architectures":["arm64"]`), "InvalidParameterValueException", "Architectures"},
		{"POST", functionsPath, create(`,"PackageType":"Image"`), "InvalidParameterValueException", "PackageType Image is not there"},
		{"POST", functionsPath, strings.Replace(create(""), "AGFzbQ==", "not base64", 1), "SerializationException", "not valid base64"},
		{"POST", functionsPath, strings.Replace(create(""), `"ZipFile":"AGFzbQ=="`, "", 1), "InvalidParameterValueException", "Please provide a source for function code."},
		{"POST", functionsPath, strings.Replace(create(""), `"ZipFile":"AGFzbQ=="`, `"S3Bucket":"b","S3Key":"k"`, 1), "InvalidParameterValueException", "S3Bucket is not available"},
		{"POST", functionsPath, strings.Replace(create(""), `"new"`, `"new:1"`, 1), "ValidationException", "Value 'new:1' at 'functionName'"},
		{"POST", functionsPath, strings.Replace(create(""), `"new"`, `""`, 1), "ValidationException", "Value '' at 'functionName'"},
		{"POST", functionsPath, strings.Replace(create(""), `"new"`, `"`+string(b.globex.AccountID)+`:function:new"`, 1), "AccessDeniedException", "lambda:CreateFunction"},
		{"PUT", one + ":1/configuration", `{}`, "InvalidParameterValueException", "works on a function"},
		{"PUT", one + "/configuration", `{"Runtime":null,"Handler":5}`, "SerializationException", "at 'handler'"},
		{"PUT", "/2017-10-31/functions/hello/concurrency", `{}`, "ValidationException", "Value null at 'reservedConcurrentExecutions'"},
		{"PUT", "/2017-10-31/functions/hello/concurrency", `{"ReservedConcurrentExecutions":1.5}`, "SerializationException", "Integer"},
		{"POST", one + "/aliases", `{"Name":"x","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":"x"}}}`, "SerializationException", "Double"},
		{"DELETE", "/2017-03-31/tags/hello?tagKeys=a", ``, "InvalidParameterValueException", "is not the ARN of a Lambda function"},
		{"DELETE", "/2017-03-31/tags/" + b.arn("hello", ""), ``, "ValidationException", "Value null at 'tagKeys'"},
		{"GET", "/2017-03-31/tags/" + b.arn("hello", "1"), ``, "InvalidParameterValueException", "Tags on function aliases and versions are not supported"},
		{"GET", functionsPath + "?MaxItems=x", ``, "SerializationException", "maxItems"},
		{"GET", functionsPath + "?MaxItems=1&MaxItems=2", ``, "InvalidParameterValueException", "more than once"},
		{"POST", one + "/versions", strings.Repeat(" ", 1<<20) + " ", "RequestEntityTooLargeException", "Request must be smaller than 1048576 bytes for the PublishVersion operation"},
	} {
		got := b.send(t, tc.method, tc.path, []byte(tc.body))
		var body struct{ Message, Type string }
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			t.Errorf("%s %s %.80s: %s", tc.method, tc.path, tc.body, got.body)
			continue
		}
		if got.header.Get(headerErrorType) != tc.code || !strings.Contains(body.Message, tc.message) || body.Type != "User" {
			t.Errorf("%s %s %.80s\n got %d %s %s\nwant %s ...%s...", tc.method, tc.path, tc.body, got.status, got.header.Get(headerErrorType), got.body, tc.code, tc.message)
		}
	}
	// The twin: members that nobody knows, null ones and other letters are taken.
	got := b.send(t, "POST", functionsPath, []byte(create(`,"Colour":{"x":[1,{"y":null}]},"Layers":null,"memorysize":"x"`)))
	if got.status != 201 {
		t.Errorf("a request with unknown members: %+v", got)
	}
}

func TestEncodedAndChunkedBodies(t *testing.T) {
	t.Parallel()
	b := withFunctions(t, func(c *Config) { c.Limits.Buffered = 1 << 20 })
	const path = "/2015-03-31/functions/hello/invocations"
	if got := b.send(t, "POST", path, []byte("{}"), "Content-Encoding", "gzip"); got.status != 415 {
		t.Errorf("an encoded body: %+v", got)
	}
	large := bytes.Repeat([]byte("1"), 200<<10)
	if got := b.send(t, "POST", path, large); got.body != string(large) {
		t.Errorf("a body over the pooled size came back as %d bytes, status %d", len(got.body), got.status)
	}
	for _, size := range []int{10, 64 << 10, 200 << 10} {
		body := bytes.Repeat([]byte("1"), size)
		r := b.request(t, "POST", path, body)
		r.ContentLength, r.Body = -1, io.NopCloser(bytes.NewReader(body))
		if got := b.sendAs(t, Service, r, body); got.body != string(body) {
			t.Errorf("a chunked body of %d bytes came back as %d, status %d", size, len(got.body), got.status)
		}
	}
	tooMuch := bytes.Repeat([]byte("1"), 2<<20)
	if got := b.send(t, "POST", path, tooMuch); got.status != 503 || got.header.Get(headerErrorType) != "ServiceUnavailableException" {
		t.Errorf("a body over what the node holds: %d %s", got.status, got.body)
	}
	if got := b.send(t, "POST", path, large); got.body != string(large) {
		t.Errorf("the memory of a refused body was not given back: %d", got.status)
	}
}

// readSnapshot reads a recorded reply: a status line, headers, a body.
func readSnapshot(file string) (answer, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return answer{}, err
	}
	status, rest, _ := strings.Cut(string(content), "\n")
	code, err := strconv.Atoi(strings.TrimSpace(status))
	return answer{status: code, body: rest}, err
}
