package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/carrel-dev/carrel/config"
	"github.com/carrel-dev/carrel/iam/credential"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

type lookup struct{}

func (lookup) AccessKey(id string) (credential.Key, bool) {
	return credential.Key{ID: keyID, Secret: secret, Account: "111111111111", Status: credential.Active}, id == keyID
}

// fakeNode answers by method and path with query, once the signature holds.
type fakeNode struct {
	url     string
	answers map[string]string
	asked   []string
}

func newNode(t *testing.T, answers map[string]string) *fakeNode {
	n := &fakeNode{answers: answers}
	verifier := credential.New(credential.Config{Region: "eu-west-1", Services: []string{"carrel"}, Lookup: lookup{}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, err := verifier.Verify(r, body); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		q := r.URL.Query()
		if q.Has("since") {
			q.Set("since", "TIME")
			r.URL.RawQuery = q.Encode()
		}
		asked := strings.TrimSpace(r.Method + " " + r.URL.String() + " " + string(body))
		n.asked = append(n.asked, asked)
		answer, found := n.answers[asked]
		if !found {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"error":{"code":"ResourceNotFoundException","kind":"not_found","message":"There is no such thing.","remedy":"Look elsewhere.","requestId":"req-1"}}`
		}
		if status, rest, found := strings.Cut(answer, " "); found && len(status) == 3 {
			answer = rest
			w.WriteHeader(map[string]int{"201": 201, "400": 400, "403": 403, "409": 409, "429": 429, "500": 500}[status])
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	n.url = server.URL
	return n
}

// result is what a command left.
type result struct {
	code        int
	out, errors string
}

func (n *fakeNode) run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, env: func(name string) string {
		return map[string]string{"AWS_ENDPOINT_URL": n.url, "AWS_ACCESS_KEY_ID": keyID, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "eu-west-1"}[name]
	}}
	code := a.run(t.Context(), args)
	if strings.Contains(errs.String(), secret) {
		t.Errorf("%v shows the secret: %s", args, errs.String())
	}
	return result{code, out.String(), errs.String()}
}

const (
	acme    = `{"tenantId":"acme","accountId":"222222222222","plan":"default","status":"active","createdAt":"2026-11-23T08:00:00Z"}`
	made    = `{"tenantId":"acme","accountId":"222222222222","accessKeyId":"AKIAACME","secretAccessKey":"s/e'c","endpointUrl":"http://127.0.0.1:9600","region":"eu-west-1","userArn":"arn:aws:iam::222222222222:user/admin","roleArn":"arn:aws:iam::222222222222:role/fn"}`
	record1 = `{"requestId":"r1","attempt":1,"functionName":"hello","fuel":18446744073709551615,"newField":"kept","time":"2026-11-23T08:00:00Z"}`
	record2 = `{"requestId":"r2","attempt":1,"functionName":"hello","fuel":2,"time":"2026-11-23T08:00:01Z"}`
)

func TestCommands(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args    string
		stdin   string
		answers map[string]string
		code    int
		// out and err hold texts that must be there; "!" before one: must not.
		out, err []string
	}{
		"create": {args: "tenant create acme", answers: map[string]string{`POST /v1/tenants {"defaultRoles":true,"tenantId":"acme"}`: "201 " + made},
			out: []string{"export AWS_ACCESS_KEY_ID=AKIAACME\n", `export AWS_SECRET_ACCESS_KEY='s/e'\''c'`, "AWS_ENDPOINT_URL=http://127.0.0.1:9600"}, err: []string{"shown this once"}},
		"create with options": {args: "tenant create acme --plan unlimited --tag tier=gold --parent initech --default-roles=false",
			answers: map[string]string{`POST /v1/tenants {"defaultRoles":false,"parent":"initech","plan":"unlimited","tags":{"tier":"gold"},"tenantId":"acme"}`: made}, out: []string{"AKIAACME"}},
		"create twice": {args: "tenant create acme", answers: map[string]string{`POST /v1/tenants {"defaultRoles":true,"tenantId":"acme"}`: `409 {"error":{"code":"ConflictException","kind":"conflict","message":"Taken.","requestId":"id-9"}}`},
			code: exitOther, err: []string{"error ConflictException: Taken. (request id id-9)"}},
		"default roles": {args: "tenant default-roles", answers: map[string]string{"POST /v1/default-roles": `{"roles":[{"name":"auditor","arn":"arn:aws:iam::1:role/auditor","policyArn":"arn:aws:iam::aws:policy/carrel/CarrelAuditor"}]}`},
			out: []string{"role/auditor", "policy/carrel/CarrelAuditor"}},
		"no default roles":   {args: "tenant default-roles -o json", answers: map[string]string{"POST /v1/default-roles": `{"roles":[]}`}, out: []string{"[]\n"}, err: []string{"All default roles"}},
		"create badly named": {args: "tenant create Acme", code: exitUsage, err: []string{"tenant name"}},
		"create unnamed":     {args: "tenant create", code: exitUsage, err: []string{"error Usage:", "--help"}},
		"list": {args: "tenant list", answers: map[string]string{"GET /v1/tenants": `{"items":[` + acme + `],"nextCursor":"c"}`, "GET /v1/tenants?cursor=c": `{"items":[]}`},
			out: []string{"TENANT", "acme    222222222222  default  active"}},
		"list json":    {args: "tenant list -o json", answers: map[string]string{"GET /v1/tenants": `{"items":[]}`}, out: []string{"[]\n"}},
		"show":         {args: "tenant show acme", answers: map[string]string{"GET /v1/tenants/acme": acme}, out: []string{"222222222222"}},
		"show nobody":  {args: "tenant show nobody", code: exitNotFound, err: []string{"There is no such thing. Look elsewhere. (request id req-1)"}},
		"suspend":      {args: "tenant suspend acme", answers: map[string]string{"POST /v1/tenants/acme/suspend": acme}, out: []string{"acme"}},
		"resume":       {args: "tenant resume acme", answers: map[string]string{"POST /v1/tenants/acme/resume": acme}, out: []string{"acme"}},
		"delete":       {args: "tenant delete acme", stdin: "acme\n", answers: map[string]string{"DELETE /v1/tenants/acme": acme}, out: []string{"acme"}, err: []string{"Its data stays"}},
		"delete: yes":  {args: "tenant delete acme --yes", answers: map[string]string{"DELETE /v1/tenants/acme": acme}, err: []string{"!Type the name"}},
		"delete: no":   {args: "tenant delete acme", stdin: "y\n", code: exitUsage, err: []string{"Nothing was done"}},
		"delete: mute": {args: "tenant delete acme", code: exitUsage, err: []string{"--yes"}},
		"plans": {args: "plan list", answers: map[string]string{"GET /v1/plans": `{"items":[{"name":"default","concurrency":100,"rate":200},{"name":"unlimited"}]}`},
			out: []string{"default", "no limit"}},
		"claim tags": {args: "claim-tags put arn:p team=team https://idp.example/?q=1=level", answers: map[string]string{
			`PUT /v1/claim-tags {"provider":"arn:p","claims":{"https://idp.example/?q=1":"level","team":"team"}}`: `{"done":true}`}, err: []string{"arn:p"}},
		"claim tags: none":  {args: "claim-tags put arn:p", answers: map[string]string{`PUT /v1/claim-tags {"provider":"arn:p","claims":{}}`: `{"done":true}`}, err: []string{"arn:p"}},
		"claim tags: half":  {args: "claim-tags put arn:p team=", code: exitUsage, err: []string{"CLAIM=TAG"}},
		"claim tags: twice": {args: "claim-tags put arn:p a=b a=c", code: exitUsage, err: []string{"twice"}},
		"claim tags: list": {args: "claim-tags list", answers: map[string]string{"GET /v1/claim-tags": `{"items":[{"provider":"arn:p","claims":{"team":"t"}},{"provider":"arn:q","claims":{}}]}`},
			out: []string{"PROVIDER", "arn:p     team   t", "arn:q"}},
		"token proof: no key": {args: "token proof http://127.0.0.1/", code: exitUsage, err: []string{"--key"}},
		"plan set":            {args: "plan set acme unlimited", answers: map[string]string{`PUT /v1/tenants/acme/plan {"plan":"unlimited"}`: acme}, out: []string{"acme"}},
		"usage": {args: "usage --tenant acme", answers: map[string]string{"GET /v1/usage?limit=1000&tenant=acme": `{"items":[{"tenant":"acme","functionName":"hello","calls":3,"gbSeconds":"0.001625","fuel":"7"}]}`},
			out: []string{"hello", "0.001625"}},
		"own usage, denied": {args: "usage", answers: map[string]string{"GET /v1/usage?limit=1000": `403 {"error":{"code":"AccessDeniedException","kind":"denied","message":"No."}}`}, code: exitAuth,
			err: []string{"No. The credentials came from the AWS environment variables."}},
		"records": {args: "usage --records", answers: map[string]string{"GET /v1/usage/records?limit=1000": `{"items":[` + record1 + `]}`},
			out: []string{"REQUEST", "r1", "18446744073709551615"}},
		"throttled": {args: "events --state pending", answers: map[string]string{"GET /v1/events?state=pending": `429 {"error":{"code":"TooManyRequestsException","kind":"throttled","message":"Slow."}}`}, code: exitQuota},
		"events": {args: "events", answers: map[string]string{"GET /v1/events?state=dead": `{"items":[{"requestId":"r1","functionName":"hello","qualifier":"live","state":"dead","attempts":3,"received":"2026-11-23T08:00:00Z","lastError":"boom\u001b[2J\nand more"}]}`},
			out: []string{"hello:live", "boom [2J and more"}},
		"events of no state": {args: "events --state lost", code: exitUsage, err: []string{"dead or pending"}},
		"logs": {args: "logs hello", answers: map[string]string{
			"GET /v1/functions/hello/logs?limit=1000&since=TIME":        `{"entries":[{"requestId":"r1","tenantId":"acme","version":"1","time":"2026-11-23T08:00:00Z","outcome":"ok","durationMs":"1.5","text":"one\u001b]0;title\u0007"}],"next":1,"more":true}`,
			"GET /v1/functions/hello/logs?from=1&limit=1000&since=TIME": `{"entries":[{"requestId":"r2","time":"2026-11-23T08:00:00Z","text":"two\n"}],"next":2}`},
			out: []string{"r1 tenant=acme version=1 ok run=1.5ms", "\none\uFFFD]0;title\uFFFD\n", "\ntwo\n"}},
		"empty logs":       {args: "logs hello", answers: map[string]string{"GET /v1/functions/hello/logs?limit=1000&since=TIME": `{"entries":[],"next":0}`}, err: []string{"--since"}},
		"logs of a path":   {args: "logs a/b", code: exitUsage, err: []string{"function name"}},
		"logs from future": {args: "logs a --since -1h", code: exitUsage, err: []string{"--since"}},
		"status": {args: "status", answers: map[string]string{"GET /v1/status": `{"version":"9","uptimeNs":61000000000,"warnings":["INSECURE: beware"],"isolation":{"seccomp":true,"namespaces":["pid"]},"fuel":12345678,"none":null}`},
			out: []string{"WARNING: INSECURE: beware\n", "1m1s", "isolation.seccomp", `["pid"]`, "12345678", "!none"}},
		"misspelt":        {args: "tenant craete acme", code: exitUsage, err: []string{`Did you mean "carrel tenant create"?`}},
		"misspelt at top": {args: "tenent", code: exitUsage, err: []string{`Did you mean "carrel tenant"?`}},
		"unheard of":      {args: "frobnicate", code: exitUsage, err: []string{"--help"}},
		"misspelt flag":   {args: "usage --tenat acme", code: exitUsage, err: []string{"Did you mean --tenant?"}},
		"unknown flag":    {args: "tenant list --colour", code: exitUsage, err: []string{"unknown flag"}},
		"strange output":  {args: "tenant list -o yaml", code: exitUsage, err: []string{"table or json"}},
		"broken node":     {args: "tenant create acme", answers: map[string]string{`POST /v1/tenants {"defaultRoles":true,"tenantId":"acme"}`: `500 {"error":{"code":"ServiceException","kind":"internal","message":"Oh."}}`}, code: exitRemote},
		"version":         {args: "version", out: []string{version, "go1."}},
		"group":           {args: "tenant", out: []string{"create", "suspend"}},
		"completion":      {args: "completion bash", out: []string{"bash completion"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, tc.answers)
			r := n.run(t, tc.stdin, strings.Fields(tc.args)...)
			if r.code != tc.code {
				t.Errorf("exit code %d, want %d; asked %q", r.code, tc.code, n.asked)
			}
			contains(t, r.out, tc.out)
			contains(t, r.errors, tc.err)
			if tc.code != exitOK && r.out != "" {
				t.Errorf("a failed command wrote output: %s", r.out)
			}
		})
	}
}

