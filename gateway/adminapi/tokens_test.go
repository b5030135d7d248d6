package adminapi

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/tenant"
)

func tokenWorld(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(c *Config) {
		c.Bearers = credential.NewBearerVerifier(credential.BearerConfig{
			Tokens: c.Control.(*control.Service).Tokens(), Proofs: token.NewProofs(time.Now), Listener: control.Listener, Audience: control.AudienceCarrel,
		})
	})
}

// withToken sends a request that has a bearer token and no signature.
func (w *world) withToken(t *testing.T, text, method, path, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+text)
	return w.send(t, r)
}

func tokenBody(t *testing.T, action string, more map[string]any) string {
	t.Helper()
	body := map[string]any{"audience": "carrel",
		"scope": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`}
	for k, v := range more {
		body[k] = v
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (w *world) newToken(t *testing.T, who control.Credentials, body string) NewToken {
	t.Helper()
	a := w.do(t, who, "POST", "/v1/tokens", body)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var made NewToken
	a.decode(t, &made)
	return made
}

// TestTokenLife makes a token, uses it, narrows it and ends it.
func TestTokenLife(t *testing.T) {
	t.Parallel()
	w := tokenWorld(t)
	acme := w.tenant(t, "acme")
	made := w.newToken(t, acme, tokenBody(t, "carrel:Get*", nil))
	if life := time.Until(made.ExpiresAt); life > 15*time.Minute || life < 14*time.Minute || !token.IsBearerID(made.ID) {
		t.Errorf("%s lives for %s", made.ID, life)
	}
	status := func(text, path string) int { return w.withToken(t, text, "GET", path, "").status }
	if got := [2]int{status(made.Token, "/v1/usage"), status(made.Token, "/v1/events")}; got != [2]int{200, 403} {
		t.Errorf("inside its scope and outside of it: %v", got)
	}
	parsed, err := token.ParseBearer(made.Token)
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := parsed.Narrow(token.Cap{Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"carrel:GetUsage","Resource":"*"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	if got := status(narrow.Text(), "/v1/usage"); got != 403 {
		t.Errorf("a narrowed token: %d", got)
	}
	if a := w.withToken(t, made.Token, "POST", "/v1/tokens", tokenBody(t, "*", nil)); a.status != 403 {
		t.Errorf("a token makes another: %d %s", a.status, a.body)
	}
	if a := w.do(t, acme, "POST", "/v1/sessions/revoke", `{"what":"`+made.ID+`","reason":"it leaked"}`); a.status != 200 {
		t.Errorf("revoking: %d %s", a.status, a.body)
	}
	for name, text := range map[string]string{"it": made.Token, "what it was narrowed to": narrow.Text()} {
		if got := status(text, "/v1/usage"); got != 403 && got != 401 {
			t.Errorf("%s goes on after it was revoked: %d", name, got)
		}
	}
	if other := w.newToken(t, acme, tokenBody(t, "carrel:Get*", nil)); status(other.Token, "/v1/usage") != 200 {
		t.Error("a token that was not revoked is refused")
	}
}

// TestTokensOfOperators has the operators end a tenant's sessions.
func TestTokensOfOperators(t *testing.T) {
	t.Parallel()
	w := tokenWorld(t)
	acme, globex := w.tenant(t, "acme"), w.tenant(t, "globex")
	a, g := w.newToken(t, acme, tokenBody(t, "*", nil)), w.newToken(t, globex, tokenBody(t, "*", nil))
	if r := w.do(t, globex, "POST", "/v1/sessions/revoke", `{"what":"*","tenant":"acme"}`); r.status != 403 {
		t.Errorf("another tenant: %d %s", r.status, r.body)
	}
	if r := w.do(t, globex, "POST", "/v1/sessions/revoke", `{"what":"`+a.ID+`"}`); r.status != 200 {
		t.Errorf("an id of another's: %d %s", r.status, r.body) // it is taken, and means nobody
	}
	if got := w.withToken(t, a.Token, "GET", "/v1/usage", "").status; got != 200 {
		t.Errorf("another tenant ended a token: %d", got)
	}
	if r := w.do(t, w.operator, "POST", "/v1/sessions/revoke", `{"what":"`+a.ID+`","tenant":"acme"}`); r.status != 200 {
		t.Errorf("the operator: %d %s", r.status, r.body)
	}
	if got := w.withToken(t, a.Token, "GET", "/v1/usage", "").status; got == 200 {
		t.Error("the token goes on")
	}
	if got := w.withToken(t, g.Token, "GET", "/v1/usage", "").status; got != 200 {
		t.Errorf("another tenant's token: %d", got)
	}
}

// TestA19TokensAreForOneAPI gives each kind of token to this API.
func TestA19TokensAreForOneAPI(t *testing.T) {
	t.Parallel()
	w := tokenWorld(t)
	acme := w.tenant(t, "acme")
	good := w.newToken(t, acme, tokenBody(t, "*", nil)).Token
	lambda := w.newToken(t, acme, tokenBody(t, "*", map[string]any{"audience": "lambda"})).Token
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bound := w.newToken(t, acme, tokenBody(t, "*", map[string]any{"ttlSeconds": 7200, "holder": base64.RawURLEncoding.EncodeToString(public)})).Token
	message := w.control.Tokens().SealMessage(acme.AccountID, "x")
	for name, text := range map[string]string{
		"for Lambda": lambda, "bound to a key": bound, "a message": message, "a message as a bearer token": strings.Replace(message, "carrel_am1_", "carrel_bt1_", 1),
		"a session's name": strings.Replace(good, "carrel_bt1_", "carrel_st1_", 1), "cut": good[:len(good)-1], "empty": "", "a key id": acme.AccessKeyID, "a secret": acme.SecretAccessKey,
	} {
		if a := w.withToken(t, text, "GET", "/v1/usage", ""); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := w.withToken(t, good, "GET", "/v1/usage", ""); a.status != 200 {
		t.Errorf("the harmless twin: %d %s", a.status, a.body)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	w := tokenWorld(t)
	acme := w.tenant(t, "acme")
	for name, body := range map[string]string{
		"too long a life":           tokenBody(t, "*", map[string]any{"ttlSeconds": 3601}),
		"no scope":                  `{"audience":"carrel"}`,
		"a scope that is no policy": `{"scope":"{}"}`,
		"an audience that is none":  tokenBody(t, "*", map[string]any{"audience": "iam"}),
		"a key that is none":        tokenBody(t, "*", map[string]any{"holder": "AAAA"}),
		"a life that is none":       tokenBody(t, "*", map[string]any{"ttlSeconds": -1}),
	} {
		if a := w.do(t, acme, "POST", "/v1/tokens", body); a.status != 400 && a.status != 422 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// TestClaimTags lists a claim of a provider, and one that may set no tag.
func TestClaimTags(t *testing.T) {
	t.Parallel()
	w := tokenWorld(t)
	acme, globex := w.tenant(t, "acme"), w.tenant(t, "globex")
	p, _ := w.control.Principal(acme.AccessKeyID)
	arn := control.ProviderResource(acme.AccountID, "https://idp.example")
	g, err := w.control.Authorise(t.Context(), iam.Request{Principal: p, Action: control.ActionCreateProvider, Resource: arn, Owner: tenant.Identity{Account: acme.AccountID}}, "setup")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.control.CreateOpenIDConnectProvider(t.Context(), g, control.CreateProviderInput{URL: "https://idp.example", ClientIDs: []string{"app"}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		who    control.Credentials
		claims string
		status int
	}{{acme, `{"team":"team"}`, 200}, {acme, `{}`, 200}, {acme, `{"t":"tenant_id"}`, 400}, {acme, `{"t":"Tenant_ID"}`, 400}, {globex, `{"team":"team"}`, 403}, {w.operator, `{"team":"team"}`, 403}} {
		if a := w.do(t, tt.who, "PUT", "/v1/claim-tags", `{"provider":"`+arn+`","claims":`+tt.claims+`}`); a.status != tt.status {
			t.Errorf("%s: %d %s", tt.claims, a.status, a.body)
		}
		if a := w.do(t, tt.who, "GET", "/v1/claim-tags", ""); a.status != 200 || tt.who.AccountID != acme.AccountID && strings.Contains(a.body, "oidc-provider") ||
			tt.who.AccountID == acme.AccountID && tt.status == 200 && !strings.Contains(a.body, `{"provider":"`+arn+`","claims":`+tt.claims+`}`) {
			t.Errorf("listed after %s: %d %s", tt.claims, a.status, a.body)
		}
	}
}
