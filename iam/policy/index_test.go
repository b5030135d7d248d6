package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/testrounds"
)

// TestIndexFindsWhatMatches holds the index to the reference, on patterns that
// share beginnings, with variables everywhere.
func TestIndexFindsWhatMatches(t *testing.T) {
	t.Parallel()
	rng := testrounds.Rand(t)
	for range testrounds.Rounds(t) {
		var texts []string
		for range 1 + rng.IntN(12) {
			texts = append(texts, one(fmt.Sprintf(`{'Effect':'%s','Action':'%s','Resource':['%s','%s']}`,
				pick(rng, "Allow", "Allow", "Allow", "Deny"), pick(rng, "s3:*", "s3:GetObject", "*"), randomPattern(rng), randomPattern(rng))))
		}
		l := Layers{Identity: set(t, Identity, texts...)}
		for range 100 {
			r := Request{Action: "s3:GetObject", ResourceAccount: "111111111111", Principal: asUser(), Context: &Context{}}
			for range rng.IntN(7) {
				r.Resource += pick(rng, "a", "b", "A", "/", "ab", ":")
			}
			if rng.IntN(4) > 0 {
				r.Context.Set("a:k", pick(rng, "", "a", "ab", "b/"))
			}
			if rng.IntN(4) > 0 {
				r.Context.Set("a:j", pick(rng, "a", "A", "/"))
			}
			got, want := Evaluate(&r, &l), reference(texts, &r)
			if (got.Verdict == Allowed) != want {
				t.Fatalf("%v on %s with %+v: %+v, the reference says %v", texts, r.Resource, r.Context, got, want)
			}
			if e := Explain(&r, &l); e.Verdict != got.Verdict {
				t.Fatalf("Explain decides %d, Evaluate %d", e.Verdict, got.Verdict)
			}
		}
	}
}

func randomPattern(rng *rand.Rand) string {
	p := pick(rng, "arn:aws:s3:::", "arn:aws:s3:::", "arn:aws:s3:*:*:", "arn:*:s3::?:", "arn:aws:s3::*:abba/")
	for range 1 + rng.IntN(5) {
		p += pick(rng, "a", "b", "ab", "/", ":", "${a:k}", "${a:k}", "${a:j}", `${a:j, \u0027a\u0027}`, "*", "?")
	}
	return p
}

// TestLongBeginnings has patterns that are longer than what is indexed.
func TestLongBeginnings(t *testing.T) {
	t.Parallel()
	long := "arn:aws:s3:::" + strings.Repeat("x", mostPrefix)
	s := set(t, Identity, one(`{'Effect':'Allow','Action':'s3:*','Resource':'`+long+`${a:k}/*'}`), one(`{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::${a:k}`+strings.Repeat("y", mostPrefix)+`${a:k}'}`))
	for resource, want := range map[string]Verdict{
		long + "v/k": Allowed,
		long + "w/k": ImplicitlyDenied,
		long[:20]:    ImplicitlyDenied,
		"arn:aws:s3:::v" + strings.Repeat("y", mostPrefix) + "v": Allowed,
		"arn:aws:s3:::v" + strings.Repeat("y", mostPrefix) + "w": ImplicitlyDenied,
		"arn:aws:s3:::v": ImplicitlyDenied,
	} {
		r := Request{Action: "s3:GetObject", Resource: resource, ResourceAccount: "111111111111", Principal: asUser(), Context: contextOf(map[string][]string{"a:k": {"v"}})}
		if d := Evaluate(&r, &Layers{Identity: s}); d.Verdict != want {
			t.Errorf("%s: %+v", resource, d)
		}
	}
}

