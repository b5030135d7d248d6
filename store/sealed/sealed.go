// Package sealed is a store.KV around another one that encrypts every value
// and finds what was moved or put back.
//
// A value is bound to its owner, its bucket and key, and to the revision that
// it replaced. So the writes of a key form a chain, each naming the one
// before, and
//
//   - a value copied to another key or owner does not open;
//   - a value that is written again later names too early a predecessor, which
//     a process that has seen a later one refuses.
//
// What it cannot find: the whole folder put back while no process runs, and
// that a record was deleted by somebody who can write to the files. The audit
// log shows both.
package sealed

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"sync"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// ErrRollback is the cause of an error when a record is an earlier one than
// this process has seen under the key. It is worth an alarm.
var ErrRollback = errors.New("the record was put back to an earlier one")

// Sealer seals and opens; *secret.Keeper is one.
type Sealer interface {
	Seal(l secret.Label, plaintext []byte) ([]byte, error)
	Open(l secret.Label, sealed []byte) ([]byte, error)
}

// Config says how values are sealed.
type Config struct {
	// Sealer seals.
	Sealer Sealer
	// Bucket names the store, so that no value of one store opens in another.
	Bucket string
	// Owner tells whose a key is; nil means OwnerOfSecondPart.
	Owner func(store.Key) (tenant.UID, error)
	// Schema is the version of the values' form that is written. Values of a
	// newer one are refused.
	Schema uint16
	// Upgrade brings a value of an older form to the present one; nil refuses
	// older ones.
	Upgrade func(schema uint16, value []byte) ([]byte, error)
}

// OwnerOfSecondPart takes the second part of a key for the internal id of the
// account that owns the record, or for secret.Node.
func OwnerOfSecondPart(key store.Key) (tenant.UID, error) {
	parts := key.Parts()
	if len(parts) < 2 {
		return "", fault.New("sealed.Owner", fault.Invalid, "key %s does not say whose it is.", key)
	}
	if tenant.UID(parts[1]) == secret.Node {
		return secret.Node, nil
	}
	uid, err := tenant.ParseUID(parts[1])
	if err != nil {
		return "", fault.Wrap("sealed.Owner", fault.Invalid, err, "key %s does not say whose it is.", key)
	}
	return uid, nil
}

// The form of a stored value: a byte of version, the revision that it
// replaced, and the sealed bytes of its schema and the value.
const (
	version    = 1
	headSize   = 1 + 8
	schemaSize = 2
)

// Overhead is how many bytes a stored value has more than the value.
const Overhead = headSize + schemaSize + secret.Overhead

const shardCount = 64

// Store is a store.KV of sealed values. It is safe for concurrent use. It
// remembers some 150 bytes for each key that it has seen.
type Store struct {
	kv     store.KV
	config Config
	seed   maphash.Seed
	shards [shardCount]shard
}

type shard struct {
	mu   sync.Mutex
	seen map[store.Key]link
}

// link is the last write of a key that was seen: its revision, and the
// revision that it replaced.
type link struct{ revision, replaced store.Revision }

// deletion is the link of a deletion. What it replaced is not known, as
// deletions are not sealed; no value can claim to replace itself.
func deletion(revision store.Revision) link { return link{revision, revision} }

// New puts sealing around a store.
func New(kv store.KV, config Config) (*Store, error) {
	const op = "sealed.New"
	if config.Sealer == nil || config.Bucket == "" {
		return nil, fault.New(op, fault.Invalid, "a sealer and the name of a bucket are needed.")
	}
	if config.Owner == nil {
		config.Owner = OwnerOfSecondPart
	}
	s := &Store{kv: kv, config: config, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].seen = map[store.Key]link{}
	}
	return s, nil
}

func (s *Store) shard(key store.Key) *shard {
	return &s.shards[maphash.Comparable(s.seed, key)%shardCount]
}

func (s *Store) last(key store.Key) link {
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.seen[key]
}

func (s *Store) saw(key store.Key, l link) {
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l.revision > sh.seen[key].revision {
		sh.seen[key] = l
	}
}

// follows tells whether a write can be what came after, or is, the last one seen.
func (l link) follows(last link) bool {
	switch {
	case l.replaced >= l.revision:
		return false
	case l.revision == last.revision:
		return l.replaced == last.replaced
	default:
		return l.replaced >= last.revision
	}
}

// Get gives the key's entry, opened. A value that does not belong here, or is
// an earlier one than was seen, is an Internal error; so is a key that lost
// its record without a deletion.
func (s *Store) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	const op = "sealed.Get"
	last := s.last(key) // before the read, which may then only be newer
	e, err := s.kv.Get(ctx, key)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return e, err
	}
	if e.Revision < last.revision {
		return store.Entry{Key: key, Revision: e.Revision}, fault.Wrap(op, fault.Internal, ErrRollback,
			"record %s is at revision %d, after %d.", key, e.Revision, last.revision)
	}
	if err != nil {
		s.saw(key, deletion(e.Revision))
		return e, err
	}
	e = s.open(e, last)
	return e, e.Err
}

// open gives an entry with its value opened, or with the reason why it cannot
// be. last is what was seen of the key before e was read.
func (s *Store) open(e store.Entry, last link) store.Entry {
	const op = "sealed.Open"
	if e.Err != nil {
		return e
	}
	if e.Deleted {
		s.saw(e.Key, deletion(e.Revision))
		return e
	}
	value, l, err := s.unseal(e)
	switch {
	case err != nil:
	case e.Revision >= last.revision && !l.follows(last):
		err = fault.Wrap(op, fault.Internal, ErrRollback, "record %s replaces revision %d, but was at %d.", e.Key, l.replaced, last.revision)
	case l.replaced >= e.Revision:
		err = fault.Wrap(op, fault.Internal, ErrRollback, "record %s at revision %d replaces %d.", e.Key, e.Revision, l.replaced)
	}
	if err != nil {
		return store.Entry{Key: e.Key, Revision: e.Revision, Err: err}
	}
	s.saw(e.Key, l)
	e.Value = value
	return e
}

