package attack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// names are the attacks on names and on what is stored under them.
func names() []Attack {
	const grammar = "the grammar of names, which refuses and never changes one"
	return []Attack{
		{ID: "A01", Title: "wildcards and separators of the store in names", Defence: grammar, run: odd("wildcards and separators", "markup")},
		{ID: "A02", Title: "a name that begins with another's", Defence: "storage keys of random ids, and policies", run: prefixNames},
		{ID: "A03", Title: "names that are paths, in many encodings", Defence: grammar, run: odd("paths")},
		{ID: "A04", Title: "names in other alphabets, with invisible and malformed characters", Defence: grammar, run: odd("Unicode")},
		{ID: "A05", Title: "names that differ by case only", Defence: grammar + ", and one spelling for each end tenant", run: caseTwins},
		{ID: "A06", Title: "a deleted name registered again, to inherit", Defence: "names that are never given out again, and a random id for each function", run: registerAgain},
		{ID: "A07", Title: "another tenant's ids in path, query, body and cursor", Defence: "authorisation by the stored owner, before anything of it is looked at", run: foreign},
	}
}

// oddNames are names that somebody takes for another name, or that mean
// something to a store, a file system or a URL. NAME is the attacker's own.
var oddNames = map[string][]string{
	"wildcards and separators": {"*", ">", ".", "a.b", "NAME.*", "NAME.>", "$SYS", "$JS.API", "_INBOX.x", "a*", "a b", "a,b", "a/b", `a\b`, "a;b", "a&b", "a=b", "a%b"},
	"paths":                    {"..", "../NAME", "../../etc/passwd", "/etc/passwd", `C:\x`, `..\NAME`, "%2e%2e", "%2e%2e%2fNAME", "%252e%252e", "NAME/.", "NAME/..", "./NAME", "NAME\x00", "\x00", "NAME%00"},
	"Unicode":                  {"NAMEé", "NAME\u0301", "а" /* Cyrillic */ + "NAME", "NAME\u200b", "\u202eNAME", "NAME\u00ad", "ａｃｍｅ", "NAMEİ", "NAMEı", "NAME\ufeff", "\xc0\xafNAME", "NAME\xff", "ﬁNAME"},
	"case and form":            {"UPPER", "Title", "-NAME", "NAME-", "1NAME", "NAME_", "NAME ", " NAME", "NAME\n", "NAME\r\n", "NAME\t", ""},
	"markup":                   {"<script>", `"NAME"`, "'NAME'", "${tenant_id}", "{{NAME}}", "NAME\x1b[31m", `NAME","x":"y`, strings.Repeat("a", 4_000)},
}

func (t *try) odd(kinds ...string) (all []string) {
	own := t.A.Slug
	for _, kind := range kinds {
		for _, n := range oddNames[kind] {
			n = strings.NewReplacer("NAME", own, "UPPER", strings.ToUpper(own), "Title", strings.ToUpper(own[:1])+own[1:]).Replace(n)
			all = append(all, n)
		}
	}
	return all
}

func odd(kinds ...string) func(context.Context, *try) error {
	return func(ctx context.Context, t *try) error {
		t.oddTenants(ctx, t.odd(kinds...))
		return t.oddFunctions(ctx, t.odd(kinds...))
	}
}

// segment tells whether a client sends a name in a path as it is.
func segment(name string) bool { return strings.Trim(name, "./") != "" }

// oddTenants tries odd names where the operator names a tenant.
func (t *try) oddTenants(ctx context.Context, names []string) {
	for _, name := range names {
		a := t.call(ctx, t.Operator, message{method: "POST", path: "/v1/tenants", service: adminAPI, body: `{"tenantId":` + quote(name) + `}`})
		if !t.refused(fmt.Sprintf("a tenant %q", name), a) {
			t.mu.Lock()
			t.opened[name] = true
			t.mu.Unlock()
		}
		if !segment(name) {
			continue
		}
		for _, m := range []message{{method: "GET"}, {method: "DELETE"}, {method: "POST", path: "/suspend"}} {
			m.path, m.service = "/v1/tenants/"+url.PathEscape(name)+m.path, adminAPI
			t.refused(fmt.Sprintf("%s of tenant %q", m.method, name), t.call(ctx, t.Operator, m))
		}
	}
	for _, one := range []*Tenant{t.A, t.B} {
		a := t.call(ctx, t.Operator, message{method: "GET", path: "/v1/tenants/" + one.Slug, service: adminAPI})
		t.twin(a.ok() && strings.Contains(a.body, `"active"`), "the tenant %s after all that: %s", one.Slug, a)
	}
}

