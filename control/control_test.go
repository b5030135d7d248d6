package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/secret/secrettest"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/store/memory"
	"github.com/carrel-dev/carrel/store/sealed"
	"github.com/carrel-dev/carrel/tenant"
)

const region = "us-east-1"

// module makes a bare module whose content, and so its digest, the text says.
func module(text string) []byte { return append([]byte("\x00asm\x01\x00\x00\x00"), text...) }

// world is what outlives a Service: stores, blobs, keys.
type world struct {
	t       testing.TB
	stores  Stores // as the files are: sealed from outside
	rate    int
	plain   bool // not sealed: for ten thousand tenants without a key each
	blobs   *blobs
	keys    *secret.Keeper
	builder *builder
	journal *journal
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{
		t: t, stores: Stores{memory.New(), memory.New(), memory.New()}, blobs: &blobs{content: map[blobRef][]byte{}},
		keys: secrettest.Keeper(t), builder: &builder{}, journal: &journal{}, rate: 1 << 20,
	}
}

func (w *world) config() Config {
	return Config{
		Region: region, EndpointURL: func() string { return "http://127.0.0.1:9600" }, Stores: w.sealedStores(),
		Blobs: w.blobs, Keys: w.keys, Builder: w.builder, Journal: w.journal, ActsPerSecond: w.rate,
	}
}

// sealedStores puts the seal around the stores, as a node does at each start.
func (w *world) sealedStores() Stores {
	w.t.Helper()
	if w.plain {
		return w.stores
	}
	seal := func(kv store.KV, bucket string) store.KV {
		s, err := sealed.New(kv, sealed.Config{
			Sealer: w.keys, Bucket: bucket, Schema: 1, Owner: func(k store.Key) (tenant.UID, error) { return Owner(k), nil },
		})
		if err != nil {
			w.t.Fatal(err)
		}
		return s
	}
	return Stores{seal(w.stores.Tenants, "tenant"), seal(w.stores.Identities, "identity"), seal(w.stores.Functions, "function")}
}

func (w *world) open() *Service {
	w.t.Helper()
	s, err := Open(context.Background(), w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

// blobs is a Blobs in memory.
type blobs struct {
	mu      sync.Mutex
	content map[blobRef][]byte
}

func (b *blobs) Put(_ context.Context, owner tenant.UID, kind secret.Kind, content []byte) (function.Digest, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := sha256.Sum256(content)
	digest := function.Digest(hex.EncodeToString(sum[:]))
	b.content[blobRef{owner, kind, digest}] = slices.Clone(content)
	return digest, nil
}

func (b *blobs) Get(_ context.Context, owner tenant.UID, kind secret.Kind, digest function.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if content, found := b.content[blobRef{owner, kind, digest}]; found {
		return content, nil
	}
	return nil, fault.New("blobs.Get", fault.NotFound, "no such blob")
}

func (b *blobs) Delete(_ context.Context, owner tenant.UID, kind secret.Kind, digest function.Digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.content, blobRef{owner, kind, digest})
	return nil
}

// builder makes an artefact of the module's text; modules that begin with
// "bad" are refused. While gate is not nil a build waits for a token.
type builder struct {
	mu      sync.Mutex
	gate    chan struct{}
	sources []BuildSource
	failing int // builds that fail through no fault of the module
}

func (b *builder) Build(ctx context.Context, _ tenant.UID, src BuildSource) (BuildResult, error) {
	b.mu.Lock()
	gate := b.gate
	b.sources = append(b.sources, src)
	fails := b.failing > 0
	if fails {
		b.failing--
	}
	b.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return BuildResult{}, ctx.Err()
		}
	}
	text := string(src.Module[8:])
	switch {
	case fails:
		return BuildResult{}, errors.New("the compile process died")
	case len(text) > 2 && text[:3] == "bad":
		return BuildResult{}, fault.New("build", fault.Invalid, "the module imports what is not there\x1b[2J")
	}
	return BuildResult{Artifact: fmt.Appendf(nil, "%s %v", text, src.Environment), Model: function.Reactor, Warnings: nil}, nil
}

