package queryapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

var str = aws.String

const (
	readPolicy  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:Get*","Resource":"*"}]}`
	trustPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

func (b *bench) arn(sort, name string) string {
	return "arn:aws:iam::" + string(b.acme.AccountID) + ":" + sort + "/" + name
}

// sdk gives acme's client and a context.
func sdk(t testing.TB) (*bench, *iam.Client) {
	t.Helper()
	b := newBench(t)
	return b, b.iam(pairOf(b.acme))
}

// unescaped decodes a policy document as clients do.
func unescaped(t testing.TB, doc *string) string {
	t.Helper()
	text, err := unescape(aws.ToString(doc))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func ok[T any](t testing.TB) func(T, error) {
	return func(_ T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	tags := []types.Tag{{Key: str("team"), Value: str("blue")}, {Key: str("empty"), Value: str("")}}
	made := must[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: str("alice"), Path: str("/eng/"), Tags: tags}))
	want := &types.User{UserName: str("alice"), Path: str("/eng/"), Arn: str(b.arn("user", "eng/alice")), UserId: made.User.UserId,
		CreateDate: aws.Time(changed), Tags: tags}
	equal(t, "user", made.User, want)
	if !strings.HasPrefix(*made.User.UserId, "AIDA") {
		t.Errorf("user id %s", *made.User.UserId)
	}
	got := must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{UserName: str("alice")}))
	equal(t, "user", got.User, want)
	own := must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{}))
	equal(t, "the caller", *own.User.UserName, "admin")

	list := must[*iam.ListUsersOutput](t)(c.ListUsers(ctx, &iam.ListUsersInput{PathPrefix: str("/eng/")}))
	want.Tags = nil
	equal(t, "list", list, &iam.ListUsersOutput{Users: []types.User{*want}, ResultMetadata: list.ResultMetadata})

	ok[*iam.TagUserOutput](t)(c.TagUser(ctx, &iam.TagUserInput{UserName: str("alice"), Tags: []types.Tag{{Key: str("team"), Value: str("red")}}}))
	ok[*iam.UntagUserOutput](t)(c.UntagUser(ctx, &iam.UntagUserInput{UserName: str("alice"), TagKeys: []string{"empty", "absent"}}))
	listed := must[*iam.ListUserTagsOutput](t)(c.ListUserTags(ctx, &iam.ListUserTagsInput{UserName: str("alice")}))
	equal(t, "tags", listed.Tags, []types.Tag{{Key: str("team"), Value: str("red")}})

	ok[*iam.UpdateUserOutput](t)(c.UpdateUser(ctx, &iam.UpdateUserInput{UserName: str("alice"), NewUserName: str("alicia"), NewPath: str("/ops/")}))
	got = must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{UserName: str("alicia")}))
	equal(t, "ARN", *got.User.Arn, b.arn("user", "ops/alicia"))
	ok[*iam.DeleteUserOutput](t)(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: str("alicia")}))
	_, err := c.GetUser(ctx, &iam.GetUserInput{UserName: str("alicia")})
	var none *types.NoSuchEntityException
	if !errors.As(err, &none) {
		t.Errorf("a user that is gone: %v", err)
	}
}

func TestErrorsHaveTheSDKsTypes(t *testing.T) {
	t.Parallel()
	_, c := sdk(t)
	ctx := t.Context()
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: str("alice")}))
	_, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: str("Alice")})
	var exists *types.EntityAlreadyExistsException
	if !errors.As(err, &exists) {
		t.Errorf("twice: %v", err)
	}
	ok[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: str("alice")}))
	_, err = c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: str("alice")})
	var conflict *types.DeleteConflictException
	if !errors.As(err, &conflict) {
		t.Errorf("with a key: %v", err)
	}
	_, err = c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: str("alice"), PolicyName: str("p"), PolicyDocument: str("{}")})
	var bad *types.MalformedPolicyDocumentException
	if !errors.As(err, &bad) {
		t.Errorf("a malformed policy: %v", err)
	}
	ok[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: str("alice")}))
	_, err = c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: str("alice")})
	var limit *types.LimitExceededException
	if !errors.As(err, &limit) {
		t.Errorf("a third key: %v", err)
	}
	_, err = c.TagUser(ctx, &iam.TagUserInput{UserName: str("alice"), Tags: []types.Tag{{Key: str("Tenant_ID"), Value: str("globex")}}})
	var input *types.InvalidInputException
	if !errors.As(err, &input) {
		t.Errorf("the platform's tag: %v", err)
	}
	_, err = c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: str("arn:aws:s3:::not-a-policy")})
	if !errors.As(err, &input) {
		t.Errorf("an ARN of something else: %v", err)
	}
	_, err = c.CreateUser(ctx, &iam.CreateUserInput{UserName: str("a b")})
	refused(t, err, "ValidationError", "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
}

