package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"

	streaming "github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/carrel-dev/carrel/tenant"
)

// The form of sealed bytes:
//
//	1 byte   version
//	16 bytes name of the data key
//	12 bytes nonce
//	...      ciphertext
//	16 bytes tag
const (
	sealVersion = 1
	idSize      = 16
	headSize    = 1 + idSize
	// Overhead is how many bytes sealing adds.
	Overhead = headSize + 12 + 16
)

const (
	// maxUses bounds what one data key seals. Random nonces of 96 bits allow
	// 2^32 messages (NIST SP 800-38D, 8.3); 2^28 leave a margin of 2^-40.
	maxUses = 1 << 28
	// maxOld bounds the earlier data keys one ring remembers. Deriving one
	// anew takes microseconds.
	maxOld = 32
)

var errNewer = errors.New("unknown version of the sealed form")

// account is one owner's keys, ready for use.
type account struct {
	own   *ring
	names *MAC
	kek   *key

	mu   sync.RWMutex
	ends map[tenant.UID]*ring // at most maxEnds
}

// maxEnds bounds how many end tenants' rings an account keeps in memory.
const maxEnds = 256

func newAccount(kek *key) (*account, error) {
	own, err := newRing(kek.derive("own"))
	if err != nil {
		return nil, err
	}
	return &account{own: own, names: newMAC(kek.derive("names")), kek: kek, ends: map[tenant.UID]*ring{}}, nil
}

// ring gives the data keys of the account, or of an end tenant of it.
func (a *account) ring(end tenant.UID) (*ring, error) {
	if end == "" {
		return a.own, nil
	}
	a.mu.RLock()
	r := a.ends[end]
	a.mu.RUnlock()
	if r != nil {
		return r, nil
	}
	if _, err := tenant.ParseUID(string(end)); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r = a.ends[end]; r != nil {
		return r, nil
	}
	r, err := newRing(a.kek.derive("end tenant " + string(end)))
	if err != nil {
		return nil, err
	}
	makeRoom(a.ends, maxEnds)
	a.ends[end] = r
	return r, nil
}

// makeRoom forgets entries, whichever come first, until there is room for one
// more. What is forgotten is derived or read anew when it is needed.
func makeRoom[K comparable, V any](m map[K]V, most int) {
	for k := range m {
		if len(m) < most {
			return
		}
		delete(m, k)
	}
}

// keyID names a data key; it is the salt that the key is derived with.
type keyID [idSize]byte

// ring makes data keys of one parent key: a new one at every start and after
// maxUses, and the earlier ones when something they sealed is opened.
type ring struct {
	parent  *key
	stream  *streaming.AESGCMHKDF
	current atomic.Pointer[dataKey]
	mu      sync.RWMutex
	old     map[keyID]*dataKey
}

type dataKey struct {
	id   keyID
	aead cipher.AEAD
	uses atomic.Uint64
}

func newRing(parent *key) (*ring, error) {
	s, err := streaming.NewAESGCMHKDF(parent.derive("stream").bytes[:], "SHA256", keySize, segmentSize, 0)
	if err != nil {
		return nil, err
	}
	r := &ring{parent: parent, stream: s, old: map[keyID]*dataKey{}}
	r.current.Store(r.fresh())
	return r, nil
}

func (r *ring) fresh() *dataKey {
	var id keyID
	rand.Read(id[:])
	return r.derive(id)
}

func (r *ring) derive(id keyID) *dataKey {
	k := r.parent.deriveWith(id[:], "data key")
	block, err := aes.NewCipher(k.bytes[:])
	if err != nil {
		panic("secret: AES refused a key of 32 bytes: " + err.Error())
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("secret: GCM refused AES: " + err.Error())
	}
	return &dataKey{id: id, aead: aead}
}

// seal appends the sealed plaintext to dst. The standard library's GCM is used
// here, as Tink's gives a new slice for each message.
func (r *ring) seal(dst, plaintext, aad []byte) []byte {
	d := r.current.Load()
	if d.uses.Add(1) > maxUses {
		next := r.fresh()
		next.uses.Add(1)
		r.current.CompareAndSwap(d, next)
		d = next
	}
	dst = append(dst, sealVersion)
	dst = append(dst, d.id[:]...)
	return d.aead.Seal(dst, nil, plaintext, aad)
}

// open appends what was sealed to dst.
func (r *ring) open(dst, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrAltered
	}
	if sealed[0] != sealVersion {
		return nil, errors.Join(errNewer, ErrAltered)
	}
	id := keyID(sealed[1:headSize])
	d := r.current.Load()
	if d.id != id {
		d = r.earlier(id)
	}
	out, err := d.aead.Open(dst, nil, sealed[headSize:], aad)
	if err != nil {
		return nil, ErrAltered
	}
	r.remember(d)
	return out, nil
}

func (r *ring) earlier(id keyID) *dataKey {
	r.mu.RLock()
	d := r.old[id]
	r.mu.RUnlock()
	if d == nil {
		d = r.derive(id)
	}
	return d
}

// remember keeps an earlier data key, once it has opened something: names
// that were made up would fill the memory otherwise.
func (r *ring) remember(d *dataKey) {
	if d == r.current.Load() {
		return
	}
	r.mu.RLock()
	_, known := r.old[d.id]
	r.mu.RUnlock()
	if known {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	makeRoom(r.old, maxOld)
	r.old[d.id] = d
}
