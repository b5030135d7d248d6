package queryapi

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// The tests of this file are the sequences of calls that the AWS provider of
// Terraform takes each resource through: create, read back, update, delete.

// sameJSON compares two policies as the provider does: what was put has to
// come back, or each plan shows a difference.
func sameJSON(t testing.TB, what, got, want string) {
	t.Helper()
	var a, b any
	if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("%s: %s came back as %s", what, want, got)
	}
}

func TestTerraformUser(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	name := str("tf")
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: name, Path: str("/"), Tags: []types.Tag{{Key: str("a"), Value: str("1")}}}))
	got := must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{UserName: name})).User
	equal(t, "user", []string{*got.Arn, *got.Path, *got.UserName, *got.Tags[0].Value}, []string{b.arn("user", "tf"), "/", "tf", "1"})
	ok[*iam.UpdateUserOutput](t)(c.UpdateUser(ctx, &iam.UpdateUserInput{UserName: name, NewUserName: str("tf2"), NewPath: str("/p/")}))
	name = str("tf2")
	ok[*iam.UntagUserOutput](t)(c.UntagUser(ctx, &iam.UntagUserInput{UserName: name, TagKeys: []string{"a"}}))
	ok[*iam.TagUserOutput](t)(c.TagUser(ctx, &iam.TagUserInput{UserName: name, Tags: []types.Tag{{Key: str("b"), Value: str("2")}}}))
	made := must[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})).AccessKey
	for p := iam.NewListAccessKeysPaginator(c, &iam.ListAccessKeysInput{UserName: name}); p.HasMorePages(); {
		equal(t, "key", *must[*iam.ListAccessKeysOutput](t)(p.NextPage(ctx)).AccessKeyMetadata[0].AccessKeyId, *made.AccessKeyId)
	}
	ok[*iam.DeleteAccessKeyOutput](t)(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: made.AccessKeyId}))
	// force_destroy looks for everything that a user can have.
	groups := must[*iam.ListGroupsForUserOutput](t)(c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: name}))
	equal(t, "groups", len(groups.Groups), 0)
	ok[*iam.ListUserPoliciesOutput](t)(c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: name}))
	ok[*iam.ListAttachedUserPoliciesOutput](t)(c.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: name}))
	ok[*iam.ListSSHPublicKeysOutput](t)(c.ListSSHPublicKeys(ctx, &iam.ListSSHPublicKeysInput{UserName: name}))
	ok[*iam.ListVirtualMFADevicesOutput](t)(c.ListVirtualMFADevices(ctx, &iam.ListVirtualMFADevicesInput{AssignmentStatus: types.AssignmentStatusTypeAssigned}))
	ok[*iam.ListMFADevicesOutput](t)(c.ListMFADevices(ctx, &iam.ListMFADevicesInput{UserName: name}))
	_, err := c.DeleteLoginProfile(ctx, &iam.DeleteLoginProfileInput{UserName: name})
	refused(t, err, "NoSuchEntity", "Login Profile")
	ok[*iam.ListSigningCertificatesOutput](t)(c.ListSigningCertificates(ctx, &iam.ListSigningCertificatesInput{UserName: name}))
	ok[*iam.ListServiceSpecificCredentialsOutput](t)(c.ListServiceSpecificCredentials(ctx, &iam.ListServiceSpecificCredentialsInput{UserName: name}))
	ok[*iam.DeleteUserOutput](t)(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name}))
	_, err = c.GetUser(ctx, &iam.GetUserInput{UserName: name})
	refused(t, err, "NoSuchEntity", "tf2")
}

