package prove_test

import (
	"encoding/json"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/internal/testrounds"
)

func TestImplies(t *testing.T) {
	t.Parallel()
	get := func(r string) string { return allow("s3:GetObject", "arn:aws:s3:::"+r) }
	if_ := func(condition string) string {
		return `{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":` + condition + `}`
	}
	for _, test := range []struct {
		name, a, b string
		ab, ba     Answer
	}{
		{"equal", get("b/*"), get("b/*"), No, No},
		{"in other words", get("b/*"), get("b/*") + "," + get("b/a*"), No, No},
		{"split", get("b/a*") + "," + get("b/*"), get("b/*"), No, No},
		{"wider", get("b/*"), get("b/x/*"), Yes, No},
		{"apart", get("a/*"), get("b/*"), Yes, Yes},
		{"action", allow("s3:Get*", "*"), allow("s3:GetObject", "*"), Yes, No},
		{"action case", allow("s3:getobject", "*"), allow("S3:GetObject", "*"), No, No},
		{"not action", `{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`, allow("s3:*", "*"), Yes, No},
		{"denied", allow("s3:*", "*"), allow("s3:*", "*") + `,{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*"}`, Yes, No},
		{"one character", get("b/?"), get("b/*"), No, Yes},
		{"question marks", get("b/?*"), get("b/*?"), No, No},
		{"variable", get("home/${aws:username}/*"), get("home/${aws:username}/*"), No, No},
		{"variable in wider", get("home/${aws:username}/*"), get("home/*"), No, Yes},
		{"another variable", get("home/${aws:username}/*"), get("home/${aws:userid}/*"), Yes, Yes},
		{"default", get("home/${aws:username, 'x'}/*"), get("home/${aws:username}/*"), Yes, No},
		{"number", if_(`{"NumericLessThan":{"s3:max-keys":"10"}}`), if_(`{"NumericLessThanEquals":{"s3:max-keys":"9.5"}}`), Yes, No},
		{"numbers in words", if_(`{"NumericLessThan":{"s3:max-keys":"10"}}`), if_(`{"NumericLessThan":{"s3:max-keys":"10.0"}}`), No, No},
		{"address", if_(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), if_(`{"IpAddress":{"aws:SourceIp":["10.0.0.0/9","10.128.0.0/9"]}}`), No, No},
		{"one address", if_(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), if_(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/9"}}`), Yes, No},
		{"date", if_(`{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}`), if_(`{"DateGreaterThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"}}`), Yes, No},
		{"bool", if_(`{"Bool":{"aws:SecureTransport":"true"}}`), if_(`{"BoolIfExists":{"aws:SecureTransport":"true"}}`), No, Yes},
		{"like", if_(`{"StringLike":{"aws:UserAgent":"a*"}}`), if_(`{"StringLike":{"aws:UserAgent":["ab*","a"]}}`), Yes, No},
		{"case", if_(`{"StringEquals":{"aws:UserAgent":"Ab"}}`), if_(`{"StringEqualsIgnoreCase":{"aws:UserAgent":"aB"}}`), No, Yes},
		{"all values", if_(`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`), if_(`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a","b"]}}`), Yes, Yes},
		{"inverted", if_(`{"StringNotEquals":{"aws:UserAgent":"a"}}`), if_(`{"StringNotLike":{"aws:UserAgent":"a"}}`), No, No},
		{"arn", if_(`{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:123456789012:*"}}`), if_(`{"StringLike":{"aws:SourceArn":"arn:aws:sns:*:123456789012:*"}}`), No, Yes},
		{"null", if_(`{"Null":{"aws:TokenIssueTime":"true"}}`), if_(`{"Null":{"aws:TokenIssueTime":"false"}}`), Yes, Yes},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, b := parse(t, policy.Identity, test.a), parse(t, policy.Identity, test.b)
			got := Implies(a, b)
			if got.AllowedByANotByB != test.ab || got.AllowedByBNotByA != test.ba {
				t.Fatalf("%v and %v, want %v and %v; witnesses %v %v", got.AllowedByANotByB, got.AllowedByBNotByA, test.ab, test.ba, got.Witness, got.ReverseWitness)
			}
			checkRequest(t, a, b, got.Witness)
			checkRequest(t, b, a, got.ReverseWitness)
			d := Diff(a, b)
			if (len(d.Denied) > 0) != (test.ab == Yes) || (len(d.Allowed) > 0) != (test.ba == Yes) {
				t.Errorf("difference %+v", d)
			}
		})
	}
}

