package adminapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/carrel-dev/carrel/audit"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/controltest"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/meter"
	"github.com/carrel-dev/carrel/observe/logs"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

const region = "us-east-1"

// world is one node's API under test: the real control over stores in
// memory, real signatures, and usage, logs and events that a test sets.
type world struct {
	control  *control.Service
	journal  *acts
	ledger   *ledger
	logs     *logStore
	events   *eventList
	trail    *trail
	server   *httptest.Server
	operator control.Credentials
	handler  http.Handler
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{
		journal: &acts{}, ledger: &ledger{totals: map[tenant.AccountID][]meter.Total{}},
		logs: &logStore{news: make(chan struct{})}, events: &eventList{}, trail: &trail{},
	}
	w.control = controltest.Open(t, control.Config{Region: region, Blobs: blobs{}, Builder: builder{}, Journal: w.journal, Now: time.Now})
	w.operator = w.control.FirstAdmin()
	cfg := Config{
		Region: region, Control: w.control, Ledger: w.ledger, Logs: w.logs, Events: w.events,
		Audit:    w.trail,
		Status:   func() any { return map[string]any{"version": "test", "warnings": []string{}} },
		Verifier: credential.New(credential.Config{Region: region, Services: []string{"carrel", "lambda"}, Lookup: w.control, Sessions: w.control}),
	}
	for _, f := range change {
		f(&cfg)
	}
	w.handler = New(cfg)
	w.server = httptest.NewServer(w.handler)
	t.Cleanup(w.server.Close)
	return w
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) decode(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("answer %d %s: %v", a.status, a.body, err)
	}
}

// problem gives the error of an answer.
func (a answer) problem(t testing.TB) Problem {
	t.Helper()
	var e Error
	a.decode(t, &e)
	if e.Detail.RequestID == "" || e.Detail.RequestID != a.header.Get(headerRequestID) {
		t.Errorf("error %s does not carry the request id %q", a.body, a.header.Get(headerRequestID))
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type of an error is %q", got)
	}
	return e.Detail
}

// request makes a request that who signed.
func (w *world) request(t testing.TB, who control.Credentials, method, path string, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sign(t, r, who, Service, body)
	return r
}

