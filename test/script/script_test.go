//go:build linux

// Package script runs text scripts against the real binaries: what an
// operator and a tenant type, and what they get.
package script

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carrel-dev/carrel/examples/echo"
	"github.com/carrel-dev/carrel/test/noderun"
)

// binaries is the folder with carrel, carrel-worker and the example guests.
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

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setup,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"node":        cmdNode,
			"nobodysnode": cmdNobodysNode,
			"kill9":       cmdKill,
			"halt":        cmdStop,
			"tenant":      cmdTenant,
			"as":          cmdAs,
			"cli":         cmdCLI,
			"aws":         cmdAWS,
			"newkey":      cmdNewKey,
			"assume":      cmdAssume,
			"absent":      cmdAbsent,
			"signed":      cmdSigned,
			"printed":     cmdPrinted,
			"waitfor":     cmdWaitFor,
			"unchanged":   cmdUnchanged,
			"package":     cmdPackage,
			"awsgo":       cmdAWSGo,
		},
	})
}

// state is what a script has made: its node and its tenants.
type state struct {
	node    *noderun.Node
	tenants map[string]noderun.Tenant
	// tokens are the session tokens of those of them that are sessions.
	tokens map[string]string
}

type stateKey struct{}

func of(ts *testscript.TestScript) *state { return ts.Value(stateKey{}).(*state) }

func setup(env *testscript.Env) error {
	s := &state{tenants: map[string]noderun.Tenant{}, tokens: map[string]string{}}
	env.Values[stateKey{}] = s
	env.Defer(func() {
		if s.node != nil {
			s.node.Kill()
		}
	})
	// The work folder of a node that drops root must let its user through.
	for dir := env.WorkDir; strings.HasPrefix(dir, os.TempDir()+string(filepath.Separator)); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	env.Setenv("PATH", binaries+string(filepath.ListSeparator)+os.Getenv("PATH"))
	env.Setenv("HOME", home)
	env.Setenv("AWS_CONFIG_FILE", os.DevNull)
	env.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	env.Setenv("AWS_PAGER", "")
	env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	env.Setenv("AWS_MAX_ATTEMPTS", "1")
	if path, found := runsc(); found {
		env.Setenv("RUNSC", path)
	}
	env.Setenv("GREETER", filepath.Join(binaries, "greeter.zip"))
	env.Setenv("COURIER", filepath.Join(binaries, "courier.zip"))
	env.Setenv("SHOUT", filepath.Join(binaries, "shout.zip"))
	env.Setenv("ECHO", filepath.Join(env.WorkDir, "echo.wasm"))
	return os.WriteFile(filepath.Join(env.WorkDir, "echo.wasm"), echo.Module(), 0o644)
}

