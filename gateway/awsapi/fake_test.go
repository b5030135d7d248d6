package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/tenant"
)

const (
	region       = "us-east-1"
	acme         = tenant.AccountID("111111111111")
	globex       = tenant.AccountID("222222222222")
	nobody       = tenant.AccountID("999999999999")
	acmeKey      = "AKIDACME"
	globexKey    = "AKIDGLOBEX"
	secretOfBoth = "a-secret-that-only-tests-know"
	acmeRole     = "arn:aws:iam::111111111111:role/fn"
)

// fakeControl keeps functions in memory and checks every grant, as the real
// one does.
type fakeControl struct {
	*iam.Authority
	mu        sync.Mutex
	functions map[tenant.AccountID]map[function.Name]*fakeFunction
	ends      map[tenant.EndTenantID]tenant.UID
	refused   []iam.Request
	created   []CreateFunctionInput
	listed    []ListInput
}

type fakeFunction struct {
	function.Function
	versions []function.Version // published
	aliases  map[string]function.Alias
	events   map[string]function.EventConfig
}

func newFakeControl() *fakeControl {
	c := &fakeControl{functions: map[tenant.AccountID]map[function.Name]*fakeFunction{}, ends: map[tenant.EndTenantID]tenant.UID{}}
	c.Authority = iam.New(fakeSnapshot{}, time.Now)
	return c
}

// fakeSnapshot knows two tenants; their admins' keys are active.
type fakeSnapshot struct{}

func (fakeSnapshot) Generation() uint64    { return 1 }
func (fakeSnapshot) Confirmed() time.Time  { return time.Now() }
func (fakeSnapshot) KeyActive(string) bool { return true }
func (fakeSnapshot) Status(id tenant.AccountID) (tenant.Status, bool) {
	return tenant.Active, id == acme || id == globex
}

// AccessKey implements credential.Lookup.
func (c *fakeControl) AccessKey(id string) (credential.Key, bool) {
	p, found := c.Principal(id)
	return credential.Key{ID: id, Secret: secretOfBoth, Account: p.Account, Principal: p.ARN, Status: credential.Active}, found
}

func (c *fakeControl) Principal(id string) (call.Principal, bool) {
	switch id {
	case acmeKey:
		return admin(acme, "acme", id), true
	case globexKey:
		return admin(globex, "globex", id), true
	}
	return call.Principal{}, false
}

func admin(account tenant.AccountID, slug tenant.Slug, key string) call.Principal {
	return call.Principal{ARN: "arn:aws:iam::" + string(account) + ":user/admin", Account: account, Tenant: slug, Admin: true, AccessKeyID: key}
}

func (c *fakeControl) Authorise(_ context.Context, r iam.Request, _ string) (iam.Grant, error) {
	g, err := c.Authority.Authorise(r)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refused = append(c.refused, r)
	}
	return g, err
}

// open checks a grant and finds a function; the lock is held from then on.
func (c *fakeControl) open(g iam.Grant, operation string, name function.Name) (*fakeFunction, error) {
	c.mu.Lock()
	account := g.Request().Owner.Account
	if err := g.Check("lambda:"+operation, function.ARN(region, account, name, "")); err != nil {
		return nil, err
	}
	f := c.functions[account][name]
	if f == nil {
		return nil, notFound(account, name, "")
	}
	return f, nil
}

func notFound(account tenant.AccountID, name function.Name, qualifier string) error {
	return fault.New("fake", fault.NotFound, "Function not found: %s", function.ARN(region, account, name, qualifier))
}

func (f *fakeFunction) view(v function.Version, qualifier string) FunctionView {
	return FunctionView{Function: f.Function, Version: v, Qualifier: qualifier, Reserved: f.Reserved, Tags: f.Tags,
		ARN: function.ARN(region, f.Account, f.Name, qualifier)}
}

