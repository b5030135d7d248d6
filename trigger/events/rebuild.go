package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// indexConsumer reads the headers of all that waits, at the start. A stream
// that is a work queue takes one such reader only.
const indexConsumer = "carrel-events-index"

func messageID(h *head) string { return h.id + "." + strconv.Itoa(h.attempt) }

// rebuild makes the schedule anew from the headers of the stream's messages.
func (q *Queue) rebuild(ctx context.Context) error {
	found := map[string]*entry{}
	var superseded []uint64
	err := q.eachHeader(ctx, func(e *entry) {
		other := found[e.id]
		if other != nil && other.attempt >= e.attempt {
			superseded = append(superseded, e.seq)
			return
		}
		if other != nil {
			superseded = append(superseded, other.seq)
		}
		found[e.id] = e
	})
	if err != nil {
		return fault.Wrap("events.Open", fault.Unavailable, err, "cannot read the stream of events")
	}
	for _, seq := range superseded {
		// The node died between storing an attempt and deleting the one before.
		if err := q.drop(ctx, seq); err != nil {
			return fault.Wrap("events.Open", fault.Unavailable, err, "cannot delete an attempt that was followed by another")
		}
	}
	now := q.cfg.Now()
	for _, e := range found {
		q.schedule.add(e, now)
	}
	return nil
}

func (q *Queue) eachHeader(ctx context.Context, fn func(*entry)) error {
	if err := q.stream.DeleteConsumer(ctx, indexConsumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	consumer, err := q.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Name: indexConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, MaxAckPending: -1,
		HeadersOnly: true, MemoryStorage: true, InactiveThreshold: 5 * time.Minute,
	})
	if err != nil {
		return err
	}
	for left := consumer.CachedInfo().NumPending; left > 0; {
		batch, err := consumer.Fetch(int(min(left, 1000)), jetstream.FetchContext(ctx))
		if err != nil {
			return err
		}
		got := uint64(0)
		for m := range batch.Messages() {
			got++
			e, err := q.entryOf(m)
			if err != nil {
				q.log.Error("a message among the events is none of ours and is left alone", "subject", m.Subject(), "err", err)
				continue
			}
			fn(e)
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if got == 0 {
			return fmt.Errorf("%d messages did not come", left)
		}
		left -= got
	}
	return q.stream.DeleteConsumer(ctx, indexConsumer)
}

func (q *Queue) entryOf(m jetstream.Msg) (*entry, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	h, err := parseHead(m.Headers().Get(headHeader))
	if err != nil {
		return nil, err
	}
	owner, err := ownerOf(m.Subject())
	if err != nil {
		return nil, err
	}
	size, err := strconv.Atoi(m.Headers().Get("Nats-Msg-Size"))
	if err != nil {
		return nil, err
	}
	return q.newEntry(owner, h, place{meta.Sequence.Stream, size}), nil
}

// ownerOf gives the account's internal id that a subject ends with.
func ownerOf(subject string) (tenant.UID, error) {
	owner, err := tenant.ParseUID(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		return "", err
	}
	if expected, err := bus.EventSubject(owner); err != nil || expected != subject {
		return "", fmt.Errorf("subject %q is none of events", subject)
	}
	return owner, nil
}
