package awsapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/gateway/body"
)

const helloPath = "/2015-03-31/functions/hello/invocations"

// endless is a body that counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

// TestLargeBodyOfNobody shows that a large body under a key that does not
// exist is not read, and that one under a real key is.
func TestLargeBodyOfNobody(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	h := New(Config{Region: region, Control: b.control, Invoker: b.invoker}).(*handler)
	for _, tc := range []struct {
		key  string
		most int
	}{{"AKIDNOBODY", body.Small}, {b.acme.AccessKeyID, 6_291_457}} {
		src := &endless{}
		for _, presigned := range []bool{false, true} {
			r, err := http.NewRequestWithContext(t.Context(), "POST", helloPath, io.NopCloser(src))
			if err != nil {
				t.Fatal(err)
			}
			if presigned {
				r.URL.RawQuery = "X-Amz-Credential=" + tc.key + "%2F20261123%2Fus-east-1%2Flambda%2Faws4_request"
			} else {
				r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+tc.key+"/20261123/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
			}
			src.read, r.ContentLength = 0, -1
			if _, err = h.bodies.Read(r, h.Limits.ofInvoke(typeRequestResponse)); err == nil || src.read != tc.most {
				t.Errorf("%s presigned=%t: %d bytes were read, want %d; %v", tc.key, presigned, src.read, tc.most, err)
			}
		}
	}
	if held := h.bodies.Held(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}

// TestShareOfMemory shows that one account cannot take the memory for large
// bodies from another.
func TestShareOfMemory(t *testing.T) {
	t.Parallel()
	b := withFunctions(t, func(c *Config) { c.Limits.Buffered = 1 << 20 })
	entered, leave := make(chan struct{}), make(chan struct{})
	b.invoker.outcome = func(c *call.Call) *call.Outcome {
		if c.Principal.Account == b.acme.AccountID {
			close(entered)
			<-leave
		}
		return &call.Outcome{}
	}
	large := bytes.Repeat([]byte("1"), 400<<10)
	first := make(chan answer, 1)
	go func() { first <- b.send(t, "POST", helloPath, large) }()
	<-entered
	if got := b.send(t, "POST", helloPath, large); got.status != http.StatusServiceUnavailable {
		t.Errorf("a second body of acme beyond its share: %+v", got)
	}
	if got := b.send(t, "GET", "/2015-03-31/functions/hello", nil); got.status != http.StatusOK {
		t.Errorf("a small request of acme: %+v", got)
	}
	// The twin: globex has its own share; its request goes as far as being denied.
	b.acme = b.globex
	if got := b.send(t, "POST", "/2015-03-31/functions/absent/invocations", large); got.status != http.StatusNotFound {
		t.Errorf("a body of globex: %+v", got)
	}
	close(leave)
	if got := <-first; got.status != http.StatusOK {
		t.Errorf("the first body: %+v", got)
	}
}

// keeper is a pipeline that breaks the rule and keeps every event.
type keeper struct {
	result call.Result
	err    error
	events [][]byte
}

func (k *keeper) Invoke(_ context.Context, c *call.Call) *call.Outcome {
	k.events = append(k.events, c.Event)
	return &call.Outcome{Result: k.result, Err: k.err}
}

func (k *keeper) Enqueue(_ context.Context, c *call.Call) error {
	k.events = append(k.events, c.Event)
	return k.err
}

// TestEventsAreNotOverwritten shows that the memory of an event that somebody
// may still be reading never gets another tenant's bytes: not after a
// timeout, a failure of the platform, a refusal or a failed enqueue. The
// control shows that the memory is used again where the function has answered.
func TestEventsAreNotOverwritten(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		what        string
		kind        string
		keeper      *keeper
		overwritten bool
	}{
		{"timeout", typeRequestResponse, &keeper{result: call.TimedOut}, false},
		{"out of memory", typeRequestResponse, &keeper{result: call.OutOfMemory}, false},
		{"platform error", typeRequestResponse, &keeper{result: call.PlatformError, err: errors.New("gone")}, false},
		{"failed enqueue", typeEvent, &keeper{err: errors.New("full")}, false},
		{"control: answered", typeRequestResponse, &keeper{}, true},
	} {
		b := withFunctions(t, func(c *Config) { c.Invoker = tc.keeper })
		overwritten := false
		for i := range 100 {
			b.send(t, "POST", helloPath, []byte(`"`+strings.Repeat(string(rune('A'+i%26)), 32)+`"`), headerInvocationType, tc.kind)
		}
		for i, event := range tc.keeper.events {
			overwritten = overwritten || string(event) != `"`+strings.Repeat(string(rune('A'+i%26)), 32)+`"`
		}
		if overwritten != tc.overwritten {
			t.Errorf("%s: overwritten is %t", tc.what, overwritten)
		}
	}
}