func TestTerraformRole(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	name := str("tf")
	const trust = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [ {\"Action\": \"sts:AssumeRole\", \"Effect\": \"Allow\", \"Principal\": {\"Service\": \"lambda.amazonaws.com\"}, \"Sid\": \"\"} ]\n}"
	ok[*iam.CreateRoleOutput](t)(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, Path: str("/"), AssumeRolePolicyDocument: str(trust),
		Description: str("of + %20 é"), MaxSessionDuration: aws.Int32(3600), Tags: []types.Tag{{Key: str("a"), Value: str("1")}}}))
	got := must[*iam.GetRoleOutput](t)(c.GetRole(ctx, &iam.GetRoleInput{RoleName: name})).Role
	equal(t, "role", *got, types.Role{RoleName: name, Path: str("/"), Arn: str(b.arn("role", "tf")), RoleId: got.RoleId, CreateDate: aws.Time(changed),
		AssumeRolePolicyDocument: got.AssumeRolePolicyDocument, Description: str("of + %20 é"), MaxSessionDuration: aws.Int32(3600),
		Tags: []types.Tag{{Key: str("a"), Value: str("1")}}, RoleLastUsed: &types.RoleLastUsed{}})
	sameJSON(t, "trust", unescaped(t, got.AssumeRolePolicyDocument), trust)
	ok[*iam.ListRolePoliciesOutput](t)(c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: name}))
	ok[*iam.ListAttachedRolePoliciesOutput](t)(c.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: name}))
	tags := must[*iam.ListRoleTagsOutput](t)(c.ListRoleTags(ctx, &iam.ListRoleTagsInput{RoleName: name}))
	equal(t, "tags", tags.Tags, got.Tags)

	ok[*iam.UpdateAssumeRolePolicyOutput](t)(c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: str(trustPolicy)}))
	ok[*iam.UpdateRoleDescriptionOutput](t)(c.UpdateRoleDescription(ctx, &iam.UpdateRoleDescriptionInput{RoleName: name, Description: str("new")}))
	ok[*iam.UpdateRoleOutput](t)(c.UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: name, MaxSessionDuration: aws.Int32(7200), Description: str("")}))
	bounds := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("b"), PolicyDocument: str(readPolicy)})).Policy.Arn
	ok[*iam.PutRolePermissionsBoundaryOutput](t)(c.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: bounds}))
	got = must[*iam.GetRoleOutput](t)(c.GetRole(ctx, &iam.GetRoleInput{RoleName: name})).Role
	equal(t, "updated", []any{*got.MaxSessionDuration, got.Description, *got.PermissionsBoundary.PermissionsBoundaryArn, unescaped(t, got.AssumeRolePolicyDocument)},
		[]any{int32(7200), (*string)(nil), *bounds, trustPolicy})
	ok[*iam.DeleteRolePermissionsBoundaryOutput](t)(c.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: name}))
	ok[*iam.UntagRoleOutput](t)(c.UntagRole(ctx, &iam.UntagRoleInput{RoleName: name, TagKeys: []string{"a"}}))
	ok[*iam.TagRoleOutput](t)(c.TagRole(ctx, &iam.TagRoleInput{RoleName: name, Tags: []types.Tag{{Key: str("b"), Value: str("2")}}}))
	list := must[*iam.ListRolesOutput](t)(c.ListRoles(ctx, &iam.ListRolesInput{}))
	if len(list.Roles) < 2 {
		t.Errorf("%d roles", len(list.Roles))
	}

	profiles := must[*iam.ListInstanceProfilesForRoleOutput](t)(c.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: name}))
	equal(t, "instance profiles", len(profiles.InstanceProfiles), 0)
	ok[*iam.DeleteRoleOutput](t)(c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}))
	_, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	refused(t, err, "NoSuchEntity", "The role with name tf cannot be found.")
	_, err = c.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: name})
	refused(t, err, "NoSuchEntity", "tf")
}

func TestTerraformPolicy(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	const text = `{"Statement":[{"Action":["s3:GetObject","s3:List*"],"Effect":"Allow","Resource":["arn:aws:s3:::a/*","arn:aws:s3:::a/${aws:username}+é"],"Condition":{"StringEquals":{"aws:PrincipalTag/x":"a b%"}}}],"Version":"2012-10-17"}`
	made := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("tf"), Path: str("/x/"), PolicyDocument: str(text),
		Description: str("d"), Tags: []types.Tag{{Key: str("a"), Value: str("1")}}})).Policy
	arn := made.Arn
	want := types.Policy{PolicyName: str("tf"), PolicyId: made.PolicyId, Arn: str(b.arn("policy", "x/tf")), Path: str("/x/"), DefaultVersionId: str("v1"),
		AttachmentCount: aws.Int32(0), PermissionsBoundaryUsageCount: aws.Int32(0), IsAttachable: true, Description: str("d"),
		CreateDate: aws.Time(changed), UpdateDate: aws.Time(changed), Tags: []types.Tag{{Key: str("a"), Value: str("1")}}}
	got := must[*iam.GetPolicyOutput](t)(c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})).Policy
	equal(t, "policy", *got, want)
	v := must[*iam.GetPolicyVersionOutput](t)(c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: arn, VersionId: got.DefaultVersionId})).PolicyVersion
	equal(t, "version", []any{*v.VersionId, v.IsDefaultVersion, *v.CreateDate, unescaped(t, v.Document)}, []any{"v1", true, changed, text})

	// An update is a new default version; of five the oldest goes first.
	for i := range 6 {
		versions := must[*iam.ListPolicyVersionsOutput](t)(c.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: arn})).Versions
		if len(versions) == 5 {
			oldest := versions[len(versions)-1]
			if oldest.IsDefaultVersion {
				t.Fatalf("round %d: the oldest version is the default one", i)
			}
			ok[*iam.DeletePolicyVersionOutput](t)(c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: arn, VersionId: oldest.VersionId}))
		}
		ok[*iam.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: str(readPolicy), SetAsDefault: true}))
	}
	ok[*iam.SetDefaultPolicyVersionOutput](t)(c.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: str("v6")}))
	ok[*iam.TagPolicyOutput](t)(c.TagPolicy(ctx, &iam.TagPolicyInput{PolicyArn: arn, Tags: []types.Tag{{Key: str("b"), Value: str("2")}}}))
	ok[*iam.UntagPolicyOutput](t)(c.UntagPolicy(ctx, &iam.UntagPolicyInput{PolicyArn: arn, TagKeys: []string{"a"}}))
	tags := must[*iam.ListPolicyTagsOutput](t)(c.ListPolicyTags(ctx, &iam.ListPolicyTagsInput{PolicyArn: arn}))
	equal(t, "tags", tags.Tags, []types.Tag{{Key: str("b"), Value: str("2")}})

	for _, version := range must[*iam.ListPolicyVersionsOutput](t)(c.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: arn})).Versions {
		if !version.IsDefaultVersion {
			ok[*iam.DeletePolicyVersionOutput](t)(c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: arn, VersionId: version.VersionId}))
		}
	}
	ok[*iam.DeletePolicyOutput](t)(c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn}))
	_, err := c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})
	refused(t, err, "NoSuchEntity", "x/tf")
}

