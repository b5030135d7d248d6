//go:build linux

package wasm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/wasm"
)

// jailedChild is the argument that makes the test binary the child of
// TestJailedWorker.
const jailedChild = "jailed-worker"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == jailedChild {
		if err := runJailed(os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("all calls were answered")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// jailedGuest does what its event says.
func jailedGuest() *guest {
	g := newGuestModule(2)
	f := g.fn(wasm.FuncType{}, 0)
	deep := f + 1
	g.fn(wasm.FuncType{}, 0, call(deep))
	g.export("f", f)
	g.Tables = []wasm.Table{{Type: wasm.FuncRef, Size: wasm.Range{Min: 1}}}
	op := func(c byte, body ...code) code { return when(eq(load(600), i32(int32(c))), body...) }
	return g.handle(
		readEvent(600, 1), store(700, add(load(700), i32(1))),
		op('t', i32(0), seq(code{0xd2}, u(f)), code{0x26, 0}),
		op('g', drop(memoryGrow(i32(40))), store(2<<16+8, i32(1))),
		op('x', unreachable), op('r', call(deep)), op('s', sleep(3)),
		reply(700, 4),
	)
}

// runJailed is a worker's life in short: make ready, be jailed, load, be
// locked down, run calls of every kind.
func runJailed(size string) error {
	const artifact = 4
	runtime.GOMAXPROCS(1) // else Go's runtime asks for the processors from time to time, which is forbidden
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return err
	}
	e, err := NewEngine()
	if err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: 1 << 30, Max: 1 << 30}); err != nil {
		return err
	}
	if _, err := jail.Enter(jail.Worker()); err != nil {
		return err
	}
	g, err := e.LoadFD(context.Background(), artifact, n, LoadConfig{MemoryLimit: testLimit})
	if err != nil {
		return err
	}
	if err := jail.LockDown(jail.Worker()); err != nil {
		return err
	}
	res := &Result{}
	for i := range 60 {
		event := string("-tgxrs"[i%6])
		if err := g.Run(context.Background(), invocation(event), res); err != nil {
			return fmt.Errorf("call %d (%s): %w", i, event, err)
		}
		if fails := event == "x" || event == "r"; (res.Status != StatusOK) != fails || !fails && !bytes.Equal(res.Output, []byte{1, 0, 0, 0}) {
			return fmt.Errorf("call %d (%s): %v %s %x", i, event, res.Status, res.ErrorMessage, res.Output)
		}
		if (res.Reset == Reinstantiated) != (event == "t") {
			return fmt.Errorf("call %d (%s): reset %d", i, event, res.Reset)
		}
		if i == 30 {
			runtime.GC()
		}
	}
	return nil
}

// TestJailedWorker runs guests behind the filters of a worker: everything
// that happens after the module is loaded, new instances too, has to do
// without executable mappings and without any file.
func TestJailedWorker(t *testing.T) {
	fd, size := artifactFile(t, build(t, jailedGuest().Encode()))
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe", jailedChild, strconv.FormatInt(size, 10))
	c.ExtraFiles = []*os.File{null, os.NewFile(uintptr(fd), "artifact")} // 3 stands for the socket
	c.SysProcAttr = jail.SysProcAttr(jail.Identity{UID: os.Getuid(), GID: os.Getgid()})
	runtime.LockOSThread() // the child dies with the thread
	defer runtime.UnlockOSThread()
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "all calls were answered\n" {
		t.Fatalf("the jailed worker: %v\n%s", err, out)
	}
}
