package attack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/carrel-dev/carrel/internal/pause"
)

const (
	// maxReply is the most of an answer that is read.
	maxReply = 8 << 20
	// requestTime bounds one request.
	requestTime = 40 * time.Second
	// shortPause is between a refusal for its rate and the next attempt.
	shortPause = 100 * time.Millisecond
)

// The services of the credential scope.
const (
	lambdaAPI = "lambda"
	adminAPI  = "carrel"
	iamAPI    = "iam"
	stsAPI    = "sts"
)

// message is one HTTP request.
type message struct {
	method, path string
	body         string
	header       map[string]string
	service      string    // empty for lambda
	region       string    // empty for the node's
	at           time.Time // of the signature; zero for now
	bearer       string    // a token to send in place of a signature
	unsigned     bool
}

// answer is what the node said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) ok() bool { return a.status >= 200 && a.status <= 299 }

// String gives status and body, short.
func (a answer) String() string { return cut(fmt.Sprintf("%d %s", a.status, a.body)) }

var codes = []*regexp.Regexp{
	regexp.MustCompile(`"(?:code|__type|Type)"\s*:\s*"(\w+)"`), regexp.MustCompile(`<Code>(\w+)</Code>`),
}

// code is the error's name on which clients match.
func (a answer) code() string {
	if name := a.header.Get("X-Amzn-Errortype"); name != "" {
		return name
	}
	for _, c := range codes {
		if m := c.FindStringSubmatch(a.body); m != nil {
			return m[1]
		}
	}
	return ""
}

// brief is the status and the code.
func (a answer) brief() string { return strings.TrimSpace(fmt.Sprintf("%d %s", a.status, a.code())) }

// request makes a signed request, not yet sent.
func (r *Range) request(ctx context.Context, as *Tenant, m message) (*http.Request, error) {
	q, err := http.NewRequestWithContext(ctx, m.method, r.cfg.Endpoint+m.path, strings.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	switch {
	case m.service == adminAPI && m.body != "":
		q.Header.Set("Content-Type", "application/json")
	case m.service == iamAPI || m.service == stsAPI:
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	for name, value := range m.header {
		q.Header.Set(name, value)
	}
	if m.bearer != "" {
		q.Header.Set("Authorization", "Bearer "+m.bearer)
		return q, nil
	}
	if m.unsigned {
		return q, nil
	}
	if m.service == "" {
		m.service = lambdaAPI
	}
	if m.at.IsZero() {
		m.at = time.Now()
	}
	if m.region == "" {
		m.region = r.cfg.Region
	}
	sum := sha256.Sum256([]byte(m.body))
	keys := aws.Credentials{AccessKeyID: as.AccessKeyID, SecretAccessKey: as.SecretAccessKey, SessionToken: as.SessionToken}
	return q, v4.NewSigner().SignHTTP(ctx, keys, q, hex.EncodeToString(sum[:]), m.service, m.region, m.at)
}

// send sends a request once.
func (r *Range) send(ctx context.Context, as *Tenant, m message) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	q, err := r.request(ctx, as, m)
	if err != nil {
		return answer{}, err
	}
	resp, err := r.http.Do(q)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// call sends a request, again where the node says that there were too many. A
// connection that broke is an answer without a status.
func (r *Range) call(ctx context.Context, as *Tenant, m message) answer {
	for {
		a, err := r.send(ctx, as, m)
		if err != nil {
			return answer{body: "no answer: " + err.Error()}
		}
		if a.status != http.StatusTooManyRequests || pause.For(ctx, shortPause) != nil {
			return a
		}
	}
}

// admin calls an operation of /v1 and decodes what it answered.
func (r *Range) admin(ctx context.Context, as *Tenant, m message, into any) error {
	m.service = adminAPI
	a := r.call(ctx, as, m)
	if !a.ok() {
		return fmt.Errorf("%s %s: %s", m.method, m.path, a)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal([]byte(a.body), into)
}

// query calls an operation of IAM or STS.
func (r *Range) query(ctx context.Context, as *Tenant, service, action string, args ...string) answer {
	form := url.Values{"Action": {action}, "Version": {map[string]string{iamAPI: "2010-05-08", stsAPI: "2011-06-15"}[service]}}
	for i := 0; i+1 < len(args); i += 2 {
		form.Set(args[i], args[i+1])
	}
	return r.call(ctx, as, message{method: "POST", path: "/", body: form.Encode(), service: service})
}

// dial opens a connection of its own to the node.
func (r *Range) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.address)
	if err != nil || r.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, r.tls.Clone())
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// Wire gives a signed request as the bytes of HTTP/1.1, with further header
// lines that are not under the signature.
func Wire(q *http.Request, body string, lines ...string) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\n", q.Method, q.URL.RequestURI(), q.URL.Host)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(strings.ToLower(l), "transfer-encoding") }) {
		fmt.Fprintf(&out, "Content-Length: %d\r\n", len(body))
	}
	q.Header.Write(&out) // to memory
	for _, l := range lines {
		out.WriteString(l + "\r\n")
	}
	out.WriteString("\r\n" + body)
	return out.Bytes()
}

// Healthy is a request whose answer shows where the node saw the end of the
// one before it.
const Healthy = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// exchange sends bytes and then Healthy on a connection of their own, and
// gives everything that the node answers until it closes.
func (r *Range) exchange(ctx context.Context, request []byte) (string, error) {
	conn, err := r.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(append(slices.Clip(request), Healthy...)); err != nil {
		return "", err
	}
	out, err := io.ReadAll(io.LimitReader(conn, maxReply))
	if len(out) > 0 {
		err = nil
	}
	return string(out), err
}

var statusLine = regexp.MustCompile(`HTTP/1\.1 (\d{3}) `)

// statuses gives the status of every answer in a text, in order, but for the
// last one's if that is the answer to Healthy.
func statuses(text string) (out []string) {
	for _, m := range statusLine.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	if strings.HasSuffix(text, "\r\n\r\nok\n") {
		out = out[:len(out)-1]
	}
	return out
}
