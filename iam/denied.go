package iam

import (
	"fmt"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/policy"
)

const codeAccessDenied = "AccessDeniedException"

// refusal is why a request was denied. The zero refusal gives no reason away.
type refusal struct {
	// actor is who was not allowed it; the principal, or one of the chain.
	actor *call.Principal
	link  bool
	// gone says that the actor's key, user, role or session is not good any more.
	gone bool
	// operator says that the actor is an operator, and the resource a tenant's.
	operator   bool
	decision   policy.Decision
	evaluation *evaluation
}

// denied gives the error of a refusal, in AWS's words.
func (a *Authority) denied(r *Request, why refusal) error {
	text := fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s ", r.Principal.ARN, r.Action, r.Resource)
	switch {
	case why.gone:
		text += "because the key, user, role or session of " + why.actor.ARN + " is not valid any more"
	case why.operator:
		text += "because operators, as " + why.actor.ARN + " is one, have no actions on what tenants' functions do and hold"
	case why.link:
		text += "because its caller " + why.actor.ARN + " is not: " + reason(r, why.decision)
	case why.actor != nil:
		text += reason(r, why.decision)
	default:
		text += "because no identity-based policy allows the " + r.Action + " action"
	}
	err := fault.New(opAuthorise, fault.Denied, "%s", text).WithCode(codeAccessDenied)
	if why.evaluation != nil && a.Explained != nil && r.Action != InvokeAction && r.Action != InvokeURLAction {
		if message := a.Explained(*r, policy.Explain(&why.evaluation.request, &why.evaluation.layers)); message != "" {
			err.Message += "."
			err.Remedy = "Encoded authorization failure message: " + message
		}
	}
	return err
}

// layerWords are the layers in AWS's words, in the order in which AWS names
// one of several.
var layerWords = [...]struct {
	layer policy.Layer
	word  string
}{
	{policy.LayerRCP, "resource control policy"},
	{policy.LayerSCP, "service control policy"},
	{policy.LayerResource, "resource-based policy"},
	{policy.LayerIdentity, "identity-based policy"},
	{policy.LayerBoundary, "permissions boundary"},
	{policy.LayerSession, "session policy"},
	{policy.LayerCap, "cap of the token or chain"},
}

func article(word string) string {
	if word[0] == 'i' {
		return "an "
	}
	return "a "
}

func reason(r *Request, d policy.Decision) string {
	for _, l := range layerWords {
		if d.Blocked&(1<<l.layer) == 0 {
			continue
		}
		if d.Verdict == policy.ExplicitlyDenied {
			return "with an explicit deny in " + article(l.word) + l.word
		}
		return "because no " + l.word + " allows the " + r.Action + " action"
	}
	return "because no identity-based policy allows the " + r.Action + " action"
}
