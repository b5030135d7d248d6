//go:build linux

package native

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/worker/wire"
)

// functions are custom runtimes: this test's binary started as a package's
// bootstrap, with net/http as a client that we did not write.
var functions = map[string]func(){
	"echo": echo,
	"headers": func() {
		for {
			id, _, h := next()
			ms := h.Get("Lambda-Runtime-Deadline-Ms")
			must(202, post("invocation/"+id+"/response", strings.NewReader(fmt.Sprintf("%s %s %s %s %t", h.Get("Lambda-Runtime-Invoked-Function-Arn"),
				h.Get("Lambda-Runtime-Aws-Tenant-Id"), h.Get("Lambda-Runtime-Client-Context"), h.Get("Lambda-Runtime-Trace-Id"), len(ms) == 13))))
		}
	},
	"wrong": func() {
		must(404, post("nothing", nil))
		must(400, post("invocation/"+requestID+"/response", strings.NewReader("early")))
		id, _, _ := next()
		must(400, post("invocation/other/response", strings.NewReader("x")))
		must(403, post("init/error", strings.NewReader("x")))
		must(202, post("invocation/"+id+"/error", strings.NewReader("no JSON"), "Lambda-Runtime-Function-Error-Type", "Mine.Own"))
		must(403, post("invocation/"+id+"/response", strings.NewReader("again")))
		next()
	},
	"initError": func() {
		must(202, post("init/error", strings.NewReader(`{"errorMessage":"m","errorType":"T","stackTrace":[]}`)))
		os.Exit(7)
	},
	"streams": func() {
		for {
			id, _, _ := next()
			r, w := io.Pipe()
			go func() {
				for range 3 {
					fmt.Fprint(w, "piece ")
				}
				w.Close()
			}()
			must(202, post("invocation/"+id+"/response", r, "Lambda-Runtime-Function-Response-Mode", "streaming"))
		}
	},
	"breaksOff": func() {
		id, _, _ := next()
		req := newRequest("POST", "/2018-06-01/runtime/invocation/"+id+"/response", io.MultiReader(strings.NewReader("half")))
		req.ContentLength = -1
		req.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
		req.Trailer = http.Header{"Lambda-Runtime-Function-Error-Type": {"Late"}, "Lambda-Runtime-Function-Error-Body": {"eyJlcnJvclR5cGUiOiJMYXRlIn0="}}
		must(202, do(req))
		next()
	},
	"slowInit": func() {
		takeTime(400 * time.Millisecond)
		echo()
	},
	"extension": func() {
		answer := do(newRequest("POST", "/2020-01-01/extension/register", strings.NewReader(`{"events":[]}`)))
		must(200, answer)
		id := answer.Header.Get("Lambda-Extension-Identifier")
		go func() {
			req := newRequest("GET", "/2020-01-01/extension/event/next", nil)
			req.Header.Set("Lambda-Extension-Identifier", id)
			http.DefaultClient.Do(req)
		}()
		must(403, do(newRequest("POST", "/2020-01-01/extension/register", strings.NewReader(`{"events":["INVOKE"]}`))))
		echo()
	},
	"afterwork": func() {
		for {
			id, _, _ := next()
			must(202, post("invocation/"+id+"/response", strings.NewReader("done")))
			takeTime(100 * time.Millisecond)
			fmt.Println("after")
		}
	},
	"sleeps": func() {
		id, _, _ := next()
		must(202, post("invocation/"+id+"/response", strings.NewReader("done")))
		select {}
	},
	"expects": func() {
		for {
			id, event, _ := next()
			must(202, post("invocation/"+id+"/response", bytes.NewReader(event), "Expect", "100-continue"))
		}
	},
}

func echo() {
	for {
		id, event, _ := next()
		must(202, post("invocation/"+id+"/response", bytes.NewReader(event)))
	}
}

// takeTime is work that takes a while.
func takeTime(d time.Duration) { <-time.After(d) }

func newRequest(method, path string, body io.Reader) *http.Request {
	req, err := http.NewRequest(method, "http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+path, body)
	if err != nil {
		panic(err)
	}
	return req
}

func do(req *http.Request) *http.Response {
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	return answer
}

func next() (id string, event []byte, h http.Header) {
	answer := do(newRequest("GET", "/2018-06-01/runtime/invocation/next", nil))
	event, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		panic(fmt.Sprint(answer.Status, err))
	}
	return answer.Header.Get("Lambda-Runtime-Aws-Request-Id"), event, answer.Header
}

func post(path string, body io.Reader, header ...string) *http.Response {
	req := newRequest("POST", "/2018-06-01/runtime/"+path, body)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(req)
}

func must(status int, answer *http.Response) {
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != status {
		fmt.Printf("got %s (%s), want %d\n", answer.Status, body, status)
		os.Exit(99)
	}
}

func (b *box) function(name string) {
	b.t.Helper()
	b.load("", "x", map[string]string{"bootstrap": "#!/bin/sh\nexec " + os.Args[0] + "\n"}, "CARREL_TEST_FUNCTION="+name)
}

