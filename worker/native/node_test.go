//go:build linux

package native

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/worker/wire"
)

func TestNodeHandlers(t *testing.T) {
	t.Parallel()
	for _, h := range []struct{ name, handler, file, code, want string }{
		{"async", "app.handler", "app.js", `exports.handler = async (e) => ({ got: e.x })`, `{"got":1}`},
		{"module", "app.handler", "app.mjs", `export const handler = async (e) => e.x + 1`, `2`},
		{"module with a default export", "app.default.run", "app.mjs", `export default { run: async () => 'r' }`, `"r"`},
		{"module that waits", "app.handler", "app.mjs", `const x = await Promise.resolve(5); export const handler = async () => x`, `5`},
		{"callback", "app.handler", "app.js", `exports.handler = (e, c, done) => { setTimeout(() => done(null, 'late'), 5) }`, `"late"`},
		{"callback that waits for the event loop", "app.handler", "app.js", `let x = 0
			exports.handler = (e, c, done) => { setTimeout(() => { x = 1 }, 30); done(null, { get x () { return x } }) }`, `{"x":1}`},
		{"callback that does not wait", "app.handler", "app.js", `let x = 0
			exports.handler = (e, c, done) => { c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => { x = 1 }, 300); done(null, { get x () { return x } }) }`, `{"x":0}`},
		{"nothing", "app.handler", "app.js", `exports.handler = () => {}`, `null`},
		{"undefined", "app.handler", "app.js", `exports.handler = async () => {}`, `null`},
		{"in a folder, nested", "src/app.a.b", "src/app.cjs", `exports.a = { b: async () => __filename.split('/').slice(-2) }`, `["src","app.cjs"]`},
		{"fork", "app.handler", "app.js", `const { fork } = require('child_process')
			if (process.send && process.argv[2] === 'child') process.send('hello')
			exports.handler = () => new Promise((r) => fork(__filename, ['child']).on('message', r))`, `"hello"`},
		{"context", "app.handler", "app.js", `exports.handler = async (e, c) => [c.awsRequestId, c.functionName, c.functionVersion, c.memoryLimitInMB,
			c.invokedFunctionArn, c.tenantId, c.clientContext.custom.a, c.getRemainingTimeInMillis() > 4000 && c.getRemainingTimeInMillis() <= 5000,
			process.env._X_AMZN_TRACE_ID, process.env.LAMBDA_TASK_ROOT === process.cwd()]`,
			`["` + requestID + `","f","7","256","arn:aws:lambda:eu-1:000000000001:function:f","blue",1,true,"Root=1-2-3",true]`},
		{"only declared variables", "app.handler", "app.js", `exports.handler = async () => Object.keys(process.env).filter((k) => !/^(AWS_LAMBDA_|LAMBDA_|_HANDLER|_X_AMZN_TRACE_ID|LANG|LD_LIBRARY_PATH|PATH|TZ)/.test(k))`, `["MINE"]`},
		{"stream", "app.handler", "app.js", `exports.handler = awslambda.streamifyResponse(async (e, out, c) => { out.setContentType('text/plain'); out.write('a'); out.write('b'); out.end() })`, `ab`},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.load("nodejs", h.handler, map[string]string{h.file: h.code}, "MINE=1")
			b.loaded()
			for range 2 {
				if e := b.call(`{"x":1}`); e.Status != wire.StatusOK || e.output != h.want || e.Last {
					t.Fatalf("status %d, last %v: %s; want %s (log %q)", e.Status, e.Last, e.output, h.want, e.log)
				}
				if h.name != "callback that waits for the event loop" {
					continue
				}
				return
			}
		})
	}
}

func TestNodeFailures(t *testing.T) {
	t.Parallel()
	checkFailures(t, "nodejs", "app.js", []failing{
		{name: "throws", code: `exports.handler = async () => { throw new TypeError('boom') }`, kind: "TypeError", message: "boom"},
		{name: "throws at once", code: `exports.handler = () => { throw new RangeError('boom') }`, kind: "RangeError", message: "boom"},
		{name: "throws a string", code: `exports.handler = async () => { throw 'text' }`, kind: "string", message: "text"},
		{name: "callback with an error", code: `exports.handler = (e, c, done) => done(new Error('cb'))`, kind: "Error", message: "cb"},
		{name: "circular result", code: `exports.handler = async () => { const a = {}; a.a = a; return a }`, kind: "Runtime.MarshalError", message: "Unable to stringify response body"},
		{name: "no such file", handler: "other.handler", kind: "Runtime.ImportModuleError", message: "Error: Cannot find module 'other'", last: true},
		{name: "no such module", code: `require('nothere')`, kind: "Runtime.ImportModuleError", message: "Cannot find module 'nothere'", last: true},
		{name: "no such export", handler: "app.nothere", code: `exports.handler = 1`, kind: "Runtime.HandlerNotFound", message: "app.nothere is undefined or not exported", last: true},
		{name: "no function", code: `exports.handler = 1`, kind: "Runtime.HandlerNotFound", message: "app.handler is not a function", last: true},
		{name: "bad handler", handler: "app", kind: "Runtime.MalformedHandlerName", message: "Bad handler", last: true},
		{name: "syntax error", code: `exports.handler = (`, kind: "Runtime.UserCodeSyntaxError", message: "SyntaxError: ", last: true},
		{name: "throws at initialisation", code: `throw new Error('early')`, kind: "Error", message: "early", last: true},
		{name: "exits", code: `exports.handler = async () => process.exit(3)`, kind: "Runtime.ExitError", message: "RequestId: " + requestID + " Error: Runtime exited with error: exit status 3", last: true},
		{name: "exits well", code: `exports.handler = async () => process.exit(0)`, kind: "Runtime.ExitError", message: "Runtime exited without providing a reason", last: true},
		{name: "exits at initialisation", code: `process.exit(4)`, kind: "Runtime.ExitError", message: "RequestId: " + requestID + " Error: Runtime exited with error: exit status 4", last: true},
		{name: "kills itself", code: `exports.handler = () => process.kill(process.pid, 'SIGKILL')`, kind: "Runtime.ExitError", message: "Runtime exited with error: signal: killed", last: true},
	})
}

