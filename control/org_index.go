package control

import (
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/store"
)

// installOrg takes a change of the tree, of what is attached to it, or of
// layouts and shares.
func (ix *index) installOrg(c store.Item[any], before, after any) {
	if isTree(familyOf(c.Key)) {
		ix.tree++
	}
	change := directory.Change{Key: c.Key, Revision: c.Revision, Before: before, After: after}
	if ix.loading {
		ix.orgLoads = append(ix.orgLoads, change)
		return
	}
	ix.org.Store(ix.org.Load().With(change))
	ix.generation.Add(1)
}

// orgLoaded shows what came in while everything was being loaded.
func (ix *index) orgLoaded() {
	ix.org.Store(ix.org.Load().With(ix.orgLoads...))
	ix.orgLoads = nil
	ix.generation.Add(1)
}

// decodeOrg reads a record of the organisation.
func decodeOrg(f family, value []byte) (any, error) {
	switch f {
	case unitFamily:
		return decodeAs[directory.Unit](value)
	case guardrailFamily:
		return decodeAs[directory.Guardrails](value)
	case placementFamily:
		return decodeAs[directory.Placement](value)
	case acceptedFamily:
		return decodeAs[directory.Accepted](value)
	case layoutFamily:
		return decodeAs[directory.Layout](value)
	case shareFamily:
		return decodeAs[directory.Share](value)
	}
	return decodeAs[generationNumber](value)
}

// isTree tells whether a record that cannot be read leaves it unknown what an
// account is forbidden.
func isTree(f family) bool { return f == unitFamily || f == guardrailFamily || f == placementFamily }

// treeDamage counts a record of the tree that cannot be read, or can be again.
func (ix *index) treeDamage(more bool) {
	defer ix.generation.Add(1)
	if more {
		ix.orgDamaged.Add(1)
		return
	}
	ix.orgDamaged.Add(-1)
}
