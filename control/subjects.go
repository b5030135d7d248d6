package control

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// The service is what decisions look principals and resources up in.
var _ iam.Directory = (*Service)(nil)

// nothing is what principals have that no policy is attached to: services of
// the platform, identities of providers, and callers without credentials. Only a resource's policy can
// allow them anything.
var nothing = &iam.Subject{}

// Subject gives what is attached to a principal. It takes no lock, and
// allocates nothing as long as nothing changed that it depends on.
func (s *Service) Subject(p *call.Principal) (*iam.Subject, bool) {
	if p.Type == call.TypeService || p.Type == call.TypeAnonymous || p.Type == call.TypeWebIdentity {
		return nothing, true
	}
	in, found := s.ix.identities.get(p.Account)
	if !found {
		return nil, false
	}
	if p.Session != nil && s.sessionRevoked(p) {
		return nil, false
	}
	around, ok := s.around(p.Account)
	if !ok {
		return nil, false
	}
	switch p.Type {
	case call.TypeUser, call.TypeFederated:
		u, found := s.userOf(in, p)
		if !found {
			return nil, false
		}
		return in.UserSubject(s.compiler, u, around)
	case call.TypeRole:
		r, found := roleOf(in, p)
		if !found && p.Session != nil && p.Session.Template != "" {
			r, found = templateOf(in, p)
		}
		if !found {
			return nil, false
		}
		return in.RoleSubject(s.compiler, r, around)
	case call.TypeService, call.TypeAnonymous, call.TypeWebIdentity:
	}
	return nil, false
}

// userOf finds the user that a principal is, or whose session it has. A
// long-lived key has to be there and switched on; a session outlives the key
// that asked for it, as in AWS, and ends with the user.
func (s *Service) userOf(in *directory.Account, p *call.Principal) (*directory.Entry[directory.User], bool) {
	if p.Session != nil {
		u, found := in.Users.ByID(string(p.Session.IssuerUID))
		return u, found && u.Record.ARN == p.Session.Issuer && (p.Type == call.TypeFederated || u.Record.ARN == p.ARN)
	}
	if p.Type != call.TypeUser {
		return nil, false
	}
	k, found := in.Keys.Get(p.AccessKeyID)
	if !found || k.Record.Inactive {
		return nil, false
	}
	u, found := in.UserOf(k.Record)
	return u, found && u.Record.ARN == p.ARN
}

// roleOf finds the role that a session is of; false for one that was deleted,
// even if another has its name now.
func roleOf(in *directory.Account, p *call.Principal) (*directory.Entry[directory.Role], bool) {
	if p.Session == nil {
		return nil, false
	}
	r, found := in.Roles.ByID(string(p.Session.IssuerUID))
	return r, found && r.Record.ARN == p.Session.Issuer
}

// around gives what the subjects of an account depend on outside of it.
func (s *Service) around(account tenant.AccountID) (directory.Around, bool) {
	levels, known := s.levelsOf(account)
	management := s.managementAccount()
	return directory.Around{Shared: s.sharedOf(management), Levels: levels, Management: account == management}, known
}

// managementAccount is the operators' own; empty before there is one.
func (s *Service) managementAccount() tenant.AccountID {
	id, _ := s.ix.slugs.get(tenant.Management)
	return id
}

func (s *Service) sharedOf(management tenant.AccountID) *directory.Table[directory.Policy] {
	if in, found := s.ix.identities.get(management); found {
		return in.Policies
	}
	return noPolicies
}

var noPolicies = directory.NewAccount("").Policies

// Managed gives a managed policy that a session was made with.
func (s *Service) Managed(arn string) (*policy.Document, bool) {
	r, found := directory.Builtin(arn)
	if !found {
		in, known := s.ix.identities.get(directory.AccountIn(arn))
		if !known {
			return nil, false
		}
		e, known := in.Policy(arn)
		if !known {
			return nil, false
		}
		r = e.Record
	}
	return s.compiler.Parse(policy.Session, r.Text())
}

// Object gives what is attached to a resource: the policy of a function or the
// trust policy of a role, tags, and the guardrails above its account.
func (s *Service) Object(owner tenant.AccountID, resource string) iam.Object {
	levels, known := s.levelsOf(owner)
	if !known {
		return iam.Object{RCPs: denyAll()}
	}
	o := s.attachedTo(owner, resource)
	o.RCPs, o.OrgPath = levels.RCPs, levels.OrgPath
	return o
}

// denyAll is the guardrail of an account whose own are not known.
var denyAll = sync.OnceValue(func() []policy.Level {
	set, _ := directory.NewCompiler().Compile(directory.Text{
		Name: "unknown", Kind: policy.RCP,
		Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`,
	})
	return []policy.Level{{Name: "unknown", Set: set}}
})

func (s *Service) attachedTo(owner tenant.AccountID, resource string) iam.Object {
	service, rest := splitResource(resource)
	sort, name, _ := strings.Cut(rest, "/")
	switch {
	case service == "lambda":
		return s.functionObject(owner, rest)
	case service != "iam":
		return iam.Object{}
	}
	in, found := s.ix.identities.get(owner)
	if !found {
		return iam.Object{}
	}
	switch sort {
	case sortRole:
		if r, found := in.Role(resource); found {
			set, ok := s.trustOf(r.Record)
			if !ok {
				set = nil // it trusts nobody
			}
			return iam.Object{Policy: set, TrustOnly: true, Tags: r.Record.Tags}
		}
		return iam.Object{TrustOnly: true}
	case sortUser:
		if u, found := in.User(resource); found {
			return iam.Object{Tags: u.Record.Tags}
		}
	case sortPolicy:
		if r, found := in.Policy(resource); found {
			return iam.Object{Tags: r.Record.Tags}
		}
	case sortProvider:
		if r, found := in.Providers.Get(resource); found && name != "" {
			return iam.Object{Tags: r.Record.Tags}
		}
	}
	return iam.Object{}
}

// splitResource gives the service of an ARN and what comes after its account.
func splitResource(arn string) (service, rest string) {
	for i := range 5 {
		var part string
		part, arn, _ = strings.Cut(arn, ":")
		if i == 2 {
			service = part
		}
	}
	return service, arn
}

// functionObject gives the policies and the tags of a function. The rest of its
// ARN is function:NAME, with a qualifier or without.
func (s *Service) functionObject(owner tenant.AccountID, rest string) iam.Object {
	sort, name, _ := strings.Cut(rest, ":")
	if sort != "function" {
		return iam.Object{}
	}
	name, _, _ = strings.Cut(name, ":")
	d, found := s.ix.functions.get(functionName{owner, function.Name(name)})
	if !found {
		return iam.Object{}
	}
	return iam.Object{Policy: s.functionPolicy(d), Tags: d.tags}
}

// trustOf compiles a role's trust policy as it holds now. Who was named by it
// and was deleted since is not meant by its statements that allow, even if
// somebody else has the name; those that deny still deny whoever has it.
func (s *Service) trustOf(r *directory.Role) (*policy.Set, bool) {
	var gone []string
	for _, arn := range slices.Sorted(maps.Keys(r.TrustIDs)) {
		if uid, _, found := s.principalID(arn); !found || uid != r.TrustIDs[arn] || uid == "" {
			gone = append(gone, arn)
		}
	}
	return s.compiler.CompileWithout(gone, directory.Text{Name: "trust policy of " + r.Name, Kind: policy.Trust, Text: r.Trust})
}
