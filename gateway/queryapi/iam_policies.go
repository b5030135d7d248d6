package queryapi

import (
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
)

// Inputs of operations on managed policies.
type (
	createPolicyInput struct {
		PolicyName     string  `q:"required" len:"1-128" form:"name"`
		Path           string  `len:"1-512" form:"policyPath"`
		PolicyDocument string  `q:"required" len:"1-131072" form:"document"`
		Description    string  `len:"0-1000"`
		Tags           tagList `len:"0-50"`
	}
	policyInput struct {
		PolicyArn string `q:"required" len:"20-2048"`
	}
	listPoliciesInput struct {
		Scope             string `enum:"All,AWS,Local"`
		OnlyAttached      bool
		PathPrefix        string `len:"1-512" form:"policyPath"`
		PolicyUsageFilter string `enum:"PermissionsPolicy,PermissionsBoundary"`
		pageInput
	}
	createVersionInput struct {
		policyInput
		PolicyDocument string `q:"required" len:"1-131072" form:"document"`
		SetAsDefault   bool
	}
	versionInput struct {
		policyInput
		VersionId string `q:"required" form:"version"`
	}
	policyPageInput struct {
		policyInput
		pageInput
	}
	entitiesInput struct {
		policyInput
		EntityFilter      string `enum:"User,Role,Group,LocalManagedPolicy,AWSManagedPolicy"`
		PathPrefix        string `form:"pathPrefix"`
		PolicyUsageFilter string `enum:"PermissionsPolicy,PermissionsBoundary"`
		pageInput
	}
	tagPolicyInput struct {
		policyInput
		tagsInput
	}
	untagPolicyInput struct {
		policyInput
		tagKeysInput
	}
)

func (in *policyInput) arn() string { return in.PolicyArn }

// onPolicy is the managed policy of the ARN that the input names.
func onPolicy[I any, P interface {
	*I
	arn() string
}](rq *request, in *I) (target, error) {
	return rq.onARN(P(in).arn(), sortPolicy)
}

func onTagPolicy(rq *request, in *tagPolicyInput) (target, error) {
	t, err := onPolicy(rq, in)
	t.keys = requestTags(in.Tags)
	return t, err
}

func onUntagPolicy(rq *request, in *untagPolicyInput) (target, error) {
	t, err := onPolicy(rq, in)
	t.keys = tagKeys(in.TagKeys)
	return t, err
}

type policyReply struct{ Policy policyShape }

func policyOperations() []operation {
	return append([]operation{
		served("CreatePolicy", onNewPolicy, createPolicy),
		served("GetPolicy", onPolicy, func(rq *request, g iam.Grant, in *policyInput) (any, error) {
			p, err := rq.h.Control.GetPolicy(rq.ctx, g, in.PolicyArn)
			return policyReply{shownPolicy(p)}, err
		}),
		served("ListPolicies", onList[listPoliciesInput](sortPolicy), listPolicies),
		served("DeletePolicy", onPolicy, func(rq *request, g iam.Grant, in *policyInput) (any, error) {
			return nil, rq.h.Control.DeletePolicy(rq.ctx, g, in.PolicyArn)
		}),
		served("ListEntitiesForPolicy", onPolicy, listEntities),
		served("TagPolicy", onTagPolicy, func(rq *request, g iam.Grant, in *tagPolicyInput) (any, error) {
			return nil, rq.h.Control.TagPolicy(rq.ctx, g, in.PolicyArn, in.Tags.tags())
		}),
		served("UntagPolicy", onUntagPolicy, func(rq *request, g iam.Grant, in *untagPolicyInput) (any, error) {
			return nil, rq.h.Control.UntagPolicy(rq.ctx, g, in.PolicyArn, in.TagKeys)
		}),
		served("ListPolicyTags", onPolicy, func(rq *request, g iam.Grant, in *policyPageInput) (any, error) {
			return tagsPageOf(rq.h.Control.ListPolicyTags(rq.ctx, g, in.PolicyArn, in.of()))
		}),
	}, versionOperations()...)
}

