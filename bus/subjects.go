// Package bus runs the NATS JetStream server inside the node and names
// everything in it.
//
// Nothing but this node's own code speaks to that server: it listens on no
// socket, tenants and workers have no way to it, and every name in it is made
// by the functions of this file from ids that we drew ourselves. A customer's
// text in a subject could hold '*', '>' or '.', which are operators there.
//
// If the folder is corrupted: control state may be missing or old (sealed
// values that were moved or rolled back are refused by store/sealed, and a
// missing one is shown by the audit log), queued asynchronous calls may be
// lost or run again. Code, keys and the node's journal are not in it.
package bus

import (
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/tenant"
)

// Bucket names a key-value bucket. One bucket holds one family of records,
// so that a snapshot of it can be compared with the bucket's last revision.
type Bucket string

// The buckets.
const (
	// Tenants holds tenants, end tenants and plans.
	Tenants Bucket = "tenant"
	// Identities holds users, roles, access keys and policies.
	Identities Bucket = "identity"
	// Functions holds functions, versions, aliases and their settings.
	Functions Bucket = "function"
	// Nodes holds what a node remembers for itself, such as cursors.
	Nodes Bucket = "node"
)

// Buckets lists every bucket.
func Buckets() []Bucket { return []Bucket{Tenants, Identities, Functions, Nodes} }

// Stream names a stream.
type Stream string

// The streams.
const (
	// Events holds asynchronous calls that wait to be run: one subject a tenant.
	Events Stream = "EVENTS"
	// DeadLetters holds asynchronous calls that were given up: one subject a tenant.
	DeadLetters Stream = "DEAD_LETTERS"
	// Usage holds usage records shipped from the journals: one subject a node.
	Usage Stream = "USAGE"
)

// Streams lists every stream.
func Streams() []Stream { return []Stream{Events, DeadLetters, Usage} }

// Bounds of the streams. A tenant that fills its own queue is refused; it
// takes no room from others.
const (
	// MaxEventsPerTenant is how many messages of one tenant may wait.
	MaxEventsPerTenant = 10_000
	// MaxDeadLettersPerTenant is how many given-up calls are kept; the oldest go first.
	MaxDeadLettersPerTenant = 1_000
	// DeadLetterAge is how long a given-up call is kept, as long as SQS keeps a message.
	DeadLetterAge = 14 * 24 * time.Hour
	// DuplicateWindow is how long a message id is remembered, so that a batch
	// shipped twice after a crash is stored once.
	DuplicateWindow = 10 * time.Minute
)

const (
	eventPrefix  = "carrel.event."
	deadPrefix   = "carrel.dead."
	usagePrefix  = "carrel.usage."
	bucketStream = "KV_" // the prefixes that NATS's own key-value tools expect
	bucketPrefix = "$KV."
)

var nameForm = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// EventSubject is where a tenant's asynchronous calls wait.
func EventSubject(owner tenant.UID) (string, error) { return ownedSubject(eventPrefix, owner) }

// DeadLetterSubject is where a tenant's given-up calls are kept.
func DeadLetterSubject(owner tenant.UID) (string, error) { return ownedSubject(deadPrefix, owner) }

// UsageSubject is where a node's usage records go.
func UsageSubject(node string) (string, error) {
	if !nameForm.MatchString(node) {
		return "", fmt.Errorf("node id %q: need 1 to 64 of a-z, 0-9, '_' and '-'", node)
	}
	return usagePrefix + node, nil
}

func ownedSubject(prefix string, owner tenant.UID) (string, error) {
	if _, err := tenant.ParseUID(string(owner)); err != nil {
		return "", err
	}
	return prefix + string(owner), nil
}

// StreamName is the name of the stream that holds a bucket.
func (b Bucket) StreamName() string { return bucketStream + string(b) }

// SubjectPrefix is what stands before a key in the subject of its messages.
func (b Bucket) SubjectPrefix() string { return bucketPrefix + string(b) + "." }

// Config gives the settings of the stream that holds a bucket: the last value
// of each key only, refusing new ones when full, read through the leader
// (a direct read may be answered by a replica that is behind).
func (b Bucket) Config(replicas int) (jetstream.StreamConfig, error) {
	if !nameForm.MatchString(string(b)) {
		return jetstream.StreamConfig{}, fmt.Errorf("bucket %q: need 1 to 64 of a-z, 0-9, '_' and '-'", string(b))
	}
	return jetstream.StreamConfig{
		Name:              b.StreamName(),
		Subjects:          []string{b.SubjectPrefix() + ">"},
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Replicas:          max(replicas, 1),
		DenyDelete:        true,
		AllowRollup:       true,
		AllowDirect:       false,
		Duplicates:        DuplicateWindow,
	}, nil
}

// Config gives the settings of a stream.
func (s Stream) Config(replicas int) (jetstream.StreamConfig, error) {
	c := jetstream.StreamConfig{
		Name:       string(s),
		Storage:    jetstream.FileStorage,
		Replicas:   max(replicas, 1),
		Duplicates: DuplicateWindow,
	}
	switch s {
	case Events:
		c.Subjects = []string{eventPrefix + "*"}
		c.Retention = jetstream.WorkQueuePolicy
		c.Discard, c.DiscardNewPerSubject = jetstream.DiscardNew, true
		c.MaxMsgsPerSubject = MaxEventsPerTenant
	case DeadLetters:
		c.Subjects = []string{deadPrefix + "*"}
		c.MaxMsgsPerSubject = MaxDeadLettersPerTenant
		c.MaxAge = DeadLetterAge
	case Usage:
		c.Subjects = []string{usagePrefix + "*"}
	default:
		return c, fmt.Errorf("stream %q is not in the table of streams", string(s))
	}
	return c, nil
}
