//go:build linux

package wasm

import (
	"bytes"
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const testLimit = 64 << 20

// engineFor gives an engine of each way to find written pages.
func engines(t testing.TB) map[string]*Engine {
	t.Helper()
	all := map[string]*Engine{}
	e, err := NewEngine()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if e.watch != nil {
		all["watch"] = e
		if e, err = newEngine(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
	}
	all["compare"] = e
	return all
}

func build(t testing.TB, module []byte) *Artifact {
	t.Helper()
	a, err := Build(context.Background(), Source{Module: module, MemoryLimit: testLimit, Env: []string{"STAGE=test"}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func encoded(t testing.TB, a *Artifact) []byte {
	t.Helper()
	b, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// artifactFile writes an artifact to a memory file.
func artifactFile(t testing.TB, a *Artifact) (fd int, size int64) {
	t.Helper()
	b := encoded(t, a)
	fd, err := unix.MemfdCreate("artifact", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for w := b; len(w) > 0; {
		n, err := unix.Write(fd, w)
		if err != nil {
			t.Fatal(err)
		}
		w = w[n:]
	}
	return fd, int64(len(b))
}

// loadFD loads an artifact from a memory file, as a worker does.
func loadFD(t testing.TB, e *Engine, a *Artifact) *Guest {
	t.Helper()
	fd, size := artifactFile(t, a)
	g, err := e.LoadFD(context.Background(), fd, size, LoadConfig{MemoryLimit: testLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

var testClock = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func invocation(event string) *Invocation {
	return &Invocation{
		Event: []byte(event), Context: []byte(`{"tenant":"acme"}`), Env: []string{"A=1", "B=2"}, RequestID: "r-1",
		Seed: [32]byte{1}, ClockBase: testClock, LogLimit: 4096, OutputLimit: 1 << 20,
		Deadline: time.Now().Add(20 * time.Second), Timeout: 20 * time.Second,
	}
}

func run(t testing.TB, g *Guest, inv *Invocation) *Result {
	t.Helper()
	res := &Result{}
	if err := g.Run(context.Background(), inv, res); err != nil {
		t.Fatal(err)
	}
	return res
}

func TestRunIsTheFirstRunEveryTime(t *testing.T) {
	a := build(t, smallGuest())
	for name, e := range engines(t) {
		g := loadFD(t, e, a)
		var fuel uint64
		for i := range 50 {
			r := run(t, g, invocation(""))
			if r.Status != StatusOK || !bytes.Equal(r.Output, []byte{1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}) {
				t.Fatalf("%s: call %d: %v %s %x", name, i, r.Status, r.ErrorMessage, r.Output)
			}
			if i > 0 && r.Fuel != fuel {
				t.Fatalf("%s: call %d used %d units of fuel, the one before %d", name, i, r.Fuel, fuel)
			}
			fuel = r.Fuel
			if r.Reset != Restored {
				t.Fatalf("%s: the guest was instantiated anew", name)
			}
		}
		t.Logf("%s: %d units of fuel", name, fuel)
	}
}
