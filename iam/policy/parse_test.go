package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// pooled is the policy that this product is about.
const pooled = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::myapp-${tenant_id}/*"}]}`

func TestThePooledTenantPolicy(t *testing.T) {
	t.Parallel()
	d, warnings, err := Parse(Identity, []byte(pooled))
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	want := &Document{Kind: Identity, Version: Version2012, Written: map[string]string{"s3:getobject": "s3:GetObject", "carrel:tenantid": "carrel:TenantId"}, Statements: []Statement{{
		Effect:  Allow,
		Actions: []Pattern{{{Kind: Literal, Text: "s3:getobject"}}},
		Resources: []ARNPattern{{Parts: [6]Pattern{
			{{Kind: Literal, Text: "arn"}}, {{Kind: Literal, Text: "aws"}}, {{Kind: Literal, Text: "s3"}}, nil, nil,
			{{Kind: Literal, Text: "myapp-"}, {Kind: Variable, Text: "carrel:tenantid"}, {Kind: Literal, Text: "/"}, {Kind: Run}},
		}}},
	}}}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("parsed to %+v\nwant %+v", d, want)
	}
}

// in puts elements into a statement of a policy of a version.
func in(version Version, elements string) string {
	return fmt.Sprintf(`{"Version":%q,"Statement":[{%s}]}`, version, elements)
}

// TestParseForeign takes what has one meaning only, and refuses the rest as
// ParseFor does, which itself takes none of it.
func TestParseForeign(t *testing.T) {
	t.Parallel()
	named := func(p string) string {
		return in(Version2012, `"Effect":"Allow","Principal":`+p+`,"Action":"s3:GetObject","Resource":"*"`)
	}
	act := func(a string) string { return in(Version2012, `"Effect":"Deny","Action":`+a+`,"Resource":"*"`) }
	const arn = "arn:aws:iam::111111111111:user/u"
	for text, kind := range map[string]Kind{
		`{"Statement":[]}`: SCP, act(`"s3:"`): Identity, act(`["s3:GetObject ","s3:Get*,Put*"]`): Identity, named(`"` + arn + `"`): Resource, named(`"111111111111"`): Resource,
	} {
		if _, _, err := ParseFor(ResourceUse, kind, []byte(text)); err == nil {
			t.Errorf("ParseFor takes %s", text)
		}
		d, err := ParseForeign(ResourceUse, kind, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if kind == Resource && !strings.HasSuffix(d.Statements[0].Principals.AWS[0], ":root") && d.Statements[0].Principals.AWS[0] != arn {
			t.Errorf("%s is about %v", text, d.Statements[0].Principals)
		}
	}
	for text, kind := range map[string]Kind{
		`{"Statement":`: SCP, `{}`: SCP, act(`"GetObject"`): Identity, act(`"s 3:GetObject"`): Identity, named(`"alice"`): Resource, named(`"lambda.amazonaws.com"`): Resource,
		named(`"` + arn + `"`): Identity, in(Version2012, rest): Resource, withCondition(`{"StringLikes":{"a:b":"c"}}`): Identity, strings.Repeat(" ", MaxBytes+1): Identity,
	} {
		if _, err := ParseForeign(ResourceUse, kind, []byte(text)); err == nil {
			t.Errorf("ParseForeign takes %.80s", text)
		}
	}
}

const rest = `"Effect":"Allow","Action":"s3:GetObject","Resource":"*"`

// withCondition makes an identity policy with a condition.
func withCondition(c string) string { return in(Version2012, rest+`,"Condition":`+c) }

func TestRefused(t *testing.T) {
	t.Parallel()
	s3, star := `"Action":"s3:GetObject"`, `"Resource":"*"`
	for name, tt := range map[string]struct {
		kind       Kind
		text       string
		path, says string
	}{
		// JSON, as RFC 8259 has it, and AWS's set of characters.
		"empty":              {Identity, ``, "$", "ends too early"},
		"cut off":            {Identity, `{"Version":"2012-10-17"`, "$", "ends too early"},
		"cut in a string":    {Identity, `{"Vers`, "$", "ends too early"},
		"two documents":      {Identity, pooled + `{}`, "$", "after the end"},
		"no comma":           {Identity, `{"Version":"2012-10-17" "Id":""}`, "$", `'"' is not JSON`},
		"no comma in a list": {Identity, `{"Statement":[1 2]}`, "$.Statement", `'2' is not JSON`},
		"comma at the end":   {Identity, `{"Version":"2012-10-17",}`, "$", `'}' is not JSON`},
		"no colon":           {Identity, `{"Version" "2012-10-17"}`, "$.Version", `'"' is not JSON`},
		"comment":            {Identity, `{/**/}`, "$", "'/' is not JSON"},
		"single quotes":      {Identity, `{'Version':1}`, "$", "is not JSON"},
		"not a word":         {Identity, `{"Version":nul}`, "$.Version", "'n' is not JSON"},
		"bad number":         {Identity, `{"Version":-}`, "$.Version", "'}' is not JSON"},
		"bad fraction":       {Identity, `{"Version":1.}`, "$.Version", "'}' is not JSON"},
		"bad exponent":       {Identity, `{"Version":1e+}`, "$.Version", "'}' is not JSON"},
		"leading zero":       {Identity, `{"Version":01}`, "$", "'1' is not JSON"},
		"line break":         {Identity, "{\"Version\":\"\n\"}", "$.Version", `'\n' is not JSON`},
		"bad escape":         {Identity, `{"Version":"\x"}`, "$.Version", `'x' is not JSON`},
		"bad escaped name":   {Identity, `{"\x":""}`, "$", `'x' is not JSON`},
		"bad hex":            {Identity, `{"Version":"\u12g4"}`, "$.Version", "four hexadecimal digits"},
		"short hex":          {Identity, `{"Version":"\u12`, "$.Version", "four hexadecimal digits"},
		"half a pair":        {Identity, `{"Version":"\ud83d"}`, "$.Version", "surrogate"},
		"wrong pair":         {Identity, `{"Version":"\ud83d\u0041"}`, "$.Version", "surrogate"},
		"broken pair":        {Identity, `{"Version":"\ud83d\n"}`, "$.Version", "is not JSON"},
		"not UTF-8":          {Identity, "{\"Version\":\"\xff\"}", "$.Version", "UTF-8"},
		"beyond U+00FF":      {Identity, `{"Version":"日"}`, "$.Version", "cannot stand"},
		"nested":             {Identity, strings.Repeat("[", 20), "$[0][0][0][0][0][0][0][0][0]", "too deep"},
		"duplicate":          {Identity, `{"Version":"2012-10-17",` + "\n" + `"Version":"2008-10-17"}`, "$.Version", `line 2, column 1: "Version" stands twice`},
		"deep duplicate":     {Identity, withCondition(`{"StringEquals":{"aws:username":"a","aws:username":"b"}}`), `$.Statement[0].Condition.StringEquals["aws:username"]`, "stands twice"},
		"odd names":          {Identity, `{"":{"":1,"":2}}`, `$[""][""]`, "stands twice"},
		"too long":           {Identity, in(Version2012, rest+`,"Sid":"`+strings.Repeat("a", 6200)+`"`), "$", "6144"},
		"far too long":       {Identity, strings.Repeat(" ", MaxBytes+1), "$", "65536"},

		// The document.
		"not an object":      {Identity, `[]`, "$", "a list"},
		"unknown element":    {Identity, `{"version":"2012-10-17"}`, "$.version", "no element"},
		"unknown version":    {Identity, `{"Version":"2012-10-18","Statement":[]}`, "$.Version", "2012-10-17"},
		"version of numbers": {Identity, `{"Version":2012,"Statement":[]}`, "$.Version", "2012-10-17"},
		"no statement":       {Identity, `{}`, "$", "no Statement"},
		"empty statements":   {Identity, `{"Statement":[]}`, "$.Statement", "no statement"},
		"statement a string": {Identity, `{"Statement":"x"}`, "$.Statement", "a string"},
		"statement a number": {Identity, `{"Statement":[1]}`, "$.Statement[0]", "a number"},
		"id of an identity":  {Identity, `{"Id":"x","Statement":[]}`, "$.Id", "no Id"},
		"id not a string":    {Resource, `{"Id":null,"Statement":[]}`, "$.Id", "null"},

		// The statement.
		"unknown in statement": {Identity, in(Version2012, rest+`,"resource":"*"`), "$.Statement[0].resource", "no element"},
		"sid with a dash":      {Identity, in(Version2012, rest+`,"Sid":"a-b"`), "$.Statement[0].Sid", "'-'"},
		"sid with a control":   {Resource, in(Version2012, rest+`,"Principal":"*","Sid":"a\u0001"`), "$.Statement[0].Sid", `'\x01'`},
		"sid not a string":     {Identity, in(Version2012, rest+`,"Sid":true`), "$.Statement[0].Sid", "a truth value"},
		"sid long":             {Identity, in(Version2012, rest+`,"Sid":"`+strings.Repeat("a", 200)+`"`), "$.Statement[0].Sid", "200 bytes"},
		"sid twice":            {Identity, `{"Statement":[{"Sid":"A",` + rest + `},{"Sid":"A",` + rest + `}]}`, "$.Statement[1].Sid", "two statements"},
		"no effect":            {Identity, in(Version2012, s3+","+star), "$.Statement[0]", "no Effect"},
		"effect's case":        {Identity, in(Version2012, `"Effect":"allow",`+s3+","+star), "$.Statement[0].Effect", "neither"},
		"no action":            {Identity, in(Version2012, `"Effect":"Allow",`+star), "$.Statement[0]", "neither Action nor NotAction"},
		"both actions":         {Identity, in(Version2012, rest+`,"NotAction":"s3:*"`), "$.Statement[0]", "both Action and NotAction"},
		"empty actions":        {Identity, in(Version2012, `"Effect":"Allow","Action":[],`+star), "$.Statement[0].Action", "an empty list"},
		"action of numbers":    {Identity, in(Version2012, `"Effect":"Allow","Action":["s3:*",1],`+star), "$.Statement[0].Action[1]", "a number"},
		"action an object":     {Identity, in(Version2012, `"Effect":"Allow","Action":{},`+star), "$.Statement[0].Action", "an object"},
		"action a word":        {Identity, in(Version2012, `"Effect":"Allow","Action":"GetObject",`+star), "$.Statement[0].Action", "not an action"},
		"action's service":     {Identity, in(Version2012, `"Effect":"Allow","Action":"s*:Get",`+star), "$.Statement[0].Action", "the service of"},
		"action's variable":    {Identity, in(Version2012, `"Effect":"Allow","Action":"s3:${aws:username}",`+star), "$.Statement[0].Action", "other characters"},
		"no resource":          {Identity, in(Version2012, `"Effect":"Allow",`+s3), "$.Statement[0]", "neither Resource nor NotResource"},
		"both resources":       {Identity, in(Version2012, rest+`,"NotResource":"*"`), "$.Statement[0]", "both Resource and NotResource"},

		// Resources: IAM.md 1.4 and 1.5.
		"short arn":               {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":["*","arn:aws:sqs"]`), "$.Statement[0].Resource[1]", "not an ARN"},
		"no arn":                  {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"bucket/*"`), "$.Statement[0].Resource", "not an ARN"},
		"arn without resource":    {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::"`), "$.Statement[0].Resource", "not an ARN"},
		"nothing for arn":         {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":":aws:s3:::x"`), "$.Statement[0].Resource", "not an ARN"},
		"wildcard for arn":        {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"*:aws:s3:::x"`), "$.Statement[0].Resource", "not an ARN"},
		"wildcard for service":    {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:*:::x"`), "$.Statement[0].Resource", "which service"},
		"no partition":            {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn::s3:::x"`), "$.Statement[0].Resource", "which service"},
		"space in the region":     {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:a b::x"`), "$.Statement[0].Resource", "other characters"},
		"variable as account":     {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3::${aws:PrincipalAccount}:x"`), "$.Statement[0].Resource", "before the fifth colon"},
		"open variable":           {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::${tenant_id"`), "$.Statement[0].Resource", "not closed"},
		"variable without prefix": {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::${tenant}"`), "$.Statement[0].Resource", "not a condition key"},
		"variable with a star":    {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::${aws:*}"`), "$.Statement[0].Resource", `'*'`},
		"variable's prefix":       {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::${a s:b}"`), "$.Statement[0].Resource", `' '`},
		"variable's length":       {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::${aws:`+strings.Repeat("b", maxKey)+`}"`), "$.Statement[0].Resource", "bytes"},
		"many variables":          {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::`+strings.Repeat("${tenant_id}", maxVariables+1)+`"`), "$.Statement[0].Resource", "9 variables"},
		"many marks":              {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::`+strings.Repeat("?", maxOnes+1)+`"`), "$.Statement[0].Resource", "33 question marks"},
		"many marks in an action": {Identity, in(Version2012, `"Effect":"Deny","Action":"s3:`+strings.Repeat("?", maxOnes+1)+`","Resource":"*"`), "$.Statement[0].Action", "33 question marks"},
		"default unquoted":        {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::${tenant_id, x}"`), "$.Statement[0].Resource", "default"},
		"default unclosed":        {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::${tenant_id, 'x}"`), "$.Statement[0].Resource", "default"},
		"default with a tail":     {Identity, in(Version2012, `"Effect":"Allow",`+s3+`,"Resource":"arn:aws:s3:::${tenant_id, 'x'y}"`), "$.Statement[0].Resource", "default"},

		// Principals: IAM.md 1.2, 1.3 and 1.6.
		"principal of an identity":  {Identity, in(Version2012, rest+`,"Principal":"*"`), "$.Statement[0].Principal", "no Principal"},
		"principal of an SCP":       {SCP, in(Version2012, rest+`,"NotPrincipal":"*"`), "$.Statement[0].NotPrincipal", "no NotPrincipal"},
		"no principal":              {Resource, in(Version2012, rest), "$.Statement[0]", "neither Principal nor NotPrincipal"},
		"all but one may":           {Resource, in(Version2012, rest+`,"NotPrincipal":{"AWS":"123456789012"}`), "$.Statement[0].NotPrincipal", "cannot allow"},
		"principal a string":        {Resource, in(Version2012, rest+`,"Principal":"123456789012"`), "$.Statement[0].Principal", "no principal"},
		"principal of no type":      {Resource, in(Version2012, rest+`,"Principal":{}`), "$.Statement[0].Principal", "no principal"},
		"principal of wrong type":   {Resource, in(Version2012, rest+`,"Principal":{"CanonicalUser":"x"}`), "$.Statement[0].Principal.CanonicalUser", "CanonicalUser"},
		"principal empty":           {Resource, in(Version2012, rest+`,"Principal":{"AWS":[]}`), "$.Statement[0].Principal.AWS", "empty list"},
		"principal with wildcard":   {Resource, in(Version2012, rest+`,"Principal":{"AWS":["arn:aws:iam::123456789012:role/*"]}`), "$.Statement[0].Principal.AWS[0]", "wildcard"},
		"principal a short account": {Resource, in(Version2012, rest+`,"Principal":{"AWS":"12345678901"}`), "$.Statement[0].Principal.AWS", "not a principal"},
		"principal with letters":    {Resource, in(Version2012, rest+`,"Principal":{"AWS":"12345678901x"}`), "$.Statement[0].Principal.AWS", "not a principal"},
		"principal a group":         {Resource, in(Version2012, rest+`,"Principal":{"AWS":"arn:aws:iam::123456789012:group/g"}`), "$.Statement[0].Principal.AWS", "not a principal"},
		"principal with a space":    {Resource, in(Version2012, rest+`,"Principal":{"AWS":"arn:aws:iam::123456789012:user/a b"}`), "$.Statement[0].Principal.AWS", "not a principal"},
		"principal without session": {Resource, in(Version2012, rest+`,"Principal":{"AWS":"arn:aws:sts::123456789012:assumed-role/r"}`), "$.Statement[0].Principal.AWS", "not a principal"},
		"principal nobody":          {Resource, in(Version2012, rest+`,"Principal":{"AWS":"arn:aws:sts::123456789012:federated-user/"}`), "$.Statement[0].Principal.AWS", "not a principal"},
		"principal below the root":  {Resource, in(Version2012, rest+`,"Principal":{"AWS":"arn:aws:iam::123456789012:root/x"}`), "$.Statement[0].Principal.AWS", "not a principal"},
		"service a word":            {Resource, in(Version2012, rest+`,"Principal":{"Service":"lambda"}`), "$.Statement[0].Principal.Service", "not a service"},
		"service any":               {Resource, in(Version2012, rest+`,"Principal":{"Service":"*"}`), "$.Statement[0].Principal.Service", "not a service"},
		"provider any":              {Resource, in(Version2012, rest+`,"Principal":{"Federated":"*"}`), "$.Statement[0].Principal.Federated", "not an identity provider"},
		"provider a role":           {Resource, in(Version2012, rest+`,"Principal":{"Federated":"arn:aws:iam::123456789012:role/x"}`), "$.Statement[0].Principal.Federated", "not an identity provider"},
		"provider elsewhere":        {Resource, in(Version2012, rest+`,"Principal":{"Federated":"arn:aws:sts::123456789012:oidc-provider/x"}`), "$.Statement[0].Principal.Federated", "not an identity provider"},
		"NotPrincipal of a trust":   {Trust, in(Version2012, `"Effect":"Deny","Action":"sts:AssumeRole","NotPrincipal":{"AWS":"123456789012"}`), "$.Statement[0].NotPrincipal", "no NotPrincipal"},
		"resource of a trust":       {Trust, in(Version2012, `"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","Resource":"*"`), "$.Statement[0].Resource", "no Resource"},
		"action of a trust":         {Trust, in(Version2012, `"Effect":"Allow","Action":["sts:AssumeRole","s3:*"],"Principal":"*"`), "$.Statement[0].Action[1]", "assuming"},
		"any action of a trust":     {Trust, in(Version2012, `"Effect":"Allow","Action":"*","Principal":"*"`), "$.Statement[0].Action", "assuming"},
		"RCP for one":               {RCP, in(Version2012, `"Effect":"Deny","Action":"s3:*","Resource":"*","Principal":{"AWS":"123456789012"}`), "$.Statement[0].Principal", "everybody"},
		"RCP allows":                {RCP, in(Version2012, rest+`,"Principal":"*"`), "$.Statement[0].Effect", "cannot allow"},
		"RCP with NotPrincipal":     {RCP, in(Version2012, `"Effect":"Deny","Action":"s3:*","Resource":"*","NotPrincipal":"*"`), "$.Statement[0].NotPrincipal", "no NotPrincipal"},
		"RCP allows on a condition": {RCP, in(Version2012, `"Effect":"Allow","Action":"*","Resource":"*","Principal":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}`), "$.Statement[0].Effect", "cannot allow"},
		"RCP without principal":     {RCP, in(Version2012, `"Effect":"Deny","Action":"s3:*","Resource":"*"`), "$.Statement[0]", "neither Principal"},

		// Conditions: IAM.md 1.5.
		"condition a list":     {Identity, withCondition(`[]`), "$.Statement[0].Condition", "a list"},
		"unknown operator":     {Identity, withCondition(`{"StringEqual":{"aws:username":"x"}}`), "$.Statement[0].Condition.StringEqual", "no condition operator"},
		"LikeIgnoreCase":       {Identity, withCondition(`{"StringLikeIgnoreCase":{"aws:username":"x"}}`), "$.Statement[0].Condition.StringLikeIgnoreCase", "no condition operator"},
		"unknown quantifier":   {Identity, withCondition(`{"ForSomeValues:StringEquals":{"aws:username":"x"}}`), `$.Statement[0].Condition["ForSomeValues:StringEquals"]`, "no condition operator"},
		"NullIfExists":         {Identity, withCondition(`{"NullIfExists":{"aws:username":"true"}}`), "$.Statement[0].Condition.NullIfExists", "no condition operator"},
		"any Null":             {Identity, withCondition(`{"ForAnyValue:Null":{"aws:username":"true"}}`), `$.Statement[0].Condition["ForAnyValue:Null"]`, "no condition operator"},
		"operator twice":       {Identity, withCondition(`{"StringEquals":{"aws:username":"x"},"stringequals":{"aws:userid":"x"}}`), "$.Statement[0].Condition.stringequals", "twice"},
		"operator alone":       {Identity, withCondition(`{"StringEquals":{}}`), "$.Statement[0].Condition.StringEquals", "no key"},
		"key without prefix":   {Identity, withCondition(`{"StringEquals":{"username":"x"}}`), "$.Statement[0].Condition.StringEquals.username", "not a condition key"},
		"key twice":            {Identity, withCondition(`{"StringEquals":{"aws:username":"x","AWS:UserName":"x"}}`), `$.Statement[0].Condition.StringEquals["AWS:UserName"]`, "twice"},
		"alias twice":          {Identity, withCondition(`{"StringEquals":{"carrel:TenantId":"x","tenant_id":"x"}}`), `$.Statement[0].Condition.StringEquals.tenant_id`, "twice"},
		"no value":             {Identity, withCondition(`{"StringEquals":{"aws:username":[]}}`), `$.Statement[0].Condition.StringEquals["aws:username"]`, "with nothing"},
		"null":                 {Identity, withCondition(`{"StringEquals":{"aws:username":["x",null]}}`), `$.Statement[0].Condition.StringEquals["aws:username"][1]`, "null"},
		"value an object":      {Identity, withCondition(`{"StringEquals":{"aws:username":{}}}`), `$.Statement[0].Condition.StringEquals["aws:username"]`, "an object"},
		"value's variable":     {Identity, withCondition(`{"StringEquals":{"aws:username":"${x}"}}`), `$.Statement[0].Condition.StringEquals["aws:username"]`, "not a condition key"},
		"arn too short":        {Identity, withCondition(`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*"}}`), `$.Statement[0].Condition.ArnLike["aws:PrincipalArn"]`, "not an ARN"},
		"arn's variable":       {Identity, withCondition(`{"ArnLike":{"aws:PrincipalArn":"${"}}`), `$.Statement[0].Condition.ArnLike["aws:PrincipalArn"]`, "not closed"},
		"number a word":        {Identity, withCondition(`{"NumericEquals":{"s3:max-keys":"ten"}}`), `$.Statement[0].Condition.NumericEquals["s3:max-keys"]`, "not a number"},
		"number with exponent": {Identity, withCondition(`{"NumericEquals":{"s3:max-keys":1e99999999}}`), `$.Statement[0].Condition.NumericEquals["s3:max-keys"]`, "not a number"},
		"number's variable":    {Identity, withCondition(`{"NumericEquals":{"s3:max-keys":"${aws:username}"}}`), `$.Statement[0].Condition.NumericEquals["s3:max-keys"]`, "not a number"},
		"date":                 {Identity, withCondition(`{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}`), `$.Statement[0].Condition.DateLessThan["aws:CurrentTime"]`, "not a date"},
		"truth value":          {Identity, withCondition(`{"Bool":{"aws:SecureTransport":"yes"}}`), `$.Statement[0].Condition.Bool["aws:SecureTransport"]`, "no truth value"},
		"Null":                 {Identity, withCondition(`{"Null":{"aws:username":"null"}}`), `$.Statement[0].Condition.Null["aws:username"]`, "no truth value"},
		"binary":               {Identity, withCondition(`{"BinaryEquals":{"k:b":"QQ"}}`), `$.Statement[0].Condition.BinaryEquals["k:b"]`, "not base64"},
		"address":              {Identity, withCondition(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}`), `$.Statement[0].Condition.IpAddress["aws:SourceIp"]`, "not an IP address"},
		"address's zone":       {Identity, withCondition(`{"IpAddress":{"aws:SourceIp":"fe80::1%eth0"}}`), `$.Statement[0].Condition.IpAddress["aws:SourceIp"]`, "not an IP address"},
		"address in another":   {Identity, withCondition(`{"IpAddress":{"aws:SourceIp":"::ffff:10.0.0.1"}}`), `$.Statement[0].Condition.IpAddress["aws:SourceIp"]`, "not an IP address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _, err := Parse(tt.kind, []byte(tt.text))
			var e *Error
			if !errors.As(err, &e) || d != nil {
				t.Fatalf("gave %v, %v; want a refusal", d, err)
			}
			if e.Path != tt.path || !strings.Contains(e.Message, tt.says) {
				t.Errorf("refused as %v\nwant %s: …%s…", err, tt.path, tt.says)
			}
			if e.Remedy == "" || !strings.Contains(e.Error(), e.Remedy) {
				t.Error("no remedy in: " + e.Error())
			}
		})
	}
}

func TestTaken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind Kind
		text string
	}{
		"one statement":       {Identity, `{"Statement":{` + rest + `}}`},
		"spaces":              {Identity, " \t\r\n" + strings.ReplaceAll(pooled, ",", " ,\n\t") + "\n"},
		"white space is free": {Identity, strings.Repeat(" ", 10000) + pooled},
		"escapes":             {Identity, in(Version2012, `"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b\u002f\"\\\/\b\f\n\r\té\ud83d\ude00"`)},
		"literal wildcards":   {Identity, in(Version2012, `"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${*}${?}${$}{x}/$x*?"`)},
		"variable's default":  {Identity, in(Version2012, `"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:PrincipalTag/cost centre, 'a}b'}/*"`)},
		"old variable":        {Identity, in(Version2008, `"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${tenant/*"`)},
		"any script":          {Identity, in(Version2012, `"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/\u4e2d\u6587"`)},
		"any action":          {Identity, in(Version2012, `"Effect":"Allow","Action":["*","*:*","s3:Get*"],"Resource":"*"`)},
		"all but":             {Identity, in(Version2012, `"Effect":"Deny","NotAction":"iam:*","NotResource":["arn:aws*:s3:::x","arn:aws:lambda:eu-*:1234567890??:function:f"]`)},
		"empty sids":          {Identity, `{"Statement":[{"Sid":"",` + rest + `},{"Sid":"",` + rest + `}]}`},
		"sid of a resource":   {Resource, `{"Id":"An id","Statement":[{"Sid":"Two words-1",` + rest + `,"Principal":"*"}]}`},
		"principals": {Resource, in(Version2012, `"Effect":"Deny","Action":"s3:*","Resource":"*","NotPrincipal":{"AWS":["*","123456789012","arn:aws:iam::123456789012:root","arn:aws:iam::123456789012:user/a/b",
			"arn:aws-cn:iam::123456789012:role/r","arn:aws:sts::123456789012:assumed-role/r/s","arn:aws:sts::123456789012:federated-user/f"],
			"Service":"lambda.amazonaws.com","Federated":["accounts.google.com","arn:aws:iam::123456789012:oidc-provider/localhost:8080/x","arn:aws:iam::123456789012:saml-provider/p"]}`)},
		"trust":    {Trust, in(Version2012, `"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Principal":{"Service":"lambda.amazonaws.com"}`)},
		"boundary": {Boundary, pooled},
		"session":  {Session, pooled},
		"SCP":      {SCP, in(Version2012, `"Effect":"Allow","NotAction":"iam:*","NotResource":"arn:aws:s3:::x","Condition":{"Bool":{"aws:SecureTransport":true}}`)},
		"RCP":      {RCP, in(Version2012, `"Effect":"Deny","Action":"*","Resource":"*","Principal":{"AWS":"*"}`)},
		"full RCP": {RCP, in(Version2012, `"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"`)},
		"conditions": {Identity, withCondition(`{"StringEqualsIfExists":{"aws:username":["*","${aws:userid}",1,true]},"forallvalues:stringlike":{"aws:TagKeys":"a*${*}"},
			"NumericLessThan":{"s3:max-keys":-10.50},"DateGreaterThan":{"aws:CurrentTime":["2026","2026-01","2026-01-31","2026-01-31T10:20Z","2026-01-31T10:20:30.5+01:00",1700000000]},
			"Bool":{"aws:SecureTransport":"TRUE"},"Null":{"tenant_id":false},"BinaryEquals":{"k:b":"QUI="},"IpAddress":{"aws:SourceIp":["10.1.2.3/8","2001:db8::/32","10.0.0.1"]},
			"ArnLike":{"aws:PrincipalArn":["*","arn:aws:iam::${aws:PrincipalAccount}:role/a:b*"]}}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _, err := Parse(tt.kind, []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			checkPrinted(t, d)
		})
	}
}

// checkPrinted holds a document to the law that, printed and parsed, it is
// the same.
func checkPrinted(t *testing.T, d *Document) {
	t.Helper()
	checkSame(t, RoleInlineUse, d)
}

func checkSame(t *testing.T, use Use, d *Document) {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := ParseFor(use, d.Kind, text)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if d, again = sorted(d), sorted(again); !reflect.DeepEqual(d, again) {
		t.Errorf("printed as %s\nparsed as %+v\nwas       %+v", text, again, d)
	}
}

// sorted orders conditions, which have no order in JSON, and leaves out how
// names were written, which printing does not keep.
func sorted(d *Document) *Document {
	d.Written = nil
	for i := range d.Statements {
		slices.SortFunc(d.Statements[i].Conditions, func(a, b Condition) int { return strings.Compare(a.Name()+a.Key, b.Name()+b.Key) })
	}
	return d
}

// FuzzParse: whatever a text holds, reading it ends with a document or a
// refusal that has a path and a remedy, and a document that is printed and
// read again is the same.
func FuzzParse(f *testing.F) {
	for kind := range Kind(len(useOf)) {
		f.Add(uint8(kind), pooled)
	}
	f.Add(uint8(Resource), `{"Id":"i","Statement":{"Sid":"s","Effect":"Deny","NotPrincipal":{"AWS":["*","123456789012"],"Service":"a.b"},"NotAction":"s3:*","NotResource":"arn:aws:s3:::${a:b, 'c'}*?"}}`)
	f.Add(uint8(Trust), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"a.b"},"Action":"sts:*","Condition":{"ForAnyValue:StringLikeIfExists":{"a.b:sub":["x*","${*}"]}}}]}`)
	f.Add(uint8(Identity), withCondition(`{"NumericLessThan":{"a:b":-1.50},"DateEquals":{"a:b":"2026-01-31T10:20:30.5+01:00"},"IpAddress":{"a:b":"::/0"},"ArnLike":{"a:b":"arn:*:?::${a:b}:"},"BinaryEquals":{"a:b":"QUI="},"Null":{"tenant_id":true}}`))
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		k := Kind(kind) % Kind(len(useOf))
		d, warnings, err := ParseFor(ResourceUse, k, []byte(text))
		if err != nil {
			var e *Error
			if d != nil || !errors.As(err, &e) || e.Path == "" || e.Message == "" || e.Remedy == "" {
				t.Errorf("refused as %#v", err)
			}
			return
		}
		for _, w := range warnings {
			if w.Code == "" || !strings.HasPrefix(w.Path, "$.Statement") || w.Message == "" || w.Remedy == "" {
				t.Errorf("warns %+v", w)
			}
		}
		// Printed it may be longer than any use allows; MaxBytes is for what is sent.
		if printed, err := json.Marshal(d); err == nil && ResourceUse.Size(printed) <= ResourceUse.Limit() {
			checkSame(t, ResourceUse, d)
		}
	})
}
