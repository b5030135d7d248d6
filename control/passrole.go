package control

import (
	"context"
	"slices"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// Whoever decides what runs with a role has what the role has. So the acts
// that say which code runs with which role, and how (CreateFunction,
// UpdateFunctionCode, UpdateFunctionConfiguration), need a second grant, for
// iam:PassRole on the role that the function will have. Lambda asks for it
// only where the request names a role, and so lets who may change the code of
// a function have that function's role.
//
// PublishVersion, aliases and weights only name what was deployed under this
// rule. A version keeps the role's internal id: a role that is made anew under
// its name is not the version's.

// passes checks the grant for passing a role on, which is for the resource
// that the role's ARN is.
func (s *Service) passes(ctx context.Context, g, pass iam.Grant, role string) error {
	if pass == (iam.Grant{}) {
		// The function was not there yet when the grant was asked for.
		return fault.New("control.PassRole", fault.Denied, "The function was made, or given another role, by another request at the same time.").
			WithCode("AccessDeniedException").WithRemedy("Try again.")
	}
	err := s.checkAlso(ctx, g, also{pass, ActionPassRole, role})
	if err == nil && !slices.ContainsFunc(pass.Request().Keys, func(k iam.Key) bool {
		return k.Name == passedToService && slices.Equal(k.Values, []string{LambdaService})
	}) {
		err = fault.New("control.PassRole", fault.Denied, "the grant for passing a role on does not say that it is for a function")
	}
	return err
}

const passedToService = "iam:passedtoservice"

// PassedToService is the condition key of iam:PassRole where the role is for a
// function.
func PassedToService() iam.Key {
	return iam.Key{Name: passedToService, Values: []string{LambdaService}}
}

// RoleOf gives the role of $LATEST as it was asked for last, for the grant that
// UpdateFunctionCode and UpdateFunctionConfiguration need; false if there is no
// such function.
func (s *Service) RoleOf(account tenant.AccountID, name function.Name) (string, bool) {
	d, found := s.ix.functions.get(functionName{account, name})
	if !found {
		return "", false
	}
	return d.Latest.Role, true
}

// takeRole makes sure that a version's role is there and may be taken on for
// the function, and notes which one it is.
func (s *Service) takeRole(op string, f *functionRecord) error {
	v := &f.Latest
	r, found := s.identitiesOf(f.Account).Role(v.Role)
	if !found || !s.assumable(r.Record, f) {
		return invalid(op, "The role defined for the function cannot be assumed by Lambda.").(*fault.Error).
			WithRemedy("The trust policy of %s has to allow sts:AssumeRole to the service %s.", printable(v.Role), LambdaService)
	}
	v.RoleUID = r.Record.UID
	return nil
}

// assumable asks a role's trust policy, and the guardrails above the account,
// whether the platform may take the role on for a function.
func (s *Service) assumable(r *directory.Role, f *functionRecord) bool {
	trust, ok := s.trustOf(r)
	levels, known := s.levelsOf(r.Account)
	if !ok || !known {
		return false
	}
	keys := &policy.Context{}
	keys.Set("aws:sourceaccount", string(f.Account))
	keys.Set("aws:sourcearn", function.ARN(f.Region, f.Account, f.Name, ""))
	keys.Set("aws:principalisawsservice", "true")
	keys.Set("aws:principalservicename", LambdaService)
	keys.Set("aws:resourceaccount", string(r.Account))
	keys.Set("aws:requestedregion", f.Region)
	keys.Set("aws:securetransport", "true")
	for _, t := range r.Tags {
		keys.Set("aws:resourcetag/"+t.Key, t.Value)
	}
	return policy.Evaluate(&policy.Request{
		Action: "sts:AssumeRole", Resource: r.ARN, ResourceAccount: string(r.Account),
		Principal: policy.Principal{Type: policy.Service, ARN: LambdaService}, Context: keys,
	}, &policy.Layers{Resource: trust, TrustOnly: true, RCPs: levels.RCPs}).Verdict == policy.Allowed
}

// ExecutionRole gives the role that a target runs with; false if it was
// deleted, also if another role has its name now. Whether the role still
// trusts Lambda is not looked at.
func (s *Service) ExecutionRole(t *function.Target) (*directory.Role, bool) {
	if t.Instance != nil && t.Instance.Strategy == isolation.Function {
		return s.derivedRole(t)
	}
	in, found := s.ix.identities.get(t.Account)
	if !found {
		return nil, false
	}
	if t.RoleUID != "" {
		r, found := in.Roles.ByID(string(t.RoleUID))
		if !found || r.Record.ARN != t.Role {
			return nil, false
		}
		return r.Record, true
	}
	// A version from before roles had ids: it means the role that its account
	// was made with.
	r, found := in.Role(t.Role)
	if !found || r.Record.ID != migratedID(roleID, r.Record.UID) {
		return nil, false
	}
	return r.Record, true
}
