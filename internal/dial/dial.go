// Package dial makes the node's own connections to the outside: to identity
// providers, and to whatever else a tenant names and the node then asks.
//
// Who can make a node connect somewhere can use the node's place in the
// network: its loopback, its neighbours, the service that hands out a
// machine's credentials. So every connection is judged by the address that the
// socket is about to connect to, after all names were resolved; however that
// address was spelled, and whatever a resolver says the second time, does not
// matter. Public addresses are permitted and the rest is refused, but for what
// the operator allows (config.Config.DialAllow).
//
// A prefix that a network translates into IPv4 by its own choice (RFC 6052)
// cannot be told from other public addresses: such a network has to refuse it
// itself.
package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel/fault"
)

// The bounds of a request.
const (
	// Timeout is how long a request takes at most, its redirects and the
	// reading of its answer included.
	Timeout = 10 * time.Second
	// MaxRedirects is how many redirects are followed.
	MaxRedirects = 3
	// MaxOpen is how many requests are open at one time.
	MaxOpen = 32

	connectTimeout = 3 * time.Second
	headerTimeout  = 5 * time.Second
	maxHeader      = 32 << 10 // bytes
	maxURL         = 2 << 10  // bytes
)

// Config says what a Dialer may reach.
type Config struct {
	// Allow are addresses that are reached though they are not public ones.
	// What hands out a machine's credentials cannot be allowed.
	Allow []netip.Prefix
	// Roots are the certificate authorities; those of the system if nil.
	Roots *x509.CertPool
	// Resolver resolves names; the system's if nil.
	Resolver *net.Resolver
}

// Dialer makes checked connections, and requests over them. It is safe for
// concurrent use.
type Dialer struct {
	allow  []netip.Prefix
	dialer net.Dialer
	client http.Client
	open   chan struct{}
}

// New makes a Dialer. No setting of the environment has a part in it: a proxy
// would connect where we cannot look.
func New(cfg Config) *Dialer {
	d := &Dialer{allow: slices.Clone(cfg.Allow), open: make(chan struct{}, MaxOpen)}
	d.dialer = net.Dialer{Timeout: connectTimeout, Resolver: cfg.Resolver, ControlContext: d.control}
	d.client = http.Client{
		Timeout: Timeout, CheckRedirect: redirect,
		Transport: &http.Transport{
			DialContext:     d.DialContext,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots},
			// A connection that is kept is not judged again.
			DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: connectTimeout, ResponseHeaderTimeout: headerTimeout, MaxResponseHeaderBytes: maxHeader,
		},
	}
	return d
}

// ErrAddress is in the chain of the error where an address was refused.
var ErrAddress = errors.New("dial: the address is not one that this node connects to")

// control judges an address between the making of the socket and its
// connecting: nothing can change it any more.
func (d *Dialer) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || !d.Permits(at.Addr()) {
		return ErrAddress
	}
	return nil
}

// DialContext connects to HOST:PORT over TCP. The error has ErrAddress in its
// chain where every address of the host that answered to was refused.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, ErrAddress
	}
	return d.dialer.DialContext(ctx, network, address)
}

// Request is one that the node sends.
type Request struct {
	// URL begins with https:// and has no user or password in it.
	URL string
	// Header goes to the host of the URL, and to no other that it redirects to.
	Header http.Header
	// MaxBody is the most that is read of the answer, in bytes; one that is
	// longer is an error.
	MaxBody int64
}

// Response is the answer to a Request.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

const opGet = "dial.Get"

// Get sends a GET request over TLS and gives the answer, whatever its status.
//
// Errors: fault.Invalid for a URL that is not one of a public HTTPS server;
// fault.Unavailable for everything that happens on the way. None says what was
// found at an address: the text may reach whoever named it.
func (d *Dialer) Get(ctx context.Context, r Request) (*Response, error) {
	u, err := url.Parse(r.URL)
	if err != nil || len(r.URL) > maxURL || checkURL(u) != nil {
		return nil, fault.New(opGet, fault.Invalid, "The URL is not one that this node asks: it begins with https:// and names a host and no user.")
	}
	select {
	case d.open <- struct{}{}:
		defer func() { <-d.open }()
	default:
		return nil, fault.New(opGet, fault.Unavailable, "This node has %d requests to other servers open, which is its bound.", MaxOpen).
			WithRemedy("Try again later.")
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fault.Wrap(opGet, fault.Invalid, err, "The URL is not one of an HTTPS server.")
	}
	request.Header = r.Header.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", userAgent)
	}
	return d.do(request, r.MaxBody)
}

const userAgent = "carrel"

func (d *Dialer) do(request *http.Request, most int64) (*Response, error) {
	answer, err := d.client.Do(request)
	if err != nil {
		return nil, unreachable(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err != nil {
		return nil, unreachable(err)
	}
	if int64(len(body)) > most {
		return nil, fault.New(opGet, fault.Unavailable, "The server answered with more than %d bytes.", most)
	}
	return &Response{Status: answer.StatusCode, Header: answer.Header, Body: body}, nil
}

// unreachable is one text for all that can go wrong: differences would tell
// whoever named the host which ports answer at it.
func unreachable(err error) error {
	return fault.Wrap(opGet, fault.Unavailable, err, "The server could not be asked over HTTPS, or not in time, or is at an address that this node does not connect to.").
		WithRemedy("It needs a public address and a valid certificate; an operator can allow other addresses with --dial-allow.")
}

var errURL = errors.New("dial: the URL is not one of an HTTPS server")

func checkURL(u *url.URL) error {
	if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.Contains(u.Host, "%") {
		return errURL
	}
	return nil
}

// redirect judges where a server sends us. The connection is judged as any;
// here it is about the form of the URL, and that what was meant for one host
// does not go to another.
func redirect(next *http.Request, before []*http.Request) error {
	if len(before) > MaxRedirects || len(next.URL.String()) > maxURL {
		return errURL
	}
	if err := checkURL(next.URL); err != nil {
		return err
	}
	next.Header.Del("Referer") // a path may be a secret
	for _, earlier := range append(before[1:len(before):len(before)], next) {
		if !strings.EqualFold(earlier.URL.Host, before[0].URL.Host) {
			next.Header = http.Header{"User-Agent": {userAgent}}
		}
	}
	return nil
}
