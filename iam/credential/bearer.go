package credential

import (
	"errors"
	"net/http"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/tenant"
)

// BearerConfig says what a BearerVerifier accepts. All fields are needed.
type BearerConfig struct {
	Tokens *token.Ring
	Proofs *token.Proofs
	// Listener is the name of the listener that requests come in at.
	Listener string
	// Audience is the API that they are for, as the name of its service.
	Audience string
}

// BearerVerifier verifies requests with a bearer token in Authorization: of
// the scheme Bearer, or, where the token is bound to a key, of the scheme DPoP
// with a proof of possession (package token). It is safe for concurrent use.
type BearerVerifier struct{ cfg BearerConfig }

// NewBearerVerifier makes a BearerVerifier. It panics where something is
// missing: a verifier that cannot refuse must not start.
func NewBearerVerifier(cfg BearerConfig) *BearerVerifier {
	if cfg.Tokens == nil || cfg.Proofs == nil || cfg.Listener == "" || cfg.Audience == "" {
		panic("credential: BearerConfig is not complete")
	}
	return &BearerVerifier{cfg}
}

// HasBearer tells whether a request names a bearer token, genuine or not.
func HasBearer(r *http.Request) bool {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return false
	}
	_, _, found := bearerOf(values[0])
	return found
}

// bearerOf gives scheme and token of an Authorization header.
func bearerOf(value string) (bound bool, text string, found bool) {
	scheme, text, _ := strings.Cut(value, " ")
	switch {
	case equalFold(scheme, "Bearer"):
		return false, strings.Trim(text, " "), true
	case equalFold(scheme, token.ProofScheme):
		return true, strings.Trim(text, " "), true
	}
	return false, "", false
}

// Account gives the account of the token that a request names, if it is a
// genuine one. It says nothing of who sent it.
func (v *BearerVerifier) Account(r *http.Request) (tenant.AccountID, bool) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	_, text, _ := bearerOf(values[0])
	c, err := v.cfg.Tokens.OpenBearer(text)
	if err != nil {
		return "", false
	}
	return c.Principal.Account, true
}

// Verify gives the principal of the token, with its caps in the Session. The
// body is under the proof of a bound token.
//
// Errors: fault.Unauthenticated; fault.Throttled where the account sends too
// many proofs.
func (v *BearerVerifier) Verify(r *http.Request, body []byte) (call.Principal, error) {
	values := headerValues(r.Header, "Authorization")
	if len(values) != 1 || strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") {
		return call.Principal{}, badToken("the request has a bearer token and another credential.").
			WithRemedy("Send one of them.")
	}
	bound, text, _ := bearerOf(values[0])
	c, err := v.cfg.Tokens.OpenBearer(text)
	switch {
	case errors.Is(err, token.ErrExpired):
		return call.Principal{}, expired(c.Principal.Session.Expires)
	case err != nil:
		return call.Principal{}, badToken("the bearer token is not valid.").WithRemedy("Make a new one with carrel token create.")
	case c.Audience != v.cfg.Audience || c.Listener != v.cfg.Listener:
		return call.Principal{}, badToken("the bearer token is for the API %q at the listener %q, not for this one.", clip(c.Audience), clip(c.Listener)).
			WithRemedy("Make one for %q with carrel token create --audience %[1]s.", v.cfg.Audience)
	case bound != (c.Holder != nil):
		return call.Principal{}, wrongScheme(c.Holder != nil)
	case bound:
		if err := v.cfg.Proofs.Check(r, body, text, c); err != nil {
			return call.Principal{}, unproved(err)
		}
	}
	return c.Principal, nil
}

// Bound tells whether a request names a token that is bound to a key.
func (v *BearerVerifier) Bound(r *http.Request) bool {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return false
	}
	bound, _, found := bearerOf(values[0])
	return found && bound
}

// Nonce is what the proof of the client's next request has to have; every
// answer to a request of the scheme DPoP carries it in token.NonceHeader.
func (v *BearerVerifier) Nonce() string { return v.cfg.Proofs.Nonce() }

const opBearer = "credential.BearerVerifier.Verify"

// CodeUseNonce is for a proof that lacks the node's present nonce: the client
// takes it from the answer and sends the request again (RFC 9449, 8).
const CodeUseNonce = "use_dpop_nonce"

func badToken(format string, args ...any) *fault.Error {
	return fault.New(opBearer, fault.Unauthenticated, format, args...).WithCode(CodeUnrecognizedClient)
}

func wrongScheme(bound bool) *fault.Error {
	if bound {
		return badToken("the bearer token is bound to a key, and the request does not prove to be its holder's.").
			WithRemedy("Send it in the scheme DPoP with a proof.")
	}
	return badToken("the bearer token is bound to no key.").WithRemedy("Send it in the scheme Bearer.")
}

func unproved(err error) error {
	switch {
	case errors.Is(err, token.ErrNonce):
		return fault.Wrap(opBearer, fault.Unauthenticated, err, "the proof does not have this node's present nonce.").WithCode(CodeUseNonce).
			WithRemedy("Take the nonce from the header DPoP-Nonce of this answer.")
	case errors.Is(err, token.ErrBusy):
		return fault.Wrap(opBearer, fault.Throttled, err, "the account sends more proved requests than can be remembered.")
	}
	return fault.Wrap(opBearer, fault.Unauthenticated, err, "the proof is not one of this request by the token's holder.").
		WithCode(CodeSignatureDoesNotMatch).WithRemedy("Make a proof for each request, and send it once and at once.")
}
