//go:build linux

package bus

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// child, set in the environment of the test binary, makes it a node that
// publishes until it is killed, or one that runs below unreadable folders.
const child = "CARREL_BUS_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(child) { //lint:allow getenv the test binary is its own child process
	case "publish":
		publishForever()
	case "relative":
		startRelative()
	default:
		os.Exit(m.Run())
	}
}

func start(t *testing.T, dir string) *Bus {
	t.Helper()
	b, err := Start(Config{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEnsureMakesTheWholeTable(t *testing.T) {
	b := start(t, t.TempDir())
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	if max := b.JetStream().Conn().MaxPayload(); max != MaxPayload {
		t.Errorf("messages may have %d bytes, not %d", max, MaxPayload)
	}
	names := map[string]bool{}
	for info := range b.JetStream().ListStreams(t.Context()).Info() {
		names[info.Config.Name] = true
		if info.Config.AllowDirect {
			t.Errorf("%s answers reads from replicas", info.Config.Name)
		}
	}
	for _, bucket := range Buckets() {
		if !names[bucket.StreamName()] {
			t.Errorf("bucket %s is not there", bucket)
		}
	}
	for _, stream := range Streams() {
		if !names[string(stream)] {
			t.Errorf("stream %s is not there", stream)
		}
	}
}

func TestStartIsRefusedWithoutSyncAlways(t *testing.T) {
	opts := options(Config{StoreDir: t.TempDir()})
	run := func() error {
		srv, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		defer srv.WaitForShutdown()
		defer srv.Shutdown()
		if !srv.ReadyForConnections(startTimeout) {
			t.Fatal("not ready")
		}
		return verify(srv, opts)
	}
	if err := run(); err != nil {
		t.Fatalf("the real settings: %v", err)
	}
	opts.SyncAlways = false
	if err := run(); err == nil || !strings.Contains(err.Error(), "SyncAlways") {
		t.Errorf("without SyncAlways: %v", err)
	}
	opts.SyncAlways, opts.DontListen, opts.Port = true, false, -1
	if err := run(); err == nil || !strings.Contains(err.Error(), "listens") {
		t.Errorf("with a listener: %v", err)
	}
}

func TestOneProcessPerFolder(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	if _, err := Start(Config{StoreDir: dir}); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a second server on the folder: %v", err)
	}
	b.Close()
	start(t, dir)
}

func TestSubjectsTakeOnlyOurIDs(t *testing.T) {
	good := tenant.NewUID()
	if s, err := EventSubject(good); err != nil || s != "carrel.event."+string(good) {
		t.Errorf("EventSubject: %q, %v", s, err)
	}
	for _, bad := range []string{"", "*", ">", "acme", "acme.globex", string(good) + ".>", strings.ToUpper(string(good))} {
		if s, err := EventSubject(tenant.UID(bad)); err == nil {
			t.Errorf("EventSubject(%q) = %q", bad, s)
		}
		if s, err := DeadLetterSubject(tenant.UID(bad)); err == nil {
			t.Errorf("DeadLetterSubject(%q) = %q", bad, s)
		}
	}
	for _, bad := range []string{"", "*", "a.b", ">", "A", strings.Repeat("a", 65)} {
		if s, err := UsageSubject(bad); err == nil {
			t.Errorf("UsageSubject(%q) = %q", bad, s)
		}
		if _, err := Bucket(bad).Config(1); err == nil {
			t.Errorf("Bucket(%q) has settings", bad)
		}
	}
	if _, err := Stream("OTHER").Config(1); err == nil {
		t.Error("an unlisted stream has settings")
	}
}

// A tenant's queue is bounded, and full for that tenant only.
func TestAFullQueueIsOneTenantsMatter(t *testing.T) {
	b := start(t, t.TempDir())
	c, err := Events.Config(1)
	if err != nil {
		t.Fatal(err)
	}
	c.MaxMsgsPerSubject = 3 // 10,000 synced writes would take seconds
	if _, err := b.JetStream().UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	acme, _ := EventSubject(tenant.NewUID())
	globex, _ := EventSubject(tenant.NewUID())
	for i := range 5 {
		_, err := b.JetStream().Publish(t.Context(), acme, []byte("event"))
		if (err != nil) != (i >= 3) {
			t.Errorf("message %d: %v", i+1, err)
		}
	}
	if _, err := b.JetStream().Publish(t.Context(), globex, []byte("event")); err != nil {
		t.Errorf("the other tenant: %v", err)
	}
}

func TestAcknowledgedMessagesSurviveKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"=publish", "DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := 0
	for lines := bufio.NewScanner(out); acked < 300 && lines.Scan(); acked++ {
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if acked < 300 {
		t.Fatalf("the child acknowledged %d messages only", acked)
	}
	b := start(t, dir)
	s, err := b.JetStream().Stream(t.Context(), string(Usage))
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n < uint64(acked) {
		t.Errorf("%d messages of %d acknowledged ones are there", n, acked)
	}
}

func publishForever() {
	b, err := Start(Config{StoreDir: os.Getenv("DIR")}) //lint:allow getenv the test binary is its own child process
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if err := b.Ensure(ctx); err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		if _, err := b.JetStream().Publish(ctx, "carrel.usage.node", []byte("record")); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

// One flipped bit in a sequence makes the server reserve memory for every
// number between; the folder is refused instead.
func TestDamagedSequencesAreRefused(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	for range 5 {
		if _, err := b.JetStream().Publish(t.Context(), "carrel.usage.node", []byte("record")); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	paths, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", string(Usage), "msgs", "*.blk"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	content, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	second := int(binary.LittleEndian.Uint32(content))
	damaged := bytes.Clone(content)
	damaged[second+4+7] ^= 1 // the highest byte of the second record's sequence
	if err := os.WriteFile(paths[0], damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Config{StoreDir: dir}); err == nil || !strings.Contains(err.Error(), fmt.Sprint("offset ", second)) {
		t.Errorf("damaged: %v", err)
	}
	for name, harmless := range map[string][]byte{"whole": content, "with a torn end": content[:len(content)-3]} {
		if err := os.WriteFile(paths[0], harmless, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Start(Config{StoreDir: dir})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b.Close()
	}
}

func FuzzCheckBlock(f *testing.F) {
	record := make([]byte, recordHead+8)
	binary.LittleEndian.PutUint32(record, uint32(len(record)))
	record[4] = 1
	f.Add(record)
	f.Add(append(bytes.Clone(record), record...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkBlock(bufio.NewReader(bytes.NewReader(b)))
		if err != nil && !strings.Contains(err.Error(), "damaged at offset") {
			t.Error(err)
		}
	})
}

// A node that gave up its privileges stands in a folder that it can use, below
// folders that it cannot even search.
func TestRelativeFolderBelowUnreadableOnes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	const nobody = 65534
	closed := filepath.Join(t.TempDir(), "closed")
	data := filepath.Join(closed, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test binary itself lies below a folder that nobody may search, so
	// the child starts as root and drops to nobody itself.
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), child+"=relative")
	cmd.Dir = data
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "stored") {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(data, "bus", "jetstream")); err != nil {
		t.Error(err)
	}
}

func startRelative() {
	const nobody = 65534
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		panic(err)
	}
	if _, err := os.ReadDir(".."); !errors.Is(err, os.ErrPermission) {
		panic(fmt.Sprintf("the folder above can be read: %v", err))
	}
	for range 2 { // the second time it recovers what the first one stored
		b, err := Start(Config{StoreDir: "bus"})
		if err != nil {
			panic(err)
		}
		if err := b.Ensure(context.Background()); err != nil {
			panic(err)
		}
		if _, err := b.JetStream().Publish(context.Background(), "carrel.usage.node", []byte("record")); err != nil {
			panic(err)
		}
		b.Close()
	}
	fmt.Println("stored")
	os.Exit(0)
}
