package host

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/tenant"
)

const (
	acme   tenant.AccountID = "111111111111"
	globex tenant.AccountID = "222222222222"
	region                  = "us-east-1"
)

var began = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

// world is what a Service stands on: functions, end tenants, decisions, and a
// pipeline that authorises like the real one and runs nothing.
type world struct {
	*Service
	directory *iamtest.Directory
	authority *iam.Authority
	functions map[string]*function.Target
	tenants   map[string]tenant.UID
	outcome   call.Outcome
	calls     []*call.Call // that were made
	queued    []*call.Call
	looked    []string // names that were resolved
	denied    []iam.Request
}

type current struct{}

func (current) Generation() uint64                            { return 1 }
func (current) Confirmed() time.Time                          { return time.Now() }
func (current) Status(tenant.AccountID) (tenant.Status, bool) { return tenant.Active, true }

func newWorld() *world {
	w := &world{
		directory: iamtest.NewDirectory(), functions: map[string]*function.Target{}, tenants: map[string]tenant.UID{},
		outcome: call.Outcome{Payload: []byte(`"done"`)},
	}
	w.authority = iamtest.With(current{}, w.directory)
	n := 0
	w.Service = New(Config{
		Control: w, Pipeline: w, Region: region, Now: func() time.Time { return began.Add(time.Minute) },
		NewRequestID: func() string { n++; return fmt.Sprintf("nested-%d", n) },
	})
	return w
}

func (w *world) Invoke(_ context.Context, c *call.Call) *call.Outcome {
	if _, err := w.authority.AuthoriseCall(c); err != nil {
		return &call.Outcome{Result: call.Refused, Err: err}
	}
	w.calls = append(w.calls, c)
	o := w.outcome
	return &o
}

func (w *world) Enqueue(_ context.Context, c *call.Call) error {
	_, err := w.authority.AuthoriseCall(c)
	if err == nil {
		w.queued = append(w.queued, c)
	}
	return err
}

func (w *world) Resolve(account tenant.AccountID, name function.Name, qualifier string) (*function.Target, error) {
	w.looked = append(w.looked, string(account)+"/"+string(name))
	t, found := w.functions[string(account)+"/"+string(name)]
	if !found {
		return nil, fault.New("test", fault.NotFound, "Function not found: %s", name)
	}
	return t, nil
}

func (w *world) FindEndTenant(a tenant.AccountID, id tenant.EndTenantID) (tenant.UID, bool, error) {
	uid, found := w.tenants[string(a)+"/"+string(id)]
	return uid, found, nil
}

func (w *world) NewEndTenant(_ context.Context, g iam.Grant, id tenant.EndTenantID, _ string) (tenant.UID, error) {
	uid := tenant.UID("uid-" + string(id))
	w.tenants[string(g.Request().Owner.Account)+"/"+string(id)] = uid
	return uid, nil
}

func (w *world) Authorise(_ context.Context, r iam.Request, _ string) (iam.Grant, error) {
	g, err := w.authority.Authorise(r)
	if err != nil {
		w.denied = append(w.denied, r)
	}
	return g, err
}

func (w *world) Role(t *function.Target) (Role, bool) {
	_, name, _ := strings.Cut(t.Role, "role/")
	return Role{Name: name, ID: "AROA" + name, UID: tenant.UID("role-" + name)}, name != "absent"
}

// deploy makes a function whose role has its name.
func (w *world) deploy(account tenant.AccountID, name function.Name, mode function.TenantIsolationMode) *function.Target {
	t := &function.Target{
		Account: account, AccountSlug: "slug-" + tenant.Slug(account[:1]), FunctionUID: tenant.UID("uid-" + name), Name: name, Tenancy: mode, Version: "7",
		Role: "arn:aws:iam::" + string(account) + ":role/" + string(name), Reserved: -1,
		Limits: function.Limits{Timeout: 3 * time.Second}, ARN: function.ARN(region, account, name, "7"),
	}
	w.functions[string(account)+"/"+string(name)] = t
	return t
}

// from is a call of a function by a user of its account.
func from(t *function.Target) *call.Call {
	return &call.Call{
		RequestID: "first", Attempt: 1, Trigger: call.ViaInvoke, Received: began, Target: t, Owner: tenant.Identity{Account: t.Account},
		Principal: call.Principal{Type: call.TypeUser, Account: t.Account, ARN: "arn:aws:iam::" + string(t.Account) + ":user/ada", AccessKeyID: "AKIA"},
	}
}

