package dial

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/carrel-dev/carrel/fault"
)

// canary is a server that nobody must reach, and counts who does: not only
// requests, but connections.
type canary struct {
	*httptest.Server
	touched atomic.Int64
	port    string
}

func newCanary(t *testing.T, host string, handler http.Handler) *canary {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("there is no %s here: %v", host, err)
	}
	if handler == nil {
		handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") })
	}
	c := &canary{Server: httptest.NewUnstartedServer(handler)}
	c.Listener.Close()
	c.Listener = l
	c.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.touched.Add(1)
		}
	}
	c.StartTLS()
	t.Cleanup(c.Close)
	_, c.port, _ = net.SplitHostPort(l.Addr().String())
	return c
}

func (c *canary) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Certificate())
	return pool
}

// names answers DNS questions, each time with the next answer of the name and
// for ever with the last one.
type names struct {
	answers map[string][]string
	asked   map[string]int
}

func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	n.asked = map[string]int{}
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := n.reply(buf[:size]); reply != nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (n *names) reply(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeSuccess, nil
	name := strings.TrimSuffix(q.Name.String(), ".")
	list := n.answers[name]
	if len(list) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	} else {
		key := fmt.Sprint(name, q.Type)
		a := netip.MustParseAddr(list[min(n.asked[key], len(list)-1)])
		n.asked[key]++
		head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: a.As4()}}}
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}}}
		}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// spellings are ways to write the machine itself, its neighbours and the
// service that gives out its credentials, as a host of a URL.
const spellings = `
127.0.0.1 127.0.0.2 127.255.255.254 127.1 127.0.1 127.0.0.1. 0 0.0.0.0 0.0 00000000 2130706433 017700000001 0x7f000001
0x7f.0x0.0x0.0x1 0177.0.0.1 0177.0.0.01 0x7f.1 127.0.0.01 127.000.000.001 127%2e0%2e0%2e1 ①②⑦.⓪.⓪.① １２７.0.0.1 127。0。0。1
localhost LOCALHOST localhost. LocalHost.LocalDomain ip6-localhost
[::1] [::] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1]
[::127.0.0.1] [::7f00:1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:7f00:1::1] [2001:0:7f00:1::80ff:fffe]
[::ffff:0:127.0.0.1] [fe80::1] [fe80::1%25lo] [::1%25lo] [fec0::1] [fc00::1] [fd00::1] [fd00:ec2::254] [ff02::1] [2001:db8::1] [100::1]
10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.100.100.200 169.254.0.1 169.254.169.254 169.254.170.2
[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] 0xa9fea9fe 2852039166 0251.0376.0251.0376 168.63.129.16 192.0.0.192 198.18.0.1 224.0.0.1
239.255.255.250 240.0.0.1 255.255.255.255 192.88.99.1
inside.test mapped.test six.test metadata.test`

// TestA41NoSpellingReachesTheMachineItself asks for a canary on this machine
// under each spelling, as a URL and as a place that a public server redirects
// to. The control is the same dialer with the canary's address allowed.
func TestA41NoSpellingReachesTheMachineItself(t *testing.T) {
	t.Parallel()
	four, six := newCanary(t, "127.0.0.1", nil), newCanary(t, "::1", nil)
	n := &names{answers: map[string][]string{
		"inside.test": {"127.0.0.1"}, "mapped.test": {"::ffff:127.0.0.1"}, "six.test": {"::1"}, "metadata.test": {"169.254.169.254"},
	}}
	d := New(Config{Resolver: n.resolver(t), Roots: four.roots()})
	d.dialer.Timeout = 200 * time.Millisecond // where an address is refused nothing waits
	all := strings.Fields(spellings)
	if len(all) < 60 {
		t.Fatalf("only %d spellings", len(all))
	}
	for _, host := range all {
		for _, port := range []string{four.port, six.port} {
			r, err := d.Get(t.Context(), Request{URL: "https://" + host + ":" + port + "/", MaxBody: 100})
			if err == nil {
				t.Errorf("%s was answered: %s", host, r.Body)
			}
			if f := fault.KindOf(err); f != fault.Unavailable && f != fault.Invalid {
				t.Errorf("%s: kind %v", host, f)
			}
		}
	}
	if a, b := four.touched.Load(), six.touched.Load(); a+b > 0 {
		t.Fatalf("the canaries were touched %d and %d times", a, b)
	}
	open := New(Config{Allow: prefixes("127.0.0.0/8"), Roots: four.roots()})
	if r, err := open.Get(t.Context(), Request{URL: four.URL, MaxBody: 100}); err != nil || string(r.Body) != "secret" || four.touched.Load() == 0 {
		t.Errorf("the control: %v", err)
	}
}

