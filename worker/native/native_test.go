//go:build linux

package native

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/worker/wire"
)

// The tests run the worker as a process of its own, as in a sandbox but
// without the wall: this binary, started anew.
func TestMain(m *testing.M) {
	if root := os.Getenv("CARREL_NATIVE_TEST"); root != "" {
		if err := Serve(Options{TaskRoot: root, Listen: "127.0.0.1:0"}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if name := os.Getenv("CARREL_TEST_FUNCTION"); name != "" {
		functions[name]()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// box is a running worker and the node's end of its socket.
type box struct {
	t      *testing.T
	socket *os.File
	cmd    *exec.Cmd
	next   uint64
	exited chan struct{}
}

func newBox(t *testing.T) *box {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "worker")
	b := &box{t: t, socket: os.NewFile(uintptr(fds[0]), "node"), exited: make(chan struct{})}
	b.cmd = exec.Command(os.Args[0])
	b.cmd.Env = []string{"CARREL_NATIVE_TEST=" + filepath.Join(t.TempDir(), "task")}
	b.cmd.ExtraFiles = []*os.File{theirs}
	b.cmd.Stderr = os.Stderr
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	go func() { b.cmd.Wait(); close(b.exited) }()
	t.Cleanup(func() {
		b.socket.Close()
		select {
		case <-b.exited:
		case <-time.After(10 * time.Second):
			b.cmd.Process.Kill()
			t.Error("the worker did not end with its socket")
		}
	})
	body := b.frame(wire.Ready)
	if v, err := wire.ParseReady(body); err != nil || v.Version != wire.Version {
		t.Fatalf("ready: %+v, %v", v, err)
	}
	return b
}

// frame waits for a frame of a type.
func (b *box) frame(want wire.Type) []byte {
	b.t.Helper()
	_, body := b.anyFrame(want)
	return body
}

func (b *box) anyFrame(want wire.Type) (wire.Header, []byte) {
	b.t.Helper()
	var head [wire.HeaderSize]byte
	if _, err := io.ReadFull(b.socket, head[:]); err != nil {
		b.t.Fatalf("waiting for a frame of type %d: %v", want, err)
	}
	h, err := wire.ParseHeader(head[:], wire.MaxFromWorker)
	if err != nil || h.Type != want {
		b.t.Fatalf("got %+v, %v; want type %d", h, err, want)
	}
	body := make([]byte, h.Len)
	if _, err := io.ReadFull(b.socket, body); err != nil {
		b.t.Fatal(err)
	}
	return h, body
}

func zipped(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (b *box) load(language, handler string, files map[string]string, env ...string) {
	b.t.Helper()
	p := &wire.PackageBody{Language: language, Handler: handler, MemoryLimit: 256 << 20, InitTimeout: 10 * time.Second, LogLimit: 64 << 10, Archive: zipped(b.t, files)}
	switch language {
	case "nodejs":
		p.Interpreter = interpreter(b.t, "node")
	case "python":
		p.Interpreter = interpreter(b.t, "python3")
	}
	p.Env = append([]string{"_HANDLER=" + handler, "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=7", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256"}, env...)
	b.loadBody(p)
}

func (b *box) loadBody(p *wire.PackageBody) {
	b.t.Helper()
	if _, err := b.socket.Write(wire.AppendPackage(nil, p)); err != nil {
		b.t.Fatal(err)
	}
}

func interpreter(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	if name == "python3" { // it may be a script that finds the real one
		out, err := exec.Command(path, "-c", "import sys; print(sys.executable)").Output()
		if err != nil {
			t.Skipf("%s does not run: %v", name, err)
		}
		path = strings.TrimSpace(string(out))
	}
	return path
}

func (b *box) loaded() {
	b.t.Helper()
	if failure, err := wire.ParseLoaded(b.frame(wire.Loaded)); err != nil || failure != "" {
		b.t.Fatalf("loaded: %q, %v", failure, err)
	}
}

// end is how a call ended.
type end struct {
	wire.DoneBody
	output, log string
}

// object is the error object of a failure.
func (e end) object(t *testing.T) (kind, message string) {
	t.Helper()
	var o struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal([]byte(e.output), &o); err != nil {
		t.Fatalf("%q is no error object: %v", e.output, err)
	}
	return o.ErrorType, o.ErrorMessage
}

const requestID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"

func (b *box) run(event string, change ...func(*wire.RunBody)) {
	b.t.Helper()
	b.next++
	run := &wire.RunBody{
		Timeout: 5 * time.Second, RequestID: requestID, LogLimit: 64 << 10, OutputLimit: 1 << 20, Event: []byte(event),
		Context: []byte(`{"arn":"arn:aws:lambda:eu-1:000000000001:function:f","tenantId":"blue","clientContext":"{\"custom\":{\"a\":1}}","traceId":"Root=1-2-3"}`),
	}
	for _, c := range change {
		c(run)
	}
	if _, err := b.socket.Write(wire.AppendRun(nil, b.next, run)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) done() end {
	b.t.Helper()
	h, body := b.anyFrame(wire.Done)
	var e end
	if err := wire.ParseDone(body, &e.DoneBody); err != nil || h.Handle != b.next {
		b.t.Fatalf("done: handle %d, want %d; %v", h.Handle, b.next, err)
	}
	e.output, e.log = string(e.Output), string(e.Log)
	return e
}

func (b *box) call(event string, change ...func(*wire.RunBody)) end {
	b.t.Helper()
	b.run(event, change...)
	return b.done()
}

// gone waits for the worker to end by itself, as it does after a last call.
func (b *box) gone() {
	b.t.Helper()
	select {
	case <-b.exited:
	case <-time.After(10 * time.Second):
		b.t.Error("the worker lives on after its last call")
	}
}

func timeout(d time.Duration) func(*wire.RunBody) {
	return func(r *wire.RunBody) { r.Timeout = d }
}

// failing is a function whose calls or initialisation fail, and with what.
type failing struct {
	name, handler, code string
	event               string
	kind, message       string
	last                bool
}

func checkFailures(t *testing.T, language, file string, list []failing) {
	for _, f := range list {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			handler := f.handler
			if handler == "" {
				handler = "app.handler"
			}
			b.load(language, handler, map[string]string{file: f.code})
			b.loaded()
			event := f.event
			if event == "" {
				event = "{}"
			}
			e := b.call(event, timeout(2*time.Second))
			if e.Status != wire.StatusFunctionError || e.Last != f.last {
				t.Fatalf("status %d, last %v, output %s; want status %d, last %v", e.Status, e.Last, e.output, wire.StatusFunctionError, f.last)
			}
			kind, message := e.object(t)
			if kind != f.kind || !strings.Contains(message, f.message) {
				t.Errorf("got %s: %q; want %s with %q (log %q)", kind, message, f.kind, f.message, e.log)
			}
			if f.last {
				b.gone()
			} else if again := b.call(event); again.output != e.output {
				t.Errorf("the second call got %s, want the same as the first: %s", again.output, e.output)
			}
		})
	}
}