func request(in invocation) []byte {
	b := []byte{0, 0}
	if in.later {
		b[0] = runLater
	}
	for _, s := range []string{in.name, in.qualifier, in.endTenant} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	}
	return append(append(b, in.name+in.qualifier+in.endTenant...), in.payload...)
}

// ask has a call invoke, and gives the reply's parts.
func (w *world) ask(c *call.Call, in invocation) (what byte, version, payload string) {
	b := w.Serve(context.Background(), c, OpInvoke, request(in))
	n := int(binary.LittleEndian.Uint16(b[2:]))
	return b[0], string(b[4 : 4+n]), string(b[4+n:])
}

func (w *world) refused(t *testing.T, c *call.Call, in invocation, code string) {
	t.Helper()
	calls := len(w.calls) + len(w.queued)
	what, _, payload := w.ask(c, in)
	var r refusal
	if err := json.Unmarshal([]byte(payload), &r); what != replyRefused || err != nil || r.Code != code || r.Message == "" {
		t.Errorf("%+v: %d %s, want the code %s", in, what, payload, code)
	}
	if len(w.calls)+len(w.queued) != calls {
		t.Errorf("%+v was refused and made a call", in)
	}
}

func TestACallOfAFunctionIsItsRolesAndHasItsChain(t *testing.T) {
	w := newWorld()
	f, g := w.deploy(acme, "f", ""), w.deploy(acme, "g", "")
	c := from(f)
	if what, version, payload := w.ask(c, invocation{name: "g", payload: []byte(`{"a":1}`)}); what != replyResult || version != "7" || payload != `"done"` {
		t.Fatalf("%d %s %s", what, version, payload)
	}
	n := w.calls[0]
	session := call.Principal{
		Type: call.TypeRole, Account: acme, Tenant: "slug-1", ARN: "arn:aws:sts::111111111111:assumed-role/f/f", UserID: "AROAf:f",
		Session: &call.Session{
			ID: "first", Issuer: f.Role, IssuerUID: "role-f", Name: "f", Issued: began, Expires: began.Add(3 * time.Second),
			RequestID: "first", FunctionVersion: f.ARN,
		},
	}
	link := call.Link{Principal: c.Principal, RequestID: "first", Function: "arn:aws:lambda:us-east-1:111111111111:function:f", Owner: c.Owner}
	want := &call.Call{
		RequestID: "nested-1", Attempt: 1, Principal: session, Owner: c.Owner, Target: g, Trigger: call.ViaFunction,
		Event: []byte(`{"a":1}`), Received: began.Add(time.Minute), Chain: []call.Link{link},
	}
	if !reflect.DeepEqual(n, want) {
		t.Errorf("the call made is\n%+v\nwant\n%+v", n, want)
	}
	// The next one has both.
	h := w.deploy(acme, "h", "")
	if what, _, payload := w.ask(n, invocation{name: "h"}); what != replyResult {
		t.Fatalf("%d %s", what, payload)
	}
	m := w.calls[1]
	wantChain := []call.Link{link, {Principal: session, RequestID: "nested-1", Function: g.FunctionARN(), Owner: c.Owner}}
	if m.Target != h || !reflect.DeepEqual(m.Chain, wantChain) || m.Principal.Session.RequestID != "nested-1" || string(m.Event) != "{}" {
		t.Errorf("the third call is %+v, want the chain %+v", m, wantChain)
	}
	if len(n.Chain) != 1 || len(c.Chain) != 0 {
		t.Error("a call changed the chain of the one that made it")
	}
}

