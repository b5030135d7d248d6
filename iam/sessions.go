package iam

import (
	"crypto/sha256"
	"errors"
	"strconv"
	"sync"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/policy"
)

// mostSessionSets bounds how many compiled session policies are kept.
const mostSessionSets = 4096

// sessionSets compiles the policies that sessions bring along and keeps the
// latest: the same few come again with every request of a session.
type sessionSets struct {
	mu    sync.RWMutex
	young map[[sha256.Size]byte]*policy.Set
	old   map[[sha256.Size]byte]*policy.Set
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
func (s *sessionSets) bounds(d Directory, session *call.Session) (*policy.Set, error) {
	if len(session.Managed) == 0 && len(session.Policies) == 1 {
		return s.compiled("session policy", session.Policies[0])
	}
	var sources []policy.Source
	for i, text := range session.Policies {
		doc, _, err := policy.Parse(policy.Session, []byte(text))
		if err != nil {
			return nil, err
		}
		sources = append(sources, policy.Source{Name: "session policy " + strconv.Itoa(i+1), Document: doc})
	}
	// Managed policies may change while the session lasts.
	for _, arn := range session.Managed {
		doc, found := d.Managed(arn)
		if !found {
			return nil, errNoPolicy
		}
		sources = append(sources, policy.Source{Name: arn, Document: doc})
	}
	return policy.Compile(sources...), nil
}

func (s *sessionSets) compiled(name, text string) (*policy.Set, error) {
	digest := sha256.Sum256([]byte(name + "\x00" + text))
	s.mu.RLock()
	set, found := s.young[digest]
	if !found {
		set, found = s.old[digest]
	}
	s.mu.RUnlock()
	if found {
		return set, nil
	}
	doc, _, err := policy.Parse(policy.Session, []byte(text))
	if err != nil {
		return nil, err
	}
	set = policy.Compile(policy.Source{Name: name, Document: doc})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || len(s.young) >= mostSessionSets/2 {
		s.young, s.old = map[[sha256.Size]byte]*policy.Set{}, s.young
	}
	s.young[digest] = set
	return set, nil
}
