// Versitygw runs the IAM suite of Versity's S3 gateway, which knows how AWS
// answers, against a node: make versitygw.
//
// What passes has to pass, and what does not has to be listed in differs.txt
// with the reason; anything else is a failure, a listed case that passes
// included. The suite has an account number written into it, which proxy.go
// exchanges.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/test/noderun"
)

func main() {
	bin := flag.String("bin", "bin", "the folder with carrel and carrel-worker")
	suite := flag.String("suite", "", "the versitygw binary")
	full := flag.Bool("v", false, "print what the suite prints")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *bin, *suite, *full); err != nil {
		fmt.Fprintln(os.Stderr, "versitygw:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, suite string, full bool) error {
	suite, err := filepath.Abs(suite)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "carrel-versitygw-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	node, err := noderun.Start(ctx, noderun.Options{Bin: bin, Data: filepath.Join(dir, "data"), Args: []string{"--region", region}})
	if err != nil {
		return err
	}
	defer node.Stop()
	owner, err := node.CreateTenant("suite")
	if err != nil {
		return err
	}
	target, err := url.Parse(node.Endpoint)
	if err != nil {
		return err
	}
	listed, err := readList(differs)
	if err != nil {
		return err
	}
	t := tester{suite: suite, dir: dir, node: target, owner: owner}
	out, err := t.test(ctx, false, "iam")
	if full || err != nil {
		os.Stdout.Write(out)
	}
	if err != nil {
		return err
	}
	if err := judge(os.Stdout, parse(string(out)), listed); err != nil {
		return err
	}
	return t.again(ctx, os.Stdout, listed)
}

// tester runs the suite, or a case of it, as a tenant of a node.
type tester struct {
	suite, dir string
	node       *url.URL
	owner      noderun.Tenant
}

// test gives what the suite printed. That cases fail is no error.
func (t tester) test(ctx context.Context, exchange bool, what string) ([]byte, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{account: t.owner.AccountID, exchange: exchange, keys: map[string]string{t.owner.AccessKeyID: t.owner.SecretAccessKey}}
	server := &http.Server{Handler: p.handler(t.node), ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	go server.Serve(listener)
	cmd := exec.CommandContext(ctx, t.suite, "test", "-a", t.owner.AccessKeyID, "-s", t.owner.SecretAccessKey,
		"-e", "http://"+listener.Addr().String(), what)
	cmd.Dir = t.dir
	for _, v := range os.Environ() { //lint:allow getenv the suite gets what this runs in
		if !strings.HasPrefix(v, "AWS_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "AWS_REGION="+region)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if _, exited := err.(*exec.ExitError); exited && ctx.Err() == nil {
		return out.Bytes(), nil
	}
	return out.Bytes(), err
}

// again runs the cases that are listed to pass with an exchange.
func (t tester) again(ctx context.Context, w io.Writer, listed list) error {
	var wrong []string
	count := 0
	for _, g := range listed {
		for _, name := range g.names {
			if !g.exchange {
				continue
			}
			count++
			out, err := t.test(ctx, true, name)
			if err != nil {
				return err
			}
			if got := parse(string(out)); len(got) != 1 || !got[0].passed {
				wrong = append(wrong, fmt.Sprintf("%s differs by more than what is exchanged: %v", name, got))
			}
		}
	}
	fmt.Fprintf(w, "%d of these were to pass with an exchange, %d of them are wrong\n", count, len(wrong))
	if len(wrong) > 0 {
		return fmt.Errorf("not as listed:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// judge holds how the cases ended to the list.
func judge(w io.Writer, got []result, listed list) error {
	var wrong []string
	passed := 0
	for _, c := range got {
		reason := listed.reason(c.name)
		switch {
		case c.passed && reason == "":
			passed++
		case c.passed:
			wrong = append(wrong, c.name+" passes, and is listed: "+reason)
		case reason == "":
			wrong = append(wrong, c.name+" fails: "+c.why)
		}
	}
	fmt.Fprintf(w, "%d cases: %d pass, %d differ as listed, %d are wrong\n", len(got), passed, len(got)-passed-len(wrong), len(wrong))
	if len(got) != cases {
		wrong = append(wrong, fmt.Sprintf("%d cases ran, not %d", len(got), cases))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not as listed:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}
