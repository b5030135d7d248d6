package attack

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/internal/pause"
	"github.com/carrel-dev/carrel/wasm"
	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

// callers are the attacks with credentials, and by functions that call.
func callers() []Attack {
	return []Attack{
		{ID: "A18", Title: "a suspended tenant that goes on", Defence: "the tenant's status, looked at with each request", run: suspended},
		{ID: "A19", Title: "a token for one API given to another, and altered tokens", Defence: "tokens name their API, and are authenticated", run: tokens},
		{ID: "A20", Title: "a function that calls what its owner may not reach", Defence: "everyone in the chain of calls is asked", run: deputy},
		{ID: "A24", Title: "headers that speak for a proxy or for another tenant", Defence: "headers are deleted at the door, and x-amz-* ones have to be signed", run: smuggled},
		{ID: "A46", Title: "sockets from inside of a function", Defence: "functions have no sockets", run: sockets},
		{ID: "A67", Title: "forks, threads and system calls by an import", Defence: "only the platform's own functions can be imported", run: imports},
		{ID: "A88", Title: "a burst of calls", Defence: "the plan's rate", run: burst, alone: true},
		{ID: "A94", Title: "a flood of log", Defence: "256 KiB of log for each call", run: logFlood},
		{ID: "A111", Title: "a function that calls itself for ever", Defence: "chains of calls that come back are refused", run: loop},
	}
}

func suspended(ctx context.Context, t *try) error {
	spare, err := t.spare(ctx)
	if err != nil {
		return err
	}
	requests := []message{
		{method: "GET", path: "/2015-03-31/functions"}, {method: "GET", path: "/v1/usage", service: adminAPI}, {method: "GET", path: "/v1/audit", service: adminAPI},
	}
	for _, m := range requests {
		a := t.call(ctx, spare, m)
		t.twin(a.ok(), "before it is suspended, %s: %s", m.path, a)
	}
	if err := t.admin(ctx, t.Operator, message{method: "POST", path: "/v1/tenants/" + spare.Slug + "/suspend"}, nil); err != nil {
		return err
	}
	for _, m := range requests {
		t.refused("suspended, "+m.path, t.call(ctx, spare, m))
	}
	return nil
}

func tokens(ctx context.Context, t *try) error {
	var made struct{ Token string }
	scope := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	err := t.admin(ctx, t.A, message{method: "POST", path: "/v1/tokens", body: `{"audience":"lambda","scope":` + quote(scope) + `}`}, &made)
	if err != nil {
		return err
	}
	list := message{method: "GET", path: "/2015-03-31/functions", bearer: made.Token}
	a := t.call(ctx, t.A, list)
	t.twin(a.ok(), "the token for the API it is for: %s", a)
	for _, path := range []string{"/v1/plans", "/v1/usage", "/v1/audit"} {
		t.refused("a token of another API, "+path, t.call(ctx, t.A, message{method: "GET", path: path, service: adminAPI, bearer: made.Token}))
	}
	for i := 0; i < len(made.Token); i += 1 + len(made.Token)/40 {
		other := byte('A')
		if made.Token[i] == other {
			other = 'B'
		}
		list.bearer = made.Token[:i] + string(other) + made.Token[i+1:]
		t.refused(fmt.Sprintf("the token with byte %d changed", i), t.call(ctx, t.A, list))
	}
	for _, forged := range []string{"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "x", made.Token + "A", made.Token[:len(made.Token)-1]} {
		list.bearer = forged
		t.refused("a forged token", t.call(ctx, t.A, list))
	}
	return nil
}

// asking is a probe that has the platform call a function.
func asking(name string) *probe {
	head := make([]byte, 8)
	binary.LittleEndian.PutUint16(head[2:], uint16(len(name)))
	p := &probe{}
	at, n := p.str(string(head) + name + command(doEcho, ""))
	p.call("call", 1, at, n)
	p.call("reply", roomAt, roomEnd-roomAt)
	return p
}

// refusedReply is the first byte of the reply of a call that was not made.
const refusedReply = 3

