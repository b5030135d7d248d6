package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	deny  = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`
	other = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}`

	user      = `arn:aws:iam::111111111111:user/u`
	role      = `arn:aws:iam::111111111111:role/r`
	session   = `arn:aws:sts::111111111111:assumed-role/r/s`
	federated = `arn:aws:sts::111111111111:federated-user/f`
)

// grant is a resource policy; its principal is JSON.
func grant(effect, principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"s3:*","Resource":"*"}]}`
}

// trust is a trust policy, which names no resource.
func trust(principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}]}`
}

func when(condition string) string {
	return `"identityPolicies":[{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":` + condition + `}]}]`
}

func request(principal, action, resource, more string) string {
	return `"request":{"action":"` + action + `","resource":{"resource":"` + resource + `","accountId":"111111111111"},"principal":"` + principal + `"` + more + `}`
}

func get(principal string) string { return request(principal, "s3:GetObject", "arn:aws:s3:::b/k", "") }

func with(context string) string {
	return request(user, "s3:GetObject", "arn:aws:s3:::b/k", `,"context":`+context)
}

func assume(principal string) string {
	return request(principal, "sts:AssumeRole", role, "")
}

// TestDecide lists requests as an outsider writes them, and the outcome with
// what blocked.
func TestDecide(t *testing.T) {
	t.Parallel()
	identity := `"identityPolicies":[` + allow + `]`
	level := func(policies string) string { return `{"orgIdentifier":"ou","policies":[` + policies + `]}` }
	denyRCP := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}]}`
	for name, tt := range map[string]struct{ fields, want string }{
		"nothing attached":            {get(user), "ImplicitlyDenied identity"},
		"identity allows":             {get(user) + "," + identity, "Allowed"},
		"identity denies":             {get(user) + `,"identityPolicies":[` + allow + `,` + deny + `]`, "ExplicitlyDenied identity"},
		"a statement that is no list": {get(user) + `,"identityPolicies":[{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}]`, "Allowed"},
		"unknown fields":              {get(user) + `,"expected":{"response":"x"},"simulation":7,` + identity, "Allowed"},
		"another account's":           {`"request":{"action":"s3:GetObject","resource":{"resource":"arn:aws:s3:::b/k","accountId":"222222222222"},"principal":"` + user + `"},` + identity, "ImplicitlyDenied resource"},
		"the account in the ARN":      {`"request":{"action":"lambda:X","resource":{"resource":"arn:aws:lambda:r:111111111111:function:f"},"principal":"` + user + `"},` + identity, "Allowed"},

		"no boundary":               {get(user) + `,"permissionBoundaries":null,` + identity, "Allowed"},
		"an empty boundary":         {get(user) + `,"permissionBoundaries":[],` + identity, "ImplicitlyDenied pb"},
		"any boundary may allow":    {get(user) + `,"permissionBoundaries":[` + other + `,` + allow + `],` + identity, "Allowed"},
		"a boundary does not grant": {get(user) + `,"permissionBoundaries":[` + allow + `]`, "ImplicitlyDenied identity"},
		"a boundary denies":         {get(user) + `,"permissionBoundaries":[` + deny + `],` + identity, "ExplicitlyDenied pb"},
		"no session policies":       {get(session) + "," + identity, "Allowed"},
		"empty session policies":    {get(session) + `,"sessionPolicies":[],` + identity, "ImplicitlyDenied session"},
		"session policies":          {get(session) + `,"sessionPolicies":[` + other + `],` + identity, "ImplicitlyDenied session"},
		"federated without":         {get(federated) + "," + identity, "ImplicitlyDenied session"},
		"federated with":            {get(federated) + `,"sessionPolicies":[` + allow + `],` + identity, "Allowed"},

		"no levels":                {get(user) + `,"serviceControlPolicies":[],` + identity, "Allowed"},
		"a level without policies": {get(user) + `,"serviceControlPolicies":[` + level("") + `],` + identity, "ImplicitlyDenied scp"},
		"every level":              {get(user) + `,"serviceControlPolicies":[` + level(allow) + `,` + level(other) + `],` + identity, "ImplicitlyDenied scp"},
		"all levels allow":         {get(user) + `,"serviceControlPolicies":[` + level(allow) + `,` + level(other+`,`+allow) + `],` + identity, "Allowed"},
		"RCPs allow by themselves": {get(user) + `,"resourceControlPolicies":[` + level("") + `],` + identity, "Allowed"},
		"RCPs deny":                {get(user) + `,"resourceControlPolicies":[` + level("") + `,` + level(denyRCP) + `],` + identity, "ExplicitlyDenied rcp"},
		"SCPs leave services":      {get("s3.amazonaws.com") + `,"serviceControlPolicies":[` + level("") + `],"resourcePolicy":` + grant("Allow", `{"Service":"s3.amazonaws.com"}`), "Allowed"},
		"the order of blockers": {request(session, "s3:GetObject", "arn:aws:s3:::b/k", "") + `,"serviceControlPolicies":[` + level(deny) + `],"resourceControlPolicies":[` + level(denyRCP) +
			`],"permissionBoundaries":[` + deny + `],"sessionPolicies":[` + deny + `],"identityPolicies":[` + deny + `],"resourcePolicy":` + grant("Deny", `"*"`), "ExplicitlyDenied scp rcp pb session identity resource"},

		"the user named":         {get(user) + `,"permissionBoundaries":[],"resourcePolicy":` + grant("Allow", `{"AWS":"`+user+`"}`), "Allowed"},
		"the account named":      {get(user) + `,"resourcePolicy":` + grant("Allow", `{"AWS":"111111111111"}`), "ImplicitlyDenied identity"},
		"a role as such named":   {get(role) + `,"resourcePolicy":` + grant("Allow", `{"AWS":"`+role+`"}`), "Allowed"},
		"a role is bounded":      {get(role) + `,"permissionBoundaries":[],"resourcePolicy":` + grant("Allow", `{"AWS":"`+role+`"}`), "ImplicitlyDenied pb"},
		"a session's role named": {get(session) + `,"resourcePolicy":` + grant("Allow", `{"AWS":"`+role+`"}`), "Allowed"},
		"a session named":        {get(session) + `,"permissionBoundaries":[],"resourcePolicy":` + grant("Allow", `{"AWS":"`+session+`"}`), "Allowed"},
		"a role denied":          {get(session) + "," + identity + `,"resourcePolicy":` + grant("Deny", `{"AWS":"`+role+`"}`), "ExplicitlyDenied resource"},
		"a session of a role that has a path": {request(session, "s3:GetObject", "arn:aws:s3:::b/k", `,"context":{"AWS:principalarn":"arn:aws:iam::111111111111:role/team/r"}`) +
			`,"resourcePolicy":` + grant("Allow", `{"AWS":"arn:aws:iam::111111111111:role/team/r"}`), "Allowed"},
		"a session of another role": {request(session, "s3:GetObject", "arn:aws:s3:::b/k", `,"context":{"aws:PrincipalArn":"arn:aws:iam::111111111111:role/other"}`) +
			`,"resourcePolicy":` + grant("Allow", `{"AWS":"arn:aws:iam::111111111111:role/other"}`), "ImplicitlyDenied identity"},
		"the user who federated": {request(federated, "s3:GetObject", "arn:aws:s3:::b/k", `,"context":{"aws:PrincipalArn":"`+user+`"}`) +
			`,"sessionPolicies":[` + allow + `],"resourcePolicy":` + grant("Allow", `{"AWS":"`+user+`"}`), "Allowed"},
		"the root":                {get("arn:aws:iam::111111111111:root"), "Allowed"},
		"anonymous":               {get("anonymous") + "," + identity, "ImplicitlyDenied resource"},
		"anonymous, to everybody": {get("anonymous") + `,"resourcePolicy":` + grant("Allow", `"*"`), "Allowed"},
		"anonymous, to somebody":  {get("anonymous") + `,"resourcePolicy":` + grant("Allow", `{"AWS":"`+user+`"}`), "ImplicitlyDenied resource"},
		"a service":               {get("events.amazonaws.com") + `,"resourcePolicy":` + grant("Allow", `{"Service":"events.amazonaws.com"}`), "Allowed"},
		"another service":         {get("logs.amazonaws.com") + `,"resourcePolicy":` + grant("Allow", `{"Service":"events.amazonaws.com"}`), "ImplicitlyDenied resource"},

		"a role nobody may assume":           {assume(user) + "," + identity, "ImplicitlyDenied resource"},
		"a trust policy without a resource":  {assume(user) + `,"resourcePolicy":` + trust(`{"AWS":"`+user+`"}`), "Allowed"},
		"a trust policy with one":            {assume(user) + `,"resourcePolicy":` + strings.Replace(trust(`{"AWS":"`+user+`"}`), `"Action"`, `"Resource":"*","Action"`, 1), "Allowed"},
		"trust in the account":               {assume(user) + `,"resourcePolicy":` + trust(`{"AWS":"111111111111"}`), "ImplicitlyDenied identity"},
		"trust in the account, and identity": {assume(user) + "," + identity + `,"resourcePolicy":` + trust(`{"AWS":"111111111111"}`), "Allowed"},
		"trust in a service":                 {assume("lambda.amazonaws.com") + `,"resourcePolicy":` + trust(`{"Service":"lambda.amazonaws.com"}`), "Allowed"},
		"trust in a provider": {request("arn:aws:iam::111111111111:oidc-provider/idp.example.com", "sts:AssumeRoleWithWebIdentity", role, "") +
			`,"resourcePolicy":` + strings.Replace(trust(`{"Federated":"arn:aws:iam::111111111111:oidc-provider/idp.example.com"}`), "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", 1), "Allowed"},
		"trust in a provider's host": {request("idp.example.com", "sts:AssumeRoleWithWebIdentity", role, "") +
			`,"resourcePolicy":` + strings.Replace(trust(`{"Federated":"idp.example.com"}`), "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", 1), "Allowed"},
		"who am I":               {request(user, "sts:getcalleridentity", "*", "") + `,"identityPolicies":[` + deny + `]`, "Allowed"},
		"a key":                  {request(user, "kms:Decrypt", "arn:aws:kms:r:111111111111:key/k", "") + "," + identity, "ImplicitlyDenied resource"},
		"a key for the account":  {request(user, "kms:Decrypt", "arn:aws:kms:r:111111111111:key/k", "") + "," + identity + `,"resourcePolicy":` + strings.ReplaceAll(grant("Allow", `{"AWS":"111111111111"}`), "s3:", "kms:"), "Allowed"},
		"without identity":       {request(user, "kms:Decrypt", "arn:aws:kms:r:111111111111:key/k", "") + `,"resourcePolicy":` + strings.ReplaceAll(grant("Allow", `{"AWS":"111111111111"}`), "s3:", "kms:"), "ImplicitlyDenied identity"},
		"a key for everybody":    {request(user, "kms:Decrypt", "arn:aws:kms:r:111111111111:key/k", "") + `,"resourcePolicy":` + strings.ReplaceAll(grant("Allow", `"*"`), "s3:", "kms:"), "Allowed"},
		"a key for nobody":       {request(user, "kms:Decrypt", "arn:aws:kms:r:111111111111:key/k", ""), "ImplicitlyDenied identity resource"},
		"no key":                 {request(user, "kms:ListKeys", "*", "") + "," + identity, "Allowed"},
		"the platform's alias":   {request(user, "kms:DeleteAlias", "arn:aws:kms:r:111111111111:alias/aws/s3", "") + "," + identity, "ImplicitlyDenied resource"},
		"an alias":               {request(user, "kms:DeleteAlias", "arn:aws:kms:r:111111111111:alias/mine", "") + "," + identity, "Allowed"},
		"the platform's policy":  {request(user, "iam:DeletePolicy", "arn:aws:iam::aws:policy/AdministratorAccess", "") + "," + identity, "ImplicitlyDenied resource"},
		"reading it":             {request(user, "iam:GetPolicy", "arn:aws:iam::aws:policy/AdministratorAccess", "") + "," + identity, "Allowed"},
		"the platform's role":    {request(user, "iam:PassRole", "arn:aws:iam::111111111111:role/aws-reserved/x", "") + "," + identity, "ImplicitlyDenied resource"},
		"denied anyway":          {request(user, "iam:DeletePolicy", "arn:aws:iam::aws:policy/P", "") + `,"identityPolicies":[` + deny + `]`, "ExplicitlyDenied identity"},
		"an action with a comma": {get(user) + `,"identityPolicies":[` + strings.Replace(allow, `"Action":"*"`, `"Action":"s3:GetObject,PutObject"`, 1) + `]`, "ImplicitlyDenied identity"},
		"no action but blanks":   {get(user) + `,"identityPolicies":[` + strings.Replace(allow, `"Action":"*"`, `"Action":["s3:   ","s3: GetObject","s3:GetObject "]`, 1) + `]`, "ImplicitlyDenied identity"},
		"all but no action":      {get(user) + `,"identityPolicies":[` + strings.Replace(allow, `"Action":"*"`, `"NotAction":"s3:"`, 1) + `]`, "Allowed"},
		"a denial of no action":  {get(user) + `,"identityPolicies":[` + allow + `,` + strings.Replace(deny, `"Action":"*"`, `"Action":"s3:Get*,Put*"`, 1) + `]`, "Allowed"},
		"no statements":          {get(user) + "," + identity + `,"serviceControlPolicies":[` + level(`{"Version":"2012-10-17","Statement":[]}`) + `]`, "ImplicitlyDenied scp"},
		"a bare user":            {get(user) + `,"resourcePolicy":` + grant("Allow", `"`+user+`"`), "Allowed"},
		"a bare role, bounded":   {get(session) + `,"permissionBoundaries":[` + other + `],"resourcePolicy":` + grant("Allow", `"`+role+`"`), "ImplicitlyDenied pb"},
		"a bare session":         {get(session) + `,"permissionBoundaries":[` + other + `],"resourcePolicy":` + grant("Allow", `"`+session+`"`), "Allowed"},
		"a bare account":         {get(user) + "," + identity + `,"resourcePolicy":` + grant("Deny", `"111111111111"`), "ExplicitlyDenied resource"},
		"anonymous as an object": {strings.Replace(get("x"), `"x"`, `{"type":"Anonymous"}`, 1) + `,"resourcePolicy":` + grant("Allow", `"*"`), "Allowed"},
		"no account":             {`"request":{"action":"s3:GetObject","resource":{"resource":"arn:aws:s3:::b/k"},"principal":"` + user + `"},` + identity, "Allowed"},
		"case of keys":           {with(`{"AWS:tagkeys":["a"]}`) + "," + when(`{"ForAnyValue:StringEquals":{"aws:TagKeys":"a"}}`), "Allowed"},
		"no ARN":                 {request(user, "iam:DeletePolicy", "P", "") + "," + identity, "Allowed"},

		"a key of one value":              {with(`{"s3:prefix":"a"}`) + "," + when(`{"StringEquals":{"s3:prefix":"a"}}`), "Allowed"},
		"a key of a set":                  {with(`{"s3:prefix":["a"]}`) + "," + when(`{"StringEquals":{"s3:prefix":"a"}}`), "ImplicitlyDenied identity"},
		"a set":                           {with(`{"aws:TagKeys":["a","b"]}`) + "," + when(`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`), "Allowed"},
		"an empty set is there":           {with(`{"aws:TagKeys":[]}`) + "," + when(`{"Null":{"aws:TagKeys":"false"}}`), "Allowed"},
		"numbers and truth values":        {with(`{"aws:MultiFactorAuthAge":15,"aws:SecureTransport":true}`) + "," + when(`{"NumericLessThan":{"aws:MultiFactorAuthAge":"16"},"Bool":{"aws:SecureTransport":"true"}}`), "Allowed"},
		"who asks":                        {get(user) + "," + when(`{"StringEquals":{"aws:PrincipalArn":"`+user+`","aws:PrincipalAccount":"111111111111","aws:PrincipalType":"User","aws:username":"u","aws:ResourceAccount":"111111111111"},"Bool":{"aws:PrincipalIsAWSService":"false"}}`), "Allowed"},
		"a session has its role's ARN":    {get(session) + "," + when(`{"StringEquals":{"aws:PrincipalArn":"`+role+`","aws:PrincipalType":"AssumedRole"}}`), "Allowed"},
		"what is given replaces it":       {with(`{"aws:PrincipalAccount":"9"}`) + "," + when(`{"StringEquals":{"aws:PrincipalAccount":"9"}}`), "Allowed"},
		"there is no clock":               {get(user) + "," + when(`{"DateGreaterThan":{"aws:CurrentTime":"2000-01-01T00:00:00Z"}}`), "ImplicitlyDenied identity"},
		"a service's keys":                {get("s3.amazonaws.com") + `,"resourcePolicy":{"Statement":{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:PrincipalIsAWSService":"true"},"StringEquals":{"aws:PrincipalServiceName":"s3.amazonaws.com"},"Null":{"aws:PrincipalArn":"true"}}}}`, "Allowed"},
		"a variable":                      {with(`{"carrel:TenantId":"acme"}`) + `,"identityPolicies":[{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${tenant_id}/*"}}]`, "ImplicitlyDenied identity"},
		"a variable with the right value": {with(`{"tenant_id":"b"}`) + `,"identityPolicies":[{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${tenant_id}/*"}}]`, "Allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, `{"name":"n",`+tt.fields+`}`)[0]
			if got := strings.Join(append([]string{r.Decision}, r.BlockedBy...), " "); got != tt.want || r.Error != "" || r.Name != "n" {
				t.Errorf("got %s (%+v), want %s", got, r, tt.want)
			}
		})
	}
}

