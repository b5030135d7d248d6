package queryapi

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/carrel-dev/carrel/fault"
)

type innerInput struct {
	Key   string `q:"required" len:"1-5"`
	Value string `q:"required" len:"0-5"`
}

type testInput struct {
	pageInput
	Name   string       `q:"required" len:"1-8" form:"name"`
	Text   *string      `len:"0-4"`
	Count  *int         `range:"1-9"`
	Flag   bool         ``
	Kind   string       `enum:"Active,Inactive"`
	Tags   []innerInput `len:"0-3"`
	Keys   []string     `len:"0-2" elem:"1-3" form:"word"`
	Nested *innerInput
}

func read(form string) (testInput, error) {
	var in testInput
	n, err := parseForm(form)
	if err == nil {
		err = decode(&operation{name: "Test", showsValues: true}, n, &in)
	}
	return in, err
}

func TestDecode(t *testing.T) {
	t.Parallel()
	in, err := read("Name=a%2Bb&Text=&Count=9&Flag=true&Kind=Active&Tags.member.2.Key=y&Tags.member.2.Value=&Tags.member.1.Value=1&Tags.member.1.Key=x" +
		"&Keys.member.1=abc&Nested.Key=k&Nested.Value=v&Marker=m&MaxItems=7&X-Amz-Date=1&X-Amz-Date=2")
	if err != nil {
		t.Fatal(err)
	}
	empty, nine, seven := "", 9, 7
	equal(t, "input", in, testInput{pageInput{"m", &seven}, "a+b", &empty, &nine, true, "Active", []innerInput{{"x", "1"}, {"y", ""}}, []string{"abc"}, &innerInput{"k", "v"}})
	in, err = read("Name=a&Tags=&Keys=")
	if err != nil || len(in.Tags) != 0 || in.Text != nil {
		t.Errorf("empty lists: %+v, %v", in, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ form, code, text string }{
		{"", "ValidationError", "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"},
		{"Name=", "ValidationError", "Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"Name=123456789", "ValidationError", "less than or equal to 8"},
		{"Name=a%20b&Count=0", "ValidationError", `2 validation errors detected: Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+; Value '0' at 'count' failed to satisfy constraint: Member must have value greater than or equal to 1`},
		{"Name=a&Count=10", "ValidationError", "less than or equal to 9"},
		{"Name=a&Count=x", "MalformedInput", "'x' is not a whole number at 'count'"},
		{"Name=a&Count=99999999999", "MalformedInput", "whole number"},
		{"Name=a&Flag=True", "MalformedInput", "neither true nor false"},
		{"Name=a&Kind=Gone", "ValidationError", "enum value set: [Active, Inactive]"},
		{"Name=a&Name=a", "MalformedInput", "'Name' is there more than once"},
		{"Name=a&N%61me=b", "MalformedInput", "more than once"},
		{"Name=a&name=b", "ValidationError", "The parameter 'name' of Test is not available"},
		{"Name=a&Policy=b", "ValidationError", "The parameter 'Policy' of Test is not available"},
		{"Name=a&Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.1.Extra=v", "ValidationError", "'Tags.member.1.Extra'"},
		{"Name.x=a", "MalformedInput", "malformed"},
		{"Name=a&Name.x=a", "MalformedInput", "malformed"},
		{"Name.x=a&Name=a", "MalformedInput", "malformed"},
		{"Name=a&Tags=x", "MalformedInput", "is a list"},
		{"Name=a&Tags.1.Key=x", "MalformedInput", "is a list"},
		{"Name=a&Tags.member=x", "MalformedInput", "is a list"},
		{"Name=a&Tags=&Tags.member.1.Key=x", "MalformedInput", "malformed"},
		{"Name=a&Tags.member.1.Key=x", "ValidationError", "Value null at 'tags.1.member.value'"},
		{"Name=a&Tags.member.2.Key=x&Tags.member.2.Value=y", "MalformedInput", "not numbered from 1"},
		{"Name=a&Keys.member.01=x", "MalformedInput", "not numbered from 1"},
		{"Name=a&Keys.member.2147483648=x", "MalformedInput", "not numbered from 1"},
		{"Name=a&Keys.member.1=x&Keys.member.2=y&Keys.member.3=z", "ValidationError", "Member must have length less than or equal to 2"},
		{"Name=a&Keys.member.1=long", "ValidationError", "at 'keys' failed"},
		{"Name=a&Nested=b", "MalformedInput", "malformed"},
		{"Name=%zz", "MalformedInput", "percent-encoding"},
		{"Name=a;Kind=Active", "MalformedInput", "';'"},
		{"Name=a&.=b", "MalformedInput", "malformed"},
		{"Name=a&a.b.c.d.e.f.g.h.i=b", "MalformedInput", "malformed"},
		{"Name=%ff", "ValidationError", "UTF-8"},
		{strings.Repeat("a=1&", mostParams+1), "MalformedInput", "more than once"},
		{"Name=a&" + strings.Repeat("k", mostNameBytes+1) + "=1", "MalformedInput", "longer than"},
	} {
		_, err := read(tc.form)
		e := fault.From("", err)
		if err == nil || e.Code != tc.code || !strings.Contains(e.Text(), tc.text) {
			t.Errorf("%s: got %v, want %s: %s", fault.Clip(tc.form), err, tc.code, tc.text)
		}
	}
	var many strings.Builder
	for i := range mostParams + 1 {
		many.WriteString("p" + strconv.Itoa(i) + "=&")
	}
	if _, err := parseForm(many.String()); err == nil || !strings.Contains(err.Error(), "more than 4096 parameters") {
		t.Errorf("too many parameters: %v", err)
	}
}

// TestWordsOfIAM has what IAM says otherwise than STS: it repeats no value and
// has sentences for some patterns.
func TestWordsOfIAM(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]string{
		"":                         "1 validation error detected: Value at 'name' failed to satisfy constraint: Member must not be null",
		"Name=":                    "1 validation error detected: Value at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1",
		"Name=a%20b":               "The specified value for name is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-",
		"Name=a&Kind=Gone":         "1 validation error detected: Value 'Gone' at 'kind' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]",
		"Name=a%20b&Count=0":       "1 validation error detected: Value at 'count' failed to satisfy constraint: Member must have value greater than or equal to 1",
		"Name=a&Keys.member.1=%20": `1 validation error detected: Value at 'keys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 3, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: \w+, Member must not be null]`,
	} {
		n, err := parseForm(form)
		if err == nil {
			err = decode(&operation{name: "Test"}, n, &testInput{})
		}
		if e := fault.From("", err); err == nil || e.Message != want || e.Code != "ValidationError" {
			t.Errorf("%s: got %v, want %s", form, err, want)
		}
	}
}

// FuzzForm shows that no form makes the reader fail otherwise than by a
// refusal, and that what it takes is what net/url reads.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"Name=a&Tags.member.1.Key=x&Tags.member.1.Value=y", "Tags=&Keys.member.1=a", "Name=%41+b", "Nested.Key=1", "Keys.member.999999999=a", "a.b=1&a=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, form string) {
		in, err := read(form)
		if err != nil {
			if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported) {
				t.Errorf("%q fails as %v", form, err)
			}
			return
		}
		want, err := url.ParseQuery(form)
		if err != nil || len(want["Name"]) != 1 || want.Get("Name") != in.Name || len(in.Tags) > 3 || len(in.Keys) > 2 {
			t.Errorf("%q is read as %+v: %v", form, in, err)
		}
	})
}