// TestA41RedirectsAreJudged has an allowed server send us to each spelling.
func TestA41RedirectsAreJudged(t *testing.T) {
	t.Parallel()
	inside := newCanary(t, "127.0.0.2", nil)
	outside := newCanary(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	}))
	d := New(Config{Allow: prefixes("127.0.0.1/32"), Roots: outside.roots(), Resolver: (&names{}).resolver(t)})
	d.dialer.Timeout = 200 * time.Millisecond
	ask := func(to string) error {
		_, err := d.Get(t.Context(), Request{URL: outside.URL + "/?to=" + url.QueryEscape(to), MaxBody: 100})
		return err
	}
	for _, host := range append(strings.Fields(spellings), "127.0.0.2") {
		if _, port, _ := net.SplitHostPort(outside.Listener.Addr().String()); port == inside.port {
			t.Skip("both have the same port")
		}
		for _, scheme := range []string{"https", "http", "ftp", "file"} {
			if ask(scheme+"://"+host+":"+inside.port+"/") == nil {
				t.Errorf("%s://%s was followed", scheme, host)
			}
		}
	}
	for _, to := range []string{"file:///etc/passwd", "http://127.0.0.1/", "gopher://127.0.0.1/", "https://user:x@127.0.0.1/", "//127.0.0.2:" + inside.port, "https:127.0.0.2"} {
		if ask(to) == nil {
			t.Errorf("%s was followed", to)
		}
	}
	if n := inside.touched.Load(); n > 0 {
		t.Errorf("the canary was touched %d times", n)
	}
}

// TestA41NamesThatChange has a name lead to a public address when it is first
// asked for, and inside from then on.
func TestA41NamesThatChange(t *testing.T) {
	t.Parallel()
	c := newCanary(t, "127.0.0.1", nil)
	n := &names{answers: map[string][]string{"turning.test": {"8.8.8.8", "127.0.0.1"}}}
	r := n.resolver(t)
	if a, err := r.LookupNetIP(t.Context(), "ip4", "turning.test"); err != nil || len(a) != 1 || a[0].String() != "8.8.8.8" {
		t.Fatalf("who looks before connecting sees %v, %v", a, err)
	}
	d := New(Config{Resolver: r, Roots: c.roots()})
	_, err := d.DialContext(t.Context(), "tcp", "turning.test:"+c.port)
	if !errors.Is(err, ErrAddress) {
		t.Errorf("connecting after it: %v", err)
	}
	if c.touched.Load() > 0 {
		t.Error("the canary was touched")
	}
}

func TestPermits(t *testing.T) {
	t.Parallel()
	none, some := New(Config{}), New(Config{Allow: prefixes("10.1.0.0/16", "fd00::/8", "169.254.0.0/16", "127.0.0.1/32")})
	for text, want := range map[string][2]bool{
		"8.8.8.8": {true, true}, "1.1.1.1": {true, true}, "2606:4700:4700::1111": {true, true}, "::ffff:8.8.8.8": {true, true},
		"10.1.2.3": {false, true}, "10.2.0.1": {false, false}, "fd12::1": {false, true}, "127.0.0.1": {false, true}, "127.0.0.2": {false, false},
		"::ffff:10.1.2.3": {false, true}, "169.254.1.1": {false, true},
		"169.254.169.254": {false, false}, "fd00:ec2::254": {false, false}, "::ffff:169.254.169.254": {false, false},
		"168.63.129.16": {false, false}, "::1": {false, false}, "::8.8.8.8": {false, false}, "64:ff9b::8.8.8.8": {false, false},
	} {
		a := netip.MustParseAddr(text)
		if got := [2]bool{none.Permits(a), some.Permits(a)}; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if none.Permits(netip.Addr{}) || some.Permits(netip.MustParseAddr("fd12::1%lo")) {
		t.Error("no address, or one with a zone, is permitted")
	}
}

// TestPermitsOnlyUnicast goes through all of IPv4 in steps, and IPv6 by its
// first byte.
func TestPermitsOnlyUnicast(t *testing.T) {
	t.Parallel()
	d := New(Config{})
	for i := range 1 << 16 {
		a := netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), 1, 1})
		if d.Permits(a) && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || !a.IsGlobalUnicast() || i>>8 >= 224 || i>>8 == 0) {
			t.Errorf("%s is permitted", a)
		}
	}
	for i := range 256 {
		a := netip.AddrFrom16([16]byte{byte(i), 0x10, 15: 1})
		if d.Permits(a) != (i>>5 == 1 && i != 0x20 || i == 0x20) {
			t.Errorf("%s is permitted: %v", a, d.Permits(a))
		}
	}
}

