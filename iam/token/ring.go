// Package token makes and reads what clients hold for us: temporary
// credentials, bearer tokens, credentials of one invocation, and encoded
// authorisation messages.
//
// A token is self-contained: whoever has the node's key can read it, without
// a store. It is sealed with XChaCha20-Poly1305 under a key of the day and of
// the one purpose that it was made for; purpose and day are in the associated
// data too, so that no kind of token is taken where another is expected.
//
// # Keys
//
// The key of a day is derived from the node's secret, so a node needs to keep
// none, reads its tokens after a restart, and shares them with every node that
// has the secret. Tokens live for at most MaxLife, and no key is used for
// longer than that after its day: a stolen key of a day is worth nothing from
// then on, and a token that names any other day is refused unread.
//
// # Bearer tokens
//
// A bearer token is a sealed root block, caps that were appended to it, and
// one tag. The tag of the root block is its HMAC under a key of the day; each
// cap replaces the tag by the HMAC of the cap under the tag before it. So the
// holder can append a cap without asking anybody, and can take none away,
// change none and move none. See also "Macaroons: Cookies with Contextual
// Caveats" (NDSS 2014), where the construction is from.
package token

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// Purpose says what a token is good for. The numbers are part of the format.
type Purpose uint8

// The purposes.
const (
	// Session is for the security token of temporary credentials.
	Session Purpose = iota + 1
	// Bearer is for tokens of plain HTTP clients.
	Bearer
	// Invocation is for credentials that are good while one call runs.
	Invocation
	// Message is for the encoded explanation of a refusal.
	Message
	purposes
)

// prefixes begin the text of a token, so that people and scanners of leaked
// secrets see what it is.
var prefixes = [purposes]string{"", "carrel_st1_", "carrel_bt1_", "carrel_it1_", "carrel_am1_"}

// The bounds of tokens.
const (
	// MaxLife is the longest that any token lives: that of GetSessionToken.
	MaxLife = 36 * time.Hour
	// Skew is how far apart the clocks of nodes may be.
	Skew = time.Minute
	// MaxText bounds the text of a token, in bytes.
	MaxText = 12 << 10
)

// ErrInvalid is the one error of what is no token for the purpose, whatever is
// wrong with it.
var ErrInvalid = errors.New("token: not a valid token")

// PRF derives keys from the node's secret; secret.MAC is one.
type PRF interface {
	// Sum gives 32 bytes that nobody without the secret can tell from random.
	Sum(data []byte) [32]byte
}

// Ring holds the sealing keys. It is safe for concurrent use.
type Ring struct {
	prf PRF
	now func() time.Time

	mu   sync.RWMutex
	keys map[keyName]*dayKey
}

type keyName struct {
	purpose Purpose
	day     uint32
}

// dayKey is the keys of one purpose on one day.
type dayKey struct {
	aead  cipher.AEAD
	chain [32]byte // authenticates root blocks
}

// NewRing makes a Ring of a node's secret and a clock.
func NewRing(prf PRF, now func() time.Time) *Ring {
	return &Ring{prf: prf, now: now, keys: map[keyName]*dayKey{}}
}

// Format gives a placeholder, whatever the verb.
func (*Ring) Format(f fmt.State, _ rune) { io.WriteString(f, "token.Ring [redacted]") }

// LogValue is Format, for log/slog.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Now is the ring's clock.
func (r *Ring) Now() time.Time { return r.now() }

// The sealed form: version, purpose, day, nonce, ciphertext and tag.
const (
	version  = 1
	headSize = 1 + 1 + 4
	overhead = headSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

const label = "carrel token 1 "

func dayOf(t time.Time) uint32 { return uint32(max(t.Unix(), 0) / (24 * 60 * 60)) }

// mostKeys bounds the keys in memory: four purposes on the few days that are
// read at one time.
const mostKeys = 32

func (r *Ring) key(n keyName) *dayKey {
	r.mu.RLock()
	k := r.keys[n]
	r.mu.RUnlock()
	if k != nil {
		return k
	}
	var name [5]byte
	name[0] = byte(n.purpose)
	binary.BigEndian.PutUint32(name[1:], n.day)
	seal := r.prf.Sum(append([]byte(label+"seal "), name[:]...))
	aead, err := chacha20poly1305.NewX(seal[:])
	if err != nil {
		panic("token: XChaCha20-Poly1305 refused a key of 32 bytes: " + err.Error())
	}
	k = &dayKey{aead: aead, chain: r.prf.Sum(append([]byte(label+"chain "), name[:]...))}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) >= mostKeys {
		clear(r.keys)
	}
	r.keys[n] = k
	return k
}

// known tells whether a key of the day may still, or already, be in use.
func (r *Ring) known(day uint32) bool {
	now := r.now()
	return day >= dayOf(now.Add(-MaxLife-Skew)) && day <= dayOf(now.Add(Skew))
}

// seal gives the sealed bytes of a plaintext, and the key of today that they
// are under.
func (r *Ring) seal(p Purpose, plaintext []byte) ([]byte, *dayKey) {
	day := dayOf(r.now())
	out := make([]byte, headSize+chacha20poly1305.NonceSizeX, overhead+len(plaintext))
	out[0], out[1] = version, byte(p)
	binary.BigEndian.PutUint32(out[2:], day)
	rand.Read(out[headSize:]) // never fails (crypto/rand, since Go 1.24)
	k := r.key(keyName{p, day})
	return k.aead.Seal(out, out[headSize:], plaintext, associated(out)), k
}

// open gives the plaintext of what was sealed for the purpose.
func (r *Ring) open(p Purpose, sealed []byte) ([]byte, *dayKey, error) {
	if len(sealed) < overhead || sealed[0] != version || sealed[1] != byte(p) {
		return nil, nil, ErrInvalid
	}
	day := binary.BigEndian.Uint32(sealed[2:])
	if !r.known(day) {
		return nil, nil, ErrInvalid
	}
	k := r.key(keyName{p, day})
	body := headSize + chacha20poly1305.NonceSizeX
	plaintext, err := k.aead.Open(nil, sealed[headSize:body], sealed[body:], associated(sealed))
	if err != nil {
		return nil, nil, ErrInvalid
	}
	return plaintext, k, nil
}

// associated is what a seal is bound to beside its key.
func associated(sealed []byte) []byte {
	return append([]byte(label), sealed[:headSize]...)
}

// text writes a token as text, decode reads it.
func text(p Purpose, raw []byte) string {
	return prefixes[p] + base64.RawURLEncoding.EncodeToString(raw)
}

var strict = base64.RawURLEncoding.Strict()

func decode(p Purpose, s string) ([]byte, error) {
	rest, found := strings.CutPrefix(s, prefixes[p])
	if !found || len(s) > MaxText || strings.ContainsAny(rest, "\r\n") {
		return nil, ErrInvalid
	}
	raw, err := strict.DecodeString(rest)
	if err != nil {
		return nil, ErrInvalid
	}
	return raw, nil
}