func (t *try) mayInvoke(ctx context.Context, as *Tenant) error {
	_, role, _ := strings.Cut(as.Role, "/")
	a := t.query(ctx, as, iamAPI, "PutRolePolicy", "RoleName", role, "PolicyName", "invoke",
		"PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"}]}`)
	if !a.ok() {
		return fmt.Errorf("PutRolePolicy: %s", a)
	}
	return nil
}

func deputy(ctx context.Context, t *try) error {
	if err := t.mayInvoke(ctx, t.A); err != nil {
		return err
	}
	got, err := t.run(ctx, "own", asking(tool))
	t.twin(err == nil && got.room()[0] == 0, "calling a function of its own: %v", err)
	for i, form := range []string{"arn:aws:lambda:%s:%s:function:" + tool, "arn:aws:lambda:%s:%s:function:absent", "%[2]s:function:" + tool} {
		name := fmt.Sprintf(form, t.cfg.Region, t.B.Account)
		name, _, _ = strings.Cut(name, "%!")
		got, err := t.run(ctx, fmt.Sprint("theirs", i), asking(name))
		if err != nil {
			return err
		}
		t.holds(got.room()[0] == refusedReply, "the call was refused", "a call of %s: %q", name, cut(string(got.room()[:200])))
	}
	return nil
}

func loop(ctx context.Context, t *try) error {
	if err := t.mayInvoke(ctx, t.A); err != nil {
		return err
	}
	got, err := t.run(ctx, "twin", asking(tool))
	t.twin(err == nil && got.room()[0] == 0, "calling another function: %v", err)
	got, err = t.run(ctx, "self", asking(t.id+"-self"))
	if err != nil {
		return err
	}
	t.holds(got.room()[0] == refusedReply, "the loop was refused", "it called itself: %q", cut(string(got.room()[:200])))
	return nil
}

// marker is a value that must not come out where it went in.
const marker = "smuggled-7f3a"

func smuggled(ctx context.Context, t *try) error {
	body := command(doEcho, "")
	send := func(lines ...string) (string, error) {
		q, err := t.request(ctx, t.A, invocation(tool, body))
		if err != nil {
			return "", err
		}
		return t.exchange(ctx, Wire(q, body, lines...))
	}
	out, err := send()
	t.twin(err == nil && strings.Contains(out, `"tenantId":"`+t.A.Slug+`"`), "a call without further headers: %v %s", err, cut(out))
	for _, line := range []string{
		"X-Tenant-Id: " + marker, "X_Tenant_Id: " + marker, "X-Amz-Tenant-Id: " + marker, "X-AMZ-TENANT-ID: " + marker, "X_Amz_Tenant_Id: " + marker,
		"X-Amz-Tenant-Id : " + marker, " X-Amz-Tenant-Id: " + marker, "X-Amz-Tenant-Id:\r\n " + marker, "X-A: b\n" + "X-Amz-Tenant-Id: " + marker,
		"X-A: b\x00\r\nX-Amz-Tenant-Id: " + marker, "X-Amz-Client-Context: eyJjdXN0b20iOiJzbXVnZ2xlZCJ9", "X-Amz-Source-Account: " + marker, "X-Amz-Security-Token: " + marker,
		"X-Forwarded-For: " + marker, "X-Forwarded-Host: " + marker, "Forwarded: for=" + marker, "X-Real-Ip: " + marker, "X-Original-Url: /v1/tenants",
		"X-Http-Method-Override: DELETE", "X-Carrel-Tenant: " + marker, "Connection: x-amz-date", "Connection: authorization, host",
		"Authorization: AWS4-HMAC-SHA256 Credential=" + marker, "Host: " + marker, "Content-Length: 0", "Content-Length: +13", "Transfer-Encoding: chunked",
		"Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Baggage: tenant=" + marker, "Cookie: tenant=" + marker,
	} {
		out, err := send(line)
		all := statuses(out)
		one := len(all) == 1 || len(all) == 2 && all[1] == "400"
		served := one && all[0] == "200" && strings.Contains(out, `"tenantId":"`+t.A.Slug+`"`) && !strings.Contains(out, "smuggled")
		refused := one && (all[0] >= "400" && all[0] <= "499" || all[0] == "501")
		t.holds(err == nil && (served || refused), map[bool]string{true: "dropped", false: "refused"}[served], "%q: %v %s", line, err, cut(out))
	}
	return nil
}

func sockets(ctx context.Context, t *try) error {
	p := &probe{}
	good := p.call("random_get", roomAt, 8)
	for _, fd := range []int{0, 1, 2, 3, 4, 10, 31, -1} {
		p.named(fmt.Sprintf("accept on %d", fd), "sock_accept", fd, 0, roomAt)
		p.named(fmt.Sprintf("receive from %d", fd), "sock_recv", fd, 0, 0, 0, roomAt, roomAt+8)
		p.named(fmt.Sprintf("send to %d", fd), "sock_send", fd, 0, 0, 0, roomAt)
		p.named(fmt.Sprintf("shut down %d", fd), "sock_shutdown", fd, 3)
	}
	got, err := t.run(ctx, "", p)
	if err != nil {
		return err
	}
	for i, what := range p.calls {
		if r := got.result(i); i == good {
			t.twin(r == 0, "random bytes: errno %d", r)
		} else {
			t.holds(r != 0, fmt.Sprintf("errno %d", r), "%s worked", what)
		}
	}
	return nil
}

func imports(ctx context.Context, t *try) error {
	importing := func(module, name string) []byte {
		b := wasmtest.New()
		b.Import(module, name, typesOf("iiii"), wasmtest.Types(wasm.I32))
		b.Memory(1, 1)
		b.Func("handle", nil, wasmtest.Types(wasm.I32), func(c *wasmtest.Code) { c.I32Const(0) })
		return b.Bytes()
	}
	for i, f := range [][2]string{
		{"env", "fork"}, {"env", "syscall"}, {"env", "fd_write"}, {"wasi_unstable", "fd_write"}, {wasi, "sock_open"}, {wasi, "proc_fork"}, {wasi, "fd_write "},
		{"wasi_snapshot_preview2", "fd_write"}, {"wasix_32v1", "proc_exec"}, {"wasi", "thread-spawn"}, {carrel, "exec"}, {"carrel_v2", "context"}, {"", ""},
		{carrel, "context"}, {wasi, "random_get"}, // these exist, with other signatures
	} {
		t.notBuilt(ctx, fmt.Sprint("import", i), importing(f[0], f[1]))
	}
	f, err := t.own(ctx, t.A, function{name: "plain", code: importing(wasi, "fd_write")})
	if err != nil {
		t.twin(false, "%v", err)
		return nil
	}
	o := t.invoke(ctx, t.A, f, "1")
	t.twin(o.good(), "an import that there is: %s", o)
	return nil
}

func burst(ctx context.Context, t *try) error {
	var mu sync.Mutex
	count := map[int]int{}
	var busy sync.WaitGroup
	for range 20 {
		busy.Go(func() {
			for range 25 {
				a, err := t.send(ctx, t.A, invocation(tool, command(doEcho, "")))
				var e struct{ Reason string }
				said := a.header.Get("Retry-After") != "" && json.Unmarshal([]byte(a.body), &e) == nil && e.Reason != ""
				mu.Lock()
				count[a.status]++
				mu.Unlock()
				if err != nil || a.status != http.StatusOK && (a.status != http.StatusTooManyRequests || !said) {
					t.breach("a call of the burst: %v %s", err, a)
				} else if a.status == http.StatusTooManyRequests {
					t.stopped("429 " + e.Reason)
				}
			}
		})
	}
	for range 20 {
		t.works(ctx, t.B, tool)
	}
	busy.Wait()
	if count[http.StatusTooManyRequests] == 0 {
		t.breach("500 calls at once were all served: %v", count)
	}
	return pause.For(ctx, time.Second) // until there is room for others again
}

func logFlood(ctx context.Context, t *try) error {
	f, err := t.own(ctx, t.A, function{code: toolModule()})
	if err != nil {
		return err
	}
	if o := t.invoke(ctx, t.A, f, command(doFlood, "")); !o.good() {
		return fmt.Errorf("printing: %s", o)
	}
	log, seen := t.logged(ctx, t.A, f, "AAAA")
	t.twin(seen, "the beginning is in the log: %s", cut(log))
	printed := strings.Count(log, "A")
	t.holds(printed <= 300<<10, fmt.Sprintf("%d of 1,048,576 bytes kept", printed), "%d bytes of one call are in the log", printed)
	t.works(ctx, t.A, f)
	return nil
}
