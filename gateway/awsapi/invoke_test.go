package awsapi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

func TestInvoke(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	c, ctx := b.client(b.acme), t.Context()
	context64 := base64.StdEncoding.EncodeToString([]byte(`{"custom":{}}`))
	out := must[*lambda.InvokeOutput](t)(c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("hello"), Payload: []byte(`{"n":1}`), ClientContext: aws.String(context64)}))
	equal(t, "status", out.StatusCode, int32(200))
	equal(t, "payload", string(out.Payload), `{"n":1}`)
	equal(t, "version", aws.ToString(out.ExecutedVersion), "$LATEST")
	equal(t, "error", out.FunctionError, (*string)(nil))
	equal(t, "log", out.LogResult, (*string)(nil))
	got := b.invoker.last(t)
	if got.RequestID == "" || got.Received.IsZero() || got.Target == nil {
		t.Errorf("the call is incomplete: %+v", got)
	}
	equal(t, "owner", got.Owner.Account, b.acme.AccountID)
	acme, _ := b.control.Principal(b.acme.AccessKeyID)
	if o := got.Principal.Origin; !o.IP.IsLoopback() || o.TLS || !strings.HasPrefix(o.UserAgent, "aws-sdk-go-v2/") {
		t.Errorf("origin %+v", o)
	}
	got.Principal.Origin = call.Origin{}
	equal(t, "principal", got.Principal, acme)
	equal(t, "client context", got.ClientContext, context64)
	equal(t, "attempt and trigger", []any{got.Attempt, got.Trigger, got.LogTail, got.DryRun}, []any{1, call.ViaInvoke, false, false})

	for _, name := range []string{"hello:live", string(b.acme.AccountID) + ":function:hello:live", b.arn("hello", "1"), b.arn("hello", "")} {
		in := &lambda.InvokeInput{FunctionName: aws.String(name)}
		if strings.HasSuffix(name, "hello") {
			in.Qualifier = aws.String("live")
		}
		out = must[*lambda.InvokeOutput](t)(c.Invoke(ctx, in))
		equal(t, "version of "+name, aws.ToString(out.ExecutedVersion), "1")
		equal(t, "the event of no payload", string(b.invoker.last(t).Event), "{}")
	}
}

func TestInvokeKinds(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	c, ctx := b.client(b.acme), t.Context()
	hello := aws.String("hello")
	out := must[*lambda.InvokeOutput](t)(c.Invoke(ctx, &lambda.InvokeInput{FunctionName: hello, InvocationType: types.InvocationTypeEvent, Payload: []byte(`1`)}))
	equal(t, "status of an event", out.StatusCode, int32(202))
	equal(t, "queued", []any{len(b.invoker.queued), b.invoker.queued[0].Trigger, string(b.invoker.queued[0].Event)}, []any{1, call.ViaEvent, "1"})
	b.invoker.refuse = fault.New("queue", fault.Throttled, "Rate Exceeded.")
	_, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: hello, InvocationType: types.InvocationTypeEvent})
	refused(t, err, "TooManyRequestsException", "Rate Exceeded.")

	out = must[*lambda.InvokeOutput](t)(c.Invoke(ctx, &lambda.InvokeInput{FunctionName: hello, InvocationType: types.InvocationTypeDryRun}))
	equal(t, "status of a dry run", out.StatusCode, int32(204))
	equal(t, "dry run", b.invoker.last(t).DryRun, true)

	b.invoker.outcome = func(c *call.Call) *call.Outcome {
		return &call.Outcome{Result: call.TimedOut, Payload: []byte(`{"errorType":"Sandbox.Timedout"}`), Log: []byte("START\n")}
	}
	out = must[*lambda.InvokeOutput](t)(c.Invoke(ctx, &lambda.InvokeInput{FunctionName: hello, LogType: types.LogTypeTail}))
	equal(t, "a failure of the function", []any{out.StatusCode, aws.ToString(out.FunctionError), string(out.Payload), aws.ToString(out.LogResult)},
		[]any{int32(200), "Unhandled", `{"errorType":"Sandbox.Timedout"}`, base64.StdEncoding.EncodeToString([]byte("START\n"))})
	equal(t, "tail", b.invoker.last(t).LogTail, true)

	b.invoker.outcome = func(*call.Call) *call.Outcome { return &call.Outcome{} }
	out = must[*lambda.InvokeOutput](t)(c.Invoke(ctx, &lambda.InvokeInput{FunctionName: hello, LogType: types.LogTypeNone}))
	equal(t, "the payload of no value", string(out.Payload), "null")
}