func TestTerraformRolePolicyAttachment(t *testing.T) {
	t.Parallel()
	_, c := sdk(t)
	ctx := t.Context()
	role := must[*iam.CreateRoleOutput](t)(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: str("tf"), AssumeRolePolicyDocument: str(trustPolicy)})).Role
	arn := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("p"), PolicyDocument: str(readPolicy)})).Policy.Arn
	ok[*iam.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: role.RoleName, PolicyArn: arn}))
	ok[*iam.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: role.RoleName, PolicyArn: str("arn:aws:iam::aws:policy/AWSLambda_FullAccess")}))
	found := map[string]string{}
	for p := iam.NewListAttachedRolePoliciesPaginator(c, &iam.ListAttachedRolePoliciesInput{RoleName: role.RoleName, MaxItems: aws.Int32(1)}); p.HasMorePages(); {
		for _, a := range must[*iam.ListAttachedRolePoliciesOutput](t)(p.NextPage(ctx)).AttachedPolicies {
			found[*a.PolicyArn] = *a.PolicyName
		}
	}
	equal(t, "attached", found, map[string]string{*arn: "p", "arn:aws:iam::aws:policy/AWSLambda_FullAccess": "AWSLambda_FullAccess"})
	e := must[*iam.ListEntitiesForPolicyOutput](t)(c.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: arn}))
	equal(t, "roles of the policy", e.PolicyRoles, []types.PolicyRole{{RoleName: role.RoleName, RoleId: role.RoleId}})
	p := must[*iam.GetPolicyOutput](t)(c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})).Policy
	equal(t, "attachments", *p.AttachmentCount, int32(1))
	_, err := c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: role.RoleName})
	refused(t, err, "DeleteConflict", "must detach all policies first")
	ok[*iam.DetachRolePolicyOutput](t)(c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: role.RoleName, PolicyArn: arn}))
	_, err = c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: role.RoleName, PolicyArn: arn})
	refused(t, err, "NoSuchEntity", "was not found")
}

func TestTerraformRolePolicy(t *testing.T) {
	t.Parallel()
	_, c := sdk(t)
	ctx := t.Context()
	ok[*iam.CreateRoleOutput](t)(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: str("tf"), AssumeRolePolicyDocument: str(trustPolicy)}))
	in := &iam.PutRolePolicyInput{RoleName: str("tf"), PolicyName: str("p"), PolicyDocument: str(readPolicy)}
	ok[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, in))
	ok[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, in))
	got := must[*iam.GetRolePolicyOutput](t)(c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: str("tf"), PolicyName: str("p")}))
	equal(t, "policy", []string{*got.RoleName, *got.PolicyName, unescaped(t, got.PolicyDocument)}, []string{"tf", "p", readPolicy})
	names := must[*iam.ListRolePoliciesOutput](t)(c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: str("tf")}))
	equal(t, "policies", names.PolicyNames, []string{"p"})
	ok[*iam.DeleteRolePolicyOutput](t)(c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: str("tf"), PolicyName: str("p")}))
	_, err := c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: str("tf"), PolicyName: str("p")})
	refused(t, err, "NoSuchEntity", "The role policy with name p cannot be found.")
}

