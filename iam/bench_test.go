package iam_test

import (
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// BenchmarkAuthoriseCall is what a warm call pays for its decision.
func BenchmarkAuthoriseCall(b *testing.B) {
	_, a := newWorld()
	authoriseCalls(b, a)
}

// BenchmarkAuthoriseCallByKeys is the same where a policy looks at condition
// keys, which are filled in for it.
func BenchmarkAuthoriseCallByKeys(b *testing.B) {
	w, a := newWorld()
	w.Directory.Everyone = &iam.Subject{Identity: iamtest.Set(policy.Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*",
		"Condition":{"StringEquals":{"aws:PrincipalTag/tenant_id":"acme","carrel:TenantId":"${tenant_id}"}}}]}`)}
	authoriseCalls(b, a)
}

func authoriseCalls(b *testing.B, a *iam.Authority) {
	c := &call.Call{Principal: user(acme, "admin"), Owner: tenant.Identity{Account: acme}, Target: &function.Target{ARN: arnOf(acme)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.AuthoriseCall(c); err != nil {
			b.Fatal(err)
		}
	}
}
