package iam

import (
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/policy"
)

// Simulation is a question that is asked to see the answer. It is answered by
// what decides in earnest, and never gives a Grant.
type Simulation struct {
	// Request is what is asked. Its Keys replace what follows from the rest of
	// it, so that any request can be made up; its Chain is not looked at.
	Request
	// Subject and Object are what is attached to principal and resource.
	Subject *Subject
	Object  Object
	// Issuer is the ARN of the role or user whose session the principal has.
	Issuer string
}

// Explained is the answer to a Simulation.
type Explained struct {
	policy.Explanation
	// Absent are those of the asked for keys that the request did not have.
	Absent []string
}

// Simulate tells what would be decided and why. The keys are those that the
// policies name, each once, to find out which of them the request lacks.
func (a *Authority) Simulate(s Simulation, keys []string) Explained {
	p := s.Principal
	if s.Issuer != "" && p.Session == nil {
		p.Session = &call.Session{Issuer: s.Issuer, Issued: a.Now()}
	}
	request := policy.Request{
		Action: s.Action, Resource: s.Resource, ResourceAccount: string(s.Owner.Account),
		Principal: principalOf(&p, s.Subject), Context: &policy.Context{},
	}
	a.fill(request.Context, &s.Request, who{principal: &p, object: &s.Object}, s.Subject)
	for _, k := range s.Keys {
		request.Context.SetAll(k.Name, k.Values)
		if !k.Multiple && len(k.Values) == 1 {
			request.Context.Set(k.Name, k.Values[0])
		}
	}
	e := Explained{Explanation: policy.Explain(&request, &policy.Layers{
		Identity: s.Subject.Identity, Boundary: s.Subject.Boundary, SCPs: s.Subject.SCPs,
		Resource: s.Object.Policy, RCPs: s.Object.RCPs, SessionRequired: false,
	})}
	for _, key := range keys {
		if _, found := request.Context.Get(key); !found {
			e.Absent = append(e.Absent, key)
		}
	}
	return e
}
