package queryapi

import (
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
)

// Inputs of operations on roles.
type (
	createRoleInput struct {
		Path                     string  `len:"1-512" form:"path"`
		RoleName                 string  `q:"required" len:"1-64" form:"name"`
		AssumeRolePolicyDocument string  `q:"required" len:"1-131072" form:"document"`
		Description              string  `len:"0-1000" form:"description"`
		MaxSessionDuration       int     `range:"3600-43200"`
		PermissionsBoundary      string  `len:"20-2048"`
		Tags                     tagList `len:"0-50"`
	}
	oneRoleInput struct {
		RoleName string `q:"parameter" len:"1-64" form:"name"`
	}
	updateRoleInput struct {
		roleInput
		Description        *string `len:"0-1000" form:"description"`
		MaxSessionDuration *int    `range:"3600-43200"`
	}
	describeRoleInput struct {
		roleInput
		Description string `q:"required" len:"0-1000" form:"description"`
	}
	trustInput struct {
		roleInput
		PolicyDocument string `q:"required" len:"1-131072" form:"document"`
	}
	tagRoleInput struct {
		roleInput
		tagsInput
	}
	untagRoleInput struct {
		roleInput
		tagKeysInput
	}
	rolePageInput struct {
		roleInput
		pageInput
	}
	roleAttachedInput struct {
		roleInput
		pathPage
	}
	roleBoundaryInput struct {
		roleInput
		boundaryInput
	}
	rolePolicyInput struct {
		roleInput
		policyNameInput
	}
	putRolePolicyInput struct {
		roleInput
		policyTextInput
	}
	attachRoleInput struct {
		roleInput
		attachInput
	}
)

func (in *oneRoleInput) entity() entity { return entity{sortRole, in.RoleName} }

type roleReply struct{ Role roleShape }

func roleOperations() []operation {
	return append([]operation{
		served("CreateRole", onNewRole, createRole),
		served("GetRole", onEntity, func(rq *request, g iam.Grant, in *oneRoleInput) (any, error) {
			r, err := rq.h.Control.GetRole(rq.ctx, g, in.RoleName)
			return unusedRole(r), err
		}),
		served("ListRoles", onList[pathPage](sortRole), func(rq *request, g iam.Grant, in *pathPage) (any, error) {
			p, err := rq.h.Control.ListRoles(rq.ctx, g, in.of())
			return struct {
				Roles []roleShape
				page
			}{mapped(p.Items, listedRole), pageOf(p.NextMarker)}, err
		}),
		served("UpdateRole", onEntity, func(rq *request, g iam.Grant, in *updateRoleInput) (any, error) {
			return struct{}{}, rq.h.Control.UpdateRole(rq.ctx, g, control.UpdateRoleInput{
				Name: in.RoleName, Description: in.Description, MaxSession: in.MaxSessionDuration})
		}),
		served("UpdateRoleDescription", onEntity, func(rq *request, g iam.Grant, in *describeRoleInput) (any, error) {
			r, err := rq.h.Control.UpdateRoleDescription(rq.ctx, g, in.RoleName, in.Description)
			return roleReply{shownRole(r)}, err
		}),
		served("UpdateAssumeRolePolicy", onEntity, func(rq *request, g iam.Grant, in *trustInput) (any, error) {
			return nil, rq.h.Control.UpdateAssumeRolePolicy(rq.ctx, g, in.RoleName, in.PolicyDocument)
		}),
		served("DeleteRole", onEntity, func(rq *request, g iam.Grant, in *oneRoleInput) (any, error) {
			return nil, rq.h.Control.DeleteRole(rq.ctx, g, in.RoleName)
		}),
		served("TagRole", onTags, func(rq *request, g iam.Grant, in *tagRoleInput) (any, error) {
			return nil, rq.h.Control.TagRole(rq.ctx, g, in.RoleName, in.Tags.tags())
		}),
		served("UntagRole", onTagKeys, func(rq *request, g iam.Grant, in *untagRoleInput) (any, error) {
			return nil, rq.h.Control.UntagRole(rq.ctx, g, in.RoleName, in.TagKeys)
		}),
		served("ListRoleTags", onEntity, func(rq *request, g iam.Grant, in *rolePageInput) (any, error) {
			return tagsPageOf(rq.h.Control.ListRoleTags(rq.ctx, g, in.RoleName, in.of()))
		}),
		served("ListInstanceProfilesForRole", onEntity, func(rq *request, g iam.Grant, in *rolePageInput) (any, error) {
			return struct {
				InstanceProfiles []struct{}
				page
			}{InstanceProfiles: []struct{}{}}, rq.h.Control.ListInstanceProfilesForRole(rq.ctx, g, in.RoleName)
		}),
	}, rolePolicyOperations()...)
}

