package secret

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/carrel-dev/carrel/tenant"
)

// keySize is the size of every key, in bytes.
const keySize = 32

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// key is 256 secret bits, behind two pointers: fmt calls no methods of
// unexported fields, and follows a pointer it meets there if the verb is wrong
// for it, but never a second one.
type key struct{ bytes *[keySize]byte }

func newKey() *key {
	k := &key{bytes: new([keySize]byte)}
	rand.Read(k.bytes[:]) // never fails (crypto/rand, since Go 1.24)
	return k
}

// derive gives the key for a purpose (HKDF with SHA-256, RFC 5869).
func (k *key) derive(purpose string) *key { return k.deriveWith(nil, purpose) }

func (k *key) deriveWith(salt []byte, purpose string) *key {
	b, err := hkdf.Key(sha256.New, k.bytes[:], salt, "carrel 1 "+purpose, keySize)
	if err != nil {
		panic("secret: HKDF refused constant sizes: " + err.Error())
	}
	return &key{bytes: (*[keySize]byte)(b)}
}

// wrapper encrypts tenants' keys under the root key.
type wrapper struct{ aead tink.AEAD }

func newWrapper(root *key) (wrapper, error) {
	a, err := subtle.NewAESGCM(root.derive("wrap").bytes[:])
	return wrapper{a}, err
}

func wrapAAD(uid tenant.UID) []byte { return []byte("carrel tenant key 1 " + string(uid)) }

func (w wrapper) seal(uid tenant.UID, k *key) ([]byte, error) {
	return w.aead.Encrypt(k.bytes[:], wrapAAD(uid))
}

func (w wrapper) open(uid tenant.UID, wrapped []byte) (*key, error) {
	b, err := w.aead.Decrypt(wrapped, wrapAAD(uid))
	if err != nil || len(b) != keySize {
		return nil, ErrAltered
	}
	return &key{bytes: (*[keySize]byte)(b)}, nil
}
