//go:build linux

package spawner

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
)

func goodRequests() []request {
	limits := Limits{MemoryBytes: 1 << 33, CPUQuota: 2500, CPUWeight: 10_000, PIDs: 64}
	return []request{
		{op: opSpawn, kind: Worker, slot: 7, limits: limits},
		{op: opSpawn, kind: Compile},
		{op: opSpawn, kind: KernelWorker},
		{op: opSpawn, kind: KernelNative},
		{op: opKill, slot: 1<<32 - 1, pid: 1},
		{op: opLimits, slot: 3, pid: 99, limits: limits},
		{op: opFreeze, slot: 3, pid: 99},
		{op: opThaw, slot: 3, pid: 99},
	}
}

func goodEvents() []event {
	return []event{
		{op: evReady, text: "{}"},
		{op: evFatal, text: strings.Repeat("x", eventText)},
		{op: evSpawned, slot: 1, pid: 2},
		{op: evFrozen, slot: 1, text: "the process has ended"},
		{op: evExited, slot: 9, exit: Exit{Status: -1, Signal: syscall.SIGSYS, CPUTime: 1, MaxRSS: 1 << 40, OOMKilled: true}},
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	for _, r := range goodRequests() {
		if got, err := decodeRequest(r.encode()); err != nil || got != r {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	}
	for _, e := range goodEvents() {
		if got, err := decodeEvent(e.encode()); err != nil || got != e {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
	}
	long := event{op: evFatal, text: strings.Repeat("y", eventSize)}
	if got, err := decodeEvent(long.encode()); err != nil || len(got.text) != eventText {
		t.Errorf("a long text became %d bytes, %v", len(got.text), err)
	}
}

// TestMalformedRequests changes good requests in each way that has a rule.
func TestMalformedRequests(t *testing.T) {
	change := func(f func(b []byte) []byte) []byte { return f(goodRequests()[0].encode()) }
	for name, b := range map[string][]byte{
		"empty":                    {},
		"short":                    change(func(b []byte) []byte { return b[:len(b)-1] }),
		"long":                     change(func(b []byte) []byte { return append(b, 0) }),
		"another version":          change(func(b []byte) []byte { b[0]++; return b }),
		"no operation":             change(func(b []byte) []byte { b[1] = 0; return b }),
		"unknown operation":        change(func(b []byte) []byte { b[1] = byte(ops); return b }),
		"no kind":                  change(func(b []byte) []byte { b[2] = 0; return b }),
		"the spawner's own kind":   change(func(b []byte) []byte { b[2] = byte(probe); return b }),
		"unknown kind":             change(func(b []byte) []byte { b[2] = 200; return b }),
		"padding":                  change(func(b []byte) []byte { b[3] = 1; return b }),
		"padding at the end":       change(func(b []byte) []byte { b[len(b)-1] = 1; return b }),
		"spawn with a process":     request{op: opSpawn, kind: Worker, pid: 4}.encode(),
		"kill without a process":   request{op: opKill}.encode(),
		"kill with limits":         request{op: opKill, pid: 4, limits: Limits{PIDs: 1}}.encode(),
		"freeze without a process": request{op: opFreeze}.encode(),
		"thaw with limits":         request{op: opThaw, pid: 4, limits: Limits{PIDs: 1}}.encode(),
		"kill with a kind":         request{op: opKill, pid: 4, kind: Worker}.encode(),
		"limits without a process": request{op: opLimits}.encode(),
	} {
		if r, err := decodeRequest(b); !errors.Is(err, errMalformed) {
			t.Errorf("%s: taken as %+v, %v", name, r, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, r := range goodRequests() {
		f.Add(r.encode())
	}
	f.Add(make([]byte, requestSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRequest(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("%x became %+v", b, r)
		}
	})
}

func FuzzEvent(f *testing.F) {
	for _, e := range goodEvents() {
		f.Add(e.encode())
	}
	f.Add(make([]byte, eventSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := decodeEvent(b); err == nil && !bytes.Equal(e.encode(), b) {
			t.Errorf("%x became %+v", b, e)
		}
	})
}

func FuzzServerConfig(f *testing.F) {
	f.Add(`{"node":"n1","slots":4,"baseUid":200001,"maxMemoryBytes":1073741824}`)
	f.Add(`{"node":"../x","slots":4}`)
	f.Add(`{"node":"n1","slots":4,"baseUid":4294967290,"maxMemoryBytes":1073741824}`)
	f.Fuzz(func(t *testing.T, arg string) {
		c, err := ParseServerConfig(arg)
		if err == nil && (strings.ContainsAny(c.Node, "/. \x00") || c.Node == "" || c.Slots == 0) {
			t.Errorf("%q was taken as %+v", arg, c)
		}
	})
}
