// Package zitadel verifies tokens of a provider that others wrote, the example
// server of zitadel/oidc, from a person's login to the claims of the ID token.
// It is a module of its own, so that what the provider needs is not among the
// dependencies of Carrel.
package zitadel

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/oidc"
	"github.com/carrel-dev/carrel/internal/dial"
)

const (
	client   = "carrel-app"
	redirect = "http://localhost:9999/auth/callback"
)

// provider starts the example server over TLS.
func provider(t *testing.T) *httptest.Server {
	t.Helper()
	storage.RegisterClients(storage.WebClient(client, "secret", redirect))
	var handler http.Handler
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	handler = exampleop.SetupServer(s.URL, storage.NewStorage(storage.NewUserStore(s.URL)), nil, false)
	return s
}

var authRequest = regexp.MustCompile(`name="id" value="([^"]+)"`)

// login is what a browser and a person do, and gives the ID token.
func login(t *testing.T, s *httptest.Server) string {
	t.Helper()
	browser := *s.Client()
	browser.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	ask := url.Values{"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"id_token"}, "scope": {"openid profile"}, "nonce": {"n1"}, "state": {"s1"}}
	page, err := browser.Get(s.URL + "/auth?" + ask.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	body, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := authRequest.FindSubmatch(body)
	if found == nil {
		t.Fatalf("there is no login form at %s: %d %s", page.Request.URL, page.StatusCode, body)
	}
	answer, err := browser.PostForm(s.URL+"/login/username", url.Values{"username": {"test-user2"}, "password": {"verysecure"}, "id": {string(found[1])}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	to, err := answer.Location()
	if err != nil {
		t.Fatalf("the login led nowhere: %d, %v", answer.StatusCode, err)
	}
	values, err := url.ParseQuery(to.Fragment)
	if err != nil || values.Get("id_token") == "" {
		t.Fatalf("there is no token in %s", to)
	}
	return values.Get("id_token")
}

// TestA15A16TokensOfARealProvider takes its token, and refuses it altered, for
// another audience, late, and from where the node may not connect to.
func TestA15A16TokensOfARealProvider(t *testing.T) {
	t.Parallel()
	s := provider(t)
	token := login(t, s)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	verifier := func(later time.Duration, allow ...netip.Prefix) *oidc.Verifier {
		return oidc.New(oidc.Config{Fetch: dial.New(dial.Config{Roots: roots, Allow: allow}), Now: func() time.Time { return time.Now().Add(later) }})
	}
	here := netip.MustParsePrefix("127.0.0.1/32")
	good := oidc.Provider{Account: "111111111111", Issuer: s.URL, ClientIDs: []string{client}}
	c, err := verifier(0, here).Verify(t.Context(), token, good)
	if err != nil {
		t.Fatal(err)
	}
	if c.Subject != "id2" || c.Party != client || c.Audience != client {
		t.Errorf("%+v", c)
	}
	if issuer, err := oidc.Issuer(token); err != nil || issuer != s.URL {
		t.Errorf("%s, %v", issuer, err)
	}
	parts := strings.Split(token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	altered := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), `"id2"`, `"id1"`, 1))) + "." + parts[2]
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"x"}`)) + "." + parts[1] + "."
	another, slash := good, good
	another.ClientIDs, slash.Issuer = []string{"another"}, s.URL+"/"
	for name, tt := range map[string]struct {
		of    *oidc.Verifier
		token string
		want  oidc.Provider
		code  string
	}{
		"altered":            {verifier(0, here), altered, good, "InvalidIdentityToken"},
		"not signed":         {verifier(0, here), none, good, "InvalidIdentityToken"},
		"another audience":   {verifier(0, here), token, another, "InvalidIdentityToken"},
		"another issuer":     {verifier(0, here), token, slash, "IDPCommunicationError"},
		"late":               {verifier(48*time.Hour, here), token, good, "ExpiredTokenException"},
		"early":              {verifier(-time.Hour, here), token, good, "InvalidIdentityToken"},
		"inside the network": {verifier(0), token, good, "IDPCommunicationError"},
	} {
		_, err := tt.of.Verify(t.Context(), tt.token, tt.want)
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}
