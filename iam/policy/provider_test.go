package policy

import "testing"

// TestKeysOfIdentityProviders has the condition keys that trust policies hang
// on: their prefix is the issuer's host and path.
func TestKeysOfIdentityProviders(t *testing.T) {
	t.Parallel()
	for key, fine := range map[string]bool{
		"token.actions.githubusercontent.com:sub": true, "idp.example/realms/x:aud": true, "127.0.0.1:8443:sub": true,
		"idp example:sub": false, "idp.example?x:sub": false, "idp.example": false, ":sub": false,
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111111111111:oidc-provider/idp.example"},
"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` + key + `":"x"}}}]}`
		if _, _, err := Parse(Trust, []byte(text)); (err == nil) != fine {
			t.Errorf("%s: %v", key, err)
		}
	}
}
