package queryapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// Inputs of simulations.
type (
	contextEntry struct {
		ContextKeyName   string   `len:"5-256"`
		ContextKeyValues []string `len:"0-1000"`
		ContextKeyType   string   `enum:"string,stringList,numeric,numericList,boolean,booleanList,ip,ipList,binary,binaryList,date,dateList"`
	}
	simulateInput struct {
		PermissionsBoundaryPolicyInputList []string       `elem:"1-131072" form:"document"`
		ActionNames                        []string       `q:"required" elem:"3-128"`
		ResourceArns                       []string       `elem:"1-2048"`
		ResourcePolicy                     string         `len:"1-131072" form:"document"`
		ResourceOwner                      string         `len:"1-2048"`
		CallerArn                          string         `len:"1-2048"`
		ContextEntries                     []contextEntry `len:"0-300"`
		pageInput
	}
	simulateCustomInput struct {
		PolicyInputList []string `q:"required" elem:"1-131072" form:"document"`
		simulateInput
	}
	sourceInput struct {
		PolicySourceArn string   `q:"required" len:"20-2048"`
		PolicyInputList []string `elem:"1-131072" form:"document"`
	}
	simulatePrincipalInput struct {
		sourceInput
		simulateInput
	}
	policyTextsInput struct {
		PolicyInputList []string `q:"required" elem:"1-131072" form:"document"`
	}
)

func (in *simulateInput) of() control.SimulateInput {
	out := control.SimulateInput{
		PageInput: in.pageInput.of(), Boundaries: in.PermissionsBoundaryPolicyInputList, Actions: in.ActionNames, Resources: in.ResourceArns,
		ResourcePolicy: in.ResourcePolicy, ResourceOwner: in.ResourceOwner, Caller: in.CallerArn,
	}
	for _, e := range in.ContextEntries {
		out.Keys = append(out.Keys, iam.Key{Name: strings.ToLower(e.ContextKeyName), Values: e.ContextKeyValues, Multiple: strings.HasSuffix(e.ContextKeyType, "List")})
	}
	return out
}

func (in *sourceInput) source() string { return in.PolicySourceArn }

// onSource is the user, group or role whose policies are looked at.
func onSource[I any, P interface {
	*I
	source() string
}](rq *request, in *I) (target, error) {
	arn := P(in).source()
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" {
		return target{}, fault.New("queryapi", fault.Invalid, "ARN %s is not valid.", fault.Clip(arn)).WithCode("InvalidInput")
	}
	return target{resource: arn, owner: tenant.AccountID(parts[4])}, nil
}

func simulateOperations() []operation {
	return []operation{
		served("SimulatePrincipalPolicy", onSource, func(rq *request, g iam.Grant, in *simulatePrincipalInput) (any, error) {
			ask := in.of()
			ask.Source, ask.Policies = in.PolicySourceArn, in.PolicyInputList
			sort, _, _ := control.SplitIdentityResource(in.PolicySourceArn)
			return evaluations(sort)(rq.h.Control.SimulatePrincipalPolicy(rq.ctx, g, ask))
		}),
		served("SimulateCustomPolicy", onAccount, func(rq *request, g iam.Grant, in *simulateCustomInput) (any, error) {
			ask := in.of()
			ask.Policies = in.PolicyInputList
			return evaluations("")(rq.h.Control.SimulateCustomPolicy(rq.ctx, g, ask))
		}),
		served("GetContextKeysForCustomPolicy", onAccount, func(rq *request, g iam.Grant, in *policyTextsInput) (any, error) {
			return contextKeys(rq.h.Control.GetContextKeysForCustomPolicy(rq.ctx, g, in.PolicyInputList))
		}),
		served("GetContextKeysForPrincipalPolicy", onSource, func(rq *request, g iam.Grant, in *sourceInput) (any, error) {
			return contextKeys(rq.h.Control.GetContextKeysForPrincipalPolicy(rq.ctx, g, in.PolicySourceArn, in.PolicyInputList))
		}),
	}
}

func contextKeys(keys []string, err error) (any, error) {
	return struct{ ContextKeyNames []string }{mapped(keys, func(s string) string { return s })}, err
}

// The parts of a simulation's answer.
type (
	position  struct{ Line, Column int }
	statement struct {
		SourcePolicyId, SourcePolicyType string
		StartPosition, EndPosition       *position
	}
	organizationsDetail struct{ AllowedByOrganizations bool }
	boundaryDetail      struct{ AllowedByPermissionsBoundary bool }
	evaluationResult    struct {
		EvalActionName, EvalResourceName, EvalDecision string
		MatchedStatements                              []statement
		MissingContextValues                           []string
		OrganizationsDecisionDetail                    *organizationsDetail
		PermissionsBoundaryDecisionDetail              *boundaryDetail
	}
)

var decisionNames = map[policy.Verdict]string{
	policy.Allowed: "allowed", policy.ExplicitlyDenied: "explicitDeny", policy.ImplicitlyDenied: "implicitDeny",
}

// evaluations shapes a simulation's answer. The sort is of whose policies
// were looked at; empty for policies that are nobody's.
func evaluations(sort string) func(control.Page[control.SimulateResult], error) (any, error) {
	return func(p control.Page[control.SimulateResult], err error) (any, error) {
		return struct {
			EvaluationResults []evaluationResult
			page
		}{mapped(p.Items, func(r control.SimulateResult) evaluationResult { return evaluationOf(sort, r) }), pageOf(p.NextMarker)}, err
	}
}

func evaluationOf(sort string, r control.SimulateResult) evaluationResult {
	out := evaluationResult{
		EvalActionName: r.Action, EvalResourceName: r.Resource, EvalDecision: decisionNames[r.Verdict],
		MatchedStatements:    mapped(r.Matched, func(m control.MatchedStatement) statement { return statementOf(sort, m) }),
		MissingContextValues: mapped(r.MissingKeys, func(s string) string { return s }),
	}
	if sort != "" {
		out.OrganizationsDecisionDetail = &organizationsDetail{r.AllowedByOrganization}
	}
	if r.BoundaryUsed {
		out.PermissionsBoundaryDecisionDetail = &boundaryDetail{r.AllowedByBoundary}
	}
	return out
}

func statementOf(sort string, m control.MatchedStatement) statement {
	st := statement{SourcePolicyId: m.Policy, SourcePolicyType: sort}
	switch {
	case m.Layer == policy.LayerResource:
		st.SourcePolicyType = "resource"
	case strings.HasPrefix(m.Policy, "arn:aws:iam::aws:"):
		st.SourcePolicyType = "aws-managed"
	case strings.HasPrefix(m.Policy, "arn:"):
		st.SourcePolicyType = "user-managed"
	case sort == "", strings.Contains(m.Policy, "PolicyInputList."):
		st.SourcePolicyType = "none"
	}
	if m.Start != (control.Position{}) {
		st.StartPosition, st.EndPosition = &position{m.Start.Line, m.Start.Column}, &position{m.End.Line, m.End.Column}
	}
	return st
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