func contains(t *testing.T, text string, want []string) {
	t.Helper()
	for _, w := range want {
		if not, found := strings.CutPrefix(w, "!"); found {
			if strings.Contains(text, not) {
				t.Errorf("%q is in %s", not, text)
			}
		} else if !strings.Contains(text, w) {
			t.Errorf("%q is not in %s", w, text)
		}
	}
}

func TestCreateJSON(t *testing.T) {
	t.Parallel()
	n := newNode(t, map[string]string{`POST /v1/tenants {"defaultRoles":true,"tenantId":"acme"}`: made})
	r := n.run(t, "", "tenant", "create", "acme", "--output", "json")
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(r.out)); err != nil || compact.String() != made {
		t.Errorf("%s, %v", r.out, err)
	}
}

func TestRecordsJSON(t *testing.T) {
	t.Parallel()
	n := newNode(t, map[string]string{
		"GET /v1/usage/records?limit=1000&tenant=acme":          `{"items":[` + record1 + `],"nextCursor":"a"}`,
		"GET /v1/usage/records?cursor=a&limit=1000&tenant=acme": `{"items":[],"nextCursor":"b"}`,
		"GET /v1/usage/records?cursor=b&limit=1000&tenant=acme": `{"items":[` + record2 + `]}`,
		"GET /v1/usage/records?limit=1000&tenant=globex":        `{"items":[` + record1 + `],"nextCursor":"gone"}`,
		"GET /v1/usage/records?limit=1000":                      `{"items":[]}`,
	})
	r := n.run(t, "", "usage", "--records", "--tenant", "acme", "--output", "json")
	if r.out != "[\n  "+record1+",\n  "+record2+"\n]\n" || r.code != 0 {
		t.Errorf("%d %s %s", r.code, r.out, r.errors)
	}
	if r := n.run(t, "", "usage", "--records", "-o", "json"); r.out != "[]\n" {
		t.Errorf("no records: %q", r.out)
	}
	// A list that broke off is no JSON, and the exit code says so.
	r = n.run(t, "", "usage", "--records", "--tenant", "globex", "-o", "json")
	if r.code != exitNotFound || json.Valid([]byte(r.out)) {
		t.Errorf("broken off: %d %s", r.code, r.out)
	}
}

