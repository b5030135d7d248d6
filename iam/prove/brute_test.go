package prove_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/internal/testrounds"
)

// tiny is a grammar with six ids, some of which are prefixes of others.
var tiny = Grammar{First: "ab", Middle: "ab", Last: "ab", Min: 1, Max: 2}

// maker makes random policies over a small alphabet.
type maker struct{ *rand.Rand }

func (m maker) pick(from ...string) string { return from[m.IntN(len(from))] }

func (m maker) pattern() string {
	out := m.pick("s/", "s/", "s/", "s", "*")
	for range m.IntN(4) + 1 {
		out += m.pick("a", "b", "/", "*", "?", "${tenant_id}", "${tenant_id}", "${tenant_id}/", "ab", "/*")
	}
	return "arn:aws:s3:::" + out
}

func (m maker) resources() []string {
	if m.IntN(8) == 0 {
		return []string{"*"}
	}
	out := []string{m.pattern()}
	if m.IntN(3) == 0 {
		out = append(out, m.pattern())
	}
	return out
}

// keys are the condition keys of random policies, with the values that the
// brute force tries. A nil list is an absent key.
var tinyKeys = map[string][][]string{
	"aws:RequestTag/k":          {nil, {""}, {"a"}, {"b"}, {"ab"}, {"aa"}, {}, {"a", "b"}},
	"aws:ResourceTag/tenant_id": nil, // absent or the owner
	"aws:PrincipalTag/team":     {nil, {"a"}, {"b"}, {"a/"}},
}

func (m maker) condition() (operator, key, value string) {
	key = m.pick("aws:RequestTag/k", "aws:ResourceTag/tenant_id", "aws:PrincipalTag/tenant_id", "aws:PrincipalTag/team")
	if m.IntN(8) == 0 {
		return "Null", key, m.pick("true", "false")
	}
	operator = m.pick("", "", "", "ForAllValues:", "ForAnyValue:") +
		m.pick("StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase") + m.pick("", "", "IfExists")
	return operator, key, m.pick("a", "b", "ab", "*", "a*", "?", "${tenant_id}", "${tenant_id}", "${tenant_id}*", "${aws:PrincipalTag/team}")
}

func (m maker) statement(effect string, plain bool) map[string]any {
	s := map[string]any{"Effect": effect, "Action": m.pick("s3:GetObject", "s3:*", "s3:Get*", "s3:PutObject")}
	element := "Resource"
	if m.IntN(5) == 0 {
		element = "NotResource"
	}
	s[element] = m.resources()
	if m.IntN(8) == 0 {
		s[element] = []string{"arn:aws:s3:::s/${aws:PrincipalTag/team}*"}
	}
	if !plain && m.IntN(2) == 0 {
		block := map[string]map[string][]string{}
		for range m.IntN(2) + 1 {
			o, k, v := m.condition()
			if block[o] == nil {
				block[o] = map[string][]string{}
			}
			block[o][k] = append(block[o][k], v)
		}
		s["Condition"] = block
	}
	return s
}

func (m maker) policy(t testing.TB, plain bool, effects ...string) Policy {
	var all []map[string]any
	for i := range m.IntN(3) + 1 {
		effect := "Allow"
		if i > 0 {
			effect = m.pick(effects...)
		}
		all = append(all, m.statement(effect, plain))
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		t.Fatal(err)
	}
	return Policy{Name: "p", Document: parse(t, policy.Identity, string(text))}
}

func (m maker) question(t testing.TB, plain bool) Question {
	q := Question{Policies: []Policy{m.policy(t, plain, "Allow", "Deny")}}
	if m.IntN(3) == 0 {
		b := m.policy(t, plain, "Allow", "Deny")
		q.Boundary = &b
	}
	if m.IntN(4) == 0 {
		q.SCPs = []Level{{Name: "root", Policies: []Policy{m.policy(t, plain, "Allow", "Deny")}}}
	}
	return q
}

// texts lists all resources of bucket s with short keys.
var tinyTexts = func() []string {
	layer, out := []string{""}, []string{}
	for range 5 {
		var next []string
		for _, p := range layer {
			for _, c := range []string{"a", "b", "/"} {
				next = append(next, p+c)
			}
		}
		out = append(out, next...)
		layer = next
	}
	return out
}()

// names tells whether a policy names bucket s, so that the prover judges it.
func names(q Question) bool {
	for _, s := range q.Policies[0].Document.Statements {
		if s.Effect != policy.Allow || s.NotResource {
			continue
		}
		for _, r := range s.Resources {
			if !r.All && strings.HasPrefix(r.Parts[5].String(), "s/") {
				return true
			}
		}
	}
	return false
}

