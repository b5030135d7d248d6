package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/testrounds"
)

// one makes a policy of one statement. Single quotes stand for double ones.
func one(body string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.ReplaceAll(body, "'", `"`) + `]}`
}

func set(t testing.TB, kind Kind, texts ...string) *Set {
	t.Helper()
	var sources []Source
	for i, text := range texts {
		doc, _, err := Parse(kind, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		sources = append(sources, Source{Name: fmt.Sprint("p", i), Document: doc})
	}
	return Compile(sources...)
}

const (
	alice   = "arn:aws:iam::111111111111:user/alice"
	roleR   = "arn:aws:iam::111111111111:role/r"
	session = "arn:aws:sts::111111111111:assumed-role/r/s"
	fed     = "arn:aws:sts::111111111111:federated-user/f"
	object  = "arn:aws:s3:::b/k"
)

func asUser() Principal { return Principal{Type: User, Account: "111111111111", ARN: alice} }
func asRole() Principal {
	return Principal{Type: Role, Account: "111111111111", ARN: session, Issuer: roleR}
}
func asFed() Principal {
	return Principal{Type: Federated, Account: "111111111111", ARN: fed, Issuer: alice}
}
func foreign() Principal {
	return Principal{Type: User, Account: "222222222222", ARN: "arn:aws:iam::222222222222:user/eve"}
}

const allowAll = `{'Effect':'Allow','Action':'*','Resource':'*'}`
const denyAll = `{'Effect':'Deny','Action':'*','Resource':'*'}`

// granting is a resource policy that allows all to a principal.
func granting(principal string) string {
	return one(`{'Effect':'Allow','Principal':` + principal + `,'Action':'s3:*','Resource':'*'}`)
}

func aws(arn string) string { return `{'AWS':'` + arn + `'}` }

func TestLayers(t *testing.T) {
	t.Parallel()
	all, none, deny := set(t, Identity, one(allowAll)), set(t, Identity), set(t, Identity, one(denyAll))
	res := func(principal string) *Set { return set(t, Resource, granting(principal)) }
	level := func(sets ...*Set) (l []Level) {
		for _, s := range sets {
			l = append(l, Level{Name: "l", Set: s})
		}
		return l
	}
	for name, tt := range map[string]struct {
		p      Principal
		l      Layers
		want   Verdict
		blocks []Layer
	}{
		// 1.1
		"nothing attached":                   {asUser(), Layers{}, ImplicitlyDenied, []Layer{LayerIdentity}},
		"identity allows":                    {asUser(), Layers{Identity: all}, Allowed, nil},
		"deny beats allow":                   {asUser(), Layers{Identity: set(t, Identity, one(allowAll), one(denyAll))}, ExplicitlyDenied, []Layer{LayerIdentity}},
		"resource alone, same account":       {asUser(), Layers{Resource: res(aws(alice))}, Allowed, nil},
		"cross account, identity only":       {foreign(), Layers{Identity: all}, ImplicitlyDenied, []Layer{LayerResource}},
		"cross account, resource only":       {foreign(), Layers{Resource: res(aws("222222222222"))}, ImplicitlyDenied, []Layer{LayerIdentity}},
		"cross account, both":                {foreign(), Layers{Identity: all, Resource: res(aws("222222222222"))}, Allowed, nil},
		"cross account, both by star":        {foreign(), Layers{Identity: all, Resource: res(`'*'`)}, Allowed, nil},
		"cross account, another one named":   {foreign(), Layers{Identity: all, Resource: res(aws("333333333333"))}, ImplicitlyDenied, []Layer{LayerResource}},
		"the account delegates only":         {asUser(), Layers{Resource: res(aws("111111111111"))}, ImplicitlyDenied, []Layer{LayerIdentity}},
		"the account's root is the account":  {asUser(), Layers{Resource: res(aws("arn:aws:iam::111111111111:root"))}, ImplicitlyDenied, []Layer{LayerIdentity}},
		"boundary does not grant":            {asUser(), Layers{Boundary: all}, ImplicitlyDenied, []Layer{LayerIdentity}},
		"boundary bounds":                    {asUser(), Layers{Identity: all, Boundary: none}, ImplicitlyDenied, []Layer{LayerBoundary}},
		"boundary denies":                    {asUser(), Layers{Identity: all, Boundary: deny}, ExplicitlyDenied, []Layer{LayerBoundary}},
		"session bounds":                     {asRole(), Layers{Identity: all, Session: none}, ImplicitlyDenied, []Layer{LayerSession}},
		"a role without session policy":      {asRole(), Layers{Identity: all}, Allowed, nil},
		"federated without session policy":   {asFed(), Layers{Identity: all, SessionRequired: true}, ImplicitlyDenied, []Layer{LayerSession}},
		"federated with one":                 {asFed(), Layers{Identity: all, Session: all, SessionRequired: true}, Allowed, nil},
		"every level of the SCPs":            {asUser(), Layers{Identity: all, SCPs: level(all, none, all)}, ImplicitlyDenied, []Layer{LayerSCP}},
		"all levels of the SCPs allow":       {asUser(), Layers{Identity: all, SCPs: level(all, all)}, Allowed, nil},
		"a level of the SCPs denies":         {asUser(), Layers{Identity: all, SCPs: level(all, deny)}, ExplicitlyDenied, []Layer{LayerSCP}},
		"SCPs bind what a resource grants":   {asUser(), Layers{Resource: res(aws(alice)), SCPs: level(none)}, ImplicitlyDenied, []Layer{LayerSCP}},
		"SCPs bind the root":                 {Principal{Type: Root, Account: "111111111111", ARN: "arn:aws:iam::111111111111:root"}, Layers{SCPs: level(none)}, ImplicitlyDenied, []Layer{LayerSCP}},
		"the root may do all":                {Principal{Type: Root, Account: "111111111111", ARN: "arn:aws:iam::111111111111:root"}, Layers{}, Allowed, nil},
		"SCPs do not bind management":        {Principal{Type: User, Account: "111111111111", ARN: alice, Management: true}, Layers{Identity: all, SCPs: level(none)}, Allowed, nil},
		"RCPs need no allow":                 {asUser(), Layers{Identity: all, RCPs: level(nil)}, Allowed, nil},
		"RCPs deny anonymous callers":        {Principal{}, Layers{Resource: res(`'*'`), RCPs: level(set(t, RCP, one(`{'Effect':'Deny','Principal':'*','Action':'s3:*','Resource':'*'}`)))}, ExplicitlyDenied, []Layer{LayerRCP}},
		"anonymous by star":                  {Principal{}, Layers{Resource: res(`'*'`)}, Allowed, nil},
		"anonymous by an account":            {Principal{}, Layers{Resource: res(aws("111111111111"))}, ImplicitlyDenied, []Layer{LayerResource}},
		"identity is nothing to anonymous":   {Principal{}, Layers{Identity: all}, ImplicitlyDenied, []Layer{LayerResource}},
		"a service by its host":              {Principal{Type: Service, ARN: "events.amazonaws.com"}, Layers{Resource: res(`{'Service':'events.amazonaws.com'}`)}, Allowed, nil},
		"another service":                    {Principal{Type: Service, ARN: "s3.amazonaws.com"}, Layers{Resource: res(`{'Service':'events.amazonaws.com'}`)}, ImplicitlyDenied, []Layer{LayerResource}},
		"every cap":                          {asRole(), Layers{Identity: all, Caps: []*Set{all, none}}, ImplicitlyDenied, []Layer{LayerCap}},
		"no order of caps":                   {asRole(), Layers{Identity: all, Caps: []*Set{none, all}}, ImplicitlyDenied, []Layer{LayerCap}},
		"a cap that is gone":                 {asRole(), Layers{Identity: all, Caps: []*Set{nil}}, ImplicitlyDenied, []Layer{LayerCap}},
		"caps bind a session named directly": {asRole(), Layers{Resource: res(aws(session)), Caps: []*Set{none}}, ImplicitlyDenied, []Layer{LayerCap}},
		"a cap denies":                       {asRole(), Layers{Identity: all, Caps: []*Set{deny}}, ExplicitlyDenied, []Layer{LayerCap}},
		// 1.2: what the resource policy names, and what still binds.
		"user named, boundary":         {asUser(), Layers{Resource: res(aws(alice)), Boundary: none}, Allowed, nil},
		"role named, boundary":         {asRole(), Layers{Resource: res(aws(roleR)), Boundary: none}, ImplicitlyDenied, []Layer{LayerBoundary}},
		"role itself named, boundary":  {Principal{Type: Role, Account: "111111111111", ARN: roleR, Issuer: roleR}, Layers{Resource: res(aws(roleR)), Boundary: none}, ImplicitlyDenied, []Layer{LayerBoundary}},
		"one denies, one says nothing": {asUser(), Layers{Identity: all, SCPs: level(none), Boundary: deny}, ExplicitlyDenied, []Layer{LayerSCP, LayerBoundary}},
		"role named, session":          {asRole(), Layers{Resource: res(aws(roleR)), Session: none}, ImplicitlyDenied, []Layer{LayerSession}},
		"role named, no identity":      {asRole(), Layers{Resource: res(aws(roleR)), Boundary: all, Session: all}, Allowed, nil},
		"session named":                {asRole(), Layers{Resource: res(aws(session)), Boundary: none, Session: none}, Allowed, nil},
		"federated user named":         {asFed(), Layers{Resource: res(aws(fed)), Boundary: none, Session: none}, Allowed, nil},
		"federator named, boundary":    {asFed(), Layers{Resource: res(aws(alice)), Boundary: none, Session: all}, ImplicitlyDenied, []Layer{LayerBoundary}},
		"star, nothing binds":          {asRole(), Layers{Resource: res(`'*'`), Boundary: none, Session: none}, Allowed, nil},
		"named, and denied elsewhere":  {asUser(), Layers{Resource: res(aws(alice)), Identity: deny}, ExplicitlyDenied, []Layer{LayerIdentity}},
		"session named, other account": {Principal{Type: Role, Account: "222222222222", ARN: "arn:aws:sts::222222222222:assumed-role/r/s"}, Layers{Resource: res(aws("arn:aws:sts::222222222222:assumed-role/r/s"))}, ImplicitlyDenied, []Layer{LayerIdentity}},
		// Roles to be assumed must allow, even inside the account.
		"trust: identity alone":            {asUser(), Layers{Identity: all, TrustOnly: true}, ImplicitlyDenied, []Layer{LayerResource}},
		"trust: account and identity":      {asUser(), Layers{Identity: all, Resource: res(aws("111111111111")), TrustOnly: true}, Allowed, nil},
		"trust: account without identity":  {asUser(), Layers{Resource: res(aws("111111111111")), TrustOnly: true}, ImplicitlyDenied, []Layer{LayerIdentity}},
		"trust: named directly":            {asUser(), Layers{Resource: res(aws(alice)), TrustOnly: true}, Allowed, nil},
		"trust: star names nobody":         {asUser(), Layers{Resource: res(`'*'`), TrustOnly: true}, ImplicitlyDenied, []Layer{LayerIdentity}},
		"trust: star is no provider":       {Principal{Type: WebIdentity, ARN: "idp.example.com"}, Layers{Resource: res(`'*'`), TrustOnly: true}, ImplicitlyDenied, []Layer{LayerResource}},
		"trust: the provider":              {Principal{Type: WebIdentity, ARN: "idp.example.com"}, Layers{Resource: res(`{'Federated':'idp.example.com'}`), TrustOnly: true}, Allowed, nil},
		"trust: another account's user":    {foreign(), Layers{Identity: all, Resource: res(aws("222222222222")), TrustOnly: true}, Allowed, nil},
		"several layers lack something":    {asRole(), Layers{Boundary: none, Session: none}, ImplicitlyDenied, []Layer{LayerIdentity, LayerBoundary, LayerSession}},
		"a deny that names the issuer":     {asRole(), Layers{Identity: all, Resource: set(t, Resource, one(`{'Effect':'Deny','Principal':{'AWS':'`+roleR+`'},'Action':'s3:*','Resource':'*'}`))}, ExplicitlyDenied, []Layer{LayerResource}},
		"a deny that names the account":    {asRole(), Layers{Identity: all, Resource: set(t, Resource, one(`{'Effect':'Deny','Principal':{'AWS':'111111111111'},'Action':'s3:*','Resource':'*'}`))}, ExplicitlyDenied, []Layer{LayerResource}},
		"NotPrincipal, all of it listed":   {asRole(), Layers{Identity: all, Resource: set(t, Resource, notPrincipal(session, roleR, "111111111111"))}, Allowed, nil},
		"NotPrincipal, the role only":      {asRole(), Layers{Identity: all, Resource: set(t, Resource, notPrincipal(roleR))}, ExplicitlyDenied, []Layer{LayerResource}},
		"NotPrincipal, user and account":   {asUser(), Layers{Identity: all, Resource: set(t, Resource, notPrincipal(alice, "111111111111"))}, Allowed, nil},
		"NotPrincipal with a boundary":     {asUser(), Layers{Identity: all, Boundary: all, Resource: set(t, Resource, notPrincipal(alice, "111111111111"))}, ExplicitlyDenied, []Layer{LayerResource}},
		"NotPrincipal, anonymous":          {Principal{}, Layers{Resource: set(t, Resource, notPrincipal(alice, "111111111111"))}, ExplicitlyDenied, []Layer{LayerResource}},
		"NotPrincipal, federated listed":   {asFed(), Layers{Identity: all, Session: all, Resource: set(t, Resource, notPrincipal(fed, "111111111111"))}, Allowed, nil},
		"NotPrincipal, a service not":      {Principal{Type: Service, ARN: "s3.amazonaws.com"}, Layers{Resource: set(t, Resource, notPrincipal(alice))}, ExplicitlyDenied, []Layer{LayerResource}},
		"NotPrincipal, the account's root": {Principal{Type: Root, Account: "111111111111", ARN: "arn:aws:iam::111111111111:root"}, Layers{Resource: set(t, Resource, notPrincipal("111111111111"))}, Allowed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Request{Action: "s3:GetObject", Resource: object, ResourceAccount: "111111111111", Principal: tt.p, Context: &Context{}}
			d := Evaluate(&r, &tt.l)
			var blocked uint8
			for _, l := range tt.blocks {
				blocked |= 1 << l
			}
			if d.Verdict != tt.want || d.Blocked != blocked {
				t.Errorf("got verdict %d blocked %07b, want %d, %07b", d.Verdict, d.Blocked, tt.want, blocked)
			}
			if e := Explain(&r, &tt.l); e.Decision != d || (e.Verdict == ImplicitlyDenied) != (len(e.Missing) > 0) {
				t.Errorf("Explain says %+v, Evaluate %+v", e, d)
			}
		})
	}
}