func TestRepliesSayWhatCameOfIt(t *testing.T) {
	w := newWorld()
	f := w.deploy(acme, "f", "")
	w.deploy(acme, "g", "")
	for _, test := range []struct {
		outcome call.Outcome
		what    byte
		payload string
	}{
		{call.Outcome{}, replyResult, "null"},
		{call.Outcome{Result: call.FunctionError, Payload: []byte(`{"errorType":"E"}`)}, replyFailed, `{"errorType":"E"}`},
		{call.Outcome{Result: call.TimedOut, Payload: []byte(`{"errorType":"T"}`)}, replyFailed, `{"errorType":"T"}`},
		{call.Outcome{Result: call.PlatformError}, replyRefused, `{"code":"ServiceException","message":"a call ended as platform_error without an error"}`},
		{call.Outcome{Result: call.Throttled, Err: &fault.Error{Kind: fault.Throttled, Message: "slow", Reason: "R", RetryAfter: time.Second}},
			replyRefused, `{"code":"TooManyRequestsException","message":"slow","reason":"R","retryAfterMs":1000}`},
	} {
		w.outcome = test.outcome
		if what, _, payload := w.ask(from(f), invocation{name: "g"}); what != test.what || payload != test.payload {
			t.Errorf("%v: %d %s, want %d %s", test.outcome.Result, what, payload, test.what, test.payload)
		}
	}
	if what, _, payload := w.ask(from(f), invocation{later: true, name: "g", payload: []byte("1")}); what != replyAccepted || payload != "" {
		t.Errorf("an event: %d %s", what, payload)
	}
	if len(w.queued) != 1 || w.queued[0].Trigger != call.ViaEvent || len(w.queued[0].Chain) != 1 || w.queued[0].Principal.Type != call.TypeRole {
		t.Errorf("queued: %+v", w.queued)
	}
}

func TestWhatIsRefused(t *testing.T) {
	w := newWorld()
	f := w.deploy(acme, "f", "")
	w.deploy(acme, "g", "")
	for code, tests := range map[string][]invocation{
		"InvalidParameterValueException": {
			{}, {name: "a b"}, {name: strings.Repeat("x", 300)}, {name: "g", qualifier: "a b"}, {name: "g:1", qualifier: "2"}, {name: "g", endTenant: "t"},
		},
		"ResourceNotFoundException":      {{name: "absent"}, {name: "arn:aws:lambda:eu-west-1:111111111111:function:g"}},
		"RequestTooLargeException":       {{name: "g", payload: make([]byte, maxPayload+1)}, {later: true, name: "g", payload: make([]byte, maxEvent+1)}},
		"InvalidRequestContentException": {{name: "g", payload: []byte("{")}, {later: true, name: "g", payload: []byte("\xff")}},
	} {
		for _, in := range tests {
			w.refused(t, from(f), in, code)
		}
	}
	for _, b := range [][]byte{nil, {0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 0}, {0, 1, 0, 0, 0, 0, 0, 0}, {0, 0, 9, 0, 0, 0, 0, 0, 'g'}} {
		if got := w.Serve(t.Context(), from(f), OpInvoke, b); got[0] != replyRefused {
			t.Errorf("the request %x: %q", b, got)
		}
	}
	if got := w.Serve(t.Context(), from(f), 2, request(invocation{name: "g"})); got[0] != replyRefused {
		t.Errorf("operation 2: %q", got)
	}
	w.directory.Gone = func(p *call.Principal) bool { return p.Session != nil && p.Session.IssuerUID == "" }
	for _, role := range []string{
		"arn:aws:iam::111111111111:role/absent",
		"arn:aws:iam::222222222222:role/f", // never, but what if
	} {
		f.Role, w.denied = role, nil
		w.refused(t, from(f), invocation{name: "g"}, "AccessDeniedException")
		if len(w.denied) != 1 || w.denied[0].Resource != function.ARN(region, acme, "g", "") || w.denied[0].Principal.Session.Issuer != role {
			t.Errorf("recorded is %+v", w.denied)
		}
	}
}

