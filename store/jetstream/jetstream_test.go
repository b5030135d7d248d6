//go:build linux

package jetstream

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/store/storetest"
)

const childDir = "CARREL_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" { //lint:allow getenv the test binary is its own child process
		writeForever(dir)
	}
	os.Exit(m.Run())
}

func startBus(t testing.TB, dir string) *bus.Bus {
	t.Helper()
	b, err := bus.Start(bus.Config{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t testing.TB, b *bus.Bus) *Store {
	t.Helper()
	s, err := Open(t.Context(), b.JetStream(), bus.Functions)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.KV { return open(t, startBus(t, t.TempDir())) })
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	b := startBus(t, dir)
	s := open(t, b)
	key := storetest.Key(t, "fn", "a")
	r, err := s.Create(t.Context(), key, []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	gone, err := s.Delete(t.Context(), key, r)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	b = startBus(t, dir)
	s = open(t, b)
	if e, err := s.Get(t.Context(), key); !fault.Is(err, fault.NotFound) || e.Revision != gone {
		t.Errorf("after a restart %+v, %v", e, err)
	}
	next, err := s.Create(t.Context(), key, []byte("2"))
	if err != nil || next <= gone {
		t.Errorf("revision %d after %d, %v", next, gone, err)
	}
	b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Get(ctx, key); err == nil || fault.Is(err, fault.NotFound) {
		t.Errorf("a stopped store: %v", err)
	}
}

func TestUnsafeBucketsAreRefused(t *testing.T) {
	b := startBus(t, t.TempDir())
	c, err := bus.Functions.Config(1)
	if err != nil {
		t.Fatal(err)
	}
	open(t, b)
	c.AllowDirect = true
	if _, err := b.JetStream().UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), b.JetStream(), bus.Functions); err == nil {
		t.Error("a bucket that replicas answer for was opened")
	}
	if _, err := Open(t.Context(), b.JetStream(), "nothing"); err == nil {
		t.Error("a bucket that is not there was opened")
	}
}

// A killed process loses nothing that it was told is written.
func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]store.Revision{}
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 200 {
			var key string
			var r store.Revision
			if !lines.Scan() {
				t.Fatal("the child ended")
			}
			if _, err := fmt.Sscan(lines.Text(), &key, &r); err != nil {
				t.Fatal(err)
			}
			acked[key] = max(acked[key], r)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		b := startBus(t, dir)
		s := open(t, b)
		for text, r := range acked {
			key, err := store.ParseKey(text)
			if err != nil {
				t.Fatal(err)
			}
			if e, err := s.Get(t.Context(), key); err != nil || e.Revision < r {
				t.Errorf("round %d: %s was acknowledged at %d and is at %d, %v", round, key, r, e.Revision, err)
			}
		}
		b.Close()
	}
}

func writeForever(dir string) {
	ctx := context.Background()
	b, err := bus.Start(bus.Config{StoreDir: dir})
	if err == nil {
		err = b.Ensure(ctx)
	}
	if err != nil {
		panic(err)
	}
	s, err := Open(ctx, b.JetStream(), bus.Functions)
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		key, err := store.NewKey("fn", fmt.Sprint("k", i%50))
		if err != nil {
			panic(err)
		}
		e, err := s.Get(ctx, key)
		if err != nil && !fault.Is(err, fault.NotFound) {
			panic(err)
		}
		r, err := s.Update(ctx, key, fmt.Append(nil, i), e.Revision)
		if err != nil {
			panic(err)
		}
		fmt.Println(key, uint64(r))
	}
}

// A snapshot of a bucket, and one of a part of it, follow a real server and
// are confirmed by it.
func TestSnapshotsFollowTheServer(t *testing.T) {
	s := open(t, startBus(t, t.TempDir()))
	decode := func(e store.Entry) (string, error) { return string(e.Value), nil }
	for i := range 200 {
		if _, err := s.Create(t.Context(), storetest.Key(t, "fn", fmt.Sprint("k", i)), []byte("before")); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range []store.Key{{}, storetest.Key(t, "fn")} {
		snapshot, err := store.Load(t.Context(), s, prefix, store.Options[string]{
			Decode: decode, ConfirmEvery: 10 * time.Millisecond, RereadEvery: 20 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Update(t.Context(), storetest.Key(t, "role", "r"+snapshotName(prefix)), []byte("outside of fn"), 0); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			key := storetest.Key(t, "fn", fmt.Sprint("k", i))
			e, err := s.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprint(prefix, i)
			r, err := s.Update(t.Context(), key, []byte(want), e.Revision)
			if err != nil {
				t.Fatal(err)
			}
			if err := snapshot.Wait(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got, at, err := snapshot.Get(key); err != nil || got != want || at != r {
				t.Errorf("%s is %q at %d, %v; want %q at %d", key, got, at, err, want, r)
			}
		}
		now := time.Now()
		for deadline := time.After(10 * time.Second); !snapshot.Confirmed().After(now); {
			select {
			case <-time.After(time.Millisecond):
			case <-deadline:
				t.Fatalf("the snapshot of %q is not confirmed", prefix)
			}
		}
		snapshot.Close()
	}
}

func snapshotName(prefix store.Key) string {
	if prefix.IsZero() {
		return "all"
	}
	return prefix.String()
}

func BenchmarkHeadOf20k(b *testing.B) {
	s := open(b, startBus(b, b.TempDir()))
	for i := range 20_000 {
		if _, err := s.Update(b.Context(), storetest.Key(b, "fn", fmt.Sprint(i)), nil, 0); err != nil {
			b.Fatal(err)
		}
	}
	for _, prefix := range []store.Key{{}, storetest.Key(b, "fn")} {
		b.Run(snapshotName(prefix), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Head(b.Context(), prefix); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPut(b *testing.B) {
	s := open(b, startBus(b, b.TempDir()))
	value := make([]byte, 256)
	i := 0
	for b.Loop() {
		key := storetest.Key(b, "fn", fmt.Sprint(i))
		i++
		if _, err := s.Update(b.Context(), key, value, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, startBus(b, b.TempDir()))
	key := storetest.Key(b, "fn", "a")
	if _, err := s.Create(b.Context(), key, make([]byte, 256)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}
