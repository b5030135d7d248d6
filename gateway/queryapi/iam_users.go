package queryapi

import (
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
)

// Inputs of operations on users, and on policies of users.
type (
	createUserInput struct {
		Path                string  `len:"1-512" form:"path"`
		UserName            string  `q:"required" len:"1-64" form:"name"`
		PermissionsBoundary string  `len:"20-2048"`
		Tags                tagList `len:"0-50"`
	}
	optionalUserInput struct {
		UserName string `len:"0-128" form:"optionalName"`
	}
	updateUserInput struct {
		userInput
		NewPath     string `len:"1-512" form:"path"`
		NewUserName string `len:"1-64" form:"name"`
	}
	tagUserInput struct {
		userInput
		tagsInput
	}
	untagUserInput struct {
		userInput
		tagKeysInput
	}
	userPageInput struct {
		userInput
		pageInput
	}
	userAttachedInput struct {
		userInput
		pathPage
	}
	userBoundaryInput struct {
		userInput
		boundaryInput
	}
	userPolicyInput struct {
		userInput
		policyNameInput
	}
	putUserPolicyInput struct {
		userInput
		policyTextInput
	}
	attachUserInput struct {
		userInput
		attachInput
	}
)

// What inputs for users, groups and roles have beside the name.
type (
	boundaryInput struct {
		PermissionsBoundary string `q:"required" len:"20-2048"`
	}
	policyNameInput struct {
		PolicyName string `q:"required" len:"1-128" form:"name"`
	}
	policyTextInput struct {
		PolicyName     string `q:"required" len:"1-128" form:"name"`
		PolicyDocument string `q:"required" len:"1-131072" form:"document"`
	}
	attachInput struct {
		PolicyArn string `q:"required" len:"20-2048"`
	}
)

func (in *attachInput) policyARN() string { return in.PolicyArn }

type userReply struct{ User userShape }

func userOperations() []operation {
	return append([]operation{
		served("CreateUser", onNewUser, createUser),
		served("GetUser", onUserOrCaller, getUser),
		served("ListUsers", onList[pathPage](sortUser), listUsers),
		served("UpdateUser", onEntity, updateUser),
		served("DeleteUser", onEntity, func(rq *request, g iam.Grant, in *userInput) (any, error) {
			return nil, rq.h.Control.DeleteUser(rq.ctx, g, in.UserName)
		}),
		served("TagUser", onTags, func(rq *request, g iam.Grant, in *tagUserInput) (any, error) {
			return nil, rq.h.Control.TagUser(rq.ctx, g, in.UserName, in.Tags.tags())
		}),
		served("UntagUser", onTagKeys, func(rq *request, g iam.Grant, in *untagUserInput) (any, error) {
			return nil, rq.h.Control.UntagUser(rq.ctx, g, in.UserName, in.TagKeys)
		}),
		served("ListUserTags", onEntity, func(rq *request, g iam.Grant, in *userPageInput) (any, error) {
			return tagsPageOf(rq.h.Control.ListUserTags(rq.ctx, g, in.UserName, in.of()))
		}),
		served("ListGroupsForUser", onEntity, func(rq *request, g iam.Grant, in *userPageInput) (any, error) {
			return groupsPage(rq.h.Control.ListGroupsForUser(rq.ctx, g, in.UserName, in.of()))
		}),
	}, append(userPolicyOperations(), keyOperations()...)...)
}