// TestForeignFunctionsAreNotLookedAt: who has no right in another account
// learns nothing of it, not even what is there.
func TestForeignFunctionsAreNotLookedAt(t *testing.T) {
	w := newWorld()
	f, g := w.deploy(acme, "f", ""), w.deploy(globex, "g", "")
	var said [2]string
	for i, name := range []string{"g", "absent"} {
		what, _, payload := w.ask(from(f), invocation{name: function.ARN(region, globex, function.Name(name), "")})
		if what != replyRefused || !strings.Contains(payload, "AccessDeniedException") {
			t.Errorf("a foreign function: %d %s", what, payload)
		}
		said[i] = strings.ReplaceAll(payload, ":function:"+name, "")
	}
	if said[0] != said[1] || len(w.looked) != 0 {
		t.Errorf("the answers tell what exists: %q and %q; looked at %v", said[0], said[1], w.looked)
	}
	// The twin: globex allows f's role and f's caller.
	consent := iamtest.Set(policy.Resource, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"lambda:InvokeFunction","Resource":"*"}]}`)
	for _, arn := range []string{g.ARN, g.FunctionARN()} {
		w.directory.Objects[arn] = iam.Object{Policy: consent}
	}
	if what, _, payload := w.ask(from(f), invocation{name: g.FunctionARN()}); what != replyResult {
		t.Errorf("with consent: %d %s", what, payload)
	}
}

// TestConfusedDeputy: a function does not lend its rights to a caller that
// has none, whoever of the chain lacks them.
// TestForeignEndTenantsAreNotLookedAt has a function name end tenants of
// another account that it may call for one of them only: what it is told of
// the others is the same, whether they exist or not.
func TestForeignEndTenantsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld()
	caller, open := w.deploy(acme, "caller", ""), w.deploy(globex, "open", function.PerTenant)
	w.directory.Subjects["arn:aws:sts::"+string(acme)+":assumed-role/caller/caller"] = &iam.Subject{Identity: iamtest.Set(policy.Identity,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"carrel:TenantId":["mine","slug-1"]}}}]}`)}
	w.directory.Objects[open.ARN] = iam.Object{Policy: iamtest.Set(policy.Resource,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+string(acme)+`"},"Action":"lambda:InvokeFunction","Resource":"*"}]}`)}
	w.tenants[string(globex)+"/mine"], w.tenants[string(globex)+"/there"] = "uid-mine", "uid-there"
	name := function.ARN(region, globex, "open", "7")
	if what, _, payload := w.ask(from(caller), invocation{name: name, endTenant: "mine"}); what != replyResult {
		t.Fatalf("the twin: %d %s", what, payload)
	}
	_, _, there := w.ask(from(caller), invocation{name: name, endTenant: "there"})
	_, _, absent := w.ask(from(caller), invocation{name: name, endTenant: "absent"})
	if there != absent || !strings.Contains(there, "AccessDeniedException") {
		t.Errorf("of one that exists:\n%s\nof one that does not:\n%s", there, absent)
	}
}

func TestConfusedDeputy(t *testing.T) {
	w := newWorld()
	f, g := w.deploy(acme, "f", ""), w.deploy(acme, "g", "")
	only := func(action string) *iam.Subject {
		return &iam.Subject{Identity: iamtest.Set(policy.Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"`+action+`"}]}`)}
	}
	caller := from(f).Principal.ARN
	w.directory.Subjects[caller] = only(f.FunctionARN() + "*")
	w.refused(t, from(f), invocation{name: "g"}, "AccessDeniedException")
	w.directory.Subjects[caller] = only("arn:aws:lambda:us-east-1:111111111111:function:*")
	if what, _, payload := w.ask(from(f), invocation{name: "g"}); what != replyResult {
		t.Errorf("the harmless twin, whose caller may: %d %s", what, payload)
	}
	w.directory.Subjects["arn:aws:sts::111111111111:assumed-role/f/f"] = only(f.FunctionARN() + "*")
	w.refused(t, from(f), invocation{name: "g"}, "AccessDeniedException")
	// The control: an operator let f's role speak for its callers.
	w.directory.Subjects[caller] = only(f.FunctionARN() + "*")
	gatekeeper := only(g.FunctionARN() + "*")
	gatekeeper.Gatekeeper = true
	w.directory.Subjects["arn:aws:sts::111111111111:assumed-role/f/f"] = gatekeeper
	if what, _, payload := w.ask(from(f), invocation{name: "g"}); what != replyResult {
		t.Errorf("the control, a gatekeeper: %d %s", what, payload)
	}
}

// invoking is a policy that allows the calling of functions.
func invoking(functions ...*function.Target) string {
	var arns []string
	for _, f := range functions {
		arns = append(arns, `"`+f.FunctionARN()+`"`, `"`+f.FunctionARN()+`:*"`)
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":[` + strings.Join(arns, ",") + `]}]}`
}

