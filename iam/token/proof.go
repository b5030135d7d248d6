package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/tenant"
)

// A proof of possession shows that a request was made by the holder of the
// key that a bearer token is bound to. It is a DPoP proof of RFC 9449 with the
// algorithm EdDSA and the key Ed25519, and with one claim more, req, because
// RFC 9449 covers neither the query nor the headers nor the body:
//
//	htm    the method
//	htu    the URL without query; its scheme is not looked at, as a proxy may
//	       end TLS
//	iat    when it was made, at most Skew from the node's clock
//	jti    random, taken once
//	ath    the SHA-256 of the token's text
//	nonce  what the node said last in its header DPoP-Nonce
//	req    the SHA-256 of query, headers and body, see requestDigest
//
// The nonce is of one process and one minute, so a proof is worth nothing at
// another node or after a restart; jti makes it worth nothing a second time.
const (
	// ProofHeader carries the proof, NonceHeader the node's nonce.
	ProofHeader = "Dpop"
	NonceHeader = "Dpop-Nonce"
	// ProofScheme is the scheme in Authorization of a bound token.
	ProofScheme = "DPoP"

	maxProof = 2 << 10 // bytes
	// mostProofs bounds the proofs of an account in a minute.
	mostProofs = 60_000
)

// ErrProof is the error of a request that is not proved to be the holder's;
// ErrNonce that of one that needs the node's present nonce, and can be made
// again with it; ErrBusy that of an account with too many requests.
var (
	ErrProof = errors.New("token: the request is not proved to be made by the holder of the token's key")
	ErrNonce = errors.New("token: the proof does not have the node's present nonce")
	ErrBusy  = errors.New("token: too many proved requests of one account in a minute")
)

type proofHeader struct {
	Type      string   `json:"typ"`
	Algorithm string   `json:"alg"`
	Key       proofKey `json:"jwk"`
}

type proofKey struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
}

type proofClaims struct {
	ID      string `json:"jti"`
	Method  string `json:"htm"`
	URL     string `json:"htu"`
	Issued  int64  `json:"iat"`
	Token   string `json:"ath"`
	Nonce   string `json:"nonce"`
	Request string `json:"req"`
}

func headerOf(key ed25519.PublicKey) proofHeader {
	return proofHeader{"dpop+jwt", "EdDSA", proofKey{"OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(key)}}
}

// Prove makes the proof for a request that is about to be sent with a bound
// token. The request's URL, Host and headers are final; the nonce is the last
// one that the node gave, empty at first.
func Prove(key ed25519.PrivateKey, r *http.Request, body []byte, in ProofInput) string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	scheme := r.URL.Scheme
	if scheme == "" {
		scheme = "http"
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	header, _ := json.Marshal(headerOf(key.Public().(ed25519.PublicKey))) // strings always marshal
	claims, _ := json.Marshal(proofClaims{
		ID: rand.Text(), Method: r.Method, URL: scheme + "://" + host + path, Issued: in.Now.Unix(),
		Token: digest([]byte(in.Token)), Nonce: in.Nonce, Request: requestDigest(r, body),
	})
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed)))
}

// ProofInput is what a proof says beside the request.
type ProofInput struct {
	Token string
	Nonce string
	Now   time.Time
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// requestDigest covers what RFC 9449 does not: the query as it was sent, every
// x-amz-* header and Content-Type in the order of their names in lower case,
// and the SHA-256 of the body; a line each.
func requestDigest(r *http.Request, body []byte) string {
	var lines []string
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if !strings.HasPrefix(name, "x-amz-") && name != "content-type" {
			continue
		}
		for _, v := range values {
			lines = append(lines, name+":"+v)
		}
	}
	slices.Sort(lines)
	sum := sha256.Sum256(body)
	return digest([]byte("?" + r.URL.RawQuery + "\n" + strings.Join(lines, "\n") + "\n" + base64.RawURLEncoding.EncodeToString(sum[:])))
}