// FuzzInputs reads forms as the input of every operation.
func FuzzInputs(f *testing.F) {
	f.Add("CreateUser", "UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=v")
	f.Add("AssumeRole", "RoleArn=arn:aws:iam::111111111111:role/a&RoleSessionName=ab&PolicyArns.member.1.arn=x")
	apis := []*api{iamAPI(), stsAPI()}
	f.Fuzz(func(t *testing.T, name, form string) {
		n, err := parseForm(form)
		if err != nil {
			return
		}
		for _, a := range apis {
			if op := a.operations[name]; op != nil && op.input != nil {
				err := decode(op, n, reflect.New(op.input).Interface())
				if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported) {
					t.Errorf("%s %q fails as %v", name, form, err)
				}
			}
		}
	})
}

type xmlOutput struct {
	Text, Empty string
	Kept        string `x:"keep"`
	Number      int
	Absent      *int
	Truth       bool
	Document    document
	At, Never   time.Time
	Items       []xmlItem
	None        []string
	Zero        []string
	Map         map[string]int
}

type xmlItem struct{ Key string }

func TestReplies(t *testing.T) {
	t.Parallel()
	a := iamAPI()
	got := string(a.reply("Test", "the-id", xmlOutput{Text: "<&\"\x00\r>", Truth: true, Document: `{"a":"+ é~"}`, At: changed.Add(time.Millisecond),
		Items: []xmlItem{{"a"}, {"b"}}, Zero: []string{}, Map: map[string]int{"b": 2, "a": 1}}))
	want := xml.Header + `<TestResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><TestResult><Text>&lt;&amp;&#34;` + "\uFFFD" + `&#xD;&gt;</Text><Kept></Kept>` +
		`<Number>0</Number><Truth>true</Truth><Document>%7B%22a%22%3A%22%2B%20%C3%A9~%22%7D</Document><At>2026-11-23T08:00:00Z</At>` +
		`<Items><member><Key>a</Key></member><member><Key>b</Key></member></Items><Zero></Zero>` +
		`<Map><entry><key>a</key><value>1</value></entry><entry><key>b</key><value>2</value></entry></Map></TestResult>` +
		`<ResponseMetadata><RequestId>the-id</RequestId></ResponseMetadata></TestResponse>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = string(a.reply("Test", "the-id", nil))
	if strings.Contains(got, "Result") || xml.Unmarshal([]byte(got), new(struct{})) != nil {
		t.Errorf("without a result: %s", got)
	}
	got = string(a.errorReply("the-id", "Sender", "NoSuchEntity", "a<b"))
	if got := string(a.errorReply("the-id", "Sender", "InvalidAction", "")); !strings.Contains(got, `xmlns="http://webservices.amazon.com/AWSFault/2005-15-09"`) {
		t.Errorf("an operation that is not known: %s", got)
	}
	want = xml.Header + `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>a&lt;b</Message></Error><RequestId>the-id</RequestId></ErrorResponse>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEveryKindIsMapped(t *testing.T) {
	t.Parallel()
	for _, kind := range fault.Kinds() {
		m, found := byKind[kind]
		if !found {
			t.Errorf("the kind %s has no status", kind)
		}
		if status, known := statuses[m.code]; !known || status != m.status && kind != fault.Timeout && kind != fault.Suspended {
			t.Errorf("%s gives %s with %d in one table and %d in the other", kind, m.code, m.status, status)
		}
	}
	for from, to := range renamed {
		if _, known := statuses[to]; !known {
			t.Errorf("%s becomes %s, which has no status", from, to)
		}
	}
}

// operations gives the names of an SDK client's operations.
func operations(client any) (names []string) {
	typ := reflect.TypeOf(client)
	for m := range typ.NumMethod() {
		method := typ.Method(m)
		if f := method.Type; f.NumIn() == 4 && f.NumOut() == 2 && f.In(2).Kind() == reflect.Pointer && f.In(2).Elem().Name() == method.Name+"Input" {
			names = append(names, method.Name)
		}
	}
	return names
}

// TestEverySDKOperationIsKnown holds the two tables to the SDK's clients:
// each operation is there, served or not, and none is there that AWS has not.
func TestEverySDKOperationIsKnown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		api    *api
		client any
		least  int
	}{{iamAPI(), &iam.Client{}, 160}, {stsAPI(), &sts.Client{}, 10}} {
		names := operations(tc.client)
		if len(names) < tc.least {
			t.Fatalf("%s: only %d operations of the SDK were found", tc.api.service, len(names))
		}
		known := map[string]bool{}
		for _, name := range names {
			known[name] = true
			if tc.api.operations[name] == nil {
				t.Errorf("%s of %s is not known", name, tc.api.service)
			}
		}
		for name := range tc.api.operations {
			if !known[name] {
				t.Errorf("%s is no operation of %s", name, tc.api.service)
			}
		}
	}
}

