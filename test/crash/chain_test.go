//go:build linux

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/test/noderun"
)

// couriers is a node on which the functions f and g of acme may call each
// other and hello.
type couriers struct {
	node   *noderun.Node
	tenant noderun.Tenant
}

func startCouriers(t *testing.T, args ...string) *couriers {
	t.Helper()
	ctx := t.Context()
	node, err := noderun.Start(ctx, noderun.Options{Bin: binaries, Data: filepath.Join(dataFolder(t), "node"), Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Kill)
	tenant, err := node.CreateTenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	client := iam.New(iam.Options{
		Region: tenant.Region, BaseEndpoint: aws.String(node.Endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(tenant.AccessKeyID, tenant.SecretAccessKey, ""),
	})
	if _, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String("fn"), PolicyName: aws.String("calls"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"}]}`),
	}); err != nil {
		t.Fatal(err)
	}
	for name, guest := range map[string]string{"f": "courier.zip", "g": "courier.zip", "hello": "greeter.zip"} {
		code, err := os.ReadFile(filepath.Join(binaries, guest))
		if err != nil {
			t.Fatal(err)
		}
		timeout := int32(20)
		if name == "hello" {
			timeout = 6
		}
		if err := node.Deploy(ctx, tenant, &lambda.CreateFunctionInput{
			FunctionName: &name, Code: &types.FunctionCode{ZipFile: code}, Timeout: &timeout,
		}); err != nil {
			t.Fatal(err)
		}
	}
	return &couriers{node, tenant}
}

// invoke calls a function; failure is its error's type.
func (c *couriers) invoke(ctx context.Context, function, event string) (payload, failure string, err error) {
	out, err := c.node.Lambda(c.tenant).Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: []byte(event)})
	if err != nil {
		return "", "", err
	}
	if out.FunctionError != nil {
		var e struct{ ErrorType string }
		if err := json.Unmarshal(out.Payload, &e); err != nil {
			return "", "", err
		}
		failure = e.ErrorType
	}
	return string(out.Payload), failure, nil
}

// greets demands that a harmless chain works.
func (c *couriers) greets(t *testing.T) {
	t.Helper()
	payload, failure, err := c.invoke(t.Context(), "f", `{"function":"hello","payload":{"name":"Ada"}}`)
	if err != nil || failure != "" || !strings.Contains(payload, "Hello, Ada!") {
		t.Fatalf("a harmless chain: %s %v", payload, err)
	}
}

// TestWorkersKilledInANestedCall kills the worker of the calling and of the
// called function in turn: each of the two calls has one outcome, the first
// caller is told, and the next chain works.
func TestWorkersKilledInANestedCall(t *testing.T) {
	c := startCouriers(t, "--blank-workers", "1")
	for killed, want := range map[string]map[string]string{
		"caller": {"f": "platform_error", "hello": "timeout"},
		"callee": {"f": "function_error", "hello": "platform_error"},
	} {
		t.Run(killed, func(t *testing.T) {
			c.greets(t)
			before := len(c.records(t))
			type end struct {
				failure string
				err     error
			}
			ended := make(chan end, 1)
			go func() {
				_, failure, err := c.invoke(context.WithoutCancel(t.Context()), "f", `{"function":"hello","payload":{"do":"spin"}}`)
				ended <- end{failure, err}
			}()
			busy, idle := c.workers(t)
			if killed == "callee" {
				idle = []int{busy}
			}
			for _, id := range idle {
				if err := syscall.Kill(id, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
					t.Fatal(err)
				}
			}
			e := <-ended
			if killed == "caller" && e.err == nil || killed == "callee" && (e.err != nil || e.failure != "ServiceException") {
				t.Errorf("the first caller got %q, %v", e.failure, e.err)
			}
			c.outcomes(t, before, want)
			if killed == "caller" {
				// The blank worker was among those killed, and the first cold
				// start is what finds that out.
				c.invoke(t.Context(), "f", `{"function":"hello"}`)
			}
			c.greets(t)
		})
	}
}

// workers waits until a worker is busy, and gives it and the others.
func (c *couriers) workers(t *testing.T) (busy int, idle []int) {
	t.Helper()
	before := map[int]int64{}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		idle = nil
		for id := range children(t, c.node.PID()) {
			parent, ticks := parentAndTicks(id)
			if parent == c.node.PID() || parent == 0 {
				continue // the spawner, or gone
			}
			if _, known := before[id]; !known {
				before[id] = ticks
			}
			if ticks-before[id] > 30 && busy == 0 {
				busy = id
			} else {
				idle = append(idle, id)
			}
		}
		if busy != 0 {
			return busy, idle
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("no worker was busy")
		}
	}
}

// parentAndTicks gives the parent of a process and the processor time it took.
func parentAndTicks(pid int) (parent int, ticks int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	rest := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	parent, _ = strconv.Atoi(string(rest[1]))
	for _, field := range rest[11:13] {
		n, _ := strconv.ParseInt(string(field), 10, 64)
		ticks += n
	}
	return parent, ticks
}

// record is what is known of one call.
type record struct{ RequestID, FunctionName, Outcome, ParentRequestID string }

func (c *couriers) records(t *testing.T) (all []record) {
	t.Helper()
	out, err := c.node.CLI("usage", "--tenant", "acme", "--records", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// outcomes waits until a call of f and the one of hello that it made are
// recorded, and demands that they ended as wanted, once.
func (c *couriers) outcomes(t *testing.T, before int, want map[string]string) {
	t.Helper()
	var records []record
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for len(records) < before+2 {
		records = c.records(t)
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("the records are %+v", records)
		}
	}
	seen, latest := map[string]bool{}, map[string]record{}
	for _, r := range records {
		if seen[r.RequestID] {
			t.Errorf("the call %s has two outcomes", r.RequestID)
		}
		seen[r.RequestID] = true
		latest[r.FunctionName] = r
	}
	for function, outcome := range want {
		if latest[function].Outcome != outcome {
			t.Errorf("%s ended as %s, want %s", function, latest[function].Outcome, outcome)
		}
	}
	if len(records) != before+2 || latest["hello"].ParentRequestID != latest["f"].RequestID || latest["f"].ParentRequestID != "" {
		t.Errorf("the records are %+v", records)
	}
}

// TestLoopsEndOnANodeOfFewWorkers has functions call themselves and each other
// for ever, many at once, where there are hardly any workers: all of them end
// with an error that says why, and then the node is as good as before.
func TestLoopsEndOnANodeOfFewWorkers(t *testing.T) {
	c := startCouriers(t, "--max-workers", "6", "--blank-workers", "1")
	for _, name := range []string{"f", "g"} {
		if _, err := c.node.Lambda(c.tenant).PutFunctionRecursionConfig(t.Context(), &lambda.PutFunctionRecursionConfigInput{
			FunctionName: &name, RecursiveLoop: types.RecursiveLoopAllow,
		}); err != nil {
			t.Fatal(err)
		}
	}
	toAndFro := `{"function":"hello"}`
	for i := range 12 {
		toAndFro = `{"function":"` + []string{"g", "f"}[i%2] + `","payload":` + toAndFro + `}`
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			_, failure, err := c.invoke(ctx, "f", []string{`{"function":"f","times":20}`, toAndFro}[i%2])
			if err != nil || failure != "TooManyRequestsException" && failure != "RecursiveInvocationException" {
				t.Errorf("a loop ended as %q, %v", failure, err)
			}
		})
	}
	wg.Wait()
	c.greets(t)
}
