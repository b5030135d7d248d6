package queryapi

import (
	"strings"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
)

// The parts that several operations have in common.

type tag struct {
	Key   string `q:"required" len:"1-128" form:"tagKey"`
	Value string `q:"required" len:"0-256" form:"tagValue" x:"keep"`
}

type tagList []tag

func (l tagList) tags() []call.Tag {
	tags := make([]call.Tag, len(l))
	for i, t := range l {
		tags[i] = call.Tag(t)
	}
	return tags
}

func (in *tagsInput) check() error { return in.Tags.check() }

// check refuses keys that are there twice before anything is looked up.
func (l tagList) check() error {
	seen := make(map[string]bool, len(l))
	for _, t := range l {
		key := strings.ToLower(t.Key)
		if seen[key] {
			return fault.New("queryapi", fault.Invalid, "Duplicate tag keys found. Please note that Tag keys are case insensitive.").WithCode("InvalidInput")
		}
		seen[key] = true
	}
	return nil
}

// tagsOf gives nil for no tags, so that no element stands for them.
func tagsOf(tags []call.Tag) []tag {
	var list []tag
	for _, t := range tags {
		list = append(list, tag(t))
	}
	return list
}

// tagsInput and tagKeysInput are what operations on tags have beside the name
// of what is tagged.
type (
	tagsInput struct {
		Tags tagList `q:"required" len:"0-50"`
	}
	tagKeysInput struct {
		TagKeys []string `q:"required" len:"0-50" elem:"1-128" form:"tagKey"`
	}
	tagsPage struct {
		Tags []tag
		page
	}
)

// page ends the output of a list.
type page struct {
	IsTruncated bool
	Marker      string
}

func pageOf(next string) page { return page{next != "", next} }

// mapped gives the elements of a page's output; an empty list is an element
// without content, and not absent.
func mapped[T, U any](items []T, f func(T) U) []U {
	list := make([]U, len(items))
	for i, item := range items {
		list[i] = f(item)
	}
	return list
}

func tagsPageOf(p control.Page[call.Tag], err error) (any, error) {
	return tagsPage{mapped(p.Items, func(t call.Tag) tag { return tag(t) }), pageOf(p.NextMarker)}, err
}

func (in pageInput) of() control.PageInput {
	p := control.PageInput{Marker: in.Marker}
	if in.MaxItems != nil {
		p.MaxItems = *in.MaxItems
	}
	return p
}

// pathPage asks for a part of a list by path.
type pathPage struct {
	PathPrefix string `form:"pathPrefix"`
	pageInput
}

func (in pathPage) of() control.PathInput {
	return control.PathInput{PageInput: in.pageInput.of(), PathPrefix: in.PathPrefix}
}

type boundary struct{ PermissionsBoundaryType, PermissionsBoundaryArn string }

func boundaryOf(a directory.Attached) *boundary {
	if a.Boundary == "" {
		return nil
	}
	return &boundary{"Policy", a.Boundary}
}

type userShape struct {
	Path, UserName, UserId, Arn string
	CreateDate                  time.Time
	PermissionsBoundary         *boundary
	Tags                        []tag
}

// listedUser is a user in a list, which shows neither tags nor boundary.
func listedUser(u directory.User) userShape {
	return userShape{Path: u.Path, UserName: u.Name, UserId: u.ID, Arn: u.ARN, CreateDate: u.CreatedAt}
}

func shownUser(u directory.User) userShape {
	s := listedUser(u)
	s.PermissionsBoundary, s.Tags = boundaryOf(u.Attached), tagsOf(u.Tags)
	return s
}

type groupShape struct {
	Path, GroupName, GroupId, Arn string
	CreateDate                    time.Time
}

func shownGroup(g directory.Group) groupShape {
	return groupShape{Path: g.Path, GroupName: g.Name, GroupId: g.ID, Arn: g.ARN, CreateDate: g.CreatedAt}
}

type roleShape struct {
	Path, RoleName, RoleId, Arn string
	CreateDate                  time.Time
	AssumeRolePolicyDocument    document
	Description                 string
	MaxSessionDuration          int
	PermissionsBoundary         *boundary
	Tags                        []tag
	RoleLastUsed                *nothing
}

// listedRole is a role in a list, which shows neither tags nor boundary.
func listedRole(r directory.Role) roleShape {
	return roleShape{
		Path: r.Path, RoleName: r.Name, RoleId: r.ID, Arn: r.ARN, CreateDate: r.CreatedAt,
		AssumeRolePolicyDocument: document(r.Trust), Description: r.Description, MaxSessionDuration: r.MaxSession,
	}
}

func shownRole(r directory.Role) roleShape {
	s := listedRole(r)
	s.PermissionsBoundary, s.Tags = boundaryOf(r.Attached), tagsOf(r.Tags)
	return s
}

type policyShape struct {
	PolicyName, PolicyId, Arn, Path, DefaultVersionId string
	AttachmentCount, PermissionsBoundaryUsageCount    int
	IsAttachable                                      bool
	Description                                       string
	CreateDate, UpdateDate                            time.Time
	Tags                                              []tag
}

// listedPolicy is a policy in a list, which shows neither tags nor description.
func listedPolicy(p control.PolicyView) policyShape {
	return policyShape{
		PolicyName: p.Name, PolicyId: p.ID, Arn: p.ARN, Path: p.Path, DefaultVersionId: p.Default,
		AttachmentCount: p.Attachments, PermissionsBoundaryUsageCount: p.BoundaryUses, IsAttachable: true,
		CreateDate: p.CreatedAt, UpdateDate: p.UpdatedAt,
	}
}

func shownPolicy(p control.PolicyView) policyShape {
	s := listedPolicy(p)
	s.Description, s.Tags = p.Description, tagsOf(p.Tags)
	return s
}

type versionShape struct {
	Document         document
	VersionId        string
	IsDefaultVersion bool
	CreateDate       time.Time
}

type attachedShape struct{ PolicyName, PolicyArn string }

func attachedPage(p control.Page[control.AttachedPolicy], err error) (any, error) {
	return struct {
		AttachedPolicies []attachedShape
		page
	}{mapped(p.Items, func(a control.AttachedPolicy) attachedShape { return attachedShape{a.Name, a.ARN} }), pageOf(p.NextMarker)}, err
}

func namesPage(p control.Page[string], err error) (any, error) {
	return struct {
		PolicyNames []string
		page
	}{mapped(p.Items, func(name string) string { return name }), pageOf(p.NextMarker)}, err
}
