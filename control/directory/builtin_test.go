package directory

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
)

// TestBuiltinPoliciesParse holds every built-in policy to the rules of those
// that users write, and has each name of this package be one.
func TestBuiltinPoliciesParse(t *testing.T) {
	t.Parallel()
	for _, p := range Builtins() {
		kind := policy.Identity
		if p.ARN == RCPFullAWSAccess {
			kind = policy.Resource // an RCP that allows, of which there is only this one
		}
		if _, warnings, err := policy.Parse(kind, []byte(p.Text())); err != nil {
			t.Errorf("%s: %v", p.ARN, err)
		} else {
			t.Log(p.ARN, warnings)
		}
		if kind == policy.Identity {
			if _, _, err := policy.Parse(policy.SCP, []byte(p.Text())); err != nil {
				t.Errorf("%s as an SCP: %v", p.ARN, err)
			}
		}
		if !strings.HasSuffix(p.ARN, p.Path+p.Name) {
			t.Errorf("%s has the path %s", p.ARN, p.Path)
		}
	}
	for _, arn := range []string{
		AdministratorAccess, Operator, Auditor, TenantAdmin, TenantDeveloper, TenantBillingReader, FullAWSAccess, RCPFullAWSAccess,
		builtinPrefix + "PowerUserAccess", builtinPrefix + "AWSLambda_FullAccess", builtinPrefix + "AWSLambda_ReadOnlyAccess",
		builtinPrefix + "IAMFullAccess", builtinPrefix + "IAMReadOnlyAccess",
	} {
		if _, found := Builtin(arn); !found || !IsBuiltin(arn) {
			t.Errorf("there is no %s", arn)
		}
	}
	if _, found := Builtin(builtinPrefix + "NoSuchPolicy"); found {
		t.Error("there is a policy of any name")
	}
}
