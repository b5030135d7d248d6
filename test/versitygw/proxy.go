package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/carrel-dev/carrel/iam/credential"
)

// suiteAccount is the account number that the suite has written into its
// cases. No account of a node begins with a zero.
const suiteAccount = "000000000000"

const (
	region   = "us-east-1"
	mostBody = 1 << 20 // bytes, both ways
	pause    = 100 * time.Millisecond
)

// proxy stands between the suite and a node and exchanges account numbers.
// A request with the suite's number in it has to be signed again, and is only
// if its own signature was right: else it goes on as it came, as do all that
// have no number in them. It changes nothing else, unless it
// is told to exchange more.
type proxy struct {
	account  string // the node's
	exchange bool   // the words of refusals, and whom roles trust, too
	verifier *credential.Verifier
	signer   *v4.Signer

	mu   sync.Mutex
	keys map[string]string // secret access keys, by key id
}

// handler is the proxy before a node.
func (p *proxy) handler(node *url.URL) http.Handler {
	p.signer = v4.NewSigner()
	p.verifier = credential.New(credential.Config{Region: region, Services: []string{"iam", "sts"}, Lookup: p})
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(node)
			r.Out.Host = r.In.Host // under the signature
			p.request(r.Out)
		},
		ModifyResponse: p.response,
		Transport:      retrier{&http.Transport{ExpectContinueTimeout: time.Second, DisableCompression: true}},
	}
}

// AccessKey gives a key that the suite has made.
func (p *proxy) AccessKey(id string) (credential.Key, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	secret, found := p.keys[id]
	return credential.Key{ID: id, Secret: credential.Secret(secret), Status: credential.Active}, found
}

func (p *proxy) request(r *http.Request) {
	var body []byte
	var err error
	if r.Body != nil {
		body, err = io.ReadAll(io.LimitReader(r.Body, mostBody))
	}
	setBody(r, body)
	theirs := string(body)
	if p.exchange {
		theirs = strings.ReplaceAll(theirs, everybody, ownAccount)
	}
	theirs = strings.ReplaceAll(theirs, suiteAccount, p.account)
	query := strings.ReplaceAll(r.URL.RawQuery, suiteAccount, p.account)
	if err != nil || theirs == string(body) && query == r.URL.RawQuery {
		return
	}
	if r.Header.Get("Authorization") == "" {
		setBody(r, []byte(theirs)) // of nobody: there is nothing to sign
		r.URL.RawQuery = query
		return
	}
	identity, err := p.verifier.Verify(r, body)
	if err != nil {
		return
	}
	setBody(r, []byte(theirs))
	r.URL.RawQuery = query
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") || name == "Authorization" {
			delete(r.Header, name)
		}
	}
	key, _ := p.AccessKey(identity.KeyID)
	sum := sha256.Sum256([]byte(theirs))
	// The signer fails where there are no credentials, and there are.
	_ = p.signer.SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: string(key.Secret)}, r,
		hex.EncodeToString(sum[:]), identity.Service, region, time.Now())
}

func setBody(r *http.Request, body []byte) {
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) {
		if len(body) == 0 {
			return http.NoBody, nil
		}
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	r.Body, _ = r.GetBody()
}

// retrier asks again where the node says that the account makes too many
// changes a second, as SDKs do. The suite's client does not.
type retrier struct{ http.RoundTripper }

func (t retrier) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		r.Body, _ = r.GetBody()
		resp, err := t.RoundTripper.RoundTrip(r)
		if err != nil || resp.Header.Get("Retry-After") == "" || resp.StatusCode != http.StatusBadRequest {
			return resp, err
		}
		resp.Body.Close()
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(pause):
		}
	}
}

// everybody is the principal of the suite's trust policies, as it is in forms
// and in answers. A node refuses roles that other tenants can assume, so that
// the account itself takes its place.
const (
	everybody  = "%22AWS%22%3A%22%2A%22"
	ownAccount = "%22AWS%22%3A%22arn%3Aaws%3Aiam%3A%3A" + suiteAccount + "%3Aroot%22"
)

// refusal is how a node, and AWS, say that identity policies refuse. The suite
// knows one sentence for all of it, without the resource.
var refusal = regexp.MustCompile(`is not authorized to perform: (\S+) on resource: \S+ ` +
	`(?:because no identity-based policy allows the \S+ action|with an explicit deny in an identity-based policy)` +
	`(?:\. Encoded authorization failure message: [\w=+/-]+)?`)

func (p *proxy) response(r *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, mostBody))
	if err != nil {
		return err
	}
	r.Body.Close()
	p.learn(body)
	body = []byte(strings.ReplaceAll(string(body), p.account, suiteAccount))
	if p.exchange {
		body = bytes.ReplaceAll(body, []byte(ownAccount), []byte(everybody))
		body = refusal.ReplaceAll(body, []byte("is not authorized to perform: $1 because no identity-based policy allows the $1 action"))
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// learn keeps the secret of a key that the suite has had made.
func (p *proxy) learn(body []byte) {
	var made struct {
		Key struct{ AccessKeyId, SecretAccessKey string } `xml:"CreateAccessKeyResult>AccessKey"`
	}
	if xml.Unmarshal(body, &made) != nil || made.Key.AccessKeyId == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[made.Key.AccessKeyId] = made.Key.SecretAccessKey
}