func userPolicyOperations() []operation {
	return []operation{
		served("PutUserPermissionsBoundary", onNewBoundaryOf, func(rq *request, g iam.Grant, in *userBoundaryInput) (any, error) {
			return nil, rq.h.Control.PutUserPermissionsBoundary(rq.ctx, g, in.UserName, in.PermissionsBoundary)
		}),
		served("DeleteUserPermissionsBoundary", onBounded, func(rq *request, g iam.Grant, in *userInput) (any, error) {
			return nil, rq.h.Control.DeleteUserPermissionsBoundary(rq.ctx, g, in.UserName)
		}),
		served("PutUserPolicy", onBounded, func(rq *request, g iam.Grant, in *putUserPolicyInput) (any, error) {
			return nil, rq.h.Control.PutUserPolicy(rq.ctx, g, control.InlineInput{Entity: in.UserName, Policy: in.PolicyName, Text: in.PolicyDocument})
		}),
		served("GetUserPolicy", onEntity, func(rq *request, g iam.Grant, in *userPolicyInput) (any, error) {
			p, err := rq.h.Control.GetUserPolicy(rq.ctx, g, in.UserName, in.PolicyName)
			return struct {
				UserName, PolicyName string
				PolicyDocument       document
			}{p.Entity, p.Policy, document(p.Text)}, err
		}),
		served("ListUserPolicies", onEntity, func(rq *request, g iam.Grant, in *userPageInput) (any, error) {
			return namesPage(rq.h.Control.ListUserPolicies(rq.ctx, g, in.UserName, in.of()))
		}),
		served("DeleteUserPolicy", onBounded, func(rq *request, g iam.Grant, in *userPolicyInput) (any, error) {
			return nil, rq.h.Control.DeleteUserPolicy(rq.ctx, g, in.UserName, in.PolicyName)
		}),
		served("AttachUserPolicy", onAttachment, func(rq *request, g iam.Grant, in *attachUserInput) (any, error) {
			return nil, rq.h.Control.AttachUserPolicy(rq.ctx, g, in.UserName, in.PolicyArn)
		}),
		served("DetachUserPolicy", onAttachment, func(rq *request, g iam.Grant, in *attachUserInput) (any, error) {
			return nil, rq.h.Control.DetachUserPolicy(rq.ctx, g, in.UserName, in.PolicyArn)
		}),
		served("ListAttachedUserPolicies", onEntity, func(rq *request, g iam.Grant, in *userAttachedInput) (any, error) {
			return attachedPage(rq.h.Control.ListAttachedUserPolicies(rq.ctx, g, in.UserName, in.of()))
		}),
	}
}

func onNewUser(rq *request, in *createUserInput) (target, error) {
	t := rq.onNew(sortUser, in.Path, in.UserName)
	t.keys = append(newBoundary(in.PermissionsBoundary), requestTags(in.Tags)...)
	return t, nil
}

// onNewBoundaryOf is onEntity with the boundary that is asked for.
func onNewBoundaryOf[I any, P interface {
	entityInput[I]
	boundary() string
}](rq *request, in *I) (target, error) {
	t, err := onEntity[I, P](rq, in)
	t.keys = newBoundary(P(in).boundary())
	return t, err
}

func (in *boundaryInput) boundary() string { return in.PermissionsBoundary }

func createUser(rq *request, g iam.Grant, in *createUserInput) (any, error) {
	u, err := rq.h.Control.CreateUser(rq.ctx, g, control.CreateUserInput{
		Name: in.UserName, Path: in.Path, Boundary: in.PermissionsBoundary, Tags: in.Tags.tags()})
	return userReply{shownUser(u)}, err
}

// onUserOrCaller is the user that is named, or else the caller.
func onUserOrCaller(rq *request, in *optionalUserInput) (target, error) {
	return rq.onUserOrCaller(&in.UserName)
}

func (rq *request) onUserOrCaller(name *string) (target, error) {
	if *name == "" {
		own, err := rq.caller()
		if err != nil {
			return target{}, err
		}
		*name = own
	}
	return target{resource: rq.h.Control.IdentityResource(rq.principal.Account, sortUser, *name)}, nil
}

func getUser(rq *request, g iam.Grant, in *optionalUserInput) (any, error) {
	u, err := rq.h.Control.GetUser(rq.ctx, g, in.UserName)
	return userReply{shownUser(u)}, err
}

func listUsers(rq *request, g iam.Grant, in *pathPage) (any, error) {
	p, err := rq.h.Control.ListUsers(rq.ctx, g, in.of())
	return struct {
		Users []userShape
		page
	}{mapped(p.Items, listedUser), pageOf(p.NextMarker)}, err
}

// updateUser needs the permission for what the user is and for what it is to
// be, as on AWS.
func updateUser(rq *request, g iam.Grant, in *updateUserInput) (any, error) {
	other, err := rq.renamed(entity{sortUser, in.UserName}, in.NewPath, in.NewUserName)
	if err != nil {
		return nil, err
	}
	return nil, rq.h.Control.UpdateUser(rq.ctx, g, control.UpdateUserInput{
		Name: in.UserName, NewName: in.NewUserName, NewPath: in.NewPath, Target: other})
}

