//go:build linux

package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/attack"
)

// marker is a value that must not come out where it went in.
const marker = "smuggled-7f3a"

const invocations = "/2015-03-31/functions/%s/invocations"

// exchange sends bytes and then attack.Healthy on a connection of their own, and
// gives everything that the node answers until it closes.
func (w *world) exchange(t *testing.T, request []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.node.Endpoint, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(append(slices.Clip(request), attack.Healthy...)); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(conn)
	if err != nil && len(out) == 0 {
		t.Errorf("no answer: %v", err)
	}
	return string(out)
}

// statuses gives the status of every answer in a text, in order, but for the
// last one's if that is the answer to attack.Healthy.
func statuses(text string) (out []string) {
	for _, m := range statusLine.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	if strings.HasSuffix(text, "\r\n\r\nok\n") {
		out = out[:len(out)-1]
	}
	return out
}

var statusLine = regexp.MustCompile(`HTTP/1\.1 (\d{3}) `)

func TestA24SmuggledHeaders(t *testing.T) {
	t.Parallel()
	w := &shared
	w.deploy(t, w.acme, deployed{name: "a24", code: w.guest})
	w.deploy(t, w.acme, deployed{name: "a24-each", code: w.guest, each: true})
	const body = `{"do":"echo"}`
	path := fmt.Sprintf(invocations, "a24")
	plain := func() *http.Request { return w.signed(t, w.acme, message{method: "POST", path: path, body: body}) }
	each := func() *http.Request {
		return w.signed(t, w.acme, message{method: "POST", path: fmt.Sprintf(invocations, "a24-each"), body: body,
			header: map[string]string{"X-Amz-Tenant-Id": "customer-1"}})
	}
	twin := w.exchange(t, attack.Wire(each(), body))
	if !slices.Equal(statuses(twin), []string{"200"}) || !strings.Contains(twin, `"tenantId":"customer-1"`) {
		t.Fatalf("a signed end tenant does not arrive: %s", twin)
	}
	if out := w.exchange(t, attack.Wire(plain(), body)); !strings.Contains(out, `"tenantId":"acme"`) {
		t.Fatalf("an ordinary call: %s", out)
	}
	corpus := []string{
		"X-Tenant-Id: " + marker, "x-tenant-id: " + marker, "X_Tenant_Id: " + marker, "Tenant-Id: " + marker,
		"X-Amz-Tenant-Id: " + marker, "x-amz-tenant-id: " + marker, "X-AMZ-TENANT-ID: " + marker, "X_Amz_Tenant_Id: " + marker, "X.Amz.Tenant.Id: " + marker,
		"X-Amz-Tenant-Id : " + marker, "X-Amz-Tenant-Id\t: " + marker, " X-Amz-Tenant-Id: " + marker, "X-Amz-Tenant-Id:\r\n " + marker,
		"X-A: b\n" + "X-Amz-Tenant-Id: " + marker, "X-A: b\r" + "X-Amz-Tenant-Id: " + marker, "X-A: b\x00\r\nX-Amz-Tenant-Id: " + marker,
		"X-Amz-Client-Context: eyJjdXN0b20iOiJzbXVnZ2xlZCJ9", "X-Amz-Invocation-Type: Event", "X-Amz-Log-Type: Tail", "X-Amz-Source-Arn: " + marker,
		"X-Amz-Source-Account: " + marker, "X-Amzn-Requestid: " + marker, "X-Amzn-Trace-Id: Root=" + marker, "X-Amz-Security-Token: " + marker,
		"X-Forwarded-For: " + marker, "X-Forwarded-Host: " + marker, "X-Forwarded-Proto: " + marker, "X-Forwarded-User: " + marker,
		"Forwarded: for=" + marker, "X-Real-Ip: " + marker, "Via: " + marker, "X-Original-Url: /v1/tenants", "X-Rewrite-Url: /v1/tenants",
		"X-Http-Method-Override: DELETE", "X-Carrel-Tenant: " + marker, "X-Carrel-Account: " + marker, "Carrel-Tenant: " + marker,
		"Connection: x-amz-date", "Connection: authorization, host", "Connection: x-amz-tenant-id", "Connection: close, X-Amz-Content-Sha256",
		"Authorization: AWS4-HMAC-SHA256 Credential=" + marker, "Host: " + marker, "Content-Length: 0", "Content-Length: +13", "Content-Length: 13, 13",
		"Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Expect: " + marker,
		"Upgrade: h2c", "Te: trailers", "Trailer: X-Amz-Tenant-Id", "Baggage: tenant=" + marker, "Traceparent: " + marker,
		"Cookie: tenant=" + marker, "Proxy-Authorization: " + marker, "Content-Encoding: gzip",
	}
	for _, line := range corpus {
		for name, r := range map[string]*http.Request{"account": plain(), "end tenant": each()} {
			out := w.exchange(t, attack.Wire(r, body, line))
			who := map[string]string{"account": "acme", "end tenant": "customer-1"}[name]
			checkUnmoved(t, fmt.Sprintf("%s, %q", name, line), out, who)
		}
	}
}