// TestMissingOperationsSaySo asks for every operation that is not built and
// expects an answer with its name.
func TestMissingOperationsSaySo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, a := range []*api{iamAPI(), stsAPI()} {
		for name, op := range a.operations {
			if op.serve != nil {
				continue
			}
			got := b.form(t, a.service, "Action", name, "Version", a.version)
			if got.status != 400 || !strings.Contains(got.body, "<Code>InvalidAction</Code><Message>The operation "+name+" is not available in Carrel.</Message>") {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	}
}

func TestRequestsOfNoOperation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, tc := range []struct{ body, code string }{
		{"", "MissingAction"},
		{"Version=2011-06-15", "MissingAction"},
		{"Action=", "MissingAction"},
		{"Action.x=GetCallerIdentity", "MissingAction"},
		{"Action=NoSuch&Version=2011-06-15", "InvalidAction"},
		{"Action=getcalleridentity", "InvalidAction"},
		{"Action=GetCallerIdentity&Version=2010-05-08", "InvalidAction"},
		{"Action=GetCallerIdentity&Action=GetSessionToken", "MalformedInput"},
	} {
		if got := b.post(t, ServiceSTS, tc.body); got.status != 400 || !strings.Contains(got.body, "<Code>"+tc.code+"</Code>") {
			t.Errorf("%s: %d %s", tc.body, got.status, got.body)
		}
	}
	if got := b.post(t, ServiceSTS, "Action=GetCallerIdentity"); got.status != 200 {
		t.Errorf("the twin: %d %s", got.status, got.body)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	long := "Action=GetCallerIdentity&Version=2011-06-15&a=" + strings.Repeat("b", mostBody)
	if got := b.post(t, ServiceSTS, long); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d %s", got.status, got.body)
	}
	r := b.request(t, long[:mostUnsigned+1])
	r.ContentLength = -1
	if got := send(t, r); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body of nobody: %d %s", got.status, got.body)
	}
	r = b.request(t, "{}")
	r.Header.Set("Content-Type", "application/json")
	if got := send(t, r); got.status != 400 || !strings.Contains(got.body, "Content-Type") {
		t.Errorf("JSON: %d %s", got.status, got.body)
	}
	r = b.request(t, "Action=GetCallerIdentity")
	r.Method = http.MethodPut
	if got := send(t, r); got.status != 400 || !strings.Contains(got.body, "GET and POST") {
		t.Errorf("PUT: %d %s", got.status, got.body)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const ask = "Action=GetCallerIdentity&Version=2011-06-15"
	if got := send(t, b.request(t, ask)); got.status != 403 || !strings.Contains(got.body, "<Code>MissingAuthenticationToken</Code>") {
		t.Errorf("unsigned: %d %s", got.status, got.body)
	}
	if got := b.post(t, ServiceIAM, "Action=GetUser&Version=2010-05-08"); strings.Contains(got.body, "SignatureDoesNotMatch") {
		t.Errorf("iam, signed for us-east-1 whatever the region: %d %s", got.status, got.body)
	}
	if got := b.post(t, "lambda", ask); got.status != 403 || !strings.Contains(got.body, "<Code>SignatureDoesNotMatch</Code>") {
		t.Errorf("for another service: %d %s", got.status, got.body)
	}
	r := b.request(t, ask)
	b.sign(t, ServiceSTS, r, ask+"x")
	if got := send(t, r); got.status != 403 || !strings.Contains(got.body, "<Code>SignatureDoesNotMatch</Code>") {
		t.Errorf("another body: %d %s", got.status, got.body)
	}
	for _, code := range []string{"ExpiredTokenException", ""} {
		e := fault.New("x", fault.Unauthenticated, "late").WithCode(code)
		if _, got := wire(fault.From("", authenticationCode(e))); code != "" && got != "ExpiredToken" {
			t.Errorf("%s becomes %s", code, got)
		}
	}
	_, err := b.sts(keyPair{"AKIAUNKNOWN", "x", ""}).GetCallerIdentity(t.Context(), nil)
	refused(t, err, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

// TestUnsignedParameters shows that nothing can be added to a signed request
// on its way, in the query or in the body.
func TestUnsignedParameters(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const ask = "Action=GetCallerIdentity&Version=2011-06-15"
	r := b.request(t, ask)
	b.sign(t, ServiceSTS, r, ask)
	r.URL.RawQuery = "DurationSeconds=900"
	if got := send(t, r); got.status != 403 {
		t.Errorf("a parameter was added: %d %s", got.status, got.body)
	}
	r = b.request(t, ask)
	b.sign(t, ServiceSTS, r, ask)
	if got := send(t, r); got.status != 200 {
		t.Errorf("the twin: %d %s", got.status, got.body)
	}
}
