package main

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

func cedarRules(n int) (decider, error) {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "permit(principal, action in [Action::\"GetObject\", Action::\"PutObject\"], resource)\nwhen { resource.folder == \"d%d\" && resource.tenant == principal.tenant };\n", i)
	}
	policies, err := cedar.NewPolicySetFromBytes("rules", []byte(text.String()))
	if err != nil {
		return nil, err
	}
	user := cedar.NewEntityUID("User", "u")
	entities := cedar.EntityMap{user: {UID: user, Attributes: cedar.NewRecord(cedar.RecordMap{"tenant": cedar.String(tenantID)})}}
	for _, owner := range []string{tenantID, strangerID} {
		object := cedar.NewEntityUID("Object", cedar.String(owner))
		entities[object] = cedar.Entity{UID: object, Attributes: cedar.NewRecord(cedar.RecordMap{
			"tenant": cedar.String(owner), "folder": cedar.String(fmt.Sprintf("d%d", n-1)),
		})}
	}
	requests := map[string]cedar.Request{}
	for _, owner := range []string{tenantID, strangerID} {
		requests[owner] = cedar.Request{
			Principal: user, Action: cedar.NewEntityUID("Action", "GetObject"), Resource: cedar.NewEntityUID("Object", cedar.String(owner)),
		}
	}
	return func(owner string) (bool, error) {
		decision, _ := cedar.Authorize(policies, entities, requests[owner])
		return decision == cedar.Allow, nil
	}, nil
}
