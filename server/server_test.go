//go:build linux

package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/test/noderun"
)

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

// options are those of a node in a folder that other users can walk to.
func options(t *testing.T, args ...string) noderun.Options {
	t.Helper()
	dir, err := os.MkdirTemp("", "carrel-server-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return noderun.Options{Bin: binaries, Data: filepath.Join(dir, "node"), Args: args}
}

func start(t *testing.T, o noderun.Options) *noderun.Node {
	t.Helper()
	n, err := noderun.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// deploy makes the tenant acme with the function greeter.
func deploy(t *testing.T, n *noderun.Node) *lambda.Client {
	t.Helper()
	acme, err := n.CreateTenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(filepath.Join(binaries, "greeter.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Deploy(t.Context(), acme, &lambda.CreateFunctionInput{
		FunctionName: aws.String("greeter"), Code: &types.FunctionCode{ZipFile: code},
		Timeout: aws.Int32(120), MemorySize: aws.Int32(128),
	}); err != nil {
		t.Fatal(err)
	}
	return n.Lambda(acme)
}

// awaitColdStart waits until a worker was given to a function.
func awaitColdStart(t *testing.T, n *noderun.Node) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		out, err := n.CLI("status", "--output", "json")
		if err != nil {
			t.Fatal(err)
		}
		var status struct {
			ColdStarts int `json:"coldStarts"`
		}
		if err := json.Unmarshal(out, &status); err != nil {
			t.Fatal(err)
		}
		if status.ColdStarts > 0 {
			return
		}
		<-tick.C
	}
	t.Fatal("the event was not taken up")
}

// TestStopDoesNotWaitForAnEventBeyondTheDrainTimeout: a tenant's asynchronous
// call may run for 15 minutes; the operator's bound holds nevertheless.
func TestStopDoesNotWaitForAnEventBeyondTheDrainTimeout(t *testing.T) {
	o := options(t, "--drain-timeout", "1s")
	n := start(t, o)
	client := deploy(t, n)
	if _, err := client.Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("greeter"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"do":"spin"}`),
	}); err != nil {
		t.Fatal(err)
	}
	awaitColdStart(t, n) // of the event: there is no other call
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Stop() }()
	select {
	case err := <-ended:
		t.Logf("the node said: %v", err)
	case <-ctx.Done():
		n.Kill()
		t.Fatal("a node with a drain timeout of 1 s still ran 30 s after it was told to stop")
	}
	n = start(t, o)
	defer n.Kill()
	out, err := n.CLI("usage", "--tenant", "acme", "--records", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), `"outcome":"platform_error","trigger":"event"`) {
		t.Errorf("the attempt that was given up is not recorded as such:\n%s", out)
	}
}
