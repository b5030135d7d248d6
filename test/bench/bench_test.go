//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// startBareServer runs the bare server in this process.
func startBareServer(t *testing.T) (address string) {
	t.Helper()
	in, end := io.Pipe()
	out, told := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- bareServer(in, told) }()
	t.Cleanup(func() {
		end.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func generate(t *testing.T, kind string, s loadSpec) (r loadResult) {
	t.Helper()
	in, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := roles[kind](bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGenerators has both generators call a server that echoes, once with the
// right expectation and once with a wrong one.
func TestGenerators(t *testing.T) {
	address := startBareServer(t)
	for _, kind := range []string{"load", "open"} {
		for _, tt := range []struct {
			expect string
			errors bool
		}{{"hello", false}, {"something else", true}} {
			s := loadSpec{
				Address: address, Conns: 3, Rate: 200, Measure: 100 * time.Millisecond,
				Targets: []target{{Function: "echo", AccessKeyID: "AKIA", Secret: "s", Zone: "us-east-1", Body: "hello", Expect: tt.expect}},
			}
			r := generate(t, kind, s)
			if (r.Errors > 0) != tt.errors || (r.Error != "") != tt.errors {
				t.Errorf("%s, expecting %q: %d errors, %s", kind, tt.expect, r.Errors, r.Error)
			}
			if !tt.errors && (r.Calls < 10 || r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.MaxMicros || r.Seconds < 0.1) {
				t.Errorf("%s: %+v", kind, r)
			}
		}
	}
}

func TestReplies(t *testing.T) {
	const length = "HTTP/1.1 200 OK\r\nContent-Length: 5"
	for head, want := range map[string]struct {
		length int
		ok     bool
	}{
		length: {5, true},
		"HTTP/1.1 200 OK\r\ncontent-length: 17\r\nA: b":           {17, true},
		length + "\r\nX-Amz-Function-Error: Unhandled":            {5, false},
		"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 9":     {9, false},
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked":           {-1, true},
		"HTTP/1.1 200 OK\r\nX-Content-Length: 4":                  {-1, true},
		"HTTP/1.1 200 OK\r\nContent-Length: -3":                   {-1, true},
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999": {-1, true},
	} {
		n, err := contentLength([]byte(head))
		if err != nil {
			n = -1
		}
		if n != want.length || ok([]byte(head+"\r\n\r\n")) != want.ok {
			t.Errorf("%q: length %d (%v), success %v; want %+v", head, n, err, ok([]byte(head)), want)
		}
	}
}

func FuzzContentLength(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nA: b"))
	f.Add([]byte("\ncontent-length:"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if n, err := contentLength(head); err == nil && n < 0 {
			t.Fatalf("a length of %d", n)
		}
	})
}

func TestStatistics(t *testing.T) {
	for _, tt := range []struct{ got, want float64 }{
		{median(nil), 0}, {median([]float64{3, 1, 2}), 2}, {median([]float64{4, 1, 2, 3}), 2.5},
		{percentile([]float64{1, 2, 3, 4}, 50), 2}, {percentile([]float64{1, 2, 3, 4}, 99), 4}, {percentile(nil, 99), 0}, {percentile([]float64{7}, 0), 7},
	} {
		if tt.got != tt.want {
			t.Errorf("got %v, want %v", tt.got, tt.want)
		}
	}
	for _, tt := range []struct {
		goal   *Goal
		value  float64
		met    bool
		margin float64
	}{{atLeast(4), 3, false, -0.25}, {atLeast(4), 5, true, 0.25}, {atMost(10), 12, false, -0.2}, {atMost(10), 10, true, 0}} {
		if tt.goal.check(tt.value); tt.goal.Met != tt.met || math.Abs(tt.goal.Margin-tt.margin) > 1e-9 {
			t.Errorf("%v at %v: %+v", tt.goal, tt.value, tt.goal)
		}
	}
	if _, err := choose("warm,nothing"); err == nil {
		t.Error("an unknown measurement was chosen")
	}
	if all, err := choose(""); err != nil || !slices.Equal(all, names()) {
		t.Errorf("without a choice: %v, %v", all, err)
	}
}

// TestProcessorTime starts a child that computes: its time counts while it
// lives and after it has been waited for.
func TestProcessorTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo; read x")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadByte(); err != nil {
		t.Fatal(err)
	}
	during, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	_ = child.Wait() // read at the end of its input fails
	after, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	spent := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	// A tick is lost where /proc rounds.
	if spent < 20*time.Millisecond || during-before < spent*9/10-10*time.Millisecond || after < during-20*time.Millisecond {
		t.Errorf("a child used %s; counted %s while it lived, %s after its end", spent, during-before, after-before)
	}
	if _, err := cpuTime(1 << 30); err == nil {
		t.Error("a process that is not there has a processor time")
	}
}
