// Package secret holds the keys, and seals everything of a tenant that
// touches the disk.
//
// The root key, read from a file outside the data folder, wraps one
// key-encryption key for each tenant; those wrapped keys lie in a small folder
// beside the root key, never in the message store and never in a backup of
// the data. From a tenant's key come data keys, each named by random bytes
// that stand in front of what it sealed. Without the tenant's key everything
// of that tenant is noise: destroying it deletes the tenant's data wherever
// copies of it lie.
//
// What is sealed is bound to a Label, that is to its owner, kind, id and
// revision. A sealed value that was copied to another tenant's record, to
// another place or to another revision does not open.
//
// If the folder of keys is lost or corrupted, the data of the tenants whose
// files are hit is lost for good; nothing in it can make data open for
// somebody it did not open for before.
package secret

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"regexp"
	"sync"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// Node is the owner of what belongs to the installation itself and to no
// tenant. No tenant's UID has this form. Its key is derived from the root
// key and cannot be destroyed.
const Node tenant.UID = "node"

var (
	// ErrAltered is the cause of an error when sealed bytes are not what was
	// sealed under that label: altered, moved, rolled back, or sealed by
	// another key. It is never the caller's mistake, and worth an alarm.
	ErrAltered = errors.New("the sealed bytes do not belong here")
	// ErrDestroyed is the cause of an error when the owner's key was destroyed.
	ErrDestroyed = errors.New("the key was destroyed")
)

// Kind says what sort of thing is sealed, so that a sealed thing of one kind
// cannot stand in for one of another.
type Kind string

// The kinds.
const (
	Record Kind = "record" // a value in the key-value store
	Code   Kind = "code"   // a package as it was uploaded
	Image  Kind = "image"  // what was made from code: loaded module, compiled code, pristine image
	Event  Kind = "event"  // the payload of an asynchronous call
	Log    Kind = "log"    // lines that a function wrote
	Value  Kind = "value"  // a secret that a tenant entrusted to us
	Object Kind = "object" // an object of a tenant's storage
	Schema Kind = "schema" // what a function's events have to be like
)

// Bounds of a label's texts, in bytes, so that a label stays cheap to bind.
const (
	maxKind = 32
	maxID   = 1024
)

// Label says whose sealed bytes these are and what they are. All of it is
// bound to them; none of it is stored with them, so the reader has to know it.
type Label struct {
	// Owner is the account's internal id, or Node.
	Owner tenant.UID
	// EndTenant is the end tenant's internal id; empty if there is none. End
	// tenants have keys of their own, derived from their account's.
	EndTenant tenant.UID
	// Kind is what sort of thing it is.
	Kind Kind
	// ID says which one of its kind; unique within owner and kind.
	ID string
	// Revision says which state of it; zero for what never changes.
	Revision uint64
}

var partForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

func (l *Label) check(op string) error {
	switch {
	case len(l.Kind) > maxKind || !partForm.MatchString(string(l.Kind)):
		return fault.New(op, fault.Invalid, "%q is not a kind of sealed data.", l.Kind)
	case l.ID == "" || len(l.ID) > maxID:
		return fault.New(op, fault.Invalid, "the id of sealed data has %d bytes; 1 to %d are allowed.", len(l.ID), maxID)
	}
	return nil
}

// appendTo writes the label so that no two labels give the same bytes: every
// text has its length before it.
func (l *Label) appendTo(dst []byte) []byte {
	dst = append(dst, "carrel label 1"...)
	for _, s := range [...]string{string(l.Owner), string(l.EndTenant), string(l.Kind), l.ID} {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
		dst = append(dst, s...)
	}
	return binary.BigEndian.AppendUint64(dst, l.Revision)
}

// Config says where the keys are.
type Config struct {
	// Root is the root key.
	Root *RootKey
	// Keys is the folder of the tenants' wrapped keys. It has to be on a disk
	// and in a place that backups of the data do not take along.
	Keys *os.Root
	// MaxCached is how many accounts' keys are kept unwrapped in memory; zero
	// means 4,096.
	MaxCached int
}

const (
	defaultMaxCached = 4096
	shardCount       = 64
)

// Keeper holds the keys of the installation. It is safe for concurrent use,
// and shows nothing of itself when printed.
type Keeper struct {
	redacted
	root     *key
	node     *account
	wrap     wrapper
	keys     *os.Root
	perShard int
	seed     maphash.Seed
	shards   [shardCount]shard

	fileMu sync.Mutex // one change of the folder at a time
}

type shard struct {
	mu       sync.RWMutex
	accounts map[tenant.UID]*account
}

// Open makes a Keeper of a root key and a folder of wrapped keys. The first
// time it leaves a check value there; afterwards another root key is refused.
func Open(cfg Config) (*Keeper, error) {
	const op = "secret.Open"
	if cfg.Root == nil || cfg.Root.secret == nil || cfg.Keys == nil {
		return nil, fault.New(op, fault.Invalid, "a root key and a folder for tenants' keys are needed.")
	}
	wrap, err := newWrapper(cfg.Root.secret)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot use the root key.")
	}
	if err := checkRoot(cfg.Root.secret, cfg.Keys); err != nil {
		return nil, err
	}
	if cfg.MaxCached <= 0 {
		cfg.MaxCached = defaultMaxCached
	}
	k := &Keeper{
		root:     cfg.Root.secret,
		wrap:     wrap,
		keys:     cfg.Keys,
		perShard: max(1, cfg.MaxCached/shardCount),
		seed:     maphash.MakeSeed(),
	}
	for i := range k.shards {
		k.shards[i].accounts = map[tenant.UID]*account{}
	}
	if k.node, err = newAccount(cfg.Root.secret.derive("node data")); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot use the root key.")
	}
	return k, nil
}