// checkUnmoved demands one answer: a refusal, or a call for exactly who.
func checkUnmoved(t *testing.T, what, out, who string) {
	t.Helper()
	all := statuses(out)
	if len(all) != 1 && !(len(all) == 2 && all[1] == "400") {
		t.Errorf("%s: %d answers: %s", what, len(all), out)
		return
	}
	head, body, _ := strings.Cut(out, "\r\n\r\n")
	if all[0] != "200" {
		if all[0] < "400" || all[0] > "499" && all[0] != "501" { // net/http's answer to an unknown transfer encoding
			t.Errorf("%s: %s", what, out)
		}
		return
	}
	if !strings.Contains(body, `"tenantId":"`+who+`"`) || strings.Contains(body, "smuggled") || strings.Contains(head, marker) {
		t.Errorf("%s arrived: %s", what, out)
	}
}

func TestA17AlteredAndLateReplays(t *testing.T) {
	t.Parallel()
	w := &shared
	for _, name := range []string{"a17", "a17-other"} {
		w.deploy(t, w.acme, deployed{name: name, code: w.guest})
	}
	const body = `{"do":"print","text":"x"}`
	path := fmt.Sprintf(invocations, "a17")
	header := map[string]string{"X-Amz-Log-Type": "Tail"}
	captured := string(attack.Wire(w.signed(t, w.acme, message{method: "POST", path: path + "?Qualifier=%24LATEST", body: body, header: header}), body))
	for range 2 { // as on AWS, inside of its window
		if out := w.exchange(t, []byte(captured)); !slices.Equal(statuses(out), []string{"200"}) {
			t.Fatalf("the request as it was signed: %s", out)
		}
	}
	for what, change := range map[string][2]string{
		"method": {"POST /", "PUT /"}, "function": {"/a17/", "/a17-other/"}, "operation": {"/invocations", "/versions"},
		"query": {"%24LATEST", "1"}, "query added": {"%24LATEST", "%24LATEST&X=1"}, "query dropped": {"?Qualifier=%24LATEST", ""},
		"body": {`"text":"x"`, `"text":"y"`}, "log type": {"Log-Type: Tail", "Log-Type: None"}, "log type dropped": {"X-Amz-Log-Type: Tail\r\n", ""},
		"log type twice": {"X-Amz-Log-Type: Tail\r\n", "X-Amz-Log-Type: Tail\r\nX-Amz-Log-Type: None\r\n"},
		"date":           {"X-Amz-Date: 2", "X-Amz-Date: 3"}, "region": {"/us-east-1/lambda/", "/us-west-2/lambda/"}, "service": {"/us-east-1/lambda/", "/us-east-1/carrel/"},
		"key": {"Credential=" + w.acme.AccessKeyID, "Credential=" + w.globex.AccessKeyID}, "no signature": {"Authorization: ", "X-Was: "},
		"fewer signed headers": {"x-amz-date;", ""}, "host": {"Host: 127", "Host: 128"}, "header added": {"\r\nX-Amz-Date", "\r\nX-Amz-Invocation-Type: Event\r\nX-Amz-Date"},
	} {
		altered := strings.Replace(captured, change[0], change[1], 1)
		if altered == captured {
			t.Fatalf("%s: nothing was changed", what)
		}
		out := w.exchange(t, []byte(altered))
		// What is no operation at all is not there, whoever asks.
		if got := statuses(out); len(got) != 1 || got[0] != "403" && !(got[0] == "404" && what == "method") {
			t.Errorf("%s changed: %s", what, out)
		}
	}
	for _, late := range []struct {
		by   time.Duration
		want int
	}{{-4 * time.Minute, 200}, {-6 * time.Minute, 403}, {4 * time.Minute, 200}, {6 * time.Minute, 403}, {-365 * 24 * time.Hour, 403}} {
		got := w.call(t, w.acme, message{method: "POST", path: path, body: body, at: time.Now().Add(late.by)})
		if got.status != late.want {
			t.Errorf("a signature of %s from now: %d %s", late.by, got.status, got.body)
		}
	}
}