func (s *Store) unseal(e store.Entry) ([]byte, link, error) {
	const op = "sealed.Open"
	if len(e.Value) < headSize {
		return nil, link{}, fault.Wrap(op, fault.Internal, secret.ErrAltered, "record %s is damaged.", e.Key)
	}
	if e.Value[0] != version {
		return nil, link{}, fault.New(op, fault.Unsupported, "record %s was written by a newer version.", e.Key).WithRemedy("Run that version.")
	}
	l := link{revision: e.Revision, replaced: store.Revision(binary.BigEndian.Uint64(e.Value[1:headSize]))}
	label, err := s.label(e.Key, l.replaced)
	if err != nil {
		return nil, link{}, err
	}
	plain, err := s.config.Sealer.Open(label, e.Value[headSize:])
	if err != nil && !fault.Is(err, fault.Unsupported) {
		// Whatever it is for the sealer, such as no key: the record is there.
		err = fault.Wrap(op, fault.Internal, err, "record %s does not open.", e.Key)
	}
	if err != nil {
		return nil, link{}, err
	}
	if len(plain) < schemaSize {
		return nil, link{}, fault.New(op, fault.Internal, "record %s has no schema version.", e.Key)
	}
	schema, value := binary.BigEndian.Uint16(plain), plain[schemaSize:]
	if schema == s.config.Schema {
		return value, l, nil
	}
	if schema > s.config.Schema || s.config.Upgrade == nil {
		return nil, link{}, fault.New(op, fault.Unsupported, "record %s has form %d; this version knows %d.", e.Key, schema, s.config.Schema).
			WithRemedy("Run the version that wrote it.")
	}
	if value, err = s.config.Upgrade(schema, value); err != nil {
		return nil, link{}, fault.Wrap(op, fault.Internal, err, "record %s of form %d cannot be brought to form %d.", e.Key, schema, s.config.Schema)
	}
	return value, l, nil
}

func (s *Store) label(key store.Key, replaced store.Revision) (secret.Label, error) {
	owner, err := s.config.Owner(key)
	if err != nil {
		return secret.Label{}, err
	}
	return secret.Label{Owner: owner, Kind: secret.Record, ID: s.config.Bucket + "/" + key.String(), Revision: uint64(replaced)}, nil
}

func (s *Store) seal(key store.Key, value []byte, replaced store.Revision) ([]byte, error) {
	if len(value) > store.MaxValue-Overhead {
		return nil, fault.New("sealed.Seal", fault.TooLarge, "record %s has %d bytes; %d are allowed.", key, len(value), store.MaxValue-Overhead)
	}
	label, err := s.label(key, replaced)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, schemaSize+len(value))
	plain = append(binary.BigEndian.AppendUint16(plain, s.config.Schema), value...)
	sealed, err := s.config.Sealer.Seal(label, plain)
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, headSize+len(sealed)), version)
	out = binary.BigEndian.AppendUint64(out, uint64(replaced))
	return append(out, sealed...), nil
}

// Head gives the highest revision below prefix.
func (s *Store) Head(ctx context.Context, prefix store.Key) (store.Revision, error) {
	return s.kv.Head(ctx, prefix)
}

// List calls fn for every key below prefix, with Err set where the value
// cannot be opened.
func (s *Store) List(ctx context.Context, prefix store.Key, fn func(store.Entry) error) error {
	return s.kv.List(ctx, prefix, func(e store.Entry) error { return fn(s.open(e, s.last(e.Key))) })
}

// Watch calls w.Each for every change, with Err set where the value cannot be
// opened.
func (s *Store) Watch(ctx context.Context, w store.Watching) error {
	each := w.Each
	w.Each = func(e store.Entry) error { return each(s.open(e, s.last(e.Key))) }
	return s.kv.Watch(ctx, w)
}

// Create writes a key that has no value.
func (s *Store) Create(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	const op = "sealed.Create"
	e, err := s.Get(ctx, key)
	if err == nil {
		return 0, fault.New(op, fault.Conflict, "record %s exists already.", key)
	}
	if !fault.Is(err, fault.NotFound) {
		return 0, err
	}
	revision, err := s.Update(ctx, key, value, e.Revision)
	if fault.Is(err, fault.Precondition) {
		return 0, fault.Wrap(op, fault.Conflict, err, "record %s exists already.", key)
	}
	return revision, err
}

// Update writes a key whose last revision is the given one.
func (s *Store) Update(ctx context.Context, key store.Key, value []byte, last store.Revision) (store.Revision, error) {
	sealed, err := s.seal(key, value, last)
	if err != nil {
		return 0, err
	}
	revision, err := s.kv.Update(ctx, key, sealed, last)
	if err == nil {
		s.saw(key, link{revision: revision, replaced: last})
	}
	return revision, err
}

// Delete removes a key whose last revision is the given one.
func (s *Store) Delete(ctx context.Context, key store.Key, last store.Revision) (store.Revision, error) {
	revision, err := s.kv.Delete(ctx, key, last)
	if err == nil {
		s.saw(key, deletion(revision))
	}
	return revision, err
}
