package awsapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
)

// pieces reads a result in pieces to its end.
func pieces(t *testing.T, out *lambda.InvokeWithResponseStreamOutput) (got []string, last types.InvokeWithResponseStreamCompleteEvent) {
	t.Helper()
	stream := out.GetStream()
	defer stream.Close()
	ended := 0
	for event := range stream.Events() {
		switch e := event.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			got = append(got, string(e.Value.Payload))
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			last = e.Value
			ended++
		}
	}
	if err := stream.Err(); err != nil || ended != 1 {
		t.Errorf("the stream ended with %v and %d events InvokeComplete", err, ended)
	}
	return got, last
}

// says gives an outcome after pieces.
func says(o *call.Outcome, begin bool, pieces ...string) func(*call.Call) *call.Outcome {
	return func(c *call.Call) *call.Outcome {
		if begin {
			c.Stream.Begin("text/plain")
		}
		for _, p := range pieces {
			c.Stream.Write([]byte(p))
		}
		return o
	}
}

func TestInvokeWithResponseStream(t *testing.T) {
	b := withFunctions(t)
	c := b.client(b.acme)
	failed := []byte(`{"errorType":"Boom","errorMessage":"no"}`)
	for name, test := range map[string]struct {
		outcome       func(*call.Call) *call.Outcome
		want          string
		code, details string
		log           string
	}{
		"pieces":              {outcome: says(&call.Outcome{}, true, "a", "bc"), want: "a|bc"},
		"a result as a whole": {outcome: says(&call.Outcome{Payload: []byte("abc")}, false), want: "abc"},
		"no result":           {outcome: says(&call.Outcome{}, false)},
		"pieces and the rest": {outcome: says(&call.Outcome{Payload: []byte("c"), Log: []byte("log")}, true, "ab"), want: "ab|c", log: "bG9n"},
		"a failure":           {outcome: says(&call.Outcome{Result: call.FunctionError, Payload: failed}, false), code: "Boom", details: string(failed)},
		"a failure midway":    {outcome: says(&call.Outcome{Result: call.TimedOut, Payload: failed}, true, "ab"), want: "ab", code: "Boom", details: string(failed)},
		"one of ours midway": {outcome: says(&call.Outcome{Result: call.PlatformError, Err: fault.New("x", fault.Unavailable, "The worker died.")}, true, "ab"),
			want: "ab", code: "ServiceUnavailableException", details: "The result broke off: The worker died."},
	} {
		t.Run(name, func(t *testing.T) {
			b.invoker.outcome = test.outcome
			out := must[*lambda.InvokeWithResponseStreamOutput](t)(c.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{
				FunctionName: aws.String("hello:live"), Payload: []byte(`{}`), LogType: types.LogTypeTail}))
			got, last := pieces(t, out)
			if strings.Join(got, "|") != test.want || aws.ToString(last.ErrorCode) != test.code || aws.ToString(last.ErrorDetails) != test.details ||
				aws.ToString(last.LogResult) != test.log || aws.ToString(out.ExecutedVersion) != "1" {
				t.Errorf("%q, %s %s, log %s, version %s", got, aws.ToString(last.ErrorCode), aws.ToString(last.ErrorDetails), aws.ToString(last.LogResult), aws.ToString(out.ExecutedVersion))
			}
		})
	}
}

func TestInvokeWithResponseStreamRefusals(t *testing.T) {
	b := withFunctions(t)
	c := b.client(b.acme)
	in := &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("hello"), Payload: []byte(`{}`)}
	b.invoker.outcome = says(&call.Outcome{Result: call.Throttled, Err: fault.New("x", fault.Throttled, "Rate Exceeded.")}, false)
	_, err := c.InvokeWithResponseStream(t.Context(), in)
	refused(t, err, "TooManyRequestsException", "Rate Exceeded.")

	in.InvocationType = "Event"
	_, err = c.InvokeWithResponseStream(t.Context(), in)
	refused(t, err, "ValidationException", "invocationType")

	in.InvocationType = types.ResponseStreamingInvocationTypeDryRun
	b.invoker.outcome = nil
	b.invoker.calls = nil
	r, err := c.InvokeWithResponseStream(t.Context(), in)
	if err == nil {
		r.GetStream().Close()
	}
	if n := len(b.invoker.calls); n != 1 || !b.invoker.calls[0].DryRun || b.invoker.calls[0].Stream != nil {
		t.Errorf("a dry run: %v, %d calls", err, n)
	}

	_, err = b.client(b.globex).InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String(b.arn("hello", ""))})
	refused(t, err, "AccessDeniedException", "")
	if w, err := http.Post(b.server.URL+"/2021-11-15/functions/hello/response-streaming-invocations", "application/json", nil); err != nil || w.StatusCode != 403 {
		t.Errorf("without a signature: %v %v", w, err)
	}
}
