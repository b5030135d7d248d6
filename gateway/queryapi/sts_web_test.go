package queryapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/carrel-dev/carrel/iam/oidc"
	"github.com/carrel-dev/carrel/iam/oidc/oidctest"
)

// TestA16AssumeRoleWithWebIdentity goes from a registered provider to a
// session, with clients that have no key.
func TestA16AssumeRoleWithWebIdentity(t *testing.T) {
	t.Parallel()
	key := oidctest.EC(t, "k1")
	idp := oidctest.New(t, key)
	b := newBenchWith(t, oidc.New(oidc.Config{Fetch: idp.Dialer(), Now: time.Now}))
	admin, ctx := b.iam(pairOf(b.acme)), t.Context()
	made := must[*iam.CreateOpenIDConnectProviderOutput](t)(admin.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
		Url: aws.String(idp.Issuer()), ClientIDList: []string{"sts.amazonaws.com"},
	}))
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + *made.OpenIDConnectProviderArn +
		`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` + strings.TrimPrefix(idp.Issuer(), "https://") + `:sub":"repo:acme/app"}}}]}`
	ok[*iam.CreateRoleOutput](t)(admin.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("ci"), AssumeRolePolicyDocument: aws.String(trust)}))
	nobody := sts.New(sts.Options{Region: region, BaseEndpoint: aws.String(b.server.URL), RetryMaxAttempts: 1, HTTPClient: plainHTTP})
	ask := func(claims map[string]any) (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return nobody.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String(b.arn("role", "ci")), RoleSessionName: aws.String("run-1"),
			WebIdentityToken: aws.String(key.Sign(t, idp.Claims("sts.amazonaws.com", time.Now(), claims), nil)),
		})
	}
	got := must[*sts.AssumeRoleWithWebIdentityOutput](t)(ask(nil))
	equal(t, "subject", *got.SubjectFromWebIdentityToken, "repo:acme/app")
	equal(t, "audience", *got.Audience, "sts.amazonaws.com")
	equal(t, "provider", *got.Provider, *made.OpenIDConnectProviderArn)
	equal(t, "ARN", *got.AssumedRoleUser.Arn, "arn:aws:sts::"+string(b.acme.AccountID)+":assumed-role/ci/run-1")
	if c := got.Credentials; c == nil || !strings.HasPrefix(*c.AccessKeyId, "ASIA") || *c.SessionToken == "" {
		t.Error("there are no credentials")
	}
	var invalid *types.InvalidIdentityTokenException
	if _, err := ask(map[string]any{"aud": "x"}); !errors.As(err, &invalid) {
		t.Errorf("another audience: %v", err)
	}
	var late *types.ExpiredTokenException
	if _, err := ask(map[string]any{"exp": time.Now().Add(-time.Second).Unix()}); !errors.As(err, &late) {
		t.Errorf("an expired token: %v", err)
	}
	if _, err := ask(map[string]any{"sub": "repo:globex/app"}); err == nil || !strings.Contains(err.Error(), "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity") {
		t.Errorf("another subject: %v", err)
	}
	if idp.SetAnswer(func(string) (int, string) { return 503, "" }); idp.Fetches() != 1 {
		t.Errorf("the keys were fetched %d times", idp.Fetches())
	}
	// No other operation goes without a signature, and no message repeats a token.
	for action, code := range map[string]string{"AssumeRole": "MissingAuthenticationToken", "GetCallerIdentity": "MissingAuthenticationToken"} {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.server.URL, strings.NewReader(url.Values{"Action": {action}, "Version": {"2011-06-15"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a := send(t, r); !strings.Contains(a.body, code) {
			t.Errorf("%s: %s", action, a.body)
		}
	}
	_, err := nobody.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(b.arn("role", "ci")), RoleSessionName: aws.String("run-1"), WebIdentityToken: aws.String(strings.Repeat("SECRET", 4000)),
	})
	if err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("a long token: %.200v", err)
	}
}
