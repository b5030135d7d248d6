package prove_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
)

// maxProof is far more than any proof of two documents takes, on a machine
// however busy, and far less than one without bounds would.
const maxProof = 2 * time.Minute

// FuzzProve proves and compares whatever policies there can be: it has to
// come to an end, and every witness has to be true.
func FuzzProve(f *testing.F) {
	for _, base := range safe {
		f.Add(`{"Version":"2012-10-17","Statement":[`+base.identity+`]}`, `{"Version":"2012-10-17","Statement":[`+allow("s3:*", "*")+`]}`)
	}
	f.Add(`{"Version":"2012-10-17","Statement":[`+allow("s3:*", "arn:aws:s3:::s/*?*?*?*${tenant_id}*${tenant_id}?*${aws:username, 'x'}*")+`]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","NotAction":"s3:*a*b*c*","NotResource":"arn:aws:s3:::*a*b*c","Condition":{"ForAnyValue:StringNotLikeIfExists":{"aws:TagKeys":["*a*","${tenant_id}"]},"NumericLessThan":{"s3:max-keys":["1","2.5"]},"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}}]}`)
	f.Fuzz(func(t *testing.T, first, second string) {
		a, _, err := policy.Parse(policy.Identity, []byte(first))
		if err != nil {
			return
		}
		b, _, err := policy.Parse(policy.Identity, []byte(second))
		if err != nil {
			return
		}
		begun := time.Now()
		q := Question{Policies: []Policy{{Name: "a", Document: a}}, Boundary: &Policy{Name: "b", Document: b}}
		for _, end := range []bool{false, true} {
			q.EndTenants = end
			confirmWitnesses(t, q, New().Universal(q))
		}
		i := Implies(a, b)
		checkRequest(t, a, b, i.Witness)
		checkRequest(t, b, a, i.ReverseWitness)
		if same := Implies(a, a); same.AllowedByANotByB == Yes {
			t.Fatalf("a policy allows more than itself: %v", same.Witness)
		}
		if took := time.Since(begun); took > maxProof {
			t.Fatalf("it took %s\n%s\n%s", took, first, second)
		}
	})
}

// TestHardQuestionsEnd: policies made to be hard get an answer all the same,
// if only that it is unknown, and soon.
func TestHardQuestionsEnd(t *testing.T) {
	t.Parallel()
	var hard, deny, loose []string
	for i := range 24 {
		hard = append(hard, fmt.Sprintf(`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::s/*?*a?*${tenant_id}*?b*${aws:username}*%d"}`, i))
		deny = append(deny, fmt.Sprintf(`{"Effect":"Deny","Action":"s3:Get*","NotResource":"arn:aws:s3:::s/*%d*${tenant_id}*?*","Condition":{"StringNotLike":{"aws:RequestTag/k%d":"*a*?*${tenant_id}*"},"ForAnyValue:StringLike":{"aws:TagKeys":["*%d*","?*${aws:username}"]}}}`, i, i%5, i))
		loose = append(loose, fmt.Sprintf(`{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::s/*%d?*%d?*%d?*?*"}`, i%10, i%7, i%3))
	}
	a := parse(t, policy.Identity, strings.Join(append(hard, deny[:12]...), ","))
	b := parse(t, policy.Identity, strings.Join(append(loose, deny[12:]...), ","))
	begun := time.Now()
	for _, end := range []bool{false, true} {
		r := New().Universal(Question{EndTenants: end, Policies: []Policy{{Name: "a", Document: a}}, Boundary: &Policy{Name: "b", Document: b}})
		t.Log(end, r.Result, time.Since(begun))
	}
	i := Implies(a, b)
	t.Log(i.AllowedByANotByB, i.AllowedByBNotByA, time.Since(begun))
	if took := time.Since(begun); took > maxProof {
		t.Errorf("it took %s", took)
	}
}