// condition adds [aws]: a stock AWS command line is installed; [awstenant]:
// one that knows --tenant-id.
func condition(name string) (bool, error) {
	switch name {
	case "aws":
		_, err := awsVersion()
		return err == nil, nil
	case "awstenant":
		v, err := awsVersion()
		return err == nil && (v[0] == 1 && v[1] >= 43 || v[0] == 2 && v[1] >= 32), nil
	case "kernel":
		_, found := runsc()
		return found, nil
	case "root":
		return os.Getuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

func awsVersion() (v [2]int, err error) {
	out, err := exec.Command("aws", "--version").CombinedOutput()
	if err != nil {
		return v, err
	}
	m := regexp.MustCompile(`aws-cli/(\d+)\.(\d+)`).FindSubmatch(out)
	if m == nil {
		return v, fmt.Errorf("aws --version says %q", out)
	}
	for i := range v {
		if v[i], err = strconv.Atoi(string(m[i+1])); err != nil {
			return v, err
		}
	}
	return v, nil
}

// node starts the node, with further flags; environment as the operator has it.
func cmdNode(ts *testscript.TestScript, neg bool, args []string) { start(ts, neg, args, 0) }

// nobodysnode starts the node as an ordinary user.
func cmdNobodysNode(ts *testscript.TestScript, neg bool, args []string) {
	const nobody = 65534
	ts.Check(os.Chown(ts.MkAbs("."), nobody, nobody))
	start(ts, neg, args, nobody)
}

func start(ts *testscript.TestScript, neg bool, args []string, user uint32) {
	log, err := os.OpenFile(ts.MkAbs("node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	n, err := noderun.Start(context.Background(), noderun.Options{Bin: binaries, Data: ts.MkAbs("node"), Args: args, Log: log, User: user})
	if neg {
		if err == nil {
			n.Kill()
			ts.Fatalf("the node started")
		}
		ts.Check(os.WriteFile(ts.MkAbs("refusal"), []byte(err.Error()), 0o644))
		return
	}
	ts.Check(err)
	of(ts).node = n
	ts.Setenv("AWS_ENDPOINT_URL", n.Endpoint)
	asOperator(ts)
}

func asOperator(ts *testscript.TestScript) {
	text, err := os.ReadFile(ts.MkAbs("node/operator.env"))
	ts.Check(err)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		ts.Setenv(name, value)
	}
}

func cmdKill(ts *testscript.TestScript, _ bool, _ []string) {
	of(ts).node.Kill()
	of(ts).node = nil
}

func cmdStop(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(of(ts).node.Stop())
	of(ts).node = nil
}

// tenant makes a tenant and sets NAME_ACCOUNT and NAME_ROLE.
func cmdTenant(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		t, err := of(ts).node.CreateTenant(name)
		ts.Check(err)
		of(ts).tenants[name] = t
		upper := strings.ToUpper(name)
		ts.Setenv(upper+"_ACCOUNT", t.AccountID)
		ts.Setenv(upper+"_ROLE", t.Role())
		ts.Setenv(upper+"_KEY", t.AccessKeyID)
		ts.Setenv(upper+"_SECRET", t.SecretAccessKey)
	}
}

// as sets the credentials of a tenant, or the operator's.
func cmdAs(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "operator" {
		ts.Setenv("AWS_SESSION_TOKEN", "")
		asOperator(ts)
		return
	}
	t, found := of(ts).tenants[args[0]]
	if !found {
		ts.Fatalf("there is no tenant %s in this script", args[0])
	}
	ts.Setenv("AWS_ACCESS_KEY_ID", t.AccessKeyID)
	ts.Setenv("AWS_SECRET_ACCESS_KEY", t.SecretAccessKey)
	ts.Setenv("AWS_SESSION_TOKEN", of(ts).tokens[args[0]])
}

// cli runs aws lambda with the endpoint named, as older releases need it.
func cmdCLI(ts *testscript.TestScript, neg bool, args []string) {
	full := append([]string{"--endpoint-url", ts.Getenv("AWS_ENDPOINT_URL"), "--output", "json", "lambda"}, args...)
	err := ts.Exec("aws", full...)
	if neg != (err != nil) {
		ts.Fatalf("aws %s: %v", strings.Join(full, " "), err)
	}
}

// aws runs the AWS command line with the endpoint named.
func cmdAWS(ts *testscript.TestScript, neg bool, args []string) {
	full := append([]string{"--endpoint-url", ts.Getenv("AWS_ENDPOINT_URL"), "--output", "json"}, args...)
	err := ts.Exec("aws", full...)
	if neg != (err != nil) {
		ts.Fatalf("aws %s: %v", strings.Join(full, " "), err)
	}
}

// newkey makes an access key of a user and names it for as, and NAME_KEY.
func cmdNewKey(ts *testscript.TestScript, _ bool, args []string) {
	cmdAWS(ts, false, []string{"iam", "create-access-key", "--user-name", args[0]})
	var made struct {
		AccessKey struct{ AccessKeyId, SecretAccessKey string }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &made))
	of(ts).tenants[args[0]] = noderun.Tenant{AccessKeyID: made.AccessKey.AccessKeyId, SecretAccessKey: made.AccessKey.SecretAccessKey}
	ts.Setenv(strings.ToUpper(args[0])+"_KEY", made.AccessKey.AccessKeyId)
}

// assume asks STS for a session, by the operation and with the arguments that
// follow its name for as.
func cmdAssume(ts *testscript.TestScript, _ bool, args []string) {
	cmdAWS(ts, false, append([]string{"sts"}, args[1:]...))
	var made struct {
		Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &made))
	c := made.Credentials
	of(ts).tenants[args[0]] = noderun.Tenant{AccessKeyID: c.AccessKeyId, SecretAccessKey: c.SecretAccessKey}
	of(ts).tokens[args[0]] = c.SessionToken
}

// signed sends a signed request to the operators' API: method, path, and a
// body if there is one.
func cmdSigned(ts *testscript.TestScript, neg bool, args []string) {
	curl := []string{
		"-sS", "--fail-with-body", "-X", args[0], "--aws-sigv4", "aws:amz:us-east-1:carrel",
		"--user", ts.Getenv("AWS_ACCESS_KEY_ID") + ":" + ts.Getenv("AWS_SECRET_ACCESS_KEY"),
		"-H", "Content-Type: application/json", ts.Getenv("AWS_ENDPOINT_URL") + args[1],
	}
	if len(args) > 2 {
		curl = append(curl, "-d", args[2])
	}
	if err := ts.Exec("curl", curl...); neg != (err != nil) {
		ts.Fatalf("%s %s: %v", args[0], args[1], err)
	}
}

// printed makes what the last command printed a variable.
func cmdPrinted(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// waitfor runs a command until what it prints matches a regular expression.
func cmdWaitFor(ts *testscript.TestScript, _ bool, args []string) {
	command, want := strings.Fields(args[0]), regexp.MustCompile(args[1])
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		ts.Check(ts.Exec(command[0], command[1:]...))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("%s never printed %s", args[0], args[1])
		}
	}
}

// absent searches the node's data for texts that must not be in it.
func cmdAbsent(ts *testscript.TestScript, neg bool, texts []string) {
	found := map[string]string{}
	ts.Check(filepath.WalkDir(ts.MkAbs("node"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, text := range texts {
			if strings.Contains(string(content), text) {
				found[text] = path
			}
		}
		return nil
	}))
	for _, text := range texts {
		if path, is := found[text]; is != neg {
			ts.Fatalf("%q in the data folder: %v %s", text, is, path)
		}
	}
}

// unchanged compares the JSON of two files.
func cmdUnchanged(ts *testscript.TestScript, _ bool, args []string) {
	var a, b any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &a))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &b))
	if fmt.Sprint(a) != fmt.Sprint(b) {
		ts.Fatalf("%s and %s differ:\n%v\n%v", args[0], args[1], a, b)
	}
}
