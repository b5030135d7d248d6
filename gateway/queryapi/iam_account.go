package queryapi

import (
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
)

func accountOperations() []operation {
	return []operation{
		served("GetAccountSummary", onAccount[noInput], func(rq *request, g iam.Grant, _ *noInput) (any, error) {
			m, err := rq.h.Control.GetAccountSummary(rq.ctx, g)
			return struct{ SummaryMap map[string]int }{m}, err
		}),
		served("GetAccountAuthorizationDetails", onAccount[detailsInput], accountDetails),
	}
}

type detailsInput struct {
	Filter []string `len:"0-5" enum:"User,Role,Group,LocalManagedPolicy,AWSManagedPolicy"`
	pageInput
}

// The parts of an account's details.
type (
	policyDetail struct {
		PolicyName     string
		PolicyDocument document
	}
	userDetail struct {
		Path, UserName, UserId, Arn string
		CreateDate                  time.Time
		UserPolicyList              []policyDetail
		GroupList                   []string
		AttachedManagedPolicies     []attachedShape
		PermissionsBoundary         *boundary
		Tags                        []tag
	}
	groupDetail struct {
		Path, GroupName, GroupId, Arn string
		CreateDate                    time.Time
		GroupPolicyList               []policyDetail
		AttachedManagedPolicies       []attachedShape
	}
	roleDetail struct {
		Path, RoleName, RoleId, Arn string
		CreateDate                  time.Time
		AssumeRolePolicyDocument    document
		InstanceProfileList         []nothing
		RolePolicyList              []policyDetail
		AttachedManagedPolicies     []attachedShape
		PermissionsBoundary         *boundary
		Tags                        []tag
	}
	managedDetail struct {
		PolicyName, PolicyId, Arn, Path, DefaultVersionId string
		AttachmentCount, PermissionsBoundaryUsageCount    int
		IsAttachable                                      bool
		Description                                       string
		CreateDate, UpdateDate                            time.Time
		PolicyVersionList                                 []versionShape
	}
	detailsReply struct {
		UserDetailList  []userDetail
		GroupDetailList []groupDetail
		RoleDetailList  []roleDetail
		Policies        []managedDetail
		page
	}
)

func inlineOf(a directory.Attached) []policyDetail {
	list := []policyDetail{}
	for _, name := range sortedKeys(a.Inline) {
		list = append(list, policyDetail{name, document(a.Inline[name])})
	}
	return list
}

func managedOf(a directory.Attached) []attachedShape {
	return mapped(a.Managed, func(arn string) attachedShape {
		_, _, name := control.SplitIdentityResource(arn)
		return attachedShape{name, arn}
	})
}

func accountDetails(rq *request, g iam.Grant, in *detailsInput) (any, error) {
	p, err := rq.h.Control.GetAccountAuthorizationDetails(rq.ctx, g, control.DetailsInput{PageInput: in.of(), Filters: in.Filter})
	out := detailsReply{[]userDetail{}, []groupDetail{}, []roleDetail{}, []managedDetail{}, pageOf(p.NextMarker)}
	for _, d := range p.Items {
		switch {
		case d.User != nil:
			out.UserDetailList = append(out.UserDetailList, userDetailOf(d.User, d.GroupNames))
		case d.Group != nil:
			r := d.Group
			out.GroupDetailList = append(out.GroupDetailList, groupDetail{r.Path, r.Name, r.ID, r.ARN, r.CreatedAt, inlineOf(r.Attached), managedOf(r.Attached)})
		case d.Role != nil:
			r := d.Role
			out.RoleDetailList = append(out.RoleDetailList, roleDetail{r.Path, r.Name, r.ID, r.ARN, r.CreatedAt, document(r.Trust), []nothing{},
				inlineOf(r.Attached), managedOf(r.Attached), boundaryOf(r.Attached), tagsOf(r.Tags)})
		case d.Policy != nil:
			out.Policies = append(out.Policies, managedDetailOf(d.Policy))
		}
	}
	return out, err
}

func userDetailOf(u *directory.User, groups []string) userDetail {
	return userDetail{u.Path, u.Name, u.ID, u.ARN, u.CreatedAt, inlineOf(u.Attached), mapped(groups, func(s string) string { return s }),
		managedOf(u.Attached), boundaryOf(u.Attached), tagsOf(u.Tags)}
}

func managedDetailOf(p *control.PolicyView) managedDetail {
	s := shownPolicy(*p)
	d := managedDetail{s.PolicyName, s.PolicyId, s.Arn, s.Path, s.DefaultVersionId, s.AttachmentCount, s.PermissionsBoundaryUsageCount,
		s.IsAttachable, s.Description, s.CreateDate, s.UpdateDate, []versionShape{}}
	for _, v := range p.Versions {
		d.PolicyVersionList = append(d.PolicyVersionList, versionShape{document(v.Text), v.ID, v.ID == p.Default, v.CreatedAt})
	}
	return d
}
