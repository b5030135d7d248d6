package queryapi

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func TestSimulatePrincipalPolicy(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	b.userKey(t, c, "alice", `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/acme/${aws:username}/*"},
 {"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/x":"y"}}}]}`)
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: str(b.arn("user", "alice")), ActionNames: []string{"s3:GetObject", "s3:PutObject"},
		ResourceArns: []string{"arn:aws:s3:::b/acme/alice/1", "arn:aws:s3:::b/acme/bob/1"}}
	got := map[string]types.PolicyEvaluationDecisionType{}
	for p := iam.NewSimulatePrincipalPolicyPaginator(c, in); p.HasMorePages(); {
		for _, r := range must[*iam.SimulatePrincipalPolicyOutput](t)(p.NextPage(ctx)).EvaluationResults {
			got[*r.EvalActionName+" "+*r.EvalResourceName] = r.EvalDecision
			if r.EvalDecision == types.PolicyEvaluationDecisionTypeAllowed {
				m := r.MatchedStatements[0]
				equal(t, "statement", []any{*m.SourcePolicyId, m.SourcePolicyType, *m.StartPosition, m.EndPosition.Line},
					[]any{"p", types.PolicySourceTypeUser, types.Position{Line: 2, Column: 2}, int32(2)})
				equal(t, "guardrails", r.OrganizationsDecisionDetail.AllowedByOrganizations, true)
			}
			equal(t, "missing keys", r.MissingContextValues, []string{"aws:requesttag/x"})
		}
	}
	equal(t, "decisions", got, map[string]types.PolicyEvaluationDecisionType{
		"s3:GetObject arn:aws:s3:::b/acme/alice/1": "allowed", "s3:GetObject arn:aws:s3:::b/acme/bob/1": "implicitDeny",
		"s3:PutObject arn:aws:s3:::b/acme/alice/1": "implicitDeny", "s3:PutObject arn:aws:s3:::b/acme/bob/1": "implicitDeny"})
	in.ActionNames, in.ResourceArns = []string{"s3:GetObject"}, []string{"arn:aws:s3:::b/acme/alice/1"}
	in.ContextEntries = []types.ContextEntry{{ContextKeyName: str("aws:RequestTag/x"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{"y"}}}
	out := must[*iam.SimulatePrincipalPolicyOutput](t)(c.SimulatePrincipalPolicy(ctx, in))
	equal(t, "with the tag", out.EvaluationResults[0].EvalDecision, types.PolicyEvaluationDecisionTypeExplicitDeny)
	in.ContextEntries, in.PermissionsBoundaryPolicyInputList = nil, []string{readPolicy}
	out = must[*iam.SimulatePrincipalPolicyOutput](t)(c.SimulatePrincipalPolicy(ctx, in))
	equal(t, "with a boundary", []any{out.EvaluationResults[0].EvalDecision, out.EvaluationResults[0].PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary},
		[]any{types.PolicyEvaluationDecisionTypeImplicitDeny, false})

	keys := must[*iam.GetContextKeysForPrincipalPolicyOutput](t)(c.GetContextKeysForPrincipalPolicy(ctx, &iam.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: in.PolicySourceArn}))
	equal(t, "keys", keys.ContextKeyNames, []string{"aws:requesttag/x", "aws:username"})
	_, err := c.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{PolicySourceArn: str(b.arn("user", "nobody")), ActionNames: []string{"s3:GetObject"}})
	refused(t, err, "NoSuchEntity", "nobody")
	_, err = b.iam(pairOf(b.globex)).SimulatePrincipalPolicy(ctx, in)
	refused(t, err, "AccessDenied", "iam:SimulatePrincipalPolicy")
}