// renamed authorises what an entity will be under another path or name.
func (rq *request) renamed(e entity, path, name string) (iam.Grant, error) {
	_, oldPath, oldName := control.SplitIdentityResource(rq.h.Control.IdentityResource(rq.principal.Account, e.sort, e.name))
	if path == "" {
		path = oldPath
	}
	if name == "" {
		name = oldName
	}
	return rq.authorise(rq.onNew(e.sort, path, name))
}

// Inputs of operations on access keys.
type (
	keyInput struct {
		UserName    string `len:"1-128" form:"name"`
		AccessKeyId string `q:"parameter" len:"16-128" form:"word"`
	}
	updateKeyInput struct {
		UserName    string `len:"1-128" form:"name"`
		AccessKeyId string `q:"parameter" len:"16-128" form:"word"`
		Status      string `q:"parameter" enum:"Active,Inactive"`
	}
	listKeysInput struct {
		UserName string `len:"1-128" form:"name"`
		pageInput
	}
	keyIDInput struct {
		AccessKeyId string `q:"parameter" len:"16-128" form:"word"`
	}
)

type keyShape struct {
	UserName, AccessKeyId, Status, SecretAccessKey string
	CreateDate                                     time.Time
}

func shownKey(k control.KeyView) keyShape {
	status := "Active"
	if k.Inactive {
		status = "Inactive"
	}
	return keyShape{UserName: k.User, AccessKeyId: k.ID, Status: status, CreateDate: k.CreatedAt}
}

func keyOperations() []operation {
	return []operation{
		served("CreateAccessKey", onUserOrCaller, func(rq *request, g iam.Grant, in *optionalUserInput) (any, error) {
			k, err := rq.h.Control.CreateAccessKey(rq.ctx, g, in.UserName)
			s := shownKey(k.KeyView)
			s.SecretAccessKey = k.SecretAccessKey
			return struct{ AccessKey keyShape }{s}, err
		}),
		served("ListAccessKeys", func(rq *request, in *listKeysInput) (target, error) { return rq.onUserOrCaller(&in.UserName) },
			func(rq *request, g iam.Grant, in *listKeysInput) (any, error) {
				p, err := rq.h.Control.ListAccessKeys(rq.ctx, g, in.UserName, in.of())
				return struct {
					AccessKeyMetadata []keyShape
					page
				}{mapped(p.Items, shownKey), pageOf(p.NextMarker)}, err
			}),
		served("UpdateAccessKey", func(rq *request, in *updateKeyInput) (target, error) { return rq.onUserOrCaller(&in.UserName) },
			func(rq *request, g iam.Grant, in *updateKeyInput) (any, error) {
				return nil, rq.h.Control.UpdateAccessKey(rq.ctx, g, control.UpdateKeyInput{User: in.UserName, ID: in.AccessKeyId, Status: in.Status})
			}),
		served("DeleteAccessKey", func(rq *request, in *keyInput) (target, error) { return rq.onUserOrCaller(&in.UserName) },
			func(rq *request, g iam.Grant, in *keyInput) (any, error) {
				return nil, rq.h.Control.DeleteAccessKey(rq.ctx, g, control.UpdateKeyInput{User: in.UserName, ID: in.AccessKeyId})
			}),
		served("GetAccessKeyLastUsed", onKey, getKeyLastUsed),
	}
}

// onKey is the user whose key it is. For a key that is not of the caller's
// account it is a user of that account that does not exist.
func onKey(rq *request, in *keyIDInput) (target, error) {
	account, user, found := rq.h.Control.KeyUser(in.AccessKeyId)
	if !found || account != rq.principal.Account {
		user = "*"
	}
	return target{resource: rq.h.Control.IdentityResource(rq.principal.Account, sortUser, user)}, nil
}

func getKeyLastUsed(rq *request, g iam.Grant, in *keyIDInput) (any, error) {
	use, err := rq.h.Control.GetAccessKeyLastUsed(rq.ctx, g, in.AccessKeyId)
	if fault.Is(err, fault.Denied) { // there is none, or it is another account's
		return nil, fault.New("queryapi", fault.NotFound, "The Access Key with id %s cannot be found", in.AccessKeyId)
	}
	type lastUsed struct {
		LastUsedDate        time.Time
		ServiceName, Region string
	}
	return struct {
		UserName          string
		AccessKeyLastUsed lastUsed
	}{use.User, lastUsed{use.Time, use.Service, use.Region}}, err
}
