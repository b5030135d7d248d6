package attack

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/internal/pause"
)

const (
	// plan is the built-in plan of the tenants.
	plan = "small"
	// cleanUpTime bounds each part of the clean-up.
	cleanUpTime = 30 * time.Second
	// buildTime is how long a function may take until it is active or failed.
	buildTime = 40 * time.Second
	// logTime is how long it may take until what a function printed can be read.
	logTime = 10 * time.Second
	// buildPause is between two looks at a function that is being built.
	buildPause = 30 * time.Millisecond
)

// Config says which node is attacked and who may make tenants there.
type Config struct {
	// Endpoint is the node's URL, Region its region.
	Endpoint, Region string
	// AccessKeyID, SecretAccessKey and SessionToken are an operator's.
	AccessKeyID, SecretAccessKey, SessionToken string
	// CACert is a PEM file with the authorities that are trusted instead of the
	// system's; empty for those.
	CACert string
}

// Tenant is who asks: a tenant with the key of its user admin, or the operator.
type Tenant struct {
	Slug            string `json:"tenantId"`
	Account         string `json:"accountId"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	SessionToken    string `json:"-"`
	// Role is the ARN of the role for functions.
	Role string `json:"roleArn"`
}

// Range is a node with two tenants to attack it by: A attacks, and B must not
// notice.
type Range struct {
	cfg     Config
	http    *http.Client
	tls     *tls.Config // nil without TLS
	address string      // host and port

	Operator, A, B *Tenant

	mu sync.Mutex
	// opened are all tenants that were made, by name.
	opened map[string]bool
}

// Open makes the tenants and their tools. If it fails, Close what it gave, if
// that is not nil.
func Open(ctx context.Context, cfg Config) (*Range, error) {
	r := &Range{cfg: cfg, opened: map[string]bool{}, Operator: &Tenant{
		AccessKeyID: cfg.AccessKeyID, SecretAccessKey: cfg.SecretAccessKey, SessionToken: cfg.SessionToken,
	}}
	if err := r.connect(); err != nil {
		return nil, err
	}
	name := "attack-" + unique()
	var err error
	// B's name begins with A's, and so does that of every further tenant.
	if r.A, err = r.tenant(ctx, name); err != nil {
		return r, err
	}
	if r.B, err = r.tenant(ctx, name+"b"); err != nil {
		return r, err
	}
	for _, t := range []*Tenant{r.A, r.B} {
		if err := r.deploy(ctx, t, function{name: tool, code: toolModule()}); err != nil {
			return r, err
		}
	}
	return r, nil
}

// unique is a part of a name that was not used before.
func unique() string {
	b := make([]byte, 5)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (r *Range) connect() error {
	r.cfg.Endpoint = strings.TrimSuffix(r.cfg.Endpoint, "/")
	base, err := url.Parse(r.cfg.Endpoint)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return fmt.Errorf("the endpoint %q is not a URL such as http://127.0.0.1:9600", r.cfg.Endpoint)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	port := "80"
	if base.Scheme == "https" {
		port = "443"
		r.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: base.Hostname()}
		if r.cfg.CACert != "" {
			pem, err := os.ReadFile(r.cfg.CACert)
			if err != nil {
				return fmt.Errorf("the certificates of AWS_CA_BUNDLE: %w", err)
			}
			r.tls.RootCAs = x509.NewCertPool()
			if !r.tls.RootCAs.AppendCertsFromPEM(pem) {
				return fmt.Errorf("%s of AWS_CA_BUNDLE holds no PEM certificate", r.cfg.CACert)
			}
		}
		transport.TLSClientConfig = r.tls.Clone()
	}
	if base.Port() != "" {
		port = base.Port()
	}
	r.address = net.JoinHostPort(base.Hostname(), port)
	r.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return nil
}

// tenant makes one more tenant, which Close deletes.
func (r *Range) tenant(ctx context.Context, name string) (*Tenant, error) {
	r.mu.Lock()
	r.opened[name] = true
	r.mu.Unlock()
	var t Tenant
	body := fmt.Sprintf(`{"tenantId":%s,"plan":%q}`, quote(name), plan)
	return &t, r.admin(ctx, r.Operator, message{method: "POST", path: "/v1/tenants", body: body}, &t)
}

// spare makes a further tenant for one attack.
func (t *try) spare(ctx context.Context) (*Tenant, error) {
	return t.tenant(ctx, t.A.Slug+strings.ToLower(t.id))
}

// Close deletes the tenants, with their functions first, and says what it could
// not delete. It works after ctx has ended too.
func (r *Range) Close(ctx context.Context) (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	for _, t := range []*Tenant{r.A, r.B} {
		if t == nil || t.AccessKeyID == "" {
			continue
		}
		names, err := r.functions(ctx, t)
		if err != nil {
			left = append(left, fmt.Sprintf("functions of %s: %v", t.Slug, err))
		}
		for _, name := range names {
			if a := r.call(ctx, t, message{method: "DELETE", path: onFunction(name)}); !a.ok() && a.status != http.StatusNotFound {
				left = append(left, fmt.Sprintf("function %s of %s: %s", name, t.Slug, a))
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.opened {
		a := r.call(ctx, r.Operator, message{method: "DELETE", path: "/v1/tenants/" + url.PathEscape(name), service: adminAPI})
		if !a.ok() && a.status != http.StatusNotFound && a.status != http.StatusConflict {
			left = append(left, fmt.Sprintf("tenant %s: %s", name, a))
		}
	}
	r.http.CloseIdleConnections()
	return left
}

// functions lists the names of a tenant's functions.
func (r *Range) functions(ctx context.Context, t *Tenant) (names []string, err error) {
	for marker := ""; ; {
		a := r.call(ctx, t, message{method: "GET", path: "/2015-03-31/functions?Marker=" + url.QueryEscape(marker)})
		var page struct {
			Functions  []struct{ FunctionName string }
			NextMarker string
		}
		if !a.ok() {
			return names, errors.New(a.String())
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil {
			return names, err
		}
		for _, f := range page.Functions {
			names = append(names, f.FunctionName)
		}
		if marker = page.NextMarker; marker == "" {
			return names, nil
		}
	}
}

// function is what is to be deployed.
type function struct {
	name    string
	code    []byte // a module, or an archive
	timeout int    // seconds; 0 for 3
	memory  int    // MB; 0 for 128
	each    bool   // serves end tenants
	role    string // empty for its owner's
	runtime string // empty for provided.al2023
}

func (f function) create(owner *Tenant) message {
	in := map[string]any{
		"FunctionName": f.name, "Role": f.role, "Runtime": f.runtime, "Handler": "handle", "Timeout": max(f.timeout, 1),
		"Code": map[string]string{"ZipFile": base64.StdEncoding.EncodeToString(f.code)},
	}
	if f.timeout == 0 {
		in["Timeout"] = 3
	}
	if f.memory != 0 {
		in["MemorySize"] = f.memory
	}
	if f.role == "" {
		in["Role"] = owner.Role
	}
	if f.runtime == "" {
		in["Runtime"] = "provided.al2023"
	}
	if f.each {
		in["TenancyConfig"] = map[string]string{"TenantIsolationMode": "PER_TENANT"}
	}
	body, err := json.Marshal(in)
	if err != nil {
		panic(err) // strings and numbers can be encoded
	}
	return message{method: "POST", path: "/2015-03-31/functions", body: string(body)}
}

// onFunction is the path of a function.
func onFunction(name string) string { return "/2015-03-31/functions/" + url.PathEscape(name) }

// build creates a function and waits until it is active or failed. It gives the
// state and the reason; the state is empty if it was refused at once.
func (r *Range) build(ctx context.Context, owner *Tenant, f function) (state, reason string) {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	a := r.call(ctx, owner, f.create(owner))
	for a.ok() {
		var got struct{ State, StateReason string }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			return "", err.Error()
		}
		if got.State != "Pending" {
			return got.State, got.StateReason
		}
		if err := pause.For(ctx, buildPause); err != nil {
			return got.State, "it is still being built"
		}
		a = r.call(ctx, owner, message{method: "GET", path: onFunction(f.name) + "/configuration"})
	}
	return "", a.String()
}

// deploy makes a function, which has to become active.
func (r *Range) deploy(ctx context.Context, owner *Tenant, f function) error {
	if state, reason := r.build(ctx, owner, f); state != "Active" {
		return fmt.Errorf("the function %s is not active: %s %s", f.name, state, reason)
	}
	return nil
}

// own deploys a function of the attack, named after it, which is deleted at its
// end.
func (t *try) own(ctx context.Context, owner *Tenant, f function) (string, error) {
	f.name = t.keep(owner, f.name)
	return f.name, t.deploy(ctx, owner, f)
}

// keep has a function deleted at the end, and gives its whole name.
func (t *try) keep(owner *Tenant, name string) string {
	name = strings.Trim(t.id+"-"+name, "-")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made = append(t.made, madeFunction{owner, name})
	return name
}

// logged waits until a function's log holds a text, and gives the log.
func (r *Range) logged(ctx context.Context, owner *Tenant, name, text string) (log string, seen bool) {
	ctx, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	for {
		a := r.call(ctx, owner, message{method: "GET", path: "/v1/functions/" + name + "/logs", service: adminAPI})
		if a.ok() && strings.Contains(a.body, text) {
			return a.body, true
		}
		if pause.For(ctx, shortPause) != nil {
			return a.String(), false
		}
	}
}

// Entry is one entry of an archive.
type Entry struct {
	Name    string
	Content []byte
	Mode    os.FileMode
}

// Zipped makes an archive of entries as they are, however odd.
func Zipped(entries ...Entry) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.Name, Method: zip.Deflate}
		if e.Mode != 0 {
			h.SetMode(e.Mode)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(e.Content)
		}
		if err != nil {
			panic(err) // nothing is written but memory
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can be encoded
	}
	return string(b)
}

// outcome is how a call ended.
type outcome struct {
	answer
	// failed says that the function failed.
	failed bool
	took   time.Duration
}

// good says that the call ended well.
func (o outcome) good() bool { return o.status == http.StatusOK && !o.failed }

// reason is the name of the function's error, or of the refusal.
func (o outcome) reason() string {
	var e struct {
		Type string `json:"errorType"`
	}
	if json.Unmarshal([]byte(o.body), &e); o.failed && e.Type != "" {
		return e.Type
	}
	return o.brief()
}

func invocation(name, event string) message {
	return message{method: "POST", path: onFunction(name) + "/invocations", body: event}
}

// invoke calls a function.
func (r *Range) invoke(ctx context.Context, as *Tenant, name, event string) outcome {
	return r.invokeBy(ctx, as, invocation(name, event))
}

func (r *Range) invokeBy(ctx context.Context, as *Tenant, m message) outcome {
	began := time.Now()
	a := r.call(ctx, as, m)
	return outcome{a, a.header.Get("X-Amz-Function-Error") != "", time.Since(began)}
}

// ended counts a call that has to end as a failure of the function with one of
// these names.
func (t *try) ended(what string, o outcome, names ...string) bool {
	ok := o.failed && o.status == http.StatusOK
	for _, name := range names {
		if ok && o.reason() == name {
			return t.holds(true, name, "")
		}
	}
	return t.holds(ok && len(names) == 0, o.reason(), "%s: %s", what, o)
}
