package iam_test

import (
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

func byURL(p call.Principal, auth string) iam.Request {
	return iam.Request{
		Principal: p, Action: iam.InvokeURLAction, Resource: arnOf(acme), Owner: tenant.Identity{Account: acme},
		Keys: []iam.Key{{Name: iam.KeyURLAuthType, Values: []string{auth}}},
	}
}

func statementOf(rest string) iam.Object {
	return iam.Object{Policy: iamtest.Set(policy.Resource, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
		"Action":"*","Resource":"*"`+rest+`}]}`)}
}

// TestNobodyCallsURLsOnly: a caller without credentials calls functions by
// public URLs whose policy lets everybody in, and does nothing else.
func TestNobodyCallsURLsOnly(t *testing.T) {
	t.Parallel()
	nobody := call.Principal{Type: call.TypeAnonymous}
	const public = `,"Condition":{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}`
	for name, test := range map[string]struct {
		statement string
		request   iam.Request
		allowed   bool
	}{
		"public":                      {public, byURL(nobody, "NONE"), true},
		"for signed requests":         {public, byURL(nobody, "AWS_IAM"), false},
		"a signed request":            {public, byURL(user(globex, "g"), "AWS_IAM"), false},
		"nothing":                     {`,"Condition":{"StringEquals":{"a:b":"c"}}`, byURL(nobody, "NONE"), false},
		"members of the organisation": {`,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-carrel"}}`, byURL(nobody, "NONE"), false},
		"an account":                  {`,"Condition":{"StringLike":{"aws:PrincipalAccount":"*"}}`, byURL(nobody, "NONE"), false},
		"a tenant":                    {`,"Condition":{"StringLike":{"aws:PrincipalTag/tenant_id":"*"}}`, byURL(nobody, "NONE"), false},
		"another action":              {``, iam.Request{Principal: nobody, Action: iam.InvokeAction, Resource: arnOf(acme), Owner: tenant.Identity{Account: acme}}, false},
		"reading it":                  {``, iam.Request{Principal: nobody, Action: "lambda:GetFunction", Resource: arnOf(acme), Owner: tenant.Identity{Account: acme}}, false},
	} {
		w, a := newWorld()
		w.Objects[arnOf(acme)] = statementOf(test.statement)
		if _, err := a.Authorise(test.request); (err == nil) != test.allowed {
			t.Errorf("%s: %v, allowed %t", name, err, test.allowed)
		}
	}
	w, a := newWorld()
	w.Objects[arnOf(acme)] = statementOf(public)
	w.status[acme] = tenant.Suspended
	if _, err := a.Authorise(byURL(nobody, "NONE")); err == nil {
		t.Error("a suspended tenant's function was called by its URL")
	}
}

// TestWhatNobodyCalledCallsNothing: nobody in a chain may do what follows.
func TestWhatNobodyCalledCallsNothing(t *testing.T) {
	t.Parallel()
	_, a := newWorld()
	r := iam.Request{Principal: role(acme, "fn"), Action: iam.InvokeAction, Resource: arnOf(acme), Owner: tenant.Identity{Account: acme}}
	if _, err := a.Authorise(r); err != nil {
		t.Fatalf("without a chain: %v", err)
	}
	r.Chain = []call.Link{{Principal: call.Principal{Type: call.TypeAnonymous}}}
	w, a := newWorld()
	w.Subjects[""] = &iam.Subject{} // as the directory has it for nobody
	if _, err := a.Authorise(r); err == nil {
		t.Error("a function that nobody called went on to call another")
	}
}
