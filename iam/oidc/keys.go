package oidc

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/dial"
	"github.com/carrel-dev/carrel/tenant"
)

// How long fetched keys are used.
const (
	// fresh is how long they are used without asking again: a key that a
	// provider takes back is good for as long.
	fresh = 15 * time.Minute
	// stale is how long they are used while the provider does not answer.
	stale = time.Hour
	// pause is between two requests to one provider because of a key that is
	// not in its set, or because it did not answer.
	pause = 10 * time.Second
)

// The bounds of what is fetched and kept.
const (
	maxDiscovery = 64 << 10  // bytes
	maxKeySet    = 256 << 10 // bytes
	maxKeys      = 64
	maxSets      = 4_096
	// openPerAccount is how many requests are open because of one account.
	openPerAccount = 4
)

// name is whose provider a set of keys is of. Each account has its own: what
// others do with theirs cannot be noticed.
type name struct {
	account tenant.AccountID
	issuer  string
}

// set is the keys of one provider. Its busy is held while it is read or
// fetched.
type set struct {
	busy    chan struct{}
	keys    []jose.JSONWebKey
	fetched time.Time
	tried   time.Time
	used    time.Time // guarded by cache.mu
}

type cache struct {
	mu   sync.Mutex
	sets map[name]*set
	open map[tenant.AccountID]int
}

func newCache() cache { return cache{sets: map[name]*set{}, open: map[tenant.AccountID]int{}} }

// get gives the set of a name, an empty one at first, and forgets the one that
// was not used for longest if there are too many.
func (c *cache) get(n name, now time.Time) *set {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sets[n]
	if s == nil {
		if len(c.sets) >= maxSets {
			var oldest name
			var since time.Time
			for other, s := range c.sets {
				if since.IsZero() || s.used.Before(since) {
					oldest, since = other, s.used
				}
			}
			delete(c.sets, oldest)
		}
		s = &set{busy: make(chan struct{}, 1)}
		c.sets[n] = s
	}
	s.used = now
	return s
}

// enter counts a request of an account; false if it has too many open.
func (c *cache) enter(a tenant.AccountID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[a] >= openPerAccount {
		return false
	}
	c.open[a]++
	return true
}

func (c *cache) leave(a tenant.AccountID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[a]--; c.open[a] == 0 {
		delete(c.open, a)
	}
}

// keys gives the provider's keys of a name, from memory where it can. A name
// that is not in a fresh set is looked for anew, as providers change their
// keys, but not again and again.
func (v *Verifier) keys(ctx context.Context, p Provider, kid string) ([]jose.JSONWebKey, error) {
	s := v.sets.get(name{p.Account, p.Issuer}, v.cfg.Now())
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return nil, unreachable(ctx.Err())
	}
	now := v.cfg.Now()
	found := named(s.keys, kid)
	if len(found) > 0 && now.Sub(s.fetched) < fresh {
		return found, nil
	}
	if now.Sub(s.tried) >= pause {
		s.tried = now
		// Who asks may go away; others wait for the same answer.
		keys, err := v.fetch(context.WithoutCancel(ctx), p)
		if err == nil {
			s.keys, s.fetched = keys, now
			return named(keys, kid), nil
		}
		if now.Sub(s.fetched) >= stale {
			s.keys = nil
			return nil, unreachable(err)
		}
	}
	if now.Sub(s.fetched) >= stale {
		return nil, unreachable(nil)
	}
	return found, nil
}

func named(keys []jose.JSONWebKey, kid string) (found []jose.JSONWebKey) {
	for i := range keys {
		if keys[i].KeyID == kid {
			found = append(found, keys[i])
		}
	}
	return found
}

func unreachable(err error) error {
	return fault.Wrap(op, fault.Unavailable, err, "The identity provider's discovery document or keys could not be fetched.").WithCode(codeNoReply).
		WithRemedy("Try again; see that the provider's URL is reachable from this node over HTTPS.")
}

// fetch gets discovery document and key set.
func (v *Verifier) fetch(ctx context.Context, p Provider) ([]jose.JSONWebKey, error) {
	if !v.sets.enter(p.Account) {
		return nil, fault.New(op, fault.Unavailable, "the account has too many requests to its providers open")
	}
	defer v.sets.leave(p.Account)
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	err := v.get(ctx, dial.Request{URL: strings.TrimSuffix(p.Issuer, "/") + "/.well-known/openid-configuration", MaxBody: maxDiscovery}, &document)
	if err != nil {
		return nil, err
	}
	if document.Issuer != p.Issuer {
		return nil, fault.New(op, fault.Invalid, "the discovery document is another issuer's")
	}
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := v.get(ctx, dial.Request{URL: document.Keys, MaxBody: maxKeySet}, &list); err != nil {
		return nil, err
	}
	if len(list.Keys) > maxKeys {
		return nil, fault.New(op, fault.Invalid, "the key set holds %d keys; at most %d are read", len(list.Keys), maxKeys)
	}
	return usable(list.Keys), nil
}

// usable gives the public keys that signatures may be checked with. A provider
// may have others beside them, of kinds that we need not know.
func usable(list []json.RawMessage) (keys []jose.JSONWebKey) {
	for _, raw := range list {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.KeyID == "" || !k.Valid() || !k.IsPublic() {
			continue
		}
		for _, a := range algorithms {
			if fits(&k, a) {
				keys = append(keys, k)
				break
			}
		}
	}
	return keys
}

func (v *Verifier) get(ctx context.Context, r dial.Request, into any) error {
	r.Header = map[string][]string{"Accept": {"application/json"}}
	answer, err := v.cfg.Fetch.Get(ctx, r)
	if err != nil {
		return err
	}
	if answer.Status != 200 {
		return fault.New(op, fault.Unavailable, "the provider answered with status %d", answer.Status)
	}
	if err := json.Unmarshal(answer.Body, into); err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the provider's answer is malformed")
	}
	return nil
}