func TestA18SuspendedTenantIsRefusedSoon(t *testing.T) {
	t.Parallel()
	w := &shared
	gone := w.tenant(t, "acme-a18")
	w.deploy(t, gone, deployed{name: "f", code: w.guest})
	client := w.node.Lambda(gone)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	refused, warm := make(chan time.Time, 4), make(chan struct{}, 4)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if _, err := invoke(ctx, client, "f", `{"do":"sleep","n":20}`); err != nil {
					refused <- time.Now()
					return
				}
				if n == 3 {
					warm <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		select {
		case <-warm:
		case <-ctx.Done():
			t.Fatal("the tenant is refused before it is suspended")
		}
	}
	if _, err := w.node.CLI("tenant", "suspend", "acme-a18"); err != nil {
		t.Fatal(err)
	}
	suspended := time.Now()
	callers.Wait()
	for range 4 {
		select {
		case at := <-refused:
			if at.Sub(suspended) > 5*time.Second {
				t.Errorf("calls went on for %s", at.Sub(suspended))
			}
		default:
			t.Error("a caller was never refused")
		}
	}
	for _, m := range []message{
		{method: "GET", path: "/2015-03-31/functions"}, {method: "GET", path: "/v1/usage", service: "carrel"},
		{method: "GET", path: "/v1/functions/f/logs", service: "carrel"}, {method: "POST", path: fmt.Sprintf(invocations, "f")},
	} {
		if got := w.call(t, gone, m); got.status != 403 {
			t.Errorf("suspended, %s %s: %d %s", m.method, m.path, got.status, got.body)
		}
	}
	if _, err := w.node.CLI("tenant", "resume", "acme-a18"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "a resumed tenant is served", func() bool {
		r, err := invoke(t.Context(), client, "f", `{}`)
		return err == nil && !r.failed
	})
}

// slow is what one trickling connection is sent at first, and then piece by
// piece.
type slow struct{ first, piece string }

func TestA31SlowRequests(t *testing.T) {
	t.Parallel()
	w := &shared
	w.deploy(t, w.globex, deployed{name: "a31", code: harmless()})
	path := fmt.Sprintf(invocations, "a31")
	body := strings.Repeat(" ", 60_000) + "1"
	half := string(attack.Wire(w.signed(t, w.acme, message{method: "POST", path: path, body: body}), body))
	half = half[:strings.Index(half, "\r\n\r\n")+10]
	kinds := []slow{
		{"POST " + path + " HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n"}, {"GET / HT", ""}, {"", ""}, {half, " "},
	}
	address := strings.TrimPrefix(w.node.Endpoint, "http://")
	before := w.memory(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan slow, 200)
	var trickling sync.WaitGroup
	for n := range 200 {
		trickling.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if kinds[n%len(kinds)].trickle(ctx, conn) {
				ended <- kinds[n%len(kinds)]
			}
		})
	}
	client := w.node.Lambda(w.globex)
	var worst time.Duration
	for range 100 {
		r, err := invoke(t.Context(), client, "a31", "1")
		if err != nil || r.failed {
			t.Fatalf("a healthy client beside them: %v %s", err, r.payload)
		}
		worst = max(worst, r.took)
	}
	if worst > 5*time.Second {
		t.Errorf("a healthy call took %s", worst)
	}
	if grown := w.memory(t) - before; grown > 512<<20 {
		t.Errorf("the node grew by %d bytes", grown)
	}
	// The three kinds that send no whole header are closed by the node.
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for n := range 150 {
		select {
		case <-ended:
		case <-deadline.C:
			t.Fatalf("only %d of 150 connections without a header were closed", n)
		}
	}
	stop()
	trickling.Wait()
	t.Logf("slowest of 100 healthy calls: %s", worst)
}