func TestAccessKeys(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	alice := str("alice")
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: alice}))
	made := must[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: alice})).AccessKey
	equal(t, "key", made, &types.AccessKey{UserName: alice, AccessKeyId: made.AccessKeyId, SecretAccessKey: made.SecretAccessKey,
		Status: types.StatusTypeActive, CreateDate: aws.Time(changed)})
	if len(*made.SecretAccessKey) != 40 || !strings.HasPrefix(*made.AccessKeyId, "AKIA") {
		t.Errorf("key %s with a secret of %d characters", *made.AccessKeyId, len(*made.SecretAccessKey))
	}
	list := must[*iam.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: alice}))
	equal(t, "keys", list.AccessKeyMetadata, []types.AccessKeyMetadata{{UserName: alice, AccessKeyId: made.AccessKeyId,
		Status: types.StatusTypeActive, CreateDate: aws.Time(changed)}})

	ok[*iam.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: alice, PolicyName: str("read"), PolicyDocument: str(readPolicy)}))
	hers := b.iam(keyPair{*made.AccessKeyId, *made.SecretAccessKey, ""})
	own := must[*iam.GetUserOutput](t)(hers.GetUser(ctx, &iam.GetUserInput{}))
	equal(t, "who alice is", *own.User.UserName, "alice")
	_, err := hers.CreateUser(ctx, &iam.CreateUserInput{UserName: str("mallory")})
	refused(t, err, "AccessDenied", "User: "+b.arn("user", "alice")+" is not authorized to perform: iam:CreateUser on resource: "+b.arn("user", "mallory")+
		" because no identity-based policy allows the iam:CreateUser action")
	used := must[*iam.GetAccessKeyLastUsedOutput](t)(c.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: made.AccessKeyId}))
	equal(t, "used", []string{*used.UserName, *used.AccessKeyLastUsed.ServiceName}, []string{"alice", "iam"})
	if used.AccessKeyLastUsed.LastUsedDate == nil {
		t.Error("no time of the last use")
	}

	ok[*iam.UpdateAccessKeyOutput](t)(c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: alice, AccessKeyId: made.AccessKeyId, Status: types.StatusTypeInactive}))
	_, err = hers.GetUser(ctx, &iam.GetUserInput{})
	refused(t, err, "InvalidClientTokenId", "is invalid")
	ok[*iam.DeleteAccessKeyOutput](t)(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: alice, AccessKeyId: made.AccessKeyId}))
	list = must[*iam.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: alice}))
	equal(t, "keys", len(list.AccessKeyMetadata), 0)
	own2 := must[*iam.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{}))
	equal(t, "the caller's keys", *own2.AccessKeyMetadata[0].AccessKeyId, b.acme.AccessKeyID)
	for _, id := range []string{b.globex.AccessKeyID, "AKIANOBODYSKEY000000"} {
		_, err = c.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: str(id)})
		refused(t, err, "NoSuchEntity", "The Access Key with id "+id+" cannot be found")
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	devs, alice := str("devs"), str("alice")
	made := must[*iam.CreateGroupOutput](t)(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: devs, Path: str("/x/")})).Group
	want := &types.Group{GroupName: devs, Path: str("/x/"), Arn: str(b.arn("group", "x/devs")), GroupId: made.GroupId, CreateDate: aws.Time(changed)}
	equal(t, "group", made, want)
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: alice}))
	ok[*iam.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: devs, UserName: alice}))
	got := must[*iam.GetGroupOutput](t)(c.GetGroup(ctx, &iam.GetGroupInput{GroupName: devs}))
	equal(t, "group", got.Group, want)
	equal(t, "member", *got.Users[0].UserName, "alice")
	of := must[*iam.ListGroupsForUserOutput](t)(c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: alice}))
	equal(t, "groups of alice", of.Groups, []types.Group{*want})
	all := must[*iam.ListGroupsOutput](t)(c.ListGroups(ctx, &iam.ListGroupsInput{}))
	equal(t, "groups", all.Groups, []types.Group{*want})

	ok[*iam.PutGroupPolicyOutput](t)(c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: devs, PolicyName: str("p"), PolicyDocument: str(readPolicy)}))
	p := must[*iam.GetGroupPolicyOutput](t)(c.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: devs, PolicyName: str("p")}))
	equal(t, "policy", []string{*p.GroupName, *p.PolicyName, unescaped(t, p.PolicyDocument)}, []string{"devs", "p", readPolicy})
	names := must[*iam.ListGroupPoliciesOutput](t)(c.ListGroupPolicies(ctx, &iam.ListGroupPoliciesInput{GroupName: devs}))
	equal(t, "policies", names.PolicyNames, []string{"p"})
	ok[*iam.DeleteGroupPolicyOutput](t)(c.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: devs, PolicyName: str("p")}))
	const readOnly = "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
	ok[*iam.AttachGroupPolicyOutput](t)(c.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: devs, PolicyArn: str(readOnly)}))
	att := must[*iam.ListAttachedGroupPoliciesOutput](t)(c.ListAttachedGroupPolicies(ctx, &iam.ListAttachedGroupPoliciesInput{GroupName: devs}))
	equal(t, "attached", att.AttachedPolicies, []types.AttachedPolicy{{PolicyName: str("IAMReadOnlyAccess"), PolicyArn: str(readOnly)}})
	ok[*iam.DetachGroupPolicyOutput](t)(c.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: devs, PolicyArn: str(readOnly)}))

	ok[*iam.UpdateGroupOutput](t)(c.UpdateGroup(ctx, &iam.UpdateGroupInput{GroupName: devs, NewGroupName: str("ops")}))
	ok[*iam.RemoveUserFromGroupOutput](t)(c.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: str("ops"), UserName: alice}))
	ok[*iam.DeleteGroupOutput](t)(c.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: str("ops")}))
}

