package iam_test

import (
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// TestPoliciesSeeTheWallOfACall: a statement on carrel:Wall meets native code,
// which has a kernel of its own, as it does no other.
func TestPoliciesSeeTheWallOfACall(t *testing.T) {
	t.Parallel()
	for model, wall := range map[function.Model]string{function.Native: "kernel", function.Reactor: "process", function.Command: "process"} {
		for _, named := range []string{"process", "kernel"} {
			w, a := newWorld()
			w.Objects[arnOf(acme)] = statementOf(`,"Condition":{"StringEquals":{"carrel:Wall":"` + named + `"}}`)
			c := call.Call{
				Principal: user(globex, "g"), Owner: tenant.Identity{Account: acme},
				Target: &function.Target{Account: acme, ARN: arnOf(acme) + ":1", Asked: arnOf(acme), Version: "1", Model: model},
			}
			if _, err := a.Authorise(iam.CallRequest(&c)); (err == nil) != (named == wall) {
				t.Errorf("%s, a statement on the wall %s: %v", model, named, err)
			}
			a.MinWall = isolation.Kernel
			if _, err := a.Authorise(iam.CallRequest(&c)); (err == nil) != (named == "kernel") {
				t.Errorf("%s where all runs behind the wall kernel, a statement on the wall %s: %v", model, named, err)
			}
		}
	}
}
