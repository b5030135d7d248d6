// Package credential verifies who signed a request: AWS Signature Version 4,
// in the Authorization header and in presigned queries.
//
// Verify covers the method, the path, the query, the payload, the host and
// every x-amz-* header that was received: one that is not under the signature
// is a refusal, so nothing that a proxy or an attacker adds can steer a call.
// A request can be replayed verbatim inside its window, as on AWS.
//
// The rules are those of "Create a signed AWS API request" in the IAM User
// Guide and "Authenticating Requests (AWS Signature Version 4)" in the S3 API
// Reference; where clients differ from them, the code says which and why.
//
// Ingress and Guard delete headers that only a trusted proxy could vouch
// for, before anything reads them.
package credential

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/tenant"
)

// Secret is a secret access key. Its printed, logged and formatted forms are
// redacted; convert it with string(s) where the bytes are meant.
type Secret string

const redacted = "[redacted]"

// String gives a placeholder.
func (Secret) String() string { return redacted }

// GoString gives a placeholder, for %#v.
func (Secret) GoString() string { return redacted }

// LogValue gives a placeholder, for log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Status says whether an access key may be used. The zero Status may not.
type Status string

// The states of an access key.
const (
	// Active keys are accepted.
	Active Status = "Active"
	// Inactive keys are answered like unknown ones (AWS's own name).
	Inactive Status = "Inactive"
	// Suspended keys belong to a tenant that is not served at present; only
	// a caller who holds the secret is told.
	Suspended Status = "Suspended"
)

// Key is an access key as the snapshot of control state holds it.
type Key struct {
	// ID is the public access key id, as in AKIDEXAMPLE.
	ID string
	// Secret is the secret access key; an empty one never verifies.
	Secret Secret
	// Account owns the key.
	Account tenant.AccountID
	// Principal is the ARN of the user whose key it is.
	Principal string
	// Status says whether the key may be used.
	Status Status
	// Holder is whom temporary credentials stand for, with their Session; nil
	// for a long-lived key.
	Holder *call.Principal
}

// Lookup finds access keys in memory; a request never waits for a store.
// It is called from many goroutines.
type Lookup interface {
	AccessKey(id string) (Key, bool)
}

// Sessions opens the security tokens that temporary credentials come with.
// It is called from many goroutines.
type Sessions interface {
	// Session gives the key that a token was made with, with its Holder; one
	// that has expired too, so that its holder can be told. It gives false for
	// what is no such token, or was revoked.
	Session(token string) (Key, bool)
}

// Config says what a Verifier accepts.
type Config struct {
	// Region is the only region accepted in a credential scope, but for the
	// global service iam, whose clients always sign for us-east-1.
	Region string
	// Services are the names accepted in a credential scope, as lambda.
	Services []string
	// Lookup finds keys; required.
	Lookup Lookup
	// Sessions opens security tokens; nil refuses them all.
	Sessions Sessions
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// MaxSkew is how far a request's time may be from the clock, both ways,
	// the edge included; 5 minutes if zero.
	MaxSkew time.Duration
}

// DefaultMaxSkew is the skew that a Config without one gets.
const DefaultMaxSkew = 5 * time.Minute

// Identity is what a valid signature proves. It holds no secret.
type Identity struct {
	// KeyID is the access key id that signed.
	KeyID string
	// Account owns that key.
	Account tenant.AccountID
	// Principal is the ARN of the user whose key it is.
	Principal string
	// Service is the service of the credential scope: what it was signed for.
	Service string
	// SignedAt is the time in the signature, UTC, whole seconds.
	SignedAt time.Time
	// SignedHeaders are the headers under the signature.
	SignedHeaders SignedHeaders
	// Presigned tells that the signature was in the query.
	Presigned bool
	// Holder is whom temporary credentials stand for, with their Session; nil
	// for a long-lived key. It is shared and must not be changed.
	Holder *call.Principal
}

// Verifier verifies requests. It is safe for use by many goroutines and
// takes no lock.
type Verifier struct {
	region   string
	services []string
	lookup   Lookup
	sessions Sessions
	now      func() time.Time
	maxSkew  time.Duration
	keys     keyCache
	scratch  sync.Pool
	nobody   Key // stands in for unknown keys, so that they cost the same
}