func TestUserPolicies(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	alice := str("alice")
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: alice}))
	ok[*iam.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: alice, PolicyName: str("p"), PolicyDocument: str(readPolicy)}))
	p := must[*iam.GetUserPolicyOutput](t)(c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: alice, PolicyName: str("p")}))
	equal(t, "policy", []string{*p.UserName, *p.PolicyName, unescaped(t, p.PolicyDocument)}, []string{"alice", "p", readPolicy})
	names := must[*iam.ListUserPoliciesOutput](t)(c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: alice}))
	equal(t, "policies", names.PolicyNames, []string{"p"})
	ok[*iam.DeleteUserPolicyOutput](t)(c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: alice, PolicyName: str("p")}))
	made := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("read"), PolicyDocument: str(readPolicy)})).Policy
	ok[*iam.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: alice, PolicyArn: made.Arn}))
	att := must[*iam.ListAttachedUserPoliciesOutput](t)(c.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: alice}))
	equal(t, "attached", att.AttachedPolicies, []types.AttachedPolicy{{PolicyName: str("read"), PolicyArn: made.Arn}})
	ok[*iam.DetachUserPolicyOutput](t)(c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: alice, PolicyArn: made.Arn}))

	ok[*iam.PutUserPermissionsBoundaryOutput](t)(c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: alice, PermissionsBoundary: made.Arn}))
	got := must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{UserName: alice}))
	equal(t, "boundary", got.User.PermissionsBoundary, &types.AttachedPermissionsBoundary{
		PermissionsBoundaryArn: made.Arn, PermissionsBoundaryType: "Policy"})
	ok[*iam.DeleteUserPermissionsBoundaryOutput](t)(c.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: alice}))
	got = must[*iam.GetUserOutput](t)(c.GetUser(ctx, &iam.GetUserInput{UserName: alice}))
	equal(t, "boundary", got.User.PermissionsBoundary, (*types.AttachedPermissionsBoundary)(nil))
	_ = b
}