// TestRoleChaining: going on from role to role takes nobody's bounds away.
// Whoever of a chain lacks the right, by policies, session policy or any of
// its caps in any order, the last call is refused.
func TestRoleChaining(t *testing.T) {
	w := newWorld()
	f, g, h := w.deploy(acme, "f", ""), w.deploy(acme, "g", ""), w.deploy(acme, "h", "")
	all, notH, notG := invoking(f, g, h), invoking(f, g), invoking(f, h)
	session := func(policies, caps []string) *call.Session {
		return &call.Session{ID: "ASIA1", Issuer: "arn:aws:iam::111111111111:user/ada", Issued: began, Expires: began.Add(time.Hour), Policies: policies, Caps: caps}
	}
	const roles = "arn:aws:sts::111111111111:assumed-role/"
	for name, test := range map[string]struct {
		session *call.Session
		lacks   string // the ARN of who may not call h by its own policies
		refused bool
	}{
		"nobody lacks anything":            {session: session([]string{all}, []string{all, all})},
		"the caller":                       {lacks: "arn:aws:iam::111111111111:user/ada", refused: true},
		"the first role":                   {lacks: roles + "f/f", refused: true},
		"the second role":                  {lacks: roles + "g/g", refused: true},
		"a role that takes no part":        {lacks: roles + "h/h"},
		"the session policy":               {session: session([]string{notH}, nil), refused: true},
		"the only cap":                     {session: session(nil, []string{notH}), refused: true},
		"the first cap":                    {session: session(nil, []string{notH, all}), refused: true},
		"the last cap":                     {session: session(nil, []string{all, notH}), refused: true},
		"one cap of three":                 {session: session([]string{all}, []string{all, notH, all}), refused: true},
		"caps that have no call in common": {session: session(nil, []string{notG, notH}), refused: true},
		"the same, the other way round":    {session: session(nil, []string{notH, notG}), refused: true},
	} {
		clear(w.directory.Subjects)
		if test.lacks != "" {
			w.directory.Subjects[test.lacks] = &iam.Subject{Identity: iamtest.Set(policy.Identity, notH)}
		}
		w.calls = nil
		c := from(f)
		c.Principal.Session = test.session
		what, _, payload := w.ask(c, invocation{name: "g"})
		if what == replyResult {
			what, _, payload = w.ask(w.calls[0], invocation{name: "h"})
		}
		if refused := what == replyRefused && strings.Contains(payload, `"AccessDeniedException"`); refused != test.refused || !refused && what != replyResult {
			t.Errorf("%s: %d %s", name, what, payload)
		}
	}
}

// TestChainsOnlyShrink draws who may call what at random: what goes through a
// chain everyone in it is allowed alone, and the other way round.
func TestChainsOnlyShrink(t *testing.T) {
	random := testrounds.Rand(t)
	w := newWorld()
	functions := []*function.Target{w.deploy(acme, "f", ""), w.deploy(acme, "g", ""), w.deploy(acme, "h", "")}
	last := functions[2]
	some := func() (policy string, has bool) {
		of := []*function.Target{functions[0], functions[1]}
		if has = random.IntN(3) > 0; has {
			of = append(of, last)
		}
		return invoking(of...), has
	}
	went := map[bool]int{}
	for range testrounds.Rounds(t) {
		all := true
		for _, arn := range []string{"arn:aws:iam::111111111111:user/ada", "arn:aws:sts::111111111111:assumed-role/f/f", "arn:aws:sts::111111111111:assumed-role/g/g"} {
			text, has := some()
			w.directory.Subjects[arn] = &iam.Subject{Identity: iamtest.Set(policy.Identity, text)}
			all = all && has
		}
		c := from(functions[0])
		if random.IntN(2) == 0 {
			text, has := some()
			c.Principal.Session = &call.Session{ID: "ASIA1", Issuer: c.Principal.ARN, Issued: began, Expires: began.Add(time.Hour), Caps: []string{text}}
			all = all && has
		}
		w.calls = nil
		if what, _, payload := w.ask(c, invocation{name: "g"}); what != replyResult {
			t.Fatalf("the first step: %d %s", what, payload)
		}
		what, _, payload := w.ask(w.calls[0], invocation{name: "h"})
		if (what == replyResult) != all {
			t.Errorf("everyone is allowed: %t; the call: %d %s", all, what, payload)
		}
		went[all]++
	}
	t.Logf("%d chains went through, %d did not", went[true], went[false])
}