// checkRequest asks the evaluator about a witness, read from its JSON.
func checkRequest(t *testing.T, a, b *policy.Document, w *Request) {
	t.Helper()
	if w == nil {
		return
	}
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Action   string
		Resource struct{ Resource string }
		Context  map[string]any
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	ctx := &policy.Context{}
	for k, v := range read.Context {
		if list, many := v.([]any); many {
			values := []string{}
			for _, s := range list {
				values = append(values, s.(string))
			}
			ctx.SetAll(k, values)
		} else {
			ctx.Set(k, v.(string))
		}
	}
	for d, want := range map[*policy.Document]bool{a: true, b: false} {
		l := &policy.Layers{Identity: policy.Compile(policy.Source{Document: d})}
		if got := policy.Evaluate(request(read.Action, read.Resource.Resource, ctx), l).Verdict == policy.Allowed; got != want {
			t.Fatalf("allowed %v, want %v: %s", got, want, text)
		}
	}
}

// bruteDifference looks for a request that A allows and B does not.
func bruteDifference(a, b *policy.Document) (string, bool) {
	la := &policy.Layers{Identity: policy.Compile(policy.Source{Document: a})}
	lb := &policy.Layers{Identity: policy.Compile(policy.Source{Document: b})}
	tags := [][]string{nil, {""}, {"a"}, {"b"}, {"ab"}, {"a", "b"}}
	for _, key := range tinyTexts[:45] {
		for _, k := range tinyKeys["aws:RequestTag/k"] {
			for _, team := range tinyKeys["aws:PrincipalTag/team"] {
				for _, tenant := range []string{"a", "b", "ab", ""} {
					for _, tag := range tags {
						ctx := &policy.Context{}
						if tenant != "" {
							ctx.Set("carrel:TenantId", tenant)
						}
						give(ctx, "aws:PrincipalTag/tenant_id", tags[len(tenant)+1])
						give(ctx, "aws:RequestTag/k", k)
						give(ctx, "aws:PrincipalTag/team", team)
						give(ctx, "aws:ResourceTag/tenant_id", tag)
						for _, action := range []string{"s3:GetObject", "s3:PutObject", "s3:x"} {
							r := request(action, "arn:aws:s3:::s/"+key, ctx)
							if policy.Evaluate(r, la).Verdict == policy.Allowed && policy.Evaluate(r, lb).Verdict != policy.Allowed {
								return action + " on s/" + key, true
							}
						}
					}
				}
			}
		}
	}
	return "", false
}

// TestImpliesAgreesWithBruteForce holds every no to all requests over a small
// alphabet, and every yes to the evaluator.
func TestImpliesAgreesWithBruteForce(t *testing.T) {
	t.Parallel()
	m := maker{testrounds.Rand(t)}
	counts := map[Answer]int{}
	for range 2 * testrounds.Rounds(t) {
		plain := m.IntN(3) == 0
		a, b := m.policy(t, plain, "Allow", "Deny").Document, m.policy(t, plain, "Allow", "Deny").Document
		switch m.IntN(3) {
		case 0: // a policy and itself with a statement more
			b = &policy.Document{Kind: a.Kind, Version: a.Version, Statements: append(a.Statements[:len(a.Statements):len(a.Statements)], b.Statements...)}
		case 1: // the same in another order
			b = &policy.Document{Kind: a.Kind, Version: a.Version}
			for i := range a.Statements {
				b.Statements = append(b.Statements, a.Statements[len(a.Statements)-1-i])
			}
		}
		got := Implies(a, b)
		counts[got.AllowedByANotByB]++
		checkRequest(t, a, b, got.Witness)
		checkRequest(t, b, a, got.ReverseWitness)
		text, _ := json.Marshal([]*policy.Document{a, b})
		if got.AllowedByANotByB == No {
			if bad, found := bruteDifference(a, b); found {
				t.Fatalf("no, and yet %s\n%s", bad, text)
			}
		}
		if got.AllowedByBNotByA == No {
			if bad, found := bruteDifference(b, a); found {
				t.Fatalf("no, and yet %s\n%s", bad, text)
			}
		}
		if got.AllowedByANotByB == Undecided {
			t.Logf("unknown: %s", text)
		}
	}
	t.Logf("%v", counts)
	if counts[Undecided] > counts[No] {
		t.Errorf("%v: too much is unknown", counts)
	}
}