// TestExplainNamesEachStatementOnce: a statement that is found twice is one.
func TestExplainNamesEachStatementOnce(t *testing.T) {
	t.Parallel()
	s := set(t, Identity, one(allowAll), one(`{'Effect':'Allow','Action':'s3:*','Resource':['arn:aws:s3:::*','arn:aws:s3:::b/*','arn:aws:s3:::b/k']}`), one(allowAll))
	r := Request{Action: "s3:GetObject", Resource: object, ResourceAccount: "111111111111", Principal: asUser()}
	e := Explain(&r, &Layers{Identity: s})
	var names []string
	for _, ref := range e.Statements {
		names = append(names, ref.Policy)
	}
	if got := strings.Join(names, " "); got != "p0 p1 p2" {
		t.Errorf("named are %s, want each once and in order", got)
	}
}

// sharedRules makes n statements that begin alike up to the variable, of which
// the last is for the request.
func sharedRules(t testing.TB, n int) (*Set, Request) {
	var texts []string
	for i := range n {
		texts = append(texts, one(fmt.Sprintf(`{'Effect':'Allow','Action':['s3:GetObject','s3:PutObject'],'Resource':'arn:aws:s3:::app-${tenant_id}/d%d/*'}`, i)))
	}
	r := tenantRequest(n)
	r.Resource = fmt.Sprintf("arn:aws:s3:::app-acme/d%d/k", n-1)
	return set(t, Identity, texts...), r
}

func TestSharedBeginningsAllocateNothing(t *testing.T) {
	s, r := sharedRules(t, 100)
	l := Layers{Identity: s}
	if Evaluate(&r, &l).Verdict != Allowed {
		t.Fatal("the request is refused")
	}
	if n := testing.AllocsPerRun(100, func() { Evaluate(&r, &l) }); n != 0 {
		t.Errorf("%v allocations a decision", n)
	}
}

func BenchmarkEvaluateSharedPrefix(b *testing.B) {
	for _, n := range []int{1, 10, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, r := sharedRules(b, n)
			l := Layers{Identity: s}
			b.ReportAllocs()
			for b.Loop() {
				if Evaluate(&r, &l).Verdict != Allowed {
					b.Fatal("refused")
				}
			}
		})
	}
}

// TestIndexLooksAtFew counts the statements that a decision looks at, which is
// what keeps it fast however many there are.
func TestIndexLooksAtFew(t *testing.T) {
	t.Parallel()
	const n = 1000
	for resource, request := range map[string]string{
		"arn:aws:s3:::app-%d/*":                             "arn:aws:s3:::app-7/k",
		"arn:aws:s3:::app-%d-${tenant_id}/*":                "arn:aws:s3:::app-7-acme/k",
		"arn:aws:s3:::app-${tenant_id}/d%d/*":               "arn:aws:s3:::app-acme/d7/k",
		"arn:aws:s3:::${tenant_id}/d%d/*":                   "arn:aws:s3:::acme/d7/k",
		"arn:aws:s3:::${tenant_id}/${aws:SourceIp}/d%d":     "arn:aws:s3:::acme/10.0.0.1/d7",
		"arn:aws:lambda:*:*:function:${tenant_id}-f%d*":     "arn:aws:lambda:r:111111111111:function:acme-f7",
		"arn:aws:lambda:*:111111111111:function:f%d:*":      "arn:aws:lambda:r:111111111111:function:f7:1",
		"arn:aws:s3:::${aws:username, \\u0027u\\u0027}/d%d": "arn:aws:s3:::u/d7",
	} {
		var texts []string
		for i := range n {
			texts = append(texts, one(fmt.Sprintf(`{'Effect':'Allow','Action':'*','Resource':'`+resource+`'}`, i)))
		}
		s, r, looked := set(t, Identity, texts...), tenantRequest(1), 0
		r.Resource = request
		q := newQuery(&r)
		s.candidates(&q, func(list []int32) bool { looked += len(list); return true })
		if d := Evaluate(&r, &Layers{Identity: s}); d.Verdict != Allowed || looked > 3 {
			t.Errorf("%s: %+v after %d of %d statements", resource, d, looked, n)
		}
	}
}
