// Package client sends signed requests to a node's /v1 API.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/carrel-dev/carrel/internal/pause"
)

const (
	service = "carrel"
	// attempts is how often a request that changes nothing is tried.
	attempts = 4
	// timeout bounds one attempt, beyond what the node was asked to wait.
	timeout = 30 * time.Second
	// firstPause is before the second attempt; it doubles.
	firstPause = 200 * time.Millisecond
	// longestPause is the most that a node's Retry-After is obeyed for.
	longestPause = 5 * time.Second
	// maxReply is the most bytes of a reply.
	maxReply = 64 << 20
)

// Config says where the node is and who asks.
type Config struct {
	// Endpoint is the node's URL, such as http://127.0.0.1:9600.
	Endpoint string
	Region   string
	// AccessKeyID and SecretAccessKey sign the requests; SessionToken is
	// empty for a user's own key.
	AccessKeyID, SecretAccessKey, SessionToken string
	// CACert is a PEM file with the authorities that are trusted instead of
	// the system's; empty for those.
	CACert string
	// UserAgent names the program.
	UserAgent string
	// Pause waits between attempts; a timer if nil.
	Pause func(context.Context, time.Duration) error
}

// Client sends requests. It is safe for concurrent use.
type Client struct {
	cfg    Config
	base   *url.URL
	http   *http.Client
	signer *v4.Signer
}

// New makes a Client. It fails where the endpoint is no URL, or the CACert
// cannot be read; it does not reach for the node.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.Endpoint)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("the endpoint %q is not a URL such as http://127.0.0.1:9600", cfg.Endpoint)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CACert != "" {
		pem, err := os.ReadFile(cfg.CACert)
		if err != nil {
			return nil, fmt.Errorf("the certificates of AWS_CA_BUNDLE: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s of AWS_CA_BUNDLE holds no PEM certificate", cfg.CACert)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	if cfg.Pause == nil {
		cfg.Pause = pause.For
	}
	return &Client{cfg: cfg, base: base, signer: v4.NewSigner(), http: &http.Client{
		Transport: transport,
		// A signature is for one host: to follow elsewhere is to be led.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Request is one request to the API.
type Request struct {
	// Method is GET if empty.
	Method string
	// Path begins with /v1/; its segments are escaped where they need it.
	Path  string
	Query url.Values
	// Body is sent as JSON; nil for none.
	Body any
	// Wait is how long the node was asked to wait before it answers.
	Wait time.Duration
}

// Error is a refusal or failure that the node told of.
type Error struct {
	// Status is the HTTP status.
	Status int `json:"-"`
	// Code is the stable name to match on, Kind the sort of failure.
	Code string `json:"code"`
	Kind string `json:"kind"`
	// Message says what failed and why, Remedy what to do.
	Message   string `json:"message"`
	Remedy    string `json:"remedy,omitempty"`
	RequestID string `json:"requestId,omitempty"`

	retryAfter time.Duration
}

// Error gives message, remedy and request id.
func (e *Error) Error() string {
	text := e.Message
	if e.Remedy != "" {
		text += " " + e.Remedy
	}
	if e.RequestID != "" {
		text += " (request id " + e.RequestID + ")"
	}
	return text
}

// UnreachableError says that no answer came.
type UnreachableError struct {
	Endpoint string
	Err      error
}

// Error names the endpoint and why.
func (e *UnreachableError) Error() string {
	var wrapped *url.Error
	cause := e.Err
	if errors.As(cause, &wrapped) {
		cause = wrapped.Err
	}
	return fmt.Sprintf("%s does not answer: %v", e.Endpoint, cause)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Do sends a request and decodes the answer into a pointer, if it is not nil.
// Requests that change nothing are tried again after 429, 5xx and failures of
// the connection.
//
// The error is *Error, *UnreachableError, or that of ctx.
func (c *Client) Do(ctx context.Context, r Request, into any) error {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = json.Marshal(r.Body); err != nil {
			return err
		}
	}
	for attempt := 1; ; attempt++ {
		reply, err := c.once(ctx, r, body)
		if err == nil {
			if into == nil {
				return nil
			}
			if err := json.Unmarshal(reply, into); err != nil {
				return &UnreachableError{c.cfg.Endpoint, fmt.Errorf("its answer to %s %s is not understood (is it a Carrel node of this release?): %w", r.Method, r.Path, err)}
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := firstPause << (attempt - 1)
		var told *Error
		if errors.As(err, &told) {
			if told.Status != http.StatusTooManyRequests && told.Status < 500 || told.Status == http.StatusNotImplemented {
				return err
			}
			wait = min(max(wait, told.retryAfter), longestPause)
		}
		if r.Method != http.MethodGet || attempt == attempts {
			return err
		}
		if err := c.cfg.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, r Request, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout+r.Wait)
	defer cancel()
	target := *c.base
	target.Path = strings.TrimSuffix(target.Path, "/") + r.Path
	target.RawQuery = r.Query.Encode()
	request, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.UserAgent != "" {
		request.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	sum := sha256.Sum256(body)
	keys := aws.Credentials{AccessKeyID: c.cfg.AccessKeyID, SecretAccessKey: c.cfg.SecretAccessKey, SessionToken: c.cfg.SessionToken}
	if err := c.signer.SignHTTP(ctx, keys, request, hex.EncodeToString(sum[:]), service, c.cfg.Region, time.Now()); err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, &UnreachableError{c.cfg.Endpoint, err}
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxReply+1))
	if err == nil && len(reply) > maxReply {
		err = fmt.Errorf("its answer is over %d bytes", maxReply)
	}
	if err != nil {
		return nil, &UnreachableError{c.cfg.Endpoint, err}
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, failure(response, reply)
	}
	return reply, nil
}

// failure reads the error of an answer, also one that no node wrote, such as
// a proxy's.
func failure(response *http.Response, reply []byte) *Error {
	var e struct {
		Error *Error `json:"error"`
	}
	if json.Unmarshal(reply, &e) != nil || e.Error == nil || e.Error.Message == "" {
		e.Error = &Error{
			Code: "UnexpectedAnswer", Kind: "internal", Message: "The endpoint answered " + response.Status + ", not as a Carrel node does.",
			Remedy: "Check the endpoint.", RequestID: response.Header.Get("X-Amzn-Requestid"),
		}
	}
	e.Error.Status = response.StatusCode
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.Error.retryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	return e.Error
}

// Pages reads all parts of a list and gives the items of each.
func Pages[T any](ctx context.Context, c *Client, r Request, each func([]T) error) error {
	query := url.Values{}
	for name, values := range r.Query {
		query[name] = values
	}
	r.Query = query
	for {
		var page struct {
			Items      []T    `json:"items"`
			NextCursor string `json:"nextCursor"`
		}
		if err := c.Do(ctx, r, &page); err != nil {
			return err
		}
		if err := each(page.Items); err != nil {
			return err
		}
		if page.NextCursor == "" {
			return nil
		}
		query.Set("cursor", page.NextCursor)
	}
}
