package main

import (
	"fmt"

	"github.com/carrel-dev/carrel/iam/policy"
)

// carrelAfterFolder has the tenant behind the folder, so that rules differ
// before their variable.
func carrelAfterFolder(n int) (decider, error) {
	return carrelRules(n, "arn:aws:s3:::app-d%d-${tenant_id}/*", "arn:aws:s3:::app-d%d-%s/k")
}

// carrelBeforeFolder has it before the folder: all rules begin alike.
func carrelBeforeFolder(n int) (decider, error) {
	return carrelRules(n, "arn:aws:s3:::app-${tenant_id}/d%d/*", "arn:aws:s3:::app-%[2]s/d%[1]d/k")
}

func carrelRules(n int, resource, request string) (decider, error) {
	var sources []policy.Source
	for i := range n {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"` + fmt.Sprintf(resource, i) + `"}]}`
		doc, _, err := policy.Parse(policy.Identity, []byte(text))
		if err != nil {
			return nil, err
		}
		sources = append(sources, policy.Source{Name: fmt.Sprint(i), Document: doc})
	}
	layers := &policy.Layers{Identity: policy.Compile(sources...)}
	own := carrelRequest(fmt.Sprintf(request, n-1, tenantID))
	foreign := carrelRequest(fmt.Sprintf(request, n-1, strangerID))
	return func(owner string) (bool, error) {
		r := own
		if owner != tenantID {
			r = foreign
		}
		return policy.Evaluate(r, layers).Verdict == policy.Allowed, nil
	}, nil
}

func carrelRequest(resource string) *policy.Request {
	keys := &policy.Context{}
	keys.Set("carrel:TenantId", tenantID)
	return &policy.Request{
		Action: "s3:GetObject", Resource: resource, ResourceAccount: "111111111111", Context: keys,
		Principal: policy.Principal{Type: policy.User, Account: "111111111111", ARN: "arn:aws:iam::111111111111:user/u"},
	}
}
