//go:build linux

package process

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/sandbox/gvisor"
	"github.com/carrel-dev/carrel/sandbox/gvisor/gvisortest"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/worker/wire"
)

// TestNativeHostInASandbox runs handlers of both languages on the host's
// interpreters, in a sandbox that sees nothing else of the host.
func TestNativeHostInASandbox(t *testing.T) {
	kernel := &spawner.KernelConfig{Runtime: gvisor.Runtime{Path: gvisortest.Runtime(t)}}
	pythons, _ := filepath.Glob("/usr/bin/python3.[0-9]*")
	pythons = slices.DeleteFunc(pythons, func(f string) bool { return strings.Contains(filepath.Base(f), "-") })
	functions := map[string]wire.PackageBody{}
	if _, err := os.Stat("/usr/bin/node"); err == nil {
		mounts, err := gvisor.Node("/usr/bin/node")
		if err != nil {
			t.Fatal(err)
		}
		kernel.Mounts = gvisor.Merge(kernel.Mounts, mounts)
		functions["index.js"] = wire.PackageBody{Language: "nodejs", Interpreter: "/usr/bin/node", Handler: "index.handler",
			Archive: archive(t, "index.js", `exports.handler = async (event) => ({ hello: event.name, from: "node" })`)}
	}
	if len(pythons) > 0 {
		mounts, err := gvisor.Python(pythons[0])
		if err != nil {
			t.Fatal(err)
		}
		kernel.Mounts = gvisor.Merge(kernel.Mounts, mounts)
		functions["index.py"] = wire.PackageBody{Language: "python", Interpreter: pythons[0], Handler: "index.handler",
			Archive: archive(t, "index.py", "import json, ssl, ctypes\ndef handler(event, context):\n    return {'hello': event['name'], 'from': 'python'}\n")}
	}
	if len(functions) == 0 {
		t.Skip("this host has neither node nor python")
	}
	h := newHarnessWith(t, workerBinary, kernel, nil)
	for name, body := range functions {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			p, err := h.driver.cfg.Spawner.Spawn(t.Context(), spawner.KernelNative, limitsFor(spawner.KernelNative, 256))
			if err != nil {
				t.Fatal(err)
			}
			defer end(p)
			b, err := newBlank(p, h.driver)
			if err != nil {
				t.Fatal(err)
			}
			ready := time.Since(begun)
			body.Env = []string{"_HANDLER=" + body.Handler, "LAMBDA_TASK_ROOT=/var/task", "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256"}
			body.MemoryLimit, body.InitTimeout, body.LogLimit = 256<<20, 10*time.Second, 1<<16
			begun = time.Now()
			frames := wire.AppendPackage(nil, &body)
			frames = wire.AppendRun(frames, 7, &wire.RunBody{Timeout: 10 * time.Second, RequestID: "r", Context: []byte(`{"awsRequestId":"r","functionName":"f","functionVersion":"1","deadlineMs":4102444800000}`), LogLimit: 1 << 16, OutputLimit: 1 << 16, Event: []byte(`{"name":"Ada"}`)})
			if _, err := b.conn.Write(frames); err != nil {
				t.Fatal(err)
			}
			done := awaitDone(t, b)
			first := time.Since(begun)
			if done.Status != wire.StatusOK || !strings.Contains(string(done.Output), `"Ada"`) {
				t.Fatalf("status %d: %s\n%s", done.Status, done.Output, done.Log)
			}
			t.Logf("%s: sandbox ready in %s, first reply %s after", done.Output, ready, first)
		})
	}
}

func awaitDone(t *testing.T, b *blank) *wire.DoneBody {
	t.Helper()
	b.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		var head [wire.HeaderSize]byte
		if _, err := io.ReadFull(b.conn, head[:]); err != nil {
			t.Fatal(err)
		}
		hd, err := wire.ParseHeader(head[:], wire.MaxFromWorker)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, hd.Len)
		if _, err := io.ReadFull(b.conn, body); err != nil {
			t.Fatal(err)
		}
		if hd.Type == wire.Loaded {
			if failure, err := wire.ParseLoaded(body); err != nil || failure != "" {
				t.Fatalf("not loaded: %q %v", failure, err)
			}
		}
		if hd.Type == wire.Done {
			var d wire.DoneBody
			if err := wire.ParseDone(body, &d); err != nil {
				t.Fatal(err)
			}
			return &d
		}
	}
}

func archive(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write([]byte(content))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