func (b *builder) built() []BuildSource {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sources)
}

// journal is a Journal that keeps what it was told.
type journal struct {
	mu       sync.Mutex
	decided  []string
	outcomes []error
	refused  []string
	broken   error
}

func (j *journal) Decide(_ context.Context, g iam.Grant, _ string) (func(error), error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return nil, j.broken
	}
	j.decided = append(j.decided, g.Request().Action)
	return func(err error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.outcomes = append(j.outcomes, err)
	}, nil
}

func (j *journal) Refuse(_ context.Context, r iam.Request, _ string, _ error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refused = append(j.refused, r.Action)
}

// who acts as the admin of one account.
type who struct {
	t       testing.TB
	s       *Service
	me      call.Principal
	account tenant.AccountID
}

func (w *world) operator(s *Service) who { return as(w.t, s, s.FirstAdmin().AccessKeyID) }

func as(t testing.TB, s *Service, accessKeyID string) who {
	t.Helper()
	p, found := s.Principal(accessKeyID)
	if !found {
		t.Fatalf("no access key %s", accessKeyID)
	}
	return who{t, s, p, p.Account}
}

// tenant makes a tenant and gives its admin.
func (o who) tenant(slug string) who {
	o.t.Helper()
	made, err := o.s.CreateTenant(context.Background(), o.on(ActionCreateTenant, o.s.TenantResource(tenant.Slug(slug))), CreateTenantInput{Slug: slug})
	if err != nil {
		o.t.Fatal(err)
	}
	return as(o.t, o.s, made.AccessKeyID)
}

// on gives a grant for an action on a resource of the principal's account.
func (o who) on(action, resource string) iam.Grant {
	o.t.Helper()
	g, err := o.s.Authorise(context.Background(), iam.Request{
		Principal: o.me, Action: action, Resource: resource, Owner: tenant.Identity{Account: o.account},
	}, "request")
	if err != nil {
		o.t.Fatal(err)
	}
	return g
}

func (o who) may(action string, name function.Name) iam.Grant {
	o.t.Helper()
	return o.on(action, o.s.FunctionResource(o.account, name))
}

// pass gives the grant for passing a role on.
func (o who) pass(role string) iam.Grant {
	o.t.Helper()
	return o.onWith(ActionPassRole, role, PassedToService())
}

func (o who) role() string { return roleARN(o.account, FunctionRole) }

func (o who) input(name function.Name, text string) CreateFunctionInput {
	return CreateFunctionInput{Name: name, Runtime: function.Wasm, Role: o.role(), Package: module(text), PassRole: o.pass(o.role())}
}

func (o who) create(in CreateFunctionInput) FunctionView {
	o.t.Helper()
	v, err := o.s.CreateFunction(context.Background(), o.may(ActionCreateFunction, in.Name), in)
	if err != nil {
		o.t.Fatal(err)
	}
	return v
}

func (o who) get(name function.Name, qualifier string) FunctionView {
	o.t.Helper()
	v, err := o.s.GetFunction(context.Background(), o.may(ActionGetFunction, name), name, qualifier)
	if err != nil {
		o.t.Fatal(err)
	}
	return v
}

// ready waits until nothing of the function is being made.
func (o who) ready(name function.Name) FunctionView {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		head, err := o.s.cfg.Stores.Functions.Head(ctx, store.Key{})
		if err == nil {
			err = o.s.functions.Wait(ctx, head)
		}
		if err != nil {
			o.t.Fatal(err)
		}
		d, found := o.s.ix.functions.get(functionName{o.account, name})
		if !found {
			o.t.Fatalf("no function %s", name)
		}
		if len(d.pending()) == 0 {
			return o.get(name, "")
		}
		// What it waits for is a write that comes after the head.
		if err := o.s.functions.Wait(ctx, head+1); err != nil {
			o.t.Fatalf("%s is never ready: %v", name, err)
		}
	}
}

