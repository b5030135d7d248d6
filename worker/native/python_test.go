//go:build linux

package native

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/worker/wire"
)

func TestPythonHandlers(t *testing.T) {
	t.Parallel()
	for _, h := range []struct{ name, handler, file, code, want string }{
		{"value", "app.handler", "app.py", "def handler(event, context):\n    return {'got': event['x']}\n", `{"got": 1}`},
		{"nothing", "app.handler", "app.py", "def handler(event, context):\n    pass\n", `null`},
		{"text", "app.handler", "app.py", "def handler(event, context):\n    return 'é'\n", `"é"`},
		{"in a package", "src/app.handler", "src/app.py", "def handler(event, context):\n    return __name__\n", `"src.app"`},
		{"context", "app.handler", "app.py", `import os
def handler(event, c):
    return [c.aws_request_id, c.function_name, c.function_version, c.memory_limit_in_mb, c.invoked_function_arn, c.tenant_id,
            c.client_context.custom['a'], 4000 < c.get_remaining_time_in_millis() <= 5000, os.environ['_X_AMZN_TRACE_ID'],
            os.getcwd() == os.environ['LAMBDA_TASK_ROOT'], c.identity.cognito_identity_id]
`, `["` + requestID + `", "f", "7", "256", "arn:aws:lambda:eu-1:000000000001:function:f", "blue", 1, true, "Root=1-2-3", true, null]`},
		{"a process of its own", "app.handler", "app.py", `import subprocess, sys
def handler(event, context):
    return subprocess.check_output([sys.executable, '-c', 'print(6 * 7)'], text=True).strip()
`, `"42"`},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.load("python", h.handler, map[string]string{h.file: h.code})
			b.loaded()
			for range 2 {
				if e := b.call(`{"x":1}`); e.Status != wire.StatusOK || e.output != h.want || e.Last {
					t.Fatalf("status %d, last %v: %s; want %s (log %q)", e.Status, e.Last, e.output, h.want, e.log)
				}
			}
		})
	}
}

func TestPythonFailures(t *testing.T) {
	t.Parallel()
	checkFailures(t, "python", "app.py", []failing{
		{name: "raises", code: "def handler(event, context):\n    raise ValueError('boom')\n", kind: "ValueError", message: "boom"},
		{name: "no JSON", code: "def handler(event, context):\n    return {1, 2}\n", kind: "Runtime.MarshalError", message: "Unable to marshal response: Object of type set is not JSON serializable"},
		{name: "no such module", handler: "other.handler", kind: "Runtime.ImportModuleError", message: "Unable to import module 'other': No module named 'other'", last: true},
		{name: "no such function", handler: "app.nothere", code: "handler = 1\n", kind: "Runtime.HandlerNotFound", message: "Handler 'nothere' missing on module 'app'", last: true},
		{name: "bad handler", handler: "app", kind: "Runtime.MalformedHandlerName", message: "Bad handler 'app': not enough values to unpack (expected 2, got 1)", last: true},
		{name: "syntax error", code: "def handler(:\n", kind: "Runtime.UserCodeSyntaxError", message: "Syntax error in module 'app': ", last: true},
		{name: "raises at initialisation", code: "raise KeyError('early')\n", kind: "KeyError", message: "'early'", last: true},
		{name: "exits", code: "import os\ndef handler(event, context):\n    os._exit(3)\n", kind: "Runtime.ExitError",
			message: "RequestId: " + requestID + " Error: Runtime exited with error: exit status 3", last: true},
		{name: "sys.exit", code: "import sys\ndef handler(event, context):\n    sys.exit(5)\n", kind: "Runtime.ExitError", message: "exit status 5", last: true},
	})
}

func TestPythonErrorObjectAndLog(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.load("python", "app.handler", map[string]string{"app.py": `import logging
logging.getLogger().setLevel(logging.INFO)
def handler(event, context):
    print('printed')
    logging.info('logged')
    raise ValueError('boom')
`})
	b.loaded()
	e := b.call("{}")
	var o struct {
		ErrorType, ErrorMessage, RequestID string
		StackTrace                         []string
	}
	if err := json.Unmarshal([]byte(e.output), &o); err != nil {
		t.Fatal(err)
	}
	if o.ErrorType != "ValueError" || o.ErrorMessage != "boom" || o.RequestID != requestID || len(o.StackTrace) != 1 ||
		!strings.HasPrefix(o.StackTrace[0], `  File "`) || !strings.HasSuffix(o.StackTrace[0], "line 6, in handler\n    raise ValueError('boom')\n") {
		t.Errorf("got %s", e.output)
	}
	lines := strings.Split(e.log, "\n")
	if lines[0] != "printed" || !strings.HasPrefix(lines[1], "[INFO]\t20") || !strings.HasSuffix(lines[1], "Z\t"+requestID+"\tlogged") ||
		lines[2] != "[ERROR] ValueError: boom" || lines[3] != "Traceback (most recent call last):" {
		t.Errorf("log %q", e.log)
	}
}
