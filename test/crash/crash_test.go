//go:build linux

// Package crash kills a real node in the middle of its work and checks that
// nothing it acknowledged is lost, nothing is counted twice, and nothing is
// left behind.
package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/examples/echo"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/test/noderun"
)

// calls is how many calls are made before and while the node is killed.
const calls = 10_000

// binaries is the folder with the binaries of all tests here.
var binaries string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	var err error
	if binaries, err = noderun.BuildBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	return m.Run()
}

func TestKillDuringCallsLosesNothingAcknowledged(t *testing.T) {
	options := noderun.Options{Bin: binaries, Data: filepath.Join(dataFolder(t), "node")}
	ctx := context.Background()
	w := begin(t, options)
	processes := children(t, w.node.PID())
	if len(processes) < 2 {
		t.Fatalf("the node has %d processes below it; the search for leftovers would find nothing", len(processes))
	}
	w.run(ctx)
	grouped := len(groups(t, options.Data)) > 0
	w.node.Kill()
	w.wait()
	t.Logf("killed at call %d: %d calls and %d tags were acknowledged; cgroups in use: %v", w.killAt, len(w.acked), len(w.tags), grouped)
	awaitGone(t, processes)
	if left := groups(t, options.Data); len(left) > 0 {
		t.Errorf("cgroups of the killed node are left: %v", left)
	}

	node, err := noderun.Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Kill)
	checkRecords(t, node, w.acked)
	checkTags(t, node, w.tenant, w.tags)
}

// TestStopAnswersWhatWasAccepted asks a node to stop in the middle of calls:
// every call that ran was answered, and every answered one is recorded.
func TestStopAnswersWhatWasAccepted(t *testing.T) {
	options := noderun.Options{Bin: binaries, Data: filepath.Join(dataFolder(t), "node")}
	ctx := context.Background()
	w := begin(t, options)
	w.run(ctx)
	if err := w.node.Stop(); err != nil {
		t.Errorf("the node did not stop in order: %v", err)
	}
	w.wait()
	node, err := noderun.Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Kill)
	if records := checkRecords(t, node, w.acked); records != len(w.acked) {
		t.Errorf("%d calls ran and %d were answered", records, len(w.acked))
	}
}

// TestFuelIsEqualAfterARestart: equal input costs equal fuel, whichever
// worker of whichever run of the node it meets.
func TestFuelIsEqualAfterARestart(t *testing.T) {
	options := noderun.Options{Bin: binaries, Data: filepath.Join(dataFolder(t), "node")}
	ctx := context.Background()
	w := begin(t, options)
	node := w.node
	for restart := range 2 {
		for range 3 {
			out, err := node.Lambda(w.tenant).Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), Payload: []byte(`{"n":1}`)})
			if err != nil || out.FunctionError != nil {
				t.Fatal(err, out)
			}
		}
		if restart == 0 {
			if err := node.Stop(); err != nil {
				t.Fatal(err)
			}
			var err error
			if node, err = noderun.Start(ctx, options); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(node.Kill)
	out, err := node.CLI("usage", "--tenant", "acme", "--records", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var records []struct {
		Fuel json.Number `json:"fuel"`
	}
	if err := json.Unmarshal(out, &records); err != nil {
		t.Fatal(err)
	}
	if len(records) != 6 {
		t.Fatalf("%d records of 6 calls", len(records))
	}
	for i, r := range records {
		if r.Fuel != records[0].Fuel || r.Fuel == "0" {
			t.Errorf("call %d took %s units of fuel, the first one %s", i, r.Fuel, records[0].Fuel)
		}
	}
}

// begin starts a node with a tenant acme, its function echo, and work for it.
func begin(t *testing.T, options noderun.Options) *work {
	t.Helper()
	ctx := context.Background()
	node, err := noderun.Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := node.CreateTenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.CLI("plan", "set", "acme", "unlimited"); err != nil {
		t.Fatal(err)
	}
	if err := node.Deploy(ctx, tenant, &lambda.CreateFunctionInput{
		FunctionName: aws.String("echo"), Code: &types.FunctionCode{ZipFile: echo.Module()}, Timeout: aws.Int32(3),
	}); err != nil {
		t.Fatal(err)
	}
	// The end comes at a random call; tags are the control writes beside them.
	at := int64(1000 + testrounds.Rand(t).IntN(calls-2000))
	return &work{node: node, tenant: tenant, killAt: at, kill: make(chan struct{})}
}

// dataFolder gives a folder that a node which dropped root can walk to.
func dataFolder(t *testing.T) string {
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()+string(filepath.Separator)); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// work makes calls and tags until the node is gone.
type work struct {
	node   *noderun.Node
	tenant noderun.Tenant
	killAt int64
	kill   chan struct{}
	done   atomic.Int64
	once   sync.Once
	group  sync.WaitGroup

	mu    sync.Mutex
	acked map[string]bool
	tags  map[string]string
}

// run begins, and returns when it is time to kill the node.
func (w *work) run(ctx context.Context) {
	w.acked, w.tags = map[string]bool{}, map[string]string{}
	arn := "arn:aws:lambda:" + w.tenant.Region + ":" + w.tenant.AccountID + ":function:echo"
	for range 16 {
		w.group.Go(func() {
			client := w.node.Lambda(w.tenant)
			for w.done.Load() < calls {
				out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), Payload: []byte(`{"n":1}`)})
				if err != nil {
					return // the node is gone
				}
				id, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
				w.mu.Lock()
				w.acked[id] = true
				w.mu.Unlock()
				if w.done.Add(1) == w.killAt {
					w.once.Do(func() { close(w.kill) })
				}
			}
		})
	}
	w.group.Go(func() {
		client := w.node.Lambda(w.tenant)
		for n := 0; n < 40; n++ {
			key, value := "k"+strconv.Itoa(n), "v"+strconv.Itoa(n)
			if _, err := client.TagResource(ctx, &lambda.TagResourceInput{Resource: &arn, Tags: map[string]string{key: value}}); err != nil {
				return
			}
			w.mu.Lock()
			w.tags[key] = value
			w.mu.Unlock()
		}
	})
	<-w.kill
}