func TestInvokeRefusals(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	c, ctx := b.client(b.acme), t.Context()
	hello := aws.String("hello")
	for _, tc := range []struct {
		in            lambda.InvokeInput
		code, message string
	}{
		{lambda.InvokeInput{FunctionName: hello, Payload: []byte("{")}, "InvalidRequestContentException", "Could not parse request body into json: unexpected end"},
		{lambda.InvokeInput{FunctionName: hello, InvocationType: "Maybe"}, "ValidationException", "Value 'Maybe' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]"},
		{lambda.InvokeInput{FunctionName: hello, LogType: "Head"}, "ValidationException", "Value 'Head' at 'logType'"},
		{lambda.InvokeInput{FunctionName: hello, ClientContext: aws.String("%%")}, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object."},
		{lambda.InvokeInput{FunctionName: hello, ClientContext: aws.String(strings.Repeat("A", 3584))}, "InvalidRequestContentException", "3583"},
		{lambda.InvokeInput{FunctionName: hello, DurableExecutionName: aws.String("x")}, "InvalidParameterValueException", "Durable executions"},
		{lambda.InvokeInput{FunctionName: hello, Qualifier: aws.String("sp ace")}, "ValidationException", "at 'qualifier'"},
		{lambda.InvokeInput{FunctionName: aws.String("hello:1"), Qualifier: aws.String("live")}, "InvalidParameterValueException", "The derived qualifier from the function name does not match the specified qualifier."},
		{lambda.InvokeInput{FunctionName: aws.String("hel.lo")}, "ValidationException", "Value 'hel.lo' at 'functionName'"},
		{lambda.InvokeInput{FunctionName: aws.String("absent")}, "ResourceNotFoundException", "Function not found: " + b.arn("absent", "")},
		{lambda.InvokeInput{FunctionName: aws.String("arn:aws:lambda:eu-west-1:111111111111:function:hello")}, "ResourceNotFoundException", "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"},
		{lambda.InvokeInput{FunctionName: hello, TenantId: aws.String("blue")}, "InvalidParameterValueException", "not enabled with tenancy configuration"},
		{lambda.InvokeInput{FunctionName: aws.String("many")}, "InvalidParameterValueException", "Add a valid tenant ID"},
		{lambda.InvokeInput{FunctionName: aws.String("many"), TenantId: aws.String("a*b")}, "ValidationException", "at 'tenantId'"},
		{lambda.InvokeInput{FunctionName: hello, Payload: bytes.Repeat([]byte("1"), 6_291_457)}, "RequestTooLargeException", "Request must be smaller than 6291456 bytes for the InvokeFunction operation"},
		{lambda.InvokeInput{FunctionName: hello, InvocationType: types.InvocationTypeEvent, Payload: bytes.Repeat([]byte("1"), 1_048_577)}, "RequestTooLargeException", "Request must be smaller than 1048576 bytes"},
	} {
		_, err := c.Invoke(ctx, &tc.in)
		refused(t, err, tc.code, tc.message)
	}
	equal(t, "calls that ran", len(b.invoker.calls)+len(b.invoker.queued), 0)
	// The twin: the largest payload is taken.
	largest := append(bytes.Repeat([]byte(" "), 6_291_455), '1')
	must[*lambda.InvokeOutput](t)(c.Invoke(ctx, &lambda.InvokeInput{FunctionName: hello, Payload: largest}))
	equal(t, "bytes of the event", len(b.invoker.last(t).Event), 6_291_456)
}

func TestInvokePerTenant(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	c, ctx := b.client(b.acme), t.Context()
	in := &lambda.InvokeInput{FunctionName: aws.String("many"), TenantId: aws.String("blue"), InvocationType: types.InvocationTypeDryRun}
	must[*lambda.InvokeOutput](t)(c.Invoke(ctx, in))
	if uid, known, _ := b.control.FindEndTenant(b.acme.AccountID, "blue"); known {
		t.Errorf("a dry run made the end tenant %s", uid)
	}
	in.InvocationType = types.InvocationTypeRequestResponse
	must[*lambda.InvokeOutput](t)(c.Invoke(ctx, in))
	got := b.invoker.last(t)
	equal(t, "end tenant", got.EndTenant, tenant.EndTenantID("blue"))
	uid, known, _ := b.control.FindEndTenant(b.acme.AccountID, "blue")
	if !known || got.Owner.EndTenant != uid {
		t.Errorf("the call's owner is %+v, want the end tenant %q", got.Owner, uid)
	}
	in.TenantId = aws.String("Blue")
	_, err := c.Invoke(ctx, in)
	refused(t, err, "InvalidParameterValueException", "differs from the known tenant id")
}

// TestForeignAccount shows that a caller learns nothing of another account:
// whether the function or the account exists, the answer is the same.
func TestForeignAccount(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	c, ctx := b.client(b.globex), t.Context()
	answers := map[string]bool{}
	for _, name := range []string{
		b.arn("hello", ""), b.arn("absnt", ""),
		"arn:aws:lambda:us-east-1:999999999999:function:hello", "999999999999:function:hello",
	} {
		_, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name)})
		refused(t, err, "AccessDeniedException", "User: arn:aws:iam::"+string(b.globex.AccountID)+":user/admin is not authorized to perform: lambda:InvokeFunction on resource: arn:aws:lambda:us-east-1:")
		answers["invoke "+b.normal(err)] = true
		_, err = c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String(name)})
		refused(t, err, "AccessDeniedException", "lambda:GetFunction")
		answers["get "+b.normal(err)] = true
	}
	if len(answers) != 2 {
		t.Errorf("the answers differ: %v", answers)
	}
	equal(t, "refusals recorded", len(b.journal.refused), 8)
	equal(t, "calls that ran", len(b.invoker.calls), 0)
	// The twin: its owner may.
	must[*lambda.InvokeOutput](t)(b.client(b.acme).Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(string(b.acme.AccountID) + ":function:hello")}))
}

