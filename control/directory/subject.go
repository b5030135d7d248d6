package directory

import (
	"maps"
	"slices"

	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
)

// Levels are the guardrails above an account. They never change: a change of
// the tree or of what is attached to it makes others.
type Levels struct {
	SCPs, RCPs []policy.Level // from the root down
	// OrgPath is the units above the account, as in o-carrel/r-root/ou-emea/.
	OrgPath string
}

// Around is what a subject's account does not hold itself.
type Around struct {
	// Shared are the managed policies of the management account.
	Shared *Table[Policy]
	// Levels are the guardrails above the subject's account; never nil.
	Levels *Levels
	// Management says that the account is the operators' own.
	Management bool
}

// compiled is what was made of a user or role, with what it was made of.
type compiled struct {
	groups           *Table[Group]
	policies, shared *Table[Policy]
	levels           *Levels
	subject          *iam.Subject // nil where a policy cannot be read
}

func (c *compiled) of(a *Account, in Around) bool {
	return c != nil && c.groups == a.Groups && c.policies == a.Policies && c.shared == in.Shared && c.levels == in.Levels
}

// UserSubject gives what is attached to a user of the account. It is made once
// and given again until something changes that it depends on.
//
// It is false where a policy or a group is missing or cannot be read: what is
// denied is not known then, so nothing is allowed.
func (a *Account) UserSubject(c *Compiler, u *Entry[User], in Around) (*iam.Subject, bool) {
	if made := u.compiled.Load(); made.of(a, in) {
		return made.subject, made.subject != nil
	}
	var s *iam.Subject
	if texts, ok := a.UserTexts(u.Record, in.Shared); ok {
		s = subject(c, texts, in)
	}
	if s != nil {
		s.Tags = u.Record.Tags
	}
	u.compiled.Store(&compiled{a.Groups, a.Policies, in.Shared, in.Levels, s})
	return s, s != nil
}

// RoleSubject is UserSubject for a role.
func (a *Account) RoleSubject(c *Compiler, r *Entry[Role], in Around) (*iam.Subject, bool) {
	if made := r.compiled.Load(); made.of(a, in) {
		return made.subject, made.subject != nil
	}
	var s *iam.Subject
	if texts, ok := a.RoleTexts(r.Record, in.Shared); ok {
		s = subject(c, texts, in)
	}
	if s != nil {
		s.Tags, s.Gatekeeper = r.Record.Tags, r.Record.Gatekeeper != ""
	}
	r.compiled.Store(&compiled{a.Groups, a.Policies, in.Shared, in.Levels, s})
	return s, s != nil
}

// Texts are the policies of a principal. Boundary is nil if it has none.
type Texts struct {
	Identity []Text
	Boundary *Text
}

// UserTexts gives the texts of what is attached to a user and to its groups;
// false where one is missing.
func (a *Account) UserTexts(u *User, shared *Table[Policy]) (Texts, bool) {
	t, ok := a.attached(u.Attached, shared, "")
	groups, found := a.GroupsOf(u)
	for _, g := range groups {
		more, all := a.attached(g.Record.Attached, shared, "group/"+g.Record.Name+"/")
		t.Identity, ok = append(t.Identity, more.Identity...), ok && all
	}
	return t, ok && found
}

// RoleTexts is UserTexts for a role.
func (a *Account) RoleTexts(r *Role, shared *Table[Policy]) (Texts, bool) {
	return a.attached(r.Attached, shared, "")
}

// GroupTexts is UserTexts for a group alone.
func (a *Account) GroupTexts(g *Group, shared *Table[Policy]) (Texts, bool) {
	return a.attached(g.Attached, shared, "")
}

func (a *Account) attached(at Attached, shared *Table[Policy], prefix string) (Texts, bool) {
	var t Texts
	for _, arn := range at.Managed {
		p, found := a.Managed(arn, shared)
		if !found {
			return t, false
		}
		t.Identity = append(t.Identity, Text{Name: arn, Kind: policy.Identity, Text: p.Text()})
	}
	for _, name := range slices.Sorted(maps.Keys(at.Inline)) {
		t.Identity = append(t.Identity, Text{Name: prefix + name, Kind: policy.Identity, Text: at.Inline[name]})
	}
	if at.Boundary == "" {
		return t, true
	}
	p, found := a.Managed(at.Boundary, shared)
	if !found {
		return t, false
	}
	t.Boundary = &Text{Name: at.Boundary, Kind: policy.Boundary, Text: p.Text()}
	return t, true
}

// Managed finds a managed policy that principals of the account may have: one
// of its own, a built-in one, or one of the management account.
func (a *Account) Managed(arn string, shared *Table[Policy]) (*Policy, bool) {
	if IsBuiltin(arn) {
		return Builtin(arn)
	}
	if p, found := a.Policies.ByID(arn); found {
		return p.Record, true
	}
	p, found := shared.ByID(arn)
	if !found {
		return nil, false
	}
	return p.Record, true
}

func subject(c *Compiler, t Texts, in Around) *iam.Subject {
	s := &iam.Subject{SCPs: in.Levels.SCPs, OrgPath: in.Levels.OrgPath, Management: in.Management}
	var ok bool
	if s.Identity, ok = c.Compile(t.Identity...); !ok {
		return nil
	}
	if t.Boundary != nil {
		if s.Boundary, ok = c.Compile(*t.Boundary); !ok {
			return nil
		}
	}
	return s
}
