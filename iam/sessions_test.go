package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

func document(t *testing.T, text string) *policy.Document {
	t.Helper()
	doc, _, err := policy.ParseFor(policy.ResourceUse, policy.Identity, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestSessionsWithManagedPoliciesCostLittle asks often for a session with as
// many managed policies as there may be. Decisions come before any quota, so
// one that compiles them anew each time is a way to take the node's time.
func TestSessionsWithManagedPoliciesCostLittle(t *testing.T) {
	w, a := newWorld()
	p := role(acme, "fn")
	for i := range 10 {
		var statements []string
		for n := range 80 {
			statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":"lambda:*","Resource":"arn:aws:lambda:*:*:function:f%d-%d*"}`, i, n))
		}
		arn := fmt.Sprintf("arn:aws:iam::%s:policy/p%d", acme, i)
		w.Policies[arn] = document(t, `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`)
		p.Session.Managed = append(p.Session.Managed, arn)
	}
	last := p.Session.Managed[9]
	ask := func() error {
		_, err := a.Authorise(iam.Request{Principal: p, Action: iam.InvokeAction, Resource: arnOf(acme), Owner: tenant.Identity{Account: acme}})
		return err
	}
	if err := ask(); !fault.Is(err, fault.Denied) {
		t.Fatalf("policies about other functions: %v", err)
	}
	w.Policies[last] = document(t, strings.Replace(pooled, `"Action":["s3:GetObject"],"Resource":"arn:aws:s3:::myapp-${tenant_id}/*"`, `"Action":"*","Resource":"*"`, 1))
	if err := ask(); err != nil {
		t.Fatalf("one of the policies was changed, and that did not count: %v", err)
	}
	if n := testing.AllocsPerRun(20, func() { _ = ask() }); n > 50 {
		t.Errorf("a decision allocates %v times", n)
	}
	delete(w.Policies, last)
	if err := ask(); !fault.Is(err, fault.Denied) {
		t.Errorf("one of the policies is gone: %v", err)
	}
}
