package prove_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/iam/simulate"
	"github.com/carrel-dev/carrel/internal/testrounds"
)

// wideValues are, for each family of operators, what conditions compare with
// and what requests hold: each list has values on both sides of the others.
var wideValues = map[string]struct{ operators, constants, given []string }{
	"aws:UserAgent": {
		[]string{"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"},
		[]string{"ab", "Ab", "a*", "*b", "?b", "a?c", "*", "${aws:username}", "${aws:username, 'ab'}x", "${*}", "a${?}"},
		[]string{"", "a", "ab", "Ab", "AB", "abc", "axc", "b", "bb", "*", "a?", "abx", "ux", "u", "é"},
	},
	"s3:max-keys": {
		[]string{"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"},
		[]string{"0", "10", "10.0", "9.5", "-3", "11", "100"},
		[]string{"0", "-3", "-4", "9", "9.5", "9.75", "10", "10.5", "11", "12", "100", "101", "x", ""},
	},
	"aws:CurrentTime": {
		[]string{"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"},
		[]string{"2026-01-01T00:00:00Z", "2026-01-01", "1767225600", "2027-06-30T12:00:00Z", "2026-01-01T01:00:00+01:00"},
		[]string{"2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "2026-01-01T00:00:01Z", "2027-06-30T12:00:00Z", "2028-01-01T00:00:00Z", "1767225600", "never"},
	},
	"aws:SourceIp": {
		[]string{"IpAddress", "NotIpAddress"},
		[]string{"10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "::/0"},
		[]string{"10.0.0.1", "10.1.2.3", "10.200.0.1", "11.0.0.1", "192.0.2.1", "2001:db8::1", "2002::1", "here"},
	},
	"aws:SourceArn": {
		[]string{"ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike", "StringLike"},
		[]string{"arn:aws:sns:*:111122223333:*", "arn:aws:sns:us-east-1:111122223333:t", "arn:aws:s3:::b", "arn:*:s3:::b*", "arn:aws:sns:*:*:a:*"},
		[]string{"arn:aws:sns:us-east-1:111122223333:t", "arn:aws:sns:eu-west-1:111122223333:a:b", "arn:aws:s3:::b", "arn:aws:s3:::bb", "arn:aws-cn:s3:::b", "arn:aws:s3", "x"},
	},
	"aws:SecureTransport": {
		[]string{"Bool"}, []string{"true", "false"}, []string{"true", "false", "TRUE", "x"},
	},
	"a:Binary": {
		[]string{"BinaryEquals"}, []string{"AAA=", "QQ=="}, []string{"AAA=", "QQ==", "Qg==", "!"},
	},
	"aws:TagKeys": {
		[]string{"ForAllValues:StringEquals", "ForAnyValue:StringEquals", "ForAllValues:StringLike", "ForAnyValue:StringNotEquals", "ForAllValues:StringNotLike", "ForAnyValue:StringEqualsIgnoreCase"},
		[]string{"a", "b", "A", "a*", "*"}, nil,
	},
}

var wideKeys = []string{"aws:UserAgent", "s3:max-keys", "aws:CurrentTime", "aws:SourceIp", "aws:SourceArn", "aws:SecureTransport", "a:Binary", "aws:TagKeys"}

func (m maker) wideCondition(block map[string]map[string][]string) {
	key := m.pick(wideKeys...)
	v := wideValues[key]
	operator, values := m.pick(v.operators...), []string{m.pick(v.constants...)}
	switch {
	case m.IntN(10) == 0:
		operator, values = "Null", []string{m.pick("true", "false")}
	case m.IntN(4) == 0:
		operator += "IfExists"
	case key != "aws:TagKeys" && m.IntN(8) == 0:
		operator = m.pick("ForAllValues:", "ForAnyValue:") + operator
	}
	if operator != "Null" && m.IntN(3) == 0 {
		values = append(values, m.pick(v.constants...))
	}
	if block[operator] == nil {
		block[operator] = map[string][]string{}
	}
	block[operator][key] = values
}

func (m maker) wideStatement(effect string) map[string]any {
	action, resource := "Action", "Resource"
	if m.IntN(6) == 0 {
		action = "NotAction"
	}
	if m.IntN(6) == 0 {
		resource = "NotResource"
	}
	s := map[string]any{
		"Effect": effect,
		action:   []string{m.pick("s3:GetObject", "s3:Get*", "s3:*", "S3:getobject", "s3:*Object", "s3:?etObject", "*", "s3:PutObject", "iam:*"), m.pick("s3:PutObject", "s3:Get*Acl", "sqs:*")},
		resource: []string{m.pick("*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/a*", "arn:aws:s3:::b/?", "arn:aws:s3:::*/a", "arn:aws:s3:::b*", "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:*:*:b/a"), m.pick("arn:aws:s3:::c", "arn:aws:s3:::b/a", "arn:aws:sqs:*:111122223333:q?")},
	}
	if m.IntN(3) > 0 {
		block := map[string]map[string][]string{}
		for range m.IntN(2) + 1 {
			m.wideCondition(block)
		}
		s["Condition"] = block
	}
	return s
}

func (m maker) widePolicy() []map[string]any {
	out := []map[string]any{m.wideStatement("Allow")}
	for range m.IntN(3) {
		out = append(out, m.wideStatement(m.pick("Allow", "Allow", "Deny")))
	}
	return out
}

// wideChange makes the second policy of a pair: often nearly the first one.
func (m maker) wideChange(a []map[string]any) []map[string]any {
	b := append([]map[string]any(nil), a...)
	switch m.IntN(6) {
	case 0:
		b = append(b, m.wideStatement(m.pick("Allow", "Deny")))
	case 1:
		b = b[:max(1, len(b)-1)]
	case 2: // without one's conditions
		i := m.IntN(len(b))
		b[i] = map[string]any{}
		for k, v := range a[i] {
			if k != "Condition" {
				b[i][k] = v
			}
		}
	case 3:
		b[m.IntN(len(b))] = m.wideStatement("Allow")
	case 4:
		i := m.IntN(len(b))
		b[0], b[i] = b[i], b[0]
	default:
		return m.widePolicy()
	}
	return b
}

func wideDocument(t testing.TB, statements []map[string]any) (*policy.Document, []byte) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := policy.Parse(policy.Identity, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d, text
}

func (m maker) wideRequest() *policy.Request {
	ctx := &policy.Context{}
	for _, key := range wideKeys {
		given := wideValues[key].given
		switch n := m.IntN(8); {
		case n == 0:
		case given == nil || n == 1:
			if given == nil {
				given = []string{"a", "b", "A", "ab", "", "c"}
			}
			var list []string
			for range m.IntN(3) {
				list = append(list, m.pick(given...))
			}
			ctx.SetAll(key, list)
		default:
			ctx.Set(key, m.pick(given...))
		}
	}
	if m.IntN(5) > 0 {
		ctx.Set("aws:username", m.pick("u", "a", "ab", "", "*"))
	}
	return request(m.pick("s3:GetObject", "s3:PutObject", "s3:GetObjectAcl", "s3:GetBucketAcl", "s3:SetObject", "s3:DeleteObject", "iam:GetUser", "sqs:SendMessage", "ec2:RunInstances", "s3:GetX"),
		m.pick("arn:aws:s3:::b/a", "arn:aws:s3:::b/ab", "arn:aws:s3:::b/", "arn:aws:s3:::b", "arn:aws:s3:::c", "arn:aws:s3:::bb/a", "arn:aws:s3:::x/a", "arn:aws:s3:::b/u/x", "arn:aws:s3:::b/a/x", "arn:aws:s3:::b//x", "arn:aws:s3:::b/z", "arn:aws:s3:::b/*",
			"arn:aws:sqs:us-east-1:111122223333:q1", "arn:aws:sqs:us-east-1:111122223333:q", "arn:aws:s3:us-east-1:1:b/a", "*", "arn:aws-cn:s3:::b/a"), ctx)
}

// feed gives a witness to the simulator and returns its decision.
func feed(t testing.TB, w *Request, document []byte) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"name": "w", "request": w, "identityPolicies": []json.RawMessage{document}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := simulate.Batch(strings.NewReader(string(text)), &out); err != nil {
		t.Fatal(err)
	}
	var r simulate.Result
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil || r.Error != "" {
		t.Fatalf("%v %s\n%s", err, out.String(), text)
	}
	return r.Decision
}

// checkDirection holds one direction of an answer to the simulator, or to
// samples.
func (m maker) checkDirection(t testing.TB, answer Answer, w *Request, texts [2][]byte, docs [2]*policy.Document, samples int) {
	t.Helper()
	if (answer == Yes) != (w != nil) {
		t.Fatalf("%v with the witness %v", answer, w)
	}
	if w != nil {
		if a, b := feed(t, w, texts[0]), feed(t, w, texts[1]); a != "Allowed" || b == "Allowed" {
			text, _ := json.Marshal(w)
			t.Errorf("the simulator says %s and %s to %s\nA %s\nB %s", a, b, text, texts[0], texts[1])
		}
	}
	if answer != No {
		return
	}
	la := &policy.Layers{Identity: policy.Compile(policy.Source{Document: docs[0]})}
	lb := &policy.Layers{Identity: policy.Compile(policy.Source{Document: docs[1]})}
	for range samples {
		r := m.wideRequest()
		if policy.Evaluate(r, la).Verdict == policy.Allowed && policy.Evaluate(r, lb).Verdict != policy.Allowed {
			keys := ""
			r.Context.Keys(func(k string, v []string, several bool) { keys += fmt.Sprint(k, v, several, " ") })
			t.Fatalf("no, and yet %s on %s with %s\nA %s\nB %s", r.Action, r.Resource, keys, texts[0], texts[1])
		}
	}
}

// TestImpliesOfAllOperators compares random policies with every operator, and
// holds each no to samples and each witness to the simulator.
func TestImpliesOfAllOperators(t *testing.T) {
	t.Parallel()
	m := maker{testrounds.Rand(t)}
	counts := map[Answer]int{}
	for range 5 * testrounds.Rounds(t) {
		sa := m.widePolicy()
		a, ta := wideDocument(t, sa)
		b, tb := wideDocument(t, m.wideChange(sa))
		got := Implies(a, b)
		counts[got.AllowedByANotByB]++
		counts[got.AllowedByBNotByA]++
		m.checkDirection(t, got.AllowedByANotByB, got.Witness, [2][]byte{ta, tb}, [2]*policy.Document{a, b}, 300)
		m.checkDirection(t, got.AllowedByBNotByA, got.ReverseWitness, [2][]byte{tb, ta}, [2]*policy.Document{b, a}, 300)
		if got.AllowedByANotByB == Undecided || got.AllowedByBNotByA == Undecided {
			t.Logf("unknown\nA %s\nB %s", ta, tb)
		}
	}
	t.Logf("%v", counts)
	if counts[Undecided] > (counts[No]+counts[Yes])/50 {
		t.Errorf("%v: too much is unknown", counts)
	}
}

// TestOrdinaryChanges compares pairs as reviews of changes meet them: each is
// decided both ways, and the simulator confirms each witness, which is written
// as people write requests.
func TestOrdinaryChanges(t *testing.T) {
	t.Parallel()
	if_ := func(action, condition string) string {
		return `{"Effect":"Allow","Action":` + action + `,"Resource":"arn:aws:s3:::b/*","Condition":` + condition + `}`
	}
	of := func(action, resource string) string {
		return `{"Effect":"Allow","Action":` + action + `,"Resource":` + resource + `}`
	}
	deny := func(rest string) string { return `,{"Effect":"Deny",` + rest + `}` }
	get, b := `"s3:GetObject"`, `"arn:aws:s3:::b/*"`
	home := of(get, `["arn:aws:s3:::b/${aws:username}/*","arn:aws:s3:::b/a"]`)
	for name, test := range map[string]struct {
		a, b   string
		ab, ba Answer
		// says are parts of the witnesses.
		says string
	}{
		"an action more":              {of(`["s3:GetObject","s3:PutObject"]`, b), of(get, b), Yes, No, `"s3:PutObject"`},
		"a wider prefix":              {of(get, b), of(get, `"arn:aws:s3:::b/home/*"`), Yes, No, `"arn:aws:s3:::b/x"`},
		"no condition any more":       {of(get, b), if_(get, `{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`), Yes, No, `"s3:GetObject"`},
		"no denial any more":          {of(`"s3:*"`, `"*"`), of(`"s3:*"`, `"*"`) + deny(`"Action":"s3:Delete*","Resource":"*"`), Yes, No, `"s3:DeleteObject"`},
		"a narrower denial":           {home + deny(`"Action":"s3:*","Resource":"arn:aws:s3:::b/a*","Condition":{"Bool":{"aws:SecureTransport":"false"}}`), home + deny(`"Action":"s3:*","Resource":"arn:aws:s3:::b/a*"`), Yes, No, `"arn:aws:s3:::b/a`},
		"letters' case":               {of(`"S3:getobject"`, b), of(get, b), No, No, ""},
		"an action said twice":        {of(`["s3:Get*","s3:GetObject"]`, b), of(`"s3:Get*"`, b), No, No, ""},
		"a resource said twice":       {of(get, `["arn:aws:s3:::b/a*","arn:aws:s3:::b/*"]`), of(get, b), No, No, ""},
		"resources in parts":          {of(get, `["arn:aws:s3:::b/?","arn:aws:s3:::b/??*","arn:aws:s3:::b/"]`), of(get, b), No, No, ""},
		"services apart":              {of(`["s3:*","ec2:*"]`, `"*"`), of(`"s3:*"`, `"*"`) + "," + of(`"ec2:*"`, `"*"`), No, No, ""},
		"bucket and objects apart":    {of(`["s3:ListBucket","s3:GetObject"]`, `["arn:aws:s3:::b","arn:aws:s3:::b/*"]`), of(`"s3:ListBucket"`, `"arn:aws:s3:::b"`) + "," + of(get, b), Yes, No, `arn:aws:s3:::b`},
		"like, with a wildcard":       {if_(get, `{"StringLike":{"s3:prefix":"home/*"}}`), if_(get, `{"StringEquals":{"s3:prefix":"home/*"}}`), Yes, No, `"s3:prefix":"home/`},
		"like, without":               {if_(get, `{"StringLike":{"s3:prefix":"home"}}`), if_(get, `{"StringEquals":{"s3:prefix":"home"}}`), No, No, ""},
		"a denial for NotResource":    {`{"Effect":"Allow","Action":"s3:*","NotResource":"arn:aws:s3:::secret/*"}`, of(`"s3:*"`, `"*"`) + deny(`"Action":"s3:*","Resource":"arn:aws:s3:::secret/*"`), No, No, ""},
		"a denial for NotAction":      {`{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`, of(`"*"`, `"*"`) + deny(`"Action":"iam:*","Resource":"*"`), No, No, ""},
		"all but identities":          {of(`"*"`, `"*"`), `{"Effect":"Allow","NotAction":["iam:*","organizations:*"],"Resource":"*"}`, Yes, No, `"iam:PassRole"`},
		"addresses in halves":         {if_(get, `{"IpAddress":{"aws:SourceIp":["10.0.0.0/9","10.128.0.0/9"]}}`), if_(get, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), No, No, ""},
		"a region more":               {if_(`"ec2:RunInstances"`, `{"StringEquals":{"aws:RequestedRegion":["us-east-1","eu-west-1"]}}`), if_(`"ec2:RunInstances"`, `{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`), Yes, No, `"aws:RequestedRegion":"eu-west-1"`},
		"a second factor":             {of(`"*"`, `"*"`), of(`"*"`, `"*"`) + deny(`"Action":"*","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}`), Yes, No, `"s3:GetObject"`},
		"a later end":                 {if_(get, `{"DateLessThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"}}`), if_(get, `{"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}`), Yes, No, `"aws:CurrentTime":"2026-`},
		"roles for any service":       {of(`"iam:PassRole"`, `"*"`), `{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}}`, Yes, No, `"iam:PassRole"`},
		"two names of one operator":   {if_(get, `{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}}`), if_(get, `{"ArnEquals":{"aws:SourceArn":"arn:aws:s3:::*"}}`), No, No, ""},
		"a home for a variable":       {of(get, b), of(get, `"arn:aws:s3:::b/${aws:username}/*"`), Yes, No, `"arn:aws:s3:::b/x"`},
		"a tag more":                  {if_(get, `{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`), if_(get, `{"ForAllValues:StringEquals":{"aws:TagKeys":"a"}}`), Yes, No, `"aws:TagKeys":"b"`},
		"one that people know":        {of(`"ec2:StartInstances"`, `"*"`), of(`"ec2:StopInstances"`, `"*"`), Yes, Yes, `"ec2:StartInstances"`},
		"all keys, and all resources": {of(`"s3:*"`, `"*"`), of(`"s3:*"`, `"arn:aws:s3:::*"`), Yes, No, `"s3:GetObject"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var docs [2]*policy.Document
			var texts [2][]byte
			for i, statements := range []string{test.a, test.b} {
				texts[i] = []byte(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)
				var err error
				if docs[i], _, err = policy.Parse(policy.Identity, texts[i]); err != nil {
					t.Fatal(err)
				}
			}
			got := Implies(docs[0], docs[1])
			if got.AllowedByANotByB != test.ab || got.AllowedByBNotByA != test.ba {
				t.Fatalf("%v and %v, want %v and %v", got.AllowedByANotByB, got.AllowedByBNotByA, test.ab, test.ba)
			}
			m := maker{testrounds.Rand(t)}
			m.checkDirection(t, got.AllowedByANotByB, got.Witness, texts, docs, 100)
			m.checkDirection(t, got.AllowedByBNotByA, got.ReverseWitness, [2][]byte{texts[1], texts[0]}, [2]*policy.Document{docs[1], docs[0]}, 100)
			if text, _ := json.Marshal(got); !strings.Contains(string(text), test.says) {
				t.Errorf("%s says no %s", text, test.says)
			}
		})
	}
}
