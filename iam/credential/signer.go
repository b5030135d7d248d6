package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

// signer is a derived signing key with hash states that were keyed with it,
// so that a request costs one HMAC and not five.
type signer struct {
	id, day, region, service string
	secret                   Secret // what it was derived from
	macs                     sync.Pool
}

// sign appends the HMAC of message to dst.
func (k *signer) sign(dst, message []byte) []byte {
	m := k.macs.Get().(hash.Hash)
	m.Reset()
	m.Write(message) // a hash never fails
	dst = m.Sum(dst)
	k.macs.Put(m)
	return dst
}

const cacheSlots = 4096 // entries of some 1 KB; a collision costs four HMACs

// keyCache holds the latest signers, one per slot, without a lock. Unknown
// keys all share the entry of the stand-in, so they evict nothing.
type keyCache struct {
	once  sync.Once
	seed  maphash.Seed
	slots [cacheSlots]atomic.Pointer[signer]
}

func (kc *keyCache) signer(key Key, c *claim) *signer {
	kc.once.Do(func() { kc.seed = maphash.MakeSeed() })
	var h maphash.Hash
	h.SetSeed(kc.seed)
	for _, part := range [...]string{key.ID, c.day, c.region, c.service} {
		h.WriteString(part)
		h.WriteByte('/') // in none of the parts
	}
	slot := &kc.slots[h.Sum64()%cacheSlots]
	if k := slot.Load(); k != nil && k.id == key.ID && k.day == c.day && k.region == c.region && k.service == c.service &&
		k.secret == key.Secret { // both are ours: nothing to time

		return k
	}
	k := newSigner(key, c)
	slot.Store(k)
	return k
}

// newSigner derives the signing key. Strings of the request are cloned: they
// would keep its whole header in memory.
func newSigner(key Key, c *claim) *signer {
	k := &signer{
		id: key.ID, secret: key.Secret,
		day: strings.Clone(c.day), region: strings.Clone(c.region), service: strings.Clone(c.service),
	}
	derived := []byte("AWS4" + string(key.Secret))
	for _, part := range [...]string{k.day, k.region, k.service, terminator} {
		m := hmac.New(sha256.New, derived)
		m.Write([]byte(part)) // a hash never fails
		derived = m.Sum(nil)
	}
	k.macs.New = func() any { return hmac.New(sha256.New, derived) }
	return k
}
