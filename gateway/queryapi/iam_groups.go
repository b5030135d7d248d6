package queryapi

import (
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
)

// Inputs of operations on groups.
type (
	createGroupInput struct {
		Path      string `len:"1-512" form:"path"`
		GroupName string `q:"required" len:"1-128" form:"name"`
	}
	groupPageInput struct {
		groupInput
		pageInput
	}
	groupAttachedInput struct {
		groupInput
		pathPage
	}
	updateGroupInput struct {
		groupInput
		NewPath      string `len:"1-512" form:"path"`
		NewGroupName string `len:"1-128" form:"name"`
	}
	memberInput struct {
		groupInput
		UserName string `q:"required" len:"1-128" form:"name"`
	}
	groupPolicyInput struct {
		groupInput
		policyNameInput
	}
	putGroupPolicyInput struct {
		groupInput
		policyTextInput
	}
	attachGroupInput struct {
		groupInput
		attachInput
	}
)

func groupsPage(p control.Page[directory.Group], err error) (any, error) {
	return struct {
		Groups []groupShape
		page
	}{mapped(p.Items, shownGroup), pageOf(p.NextMarker)}, err
}

func groupOperations() []operation {
	return append([]operation{
		served("CreateGroup", func(rq *request, in *createGroupInput) (target, error) {
			return rq.onNew(sortGroup, in.Path, in.GroupName), nil
		}, func(rq *request, g iam.Grant, in *createGroupInput) (any, error) {
			made, err := rq.h.Control.CreateGroup(rq.ctx, g, in.Path, in.GroupName)
			return struct{ Group groupShape }{shownGroup(made)}, err
		}),
		served("GetGroup", onEntity, func(rq *request, g iam.Grant, in *groupPageInput) (any, error) {
			m, err := rq.h.Control.GetGroup(rq.ctx, g, in.GroupName, in.of())
			return struct {
				Group groupShape
				Users []userShape
				page
			}{shownGroup(m.Group), mapped(m.Users.Items, listedUser), pageOf(m.Users.NextMarker)}, err
		}),
		served("ListGroups", onList[pathPage](sortGroup), func(rq *request, g iam.Grant, in *pathPage) (any, error) {
			return groupsPage(rq.h.Control.ListGroups(rq.ctx, g, in.of()))
		}),
		served("UpdateGroup", onEntity, func(rq *request, g iam.Grant, in *updateGroupInput) (any, error) {
			other, err := rq.renamed(entity{sortGroup, in.GroupName}, in.NewPath, in.NewGroupName)
			if err != nil {
				return nil, err
			}
			return nil, rq.h.Control.UpdateGroup(rq.ctx, g, control.UpdateGroupInput{
				Name: in.GroupName, NewName: in.NewGroupName, NewPath: in.NewPath, Target: other})
		}),
		served("DeleteGroup", onEntity, func(rq *request, g iam.Grant, in *groupInput) (any, error) {
			return nil, rq.h.Control.DeleteGroup(rq.ctx, g, in.GroupName)
		}),
		served("AddUserToGroup", onEntity, func(rq *request, g iam.Grant, in *memberInput) (any, error) {
			return nil, rq.h.Control.AddUserToGroup(rq.ctx, g, in.GroupName, in.UserName)
		}),
		served("RemoveUserFromGroup", onEntity, func(rq *request, g iam.Grant, in *memberInput) (any, error) {
			return nil, rq.h.Control.RemoveUserFromGroup(rq.ctx, g, in.GroupName, in.UserName)
		}),
	}, groupPolicyOperations()...)
}

func groupPolicyOperations() []operation {
	return []operation{
		served("PutGroupPolicy", onEntity, func(rq *request, g iam.Grant, in *putGroupPolicyInput) (any, error) {
			return nil, rq.h.Control.PutGroupPolicy(rq.ctx, g, control.InlineInput{Entity: in.GroupName, Policy: in.PolicyName, Text: in.PolicyDocument})
		}),
		served("GetGroupPolicy", onEntity, func(rq *request, g iam.Grant, in *groupPolicyInput) (any, error) {
			p, err := rq.h.Control.GetGroupPolicy(rq.ctx, g, in.GroupName, in.PolicyName)
			return struct {
				GroupName, PolicyName string
				PolicyDocument        document
			}{p.Entity, p.Policy, document(p.Text)}, err
		}),
		served("ListGroupPolicies", onEntity, func(rq *request, g iam.Grant, in *groupPageInput) (any, error) {
			return namesPage(rq.h.Control.ListGroupPolicies(rq.ctx, g, in.GroupName, in.of()))
		}),
		served("DeleteGroupPolicy", onEntity, func(rq *request, g iam.Grant, in *groupPolicyInput) (any, error) {
			return nil, rq.h.Control.DeleteGroupPolicy(rq.ctx, g, in.GroupName, in.PolicyName)
		}),
		served("AttachGroupPolicy", onAttachment, func(rq *request, g iam.Grant, in *attachGroupInput) (any, error) {
			return nil, rq.h.Control.AttachGroupPolicy(rq.ctx, g, in.GroupName, in.PolicyArn)
		}),
		served("DetachGroupPolicy", onAttachment, func(rq *request, g iam.Grant, in *attachGroupInput) (any, error) {
			return nil, rq.h.Control.DetachGroupPolicy(rq.ctx, g, in.GroupName, in.PolicyArn)
		}),
		served("ListAttachedGroupPolicies", onEntity, func(rq *request, g iam.Grant, in *groupAttachedInput) (any, error) {
			return attachedPage(rq.h.Control.ListAttachedGroupPolicies(rq.ctx, g, in.GroupName, in.of()))
		}),
	}
}
