// Package jetstream is a store.KV on a stream of NATS JetStream.
//
// It uses the stream directly, not the client's key-value layer: that layer
// lets replicas answer reads, and its watch gives no way to go on from a
// revision. The names of subjects and headers are those of that layer, so that
// NATS's own tools can look into a bucket.
package jetstream

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/store"
)

// How a deletion is marked: a message without a body and with this header.
const (
	operation = "KV-Operation"
	deletion  = "DEL"
)

// Store is a store.KV in one bucket. It is safe for concurrent use.
type Store struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
}

// Open gives the store in a bucket, which must be there (bus.Ensure makes
// it) and must let only its leader answer.
func Open(ctx context.Context, js jetstream.JetStream, bucket bus.Bucket) (*Store, error) {
	const op = "jetstream.Open"
	stream, err := js.Stream(ctx, bucket.StreamName())
	if err != nil {
		return nil, failure(ctx, op, err)
	}
	c := stream.CachedInfo().Config
	if c.AllowDirect || c.MaxMsgsPerSubject != 1 || c.Discard != jetstream.DiscardNew || c.PersistMode != jetstream.DefaultPersistMode {
		return nil, fault.New(op, fault.Internal, "bucket %s has settings under which writes could be lost or reads be old.", bucket)
	}
	return &Store{js: js, stream: stream, prefix: bucket.SubjectPrefix()}, nil
}

// Get gives the key's entry.
func (s *Store) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	const op = "jetstream.Get"
	absent := store.Entry{Key: key}
	if err := usable(ctx, op, key); err != nil {
		return absent, err
	}
	m, err := s.stream.GetLastMsgForSubject(ctx, s.prefix+key.String())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return absent, fault.New(op, fault.NotFound, "no record %s.", key)
	}
	if err != nil {
		return absent, failure(ctx, op, err)
	}
	e := store.Entry{Key: key, Value: m.Data, Revision: store.Revision(m.Sequence)}
	if m.Header.Get(operation) != "" {
		e.Deleted, e.Value = true, nil
		return e, fault.New(op, fault.NotFound, "no record %s.", key)
	}
	return e, nil
}

// Head gives the highest revision below prefix. For the zero Key this takes
// the same time however many keys there are.
func (s *Store) Head(ctx context.Context, prefix store.Key) (store.Revision, error) {
	const op = "jetstream.Head"
	if err := ended(ctx, op); err != nil {
		return 0, err
	}
	if prefix.IsZero() {
		info, err := s.stream.Info(ctx)
		if err != nil {
			return 0, failure(ctx, op, err)
		}
		return store.Revision(info.State.LastSeq), nil
	}
	var head store.Revision
	for _, subject := range s.subjects(prefix) {
		m, err := s.stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, failure(ctx, op, err)
		}
		head = max(head, store.Revision(m.Sequence))
	}
	return head, nil
}

// subjects gives the subjects of a prefix: the key itself and all below it.
func (s *Store) subjects(prefix store.Key) []string {
	if prefix.IsZero() {
		return []string{s.prefix + ">"}
	}
	return []string{s.prefix + prefix.String(), s.prefix + prefix.String() + ".>"}
}

// errListed ends the reading of a list when it is complete.
var errListed = errors.New("complete")

// List calls fn for every key below prefix.
func (s *Store) List(ctx context.Context, prefix store.Key, fn func(store.Entry) error) error {
	const op = "jetstream.List"
	head, err := s.Head(ctx, prefix)
	if err != nil {
		return err
	}
	if head == 0 {
		return nil
	}
	err = s.read(ctx, op, reading{prefix: prefix, fn: func(e store.Entry, pending uint64) error {
		if e.Revision > 0 {
			if err := fn(e); err != nil {
				return err
			}
		}
		// The key that was at head may have been written again since, and then
		// comes later; what is pending then is newer than this list has to be.
		if e.Revision >= head || pending == 0 {
			return errListed
		}
		return nil
	}})
	if errors.Is(err, errListed) {
		return nil
	}
	return err
}

// Watch calls w.Each for every change.
func (s *Store) Watch(ctx context.Context, w store.Watching) error {
	return s.read(ctx, "jetstream.Watch", reading{prefix: w.Prefix, after: w.After, fn: func(e store.Entry, _ uint64) error {
		if e.Revision == 0 {
			return nil
		}
		return w.Each(e)
	}})
}

// reading says what read reads. fn gets each entry and how many more there
// are; it gets an empty entry first if there are none.
type reading struct {
	prefix store.Key
	after  store.Revision
	fn     func(e store.Entry, pending uint64) error
}