func (c *fakeControl) CreateFunction(_ context.Context, g iam.Grant, in CreateFunctionInput) (FunctionView, error) {
	f, err := c.open(g, "CreateFunction", in.Name)
	defer c.mu.Unlock()
	account := g.Request().Owner.Account
	if f != nil {
		return FunctionView{}, fault.New("fake", fault.Conflict, "Function already exist: %s", in.Name)
	}
	if !fault.Is(err, fault.NotFound) {
		return FunctionView{}, err
	}
	c.created = append(c.created, in)
	f = &fakeFunction{aliases: map[string]function.Alias{}, events: map[string]function.EventConfig{}}
	f.Function = function.Function{UID: tenant.NewUID(), Account: account, Name: in.Name, Tenancy: in.Tenancy, Tags: in.Tags}
	f.Latest = function.Version{Number: function.Latest, Description: in.Description, Runtime: in.Runtime, Handler: in.Handler,
		Role: in.Role, Limits: in.Limits, Environment: in.Environment, State: function.Pending,
		StateReason: "The function is being created.", StateReasonCode: "Creating", UpdateStatus: function.UpdateSuccessful}
	f.code(in.Package)
	if c.functions[account] == nil {
		c.functions[account] = map[function.Name]*fakeFunction{}
	}
	c.functions[account][in.Name] = f
	return f.view(f.Latest, ""), nil
}

func (f *fakeFunction) code(content []byte) {
	sum := sha256.Sum256(content)
	f.Latest.Package, f.Latest.PackageSize = function.Digest(hex.EncodeToString(sum[:])), int64(len(content))
	f.changed()
}

func (f *fakeFunction) changed() {
	f.Latest.RevisionID, f.Latest.LastModified = uuid.NewString(), time.Unix(1_790_000_000, 123_000_000)
}

// GetFunction shows the function as it is and lets a pending change be done
// by the next time.
func (c *fakeControl) GetFunction(_ context.Context, g iam.Grant, name function.Name, qualifier string) (FunctionView, error) {
	operation := g.Request().Action[len("lambda:"):]
	if operation != "GetFunction" && operation != "GetFunctionConfiguration" {
		operation = "GetFunction"
	}
	f, err := c.open(g, operation, name)
	defer c.mu.Unlock()
	if err != nil {
		return FunctionView{}, err
	}
	v, found := f.version(qualifier)
	if !found {
		return FunctionView{}, notFound(f.Account, name, qualifier)
	}
	f.Latest.State, f.Latest.StateReason, f.Latest.StateReasonCode = function.Active, "", ""
	f.Latest.UpdateStatus = function.UpdateSuccessful
	return f.view(v, qualifier), nil
}

func (f *fakeFunction) version(qualifier string) (function.Version, bool) {
	if qualifier == "" || qualifier == function.Latest {
		return f.Latest, true
	}
	if a, found := f.aliases[qualifier]; found {
		qualifier = a.Version
	}
	for _, v := range f.versions {
		if v.Number == qualifier {
			return v, true
		}
	}
	return function.Version{}, false
}

