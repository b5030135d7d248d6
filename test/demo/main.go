// Command demo starts a node in a temporary folder and tells, step by step,
// what keeps two tenants apart. It ends with an error if anything it shows
// did not hold.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/carrel-dev/carrel/examples/echo"
	"github.com/carrel-dev/carrel/internal/pause"
	"github.com/carrel-dev/carrel/test/noderun"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	bin := flags.String("bin", "bin", "folder with carrel and carrel-worker")
	if flags.Parse(args) != nil {
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s := &story{ctx: ctx, bin: *bin, out: stdout}
	if err := s.tell(); err != nil {
		fmt.Fprintln(stderr, "\nThe demo did not hold:", err)
		return 1
	}
	return 0
}

// story is the demo as it is told.
type story struct {
	ctx          context.Context //lint:allow ctxfield the story is one request from its beginning to its end
	bin          string
	out          io.Writer
	node         *noderun.Node
	acme, globex noderun.Tenant
	chapters     int
}

func (s *story) chapter(title string) {
	s.chapters++
	fmt.Fprintf(s.out, "\n%d. %s\n", s.chapters, title)
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "   "+format+"\n", args...) }

func (s *story) tell() error {
	dir, err := os.MkdirTemp("", "carrel-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	begun := time.Now()
	s.chapter("An operator starts one binary.")
	if s.node, err = noderun.Start(s.ctx, noderun.Options{Bin: s.bin, Data: filepath.Join(dir, "node")}); err != nil {
		return err
	}
	defer s.node.Stop()
	s.say("carrel serve listens on %s and was ready after %s.", s.node.Endpoint, time.Since(begun).Round(time.Millisecond))
	for _, step := range []func() error{
		s.tenants, func() error { return s.deploy(dir) }, s.greet, s.forget, s.trespass, s.fuel, s.spin, s.eat, s.burst, s.usage,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.out, "\nAll of this held. It took %s.\n", time.Since(begun).Round(100*time.Millisecond))
	return nil
}

func (s *story) tenants() (err error) {
	s.chapter("Two customers come: acme and globex.")
	if s.acme, err = s.node.CreateTenant("acme"); err != nil {
		return err
	}
	if s.globex, err = s.node.CreateTenant("globex"); err != nil {
		return err
	}
	s.say("acme is account %s, globex is account %s; each has an access key of its own.", s.acme.AccountID, s.globex.AccountID)
	return nil
}

func (s *story) deploy(dir string) error {
	s.chapter("Each deploys functions with the AWS SDK.")
	greeter := filepath.Join(dir, "bootstrap.wasm")
	build := exec.CommandContext(s.ctx, "go", "build", "-buildmode=c-shared", "-o", greeter, "./examples/greeter")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0") //lint:allow getenv for the Go command
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building examples/greeter: %w\n%s", err, out)
	}
	code, err := os.ReadFile(greeter)
	if err != nil {
		return err
	}
	for _, t := range []noderun.Tenant{s.acme, s.globex} {
		begun := time.Now()
		if err := s.node.Deploy(s.ctx, t, &lambda.CreateFunctionInput{
			FunctionName: aws.String("greeter"), Code: &types.FunctionCode{ZipFile: code}, MemorySize: aws.Int32(128), Timeout: aws.Int32(2),
		}); err != nil {
			return err
		}
		s.say("%s deployed greeter: %d KB of WebAssembly from Go, checked, instrumented and compiled in %s.",
			t.TenantID, len(code)>>10, time.Since(begun).Round(10*time.Millisecond))
		if err := s.node.Deploy(s.ctx, t, &lambda.CreateFunctionInput{
			FunctionName: aws.String("echo"), Code: &types.FunctionCode{ZipFile: echo.Module()}, MemorySize: aws.Int32(128), Timeout: aws.Int32(2),
		}); err != nil {
			return err
		}
	}
	s.say("Both deployed echo too: %d bytes, written by hand.", len(echo.Module()))
	return nil
}

// answer is what a call gave.
type answer struct {
	payload, failure string
	took             time.Duration
}

