package control

import (
	"encoding/json"
	"strconv"

	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
)

// explained is a refusal as DecodeAuthorizationMessage gives it: the members
// that AWS's has, and missing.
type explained struct {
	Allowed           bool             `json:"allowed"`
	ExplicitDeny      bool             `json:"explicitDeny"`
	MatchedStatements items[matched]   `json:"matchedStatements"`
	Failures          items[string]    `json:"failures"`
	Context           explainedContext `json:"context"`
	Missing           []string         `json:"missing,omitempty"`
}

type items[T any] struct {
	Items []T `json:"items"`
}

// matched is a statement that decided: one that denied, or one that allowed
// where another layer did not. Its text is for those who may read the policy.
type matched struct {
	StatementID      string `json:"statementId"`
	Effect           string `json:"effect"`
	SourcePolicyType string `json:"sourcePolicyType"`
	SourcePolicyID   string `json:"sourcePolicyId"`
}

type explainedContext struct {
	Principal struct {
		ID  string `json:"id"`
		ARN string `json:"arn"`
	} `json:"principal"`
	Action     string           `json:"action"`
	Resource   string           `json:"resource"`
	Conditions items[condition] `json:"conditions"`
}

type condition struct {
	Key    string        `json:"key"`
	Values items[string] `json:"values"`
}

// matchedBy names a statement. Guardrails are not the account's own: of them
// only the kind is told.
func matchedBy(m *policy.Reference) matched {
	out := matched{Effect: "ALLOW", SourcePolicyType: m.Layer.String()}
	if m.Effect == policy.Deny {
		out.Effect = "DENY"
	}
	if m.Layer != policy.LayerSCP && m.Layer != policy.LayerRCP {
		out.StatementID, out.SourcePolicyID = m.SID, m.Policy
		if m.SID == "" {
			out.StatementID = strconv.Itoa(m.Index)
		}
	}
	return out
}

// explain makes the encoded message that goes with a refusal: why, for those
// of the principal's account who may decode it. There is none where an account
// other than the principal's has a part in it, as owner or as a caller: why
// that one refuses is its own to know. Condition keys are those of the operation.
func (s *Service) explain(r iam.Request, e policy.Explanation) string {
	account := r.Principal.Account
	if account == "" || r.Owner.Account != account {
		return ""
	}
	for i := range r.Chain {
		if r.Chain[i].Principal.Account != account {
			return ""
		}
	}
	x := explained{ExplicitDeny: e.Verdict == policy.ExplicitlyDenied, Missing: e.Missing}
	x.MatchedStatements.Items, x.Failures.Items, x.Context.Conditions.Items = []matched{}, []string{}, []condition{}
	for i := range e.Statements {
		x.MatchedStatements.Items = append(x.MatchedStatements.Items, matchedBy(&e.Statements[i]))
	}
	x.Context.Principal.ID, x.Context.Principal.ARN = r.Principal.UserID, r.Principal.ARN
	x.Context.Action, x.Context.Resource = r.Action, r.Resource
	for _, k := range r.Keys {
		x.Context.Conditions.Items = append(x.Context.Conditions.Items, condition{k.Name, items[string]{k.Values}})
	}
	text, err := json.Marshal(x)
	if err != nil {
		return ""
	}
	return s.tokens.SealMessage(account, string(text))
}
