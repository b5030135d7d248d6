package prove_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
)

// manyStatements is policies of n statements in all, as a team writes them in
// the course of time: most about single prefixes, some with conditions, a few
// that deny.
func manyStatements(t testing.TB, n int) []Policy {
	const each = 50
	var out []Policy
	for len(out)*each < n {
		var all []string
		for i := range min(each, n-len(out)*each) {
			k := len(out)*each + i
			bucket := fmt.Sprintf("arn:aws:s3:::app%d-data", k%40)
			switch {
			case k%25 == 24:
				all = append(all, fmt.Sprintf(`{"Effect":"Deny","Action":"s3:Delete*","Resource":"%s/${tenant_id}/keep%d/*","Condition":{"StringNotEquals":{"aws:PrincipalTag/team":"ops%d"}}}`, bucket, k, k%7))
			case k%5 == 4:
				all = append(all, fmt.Sprintf(`{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"%s/${tenant_id}/%d/*","Condition":{"IpAddress":{"aws:SourceIp":"10.%d.0.0/16"}}}`, bucket, k, k%200))
			default:
				all = append(all, fmt.Sprintf(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"%s/${tenant_id}/%d/*"}`, bucket, k))
			}
		}
		p := named(t, policy.Identity, fmt.Sprintf("p%d", len(out)), strings.Join(all, ","))
		p.Digest = p.Name // whoever keeps policies knows their digests
		out = append(out, p)
	}
	return out
}

// tenants is an organisation of n tenants as they are made.
func tenants(t testing.TB, n int) *Organization {
	o := organization(t)
	first := o.Accounts[1]
	for i := range n {
		id := fmt.Sprintf("%012d", 300000000000+i)
		a := tenantAccount(t, id, fmt.Sprintf("tenant-%d", i))
		a.SCPs = first.SCPs
		o.Accounts = append(o.Accounts, a)
	}
	return o
}

// BenchmarkGate is one write that changes one statement of a role with so
// many, and nothing of what was proved before helps.
func BenchmarkGate(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("statements=%d", n), func(b *testing.B) {
			o := organization(b)
			policies := manyStatements(b, n)
			r := role(b, acmeID, "fn", byLambda)
			p := New()
			for i := 0; b.Loop(); i++ {
				changed := named(b, policy.Identity, "changed", allow("s3:GetObject", fmt.Sprintf("arn:aws:s3:::app1-data/${tenant_id}/new%d/*", i)))
				r.Policies = append(policies[:len(policies):len(policies)], changed)
				o.Accounts[1].Principals[1] = r
				if got := p.Gate(o, Change{Accounts: []string{acmeID}}); got.Result != Proved {
					b.Fatal(got.Result, got.Findings)
				}
			}
		})
	}
}

// BenchmarkGateTenants is a write in one of so many accounts.
func BenchmarkGateTenants(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprintf("tenants=%d", n), func(b *testing.B) {
			o := tenants(b, n)
			p := New()
			for i := 0; b.Loop(); i++ {
				o.Accounts[1].Principals[1] = role(b, acmeID, "fn", byLambda, allow("s3:GetObject", fmt.Sprintf("arn:aws:s3:::shared/${tenant_id}/new%d/*", i)))
				if got := p.Gate(o, Change{Accounts: []string{acmeID}}); got.Result != Proved {
					b.Fatal(got.Result, got.Findings)
				}
			}
		})
	}
	b.Run("all of 10000", func(b *testing.B) {
		o := tenants(b, 10000)
		p := New()
		for b.Loop() {
			if got := p.Organization(o); got.Result != Proved {
				b.Fatal(got.Result)
			}
		}
	})
}