func (c *fakeControl) UpdateFunctionCode(_ context.Context, g iam.Grant, in UpdateCodeInput) (FunctionView, error) {
	f, err := c.open(g, "UpdateFunctionCode", in.Name)
	defer c.mu.Unlock()
	if err != nil {
		return FunctionView{}, err
	}
	if in.RevisionID != "" && in.RevisionID != f.Latest.RevisionID {
		return FunctionView{}, fault.New("fake", fault.Precondition,
			"The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
	}
	f.code(in.Package)
	f.Latest.UpdateStatus = function.UpdateInProgress
	return f.view(f.Latest, ""), nil
}

func (c *fakeControl) UpdateFunctionConfiguration(_ context.Context, g iam.Grant, in UpdateConfigurationInput) (FunctionView, error) {
	f, err := c.open(g, "UpdateFunctionConfiguration", in.Name)
	defer c.mu.Unlock()
	if err != nil {
		return FunctionView{}, err
	}
	if f.Latest.UpdateStatus == function.UpdateInProgress {
		return FunctionView{}, fault.New("fake", fault.Conflict,
			"The operation cannot be performed at this time. An update is in progress for resource: %s", function.ARN(region, f.Account, f.Name, ""))
	}
	set(&f.Latest.Description, in.Description)
	set(&f.Latest.Handler, in.Handler)
	set(&f.Latest.Role, in.Role)
	set(&f.Latest.Runtime, in.Runtime)
	set(&f.Latest.Limits.MemoryMB, in.MemoryMB)
	if in.TimeoutSec != nil {
		f.Latest.Limits.Timeout = time.Duration(*in.TimeoutSec) * time.Second
	}
	if in.Environment != nil {
		f.Latest.Environment = in.Environment
	}
	f.changed()
	f.Latest.UpdateStatus = function.UpdateInProgress
	return f.view(f.Latest, ""), nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (c *fakeControl) DeleteFunction(_ context.Context, g iam.Grant, name function.Name, qualifier string) error {
	f, err := c.open(g, "DeleteFunction", name)
	defer c.mu.Unlock()
	if err != nil {
		return err
	}
	if qualifier == "" {
		delete(c.functions[f.Account], name)
		return nil
	}
	f.versions = slices.DeleteFunc(f.versions, func(v function.Version) bool { return v.Number == qualifier })
	return nil
}

func (c *fakeControl) ListFunctions(_ context.Context, g iam.Grant, in ListInput) (Page[FunctionView], error) {
	account := g.Request().Owner.Account
	if err := g.Check("lambda:ListFunctions", function.ARN(region, account, "*", "")); err != nil {
		return Page[FunctionView]{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed = append(c.listed, in)
	var all []FunctionView
	for _, name := range slices.Sorted(maps.Keys(c.functions[account])) {
		f := c.functions[account][name]
		all = append(all, f.view(f.Latest, ""))
	}
	return paged(all, in), nil
}

func paged[T any](all []T, in ListInput) Page[T] {
	from, _ := strconv.Atoi(in.Marker)
	to := min(from+in.MaxItems, len(all))
	p := Page[T]{Items: all[from:to]}
	if to < len(all) {
		p.NextMarker = strconv.Itoa(to)
	}
	return p
}

func (c *fakeControl) PublishVersion(_ context.Context, g iam.Grant, in PublishInput) (FunctionView, error) {
	f, err := c.open(g, "PublishVersion", in.Name)
	defer c.mu.Unlock()
	if err != nil {
		return FunctionView{}, err
	}
	v := f.Latest
	v.Number, v.State = strconv.Itoa(len(f.versions)+1), function.Active
	set(&v.Description, in.Description)
	f.versions = append(f.versions, v)
	return f.view(v, v.Number), nil
}

func (c *fakeControl) ListVersions(_ context.Context, g iam.Grant, name function.Name, in ListInput) (Page[FunctionView], error) {
	f, err := c.open(g, "ListVersionsByFunction", name)
	defer c.mu.Unlock()
	if err != nil {
		return Page[FunctionView]{}, err
	}
	all := []FunctionView{f.view(f.Latest, function.Latest)}
	for _, v := range f.versions {
		all = append(all, f.view(v, v.Number))
	}
	return paged(all, in), nil
}

func (c *fakeControl) CreateAlias(_ context.Context, g iam.Grant, in AliasInput) (function.Alias, error) {
	f, err := c.open(g, "CreateAlias", in.Name)
	defer c.mu.Unlock()
	if err != nil {
		return function.Alias{}, err
	}
	if _, there := f.aliases[in.Alias]; there {
		return function.Alias{}, fault.New("fake", fault.Conflict, "Alias already exists: %s", function.ARN(region, f.Account, f.Name, in.Alias))
	}
	return f.alias(function.Alias{Name: in.Alias}, in), nil
}

func (f *fakeFunction) alias(a function.Alias, in AliasInput) function.Alias {
	set(&a.Version, in.Version)
	set(&a.Description, in.Description)
	if in.Weights != nil {
		a.Weights = in.Weights
	}
	a.RevisionID = uuid.NewString()
	f.aliases[a.Name] = a
	return a
}

func (c *fakeControl) GetAlias(_ context.Context, g iam.Grant, name function.Name, alias string) (function.Alias, error) {
	f, err := c.open(g, "GetAlias", name)
	defer c.mu.Unlock()
	if err != nil {
		return function.Alias{}, err
	}
	a, found := f.aliases[alias]
	if !found {
		return a, fault.New("fake", fault.NotFound, "Cannot find alias arn: %s", function.ARN(region, f.Account, f.Name, alias))
	}
	return a, nil
}

func (c *fakeControl) UpdateAlias(_ context.Context, g iam.Grant, in AliasInput) (function.Alias, error) {
	f, err := c.open(g, "UpdateAlias", in.Name)
	defer c.mu.Unlock()
	if err != nil {
		return function.Alias{}, err
	}
	return f.alias(f.aliases[in.Alias], in), nil
}

func (c *fakeControl) DeleteAlias(_ context.Context, g iam.Grant, name function.Name, alias string) error {
	f, err := c.open(g, "DeleteAlias", name)
	defer c.mu.Unlock()
	if err == nil {
		delete(f.aliases, alias)
	}
	return err
}

func (c *fakeControl) ListAliases(_ context.Context, g iam.Grant, in ListAliasesInput) (Page[function.Alias], error) {
	f, err := c.open(g, "ListAliases", in.Name)
	defer c.mu.Unlock()
	if err != nil {
		return Page[function.Alias]{}, err
	}
	var all []function.Alias
	for _, name := range slices.Sorted(maps.Keys(f.aliases)) {
		if in.Version == "" || in.Version == f.aliases[name].Version {
			all = append(all, f.aliases[name])
		}
	}
	return paged(all, ListInput{Marker: in.Marker, MaxItems: in.MaxItems}), nil
}

func (c *fakeControl) PutConcurrency(_ context.Context, g iam.Grant, name function.Name, n int) error {
	f, err := c.open(g, "PutFunctionConcurrency", name)
	defer c.mu.Unlock()
	if err == nil {
		f.Reserved = &n
	}
	return err
}

func (c *fakeControl) GetConcurrency(_ context.Context, g iam.Grant, name function.Name) (*int, error) {
	f, err := c.open(g, "GetFunctionConcurrency", name)
	defer c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return f.Reserved, nil
}

func (c *fakeControl) DeleteConcurrency(_ context.Context, g iam.Grant, name function.Name) error {
	f, err := c.open(g, "DeleteFunctionConcurrency", name)
	defer c.mu.Unlock()
	if err == nil {
		f.Reserved = nil
	}
	return err
}

func (c *fakeControl) TagResource(_ context.Context, g iam.Grant, name function.Name, tags map[string]string) error {
	f, err := c.open(g, "TagResource", name)
	defer c.mu.Unlock()
	if err == nil {
		merged := maps.Clone(tags)
		for k, v := range f.Tags {
			if _, new := merged[k]; !new {
				merged[k] = v
			}
		}
		f.Tags = merged
	}
	return err
}

func (c *fakeControl) UntagResource(_ context.Context, g iam.Grant, name function.Name, keys []string) error {
	f, err := c.open(g, "UntagResource", name)
	defer c.mu.Unlock()
	if err == nil {
		maps.DeleteFunc(f.Tags, func(k, _ string) bool { return slices.Contains(keys, k) })
	}
	return err
}

func (c *fakeControl) ListTags(_ context.Context, g iam.Grant, name function.Name) (map[string]string, error) {
	f, err := c.open(g, "ListTags", name)
	defer c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return maps.Clone(f.Tags), nil
}

func (c *fakeControl) AccountSettings(_ context.Context, g iam.Grant) (AccountSettings, error) {
	err := g.Check("lambda:GetAccountSettings", function.ARN(region, g.Request().Owner.Account, "*", ""))
	return AccountSettings{Concurrency: 100, UnreservedConcurrency: 93, TotalCodeSizeLimit: 80_530_636_800, FunctionCount: 2, TotalCodeSize: 4096}, err
}

func (c *fakeControl) PutEventConfig(_ context.Context, g iam.Grant, name function.Name, in function.EventConfig) (function.EventConfig, error) {
	return c.eventConfig(g, "PutFunctionEventInvokeConfig", name, in)
}

func (c *fakeControl) UpdateEventConfig(_ context.Context, g iam.Grant, name function.Name, in function.EventConfig) (function.EventConfig, error) {
	return c.eventConfig(g, "UpdateFunctionEventInvokeConfig", name, in)
}

func (c *fakeControl) eventConfig(g iam.Grant, operation string, name function.Name, in function.EventConfig) (function.EventConfig, error) {
	f, err := c.open(g, operation, name)
	defer c.mu.Unlock()
	if err != nil {
		return in, err
	}
	in.LastModified = time.UnixMilli(1_790_000_000_123)
	f.events[in.Qualifier] = in
	return in, nil
}

func (c *fakeControl) GetEventConfig(_ context.Context, g iam.Grant, name function.Name, qualifier string) (function.EventConfig, error) {
	f, err := c.open(g, "GetFunctionEventInvokeConfig", name)
	defer c.mu.Unlock()
	if err != nil {
		return function.EventConfig{}, err
	}
	e, found := f.events[qualifier]
	if !found {
		return e, fault.New("fake", fault.NotFound, "The function %s doesn't have an EventInvokeConfig", function.ARN(region, f.Account, name, qualifier))
	}
	return e, nil
}

func (c *fakeControl) DeleteEventConfig(_ context.Context, g iam.Grant, name function.Name, qualifier string) error {
	f, err := c.open(g, "DeleteFunctionEventInvokeConfig", name)
	defer c.mu.Unlock()
	if err == nil {
		delete(f.events, qualifier)
	}
	return err
}

func (c *fakeControl) ListEventConfigs(_ context.Context, g iam.Grant, name function.Name, in ListInput) (Page[function.EventConfig], error) {
	f, err := c.open(g, "ListFunctionEventInvokeConfigs", name)
	defer c.mu.Unlock()
	if err != nil {
		return Page[function.EventConfig]{}, err
	}
	var all []function.EventConfig
	for _, q := range slices.Sorted(maps.Keys(f.events)) {
		all = append(all, f.events[q])
	}
	return paged(all, in), nil
}

func (c *fakeControl) Resolve(account tenant.AccountID, name function.Name, qualifier string, _ uint64) (*function.Target, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.functions[account][name]
	if f == nil {
		return nil, notFound(account, name, qualifier)
	}
	v, found := f.version(qualifier)
	if !found {
		return nil, notFound(account, name, qualifier)
	}
	return &function.Target{Account: account, AccountSlug: "acme", FunctionUID: f.UID, Name: name, Tenancy: f.Tenancy,
		Version: v.Number, Qualifier: qualifier, ARN: function.ARN(region, account, name, v.Number)}, nil
}

func (c *fakeControl) FindEndTenant(_ tenant.AccountID, id tenant.EndTenantID) (tenant.UID, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	uid, found := c.ends[id]
	return uid, found, nil
}

func (c *fakeControl) EndTenant(_ context.Context, g iam.Grant, id tenant.EndTenantID) (tenant.UID, error) {
	if err := g.Check(iam.InvokeAction, g.Request().Resource); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends[id] = tenant.NewUID()
	return c.ends[id], nil
}

// fakeInvoker keeps the calls and answers what a test says.
type fakeInvoker struct {
	mu      sync.Mutex
	calls   []call.Call
	queued  []call.Call
	outcome func(*call.Call) *call.Outcome
	refuse  error
}

func (i *fakeInvoker) Invoke(_ context.Context, c *call.Call) *call.Outcome {
	i.mu.Lock()
	defer i.mu.Unlock()
	kept := *c
	kept.Event = bytes.Clone(c.Event)
	i.calls = append(i.calls, kept)
	if i.outcome != nil {
		return i.outcome(c)
	}
	return &call.Outcome{Payload: bytes.Clone(c.Event)}
}

func (i *fakeInvoker) Enqueue(_ context.Context, c *call.Call) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.refuse != nil {
		return i.refuse
	}
	kept := *c
	kept.Event = bytes.Clone(c.Event)
	i.queued = append(i.queued, kept)
	return nil
}

func (i *fakeInvoker) last(t *testing.T) call.Call {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.calls) == 0 {
		t.Fatal("nothing was invoked")
	}
	return i.calls[len(i.calls)-1]
}

// bench is one node's API under test.
type bench struct {
	control *fakeControl
	invoker *fakeInvoker
	server  *httptest.Server
}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	b := &bench{control: newFakeControl(), invoker: &fakeInvoker{}}
	cfg := Config{Region: region, Control: b.control, Invoker: b.invoker,
		Verifier: credential.New(credential.Config{Region: region, Services: []string{"lambda", "iam"}, Lookup: b.control})}
	for _, f := range change {
		f(&cfg)
	}
	b.server = httptest.NewServer(New(cfg))
	t.Cleanup(b.server.Close)
	return b
}

// client gives an SDK client that does not retry, so that each refusal shows.
func (b *bench) client(key string) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: region, BaseEndpoint: aws.String(b.server.URL),
		Credentials:      credentials.NewStaticCredentialsProvider(key, secretOfBoth, ""),
		RetryMaxAttempts: 1,
		HTTPClient:       &http.Client{Timeout: 20 * time.Second},
	})
}