var lambdaName = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`)

// oddFunctions tries odd names where a tenant names functions, aliases,
// versions and cursors.
func (t *try) oddFunctions(ctx context.Context, names []string) error {
	own, err := t.own(ctx, t.A, function{name: "plain", code: harmless()})
	if err != nil {
		return err
	}
	theirs, err := t.own(ctx, t.B, function{name: "theirs", code: harmless()})
	if err != nil {
		return err
	}
	for _, name := range names {
		if lambdaName.MatchString(name) {
			continue
		}
		for _, m := range t.naming(own, name) {
			if m.body == "" && !segment(name) {
				continue // another path, or no value at all
			}
			a := t.call(ctx, t.A, m)
			harmless := a.status >= 400 && a.status <= 499 || a.ok() && m.method == "GET"
			t.holds(harmless && !strings.Contains(a.body, theirs), a.brief(), "%s %s with the name %q: %s", m.method, m.path, name, a)
		}
	}
	a := t.call(ctx, t.A, message{method: "GET", path: onFunction(own)})
	t.twin(a.ok() && strings.Contains(a.body, own), "the function with an ordinary name: %s", a)
	return nil
}

// naming are requests with a name in every place that takes one.
func (t *try) naming(own, name string) []message {
	path, query := url.PathEscape(name), url.QueryEscape(name)
	return []message{
		{method: "POST", path: "/2015-03-31/functions", body: fmt.Sprintf(`{"FunctionName":%s,"Role":%s,"Runtime":"wasm","Handler":"handle","Code":{"ZipFile":""}}`, quote(name), quote(t.A.Role))},
		{method: "POST", path: "/2015-03-31/functions/" + path + "/invocations"},
		{method: "DELETE", path: "/2015-03-31/functions/" + path},
		{method: "GET", path: "/2015-03-31/functions/" + path + "/configuration"},
		{method: "GET", path: onFunction(own) + "/aliases/" + path},
		{method: "POST", path: onFunction(own) + "/aliases", body: `{"Name":` + quote(name) + `,"FunctionVersion":"$LATEST"}`},
		{method: "GET", path: onFunction(own) + "?Qualifier=" + query},
		{method: "GET", path: "/v1/functions/" + path + "/logs", service: adminAPI},
		{method: "GET", path: "/v1/events?cursor=" + query, service: adminAPI},
		{method: "GET", path: "/v1/usage/records?cursor=" + query, service: adminAPI},
		{method: "GET", path: "/2015-03-31/functions?Marker=" + query},
	}
}

func prefixNames(ctx context.Context, t *try) error {
	if !strings.HasPrefix(t.B.Slug, t.A.Slug) {
		return errors.New("the tenants' names do not begin alike")
	}
	f, err := t.own(ctx, t.A, function{code: harmless()})
	if err != nil {
		return err
	}
	for _, one := range []struct {
		owner *Tenant
		name  string
	}{{t.A, "x"}, {t.B, ""}, {t.B, "x"}} {
		if _, err := t.own(ctx, one.owner, function{name: one.name, code: harmless()}); err != nil {
			return err
		}
	}
	if a := t.call(ctx, t.A, message{method: "DELETE", path: onFunction(f)}); !a.ok() {
		return fmt.Errorf("deleting a function: %s", a)
	}
	for _, one := range []struct {
		owner *Tenant
		want  []string
	}{{t.A, []string{f + "-x"}}, {t.B, []string{f, f + "-x"}}} {
		all, err := t.functions(ctx, one.owner)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(n string) bool { return !strings.HasPrefix(n, f) })
		slices.Sort(all)
		t.holds(slices.Equal(all, one.want), "nothing else was deleted", "%s has the functions %v after %s was deleted of %s", one.owner.Slug, all, f, t.A.Slug)
		o := t.invoke(ctx, one.owner, f+"-x", "1")
		t.twin(o.good(), "%s of %s: %s", f+"-x", one.owner.Slug, o)
	}
	return nil
}

func caseTwins(ctx context.Context, t *try) error {
	t.oddTenants(ctx, t.odd("case and form"))
	f, err := t.own(ctx, t.A, function{code: toolModule(), each: true})
	if err != nil {
		return err
	}
	as := func(id string) outcome {
		m := invocation(f, command(doEcho, ""))
		m.header = map[string]string{"X-Amz-Tenant-Id": id}
		return t.invokeBy(ctx, t.A, m)
	}
	first := as("Twin")
	t.twin(first.good() && strings.Contains(first.body, `"tenantId":"Twin"`), "an end tenant: %s", first)
	for _, id := range []string{"twin", "TWIN", "tWIN", "*", "a.b", "a>b", "..", "a/b", "ä", "-a", "_a", "a b", strings.Repeat("a", 65)} {
		t.refused(fmt.Sprintf("the end tenant %q beside Twin", id), as(id).answer)
	}
	again := as("Twin")
	t.twin(again.good(), "the end tenant again: %s", again)
	return nil
}

// registerAgain registers a function's name again, and a tenant's.
func registerAgain(ctx context.Context, t *try) error {
	f, err := t.own(ctx, t.A, function{code: toolModule()})
	if err != nil {
		return err
	}
	for _, m := range []message{
		{method: "PUT", path: "/2019-09-25/functions/" + f + "/event-invoke-config", body: `{"MaximumRetryAttempts":1}`},
		{method: "POST", path: onFunction(f) + "/versions", body: "{}"},
		{method: "POST", path: onFunction(f) + "/aliases", body: `{"Name":"old","FunctionVersion":"1"}`},
		{method: "POST", path: onFunction(f) + "/invocations", body: command(doPrint, "secret-of-the-old-one")},
		{method: "DELETE", path: onFunction(f)},
	} {
		if a := t.call(ctx, t.A, m); !a.ok() {
			return fmt.Errorf("%s %s: %s", m.method, m.path, a)
		}
	}
	if err := t.deploy(ctx, t.A, function{name: f, code: harmless()}); err != nil {
		return err
	}
	for _, path := range []string{"/2019-09-25/functions/" + f + "/event-invoke-config", onFunction(f) + "/aliases/old", onFunction(f) + "?Qualifier=1"} {
		t.refused("what the old function had, "+path, t.call(ctx, t.A, message{method: "GET", path: path}))
	}
	logs := t.call(ctx, t.A, message{method: "GET", path: "/v1/functions/" + f + "/logs", service: adminAPI})
	t.holds(!strings.Contains(logs.body, "secret-of-the-old-one"), "no log of the old function", "the new function has the old one's log: %s", logs)
	o := t.invoke(ctx, t.A, f, "1")
	t.twin(o.good(), "the new function: %s", o)

	gone, err := t.spare(ctx)
	if err != nil {
		return err
	}
	list := message{method: "GET", path: "/2015-03-31/functions"}
	a := t.call(ctx, gone, list)
	t.twin(a.ok(), "a tenant's key before it is deleted: %s", a)
	if err := t.admin(ctx, t.Operator, message{method: "DELETE", path: "/v1/tenants/" + gone.Slug}, nil); err != nil {
		return err
	}
	t.refused("the key of a deleted tenant", t.call(ctx, gone, list))
	t.refused("a deleted tenant's name registered again", t.call(ctx, t.Operator,
		message{method: "POST", path: "/v1/tenants", service: adminAPI, body: `{"tenantId":` + quote(gone.Slug) + `}`}))
	return nil
}

func foreign(ctx context.Context, t *try) error {
	if err := t.foreignFunctions(ctx); err != nil {
		return err
	}
	return t.foreignAdmin(ctx)
}

// Operation is an operation of Lambda that names a function: %s in Path is its
// name or ARN.
type Operation struct{ Method, Path, Body string }

// Operations are those that one tenant tries on another's functions.
func Operations() []Operation { return slices.Clone(operations) }

var operations = []Operation{
	{"POST", "/2015-03-31/functions/%s/invocations", "{}"},
	{"POST", "/2015-03-31/functions/%s/invocations?Qualifier=1", "{}"},
	{"GET", "/2015-03-31/functions/%s", ""},
	{"GET", "/2015-03-31/functions/%s?Qualifier=1", ""},
	{"DELETE", "/2015-03-31/functions/%s", ""},
	{"DELETE", "/2015-03-31/functions/%s?Qualifier=1", ""},
	{"GET", "/2015-03-31/functions/%s/configuration", ""},
	{"PUT", "/2015-03-31/functions/%s/configuration", `{"Timeout":5}`},
	{"PUT", "/2015-03-31/functions/%s/code", `{"ZipFile":"AGFzbQEAAAA="}`},
	{"POST", "/2015-03-31/functions/%s/versions", `{}`},
	{"GET", "/2015-03-31/functions/%s/versions", ""},
	{"POST", "/2015-03-31/functions/%s/aliases", `{"Name":"other","FunctionVersion":"1"}`},
	{"GET", "/2015-03-31/functions/%s/aliases", ""},
	{"GET", "/2015-03-31/functions/%s/aliases/live", ""},
	{"PUT", "/2015-03-31/functions/%s/aliases/live", `{"FunctionVersion":"1"}`},
	{"DELETE", "/2015-03-31/functions/%s/aliases/live", ""},
	{"PUT", "/2017-10-31/functions/%s/concurrency", `{"ReservedConcurrentExecutions":1}`},
	{"GET", "/2019-09-30/functions/%s/concurrency", ""},
	{"DELETE", "/2017-10-31/functions/%s/concurrency", ""},
	{"PUT", "/2024-08-31/functions/%s/recursion-config", `{"RecursiveLoop":"Allow"}`},
	{"GET", "/2024-08-31/functions/%s/recursion-config", ""},
	{"PUT", "/2019-09-25/functions/%s/event-invoke-config", `{"MaximumRetryAttempts":0}`},
	{"POST", "/2019-09-25/functions/%s/event-invoke-config", `{"MaximumRetryAttempts":0}`},
	{"GET", "/2019-09-25/functions/%s/event-invoke-config", ""},
	{"DELETE", "/2019-09-25/functions/%s/event-invoke-config", ""},
	{"GET", "/2019-09-25/functions/%s/event-invoke-config/list", ""},
	{"GET", "/2015-03-31/functions/%s/policy", ""},
	{"POST", "/2015-03-31/functions/%s/policy", `{"StatementId":"s","Action":"lambda:InvokeFunction","Principal":"*"}`},
	{"DELETE", "/2015-03-31/functions/%s/policy/s", ""},
	{"GET", "/2017-03-31/tags/%s", ""},
	{"POST", "/2017-03-31/tags/%s", `{"Tags":{"a":"b"}}`},
	{"DELETE", "/2017-03-31/tags/%s?tagKeys=a", ""},
	{"GET", "/2020-06-30/functions/%s/code-signing-config", ""},
}

// forms are the ways to name a function.
var forms = []string{
	"%s", "function:%s", "ACCOUNT:function:%s", "ACCOUNT:%s", "arn:aws:lambda:REGION:ACCOUNT:function:%s", "arn:aws:lambda:REGION:ACCOUNT:function:%s:live",
	"arn:aws:lambda:REGION:ACCOUNT:function:%s:1",
}

// foreignFunctions has A ask for every operation on a function of B, and on one
// that is not there. The answers have to be the same.
func (t *try) foreignFunctions(ctx context.Context) error {
	f, err := t.own(ctx, t.B, function{name: "secret", code: harmless()})
	if err != nil {
		return err
	}
	for _, m := range []message{
		{method: "POST", path: onFunction(f) + "/versions", body: "{}"},
		{method: "POST", path: onFunction(f) + "/aliases", body: `{"Name":"live","FunctionVersion":"1"}`},
		{method: "PUT", path: "/2019-09-25/functions/" + f + "/event-invoke-config", body: `{"MaximumRetryAttempts":1}`},
		{method: "PUT", path: "/2017-10-31/functions/" + f + "/concurrency", body: `{"ReservedConcurrentExecutions":2}`},
	} {
		if a := t.call(ctx, t.B, m); !a.ok() {
			return fmt.Errorf("%s %s: %s", m.method, m.path, a)
		}
	}
	before := t.call(ctx, t.B, message{method: "GET", path: onFunction(f)})
	absent := t.id + "-absent"
	for _, op := range operations {
		for _, form := range forms {
			var got [2]string
			for i, name := range []string{f, absent} {
				m := message{method: op.Method, body: op.Body}
				m.path = fmt.Sprintf(op.Path, url.PathEscape(fmt.Sprintf(strings.NewReplacer("ACCOUNT", t.B.Account, "REGION", t.cfg.Region).Replace(form), name)))
				a := t.call(ctx, t.A, m)
				t.refused(fmt.Sprintf("%s %s", m.method, m.path), a)
				got[i] = a.brief() + " " + strings.ReplaceAll(a.body, name, "NAME")
			}
			if got[0] != got[1] {
				t.breach("%s %s tells %s from what is not there: %s and %s", op.Method, op.Path, form, got[0], got[1])
			}
		}
	}
	named := function{name: fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s-new", t.cfg.Region, t.B.Account, t.id), code: harmless()}
	t.refused("a function made in another account", t.call(ctx, t.A, named.create(t.A)))
	t.refused("a function with a role of another account", t.call(ctx, t.A, function{name: t.keep(t.A, "role"), code: harmless(), role: t.B.Role}.create(t.A)))
	after := t.call(ctx, t.B, message{method: "GET", path: onFunction(f)})
	if !before.ok() || before.body != after.body {
		t.breach("the function that was attacked changed: %s, then %s", before, after)
	}
	o := t.invoke(ctx, t.B, f, "1")
	t.twin(o.good(), "its owner calls it: %s", o)
	return nil
}

// ownOperations of /v1 show or change what is one's own, or show what is
// everybody's.
var ownOperations = []string{
	"get /v1/claim-tags", "get /v1/events", "get /v1/plans", "get /v1/shares", "get /v1/links", "get /v1/layouts", "post /v1/default-roles",
}

// foreignAdmin has A ask for every operation of /v1, as the node's own document
// lists them, about B and about nobody.
func (t *try) foreignAdmin(ctx context.Context) error {
	if o := t.invoke(ctx, t.B, tool, command(doPrint, "secret of another")); !o.good() {
		return fmt.Errorf("a call: %s", o)
	}
	var doc struct{ Paths map[string]map[string]any }
	if err := t.admin(ctx, t.A, message{method: "GET", path: "/v1/openapi.json"}, &doc); err != nil || len(doc.Paths) < 8 {
		return fmt.Errorf("the document of /v1 has %d paths: %w", len(doc.Paths), err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			t.foreignOperation(ctx, method, path)
		}
	}
	for _, one := range []*Tenant{t.A, t.B} {
		var log struct {
			Items []struct {
				AccountID string `json:"accountId"`
			}
		}
		err := t.admin(ctx, one, message{method: "GET", path: "/v1/audit"}, &log)
		t.twin(err == nil && len(log.Items) > 0, "the own audit log of %s: %d entries, %v", one.Slug, len(log.Items), err)
		for _, item := range log.Items {
			t.holds(item.AccountID == one.Account, "own entries only", "the audit log of %s has an entry of account %s", one.Account, item.AccountID)
		}
	}
	text, seen := t.logged(ctx, t.B, tool, "secret of another")
	t.twin(seen, "the owner's own log: %s", text)
	return nil
}

var requestID = regexp.MustCompile(`"requestId":"[^"]*"`)

