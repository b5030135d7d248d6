package control

import (
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// Subject implements iam.Directory. A user is there as long as it exists and
// the key that was used is active; a session as long as the role or user that
// it was made from is, and is not another one of the same name.
func (s *Service) Subject(p *call.Principal) (*iam.Subject, bool) {
	in, found := s.ix.identities.get(p.Account)
	if !found {
		return nil, false
	}
	around := directory.Around{Shared: s.shared(), Levels: s.levels, Management: p.Account == s.management}
	if p.Session == nil {
		k, found := s.ix.keys.get(p.AccessKeyID)
		if !found || p.Type != call.TypeUser || k.Record.Account != p.Account || !s.KeyActive(p.AccessKeyID) {
			return nil, false
		}
		u, found := in.UserOf(k.Record)
		if !found || u.Record.ARN != p.ARN {
			return nil, false
		}
		return in.UserSubject(s.compiler, u, around)
	}
	switch p.Type {
	case call.TypeRole:
		r, found := in.Role(p.Session.Issuer)
		if !found || r.Record.UID != p.Session.IssuerUID {
			return nil, false
		}
		return in.RoleSubject(s.compiler, r, around)
	case call.TypeUser, call.TypeFederated:
		u, found := in.User(p.Session.Issuer)
		if !found || u.Record.UID != p.Session.IssuerUID {
			return nil, false
		}
		return in.UserSubject(s.compiler, u, around)
	case call.TypeService, call.TypeAnonymous:
	}
	return nil, false
}

// Object implements iam.Directory: roles have their trust policies.
func (s *Service) Object(owner tenant.AccountID, resource string) iam.Object {
	o := iam.Object{RCPs: s.levels.RCPs, OrgPath: s.levels.OrgPath}
	in, found := s.ix.identities.get(owner)
	if !found || !strings.HasPrefix(resource, "arn:aws:iam:") {
		return o
	}
	if u, found := in.User(resource); found {
		o.Tags = u.Record.Tags
		return o
	}
	r, found := in.Role(resource)
	if !found {
		return o
	}
	o.Tags, o.TrustOnly, o.Policy = r.Record.Tags, true, s.trustOf(r.Record)
	return o
}

// trustOf gives a role's trust policy; one that allows nothing where it cannot
// be read. A user or role that was deleted since it was named, and maybe made
// anew under its name, is no longer trusted: its ARN is taken out of what allows.
func (s *Service) trustOf(r *directory.Role) *policy.Set {
	doc, ok := s.compiler.Parse(policy.Trust, r.Trust)
	if !ok {
		return policy.Compile()
	}
	stale := map[string]bool{}
	for arn, uid := range r.TrustIDs {
		if now, _, found := directory.PrincipalID(arn, s.ix.identities.get); !found || now != uid {
			stale[arn] = true
		}
	}
	if len(stale) > 0 {
		doc = without(doc, stale)
	}
	return policy.Compile(policy.Source{Name: "trust policy of " + r.Name, Document: doc})
}

// without gives a trust policy without some ARNs in the statements that allow.
func without(doc *policy.Document, stale map[string]bool) *policy.Document {
	changed := *doc
	changed.Statements = slices.Clone(doc.Statements)
	for i := range changed.Statements {
		st := &changed.Statements[i]
		if st.Effect != policy.Allow || st.Principals == nil {
			continue
		}
		left := *st.Principals
		left.AWS = slices.DeleteFunc(slices.Clone(left.AWS), func(arn string) bool { return stale[arn] })
		st.Principals = &left
	}
	return &changed
}

// Managed implements iam.Directory.
func (s *Service) Managed(arn string) (*policy.Document, bool) {
	in := s.identitiesOf(directory.AccountIn(arn))
	p, found := in.Managed(arn, s.shared())
	if !found {
		return nil, false
	}
	return s.compiler.Parse(policy.Identity, p.Text())
}
