package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/controltest"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

const region = "us-east-1"

// bench is one node's API under test: the real control over stores in
// memory, real signatures, and a pipeline that answers what a test says.
type bench struct {
	control      *control.Service
	journal      *journal
	builder      *builder
	invoker      *fakeInvoker
	server       *httptest.Server
	acme, globex control.Credentials
}

// changed is when everything in a bench is done, so that it can be compared.
var changed = time.Date(2026, 11, 23, 8, 0, 0, 123_000_000, time.UTC)

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{journal: &journal{}, builder: &builder{}, invoker: &fakeInvoker{}}
	b.control = controltest.Open(t, control.Config{
		Region: region, Blobs: &blobs{content: map[blobKey][]byte{}}, Builder: b.builder, Journal: b.journal,
		Now: func() time.Time { return changed },
	})
	b.acme, b.globex = controltest.Tenant(t, b.control, "acme"), controltest.Tenant(t, b.control, "globex")
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
// share has acme share something with globex.
func (b *bench) share(t testing.TB, resource string) {
	t.Helper()
	acme, _ := b.control.Principal(b.acme.AccessKeyID)
	g, err := b.control.Authorise(t.Context(), iam.Request{Principal: acme, Action: control.ActionCreateShare,
		Resource: b.control.OwnResource(b.acme.AccountID, "share/*"), Owner: tenant.Identity{Account: b.acme.AccountID}}, "request")
	if err == nil {
		_, err = b.control.CreateShare(t.Context(), g, control.CreateShareInput{Resource: resource, With: "globex", Reason: "a test"})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) client(who control.Credentials) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: region, BaseEndpoint: aws.String(b.server.URL),
		Credentials:      credentials.NewStaticCredentialsProvider(who.AccessKeyID, who.SecretAccessKey, ""),
		RetryMaxAttempts: 1,
		HTTPClient:       &http.Client{Timeout: 20 * time.Second},
	})
}

// arn names one of acme's functions.
func (b *bench) arn(name function.Name, qualifier string) string {
	return function.ARN(region, b.acme.AccountID, name, qualifier)
}

func (b *bench) createInput(name string) *lambda.CreateFunctionInput {
	return &lambda.CreateFunctionInput{
		FunctionName: aws.String(name), Role: aws.String(b.acme.RoleARN), Runtime: "wasm",
		Code: &types.FunctionCode{ZipFile: code},
	}
}

// create makes a function of acme and waits for it.
func (b *bench) create(t testing.TB, in *lambda.CreateFunctionInput) {
	t.Helper()
	if _, err := b.client(b.acme).CreateFunction(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	b.settled(t, *in.FunctionName)
}

// settled waits until a function of acme is ready, with the SDK's waiters.
func (b *bench) settled(t testing.TB, name string) {
	t.Helper()
	c, in := b.client(b.acme), &lambda.GetFunctionInput{FunctionName: aws.String(name)}
	err := lambda.NewFunctionActiveV2Waiter(c, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
	}).Wait(t.Context(), in, 10*time.Second)
	if err == nil {
		err = lambda.NewFunctionUpdatedV2Waiter(c, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
			o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
		}).Wait(t.Context(), in, 10*time.Second)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// withFunctions gives a bench where acme has "hello" with version 1 and
// alias live, and "many" which is PER_TENANT.
func withFunctions(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := newBench(t, change...)
	hello, many := b.createInput("hello"), b.createInput("many")
	hello.Publish = true
	many.TenancyConfig = &types.TenancyConfig{TenantIsolationMode: types.TenantIsolationModePerTenant}
	b.create(t, hello)
	b.create(t, many)
	_, err := b.client(b.acme).CreateAlias(t.Context(), &lambda.CreateAliasInput{FunctionName: aws.String("hello"), Name: aws.String("live"), FunctionVersion: aws.String("1")})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type blobKey struct {
	owner  tenant.UID
	kind   secret.Kind
	digest function.Digest
}

// blobs keeps packages in memory.
type blobs struct {
	mu      sync.Mutex
	content map[blobKey][]byte
}

func (b *blobs) Put(_ context.Context, owner tenant.UID, kind secret.Kind, content []byte) (function.Digest, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := sha256.Sum256(content)
	digest := function.Digest(hex.EncodeToString(sum[:]))
	b.content[blobKey{owner, kind, digest}] = bytes.Clone(content)
	return digest, nil
}

func (b *blobs) Get(_ context.Context, owner tenant.UID, kind secret.Kind, digest function.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, found := b.content[blobKey{owner, kind, digest}]
	if !found {
		return nil, fault.New("blobs", fault.NotFound, "no such blob")
	}
	return content, nil
}

func (b *blobs) Delete(_ context.Context, owner tenant.UID, kind secret.Kind, digest function.Digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.content, blobKey{owner, kind, digest})
	return nil
}

// builder makes artefacts; with a gate each waits for a token.
type builder struct{ gate chan struct{} }

func (b *builder) Build(ctx context.Context, _ tenant.UID, src control.BuildSource) (control.BuildResult, error) {
	if b.gate != nil {
		select {
		case <-b.gate:
		case <-ctx.Done():
			return control.BuildResult{}, ctx.Err()
		}
	}
	return control.BuildResult{Artifact: bytes.Clone(src.Module), Model: function.Reactor}, nil
}

// refusal is one refused request as the audit gets it.
type refusal struct {
	iam.Request
	id string
}

// journal keeps refusals and the request ids of decisions.
type journal struct {
	mu      sync.Mutex
	refused []refusal
	decided []string
}

func (j *journal) Decide(_ context.Context, _ iam.Grant, id string) (func(error), error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.decided = append(j.decided, id)
	return func(error) {}, nil
}

func (j *journal) Refuse(_ context.Context, r iam.Request, id string, _ error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refused = append(j.refused, refusal{r, id})
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
	i.calls = append(i.calls, kept(c))
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
	i.queued = append(i.queued, kept(c))
	return nil
}

// kept copies a call, as its event is only lent.
func kept(c *call.Call) call.Call {
	k := *c
	k.Event = bytes.Clone(c.Event)
	return k
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
