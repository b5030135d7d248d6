package iam

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/policy"
)

// mostSessionParts bounds what is kept of compiled session policies: actions,
// resources, conditions' values and the statements around them, of some 300
// bytes each. Ten managed policies have some 4,000 of them.
const mostSessionParts = 200_000

// sessionSets compiles the policies that sessions bring along and keeps the
// latest: the same few come again with every request of a session.
type sessionSets struct {
	mu    sync.RWMutex
	young map[[sha256.Size]byte]sessionSet
	old   map[[sha256.Size]byte]sessionSet
	parts int // of young
}

// sessionSet is a compiled set with the managed policies that it was made of,
// as they were then.
type sessionSet struct {
	set     *policy.Set
	managed []*policy.Document
	parts   int
}

// partsOf counts what a set is made of.
func partsOf(sources []policy.Source) (n int) {
	for _, source := range sources {
		for i := range source.Document.Statements {
			st := &source.Document.Statements[i]
			n += 1 + len(st.Actions) + len(st.Resources)
			for j := range st.Conditions {
				n += 1 + len(st.Conditions[j].Values)
			}
		}
	}
	return n
}

var errNoPolicy = errors.New("iam: a managed policy of the session is gone")

// apply puts a session's policies and caps into an evaluation. An error means
// that one of them cannot be had, and then nothing is allowed.
func (s *sessionSets) apply(d Directory, session *call.Session, e *evaluation) error {
	if len(session.Policies)+len(session.Managed) > 0 {
		set, err := s.bounds(d, session)
		if err != nil {
			return err
		}
		e.layers.Session = set
	}
	for _, text := range session.Caps {
		set, err := s.compiled("cap", text)
		if err != nil {
			return err
		}
		e.caps = append(e.caps, set)
	}
	e.layers.Caps = e.caps
	return nil
}

// bounds gives the session policies as one set: any of them may allow.
// Managed policies may change while the session lasts, and then the set is
// made anew.
func (s *sessionSets) bounds(d Directory, session *call.Session) (*policy.Set, error) {
	if len(session.Managed) == 0 && len(session.Policies) == 1 {
		return s.compiled("session policy", session.Policies[0])
	}
	managed := make([]*policy.Document, len(session.Managed))
	for i, arn := range session.Managed {
		doc, found := d.Managed(arn)
		if !found {
			return nil, errNoPolicy
		}
		managed[i] = doc
	}
	key := digestOf("session", append(slices.Clone(session.Policies), session.Managed...)...)
	if kept, found := s.kept(key); found && slices.Equal(kept.managed, managed) {
		return kept.set, nil
	}
	var sources []policy.Source
	for i, text := range session.Policies {
		doc, _, err := policy.Parse(policy.Session, []byte(text))
		if err != nil {
			return nil, err
		}
		sources = append(sources, policy.Source{Name: "session policy " + strconv.Itoa(i+1), Document: doc})
	}
	for i, doc := range managed {
		sources = append(sources, policy.Source{Name: session.Managed[i], Document: doc})
	}
	set := policy.Compile(sources...)
	s.keep(key, sessionSet{set, managed, partsOf(sources)})
	return set, nil
}

func (s *sessionSets) compiled(name, text string) (*policy.Set, error) {
	key := digestOf(name, text)
	if kept, found := s.kept(key); found {
		return kept.set, nil
	}
	doc, _, err := policy.Parse(policy.Session, []byte(text))
	if err != nil {
		return nil, err
	}
	sources := []policy.Source{{Name: name, Document: doc}}
	set := policy.Compile(sources...)
	s.keep(key, sessionSet{set: set, parts: partsOf(sources)})
	return set, nil
}

// digestOf tells lists of texts apart, which hold no zero bytes.
func digestOf(name string, texts ...string) [sha256.Size]byte {
	return sha256.Sum256([]byte(name + "\x00" + strings.Join(texts, "\x00")))
}

func (s *sessionSets) kept(key [sha256.Size]byte) (sessionSet, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	set, found := s.young[key]
	if !found {
		set, found = s.old[key]
	}
	return set, found
}

func (s *sessionSets) keep(key [sha256.Size]byte, set sessionSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || s.parts >= mostSessionParts/2 {
		s.young, s.old, s.parts = map[[sha256.Size]byte]sessionSet{}, s.young, 0
	}
	s.young[key] = set
	s.parts += set.parts
}