func (s *story) call(t noderun.Tenant, function, event string) (answer, error) {
	begun := time.Now()
	out, err := s.node.Lambda(t).Invoke(s.ctx, &lambda.InvokeInput{FunctionName: aws.String(function), Payload: []byte(event)})
	if err != nil {
		return answer{}, err
	}
	return answer{string(out.Payload), aws.ToString(out.FunctionError), time.Since(begun)}, nil
}

func (s *story) greet() error {
	s.chapter("They call them.")
	for _, t := range []noderun.Tenant{s.acme, s.globex} {
		for _, f := range []struct{ name, event string }{{"greeter", `{"name":"Ada"}`}, {"echo", `{"any":"event"}`}} {
			a, err := s.call(t, f.name, f.event)
			if err != nil {
				return err
			}
			if a.failure != "" || f.name == "echo" && a.payload != f.event || f.name == "greeter" && !strings.Contains(a.payload, `"tenant":"`+t.TenantID+`"`) {
				return fmt.Errorf("%s of %s answered %s %s", f.name, t.TenantID, a.failure, a.payload)
			}
			s.say("%-6s %-7s -> %s (%s)", t.TenantID, f.name, a.payload, a.took.Round(10*time.Microsecond))
		}
	}
	return nil
}

func (s *story) forget() error {
	s.chapter("Nothing survives a call: the greeter counts in a variable, and always remembers one call.")
	for range 3 {
		a, err := s.call(s.acme, "greeter", `{"name":"Eve"}`)
		if err != nil {
			return err
		}
		if !strings.Contains(a.payload, `"callsIRemember":1}`) {
			return fmt.Errorf("state survived: %s", a.payload)
		}
		s.say("-> %s", a.payload)
	}
	return nil
}

func (s *story) trespass() error {
	s.chapter("globex tries acme's function with its own key.")
	victim := "arn:aws:lambda:" + s.acme.Region + ":" + s.acme.AccountID + ":function:greeter"
	for what, try := range map[string]func(*lambda.Client) error{
		"invoke it": func(c *lambda.Client) error {
			_, err := c.Invoke(s.ctx, &lambda.InvokeInput{FunctionName: &victim})
			return err
		},
		"read its configuration": func(c *lambda.Client) error {
			_, err := c.GetFunction(s.ctx, &lambda.GetFunctionInput{FunctionName: &victim})
			return err
		},
		"delete it": func(c *lambda.Client) error {
			_, err := c.DeleteFunction(s.ctx, &lambda.DeleteFunctionInput{FunctionName: &victim})
			return err
		},
	} {
		err := try(s.node.Lambda(s.globex))
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
			return fmt.Errorf("globex may %s: %v", what, err)
		}
		s.say("%s: %s", what, api.ErrorCode())
	}
	if err := s.forge(victim); err != nil {
		return err
	}
	_, err := s.call(s.acme, "greeter", `{"name":"Ada"}`)
	if err == nil {
		s.say("acme's function is still there and answers acme.")
	}
	return err
}

// forge signs with acme's key id and globex's secret.
func (s *story) forge(victim string) error {
	thief := s.globex
	thief.AccessKeyID = s.acme.AccessKeyID
	_, err := s.node.Lambda(thief).Invoke(s.ctx, &lambda.InvokeInput{FunctionName: &victim})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "SignatureDoesNotMatch" {
		return fmt.Errorf("a forged signature was answered with %v", err)
	}
	s.say("sign with acme's key id: %s", api.ErrorCode())
	return nil
}

func (s *story) fuel() error {
	s.chapter("acme bounds the processor time of its greeter: 500 million units of fuel a call, about as many instructions.")
	arn := "arn:aws:lambda:" + s.acme.Region + ":" + s.acme.AccountID + ":function:greeter"
	client := s.node.Lambda(s.acme)
	if _, err := client.TagResource(s.ctx, &lambda.TagResourceInput{Resource: &arn, Tags: map[string]string{"carrel:fuel": "500000000"}}); err != nil {
		return err
	}
	a, err := s.call(s.acme, "greeter", `{"do":"spin"}`)
	if err != nil {
		return err
	}
	if a.failure == "" || !strings.Contains(a.payload, "Sandbox.FuelExhausted") {
		return fmt.Errorf("the call ended with %q %s", a.failure, a.payload)
	}
	s.say("-> %s after %s", a.payload, a.took.Round(time.Millisecond))
	_, err = client.UntagResource(s.ctx, &lambda.UntagResourceInput{Resource: &arn, TagKeys: []string{"carrel:fuel"}})
	return err
}