func sign(t testing.TB, r *http.Request, who control.Credentials, service, body string) {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	keys := aws.Credentials{AccessKeyID: who.AccessKeyID, SecretAccessKey: who.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) send(t testing.TB, r *http.Request) answer {
	t.Helper()
	res, err := w.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func (w *world) do(t testing.TB, who control.Credentials, method, path string, body ...string) answer {
	t.Helper()
	return w.send(t, w.request(t, who, method, path, strings.Join(body, "")))
}

// tenant makes a tenant through the API.
func (w *world) tenant(t testing.TB, slug string) control.Credentials {
	t.Helper()
	a := w.do(t, w.operator, "POST", "/v1/tenants", `{"tenantId":"`+slug+`"}`)
	if a.status != http.StatusCreated {
		t.Fatalf("making %s: %d %s", slug, a.status, a.body)
	}
	var c control.Credentials
	a.decode(t, &c)
	return c
}

// acts is a journal of control acts in memory.
type acts struct {
	mu      sync.Mutex
	decided []string
	refused []iam.Request
}

func (j *acts) Decide(_ context.Context, _ iam.Grant, id string) (func(error), error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.decided = append(j.decided, id)
	return func(error) {}, nil
}

func (j *acts) Refuse(_ context.Context, r iam.Request, _ string, _ error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refused = append(j.refused, r)
}

type ledger struct {
	totals  map[tenant.AccountID][]meter.Total
	records []meter.Record
	fail    error
}

func (l *ledger) Totals(id tenant.AccountID) []meter.Total { return l.totals[id] }

// Records numbers its records by Seq; like the real one it may give an empty
// part that is not the last.
func (l *ledger) Records(id tenant.AccountID, from journal.Cursor, limit int) ([]meter.Record, journal.Cursor, bool, error) {
	var page []meter.Record
	seq := from.Seq
	for ; seq < uint64(len(l.records)) && len(page) < limit; seq++ {
		if l.records[seq].Account == id {
			page = append(page, l.records[seq])
		}
	}
	return page, journal.Cursor{Segment: 1, Boot: strings.Repeat("b", 32), Seq: seq}, seq < uint64(len(l.records)), l.fail
}

type logStore struct {
	mu      sync.Mutex
	entries []logs.Entry
	news    chan struct{}
	asked   []logs.Query
}

func (l *logStore) Read(g iam.Grant, q logs.Query) (logs.Page, error) {
	if err := g.Check(logs.ReadAction, q.ARN); err != nil {
		return logs.Page{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, q)
	from := min(int(q.From), len(l.entries))
	end := min(from+q.Limit, len(l.entries))
	return logs.Page{Entries: slices.Clone(l.entries[from:end]), Next: uint64(end), More: end < len(l.entries)}, nil
}

func (l *logStore) News(_, _ tenant.UID) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.news
}

func (l *logStore) print(e logs.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
	close(l.news)
	l.news = make(chan struct{})
}

type eventList struct{ asked []EventQuery }

func (l *eventList) List(_ context.Context, g iam.Grant, q EventQuery) ([]Event, string, error) {
	if err := g.Check(EventsAction, EventsResource(region, g.Request().Principal.Account)); err != nil {
		return nil, "", err
	}
	l.asked = append(l.asked, q)
	if q.Cursor != "" {
		return []Event{{RequestID: "r2", State: q.State}}, "", nil
	}
	return []Event{{RequestID: "r1", State: q.State}}, "after-r1", nil
}

// trail is an audit log of entries that a test sets.
type trail struct{ entries []audit.Entry }

func (l *trail) Entries(id tenant.AccountID, from journal.Cursor, limit int) ([]audit.Entry, journal.Cursor, bool, error) {
	var page []audit.Entry
	seq := from.Seq
	for ; seq < uint64(len(l.entries)) && len(page) < limit; seq++ {
		if l.entries[seq].Account == id || l.entries[seq].Concerns == id {
			page = append(page, l.entries[seq])
		}
	}
	return page, journal.Cursor{Segment: 1, Boot: strings.Repeat("b", 32), Seq: seq}, seq < uint64(len(l.entries)), nil
}

type builder struct{}

func (builder) Build(context.Context, tenant.UID, control.BuildSource) (control.BuildResult, error) {
	return control.BuildResult{Artifact: []byte("artefact"), Model: function.Reactor}, nil
}

type blobs struct{}

func (blobs) Put(context.Context, tenant.UID, secret.Kind, []byte) (function.Digest, error) {
	return function.Digest(strings.Repeat("a", 64)), nil
}

func (blobs) Get(context.Context, tenant.UID, secret.Kind, function.Digest) ([]byte, error) {
	return bytes.Clone([]byte("content")), nil
}

func (blobs) Delete(context.Context, tenant.UID, secret.Kind, function.Digest) error { return nil }

// function makes a function in an account, past this API, which makes none.
func (w *world) function(t testing.TB, who control.Credentials, name function.Name) {
	t.Helper()
	p, _ := w.control.Principal(who.AccessKeyID)
	g, err := w.control.Authorise(t.Context(), iam.Request{Principal: p, Action: control.ActionCreateFunction,
		Resource: w.control.FunctionResource(p.Account, name), Owner: tenant.Identity{Account: p.Account}}, "setup")
	if err != nil {
		t.Fatal(err)
	}
	role := "arn:aws:iam::" + string(p.Account) + ":role/fn"
	pass, err := w.control.Authorise(t.Context(), iam.Request{Principal: p, Action: control.ActionPassRole,
		Resource: role, Owner: tenant.Identity{Account: p.Account}, Keys: []iam.Key{control.PassedToService()}}, "setup")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.control.CreateFunction(t.Context(), g, control.CreateFunctionInput{
		Name: name, Runtime: function.Wasm, Role: role, PassRole: pass, Package: []byte("\x00asm\x01\x00\x00\x00"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

var errBroken = fault.New("meter", fault.Internal, "the disk at /secret/place broke")