func layersOf(q Question) *policy.Layers {
	set := func(all ...Policy) *policy.Set {
		var sources []policy.Source
		for _, p := range all {
			sources = append(sources, policy.Source{Name: p.Name, Document: p.Document})
		}
		return policy.Compile(sources...)
	}
	l := &policy.Layers{Identity: set(q.Policies...)}
	if q.Boundary != nil {
		l.Boundary = set(*q.Boundary)
	}
	for _, level := range q.SCPs {
		l.SCPs = append(l.SCPs, policy.Level{Name: level.Name, Set: set(level.Policies...)})
	}
	return l
}

func request(action, resource string, ctx *policy.Context) *policy.Request {
	return &policy.Request{
		Action: action, Resource: resource, ResourceAccount: "111122223333", Context: ctx,
		Principal: policy.Principal{Type: policy.Role, Account: "111122223333", ARN: "arn:aws:sts::111122223333:assumed-role/any/s", Issuer: "arn:aws:iam::111122223333:role/any"},
	}
}

// brute looks for a request that reaches another tenant's object.
func brute(q Question) (string, bool) {
	l := layersOf(q)
	ids := tiny.Some(99)
	for _, id := range ids {
		for _, key := range tinyTexts {
			owner, _, _ := strings.Cut(key, "/")
			if owner == id || !tiny.Contains(owner) {
				continue
			}
			for _, k := range tinyKeys["aws:RequestTag/k"] {
				for _, team := range tinyKeys["aws:PrincipalTag/team"] {
					for _, tagged := range []bool{false, true} {
						ctx := &policy.Context{}
						ctx.Set("carrel:TenantId", id)
						ctx.Set("aws:PrincipalTag/tenant_id", id)
						give(ctx, "aws:RequestTag/k", k)
						give(ctx, "aws:PrincipalTag/team", team)
						if tagged {
							ctx.Set("aws:ResourceTag/tenant_id", owner)
						}
						for _, action := range []string{"s3:GetObject", "s3:PutObject"} {
							if policy.Evaluate(request(action, "arn:aws:s3:::s/"+key, ctx), l).Verdict == policy.Allowed {
								return fmt.Sprintf("tenant %s: %s on s/%s, k %q team %q tagged %v", id, action, key, k, team, tagged), true
							}
						}
					}
				}
			}
		}
	}
	return "", false
}

func give(ctx *policy.Context, key string, values []string) {
	switch {
	case values == nil:
	case len(values) == 1:
		ctx.Set(key, values[0])
	default:
		ctx.SetAll(key, values)
	}
}

func show(q Question) string {
	text, _ := json.Marshal(q.Policies[0].Document)
	out := "identity " + string(text)
	if q.Boundary != nil {
		text, _ = json.Marshal(q.Boundary.Document)
		out += "\nboundary " + string(text)
	}
	for _, level := range q.SCPs {
		text, _ = json.Marshal(level.Policies[0].Document)
		out += "\nSCP " + string(text)
	}
	return out
}

// confirmed checks the witnesses of a report: that the evaluator allows them
// and that they are of another tenant.
func confirmWitnesses(t *testing.T, q Question, r Report) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Result != Violated {
			continue
		}
		w := f.Witness
		ctx := &policy.Context{}
		for k, v := range w.Context {
			give(ctx, k, v)
		}
		if got, _ := ctx.Get("carrel:TenantId"); !slices.Equal(got, []string{w.Tenant}) {
			t.Fatalf("the witness is of %q and says it is of %s\n%s", got, w.Tenant, show(q))
		}
		if w.Owner == w.Tenant {
			t.Fatalf("the witness is of the owner itself: %+v\n%s", w, show(q))
		}
		if v := policy.Evaluate(request(w.Action, w.Resource, ctx), layersOf(q)).Verdict; v != policy.Allowed {
			t.Fatalf("the witness %+v is not allowed\n%s", w, show(q))
		}
	}
}

// TestBruteForceAgrees holds the prover to all requests over a small alphabet:
// what is proved has no request that reaches another tenant's object.
func TestBruteForceAgrees(t *testing.T) {
	t.Parallel()
	m := maker{testrounds.Rand(t)}
	counts := map[Result]int{}
	for round := range 6 * testrounds.Rounds(t) {
		q := m.question(t, round%3 == 0)
		r := New().UniversalOf(tiny, false, q)
		counts[r.Result]++
		confirmWitnesses(t, q, r)
		if !names(q) || r.Result == Violated {
			continue
		}
		if bad, found := brute(q); found && r.Result == Proved {
			t.Fatalf("proved, and yet %s\n%s", bad, show(q))
		} else if !found && r.Result == Unknown {
			t.Logf("unknown without need: %s\n%s", r.Findings[0].Message, show(q))
		}
	}
	t.Logf("%v", counts)
	if counts[Unknown] > counts[Proved] {
		t.Errorf("%v: too much is unknown", counts)
	}
}
