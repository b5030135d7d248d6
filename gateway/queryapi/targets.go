package queryapi

import (
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// The sorts of identities, as in their ARNs.
const (
	sortUser     = "user"
	sortGroup    = "group"
	sortRole     = "role"
	sortPolicy   = "policy"
	sortProvider = "oidc-provider"
)

// entity is a user, group or role that an input names.
type entity struct{ sort, name string }

// entityInput is an input that names an entity.
type entityInput[I any] interface {
	*I
	entity() entity
}

// The names of entities as inputs have them.
type (
	userInput struct {
		UserName string `q:"required" len:"1-128" form:"name"`
	}
	groupInput struct {
		GroupName string `q:"required" len:"1-128" form:"name"`
	}
	roleInput struct {
		RoleName string `q:"required" len:"1-64" form:"name"`
	}
)

func (in *userInput) entity() entity  { return entity{sortUser, in.UserName} }
func (in *groupInput) entity() entity { return entity{sortGroup, in.GroupName} }
func (in *roleInput) entity() entity  { return entity{sortRole, in.RoleName} }

// onEntity is the user, group or role that the input names, of the caller's
// account.
func onEntity[I any, P entityInput[I]](rq *request, in *I) (target, error) {
	e := P(in).entity()
	return target{resource: rq.h.Control.IdentityResource(rq.principal.Account, e.sort, e.name)}, nil
}

// onBounded is onEntity for operations that AWS lets be bound to the
// permissions boundary that the entity has.
func onBounded[I any, P entityInput[I]](rq *request, in *I) (target, error) {
	t, err := onEntity[I, P](rq, in)
	e := P(in).entity()
	t.keys = rq.boundaryKey(e)
	return t, err
}

// onAttachment is onBounded with the managed policy that is attached or
// detached.
func onAttachment[I any, P interface {
	entityInput[I]
	policyARN() string
}](rq *request, in *I) (target, error) {
	t, err := onBounded[I, P](rq, in)
	t.keys = append(t.keys, iam.Key{Name: "iam:policyarn", Values: []string{P(in).policyARN()}})
	return t, err
}

// onTags is onEntity for operations that set tags.
func onTags[I any, P interface {
	entityInput[I]
	newTags() tagList
}](rq *request, in *I) (target, error) {
	t, err := onEntity[I, P](rq, in)
	t.keys = requestTags(P(in).newTags())
	return t, err
}

// onTagKeys is onEntity for operations that remove tags.
func onTagKeys[I any, P interface {
	entityInput[I]
	oldTags() []string
}](rq *request, in *I) (target, error) {
	t, err := onEntity[I, P](rq, in)
	t.keys = tagKeys(P(in).oldTags())
	return t, err
}

func (in *tagsInput) newTags() tagList     { return in.Tags }
func (in *tagKeysInput) oldTags() []string { return in.TagKeys }

// onNew is what does not exist yet.
func (rq *request) onNew(sort, path, name string) target {
	return target{resource: control.NewIdentityResource(rq.principal.Account, sort, path, name)}
}

// onList is all of a sort.
func onList[I any](sort string) func(*request, *I) (target, error) {
	return func(rq *request, _ *I) (target, error) {
		return target{resource: control.IdentitiesResource(rq.principal.Account, sort)}, nil
	}
}

// onAccount is the identities of the caller's account as a whole.
func onAccount[I any](rq *request, _ *I) (target, error) {
	return target{resource: control.IdentityAccountResource(rq.principal.Account)}, nil
}

// onARN is the policy or provider of the ARN. Policies that are built in are
// everybody's to read.
func (rq *request) onARN(arn, sort string) (target, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[2] != "iam" || parts[3] != "" || !strings.HasPrefix(parts[5], sort+"/") {
		return target{}, fault.New("queryapi", fault.Invalid, "ARN %s is not valid.", fault.Clip(arn)).WithCode("InvalidInput")
	}
	t := target{resource: arn, owner: tenant.AccountID(parts[4])}
	if parts[4] == "aws" {
		t.owner = ""
	}
	return t, nil
}

// caller gives the user's name of a user who asks about itself.
func (rq *request) caller() (string, error) {
	_, name, found := strings.Cut(rq.principal.ARN, ":user/")
	if p := rq.principal; !found || p.Type != call.TypeUser && p.Type != "" {
		return "", fault.New("queryapi", fault.Invalid, "Must specify userName when calling with non-User credentials").WithCode("ValidationError")
	}
	return name[strings.LastIndexByte(name, '/')+1:], nil
}

// boundaryKey is the boundary that an entity has.
func (rq *request) boundaryKey(e entity) []iam.Key {
	return newBoundary(rq.h.Control.BoundaryOf(rq.principal.Account, e.sort, e.name))
}

// newBoundary is the boundary that a request names.
func newBoundary(arn string) []iam.Key {
	if arn == "" {
		return nil
	}
	return []iam.Key{{Name: "iam:permissionsboundary", Values: []string{arn}}}
}

func requestTags(l tagList) []iam.Key { return iam.RequestTags(l.tags()) }

func tagKeys(names []string) []iam.Key {
	if len(names) == 0 {
		return nil
	}
	return []iam.Key{iam.TagKeys(slices.Clone(names))}
}
