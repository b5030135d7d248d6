package queryapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/controltest"
	"github.com/carrel-dev/carrel/function"
	carreliam "github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

const region = "eu-central-1"

// bench is one node's IAM and STS under test: the real control over stores
// in memory and real signatures.
type bench struct {
	identities   control.WebIdentities
	control      *control.Service
	journal      *journal
	server       *httptest.Server
	acme, globex control.Credentials
}

// changed is when everything in a bench is done, so that it can be compared.
var changed = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchWith(t, nil)
}

func newBenchWith(t testing.TB, identities control.WebIdentities) *bench {
	t.Helper()
	b := &bench{identities: identities, journal: &journal{}}
	b.control = controltest.Open(t, control.Config{
		Region: region, Blobs: noBlobs{}, Builder: noBuilder{}, Journal: b.journal, ActsPerSecond: 10_000,
		Now: func() time.Time { return changed }, WebIdentities: b.identities,
	})
	b.acme, b.globex = controltest.Tenant(t, b.control, "acme"), controltest.Tenant(t, b.control, "globex")
	verifier := func(service string) Verifier {
		return credential.New(credential.Config{Region: region, Services: []string{service}, Lookup: b.control})
	}
	iamHandler := NewIAM(Config{Region: region, Verifier: verifier(ServiceIAM), Control: b.control})
	stsHandler := NewSTS(Config{Region: region, Verifier: verifier(ServiceSTS), Control: b.control})
	b.server = httptest.NewServer(worked.noted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "/iam/") {
			iamHandler.ServeHTTP(w, r)
			return
		}
		stsHandler.ServeHTTP(w, r)
	})))
	t.Cleanup(b.server.Close)
	return b
}

type keyPair struct{ id, secret, token string }

func pairOf(c control.Credentials) keyPair { return keyPair{c.AccessKeyID, c.SecretAccessKey, ""} }

var plainHTTP = &http.Client{Timeout: 20 * time.Second}

// iam gives an SDK client that does not retry, so that each refusal shows.
func (b *bench) iam(k keyPair) *iam.Client {
	return iam.New(iam.Options{
		Region: region, BaseEndpoint: aws.String(b.server.URL), RetryMaxAttempts: 1, HTTPClient: plainHTTP,
		Credentials: credentials.NewStaticCredentialsProvider(k.id, k.secret, k.token),
	})
}

func (b *bench) sts(k keyPair) *sts.Client {
	return sts.New(sts.Options{
		Region: region, BaseEndpoint: aws.String(b.server.URL), RetryMaxAttempts: 1, HTTPClient: plainHTTP,
		Credentials: credentials.NewStaticCredentialsProvider(k.id, k.secret, k.token),
	})
}

// answer is a reply as a test looks at it.
type answer struct {
	status int
	header http.Header
	body   string
}

// post signs a form as acme's admin and sends it.
func (b *bench) post(t testing.TB, service, body string) answer {
	t.Helper()
	return b.postAs(t, pairOf(b.acme), service, body)
}

func (b *bench) postAs(t testing.TB, k keyPair, service, body string) answer {
	t.Helper()
	r := b.request(t, body)
	b.signAs(t, k, r, scoped{service, body})
	return send(t, r)
}

func (b *bench) form(t testing.TB, service string, pairs ...string) answer {
	t.Helper()
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return b.post(t, service, v.Encode())
}

func (b *bench) request(t testing.TB, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.server.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return r
}

func (b *bench) sign(t testing.TB, service string, r *http.Request, body string) {
	t.Helper()
	b.signAs(t, pairOf(b.acme), r, scoped{service, body})
}

// scoped is a body and the service that it is signed for.
type scoped struct{ service, body string }

func (b *bench) signAs(t testing.TB, k keyPair, r *http.Request, s scoped) {
	t.Helper()
	sum := sha256.Sum256([]byte(s.body))
	where := region
	if s.service == ServiceIAM {
		where = "us-east-1"
	}
	who := aws.Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret, SessionToken: k.token}
	if err := v4.NewSigner().SignHTTP(t.Context(), who, r, hex.EncodeToString(sum[:]), s.service, where, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func send(t testing.TB, r *http.Request) answer {
	t.Helper()
	resp, err := plainHTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(got)}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// refused demands an error with the code and the text.
func refused(t testing.TB, err error, code, text string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		t.Errorf("got %v, want %s: …%s…", err, code, text)
	}
}

// journal keeps what control tells it.
type journal struct {
	mu       sync.Mutex
	refusals []carreliam.Request
	acts     []carreliam.Request
}

func (j *journal) Decide(_ context.Context, g carreliam.Grant, _ string) (func(error), error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acts = append(j.acts, g.Request())
	return func(error) {}, nil
}

func (j *journal) Refuse(_ context.Context, r carreliam.Request, _ string, _ error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refusals = append(j.refusals, r)
}

type noBlobs struct{}

var errUnused = errors.New("not part of these tests")

func (noBlobs) Put(context.Context, tenant.UID, secret.Kind, []byte) (function.Digest, error) {
	return "", errUnused
}
func (noBlobs) Get(context.Context, tenant.UID, secret.Kind, function.Digest) ([]byte, error) {
	return nil, errUnused
}
func (noBlobs) Delete(context.Context, tenant.UID, secret.Kind, function.Digest) error { return nil }

type noBuilder struct{}

func (noBuilder) Build(context.Context, tenant.UID, control.BuildSource) (control.BuildResult, error) {
	return control.BuildResult{}, errUnused
}

// exampleForm gives parameters of an input that are well formed.
func exampleForm(typ reflect.Type, prefix string, b *bench) string {
	var s strings.Builder
	for i := range typ.NumField() {
		f := typ.Field(i)
		switch {
		case f.Anonymous:
			s.WriteString(exampleForm(f.Type, prefix, b))
		case f.Tag.Get("q") == "":
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			s.WriteString(exampleForm(f.Type.Elem(), prefix+f.Name+".member.1.", b))
		case f.Type.Kind() == reflect.Slice:
			s.WriteString("&" + prefix + f.Name + ".member.1=" + url.QueryEscape(example(f, b)))
		default:
			name := f.Name
			if other := f.Tag.Get("name"); other != "" {
				name = other
			}
			s.WriteString("&" + prefix + name + "=" + url.QueryEscape(example(f, b)))
		}
	}
	return s.String()
}

func example(f reflect.StructField, b *bench) string {
	switch {
	case f.Name == "PolicyArn" || f.Name == "PermissionsBoundary":
		return b.arn("policy", "none")
	case f.Name == "OpenIDConnectProviderArn":
		return b.arn("oidc-provider", "idp.example")
	case f.Name == "PolicySourceArn":
		return b.arn("user", "admin")
	case f.Name == "RoleArn":
		return b.arn("role", "none")
	case f.Name == "AccessKeyId":
		return b.acme.AccessKeyID
	case f.Name == "VersionId":
		return "v1"
	case f.Name == "Url":
		return "https://idp.example"
	case f.Tag.Get("enum") != "":
		first, _, _ := strings.Cut(f.Tag.Get("enum"), ",")
		return first
	case f.Tag.Get("form") == "document":
		return readPolicy
	case f.Tag.Get("elem") == "40-40":
		return strings.Repeat("a", 40)
	}
	return "example"
}

func contains(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
