package credential_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/iam/token"
)

type prf struct{}

func (prf) Sum(data []byte) [32]byte { return sha256.Sum256(append([]byte("secret "), data...)) }

// doors are a node's APIs as bearer tokens see them, by audience.
type doors struct {
	ring   *token.Ring
	proofs *token.Proofs
	at     map[string]*credential.BearerVerifier
	now    time.Time
}

func newDoors() *doors {
	d := &doors{now: signedAt, at: map[string]*credential.BearerVerifier{}}
	now := func() time.Time { return d.now }
	d.ring, d.proofs = token.NewRing(prf{}, now), token.NewProofs(now)
	for _, door := range []string{"lambda@gateway", "carrel@gateway", "lambda@operator"} {
		audience, listener, _ := strings.Cut(door, "@")
		d.at[door] = credential.NewBearerVerifier(credential.BearerConfig{Tokens: d.ring, Proofs: d.proofs, Listener: listener, Audience: audience})
	}
	return d
}

func (d *doors) token(t testing.TB, door string, holder ed25519.PublicKey) string {
	audience, listener, _ := strings.Cut(door, "@")
	s, err := d.ring.IssueBearer(&token.Claims{
		Principal: call.Principal{
			Type: call.TypeUser, ARN: "arn:aws:iam::111111111111:user/ann", Account: "111111111111",
			Session: &call.Session{ID: token.NewBearerID(), Issued: signedAt, Expires: signedAt.Add(15 * time.Minute), Caps: []string{"root cap"}},
		},
		Audience: audience, Listener: listener, Holder: holder,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bearing(scheme, text string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://node.example/v1/x", nil)
	r.Header.Set("Authorization", scheme+" "+text)
	return r
}

// TestA19BearerTokensAreOfOneDoor shows every token to every door.
func TestA19BearerTokensAreOfOneDoor(t *testing.T) {
	t.Parallel()
	d := newDoors()
	for made := range d.at {
		text := d.token(t, made, nil)
		for door, v := range d.at {
			p, err := v.Verify(bearing("Bearer", text), nil)
			if made == door {
				if err != nil || p.ARN != "arn:aws:iam::111111111111:user/ann" || len(p.Session.Caps) != 1 {
					t.Errorf("%s at its own door: %+v, %v", made, p, err)
				}
				continue
			}
			wantCode(t, err, credential.CodeUnrecognizedClient)
		}
	}
	// What is no bearer token is none here either.
	session, err := d.ring.Issue(token.Session, &token.Claims{
		Principal: call.Principal{Account: "1", Session: &call.Session{ID: "ASIA", Issued: signedAt, Expires: signedAt.Add(time.Hour)}}, Secret: "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{session, d.ring.SealMessage("1", "m"), "", "x", "AKIDEXAMPLE"} {
		_, err := d.at["lambda@gateway"].Verify(bearing("Bearer", text), nil)
		wantCode(t, err, credential.CodeUnrecognizedClient)
	}
}

func TestBearerTokensOfKeysNeedTheirKey(t *testing.T) {
	t.Parallel()
	d := newDoors()
	v := d.at["carrel@gateway"]
	public, private, _ := ed25519.GenerateKey(nil)
	text := d.token(t, "carrel@gateway", public)
	_, err := v.Verify(bearing("Bearer", text), nil)
	wantCode(t, err, credential.CodeUnrecognizedClient)
	_, err = v.Verify(bearing("DPoP", d.token(t, "carrel@gateway", nil)), nil)
	wantCode(t, err, credential.CodeUnrecognizedClient)
	_, err = v.Verify(bearing("DPoP", text), nil)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)

	prove := func(nonce string) *http.Request {
		r := bearing("DPoP", text)
		r.Header.Set(token.ProofHeader, token.Prove(private, r, nil, token.ProofInput{Token: text, Nonce: nonce, Now: d.now}))
		return r
	}
	_, err = v.Verify(prove(""), nil)
	wantCode(t, err, credential.CodeUseNonce)
	if _, err := v.Verify(prove(v.Nonce()), nil); err != nil {
		t.Errorf("the holder's own request: %v", err)
	}
	_, err = v.Verify(prove(v.Nonce()), []byte("another body"))
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
}

func TestBearerRequestsHaveOneCredential(t *testing.T) {
	t.Parallel()
	d := newDoors()
	v := d.at["carrel@gateway"]
	text := d.token(t, "carrel@gateway", nil)
	two := bearing("Bearer", text)
	two.Header.Add("Authorization", "AWS4-HMAC-SHA256 x")
	_, err := v.Verify(two, nil)
	wantCode(t, err, credential.CodeUnrecognizedClient)
	query := bearing("Bearer", text)
	query.URL.RawQuery = "X-Amz-Signature=00"
	_, err = v.Verify(query, nil)
	wantCode(t, err, credential.CodeUnrecognizedClient)
	for value, want := range map[string]bool{"Bearer x": true, "bearer x": true, "DPoP x": true, "Basic x": false, "AWS4-HMAC-SHA256 x": false, "": false, "Bearerx": false} {
		if got := credential.HasBearer(&http.Request{Header: http.Header{"Authorization": {value}}}); got != want {
			t.Errorf("HasBearer of %q: %v", value, got)
		}
	}
}

func TestBearerErrorsDoNotRepeatTheToken(t *testing.T) {
	t.Parallel()
	d := newDoors()
	text := d.token(t, "lambda@gateway", nil)
	d.now = signedAt.Add(15 * time.Minute)
	_, err := d.at["lambda@gateway"].Verify(bearing("Bearer", text), nil)
	wantCode(t, err, credential.CodeExpiredToken)
	_, other := d.at["carrel@gateway"].Verify(bearing("Bearer", text+"x"), nil)
	for _, err := range []error{err, other} {
		if s := fmt.Sprintf("%v %+v %s", err, err, slog.AnyValue(err)); strings.Contains(s, text[20:60]) {
			t.Errorf("the error repeats the token: %s", s)
		}
	}
}