func TestParseAllowed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.1.2.3": "10.1.2.3/32", "10.1.0.0/16": "10.1.0.0/16", "fd00::1": "fd00::1/128",
		"0.0.0.0/0": "", "::/0": "", "10.1.2.3/16": "", "::ffff:10.1.2.3": "", "::ffff:10.0.0.0/104": "", "localhost": "", "": "", "fe80::1%lo": "",
	} {
		p, err := ParseAllowed(text)
		if (err == nil) != (want != "") || err == nil && p.String() != want {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}

// TestA43WhatIsMeantForOneHostGoesToNoOther looks at the headers that arrive
// after redirects within a host, to another one, and back.
func TestA43WhatIsMeantForOneHostGoesToNoOther(t *testing.T) {
	t.Parallel()
	var got http.Header
	last := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	other := newCanary(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if back := r.URL.Query().Get("back"); back != "" {
			http.Redirect(w, r, back, http.StatusFound)
			return
		}
		last(w, r)
	}))
	var first *canary
	first = newCanary(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/same":
			http.Redirect(w, r, "/last", http.StatusFound)
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/back":
			http.Redirect(w, r, other.URL+"/?back="+url.QueryEscape(first.URL+"/last"), http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			last(w, r)
		}
	}))
	d := New(Config{Allow: prefixes("127.0.0.1/32"), Roots: first.roots()})
	for path, keeps := range map[string]bool{"/last": true, "/same": true, "/other": false, "/back": false} {
		got = nil
		header := http.Header{"Authorization": {"Bearer x"}, "X-Api-Key": {"x"}, "Cookie": {"a=b"}}
		if _, err := d.Get(t.Context(), Request{URL: first.URL + path, Header: header, MaxBody: 100}); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		for name := range header {
			if (got.Get(name) != "") != keeps {
				t.Errorf("%s: the last server saw %s %q", path, name, got.Get(name))
			}
		}
		if got.Get("Referer") != "" {
			t.Errorf("%s: a referer was sent", path)
		}
	}
	if _, err := d.Get(t.Context(), Request{URL: first.URL + "/loop", MaxBody: 100}); err == nil {
		t.Error("a redirect without an end was followed")
	}
}

// TestBounds has servers that answer too much, too late, or without TLS.
func TestBounds(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	c := newCanary(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			fmt.Fprint(w, strings.Repeat("x", 10))
		case "/more":
			fmt.Fprint(w, strings.Repeat("x", 11))
		case "/header":
			w.Header().Set("X", strings.Repeat("x", 2*maxHeader))
		case "/late":
			<-ended
		}
	}))
	defer close(ended)
	d := New(Config{Allow: prefixes("127.0.0.1/32"), Roots: c.roots()})
	for path, fine := range map[string]bool{"/exact": true, "/more": false, "/header": false} {
		if _, err := d.Get(t.Context(), Request{URL: c.URL + path, MaxBody: 10}); (err == nil) != fine {
			t.Errorf("%s: %v", path, err)
		}
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Get(soon, Request{URL: c.URL + "/late", MaxBody: 10}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a server that does not answer: %v", err)
	}
	if _, err := New(Config{Allow: prefixes("127.0.0.1/32")}).Get(t.Context(), Request{URL: c.URL, MaxBody: 10}); err == nil {
		t.Error("a certificate of nobody known was taken")
	}
	for _, u := range []string{"http" + strings.TrimPrefix(c.URL, "https"), "", "https://", "https://u@host/", "//host/", "https:host", "HTTPS", "https://a/" + strings.Repeat("x", maxURL)} {
		if _, err := d.Get(t.Context(), Request{URL: u, MaxBody: 10}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%.40s: %v", u, err)
		}
	}
	for range MaxOpen {
		d.open <- struct{}{}
	}
	if _, err := d.Get(t.Context(), Request{URL: c.URL + "/exact", MaxBody: 10}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("one request too many: %v", err)
	}
}
