// Package caller makes the principal of a request out of what its credential
// proved and how it reached the node. All APIs of the node use it, so that
// decisions see the same caller at each of them.
package caller

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/tenant"
)

// Keys finds out whose a long-lived access key is.
type Keys interface {
	// Principal gives who an access key stands for; false if it is of nobody.
	Principal(accessKeyID string) (call.Principal, bool)
}

// Of gives the principal of a request that an identity was verified of: the
// user of a long-lived key, or the holder of temporary credentials. It is
// false for a key that has become nobody's.
func Of(r *http.Request, id *credential.Identity, keys Keys) (call.Principal, bool) {
	if id.Holder != nil {
		p := *id.Holder
		p.Origin = Origin(r)
		return p, true
	}
	p, known := keys.Principal(id.KeyID)
	if !known || p.Account != id.Account {
		return call.Principal{}, false
	}
	p.Origin = Origin(r)
	return p, true
}

// maxUserAgent bounds what is kept of a User-Agent, in bytes.
const maxUserAgent = 512

// Origin is how a request reached the node. The address is the peer's: what a
// proxy says of whom it speaks for is not believed, and was deleted.
func Origin(r *http.Request) call.Origin {
	o := call.Origin{TLS: r.TLS != nil, UserAgent: r.UserAgent()}
	if len(o.UserAgent) > maxUserAgent {
		o.UserAgent = o.UserAgent[:maxUserAgent]
	}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		o.IP = at.Addr().Unmap()
	}
	return o
}

// Bearer verifies the bearer token of a request and gives its principal, and
// tells the client the nonce that its next proof needs. Without a verifier
// no such token is taken.
//
// Errors: as of credential.BearerVerifier.Verify.
func Bearer(w http.ResponseWriter, r *http.Request, v *credential.BearerVerifier, body []byte) (call.Principal, error) {
	if v.Bound(r) {
		w.Header().Set(token.NonceHeader, v.Nonce())
	}
	p, err := v.Verify(r, body)
	if err != nil {
		return call.Principal{}, err
	}
	p.Origin = Origin(r)
	return p, nil
}

// Claims finds out whose a credential is said to be.
type Claims struct {
	Keys Keys
	// Sessions opens security tokens; nil takes none.
	Sessions credential.Sessions
	// Bearers knows bearer tokens; nil takes none.
	Bearers *credential.BearerVerifier
}

// Account gives the account of the credential that a request names; false if
// there is none such. It proves nothing: it says whose share of memory a large
// body may take, and that one under a credential that does not exist takes
// none.
func (c Claims) Account(r *http.Request) (tenant.AccountID, bool) {
	if c.Bearers != nil && credential.HasBearer(r) {
		return c.Bearers.Account(r)
	}
	query := r.URL.Query()
	text := r.Header.Get("X-Amz-Security-Token")
	if text == "" {
		text = query.Get("X-Amz-Security-Token")
	}
	if text != "" {
		if c.Sessions == nil {
			return "", false
		}
		key, found := c.Sessions.Session(text)
		return key.Account, found
	}
	scope := query.Get("X-Amz-Credential")
	if _, after, found := strings.Cut(r.Header.Get("Authorization"), "Credential="); found {
		scope = after
	}
	id, _, _ := strings.Cut(scope, "/")
	principal, known := c.Keys.Principal(id)
	return principal.Account, known
}
