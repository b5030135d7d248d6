package iam_test

import (
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// BenchmarkAuthoriseCall is what a warm call pays for its decision.
func BenchmarkAuthoriseCall(b *testing.B) {
	_, a := newWorld()
	c := &call.Call{Principal: user(acme, "admin"), Owner: tenant.Identity{Account: acme}, Target: &function.Target{ARN: arnOf(acme)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.AuthoriseCall(c); err != nil {
			b.Fatal(err)
		}
	}
}