func TestNodeErrorObject(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("nodejs", "app.handler", map[string]string{"app.js": "exports.handler = async () => { throw new Error('boom') }"})
	b.loaded()
	e := b.call("{}")
	var o map[string]any
	if err := json.Unmarshal([]byte(e.output), &o); err != nil {
		t.Fatal(err)
	}
	trace, _ := o["trace"].([]any)
	if o["errorType"] != "Error" || o["errorMessage"] != "boom" || len(trace) < 2 || trace[0] != "Error: boom" ||
		!strings.Contains(trace[1].(string), "app.js:1:") || strings.Contains(e.output, "[eval") {
		t.Errorf("got %s", e.output)
	}
	if !strings.Contains(e.log, "\t"+requestID+"\tERROR\tInvoke Error ") {
		t.Errorf("log %q", e.log)
	}
}

func TestNodeRejectionOfItsOwnEndsTheSandbox(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("nodejs", "app.handler", map[string]string{"app.js": `exports.handler = async () => { Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 2000)) }`})
	b.loaded()
	e := b.call("{}")
	if kind, message := e.object(t); kind != "Runtime.UnhandledPromiseRejection" || message != "Error: lost" || !e.Last {
		t.Errorf("got %s: %s, last %v", kind, message, e.Last)
	}
	b.gone()
}

func TestNodeConsole(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("nodejs", "app.handler", map[string]string{"app.js": `console.log('init')
exports.handler = async (e) => { console.log('a %d', 1); console.error('b'); process.stdout.write('raw\n') }`})
	b.loaded()
	e := b.call("{}")
	lines := strings.Split(strings.TrimSpace(e.log), "\n")
	if len(lines) != 4 || !strings.HasSuffix(lines[0], "\tundefined\tINFO\tinit") || !strings.HasSuffix(lines[1], "\t"+requestID+"\tINFO\ta 1") ||
		!strings.HasSuffix(lines[2], "\t"+requestID+"\tERROR\tb") || lines[3] != "raw" {
		t.Errorf("log %q", e.log)
	}
	if e := b.call("{}"); strings.Contains(e.log, "init") {
		t.Errorf("the second call's log has the initialisation's: %q", e.log)
	}
}

func TestNodeTimeout(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("nodejs", "app.handler", map[string]string{"app.js": `exports.handler = async () => { console.log('begun'); for (;;); }`})
	b.loaded()
	begun := time.Now()
	e := b.call("{}", timeout(300*time.Millisecond))
	if e.Status != wire.StatusTimeout || !e.Last || !strings.Contains(e.log, "begun") || time.Since(begun) > 3*time.Second {
		t.Errorf("got %+v after %s", e, time.Since(begun))
	}
	b.gone()
}

func TestNodeOutOfMemory(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("nodejs", "app.handler", map[string]string{"app.js": `const all = []
exports.handler = async () => { for (;;) { all.push(Buffer.alloc(8 << 20, 1)); await new Promise((r) => setTimeout(r, 5)) } }`})
	b.loaded()
	e := b.call("{}")
	if e.Status != wire.StatusMemory || !e.Last || e.MaxMemory < 256<<20 {
		t.Errorf("got status %d, last %v, memory %d", e.Status, e.Last, e.MaxMemory)
	}
	b.gone()
}

func TestNodeLargeResult(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("nodejs", "app.handler", map[string]string{"app.js": `exports.handler = async (n) => 'x'.repeat(n)`})
	b.loaded()
	if e := b.call("1048574"); e.Status != wire.StatusOK || len(e.output) != 1<<20 {
		t.Errorf("a result at the limit: status %d, %d bytes", e.Status, len(e.output))
	}
	e := b.call("1048575")
	if kind, message := e.object(t); kind != "Function.ResponseSizeTooLarge" || e.Last ||
		message != "Response payload size exceeded maximum allowed payload size (1048576 bytes)." {
		t.Errorf("a result over the limit: %s: %s", kind, message)
	}
	if e := b.call("3"); e.output != `"xxx"` {
		t.Errorf("the call after it: %s", e.output)
	}
}

func TestNothingRunsBetweenCalls(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("nodejs", "app.handler", map[string]string{"app.js": `let n = 0
setInterval(() => { n++ }, 2)
exports.handler = async () => { const was = n; while (n < was + 5) await new Promise((r) => setTimeout(r, 2)); return [was, n] }`})
	b.loaded()
	count := func() (begin, end int) {
		e := b.call("{}")
		var n [2]int
		if err := json.Unmarshal([]byte(e.output), &n); err != nil {
			t.Fatal(e.output, err)
		}
		return n[0], n[1]
	}
	_, before := count()
	<-time.After(300 * time.Millisecond)
	// The harmless twin: within a call the timer ticks, or it would not end.
	if after, _ := count(); after-before > 10 {
		t.Errorf("the timer ticked %d times between the calls", after-before)
	}
}