// trickle sends a piece every half second and tells whether the node ended
// the connection.
func (s slow) trickle(ctx context.Context, conn net.Conn) bool {
	io.WriteString(conn, s.first)
	gone := make(chan bool, 1)
	go func() {
		io.Copy(io.Discard, conn)
		gone <- true
	}()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			io.WriteString(conn, s.piece) // the reader notices the end
		case <-gone:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

func TestA34RequestBombs(t *testing.T) {
	t.Parallel()
	w := &shared
	w.deploy(t, w.acme, deployed{name: "a34", code: harmless()})
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	before := w.memory(t)
	for name, m := range map[string]message{
		"deep object of control":   {method: "PUT", path: "/2015-03-31/functions/a34/configuration", body: `{"Environment":` + strings.Repeat(`{"Variables":`, 150_000) + `1` + strings.Repeat("}", 150_001)},
		"deep unknown member":      {method: "PUT", path: "/2015-03-31/functions/a34/configuration", body: `{"x":` + nested(400_000) + `}`},
		"unclosed":                 {method: "PUT", path: "/2015-03-31/functions/a34/configuration", body: strings.Repeat(`{"a":[`, 150_000)},
		"two values for one name":  {method: "POST", path: "/2015-03-31/functions", body: `{"FunctionName":"a34-x","FunctionName":"a34-y","Role":"` + w.acme.Role() + `"}`},
		"deep admin body":          {method: "POST", path: "/v1/tenants", service: "carrel", body: `{"tenantId":` + nested(400_000) + `}`},
		"compressed":               {method: "POST", path: fmt.Sprintf(invocations, "a34"), body: "\x1f\x8b", header: map[string]string{"Content-Encoding": "gzip"}},
		"compressed by zstd":       {method: "POST", path: "/2015-03-31/functions", body: "\x28\xb5", header: map[string]string{"Content-Encoding": "zstd"}},
		"event over the limit":     {method: "POST", path: fmt.Sprintf(invocations, "a34"), body: `"` + strings.Repeat("x", 6_291_456) + `"`},
		"unclosed event":           {method: "POST", path: fmt.Sprintf(invocations, "a34"), body: strings.Repeat("[", 3_000_000)},
		"too many tags":            {method: "POST", path: "/2015-03-31/functions", body: `{"Tags":{` + manyTags(20_000) + `}}`},
		"a number of a million":    {method: "PUT", path: "/2015-03-31/functions/a34/configuration", body: `{"Timeout":` + strings.Repeat("9", 900_000) + `}`},
		"a code that is no base64": {method: "POST", path: "/2015-03-31/functions", body: `{"Code":{"ZipFile":"` + strings.Repeat("=", 1<<20) + `"}}`},
	} {
		began := time.Now()
		got := w.call(t, w.acme, m)
		if got.status < 400 || got.status > 499 && got.status != 502 { // InvalidZipFileException is a 502
			t.Errorf("%s: %d %.200s", name, got.status, got.body)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
	// A deep event is data: it may be refused, and may not hurt.
	if got := w.call(t, w.acme, message{method: "POST", path: fmt.Sprintf(invocations, "a34"), body: nested(3_000_000)}); got.status >= 500 {
		t.Errorf("a deep event: %d %.200s", got.status, got.body)
	}
	if grown := w.memory(t) - before; grown > 512<<20 {
		t.Errorf("the node grew by %d bytes", grown)
	}
	if got := w.call(t, w.acme, message{method: "POST", path: fmt.Sprintf(invocations, "a34"), body: nested(50)}); got.status != 200 {
		t.Errorf("an ordinary event: %d %s", got.status, got.body)
	}
	if got := w.call(t, w.acme, message{method: "PUT", path: "/2015-03-31/functions/a34/configuration", body: `{"Timeout":4}`}); got.status != 200 {
		t.Errorf("an ordinary update: %d %s", got.status, got.body)
	}
}

func manyTags(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	return strings.Join(list, ",")
}

func TestA88Burst(t *testing.T) {
	t.Parallel()
	w := &shared
	loud := w.tenant(t, "acme-a88")
	w.deploy(t, loud, deployed{name: "f", code: harmless()})
	w.deploy(t, w.globex, deployed{name: "a88", code: harmless()})
	var mu sync.Mutex
	count := map[int]int{}
	var bad []string
	var callers sync.WaitGroup
	for range 40 {
		callers.Go(func() {
			for range 40 {
				got := w.call(t, loud, message{method: "POST", path: fmt.Sprintf(invocations, "f"), body: "1"})
				mu.Lock()
				count[got.status]++
				var e struct{ Reason string }
				if got.status == 429 && (got.header.Get("Retry-After") == "" || json.Unmarshal([]byte(got.body), &e) != nil || e.Reason == "") {
					bad = append(bad, got.body)
				}
				mu.Unlock()
			}
		})
	}
	client := w.node.Lambda(w.globex)
	for range 50 {
		if r, err := invoke(t.Context(), client, "a88", "1"); err != nil || r.failed {
			t.Fatalf("globex beside a burst of acme: %v %s", err, r.payload)
		}
	}
	callers.Wait()
	if count[200] == 0 || count[429] == 0 || count[200]+count[429] != 1600 || len(bad) > 0 {
		t.Errorf("answers by status: %v; refusals without reason or time: %.3q", count, bad)
	}
	t.Logf("acme: %v", count)
}
