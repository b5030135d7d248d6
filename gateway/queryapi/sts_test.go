package queryapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	got := must[*sts.GetCallerIdentityOutput](t)(b.sts(pairOf(b.acme)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))
	equal(t, "account", aws.ToString(got.Account), string(b.acme.AccountID))
	equal(t, "ARN", aws.ToString(got.Arn), "arn:aws:iam::"+string(b.acme.AccountID)+":user/admin")
}

// TestPresignedGet is how a token of a cluster proves who asks: a GET that
// was signed ahead.
func TestPresignedGet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p, err := sts.NewPresignClient(b.sts(pairOf(b.acme))).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	own, err := http.NewRequestWithContext(t.Context(), p.Method, p.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := send(t, own); got.status != 200 || !strings.Contains(got.body, ":user/admin</Arn>") {
		t.Errorf("presigned by the SDK, which names no expiry: %d %s", got.status, got.body)
	}
	ask := "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL+"/?"+ask, nil)
	if err != nil {
		t.Fatal(err)
	}
	const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	who := aws.Credentials{AccessKeyID: b.acme.AccessKeyID, SecretAccessKey: b.acme.SecretAccessKey}
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), who, r, nothing, ServiceSTS, region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, signed, nil); err != nil {
		t.Fatal(err)
	}
	if got := send(t, r); got.status != 200 || !strings.Contains(got.body, ":user/admin</Arn>") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// role makes a role of acme that its own account may assume, with a policy.
func (b *bench) role(t testing.TB, c *iam.Client, name, policy string) string {
	t.Helper()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + string(b.acme.AccountID) +
		`:root"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"],"Condition":{"StringEqualsIfExists":{"sts:ExternalId":"word"}}}]}`
	ok[*iam.CreateRoleOutput](t)(c.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String(name), AssumeRolePolicyDocument: aws.String(trust)}))
	if policy != "" {
		ok[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String(name), PolicyName: aws.String("p"), PolicyDocument: aws.String(policy)}))
	}
	return b.arn("role", name)
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	arn := b.role(t, c, "app", readPolicy)
	s := b.sts(pairOf(b.acme))
	in := &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("s1"), DurationSeconds: aws.Int32(900), ExternalId: aws.String("word"),
		SourceIdentity: aws.String("ann"), Policy: aws.String(readPolicy), PolicyArns: []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/IAMReadOnlyAccess")}},
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}, TransitiveTagKeys: []string{"team"}}
	got := must[*sts.AssumeRoleOutput](t)(s.AssumeRole(ctx, in))
	equal(t, "ARN", *got.AssumedRoleUser.Arn, "arn:aws:sts::"+string(b.acme.AccountID)+":assumed-role/app/s1")
	if id := *got.AssumedRoleUser.AssumedRoleId; !strings.HasPrefix(id, "AROA") || !strings.HasSuffix(id, ":s1") {
		t.Errorf("AssumedRoleId %s", id)
	}
	equal(t, "SourceIdentity", *got.SourceIdentity, "ann")
	if got.PackedPolicySize == nil || *got.PackedPolicySize < 1 {
		t.Errorf("PackedPolicySize %v", got.PackedPolicySize)
	}
	cr := got.Credentials
	if !strings.HasPrefix(*cr.AccessKeyId, "ASIA") || *cr.SecretAccessKey == "" || *cr.SessionToken == "" || cr.Expiration == nil {
		t.Error("the credentials are not complete")
	}
	for what, tc := range map[string]struct {
		change     func(*sts.AssumeRoleInput)
		code, text string
	}{
		"another word":         {func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String("guess") }, "AccessDenied", "is not authorized to perform: sts:AssumeRole on resource: " + arn},
		"an absent role":       {func(in *sts.AssumeRoleInput) { in.RoleArn = aws.String(b.arn("role", "none")) }, "AccessDenied", "sts:AssumeRole"},
		"a name of one letter": {func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String("x") }, "ValidationError", "Value 'x' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2"},
		"too short":            {func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(899) }, "ValidationError", "Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		"longer than the role": {func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7200) }, "ValidationError", "exceeds the MaxSessionDuration"},
		"a malformed policy":   {func(in *sts.AssumeRoleInput) { in.Policy = aws.String("{}") }, "MalformedPolicyDocument", ""},
		"tags twice": {func(in *sts.AssumeRoleInput) {
			in.Tags = append(in.Tags, types.Tag{Key: aws.String("Team"), Value: aws.String("x")})
		}, "InvalidInput", "Duplicate tag keys"},
		"the platform's tag": {func(in *sts.AssumeRoleInput) {
			in.Tags = []types.Tag{{Key: aws.String("tenant_id"), Value: aws.String("globex")}}
			in.TransitiveTagKeys = nil
		}, "InvalidInput", "the platform's"},
		"a device": {func(in *sts.AssumeRoleInput) {
			in.SerialNumber, in.TokenCode = aws.String("arn:aws:iam::1:mfa/x"), aws.String("123456")
		}, "ValidationError", "'SerialNumber' of AssumeRole is not available"},
	} {
		changed := *in
		tc.change(&changed)
		_, err := s.AssumeRole(ctx, &changed)
		refused(t, err, tc.code, tc.text)
		if t.Failed() {
			t.Fatal(what)
		}
	}
	_, err := b.sts(pairOf(b.globex)).AssumeRole(ctx, in)
	refused(t, err, "AccessDenied", "because no resource-based policy allows the sts:AssumeRole action")
	other := *in
	other.RoleArn = aws.String(b.arn("role", "none"))
	_, err = b.sts(pairOf(b.globex)).AssumeRole(ctx, &other)
	refused(t, err, "AccessDenied", "because no resource-based policy allows the sts:AssumeRole action")
}

func TestSessionTokens(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	ctx := t.Context()
	s := b.sts(b.userKey(t, c, "alice", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"}]}`))
	got := must[*sts.GetSessionTokenOutput](t)(s.GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)}))
	if *got.Credentials.SessionToken == "" || got.Credentials.Expiration == nil {
		t.Error("the credentials are not complete")
	}
	fed := must[*sts.GetFederationTokenOutput](t)(s.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("bob"), Policy: aws.String(readPolicy)}))
	account := string(b.acme.AccountID)
	equal(t, "federated user", []string{*fed.FederatedUser.Arn, *fed.FederatedUser.FederatedUserId}, []string{"arn:aws:sts::" + account + ":federated-user/bob", account + ":bob"})
	info := must[*sts.GetAccessKeyInfoOutput](t)(s.GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &b.acme.AccessKeyID}))
	equal(t, "account", *info.Account, account)
	_, err := s.GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &b.globex.AccessKeyID})
	refused(t, err, "ValidationError", "is not valid")
	_, err = s.DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("nonsense")})
	var invalid *types.InvalidAuthorizationMessageException
	if !errors.As(err, &invalid) {
		t.Errorf("nonsense: %v", err)
	}
	none := b.sts(b.userKey(t, c, "mallory", ""))
	_, err = none.GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	refused(t, err, "AccessDenied", "sts:GetSessionToken")
	_, err = none.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("bob")})
	refused(t, err, "AccessDenied", "sts:GetFederationToken")
}