// Proofs checks proofs and remembers them for as long as they could be used
// again. It is safe for concurrent use.
type Proofs struct {
	now    func() time.Time
	secret [32]byte

	mu      sync.Mutex
	minutes map[int64]map[tenant.AccountID]map[[16]byte]struct{}
}

// NewProofs makes a Proofs. What another one gave as nonce is not taken.
func NewProofs(now func() time.Time) *Proofs {
	p := &Proofs{now: now, minutes: map[int64]map[tenant.AccountID]map[[16]byte]struct{}{}}
	rand.Read(p.secret[:])
	return p
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// Nonce is what a client puts into its next proof.
func (p *Proofs) Nonce() string { return p.nonce(minuteOf(p.now())) }

func (p *Proofs) nonce(minute int64) string {
	m := hmac.New(sha256.New, p.secret[:])
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(minute)))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

// Check tells whether the request was made by the holder of the key that the
// claims name, for the token's text.
//
// Errors: ErrProof, ErrNonce, ErrBusy.
func (p *Proofs) Check(r *http.Request, body []byte, tokenText string, c *Claims) error {
	values := r.Header[ProofHeader]
	if len(values) != 1 || len(values[0]) > maxProof || len(c.Holder) != ed25519.PublicKeySize {
		return ErrProof
	}
	said, err := parseProof(values[0], c.Holder)
	if err != nil {
		return err
	}
	host, path, found := strings.Cut(afterScheme(said.URL), "/")
	now := p.now()
	switch {
	case said.Method != r.Method, !found, host != r.Host, "/"+path != r.URL.EscapedPath(),
		!same(said.Token, digest([]byte(tokenText))), !same(said.Request, requestDigest(r, body)), len(said.ID) < 16, len(said.ID) > 128:
		return ErrProof
	}
	minute := minuteOf(now)
	if !same(said.Nonce, p.nonce(minute)) {
		if minute--; !same(said.Nonce, p.nonce(minute)) {
			return ErrNonce
		}
	}
	if at := time.Unix(said.Issued, 0); at.Before(now.Add(-Skew)) || at.After(now.Add(Skew)) {
		return ErrProof
	}
	return p.once(minute, c.Principal.Account, said.ID)
}

// once takes a proof's id, if it was not taken before.
func (p *Proofs) once(minute int64, account tenant.AccountID, id string) error {
	sum := sha256.Sum256([]byte(id))
	p.mu.Lock()
	defer p.mu.Unlock()
	for m := range p.minutes {
		if m < minuteOf(p.now())-1 {
			delete(p.minutes, m) // its nonce is not taken any more
		}
	}
	accounts := p.minutes[minute]
	if accounts == nil {
		accounts = map[tenant.AccountID]map[[16]byte]struct{}{}
		p.minutes[minute] = accounts
	}
	seen := accounts[account]
	if seen == nil {
		seen = map[[16]byte]struct{}{}
		accounts[account] = seen
	}
	if _, again := seen[[16]byte(sum[:])]; again {
		return ErrProof
	}
	if len(seen) >= mostProofs {
		return ErrBusy
	}
	seen[[16]byte(sum[:])] = struct{}{}
	return nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func afterScheme(url string) string {
	for _, scheme := range [...]string{"https://", "http://"} {
		if rest, found := strings.CutPrefix(url, scheme); found {
			return rest
		}
	}
	return ""
}

// parseProof reads a proof that is signed with the key, which is the token's
// and never the proof's own.
func parseProof(s string, key ed25519.PublicKey) (*proofClaims, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return nil, ErrProof
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = strict.DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return nil, ErrProof
		}
	}
	if !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), raw[2]) {
		return nil, ErrProof
	}
	var h proofHeader
	var c proofClaims
	if !strictJSON(raw[0], &h) || h != headerOf(key) || !strictJSON(raw[1], &c) {
		return nil, ErrProof
	}
	return &c, nil
}

// strictJSON reads one JSON object with known members only.
func strictJSON(b []byte, into any) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(into) != nil {
		return false
	}
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}