func versionOperations() []operation {
	return []operation{
		served("CreatePolicyVersion", onPolicy, func(rq *request, g iam.Grant, in *createVersionInput) (any, error) {
			v, err := rq.h.Control.CreatePolicyVersion(rq.ctx, g, control.CreateVersionInput{ARN: in.PolicyArn, Text: in.PolicyDocument, SetDefault: in.SetAsDefault})
			return struct{ PolicyVersion versionShape }{versionShape{VersionId: v.ID, IsDefaultVersion: in.SetAsDefault, CreateDate: v.CreatedAt}}, err
		}),
		served("GetPolicyVersion", onPolicy, func(rq *request, g iam.Grant, in *versionInput) (any, error) {
			v, err := rq.h.Control.GetPolicyVersion(rq.ctx, g, in.PolicyArn, in.VersionId)
			s := listedVersion(v)
			s.Document = document(v.Text)
			return struct{ PolicyVersion versionShape }{s}, err
		}),
		served("ListPolicyVersions", onPolicy, func(rq *request, g iam.Grant, in *policyPageInput) (any, error) {
			p, err := rq.h.Control.ListPolicyVersions(rq.ctx, g, in.PolicyArn, in.of())
			return struct {
				Versions []versionShape
				page
			}{mapped(p.Items, listedVersion), pageOf(p.NextMarker)}, err
		}),
		served("SetDefaultPolicyVersion", onPolicy, func(rq *request, g iam.Grant, in *versionInput) (any, error) {
			return nil, rq.h.Control.SetDefaultPolicyVersion(rq.ctx, g, in.PolicyArn, in.VersionId)
		}),
		served("DeletePolicyVersion", onPolicy, func(rq *request, g iam.Grant, in *versionInput) (any, error) {
			return nil, rq.h.Control.DeletePolicyVersion(rq.ctx, g, in.PolicyArn, in.VersionId)
		}),
	}
}

// listedVersion is a version in a list, which does not show its text.
func listedVersion(v control.VersionView) versionShape {
	return versionShape{VersionId: v.ID, IsDefaultVersion: v.Default, CreateDate: v.CreatedAt}
}

func onNewPolicy(rq *request, in *createPolicyInput) (target, error) {
	t := rq.onNew(sortPolicy, in.Path, in.PolicyName)
	t.keys = requestTags(in.Tags)
	return t, nil
}

func createPolicy(rq *request, g iam.Grant, in *createPolicyInput) (any, error) {
	p, err := rq.h.Control.CreatePolicy(rq.ctx, g, control.CreatePolicyInput{
		Name: in.PolicyName, Path: in.Path, Description: in.Description, Text: in.PolicyDocument, Tags: in.Tags.tags()})
	return policyReply{shownPolicy(control.PolicyView{Policy: p})}, err
}

func listPolicies(rq *request, g iam.Grant, in *listPoliciesInput) (any, error) {
	p, err := rq.h.Control.ListPolicies(rq.ctx, g, control.ListPoliciesInput{
		PathInput: control.PathInput{PageInput: in.of(), PathPrefix: in.PathPrefix},
		Scope:     in.Scope, OnlyAttached: in.OnlyAttached, Usage: in.PolicyUsageFilter})
	return struct {
		Policies []policyShape
		page
	}{mapped(p.Items, listedPolicy), pageOf(p.NextMarker)}, err
}

type (
	policyGroup struct{ GroupName, GroupId string }
	policyUser  struct{ UserName, UserId string }
	policyRole  struct{ RoleName, RoleId string }
)

func listEntities(rq *request, g iam.Grant, in *entitiesInput) (any, error) {
	p, err := rq.h.Control.ListEntitiesForPolicy(rq.ctx, g, control.ListEntitiesInput{
		PathInput: control.PathInput{PageInput: in.of(), PathPrefix: in.PathPrefix},
		ARN:       in.PolicyArn, Filter: in.EntityFilter, Usage: in.PolicyUsageFilter})
	out := struct {
		PolicyGroups []policyGroup
		PolicyUsers  []policyUser
		PolicyRoles  []policyRole
		page
	}{[]policyGroup{}, []policyUser{}, []policyRole{}, pageOf(p.NextMarker)}
	for _, e := range p.Items {
		switch e.Sort {
		case sortGroup:
			out.PolicyGroups = append(out.PolicyGroups, policyGroup{e.Name, e.ID})
		case sortUser:
			out.PolicyUsers = append(out.PolicyUsers, policyUser{e.Name, e.ID})
		case sortRole:
			out.PolicyRoles = append(out.PolicyRoles, policyRole{e.Name, e.ID})
		}
	}
	return out, err
}