func TestSimulateCustomPolicy(t *testing.T) {
	t.Parallel()
	_, c := sdk(t)
	ctx := t.Context()
	out := must[*iam.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &iam.SimulateCustomPolicyInput{
		PolicyInputList: []string{readPolicy}, ActionNames: []string{"iam:GetUser", "iam:CreateUser"}}))
	equal(t, "decisions", []types.PolicyEvaluationDecisionType{out.EvaluationResults[0].EvalDecision, out.EvaluationResults[1].EvalDecision},
		[]types.PolicyEvaluationDecisionType{"allowed", "implicitDeny"})
	equal(t, "policy", *out.EvaluationResults[0].MatchedStatements[0].SourcePolicyId, "PolicyInputList.1")
	keys := must[*iam.GetContextKeysForCustomPolicyOutput](t)(c.GetContextKeysForCustomPolicy(ctx, &iam.GetContextKeysForCustomPolicyInput{
		PolicyInputList: []string{`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}`}}))
	equal(t, "keys", keys.ContextKeyNames, []string{"aws:securetransport"})
}

func TestAccountDetails(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	b.userKey(t, c, "alice", readPolicy)
	ok[*iam.CreateGroupOutput](t)(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: str("devs")}))
	ok[*iam.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: str("devs"), UserName: str("alice")}))
	ok[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("mine"), PolicyDocument: str(readPolicy)}))
	details := map[string]int{}
	for p := iam.NewGetAccountAuthorizationDetailsPaginator(c, &iam.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(2)}); p.HasMorePages(); {
		out := must[*iam.GetAccountAuthorizationDetailsOutput](t)(p.NextPage(ctx))
		for _, u := range out.UserDetailList {
			details["user "+*u.UserName]++
			if *u.UserName == "alice" {
				equal(t, "groups of alice", u.GroupList, []string{"devs"})
				equal(t, "policy of alice", unescaped(t, u.UserPolicyList[0].PolicyDocument), readPolicy)
			}
		}
		for _, g := range out.GroupDetailList {
			details["group "+*g.GroupName]++
		}
		for _, r := range out.RoleDetailList {
			details["role "+*r.RoleName]++
			if unescaped(t, r.AssumeRolePolicyDocument) == "" {
				t.Errorf("role %s without a trust policy", *r.RoleName)
			}
		}
		for _, p := range out.Policies {
			details["policy "+*p.PolicyName]++
			equal(t, "versions", len(p.PolicyVersionList), 1)
		}
	}
	equal(t, "details", details, map[string]int{"user admin": 1, "user alice": 1, "group devs": 1, "role fn": 1, "policy mine": 1, "policy AdministratorAccess": 1})
	only := must[*iam.GetAccountAuthorizationDetailsOutput](t)(c.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{types.EntityTypeGroup}}))
	equal(t, "groups only", []int{len(only.UserDetailList), len(only.GroupDetailList), len(only.RoleDetailList), len(only.Policies)}, []int{0, 1, 0, 0})
	sum := must[*iam.GetAccountSummaryOutput](t)(c.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{}))
	equal(t, "summary", []int32{sum.SummaryMap["Users"], sum.SummaryMap["Groups"], sum.SummaryMap["Policies"]}, []int32{2, 1, 1})
	aliases := must[*iam.ListAccountAliasesOutput](t)(c.ListAccountAliases(ctx, &iam.ListAccountAliasesInput{}))
	equal(t, "aliases", len(aliases.AccountAliases), 0)
}

// TestEveryServedOperationIsAuthorised asks for every operation as a user who
// may do nothing: each is refused under its own action, whatever it is given.
func TestEveryServedOperationIsAuthorised(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	k := b.userKey(t, c, "nobody", "")
	served := 0
	for name, op := range iamAPI().operations {
		if op.serve == nil {
			continue
		}
		served++
		form := "Action=" + name + "&Version=2010-05-08" + exampleForm(op.input, "", b)
		got := b.postAs(t, k, ServiceIAM, form)
		if got.status != 403 || !contains(got.body, "<Code>AccessDenied</Code>", "not authorized to perform: iam:"+name+" on resource: arn:aws:iam::") {
			t.Errorf("%s: %d %s\n%s", name, got.status, got.body, form)
		}
	}
	if served < 90 {
		t.Errorf("only %d operations were tried", served)
	}
}