// run feeds lines to Batch and reads its results.
func run(t *testing.T, lines ...string) (results []Result) {
	t.Helper()
	var out bytes.Buffer
	if err := Batch(strings.NewReader(strings.Join(lines, "\n")), &out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var r Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		results = append(results, r)
	}
	return results
}

// TestRefused lists what is no case, or holds a policy that AWS would refuse:
// there is an error and no decision.
func TestRefused(t *testing.T) {
	t.Parallel()
	bad := `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLikes":{"aws:username":"a"}}}}`
	for name, tt := range map[string]struct{ line, want string }{
		"no JSON":                 {`{"name":`, "line 1"},
		"no object":               {`[]`, "line 1"},
		"too long":                {`{"name":"` + strings.Repeat("x", maxLine) + `"}`, "longer"},
		"no principal":            {`{"name":"n","request":{"action":"s3:GetObject","resource":{"resource":"*"}}}`, "principal"},
		"an odd principal":        {`{"name":"n",` + get("arn:aws:iam::111111111111:group/g") + `}`, "principal"},
		"an empty name":           {`{"name":"n",` + get("arn:aws:iam::111111111111:user/") + `}`, "principal"},
		"a session of none":       {`{"name":"n",` + get("arn:aws:sts::111111111111:assumed-role/r") + `}`, "principal"},
		"no account":              {`{"name":"n",` + get("arn:aws:iam::1:user/u") + `}`, "principal"},
		"a word":                  {`{"name":"n",` + get("everybody") + `}`, "principal"},
		"a principal's object":    {`{"name":"n",` + strings.Replace(get("x"), `"x"`, `{"type":"Service"}`, 1) + `}`, "principal"},
		"a principal's odd type":  {`{"name":"n",` + strings.Replace(get("x"), `"x"`, `{"type":7}`, 1) + `}`, "line 1"},
		"a bare word":             {`{"name":"n",` + get(user) + `,"resourcePolicy":` + grant("Allow", `"alice"`) + `}`, "resourcePolicy: $.Statement[0].Principal.AWS"},
		"no action":               {`{"name":"n",` + request(user, "", "*", "") + `}`, "action"},
		"identity":                {`{"name":"n",` + get(user) + `,"identityPolicies":[` + allow + `,` + bad + `]}`, "identityPolicies[1]: $.Statement.Condition.StringLikes"},
		"boundary":                {`{"name":"n",` + get(user) + `,"permissionBoundaries":[` + bad + `]}`, "permissionBoundaries[0]"},
		"session":                 {`{"name":"n",` + get(user) + `,"sessionPolicies":[` + bad + `]}`, "sessionPolicies[0]"},
		"SCP":                     {`{"name":"n",` + get(user) + `,"serviceControlPolicies":[{},{"policies":[` + bad + `]}]}`, "serviceControlPolicies[1].policies[0]"},
		"RCP":                     {`{"name":"n",` + get(user) + `,"resourceControlPolicies":[{"policies":[` + allow + `]}]}`, "resourceControlPolicies[0].policies[0]"},
		"resource":                {`{"name":"n",` + get(user) + `,"resourcePolicy":` + bad + `}`, "resourcePolicy"},
		"resource, no trust":      {`{"name":"n",` + get(user) + `,"resourcePolicy":{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*"}}}`, "$.Statement: the statement has neither Resource"},
		"even where all may":      {`{"name":"n",` + request(user, "sts:GetCallerIdentity", "*", "") + `,"identityPolicies":[` + bad + `]}`, "identityPolicies[0]"},
		"a key without value":     {`{"name":"n",` + with(`{"a:b":null}`) + `}`, "string"},
		"a key that is an object": {`{"name":"n",` + with(`{"a:b":{}}`) + `}`, "string"},
		"a list in a list":        {`{"name":"n",` + with(`{"a:b":[["x"]]}`) + `}`, "list"},
		"a list of objects":       {`{"name":"n",` + with(`{"a:b":[{}]}`) + `}`, "string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, tt.line)[0]
			if r.Decision != "" || r.Statements != nil || !strings.Contains(r.Error, tt.want) {
				t.Errorf("got %+v, want an error with %q", r, tt.want)
			}
		})
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	named := `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Sid":"No","Effect":"Deny","Action":"s3:GetObject","Resource":"*"}]}`
	r := run(t, `{"name":"n",`+get(user)+`,"identityPolicies":[`+allow+`,`+named+`],"serviceControlPolicies":[{"orgIdentifier":"ou-1","policies":[`+named+`]}]}`)[0]
	want := []Statement{
		{Policy: "identityPolicies[1]", Index: 1, SID: "No", Effect: "Deny"},
		{Policy: "serviceControlPolicies[0].policies[0]", Level: "ou-1", Index: 1, SID: "No", Effect: "Deny"},
	}
	if r.Statements == nil || !slices.Equal(*r.Statements, want) {
		t.Errorf("got %+v, want %+v", r.Statements, want)
	}
	var out bytes.Buffer
	if err := Batch(strings.NewReader(`{"name":"<n>",`+get(user)+`}`), &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != `{"name":"<n>","decision":"ImplicitlyDenied","blockedBy":["identity"],"statements":[]}`+"\n" {
		t.Errorf("got %s", got)
	}
}

// TestOrder has a result for every line, in order, whatever the others are.
func TestOrder(t *testing.T) {
	t.Parallel()
	results := run(t, `{"name":"1",`+get(user)+`}`, "", "x", strings.Repeat("y", maxLine+70<<10), "  ", `{"name":"2",`+get(user)+`}`)
	if len(results) != 4 || results[0].Name != "1" || results[1].Error == "" || !strings.Contains(results[1].Error, "line 3") || !strings.Contains(results[2].Error, "line 4") || results[3].Name != "2" {
		t.Errorf("got %+v", results)
	}
}

// TestEditors has what editors leave in files change no answer: a byte order
// mark, carriage returns, blank lines, and no end of the last line.
func TestEditors(t *testing.T) {
	t.Parallel()
	line := `{"name":"n",` + get(user) + `,"identityPolicies":[` + allow + `]}`
	for _, r := range run(t, "\ufeff"+line+"\r", "\r", "\t", line+"\r", line) {
		if r.Name != "n" || r.Decision != "Allowed" {
			t.Errorf("got %+v", r)
		}
	}
	if got := len(run(t, "\ufeff"+line+"\r", "\r", "\t", line+"\r", line)); got != 3 {
		t.Errorf("%d answers to 3 cases", got)
	}
}

// TestAnswersAtOnce speaks to Batch line by line: each answer comes before the
// next question.
func TestAnswersAtOnce(t *testing.T) {
	t.Parallel()
	questions, ask := io.Pipe()
	answers, tell := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- errors.Join(Batch(questions, tell), tell.Close()) }()
	decoder := json.NewDecoder(answers)
	for range 3 {
		if _, err := io.WriteString(ask, `{"name":"n",`+get(user)+"}\n"); err != nil {
			t.Fatal(err)
		}
		var r Result
		if err := decoder.Decode(&r); err != nil || r.Decision != "ImplicitlyDenied" {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
	ask.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestBrokenPipes(t *testing.T) {
	t.Parallel()
	if err := Batch(iotest.ErrReader(io.ErrNoProgress), io.Discard); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("reading fails and the error is %v", err)
	}
	line := `{"name":"` + strings.Repeat("n", 9000) + `",` + get(user) + "}\n"
	for name, text := range map[string]string{"at the end": get(user)[:1], "between": `{"name":"n"}` + "\n", "inside": line + line} {
		if err := Batch(strings.NewReader(text), full{}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: writing fails and the error is %v", name, err)
		}
	}
}

// FuzzBatch has an answer for every line, or an error, and never panics.
func FuzzBatch(f *testing.F) {
	f.Add(`{"name":"n",` + get(user) + `,"identityPolicies":[` + allow + `]}`)
	f.Add(`{"name":"n",` + assume("lambda.amazonaws.com") + `,"resourcePolicy":` + trust(`{"Service":"lambda.amazonaws.com"}`) + `}`)
	f.Add(with(`{"a:b":["x",1,true]}`))
	f.Fuzz(func(t *testing.T, text string) {
		var out bytes.Buffer
		if err := Batch(strings.NewReader(text), &out); err != nil {
			t.Fatal(err)
		}
		want := 0
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) != "" {
				want++
			}
		}
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("%d lines, %d answers", want, got)
		}
	})
}