func (o who) active(in CreateFunctionInput) FunctionView {
	o.t.Helper()
	o.create(in)
	v := o.ready(in.Name)
	if v.Version.State != function.Active {
		o.t.Fatalf("%s is %s: %s", in.Name, v.Version.State, v.Version.StateReason)
	}
	return v
}

func (o who) publish(name function.Name) FunctionView {
	o.t.Helper()
	v, err := o.s.PublishVersion(context.Background(), o.may(ActionPublishVersion, name), PublishInput{Name: name})
	if err != nil {
		o.t.Fatal(err)
	}
	return v
}

func (o who) delete(name function.Name) {
	o.t.Helper()
	if err := o.s.DeleteFunction(context.Background(), o.may(ActionDeleteFunction, name), name, ""); err != nil {
		o.t.Fatal(err)
	}
}

// wants fails unless err is of the kind and code and its text has the part.
func wants(t testing.TB, err error, kind fault.Kind, code string) string {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind || f.Code != code {
		t.Fatalf("got %v (%v), want kind %v and code %s", err, fault.KindOf(err), kind, code)
	}
	return f.Text()
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	admin := s.FirstAdmin()
	if admin.TenantID != tenant.Management || admin.AccountID != s.Management() || admin.Region != region ||
		len(admin.AccessKeyID) != 20 || len(admin.SecretAccessKey) != 40 {
		t.Fatalf("the first admin is %+v", admin)
	}
	p, _ := s.Principal(admin.AccessKeyID)
	if want := "arn:aws:iam::" + string(admin.AccountID) + ":user/admin"; p.ARN != want || p.Type != call.TypeUser {
		t.Fatalf("the principal is %+v", p)
	}
	s.Close()
	if again := w.open().FirstAdmin(); again != admin {
		t.Fatal("another first admin after a restart")
	}
	for _, text := range []string{fmt.Sprint(admin), fmt.Sprintf("%+v %#v", admin, admin)} {
		if strings.Contains(text, admin.SecretAccessKey) {
			t.Fatalf("the secret is printed: %s", text)
		}
	}
}

func TestLifeOfAFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	w.builder.mu.Lock()
	w.builder.gate = make(chan struct{})
	w.builder.mu.Unlock()
	made := acme.create(acme.input("hello", "one"))
	if v := made.Version; v.State != function.Pending || v.StateReasonCode != "Creating" || v.Number != function.Latest {
		t.Fatalf("a new function is %+v", v)
	}
	_, err := s.Resolve(acme.account, "hello", "", 0)
	if text := wants(t, err, fault.Conflict, "ResourceConflictException"); !strings.Contains(text, "state: Pending") {
		t.Fatal(text)
	}
	w.builder.gate <- struct{}{}
	v := acme.ready("hello").Version
	if v.State != function.Active || v.UpdateStatus != function.UpdateSuccessful || v.Model != function.Reactor || v.RevisionID == made.Version.RevisionID {
		t.Fatalf("built it is %+v", v)
	}
	target, err := s.Resolve(acme.account, "hello", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if target.ARN != "arn:aws:lambda:us-east-1:"+string(acme.account)+":function:hello:$LATEST" || target.AccountSlug != "acme" ||
		target.Artifact != v.Artifact || target.Reserved != -1 || !slices.Contains(target.Environment, "AWS_LAMBDA_FUNCTION_NAME=hello") {
		t.Fatalf("the target is %+v", target)
	}

	// An update: the old one serves until the new one is there.
	if _, err := acme.code(UpdateCodeInput{Name: "hello", Package: module("two")}); err != nil {
		t.Fatal(err)
	}
	if v := acme.get("hello", "").Version; v.UpdateStatus != function.UpdateInProgress || v.State != function.Active {
		t.Fatalf("while it is updated it is %+v", v)
	}
	if now, err := s.Resolve(acme.account, "hello", "", 0); err != nil || now.Artifact != target.Artifact {
		t.Fatalf("the old one does not serve: %v %v", now, err)
	}
	_, err = acme.code(UpdateCodeInput{Name: "hello", Package: module("three")})
	want := "The operation cannot be performed at this time. An update is in progress for resource: " + s.FunctionResource(acme.account, "hello")
	if text := wants(t, err, fault.Conflict, "ResourceConflictException"); text != want {
		t.Fatal(text)
	}
	w.builder.gate <- struct{}{}
	acme.ready("hello")
	if now, err := s.Resolve(acme.account, "hello", "", 0); err != nil || now.Artifact == target.Artifact {
		t.Fatalf("the new one does not serve: %v %v", now, err)
	}

	acme.delete("hello")
	_, err = s.Resolve(acme.account, "hello", "", 0)
	if text := wants(t, err, fault.NotFound, "ResourceNotFoundException"); text != "Function not found: "+s.FunctionResource(acme.account, "hello") {
		t.Fatal(text)
	}
}

func TestFailedUpdateKeepsServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "good"))
	before, err := s.Resolve(acme.account, "f", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := acme.code(UpdateCodeInput{Name: "f", Package: module("bad")}); err != nil {
		t.Fatal(err)
	}
	v := acme.ready("f").Version
	if v.UpdateStatus != function.UpdateFailed || v.State != function.Active || v.UpdateReason != "the module imports what is not there [2J" {
		t.Fatalf("after a failed update it is %+v", v)
	}
	if after, err := s.Resolve(acme.account, "f", "", 0); err != nil || after.Artifact != before.Artifact {
		t.Fatalf("the old one does not serve: %v %v", after, err)
	}
	_, err = s.PublishVersion(context.Background(), acme.may(ActionPublishVersion, "f"), PublishInput{Name: "f"})
	wants(t, err, fault.Conflict, "ResourceConflictException")
	s.Close()
	s = w.open()
	acme = as(t, s, acme.me.AccessKeyID)
	if after, err := s.Resolve(acme.account, "f", "", 0); err != nil || after.Artifact != before.Artifact {
		t.Fatalf("after a restart the old one does not serve: %v %v", after, err)
	}
	if _, err := acme.code(UpdateCodeInput{Name: "f", Package: module("better")}); err != nil {
		t.Fatal(err)
	}
	if v := acme.ready("f").Version; v.UpdateStatus != function.UpdateSuccessful {
		t.Fatalf("after a good update it is %+v", v)
	}
}

func TestFailedCreation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	in := acme.input("f", "bad")
	in.Publish = true
	if v := acme.create(in); v.Version.Number != "1" || v.Version.State != function.Pending {
		t.Fatalf("published at creation: %+v", v.Version)
	}
	acme.ready("f")
	for _, q := range []string{"", "1"} {
		if v := acme.get("f", q).Version; v.State != function.Failed || v.StateReasonCode != "InvalidZipFileException" {
			t.Fatalf("%q is %+v", q, v)
		}
		_, err := s.Resolve(acme.account, "f", q, 0)
		wants(t, err, fault.Conflict, "ResourceConflictException")
	}
	// The twin: the platform fails for a while, and the build is tried again.
	w.builder.mu.Lock()
	w.builder.failing = 2
	w.builder.mu.Unlock()
	acme.active(acme.input("g", "good"))
}

func TestBuildsGoOnAfterRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	w.builder.gate = make(chan struct{})
	in := acme.input("f", "one")
	in.Publish = true
	acme.create(in)
	s.Close()
	w.builder.gate = nil
	s = w.open()
	acme = as(t, s, acme.me.AccessKeyID)
	if v := acme.ready("f").Version; v.State != function.Active {
		t.Fatalf("it is %+v", v)
	}
	if target, err := s.Resolve(acme.account, "f", "1", 0); err != nil || target.Version != "1" {
		t.Fatalf("version 1: %v %v", target, err)
	}
}
