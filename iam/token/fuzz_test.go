package token_test

import (
	"crypto/ed25519"
	"net/http"
	"net/url"
	"testing"

	"github.com/carrel-dev/carrel/iam/token"
)

// FuzzTokens has every reader read foreign text: at most one of them takes it,
// and what is taken apart is written again as it was.
func FuzzTokens(f *testing.F) {
	r, _ := newRing()
	texts, open := kinds(f, r)
	for _, text := range texts {
		f.Add(text)
	}
	f.Add(narrowed(f, r, 3).Text())
	f.Add("carrel_bt1_AQ")
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := token.ParseBearer(s); err == nil && b.Text() != s {
			t.Errorf("%q is written again as %q", s, b.Text())
		}
		taken := 0
		for _, read := range open {
			if read(s) == nil {
				taken++
			}
		}
		if taken > 1 {
			t.Errorf("taken as %d kinds: %q", taken, s)
		}
	})
}

// FuzzProof has foreign text as a proof, as its signed part, and as the URL of
// the request.
func FuzzProof(f *testing.F) {
	public, private, _ := ed25519.GenerateKey(nil)
	r, c := newRing()
	proofs := token.NewProofs(c.now)
	claims := bearer()
	claims.Holder = public
	text, err := r.IssueBearer(claims)
	if err != nil {
		f.Fatal(err)
	}
	made := func(path string) *http.Request {
		return &http.Request{Method: "POST", Host: "h", URL: &url.URL{Path: path}, Header: http.Header{}}
	}
	f.Add("/v1/x", token.Prove(private, made("/v1/x"), nil, token.ProofInput{Token: text, Nonce: proofs.Nonce(), Now: noon}))
	f.Add("/", "a.b.c")
	f.Fuzz(func(t *testing.T, path, proof string) {
		rq := made(path)
		rq.Header.Set(token.ProofHeader, proof)
		_ = proofs.Check(rq, nil, text, claims)
		other, _, _ := ed25519.GenerateKey(nil)
		if proofs.Check(rq, nil, text, &token.Claims{Principal: claims.Principal, Holder: other}) == nil {
			t.Errorf("a proof is taken for a new key: %q", proof)
		}
	})
}
