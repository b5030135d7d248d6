//go:build linux

package process

import (
	"testing"
	"time"

	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/worker/wire"
)

// TestACallThatBeganIsNotTakenBack: the node's wish to run a waiting call
// elsewhere can arrive when the worker has just begun it. Stopping it then
// would report a time-out that never was.
func TestACallThatBeganIsNotTakenBack(t *testing.T) {
	h := newHarness(t, nil)
	const limit = 400 * time.Millisecond
	f := h.deploy("111111111111", readGreeter(t), function.Limits{MemoryMB: 64, Timeout: limit})
	for why, stopped := range map[wire.CancelReason]bool{wire.Steal: false, wire.Expired: true} {
		b, err := h.driver.poolOf(spawner.Worker).wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer b.discard()
		g := &group{driver: h.driver, key: groupKey{artifact: f.Artifact, memoryMB: 64}}
		if err := newWorker(g, b, time.Now()).load(nil); err != nil {
			t.Fatal(err)
		}
		if _, err := readFrame(b.conn, wire.Loaded, 1000); err != nil {
			t.Fatal(err)
		}
		const handle = 7
		send := func(frame []byte) {
			if _, err := b.conn.Write(frame); err != nil {
				t.Fatal(err)
			}
		}
		send(wire.AppendRun(nil, handle, &wire.RunBody{
			ClockBase: time.Now(), Timeout: limit, LogLimit: 1000, OutputLimit: 1000, Context: []byte("{}"), Event: []byte(`{"do":"spin"}`),
		}))
		<-time.After(50 * time.Millisecond) // it has begun
		send(wire.AppendCancel(nil, handle, why))
		body, err := readFrame(b.conn, wire.Done, wire.MaxFromWorker)
		if err != nil {
			t.Fatal(err)
		}
		var done wire.DoneBody
		if err := wire.ParseDone(body, &done); err != nil {
			t.Fatal(err)
		}
		if early := done.Duration < limit*9/10; early != stopped {
			t.Errorf("reason %d: the call ended after %s of %s", why, done.Duration, limit)
		}
	}
}