func rolePolicyOperations() []operation {
	return []operation{
		served("PutRolePermissionsBoundary", onNewBoundaryOf, func(rq *request, g iam.Grant, in *roleBoundaryInput) (any, error) {
			return nil, rq.h.Control.PutRolePermissionsBoundary(rq.ctx, g, in.RoleName, in.PermissionsBoundary)
		}),
		served("DeleteRolePermissionsBoundary", onBounded, func(rq *request, g iam.Grant, in *roleInput) (any, error) {
			return nil, rq.h.Control.DeleteRolePermissionsBoundary(rq.ctx, g, in.RoleName)
		}),
		served("PutRolePolicy", onBounded, func(rq *request, g iam.Grant, in *putRolePolicyInput) (any, error) {
			return nil, rq.h.Control.PutRolePolicy(rq.ctx, g, control.InlineInput{Entity: in.RoleName, Policy: in.PolicyName, Text: in.PolicyDocument})
		}),
		served("GetRolePolicy", onEntity, func(rq *request, g iam.Grant, in *rolePolicyInput) (any, error) {
			p, err := rq.h.Control.GetRolePolicy(rq.ctx, g, in.RoleName, in.PolicyName)
			return struct {
				RoleName, PolicyName string
				PolicyDocument       document
			}{p.Entity, p.Policy, document(p.Text)}, err
		}),
		served("ListRolePolicies", onEntity, func(rq *request, g iam.Grant, in *rolePageInput) (any, error) {
			return namesPage(rq.h.Control.ListRolePolicies(rq.ctx, g, in.RoleName, in.of()))
		}),
		served("DeleteRolePolicy", onBounded, func(rq *request, g iam.Grant, in *rolePolicyInput) (any, error) {
			return nil, rq.h.Control.DeleteRolePolicy(rq.ctx, g, in.RoleName, in.PolicyName)
		}),
		served("AttachRolePolicy", onAttachment, func(rq *request, g iam.Grant, in *attachRoleInput) (any, error) {
			return nil, rq.h.Control.AttachRolePolicy(rq.ctx, g, in.RoleName, in.PolicyArn)
		}),
		served("DetachRolePolicy", onAttachment, func(rq *request, g iam.Grant, in *attachRoleInput) (any, error) {
			return nil, rq.h.Control.DetachRolePolicy(rq.ctx, g, in.RoleName, in.PolicyArn)
		}),
		served("ListAttachedRolePolicies", onEntity, func(rq *request, g iam.Grant, in *roleAttachedInput) (any, error) {
			return attachedPage(rq.h.Control.ListAttachedRolePolicies(rq.ctx, g, in.RoleName, in.of()))
		}),
	}
}

func onNewRole(rq *request, in *createRoleInput) (target, error) {
	t := rq.onNew(sortRole, in.Path, in.RoleName)
	t.keys = append(newBoundary(in.PermissionsBoundary), requestTags(in.Tags)...)
	return t, nil
}

func createRole(rq *request, g iam.Grant, in *createRoleInput) (any, error) {
	r, err := rq.h.Control.CreateRole(rq.ctx, g, control.CreateRoleInput{
		Name: in.RoleName, Path: in.Path, Description: in.Description, Trust: in.AssumeRolePolicyDocument,
		MaxSession: in.MaxSessionDuration, Boundary: in.PermissionsBoundary, Tags: in.Tags.tags()})
	return unusedRole(r), err
}

// unusedRole shows a role with RoleLastUsed. It is not kept; AWS has the
// element, empty, where a role was not used.
func unusedRole(r directory.Role) roleReply {
	s := shownRole(r)
	s.RoleLastUsed = &nothing{}
	return roleReply{s}
}