func TestCustomRuntimes(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"echo": `{"x":1}`, "expects": `{"x":1}`, "streams": "piece piece piece ", "extension": `{"x":1}`, "slowInit": `{"x":1}`, "afterwork": "done",
		"headers": `arn:aws:lambda:eu-1:000000000001:function:f blue {"custom":{"a":1}} Root=1-2-3 true`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.function(name)
			b.loaded()
			for range 3 {
				e := b.call(`{"x":1}`)
				if e.Status != wire.StatusOK || e.output != want || e.Last {
					t.Fatalf("status %d, last %v: %s; want %s (log %q)", e.Status, e.Last, e.output, want, e.log)
				}
				if name == "afterwork" && (e.Duration < 100*time.Millisecond || !strings.Contains(e.log, "after")) {
					t.Errorf("the call ended after %s, before the function asked for the next one (log %q)", e.Duration, e.log)
				}
			}
		})
	}
}

func TestCustomRuntimeFailures(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"wrong":     `{"errorType":"Mine.Own","errorMessage":"no JSON"}`,
		"initError": `{"errorMessage":"m","errorType":"T","stackTrace":[]}`,
		"breaksOff": `{"errorType":"Late"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.function(name)
			b.loaded()
			if e := b.call("{}"); e.Status != wire.StatusFunctionError || e.output != want || e.Last != (name == "initError") {
				t.Errorf("status %d, last %v: %s; want %s (log %q)", e.Status, e.Last, e.output, want, e.log)
			}
		})
	}
}

func TestEntrypointThatDoesNotRun(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("", "x", map[string]string{"bootstrap": "\x7fELF not really"})
	b.loaded()
	e := b.call("{}")
	if kind, message := e.object(t); kind != "Runtime.InvalidEntrypoint" || !strings.Contains(message, "exec format error") || !e.Last {
		t.Errorf("got %s: %s, last %v", kind, message, e.Last)
	}
	b.gone()
}

func TestLongInitialisationGoesOnInTheCall(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.loadBody(&wire.PackageBody{InitTimeout: 50 * time.Millisecond, LogLimit: 1000, Env: []string{"CARREL_TEST_FUNCTION=slowInit"},
		Archive: zipped(t, map[string]string{"bootstrap": "#!/bin/sh\nexec " + os.Args[0] + "\n"})})
	b.loaded()
	if e := b.call("1"); e.output != "1" || e.Duration < 200*time.Millisecond {
		t.Errorf("got %s after %s", e.output, e.Duration)
	}
}

func TestAnsweredCallThatDoesNotEndIsAnswered(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.function("sleeps")
	b.loaded()
	if e := b.call("1", timeout(300*time.Millisecond)); e.Status != wire.StatusOK || e.output != "done" || !e.Last {
		t.Errorf("status %d, last %v: %s", e.Status, e.Last, e.output)
	}
	b.gone()
}

func TestCallsWaitTheirTurnAndAreGivenBack(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.function("afterwork")
	b.loaded()
	b.run("1")
	b.run("2")
	first, second := b.next-1, b.next
	if _, err := b.socket.Write(wire.AppendCancel(nil, second, wire.Steal)); err != nil {
		t.Fatal(err)
	}
	if h, _ := b.anyFrame(wire.Returned); h.Handle != second {
		t.Fatalf("returned %d, want %d", h.Handle, second)
	}
	b.next = first
	if e := b.done(); e.output != "done" {
		t.Errorf("got %s", e.output)
	}
	b.next = second
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("", "x", map[string]string{"bootstrap": "#!/bin/sh\ncat /dev/zero | head -c 3000000 | tr '\\0' x\nexec " + os.Args[0] + "\n"}, "CARREL_TEST_FUNCTION=echo")
	b.loaded()
	e := b.call("1", func(r *wire.RunBody) { r.LogLimit = 1000 })
	if len(e.log) != 1000 || e.LogDropped < 2_999_000 {
		t.Errorf("%d bytes of log, %d dropped", len(e.log), e.LogDropped)
	}
}

func TestUnpackRefusesWhatIsNotBelow(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../x", "/x", "a/../../x", ""} {
		if err := unpack(zipped(t, map[string]string{name: "x"}), t.TempDir()); err == nil {
			t.Errorf("%q was unpacked", name)
		}
	}
	if err := unpack(zipped(t, map[string]string{"a/b/c": "x", "bootstrap": "y"}), t.TempDir()); err != nil {
		t.Errorf("a good archive: %v", err)
	}
}

// FuzzRequest feeds the HTTP server: nothing may panic or be read past its bound.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST http://a/x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"))
	f.Add([]byte("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		req, _, err := readRequest(bufio.NewReader(bytes.NewReader(b)), io.Discard)
		if err != nil {
			return
		}
		body, err := readBody(req.body, 100)
		if len(body) > 101 || err == nil && len(body) > 100 {
			t.Fatalf("%d bytes of body", len(body))
		}
	})
}
