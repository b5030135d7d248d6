package control

import (
	"context"
	"slices"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/store"
)

// write is one record of a change, on the revision the change is based on;
// zero for a new record. A nil record deletes.
type write struct {
	key    store.Key
	last   store.Revision
	record any
}

// The bounds of one change of the authorisation state. It has to fit into one
// record of the store, sealed and as JSON.
const (
	maxBatch      = 64
	maxBatchBytes = 512 << 10
)

// commit makes a change of the authorisation state: users, groups, roles,
// policies, keys, the tree, layouts, shares, resource policies, tenants. All
// such changes go through here and nothing else writes these records. It
// returns when this node's readers see the change.
//
// Several writes are made as a whole, also where the process dies in between,
// except for those of records that decide nothing, such as access keys. The
// change is judged before it is made.
//
// Errors: fault.Denied with the code IsolationViolation or IsolationUnknown
// for a change after which one tenant could reach what is another's;
// fault.Conflict where one of the records changed meanwhile; fault.TooLarge.
func (s *Service) commit(ctx context.Context, writes ...write) error {
	if !slices.ContainsFunc(writes, write.decides) {
		return s.write(ctx, writes)
	}
	if len(writes) > maxBatch {
		return fault.New("control.commit", fault.TooLarge, "The change consists of %d records; %d are the most.", len(writes), maxBatch)
	}
	return s.gate.commit(ctx, writes)
}

// decides tells whether what anybody may do depends on the record. An access
// key only says who somebody is.
func (w write) decides() bool { return familyOf(w.key) != keyFamily }

// write makes a change that need not be judged, record by record.
func (s *Service) write(ctx context.Context, writes []write) error {
	for _, w := range writes {
		var err error
		if w.record == nil {
			err = s.remove(ctx, w.key, w.last)
		} else {
			err = s.save(ctx, w.key, w.last, w.record)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