func TestPaginators(t *testing.T) {
	t.Parallel()
	_, c := sdk(t)
	ctx := t.Context()
	var want string
	for i := range 5 {
		name := fmt.Sprintf("u%d", i)
		want += name
		ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: str(name), Path: str("/p/")}))
	}
	var got string
	pages := 0
	for p := iam.NewListUsersPaginator(c, &iam.ListUsersInput{MaxItems: aws.Int32(2), PathPrefix: str("/p/")}); p.HasMorePages(); pages++ {
		out := must[*iam.ListUsersOutput](t)(p.NextPage(ctx))
		for _, u := range out.Users {
			got += *u.UserName
		}
	}
	equal(t, "users", got, want)
	equal(t, "pages", pages, 3)
	first := must[*iam.ListUsersOutput](t)(c.ListUsers(ctx, &iam.ListUsersInput{MaxItems: aws.Int32(1)}))
	_, err := c.ListRoles(ctx, &iam.ListRolesInput{Marker: first.Marker})
	refused(t, err, "ValidationError", "Invalid Marker")
	for _, n := range []int32{0, 1001} {
		_, err := c.ListUsers(ctx, &iam.ListUsersInput{MaxItems: aws.Int32(n)})
		refused(t, err, "ValidationError", "Value at 'maxItems' failed to satisfy constraint: Member must have value")
	}
	for p := iam.NewListPoliciesPaginator(c, &iam.ListPoliciesInput{MaxItems: aws.Int32(3), Scope: types.PolicyScopeTypeAws}); p.HasMorePages(); {
		for _, pol := range must[*iam.ListPoliciesOutput](t)(p.NextPage(ctx)).Policies {
			if !strings.HasPrefix(*pol.Arn, "arn:aws:iam::aws:policy/") || *pol.DefaultVersionId == "" || !pol.IsAttachable {
				t.Errorf("a built-in policy: %+v", pol)
			}
		}
	}
}