func (w *work) wait() { w.group.Wait() }

// checkRecords compares the node's records with the acknowledged calls and
// gives their number.
func checkRecords(t *testing.T, node *noderun.Node, acked map[string]bool) int {
	t.Helper()
	out, err := node.CLI("usage", "--tenant", "acme", "--records", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var records []struct {
		RequestID string `json:"requestId"`
		Outcome   string `json:"outcome"`
	}
	if err := json.Unmarshal(out, &records); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range records {
		count[r.RequestID]++
		if acked[r.RequestID] && r.Outcome != "ok" {
			t.Errorf("the acknowledged call %s is recorded as %s", r.RequestID, r.Outcome)
		}
	}
	missing, twice := 0, 0
	for id := range acked {
		if count[id] == 0 {
			missing++
		}
	}
	for _, n := range count {
		if n > 1 {
			twice++
		}
	}
	if missing > 0 || twice > 0 || len(acked) < 1000 {
		t.Errorf("of %d acknowledged calls %d are not metered; %d calls are metered more than once", len(acked), missing, twice)
	}
	t.Logf("%d records, %d of them of acknowledged calls", len(records), len(acked))
	return len(records)
}

func checkTags(t *testing.T, node *noderun.Node, tenant noderun.Tenant, tags map[string]string) {
	t.Helper()
	out, err := node.Lambda(tenant).GetFunction(context.Background(), &lambda.GetFunctionInput{FunctionName: aws.String("echo")})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range tags {
		if out.Tags[key] != value {
			t.Errorf("the acknowledged tag %s=%s is gone: %v", key, value, out.Tags)
		}
	}
}

// children gives the processes below a process, by id and start time.
func children(t *testing.T, pid int) map[int]string {
	t.Helper()
	parents, starts := map[int]int{}, map[int]string{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		parents[id], starts[id] = stat(id)
	}
	found := map[int]string{}
	for id := range parents {
		for up := parents[id]; up > 1; up = parents[up] {
			if up == pid {
				found[id] = starts[id]
				break
			}
		}
	}
	return found
}

// stat gives the parent and the start time of a process; zero if it is gone.
func stat(pid int) (parent int, start string) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, ""
	}
	rest := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	parent, err = strconv.Atoi(string(rest[1]))
	if err != nil {
		return 0, ""
	}
	return parent, string(rest[19])
}

// awaitGone waits until none of the processes is left.
func awaitGone(t *testing.T, processes map[int]string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		left := 0
		for id, start := range processes {
			if _, now := stat(id); now == start {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d processes of the killed node still run", left, len(processes))
		}
	}
}

// groups gives the cgroups that carry the node's name.
func groups(t *testing.T, data string) (found []string) {
	t.Helper()
	name, err := os.ReadFile(filepath.Join(data, "node"))
	if err != nil {
		t.Fatal(err)
	}
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(d.Name(), strings.TrimSpace(string(name))) {
			found = append(found, path)
		}
		return nil
	})
	return found
}
