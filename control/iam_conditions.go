package control

import "github.com/carrel-dev/carrel/tenant"

// BoundaryOf gives the ARN of the permissions boundary that a user or role
// has, for the condition key iam:PermissionsBoundary; empty if it has none or
// does not exist. The sort is user or role.
func (s *Service) BoundaryOf(account tenant.AccountID, sort, name string) string {
	p, _ := holder{sort, name}.find(s.identitiesOf(account))
	return p.attached.Boundary
}
