package credential_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/credential"
)

// sessions are security tokens by their text.
type sessions map[string]credential.Key

func (s sessions) Session(text string) (credential.Key, bool) {
	k, found := s[text]
	return k, found
}

func temporary(id string, ends time.Time) credential.Key {
	k := keys["AKIDEXAMPLE"]
	k.ID = id
	k.Holder = &call.Principal{ARN: "arn:aws:sts::111111111111:assumed-role/r/s", Session: &call.Session{ID: id, Expires: ends}}
	return k
}

// known are tokens of credentials whose secret is AKIDEXAMPLE's: a test signs
// with that secret under the id that it wants.
var known = sessions{
	"token-a":    temporary("ASIAA", signedAt.Add(time.Hour)),
	"token-b":    temporary("ASIAB", signedAt.Add(time.Hour)),
	"token-over": temporary("ASIAA", signedAt),
	"token-key":  keys["AKIDEXAMPLE"], // no session's
	"token-paused": func() credential.Key {
		k := temporary("ASIAA", signedAt.Add(time.Hour))
		k.Status = credential.Suspended
		return k
	}(),
}

// as gives a message that is signed with AKIDEXAMPLE's secret under another id.
func (m message) as(t testing.TB, id string, presigned bool) *http.Request {
	t.Helper()
	m.keyID, m.secret = id, string(keys["AKIDEXAMPLE"].Secret)
	if presigned {
		m.url += "?X-Amz-Expires=60"
		return m.presign(t)
	}
	return m.sign(t)
}

func withToken(text string) message {
	return message{url: "http://localhost/f", header: http.Header{"X-Amz-Security-Token": {text}}}
}

func sessionVerifier(s credential.Sessions) *credential.Verifier {
	return credential.New(credential.Config{
		Region: "us-east-1", Services: []string{"lambda"}, Lookup: keys, Sessions: s, Now: func() time.Time { return signedAt },
	})
}

// TestTemporaryCredentials signs with every key under every token, in the
// header and presigned: only a token's own key is good with it.
func TestTemporaryCredentials(t *testing.T) {
	t.Parallel()
	v := sessionVerifier(known)
	for name, tt := range map[string]struct{ id, token, code string }{
		"a session's key with its token":        {"ASIAA", "token-a", ""},
		"a session's key without a token":       {"ASIAA", "", credential.CodeUnrecognizedClient},
		"with another session's token":          {"ASIAA", "token-b", credential.CodeUnrecognizedClient},
		"a user's key with a session's token":   {"AKIDEXAMPLE", "token-a", credential.CodeUnrecognizedClient},
		"a user's key with a token that is its": {"AKIDEXAMPLE", "token-key", credential.CodeUnrecognizedClient},
		"with no such token":                    {"ASIAA", "token-x", credential.CodeUnrecognizedClient},
		"after its end":                         {"ASIAA", "token-over", credential.CodeExpiredToken},
		"of a suspended account":                {"ASIAA", "token-paused", credential.CodeAccessDenied},
		"with a token longer than is read":      {"ASIAA", strings.Repeat("x", 17<<10), credential.CodeIncompleteSignature},
	} {
		for _, presigned := range []bool{false, true} {
			m := withToken(tt.token)
			if tt.token == "" {
				m.header = nil
			}
			id, err := verify(t, v, m.as(t, tt.id, presigned))
			if tt.code == "" {
				if err != nil || id.Holder == nil || id.Holder.Session.ID != "ASIAA" {
					t.Errorf("%s (presigned %v): %+v, %v", name, presigned, id, err)
				}
				continue
			}
			if err == nil {
				t.Errorf("%s (presigned %v): accepted", name, presigned)
				continue
			}
			wantCode(t, err, tt.code)
		}
	}
	if id, err := verify(t, v, message{url: "http://localhost/f"}.sign(t)); err != nil || id.Holder != nil {
		t.Errorf("the harmless twin with a user's key: %+v, %v", id, err)
	}
	_, err := verify(t, sessionVerifier(nil), withToken("token-a").as(t, "ASIAA", false))
	wantCode(t, err, credential.CodeUnrecognizedClient)
}

// TestSecurityTokenIsUnderTheSignature exchanges tokens of a signed request.
func TestSecurityTokenIsUnderTheSignature(t *testing.T) {
	t.Parallel()
	same := sessions{"token-a": known["token-a"], "token-2": known["token-a"]}
	v := sessionVerifier(same)
	r := withToken("token-a").as(t, "ASIAA", false)
	r.Header.Set("X-Amz-Security-Token", "token-2")
	_, err := verify(t, v, r)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)

	r = message{url: "http://localhost/f"}.as(t, "ASIAA", false)
	r.Header.Set("X-Amz-Security-Token", "token-a") // added after signing
	_, err = verify(t, v, r)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)

	r = withToken("token-a").as(t, "ASIAA", true)
	r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "token-a", "token-2", 1)
	_, err = verify(t, v, r)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)

	r = withToken("token-a").as(t, "ASIAA", true)
	r.Header.Set("X-Amz-Security-Token", "token-a") // and in the query
	_, err = verify(t, v, r)
	wantCode(t, err, credential.CodeIncompleteSignature)

	r = withToken("token-a").as(t, "ASIAA", true)
	r.URL.RawQuery += "&X-Amz-Security-Token=token-2"
	_, err = verify(t, v, r)
	wantCode(t, err, credential.CodeIncompleteSignature)
}

// TestExpiryIsToldToWhoHasTheSecretOnly signs wrongly with an expired token.
func TestExpiryIsToldToWhoHasTheSecretOnly(t *testing.T) {
	t.Parallel()
	r := withToken("token-over").as(t, "ASIAA", false)
	r.Header.Set("User-Agent", "x")
	r.URL.Path = "/g"
	_, err := verify(t, sessionVerifier(known), r)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
}