func (t *try) foreignOperation(ctx context.Context, method, path string) {
	own := slices.Contains(ownOperations, method+" "+path)
	var got [2]string
	absent := "absent-" + t.B.Slug[len("attack-"):]
	for i, names := range [][2]string{{t.B.Slug, t.id + "-secret"}, {absent, t.id + "-absent"}} {
		full := strings.NewReplacer("{slug}", names[0], "{name}", names[1]).Replace(path)
		body := map[string]string{"put": `{"plan":"unlimited"}`}[method]
		if path == "/v1/tenants" && method == "post" {
			body = `{"tenantId":` + quote(names[0]) + `}`
		}
		if strings.HasPrefix(path, "/v1/usage") || path == "/v1/audit" || path == "/v1/prove" {
			full += "?tenant=" + names[0]
		}
		a := t.call(ctx, t.A, message{method: strings.ToUpper(method), path: full, body: body, service: adminAPI})
		t.holds(own == (a.status == 200) && a.status <= 499 && a.status > 0 && !strings.Contains(a.body, "secret of another") && (own || !strings.Contains(a.body, t.B.Account)),
			a.brief(), "%s %s of another tenant: %s", method, full, a)
		got[i] = strings.NewReplacer(names[0], "SLUG", names[1], "NAME").Replace(a.brief() + " " + requestID.ReplaceAllString(a.body, ""))
	}
	if !own && got[0] != got[1] {
		t.breach("%s %s tells what is there from what is not: %s and %s", method, path, got[0], got[1])
	}
}
