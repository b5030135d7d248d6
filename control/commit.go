package control

import (
	"context"

	"github.com/carrel-dev/carrel/store"
)

// write is one record of a change, on the revision the change is based on;
// zero for a new record. A nil record deletes.
type write struct {
	key    store.Key
	last   store.Revision
	record any
}

// commit makes a change of the authorisation state: users, groups, roles,
// policies, keys, the tree, layouts, shares, resource policies, tenants. All
// such changes go through here and nothing else writes these records. It
// returns when this node's readers see the change.
func (s *Service) commit(ctx context.Context, writes ...write) error {
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
