package main

import (
	"bytes"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/carrel-dev/carrel/iam/credential"
)

var update = flag.Bool("update", false, "write the page anew")

func TestPage(t *testing.T) {
	t.Parallel()
	const file = "../../docs/reference/aws-compatibility.md"
	l, err := readList(differs)
	if err != nil {
		t.Fatal(err)
	}
	want := page(l)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what differs.txt says (%v): go test ./test/versitygw -update", file, err)
	}
}

func TestListsNameACaseOnce(t *testing.T) {
	t.Parallel()
	if l, err := readList("# one\nA\nB\n\n~ two\nC\n"); err != nil || l.reason("B") != "one" || l.reason("C") != "two" || !l[1].exchange || l.reason("D") != "" {
		t.Errorf("%+v, %v", l, err)
	}
	for _, bad := range []string{"A\n", "# one\nA\n# two\nA\n"} {
		if _, err := readList(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	listed := list{{reason: "why", names: []string{"Differs"}}}
	results := func(out string) []result {
		all := parse(out)
		for len(all) < cases {
			all = append(all, result{name: "Other", passed: true})
		}
		return all
	}
	for _, tt := range []struct{ out, wrong string }{
		{"\x1b[32mPASS \x1b[0mGood\nRUN  Differs\nFAIL Differs: expected: a\n", ""},
		{"FAIL Good: expected a\nFAIL Differs: b\n", "Good fails: expected a"},
		{"PASS Good\nPASS Differs\n", "Differs passes, and is listed: why"},
	} {
		err := judge(io.Discard, results(tt.out), listed)
		if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%q: %v", tt.out, err)
		}
	}
	if err := judge(io.Discard, parse("PASS Good\n"), listed); err == nil || !strings.Contains(err.Error(), "1 cases ran, not 480") {
		t.Errorf("a suite that ran one case: %v", err)
	}
}

// node is a server that verifies what comes through the proxy.
type node struct {
	verifier *credential.Verifier
	bodies   []string
	signed   []bool
}

func (n *node) AccessKey(string) (credential.Key, bool) {
	return credential.Key{ID: "AKIDEXAMPLE", Secret: "secret", Status: credential.Active}, true
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, err := n.verifier.Verify(r, body)
	n.bodies, n.signed = append(n.bodies, string(body)), append(n.signed, err == nil)
	w.WriteHeader(http.StatusForbidden)
	io.WriteString(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: arn:aws:iam::123456789012:user/a is not authorized to perform: iam:GetUser "+
		"on resource: arn:aws:iam::123456789012:user/b with an explicit deny in an identity-based policy</Message></Error></ErrorResponse>")
}

// TestProxyIsHonest shows that a request that was not signed properly reaches
// the node as it was sent, and that one with no account number in it does too.
func TestProxyIsHonest(t *testing.T) {
	t.Parallel()
	n := &node{}
	n.verifier = credential.New(credential.Config{Region: region, Services: []string{"iam"}, Lookup: n})
	server := httptest.NewServer(n)
	defer server.Close()
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer((&proxy{account: "123456789012", exchange: true, keys: map[string]string{"AKIDEXAMPLE": "secret"}}).handler(target))
	defer front.Close()
	ask := func(secret, arn string) error {
		c := iam.New(iam.Options{Region: region, BaseEndpoint: aws.String(front.URL), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", secret, "")})
		_, err := c.GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: aws.String(arn)})
		return err
	}
	const suites, other = "arn:aws:iam::000000000000:policy/x", "arn:aws:iam::aws:policy/x"
	err = ask("secret", suites)
	if err == nil || !strings.Contains(err.Error(), "User: arn:aws:iam::000000000000:user/a is not authorized to perform: iam:GetUser because no identity-based policy allows the iam:GetUser action") {
		t.Errorf("the answer is not in the suite's words: %v", err)
	}
	ask("wrong", suites)
	ask("secret", other)
	ask("wrong", other)
	for i, want := range []struct {
		part   string
		signed bool
	}{{"123456789012%3Apolicy", true}, {"000000000000%3Apolicy", false}, {"aws%3Apolicy", true}, {"aws%3Apolicy", false}} {
		if !strings.Contains(n.bodies[i], want.part) || n.signed[i] != want.signed {
			t.Errorf("request %d came as %s, signed %v", i, n.bodies[i], n.signed[i])
		}
	}
}

func TestProxyLearnsKeys(t *testing.T) {
	t.Parallel()
	p := &proxy{keys: map[string]string{}}
	p.learn([]byte(`<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><AccessKeyId>AKIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey></AccessKey></CreateAccessKeyResult></CreateAccessKeyResponse>`))
	if k, found := p.AccessKey("AKIA"); !found || k.Secret != "s" {
		t.Errorf("%+v %v", k.ID, found)
	}
	p.learn([]byte("not XML"))
}

func TestRetrierAsksAgain(t *testing.T) {
	t.Parallel()
	count := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if count++; count < 3 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusBadRequest)
		}
		w.Write(body)
	}))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	setBody(r, []byte("x"))
	began := time.Now()
	resp, err := retrier{http.DefaultTransport}.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || !bytes.Equal(body, []byte("x")) || time.Since(began) < 2*pause {
		t.Errorf("%d %q after %s", resp.StatusCode, body, time.Since(began))
	}
}