func (s *story) spin() error {
	s.chapter("Without that bound the function spins until its timeout of 2 s, and globex notices nothing.")
	done := make(chan error, 1)
	go func() {
		a, err := s.call(s.acme, "greeter", `{"do":"spin"}`)
		if err == nil && (a.failure == "" || !strings.Contains(a.payload, "Task timed out after 2.00 seconds") || a.took > 3*time.Second) {
			err = fmt.Errorf("the spinning call ended with %s %s after %s", a.failure, a.payload, a.took)
		}
		if err == nil {
			s.say("acme: %s after %s", a.payload, a.took.Round(time.Millisecond))
		}
		done <- err
	}()
	calls, slowest := 0, time.Duration(0)
	for {
		select {
		case err := <-done:
			s.say("globex made %d calls meanwhile; the slowest took %s.", calls, slowest.Round(10*time.Microsecond))
			if err == nil && calls < 10 {
				err = fmt.Errorf("globex was served %d calls only", calls)
			}
			return err
		default:
		}
		a, err := s.call(s.globex, "echo", `{}`)
		if err != nil {
			return err
		}
		calls++
		slowest = max(slowest, a.took)
		if err := pause.For(s.ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func (s *story) eat() error {
	s.chapter("acme's function eats memory. It is stopped at its 128 MB.")
	a, err := s.call(s.acme, "greeter", `{"do":"eat"}`)
	if err != nil {
		return err
	}
	if a.failure == "" || !strings.Contains(strings.ToLower(a.payload), "memory") {
		return fmt.Errorf("the eating call ended with %q %s", a.failure, a.payload)
	}
	s.say("-> %.160s", a.payload)
	return nil
}

func (s *story) burst() error {
	s.chapter("acme sends a burst of 1,200 calls; its plan allows 200 a second.")
	type result struct {
		reason string
		err    error
	}
	const burst, senders = 1200, 24
	results := make(chan result, burst)
	for range senders {
		go func() {
			client := s.node.Lambda(s.acme)
			for range burst / senders {
				_, err := client.Invoke(s.ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), Payload: []byte(`{}`)})
				var throttled *types.TooManyRequestsException
				if errors.As(err, &throttled) {
					results <- result{reason: string(throttled.Reason)}
					continue
				}
				results <- result{err: err}
			}
		}()
	}
	served, refused, reason := 0, 0, ""
	for range burst {
		switch r := <-results; {
		case r.err != nil:
			return r.err
		case r.reason != "":
			refused++
			reason = r.reason
		default:
			served++
		}
	}
	s.say("%d were served and %d refused with 429, %s.", served, refused, reason)
	if refused == 0 || served < 200 {
		return fmt.Errorf("%d of %d calls were refused", refused, burst)
	}
	a, err := s.call(s.globex, "echo", `{"still":"here"}`)
	if err == nil {
		s.say("globex is not held up: %s in %s.", a.payload, a.took.Round(10*time.Microsecond))
	}
	return err
}

func (s *story) usage() error {
	s.chapter("Each has its own usage; the operator sees both.")
	for _, t := range []string{"acme", "globex"} {
		out, err := s.node.CLI("usage", "--tenant", t)
		if err != nil {
			return err
		}
		s.say("carrel usage --tenant %s", t)
		for line := range strings.Lines(string(out)) {
			fmt.Fprint(s.out, "     ", line)
		}
		if !strings.Contains(string(out), "greeter") || !strings.Contains(string(out), "echo") {
			return fmt.Errorf("the usage of %s lacks a function:\n%s", t, out)
		}
	}
	return nil
}
