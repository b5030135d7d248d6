//go:build wasip1

// Reactor is a guest for tests: the event names what to do, and the answer
// tells what was found.
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unsafe"
)

//go:wasmimport carrel_v1 context
func hostContext(ptr unsafe.Pointer, n uint32) int32

var (
	calls   int
	kept    [][]byte
	leaked  *os.File
	started = time.Now()
)

func main() {}

type request struct {
	Op   string `json:"op"`
	N    int    `json:"n"`
	Text string `json:"text"`
}

//go:wasmexport handle
func handle() int32 {
	calls++
	event, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fail("ReadError", err.Error())
	}
	var r request
	if err := json.Unmarshal(event, &r); err != nil {
		return fail("BadEvent", err.Error())
	}
	answer, err := do(r)
	if err != nil {
		return fail("OpError", err.Error())
	}
	fmt.Printf("%d %s", calls, answer)
	return 0
}

func fail(kind, message string) int32 {
	json.NewEncoder(os.Stdout).Encode(map[string]string{"errorType": kind, "errorMessage": message})
	return 1
}

func do(r request) (string, error) {
	switch r.Op {
	case "echo":
		return strings.ToUpper(r.Text), nil
	case "alloc":
		for range r.N {
			kept = append(kept, make([]byte, 1<<20))
			kept[len(kept)-1][0] = 1
		}
		return fmt.Sprint(len(kept)), nil
	case "panic":
		panic("told to: " + r.Text)
	case "exit":
		os.Exit(r.N)
	case "spin":
		for n := 0; ; n++ {
			calls += n & 1
		}
	case "recurse":
		return fmt.Sprint(recurse(r.N)), nil
	case "sleep":
		begin := time.Now()
		time.Sleep(time.Duration(r.N) * time.Millisecond)
		return time.Since(begin).String(), nil
	case "log":
		fmt.Fprint(os.Stderr, strings.Repeat(r.Text, r.N))
	case "print":
		fmt.Print(strings.Repeat(r.Text, r.N))
	case "env":
		return strings.Join(os.Environ(), ","), nil
	case "clock":
		return time.Now().UTC().Format(time.RFC3339Nano) + " " + started.UTC().Format(time.RFC3339Nano), nil
	case "random":
		b := make([]byte, 16)
		_, err := rand.Read(b)
		return fmt.Sprintf("%x", b), err
	case "context":
		b := make([]byte, 4096)
		n := hostContext(unsafe.Pointer(&b[0]), uint32(len(b)))
		return string(b[:n]), nil
	default:
		return files(r)
	}
	return "", nil
}

func recurse(n int) int {
	if n == 0 {
		return 0
	}
	return recurse(n-1) + 1
}

func files(r request) (string, error) {
	switch r.Op {
	case "write":
		return "", os.WriteFile("/tmp/"+r.Text, make([]byte, r.N), 0o600)
	case "leak":
		f, err := os.Create("/tmp/leaked")
		leaked = f
		return fmt.Sprint(f.Fd()), err
	case "list":
		entries, err := os.ReadDir("/tmp")
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, ","), err
	case "tree":
		if err := os.MkdirAll("/tmp/a/b/c", 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile("/tmp/a/b/c/f", []byte("hello"), 0o600); err != nil {
			return "", err
		}
		if err := os.Rename("/tmp/a/b", "/tmp/z"); err != nil {
			return "", err
		}
		b, err := os.ReadFile("/tmp/z/c/f")
		if err != nil {
			return "", err
		}
		info, err := os.Stat("/tmp/z/c/f")
		if err != nil {
			return "", err
		}
		return fmt.Sprint(string(b), info.Size(), info.IsDir()), os.RemoveAll("/tmp/z")
	case "open":
		b, err := os.ReadFile(r.Text)
		return string(b), err
	}
	return "", fmt.Errorf("op %q is unknown", r.Op)
}
