//go:build linux

// Package attack attacks a real node from outside, as tenants, as their
// guests and as strangers on the network can. Each test is named after the
// attack in the catalogue that it makes, and holds a harmless twin that the
// node has to serve.
//
// All tests share one node with the tenants acme, who attacks, and globex,
// who must not notice.
package attack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/attack"
	"github.com/carrel-dev/carrel/test/noderun"
)

// world is the node and who is on it.
type world struct {
	bin, data    string
	node         *noderun.Node
	metrics      string // address of the operator's listener
	log          *record
	operator     noderun.Tenant
	acme, globex noderun.Tenant
	guest        []byte // the scripted guest of testdata/guest, zipped
}

// shared is what all tests use; TestMain makes it.
var shared world

// record keeps what the node logs.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if err := shared.start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		shared.stop()
		return 1
	}
	defer shared.stop()
	return m.Run()
}

func (w *world) stop() {
	if w.node != nil {
		w.node.Kill()
	}
	for _, dir := range []string{w.bin, w.data} {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
}

func (w *world) start() (err error) {
	if w.bin, err = noderun.BuildBinaries(); err != nil {
		return err
	}
	if w.data, err = os.MkdirTemp("", "carrel-attack-"); err != nil {
		return err
	}
	if err := os.Chmod(w.data, 0o755); err != nil { // a node that dropped root walks through it
		return err
	}
	if w.guest, err = w.buildGuest(); err != nil {
		return err
	}
	if w.metrics, err = freeAddress(); err != nil {
		return err
	}
	w.log = &record{}
	w.node, err = noderun.Start(context.Background(), noderun.Options{
		Bin: w.bin, Data: filepath.Join(w.data, "node"), Args: []string{"--metrics-listen", w.metrics}, Log: w.log,
	})
	if err != nil {
		return err
	}
	if w.operator, err = w.operatorKey(); err != nil {
		return err
	}
	for name, t := range map[string]*noderun.Tenant{"acme": &w.acme, "globex": &w.globex} {
		if *t, err = w.node.CreateTenant(name); err != nil {
			return err
		}
		if _, err := w.node.CLI("plan", "set", name, "unlimited"); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) buildGuest() ([]byte, error) {
	file := filepath.Join(w.data, "guest.wasm")
	c := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-o", file, "./testdata/guest")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=wasip1", "GOARCH=wasm")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the guest does not build: %w\n%s", err, out)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return attack.Zipped(attack.Entry{Name: "bootstrap.wasm", Content: code}), nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// operatorKey reads the credentials of the management account.
func (w *world) operatorKey() (t noderun.Tenant, err error) {
	text, err := os.ReadFile(filepath.Join(w.data, "node", "operator.env"))
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			t.AccessKeyID = value
		case "AWS_SECRET_ACCESS_KEY":
			t.SecretAccessKey = value
		case "AWS_REGION":
			t.Region = value
		}
	}
	return t, err
}

// tenant makes one more tenant, on the default plan.
func (w *world) tenant(t *testing.T, name string) noderun.Tenant {
	t.Helper()
	got, err := w.node.CreateTenant(name)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// deployed is what a test says about a function.
type deployed struct {
	name    string
	code    []byte
	timeout int32 // seconds; 0 for 3
	memory  int32 // MB; 0 for 128
	each    bool  // serves end tenants
}

func (d deployed) input() *lambda.CreateFunctionInput {
	in := &lambda.CreateFunctionInput{
		FunctionName: aws.String(d.name), Code: &types.FunctionCode{ZipFile: d.code}, Timeout: aws.Int32(max(d.timeout, 1)),
	}
	if d.timeout == 0 {
		in.Timeout = aws.Int32(3)
	}
	if d.memory != 0 {
		in.MemorySize = aws.Int32(d.memory)
	}
	if d.each {
		in.TenancyConfig = &types.TenancyConfig{TenantIsolationMode: types.TenantIsolationModePerTenant}
	}
	return in
}

// deploy makes a function, which has to become active.
func (w *world) deploy(t *testing.T, owner noderun.Tenant, d deployed) {
	t.Helper()
	if err := w.node.Deploy(t.Context(), owner, d.input()); err != nil {
		t.Fatalf("deploying %s: %v", d.name, err)
	}
}

// result is how a call ended.
type result struct {
	id      string
	failed  bool // the function failed
	payload string
	took    time.Duration
}

// invoke calls a function; an error is a call that was refused or broke off.
func invoke(ctx context.Context, c *lambda.Client, name, event string) (result, error) {
	return invokeAs(ctx, c, &lambda.InvokeInput{FunctionName: &name, Payload: []byte(event)})
}

func invokeAs(ctx context.Context, c *lambda.Client, in *lambda.InvokeInput) (result, error) {
	began := time.Now()
	out, err := c.Invoke(ctx, in)
	r := result{took: time.Since(began)}
	if err != nil {
		return r, err
	}
	r.id, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	r.failed, r.payload = out.FunctionError != nil, string(out.Payload)
	return r, nil
}

// must calls a function that has to end well and gives what it returned.
func (w *world) must(t *testing.T, owner noderun.Tenant, name, event string) string {
	t.Helper()
	r, err := invoke(t.Context(), w.node.Lambda(owner), name, event)
	if err != nil || r.failed {
		t.Fatalf("%s(%s): %v %s", name, event, err, r.payload)
	}
	return r.payload
}

// message is one HTTP request, to be signed.
type message struct {
	method, path string
	body         string
	header       map[string]string
	service      string    // empty for lambda
	at           time.Time // of the signature; zero for now
}

// signed makes an HTTP request signed as a tenant.
func (w *world) signed(t *testing.T, as noderun.Tenant, m message) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), m.method, w.node.Endpoint+m.path, strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range m.header {
		r.Header.Set(name, value)
	}
	sum := sha256.Sum256([]byte(m.body))
	if m.service == "" {
		m.service = "lambda"
	}
	if m.service == "carrel" && m.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if m.at.IsZero() {
		m.at = time.Now()
	}
	keys := aws.Credentials{AccessKeyID: as.AccessKeyID, SecretAccessKey: as.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hex.EncodeToString(sum[:]), m.service, as.Region, m.at); err != nil {
		t.Fatal(err)
	}
	return r
}

// answer is what the node said.
type answer struct {
	status int
	header http.Header
	body   string
}

func send(t *testing.T, r *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// call signs and sends.
func (w *world) call(t *testing.T, as noderun.Tenant, m message) answer {
	t.Helper()
	return send(t, w.signed(t, as, m))
}

// eventually waits until something holds.
func eventually(t *testing.T, most time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not after %s: %s", most, what)
		}
	}
}
