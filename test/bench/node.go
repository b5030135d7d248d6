//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/config"
	"github.com/carrel-dev/carrel/internal/client"
	"github.com/carrel-dev/carrel/test/noderun"
)

// server is a node under measurement.
type server struct {
	*noderun.Node
	bench   *bench
	address string
	admin   *client.Client
	http    *http.Client
	log     *tail
}

// tail keeps the end of what a node logs, to show it where a run fails.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps the last 4 KiB.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-4096):]
	return len(p), nil
}

// startNode starts a node in a folder of its own.
func (b *bench) startNode(name string, s setting, args ...string) (*server, error) {
	return b.startBuild(b.opts.bin, name, s, args...)
}

// startBuild is startNode for the build in a folder.
func (b *bench) startBuild(bin, name string, s setting, args ...string) (*server, error) {
	n := &server{bench: b, log: &tail{}}
	data := filepath.Join(b.dir, name)
	var err error
	n.Node, err = noderun.Start(b.ctx, noderun.Options{
		Bin: bin, Data: data, Env: s.env(), Log: n.log, Args: append([]string{"--log-level", "warn"}, args...),
	})
	if err != nil {
		return nil, err
	}
	n.address = strings.TrimPrefix(n.Endpoint, "http://")
	nothing := func(string) string { return "" }
	c, err := config.ClientFrom(nothing, data)
	if err == nil {
		n.admin, err = client.New(client.Config{Endpoint: n.Endpoint, Region: c.Region, AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretKey})
	}
	if err != nil {
		n.stop()
		return nil, err
	}
	n.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: time.Minute}
	return n, nil
}

// stopPatience is longer than a node waits for its calls.
const stopPatience = 40 * time.Second

// stop ends the node, and kills it if it does not end.
func (n *server) stop() {
	kill := time.AfterFunc(stopPatience, func() { _ = syscall.Kill(n.PID(), syscall.SIGKILL) })
	defer kill.Stop()
	_ = n.Stop() // one that an interrupt has reached too has ended already
}

// tenant makes a tenant without limits on its rate.
func (n *server) tenant(name string) (noderun.Tenant, error) {
	var t noderun.Tenant
	r := client.Request{Method: http.MethodPost, Path: "/v1/tenants", Body: map[string]string{"tenantId": name}}
	if err := n.admin.Do(n.bench.ctx, r, &t); err != nil {
		return t, fmt.Errorf("tenant %s: %w", name, err)
	}
	r = client.Request{Method: http.MethodPut, Path: "/v1/tenants/" + name + "/plan", Body: map[string]string{"plan": "unlimited"}}
	return t, n.admin.Do(n.bench.ctx, r, nil)
}

// lambda is a client of the SDK; all of a node's share connections.
func (n *server) lambda(t noderun.Tenant) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: t.Region, BaseEndpoint: aws.String(n.Endpoint), RetryMaxAttempts: 1, HTTPClient: n.http,
		Credentials: credentials.NewStaticCredentialsProvider(t.AccessKeyID, t.SecretAccessKey, ""),
	})
}

// deploy makes a function and waits until it is active.
func (n *server) deploy(t noderun.Tenant, name string, code []byte, timeout int32) error {
	c := n.lambda(t)
	_, err := c.CreateFunction(n.bench.ctx, &lambda.CreateFunctionInput{
		FunctionName: &name, Role: aws.String(t.Role()), Runtime: types.RuntimeProvidedal2023, Handler: aws.String("handle"),
		Code: &types.FunctionCode{ZipFile: code}, MemorySize: aws.Int32(128), Timeout: &timeout,
	})
	if err != nil {
		return err
	}
	return n.await(time.Minute, "function "+name+" is active", func(ctx context.Context) (bool, error) {
		f, err := c.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
		if err == nil && f.State == types.StateFailed {
			err = errors.New(aws.ToString(f.StateReason))
		}
		return err == nil && f.State == types.StateActive, err
	})
}

// await asks again and again until something holds.
func (n *server) await(patience time.Duration, what string, holds func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(n.bench.ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if yes, err := holds(ctx); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s in vain until %s; the node logged: %s", patience, what, n.log.text)
		case <-tick.C:
		}
	}
}

// status is what of a node's state is used here.
type status struct {
	Workers      int    `json:"workers"`
	BlankWorkers int    `json:"blankWorkers"`
	ColdStarts   int    `json:"coldStarts"`
	Restore      string `json:"restore"`
}

func (n *server) status() (s status, err error) {
	return s, n.admin.Do(n.bench.ctx, client.Request{Path: "/v1/status"}, &s)
}

// blanks waits until so many blank workers are ready.
func (n *server) blanks(want int) error {
	return n.await(time.Minute, fmt.Sprintf("%d blank workers are ready", want), func(context.Context) (bool, error) {
		s, err := n.status()
		return s.BlankWorkers >= want, err
	})
}

// usageRecord is what of a call's record is used here.
type usageRecord struct {
	Function  string `json:"functionName"`
	Outcome   string `json:"outcome"`
	ColdStart bool   `json:"coldStart"`
	InitMS    string `json:"initMs"`
}

func (n *server) records(tenant string) (all []usageRecord, err error) {
	r := client.Request{Path: "/v1/usage/records", Query: url.Values{"tenant": {tenant}, "limit": {"1000"}}}
	return all, client.Pages(n.bench.ctx, n.admin, r, func(items []usageRecord) error {
		all = append(all, items...)
		return nil
	})
}
