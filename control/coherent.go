package control

import (
	"slices"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
)

// coherent refuses a change after which records do not fit together: two that
// have one name though they are kept under internal ids, or one that names
// what is not there any more.
//
// The operations look at this themselves, with better words for it. But what
// they looked at was this node's view, and another node may have made a change
// since. The gate asks again, when the change of every node is in the view and
// none can come in between.
func (s *Service) coherent(writes []write) error {
	for _, w := range writes {
		s.ix.mu.RLock()
		before := s.ix.records[w.key].T
		s.ix.mu.RUnlock()
		if !s.goesWith(w, before) {
			return written(fault.New("control.commit", fault.Precondition, "another change came first that does not go together with this one"))
		}
	}
	return nil
}

// goesWith tells whether one write of a change goes together with what is there.
// What did not before the change already is let be: it must be possible to put
// it right.
func (s *Service) goesWith(w write, before any) bool {
	switch r := w.record.(type) {
	case directory.User:
		in := s.identitiesOf(r.Account)
		old, _ := before.(*directory.User)
		if old == nil {
			old = &directory.User{}
		}
		return onlyOne(in.Users, w, r.Name) && s.attachable(in, old.Attached, r.Attached) &&
			!slices.ContainsFunc(r.Groups, func(id string) bool {
				_, found := in.Groups.ByID(id)
				return !found && !slices.Contains(old.Groups, id)
			})
	case directory.Group:
		in := s.identitiesOf(r.Account)
		old, _ := before.(*directory.Group)
		if old == nil {
			old = &directory.Group{}
		}
		return onlyOne(in.Groups, w, r.Name) && s.attachable(in, old.Attached, r.Attached)
	case directory.Role:
		old, _ := before.(*directory.Role)
		if old == nil {
			old = &directory.Role{}
		}
		return s.attachable(s.identitiesOf(r.Account), old.Attached, r.Attached)
	case directory.Unit:
		other, taken := unitNamed(s.ix.org.Load(), r.Name)
		return (!taken || other.Key == w.key) && s.isUnit(r.Parent)
	case directory.Placement:
		return s.isUnit(r.Unit)
	case Link:
		other, taken := s.ix.links.get(endName{r.Provider, r.EndTenant})
		return !taken || other.ID == r.ID
	case directory.Guardrails:
		old := s.ix.org.Load().At(r.Target)
		return s.attachable(s.identitiesOf(s.managementAccount()),
			directory.Attached{Managed: slices.Concat(old.SCPs, old.RCPs)}, directory.Attached{Managed: slices.Concat(r.SCPs, r.RCPs)})
	case nil:
		return !s.needed(before)
	}
	return true
}

// onlyOne tells whether nothing else has the name, in letters of any case.
func onlyOne[T any](in *directory.Table[T], w write, name string) bool {
	other, taken := in.Taken(name)
	return !taken || other.Key == w.key
}

// attachable tells whether the policies are there that are attached now and
// were not before.
func (s *Service) attachable(in *directory.Account, before, after directory.Attached) bool {
	shared := s.shared()
	for _, arn := range append(slices.Clone(after.Managed), after.Boundary) {
		if arn == "" || arn == before.Boundary || slices.Contains(before.Managed, arn) {
			continue
		}
		if _, found := in.Managed(arn, shared); !found {
			return false
		}
	}
	return true
}

func (s *Service) isUnit(id string) bool {
	_, found := s.ix.org.Load().Units[id]
	return found || id == directory.RootUnit
}

// needed tells whether something names a record that is to be deleted.
func (s *Service) needed(before any) bool {
	switch r := before.(type) {
	case *directory.Group:
		return len(members(s.identitiesOf(r.Account), r.ID)) > 0
	case *directory.Policy:
		used := len(s.ix.org.Load().AttachedTo(r.ARN)) > 0
		s.usedIn(s.identitiesOf(r.Account), r, func(string, string, bool) { used = true })
		return used
	case *directory.Unit:
		org := s.ix.org.Load()
		for _, u := range org.Units {
			if u.Record.Parent == r.ID {
				return true
			}
		}
		for _, p := range org.Placements {
			if p.Record.Unit == r.ID {
				return true
			}
		}
	}
	return false
}
