package control

import (
	"context"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
)

// GetAccountSummary counts what an account has and names its quotas, by AWS's
// names. What there is none of here (server certificates, MFA devices) is
// zero. The grant is for IdentityAccountResource.
func (s *Service) GetAccountSummary(ctx context.Context, g iam.Grant) (map[string]int, error) {
	all, err := s.looking(ctx, g, ActionGetAccountSummary, IdentityAccountResource(g.Request().Owner.Account))
	if err != nil {
		return nil, err
	}
	versions := 0
	all.Policies.Each(func(p *directory.Entry[directory.Policy]) bool { versions += len(p.Record.Versions); return true })
	return map[string]int{
		"Users": all.Users.Len(), "UsersQuota": maxUsers,
		"Groups": all.Groups.Len(), "GroupsQuota": maxGroups,
		"Roles": all.Roles.Len(), "RolesQuota": maxRoles,
		"Policies": all.Policies.Len(), "PoliciesQuota": maxPolicies,
		"PolicyVersionsInUse": versions, "PolicyVersionsInUseQuota": maxPolicies * maxPolicyVersions,
		"Providers":                    all.Providers.Len(),
		"AccessKeysPerUserQuota":       maxKeysOfUser,
		"AttachedPoliciesPerUserQuota": maxAttached, "AttachedPoliciesPerGroupQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached,
		"GroupsPerUserQuota":         maxGroupsOfUser,
		"PolicySizeQuota":            policy.ManagedUse.Limit(),
		"UserPolicySizeQuota":        policy.UserInlineUse.Limit(),
		"GroupPolicySizeQuota":       policy.GroupInlineUse.Limit(),
		"RolePolicySizeQuota":        policy.RoleInlineUse.Limit(),
		"AssumeRolePolicySizeQuota":  policy.TrustUse.Limit(),
		"VersionsPerPolicyQuota":     maxPolicyVersions,
		"GlobalEndpointTokenVersion": 2,
		"AccountAccessKeysPresent":   0, "AccountPasswordPresent": 0, "AccountSigningCertificatesPresent": 0, "AccountMFAEnabled": 0,
		"MFADevices": 0, "MFADevicesInUse": 0, "SigningCertificatesPerUserQuota": 0,
		"ServerCertificates": 0, "ServerCertificatesQuota": 0, "InstanceProfiles": 0, "InstanceProfilesQuota": 0,
	}, nil
}

// The filters of GetAccountAuthorizationDetails.
const (
	FilterUser  = "User"
	FilterRole  = "Role"
	FilterGroup = "Group"
	FilterLocal = "LocalManagedPolicy"
	FilterAWS   = "AWSManagedPolicy"
)

// DetailsInput asks for a page of what an account has; of all sorts if Filters
// is empty.
type DetailsInput struct {
	PageInput
	Filters []string
}

// AuthorizationDetail is a user, group, role or managed policy: one of the
// fields is set.
type AuthorizationDetail struct {
	User   *directory.User
	Group  *directory.Group
	Role   *directory.Role
	Policy *PolicyView
	// GroupNames are the groups of User by name.
	GroupNames []string
}

// GetAccountAuthorizationDetails lists all that says who may do what in an
// account: users, groups, roles and managed policies, the latter if they are
// its own or in use. The grant is for IdentityAccountResource.
func (s *Service) GetAccountAuthorizationDetails(ctx context.Context, g iam.Grant, in DetailsInput) (Page[AuthorizationDetail], error) {
	const op = "control.GetAccountAuthorizationDetails"
	all, err := s.looking(ctx, g, ActionGetAuthorizationDetails, IdentityAccountResource(g.Request().Owner.Account))
	if err != nil {
		return Page[AuthorizationDetail]{}, err
	}
	every := []string{FilterUser, FilterRole, FilterGroup, FilterLocal, FilterAWS}
	for _, f := range in.Filters {
		if !slices.Contains(every, f) {
			return Page[AuthorizationDetail]{}, breaks(op, f, "filter", "Member must satisfy enum value set: [User, Role, Group, LocalManagedPolicy, AWSManagedPolicy]")
		}
	}
	if len(in.Filters) == 0 {
		in.Filters = every
	}
	found := map[string]AuthorizationDetail{}
	s.details(all, func(filter, arn string, d AuthorizationDetail) {
		if slices.Contains(in.Filters, filter) {
			found[filter+"/"+arn] = d
		}
	})
	var names []string
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(in.Filters)
	return identityPage("details/"+strings.Join(in.Filters, ","), in.PageInput, names, func(name string) (AuthorizationDetail, error) { return found[name], nil })
}

// details gives everything that an account has, each with its filter and ARN.
func (s *Service) details(all *directory.Account, give func(filter, arn string, d AuthorizationDetail)) {
	uses := s.policyUses(all)
	view := func(r *directory.Policy) *PolicyView {
		return &PolicyView{*r, uses[r.ARN].attachments, uses[r.ARN].boundaries}
	}
	all.Users.Each(func(e *directory.Entry[directory.User]) bool {
		groups, _ := all.GroupsOf(e.Record)
		d := AuthorizationDetail{User: e.Record}
		for _, g := range groups {
			d.GroupNames = append(d.GroupNames, g.Record.Name)
		}
		give(FilterUser, e.Record.ARN, d)
		return true
	})
	all.Groups.Each(func(e *directory.Entry[directory.Group]) bool {
		give(FilterGroup, e.Record.ARN, AuthorizationDetail{Group: e.Record})
		return true
	})
	all.Roles.Each(func(e *directory.Entry[directory.Role]) bool {
		give(FilterRole, e.Record.ARN, AuthorizationDetail{Role: e.Record})
		return true
	})
	all.Policies.Each(func(e *directory.Entry[directory.Policy]) bool {
		give(FilterLocal, e.Record.ARN, AuthorizationDetail{Policy: view(e.Record)})
		return true
	})
	for arn := range uses {
		p, found := all.Managed(arn, s.shared())
		if !found || p.Account == all.ID {
			continue
		}
		filter := FilterLocal
		if directory.IsBuiltin(arn) {
			filter = FilterAWS
		}
		give(filter, arn, AuthorizationDetail{Policy: view(p)})
	}
}