func TestErrorsAsJSON(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	for args, want := range map[string]failure{
		"tenant show nobody --output json":   {Code: "ResourceNotFoundException", Kind: "not_found", Message: "There is no such thing.", Remedy: "Look elsewhere.", RequestID: "req-1", ExitCode: exitNotFound},
		"tenant craete -o json":              {Code: "UnknownCommand", Message: `There is no command "carrel tenant craete".`, Remedy: `Did you mean "carrel tenant create"?`, ExitCode: exitUsage},
		"tenant list --colour --output=json": {Code: "Usage", Message: "unknown flag: --colour.", Remedy: "Run the command with --help for its use.", ExitCode: exitUsage},
	} {
		r := n.run(t, "", strings.Fields(args)...)
		var got map[string]failure
		if err := json.Unmarshal([]byte(r.errors), &got); err != nil || got["error"] != want || r.out != "" || r.code != want.ExitCode {
			t.Errorf("%s: %s %v", args, r.errors, err)
		}
	}
}

func TestWhereTheNodeIs(t *testing.T) {
	t.Parallel()
	n := newNode(t, map[string]string{"GET /v1/tenants/acme": acme})
	data := t.TempDir()
	run := func(env map[string]string, args ...string) (int, string) {
		var out, errs bytes.Buffer
		a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: func(name string) string { return env[name] }}
		return a.run(t.Context(), append([]string{"tenant", "show", "acme", "--data", data}, args...)), errs.String()
	}
	if code, errs := run(nil); code != exitConfig || !strings.Contains(errs, "AWS_ENDPOINT_URL") {
		t.Errorf("nothing names a node: %d %s", code, errs)
	}
	file := "AWS_ACCESS_KEY_ID=" + keyID + "\nAWS_SECRET_ACCESS_KEY=" + secret + "\nAWS_REGION=eu-west-1\nAWS_ENDPOINT_URL="
	if err := os.WriteFile(filepath.Join(data, config.OperatorFile), []byte(file+n.url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, errs := run(nil); code != exitOK {
		t.Errorf("from the operator's file: %d %s", code, errs)
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	if code, _ := run(nil, "--endpoint", closed.URL); code != exitRemote {
		t.Errorf("--endpoint did not count before the file: %d", code)
	}
	if err := os.WriteFile(filepath.Join(data, config.OperatorFile), []byte(file+closed.URL+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, errs := run(nil, "--endpoint", n.url); code != exitOK {
		t.Errorf("--endpoint with the file's key: %d %s", code, errs)
	}
	if code, _ := run(nil, "--endpoint", "nonsense"); code != exitConfig {
		t.Errorf("an endpoint that is none: %d", code)
	}
}

// TestSettingsHaveFlags holds the flags to config.Config: each field is set
// by exactly the flag of the table, with its default.
func TestSettingsHaveFlags(t *testing.T) {
	t.Parallel()
	values := map[string][2]string{
		"Listen": {"listen", "127.0.0.1:1"}, "MetricsListen": {"metrics-listen", "127.0.0.1:2"}, "TLSCert": {"tls-cert", "c"}, "TLSKey": {"tls-key", "k"},
		"InsecureHTTP": {"insecure-http", "true"}, "Region": {"region", "eu-west-1"}, "Domain": {"domain", "fn.example.com:443"}, "RootKey": {"root-key", "r"}, "JournalSync": {"journal-sync", "always"},
		"WorkerBinary": {"worker-binary", "w"}, "BlankWorkers": {"blank-workers", "7"}, "MaxWorkers": {"max-workers", "8"}, "IdleWorker": {"idle-worker", "9m0s"},
		"UserID": {"user-id", "10"}, "DropRoot": {"drop-root", "false"}, "DrainTimeout": {"drain-timeout", "11s"}, "LogLevel": {"log-level", "debug"},
		"Runsc": {"runsc", "r"}, "OCIRuntime": {"oci-runtime", "o"}, "BlankKernels": {"blank-kernels", "2"}, "MinWall": {"min-wall", "kernel"}, "Fresh": {"fresh", "true"},
		"DialAllow": {"dial-allow", "10.0.0.0/8"},
	}
	fields := reflect.TypeFor[config.Config]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		if name == "DataDir" {
			continue // the flag of all commands
		}
		v, found := values[name]
		if !found {
			t.Errorf("config.Config.%s has no flag here", name)
			continue
		}
		cfg := config.Default()
		c := &cobra.Command{}
		configFlags(c.Flags(), &cfg)
		before := reflect.ValueOf(config.Default()).Field(i).Interface()
		if !reflect.DeepEqual(reflect.ValueOf(cfg).Field(i).Interface(), before) {
			t.Errorf("--%s changes its setting without being given", v[0])
		}
		if err := c.Flags().Set(v[0], v[1]); err != nil {
			t.Errorf("--%s: %v", v[0], err)
		}
		if reflect.DeepEqual(reflect.ValueOf(cfg).Field(i).Interface(), before) {
			t.Errorf("--%s does not set %s", v[0], name)
		}
	}
}

func TestServeRefusesUnsafeSettings(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	for _, command := range []string{"serve", "up"} {
		r := n.run(t, "", command, "--listen", "0.0.0.0:0", "--data", filepath.Join(t.TempDir(), "d"))
		if r.code != exitConfig && r.code != exitOther || !strings.Contains(r.errors, "error ") {
			t.Errorf("%s: %d %s", command, r.code, r.errors)
		}
	}
}

type standing struct{ file string }

func (s standing) Endpoint() string     { return "http://127.0.0.1:9600" }
func (s standing) OperatorFile() string { return s.file }

func TestBanner(t *testing.T) {
	t.Parallel()
	here := t.TempDir()
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs, env: func(string) string { return "" }}
	cfg := config.Default()
	cfg.Listen, cfg.InsecureHTTP = "0.0.0.0:9600", true
	a.banner(cfg, standing{filepath.Join(here, ".carrel", "operator.env")}, here)
	contains(t, out.String(), []string{"http://127.0.0.1:9600", ". " + shellQuote(filepath.Join(".carrel", "operator.env")) + "; set +a", "!--data"})
	contains(t, errs.String(), []string{"INSECURE"})
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "''", "a/b+c=": "a/b+c=", "a b": "'a b'", "$(x)": "'$(x)'", "it's": `'it'\''s'`, "é": "'é'"} {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestEveryCommandIsDocumented holds help texts to their form and
// docs/reference/cli.md to the commands.
func TestEveryCommandIsDocumented(t *testing.T) {
	t.Parallel()
	root := (&app{}).root()
	root.DisableAutoGenTag = true
	var page bytes.Buffer
	page.WriteString("# Command line\n\nMade from the commands themselves; `go test ./cmd/carrel -update` writes it anew.\n\n")
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s lacks an example or a short text", c.CommandPath())
		}
		c.DisableAutoGenTag = true
		link := func(name string) string {
			return "#" + strings.ReplaceAll(strings.TrimSuffix(name, ".md"), "_", "-")
		}
		if err := doc.GenMarkdownCustom(c, &page, link); err != nil {
			t.Fatal(err)
		}
		for _, sub := range c.Commands() {
			if sub.Name() != "help" { // cobra's own
				walk(sub)
			}
		}
	}
	walk(root)
	file := filepath.Join("..", "..", "docs", "reference", "cli.md")
	if *update {
		if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if page.String() != strings.ReplaceAll(string(golden), "\r\n", "\n") {
		t.Error("docs/reference/cli.md is not current: run go test ./cmd/carrel -update")
	}
}