// New makes a Verifier. It panics without a Lookup or a Region: a verifier
// that cannot refuse must not start.
func New(cfg Config) *Verifier {
	if cfg.Lookup == nil || cfg.Region == "" {
		panic("credential: Config needs Lookup and Region")
	}
	v := &Verifier{
		region:   cfg.Region,
		services: slices.Clone(cfg.Services),
		lookup:   cfg.Lookup,
		sessions: cfg.Sessions,
		now:      cfg.Now,
		maxSkew:  cfg.MaxSkew,
		nobody:   Key{ID: "-", Secret: Secret(rand.Text())},
	}
	if v.now == nil {
		v.now = time.Now
	}
	if v.maxSkew == 0 {
		v.maxSkew = DefaultMaxSkew
	}
	v.scratch.New = func() any { return newScratch() }
	return v
}

// Verify tells who signed r. The body is given apart because its hash is
// under the signature: the caller reads it first, within its own limit. The
// error is a *fault.Error; its kind is Unauthenticated, or Suspended for the
// valid signature of a suspended tenant.
func (v *Verifier) Verify(r *http.Request, body []byte) (Identity, error) {
	s := v.scratch.Get().(*scratch)
	defer v.release(s)

	c, err := s.readClaim(r)
	if err != nil {
		return Identity{}, err
	}
	if err := v.checkScope(c); err != nil {
		return Identity{}, err
	}
	if err := v.checkTime(c); err != nil {
		return Identity{}, err
	}
	if err := s.collectHeaders(r, c); err != nil {
		return Identity{}, err
	}
	if err := s.hashPayload(c, body); err != nil {
		return Identity{}, err
	}
	if err := s.preparePath(r, c); err != nil {
		return Identity{}, err
	}

	key, known := v.find(c)
	known = known && key.ID == c.keyID && key.Secret != "" && (key.Status == Active || key.Status == Suspended)
	if !known {
		key = v.nobody
	}
	matches := s.matches(v.keys.signer(key, c), r.Method, c)
	switch {
	case !known:
		return Identity{}, unrecognized()
	case !matches:
		return Identity{}, mismatch()
	case key.Status == Suspended:
		return Identity{}, suspended()
	case key.Holder != nil && !v.now().Before(key.Holder.Session.Expires):
		return Identity{}, expired(key.Holder.Session.Expires)
	}
	return Identity{
		KeyID: key.ID, Account: key.Account, Principal: key.Principal,
		Service: c.service, SignedAt: c.at,
		SignedHeaders: c.signedHeaders, Presigned: c.presigned, Holder: key.Holder,
	}, nil
}

// find gives the key that the claim names: of a session if it has a token,
// and a long-lived one only if it has none. Each is told by what it is, so
// that neither is taken in the place of the other.
func (v *Verifier) find(c *claim) (Key, bool) {
	if !c.hasToken {
		key, found := v.lookup.AccessKey(c.keyID)
		return key, found && key.Holder == nil
	}
	if v.sessions == nil {
		return Key{}, false
	}
	key, found := v.sessions.Session(c.token)
	return key, found && key.Holder != nil && key.Holder.Session != nil
}

// globalService signs for globalRegion wherever it is: IAM has one endpoint
// for the partition, and SDKs sign for it whatever region is configured.
const (
	globalService = "iam"
	globalRegion  = "us-east-1"
	serviceS3     = "s3"
)

func (v *Verifier) checkScope(c *claim) error {
	if !slices.Contains(v.services, c.service) {
		return refusal(CodeSignatureDoesNotMatch, "the credential scope names the service %q, which is not served here.", clip(c.service)).
			WithRemedy("Sign for one of %q.", v.services)
	}
	if c.region != v.region && (c.service != globalService || c.region != globalRegion) {
		return refusal(CodeSignatureDoesNotMatch, "the credential scope names the region %q.", clip(c.region)).
			WithRemedy("Sign for region %q.", v.region)
	}
	if c.day != c.amzDate[:len(c.day)] {
		return refusal(CodeSignatureDoesNotMatch, "the date of the credential scope is not the date of the request.").
			WithRemedy("Use the UTC date of X-Amz-Date in the scope.")
	}
	return nil
}

func (v *Verifier) checkTime(c *claim) error {
	now := v.now()
	early, late := c.at.Add(-v.maxSkew), c.at.Add(v.maxSkew)
	if c.presigned {
		late = c.at.Add(c.expires)
	}
	if now.Before(early) || !c.presigned && now.After(late) {
		return refusal(CodeRequestTimeTooSkewed, "the request was signed at %s, the time here is %s; at most %s may lie between.",
			c.amzDate, now.UTC().Format(amzDateForm), v.maxSkew).
			WithRemedy("Set the clock of the client and sign anew.")
	}
	if now.After(late) {
		return refusal(CodeExpiredToken, "the presigned request was valid until %s, the time here is %s.",
			late.UTC().Format(amzDateForm), now.UTC().Format(amzDateForm)).
			WithRemedy("Make a new presigned request.")
	}
	return nil
}