// normal takes out of an error what the caller wrote and the request's id.
func (b *bench) normal(err error) string {
	var api interface{ ErrorMessage() string }
	if !errors.As(err, &api) {
		return err.Error()
	}
	return strings.NewReplacer("999999999999", "N", string(b.acme.AccountID), "N", "absnt", "hello").Replace(api.ErrorMessage())
}

func TestInvokeThrottled(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	throttle := fault.New("admit", fault.Throttled, "Rate Exceeded.")
	throttle.Reason, throttle.RetryAfter = "ConcurrentInvocationLimitExceeded", 1200*time.Millisecond
	b.invoker.outcome = func(*call.Call) *call.Outcome { return &call.Outcome{Result: call.Throttled, Err: throttle} }
	_, err := b.client(b.acme).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("hello")})
	var tooMany *types.TooManyRequestsException
	if !errors.As(err, &tooMany) {
		t.Fatalf("got %v, want TooManyRequestsException", err)
	}
	equal(t, "reason and wait", []any{tooMany.Reason, aws.ToString(tooMany.RetryAfterSeconds), aws.ToString(tooMany.Type)},
		[]any{types.ThrottleReasonConcurrentInvocationLimitExceeded, "2", "User"})
}

// TestPresigned shows that what a presigned request has in its query is
// honoured, and that it cannot be given twice.
func TestPresigned(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	presign := func(query string, header http.Header) *http.Request {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, b.server.URL+"/2015-03-31/functions/many/invocations?X-Amz-Expires=60&"+query, http.NoBody)
		r.Header = header
		uri, signed, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: b.acme.AccessKeyID, SecretAccessKey: b.acme.SecretAccessKey}, r,
			"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "lambda", region, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, _ = http.NewRequestWithContext(t.Context(), http.MethodPost, uri, http.NoBody)
		for k, v := range signed {
			if k != "Host" {
				r.Header[k] = v
			}
		}
		return r
	}
	for _, tc := range []struct {
		query  string
		header http.Header
		status int
		kind   string
	}{
		{"X-Amz-Tenant-Id=blue", http.Header{}, 200, ""},
		{"x=y", http.Header{headerTenantID: {"blue"}}, 200, ""}, // the signer moves it into the query
		{"X-Amz-Tenant-Id=blue&X-Amz-Tenant-Id=red", http.Header{}, 400, "InvalidParameterValueException"},
		{"x=y", http.Header{}, 400, "InvalidParameterValueException"},
	} {
		resp, err := http.DefaultClient.Do(presign(tc.query, tc.header))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.status || resp.Header.Get(headerErrorType) != tc.kind {
			t.Errorf("%s %v: %d %s %s, want %d %s", tc.query, tc.header, resp.StatusCode, resp.Header.Get(headerErrorType), body, tc.status, tc.kind)
		}
	}
}