// read follows the stream with an ordered consumer, which finds gaps by
// itself and starts anew behind the last message it gave.
func (s *Store) read(ctx context.Context, op string, r reading) error {
	if err := ended(ctx, op); err != nil {
		return err
	}
	config := jetstream.OrderedConsumerConfig{FilterSubjects: s.subjects(r.prefix), DeliverPolicy: jetstream.DeliverAllPolicy}
	if r.after > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, uint64(r.after)+1
	}
	consumer, err := s.stream.OrderedConsumer(ctx, config)
	if err != nil {
		return failure(ctx, op, err)
	}
	if consumer.CachedInfo().NumPending == 0 {
		if err := r.fn(store.Entry{}, 0); err != nil {
			return err
		}
	}
	messages, err := consumer.Messages()
	if err != nil {
		return failure(ctx, op, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return failure(ctx, op, err)
		}
		e, pending, err := s.entry(m)
		if err != nil {
			return fault.Wrap(op, fault.Internal, err, "the bucket holds a message that is no record.")
		}
		if err := r.fn(e, pending); err != nil {
			return err
		}
	}
}

func (s *Store) entry(m jetstream.Msg) (store.Entry, uint64, error) {
	meta, err := m.Metadata()
	if err != nil {
		return store.Entry{}, 0, err
	}
	key, err := store.ParseKey(strings.TrimPrefix(m.Subject(), s.prefix))
	if err != nil {
		return store.Entry{}, 0, err
	}
	e := store.Entry{Key: key, Value: m.Data(), Revision: store.Revision(meta.Sequence.Stream)}
	if m.Headers().Get(operation) != "" {
		e.Deleted, e.Value = true, nil
	}
	return e, meta.NumPending, nil
}

// Create writes a key that has no value.
func (s *Store) Create(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	const op = "jetstream.Create"
	revision, err := s.write(ctx, op, change{key: key, value: value})
	if !fault.Is(err, fault.Precondition) {
		return revision, err
	}
	e, err := s.Get(ctx, key)
	if fault.Is(err, fault.NotFound) {
		revision, err = s.write(ctx, op, change{key: key, value: value, last: e.Revision})
	}
	if err == nil && revision == 0 || fault.Is(err, fault.Precondition) {
		return 0, fault.New(op, fault.Conflict, "record %s exists already.", key)
	}
	return revision, err
}

// Update writes a key whose last revision is the given one.
func (s *Store) Update(ctx context.Context, key store.Key, value []byte, last store.Revision) (store.Revision, error) {
	return s.write(ctx, "jetstream.Update", change{key: key, value: value, last: last})
}

// Delete removes a key whose last revision is the given one.
func (s *Store) Delete(ctx context.Context, key store.Key, last store.Revision) (store.Revision, error) {
	const op = "jetstream.Delete"
	if last == 0 {
		return 0, fault.New(op, fault.Precondition, "record %s is not at revision 0.", key)
	}
	return s.write(ctx, op, change{key: key, last: last, deleted: true})
}

type change struct {
	key     store.Key
	value   []byte
	last    store.Revision
	deleted bool
}

func (s *Store) write(ctx context.Context, op string, c change) (store.Revision, error) {
	if err := usable(ctx, op, c.key); err != nil {
		return 0, err
	}
	if len(c.value) > store.MaxValue {
		return 0, fault.New(op, fault.TooLarge, "record %s has %d bytes; %d are allowed.", c.key, len(c.value), store.MaxValue)
	}
	m := nats.NewMsg(s.prefix + c.key.String())
	m.Data = c.value
	if c.deleted {
		m.Header.Set(operation, deletion)
	}
	ack, err := s.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(uint64(c.last)), jetstream.WithExpectStream(s.stream.CachedInfo().Config.Name))
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return 0, fault.Wrap(op, fault.Precondition, err, "record %s is not at revision %d.", c.key, c.last)
	}
	if err != nil {
		return 0, failure(ctx, op, err)
	}
	return store.Revision(ack.Sequence), nil
}

func usable(ctx context.Context, op string, key store.Key) error {
	if key.IsZero() {
		return fault.New(op, fault.Invalid, "the key of a record is empty.")
	}
	return ended(ctx, op)
}

func ended(ctx context.Context, op string) error {
	if ctx.Err() == nil {
		return nil
	}
	return fault.Wrap(op, fault.Timeout, context.Cause(ctx), "the time for it was over.")
}

// failure gives a failure of the server a kind. That ctx ended comes first:
// whatever else went wrong may only follow from that.
func failure(ctx context.Context, op string, err error) error {
	if over := ended(ctx, op); over != nil {
		return over
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
		return fault.Wrap(op, fault.Unavailable, err, "the store did not answer in time.")
	}
	return fault.Wrap(op, fault.Unavailable, err, "the store did not answer.")
}