// Seal encrypts plaintext under its owner's key and binds it to the label.
func (k *Keeper) Seal(l Label, plaintext []byte) ([]byte, error) {
	return k.AppendSeal(make([]byte, 0, len(plaintext)+Overhead), l, plaintext)
}

// AppendSeal is Seal that appends to dst, which must not overlap plaintext.
// It adds Overhead bytes to the plaintext's.
func (k *Keeper) AppendSeal(dst []byte, l Label, plaintext []byte) ([]byte, error) {
	const op = "secret.Seal"
	r, err := k.ringOf(op, &l)
	if err != nil {
		return dst, err
	}
	var buf [labelRoom]byte
	return r.seal(dst, plaintext, l.appendTo(buf[:0])), nil
}

// Open decrypts what Seal gave for the same label. Anything else is an error
// whose cause is ErrAltered.
func (k *Keeper) Open(l Label, sealed []byte) ([]byte, error) {
	return k.AppendOpen(make([]byte, 0, max(0, len(sealed)-Overhead)), l, sealed)
}

// AppendOpen is Open that appends to dst, which must not overlap sealed. After
// an error dst is unchanged.
func (k *Keeper) AppendOpen(dst []byte, l Label, sealed []byte) ([]byte, error) {
	const op = "secret.Open"
	r, err := k.ringOf(op, &l)
	if err != nil {
		return dst, err
	}
	var buf [labelRoom]byte
	out, err := r.open(dst, sealed, l.appendTo(buf[:0]))
	if err != nil {
		return dst, sealedError(op, err, &l)
	}
	return out, nil
}

// labelRoom is room for a usual label, in bytes, so that writing one does not
// grow its buffer step by step.
const labelRoom = 256

func sealedError(op string, cause error, l *Label) error {
	if errors.Is(cause, errNewer) {
		return fault.Wrap(op, fault.Unsupported, cause, "a stored %s was written by a newer version.", l.Kind).
			WithRemedy("Run that version.")
	}
	return fault.Wrap(op, fault.Internal, cause, "a stored %s is damaged or was tampered with.", l.Kind)
}

// ringOf finds the data keys that a label's owner uses.
func (k *Keeper) ringOf(op string, l *Label) (*ring, error) {
	if err := l.check(op); err != nil {
		return nil, err
	}
	a, err := k.account(op, l.Owner)
	if err != nil {
		return nil, err
	}
	r, err := a.ring(l.EndTenant)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the label names no end tenant that can be.")
	}
	return r, nil
}

func (k *Keeper) shard(uid tenant.UID) *shard {
	return &k.shards[maphash.String(k.seed, string(uid))%shardCount]
}

// account gives the keys of an owner, from memory or from the folder.
func (k *Keeper) account(op string, uid tenant.UID) (*account, error) {
	if uid == Node {
		return k.node, nil
	}
	s := k.shard(uid)
	s.mu.RLock()
	a := s.accounts[uid]
	s.mu.RUnlock()
	if a != nil {
		return a, nil
	}
	return k.load(op, uid)
}

func (k *Keeper) load(op string, uid tenant.UID) (*account, error) {
	if _, err := tenant.ParseUID(string(uid)); err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "an owner's internal id is malformed.")
	}
	s := k.shard(uid)
	s.mu.Lock() // held while reading, so that a destruction comes before or after
	defer s.mu.Unlock()
	if a := s.accounts[uid]; a != nil {
		return a, nil
	}
	kek, err := k.readKey(op, uid)
	if err != nil {
		return nil, err
	}
	a, err := newAccount(kek)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot use the key of tenant %s.", uid)
	}
	s.put(uid, a, k.perShard)
	return a, nil
}

// put keeps an account's keys, in the place of some other if there are enough.
func (s *shard) put(uid tenant.UID, a *account, most int) {
	makeRoom(s.accounts, most)
	s.accounts[uid] = a
}

// Hide gives a name that stands for text in file names and store keys: equal
// for equal text of one owner and kind, and telling nothing about the text, not
// even whether another owner has the same. 32 characters of a-z and 2-7.
func (k *Keeper) Hide(owner tenant.UID, kind Kind, text string) (string, error) {
	const op = "secret.Hide"
	l := Label{Owner: owner, Kind: kind, ID: "name"}
	if err := l.check(op); err != nil {
		return "", err
	}
	a, err := k.account(op, owner)
	if err != nil {
		return "", err
	}
	var buf [labelRoom]byte
	sum := a.names.Sum(append(l.appendTo(buf[:0]), text...))
	return encoding.EncodeToString(sum[:20]), nil
}

// redacted hides what it is embedded in from every usual way of printing.
type redacted struct{}

const hidden = "[secret]"

// String gives a placeholder.
func (redacted) String() string { return hidden }

// Format writes a placeholder, whatever the verb.
func (redacted) Format(f fmt.State, _ rune) { f.Write([]byte(hidden)) }

// LogValue gives a placeholder.
func (redacted) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText gives a placeholder; JSON and structured logs use it.
func (redacted) MarshalText() ([]byte, error) { return []byte(hidden), nil }
