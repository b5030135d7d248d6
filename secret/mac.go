package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// MAC authenticates bytes for one purpose (HMAC with SHA-256). It is safe for
// concurrent use.
type MAC struct {
	redacted
	key  *key
	pool sync.Pool
}

func newMAC(k *key) *MAC {
	m := &MAC{key: k}
	m.pool.New = func() any { return hmac.New(sha256.New, k.bytes[:]) }
	return m
}

// Sum gives the authentication code of data.
func (m *MAC) Sum(data []byte) (sum [sha256.Size]byte) {
	h := m.pool.Get().(hash.Hash)
	h.Reset()
	h.Write(data)
	h.Sum(sum[:0])
	m.pool.Put(h)
	return sum
}

// Verify tells whether mac is the authentication code of data, in a time that
// does not depend on where they differ.
func (m *MAC) Verify(data, mac []byte) bool {
	sum := m.Sum(data)
	return hmac.Equal(sum[:], mac)
}
