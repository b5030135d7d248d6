package prove_test

import (
	"slices"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
)

// safe are sets that are proved, each of which keeps tenants apart in another
// way. The boundary is empty if there is none.
var safe = []struct{ name, identity, boundary string }{
	{"by a segment", allow("s3:GetObject", "arn:aws:s3:::s/${tenant_id}/*"), ""},
	{"by two statements", allow("s3:GetObject", "arn:aws:s3:::s/${tenant_id}/a*") + "," + allow("s3:PutObject", "arn:aws:s3:::s/${tenant_id}/b"), ""},
	{"by a boundary", allow("s3:*", "arn:aws:s3:::s/*"), allow("s3:GetObject", "arn:aws:s3:::s/${tenant_id}/*")},
	{"by a deny of the rest", allow("s3:*", "arn:aws:s3:::s/*/*") + `,{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::s/${tenant_id}/*"}`, ""},
	{"by the resource's tag", `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::s/*/*","Condition":{"StringEquals":{"aws:ResourceTag/tenant_id":"${tenant_id}"}}}`, ""},
	{"by a deny on the tag", allow("s3:GetObject", "arn:aws:s3:::s/*/*") + `,{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceTag/tenant_id":"${tenant_id}"}}}`, ""},
	{"by two denies", allow("s3:GetObject", "arn:aws:s3:::s/*") +
		`,{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"Null":{"aws:ResourceTag/tenant_id":"true"}}}` +
		`,{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"StringNotEqualsIfExists":{"aws:ResourceTag/tenant_id":"${tenant_id}"}}}`, ""},
}

// mutants are all the documents that differ from one by one fault.
func mutants(d *policy.Document) (out []*policy.Document) {
	changed := func(i int, change func(s *policy.Statement)) {
		m := *d
		m.Statements = slices.Clone(d.Statements)
		s := &m.Statements[i]
		s.Resources, s.Conditions = slices.Clone(s.Resources), slices.Clone(s.Conditions)
		change(s)
		out = append(out, &m)
	}
	for i := range d.Statements {
		if d.Statements[i].Effect == policy.Deny {
			m := *d
			m.Statements = slices.Delete(slices.Clone(d.Statements), i, i+1)
			out = append(out, &m)
		}
		for k := range d.Statements[i].Conditions {
			changed(i, func(s *policy.Statement) { s.Conditions = slices.Delete(s.Conditions, k, k+1) })
			changed(i, func(s *policy.Statement) { s.Conditions[k].IfExists = true })
			changed(i, func(s *policy.Statement) { s.Conditions[k].Quantifier = policy.ForAllValues })
			changed(i, func(s *policy.Statement) { s.Conditions[k].Operator = policy.StringLike })
		}
		for k := range d.Statements[i].Resources {
			for _, p := range brokenPatterns(d.Statements[i].Resources[k].Parts[5]) {
				changed(i, func(s *policy.Statement) { s.Resources[k].Parts[5] = p })
			}
		}
	}
	return out
}

// brokenPatterns puts something else in the place of a variable, or leaves
// out the text behind it.
func brokenPatterns(p policy.Pattern) (out []policy.Pattern) {
	for i, t := range p {
		if t.Kind != policy.Variable {
			continue
		}
		for _, with := range [][]policy.Token{
			{{Kind: policy.Run}}, {{Kind: policy.Literal, Text: "ab"}}, {{Kind: policy.One}}, {t, {Kind: policy.Run}}, {{Kind: policy.Run}, t},
			{{Kind: policy.Variable, Text: "aws:principaltag/team"}}, {t, t}, {t, {Kind: policy.One}},
		} {
			out = append(out, slices.Concat(p[:i], with, p[i+1:]))
		}
	}
	return out
}

// TestMutants breaks proved sets in every way it knows: the prover notices, or
// there is no request over a small alphabet that shows a difference.
func TestMutants(t *testing.T) {
	t.Parallel()
	noticed, harmless := 0, 0
	for _, base := range safe {
		q := Question{Policies: []Policy{{Name: "p", Document: parse(t, policy.Identity, base.identity)}}}
		if base.boundary != "" {
			q.Boundary = &Policy{Name: "b", Document: parse(t, policy.Boundary, base.boundary)}
		}
		if r := New().UniversalOf(tiny, false, q); r.Result != Proved {
			t.Fatalf("%s is %s: %v", base.name, r.Result, r.Findings)
		}
		var all []Question
		for _, m := range mutants(q.Policies[0].Document) {
			all = append(all, Question{Policies: []Policy{{Name: "p", Document: m}}, Boundary: q.Boundary})
		}
		if q.Boundary != nil {
			for _, m := range mutants(q.Boundary.Document) {
				all = append(all, Question{Policies: q.Policies, Boundary: &Policy{Name: "b", Document: m}})
			}
			all = append(all, Question{Policies: q.Policies})
		}
		for _, m := range all {
			r := New().UniversalOf(tiny, false, m)
			confirmWitnesses(t, m, r)
			if r.Result != Proved {
				noticed++
				continue
			}
			if bad, found := brute(m); found {
				t.Fatalf("%s: not noticed: %s\n%s", base.name, bad, show(m))
			}
			harmless++
		}
	}
	t.Logf("%d noticed, %d change nothing between tenants", noticed, harmless)
	if noticed < 3*harmless {
		t.Error("too many mutants are harmless for the test to mean much")
	}
}

// TestPitfalls holds the names of findings, which scripts rely on.
func TestPitfalls(t *testing.T) {
	t.Parallel()
	get := func(r string) string { return allow("s3:GetObject", "arn:aws:s3:::"+r) }
	for _, test := range []struct{ code, policy string }{
		{"PREFIX_WITHOUT_DELIMITER", get("shared/${tenant_id}*")},
		{"SUFFIX_WITHOUT_DELIMITER", get("shared/*${tenant_id}/*")},
		{"WRONG_SLOT", get("shared/*/${tenant_id}/*")},
		{"LITERAL_TENANT", get("shared/acme/*")},
		{"NO_TENANT", get("shared/*")},
		{"FREE_VARIABLE", get("shared/${aws:RequestTag/tenant_id}/*")},
		{"ALLOW_NOT_RESOURCE", `{"Effect":"Allow","Action":"s3:*","NotResource":"arn:aws:s3:::shared/${tenant_id}/*"}`},
		{"LISTS_OTHER_TENANTS", allow("s3:ListBucket", "arn:aws:s3:::shared")},
		{"CONTROLS_SHARED_BUCKET", allow("s3:PutBucketPolicy", "arn:aws:s3:::shared")},
		{"VARIABLE_IN_OLD_VERSION", `{"Version":"2008-10-17","Statement":[` + get("shared/*/${tenant_id}/*") + `]}`},
	} {
		r := universal(t, test.policy)
		if len(r.Findings) == 0 {
			t.Errorf("%s: nothing is found", test.code)
			continue
		}
		f := &r.Findings[0]
		if f.Code != test.code || f.Remedy == "" || f.Witness == nil || f.Policy != "data-access" || f.Statement < 0 {
			t.Errorf("%s, want %s: %+v", f.Code, test.code, f)
		}
	}
	r := universal(t, get("shared/${tenant_id}/*")+`,{"Effect":"Deny","Action":"s3:*","Resource":"*"}`)
	if r.Result != Proved || len(r.Warnings) == 0 || r.Warnings[0].Code != "VACUOUS" {
		t.Errorf("a policy that allows nothing: %+v", r)
	}
}
