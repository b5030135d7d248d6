// Package noderun starts a real node, as its own process, for the demo, the
// benchmarks and the black-box tests.
package noderun

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// Options say how a node is started.
type Options struct {
	// Bin is the folder with carrel and carrel-worker.
	Bin string
	// Data is the node's data folder.
	Data string
	// Args are further flags of carrel serve.
	Args []string
	// Env are further variables of its environment.
	Env []string
	// Log gets what the node logs; nil drops it.
	Log io.Writer
	// User is the user and group id that the node is started as; zero for the
	// present one. Only root can name another.
	User uint32
}

// Node is a node that runs.
type Node struct {
	Endpoint string
	opts     Options
	cmd      *exec.Cmd
	ended    chan error
}

// startPatience is how long a node may take until it is ready.
const startPatience = 30 * time.Second

// Start starts a node on a free port and waits until it is ready.
func Start(ctx context.Context, o Options) (*Node, error) {
	ready := filepath.Join(o.Data, "operator.env")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // an old file would name an old port
	}
	args := append([]string{"serve", "--data", o.Data, "--listen", "127.0.0.1:0"}, o.Args...)
	n := &Node{opts: o, cmd: exec.Command(filepath.Join(o.Bin, "carrel"), args...), ended: make(chan error, 1)}
	n.cmd.Env = append(os.Environ(), o.Env...) //lint:allow getenv the node gets what the test runs in
	if o.User != 0 {
		n.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: o.User, Gid: o.User}}
	}
	var log bytes.Buffer
	n.cmd.Stderr = io.MultiWriter(&log, orDiscard(o.Log))
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { n.ended <- n.cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-n.ended:
			return nil, fmt.Errorf("the node ended before it was ready: %v\n%s", err, log.String())
		case <-ctx.Done():
			n.Kill()
			return nil, fmt.Errorf("the node was not ready in %s\n%s", startPatience, log.String())
		case <-tick.C:
		}
		if n.Endpoint = endpoint(ready); n.Endpoint != "" && isReady(ctx, n.Endpoint) {
			return n, nil
		}
	}
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func endpoint(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "AWS_ENDPOINT_URL="); found {
			return value
		}
	}
	return ""
}

func isReady(ctx context.Context, endpoint string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// PID is the node's process id.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Stop asks the node to end and waits for it.
func (n *Node) Stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return <-n.ended
}

// Kill ends the node at once, as a crash would.
func (n *Node) Kill() {
	n.cmd.Process.Kill()
	<-n.ended
}

// CLI runs a carrel command against the node and gives its standard output.
func (n *Node) CLI(args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(n.opts.Bin, "carrel"), append(args, "--data", n.opts.Data)...)
	cmd.Env = clean(os.Environ()) //lint:allow getenv the command gets what the test runs in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("carrel %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

// clean leaves out variables that would lead a command to another node.
func clean(env []string) []string {
	var out []string
	for _, v := range env {
		if !strings.HasPrefix(v, "AWS_") {
			out = append(out, v)
		}
	}
	return out
}

// Tenant is a tenant with its credentials, as carrel tenant create prints it.
type Tenant struct {
	TenantID        string `json:"tenantId"`
	AccountID       string `json:"accountId"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	EndpointURL     string `json:"endpointUrl"`
	Region          string `json:"region"`
}

// CreateTenant makes a tenant.
func (n *Node) CreateTenant(name string) (Tenant, error) {
	var t Tenant
	out, err := n.CLI("tenant", "create", name, "--output", "json")
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(out, &t)
}

// Role is the ARN of the role that each tenant has for its functions.
func (t Tenant) Role() string { return "arn:aws:iam::" + t.AccountID + ":role/fn" }

// Lambda gives a client of the AWS SDK that signs as the tenant.
func (n *Node) Lambda(t Tenant) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: t.Region, BaseEndpoint: aws.String(n.Endpoint), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(t.AccessKeyID, t.SecretAccessKey, ""),
	})
}

// Deploy creates a function and waits until it is active.
func (n *Node) Deploy(ctx context.Context, t Tenant, in *lambda.CreateFunctionInput) error {
	client := n.Lambda(t)
	in.Role = aws.String(t.Role())
	if in.Runtime == "" {
		in.Runtime = types.RuntimeProvidedal2023
	}
	if in.Handler == nil {
		in.Handler = aws.String("handle")
	}
	if _, err := client.CreateFunction(ctx, in); err != nil {
		return err
	}
	out, err := lambda.NewFunctionActiveV2Waiter(client, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 200*time.Millisecond
	}).WaitForOutput(ctx, &lambda.GetFunctionInput{FunctionName: in.FunctionName}, time.Minute)
	if err != nil && out != nil && out.Configuration != nil {
		return fmt.Errorf("%w: %s", err, aws.ToString(out.Configuration.StateReason))
	}
	return err
}

// BuildBinaries builds carrel, carrel-worker and the example guests greeter,
// courier and shout (NAME.wasm, and NAME.zip with it as bootstrap.wasm) into a new
// folder that every user may read. The caller removes it.
func BuildBinaries() (string, error) {
	dir, err := os.MkdirTemp("", "carrel-bin-")
	if err != nil {
		return "", err
	}
	err = buildInto(dir)
	if err != nil {
		os.RemoveAll(dir)
	}
	return dir, err
}

func buildInto(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // workers run as other users
		return err
	}
	const module = "github.com/carrel-dev/carrel/"
	guest := []string{"GOOS=wasip1", "GOARCH=wasm"}
	greeter, courier, shout := filepath.Join(dir, "greeter.wasm"), filepath.Join(dir, "courier.wasm"), filepath.Join(dir, "shout.wasm")
	for _, b := range []struct{ env, args []string }{
		{nil, []string{"build", "-o", dir + string(filepath.Separator), module + "cmd/carrel", module + "cmd/carrel-worker"}},
		{guest, []string{"build", "-buildmode=c-shared", "-o", greeter, module + "examples/greeter"}},
		{guest, []string{"build", "-buildmode=c-shared", "-o", courier, module + "examples/courier"}},
		{guest, []string{"build", "-o", shout, module + "examples/shout"}},
	} {
		c := exec.Command("go", b.args...)
		c.Env = append(append(os.Environ(), "CGO_ENABLED=0"), b.env...) //lint:allow getenv for the Go command
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("go %v: %w\n%s", b.args, err, out)
		}
	}
	return errors.Join(pack(greeter), pack(courier), pack(shout))
}

// pack puts a module into NAME.zip beside it, as bootstrap.wasm.
func pack(module string) error {
	content, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	f, err := os.Create(strings.TrimSuffix(module, ".wasm") + ".zip")
	if err != nil {
		return err
	}
	w := zip.NewWriter(f)
	entry, err := w.Create("bootstrap.wasm")
	if err == nil {
		_, err = entry.Write(content)
	}
	return errors.Join(err, w.Close(), f.Close())
}