func notPrincipal(arns ...string) string {
	return one(`{'Effect':'Deny','NotPrincipal':{'AWS':['` + strings.Join(arns, "','") + `']},'Action':'s3:*','Resource':'*'}`)
}

func TestStatements(t *testing.T) {
	t.Parallel()
	const get = `'Effect':'Allow','Action':'s3:GetObject'`
	for name, tt := range map[string]struct {
		statement        string
		action, resource string
		context          map[string][]string
		want             bool
	}{
		"case of actions":                  {`'Effect':'Allow','Action':'S3:getobject','Resource':'*'`, "s3:GetObject", object, nil, true},
		"wildcards in actions, any case":   {`'Effect':'Allow','Action':'s3:*OBJ?ct','Resource':'*'`, "s3:GetObject", object, nil, true},
		"a run inside an action":           {`'Effect':'Allow','Action':'s3:G*Obj*t','Resource':'*'`, "S3:GETOBJECT", object, nil, true},
		"another service":                  {`'Effect':'Allow','Action':'s3:*','Resource':'*'`, "s3x:GetObject", object, nil, false},
		"NotAction":                        {`'Effect':'Allow','NotAction':'iam:*','Resource':'*'`, "s3:GetObject", object, nil, true},
		"NotAction excludes":               {`'Effect':'Allow','NotAction':'s3:*','Resource':'*'`, "s3:GetObject", object, nil, false},
		"case of resources":                {get + `,'Resource':'arn:aws:s3:::B/k'`, "s3:GetObject", object, nil, false},
		"a run spans slashes":              {get + `,'Resource':'arn:aws:s3:::b/*'`, "s3:GetObject", "arn:aws:s3:::b/x/y", nil, true},
		"a run of part 3 spans no colon":   {`'Effect':'Allow','Action':'lambda:*','Resource':'arn:aws:lambda:*:function:f'`, "lambda:X", "arn:aws:lambda:us-east-1:1:function:f", nil, false},
		"the rest keeps its colons":        {`'Effect':'Allow','Action':'lambda:*','Resource':'arn:aws:lambda:*:*:function:*'`, "lambda:X", "arn:aws:lambda:r:1:function:f:7", nil, true},
		"NotResource":                      {get + `,'NotResource':'arn:aws:s3:::c/*'`, "s3:GetObject", object, nil, true},
		"NotResource excludes":             {get + `,'NotResource':'arn:aws:s3:::b/*'`, "s3:GetObject", object, nil, false},
		"no ARN, a star":                   {get + `,'Resource':'*'`, "s3:GetObject", "b", nil, true},
		"no ARN":                           {get + `,'Resource':'arn:aws:s3:::*'`, "s3:GetObject", "b", nil, false},
		"a variable":                       {get + `,'Resource':'arn:aws:s3:::b-${tenant_id}/*'`, "s3:GetObject", "arn:aws:s3:::b-acme/k", map[string][]string{"carrel:TenantId": {"acme"}}, true},
		"another value":                    {get + `,'Resource':'arn:aws:s3:::b-${tenant_id}/*'`, "s3:GetObject", "arn:aws:s3:::b-acme2/k", map[string][]string{"carrel:TenantId": {"acme"}}, false},
		"a variable without a value":       {get + `,'Resource':'arn:aws:s3:::b-${tenant_id}/*'`, "s3:GetObject", "arn:aws:s3:::b-/k", nil, false},
		"a variable of several values":     {get + `,'Resource':'arn:aws:s3:::b-${aws:TagKeys}/*'`, "s3:GetObject", "arn:aws:s3:::b-x/k", map[string][]string{"*aws:TagKeys": {"x"}}, false},
		"a value's wildcard is literal":    {get + `,'Resource':'arn:aws:s3:::b/${aws:username}/k'`, "s3:GetObject", "arn:aws:s3:::b/other/k", map[string][]string{"aws:username": {"*"}}, false},
		"an escaped wildcard":              {get + `,'Resource':'arn:aws:s3:::b/${*}'`, "s3:GetObject", object, nil, false},
		"a value's wildcard as itself":     {get + `,'Resource':'arn:aws:s3:::b/${aws:username}/k'`, "s3:GetObject", "arn:aws:s3:::b/*/k", map[string][]string{"aws:username": {"*"}}, true},
		"NotResource without a value":      {get + `,'NotResource':'arn:aws:s3:::b-${aws:username}/*'`, "s3:GetObject", object, nil, true},
		"two runs":                         {get + `,'Resource':'arn:aws:s3:::b/*/x/*'`, "s3:GetObject", "arn:aws:s3:::b/1/x/2", nil, true},
		"two runs, not":                    {get + `,'Resource':'arn:aws:s3:::b/*/x/*y'`, "s3:GetObject", "arn:aws:s3:::b/1/x/2", nil, false},
		"a question mark is one character": {get + `,'Resource':'arn:aws:s3:::b/?'`, "s3:GetObject", "arn:aws:s3:::b/é", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decideOne(t, "{"+tt.statement+"}", tt.action, tt.resource, tt.context, tt.want)
		})
	}
}

