package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

func opaRules(n int) (decider, error) {
	var text strings.Builder
	text.WriteString("package rules\n\ndefault allow := false\n")
	for i := range n {
		fmt.Fprintf(&text, "\nallow if {\n\tinput.folder == \"d%d\"\n\tinput.action in {\"s3:GetObject\", \"s3:PutObject\"}\n\tinput.owner == input.tenant\n}\n", i)
	}
	ctx := context.Background()
	query, err := rego.New(rego.Query("data.rules.allow"), rego.Module("rules.rego", text.String())).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	inputs := map[string]ast.Value{}
	for _, owner := range []string{tenantID, strangerID} {
		inputs[owner] = ast.MustInterfaceToValue(map[string]any{
			"action": "s3:GetObject", "folder": fmt.Sprintf("d%d", n-1), "owner": owner, "tenant": tenantID,
		})
	}
	return func(owner string) (bool, error) {
		results, err := query.Eval(ctx, rego.EvalParsedInput(inputs[owner]))
		return results.Allowed(), err
	}, nil
}
