package secret

import (
	"github.com/carrel-dev/carrel/fault"
)

// Purpose says what a key of the node is for. Each purpose has a key of its
// own, derived from the root key, that tells nothing about another's.
type Purpose string

// The purposes.
const (
	Journal      Purpose = "journal"       // sealing the node's journal
	Tokens       Purpose = "tokens"        // sealing tokens that clients hold for us
	Artefacts    Purpose = "artefacts"     // authenticating what the compile process made
	RequestSeeds Purpose = "request-seeds" // the random seed of a call, from its request id
	Cursors      Purpose = "cursors"       // authenticating the markers of paged lists
)

const maxPurpose = 64

func (p Purpose) check(op string) error {
	if len(p) > maxPurpose || !partForm.MatchString(string(p)) {
		return fault.New(op, fault.Invalid, "%q is not a purpose of a key.", p)
	}
	return nil
}

// NodeSealer seals what belongs to the node, such as its journal. It is safe
// for concurrent use.
type NodeSealer struct {
	redacted
	ring *ring
}

// NodeSealer gives the sealer for a purpose. What it sealed it opens again
// after a restart.
func (k *Keeper) NodeSealer(p Purpose) (*NodeSealer, error) {
	const op = "secret.NodeSealer"
	if err := p.check(op); err != nil {
		return nil, err
	}
	r, err := newRing(k.root.derive("seal for " + string(p)))
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot make the key for %s.", p)
	}
	return &NodeSealer{ring: r}, nil
}

// Seal appends the sealed plaintext to dst, which must not overlap plaintext.
// The associated data is bound to it, and not stored.
func (s *NodeSealer) Seal(dst, plaintext, aad []byte) []byte {
	return s.ring.seal(dst, plaintext, aad)
}

// Open appends what was sealed with the same associated data to dst, which
// must not overlap sealed. Anything else is an error whose cause is ErrAltered.
func (s *NodeSealer) Open(dst, sealed, aad []byte) ([]byte, error) {
	out, err := s.ring.open(dst, sealed, aad)
	if err != nil {
		return nil, fault.Wrap("secret.NodeSealer.Open", fault.Internal, err, "what the node stored is damaged or was tampered with.")
	}
	return out, nil
}

// Overhead is how many bytes sealing adds.
func (s *NodeSealer) Overhead() int { return Overhead }

// MAC gives the authenticator for a purpose. Its codes are the same after a
// restart.
func (k *Keeper) MAC(p Purpose) (*MAC, error) {
	if err := p.check("secret.MAC"); err != nil {
		return nil, err
	}
	return newMAC(k.root.derive("mac for " + string(p))), nil
}