// contextOf makes a context; keys that begin with * are sets.
func contextOf(values map[string][]string) *Context {
	c := &Context{}
	for k, v := range values {
		if name, several := strings.CutPrefix(k, "*"); several {
			c.SetAll(name, v)
		} else {
			c.Set(k, v[0])
		}
	}
	return c
}

func decideOne(t *testing.T, statement, action, resource string, context map[string][]string, want bool) {
	t.Helper()
	r := Request{Action: action, Resource: resource, ResourceAccount: "111111111111", Principal: asUser(), Context: contextOf(context)}
	if got := Evaluate(&r, &Layers{Identity: set(t, Identity, one(statement))}).Verdict == Allowed; got != want {
		t.Errorf("%s: %s on %s with %v: %v, want %v", statement, action, resource, context, got, want)
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	type c = map[string][]string
	for _, tt := range []struct {
		condition string
		context   c
		want      bool
	}{
		{`'StringEquals':{'a:k':'a'}`, c{"a:k": {"a"}}, true}, {`'StringEquals':{'a:k':'a'}`, c{"a:k": {"A"}}, false}, {`'StringEquals':{'a:k':'a'}`, nil, false},
		{`'StringEquals':{'a:k':['a','b']}`, c{"a:k": {"b"}}, true}, {`'StringEquals':{'a:k':'a*'}`, c{"a:k": {"ab"}}, false}, {`'StringEquals':{'A:K':'a'}`, c{"a:k": {"a"}}, true},
		{`'StringEquals':{'a:k':'a','a:l':'b'}`, c{"a:k": {"a"}}, false}, {`'StringEquals':{'a:k':'a'},'StringLike':{'a:l':'b*'}`, c{"a:k": {"a"}, "a:l": {"bc"}}, true},
		{`'StringNotEquals':{'a:k':['a','b']}`, c{"a:k": {"b"}}, false}, {`'StringNotEquals':{'a:k':['a','b']}`, c{"a:k": {"c"}}, true}, {`'StringNotEquals':{'a:k':'a'}`, nil, true},
		{`'StringEqualsIfExists':{'a:k':'a'}`, nil, true}, {`'StringEqualsIfExists':{'a:k':'a'}`, c{"a:k": {"b"}}, false},
		{`'StringEqualsIgnoreCase':{'a:k':'aB'}`, c{"a:k": {"Ab"}}, true}, {`'StringNotEqualsIgnoreCase':{'a:k':'aB'}`, c{"a:k": {"Ab"}}, false},
		{`'StringLike':{'a:k':'a*c'}`, c{"a:k": {"abc"}}, true}, {`'StringNotLike':{'a:k':'a*'}`, c{"a:k": {"abc"}}, false},
		{`'StringEquals':{'a:k':'a'}`, c{"*a:k": {"a"}}, false}, {`'StringNotEquals':{'a:k':'a'}`, c{"*a:k": {"b"}}, false},
		{`'ForAnyValue:StringEquals':{'a:k':'a'}`, c{"*a:k": {"b", "a"}}, true}, {`'ForAnyValue:StringEquals':{'a:k':'a'}`, nil, false}, {`'ForAnyValue:StringEquals':{'a:k':'a'}`, c{"*a:k": {}}, false},
		{`'ForAllValues:StringEquals':{'a:k':['a','b']}`, c{"*a:k": {"b", "a"}}, true}, {`'ForAllValues:StringEquals':{'a:k':'a'}`, c{"*a:k": {"b", "a"}}, false}, {`'ForAllValues:StringEquals':{'a:k':'a'}`, nil, true},
		{`'ForAllValues:StringNotLike':{'a:k':'key1*'}`, c{"*a:k": {"key1:legal"}}, false}, {`'ForAllValues:StringNotLike':{'a:k':'key1*'}`, c{"*a:k": {"key2:audit"}}, true},
		{`'ForAnyValue:StringEquals':{'a:k':'a'}`, c{"a:k": {"a"}}, true},
		{`'Null':{'a:k':'true'}`, nil, true}, {`'Null':{'a:k':'true'}`, c{"a:k": {"a"}}, false}, {`'Null':{'a:k':'false'}`, c{"a:k": {"a"}}, true}, {`'Null':{'a:k':'false'}`, c{"*a:k": {}}, true},
		{`'NumericLessThan':{'a:k':'10'}`, c{"a:k": {"9.5"}}, true}, {`'NumericLessThan':{'a:k':'10'}`, c{"a:k": {"10"}}, false}, {`'NumericEquals':{'a:k':'1.0'}`, c{"a:k": {"1"}}, true},
		{`'NumericGreaterThanEquals':{'a:k':'-1'}`, c{"a:k": {"-1"}}, true}, {`'NumericNotEquals':{'a:k':'1'}`, c{"a:k": {"2"}}, true}, {`'NumericEquals':{'a:k':'1'}`, c{"a:k": {"x"}}, false},
		{`'NumericNotEquals':{'a:k':'1'}`, c{"a:k": {"x"}}, false}, {`'NumericLessThanEquals':{'a:k':'3'}`, c{"a:k": {"4"}}, false}, {`'NumericGreaterThan':{'a:k':'3'}`, c{"a:k": {"4"}}, true},
		{`'DateLessThan':{'a:k':'2026-01-01T00:00:00Z'}`, c{"a:k": {"2025-12-31T23:59:59Z"}}, true}, {`'DateGreaterThan':{'a:k':'2026-01-01T00:00:00Z'}`, c{"a:k": {"2025-12-31T23:59:59Z"}}, false},
		{`'DateEquals':{'a:k':'1970-01-01T00:00:10Z'}`, c{"a:k": {"10"}}, true}, {`'DateNotEquals':{'a:k':'10'}`, nil, true},
		{`'Bool':{'a:k':'true'}`, c{"a:k": {"True"}}, true}, {`'Bool':{'a:k':'false'}`, c{"a:k": {"true"}}, false}, {`'Bool':{'a:k':'false'}`, c{"a:k": {"x"}}, false},
		{`'BinaryEquals':{'a:k':'QUI='}`, c{"a:k": {"QUI="}}, true}, {`'BinaryEquals':{'a:k':'QUI='}`, c{"a:k": {"QUJD"}}, false}, {`'BinaryEquals':{'a:k':'QUI='}`, c{"a:k": {strings.Repeat("Q", 2000)}}, false},
		{`'IpAddress':{'a:k':'10.0.0.0/8'}`, c{"a:k": {"10.1.2.3"}}, true}, {`'IpAddress':{'a:k':'10.0.0.0/8'}`, c{"a:k": {"::ffff:10.1.2.3"}}, true}, {`'IpAddress':{'a:k':'10.0.0.0/8'}`, c{"a:k": {"2001:db8::1"}}, false},
		{`'NotIpAddress':{'a:k':'10.0.0.0/8'}`, c{"a:k": {"2001:db8::1"}}, true}, {`'NotIpAddress':{'a:k':'10.0.0.0/8'}`, nil, true}, {`'IpAddress':{'a:k':'10.0.0.7'}`, c{"a:k": {"10.0.0.8"}}, false}, {`'IpAddress':{'a:k':'10.0.0.7'}`, c{"a:k": {"x"}}, false},
		{`'ArnLike':{'a:k':'arn:aws:iam::*:role/r*'}`, c{"a:k": {"arn:aws:iam::1:role/rx"}}, true}, {`'ArnEquals':{'a:k':'arn:aws:iam::*:role/r'}`, c{"a:k": {"arn:aws:iam::1:role/r"}}, true},
		{`'ArnLike':{'a:k':'arn:aws:*:role/r'}`, c{"a:k": {"x"}}, false}, {`'ArnNotLike':{'a:k':'arn:aws:iam::*:role/r*'}`, c{"a:k": {"arn:aws:iam::1:role/rx"}}, false}, {`'ArnNotEquals':{'a:k':'arn:aws:iam::*:role/r'}`, nil, true},
		{`'StringEquals':{'a:k':'${aws:username}'}`, c{"a:k": {"bob"}, "aws:username": {"bob"}}, true}, {`'StringEquals':{'a:k':'${aws:username}'}`, c{"a:k": {""}}, false}, {`'StringNotEquals':{'a:k':'${aws:username}'}`, c{"a:k": {"x"}}, true},
		{`'StringEquals':{'tenant_id':'acme'}`, c{"carrel:TenantId": {"acme"}}, true}, {`'StringEquals':{'carrel:TenantId':'acme'}`, c{"tenant_id": {"acme"}}, true},
	} {
		if strings.Contains(tt.condition, "arn:aws:*:role") {
			continue // six parts are demanded by the parser
		}
		decideOne(t, `{'Effect':'Allow','Action':'*','Resource':'*','Condition':{`+tt.condition+`}}`, "s3:GetObject", object, tt.context, tt.want)
	}
}

// TestValuesOfTheWrongTypeRefuse: a value that is not of the operator's type
// makes an Allow not match and a Deny match.
func TestValuesOfTheWrongTypeRefuse(t *testing.T) {
	t.Parallel()
	for _, condition := range []string{
		`'NumericEquals':{'a:k':'1'}`, `'NumericNotEquals':{'a:k':'1'}`, `'DateLessThan':{'a:k':'2026-01-01T00:00:00Z'}`, `'Bool':{'a:k':'true'}`,
		`'IpAddress':{'a:k':'10.0.0.0/8'}`, `'NotIpAddress':{'a:k':'10.0.0.0/8'}`, `'BinaryEquals':{'a:k':'QUI='}`,
	} {
		r := Request{Action: "s3:GetObject", Resource: object, ResourceAccount: "111111111111", Principal: asUser(), Context: contextOf(map[string][]string{"a:k": {"~"}})}
		allow := one(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{` + condition + `}}`)
		if d := Evaluate(&r, &Layers{Identity: set(t, Identity, allow)}); d.Verdict != ImplicitlyDenied {
			t.Errorf("an Allow with %s matched", condition)
		}
		deny := strings.Replace(allow, "Allow", "Deny", 1)
		if d := Evaluate(&r, &Layers{Identity: set(t, Identity, one(allowAll), deny)}); d.Verdict != ExplicitlyDenied {
			t.Errorf("a Deny with %s did not match", condition)
		}
	}
}

func TestRequestsThatSayNothingAreRefused(t *testing.T) {
	t.Parallel()
	all := Layers{Identity: set(t, Identity, one(allowAll))}
	for _, r := range []Request{{Action: "s3:GetObject", Principal: asUser()}, {Resource: object, Principal: asUser()}, {}} {
		if d := Evaluate(&r, &all); d.Verdict == Allowed {
			t.Errorf("%+v is allowed", r)
		}
		if e := Explain(&r, &all); len(e.Missing) == 0 {
			t.Errorf("%+v is refused without a word", r)
		}
	}
}

func TestExplainNamesStatements(t *testing.T) {
	t.Parallel()
	l := Layers{
		Identity: set(t, Identity, one(`{'Sid':'Read','Effect':'Allow','Action':'s3:Get*','Resource':'*'}`), one(`{'Effect':'Allow','Action':'iam:*','Resource':'*'}`)),
		SCPs:     []Level{{Name: "root", Set: set(t, SCP, one(allowAll)+"")}, {Name: "unit", Set: set(t, SCP, one(`{'Sid':'No','Effect':'Deny','Action':'s3:*','Resource':'*'}`))}},
	}
	r := Request{Action: "s3:GetObject", Resource: object, ResourceAccount: "111111111111", Principal: asUser(), Context: &Context{}}
	e := Explain(&r, &l)
	want := Reference{Layer: LayerSCP, Policy: "p0", Level: "unit", SID: "No", Effect: Deny}
	if e.Verdict != ExplicitlyDenied || len(e.Statements) != 1 || e.Statements[0] != want || !e.Has(LayerSCP) || LayerSCP.String() != "service control policy" {
		t.Errorf("%+v, want %+v", e, want)
	}
	l.SCPs = l.SCPs[:1]
	if e := Explain(&r, &l); e.Verdict != Allowed || len(e.Statements) != 2 || e.Statements[0].SID != "Read" {
		t.Errorf("%+v, want the Allows of both layers", e)
	}
	l.Caps = []*Set{Compile()}
	if e := Explain(&r, &l); len(e.Missing) != 1 || !strings.Contains(e.Missing[0], "no cap allows s3:GetObject") {
		t.Errorf("%q, want that the cap lacks it", e.Missing)
	}
}

// tenantRules makes n statements of which the last is for the request.
func tenantRules(t testing.TB, n int) *Set {
	var texts []string
	for i := range n {
		texts = append(texts, one(fmt.Sprintf(`{'Effect':'Allow','Action':['s3:GetObject','s3:PutObject'],'Resource':'arn:aws:s3:::app-%d-${tenant_id}/*'}`, i)))
	}
	return set(t, Identity, texts...)
}

func tenantRequest(n int) Request {
	c := &Context{}
	c.Set("aws:PrincipalArn", alice)
	c.Set("carrel:TenantId", "acme")
	c.Set("aws:SourceIp", "10.0.0.1")
	return Request{Action: "s3:GetObject", Resource: fmt.Sprintf("arn:aws:s3:::app-%d-acme/k", n-1), ResourceAccount: "111111111111", Principal: asUser(), Context: c}
}

func TestEvaluateAllocatesNothing(t *testing.T) {
	l, r := Layers{Identity: tenantRules(t, 100)}, tenantRequest(100)
	if Evaluate(&r, &l).Verdict != Allowed {
		t.Fatal("the request is refused")
	}
	if n := testing.AllocsPerRun(100, func() { Evaluate(&r, &l) }); n != 0 {
		t.Errorf("%v allocations a decision", n)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{1, 10, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, r := Layers{Identity: tenantRules(b, n)}, tenantRequest(n)
			b.ReportAllocs()
			for b.Loop() {
				if Evaluate(&r, &l).Verdict != Allowed {
					b.Fatal("refused")
				}
			}
		})
	}
}

// TestMoreRulesShrinkAndOrderDoesNotMatter: the laws, on random policies.
func TestMoreRulesShrinkAndOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rng := testrounds.Rand(t)
	for range testrounds.Rounds(t) {
		random := func(kind Kind, effect string) *Set {
			var texts []string
			for range 1 + rng.IntN(3) {
				texts = append(texts, one(randomStatement(rng, effect)))
			}
			return set(t, kind, texts...)
		}
		identity := []string{one(randomStatement(rng, "")), one(randomStatement(rng, "")), one(randomStatement(rng, ""))}
		base := Layers{Identity: set(t, Identity, identity...)}
		for range 100 {
			r := Request{
				Action: pick(rng, "s3:GetObject", "s3:PutObject", "iam:GetUser"), Resource: pick(rng, "arn:aws:s3:::a/b", "arn:aws:s3:::a/bb", "arn:aws:s3:::b/a"),
				ResourceAccount: "111111111111", Principal: asRole(), Context: contextOf(map[string][]string{"a:k": {pick(rng, "a", "b")}}),
			}
			if rng.IntN(2) == 0 {
				r.Context = &Context{}
			}
			before := Evaluate(&r, &base)
			reversed := Layers{Identity: set(t, Identity, identity[2], identity[1], identity[0])}
			if d := Evaluate(&r, &reversed); d != before {
				t.Fatalf("the order of policies decides: %+v, %+v on %+v", before, d, r)
			}
			for name, more := range map[string]Layers{
				"a Deny":     {Identity: set(t, Identity, append(identity[:3:3], one(randomStatement(rng, "Deny")))...)},
				"a boundary": {Identity: base.Identity, Boundary: random(Identity, "")},
				"a session":  {Identity: base.Identity, Session: random(Session, "")},
				"a cap":      {Identity: base.Identity, Caps: []*Set{random(Session, "")}},
				"an SCP":     {Identity: base.Identity, SCPs: []Level{{Set: random(SCP, "")}}},
				"trust":      {Identity: base.Identity, TrustOnly: true},
			} {
				if d := Evaluate(&r, &more); before.Verdict != Allowed && d.Verdict == Allowed {
					t.Fatalf("%s allows what was not allowed: %+v", name, r)
				}
			}
			if want := reference(identity, &r); (before.Verdict == Allowed) != want {
				t.Fatalf("%v on %+v: %+v, the reference says %v", identity, r, before, want)
			}
		}
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func randomStatement(rng *rand.Rand, effect string) string {
	if effect == "" {
		effect = pick(rng, "Allow", "Allow", "Deny")
	}
	s := fmt.Sprintf(`{'Effect':'%s','%s':'%s','%s':'%s'`, effect, pick(rng, "Action", "Action", "NotAction"), pick(rng, "*", "s3:*", "s3:Get*", "iam:GetUser"),
		pick(rng, "Resource", "Resource", "NotResource"), pick(rng, "*", "arn:aws:s3:::a/*", "arn:aws:s3:::*/b?", "arn:aws:s3:::${a:k}/*"))
	if rng.IntN(2) == 0 {
		s += fmt.Sprintf(`,'Condition':{'%s':{'a:k':'%s'}}`, pick(rng, "StringEquals", "StringNotEquals", "StringLikeIfExists", "ForAllValues:StringEquals"), pick(rng, "a", "b"))
	}
	return s + "}"
}

// reference decides over identity policies as the documentation says it, one
// statement after the other, with a matcher that tries everything.
func reference(texts []string, r *Request) bool {
	allowed := false
	for _, text := range texts {
		doc, _, err := Parse(Identity, []byte(text))
		if err != nil {
			panic(err)
		}
		for i := range doc.Statements {
			s := &doc.Statements[i]
			action, resource, holds := false, false, true
			for _, a := range s.Actions {
				action = action || slowMatch(a, strings.ToLower(r.Action), r.Context)
			}
			for _, p := range s.Resources {
				whole := Pattern{}
				for j, part := range p.Parts {
					if j > 0 {
						whole = append(whole, Token{Kind: Literal, Text: ":"})
					}
					whole = append(whole, part...)
				}
				resource = resource || p.All || slowMatch(whole, r.Resource, r.Context)
			}
			for j := range s.Conditions {
				holds = holds && slowHolds(&s.Conditions[j], r.Context)
			}
			if action == s.NotAction || resource == s.NotResource || !holds {
				continue
			}
			if s.Effect == Deny {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

func slowMatch(p Pattern, text string, c *Context) bool {
	if len(p) == 0 {
		return text == ""
	}
	switch t := p[0]; t.Kind {
	case Run:
		for i := range len(text) + 1 {
			if slowMatch(p[1:], text[i:], c) {
				return true
			}
		}
		return false
	case One:
		return text != "" && slowMatch(p[1:], text[1:], c)
	case Variable:
		values, found := c.Get(t.Text)
		if !found && t.HasDefault {
			values, found = []string{t.Default}, true
		}
		if !found || !strings.HasPrefix(text, values[0]) {
			return false
		}
		return slowMatch(p[1:], text[len(values[0]):], c)
	default:
		return strings.HasPrefix(text, t.Text) && slowMatch(p[1:], text[len(t.Text):], c)
	}
}

func slowHolds(cond *Condition, c *Context) bool {
	values, found := c.Get(cond.Key)
	if !found {
		return cond.IfExists || cond.Quantifier == ForAllValues || cond.Operator.Inverted()
	}
	return (values[0] == cond.Values[0].Text) != cond.Operator.Inverted()
}

// FuzzEvaluate: whatever a policy says, a decision ends, and explaining it
// decides the same.
func FuzzEvaluate(f *testing.F) {
	f.Add(one(allowAll), "s3:GetObject", object, "a")
	f.Add(one(`{'Effect':'Deny','NotAction':'s3:*','NotResource':'arn:aws:s3:::${a:k}*/?','Condition':{'StringNotLike':{'a:k':'*a*a*b'}}}`), "iam:GetUser", "arn:aws:s3:::aaaaaaaaaaaa/b", "aaaaaaaa")
	f.Fuzz(func(t *testing.T, text, action, resource, value string) {
		doc, _, err := Parse(Identity, []byte(text))
		if err != nil {
			return
		}
		l := Layers{Identity: Compile(Source{Name: "p", Document: doc}), Boundary: Compile(Source{Name: "b", Document: doc})}
		r := Request{Action: action, Resource: resource, ResourceAccount: "111111111111", Principal: asUser(), Context: contextOf(map[string][]string{"a:k": {value}})}
		d := Evaluate(&r, &l)
		if e := Explain(&r, &l); e.Decision != d && d.Verdict != ExplicitlyDenied {
			t.Errorf("Evaluate says %+v, Explain %+v", d, e.Decision)
		}
	})
}

// FuzzMatch holds the matcher to one that tries everything.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?c*", "axxbyc", "v")
	f.Add("${a:k}*${a:k}", "vv", "v")
	f.Fuzz(func(t *testing.T, pattern, text, value string) {
		if len(pattern) > 12 || len(text) > 24 || strings.ContainsFunc(text+value, func(r rune) bool { return r > 127 }) {
			return
		}
		p, wrong := parsePattern(pattern, syntax{wildcards: true, variables: true})
		if wrong != nil {
			return
		}
		g, c := newGlob(p, false), contextOf(map[string][]string{"a:k": {value}})
		for _, token := range p {
			if token.Kind == Variable && token.Text != "a:k" && !token.HasDefault {
				return
			}
		}
		if got, want := g.match(text, c), slowMatch(p, text, c); got != want {
			t.Errorf("%q on %q with %q: %v, want %v", pattern, text, value, got, want)
		}
	})
}

// TestManyVariables evaluates a pattern at its limits.
func TestManyVariables(t *testing.T) {
	t.Parallel()
	identity := set(t, Identity, one(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:s3:::`+strings.Repeat("${k:a}", maxVariables)+strings.Repeat("?", maxOnes)+`'}`))
	r := &Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::" + strings.Repeat("x", maxVariables+maxOnes), Principal: asUser(), ResourceAccount: "111111111111", Context: &Context{}}
	r.Context.Set("k:a", "x")
	if got := Evaluate(r, &Layers{Identity: identity}); got.Verdict != Allowed {
		t.Errorf("decided %+v", got)
	}
}

// TestLongRequests shows that what is too long is refused, even to who may do all.
func TestLongRequests(t *testing.T) {
	t.Parallel()
	l := &Layers{Identity: set(t, Identity, one(allowAll))}
	for _, r := range []*Request{
		{Action: "s3:" + strings.Repeat("a", maxAction), Resource: object},
		{Action: "s3:GetObject", Resource: object + strings.Repeat("a", maxResource)},
	} {
		r.Principal, r.ResourceAccount = asUser(), "111111111111"
		if got := Evaluate(r, l); got.Verdict != ImplicitlyDenied || len(Explain(r, l).Missing) == 0 {
			t.Errorf("decided %+v", got)
		}
	}
}

// TestTrustPolicies evaluates policies that name no resource: they are about
// the role that they are attached to.
func TestTrustPolicies(t *testing.T) {
	t.Parallel()
	trust := set(t, Trust, one(`{'Effect':'Allow','Principal':{'AWS':'`+alice+`'},'Action':'sts:AssumeRole'}`))
	for action, want := range map[string]Verdict{"sts:AssumeRole": Allowed, "sts:TagSession": ImplicitlyDenied} {
		r := &Request{Action: action, Resource: roleR, ResourceAccount: "111111111111", Principal: asUser()}
		if d := Evaluate(r, &Layers{Resource: trust, TrustOnly: true}); d.Verdict != want {
			t.Errorf("%s: %+v", action, d)
		}
	}
}

// TestDocumentsThatWereNotParsed: the parser refuses an Allow with
// NotPrincipal, and one that comes about in another way allows nobody.
func TestDocumentsThatWereNotParsed(t *testing.T) {
	t.Parallel()
	doc, _, err := Parse(Resource, []byte(notPrincipal(alice)))
	if err != nil {
		t.Fatal(err)
	}
	doc.Statements[0].Effect = Allow
	r := &Request{Action: "s3:GetObject", Resource: object, ResourceAccount: "111111111111", Principal: asRole()}
	if d := Evaluate(r, &Layers{Resource: Compile(Source{Document: doc})}); d.Verdict != ImplicitlyDenied {
		t.Errorf("decided %+v", d)
	}
}