func TestTerraformGroup(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	ok[*iam.CreateGroupOutput](t)(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: str("tf"), Path: str("/")}))
	got := must[*iam.GetGroupOutput](t)(c.GetGroup(ctx, &iam.GetGroupInput{GroupName: str("tf")})).Group
	equal(t, "group", []string{*got.Arn, *got.Path}, []string{b.arn("group", "tf"), "/"})
	ok[*iam.UpdateGroupOutput](t)(c.UpdateGroup(ctx, &iam.UpdateGroupInput{GroupName: str("tf"), NewGroupName: str("tf2"), NewPath: str("/x/")}))
	// aws_iam_group_membership.
	ok[*iam.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: str("tf2"), UserName: str("admin")}))
	_, err := c.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: str("tf2")})
	refused(t, err, "DeleteConflict", "users")
	ok[*iam.RemoveUserFromGroupOutput](t)(c.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: str("tf2"), UserName: str("admin")}))
	ok[*iam.DeleteGroupOutput](t)(c.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: str("tf2")}))
	_, err = c.GetGroup(ctx, &iam.GetGroupInput{GroupName: str("tf2")})
	refused(t, err, "NoSuchEntity", "tf2")
}

func TestTerraformOpenIDConnectProvider(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	print1, print2 := "0123456789012345678901234567890123456789", "abcdefabcdefabcdefabcdefabcdefabcdefabcd"
	made := must[*iam.CreateOpenIDConnectProviderOutput](t)(c.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
		Url: str("https://idp.example/x"), ClientIDList: []string{"app"}, ThumbprintList: []string{print1}, Tags: []types.Tag{{Key: str("a"), Value: str("1")}}}))
	arn := made.OpenIDConnectProviderArn
	equal(t, "ARN", *arn, b.arn("oidc-provider", "idp.example/x"))
	equal(t, "tags", made.Tags, []types.Tag{{Key: str("a"), Value: str("1")}})
	get := func() *iam.GetOpenIDConnectProviderOutput {
		t.Helper()
		out := must[*iam.GetOpenIDConnectProviderOutput](t)(c.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}))
		return out
	}
	got := get()
	equal(t, "provider", got, &iam.GetOpenIDConnectProviderOutput{Url: str("idp.example/x"), ClientIDList: []string{"app"}, ThumbprintList: []string{print1},
		CreateDate: aws.Time(changed), Tags: made.Tags, ResultMetadata: got.ResultMetadata})
	ok[*iam.UpdateOpenIDConnectProviderThumbprintOutput](t)(c.UpdateOpenIDConnectProviderThumbprint(ctx, &iam.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn, ThumbprintList: []string{strings.ToUpper(print2)}}))
	ok[*iam.AddClientIDToOpenIDConnectProviderOutput](t)(c.AddClientIDToOpenIDConnectProvider(ctx, &iam.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: str("two")}))
	ok[*iam.RemoveClientIDFromOpenIDConnectProviderOutput](t)(c.RemoveClientIDFromOpenIDConnectProvider(ctx, &iam.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: str("app")}))
	ok[*iam.TagOpenIDConnectProviderOutput](t)(c.TagOpenIDConnectProvider(ctx, &iam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, Tags: []types.Tag{{Key: str("b"), Value: str("2")}}}))
	ok[*iam.UntagOpenIDConnectProviderOutput](t)(c.UntagOpenIDConnectProvider(ctx, &iam.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, TagKeys: []string{"a"}}))
	got = get()
	equal(t, "updated", []any{got.ClientIDList, got.ThumbprintList, got.Tags}, []any{[]string{"two"}, []string{print2}, []types.Tag{{Key: str("b"), Value: str("2")}}})
	tags := must[*iam.ListOpenIDConnectProviderTagsOutput](t)(c.ListOpenIDConnectProviderTags(ctx, &iam.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: arn}))
	equal(t, "tags", tags.Tags, got.Tags)
	list := must[*iam.ListOpenIDConnectProvidersOutput](t)(c.ListOpenIDConnectProviders(ctx, &iam.ListOpenIDConnectProvidersInput{}))
	equal(t, "providers", list.OpenIDConnectProviderList, []types.OpenIDConnectProviderListEntry{{Arn: arn}})
	ok[*iam.DeleteOpenIDConnectProviderOutput](t)(c.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}))
	_, err := c.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	refused(t, err, "NoSuchEntity", "not found")
}