// TestOptionsTwice shows that an option given in two places is refused.
func TestOptionsTwice(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		header http.Header
		query  string
	}{
		{http.Header{headerTenantID: {"a", "b"}}, ""},
		{http.Header{headerInvocationType: {"Event", "RequestResponse"}}, ""},
		{http.Header{headerTenantID: {"a"}}, "X-Amz-Tenant-Id=b"},
		{http.Header{}, "X-Amz-Tenant-Id=a&X-Amz-Tenant-Id=b"},
		{http.Header{}, "X-Amz-Tenant%2DId=a&X-Amz-Tenant-Id=b"},
	} {
		if o, err := readOptions(tc.header, tc.query); !fault.Is(err, fault.Invalid) {
			t.Errorf("readOptions(%v, %q) gave %+v, %v; want a refusal", tc.header, tc.query, o, err)
		}
	}
	if o, err := readOptions(http.Header{headerTenantID: {"a"}}, "Qualifier=x"); err != nil || o.endTenant != "a" {
		t.Errorf("once is refused too: %+v, %v", o, err)
	}
}

func TestInvokeRefusedByPipeline(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	for _, tc := range []struct {
		outcome       *call.Outcome
		code, message string
	}{
		{&call.Outcome{Result: call.Refused, Err: fault.New("iam", fault.Denied, "User: x is not authorized")}, "AccessDeniedException", "User: x is not authorized"},
		{&call.Outcome{Result: call.PlatformError, Err: errors.New("secret detail")}, "ServiceException", "Report the request id"},
		{&call.Outcome{Result: call.PlatformError}, "ServiceException", "Report the request id"},
		{&call.Outcome{Result: call.PlatformError, Err: fault.New("pool", fault.Unavailable, "No worker is ready.")}, "ServiceUnavailableException", "No worker is ready."},
	} {
		b.invoker.outcome = func(*call.Call) *call.Outcome { return tc.outcome }
		_, err := b.client(b.acme).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("hello")})
		refused(t, err, tc.code, tc.message)
		if strings.Contains(err.Error(), "secret detail") {
			t.Errorf("the cause is shown: %v", err)
		}
	}
}