func TestEndTenantsStayWithTheirCalls(t *testing.T) {
	w := newWorld()
	f := w.deploy(acme, "f", function.PerTenant)
	plain := w.deploy(acme, "plain", "")
	w.deploy(acme, "g", function.PerTenant)
	w.tenants["111111111111/t1"], w.tenants["111111111111/t2"] = "uid-1", "uid-2"
	c := from(f)
	c.EndTenant, c.Owner.EndTenant = "t1", "uid-1"

	for _, named := range []string{"", "t1"} {
		if what, _, payload := w.ask(c, invocation{name: "g", endTenant: named}); what != replyResult {
			t.Fatalf("naming %q: %d %s", named, what, payload)
		}
		n := w.calls[len(w.calls)-1]
		if n.EndTenant != "t1" || n.Owner != c.Owner || n.Principal.Session.EndTenant != "t1" || n.Principal.Session.EndTenantUID != "uid-1" {
			t.Errorf("naming %q: the call is for %q, %+v, by %+v", named, n.EndTenant, n.Owner, n.Principal.Session)
		}
	}
	w.denied = nil
	w.refused(t, c, invocation{name: "g", endTenant: "t2"}, "AccessDeniedException")
	w.refused(t, c, invocation{name: "g", endTenant: "T1"}, "AccessDeniedException")
	if len(w.denied) != 2 || w.denied[0].EndTenant != "t2" || len(w.denied[0].Chain) != 1 {
		t.Errorf("recorded are the refusals %+v", w.denied)
	}
	// By way of a function that knows no tenants it stays the same one.
	if what, _, payload := w.ask(c, invocation{name: "plain"}); what != replyResult {
		t.Fatalf("a function for all: %d %s", what, payload)
	}
	through := w.calls[len(w.calls)-1]
	if through.Owner.EndTenant != "" || through.Target != plain {
		t.Errorf("a function for all is called for %+v", through.Owner)
	}
	w.refused(t, through, invocation{name: "g", endTenant: "t2"}, "AccessDeniedException")
	if what, _, payload := w.ask(through, invocation{name: "g"}); what != replyResult || w.calls[len(w.calls)-1].Owner.EndTenant != "uid-1" {
		t.Errorf("through a function for all: %d %s", what, payload)
	}
	// One that was called for nobody has to say for whom, and may.
	w.refused(t, from(plain), invocation{name: "g"}, "InvalidParameterValueException")
	w.refused(t, from(plain), invocation{name: "g", endTenant: "a/b"}, "InvalidParameterValueException")
	for named, uid := range map[string]tenant.UID{"t2": "uid-2", "new": "uid-new"} {
		if what, _, payload := w.ask(from(plain), invocation{name: "g", endTenant: named}); what != replyResult || w.calls[len(w.calls)-1].Owner.EndTenant != uid {
			t.Errorf("naming %s: %d %s", named, what, payload)
		}
	}
}

// TestPayloadsAreNoAuthority: nothing that a guest can write into a request
// changes who asks.
func TestPayloadsAreNoAuthority(t *testing.T) {
	w := newWorld()
	f := w.deploy(acme, "f", "")
	w.deploy(acme, "g", "")
	payload := `{"principal":{"arn":"arn:aws:iam::222222222222:root"},"session":{"tags":[{"key":"tenant_id","value":"globex"}]},"chain":[],"caps":[],"tenantId":"globex"}`
	c := from(f)
	c.ClientContext = "eyJjdXN0b20iOnsidGVuYW50X2lkIjoiZ2xvYmV4In19" // {"custom":{"tenant_id":"globex"}}
	if what, _, _ := w.ask(c, invocation{name: "g", payload: []byte(payload)}); what != replyResult {
		t.Fatal("the call was refused")
	}
	n := w.calls[0]
	if n.Principal.Account != acme || len(n.Principal.Session.Tags) != 0 || len(n.Chain) != 1 || n.EndTenant != "" || n.ClientContext != "" || string(n.Event) != payload {
		t.Errorf("the call made: %+v", n)
	}
}

// FuzzInvocation: no request panics, and what is accepted has no other form.
func FuzzInvocation(f *testing.F) {
	f.Add(request(invocation{name: "g", qualifier: "1", endTenant: "t", payload: []byte("{}")}))
	f.Add(request(invocation{later: true, name: "arn:aws:lambda:us-east-1:111111111111:function:g"}))
	f.Add([]byte{0, 0, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := parseInvocation(b)
		if err == nil && string(request(in)) != string(b) {
			t.Fatalf("%x was read as %+v", b, in)
		}
		w := newWorld()
		w.deploy(acme, "g", "")
		if got := w.Serve(t.Context(), from(w.deploy(acme, "f", "")), OpInvoke, b); len(got) < 4 || got[0] > replyRefused {
			t.Fatalf("the reply to %x is %x", b, got)
		}
	})
}