// TestConditionKeys shows that each key that a condition of AWS can hang on
// is there: a user may do what the condition allows, and its twin not.
func TestConditionKeys(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	bounds := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("bounds"), PolicyDocument: str(readPolicy)})).Policy.Arn
	other := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("other"), PolicyDocument: str(readPolicy)})).Policy.Arn
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: str("bounded"), PermissionsBoundary: bounds, Tags: []types.Tag{{Key: str("team"), Value: str("blue")}}}))
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: str("free")}))
	n := 0
	for _, tc := range []struct {
		what, action, condition string
		do                      func(c *iam.Client, allowed bool) error
	}{
		{"iam:PermissionsBoundary of a new user", "iam:CreateUser", `{"StringEquals":{"iam:PermissionsBoundary":"` + *bounds + `"}}`, func(c *iam.Client, allowed bool) error {
			in := &iam.CreateUserInput{UserName: str(fmt.Sprint("n", allowed))}
			if allowed {
				in.PermissionsBoundary = bounds
			}
			_, err := c.CreateUser(ctx, in)
			return err
		}},
		{"iam:PermissionsBoundary of the user", "iam:PutUserPolicy", `{"StringEquals":{"iam:PermissionsBoundary":"` + *bounds + `"}}`, func(c *iam.Client, allowed bool) error {
			_, err := c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: str(choice(allowed, "bounded", "free")), PolicyName: str("p"), PolicyDocument: str(readPolicy)})
			return err
		}},
		{"iam:PermissionsBoundary that is put", "iam:PutUserPermissionsBoundary", `{"StringEquals":{"iam:PermissionsBoundary":"` + *bounds + `"}}`, func(c *iam.Client, allowed bool) error {
			_, err := c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: str("bounded"), PermissionsBoundary: str(choice(allowed, *bounds, *other))})
			return err
		}},
		{"iam:PolicyARN", "iam:AttachUserPolicy", `{"ArnEquals":{"iam:PolicyARN":"` + *bounds + `"}}`, func(c *iam.Client, allowed bool) error {
			_, err := c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: str("free"), PolicyArn: str(choice(allowed, *bounds, *other))})
			return err
		}},
		{"aws:RequestTag", "iam:TagUser", `{"StringEquals":{"aws:RequestTag/team":"blue"}}`, func(c *iam.Client, allowed bool) error {
			_, err := c.TagUser(ctx, &iam.TagUserInput{UserName: str("free"), Tags: []types.Tag{{Key: str("team"), Value: str(choice(allowed, "blue", "red"))}}})
			return err
		}},
		{"aws:TagKeys", "iam:UntagUser", `{"ForAllValues:StringEquals":{"aws:TagKeys":["color"]}}`, func(c *iam.Client, allowed bool) error {
			_, err := c.UntagUser(ctx, &iam.UntagUserInput{UserName: str("free"), TagKeys: []string{choice(allowed, "color", "team")}})
			return err
		}},
		{"aws:ResourceTag", "iam:GetUser", `{"StringEquals":{"aws:ResourceTag/team":"blue"}}`, func(c *iam.Client, allowed bool) error {
			_, err := c.GetUser(ctx, &iam.GetUserInput{UserName: str(choice(allowed, "bounded", "admin"))})
			return err
		}},
		{"iam:ResourceTag", "iam:GetUser", `{"StringEquals":{"iam:ResourceTag/team":"blue"}}`, func(c *iam.Client, allowed bool) error {
			_, err := c.GetUser(ctx, &iam.GetUserInput{UserName: str(choice(allowed, "bounded", "admin"))})
			return err
		}},
	} {
		n++
		who := b.user(t, c, fmt.Sprint("tester", n), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"`+tc.action+`","Resource":"*","Condition":`+tc.condition+`}]}`)
		if err := tc.do(who, true); err != nil {
			t.Errorf("%s: what is allowed: %v", tc.what, err)
		}
		refused(t, tc.do(who, false), "AccessDenied", "is not authorized to perform: "+tc.action)
	}
}

func choice(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// user makes a user of acme with one inline policy and gives its client.
func (b *bench) user(t testing.TB, c *iam.Client, name, policy string) *iam.Client {
	t.Helper()
	return b.iam(b.userKey(t, c, name, policy))
}

func (b *bench) userKey(t testing.TB, c *iam.Client, name, policy string) keyPair {
	t.Helper()
	ctx := t.Context()
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: str(name)}))
	if policy != "" {
		ok[*iam.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: str(name), PolicyName: str("p"), PolicyDocument: str(policy)}))
	}
	k := must[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: str(name)})).AccessKey
	return keyPair{*k.AccessKeyId, *k.SecretAccessKey, ""}
}

// TestRenamingNeedsBothPermissions has a user rename another to a path that
// it may not write.
func TestRenamingNeedsBothPermissions(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	who := b.user(t, c, "clerk", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:UpdateUser","Resource":"`+b.arn("user", "low/*")+`"}]}`)
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: str("bob"), Path: str("/low/")}))
	_, err := who.UpdateUser(ctx, &iam.UpdateUserInput{UserName: str("bob"), NewPath: str("/high/")})
	refused(t, err, "AccessDenied", b.arn("user", "high/bob"))
	ok[*iam.UpdateUserOutput](t)(who.UpdateUser(ctx, &iam.UpdateUserInput{UserName: str("bob"), NewPath: str("/low/er/")}))
}

// TestForeignAccounts asks for what is another account's: the answer is the
// same whether it is there or not.
func TestForeignAccounts(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	made := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("mine"), PolicyDocument: str(readPolicy)})).Policy
	theirs := b.iam(pairOf(b.globex))
	_, err := theirs.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: made.Arn})
	refused(t, err, "AccessDenied", "is not authorized to perform: iam:GetPolicy on resource: "+*made.Arn)
	_, absent := theirs.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: str(b.arn("policy", "none"))})
	refused(t, absent, "AccessDenied", "is not authorized to perform: iam:GetPolicy on resource: "+b.arn("policy", "none"))
	if a, b := afterResource(err), afterResource(absent); a != b {
		t.Errorf("a foreign policy that exists: %q, one that does not: %q", a, b)
	}
	_, err = theirs.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: str("admin"), PolicyArn: made.Arn})
	refused(t, err, "NoSuchEntity", "does not exist or is not attachable")
	_, err = theirs.GetUser(ctx, &iam.GetUserInput{UserName: str("alice")})
	refused(t, err, "NoSuchEntity", "alice cannot be found")
}

func afterResource(err error) string {
	_, reason, _ := strings.Cut(err.Error(), " because ")
	return reason
}
