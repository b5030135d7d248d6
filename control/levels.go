package control

import (
	"sync"
	"sync/atomic"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/tenant"
)

// levelCache is the guardrails above each account, made when they are first
// asked for. It holds for one state of the tree and of the policies.
type levelCache struct {
	org     *directory.Org
	shared  *directory.Table[directory.Policy]
	damaged bool
	made    *table[tenant.AccountID, *directory.Levels]
	before  *table[tenant.AccountID, *directory.Levels]
}

// levelMaker keeps the current cache.
type levelMaker struct {
	mu  sync.Mutex // held by who begins another cache
	now atomic.Pointer[levelCache]
}

// levelsOf gives the guardrails above an account: the same value as long as
// nothing changed that they depend on. It is false where they are not known,
// and then nothing is allowed to or in the account. It takes no lock where
// nothing changed.
func (s *Service) levelsOf(id tenant.AccountID) (*directory.Levels, bool) {
	org, shared, damaged := s.ix.org.Load(), s.shared(), s.ix.orgDamaged.Load() > 0
	c := s.levels.now.Load()
	if c == nil || c.org != org || c.shared != shared || c.damaged != damaged {
		c = s.newLevels(org, shared, damaged)
	}
	if l, found := c.made.get(id); found {
		return l, true
	}
	return s.makeLevels(c, id)
}

// newLevels begins a cache for another state.
func (s *Service) newLevels(org *directory.Org, shared *directory.Table[directory.Policy], damaged bool) *levelCache {
	s.levels.mu.Lock()
	defer s.levels.mu.Unlock()
	old := s.levels.now.Load()
	if old != nil && old.org == org && old.shared == shared && old.damaged == damaged {
		return old
	}
	c := &levelCache{org: org, shared: shared, damaged: damaged, made: newTable[tenant.AccountID, *directory.Levels]()}
	if old != nil {
		c.before = old.made
	}
	s.levels.now.Store(c)
	return c
}

func (s *Service) makeLevels(c *levelCache, id tenant.AccountID) (*directory.Levels, bool) {
	way, ok := c.org.Way(id, s.parentOf)
	if !ok || c.damaged {
		return nil, false
	}
	l := c.org.LevelsOf(s.compiler, c.shared, way)
	if id == s.management { // RCPs are for the tenants' resources, as in AWS for the members'
		l.RCPs = nil
	}
	if c.before != nil {
		if was, found := c.before.get(id); found && was.Equal(l) {
			l = was
		}
	}
	c.made.set(id, l)
	return l, true
}

// parentOf gives the account of the tenant above one, empty if there is none;
// false for an account that is not known.
func (s *Service) parentOf(id tenant.AccountID) (tenant.AccountID, bool) {
	a, found := s.ix.accounts.get(id)
	if !found {
		return "", false
	}
	return a.Parent, true
}
